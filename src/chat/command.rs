//! All that a client may ask. `docs/protocol.md` shows each as JSON.

use serde::{Deserialize, Serialize};

use super::{
    ChannelName, Mark, MsgId, NewMessage, Opaque, SecretText, Seq, Target, TimeSpan, UserName,
};

/// Up to where a client has a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub to: Target,
    #[serde(flatten)]
    pub mark: Mark,
}

/// Up to where a person has read a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadMark {
    pub to: Target,
    pub seq: Seq,
}

/// One request of a client. Whatever names a `ref` gets its answer with the same `ref`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Command {
    /// A message for a channel or a person, or a change of one.
    Say(NewMessage),
    /// Sent once after the welcome by who announced the feature `resume`: what it has of the lobby
    /// and of private conversations. What it lacks follows, then what is new.
    Resume { conversations: Vec<Position> },
    /// Enter a channel, which is made if nobody is in it. What follows `after` is told first.
    Join {
        channel: ChannelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Mark>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Leave a channel. The lobby cannot be left.
    Part {
        channel: ChannelName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Who is in a channel.
    People {
        channel: ChannelName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Which channels there are.
    Channels {
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Fingerprints, devices and idle time of a person.
    Whois {
        name: UserName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A channel's topic: shown without `text`, set with it.
    Topic {
        channel: ChannelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// This device's certificate, for whoever seals something for it.
    Certify { certificate: Opaque },
    /// Keys and certificates of people.
    Keys {
        names: Vec<UserName>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Lines of a conversation before `before`: at most `lines`, and none older than `span`.
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
    /// Lines that hold all words of `text`, in one conversation or in all that the asker may read.
    Search {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Target>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// This person has read so far; all their devices are told.
    Read { conversations: Vec<ReadMark> },
    /// Away with a reason, or back without one. Seen in `whois` and by who writes a private
    /// message.
    Away {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// An operator's word and what follows it: `["ban","bob","1h","noise"]`. Answered with a
    /// notice.
    Operate {
        words: Vec<String>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The answer to `Event::Password`, before the welcome.
    Password { password: SecretText },
    /// The person leaves for good, rather than by a cut connection.
    Quit,
    /// A word that this server does not know: refused, never fatal.
    #[serde(other)]
    Unknown,
}

impl Command {
    /// What an answer to it names: a line's id, or the reference of another request.
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
