//! A ledger that went back: what was stored and is missing is noticed by the server, its operator
//! and the clients, and no new message is taken for one of before.

mod world;

use std::fs;
use std::path::Path;
use std::process::Command;

use world::{Program, World};

const FAST: &str = r#"{"messages_burst": 100000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#;

/// Says so many messages as alice, and waits until bob has them.
fn talks(alice: &mut Program, bob: &Program, name: &str, messages: u32) {
    (0..messages).for_each(|number| alice.types(&format!("{name} {number}.")));
    bob.sees(&format!("{name} {}.", messages - 1));
}

fn copies(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// Checks that every client reports the loss after the next start, and that new messages arrive.
fn is_told(world: World, mut alice: Program, bob: Program, lost: &str) {
    let (ok, told) = world.operator(&["ctl", "status"]);
    assert!(ok && told.contains(lost), "{told}");
    for client in [&alice, &bob] {
        // A client that logs in before the server has detected the loss reports it itself.
        let texts = ["has begun another numbering of #lobby", "has lost messages of #lobby"];
        client.shows("the loss", |lines| {
            lines.iter().any(|line| texts.iter().any(|text| line.contains(text)))
        });
    }
    alice.types("and now this");
    bob.sees("alice: and now this");
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
    // It is told once.
    let world = world.restarted();
    let (ok, told) = world.operator(&["ctl", "status"]);
    assert!(ok && !told.contains("lost"), "{told}");
}

#[test]
fn a_flipped_bit_in_the_write_ahead_log_is_noticed_at_the_start() {
    let mut world = World::with(FAST);
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    talks(&mut alice, &bob, "before", 100);
    world.server.kill();
    let log = world.home().join("data/ledger.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    assert!(bytes.len() > 100_000, "the control: there is something to lose");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let world = world.started();
    world.server.is_told("the ledger lacks");
    is_told(world, alice, bob, "were lost before the start");
}

#[test]
fn without_a_fault_a_kill_loses_nothing_and_nothing_is_told() {
    let world = World::with(FAST);
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    talks(&mut alice, &bob, "before", 100);
    let world = world.killed();
    let (ok, told) = world.operator(&["ctl", "status"]);
    assert!(ok && !told.contains("lost"), "{told}");
    talks(&mut alice, &bob, "after", 3);
    assert_eq!(bob.seen("has begun another numbering"), 0);
}

#[test]
fn an_older_copy_of_data_is_noticed_at_the_start_and_one_of_all_by_a_client() {
    for all in [false, true] {
        let world = World::with(FAST);
        let mut alice = world.enters("alice");
        let bob = world.enters("bob");
        talks(&mut alice, &bob, "early", 3);
        let world = world.stopped();
        let folders: &[&str] = if all { &["data", "keys"] } else { &["data"] };
        let (home, copy) = (world.home(), tempfile::tempdir().unwrap());
        folders.iter().for_each(|name| copies(&home.join(name), copy.path()));
        let world = world.started();
        // Their clients come back by themselves.
        talks(&mut alice, &bob, "late", 20);
        let world = world.stopped();
        for name in folders {
            fs::remove_dir_all(home.join(name)).unwrap();
            copies(&copy.path().join(name), &home);
        }
        if !all {
            // The trail is of before too, and its head is not.
            let _ = fs::remove_file(home.join("keys/audit.head"));
            let _ = fs::remove_file(home.join("data/audit.jsonl"));
        }
        let world = world.started();
        if all {
            world.server.is_told("the ledger has lost messages");
        }
        is_told(world, alice, bob, "were lost before the start");
    }
}

#[test]
fn a_missing_or_empty_ledger_in_a_used_home_has_to_be_confirmed() {
    let world = World::with(FAST);
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    talks(&mut alice, &bob, "before", 3);
    let (ok, told) =
        world.operator(&["backup", &world.home().join("copy.db").display().to_string()]);
    assert!(ok, "{told}");
    let world = world.stopped();
    let ledger = world.home().join("data/ledger.db");
    let without_tables = {
        let file = world.home().join("other.db");
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch("CREATE TABLE t (n); DROP TABLE t").unwrap();
        drop(other);
        fs::read(file).unwrap()
    };
    assert!(without_tables.len() > 1_000);
    for content in [None, Some(&b""[..]), Some(b"x"), Some(&without_tables)] {
        for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            let _ = fs::remove_file(world.home().join("data").join(name));
        }
        if let Some(content) = content {
            fs::write(&ledger, content).unwrap();
        }
        let (ok, told) = world.operator(&["check"]);
        assert!(!ok && told.contains("is missing or empty"), "{told}");
        let (ok, told) = world.operator(&["server"]);
        assert!(!ok && told.contains("--new-ledger") && told.contains("pychat restore"), "{told}");
        assert_eq!(fs::read(&ledger).ok().as_deref(), content, "nothing was begun");
    }
    // The heads are lost too.
    for head in ["ledger.head", "audit.head"] {
        fs::rename(world.home().join("keys").join(head), world.home().join(head)).unwrap();
    }
    for left in ["audit.jsonl", "keys.json"] {
        let file = world.home().join("data").join(left);
        fs::rename(&file, world.home().join(left)).unwrap();
        let (ok, told) = world.operator(&["server"]);
        assert!(!ok && told.contains("is missing or empty"), "{told}");
        fs::rename(world.home().join(left), file).unwrap();
    }
    for head in ["ledger.head", "audit.head"] {
        fs::rename(world.home().join(head), world.home().join("keys").join(head)).unwrap();
    }
    fs::remove_file(&ledger).unwrap();
    let copy = world.home().join("copy.db").display().to_string();
    let (ok, told) = world.operator(&["restore", &copy]);
    assert!(ok, "{told}");
    let (ok, told) = world.operator(&["check"]);
    assert!(ok, "{told}");
    let world = world.started();
    let (ok, told) = world.operator(&["ctl", "status"]);
    assert!(ok && !told.contains("lost"), "a restore is no loss: {told}");
    let world = world.stopped();
    fs::remove_file(world.home().join("keys/ledger.head")).unwrap();
    let (ok, told) = world.operator(&["check"]);
    assert!(ok && told.contains("note: keys/ledger.head is missing"), "{told}");
    let world = world.started();
    world.server.is_told("ledger.head is missing: a loss of messages cannot be detected");
    // One line for a damaged file, too.
    let world = world.stopped();
    fs::write(world.home().join("keys/ledger.head"), "x").unwrap();
    let world = world.started();
    world.server.is_told("ledger.head: it has no epoch and number of messages");
    let told = world.server.told().concat();
    assert_eq!(told.matches("a loss of messages cannot be detected").count(), 1, "{told}");
}

/// Wherever a restore is killed, the next start has all messages of the ledger before it, or all of
/// the backup, and reports no loss.
#[test]
#[cfg(target_os = "linux")]
fn a_restore_that_is_killed_anywhere_leaves_the_old_ledger_or_the_new_one() {
    let mut world = World::with(FAST);
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    talks(&mut alice, &bob, "before", 2);
    let folder = world.home().parent().unwrap().to_owned();
    let backup = folder.join("backup.db");
    let (ok, told) = world.operator(&["backup", &backup.display().to_string()]);
    assert!(ok, "{told}");
    talks(&mut alice, &bob, "after", 3);
    drop((alice, bob));
    // Killed, so that its last messages are in the write-ahead log.
    world.server.kill();
    let (home, saved) = (world.home(), folder.join("saved"));
    copies(&home, &saved);
    let shim = world::disk::shim("killed_at", &folder);
    let mut found = Vec::new();
    for call in 1.. {
        fs::remove_dir_all(&home).unwrap();
        copies(&saved, &home);
        let mut restore = world.program("operator");
        restore.arg("restore").arg(&backup).arg("--home").arg(&home);
        restore.env("LD_PRELOAD", &shim).env("KILLED_AT", call.to_string());
        let output = restore.output().unwrap();
        world = world.started();
        let log = world.server.told();
        assert!(!log.iter().any(|line| line.contains("lacks")), "killed at call {call}: {log:#?}");
        let (ok, told) = world.operator(&["verify"]);
        assert!(ok, "{told}");
        found.push(told.starts_with("valid: 2 messages"));
        assert!(found[found.len() - 1] || told.starts_with("valid: 5 messages"), "{call}: {told}");
        world = world.stopped();
        if output.status.success() {
            break;
        }
    }
    assert!(found.is_sorted() && !found[0] && found[found.len() - 2], "the control: {found:?}");
}
