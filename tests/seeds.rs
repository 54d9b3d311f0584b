//! What the five Python chat programs that pychat grew out of got wrong, each by its name.

mod world;

use std::io::Write;
use std::net::TcpStream;

use pychat::crypto::Identity;
use pychat::invite::Invite;
use pychat::net::tunnel::{Dial, Incoming, dial, fetch_key};
use pychat::suite::Suites;
use pychat::wire::codec::Login;
use world::{DEADLINE, World};

#[test]
fn a_name_encrypted_to_the_servers_key_is_not_enough_to_log_in() {
    let world = World::new();
    let alice = world.enters("alice");
    let invite: Invite = world.invite.parse().unwrap();
    let print = invite.fingerprint.unwrap();
    let server = fetch_key(&invite.host, invite.port, &print, DEADLINE).unwrap();
    let login = Login {
        name: "alice".parse().unwrap(),
        device: None,
        version: "0".into(),
        major: 1,
        features: vec![],
        ticket: None,
    };
    // Knows the server's key and the name, and has a key of its own that nobody registered.
    let thief = Identity::generate();
    let (host, port, suites) = (&*invite.host, invite.port, Suites::default());
    let to = Dial { host, port, server: &server, suites, patience: DEADLINE };
    let mut tunnel = dial(&to, &thief, &login).unwrap();
    let Incoming::Record(_, body) = tunnel.reader.receive().unwrap() else { panic!("no answer") };
    assert!(String::from_utf8_lossy(body).contains("not_admitted"));
    assert!(matches!(tunnel.reader.receive().unwrap(), Incoming::Closed(Some(_))));
    assert_eq!(alice.seen("joined"), 0);
}

#[test]
fn a_line_over_the_rsa_block_limit_arrives_whole() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    let line = "long ".repeat(1_500);
    alice.types(line.trim());
    assert!(bob.sees("alice: long").ends_with(line.trim()));
    alice.types("and the next");
    bob.sees("alice: and the next");
}

#[test]
fn an_idle_stranger_does_not_get_a_member_disconnected() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    // For unauthenticated peers alone: people log in without haste.
    world.reloads(r#"{"limits": {"login_ms_max": 500}}"#);
    let _idle: Vec<_> = (0..20).map(|_| TcpStream::connect(&world.address).unwrap()).collect();
    for number in 0..5 {
        alice.types(&format!("line {number}"));
        bob.sees(&format!("alice: line {number}"));
    }
    world.until("their time is over", || world.counter("login_failures") >= 20);
    alice.types("all of us");
    bob.sees("alice: all of us");
    bob.types("I am here too");
    alice.sees("bob: I am here too");
}

#[test]
fn two_lines_in_one_segment_are_two_lines() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("one\ntwo\nthree");
    bob.sees("alice: one");
    bob.sees("alice: two");
    bob.sees("alice: three");
    bob.types("all three");
    alice.sees("bob: all three");
}

#[test]
fn asking_after_many_lines_does_not_disconnect_the_reader() {
    let world = World::with(r#"{"messages_burst": 100}"#);
    let mut alice = world.enters("alice");
    for number in 0..30 {
        alice.types(&format!("line {number}."));
    }
    alice.sees("You: line 29.");
    alice.types("/history");
    alice.sees("server| 30 messages");
    assert_eq!(alice.seen("You: line 7."), 2, "live, and once more on demand");
    alice.types("/list");
    alice.sees("#lobby (1 here): alice");
}

#[test]
fn a_users_shutdown_does_not_stop_the_server() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("/shutdown");
    alice.sees("not allowed for a member");
    alice.types("//shutdown");
    bob.sees("alice: /shutdown");
    bob.types("still here");
    alice.sees("bob: still here");
}

#[test]
fn no_pin_travels_and_nobody_bans_by_a_display_name() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("/join #tea zebramarker");
    // A mistyped one would not make an empty channel without a word.
    alice.sees("you are the first here: if you expected others, check the PIN");
    // Her channel is hers to see.
    alice.types("/channels");
    alice.sees("* #tea");
    bob.types("/channels");
    bob.sees("* #lobby");
    assert_eq!(bob.seen("#tea"), 0, "{:?}", bob.shown());
    for folder in ["home", "alice"] {
        assert_eq!(world.found_in(folder, "zebramarker"), 0, "{folder}");
    }
    alice.types("/ban bob");
    alice.sees("not allowed for a member");
    bob.types("unharmed");
    alice.sees("bob: unharmed");
}

#[test]
fn rooms_are_apart_and_the_sender_is_who_holds_the_key() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    alice.types("/join #tea");
    alice.sees("you are in #tea");
    alice.types("for the tea room");
    alice.sees("#tea You: for the tea room");
    world.admit("carol");
    let mut carol = world.client("carol", &["--json"]);
    carol.sees("hello");
    carol.types(r##"{"type":"say","to":"#lobby","from":"alice","text":"who am I"}"##);
    bob.sees("carol: who am I");
    assert_eq!(bob.seen("for the tea room"), 0);
    assert_eq!(bob.seen("alice: who am I"), 0);
}

#[test]
fn one_idle_stranger_blocks_nobody() {
    let world = World::new();
    let mut idle = TcpStream::connect(&world.address).unwrap();
    idle.write_all(&world.hello()).unwrap();
    let mut alice = world.enters("alice");
    alice.types("hello");
    alice.sees("You: hello");
}
