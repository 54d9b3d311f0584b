//! A disk that fails or hangs when a test says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;

/// The behaviour of a server's disk at a sync.
#[derive(Clone, Copy)]
pub enum Syncs {
    Fail,
    Hang,
}

/// The disk of a server, which works until `misbehaves` is called.
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// A server whose disk does this while it `misbehaves`.
    pub fn of_server(syncs: Syncs) -> (Disk, World) {
        Disk::of_server_with(syncs, "", "{}")
    }

    /// The same with these variables of its environment, and these limits.
    pub fn of_server_with(syncs: Syncs, variables: &str, limits: &str) -> (Disk, World) {
        let disk = Disk { folder: tempfile::tempdir().unwrap() };
        let shim = shim("no_sync", disk.folder.path());
        let variable = match syncs {
            Syncs::Fail => "NO_SYNC",
            Syncs::Hang => "HANG_SYNC",
        };
        let (file, shim) = (disk.file().display().to_string(), shim.display().to_string());
        let word = format!("export {variables} {variable}={file} LD_PRELOAD={shim}");
        let world = World::under(&word, limits);
        (disk, world)
    }

    pub fn misbehaves(&self) {
        fs::write(self.file(), "").unwrap();
    }

    pub fn works(&self) {
        fs::remove_file(self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("misbehaving")
    }
}

/// Compiles a library that is loaded before others, from `tests/data/`.
pub fn shim(name: &str, folder: &Path) -> PathBuf {
    let shim = folder.join(format!("{name}.so"));
    let source = format!("{}/tests/data/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let mut cc = Command::new("cc");
    assert!(cc.args(["-shared", "-fPIC", &source, "-o"]).arg(&shim).status().unwrap().success());
    shim
}
