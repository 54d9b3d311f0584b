//! The author of an operator's command, and one call of it.

use super::super::context::Context;
use super::reply::{Reply, misused};
use crate::chat::operator_commands::OperatorCommand;
use crate::chat::rights::{Role, State};
use crate::home::Decision;
use crate::home::sanctions::Whom;

/// The author of a command.
pub struct Actor<'a> {
    pub role: Role,
    pub state: State,
    /// The name in records and for other users: a user, `console`, `ctl` or `SIGHUP`.
    pub name: String,
    /// `None` for the server's own account.
    pub whom: Option<Whom<'a>>,
    /// The bitmap of the handshake suites that the author's client offered.
    pub offered: u16,
}

impl Actor<'_> {
    /// Returns the server's own account, at its terminal or through its socket.
    pub fn own(name: &str) -> Actor<'static> {
        Actor {
            role: Role::Console,
            state: State::Free,
            name: name.to_owned(),
            whom: None,
            offered: 0,
        }
    }

    /// Returns the actor of the socket for readers: it may read the same as the server's account,
    /// and change nothing.
    pub fn reader() -> Actor<'static> {
        Actor { state: State::Reading, ..Actor::own("reader") }
    }

    /// Returns an entry for the records.
    pub fn did<'b>(&'b self, action: &'b str) -> Decision<'b> {
        Decision { actor: &self.name, action, ..Decision::default() }
    }

    /// Returns the name that a kicked or banned user is shown.
    pub fn title(&self) -> &str {
        if self.whom.is_some() { &self.name } else { "the operator" }
    }
}

/// A call of a command.
pub struct Call<'a> {
    pub context: &'a Context,
    pub actor: &'a Actor<'a>,
    pub command: &'static OperatorCommand,
    pub operands: &'a [String],
    /// Whether the author has confirmed the command's question.
    pub is_confirmed: bool,
}

impl Call<'_> {
    /// Refuses a call without required arguments: `question` and the usage.
    pub fn asks(&self, question: &str) -> Reply {
        misused(&format!("{question} {}", self.command.usage.call()))
    }

    /// Returns the entry for the records that the command was carried out.
    pub fn done(&self) -> Decision<'_> {
        self.actor.did(self.command.usage.name)
    }
}
