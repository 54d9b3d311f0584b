//! Messages that a hostile server delivers under another sender's name, and a key that it lists for
//! two people, at the real binary.

mod world;

use pychat::crypto::Identity;
use serde_json::{Value, json};
use world::hostile::{HostileServer, told};

const SECRET: &str = "the key is under the mat";

/// The conversation with this user.
fn conversation(with: &str) -> Value {
    json!({"type": "conversations", "conversations": [{"to": format!("@{with}"),
        "epoch": "00000000000000ac", "last": "0", "read": "0", "retention": "forever"}]})
}

/// The server gives alice the keys of bob.
fn lists_bobs_keys_for_alice(story: &HostileServer) {
    let mut keys = story.keys.lock().unwrap();
    let of_bob = keys["bob"].clone();
    keys.insert("alice".into(), of_bob);
}

/// Bob's message is delivered to carol under a name.
fn is_delivered_as(name: &str, knows_bob: bool) {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut carol, double) = story.client(&["--plain"]);
    carol.sees("you are in #lobby");
    let said = story.bobs_message(SECRET);
    if knows_bob {
        carol.types("/fingerprint bob");
        carol.sees("-- compare this with bob");
    }
    if name == "alice" {
        lists_bobs_keys_for_alice(&story);
    }
    double.tells(conversation(name));
    double.tells(told(&said, 1, json!({"from": name})));
    if name == "bob" {
        carol.sees(&format!("bob: {SECRET}"));
        return;
    }
    carol.sees("not shown");
    assert_eq!(carol.seen(SECRET), 0, "{:#?}", carol.shown());
}

#[test]
fn a_message_under_another_name_is_not_shown_to_who_knows_its_sender() {
    is_delivered_as("alice", true);
    // The control.
    is_delivered_as("bob", true);
}

#[test]
fn a_message_under_another_name_is_not_shown_at_a_first_meeting() {
    is_delivered_as("alice", false);
    // The control.
    is_delivered_as("bob", false);
}

#[test]
fn a_key_of_one_person_is_not_accepted_for_another() {
    let story = HostileServer::known_to(&["carol", "bob"]);
    let (mut carol, double) = story.client(&["--plain"]);
    carol.sees("you are in #lobby");
    drop(story.bobs_message("hello"));
    carol.types("/fingerprint bob");
    carol.sees("-- compare this with bob");
    lists_bobs_keys_for_alice(&story);
    carol.types(&format!("/pm alice {SECRET}"));
    carol.sees("not sent: alice has a key that you have not confirmed");
    assert_eq!(double.sealed(), None, "{:#?}", carol.shown());
    // The control: bob has this key.
    carol.types(&format!("/pm bob {SECRET}"));
    story.world.until("it is sealed", || double.sealed().is_some());
    assert_eq!(double.sealed().unwrap()["to"], "@bob");
}

#[test]
fn a_message_of_another_server_is_not_shown() {
    let people = ["carol", "bob"];
    let there = HostileServer::with_key(&Identity::generate(), &people);
    let (carol, double) = there.client(&["--plain"]);
    carol.sees("you are in #lobby");
    let said = there.bobs_message(SECRET);
    double.tells(conversation("bob"));
    double.tells(told(&said, 1, json!({})));
    carol.sees(&format!("bob: {SECRET}"));
    let here = HostileServer::known_to(&people);
    let (carol, double) = here.client(&["--plain"]);
    carol.sees("you are in #lobby");
    let own = here.bobs_message("hello");
    let key = |server: &HostileServer| server.keys.lock().unwrap()["bob"][0]["key"].clone();
    assert_eq!(key(&here), key(&there), "bob has one key on both");
    double.tells(conversation("bob"));
    double.tells(told(&said, 1, json!({})));
    carol.sees("not shown");
    // The control: what bob has said here.
    double.tells(told(&own, 2, json!({})));
    carol.sees("bob: hello");
    assert_eq!(carol.seen(SECRET), 0, "{:#?}", carol.shown());
}
