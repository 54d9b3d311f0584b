//! What the registry decides about a command, and what the hub does then.

use super::Topic;
use crate::chat::{
    ChannelName, Conversation, Event, NewMessage, Opaque, Seq, SessionId, Target, TimeSpan,
    UserName, Wanted,
};

/// What follows from a command that is allowed and paid for.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    Effects(Vec<Effect>),
    /// The effects, and then the message goes to the ledger, for this conversation.
    Say {
        message: &'a NewMessage,
        conversation: Conversation,
        effects: Vec<Effect>,
    },
    /// To be answered outside the hub's lock.
    Query(Query<'a>),
}

/// A question that is allowed and paid for. Its answer needs what is on disk, or what the registry
/// does not know.
#[derive(Clone, Debug, PartialEq)]
pub enum Query<'a> {
    History {
        to: &'a Target,
        conversation: Conversation,
        before: Option<Seq>,
        lines: Option<usize>,
        span: Option<TimeSpan>,
    },
    /// In these conversations; `to` is the one that was named.
    Search {
        to: Option<&'a Target>,
        conversations: Vec<Conversation>,
        wanted: Wanted,
    },
    Whois(&'a UserName),
    Keys(&'a [UserName]),
    Certify(&'a Opaque),
    Operate(&'a [String]),
}

/// What the hub does next, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A notice goes into a channel's log.
    Notice(ChannelName, Event),
    /// These sessions read a conversation from here on.
    Follow(Conversation, Vec<SessionId>, Start),
    /// The session no longer reads a conversation.
    Unfollow(Conversation, SessionId),
    /// An answer for the session that asked.
    Answer(Event),
    /// The same for other sessions.
    Tell(Vec<SessionId>, Event),
    /// To be remembered over a restart.
    Remember(Fact),
    /// Nobody is left who could come back to this conversation's log.
    Forget(Conversation),
}

/// Where a session begins to read a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// It has everything up to here ...
    pub after: Seq,
    /// ... and is told again what follows, up to here; then what is new.
    pub upto: Seq,
    /// Of that, at most this many, the newest.
    pub lines_max: usize,
    /// It never had anything of the conversation: what is left out is no gap.
    pub fresh: bool,
}

/// What outlives the server's run.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Topic(ChannelName, Option<Topic>),
    Read(UserName, Conversation, Seq),
    /// A person's last session ended; these are their private conversations.
    Away(UserName, Vec<Conversation>),
}
