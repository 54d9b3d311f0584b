//! Who gives a secret, and what is known of the one that a server asks for.

use crate::chat::Hidden;

/// Who gives a secret that the server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// Somebody at a terminal, at a prompt that hides it.
    Person,
    /// A program, in an object of its own.
    Program,
    /// Nobody: a pipe has messages only.
    Nobody,
}

/// What is known of the password.
#[derive(Default)]
pub struct Password {
    /// The server waits for it.
    pub asked: bool,
    /// It is sent again once the server's wait is over.
    pub later: bool,
    /// It was sent over this connection.
    pub gave: bool,
    /// The one that was given at the start, or that was right last time.
    pub known: Option<Hidden>,
}
