//! The answer to an operator's command.

use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::file::FileError;
use crate::ledger::LedgerError;

/// The answer to an operator's command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub ok: bool,
    /// The command or its arguments are malformed.
    #[serde(default)]
    pub misused: bool,
    /// The text for people.
    pub text: String,
    /// The data for programs; null if there is none.
    #[serde(default)]
    pub data: Value,
    /// The hint after a failure, unless the command has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The question to confirm before the command is carried out. Nothing was done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
}

pub fn yes(text: &str) -> Reply {
    with(text.to_owned(), Value::Null)
}

/// Returns a success with data for programs.
pub fn with(text: String, data: Value) -> Reply {
    Reply { ok: true, misused: false, text, data, hint: None, question: None }
}

pub fn no(text: &str) -> Reply {
    Reply { ok: false, ..yes(text) }
}

/// A decision could not be written, so that nothing was changed.
pub fn unwritten(error: &FileError) -> Reply {
    let hint = match error {
        FileError::Io { error, .. } => match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FREE_SPACE,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "the server's account must be able to write data/ and users/"
            }
            _ => "check the disk of the server's home: free space, permissions, cables",
        },
        _ => CHECK,
    };
    failed(&error.to_string(), hint)
}

/// The folder users/ cannot be read.
pub fn unread(error: &io::Error) -> Reply {
    failed(&format!("users/ cannot be read: {error}"), CHECK)
}

/// The ledger has refused a job.
pub fn unstored(error: &LedgerError) -> Reply {
    match error.is_of_the_disk() {
        true => failed(&error.to_string(), FREE_SPACE),
        false => no(&error.to_string()),
    }
}

const CHECK: &str = "pychat check lists all faults of this home";

/// The hint about a full disk.
const FREE_SPACE: &str = "free space on the disk of the server's home, then repeat the command";

/// Returns a failure with a hint.
pub fn failed(text: &str, hint: &str) -> Reply {
    Reply { hint: Some(hint.to_owned()), ..no(text) }
}

/// Returns a request to confirm a command by repeating it with [`CONFIRMED`] at its end.
pub fn unconfirmed(question: String) -> Reply {
    let text = format!("{question}: nothing was done; add {CONFIRMED} at the end to do it");
    Reply { question: Some(question), ..failed(&text, "add --yes to confirm it") }
}

/// The last word of a command that its author has confirmed.
pub const CONFIRMED: &str = "--yes";

pub fn misused(text: &str) -> Reply {
    Reply { misused: true, ..no(text) }
}
