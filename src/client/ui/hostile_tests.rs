//! Texts of a hostile server on a screen: no row of them begins like a text of this client.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::gutter;
use crate::chat::{Event, Message};
use crate::client::model::{Origin, Output};

pub const ROUNDS: u64 = 200;

/// Texts that this client itself would show.
const OWN: [&str; 5] = [
    "compare this with bob, over the phone or face to face: 12345 12345",
    "-- the keys of bob are confirmed",
    "=!= the server has not told the keys of bob",
    "typed text now goes to #tea~0123",
    "\u{1f512} sealed: PIN holders read",
];

/// A text that would begin a row like this client's own, if a terminal, a line break or a long line
/// let it.
pub fn forged(chance: &mut StdRng) -> String {
    let before = ["", "x", "hello there", "漢字", "e\u{301}", "server| ", "[12:00:00] You: hi"];
    let mut text = (*before.choose(chance).unwrap()).to_owned();
    match chance.random_range(0..4) {
        0 => text.push('\n'),
        1 => text.push_str("\r\n"),
        2 => text.push_str(&" ".repeat(chance.random_range(0..130))),
        _ => text.push_str(&"x".repeat(chance.random_range(0..130))),
    }
    text + ["", "-- ", "=!= ", "\u{1b}[1G-- ", "--\u{a0}"].choose(chance).unwrap()
        + OWN.choose(chance).unwrap()
}

/// A server event with such a text.
pub fn event(chance: &mut StdRng) -> Value {
    let text = forged(chance);
    let line = text.replace(['\n', '\r', '\u{1b}'], " ");
    let secret = format!("#tea~{}", "0".repeat(26));
    let conversation = *["#lobby", "@alice", "@bob"].choose(chance).unwrap();
    let from = *["alice", "bob"].choose(chance).unwrap();
    match chance.random_range(0..11) {
        0 => json!({"type": "notice", "text": text.replace(['\r', '\u{1b}'], "")}),
        1 => json!({"type": "refused", "code": "forbidden", "hint": line}),
        2 => json!({"type": "goodbye", "code": "kicked", "reason": line}),
        3 => json!({"type": "welcome", "name": "alice", "device": "main", "version": "1",
            "text_bytes_max": 8192, "time_ms": 0, "motd": line}),
        4 => json!({"type": "topic", "to": "#lobby", "text": line, "retention": "forever"}),
        5 => {
            json!({"type": "topic", "to": "#lobby", "who": "bob", "text": line, "retention": "forever"})
        }
        6 => json!({"type": "left", "to": "#lobby", "who": "bob", "here": 1, "after_ms": 9,
            "reason": line}),
        7 => json!({"type": "whois", "name": "bob", "fingerprints": [line], "devices": ["main"],
            "idle_ms": 7, "away": line, "channels": []}),
        8 => json!({"type": "channels", "channels": [{"channel": "#lobby", "here": 1,
            "member": true, "topic": line}, {"channel": secret, "here": 1, "member": true}]}),
        _ => json!({"type": "message", "seq": chance.random_range(1..9_u8).to_string(),
            "to": conversation, "from": from, "device": "main", "id": format!("{:032x}", chance.random::<u64>()),
            "time_ms": 1_795_615_380_000_u64, "text": text.replace(['\r', '\u{1b}'], ""),
            "kind": if chance.random() { "say" } else { "me" }}),
    }
}

/// The event, received over the wire.
pub fn shown(event: Value) -> Output {
    match serde_json::from_value(event).unwrap() {
        Event::Message(message) => Output::Message(Message { ..message }),
        event => Output::Event(Origin::Server, event),
    }
}

/// Returns whether a row begins like a text of this client.
pub fn is_own(row: &str) -> bool {
    let row = row.replace('\u{a0}', " ");
    row.starts_with(gutter::NOTICE) || row.starts_with(gutter::ERROR)
}

/// The content of every text field of a server; no other row contains the letter.
pub const WORDS: &str =
    "qqqq qqq qqqqq qq qqqqqq qqqq qqq qqqqq qq qqqqqq qqqq qqq qqqqq qq qqqqqq";

const BLOB: &str = "BwcHBwcHBwcHBwcHBwcHBw";

/// The number of an event's kind. A new kind must be added below, or this does not compile.
fn kind(event: &Event) -> usize {
    match event {
        Event::Welcome { .. } => 0,
        Event::Password { .. } => 1,
        Event::Message(_) => 2,
        Event::Stored { .. } => 3,
        Event::Gap { .. } => 4,
        Event::Conversations { .. } => 5,
        Event::Read { .. } => 6,
        Event::History { .. } => 7,
        Event::Entered { .. } => 8,
        Event::Parted { .. } => 9,
        Event::Joined { .. } => 10,
        Event::Left { .. } => 11,
        Event::People { .. } => 12,
        Event::Channels { .. } => 13,
        Event::Whois { .. } => 14,
        Event::Keys { .. } => 15,
        Event::Successor { .. } => 16,
        Event::Topic { .. } => 17,
        Event::Refused { .. } => 18,
        Event::Notice { .. } => 19,
        Event::Goodbye { .. } => 20,
        Event::Unknown => 21,
        Event::Ticket { .. } => 22,
        Event::SessionTicket { .. } => 30,
        Event::Count { .. } => 23,
        Event::Upload { .. } => 24,
        Event::Download { .. } => 25,
        Event::Kept { .. } => 26,
        Event::Stopped { .. } => 27,
        Event::Dropped { .. } => 28,
        Event::Usage { .. } => 29,
    }
}

/// Every event, with these words in each text from the server.
pub fn every() -> Vec<Event> {
    let (id, log, seq) = ("0".repeat(32), "00000000000000ff", "7");
    let message = |to: &str, more: Value| {
        let mut line = json!({"type": "message", "seq": seq, "to": to, "from": "bob", "device": "main",
            "id": id, "time_ms": 1_795_615_380_000_u64, "text": format!("{WORDS}\n{WORDS}")});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let rows = vec![
        json!({"channel": "#tea", "here": 1, "member": true, "topic": WORDS}),
        json!({"channel": "#lobby", "here": 1, "member": false, "topic": WORDS}),
    ];
    let told = vec![
        json!({"type": "welcome", "name": "alice", "device": "main", "version": WORDS,
            "text_bytes_max": 8192, "time_ms": 0, "motd": WORDS}),
        json!({"type": "password", "wrong": true, "retry_ms": 1_000}),
        message("#lobby", json!({})),
        message("#lobby", json!({"kind": "me"})),
        message("@alice", json!({})),
        message("@alice", json!({"kind": "edit", "of": "1"})),
        message("@alice", json!({"kind": "delete", "of": "1", "replay": true})),
        message("@alice", json!({"deleted": true, "text": "", "replay": true})),
        json!({"type": "stored", "id": id, "to": "#lobby", "seq": seq}),
        json!({"type": "gap", "to": "#lobby", "from_seq": "3", "to_seq": seq, "stored": false}),
        json!({"type": "conversations", "conversations": [{"to": "@bob", "epoch": log, "last": seq, "read": seq,
            "retention": "2d"}]}),
        json!({"type": "read", "to": "#lobby", "seq": seq}),
        json!({"type": "count", "conversations": [{"to": "#lobby", "after": "3", "upto": seq,
            "messages": 4, "by": [{"name": "bob", "messages": 4}]}], "ref": WORDS}),
        json!({"type": "history", "to": "#lobby", "messages": 3, "more": true, "ref": WORDS}),
        json!({"type": "entered", "channel": "#lobby", "epoch": log, "last": seq, "read": seq,
            "retention": "2d", "people": ["alice"], "topic": WORDS, "ref": WORDS}),
        json!({"type": "parted", "channel": "#tea", "ref": WORDS}),
        json!({"type": "joined", "to": "#lobby", "who": "carol", "here": 2}),
        json!({"type": "left", "to": "#lobby", "who": "carol", "here": 1, "after_ms": 9,
            "reason": WORDS}),
        json!({"type": "people", "channel": "#lobby", "people": ["alice"], "ref": WORDS}),
        json!({"type": "channels", "channels": rows, "ref": WORDS}),
        json!({"type": "whois", "name": "bob", "fingerprints": [WORDS], "devices": ["main"],
            "idle_ms": 7, "away": WORDS, "channels": ["#tea"], "ref": WORDS}),
        json!({"type": "keys", "name": "bob", "keys": [], "ref": WORDS}),
        json!({"type": "successor", "key": "AAAA", "signatures": "AAAA"}),
        json!({"type": "ticket", "ticket": "A".repeat(43)}),
        json!({"type": "session_ticket", "ticket": "AAAA", "secret": "A".repeat(43)}),
        json!({"type": "topic", "to": "#lobby", "who": "bob", "text": WORDS, "retention": "2d"}),
        json!({"type": "topic", "to": "#lobby", "text": WORDS, "retention": "2d", "ref": WORDS}),
        json!({"type": "refused", "code": "rate", "hint": WORDS, "retry_ms": 1_000, "ref": WORDS}),
        json!({"type": "refused", "code": "in_doubt", "hint": WORDS, "id": id}),
        json!({"type": "upload", "transfer": 1, "blob": BLOB, "have": 0, "limit": 9, "ref": WORDS}),
        json!({"type": "download", "transfer": 1, "blob": BLOB, "bytes": 9, "ref": WORDS}),
        json!({"type": "kept", "blob": BLOB, "until_ms": 9, "ref": WORDS}),
        json!({"type": "stopped", "transfer": 1, "code": "disk", "hint": WORDS}),
        json!({"type": "dropped", "blob": BLOB, "ref": WORDS}),
        json!({"type": "usage", "bytes": 9, "of": 9, "ref": WORDS, "files": [{"blob": BLOB,
            "to": "#lobby", "bytes": 9, "kept": true, "sent": true, "until_ms": 9}]}),
        message("#lobby", json!({"kind": "file", "blob": BLOB})),
        json!({"type": "notice", "text": format!("{WORDS}\n{WORDS}"), "ref": WORDS}),
        json!({"type": "goodbye", "code": "kicked", "reason": WORDS}),
        json!({"type": "tomorrow", "text": WORDS}),
    ];
    let events: Vec<Event> =
        told.into_iter().map(|told| serde_json::from_value(told).unwrap()).collect();
    let kinds: std::collections::BTreeSet<_> = events.iter().map(kind).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (0..=30).collect::<Vec<_>>());
    events
}

/// All outputs for these events.
pub fn shows() -> Vec<Output> {
    let output = |event: Event| match event {
        Event::Message(message) => {
            vec![Output::Message(message.clone()), Output::Found(message)]
        }
        event => vec![Output::Presence(event.clone()), Output::Event(Origin::Server, event)],
    };
    every().into_iter().flat_map(output).collect()
}

/// Returns whether these words in a row, if any, follow the server's mark or belong to a message.
pub fn is_marked(row: &str, output: &Output) -> bool {
    let Some((before, _)) = row.split_once('q') else { return true };
    let says = match output {
        Output::Message(message) | Output::Found(message) => {
            let own_row = before.ends_with("bob: ") || before.ends_with("* bob ");
            !crate::client::model::is_unsealed(message)
                && (own_row || (before.starts_with("  ") && before.trim().is_empty()))
        }
        _ => false,
    };
    says || before.contains(gutter::SERVER)
}

#[test]
fn a_missing_mark_is_detected() {
    let notice = Output::Notice(WORDS.into());
    assert!(!is_marked("-- qqq", &notice) && !is_marked("  qqq", &notice));
    assert!(is_marked("server| qqq", &notice) && is_marked("-- ", &notice));
}
