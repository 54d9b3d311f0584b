//! What only people can read: channels with a PIN and private messages, on the real binary.

mod people;
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use world::peer::Peer;
use world::{Program, World};

/// A line that lets others into a channel, as its maker is shown it.
fn makes(maker: &mut Program, channel: &str) -> String {
    maker.types(&format!("/create {channel}"));
    let line = maker.sees(&format!("/join #{channel} ")).trim_start_matches("-- ").to_owned();
    maker.sees(&format!("you are in #{channel}~"));
    line
}

/// Where the keys of a device for this server lie.
fn device_keys(world: &World, name: &str) -> PathBuf {
    let mut servers = fs::read_dir(world.data_folder(name).join("device")).unwrap();
    let folder = servers.next().unwrap().unwrap().path();
    assert!(servers.next().is_none(), "there is one server");
    folder
}

/// Waits until so many devices have published a certificate, and the server gives them to others:
/// they are on its disk a moment before.
fn certified(world: &World, devices: usize) {
    let file = world.home().join("data/certificates.json");
    world.until("they have certificates", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        serde_json::from_str::<Vec<String>>(&text).is_ok_and(|list| list.len() == devices)
    });
    let users = fs::read_dir(world.home().join("users")).unwrap();
    let users = users.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<_> = users.map(|file| file.split('.').next().unwrap().to_owned()).collect();
    let keys = serde_json::json!({"type": "keys", "names": names}).to_string();
    let mut alice = Peer::enters(world, "alice", "main");
    world.until("the certificates are given", || {
        alice.asks(&keys).matches("\"certificate\":").count() == devices
    });
}

#[test]
fn who_was_met_just_before_the_end_is_kept() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    certified(&world, 2);
    let bytes = || {
        let files = fs::read_dir(world.data_folder("bob").join("servers")).unwrap();
        let is = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "trust");
        let file = files.map(|file| file.unwrap().path()).find(is);
        file.map_or(0, |file| fs::metadata(file).unwrap().len())
    };
    world.until("he has stored whom he knows", || bytes() > 0);
    let line = makes(&mut alice, "tea");
    alice.types("the first line");
    let before = bytes();
    bob.types(&line);
    bob.sees("alice: the first line");
    bob.types("/quit");
    assert!(bob.ends().success());
    // Her key and her certificate.
    assert!(bytes() > before + 1_000, "{before} {}", bytes());
}

#[test]
fn who_has_the_pin_reads_and_another_pin_is_another_channel() {
    let world = World::new();
    let (mut alice, mut bob, mut carol) =
        (world.enters("alice"), world.enters("bob"), world.enters("carol"));
    let line = makes(&mut alice, "tea");
    alice.types("the first line");
    alice.sees("You: the first line");
    bob.types(&line);
    bob.sees("deriving the key");
    bob.sees("only those who know the PIN can read it");
    bob.sees("alice: the first line");
    assert_eq!(bob.seen("you are the first here"), 0);
    carol.types("/join tea 1234");
    carol.sees("this PIN is short");
    carol.sees("20 minutes");
    carol.sees("you are the first here");
    bob.types("is it five?");
    alice.sees("bob: is it five?");
    bob.types("/edit is it six?");
    alice.sees("bob (corrected): is it six?");
    bob.types("/me waits");
    alice.sees("* bob waits");
    bob.types("/topic secret things");
    bob.sees("no topic");
    carol.types("/channels");
    carol.sees("#lobby");
    carol.sees("#tea~");
    bob.types("/search six");
    // Two channels of one name, each with its lock.
    let (ok, shown) = world.operator(&["ctl", "channels"]);
    assert!(ok);
    assert_eq!(shown.matches("\u{1f512}").count(), 2, "{shown}");
    assert_eq!(shown.matches("#tea~").count(), 2, "{shown}");
    assert!(shown.contains("  2 members\n    alice\n    bob"), "{shown}");
    // The others never saw a word of it.
    for word in ["first line", "five", "six", "waits"] {
        assert_eq!(carol.seen(word), 0, "{word}");
    }
}

#[test]
fn a_channel_is_there_again_with_what_was_missed_and_forgotten_when_left() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let line = makes(&mut alice, "tea");
    let mut bob = world.enters("bob");
    bob.types(&line);
    bob.sees("you are in #tea~");
    bob.types("/exit");
    bob.ends();
    alice.types("while bob was away");
    alice.sees("You: while bob was away");
    alice.types("/delete");
    alice.sees("(deleted a message)");
    alice.types("and this stays");
    alice.sees("You: and this stays");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("alice: and this stays");
    assert_eq!(bob.seen("while bob was away"), 0);
    assert_eq!(bob.seen("missing"), 0, "{:#?}", bob.shown());
    bob.types("/query #tea");
    bob.types("hi again");
    alice.sees("bob: hi again");
    bob.types("/part tea");
    bob.sees("you left #tea~");
    bob.types("/exit");
    bob.ends();
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    bob.types("/history");
    bob.sees("messages");
    assert_eq!(bob.seen("you are in #tea"), 0, "{:#?}", bob.shown());
}

#[test]
fn no_pin_is_taken_from_the_command_line_and_a_file_of_them_is_for_ones_own_eyes() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("/join tea half past four");
    alice.sees("you are the first here");
    alice.types("only for bob");
    alice.sees("You: only for bob");
    world.admit("bob");
    for asked in ["tea:half past four", "tea:4711", "tea 4711"] {
        let mut refused = world.client("bob", &["--plain", "--join", asked]);
        assert_eq!(refused.ends().code(), Some(2));
        refused.is_told("--join takes no PIN");
        let hint = refused.is_told("hint:");
        assert!(hint.contains("/join CHANNEL PIN") && hint.contains("--join-file"), "{hint}");
        let told = [refused.told(), refused.shown()].concat().join("\n");
        assert!(!told.contains("past") && !told.contains("4711"), "{told}");
    }
    // What is no PIN gets no word about PINs.
    let mut refused = world.client("bob", &["--plain", "--join", "te%a"]);
    assert_eq!(refused.ends().code(), Some(2));
    let hint = refused.is_told("hint:");
    assert!(!hint.contains("PIN"), "{hint}");
    let file = world.home().join("pins");
    fs::write(&file, "tea  half past four\n").unwrap();
    let path = file.to_str().unwrap();
    let mut refused = world.client("bob", &["--plain", "--join-file", path]);
    assert_eq!(refused.ends().code(), Some(3));
    refused.is_told("chmod 600");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let bob = world.client("bob", &["--plain", "--join-file", path]);
    bob.sees("alice: only for bob");
}

#[test]
fn a_program_is_told_who_can_read_and_what_is_kept_is_for_ones_own_eyes() {
    let world = World::new();
    let mut bob = world.enters_as("bob", "--json");
    let lobby = bob.sees(r##""channel":"#lobby""##);
    assert!(lobby.contains(r#""readers":"operator""#), "{lobby}");
    bob.types(r#"{"type":"slash","line":"/join tea half past four"}"#);
    let tea = bob.sees(r##""channel":"#tea~"##);
    assert!(tea.contains(r#""readers":"pin""#), "{tea}");
    bob.types(r#"{"type":"slash","line":"/topic"}"#);
    let topic = bob.sees(r#""type":"topic""#);
    assert!(topic.contains(r#""readers":"pin""#), "{topic}");
    bob.types(r#"{"type":"slash","line":"/me waits"}"#);
    bob.sees(r#""confidentiality":"pin""#);
    // All of it is stored at the end.
    bob.types(r#"{"type":"quit"}"#);
    assert!(bob.ends().success());
    let mut files = 0;
    for folder in [world.data_folder("bob").join("servers"), device_keys(&world, "bob")] {
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap();
            // The server's public key is for everybody.
            if file.path().extension().is_some_and(|extension| extension == "pem") {
                continue;
            }
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
            files += 1;
        }
    }
    assert!(files >= 4, "{files}");
}

#[test]
fn an_empty_channel_vanishes_and_its_lines_stay_or_go_as_the_operator_wants() {
    for forgets in [false, true] {
        let limits = r#""limits": {"channel_empty_s": 1}"#;
        let world = World::configured(&format!(r#"{{"forget_empty": {forgets}, {limits}}}"#));
        let mut alice = world.enters("alice");
        let line = makes(&mut alice, "tea");
        alice.types("still here");
        alice.sees("You: still here");
        let channels = || world.operator(&["ctl", "channels"]).1;
        assert!(channels().contains("#tea~"));
        alice.types("/part tea");
        alice.sees("you left #tea~");
        world.until("the server keeps only the lobby in memory", || world.counter("channels") == 1);
        // A channel with messages exists while nobody is in it.
        world.until("its messages decide", || channels().contains("#tea~") != forgets);
        let mut bob = world.enters("bob");
        bob.types(&line);
        bob.sees("only those who know the PIN");
        bob.types("/history");
        bob.sees(if forgets { "server| 0 messages" } else { "server| 1 message" });
        assert_eq!(bob.seen("alice: still here") > 0, !forgets, "{:#?}", bob.shown());
    }
}

/// Of words said in channels with a PIN and in private or looked for there, and of a PIN, none
/// reaches the server: not its files, write-ahead log, logs and backups, and not its memory. A word
/// of the lobby does reach them all.
#[test]
fn no_canary_flies_to_the_server() {
    let log = r#"{"log": {"level": "debug", "file": "data/log"}}"#;
    let world = World::configured(log);
    world.admit_by_log("alice", "data/log");
    world.admit_by_log("bob", "data/log");
    let mut alice = world.client("alice", &["--plain"]);
    alice.sees("you are in #lobby");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    for who in [&mut alice, &mut bob] {
        who.types("/join #nest canarypin zebra");
        who.sees("you are in #nest~");
    }
    alice.types("canaryone in the nest");
    bob.sees("canaryone");
    alice.types("/edit canarytwo in the nest");
    bob.sees("canarytwo");
    bob.types("/me canarythree");
    alice.sees("canarythree");
    bob.types("/topic canaryfour");
    bob.sees("no topic");
    alice.types("/pm bob canaryfive");
    bob.sees("canaryfive");
    bob.types("/exit");
    bob.ends();
    alice.types("/pm bob canarysix while away");
    alice.sees("You -> bob: canarysix");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("canarysix");
    bob.types("/query #nest");
    bob.types("/history");
    bob.sees("messages");
    // What they look for there is known to them alone, also where it was never said.
    for (who, conversation) in [(&mut alice, "bob"), (&mut bob, "#nest")] {
        who.types(&format!("/query {conversation}"));
        who.types("/search canaryseven");
        who.sees("0 messages");
    }
    bob.types("/search canarytwo");
    bob.sees("-- 1 message");
    // The control: it is read, and it is found.
    alice.types("/query #lobby");
    alice.types("controlbird sings");
    bob.sees("controlbird");
    let backup = world.home().join("backup.db");
    let (ok, told) = world.operator(&["backup", backup.to_str().unwrap()]);
    assert!(ok, "{told}");
    let inside = |text: &str| {
        (world.found_in("home", text), world.server.counts_in_memory(&[text.as_bytes()])[0])
    };
    let (files, memory) = inside("controlbird");
    assert!(files >= 2 && memory > 0, "in files {files}, in memory {memory}");
    for word in ["canarypin", "zebra", "one", "two", "three", "four", "five", "six", "seven"] {
        let word = match word {
            "canarypin" | "zebra" => word.to_owned(),
            number => format!("canary{number}"),
        };
        assert_eq!(inside(&word), (0, 0), "{word}");
        // The PIN and what was said lie in nobody's files either.
        assert_eq!(
            (world.found_in("alice", &word), world.found_in("bob", &word)),
            (0, 0),
            "{word}"
        );
    }
}
