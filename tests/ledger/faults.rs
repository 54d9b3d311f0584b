//! Disks that are full or fail to sync.

use super::world::World;
#[cfg(target_os = "linux")]
use super::world::disk::{Disk, Syncs};

#[test]
fn a_full_disk_refuses_lines_and_the_talk_goes_on() {
    let world = World::full_after(200);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    let text = "x".repeat(8_000);
    let mut sent = 0;
    while alice.shown().iter().all(|line| !line.contains("the server cannot store messages now")) {
        alice.types(&text);
        sent += 1;
        assert!(sent < 60, "the disk never got full");
        let seen = |lines: &[String]| {
            let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
            count("You: xxx") + count("cannot store") >= sent
        };
        alice.shows("an answer to each line", seen);
    }
    alice.types("/whois bob");
    alice.sees("bob on main");
    alice.types("/history 1");
    alice.sees("server| 1 message");
    // Behind them comes what needs no room.
    let stored = alice.seen("You: xxx") - 1;
    bob.shows("all that is stored", |lines| {
        lines.iter().filter(|line| line.contains("alice: xxx")).count() >= stored
    });
    bob.types("/whois alice");
    bob.sees("alice on main");
    assert_eq!(bob.seen("alice: xxx"), stored, "one is from the history");
}

/// How many read positions are stored.
#[cfg(target_os = "linux")]
fn reads(world: &World) -> u64 {
    let ledger = rusqlite::Connection::open(world.home().join("data/ledger.db")).unwrap();
    ledger.query_row("SELECT count(*) FROM reads", [], |row| row.get(0)).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_sync_that_fails_leaves_nobody_with_a_lie() {
    let (disk, world) = Disk::of_server(Syncs::Fail);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("first");
    bob.sees("alice: first");
    // That both have read it is stored a moment later.
    world.until("the disk is at rest", || reads(&world) == 2);

    disk.misbehaves();
    alice.types("in doubt");
    world.server.is_told("the disk failed while it synced");
    alice.sees("a restart of the server will show whether this message is stored");
    disk.works();
    alice.types("too late");
    alice.sees("the server cannot store messages now");
    alice.types("/whois bob");
    alice.sees("bob on main");
    bob.types("/whois alice");
    bob.sees("alice on main");
    assert_eq!((alice.seen("You: in doubt"), bob.seen("in doubt")), (0, 0), "no answer is known");
    assert_eq!(alice.seen("cannot store"), 1, "and none is given");

    let _world = world.killed();
    bob.sees("alice: in doubt");
    alice.sees("You: in doubt");
    alice.types("/retry");
    bob.sees("alice: too late");
    alice.types("last");
    bob.sees("alice: last");
    assert_eq!((alice.seen("You: in doubt"), bob.seen("in doubt")), (1, 1));
}

#[test]
#[cfg(target_os = "linux")]
fn who_only_sends_is_told_what_a_failing_disk_leaves_open() {
    let (disk, world) = Disk::of_server(Syncs::Fail);
    world.admit("alice");
    disk.misbehaves();
    let mut alice = world.client("alice", &["--send", "in doubt"]);
    assert_eq!(alice.ends().code(), Some(8), "{:?}", alice.told());
    alice.is_told("whether this message is stored");
}

#[test]
#[cfg(target_os = "linux")]
fn a_sync_that_fails_while_old_lines_are_removed_is_no_better() {
    let (disk, world) = Disk::of_server(Syncs::Fail);
    let mut alice = world.enters("alice");
    alice.types("first");
    alice.sees("You: first");
    alice.types("/delete");
    alice.sees("deleted");
    disk.misbehaves();
    let (ok, told) = world.operator(&["ctl", "retention", "--now"]);
    assert!(!ok, "{told}");
    disk.works();
    alice.types("too late");
    alice.sees("the server cannot store messages now");
    assert_eq!(alice.seen("You: too late"), 0);
}
