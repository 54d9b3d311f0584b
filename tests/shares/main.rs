//! People and scripts that send and fetch files, on the real binary.

mod faults;
mod people;
mod scripts;
mod views;
#[path = "../world/mod.rs"]
mod world;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use world::apart::{apart, mount, resize};
use world::disk::{Disk, Syncs};
use world::job::{LIMITS, coming, command, content, folder, object, runs, size, starts};
use world::proxy::Proxy;
use world::pty::Terminal;
use world::way::{Flow, Link};
use world::{Program, World};

/// The number of whole files in the store.
fn whole(world: &World) -> usize {
    let folders = fs::read_dir(world.home().join("data/files")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| !path.ends_with("coming"));
    folders.map(|folder| fs::read_dir(folder).unwrap().count()).sum()
}
