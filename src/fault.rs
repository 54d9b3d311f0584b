//! Errors for users: one line with the fault, one with what to do, and the exit code.

/// Exit codes; 0 is success. docs/json.md explains each.
pub mod code {
    pub const OTHER: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const UNREADABLE: u8 = 3;
    pub const UNREACHABLE: u8 = 4;
    pub const NOT_ADMITTED: u8 = 5;
    pub const WRONG_SERVER: u8 = 6;
    /// Another major version of the protocol, or no suite that both sides accept.
    pub const INCOMPATIBLE: u8 = 7;
    pub const NOT_ACKNOWLEDGED: u8 = 8;
    /// A file is not what its sender sent, or is gone.
    pub const NOT_AS_SENT: u8 = 9;
    /// Ended by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// An error with a hint and an exit code.
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

    /// An error whose text says what to do.
    pub fn plain(code: u8, error: impl ToString) -> Fault {
        Fault { error: error.to_string(), hint: None, code }
    }
}
