//! The short form of a line that has nothing but a text: an array instead of an object. What a busy
//! room costs is bytes, and most of a line's are the names of its fields (docs/protocol.md, "Short form").

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::chat::{Command, DeviceName, Event, Kind, Lock, Message, MsgId, Seq, Target, UserName};

/// `["#lobby","000...","hi"]`: what a client says.
#[derive(Deserialize)]
struct Said(Target, MsgId, String);

/// `["7","#lobby","alice","main","000...",1764079391123,"hi"]`: what members are told, the first time.
#[derive(Deserialize)]
struct Told(Seq, Target, UserName, DeviceName, MsgId, i64, String);

pub fn is_short(json: &[u8]) -> bool {
    json.first() == Some(&b'[')
}

pub fn read_command(json: &[u8]) -> serde_json::Result<Command> {
    let Said(to, id, text) = serde_json::from_slice(json)?;
    Ok(Command::Say { to, id, text, sealed: None, kind: Kind::Say, target: None })
}

/// The id of a short command that is otherwise wrong.
pub fn read_id(json: &[u8]) -> Option<MsgId> {
    let (_, id, _): (IgnoredAny, MsgId, IgnoredAny) = serde_json::from_slice(json).ok()?;
    Some(id)
}

pub fn read_event(json: &[u8]) -> serde_json::Result<Event> {
    let Told(seq, to, from, device, id, time_ms, text) = serde_json::from_slice(json)?;
    Ok(Event::Message(Message {
        seq,
        to,
        from,
        device,
        id,
        time_ms,
        kind: Kind::Say,
        target: None,
        text,
        sealed: None,
        lock: Lock::Open,
        edited: false,
        deleted: false,
        replay: false,
        reference: None,
    }))
}
