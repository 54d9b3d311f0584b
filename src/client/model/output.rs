//! What a user interface shows, and whose words it is.

use serde::Serialize;

use crate::chat::{
    ChannelName, Code, Confidentiality, Event, Message, MsgId, NewMessage, Seq, Target, UserName,
};
use crate::e2e::Violation;

/// Who has written a text, as far as this client knows: decided where the text comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It came over the connection: the server's words, or what it says others have said.
    Server,
    /// This client has made it.
    Client,
}

/// What a user interface shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    State(State),
    /// A message that the server has delivered.
    Message(Message),
    /// A message that this client has found in what it keeps.
    Found(Message),
    /// A line of one's own is on its way, for the first time or again.
    Outgoing(NewMessage),
    Ack {
        id: MsgId,
        to: Target,
        seq: Seq,
    },
    /// A line of one's own is given up.
    Dropped(MsgId),
    /// A line that cannot be sent yet.
    Pending {
        id: MsgId,
        to: Target,
    },
    /// What follows in this conversation is new to this person.
    Divider(Target),
    /// So many lines of a conversation were not read.
    Unread {
        to: Target,
        lines: u64,
    },
    /// A conversation that this person can read: its newest line, and up to where they have read
    /// it.
    Conversation {
        to: Target,
        last: Seq,
        read: Seq,
    },
    /// How fast the server answers, in milliseconds.
    Latency(u64),
    /// The connection is there again.
    Back,
    /// An event of the server's, or an answer of this client's own that has the same form.
    Event(Origin, Event),
    /// A line is not what it should be, or others are missing before it.
    Violation {
        to: Target,
        from: UserName,
        seq: Seq,
        violation: Violation,
    },
    /// A person has a key that was not there before.
    KeyChanged {
        name: UserName,
        text: String,
    },
    /// Who comes and goes, where nobody wants to be told.
    Presence(Event),
    /// Whether a secret is typed next.
    Secret(SecretPrompt),
    /// This client's own words, as are errors and hints: no text of the server's is ever in them.
    Notice(String),
    Error(String),
    /// A program typed a line that is no command.
    Misused(String),
    /// What to do about the error before.
    Hint(&'static str),
    /// The conversation that typed text goes to.
    Target(Target),
    /// This person is not in a channel that they have not left: what is typed there stays there.
    Gone(ChannelName),
    Timestamps(bool),
    Clear,
    Bye(String),
}

/// Whether what is typed next is a secret. What is half typed stays what it was begun as: a message
/// does not become a secret, nor a secret a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPrompt {
    /// Messages are typed.
    Closed,
    /// Messages, until Enter is pressed on an empty line.
    Waits,
    /// A secret, which is not shown.
    Open,
}

impl Output {
    /// Whose words it is.
    pub fn origin(&self) -> Origin {
        match self {
            Output::Event(origin, _) => *origin,
            // It was kept as the server's word.
            Output::Found(message) if is_unsealed(message) => Origin::Server,
            Output::Message(_) | Output::Presence(_) | Output::Ack { .. } => Origin::Server,
            _ => Origin::Client,
        }
    }
}

/// Whether a message stands in a sealed conversation and nobody has sealed it: it is the server's
/// word alone, whoever's name it has, and changes nothing.
pub fn is_unsealed(message: &Message) -> bool {
    message.to.is_sealed() && message.confidentiality == Confidentiality::Open
}

/// The connection as a person sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Connecting,
    Connected { name: UserName },
    Offline { retry_ms: u64 },
    NotAdmitted { retry_ms: u64 },
    Refused { code: Code },
}
