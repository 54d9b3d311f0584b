//! A hostile server that states wrong numbers of a user's own messages, acknowledges what was not
//! stored, or replays what nobody has asked for, at the real binary.

mod world;

use pychat::chat::Command;
use serde_json::{Value, json};
use world::Program;
use world::hostile::{HostileServer, Session, now_ms, told};

const CONTRACT: &str = "I agree to the contract";
const MEAL: &str = "shall we eat?";

/// bob's conversation with carol, up to this seq.
fn conversation(last: u64) -> Value {
    let last = last.to_string();
    json!({"type": "conversations", "conversations": [{"to": "@bob", "epoch": "00000000000000ac",
        "last": last, "read": last, "retention": "forever"}]})
}

/// The sealed messages and changes that carol has sent to bob, in order.
fn sealed(double: &Session) -> Vec<Value> {
    let heard = double.heard.lock().unwrap();
    let says = heard.iter().filter(
        |one| matches!(&one.command, Command::Say(message) if message.body.sealed().is_some()),
    );
    says.map(|say| serde_json::to_value(say).unwrap()).collect()
}

/// Carol's own message, as the server delivers it.
fn own(said: &Value, seq: u64, more: Value) -> Value {
    let mut message = told(said, seq, json!({"to": "@bob", "from": "carol"}));
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

/// Carol says something to bob. Returns it sealed.
fn says(story: &HostileServer, carol: &mut Program, double: &Session, text: &str) -> Value {
    let before = sealed(double).len();
    let say = json!({"type": "slash", "line": format!("/pm bob {text}")});
    carol.types(&say.to_string());
    story.world.until("it is sealed", || sealed(double).len() > before);
    sealed(double)[before].clone()
}

/// Waits until carol's client has handled everything.
fn is_done(carol: &Program, double: &Session, mark: &str) {
    double.tells(json!({"type": "notice", "text": mark}));
    carol.sees(mark);
}

/// Carol, who knows bob's keys and writes to him.
fn carol(story: &HostileServer) -> (Program, Session) {
    story.bobs_message("hello carol");
    let (mut carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    double.tells(conversation(0));
    carol.types(r#"{"type":"slash","line":"/query bob"}"#);
    (carol, double)
}

/// Two messages that bob has sealed for carol.
fn bob_says(story: &HostileServer, texts: [&str; 2]) -> [Value; 2] {
    story.is_certified("carol");
    let (mut bob, session) = story.client_of("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    story.is_certified("bob");
    let mut seq = 0;
    texts.map(|text| {
        bob.types(&format!("/pm carol {text}"));
        seq += 1;
        story.world.until("bob has sealed", || sealed(&session).len() == seq);
        let said = sealed(&session)[seq - 1].clone();
        session.tells(json!({"type": "stored", "id": said["id"], "to": "@carol",
            "seq": seq.to_string()}));
        said
    })
}

/// The story of carol's client, in which bob has certified keys.
fn story() -> HostileServer {
    let story = HostileServer::known_to(&["carol", "bob"]);
    // Her device publishes its certificate.
    let (carol, _double) = story.client(&["--json"]);
    story.is_certified("carol");
    drop(carol);
    story
}

#[test]
fn nobody_is_made_to_sign_a_change_of_another_message() {
    for (change, word) in [("/edit no, I do not", "edit"), ("/delete", "delete")] {
        let story = story();
        let (mut carol, double) = carol(&story);
        let contract = says(&story, &mut carol, &double, CONTRACT);
        double.tells(own(&contract, 1, json!({})));
        carol.sees(r#""type":"ack""#);
        let meal = says(&story, &mut carol, &double, MEAL);
        // The server keeps the meal from carol, and says that it is the first message.
        double.tells(json!({"type": "stored", "id": meal["id"], "to": "@bob", "seq": "1"}));
        carol.sees("is number 1, which is another message");
        double.tells(own(&meal, 1, json!({})));
        carol.types(&json!({"type": "slash", "line": change}).to_string());
        is_done(&carol, &double, "that was all");
        assert_eq!(sealed(&double).len(), 2, "{change}: {}", double.heard());
        assert_eq!(carol.seen(r#""type":"ack""#), 1, "{:#?}", carol.shown());
        // The control: under a number of its own the meal is changed.
        double.tells(own(&meal, 2, json!({})));
        story.world.until("it is changed", || sealed(&double).len() > 2);
        let sent = &sealed(&double)[2];
        assert_eq!((&sent["kind"], &sent["of"]), (&json!(word), &json!("2")), "{sent}");
    }
}

#[test]
fn a_refused_message_and_one_of_another_conversation_acknowledge_nothing() {
    let story = story();
    let (mut carol, double) = carol(&story);
    let said = says(&story, &mut carol, &double, CONTRACT);
    let id = &said["id"];
    // In the clear, not opening, in an open channel, and in other conversations.
    let mut clear = own(&said, 9, json!({"text": CONTRACT}));
    clear.as_object_mut().unwrap().remove("sealed");
    let mut open = clear.clone();
    (open["to"], open["seq"]) = (json!("#lobby"), json!("1"));
    double.tells(clear);
    double.tells(own(&said, 10, json!({"sealed": "AQID"})));
    double.tells(open);
    for to in ["#lobby", "@alice", "#tea"] {
        double.tells(json!({"type": "stored", "id": id, "to": to, "seq": "1"}));
    }
    is_done(&carol, &double, "that was all");
    assert_eq!(carol.seen(r#""type":"ack""#), 0, "{:#?}", carol.shown());
    // It is sent again, as the same bytes, and acknowledged.
    drop(double);
    let double = story.accepts("carol");
    story.world.until("it is sent again", || !sealed(&double).is_empty());
    assert_eq!(sealed(&double)[0]["sealed"], said["sealed"]);
    double.tells(json!({"type": "stored", "id": id, "to": "@bob", "seq": "1"}));
    carol.sees(r#""type":"ack""#);
}

#[test]
fn nothing_is_inserted_among_messages_that_were_here() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    let [said, other] = bob_says(&story, ["hello carol", "meet at noon"]);
    double.tells(conversation(0));
    double.tells(told(&said, 1, json!({})));
    carol.sees("hello carol");
    double.tells(told(&said, 2, json!({})));
    double.tells(json!({"type": "gap", "to": "@bob", "from_seq": "2", "to_seq": "3",
        "stored": false}));
    is_done(&carol, &double, "the first run");
    carol.types(r#"{"type":"quit"}"#);
    carol.ends();
    drop(double);

    let (mut carol, double) = story.client(&["--json"]);
    carol.sees(r#""type":"hello""#);
    double.tells(conversation(3));
    for seq in [1, 2, 3] {
        double.tells(told(&other, seq, json!({"replay": true})));
        let clear = json!({"type": "message", "seq": seq.to_string(), "to": "@carol", "from": "bob",
            "device": "main", "id": "7".repeat(32), "time_ms": now_ms(), "text": "meet at noon",
            "replay": true});
        double.tells(clear);
    }
    is_done(&carol, &double, "that was all");
    assert_eq!(carol.seen("meet at noon"), 0, "{:#?}", carol.shown());
    let search = |carol: &mut Program, reference: &str| {
        let search = json!({"type": "search", "to": "@bob", "text": "noon", "ref": reference});
        carol.types(&search.to_string());
        let end = |line: &&String| {
            line.contains(r#""type":"history""#)
                && line.contains(&format!(r#""ref":"{reference}""#))
        };
        carol.shows("the end of the search", |lines| lines.iter().any(|line| end(&line)));
        carol.seen("meet at noon")
    };
    assert_eq!(search(&mut carol, "one"), 0, "{:#?}", carol.shown());
    // The control: what follows is shown and found.
    double.tells(told(&other, 4, json!({"replay": true})));
    carol.sees("meet at noon");
    assert_eq!(search(&mut carol, "two"), 2, "{:#?}", carol.shown());
}
