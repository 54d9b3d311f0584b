//! Requests of clients. `docs/protocol.md` shows each as JSON.

use serde::{Deserialize, Serialize};

use super::rights::Act;
use super::{
    BlobId, ChannelName, FileBytes, Kind, MsgId, NewMessage, Opaque, SecretText, Seq, SyncPoint,
    Target, TimeSpan, UserName,
};

/// The newest message of a conversation that a client has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub to: Target,
    #[serde(flatten)]
    pub point: SyncPoint,
}

/// The last message of a conversation that a user has read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadMark {
    pub to: Target,
    pub seq: Seq,
}

/// The only kind of messages that `history` can select.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryKind {
    File,
}

/// A command of a client.
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
        after: Option<SyncPoint>,
    },
    /// Leaves a channel. The lobby cannot be left.
    Part { channel: ChannelName },
    /// Lists the people in a channel.
    People { channel: ChannelName },
    /// Lists the channels.
    Channels,
    /// Shows fingerprints, devices and idle time of a user.
    Whois { name: UserName },
    /// Shows a channel's topic or, with `text`, sets it.
    Topic {
        channel: ChannelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Publishes this device's certificate, which others need to seal messages for it.
    Certify { certificate: Opaque },
    /// Requests keys and certificates of users.
    Keys { names: Vec<UserName> },
    /// Requests messages of a conversation before `before`: at most `messages`, none older than
    /// `span`.
    History {
        to: Target,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        messages: Option<usize>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        span: Option<TimeSpan>,
        /// Only messages of this kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<HistoryKind>,
    },
    /// Finds messages with all words of `text`, in one conversation or in all that the user may
    /// read.
    Search {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Target>,
    },
    /// Moves this user's read positions; the user's other sessions are notified.
    Read { conversations: Vec<ReadMark> },
    /// Counts the messages of others after these positions.
    Count { conversations: Vec<ReadMark> },
    /// Begins the upload of an encrypted file of `bytes` bytes for a conversation, or resumes it.
    Put { to: Target, blob: BlobId, bytes: FileBytes },
    /// Requests an encrypted file of a conversation, from a byte on.
    Get {
        to: Target,
        blob: BlobId,
        #[serde(default)]
        from: FileBytes,
    },
    /// Removes an own encrypted file that no message has named.
    Drop { blob: BlobId },
    /// Lists the user's own encrypted files and their size.
    Usage,
    /// Marks the user as away with a reason, or as back without one. `whois` shows it, and so does
    /// the client of a user who sends a private message.
    Away {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// An operator command and its arguments: `["ban","bob","1h","noise"]`. The answer is a notice.
    Operate { words: Vec<String> },
    /// The answer to `Event::Password`, before the welcome.
    Password { password: SecretText },
    /// Ends the session for good: it is not kept for a resume, as it is after a lost connection.
    Quit,
    /// An unknown request: refused, never fatal.
    #[serde(other)]
    Unknown,
}

/// A command and the reference that its answers repeat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    #[serde(flatten)]
    pub command: Command,
    /// The client's own, where it gave one.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl From<Command> for Request {
    fn from(command: Command) -> Request {
        Request { command, reference: None }
    }
}

impl Command {
    /// Returns the right that a request needs; `None` for unknown requests.
    pub fn act(&self) -> Option<Act> {
        Some(match self {
            Command::Say(message) => match message.kind {
                Kind::Say | Kind::Me | Kind::File { .. } => Act::Say,
                Kind::Edit { .. } => Act::Edit,
                Kind::Delete { .. } => Act::Delete,
            },
            Command::Topic { text: None, .. } => Act::Topic,
            Command::Topic { text: Some(_), .. } => Act::SetTopic,
            // Coming back shows no text of the user.
            Command::Away { text: None } => Act::Read,
            Command::Away { text: Some(_) } => Act::Away,
            Command::Join { .. } => Act::Join,
            Command::Part { .. } => Act::Part,
            Command::People { .. } => Act::People,
            Command::Channels => Act::Channels,
            Command::Whois { .. } => Act::Whois,
            Command::History { .. } => Act::History,
            Command::Search { .. } => Act::Search,
            Command::Keys { .. } => Act::Keys,
            Command::Certify { .. } => Act::Certify,
            Command::Resume { .. } | Command::Read { .. } | Command::Count { .. } => Act::Read,
            Command::Put { .. } => Act::Put,
            Command::Get { .. } | Command::Drop { .. } | Command::Usage => Act::Files,
            Command::Quit => Act::Quit,
            Command::Operate { .. } => Act::Operate,
            // Valid before the welcome only.
            Command::Password { .. } | Command::Unknown => return None,
        })
    }

    /// Whether its answers carry the reference of its request. Nothing else has a `ref`.
    fn is_referred_to(&self) -> bool {
        match self {
            Command::Join { .. }
            | Command::Part { .. }
            | Command::People { .. }
            | Command::Channels
            | Command::Whois { .. }
            | Command::Topic { .. }
            | Command::Keys { .. }
            | Command::History { .. }
            | Command::Search { .. }
            | Command::Count { .. }
            | Command::Put { .. }
            | Command::Get { .. }
            | Command::Drop { .. }
            | Command::Usage
            | Command::Operate { .. } => true,
            Command::Say(_)
            | Command::Resume { .. }
            | Command::Read { .. }
            | Command::Away { .. }
            | Command::Certify { .. }
            | Command::Password { .. }
            | Command::Quit
            | Command::Unknown => false,
        }
    }
}

impl Request {
    /// The request of a command that was read, and of its `ref`, which is read where its answers
    /// carry it.
    ///
    /// # Errors
    ///
    /// The reference cannot be read.
    pub fn read<E>(
        command: Command,
        reference: impl FnOnce() -> Result<Option<String>, E>,
    ) -> Result<Request, E> {
        let reference = if command.is_referred_to() { reference()? } else { None };
        Ok(Request { command, reference })
    }

    pub fn new(command: Command, reference: Option<String>) -> Request {
        Request { command, reference }
    }

    /// Returns what an answer refers to: the id of a message, or the `ref` of another request.
    pub fn names(&self) -> (Option<MsgId>, Option<&String>) {
        match &self.command {
            Command::Say(message) => (Some(message.id), None),
            _ => (None, self.reference.as_ref()),
        }
    }
}
