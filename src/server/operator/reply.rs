//! The answer to an operator's command.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer to an operator's command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub ok: bool,
    /// The command or its arguments are malformed.
    #[serde(default)]
    pub misused: bool,
    /// For eyes.
    pub text: String,
    /// For programs; null where there is nothing to add.
    #[serde(default)]
    pub data: Value,
}

pub fn yes(text: &str) -> Reply {
    with(text.to_owned(), Value::Null)
}

/// Done, with data for programs.
pub fn with(text: String, data: Value) -> Reply {
    Reply { ok: true, misused: false, text, data }
}

pub fn no(text: &str) -> Reply {
    Reply { ok: false, ..yes(text) }
}

pub fn misused(text: &str) -> Reply {
    Reply { misused: true, ..no(text) }
}
