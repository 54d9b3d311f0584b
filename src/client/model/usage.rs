//! How a client is used: by a user, a pipe or a program.

use super::password::Giver;

/// How this client is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// `--send`: every failure ends the client. Otherwise it keeps trying.
    pub once: bool,
    /// It resumes each conversation at its last position.
    pub resumes: bool,
    /// A user reads the output.
    pub reads: bool,
    /// A program decides itself whether to send a message again that was refused for its rate. Its
    /// exit code reports a failure also after `quit`.
    pub is_program: bool,
    pub secrets: Giver,
}
