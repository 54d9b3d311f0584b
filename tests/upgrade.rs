//! A home of an older pychat continues, and one of a newer pychat is not changed. On the real
//! binary.

mod world;

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use world::World;

/// Reverts the later steps of the schema of a ledger.
const TO_SCHEMA_1: &str = concat!(
    include_str!("data/to_schema_12.sql"),
    include_str!("data/to_schema_11.sql"),
    include_str!("data/to_schema_9.sql"),
    include_str!("data/to_schema_1.sql")
);

/// What of a home was there at first: the seeds' two keys in config.json, the server's key,
/// people's keys, and a ledger of the first schema.
fn made_old(home: &Path) {
    let config = r#"{"server_ip": "127.0.0.1", "server_port": 5000}"#;
    fs::write(home.join("config.json"), config).unwrap();
    let keeps = |folder: &str, kept: &dyn Fn(&str) -> bool| {
        for entry in fs::read_dir(home.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if kept(path.file_name().unwrap().to_str().unwrap()) {
                continue;
            }
            match path.is_dir() {
                true => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
    };
    keeps("keys", &|name| name == "server.pem");
    keeps("users", &|name| name.ends_with(".pem"));
    // A server that ended under load may leave its last messages in the write-ahead log.
    keeps("data", &|name| name.starts_with("ledger.db"));
    let ledger = Connection::open(home.join("data/ledger.db")).unwrap();
    ledger.execute_batch(TO_SCHEMA_1).unwrap();
}

#[test]
fn a_home_of_the_first_days_goes_on() {
    let world = World::new();
    let mut alice = world.enters("alice");
    world.admit("bob");
    for line in ["tea at five", "or at six"] {
        alice.types(line);
        alice.sees(&format!("You: {line}"));
    }
    drop(alice);
    let world = world.stopped();
    let home = world.home();
    made_old(&home);
    let (_, told) = world.operator(&["check"]);
    assert!(!told.contains("problem:") || told.contains("127.0.0.1:5000"), "{told}");

    let world = world.started();
    assert!(home.join("data/ledger.schema-1.backup").exists());
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("alice: tea at five");
    bob.sees("alice: or at six");
    bob.types("six then");
    bob.sees("You: six then");
    bob.types("/search five");
    bob.shows("what was found", |lines| {
        lines.iter().filter(|line| line.contains("tea at five")).count() >= 2
    });
    for word in ["ban", "unban"] {
        let (ok, told) = world.operator(&["ctl", word, "192.0.2.7"]);
        assert!(ok, "{told}");
    }
    for job in [&["audit", "verify"][..], &["verify"], &["check"]] {
        let (ok, told) = world.operator(job);
        assert!(ok, "{job:?}: {told}");
    }
}

#[test]
fn a_home_of_a_newer_pychat_is_refused_with_a_sentence_and_left_alone() {
    let world = World::new().stopped();
    let file = world.home().join("data/ledger.db");
    Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let before = fs::read(&file).unwrap();
    for job in [&["server", "--no-owner", "--listen", "127.0.0.1:0"][..], &["verify"], &["check"]] {
        let (ok, told) = world.operator(job);
        assert!(!ok && told.contains("ledger.db") && told.contains("newer"), "{job:?}: {told}");
        assert!(told.contains("hint:"), "{job:?}: {told}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

/// What mattered of the layout that schema 1 had before the first release, with a line in it.
const UNRELEASED: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE meta (log INTEGER NOT NULL) STRICT;
CREATE TABLE conversations (
    conversation INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL DEFAULT 0, topic TEXT
) STRICT;
CREATE TABLE lines (
    line INTEGER PRIMARY KEY, conversation INTEGER NOT NULL REFERENCES conversations, seq INTEGER NOT NULL,
    id BLOB NOT NULL, sender TEXT NOT NULL, device TEXT NOT NULL, time_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL, target INTEGER, state INTEGER NOT NULL DEFAULT 0, text TEXT NOT NULL,
    checksum INTEGER NOT NULL, UNIQUE (conversation, seq), UNIQUE (conversation, sender, id)
) STRICT;
INSERT INTO meta VALUES (7);
INSERT INTO conversations VALUES (1, '#lobby', 1, NULL);
INSERT INTO lines VALUES (1, 1, 1, x'00', 'alice', 'main', 0, 0, NULL, 0, 'tea at five', 0);
PRAGMA user_version = 1;
";

#[test]
fn a_ledger_from_before_the_first_release_is_refused_and_left_alone() {
    let world = World::new().stopped();
    let data = world.home().join("data");
    let file = data.join("ledger.db");
    let path = file.to_str().unwrap();
    fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch(UNRELEASED).unwrap();
    let before = fs::read(&file).unwrap();
    for job in [
        &["server", "--no-owner", "--listen", "127.0.0.1:0"][..],
        &["verify"],
        &["check"],
        &["restore", path],
        &["users", "remove", "alice", "--erase"],
    ] {
        let (ok, told) = world.operator(job);
        assert!(!ok, "{job:?}: {told}");
        if job[0] != "users" {
            assert!(told.contains("ledger.db is of a layout from before"), "{job:?}: {told}");
            assert!(told.contains("hint:") && told.contains("move it away"), "{job:?}: {told}");
        }
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    let names = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_str().unwrap().contains("backup")));
    // Its conversation is free once it was moved away.
    fs::rename(&file, data.join("old.db")).unwrap();
    world.started_with_a_new_ledger().enters("bob");
}
