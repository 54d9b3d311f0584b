use serde_json::{Value, json};

use super::*;

/// Control characters, and excessive length.
const ACTS: &str = "a\u{1b}[2J\u{7}\u{9b}31m\u{202e}b\u{200b}\r\nc";

fn dirty() -> String {
    ACTS.repeat(40_000)
}

/// Every event that a server may send, with such texts in all places.
fn all() -> Vec<Value> {
    let (id, seq, dirty) = ("0".repeat(32), "7", dirty());
    let (log, names) = ("00000000000000ff", vec!["bob"; 20_000]);
    let reference = dirty.as_str();
    vec![
        json!({"type": "welcome", "name": "alice", "device": "main", "version": dirty,
            "text_bytes_max": u32::MAX, "time_ms": i64::MIN, "motd": dirty}),
        json!({"type": "message", "seq": seq, "to": "#lobby", "from": "bob", "device": "main",
            "id": id, "time_ms": i64::MIN, "text": dirty}),
        json!({"type": "stored", "id": id, "to": "#lobby", "seq": seq}),
        json!({"type": "gap", "to": "#lobby", "from_seq": seq, "to_seq": seq, "stored": true}),
        json!({"type": "conversations", "conversations": vec![json!({"to": "@bob", "epoch": log, "last": seq,
            "read": seq, "retention": "2d"}); 20_000]}),
        json!({"type": "read", "to": "#lobby", "seq": seq}),
        json!({"type": "history", "to": "#lobby", "messages": usize::MAX, "more": true,
            "ref": reference}),
        json!({"type": "entered", "channel": "#tea", "epoch": log, "last": seq, "read": seq,
            "retention": "2d", "people": names, "topic": dirty, "ref": reference}),
        json!({"type": "parted", "channel": "#tea", "ref": reference}),
        json!({"type": "joined", "to": "#tea", "who": "bob", "here": usize::MAX}),
        json!({"type": "left", "to": "#tea", "who": "bob", "here": 1, "after_ms": u64::MAX,
            "reason": dirty}),
        json!({"type": "people", "channel": "#tea", "people": names, "ref": reference}),
        json!({"type": "channels", "channels": vec![json!({"channel": "#tea", "here": 1,
            "member": true, "topic": dirty.get(..1_000)}); 2_000], "ref": reference}),
        json!({"type": "whois", "name": "bob", "fingerprints": [dirty, "SHA256:short",
            format!("SHA256:{}", "A".repeat(43))], "devices": names, "idle_ms": u64::MAX,
            "away": dirty, "channels": vec!["#tea"; 20_000], "ref": reference}),
        json!({"type": "keys", "name": "bob", "keys": [], "ref": reference}),
        json!({"type": "successor", "key": "AAAA", "signatures": "AAAA"}),
        json!({"type": "topic", "to": "#tea", "who": "bob", "text": dirty, "retention": "2d",
            "ref": reference}),
        json!({"type": "refused", "code": "rate", "hint": dirty, "id": id, "retry_ms": 0,
            "ref": reference}),
        json!({"type": "notice", "text": dirty, "ref": reference}),
        json!({"type": "goodbye", "code": "shutdown", "reason": dirty, "retry_ms": u64::MAX}),
        json!({"type": "password", "wrong": true, "retry_ms": 0}),
        json!({"type": "tomorrow", "text": dirty}),
    ]
}

fn welcomed() -> (Edge, Asked) {
    let asked = Asked::default();
    let mut edge = Edge::new(asked.clone());
    let welcome = serde_json::from_value(all().remove(0)).unwrap();
    assert!(edge.admit(welcome).is_some());
    (edge, asked)
}

/// The texts of an object, with their names.
fn texts<'a>(name: &'a str, value: &'a Value, found: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::String(text) => found.push((name, text)),
        Value::Array(values) => values.iter().for_each(|value| texts(name, value, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, it)| texts(name, it, found)),
        _ => {}
    }
}

#[test]
fn every_server_text_is_cleaned() {
    let mut kinds = Vec::new();
    for told in all() {
        let kind = told["type"].as_str().unwrap().to_owned();
        let (mut edge, _) = welcomed();
        let event: Event = serde_json::from_value(told).unwrap();
        if matches!(event, Event::Welcome { .. }) {
            edge = Edge::new(Asked::default());
        }
        let Some(event) = edge.admit(event) else {
            let unasked = ["password", "history"].contains(&kind.as_str());
            assert!(
                unasked,
                "{kind}: only one welcome is allowed, and no answer without a request"
            );
            continue;
        };
        let admitted = serde_json::to_value(&event).unwrap();
        let mut found = Vec::new();
        texts("", &admitted, &mut found);
        assert!(found.iter().all(|(name, _)| *name != "ref"), "{kind}: there is no such request");
        for (name, text) in found {
            // The model cleans the text of a message, which may still be sealed here.
            let acts = |c: char| clean::acts(c) && c != '\n';
            let is_message = kind == "message" && name == "text";
            assert!(is_message || !text.chars().any(acts), "{kind} {name}");
            let max = if kind == "notice" { ANSWER_BYTES_MAX } else { TEXT_BYTES_MAX };
            assert!(text.len() <= max, "{kind} {name}: {} bytes", text.len());
        }
        for rows in admitted.as_object().unwrap().values().filter_map(Value::as_array) {
            assert!(rows.len() <= ANSWER_ROWS_MAX, "{kind}");
        }
        if let Some(ms) = admitted.get("retry_ms").and_then(Value::as_u64) {
            assert!((RETRY_MS.0..=RETRY_MS.1).contains(&ms), "{kind} {ms}");
        }
        let wire = serde_json::to_vec(&event).unwrap().len();
        assert!(
            event.bytes_in_memory() + 1_000 > wire / 2,
            "{kind}: {} of {wire}",
            event.bytes_in_memory()
        );
        kinds.push(kind);
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), 20, "{kinds:?}");
}

#[test]
fn answers_need_the_reference_of_a_request() {
    let (mut edge, asked) = welcomed();
    let ask = |reference: Option<&str>| Request::new(Command::Channels, reference.map(Into::into));
    let told = |edge: &mut Edge, reference: &str| {
        let event = json!({"type": "notice", "text": "hi", "ref": reference});
        let event = edge.admit(serde_json::from_value(event).unwrap());
        event.map(|mut event| self::reference(&mut event).unwrap().clone())
    };
    assert_eq!(told(&mut edge, "q1"), Some(None));
    assert_eq!(told(&mut edge, ""), Some(None));
    asked.note(&ask(Some("q1")));
    asked.note(&ask(None));
    assert_eq!(told(&mut edge, "q1"), Some(Some("q1".into())));
    assert_eq!(told(&mut edge, ""), Some(None));
    // The newest of many requests are remembered, and none of another connection.
    (0..ASKED_REFS_MAX).for_each(|n| asked.note(&ask(Some(&format!("r{n}")))));
    assert_eq!(told(&mut edge, "q1"), Some(None));
    assert_eq!(told(&mut edge, "r0"), Some(Some("r0".into())));
    asked.forget();
    assert_eq!(told(&mut edge, "r0"), Some(None));
}

#[test]
fn messages_with_a_reference_and_their_end_need_an_open_request() {
    let (mut edge, asked) = welcomed();
    let tells = |edge: &mut Edge, event: Value| {
        edge.admit(serde_json::from_value(event).unwrap()).is_some()
    };
    let line = |seq: u64, to: &str, reference: &str| {
        json!({"type": "message", "seq": seq.to_string(), "to": to, "from": "bob",
            "device": "main", "id": "0".repeat(32), "time_ms": 1, "ref": reference})
    };
    let end = |to: Option<&str>, reference: Option<&str>| {
        json!({"type": "history", "to": to,
        "messages": 1, "more": false, "ref": reference})
    };
    let asks = |command: Value, reference: Option<&str>| {
        let command = serde_json::from_value(command).unwrap();
        asked.note(&Request::new(command, reference.map(Into::into)));
    };
    // The reference of another request is none.
    asks(json!({"type": "channels"}), Some("q1"));
    assert!(!tells(&mut edge, line(1, "#lobby", "")) && !tells(&mut edge, line(1, "#lobby", "q1")));
    assert!(!tells(&mut edge, end(Some("#lobby"), Some("q1"))));
    assert!(!tells(&mut edge, end(None, None)));
    for reference in [Some("q1"), None] {
        let with = reference.unwrap_or_default();
        asks(json!({"type": "history", "to": "#lobby"}), reference);
        assert!(
            !tells(&mut edge, line(1, "#tea", with)) && tells(&mut edge, line(1, "#lobby", with))
        );
        assert!(tells(&mut edge, end(Some("#lobby"), reference)));
        assert!(!tells(&mut edge, line(2, "#lobby", with)), "it was answered");
        assert!(!tells(&mut edge, end(Some("#lobby"), reference)));
        asks(json!({"type": "history", "to": "#lobby"}), reference);
        let refused = json!({"type": "refused", "code": "rate", "hint": "", "ref": reference});
        assert!(tells(&mut edge, refused));
        // Without a reference it may be of another request, and closes nothing.
        let is_open = tells(&mut edge, line(2, "#lobby", with));
        assert_eq!(is_open, reference.is_none());
        assert!(!is_open || tells(&mut edge, end(Some("#lobby"), None)));
        // A search finds texts, in conversations that are known.
        asks(json!({"type": "search", "text": "tea"}), reference);
        assert!(tells(&mut edge, line(7, "#lobby", with)));
        assert!(!tells(&mut edge, line(7, "#nowhere", with)));
        let mut sealed = line(8, "@alice", with);
        sealed["sealed"] = json!("AQ");
        assert!(!tells(&mut edge, sealed));
        assert!(tells(&mut edge, end(None, reference)));
    }
    asks(json!({"type": "history", "to": "#lobby"}), Some("q1"));
    asked.forget();
    assert!(!tells(&mut edge, line(3, "#lobby", "q1")), "of another connection");
}

#[test]
fn the_count_of_conversations_is_bounded() {
    let (mut edge, asked) = welcomed();
    let tells = |edge: &mut Edge, from: &str| {
        let line = json!({"type": "message", "seq": "7", "to": "@alice", "from": from,
            "device": "main", "id": "0".repeat(32), "time_ms": 1});
        edge.admit(serde_json::from_value(line).unwrap()).is_some()
    };
    assert!((0..CONVERSATIONS_MAX).all(|n| tells(&mut edge, &format!("p{n}"))));
    assert!(!edge.overflows);
    assert!(!tells(&mut edge, "bob"));
    assert!(edge.overflows);
    assert!(tells(&mut edge, "p7"));
    let say = json!({"type": "say", "to": "@bob", "id": "0".repeat(32), "text": "hi"});
    let say: Command = serde_json::from_value(say).unwrap();
    asked.note(&say.into());
    // Another connection changes nothing.
    asked.forget();
    let mut edge = Edge::new(asked);
    assert!(edge.admit(serde_json::from_value(all().remove(0)).unwrap()).is_some());
    assert!(tells(&mut edge, "bob") && !tells(&mut edge, "carol"));
}

#[test]
fn the_welcome_comes_once_and_first() {
    let mut edge = Edge::new(Asked::default());
    let mut admits = |kind: &str| {
        let event = all().into_iter().find(|event| event["type"] == kind).unwrap();
        edge.admit(serde_json::from_value(event).unwrap()).is_some()
    };
    for kind in ["message", "entered", "conversations", "keys", "stored", "topic"] {
        assert!(!admits(kind), "{kind} before the welcome");
    }
    assert!(["password", "refused", "goodbye"].map(&mut admits).into_iter().all(|it| it));
    assert!(admits("welcome") && !admits("welcome") && !admits("password"));
    assert!(admits("message") && admits("goodbye"));
}
