//! Commands, events and the login as JSON: one or more messages in a record, separated by newlines.

use serde::{Deserialize, Serialize};

use super::short;
use crate::chat::{
    Body, Command, DeviceName, Event, Kind, MsgId, NewMessage, Request, Ticket, UserName,
};
use crate::limits::MESSAGE_BYTES_MAX;

/// The body of the LOGIN record, the client's first encrypted record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// The name that the client was started with; the server identifies the user by the key.
    pub name: UserName,
    /// `None` takes the name of the registered key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// The client's version, for display.
    pub version: String,
    /// The major of the protocol that the client has chosen.
    pub major: u8,
    #[serde(default)]
    pub features: Vec<String>,
    /// The ticket that the server has issued to this device after a correct password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// A malformed message.
#[derive(Debug, thiserror::Error)]
#[error("malformed message: {error}")]
pub struct CodecError {
    error: serde_json::Error,
    /// The id and reference of the message, as far as they are readable.
    pub names: Names,
}

/// The values that an answer to a message contains.
#[derive(Debug, Default, Deserialize)]
pub struct Names {
    #[serde(default)]
    pub id: Option<MsgId>,
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
}

/// The reference of a request.
#[derive(Deserialize)]
struct Reference {
    #[serde(default, rename = "ref")]
    reference: Option<String>,
}

/// A message of a record.
pub trait Wire: Serialize + Sized {
    fn read(json: &[u8]) -> serde_json::Result<Self>;

    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(out, self)
    }
}

impl Wire for Login {
    fn read(json: &[u8]) -> serde_json::Result<Login> {
        serde_json::from_slice(json)
    }
}

impl Wire for Request {
    fn read(json: &[u8]) -> serde_json::Result<Request> {
        if short::is_short(json) {
            return Ok(short::read_command(json)?.into());
        }
        let reference = || serde_json::from_slice(json).map(|Reference { reference }| reference);
        Request::read(serde_json::from_slice(json)?, reference)
    }

    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        match &self.command {
            Command::Say(NewMessage { to, id, kind: Kind::Say, body: Body::Text(text) }) => {
                serde_json::to_writer(out, &(to, id, text))
            }
            _ => serde_json::to_writer(out, self),
        }
    }
}

/// The server writes the short form of an event itself (`short::stored_fields`), once for all
/// members.
impl Wire for Event {
    fn read(json: &[u8]) -> serde_json::Result<Event> {
        if short::is_short(json) { short::read_event(json) } else { serde_json::from_slice(json) }
    }
}

/// Appends `value` and a newline.
pub fn encode<T: Wire>(value: &T, out: &mut Vec<u8>) {
    value.write(out).expect("values of the protocol are plain JSON");
    out.push(b'\n');
}

/// Returns the messages of a record's body in order. Skips empty lines and padding.
pub fn decode<T: Wire>(body: &[u8]) -> impl Iterator<Item = Result<T, CodecError>> {
    body.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| T::read(line).map_err(|error| CodecError { error, names: Names::read(line) }))
}

impl Names {
    fn read(json: &[u8]) -> Names {
        if short::is_short(json) {
            return Names { id: short::read_id(json), reference: None };
        }
        serde_json::from_slice(json).unwrap_or_default()
    }
}

/// Joins server messages that are longer than a record: text after the last newline of a record
/// continues in the next one.
#[derive(Default)]
pub struct Parts {
    bytes: Vec<u8>,
    /// Number of these bytes that were returned.
    given: usize,
}

impl Parts {
    /// Returns the messages that are complete with `body`, the next record's; `None` if one would
    /// exceed the bound on messages.
    pub fn join<'a>(&'a mut self, body: &'a [u8]) -> Option<&'a [u8]> {
        self.bytes.drain(..self.given);
        self.given = 0;
        if self.bytes.is_empty() && body.ends_with(b"\n") {
            return Some(body);
        }
        self.bytes.extend_from_slice(body);
        let end = self.bytes.iter().rposition(|byte| *byte == b'\n');
        self.given = end.map_or(0, |end| end + 1);
        let begun = self.bytes.len() - self.given;
        (begun <= MESSAGE_BYTES_MAX).then_some(&self.bytes[..self.given])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let text = b"{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n";
        for cut in 1..text.len() {
            let mut parts = Parts::default();
            let mut told = Vec::new();
            for part in text.chunks(cut) {
                let whole = parts.join(part).unwrap();
                assert!(whole.is_empty() || whole.ends_with(b"\n"));
                told.extend_from_slice(whole);
            }
            assert_eq!(told, text);
        }
    }

    #[test]
    fn a_message_without_an_end_is_given_up() {
        let mut parts = Parts::default();
        let part = [b'x'; 16_000];
        let records = (0..).take_while(|_| parts.join(&part).is_some()).count();
        assert_eq!(records, MESSAGE_BYTES_MAX / part.len());
    }

    use crate::chat::{BlobId, Opaque, Seq, Target};
    use proptest::prelude::*;

    #[test]
    fn a_line_of_nothing_but_a_text_is_short_and_the_long_form_is_read_as_well() {
        let id = "000102030405060708090a0b0c0d0e0f";
        let long = format!(r##"{{"type":"say","to":"#tea","id":"{id}","text":"a \"b\""}}"##);
        let say = decode::<Request>(long.as_bytes()).next().unwrap().unwrap();
        let mut short = Vec::new();
        encode(&say, &mut short);
        assert_eq!(short, format!("[\"#tea\",\"{id}\",\"a \\\"b\\\"\"]\n").as_bytes());
        assert_eq!(decode::<Request>(&short).next().unwrap().unwrap(), say);
        let fields = format!(r#""from":"bob","device":"main","id":"{id}","time_ms":5,"text":"hi""#);
        let long = format!(r##"{{"type":"message","seq":"7","to":"#tea",{fields}}}"##);
        let short = format!(r##"["7","#tea","bob","main","{id}",5,"hi"]"##);
        let told = |json: &str| decode::<Event>(json.as_bytes()).next().unwrap().unwrap();
        assert_eq!(told(&short), told(&long));
    }

    #[test]
    fn a_reference_is_read_of_commands_whose_answers_carry_it() {
        let read = |json: &str| decode::<Request>(json.as_bytes()).next().unwrap();
        let asked = read(r##"{"ref":"q1","type":"channels"}"##).unwrap();
        assert_eq!(asked, Request::new(Command::Channels, Some("q1".into())));
        assert_eq!(read(r#"{"type":"channels"}"#).unwrap(), Command::Channels.into());
        // In other commands `ref` is an unknown field.
        let away = Command::Away { text: None };
        for json in [r#"{"type":"away","ref":"q1"}"#, r#"{"type":"away","ref":7}"#] {
            assert_eq!(read(json).unwrap(), away.clone().into());
        }
        assert!(read(r#"{"type":"channels","ref":7}"#).is_err());
        let mut written = Vec::new();
        encode(&asked, &mut written);
        assert_eq!(written, b"{\"type\":\"channels\",\"ref\":\"q1\"}\n");
    }

    #[test]
    fn a_wrong_short_line_is_refused_by_its_id() {
        let id = "000102030405060708090a0b0c0d0e0f";
        for wrong in [format!(r#"["tea","{id}","hi"]"#), format!(r##"["#tea","{id}",7]"##)] {
            let error = decode::<Request>(wrong.as_bytes()).next().unwrap().unwrap_err();
            assert_eq!(error.names.id, Some(id.parse().unwrap()), "{wrong}");
        }
        for wrong in ["[]", "[1,2,3]", r##"["#tea","0","hi","more"]"##] {
            let error = decode::<Request>(wrong.as_bytes()).next().unwrap().unwrap_err();
            assert_eq!(error.names.id, None, "{wrong}");
        }
    }

    fn request() -> impl Strategy<Value = Request> {
        let name = "[a-z][a-z0-9_-]{0,31}";
        let reference = || prop::option::of(any::<String>());
        let kind = (0..5u8, any::<u64>(), any::<[u8; 16]>()).prop_map(|(code, of, blob)| {
            let of = matches!(code, 2 | 3).then_some(Seq(of));
            let blob = (code == 4).then_some(BlobId(blob));
            Kind::from_code(code, of, blob).expect("a kind has this number")
        });
        let sealed = prop::collection::vec(any::<u8>(), 1..80);
        let sealed = sealed.prop_map(|bytes| Body::Sealed(Opaque::new(&bytes).expect("bytes")));
        let body = prop_oneof![any::<String>().prop_map(Body::Text), sealed];
        let say = (name, any::<[u8; 16]>(), kind, body).prop_map(|(name, id, kind, body)| {
            let to = Target::User(name.parse().expect("a name"));
            Command::Say(NewMessage { to, id: MsgId(id), kind, body }).into()
        });
        let topic = (name, prop::option::of(any::<String>()), reference());
        let topic = topic.prop_map(|(name, text, reference)| {
            let channel = format!("#{name}").parse().expect("a channel");
            Request::new(Command::Topic { channel, text }, reference)
        });
        let operate = (prop::collection::vec(any::<String>(), 0..4), reference());
        let operate = operate
            .prop_map(|(words, reference)| Request::new(Command::Operate { words }, reference));
        let search = (any::<String>(), reference());
        let search = search.prop_map(|(text, reference)| {
            Request::new(Command::Search { text, to: None }, reference)
        });
        prop_oneof![say, topic, operate, search]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_in_order_whatever_stands_between(
            commands in prop::collection::vec(request(), 0..8),
            noise in "[^\\n{]{0,40}",
        ) {
            let mut body = Vec::new();
            for command in &commands {
                encode(command, &mut body);
                body.extend_from_slice(noise.as_bytes());
                body.push(b'\n');
            }
            let read: Vec<Request> = decode(&body).filter_map(Result::ok).collect();
            prop_assert_eq!(read, commands);
        }

        #[test]
        fn whatever_bytes_come_are_an_answer_and_no_panic(
            body in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            decode::<Request>(&body).for_each(drop);
            decode::<crate::chat::Event>(&body).for_each(drop);
            decode::<Login>(&body).for_each(drop);
        }

        #[test]
        fn a_command_that_is_bent_is_another_or_none(
            command in request(), at in any::<prop::sample::Index>(), bit in 0..8,
        ) {
            let mut body = Vec::new();
            encode(&command, &mut body);
            let at = at.index(body.len());
            body[at] ^= 1u8 << bit;
            prop_assert!(decode::<Request>(&body).count() <= 2);
        }

        #[test]
        fn messages_are_joined_wherever_they_were_cut(
            commands in prop::collection::vec(request(), 1..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut text = Vec::new();
            commands.iter().for_each(|command| encode(command, &mut text));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut parts = Parts::default();
            let mut read: Vec<Request> = Vec::new();
            for cut in cuts.windows(2) {
                let whole = parts.join(&text[cut[0]..cut[1]]).expect("short enough");
                read.extend(decode(whole).map(|one| one.expect("a command")));
            }
            prop_assert_eq!(read, commands);
        }
    }
}
