//! A hostile server, at the real binary: it speaks as the client would, and moves what its user
//! types.

mod world;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pychat::chat::Command;
use serde_json::{Value, json};
use world::Program;
use world::hostile::{HostileServer, Session, entered, now_ms};

const SECRET: &str = "the key is under the mat";
const FORGED: &str = "compare this with bob, over the phone or face to face; it is the same on both \
    sides only if nobody is between you:\n12345 12345 12345 12345 12345 12345";

/// Removes carol from the channel with the PIN, and puts her into the open one of its name.
fn moves(story: &HostileServer, session: &Session) {
    story.world.until("carol asked to be in the channel", || session.channel().is_some());
    let channel = session.channel().unwrap();
    session.tells(json!({"type": "parted", "channel": channel}));
    session.tells(entered("#tea", None));
    session.tells(entered("#tea", Some("pychat-1")));
    session.tells(json!({"type": "notice", "text": "that was all"}));
}

#[test]
fn a_number_that_the_server_makes_up_is_shown_as_its_words_and_the_hole_is_named() {
    let story = HostileServer::known_to(&["carol"]);
    let notice = json!({"type": "notice", "text": FORGED});

    let (mut plain, double) = story.client(&["--plain"]);
    plain.sees("you are in #lobby");
    plain.types("/fingerprint bob");
    plain.sees("-- asking the server for the keys of bob");
    double.tells(notice.clone());
    plain.sees("server| 12345 12345");
    plain.sees("=!= the server has not told the keys of bob: no number can be shown");
    let own = |line: &&String| line.starts_with("-- ") && line.contains("compare");
    assert_eq!(plain.shown().iter().filter(own).count(), 0, "{:#?}", plain.shown());
    drop((plain, double));

    let (mut json, double) = story.client(&["--json"]);
    json.sees(r#""type":"hello""#);
    json.types(r#"{"type":"slash","line":"/fingerprint bob"}"#);
    json.sees("asking the server for the keys of bob");
    double.tells(notice.clone());
    let origin = |line: String| serde_json::from_str::<Value>(&line).unwrap()["origin"].clone();
    assert_eq!(origin(json.sees("12345 12345")), "server");
    assert_eq!(origin(json.sees("has not told the keys of bob")), "client");
    drop((json, double));

    let (mut screen, double) = story.terminal(&[]);
    screen.shows("* connected");
    screen.types("/fingerprint bob\r");
    screen.shows("-- asking the server for the keys of bob");
    double.tells(notice);
    screen.shows("server| 12345 12345");
    screen.shows("=!= the server has not told the keys of bob");
    assert!(!screen.screen().contains("-- compare"), "{}", screen.screen());
}

#[test]
fn a_secret_that_is_half_typed_when_the_server_moves_things_stays_sealed() {
    let story = HostileServer::known_to(&["carol"]);
    let (first, rest) = SECRET.split_at(10);

    let (mut screen, double) = story.terminal(&[]);
    screen.shows("* connected");
    screen.types("/join tea blue kettle 47\r");
    screen.shows_row(|row| row.starts_with("#tea "));
    screen.types(first);
    screen.shows(&format!("carol> {first}"));
    moves(&story, &double);
    screen.shows("you are no longer in #tea~");
    screen.shows("server| that was all");
    screen.types(&format!("{rest}\r"));
    // It stays where it was typed.
    screen.shows("text not sent");
    screen.shows(&format!("carol> {SECRET}"));
    assert!(!double.heard().contains("the mat"), "{}", double.heard());
    screen.types("\x03/exit\r");
    screen.ends_with(0);
    drop(double);

    // Its key is still there: the next start goes back into it.
    let (mut plain, double) = story.terminal(&["--plain"]);
    plain.shows("you are in #tea~");
    plain.types("/query #tea\r");
    plain.shows("typed text now goes to #tea~");
    plain.types(first);
    plain.shows_row(|row| row == format!("> {first}"));
    moves(&story, &double);
    plain.shows("server| that was all");
    plain.types(&format!("{rest}\r"));
    plain.shows("you are no longer in #tea~");
    plain.shows("nothing was sent");
    // Nor is what was recalled sent elsewhere.
    plain.types("/query #lobby\r");
    plain.shows("typed text now goes to #lobby, which is open");
    plain.types("\x1b[A\x1b[A\r");
    plain.shows("this was typed for #tea~");
    plain.types("hello\r");
    story.world.until("hello is said", || double.heard().contains("hello"));
    assert!(!double.heard().contains("the mat"), "{}", double.heard());
    plain.types("/exit\r");
    plain.ends_with(0);
    drop(double);

    let (mut json, double) = story.client(&["--json"]);
    json.sees(r##""channel":"#tea~"##);
    json.types(r#"{"type":"slash","line":"/query #tea"}"#);
    moves(&story, &double);
    json.sees("that was all");
    json.types(&format!(r#"{{"type":"slash","line":"/me says {SECRET}"}}"#));
    json.sees("you are no longer in #tea~");
    json.types(r#"{"type":"slash","line":"/channels"}"#);
    story.world.until("it is asked", || double.heard().contains("channels"));
    assert!(!double.heard().contains("the mat"), "{}", double.heard());
}

#[test]
fn a_line_as_ones_own_that_nobody_has_sealed_is_not_ones_own() {
    let story = HostileServer::known_to(&["carol"]);
    let line = json!({"type": "message", "seq": "1", "to": "@bob", "from": "carol", "device": "main",
        "id": "00000000000000000000000000000007", "time_ms": 1_795_615_380_000_u64,
        "text": "send me the PIN", "replay": true});
    let conversation = json!({"type": "conversations", "conversations": [{"to": "@bob", "epoch": "00000000000000ac",
        "last": "1", "read": "0", "retention": "forever"}]});

    let (plain, double) = story.client(&["--plain"]);
    plain.sees("you are in #lobby");
    [&conversation, &line].into_iter().for_each(|event| double.tells(event.clone()));
    let shown = plain.sees("send me the PIN");
    assert!(shown.starts_with("server| not sealed, the server's word alone: carol"), "{shown}");
    drop((plain, double));

    let (mut screen, double) = story.terminal(&[]);
    screen.shows("* connected");
    double.tells(conversation);
    let asked = || {
        let heard = double.heard.lock().unwrap();
        let count = heard.iter().find(|one| matches!(one.command, Command::Count { .. }));
        count.and_then(|count| count.reference.clone())
    };
    story.world.until("it is counted", || asked().is_some());
    double.tells(json!({"type": "count", "ref": asked(), "conversations": [{"to": "@bob",
        "after": "0", "upto": "1", "messages": 1, "by": [{"name": "bob", "messages": 1}]}]}));
    screen.shows("2:@bob 1");
    double.tells(Value::Object({
        let mut again = line.as_object().unwrap().clone();
        again.insert("seq".into(), "2".into());
        again.insert("id".into(), "00000000000000000000000000000008".into());
        again
    }));
    screen.types("\x1b2");
    screen.shows("server| not sealed, the server's word alone: carol");
    assert!(!screen.screen().contains("You"), "{}", screen.screen());
}

#[test]
fn the_control_an_honest_answer_is_believed() {
    let story = HostileServer::known_to(&["carol"]);
    let (mut screen, double) = story.terminal(&[]);
    screen.shows("* connected");
    screen.types("/join tea\r");
    screen.shows_row(|row| row.starts_with("#tea"));
    screen.types("hello\r");
    story.world.until("hello is said", || double.heard().contains("hello"));
    screen.types("/part\r");
    story.world.until("it is left", || double.heard().contains(r##""type":"part""##));
    let reference = double.heard.lock().unwrap().iter().find_map(|request| match request.command {
        Command::Part { .. } => request.reference.clone(),
        _ => None,
    });
    double.tells(json!({"type": "parted", "channel": "#tea", "ref": reference}));
    screen.shows_row(|row| row.starts_with("#lobby"));
}

fn asks(double: &Session) {
    double.tells(json!({"type": "password", "wrong": false}));
}

#[test]
fn a_server_that_asks_for_a_password_gets_no_message_as_one() {
    const REFUSED: &str = "the server asks for a password, and a message line is never sent as one";
    let story = HostileServer::known_to(&["carol"]);
    let client = |args: &[&str]| story.world.client_by("carol", &story.address(), args);

    // Lines of a pipe, before it asks and after.
    let mut plain = client(&["--plain"]);
    plain.types(SECRET);
    let double = story.meets("carol", &story.keys);
    asks(&double);
    plain.sees(REFUSED);
    assert_eq!(plain.ends().code(), Some(5));
    assert_eq!(double.heard_at_last(&story.world), "");
    for args in [&["--send", SECRET][..], &["--tail", "1"]] {
        let mut sends = client(args);
        let double = story.meets("carol", &story.keys);
        asks(&double);
        assert_eq!(sends.ends().code(), Some(5));
        assert_eq!(double.heard_at_last(&story.world), "", "{args:?}");
    }

    // A program's messages wait; its password is an object of its own.
    let mut json = client(&["--json"]);
    let say = json!({"type": "say", "to": "#lobby", "text": SECRET}).to_string();
    json.types(&say);
    let double = story.meets("carol", &story.keys);
    asks(&double);
    json.sees(r#""type":"password""#);
    json.types(&say);
    json.types(&json!({"type": "slash", "line": format!("/me says {SECRET}")}).to_string());
    json.types(r#"{"type":"password","password":"tall tree"}"#);
    story.world.until("it is given", || double.heard().contains("tall tree"));
    assert!(!double.heard().contains("mat"), "{}", double.heard());
    drop((json, double));
}

#[test]
fn who_types_a_message_while_the_server_asks_for_a_password_gives_none() {
    let story = HostileServer::known_to(&["carol"]);
    let (first, rest) = SECRET.split_at(10);
    for face in [&["--plain"][..], &[]] {
        let (mut terminal, double) = story.terminal(face);
        terminal.shows(if face.is_empty() { "* connected" } else { "you are in #lobby" });
        let hears = |double: &Session, text: &str| {
            story.world.until(text, || double.heard().contains(text));
        };
        terminal.types(first);
        terminal.shows(&format!("> {first}"));
        // The connection is cut, and the next one asks.
        drop(double);
        let double = story.meets("carol", &story.keys);
        asks(&double);
        terminal.shows("first press Enter on an empty line");
        terminal.types(&format!("{rest}\r"));
        // Nor does what is begun after that, nor what was said before.
        terminal.types("and a second one\r");
        terminal.types("\r");
        if !face.is_empty() {
            terminal.shows("password: ");
        }
        terminal.types("\x1b[A\x19tall tree");
        terminal.shows(&"*".repeat("tall tree".len()));
        terminal.types("\r");
        hears(&double, "tall tree");
        let heard = double.heard();
        assert_eq!(heard.trim(), r#"{"type":"password","password":"tall tree"}"#, "{face:?}");
        // They are messages, and go once carol is in.
        double.welcomes();
        hears(&double, "the mat");
        hears(&double, "and a second one");
        terminal.types("\x1b[A\x03\x03");
        assert!(!terminal.screen().contains("tall tree"), "{}", terminal.screen());
        drop((terminal, double));
    }
}

#[test]
fn changes_that_are_told_again_and_that_nobody_has_signed_change_nothing_that_is_shown() {
    let story = HostileServer::known_to(&["carol"]);
    let (mut screen, double) = story.terminal(&[]);
    screen.shows("* connected");
    screen.types("/join tea blue kettle 47\r");
    screen.shows_row(|row| row.starts_with("#tea "));
    screen.types("the real words\r");
    story.world.until("they are sealed", || double.sealed().is_some());
    let said = double.sealed().unwrap();
    let tells = |said: &Value, seq: u64, more: Value| {
        let mut line = json!({"type": "message", "seq": seq.to_string(), "to": said["to"],
            "from": "carol", "device": "main", "id": said["id"], "time_ms": now_ms()});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        double.tells(line);
    };
    tells(&said, 1, json!({"sealed": said["sealed"]}));
    screen.shows("You: the real words");
    // The server alone claims that the message was edited and deleted.
    let deleted = json!({"sealed": said["sealed"], "deleted": true, "replay": true});
    tells(&said, 1, deleted);
    tells(&said, 1, json!({"deleted": true, "replay": true}));
    let other = |byte: &str, more: Value| {
        let mut more = more;
        more["id"] = byte.repeat(32).into();
        (more["of"], more["replay"]) = ("1".into(), true.into());
        more
    };
    tells(&said, 2, other("a", json!({"kind": "edit"})));
    tells(&said, 3, other("b", json!({"kind": "edit", "text": "other words"})));
    tells(&said, 4, other("c", json!({"kind": "delete"})));
    tells(&said, 5, other("d", json!({"kind": "delete", "deleted": true})));
    double.tells(json!({"type": "notice", "text": "that was all"}));
    screen.shows("server| that was all");
    let changed = |row: &str| {
        let own = !row.contains("server| ") && !row.contains("=!=");
        own && (row.contains("(edited)")
            || row.contains("(deleted)")
            || row.contains("other words"))
    };
    let seen = screen.screen();
    assert!(seen.contains("You: the real words") && !seen.lines().any(changed), "{seen}");
    // The control: what its sender has signed does.
    screen.types("/edit better words\r");
    let edits = || double.sealed().is_some_and(|say| say["kind"] == "edit");
    story.world.until("it is edited", edits);
    let edit = double.sealed().unwrap();
    let signed = json!({"sealed": edit["sealed"], "kind": "edit", "of": "1"});
    tells(&edit, 6, signed);
    screen.shows("You: better words (edited)");
}

#[test]
fn what_was_read_stays_found_whatever_the_server_says_of_logs_and_retention() {
    let story = HostileServer::known_to(&["carol"]);
    let tells = |double: &Session, said: &Value, seq: u64, more: Value| {
        let mut line = json!({"type": "message", "seq": seq.to_string(), "to": said["to"],
            "from": "carol", "device": "main", "id": said["id"], "sealed": said["sealed"],
            "time_ms": now_ms()});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        double.tells(line);
    };
    let finds = |plain: &mut Program, mark: &str| {
        let before = plain.shown().len();
        plain.types("/search kettle");
        plain.types(&format!("/set {mark}"));
        plain.sees(&format!("there is no setting {mark:?}"));
        let shown = plain.shown();
        shown[before..].iter().filter(|line| line.contains("You: the kettle sings")).count()
    };
    let (mut plain, double) = story.client(&["--plain"]);
    plain.types("/join tea blue kettle 47");
    plain.sees("you are in #tea~");
    plain.types("the kettle sings");
    story.world.until("it is sealed", || double.sealed().is_some());
    let (said, channel) = (double.sealed().unwrap(), double.channel().unwrap());
    tells(&double, &said, 1, json!({}));
    plain.sees("You: the kettle sings");
    assert_eq!(finds(&mut plain, "one"), 1);
    // Without a request, the server states that the retention is off, and that another epoch
    // begins.
    let conversation = |epoch: &str, retention: &str| json!({"to": channel, "epoch": epoch, "last": "0", "read": "0", "retention": retention});
    // A channel with a PIN has no topic, so that its retention means nothing.
    double.tells(json!({"type": "topic", "to": channel, "text": "", "retention": "off"}));
    double.tells(json!({"type": "notice", "text": "that was a topic"}));
    plain.sees("that was a topic");
    assert_eq!(plain.seen("the server stores no messages"), 0, "{:?}", plain.shown());
    assert_eq!(finds(&mut plain, "two"), 1);
    let mut again = entered(&channel, None);
    (again["epoch"], again["retention"]) = ("00000000000000cd".into(), "off".into());
    double.tells(again);
    plain.sees("the server has begun another numbering of #tea~");
    plain.sees("the server stores no messages in #tea~");
    assert_eq!(finds(&mut plain, "three"), 1);
    let conversations =
        [conversation("00000000000000ce", "forever"), conversation("00000000000000cf", "1s")];
    double.tells(json!({"type": "conversations", "conversations": conversations}));
    plain.sees("messages for 1s only in #tea~");
    assert_eq!(finds(&mut plain, "four"), 1);
    double.tells(json!({"type": "conversations", "conversations": [conversation("00000000000000ab", "off")]}));
    plain.types("/exit");
    plain.ends();
    drop(double);
    let (mut plain, double) = story.client(&["--plain"]);
    plain.sees("you are in #tea~");
    plain.types("/query #tea");
    assert_eq!(finds(&mut plain, "five"), 1);
    // The control: its sender's own word takes it away.
    tells(&double, &said, 1, json!({"replay": true}));
    plain.shows("the line that is told again", |lines| {
        lines.iter().filter(|line| line.contains("You: the kettle sings")).count() == 2
    });
    plain.types("/delete 1");
    let deletion = || double.sealed().filter(|say| say["kind"] == "delete");
    story.world.until("a deletion is sealed", || deletion().is_some());
    tells(&double, &deletion().unwrap(), 2, json!({"kind": "delete", "of": "1"}));
    plain.sees("You (deleted a message)");
    assert_eq!(finds(&mut plain, "six"), 0);
}

/// Sends a message of carol's again, with other fields.
fn tells(double: &Session, said: &Value, more: Value) {
    let mut line = json!({"type": "message", "to": said["to"], "from": "carol",
        "device": "main", "id": said["id"], "sealed": said["sealed"], "time_ms": now_ms()});
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    double.tells(line);
}

/// Versions of messages that are no longer the newest: before an edit, the first edit, before a
/// deletion.
struct Versions {
    edited: Value,
    first: Value,
    deleted: Value,
}

impl Versions {
    /// The server sends them in every way that it has; the client shows none of them as new.
    fn are_sent_again(
        &self,
        story: &HostileServer,
        (plain, double): (&mut Program, &Session),
        mark: &str,
    ) {
        let before = plain.shown().len();
        let is_history = |line: &&str| line.contains(r#""type":"history""#);
        let asked = || double.heard().lines().filter(is_history).count();
        let asked_before = asked();
        plain.types("/query #tea");
        plain.types("/history");
        story.world.until("the history is asked for", || asked() > asked_before);
        let heard = double.heard();
        let request: Value =
            serde_json::from_str(heard.lines().rfind(is_history).unwrap()).unwrap();
        // As it was, under its own seq and under others, and with an older edit.
        for (number, said) in
            [(1, &self.edited), (4, &self.deleted), (20, &self.edited), (21, &self.deleted)]
        {
            let seq = json!({"seq": number.to_string(), "ref": request["ref"]});
            tells(double, said, seq);
            tells(double, said, json!({"seq": (number + 30).to_string(), "replay": true}));
            tells(double, said, json!({"seq": number.to_string(), "replay": true}));
        }
        let older = json!({"seq": "22", "edited": true, "sealed": self.first["sealed"], "ref": request["ref"]});
        tells(double, &self.edited, older);
        double.tells(json!({"type": "history", "to": self.edited["to"], "messages": 5, "more": false, "ref": request["ref"]}));
        // What the server sends and what is typed come on two ways.
        double.tells(json!({"type": "notice", "text": format!("all was sent: {mark}")}));
        plain.sees(&format!("all was sent: {mark}"));
        plain.types("/search kettle");
        plain.types(&format!("/set {mark}"));
        plain.sees(&format!("there is no setting {mark:?}"));
        let shown = plain.shown()[before..].to_vec();
        let has = |text: &str| shown.iter().filter(|line| line.contains(text)).count();
        let old = ["the kettle sings", "the kettle is lost", "the kettle hums"].map(has);
        assert_eq!(old, [0; 3], "{shown:#?}");
        assert!(
            has("is an earlier version: the sender has edited or deleted it since") >= 1,
            "{shown:#?}"
        );
        assert_eq!(has("the kettle boils (edited)"), 1, "{shown:#?}");
    }
}

#[test]
fn what_was_edited_or_deleted_never_comes_back_as_it_was() {
    let story = HostileServer::known_to(&["carol"]);
    let (mut plain, double) = story.client(&["--plain"]);
    plain.types("/join tea blue kettle 47");
    plain.sees("you are in #tea~");
    let mut seq = 0;
    let mut says = |plain: &mut Program, text: &str, more: Value, shown: &str| {
        let before = double.sealed();
        plain.types(text);
        story.world.until("it is sealed", || double.sealed() != before);
        let (said, mut more) = (double.sealed().unwrap(), more);
        seq += 1;
        more["seq"] = seq.to_string().into();
        tells(&double, &said, more);
        plain.sees(shown);
        said
    };
    let edit = || json!({"kind": "edit", "of": "1"});
    let edited = says(&mut plain, "the kettle sings", json!({}), "You: the kettle sings");
    let first = says(&mut plain, "/edit the kettle hums", edit(), "the kettle hums");
    says(&mut plain, "/edit the kettle boils", edit(), "the kettle boils");
    let deleted = says(&mut plain, "the kettle is lost", json!({}), "You: the kettle is lost");
    let delete = json!({"kind": "delete", "of": "4"});
    says(&mut plain, "/delete 4", delete, "You (deleted a message)");
    let versions = Versions { edited, first, deleted };
    versions.are_sent_again(&story, (&mut plain, &double), "one");
    plain.types("/exit");
    plain.ends();
    drop(double);
    let (mut plain, double) = story.client(&["--plain"]);
    plain.sees("you are in #tea~");
    versions.are_sent_again(&story, (&mut plain, &double), "two");
    // Another log changes nothing.
    let mut again = entered(&double.channel().unwrap(), None);
    again["epoch"] = "00000000000000cd".into();
    double.tells(again);
    plain.sees("the server has begun another numbering of #tea~");
    versions.are_sent_again(&story, (&mut plain, &double), "three");
}

#[test]
fn somebody_who_looks_like_carol_is_not_trusted_at_the_first_meeting() {
    let story = HostileServer::known_to(&["carol"]);
    let key = STANDARD_NO_PAD.encode(story.own.public().to_der());
    let (mut json, double) = story.client(&["--json"]);
    json.sees(r#""type":"hello""#);
    let writes = |json: &mut Program, name: &str| {
        let asked = |name: &str| double.heard().contains(&format!(r#""names":["{name}"]"#));
        let say = json!({"type": "say", "to": format!("@{name}"), "text": SECRET});
        json.types(&say.to_string());
        story.world.until("the keys are asked for", || asked(name));
        let keys = [json!({"device": "main", "key": key})];
        double.tells(json!({"type": "keys", "name": name, "keys": keys}));
    };
    writes(&mut json, "car0l");
    let told = json.sees(r#""type":"key_changed""#);
    for word in
        ["car0l (with U+0030) looks like carol, your own name", "/fingerprint car0l confirm"]
    {
        assert!(told.contains(word), "{told}");
    }
    let refused = json.sees(r#""type":"refused""#);
    assert!(refused.contains("car0l (with U+0030) looks like carol"), "{refused}");
    assert_eq!(double.sealed(), None);
    // The control: somebody else with this key is met.
    writes(&mut json, "dave");
    story.world.until("it is sealed for dave", || double.sealed().is_some());
    assert_eq!(double.sealed().unwrap()["to"], "@dave");
}
