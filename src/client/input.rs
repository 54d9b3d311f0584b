//! Inputs of the model.

use std::fmt;

use super::slash;
use super::transfer::{Report, TransferId, Wish};
use crate::chat::{ChannelName, Event, Message, MsgId, Request, SecretText, Seq, Target, UserName};
use crate::crypto::pin_channel::PinChannel;
use crate::e2e::Violation;

/// An event that the model handles.
pub enum Input {
    /// A typed or piped line: a message or a command.
    Line(String),
    /// A password. Nothing else is ever sent as one.
    Secret(SecretText),
    /// A line of a prompt, begun while this conversation was the target.
    Composed { within: Target, line: String },
    /// A line typed for this conversation, which becomes the target. Text composed `within` a
    /// sealed conversation never goes to an open one. A message of it has the `id`, if any.
    TypedIn { to: Target, within: Option<Target>, line: String, id: Option<MsgId> },
    /// All lines typed ahead were replayed.
    TypeAheadReplayed,
    /// The user has seen a conversation up to here.
    Seen { to: Target, seq: Seq },
    /// The round-trip time of a keepalive ping, in milliseconds.
    Pong(u64),
    /// The server has been silent for this time; `None` once it is heard again.
    Silent { for_ms: Option<u64> },
    /// A local failure.
    Trouble(String),
    /// The outbox is synced to the disk, or cannot be.
    OutboxSynced(Result<(), ()>),
    /// A slash command from a program.
    Slash(String),
    /// Everything sent before `Action::Echo` was answered.
    Echoed,
    /// A request of the full screen; as text if a program's request is no valid command.
    Ask(Result<Request, String>),
    /// A request of a program, which names channels as a person does: a bare name means the channel
    /// that the client is in, except at the `open` positions.
    AskByName { request: Request, open: Vec<usize> },
    /// A file to be sent or fetched. The bare name of a channel means the channel of that name that
    /// the client is in, unless a program has named the conversation `exactly`. If there is an
    /// `id`, the message of the sent file has it.
    Wish { wish: Wish, exactly: bool, id: Option<MsgId>, reference: Option<String> },
    /// Cancel a transfer.
    CancelTransfer(TransferId),
    /// A report of the engine of transfers.
    Transfer(TransferId, Report),
    /// A server event. Nothing else makes this variant.
    Event(Event),
    /// A local answer in the form of a server event.
    Answer(Event),
    /// A message that violates the protocol, without its text.
    Violation { message: Message, violation: Violation },
    /// The server lists a new key of a user.
    KeyChanged { name: UserName, text: String },
    /// A reply of this client to a command.
    Reply(String),
    /// The key derived from a PIN, and the PIN itself if this client has made it.
    Derived { name: ChannelName, key: PinChannel, made: Option<SecretText> },
    /// The channel of a name and a PIN, whose key is now stored.
    Opened { channel: Result<ChannelName, String>, made: Option<SecretText> },
    /// The connection has lasted for a while, so the next one need not be delayed.
    ConnectionStable,
    /// The connection ended, or could not be made.
    Lost(Loss),
    /// The delay before the next connection is over.
    Wake,
    /// The time from `Action::Wait` is over.
    Waited,
    /// Changes that are stored or sent together are due.
    Tick,
    /// No more input will come.
    InputEnd,
    /// Nothing more can be written to stdout.
    OutputLost,
    /// The user has pressed Ctrl-C.
    Interrupt,
}

impl Input {
    /// Returns whether a person or a program has typed it.
    pub fn is_typed(&self) -> bool {
        matches!(
            self,
            Input::Line(_)
                | Input::Composed { .. }
                | Input::TypedIn { .. }
                | Input::Slash(_)
                | Input::Ask(_)
                | Input::AskByName { .. }
        )
    }

    /// Returns whether it is a slash command typed in the full screen.
    pub fn is_command(&self) -> bool {
        matches!(self, Input::TypedIn { line, .. } if !slash::says_here(line))
    }
}

/// Typed text may be a secret.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Input::Interrupt => "Interrupt",
            _ => "Input(...)",
        })
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    Cut,
    Unreachable(String),
    /// The server cannot prove that it holds the pinned key.
    WrongServer,
    /// The protocol majors that the server claims.
    Version(String),
    /// The server claims to have no suite that this client accepts.
    Suite(String),
    Busy,
}
