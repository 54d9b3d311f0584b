//! Actions that the engine asks for, in order.

use super::violation::Violation;
use crate::chat::{Event, Message, MsgId, Opaque, Request, UserName};

#[derive(Debug)]
pub enum Output {
    Send(Request),
    /// Store the sealed body of a message: the same bytes go out whenever it is sent again.
    Store(MsgId, Opaque),
    /// A server event. Sealed messages in it are opened and verified.
    Event(Event),
    /// A local answer, in the form of a server event.
    Answer(Event),
    /// A message that violates the protocol, without its text.
    Violation {
        message: Message,
        violation: Violation,
    },
    /// The server lists other keys of a user than before.
    KeyChanged {
        name: UserName,
        text: String,
    },
    /// A reply to the local user.
    Reply(String),
    /// A failure, or a warning about the server.
    Trouble(String),
}
