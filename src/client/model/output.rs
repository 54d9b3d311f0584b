//! Output of the model for a user interface, with the origin of each text.

use serde::Serialize;

use crate::chat::{
    ChannelName, Code, Confidentiality, Event, Message, MsgId, NewMessage, Seq, Target, UserName,
};
use crate::client::transfer::{Progress, Shown};
use crate::e2e::Violation;

/// Author of a text, recorded where the text is made or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Received over the connection: text of the server, or what it attributes to users.
    Server,
    /// Made by this client.
    Client,
}

/// An output of the user interface.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    State(State),
    /// A message from the server.
    Message(Message),
    /// A message from the local search index.
    Found(Message),
    /// An own message is sent, for the first time or again.
    Outgoing(NewMessage),
    Ack {
        id: MsgId,
        to: Target,
        seq: Seq,
    },
    /// An own message was dropped.
    Dropped(MsgId),
    /// A message that cannot be sent yet, and whether it is on disk.
    Pending {
        id: MsgId,
        to: Target,
        stored: bool,
    },
    /// A message that was only in memory is on disk.
    Saved {
        id: MsgId,
        to: Target,
    },
    /// Later messages of this conversation are unread.
    Divider(Target),
    /// Count of unread messages in a conversation, of those after one seq and up to another.
    Unread {
        to: Target,
        after: Seq,
        upto: Seq,
        messages: u64,
    },
    /// A conversation of the user, with its newest message and read position.
    Conversation {
        to: Target,
        last: Seq,
        read: Seq,
    },
    /// The server begins another epoch, or has lost the end of this one: seqs above `after` name
    /// other messages from now on.
    Renumbered {
        to: Target,
        after: Seq,
    },
    /// Round-trip time to the server, in milliseconds.
    Latency(u64),
    /// The connection is back.
    Back,
    /// A file that is sent or fetched.
    Transfer(Progress),
    /// A fetched picture, and the number of its message.
    Picture {
        seq: Seq,
        to: Target,
        picture: Shown,
    },
    /// The transfers in progress.
    Transfers(Vec<Progress>),
    /// The messages of a conversation that announce files.
    Files {
        to: Target,
        files: Vec<Message>,
    },
    /// A server event, or a local answer in the same form.
    Event(Origin, Event),
    /// A message violates the protocol, or follows missing ones.
    Violation {
        to: Target,
        from: UserName,
        seq: Seq,
        violation: Violation,
        /// The message is in the answer to a question of the user.
        is_answer: bool,
    },
    /// A user has a new key.
    KeyChanged {
        name: UserName,
        text: String,
    },
    /// A join or part while these are hidden.
    Presence(Event),
    /// Changes the mode of the secret prompt.
    Secret(SecretPrompt),
    /// A text of this client, as are errors and hints; it never contains server text.
    Notice(String),
    /// The channels whose keys are being derived from a PIN.
    Deriving(Vec<ChannelName>),
    Error(String),
    /// A program sent a line that is no valid command.
    Misused(String),
    /// What to do about the previous error.
    Hint(&'static str),
    /// The conversation that typed text goes to.
    Target(Target),
    /// The user is not in this channel without having left it; text typed there is not sent.
    Gone(ChannelName),
    Timestamps(bool),
    Clear,
    Bye(String),
}

/// Mode of the secret prompt. Half-typed text keeps its kind: a message never becomes a secret, nor
/// a secret a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPrompt {
    /// Messages are typed.
    Closed,
    /// Messages, until Enter is pressed on an empty line.
    Waits,
    /// A secret, which is hidden.
    Open,
}

impl Output {
    /// The origin of the text.
    pub fn origin(&self) -> Origin {
        match self {
            Output::Event(origin, _) => *origin,
            // It was stored as text of the server.
            Output::Found(message) if is_unsealed(message) => Origin::Server,
            // The name of a file that is fetched is a text of its sender.
            Output::Transfer(progress) if progress.is_theirs() => Origin::Server,
            Output::Message(_) | Output::Presence(_) | Output::Ack { .. } => Origin::Server,
            _ => Origin::Client,
        }
    }
}

/// Returns whether a message of a sealed conversation is unsealed. Such a message is only a claim
/// of the server, whatever its sender, and changes nothing.
pub fn is_unsealed(message: &Message) -> bool {
    message.to.is_sealed() && message.confidentiality == Confidentiality::Open
}

/// State of the connection, for the user.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Connecting,
    Connected {
        name: UserName,
    },
    /// Connected, and the server has been silent for this time though something was sent.
    Silent {
        for_ms: u64,
    },
    Offline {
        retry_ms: u64,
    },
    NotAdmitted {
        retry_ms: u64,
    },
    Refused {
        code: Code,
    },
}
