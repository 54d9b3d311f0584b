//! The room: people, lines, channels and the operator, on the real binary.

mod world;

use rustix::process::Signal;
use world::{Program, World};

#[test]
fn two_people_chat_and_leave() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.sees("--> bob joined (2 here)");
    bob.types("good morning");
    alice.sees("bob: good morning");
    bob.sees("You: good morning");
    alice.types("/me waves");
    bob.sees("* alice waves");
    alice.types("/list");
    alice.sees("#lobby (2 here): alice, bob");
    alice.types("/whois bob");
    alice.sees("SHA256:");
    alice.types("/nick carol");
    alice.sees("names are bound to keys");
    alice.types("//nick is a text");
    bob.sees("alice: /nick is a text");
    bob.types("/exit");
    assert!(bob.ends().success());
    alice.sees("<-- bob left");
    assert_eq!(alice.seen("good morning"), 1);
}

#[test]
fn a_private_line_reaches_all_devices_and_nobody_else() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let laptop = world.enters("bob");
    let phone = world.enters("bob.phone");
    let mut carol = world.enters("carol");
    alice.types("/pm Bob the key is under the mat");
    laptop.sees("alice: the key is under the mat");
    phone.sees("[Private]");
    alice.sees("You -> bob: the key is under the mat");
    carol.types("marker");
    laptop.sees("carol: marker");
    carol.sees("You: marker");
    assert_eq!(carol.seen("under the mat"), 0);
    alice.types("/pm nobody hi");
    alice.sees("no user is called nobody");
}

#[test]
fn whoever_is_ignored_is_ignored_the_next_time_too() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    world.admit("carol");
    let carol_says = |text: &str, alice: &Program| {
        let mut carol = world.client("carol", &["--plain"]);
        carol.sees("you are in #lobby");
        carol.types(text);
        alice.sees(&format!("carol: {text}"));
        carol.types("/exit");
        carol.ends();
    };
    alice.types("/ignore Bob");
    alice.sees("Bob is ignored");
    alice.types("/quiet");
    alice.sees("are hidden");
    alice.types("/exit");
    alice.ends();
    for text in ["hum", "humm"] {
        bob.types(text);
        bob.sees(&format!("You: {text}"));
    }
    for (name, humming) in [("alice", 0), ("bob", 2)] {
        let mut tail = world.client(name, &["--tail", "2"]);
        assert!(tail.ends().success());
        assert_eq!(tail.seen("hum"), humming, "{name}: {:?}", tail.shown());
    }
    let mut alice = world.client("alice", &["--plain"]);
    alice.sees("you are in #lobby");
    bob.types("noise");
    bob.sees("You: noise");
    carol_says("one", &alice);
    assert_eq!((alice.seen("noise"), alice.seen("carol joined")), (0, 0));
    alice.types("/ignore");
    alice.sees("ignored: Bob");
    alice.types("/ignore bob");
    alice.sees("bob is shown again");
    alice.types("/exit");
    alice.ends();
    let alice = world.client("alice", &["--plain"]);
    alice.sees("you are in #lobby");
    bob.types("music");
    alice.sees("bob: music");
    carol_says("two", &alice);
    assert_eq!(alice.seen("carol joined"), 0);
}

#[test]
fn channels_are_made_by_joining_and_isolated() {
    let world = World::with(r#"{"channel_empty_s": 0}"#);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("/join #tea");
    alice.sees("you are in #tea");
    alice.types("oolong");
    alice.sees("#tea You: oolong");
    bob.types("/query #tea");
    bob.types("let me in");
    bob.sees("you are not in #tea");
    assert_eq!(bob.seen("oolong"), 0, "who is not in it does not see it");
    bob.types("/join tea");
    alice.sees("--> #tea bob joined (2 here)");
    bob.sees("#tea alice: oolong");
    bob.types("/part #tea");
    alice.types("/part");
    alice.sees("you left #tea");
    bob.types("/query #lobby");
    bob.types("done");
    alice.sees("bob: done");
}

#[test]
fn removal_ends_live_sessions_and_a_waiting_client_gets_in() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let (ok, _) = world.operator(&["users", "remove", "alice"]);
    assert!(ok);
    alice.sees("your key was removed");
    assert_eq!(alice.ends().code(), Some(5));
    let bob = world.client("bob", &["--plain"]);
    let line = bob.is_told("pychat-key1.bob.");
    bob.sees("waiting to be admitted");
    let (ok, told) = world.operator(&["users", "add", &line, "--yes"]);
    assert!(ok, "{told}");
    bob.sees("you are in #lobby");
}

#[test]
fn what_is_sent_is_acknowledged_or_the_exit_code_says_so() {
    let world = World::new();
    let alice = world.enters("alice");
    world.admit("bob");
    assert_eq!(world.client("bob", &["--send", "one line"]).ends().code(), Some(0));
    alice.sees("bob: one line");
    let refused = world.client("bob", &["--send", "psst", "--to", "@nobody"]).ends();
    assert_eq!(refused.code(), Some(8));
    assert_eq!(world.client("carol", &["--send", "let me in"]).ends().code(), Some(5));
}

#[test]
fn a_long_line_is_refused_whole_and_harms_nobody() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    alice.types(&"x".repeat(9_000));
    alice.sees("a message may have 8192 bytes");
    alice.types(&"\"".repeat(8_100));
    alice.types("still here");
    bob.sees("alice: still here");
    assert_eq!(bob.seen("xxxx"), 0);
}

#[test]
fn the_operator_sees_kicks_says_and_stops() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    let (_, channels) = world.operator(&["ctl", "channels"]);
    assert!(channels.contains("#lobby  2 members\n    alice\n    bob\n"), "{channels}");
    alice.types("/shutdown");
    alice.sees("shutdown: not allowed for a member; owners may: ask one of them");
    world.operator(&["ctl", "say", "tea is ready"]);
    alice.sees("server| tea is ready");
    let (ok, _) = world.operator(&["ctl", "kick", "bob", "noise"]);
    assert!(ok);
    bob.sees("the operator ended your session: noise");
    let seen = alice.sees("kicked by the operator");
    assert_eq!(seen, "server| bob left: kicked by the operator: noise");
    // Also by who wants to see nobody come and go, and of a ban, too.
    alice.types("/quiet");
    alice.sees("are hidden");
    let carol = world.enters("carol");
    assert!(world.operator(&["ctl", "ban", "carol", "1h", "more noise"]).0);
    carol.sees("you are banned");
    let seen = alice.sees("banned by the operator");
    assert!(seen.ends_with(": banned by the operator: more noise"), "{seen}");
    assert_eq!(alice.seen("carol joined"), 0);
    let (ok, near) = world.operator(&["ctl", "chanels"]);
    assert!(!ok && near.contains("/channels"), "{near}");
}

#[test]
fn a_server_drains_and_its_clients_come_back() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("/join #tea");
    alice.sees("you are in #tea");
    world.server.signal(Signal::TERM);
    alice.sees("the server stops");
    let world = world.restarted();
    let bob = world.enters("bob");
    bob.sees("alice");
    alice.types("back again");
    alice.sees("#tea You: back again");
}

#[test]
fn a_topic_that_is_typed_in_a_private_conversation_goes_nowhere() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    alice.types("/query bob");
    alice.types("/topic secret");
    alice.sees("@bob has no topic, and nothing was sent. Name the channel: /topic #CHANNEL TEXT");
    alice.types("/topic #nest secret");
    alice.sees("you are not in #nest: nothing was sent");
    bob.types(r"/query alice");
    bob.types("/topic");
    bob.sees("@alice has no topic");
    let mut program = world.client("alice", &["--json"]);
    program.sees("\"hello\"");
    for line in ["/query bob", "/topic secret"] {
        program.types(&format!(r#"{{"type":"slash","line":"{line}"}}"#));
    }
    program.sees("@bob has no topic");
    // The control: the channel that is named.
    alice.types("/topic #lobby tea at five");
    bob.sees("tea at five");
    alice.types("/topic #lobby");
    alice.sees("tea at five");
    assert_eq!(bob.seen("secret") + program.seen("secret"), 0);
}

#[test]
fn an_answer_longer_than_a_record_comes_whole() {
    let world = World::with(r#"{"requests_per_s": 1000, "channels_per_user_max": 1000}"#);
    let mut alice = world.enters("alice");
    // A row of /channels takes about 130 bytes here, and a record holds 16 KiB.
    let name = |number| format!("#channel-{number}-{}", "x".repeat(10));
    for number in 0..300 {
        alice.types(&format!("/join {}", name(number)));
    }
    alice.sees(&format!("you are in {}", name(299)));
    alice.types("/topic tea");
    alice.sees("set the topic");
    alice.types("/channels");
    alice.sees(&name(0));
    alice.sees("tea");
    alice.shows("a row for each channel", |lines| {
        (0..300).all(|number| lines.iter().filter(|line| line.contains(&name(number))).count() >= 2)
    });
}
