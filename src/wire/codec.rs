//! Commands, events and the login as JSON: one or more messages in a record, separated by newlines.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::chat::{DeviceName, MsgId, UserName};

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
