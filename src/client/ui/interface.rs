//! The interface of all user interfaces.

use super::rooms::Rooms;
use crate::chat::{NewMessage, UserName};
use crate::client::connection::inbox::Permit;
use crate::client::model::Output;

/// The user, and the state of an earlier run.
pub struct Person {
    pub name: UserName,
    /// The lines that the operator needs to admit the user.
    pub admission: Vec<String>,
    /// Messages that are not sent yet.
    pub outbox: Vec<NewMessage>,
    /// The rooms that were open, and their storage.
    pub rooms: Rooms,
}

/// A user interface.
pub trait Ui: Send {
    fn show(&mut self, output: &Output);
    /// Sets the permit of the following outputs, which is held until they were shown.
    fn carries(&mut self, _permit: Option<Permit>) {}

    /// A typed input was handled, and its outputs were passed to `show`.
    fn handled(&mut self) {}

    /// Ends the output, before the program ends with this exit code. Returns whether all was
    /// written that had to be.
    fn end(&mut self, _code: u8) -> bool {
        true
    }
}
