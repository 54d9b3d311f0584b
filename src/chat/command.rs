//! Requests of clients. `docs/protocol.md` shows each as JSON.

use serde::{Deserialize, Serialize};

use super::{
    ChannelName, Mark, MsgId, NewMessage, Opaque, SecretText, Seq, Target, TimeSpan, UserName,
};

/// The newest message of a conversation that a client has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub to: Target,
    #[serde(flatten)]
    pub mark: Mark,
}

/// The last message of a conversation that a user has read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadMark {
    pub to: Target,
    pub seq: Seq,
}

/// A request of a client. The answer repeats the request's `ref`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Command {
    /// Sends a message to a channel or a user, or changes one.
    Say(NewMessage),
    /// Sent once after the welcome by clients with the feature `resume`: the newest messages they
    /// have of the lobby and of private conversations. The server sends what is missing, then live
    /// messages.
    Resume { conversations: Vec<Position> },
    /// Enters a channel and creates it if nobody is in it. Messages after `after` are sent first.
    Join {
        channel: ChannelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Mark>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Leaves a channel. The lobby cannot be left.
    Part {
        channel: ChannelName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Lists the people in a channel.
    People {
        channel: ChannelName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Lists the channels.
    Channels {
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Shows fingerprints, devices and idle time of a user.
    Whois {
        name: UserName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Shows a channel's topic or, with `text`, sets it.
    Topic {
        channel: ChannelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Publishes this device's certificate, which others need to seal messages for it.
    Certify { certificate: Opaque },
    /// Requests keys and certificates of users.
    Keys {
        names: Vec<UserName>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Requests messages of a conversation before `before`: at most `lines`, none older than
    /// `span`.
    History {
        to: Target,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<usize>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        span: Option<TimeSpan>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Finds messages with all words of `text`, in one conversation or in all that the user may
    /// read.
    Search {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Target>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Moves this user's read positions; the user's other sessions are notified.
    Read { conversations: Vec<ReadMark> },
    /// Marks the user as away with a reason, or as back without one. `whois` shows it, and so does
    /// the client of whoever writes a private message.
    Away {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// An operator command and its arguments: `["ban","bob","1h","noise"]`. The answer is a notice.
    Operate {
        words: Vec<String>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The answer to `Event::Password`, before the welcome.
    Password { password: SecretText },
    /// Ends the session for good: it is not kept for a resume, as it is after a lost connection.
    Quit,
    /// An unknown request: refused, never fatal.
    #[serde(other)]
    Unknown,
}

impl Command {
    /// Returns what an answer refers to: the id of a message, or the `ref` of another request.
    pub fn names(&self) -> (Option<MsgId>, Option<&String>) {
        match self {
            Command::Say(message) => (Some(message.id), None),
            Command::Join { reference, .. }
            | Command::History { reference, .. }
            | Command::Search { reference, .. }
            | Command::Part { reference, .. }
            | Command::People { reference, .. }
            | Command::Channels { reference }
            | Command::Whois { reference, .. }
            | Command::Keys { reference, .. }
            | Command::Operate { reference, .. }
            | Command::Topic { reference, .. } => (None, reference.as_ref()),
            Command::Resume { .. }
            | Command::Read { .. }
            | Command::Away { .. }
            | Command::Certify { .. }
            | Command::Password { .. }
            | Command::Quit
            | Command::Unknown => (None, None),
        }
    }
}
