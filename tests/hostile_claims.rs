//! What a hostile server claims about keys, departures and deleted messages, at the real binary. A
//! double holds the key of a server that the client knows, and says what a test makes it say.

mod world;

use std::net::Shutdown;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pychat::crypto::private::Parsed;
use serde_json::{Value, json};
use world::Program;
use world::hostile::{HostileServer, Keys, Session, now_ms, told};

const SECRET: &str = "the key is under the mat";

/// The keys that the server lists for bob.
fn bobs_keys(story: &HostileServer) -> Vec<Value> {
    story.keys.lock().unwrap()["bob"].clone()
}

/// A key of the server under bob's name, without a certificate.
fn false_key(story: &HostileServer) -> Value {
    let key = STANDARD_NO_PAD.encode(story.own.public().to_der());
    json!({"device": "second", "key": key})
}

/// Whether a body is sealed for the server's key.
fn is_for_the_server(story: &HostileServer, said: &Value) -> bool {
    let body = STANDARD_NO_PAD.decode(said["sealed"].as_str().unwrap()).unwrap();
    Parsed::parse(&body).unwrap().is_for(&story.own.public().fingerprint().0)
}

/// A second client of carol's folder types a secret for bob, and is refused.
fn refuses(story: &HostileServer, two: &mut Program, double: &Session) {
    let before = two.shown().len();
    two.types(&json!({"type": "say", "to": "@bob", "text": SECRET}).to_string());
    let decided = || two.shown()[before..].iter().any(|line| line.contains("refused"));
    story.world.until("it is decided", || decided() || double.sealed().is_some());
    let shown = two.shown();
    assert_eq!(double.sealed(), None, "{shown:#?}");
    assert!(shown[before..].iter().any(|line| line.contains("not confirmed")), "{shown:#?}");
}

#[test]
fn what_one_client_has_retired_another_does_not_seal_for() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (carol, double) = story.client(&["--plain"]);
    story.is_certified("carol");
    drop(story.bobs_message("hello"));
    drop((carol, double));
    let (real, both) = (bobs_keys(&story), [&bobs_keys(&story)[..], &[false_key(&story)]].concat());
    story.keys.lock().unwrap().insert("bob".into(), both.clone());
    let (mut one, double_one) = story.client(&["--plain"]);
    one.sees("you are in #lobby");
    one.types("/fingerprint bob");
    one.sees("-- compare this with bob");
    let (mut two, double_two) = story.client(&["--json"]);
    two.sees(r#""type":"hello""#);
    two.types(r#"{"type":"slash","line":"/fingerprint bob"}"#);
    two.sees("compare this with bob");
    // Meanwhile the first client gets bob's key alone.
    double_one.tells(json!({"type": "keys", "name": "bob", "keys": real}));
    one.sees("no longer lists");
    one.types("/fingerprint bob");
    one.types("/fingerprint bob confirm");
    one.sees("are confirmed");
    // The second client still has the list of before.
    refuses(&story, &mut two, &double_two);
    double_two.stream.shutdown(Shutdown::Both).unwrap();
    let double_two = story.accepts("carol");
    refuses(&story, &mut two, &double_two);
    // The control: bob's key alone.
    story.keys.lock().unwrap().insert("bob".into(), real.clone());
    double_two.tells(json!({"type": "keys", "name": "bob", "keys": real}));
    // What is typed comes by another way: it waits until the list has arrived.
    double_two.tells(json!({"type": "notice", "text": "that was the list"}));
    two.sees("that was the list");
    two.types(&json!({"type": "say", "to": "@bob", "text": "hello"}).to_string());
    story.world.until("it is sealed", || double_two.sealed().is_some());
    assert!(!is_for_the_server(&story, &double_two.sealed().unwrap()));
}

#[test]
fn a_first_meeting_adds_no_key_to_a_person_whom_another_client_has_met() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (carol, double) = story.client(&["--plain"]);
    story.is_certified("carol");
    // Bob publishes a certificate, and carol does not meet him yet.
    let bob = story.client_of("bob", &["--plain"]);
    story.is_certified("bob");
    drop(bob);
    drop((carol, double));
    let (real, evil) = (bobs_keys(&story), false_key(&story));
    let (mut one, double_one) = story.client(&["--plain"]);
    one.sees("you are in #lobby");
    let mut two = story.world.client_by("carol", &story.address(), &["--json"]);
    let others = Keys::default();
    others.lock().unwrap().insert("bob".into(), vec![evil.clone()]);
    let double_two = story.meets("carol", &others);
    double_two.welcomes();
    two.sees(r#""type":"hello""#);
    one.types("/fingerprint bob");
    one.sees("-- compare this with bob");
    one.types("/fingerprint bob confirm");
    one.sees("are confirmed");
    two.types(r#"{"type":"slash","line":"/fingerprint bob"}"#);
    two.sees("compare this with bob");
    // At the latest when it stores what it has learned.
    two.sees("was not there before");
    two.types(r#"{"type":"slash","line":"/exit"}"#);
    two.ends();
    one.types("/exit");
    one.ends();
    drop((double_one, double_two));
    story.keys.lock().unwrap().insert("bob".into(), [&real[..], &[evil]].concat());
    let (mut one, double) = story.client(&["--plain"]);
    one.sees("you are in #lobby");
    one.types(&format!("/pm bob {SECRET}"));
    one.sees("has a key that you have not confirmed");
    assert_eq!(double.sealed(), None);
}

#[test]
fn a_key_without_a_certificate_of_a_person_with_one_gets_nothing() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut carol, double) = story.client(&["--plain"]);
    carol.sees("you are in #lobby");
    story.is_certified("carol");
    drop(story.bobs_message("hello"));
    let both = [&bobs_keys(&story)[..], &[false_key(&story)]].concat();
    story.keys.lock().unwrap().insert("bob".into(), both);
    carol.types(&format!("/pm bob {SECRET}"));
    story.world.until("it is sealed", || double.sealed().is_some());
    assert!(!is_for_the_server(&story, &double.sealed().unwrap()));
    carol.sees("a device of bob has no valid certificate");
    // The control: her own word permits it.
    carol.types("/fingerprint bob");
    carol.sees("-- compare this with bob");
    carol.types("/fingerprint bob confirm");
    carol.sees("are confirmed");
    let first = double.sealed().unwrap();
    double.tells(json!({"type": "stored", "id": first["id"], "seq": "1", "to": "@bob"}));
    carol.types(&format!("/pm bob {SECRET}"));
    story.world.until("another is sealed", || double.sealed().unwrap() != first);
    assert!(is_for_the_server(&story, &double.sealed().unwrap()));
}

/// The last request of this type.
fn asked(double: &Session, kind: &str) -> Option<Value> {
    let heard = double.heard();
    let mut all = heard.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.rfind(|request| request["type"] == kind)
}

#[test]
fn a_departure_that_was_refused_or_taken_back_erases_nothing() {
    for refused in [true, false] {
        let story = HostileServer::known_to(&["carol", "bob"]);
        let (mut plain, double) = story.client(&["--plain"]);
        plain.types("/join tea blue kettle 47");
        plain.sees("you are in #tea~");
        let channel = double.channel().unwrap();
        plain.types("/part #tea");
        story.world.until("it asks", || asked(&double, "part").is_some());
        let part = asked(&double, "part").unwrap();
        if refused {
            let refused = json!({"type": "refused", "code": "storage", "hint": "not now", "ref": part["ref"]});
            double.tells(refused);
            plain.sees("not now");
        } else {
            plain.types("/join tea blue kettle 47");
            plain.shows("a second entry", |lines| {
                lines.iter().filter(|line| line.contains("you are in #tea~")).count() == 2
            });
        }
        // Now nobody asks for anything.
        double.tells(json!({"type": "parted", "channel": channel, "ref": part["ref"]}));
        plain.sees("its key and its messages stay here");
        plain.types("/exit");
        plain.ends();
        drop(double);
        let (plain, double) = story.client(&["--plain"]);
        plain.sees("you are in #lobby");
        story.world.until("it enters again", || double.channel().as_ref() == Some(&channel));
    }
}

#[test]
fn the_control_a_departure_that_the_server_confirms_erases_the_key() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut plain, double) = story.client(&["--plain"]);
    plain.types("/join tea blue kettle 47");
    plain.sees("you are in #tea~");
    let channel = double.channel().unwrap();
    plain.types("/part #tea");
    story.world.until("it asks", || asked(&double, "part").is_some());
    let reference = asked(&double, "part").unwrap()["ref"].clone();
    double.tells(json!({"type": "parted", "channel": channel, "ref": reference}));
    plain.sees("you left #tea~");
    plain.types("/exit");
    plain.ends();
    drop(double);
    let (mut plain, double) = story.client(&["--plain"]);
    plain.sees("you are in #lobby");
    plain.types("/join tea");
    story.world.until("it asks", || asked(&double, "join").is_some());
    assert_eq!(double.channel(), None, "the PIN is forgotten");
}

#[test]
fn an_invented_tombstone_pays_for_no_message_that_is_withheld() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (carol, double) = story.client(&["--plain"]);
    carol.sees("#lobby");
    story.is_certified("carol");
    let mut said = Vec::new();
    {
        let (mut bob, of_bob) = story.client_of("bob", &["--plain"]);
        bob.sees("you are in #lobby");
        story.is_certified("bob");
        for (seq, text) in (1..).zip(["I owe carol 100", "no, do NOT pay", "bye"]) {
            let before = of_bob.sealed();
            bob.types(&format!("/pm carol {text}"));
            story.world.until("bob has sealed", || of_bob.sealed() != before);
            let one = of_bob.sealed().unwrap();
            of_bob.tells(told(&one, seq, json!({})));
            said.push(one);
        }
    }
    double.tells(
        json!({"type": "conversations", "conversations": [{"to": "@bob", "epoch": "00000000000000ac",
        "last": "0", "read": "0", "retention": "forever"}]}),
    );
    double.tells(told(&said[0], 1, json!({})));
    double.tells(json!({"type": "message", "seq": "2", "to": "@carol", "from": "bob", "device": "main",
        "id": "00000000000000000000000000000099", "time_ms": now_ms(), "kind": "edit", "of": "1", "text": "", "replay": true}));
    double.tells(told(&said[2], 3, json!({})));
    carol.sees("bob: bye");
    assert_eq!(carol.seen("a message of bob is missing"), 1, "{:#?}", carol.shown());
}
