//! What was said stays said: history, resume, mailboxes, read positions, changes, forgetting and
//! upkeep on the real binary.

mod export;
mod faults;
#[path = "../world/mod.rs"]
mod world;

use std::fs;

use world::World;

#[test]
fn history_and_search_outlive_the_server() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("the green tea is in the cupboard");
    alice.types("and the black tea is out");
    alice.sees("You: and the black");
    alice.types("/topic tea at five");
    alice.sees("set the topic");
    alice.types("/exit");
    alice.ends();
    let world = world.killed();
    let mut bob = world.enters("bob");
    bob.sees("tea at five");
    bob.sees("alice: the green tea");
    bob.types("/history 1");
    bob.sees("server| 1 message; there are older ones");
    assert_eq!((bob.seen("green tea"), bob.seen("black tea")), (1, 2));
    bob.types("/search tea green");
    bob.sees("server| 1 message");
    bob.types("/history 10x");
    bob.sees("a time span is written");
    bob.types("/history 1h");
    bob.sees("server| 2 messages");
}

/// Returns the number of messages that are not in the search index.
fn unindexed(world: &World) -> u64 {
    let ledger = rusqlite::Connection::open(world.home().join("data/ledger.db")).unwrap();
    let count = "SELECT sum(last - indexed) FROM conversations";
    ledger.query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn messages_are_indexed_after_a_kill_and_before_a_stop() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("the green tea is in the cupboard");
    alice.sees("You: the green tea");
    let world = world.killed();
    world.until("the start has indexed the message", || unindexed(&world) == 0);
    alice.types("and the black tea is out");
    alice.sees("You: and the black");
    alice.types("/search tea");
    alice.sees("server| 2 messages");
    let world = world.stopped();
    assert_eq!(unindexed(&world), 0);
    let (ok, told) = world.operator(&["verify"]);
    assert!(ok, "{told}");
    let world = world.started();
    let mut bob = world.enters("bob");
    bob.types("/search tea");
    bob.sees("server| 2 messages");
}

#[test]
fn lines_typed_while_offline_are_sent_in_order_and_once() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("before");
    alice.sees("You: before");
    let mut server = world.stopped();
    for number in 1..=3 {
        alice.types(&format!("offline {number}"));
    }
    alice.shows("that three lines wait", |lines| {
        lines.iter().filter(|line| line.contains("when the connection is back")).count() == 3
    });
    // The client's end does not lose them either.
    alice.kill();
    server = server.started();
    let alice = server.client("alice", &["--plain"]);
    alice.sees("You: offline 3");
    let bob = server.enters("bob");
    bob.sees("alice: offline 3");
    let shown = bob.shown();
    let lines: Vec<_> = shown.iter().filter(|line| line.contains("alice: ")).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[1].ends_with("offline 1") && lines[2].ends_with("offline 2"));
}

#[test]
fn a_client_takes_up_each_conversation_where_it_was_left() {
    let world = World::with(r#"{"resume_messages_max": 3, "messages_burst": 100}"#);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("one");
    bob.sees("alice: one");
    bob.types("/exit");
    bob.ends();
    alice.types("two");
    alice.sees("You: two");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("alice: two");
    assert_eq!(bob.seen("alice: one"), 0, "it was here before");
    assert_eq!(bob.seen("-- new --"), 1);
    bob.types("/exit");
    bob.ends();
    for number in 1..=5 {
        alice.types(&format!("many {number}"));
    }
    alice.sees("You: many 5");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("alice: many 5");
    bob.sees("2 messages of #lobby were omitted: /history shows them");
    assert_eq!((bob.seen("many 2"), bob.seen("many 3")), (0, 1));
}

#[test]
fn private_messages_wait_for_each_device_over_a_restart() {
    let world = World::new();
    let mut alice = world.enters("alice");
    world.admit("bob");
    world.admit("bob.phone");
    alice.types("/pm bob the first");
    alice.types("/pm bob the second");
    alice.sees("You -> bob: the second");
    let world = world.killed();
    for device in ["bob", "bob.phone"] {
        let bob = world.client(device, &["--plain"]);
        bob.sees("[Private]");
        bob.sees("alice: the second");
        let shown = bob.shown();
        let lines: Vec<_> = shown.iter().filter(|line| line.contains("alice: the ")).collect();
        assert!(lines.len() == 2 && lines[0].contains("alice: the first"), "{lines:#?}");
    }
}

#[test]
fn a_full_mailbox_is_refused_to_the_sender() {
    // A quarter of them is one sender's.
    let world = World::with(r#"{"mailbox_messages_max": 8}"#);
    let mut alice = world.enters("alice");
    world.admit("bob");
    for number in 1..=3 {
        alice.types(&format!("/pm bob number {number}"));
    }
    alice.sees("bob is offline with 2 messages of yours waiting");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("alice: number 2");
    alice.types("/retry");
    bob.sees("alice: number 3");
}

#[test]
fn what_one_device_has_read_the_other_knows() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut laptop = world.enters("bob");
    let mut phone = world.enters_as("bob.phone", "--json");
    phone.sees("hello");
    alice.types("look at this");
    laptop.sees("alice: look at this");
    let told = phone.sees(r#""type":"read""#);
    assert!(told.contains(r##""to":"#lobby""##), "{told}");
    laptop.types("/exit");
    laptop.ends();
    phone.types(r#"{"type":"quit"}"#);
    phone.ends();
    let world = world.killed();
    alice.types("and at that");
    alice.sees("You: and at that");
    let laptop = world.client("bob", &["--plain"]);
    laptop.sees("alice: and at that");
    let shown = laptop.shown();
    let divider = shown.iter().position(|line| line.contains("-- new --")).unwrap();
    assert!(shown[divider + 1].contains("and at that"), "{shown:#?}");
}

#[test]
fn lines_are_edited_and_deleted_by_their_senders() {
    let world = World::with(r#"{"change_s_max": 3600}"#);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("see you at six");
    bob.sees("alice: see you at six");
    alice.sees("You: see you at six");
    alice.types("/edit see you at seven");
    bob.sees("alice (corrected): see you at seven");
    bob.types("/edit not mine");
    bob.sees("you have not sent any message");
    bob.types("/delete 1");
    bob.sees("only your own messages");
    alice.types("/delete");
    bob.sees("alice (deleted a message)");
    let carol = world.enters("carol");
    carol.sees("alice: (deleted)");
    assert_eq!(carol.seen("see you"), 0);
    world.operator(&["ctl", "retention", "--now"]);
    assert_eq!(world.found_in("home/data", "see you at six"), 0);
}

#[test]
fn a_short_drop_is_neither_a_leave_nor_a_join() {
    let world = World::with(r#"{"resume_window_s": 3600}"#);
    let alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.sees("--> bob joined");
    bob.types("/reconnect");
    bob.shows("a second connection", |lines| {
        lines.iter().filter(|line| line.contains("you are in #lobby")).count() == 2
    });
    bob.types("back");
    alice.sees("bob: back");
    assert_eq!((alice.seen("bob joined"), alice.seen("bob left")), (1, 0));
    // A longer one is a leave.
    world.reloads(r#"{"limits": {"resume_window_s": 1}}"#);
    bob.kill();
    alice.sees("<-- bob left");
}

#[test]
fn what_is_too_old_goes_from_the_disk_and_leaves_a_gap() {
    let world = World::configured(
        r##"{"retention": "forever", "channels": {"#old": {"retention": "1s"}, "#never": {"retention": "off"}}}"##,
    );
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("/join #old,#never");
    alice.sees("messages are stored for 1s");
    alice.sees("messages are not stored");
    bob.types("/join #old");
    bob.sees("you are in #old");
    bob.types("I was here");
    bob.sees("You: I was here");
    bob.types("/exit");
    bob.ends();
    alice.types("/query #never");
    alice.types("zebramarker never");
    alice.sees("You: zebramarker never");
    assert_eq!(world.found_in("home/data", "zebramarker"), 0);
    alice.types("/query #old");
    alice.types("/topic");
    alice.shows("the retention beside the topic", |lines| {
        lines.iter().filter(|line| line.contains("messages are stored for 1s")).count() == 2
    });
    alice.types("zebramarker old");
    alice.sees("You: zebramarker old");
    assert!(world.found_in("home/data", "zebramarker") > 0, "the control: it is there");
    world.until("a line is old enough", || {
        world
            .operator(&["ctl", "retention", "--dry-run"])
            .1
            .contains("2 messages of 1 conversations would")
    });
    assert!(
        world
            .operator(&["ctl", "retention", "--now"])
            .1
            .contains("2 messages of 1 conversations were")
    );
    assert_eq!(world.found_in("home/data", "zebramarker"), 0);
    alice.types("/history");
    alice.sees("server| 0 messages");
    alice.types("after the sweep");
    alice.sees("You: after the sweep");
    let bob = world.client("bob", &["--plain", "--join", "#old"]);
    bob.sees("alice: after the sweep");
    bob.sees("1 message of #old was omitted: it is gone");
}

#[test]
fn with_history_off_nothing_is_on_disk_and_a_short_drop_loses_nothing() {
    let limits = r#"{"disk_reserve_bytes": 1099511627776}"#;
    let world = World::configured(&format!(r#"{{"history": "off", "limits": {limits}}}"#));
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    // The disk is monitored, and no message needs space on it.
    let (_, told) = world.operator(&["ctl", "stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(stats["data"]["disk_free_bytes"].as_u64() > Some(0), "{told}");
    assert!(world.operator(&["ctl", "health"]).0);
    let (_, told) = world.operator(&["check"]);
    assert!(!told.contains("disk_reserve_bytes"), "{told}");
    alice.types("zebramarker");
    bob.sees("alice: zebramarker");
    bob.types("/exit");
    bob.ends();
    alice.types("while bob is away");
    alice.sees("You: while bob");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("alice: while bob is away");
    alice.types("/pm carol hi");
    alice.sees("no user is called carol");
    world.admit("carol");
    alice.types("/pm carol hi");
    alice.sees("this server does not store private messages");
    assert!(!world.home().join("data/ledger.db").exists());
    assert_eq!(world.found_in("home", "zebramarker"), 0);
}

#[test]
fn a_person_is_removed_with_everything_they_said() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("zebramarker from alice");
    bob.sees("zebramarker");
    bob.types("walrusmarker from bob");
    bob.sees("You: walrusmarker");
    let (ok, told) = world.operator(&["users", "remove", "alice", "--erase"]);
    assert!(ok && told.contains("1 messages of alice were erased"), "{told}");
    assert_eq!(world.found_in("home", "zebramarker"), 0);
    assert!(world.found_in("home", "walrusmarker") > 0);
    let world = world.stopped();
    let (ok, told) = world.operator(&["users", "remove", "bob", "--erase"]);
    assert!(ok && told.contains("1 messages of bob were erased"), "{told}");
    assert_eq!(world.found_in("home", "walrusmarker"), 0);
}

#[test]
fn who_is_removed_while_they_talk_leaves_nothing() {
    let world =
        World::with(r#"{"messages_burst": 100000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#);
    let alice = world.enters("alice");
    let mut bob = world.enters("bob");
    (0..3_000).for_each(|number| bob.types(&format!("walrusmarker {number}")));
    alice.sees("walrusmarker 100");
    let (ok, told) = world.operator(&["users", "remove", "bob", "--erase"]);
    assert!(ok, "{told}");
    assert_eq!(world.found_in("home", "walrusmarker"), 0, "{told}");
}

#[test]
fn what_retention_removed_is_in_nobodys_mailbox() {
    let world = World::configured(r#"{"retention": "1s", "limits": {"mailbox_messages_max": 8}}"#);
    world.admit("bob");
    let mut alice = world.enters("alice");
    for text in ["one", "two"] {
        alice.types(&format!("/pm bob {text}"));
        alice.sees(&format!("You -> bob: {text}"));
    }
    alice.types("/pm bob three");
    alice.sees("the most per sender");
    world.until("both lines are too old", || {
        let told = world.operator(&["ctl", "retention", "--dry-run"]).1;
        told.contains("2 messages of 1 conversations")
    });
    assert!(world.operator(&["ctl", "retention", "--now"]).0);
    alice.types("/pm bob four");
    alice.sees("You -> bob: four");
}

#[test]
fn backups_are_made_while_it_runs_and_restored_while_it_does_not() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("in the backup");
    alice.sees("You: in the backup");
    let copy = world.home().join("copy.db");
    let (ok, told) = world.operator(&["backup", copy.to_str().unwrap()]);
    assert!(ok && told.contains("1 messages of 1 conversations"), "{told}");
    alice.types("after the backup");
    alice.sees("You: after the backup");
    let (ok, told) = world.operator(&["verify"]);
    assert!(ok && told.contains("valid: 2 messages"), "{told}");
    let (ok, told) = world.operator(&["restore", copy.to_str().unwrap()]);
    assert!(!ok && told.contains("a server runs in"), "{told}");
    let world = world.stopped();
    let (ok, told) = world.operator(&["restore", copy.to_str().unwrap()]);
    assert!(ok && told.contains("restored: 1 messages"), "{told}");
    let world = world.started();
    let bob = world.enters("bob");
    bob.sees("alice: in the backup");
    alice.types("said once more");
    bob.sees("alice: said once more");
    assert_eq!(bob.seen("after the backup"), 0);
    // A damaged file is named.
    let world = world.stopped();
    let path = world.home().join("data/ledger.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let (ok, told) = world.operator(&["verify"]);
    assert!(!ok && told.contains("ledger.db"), "{told}");
}

#[test]
fn a_memory_only_channel_that_is_made_anew_begins_anew() {
    let world = World::configured(
        r##"{"channels": {"#tea": {"retention": "off"}}, "limits": {"channel_empty_s": 0}}"##,
    );
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("/join #tea");
    alice.sees("you are in #tea");
    alice.types("of before");
    alice.sees("You: of before");
    alice.types("/part #tea");
    alice.sees("you left #tea");
    world.until("the channel is forgotten", || {
        !world.operator(&["ctl", "channels"]).1.contains("#tea")
    });
    bob.types("/join #tea");
    bob.sees("you are in #tea");
    bob.types("of now");
    bob.sees("You: of now");
    alice.types("/join #tea");
    alice.sees("bob: of now");
    bob.types("and this");
    alice.sees("bob: and this");
    assert_eq!((alice.seen("of before"), bob.seen("of before")), (1, 0));
    bob.types("/history");
    bob.sees("server| 2 messages");
}

#[test]
fn whoever_reads_beside_the_server_is_waited_for_and_named() {
    let world = World::configured(r#"{"retention": "1s"}"#);
    let mut alice = world.enters("alice");
    alice.types("zebramarker");
    alice.sees("You: zebramarker");
    world.until("the line is old enough", || {
        world
            .operator(&["ctl", "retention", "--dry-run"])
            .1
            .contains("1 messages of 1 conversations would")
    });
    let reader = rusqlite::Connection::open(world.home().join("data/ledger.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages;").unwrap();
    let (ok, told) = world.operator(&["ctl", "retention", "--now"]);
    assert!(
        !ok && told.contains("1 messages of 1 conversations were removed; their texts are still"),
        "{told}"
    );
    assert!(world.found_in("home/data", "zebramarker") > 0, "and they are");
    reader.execute_batch("COMMIT").unwrap();
    let (ok, told) = world.operator(&["ctl", "retention", "--now"]);
    assert!(ok && !told.contains("still"), "{told}");
    assert_eq!(world.found_in("home/data", "zebramarker"), 0);
}
