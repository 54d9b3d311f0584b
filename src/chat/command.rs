//! All that a client may ask. `docs/protocol.md` shows each as JSON.

use serde::{Deserialize, Serialize};

use super::{ChannelName, MsgId, Target, UserName};

/// How a line is meant: said, or done (`/me`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Say,
    Me,
}

/// One request of a client. Whatever names a `ref` gets its answer with the same `ref`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Command {
    /// A line for a channel or a person. `id` is the client's; the line comes back with it.
    Say {
        to: Target,
        id: MsgId,
        text: String,
        #[serde(default)]
        kind: Kind,
    },
    /// Enter a channel, which is made if nobody is in it.
    Join {
        channel: ChannelName,
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
    /// Away with a reason, or back without one. Seen in `whois` and by who writes a private message.
    Away {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// The person leaves for good, rather than by a cut connection.
    Quit,
    /// A word that this server does not know: refused, never fatal.
    #[serde(other)]
    Unknown,
}
