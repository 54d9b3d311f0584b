//! A hostile server that writes a user's name in another case, at the real binary: each spelling is
//! the same user, in the same conversation.

mod world;

use pychat::chat::Command;
use serde_json::{Value, json};
use world::Program;
use world::hostile::{HostileServer, Session, now_ms, told};

const CODE: &str = "the code is 4711";
const SPELLINGS: [&str; 3] = ["bob", "BOB", "bOb"];

/// The conversation with this user, up to this seq.
fn conversation(with: &str, last: u64) -> Value {
    let last = last.to_string();
    json!({"type": "conversations", "conversations": [{"to": format!("@{with}"),
        "epoch": "00000000000000ac", "last": last, "read": last, "retention": "forever"}]})
}

/// What bob has sealed for carol, and his deletion of it.
fn said_and_deleted(story: &HostileServer) -> (Value, Value) {
    story.is_certified("carol");
    let (mut bob, session) = story.client_of("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    story.is_certified("bob");
    bob.types(&format!("/pm carol {CODE}"));
    story.world.until("bob has sealed", || session.sealed().is_some());
    let said = session.sealed().unwrap();
    session.tells(conversation("carol", 0));
    session.tells(told(&said, 1, json!({})));
    bob.sees(&format!("You -> carol: {CODE}"));
    bob.types("/query carol");
    bob.types("/delete");
    let deletion = || session.sealed().filter(|sealed| sealed["kind"] == "delete");
    story.world.until("bob has deleted it", || deletion().is_some());
    (said, deletion().unwrap())
}

/// Waits until carol's client has handled everything.
fn is_done(carol: &Program, double: &Session, mark: &str) {
    double.tells(json!({"type": "notice", "text": mark}));
    carol.sees(mark);
}

#[test]
fn a_message_is_not_shown_again_under_another_spelling() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    let said = story.bobs_message(CODE);
    double.tells(conversation("bob", 0));
    double.tells(told(&said, 1, json!({})));
    carol.sees(CODE);
    carol.types(r#"{"type":"quit"}"#);
    carol.ends();
    drop(double);

    let (carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    for (at, name) in SPELLINGS.into_iter().enumerate() {
        double.tells(conversation(name, 1));
        for seq in [1, 2, 3] {
            double.tells(told(&said, seq, json!({"from": name})));
            double.tells(told(&said, seq, json!({"from": name, "to": "@CAROL"})));
        }
        is_done(&carol, &double, &format!("that was {at}"));
        assert_eq!(carol.seen(CODE), 0, "{name}: {:#?}", carol.shown());
    }
    // The control: a new message is shown, under any spelling.
    drop(carol);
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    let said = story.bobs_message(CODE);
    double.tells(conversation("BOB", 0));
    double.tells(told(&said, 1, json!({"from": "BOB"})));
    carol.sees(CODE);
}

#[test]
fn a_deleted_message_does_not_come_back_under_another_spelling() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    let (said, deletion) = said_and_deleted(&story);
    double.tells(conversation("bob", 0));
    double.tells(told(&said, 1, json!({})));
    carol.sees(CODE);
    double.tells(told(&deletion, 2, json!({"kind": "delete", "of": "1"})));
    carol.sees(r#""kind":"delete""#);
    carol.types(r#"{"type":"quit"}"#);
    carol.ends();
    drop(double);

    let (mut carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    let mut seq = 2;
    for name in SPELLINGS {
        double.tells(conversation(name, 2));
        for replay in [false, true] {
            seq += 1;
            let more = json!({"from": name, "replay": replay});
            double.tells(told(&said, seq, more.clone()));
            double.tells(told(&said, 1, more));
        }
        let asked = |of: &Program| {
            let heard = double.heard.lock().unwrap();
            let count = heard.iter().filter(|one| matches!(one.command, Command::History { .. }));
            (count.count(), of.seen(CODE))
        };
        let before = asked(&carol).0;
        carol.types(&format!(r#"{{"type":"history","to":"@{name}","ref":"h{name}"}}"#));
        story.world.until("carol asks", || asked(&carol).0 > before);
        let answer = json!({"from": name, "replay": true, "ref": format!("h{name}")});
        double.tells(told(&said, 1, answer));
        double.tells(
            json!({"type": "history", "to": format!("@{name}"), "messages": 1, "more": false,
            "ref": format!("h{name}")}),
        );
        carol
            .types(&format!(r#"{{"type":"search","to":"@{name}","text":"code","ref":"s{name}"}}"#));
        let found: Value =
            serde_json::from_str(&carol.sees(&format!(r#""ref":"s{name}""#))).unwrap();
        assert_eq!((&found["type"], &found["messages"]), (&json!("history"), &json!(0)), "{found}");
        assert_eq!(asked(&carol).1, 0, "{name}: {:#?}", carol.shown());
    }
    let line = json!({"type": "message", "seq": "90", "to": "@carol", "from": "BOB", "device": "main",
        "id": said["id"], "time_ms": now_ms(), "text": CODE, "replay": true});
    double.tells(line);
    is_done(&carol, &double, "that was all");
    assert_eq!(carol.seen(CODE), 0, "in the clear: {:#?}", carol.shown());
}
