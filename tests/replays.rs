//! A hostile server that replays sealed messages, and sends answers that nobody has asked for, to
//! the real binary.

mod world;

use std::fs;
use std::path::PathBuf;

use pychat::chat::{Command, Request};
use pychat::crypto::RecordType;
use serde_json::{Value, json};
use world::hostile::{HostileServer, Session, now_ms, told};
use world::program::memory_kib;
use world::pty::Terminal;

const TEXT: &str = "yes, pay them";

fn sequences_file(story: &HostileServer) -> PathBuf {
    let files = fs::read_dir(story.world.data_folder("carol").join("servers")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|it| it == "sequences")).unwrap()
}

/// bob's conversation with carol, up to this seq.
fn conversations(last: u64) -> Value {
    let last = last.to_string();
    json!({"type": "conversations", "conversations": [{"to": "@bob", "epoch": "00000000000000ac",
        "last": last, "read": last, "retention": "forever"}]})
}

fn end(to: Option<&str>, reference: Option<&str>) -> Value {
    json!({"type": "history", "to": to, "messages": 1, "more": false, "ref": reference})
}

/// Tells the message again in every way that looks like a part of an answer.
fn tells_again(double: &Session, said: &Value) {
    let elsewhere = json!({"type": "message", "seq": "7", "to": "#elsewhere", "from": "alice",
        "device": "main", "id": "7".repeat(32), "time_ms": now_ms(), "text": TEXT, "ref": ""});
    double.tells(elsewhere);
    let references = ["", "history", "search", "older @bob", "tail", "pychat-1", "q1"];
    for (seq, reference) in (10..).zip(references) {
        double.tells(told(said, seq, json!({"ref": reference})));
        double.tells(told(said, seq, json!({"ref": reference, "replay": true})));
        double.tells(end(Some("@bob"), Some(reference)));
        double.tells(end(Some("@bob"), None));
    }
    double.tells(json!({"type": "notice", "text": "that was all"}));
}

#[test]
fn an_old_message_is_no_answer_that_nobody_has_asked_for() {
    for face in ["--plain", "--json"] {
        let story = HostileServer::known_to(&["carol", "bob"]);
        let (mut carol, double) = story.client(&[face]);
        carol.sees("#lobby");
        let said = story.bobs_message(TEXT);
        double.tells(conversations(0));
        double.tells(told(&said, 1, json!({})));
        carol.sees(TEXT);
        tells_again(&double, &said);
        carol.sees("that was all");
        assert_eq!(carol.seen(TEXT), 1, "{:#?}", carol.shown());
        // The control: the answer to a request is shown, and closes it.
        let reference = match face {
            "--plain" => {
                carol.types("/query bob");
                carol.types("/history");
                Some("history")
            }
            _ => {
                carol.types(r#"{"type":"history","to":"@bob"}"#);
                None
            }
        };
        let asked = || double.heard.lock().unwrap().iter().any(is_history);
        story.world.until("carol asks", asked);
        double.tells(told(&said, 1, json!({"ref": reference.unwrap_or_default()})));
        double.tells(end(Some("@bob"), reference));
        carol.shows("the answer", |lines| lines.iter().filter(|it| it.contains(TEXT)).count() == 2);
        tells_again(&double, &said);
        double.tells(json!({"type": "notice", "text": "the end"}));
        carol.sees("the end");
        assert_eq!(carol.seen(TEXT), 2, "{:#?}", carol.shown());
    }
}

fn is_history(request: &Request) -> bool {
    matches!(request.command, Command::History { .. })
}

#[test]
fn the_full_screen_shows_no_such_answer_and_keeps_its_messages_at_a_gap() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut screen, double) = story.terminal(&[]);
    screen.shows("* connected");
    let said = story.bobs_message(TEXT);
    double.tells(conversations(0));
    double.tells(told(&said, 1, json!({})));
    screen.shows("2:@bob");
    screen.types("\x1b2");
    screen.shows(TEXT);
    tells_again(&double, &said);
    screen.shows("that was all");
    let times = |screen: &Terminal| screen.screen().matches(TEXT).count();
    assert_eq!(times(&screen), 1, "{}", screen.screen());
    double.tells(json!({"type": "gap", "to": "@bob", "from_seq": "1", "to_seq": "1",
        "stored": true}));
    screen.shows("server| 1 message of @bob was omitted");
    assert_eq!(times(&screen), 1, "{}", screen.screen());
}

#[test]
fn an_answer_without_an_end_takes_no_memory() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut screen, double) = story.terminal(&[]);
    screen.shows("* connected");
    let before = memory_kib(screen.program());
    let after = floods(&double, &screen, "");
    assert!(after < before + (8 << 10), "{before} KiB, then {after}");
    // An answer that was asked for takes a hundred messages of 8 KB.
    screen.types("/history\r");
    story.world.until("carol asks", || double.heard.lock().unwrap().iter().any(is_history));
    let after = floods(&double, &screen, "history");
    assert!(after < before + (16 << 10), "{before} KiB, then {after}");
}

/// Sends 40 MB of messages as an answer without an end. Returns the memory of the client, in KiB.
fn floods(double: &Session, screen: &Terminal, reference: &str) -> u64 {
    let text = "x ".repeat(4_000);
    for seq in 1..5_000 {
        double.tells(json!({"type": "message", "seq": seq.to_string(), "to": "#lobby",
            "from": "bob", "device": "main", "id": format!("{seq:032x}"), "time_ms": 1,
            "text": text, "ref": reference}));
    }
    let mark = format!("after {reference:?}");
    double.tells(json!({"type": "notice", "text": mark}));
    screen.shows_row(|row| row.contains(&mark));
    memory_kib(screen.program())
}

#[test]
fn tombstones_of_invented_users_take_no_memory_and_no_disk() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut plain, double) = story.client(&["--plain"]);
    plain.types("/join tea blue kettle 47");
    plain.sees("you are in #tea~");
    // The double answers a request before it notes it.
    story.world.until("the join is noted", || double.channel().is_some());
    let channel = double.channel().unwrap();
    plain.types(TEXT);
    story.world.until("it is sealed", || double.sealed().is_some());
    let said = double.sealed().unwrap();
    let tells = |double: &Session, seq: u64| {
        double.tells(json!({"type": "message", "seq": seq.to_string(), "to": said["to"],
            "from": "carol", "device": "main", "id": said["id"], "sealed": said["sealed"],
            "time_ms": now_ms()}));
    };
    tells(&double, 1);
    plain.sees(&format!("You: {TEXT}"));
    let before = plain.memory_kib();
    let mut body = String::new();
    for seq in 2..=40_000 {
        let tombstone = json!({"type": "message", "seq": seq.to_string(), "to": channel,
            "from": format!("made-{seq:026}"), "device": "m", "id": format!("{seq:032x}"),
            "time_ms": 1, "kind": "edit", "of": "1", "text": "", "replay": true});
        body.push_str(&format!("{tombstone}\n"));
        if body.len() > 15_000 {
            double.sends(RecordType::Json, body.as_bytes());
            body.clear();
        }
    }
    double.sends(RecordType::Json, body.as_bytes());
    double.tells(json!({"type": "notice", "text": "that was all"}));
    plain.shows("that was all", |lines| lines.iter().any(|line| line.contains("that was all")));
    let after = plain.memory_kib();
    assert!(after < before + (16 << 10), "{before} KiB, then {after}");
    plain.types("/exit");
    plain.ends();
    drop(double);
    let bytes = fs::metadata(sequences_file(&story)).unwrap().len();
    assert!(bytes < 200_000, "{bytes} bytes");
    // And the old message is still known.
    let (plain, double) = story.client(&["--plain"]);
    plain.sees("you are in #tea~");
    tells(&double, 50_000);
    plain.sees("was delivered before");
    assert_eq!(plain.seen(TEXT), 0, "{:#?}", plain.shown());
}

#[test]
fn a_further_client_and_a_tail_know_what_was_received() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut first, double) = story.client(&["--plain"]);
    first.sees("#lobby");
    let said = story.bobs_message(TEXT);
    double.tells(conversations(1));
    double.tells(told(&said, 1, json!({})));
    first.sees(TEXT);
    first.types("/exit");
    first.ends();
    drop(double);
    let (first, _double) = story.client(&["--plain"]);
    first.sees("#lobby");
    let tail = ["--tail", "1", "-f", "--to", "bob"];
    for args in [&["--plain"][..], &["--json"], &tail, &["--plain"]] {
        let (second, double) = story.client(args);
        if args != tail {
            second.sees("#lobby");
            double.tells(conversations(2));
        }
        let asked = || double.heard.lock().unwrap().iter().any(is_history);
        story.world.until("the tail has begun", || args != tail || asked());
        double.tells(told(&said, 2, json!({})));
        double.tells(told(&said, 3, json!({"replay": true})));
        // The control: a message in the clear is the server's word.
        double.tells(json!({"type": "message", "seq": "4", "to": "@carol", "from": "bob",
            "device": "main", "id": "4".repeat(32), "time_ms": now_ms(), "text": "in the clear",
            "replay": true}));
        second.sees("in the clear");
        assert_eq!(second.seen(TEXT), 0, "{args:?}: {:#?}", second.shown());
    }
    // Under its own seq it is an older message, and has its own time.
    let (second, double) = story.client(&["--json"]);
    second.sees("#lobby");
    double.tells(conversations(1));
    let time_ms = now_ms() + 5 * 3_600_000;
    double.tells(told(&said, 1, json!({"replay": true, "time_ms": time_ms})));
    let shown: Value = serde_json::from_str(&second.sees(TEXT)).unwrap();
    let shown: jiff::Timestamp = shown["time"].as_str().unwrap().parse().unwrap();
    assert!(shown.as_millisecond() < time_ms - 3_600_000, "{shown}");
}

#[test]
fn a_client_stops_at_a_file_that_it_cannot_read_as_a_whole() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut first, double) = story.client(&["--plain"]);
    first.sees("#lobby");
    first.types("/exit");
    first.ends();
    drop(double);
    let path = sequences_file(&story);
    let bytes = (64 << 20) + 1;
    fs::File::options().write(true).open(&path).unwrap().set_len(bytes).unwrap();
    for args in [&["--plain"][..], &["--json"], &["--send", "hi"]] {
        let mut client = story.world.client_by("carol", &story.address(), args);
        client.is_told(path.to_str().unwrap());
        client.ends();
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
}
