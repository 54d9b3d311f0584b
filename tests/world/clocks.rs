//! Clocks that a test sets.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Program, World};

/// The library that sets a program's clock, and the files that say how.
pub struct Clocks(tempfile::TempDir);

impl Clocks {
    pub fn new() -> Clocks {
        let clocks = Clocks(tempfile::tempdir().unwrap());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/clock.c");
        let mut cc = Command::new("cc");
        let made = cc.args(["-shared", "-fPIC", source, "-o"]).arg(clocks.shim()).status();
        assert!(made.unwrap().success());
        ["client", "server"].iter().for_each(|whose| clocks.set(whose, 0.0));
        clocks
    }

    fn shim(&self) -> PathBuf {
        self.0.path().join("clock.so")
    }

    /// Sets the clock so many days ahead.
    pub fn set(&self, whose: &str, days: f64) {
        let (file, next) = (self.0.path().join(whose), self.0.path().join("next"));
        // Atomically, because the program may read the file at any time.
        fs::write(&next, ((days * 86_400.0) as i64).to_string()).unwrap();
        fs::rename(next, file).unwrap();
    }

    /// A server whose clock the test sets.
    pub fn world(&self, config: &str) -> World {
        let file = self.0.path().join("server");
        let word = format!("export CLOCK={} LD_PRELOAD={}", file.display(), self.shim().display());
        World::configured_under(&word, config)
    }

    /// What starts a client whose clock the test sets.
    pub fn command(&self, world: &World, person: &str) -> Command {
        let mut command = world.screen_of(person);
        command.env("LD_PRELOAD", self.shim()).env("CLOCK", self.0.path().join("client"));
        command
    }

    /// A client whose clock the test sets, connected.
    pub fn client(&self, world: &World, person: &str, face: &str) -> Program {
        let mut command = self.command(world, person);
        command.arg(face);
        let client = Program::start(command);
        client.sees("#lobby");
        client
    }
}
