//! Messages: kinds, bodies, and the form on the wire.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{BlobId, DeviceName, MsgId, Opaque, Refusal, Seq, Target, UserName};

/// The kinds on the wire, by their numbers.
const WORDS: [&str; 5] = ["say", "me", "edit", "delete", "file"];

/// Whether a message is new or changes one of the sender's own messages. `Of` identifies the
/// changed message: its seq on the wire, its id in what the sender signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind<Of = Seq> {
    #[default]
    Say,
    /// An action (`/me`).
    Me,
    /// The body replaces the body of `of`.
    Edit { of: Of },
    /// The body of `of` is removed; a tombstone keeps its seq.
    Delete { of: Of },
    /// The body is the descriptor of an encrypted file that the server keeps.
    File { blob: BlobId },
}

impl<Of: Copy> Kind<Of> {
    /// Returns the message that this one changes.
    pub fn of(self) -> Option<Of> {
        match self {
            Kind::Say | Kind::Me | Kind::File { .. } => None,
            Kind::Edit { of } | Kind::Delete { of } => Some(of),
        }
    }

    /// Returns the encrypted file that this message announces.
    pub fn blob(self) -> Option<BlobId> {
        match self {
            Kind::File { blob } => Some(blob),
            _ => None,
        }
    }

    pub fn is_change(self) -> bool {
        self.of().is_some()
    }

    pub fn is_edit(self) -> bool {
        matches!(self, Kind::Edit { .. })
    }

    /// Returns the kind's number in a signed header and in the ledger.
    pub fn code(self) -> u8 {
        match self {
            Kind::Say => 0,
            Kind::Me => 1,
            Kind::Edit { .. } => 2,
            Kind::Delete { .. } => 3,
            Kind::File { .. } => 4,
        }
    }

    /// Returns the kind's name on the wire.
    pub fn word(self) -> &'static str {
        WORDS[usize::from(self.code())]
    }

    /// Returns the kind with this number. `None` for an unknown number, and unless `of` is present
    /// exactly for edits and deletions and `blob` exactly for files.
    pub fn from_code(code: u8, of: Option<Of>, blob: Option<BlobId>) -> Option<Kind<Of>> {
        match (code, of, blob) {
            (0, None, None) => Some(Kind::Say),
            (1, None, None) => Some(Kind::Me),
            (2, Some(of), None) => Some(Kind::Edit { of }),
            (3, Some(of), None) => Some(Kind::Delete { of }),
            (4, None, Some(blob)) => Some(Kind::File { blob }),
            _ => None,
        }
    }
}

/// The content of a message. It is an empty text for deleted messages, and for deletions in open
/// conversations.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    Text(String),
    /// Encrypted end to end.
    Sealed(Opaque),
}

impl Body {
    /// Returns the text; empty for a sealed body.
    pub fn text(&self) -> &str {
        match self {
            Body::Text(text) => text,
            Body::Sealed(_) => "",
        }
    }

    pub fn sealed(&self) -> Option<&Opaque> {
        match self {
            Body::Text(_) => None,
            Body::Sealed(sealed) => Some(sealed),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Body::Text(text) if text.is_empty())
    }

    /// Length in bytes of the text or of the sealed bytes.
    pub fn len(&self) -> usize {
        match self {
            Body::Text(text) => text.len(),
            Body::Sealed(sealed) => sealed.bytes().len(),
        }
    }

    /// Length in bytes on the wire, before the text is escaped.
    pub fn wire_len(&self) -> usize {
        match self {
            Body::Text(text) => text.len(),
            Body::Sealed(sealed) => sealed.wire_len(),
        }
    }

    /// Takes the sealed bytes out; a text stays.
    pub fn take_sealed(&mut self) -> Option<Opaque> {
        match std::mem::take(self) {
            Body::Sealed(sealed) => Some(sealed),
            text => {
                *self = text;
                None
            }
        }
    }

    /// Builds the body from its wire fields, of which at most one may be set.
    fn from_fields(text: Cow<str>, sealed: Option<Cow<Opaque>>) -> Result<Body, &'static str> {
        match sealed {
            None => Ok(Body::Text(text.into_owned())),
            Some(sealed) if text.is_empty() => Ok(Body::Sealed(sealed.into_owned())),
            Some(_) => Err("a message has a `text` or something `sealed`, not both"),
        }
    }
}

impl Default for Body {
    fn default() -> Body {
        Body::Text(String::new())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Body {
        Body::Text(text.to_owned())
    }
}

/// Prints the size only: message texts must not appear in logs.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.sealed().is_some() { "Sealed" } else { "Text" };
        write!(f, "{name}({} bytes)", self.len())
    }
}

/// A message that a client asks the server to store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    pub to: Target,
    /// Chosen by the client. The stored message carries it, and repeated sends are stored once.
    pub id: MsgId,
    pub kind: Kind,
    pub body: Body,
}

impl NewMessage {
    /// Creates a new message with a text.
    pub fn text(to: Target, id: MsgId, text: &str) -> NewMessage {
        NewMessage { to, id, kind: Kind::Say, body: text.into() }
    }

    /// Checks that the body suits the kind and the conversation: only deletions are empty, a
    /// channel with a PIN accepts sealed bodies only, and an open channel accepts texts only.
    ///
    /// # Errors
    ///
    /// Refuses a message whose body does not suit.
    pub fn check(&self) -> Result<(), Refusal> {
        let sealed = self.body.sealed().is_some();
        match &self.to {
            Target::Channel(channel) if channel.has_pin() && !sealed => Err(Refusal::MustSeal),
            Target::Channel(channel) if !channel.has_pin() && sealed => Err(Refusal::MustNotSeal),
            _ if sealed => Ok(()),
            _ => match (self.kind, self.body.text().trim().is_empty()) {
                (Kind::Delete { .. }, false) => Err(Refusal::BadChange),
                (Kind::Delete { .. }, true) | (_, false) => Ok(()),
                (_, true) => Err(Refusal::Empty),
            },
        }
    }
}

/// Who can read a message, as the reader's client has verified. Never on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    /// The server and its operator too.
    #[default]
    Open,
    /// Members who know the channel's PIN.
    Pin,
    /// The two users of the private conversation.
    Sealed,
    /// The same, but protected by RSA alone: a device of the recipient has no certificate yet.
    RsaAlone,
}

/// A stored message as every member receives it. To the sender it is the acknowledgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub seq: Seq,
    pub to: Target,
    pub from: UserName,
    pub device: DeviceName,
    pub id: MsgId,
    /// Milliseconds since 1970 by the server's clock; for display only.
    pub time_ms: i64,
    pub kind: Kind,
    pub body: Body,
    pub confidentiality: Confidentiality,
    /// Whether the body was edited.
    pub edited: bool,
    /// Whether the body was deleted and this is the tombstone.
    pub deleted: bool,
    /// Whether the message comes from the ledger again.
    pub replay: bool,
    /// The `ref` of the `History` or `Search` request that this message answers.
    pub reference: Option<String>,
}

impl Message {
    /// Returns the conversation as the reader addresses it: a private one by the other user.
    pub fn conversation(&self, reader: Option<&UserName>) -> Target {
        match &self.to {
            Target::User(_) if reader != Some(&self.from) => Target::User(self.from.clone()),
            to => to.clone(),
        }
    }
}

#[cfg(test)]
impl Message {
    /// A text as a client has it: private ones were sealed.
    pub fn said(seq: u64, to: &str, from: &str, text: &str) -> Message {
        let to: Target = to.parse().unwrap();
        let confidentiality = match to {
            Target::User(_) => Confidentiality::Sealed,
            Target::Channel(_) => Confidentiality::Open,
        };
        Message {
            seq: Seq(seq),
            to,
            from: from.parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId([seq as u8; 16]),
            time_ms: 0,
            kind: Kind::Say,
            body: text.into(),
            confidentiality,
            edited: false,
            deleted: false,
            replay: false,
            reference: None,
        }
    }
}

fn kind_of(word: &str, of: Option<Seq>, blob: Option<BlobId>) -> Result<Kind, &'static str> {
    let code = WORDS.iter().position(|known| *known == word).ok_or("an unknown kind of message")?;
    let fault = "an edit or a deletion names a message with `of`, a file has a `blob`, and nothing \
                 else does";
    Kind::from_code(code as u8, of, blob).ok_or(fault)
}

fn say() -> Cow<'static, str> {
    WORDS[0].into()
}

/// The wire fields of a new message.
#[derive(Serialize, Deserialize)]
struct NewFields<'a> {
    to: Cow<'a, Target>,
    id: MsgId,
    #[serde(default)]
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Cow<'a, Opaque>>,
    #[serde(default = "say")]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<BlobId>,
}

impl Serialize for NewMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = NewFields {
            to: Cow::Borrowed(&self.to),
            id: self.id,
            text: self.body.text().into(),
            sealed: self.body.sealed().map(Cow::Borrowed),
            kind: self.kind.word().into(),
            of: self.kind.of(),
            blob: self.kind.blob(),
        };
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NewMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let NewFields { to, id, text, sealed, kind, of, blob } =
            NewFields::deserialize(deserializer)?;
        Ok(NewMessage {
            to: to.into_owned(),
            id,
            kind: kind_of(&kind, of, blob).map_err(de::Error::custom)?,
            body: Body::from_fields(text, sealed).map_err(de::Error::custom)?,
        })
    }
}

/// The wire fields of a stored message.
#[derive(Serialize, Deserialize)]
struct Fields<'a> {
    seq: Seq,
    to: Cow<'a, Target>,
    from: Cow<'a, UserName>,
    device: Cow<'a, DeviceName>,
    id: MsgId,
    time_ms: i64,
    #[serde(default = "say")]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<BlobId>,
    #[serde(default)]
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Cow<'a, Opaque>>,
    #[serde(default, skip_serializing_if = "is_false")]
    edited: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    deleted: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    replay: bool,
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, str>>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = Fields {
            seq: self.seq,
            to: Cow::Borrowed(&self.to),
            from: Cow::Borrowed(&self.from),
            device: Cow::Borrowed(&self.device),
            id: self.id,
            time_ms: self.time_ms,
            kind: self.kind.word().into(),
            of: self.kind.of(),
            blob: self.kind.blob(),
            text: self.body.text().into(),
            sealed: self.body.sealed().map(Cow::Borrowed),
            edited: self.edited,
            deleted: self.deleted,
            replay: self.replay,
            reference: self.reference.as_deref().map(Cow::Borrowed),
        };
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        Ok(Message {
            seq: fields.seq,
            to: fields.to.into_owned(),
            from: fields.from.into_owned(),
            device: fields.device.into_owned(),
            id: fields.id,
            time_ms: fields.time_ms,
            kind: kind_of(&fields.kind, fields.of, fields.blob).map_err(de::Error::custom)?,
            body: Body::from_fields(fields.text, fields.sealed).map_err(de::Error::custom)?,
            confidentiality: Confidentiality::Open,
            edited: fields.edited,
            deleted: fields.deleted,
            replay: fields.replay,
            reference: fields.reference.map(Cow::into_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, to: &str, body: Body) -> Result<(), Refusal> {
        NewMessage { to: to.parse().unwrap(), id: MsgId([0; 16]), kind, body }.check()
    }

    #[test]
    fn conversations_accept_suitable_bodies_only() {
        let tea = format!("#tea~{}", "0".repeat(26));
        let sealed = || Body::Sealed(Opaque::new(&[1]).unwrap());
        let say = |to, body| message(Kind::Say, to, body);
        assert_eq!(say(&tea, sealed()), Ok(()));
        assert_eq!(say(&tea, "hi".into()), Err(Refusal::MustSeal));
        assert_eq!(say("#tea", sealed()), Err(Refusal::MustNotSeal));
        assert_eq!(say("#tea", "hi".into()), Ok(()));
        assert_eq!(say("#tea", " ".into()), Err(Refusal::Empty));
        assert_eq!((say("@bob", "hi".into()), say("@bob", sealed())), (Ok(()), Ok(())));
        let of = Seq(1);
        assert_eq!(message(Kind::Delete { of }, &tea, sealed()), Ok(()));
        assert_eq!(message(Kind::Delete { of }, &tea, Body::default()), Err(Refusal::MustSeal));
        assert_eq!(message(Kind::Delete { of }, "#tea", Body::default()), Ok(()));
        assert_eq!(message(Kind::Edit { of }, "#tea", Body::default()), Err(Refusal::Empty));
        assert_eq!(message(Kind::Delete { of }, "#tea", "x".into()), Err(Refusal::BadChange));
    }

    #[test]
    fn contradictory_fields_are_rejected() {
        let read = |rest: &str| {
            let id = "0".repeat(32);
            let json = format!(r##"{{"to":"#tea","id":"{id}"{rest}}}"##);
            serde_json::from_str::<NewMessage>(&json).map_err(|error| error.to_string())
        };
        assert_eq!(read(r#","text":"hi""#).unwrap().kind, Kind::Say);
        let edit = read(r#","text":"hi","kind":"edit","of":"7""#).unwrap();
        assert_eq!(edit.kind, Kind::Edit { of: Seq(7) });
        let blob = "BwcHBwcHBwcHBwcHBwcHBw";
        let file = read(&format!(r#","text":"hi","kind":"file","blob":"{blob}""#)).unwrap();
        assert_eq!(file.kind, Kind::File { blob: BlobId([7; 16]) });
        for wrong in [
            r#","kind":"edit""#.to_owned(),
            r#","of":"7""#.to_owned(),
            r#","kind":"me","of":"7""#.to_owned(),
            r#","kind":"file""#.to_owned(),
            format!(r#","blob":"{blob}""#),
            format!(r#","kind":"file","of":"7","blob":"{blob}""#),
            format!(r#","kind":"edit","of":"7","blob":"{blob}""#),
        ] {
            assert!(read(&wrong).unwrap_err().contains("`of`"), "{wrong}");
        }
        assert!(read(r#","text":"hi","sealed":"AQID""#).unwrap_err().contains("not both"));
    }

    #[test]
    fn debug_output_contains_no_text() {
        let message = NewMessage::text("@bob".parse().unwrap(), MsgId([0; 16]), "psst");
        assert!(!format!("{message:?}").contains("psst"));
    }
}
