//! The short form of a message that has only a text: an array instead of an object. It saves the
//! names of the fields, which are most of a message's bytes (docs/protocol.md, "Short form"). The
//! server writes an event's fields once, for all members.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::chat::{
    BlobId, Body, Command, Confidentiality, DeviceName, Event, Kind, Message, MsgId, NewMessage,
    Opaque, Seq, Target, UserName,
};

/// `["#lobby","000...","hi"]`: a client's message.
#[derive(Deserialize)]
struct Said(Target, MsgId, String);

/// `["7","#lobby","alice","main","000...",1764079391123,"hi"]`: the first delivery to members.
#[derive(Deserialize)]
struct Delivered(Seq, Target, UserName, DeviceName, MsgId, i64, String);

pub fn is_short(json: &[u8]) -> bool {
    json.first() == Some(&b'[')
}

pub fn read_command(json: &[u8]) -> serde_json::Result<Command> {
    let Said(to, id, text) = serde_json::from_slice(json)?;
    Ok(Command::Say(NewMessage { to, id, kind: Kind::Say, body: Body::Text(text) }))
}

/// Returns the id of a short command that is otherwise malformed.
pub fn read_id(json: &[u8]) -> Option<MsgId> {
    let (_, id, _): (IgnoredAny, MsgId, IgnoredAny) = serde_json::from_slice(json).ok()?;
    Some(id)
}

pub fn read_event(json: &[u8]) -> serde_json::Result<Event> {
    let Delivered(seq, to, from, device, id, time_ms, text) = serde_json::from_slice(json)?;
    Ok(Event::Message(Message {
        seq,
        to,
        from,
        device,
        id,
        time_ms,
        kind: Kind::Say,
        body: Body::Text(text),
        confidentiality: Confidentiality::Open,
        edited: false,
        deleted: false,
        replay: false,
        reference: None,
    }))
}

/// Writes a message as JSON without its seq and the fields before it (see `Tail::append_line`).
/// `to` is the conversation with the names as they are registered.
pub fn stored_fields(
    to: &Target,
    from: &UserName,
    device: &DeviceName,
    time_ms: i64,
    message: &NewMessage,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Fields<'a> {
        to: &'a Target,
        from: &'a UserName,
        device: &'a DeviceName,
        id: &'a MsgId,
        time_ms: i64,
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<Seq>,
        #[serde(skip_serializing_if = "Option::is_none")]
        blob: Option<BlobId>,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed: Option<&'a Opaque>,
    }
    let NewMessage { id, kind, body, .. } = message;
    let mut fields = Vec::with_capacity(body.wire_len() + 160);
    let written = match (kind, body) {
        (Kind::Say, Body::Text(text)) => {
            serde_json::to_writer(&mut fields, &(to, from, device, id, time_ms, text))
        }
        _ => {
            let (word, of, blob) = (kind.word(), kind.of(), kind.blob());
            let (kind, text, sealed) = (word, body.text(), body.sealed());
            let value = Fields { to, from, device, id, time_ms, kind, of, blob, text, sealed };
            serde_json::to_writer(&mut fields, &value)
        }
    };
    written.expect("a message is plain JSON");
    fields.push(b'\n');
    fields
}
