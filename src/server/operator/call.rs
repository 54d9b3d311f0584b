//! Who gives an operator's command, and one call of it.

use super::super::context::Context;
use super::reply::{Reply, misused};
use crate::chat::operator_commands::OperatorCommand;
use crate::chat::rights::{Role, State};
use crate::home::Decision;
use crate::home::sanctions::Whom;

/// Who gives a command.
pub struct Actor<'a> {
    pub role: Role,
    pub state: State,
    /// As records and other people name them: a user, `console` or `ctl`.
    pub name: String,
    /// None for who holds the server's own account.
    pub whom: Option<Whom<'a>>,
}

impl Actor<'_> {
    /// Whoever holds the server's own account, at its terminal or through its socket.
    pub fn own(name: &str) -> Actor<'static> {
        Actor { role: Role::Console, state: State::Free, name: name.to_owned(), whom: None }
    }

    /// For the records.
    pub fn did<'b>(&'b self, action: &'b str) -> Decision<'b> {
        Decision { actor: &self.name, action, ..Decision::default() }
    }

    /// As the person is told who is kicked or banned.
    pub fn title(&self) -> &str {
        if self.whom.is_some() { &self.name } else { "the operator" }
    }
}

/// One call of a command.
pub struct Call<'a> {
    pub context: &'a Context,
    pub actor: &'a Actor<'a>,
    pub command: &'static OperatorCommand,
    pub operands: &'a [String],
}

impl Call<'_> {
    /// The command was called without what it needs: `question` and the usage.
    pub fn asks(&self, question: &str) -> Reply {
        misused(&format!("{question} {}", self.command.usage.call()))
    }

    /// For the records: that it was carried out.
    pub fn done(&self) -> Decision<'_> {
        self.actor.did(self.command.usage.name)
    }
}
