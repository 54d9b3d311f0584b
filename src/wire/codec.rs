//! Commands, events and the login as JSON: one or more messages in a record, separated by newlines.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::chat::{DeviceName, MsgId, UserName};
use crate::limits::MESSAGE_BYTES_MAX;

/// The body of the LOGIN record: the client's first under the new keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// The name that the client was told to use; the server decides by the key.
    pub name: UserName,
    /// None takes the name of the registered key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// The client's version, for people.
    pub version: String,
    /// The protocol's major that the client chose.
    pub major: u8,
    #[serde(default)]
    pub features: Vec<String>,
}

/// A message is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("malformed message: {error}")]
pub struct CodecError {
    error: serde_json::Error,
    /// By which its sender knows it, as far as that can be read.
    pub names: Names,
}

/// What an answer to a message names.
#[derive(Debug, Default, Deserialize)]
pub struct Names {
    #[serde(default)]
    pub id: Option<MsgId>,
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
}

/// Appends `value` and a newline.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, value).expect("values of the protocol are plain JSON");
    out.push(b'\n');
}

/// The messages of a record's body, in order. Empty lines and padding are skipped.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> impl Iterator<Item = Result<T, CodecError>> {
    body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).map(
        |line| {
            serde_json::from_slice(line).map_err(|error| CodecError {
                error,
                names: serde_json::from_slice(line).unwrap_or_default(),
            })
        },
    )
}

/// Joins a server's messages that are longer than a record: what follows the last newline of a record
/// goes on in the next one.
#[derive(Default)]
pub struct Parts {
    bytes: Vec<u8>,
    /// So many of them have been given.
    given: usize,
}

impl Parts {
    /// The messages that are whole with `body`, the next record's; none where one would get longer
    /// than a message may be.
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
}
