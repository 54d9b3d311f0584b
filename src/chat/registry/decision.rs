//! Decisions of the registry about commands, and the effects that the hub applies.

use crate::chat::{
    BlobId, ChannelName, Conversation, Epoch, Event, FileBytes, HistoryKind, Opaque, Seq,
    SessionId, Target, TimeSpan, UserName, Wanted,
};

/// The outcome of a command other than a message that is allowed and paid for.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    Effects(Vec<Effect>),
    /// Answers a query outside the hub's lock.
    Query(Query<'a>),
}

/// A message that is allowed and paid for: the effects are applied, and then it is stored in this
/// conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Saying {
    pub conversation: Conversation,
    pub effects: Vec<Effect>,
}

/// A request that is allowed and paid for. Its answer needs data on disk, or data that the registry
/// does not have.
#[derive(Clone, Debug, PartialEq)]
pub enum Query<'a> {
    History {
        to: &'a Target,
        conversation: Conversation,
        before: Option<Seq>,
        messages: Option<usize>,
        span: Option<TimeSpan>,
        kind: Option<HistoryKind>,
    },
    /// Searches `conversations`; `to` is the one that the request names.
    Search {
        to: Option<&'a Target>,
        conversations: Vec<Conversation>,
        wanted: Wanted,
    },
    /// Counts the messages of others in these conversations.
    Count {
        spans: Vec<CountSpan>,
    },
    /// Begins or resumes an upload for this conversation.
    Put {
        conversation: Conversation,
        blob: BlobId,
        bytes: FileBytes,
    },
    /// Begins a download from this conversation, from a byte on.
    Get {
        conversation: Conversation,
        blob: BlobId,
        from: FileBytes,
    },
    Drop(BlobId),
    Usage,
    Whois(&'a UserName),
    Keys(&'a [UserName]),
    Certify(&'a Opaque),
    Operate(&'a [String]),
}

/// A part of a conversation in which messages are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct CountSpan {
    pub conversation: Conversation,
    pub after: Seq,
    pub upto: Seq,
}

/// What the hub has to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Appends a notice to a channel's log.
    Notice(ChannelName, Event),
    /// Lets these sessions read a conversation from here on.
    Follow(Conversation, Vec<SessionId>, Start),
    /// Stops a session from reading a conversation.
    Unfollow(Conversation, SessionId),
    /// Sends an answer to the session that asked.
    Answer(Event),
    /// Sends an event to other sessions.
    Send(Vec<SessionId>, Event),
    /// Stores a fact for the next run.
    Remember(Fact),
    /// Drops a conversation's tail: nobody can return to it.
    Forget(Conversation),
    /// A client has messages that the ledger lacks.
    Loss(Lost),
}

/// Messages that a client has and the ledger lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub conversation: Conversation,
    /// The user whose client has them.
    pub by: UserName,
    /// How many at least.
    pub missing: u64,
    /// The new epoch; `None` while only one user claims a loss.
    pub epoch: Option<Epoch>,
}

/// Where a session starts to read a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The session has everything up to here.
    pub after: Seq,
    /// Messages after `after` and up to here are sent from the ledger, later ones live.
    pub upto: Seq,
    /// The most stored messages to send; the newest are chosen.
    pub messages_max: usize,
    /// The session had nothing of the conversation before: messages that no longer exist are not
    /// a gap.
    pub fresh: bool,
}

/// What a channel is about, and who has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub text: String,
    pub by: UserName,
}

/// Facts that outlive a run of the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Topic(ChannelName, Option<Topic>),
    Read(UserName, Conversation, Seq),
    /// A user's last session ended; these are the user's private conversations.
    Gone(UserName, Vec<Conversation>),
}
