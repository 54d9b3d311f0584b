//! Who may connect from where, and the configuration that changes while the server runs. On the
//! real binary.

mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use world::World;

/// Replaces config.json and reloads it.
fn reload(world: &World, config: &str) -> (bool, String) {
    fs::write(world.home().join("config.json"), config).unwrap();
    world.operator(&["ctl", "reload"])
}

/// Returns whether the server answers a valid first record.
fn answers(world: &World) -> bool {
    let mut stream = TcpStream::connect(&world.address).unwrap();
    stream.set_read_timeout(Some(world::DEADLINE)).unwrap();
    // The server may close the socket of a refused address before this is written.
    let _ = stream.write_all(&world.hello());
    matches!(stream.read(&mut [0; 2]), Ok(1..))
}

#[test]
fn an_address_that_may_not_connect_meets_silence_until_the_list_is_read_again() {
    let world = World::configured(r#"{"deny": ["127.0.0.0/8"]}"#);
    assert!(!answers(&world));
    world.admit("bob");
    let bob = world.client("bob", &["--plain"]);
    let (ok, told) = reload(&world, r#"{"allow": ["10.0.0.0/8", "127.0.0.1"]}"#);
    assert!(ok, "{told}");
    assert!(answers(&world));
    bob.sees("you are in #lobby");

    let bad = r#"{"allow": ["10.0.0.1/8"]}"#;
    let (ok, told) = reload(&world, bad);
    let wanted = "allow[0]: the range has bits beyond its prefix";
    assert!(!ok && told.contains(wanted) && told.contains("stays as it was"), "{told}");
    assert!(answers(&world), "the old list holds");
    let other = World::new();
    fs::write(other.home().join("config.json"), bad).unwrap();
    let other = other.stopped();
    let (ok, told) = other.operator(&["server", "--no-owner"]);
    assert!(!ok && told.contains(wanted), "{told}");

    let (ok, told) = reload(&world, r#"{"allow": ["10.0.0.0/8"]}"#);
    assert!(ok, "{told}");
    // It holds once that has ended.
    assert!(world.operator(&["ctl", "say", "after the reload"]).0);
    bob.sees("bob may not connect from 127.0.0.1");
    assert_eq!(bob.seen("after the reload"), 0);
    assert!(!answers(&world));
}

#[test]
fn an_owner_in_the_chat_does_not_put_themselves_out() {
    let world = World::new();
    let mut bob = world.enters("bob");
    world.operator(&["users", "role", "bob", "owner"]);
    world.server.is_told("bob is owner now");
    fs::write(world.home().join("config.json"), r#"{"allow": ["10.0.0.0/8"]}"#).unwrap();
    bob.types("/reload");
    bob.sees("config.json would exclude you: it does not admit 127.0.0.1");
    bob.types("still here");
    bob.sees("You: still here");
    assert!(answers(&world), "the old list holds");
    let (ok, told) = world.operator(&["ctl", "reload"]);
    assert!(ok, "{told}");
    bob.sees("bob may not connect from 127.0.0.1");
}

#[test]
fn a_persons_own_list_is_theirs_alone() {
    let world = World::new();
    let alice = world.enters("alice");
    let bob = world.enters("bob");
    let file = world.home().join("users/bob.json");
    fs::write(&file, r#"{"allow": ["192.0.2.0/24", "2001:db8::/32"]}"#).unwrap();
    bob.sees("bob may not connect from 127.0.0.1");
    alice.sees("bob left");
    world.client("bob", &["--plain"]).sees("bob may not connect from 127.0.0.1");
    // A script reports that, and not that the server is gone.
    let mut script = world.client("bob", &["--send", "hi"]);
    assert_eq!(script.ends().code(), Some(5));
    script.is_told("bob may not connect");
    assert!(!script.told().iter().any(|line| line.contains("was cut")), "{:?}", script.told());
    fs::write(&file, r#"{"allow": ["127.0.0.1/8"]}"#).unwrap();
    world.server.is_told("bits beyond its prefix");
    world.client("bob", &["--plain"]).sees("bob may not connect");
    fs::write(&file, r#"{"allow": ["127.0.0.0/8"]}"#).unwrap();
    world.until("bob is in again", || world.client("bob", &["--send", "back"]).ends().success());
    alice.sees("bob: back");
}

#[test]
fn an_ipv4_address_is_the_same_when_it_comes_mapped_into_ipv6() {
    let world = World::configured_at(r#"{"allow": ["127.0.0.0/8"]}"#, "[::]:0");
    let port = world.address.rsplit(':').next().unwrap().to_owned();
    world.admit("bob");
    let by =
        |host: &str| world.client_by("bob", &format!("{host}:{port}"), &["--send", "hi"]).ends();
    assert!(by("127.0.0.1").success(), "it comes as ::ffff:127.0.0.1");
    assert_eq!(by("[::1]").code(), Some(4), "and ::1 is not on the list");
}

#[test]
fn a_reload_without_a_config_json_lifts_no_rule() {
    let world = World::configured(r#"{"deny": ["127.0.0.0/8"]}"#);
    let (config, kept) = (world.home().join("config.json"), world.home().join("kept.json"));
    fs::rename(&config, &kept).unwrap();
    let stays = |why: &str| {
        let (ok, told) = world.operator(&["ctl", "reload"]);
        assert!(!ok && told.contains(why) && told.contains("everything stays as it was"), "{told}");
        assert!(!answers(&world), "the rule is in force");
    };
    stays("config.json is missing");
    std::os::unix::fs::symlink("nowhere.json", &config).unwrap();
    stays("config.json: it leads to no file");
    // The control: the rule can be lifted.
    fs::remove_file(&config).unwrap();
    assert!(reload(&world, "{}").0);
    assert!(answers(&world));
    let world = world.stopped();
    fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink("nowhere.json", &config).unwrap();
    for command in [&["check"][..], &["server", "--no-owner"]] {
        let (ok, told) = world.operator(command);
        assert!(!ok && told.contains("config.json: it leads to no file"), "{command:?}: {told}");
    }
}

#[test]
fn a_reload_changes_limits_at_once_and_names_what_waits_for_the_next_start() {
    let world = World::with(r#"{"messages_burst": 2, "messages_per_s": 0.01}"#);
    let mut alice = world.enters("alice");
    for line in ["one", "two", "three"] {
        alice.types(line);
    }
    alice.sees("too fast");
    let limits = r#""messages_burst": 10, "listen_backlog": 7"#;
    let config = format!(r#"{{"server_port": 9, "motd": "new", "limits": {{{limits}}}}}"#);
    fs::write(world.home().join("config.json"), config).unwrap();
    let (ok, told) = world.operator(&["ctl", "reload", "--json"]);
    assert!(ok, "{told}");
    let reply: Value = serde_json::from_str(&told).unwrap();
    let waiting = serde_json::json!(["limits.listen_backlog", "server_port"]);
    assert_eq!(reply["data"]["waiting"], waiting, "{told}");
    // It would wait for its time, and the others behind it.
    alice.types("/cancel");
    for line in ["four", "five", "six"] {
        alice.types(line);
        alice.sees(&format!("You: {line}"));
    }
    world.enters("bob").sees("server| new");
    // So it is with the rules of a channel.
    let (_, told) = world.operator(&["ctl", "retention", "--dry-run"]);
    assert!(told.starts_with("0 messages"), "{told}");
    let (ok, told) = reload(&world, r##"{"channels": {"#lobby": {"retention": "1s"}}}"##);
    assert!(ok, "{told}");
    world.until("lines of the lobby are too old", || {
        let (_, told) = world.operator(&["ctl", "retention", "--dry-run"]);
        told.contains("of 1 conversations would be removed")
    });
    // What is wrong with a person's file is said too, and what was set for them before holds.
    fs::write(world.home().join("users/bob.json"), r#"{"role": "king"}"#).unwrap();
    let (ok, told) = reload(&world, r#"{"retention": "off", "motd": "newer"}"#);
    assert!(ok && told.contains("only the next start changes retention"), "{told}");
    assert!(told.contains("bob.json") && told.contains("a role is owner, moderator"), "{told}");
    world.enters("carol").sees("server| newer");
}
