//! JSON interface, one object per line in both directions (docs/json.md).

use serde_json::{Value, json};

use super::Ui;
use crate::chat::{Command, Confidentiality, Event, Message, MsgId, Request};
use crate::client::connection::inbox::Permit;
use crate::client::model::{Input, Origin, Output, State, is_unsealed};
use crate::client::ui::stdout::{Print, Stdout};

pub struct Json {
    out: Stdout,
    /// The server's fingerprint, for the first object.
    server: String,
    /// The reason for the end, if the model has given one.
    bye: Option<String>,
}

impl Json {
    pub fn new(server: String, out: Stdout) -> Self {
        Json { out, server, bye: None }
    }

    /// Adds the origin of the text.
    fn object(&self, output: &Output) -> Option<Value> {
        let mut object = self.bare(output)?;
        object["origin"] = json!(output.origin());
        Some(object)
    }

    fn bare(&self, output: &Output) -> Option<Value> {
        Some(match output {
            Output::State(state) => self::state(state),
            Output::Message(message) | Output::Found(message) => self::message(message),
            Output::Pending { id, to, stored } => {
                json!({"type": "pending", "id": id, "to": to, "stored": stored})
            }
            Output::Saved { id, to } => {
                json!({"type": "pending", "id": id, "to": to, "stored": true})
            }
            Output::Ack { id, to, seq } => json!({"type": "ack", "id": id, "to": to, "seq": seq}),
            Output::Event(_, Event::Welcome { name, device, motd, .. }) => {
                let mut object = json!({
                    "type": "hello", "v": 1, "name": name, "device": device, "server": self.server,
                });
                if let Some(motd) = motd {
                    object["motd"] = motd.as_str().into();
                }
                object
            }
            Output::Event(_, Event::Goodbye { code, reason, .. }) => {
                json!({"type": "error", "code": code, "hint": reason})
            }
            Output::Event(
                _,
                event @ (Event::Entered { channel, .. } | Event::Topic { to: channel, .. }),
            ) => {
                let mut object = serde_json::to_value(event).ok()?;
                object["readers"] = if channel.has_pin() { "pin" } else { "operator" }.into();
                object
            }
            Output::Event(_, event) => serde_json::to_value(event).ok()?,
            Output::Gone(channel) => json!({"type": "gone", "channel": channel}),
            Output::Notice(text) => json!({"type": "notice", "text": text}),
            Output::Error(text) => json!({"type": "error", "code": "client", "hint": text}),
            Output::Misused(text) => json!({"type": "error", "code": "bad_request", "hint": text}),
            Output::Unread { lines: 0, .. } => return None,
            Output::Unread { to, lines, .. } => json!({"type": "unread", "to": to, "lines": lines}),
            Output::Back => json!({"type": "notice", "text": "back"}),
            Output::Violation { to, from, seq, violation } => json!({
                "type": "violation", "to": to, "from": from, "seq": seq, "code": violation.code(),
                "hint": violation.told(from),
            }),
            Output::KeyChanged { name, text } => {
                json!({"type": "key_changed", "name": name, "hint": text})
            }
            Output::Divider(_)
            | Output::Outgoing(_)
            | Output::Dropped(_)
            | Output::Hint(_)
            | Output::Conversation { .. }
            | Output::Latency(_)
            | Output::Presence(_)
            | Output::Target(_)
            | Output::Timestamps(_)
            | Output::Clear
            | Output::Secret(_)
            | Output::Bye(_) => return None,
        })
    }
}

impl Ui for Json {
    fn show(&mut self, output: &Output) {
        if let Output::Bye(reason) = output {
            self.bye = Some(reason.clone());
        } else if let Some(object) = self.object(output) {
            self.out.print(object.to_string());
        }
    }

    fn carries(&mut self, permit: Option<Permit>) {
        self.out.carries(permit);
    }

    fn end(&mut self, code: u8) -> bool {
        let quits = self.bye.is_some() || code == 130;
        let reason = self.bye.take().unwrap_or_else(|| {
            let reason = match code {
                0 | 8 => "the input has ended",
                130 => "interrupted",
                _ => "see the last error",
            };
            reason.to_owned()
        });
        self.out
            .print(json!({"type": "bye", "reason": reason, "origin": Origin::Client}).to_string());
        self.out.finish(quits)
    }
}

fn state(state: &State) -> Value {
    match state {
        State::Connecting => json!({"type": "state", "state": "connecting"}),
        State::Connected { .. } => json!({"type": "state", "state": "connected"}),
        State::Silent { for_ms } => {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            let since_ms = now_ms.saturating_sub_unsigned(*for_ms);
            let since = jiff::Timestamp::from_millisecond(since_ms).unwrap_or_default();
            json!({"type": "state", "state": "silent", "since": format!("{since:.3}")})
        }
        State::Offline { retry_ms } => {
            json!({"type": "state", "state": "offline", "retry_ms": retry_ms})
        }
        State::NotAdmitted { retry_ms } => {
            json!({"type": "state", "state": "not_admitted", "retry_ms": retry_ms})
        }
        State::Refused { code } => json!({"type": "state", "state": "refused", "code": code}),
    }
}

fn message(message: &Message) -> Value {
    let time = jiff::Timestamp::from_millisecond(message.time_ms).unwrap_or_default();
    let mut object = json!({
        "type": "message", "to": message.to, "from": message.from, "device": message.device,
        "seq": message.seq, "id": message.id, "time": format!("{time:.3}"),
        "text": message.body.text(), "kind": message.kind.word(), "replay": message.replay,
        "confidentiality": match message.confidentiality {
            Confidentiality::Open => "open",
            Confidentiality::Pin => "pin",
            Confidentiality::Sealed => "sealed",
            Confidentiality::RsaAlone => "rsa_alone",
        },
    });
    let flags = [("edited", message.edited), ("deleted", message.deleted)];
    for (name, _) in flags.iter().filter(|(_, set)| *set) {
        object[*name] = true.into();
    }
    if is_unsealed(message) {
        object["unsealed"] = true.into();
    }
    if let Some(of) = message.kind.of() {
        object["of"] = json!(of);
    }
    if let Some(reference) = &message.reference {
        object["ref"] = json!(reference);
    }
    object
}

/// Parses a line of a program: a command of the protocol (with an id if it names none), `me`,
/// `list`, or `slash`.
pub fn read(line: &str) -> Input {
    let fault = |text: String| Input::Ask(Err(text));
    let mut value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(error) => return fault(format!("not an object of docs/json.md: {error}")),
    };
    let Some(object) = value.as_object_mut() else {
        return fault("not an object of docs/json.md".into());
    };
    match object.get("type").and_then(Value::as_str) {
        Some("slash") => {
            return match object.get("line").and_then(Value::as_str) {
                Some(line) if line.starts_with('/') => Input::Slash(line.to_owned()),
                _ => fault("the line of a slash object must begin with /".into()),
            };
        }
        Some("join") if object.contains_key("pin") => {
            let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
            let (name, pin) = (field("channel"), field("pin"));
            return match name.contains(char::is_whitespace) || pin.trim().is_empty() {
                true => fault("a join with a PIN needs a channel and a pin, as texts".into()),
                false => Input::Slash(format!("/join {name} {pin}")),
            };
        }
        Some(kind @ ("me" | "edit" | "delete")) => {
            let kind = kind.to_owned();
            object.insert("type".into(), "say".into());
            object.insert("kind".into(), kind.into());
        }
        Some("list") => {
            object.insert("type".into(), "people".into());
            let to = object.remove("to").unwrap_or_else(|| "#lobby".into());
            object.entry("channel").or_insert(to);
        }
        _ => {}
    }
    if object.contains_key("sealed") {
        return fault("the client seals messages itself: send only the text".into());
    }
    if object.get("lines").is_some_and(|lines| *lines == 0) {
        return fault("lines is 1 or more".into());
    }
    let is_open = ["to", "channel"].into_iter().any(|field| means_open(object, field));
    if object.get("type").and_then(Value::as_str) == Some("say") {
        object.entry("id").or_insert_with(|| MsgId(rand::random()).to_string().into());
    }
    let reference = value.get("ref").cloned().unwrap_or_default();
    let command = serde_json::from_value::<Command>(value);
    match command.and_then(|it| Request::read(it, || serde_json::from_value(reference))) {
        // The model resumes by itself.
        Ok(Request { command: Command::Resume { .. }, .. }) => {
            fault("there is no such type: see docs/json.md".into())
        }
        Ok(Request { command: Command::Unknown, .. }) => {
            fault("there is no such type: see docs/json.md".into())
        }
        Ok(Request { command: Command::Password { password }, .. }) => Input::Secret(password),
        Ok(request) if is_open => Input::AskOpen(request),
        Ok(request) => Input::Ask(Ok(request)),
        Err(error) => fault(format!("not an object of docs/json.md: {error}")),
    }
}

/// Whether a field names the open channel of a name, which is the name alone on the wire.
fn means_open(object: &mut serde_json::Map<String, Value>, field: &str) -> bool {
    let name = object.get(field).and_then(Value::as_str);
    let Some(name) = name.and_then(|name| name.strip_suffix("~open")).map(str::to_owned) else {
        return false;
    };
    object.insert(field.into(), name.into());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_commands() {
        let say = read(r##"{"type":"me","to":"#lobby","text":"waves"}"##);
        let Input::Ask(Ok(Request { command: Command::Say(say), .. })) = say else {
            panic!("{say:?}")
        };
        assert_eq!(say.kind, crate::chat::Kind::Me);
        let list = read(r#"{"type":"list","ref":"q1"}"#);
        let Input::Ask(Ok(Request { command, reference })) = list else { panic!("{list:?}") };
        assert!(matches!(command, Command::People { .. }) && reference.as_deref() == Some("q1"));
        let secret = read(r#"{"type":"password","password":"tall tree"}"#);
        assert!(matches!(secret, Input::Secret(secret) if secret.reveal() == "tall tree"));
        let slash = read(r#"{"type":"slash","line":"/topic tea"}"#);
        assert!(matches!(slash, Input::Slash(line) if line == "/topic tea"));
        for bad in
            ["", "{", "[]", "{}", r#"{"type":"fly"}"#, r#"{"type":"say","to":"x","text":""}"#]
        {
            assert!(matches!(read(bad), Input::Ask(Err(_))), "{bad}");
        }
    }

    #[test]
    fn each_object_names_the_origin_of_its_text() {
        use crate::client::ui::hostile_tests::{ROUNDS, event, shown};
        use rand::SeedableRng;
        let json =
            Json::new("SHA256:x".into(), Stdout::new(crate::client::connection::inbox::open().0));
        for seed in 0..ROUNDS {
            let mut chance = rand::rngs::StdRng::seed_from_u64(seed);
            let told = event(&mut chance);
            let object = json.object(&shown(told.clone())).unwrap();
            assert_eq!(object["origin"], "server", "{told}");
            if object["type"] == "message" {
                let sealed = object["to"].as_str().unwrap().starts_with('@');
                assert_eq!(object["unsealed"], if sealed { true.into() } else { Value::Null });
            }
        }
        let channel = "#tea".parse().unwrap();
        for own in [
            Output::Notice("compare this with bob".into()),
            Output::Error("no".into()),
            Output::Gone(channel),
            Output::Event(Origin::Client, crate::chat::Refusal::NoTopic.event(None, None)),
        ] {
            assert_eq!(json.object(&own).unwrap()["origin"], "client", "{own:?}");
        }
    }

    #[test]
    fn every_server_text_has_the_origin_server() {
        use crate::client::ui::hostile_tests::shows;
        let json =
            Json::new("SHA256:x".into(), Stdout::new(crate::client::connection::inbox::open().0));
        for output in shows() {
            let Some(object) = json.object(&output) else { continue };
            // A message that was opened here may be found here again.
            let opened = matches!(&output, Output::Found(message) if !is_unsealed(message));
            if object.to_string().contains("qq") && !opened {
                assert_eq!(object["origin"], "server", "{object}");
            }
        }
    }

    #[test]
    fn a_program_seals_nothing_itself() {
        let both = r#"{"type":"say","to":"@bob","text":"a secret","sealed":"AXB5"}"#;
        assert!(matches!(read(both), Input::Ask(Err(_))));
    }
}
