//! Ending sessions, stopping and health depend on no reader of the log, on no audit trail and on no
//! import of keys.

mod world;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use pychat::crypto::PublicKey;
use rustix::process::Signal;
use serde_json::Value;
use world::World;

/// Actions and targets of the audit trail.
fn decisions(world: &World) -> Vec<(String, String)> {
    let text = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    let rows = text.lines().skip(1).filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (field(&row, "action"), field(&row, "target"))).collect()
}

fn has(world: &World, action: &str, target: &str) -> bool {
    decisions(world).contains(&(action.into(), target.into()))
}

/// A pipe with a name that takes nothing more.
fn fill(pipe: &Path) -> File {
    let mut options = OpenOptions::new();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut pipe = options.read(true).write(true).custom_flags(nonblocking).open(pipe).unwrap();
    for bytes in [4096, 1] {
        while match pipe.write(&vec![b'.'; bytes]) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        } {}
    }
    pipe
}

#[test]
fn a_stderr_that_nobody_reads_stops_no_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stderr");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut world = World::under(&format!("exec 2>{}", path.display()), "{}");
    let mut people = ["alice", "bob", "carol"].map(|name| {
        world.registers_key_of(name);
        let client = world.client(name, &["--plain"]);
        client.sees("you are in #lobby");
        client
    });
    let _full = fill(&path);
    for (name, client) in ["alice", "bob"].iter().zip(&mut people) {
        fs::remove_file(world.home().join(format!("users/{name}.pem"))).unwrap();
        assert_eq!(client.ends().code(), Some(5), "{name}");
    }
    let (ok, told) = world.operator(&["ctl", "users"]);
    assert!(ok && told.contains("carol") && !told.contains("alice"), "{told}");
    world.until("health tells of the log", || {
        let (ok, told) = world.operator(&["ctl", "health"]);
        !ok && told.contains("not healthy: log")
    });
    world.server.signal(Signal::TERM);
    assert_eq!(world.server.ends().code(), Some(0));
    drop(reader);
}

#[test]
fn an_audit_trail_that_another_process_holds_stops_no_revocation() {
    let mut world = World::new();
    let [mut alice, mut bob, carol] = ["alice", "bob", "carol"].map(|name| world.enters(name));
    let key = File::open(world.home().join("keys/audit.key")).unwrap();
    key.lock().unwrap();
    fs::remove_file(world.home().join("users/alice.pem")).unwrap();
    assert_eq!(alice.ends().code(), Some(5));
    let (ok, told) = world.operator(&["ctl", "kick", "carol"]);
    assert!(ok && told.contains("not in the audit trail yet"), "{told}");
    carol.sees("the operator ended your session");
    world.until("health tells of the audit trail", || {
        let (ok, told) = world.operator(&["ctl", "health"]);
        !ok && told.contains("not healthy: audit")
    });
    assert!(!has(&world, "removed", "alice"));
    key.unlock().unwrap();
    world.until("the decisions are in the trail", || {
        has(&world, "removed", "alice") && has(&world, "kick", "carol")
    });
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
    key.lock().unwrap();
    fs::remove_file(world.home().join("users/bob.pem")).unwrap();
    assert_eq!(bob.ends().code(), Some(5));
    world.server.signal(Signal::TERM);
    assert_eq!(world.server.ends().code(), Some(0));
    assert!(world.server.told().iter().any(|line| line.contains("the audit trail lacks the last")));
}

/// A public key of the right form; nobody has the private one.
fn public_key(index: u32) -> PublicKey {
    let mut modulus = [0xa5; 384];
    modulus[100..104].copy_from_slice(&index.to_be_bytes());
    PublicKey::from_modulus(&modulus).unwrap()
}

#[test]
fn a_removal_comes_before_the_import_that_comes_with_it() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let (users, import) = (world.home().join("users"), world.home().join("import"));
    fs::create_dir(&import).unwrap();
    for index in 0..500 {
        fs::write(import.join(format!("guest{index}.pem")), public_key(index).to_pem()).unwrap();
    }
    fs::rename(&users, world.home().join("users.before")).unwrap();
    fs::rename(&import, &users).unwrap();
    assert_eq!(alice.ends().code(), Some(5));
    world.until("everybody is registered", || {
        decisions(&world).iter().filter(|(_, target)| target.starts_with("guest")).count() == 500
    });
    let rows = decisions(&world);
    let at = |action: &str| rows.iter().position(|row| row.0 == action && row.1 != "alice");
    let removed = rows.iter().position(|row| row.0 == "removed" && row.1 == "alice");
    assert!(removed.is_some() && removed < at("admitted"), "{removed:?} {:?}", at("admitted"));
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
}
