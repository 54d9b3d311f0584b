//! Outputs of the model as JSON objects (docs/json.md), for programs and for the page.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::calendar::Utc;
use crate::chat::{Confidentiality, Descriptor, Event, Message, Retention, Target};
use crate::clean;
use crate::client::model::{Origin, Output, State, is_unsealed};
use crate::client::transfer::{Direction, Progress, TransferState};
use crate::system::clock;

/// Makes objects of outputs.
pub struct Objects {
    /// The server's fingerprint, for `hello`.
    server: String,
    keeps: RefCell<Keeps>,
}

/// The retention of files that the server has stated.
#[derive(Default)]
struct Keeps {
    /// The upper bound, in milliseconds; `None` if the server keeps no files.
    most_ms: Option<i64>,
    /// The retention of the messages of each channel, and of their files, in milliseconds.
    messages_ms: BTreeMap<Target, i64>,
}

impl Keeps {
    fn learn(&mut self, event: &Event) {
        match event {
            Event::Welcome { files, .. } => {
                let ms = |s: u64| i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1000);
                self.most_ms = files.map(|rules| ms(rules.age_s_max));
            }
            Event::Entered { channel, retention, .. }
            | Event::Topic { to: channel, retention, .. } => {
                let to = Target::Channel(channel.clone());
                match retention {
                    Retention::For(span) => self.messages_ms.insert(to, span.as_ms()),
                    Retention::Forever | Retention::Off => self.messages_ms.remove(&to),
                };
            }
            _ => {}
        }
    }

    /// Returns when the server removes the file of a message at the latest.
    fn until(&self, message: &Message) -> Option<String> {
        let messages_ms = self.messages_ms.get(&message.to).copied().unwrap_or(i64::MAX);
        let until_ms = message.time_ms.saturating_add(self.most_ms?.min(messages_ms));
        Utc::of(until_ms).map(|until| until.to_string())
    }
}

impl Objects {
    pub fn new(server: String) -> Objects {
        Objects { server, keeps: RefCell::default() }
    }

    /// The last object.
    pub fn bye(reason: &str) -> Value {
        json!({"type": "bye", "reason": reason, "origin": Origin::Client})
    }

    /// The objects of an output, in order.
    pub fn of(&self, output: &Output) -> Vec<Value> {
        let single = |output: Output| self.object(&output);
        match output {
            Output::Transfers(all) => {
                all.iter().cloned().map(Output::Transfer).filter_map(single).collect()
            }
            Output::Files { files, .. } => {
                files.iter().cloned().map(Output::Message).filter_map(single).collect()
            }
            output => self.object(output).into_iter().collect(),
        }
    }

    /// Adds the origin of the text.
    pub fn object(&self, output: &Output) -> Option<Value> {
        if let Output::Event(_, event) = output {
            self.keeps.borrow_mut().learn(event);
        }
        let mut object = self.bare(output)?;
        object["origin"] = json!(output.origin());
        Some(object)
    }

    fn message(&self, message: &Message) -> Value {
        let mut object = self::message(message);
        if let Some(file) = object.get_mut("file")
            && let Some(until) = self.keeps.borrow().until(message)
        {
            file["until"] = until.into();
        }
        object
    }

    fn bare(&self, output: &Output) -> Option<Value> {
        Some(match output {
            Output::State(state) => self::state(state),
            Output::Message(message) | Output::Found(message) => self.message(message),
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
            Output::Renumbered { to, after } => {
                json!({"type": "renumbered", "to": to, "after": after})
            }
            Output::Unread { messages: 0, .. } => return None,
            Output::Unread { to, messages, .. } => {
                json!({"type": "unread", "to": to, "messages": messages})
            }
            Output::Transfer(progress) => transfer(progress),
            // Several objects.
            Output::Transfers(_) | Output::Files { .. } => return None,
            Output::Back => json!({"type": "notice", "text": "back"}),
            Output::Violation { to, from, seq, violation, .. } => json!({
                "type": "violation", "to": to, "from": from, "seq": seq, "code": violation.code(),
                "hint": violation.describe(from),
            }),
            Output::KeyChanged { name, text } => {
                json!({"type": "key_changed", "name": name, "hint": text})
            }
            Output::Divider(_)
            | Output::Picture { .. }
            | Output::Outgoing(_)
            | Output::Dropped(_)
            | Output::Hint(_)
            | Output::Conversation { .. }
            | Output::Latency(_)
            | Output::Deriving(_)
            | Output::Presence(_)
            | Output::Target(_)
            | Output::Timestamps(_)
            | Output::Clear
            | Output::Secret(_)
            | Output::Bye(_) => return None,
        })
    }
}

fn state(state: &State) -> Value {
    match state {
        State::Connecting => json!({"type": "state", "state": "connecting"}),
        State::Connected { .. } => json!({"type": "state", "state": "connected"}),
        State::Silent { for_ms } => {
            let now_ms = clock::now_ms();
            let since_ms = now_ms.saturating_sub_unsigned(*for_ms);
            let since = Utc::of_or_1970(since_ms).to_string();
            json!({"type": "state", "state": "silent", "since": since})
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

/// A file that is sent or fetched: never its key.
fn transfer(progress: &Progress) -> Value {
    let Progress { id, direction, name, to, bytes, of, rate, .. } = progress;
    let mut object = json!({
        "type": "transfer", "transfer": id.to_string(), "name": name, "to": to,
        "direction": match direction { Direction::Up => "up", Direction::Down => "down" },
        "state": match progress.state {
            TransferState::Reading => "reading",
            TransferState::Waiting => "waiting",
            TransferState::Going => "going",
            TransferState::Storing => "storing",
            TransferState::Sent => "sent",
            TransferState::Saved(_) => "saved",
            TransferState::Failed(_) => "failed",
            TransferState::Cancelled => "cancelled",
        },
        "bytes": bytes, "of": of, "rate": rate,
    });
    if let Some(seq) = progress.seq {
        object["seq"] = json!(seq);
    }
    if let Some(reference) = &progress.reference {
        object["ref"] = reference.as_str().into();
    }
    match &progress.state {
        TransferState::Saved(path) => object["path"] = path.to_string_lossy().into(),
        TransferState::Failed(failure) => {
            object["code"] = failure.code.as_str().into();
            object["hint"] = failure.hint.as_str().into();
        }
        _ => {}
    }
    object
}

fn message(message: &Message) -> Value {
    // A descriptor has the file's key.
    let file = message.kind.blob().map(|blob| Descriptor::read(message.body.text(), blob));
    let text = match &file {
        None => message.body.text().to_owned(),
        Some(file) => {
            let caption = file.as_ref().ok().and_then(|file| file.text.as_deref());
            // JSON can hold escapes that the text of the message did not.
            clean::text(caption.unwrap_or_default())
        }
    };
    let mut object = json!({
        "type": "message", "to": message.to, "from": message.from, "device": message.device,
        "seq": message.seq, "id": message.id, "time": Utc::of_or_1970(message.time_ms).to_string(),
        "text": text, "kind": message.kind.word(), "replay": message.replay,
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
    if let Some(Ok(file)) = &file {
        object["file"] = described(file);
    }
    if let Some(of) = message.kind.of() {
        object["of"] = json!(of);
    }
    if let Some(reference) = &message.reference {
        object["ref"] = json!(reference);
    }
    object
}

/// The fields of a file's descriptor, without the key.
fn described(file: &Descriptor) -> Value {
    let mut object = json!({
        "name": clean::line(&file.name), "bytes": file.bytes, "media": clean::line(&file.media),
    });
    if let Some(size) = file.size {
        object["size"] = json!(size);
    }
    if let Some(thumb) = &file.thumb {
        object["preview"] = json!(thumb);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_names_the_origin_of_its_text() {
        use crate::client::ui::hostile_tests::{ROUNDS, event, shown};
        use rand::SeedableRng;
        let objects = Objects::new("SHA256:x".into());
        for seed in 0..ROUNDS {
            let mut chance = rand::rngs::StdRng::seed_from_u64(seed);
            let told = event(&mut chance);
            let object = objects.object(&shown(told.clone())).unwrap();
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
            assert_eq!(objects.object(&own).unwrap()["origin"], "client", "{own:?}");
        }
    }

    #[test]
    fn a_caption_acts_on_no_terminal() {
        use crate::chat::{BlobId, FileBytes, FileSecret};
        let secret = || FileSecret(zeroize::Zeroizing::new([1; 32]));
        let blob = BlobId([2; 16]);
        let (name, media, bytes) = ("a".to_owned(), String::new(), FileBytes(1));
        let (key, hash, size, thumb) = (secret(), secret(), None, None);
        let text = Some("\u{1b}]52;c;b3duZWQ=\u{7}\u{202e}end".to_owned());
        let descriptor =
            Descriptor { v: 1, blob, name, bytes, media, key, hash, size, thumb, text };
        let told = serde_json::json!({
            "type": "message", "to": "#lobby", "from": "bob", "device": "main", "seq": "1", "time_ms": 0,
            "id": "00000000000000000000000000000001", "kind": "file", "blob": blob,
            "text": descriptor.text(),
        });
        let message: Message = serde_json::from_value(told).unwrap();
        let object = super::message(&message);
        assert_eq!(object["file"]["name"], "a", "the control: {object}");
        assert_eq!(object["text"], "]52;c;b3duZWQ=end");
    }

    #[test]
    fn a_file_has_the_time_until_which_the_server_keeps_it() {
        let objects = Objects::new("SHA256:x".into());
        let secret = "A".repeat(43);
        let text = json!({"v": 1, "blob": "AgICAgICAgICAgICAgICAg", "name": "a", "bytes": 1,
            "media": "", "key": secret, "hash": secret});
        let until = |to: &str| {
            let told = json!({"seq": "1", "to": to, "from": "bob", "device": "main", "time_ms": 5,
                "id": "0".repeat(32), "kind": "file", "blob": "AgICAgICAgICAgICAgICAg",
                "text": text.to_string()});
            let message: Message = serde_json::from_value(told).unwrap();
            let object = objects.object(&Output::Message(message)).unwrap();
            assert_eq!(object["file"]["name"], "a", "the control: {object}");
            object["file"]["until"].clone()
        };
        let learns = |told: Value| {
            let event = serde_json::from_value(told).unwrap();
            objects.object(&Output::Event(Origin::Server, event)).unwrap();
        };
        assert_eq!(until("#lobby"), Value::Null, "the server has not stated it");
        learns(json!({"type": "welcome", "name": "alice", "device": "main", "version": "1",
            "text_bytes_max": 8192, "time_ms": 0, "files": {"bytes_max": 9, "age_s_max": 3600}}));
        learns(json!({"type": "topic", "to": "#tea", "retention": "2m"}));
        assert_eq!(until("#lobby"), "1970-01-01T01:00:00.005Z");
        assert_eq!(until("#tea"), "1970-01-01T00:02:00.005Z", "with its message");
        learns(json!({"type": "topic", "to": "#tea", "retention": "2d"}));
        assert_eq!(until("#tea"), "1970-01-01T01:00:00.005Z");
    }

    #[test]
    fn every_server_text_has_the_origin_server() {
        use crate::client::ui::hostile_tests::shows;
        let objects = Objects::new("SHA256:x".into());
        for output in shows() {
            let Some(object) = objects.object(&output) else { continue };
            // A message that was opened here may be found here again.
            let opened = matches!(&output, Output::Found(message) if !is_unsealed(message));
            if object.to_string().contains("qq") && !opened {
                assert_eq!(object["origin"], "server", "{object}");
            }
        }
    }
}
