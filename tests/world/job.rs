//! Scripts and programs that send and fetch files, each person in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Program, World};

/// Limits that no test of files reaches by its number of requests.
pub const LIMITS: &str = r#"{"messages_per_s": 1000, "messages_burst": 1000, "requests_per_s": 1000,
    "logins_per_s": 1000, "file_reserve_bytes": 0}"#;

/// The command of a job of a person, in a folder of its own.
pub fn command(world: &World, name: &str, args: &[&str]) -> Command {
    command_by(world, name, &world.invite, args)
}

fn command_by(world: &World, name: &str, invite: &str, args: &[&str]) -> Command {
    let mut command = world.program(name);
    command.args(["client", invite, "--name", name]).args(args);
    command.stdin(Stdio::null()).current_dir(folder(world, name));
    command
}

pub fn folder(world: &World, name: &str) -> PathBuf {
    let folder = world.home().join("..").join(format!("work-{name}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Exit code, stdout and stderr.
pub fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
pub fn runs(world: &World, name: &str, args: &[&str]) -> (i32, String, String) {
    ended(&command(world, name, args).output().unwrap())
}

pub fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

pub fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Files of the store that are not announced yet.
pub fn coming(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.home().join("data/files/coming"));
    entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

pub fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

/// Starts a job whose traffic a test can stop.
pub fn starts(world: &World, name: &str, address: &str, args: &[&str]) -> Program {
    let invite = world.invite.replace(&world.address, address);
    Program::start(command_by(world, name, &invite, args))
}
