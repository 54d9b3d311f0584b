//! What the engine wants done, in its order.

use super::violation::Violation;
use crate::chat::{Command, Event, Message, MsgId, Opaque, UserName};

#[derive(Debug)]
pub enum Output {
    Send(Command),
    /// This is the sealed body of a message, now and whenever it is sent again: it is to be stored.
    Store(MsgId, Opaque),
    /// The server told this; what was sealed is opened and verified.
    Event(Event),
    /// The engine answers by itself, as a server would.
    Answer(Event),
    /// A message is not what it should be; its text is not in it.
    Violation {
        message: Message,
        violation: Violation,
    },
    /// The server lists other keys of a person than before.
    KeyChanged {
        name: UserName,
        text: String,
    },
    /// An answer to the person of this client.
    Told(String),
    /// Something failed, or looks wrong.
    Trouble(String),
}
