//! An error as a person meets it: a line what, a line what to do, and the program's exit code.

/// The exit codes: 0 and 130 (Ctrl-C) are no faults.
pub mod code {
    pub const OTHER: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const UNREADABLE: u8 = 3;
    pub const UNREACHABLE: u8 = 4;
    pub const WRONG_SERVER: u8 = 6;
}

/// An error that knows what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Fault {
    pub error: String,
    pub hint: Option<String>,
    pub code: u8,
}

impl Fault {
    pub fn new(code: u8, error: impl ToString, hint: impl ToString) -> Fault {
        Fault { error: error.to_string(), hint: Some(hint.to_string()), code }
    }

    /// An error that says itself what to do.
    pub fn plain(code: u8, error: impl ToString) -> Fault {
        Fault { error: error.to_string(), hint: None, code }
    }
}
