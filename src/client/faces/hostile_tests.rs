//! What a hostile server can put on a screen: whatever it says, in whatever event, no row of it stands
//! where this client's own words begin.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::gutter;
use crate::chat::{Event, Message};
use crate::client::model::{Origin, Show};

pub const ROUNDS: u64 = 200;

/// What this client itself would say.
const OWN: [&str; 5] = [
    "compare this with bob, over the phone or face to face: 12345 12345",
    "-- the keys of bob are confirmed",
    "=!= the server has not told the keys of bob",
    "what you type goes to #tea~0123 now",
    "\u{1f512} sealed: who knows the PIN reads",
];

/// A text that would begin a row as this client's own words do, if a terminal, a line break or a long
/// line let it.
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

/// An event of the server's with such a text in it.
pub fn event(chance: &mut StdRng) -> Value {
    let text = forged(chance);
    let line = text.replace(['\n', '\r', '\u{1b}'], " ");
    let secret = format!("#tea~{}", "0".repeat(26));
    let place = *["#lobby", "@alice", "@bob"].choose(chance).unwrap();
    let from = *["alice", "bob"].choose(chance).unwrap();
    match chance.random_range(0..11) {
        0 => json!({"type": "notice", "text": text.replace(['\r', '\u{1b}'], "")}),
        1 => json!({"type": "refused", "code": "forbidden", "hint": line}),
        2 => json!({"type": "goodbye", "code": "kicked", "reason": line}),
        3 => json!({"type": "welcome", "name": "alice", "device": "main", "version": "1",
            "text_bytes_max": 8192, "motd": line}),
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
            "to": place, "from": from, "device": "main", "id": format!("{:032x}", chance.random::<u64>()),
            "time_ms": 1_795_615_380_000_u64, "text": text.replace(['\r', '\u{1b}'], ""),
            "kind": if chance.random() { "say" } else { "me" }}),
    }
}

/// It comes over the wire.
pub fn shown(event: Value) -> Show {
    match serde_json::from_value(event).unwrap() {
        Event::Message(message) => Show::Message(Message { ..message }),
        event => Show::Event(Origin::Server, event),
    }
}

/// Whether a row begins as this client's own words do.
pub fn is_own(row: &str) -> bool {
    let row = row.replace('\u{a0}', " ");
    row.starts_with(gutter::NOTICE) || row.starts_with(gutter::ERROR)
}
