//! Every way to say no.

use serde::{Deserialize, Serialize};

use super::rights::{Act, Role};
use super::{ChannelName, Event, MsgId, TimeSpan, UserName};

/// The kinds of refusal and of goodbye: one list, for programs. `docs/json.md` explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Rate,
    TooLong,
    NotMember,
    NoSuchUser,
    NoSuchChannel,
    NoSuchLine,
    Forbidden,
    Storage,
    /// Whether the line is stored shows when the server has been started again.
    InDoubt,
    Busy,
    Slow,
    Unavailable,
    IdConflict,
    /// A person who is away has as many private messages waiting as may wait.
    MailboxFull,
    BadRequest,
    NotAdmitted,
    /// A password was wanted and not given, or is a new one now.
    Password,
    /// The operator ended this session.
    Kicked,
    /// An operator took the word from this person for a while.
    Muted,
    /// An operator shut this person, key or address out.
    Banned,
    /// This person's key was removed.
    Removed,
    /// The server stops or starts again.
    Shutdown,
    #[serde(other)]
    Unknown,
}

/// Why a command was not carried out, in words for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("too fast: wait {} s", retry_ms.div_ceil(1000))]
    Rate { retry_ms: u64 },
    #[error(
        "a line may have {max_bytes} bytes and this one has {bytes}: nothing of it was sent; split it"
    )]
    TooLong { bytes: usize, max_bytes: usize },
    #[error("nothing of sealed conversations is kept here: /set search on keeps it from now on")]
    SearchOff,
    #[error("a search may have {max} {of} and this one has {found}: search for fewer of them")]
    SearchTooLong { found: usize, max: usize, of: &'static str },
    #[error("as many people search or load history as may at once: try again in a moment")]
    ReadersBusy,
    #[error("an empty line was not sent")]
    Empty,
    #[error("you are not in {0}: /join {0} first")]
    NotMember(ChannelName),
    #[error("nobody here is called {0}: /list shows who is")]
    NoSuchUser(UserName),
    #[error(
        "{0} is not connected, and this server keeps no private messages for people who are away"
    )]
    NotHere(UserName),
    #[error("{0} is away and has {1} private messages waiting, as many as may: try later")]
    MailboxFull(UserName, usize),
    #[error(
        "{0} is away and has {1} messages of yours waiting, as many as one sender may leave: try later"
    )]
    MailboxShare(UserName, usize),
    #[error("{0} is no longer registered here: nothing was sent")]
    NotRegistered(UserName),
    #[error("the server cannot store lines now: its operator has to look")]
    Storage,
    #[error(
        "the server's disk failed: whether this line is stored shows when its operator has started it \
         again"
    )]
    InDoubt,
    #[error("another line had this id: nothing was sent")]
    IdConflict,
    #[error("there is no such line")]
    NoSuchLine,
    #[error("only one's own lines can be changed")]
    NotOwn,
    #[error("a line can be changed for {} after it was sent", window(*.0))]
    TooLate(u64),
    #[error("a line is changed with its seq and, for an edit, a text")]
    BadChange,
    #[error("a channel with a PIN takes sealed lines only: update pychat")]
    MustSeal,
    #[error("nobody could read a sealed line here")]
    MustNotSeal,
    #[error("a channel with a PIN has no topic: the operator could read it")]
    NoTopic,
    #[error("this is no certificate of your key: nothing was published")]
    NotOwnCertificate,
    #[error("so many people's keys are not asked for at once")]
    TooManyNames,
    #[error("a ref is longer than 64 bytes")]
    LongReference,
    #[error("you have not read what you asked for before: read on first")]
    Unread,
    #[error("there is no channel {0}: /channels shows them, /join makes it")]
    NoSuchChannel(ChannelName),
    #[error("everybody stays in #lobby: /exit leaves the chat")]
    LobbyStays,
    #[error("{max} channels are yours, as many as one may be in or have made: /part one first")]
    TooManyChannels { max: usize },
    #[error(
        "you have joined {max} channels with a PIN that were new to you within an hour, as many as may be \
         joined or created: again in {} min", retry_ms.div_ceil(60_000)
    )]
    PinJoins {
        max: usize,
        /// Such refusals since a join was last allowed.
        refused: u32,
        retry_ms: u64,
    },
    #[error("a muted person joins no channel that is new: {0}")]
    MutedJoin(ChannelName),
    #[error("you have logged in too often: again in {} s", retry_ms.div_ceil(1000))]
    TooManyLogins { retry_ms: u64 },
    #[error(
        "your sessions have loaded as much as they may for now: again in {} s", retry_ms.div_ceil(1000)
    )]
    Unpaid { retry_ms: u64 },
    #[error("you are connected {max} times, as often as one may be: end another session first")]
    TooManySessions { max: usize },
    #[error("the server has as many channels as it may have: join one that exists")]
    ServerFull,
    #[error("{0}")]
    Muted(String),
    #[error("{0}")]
    Banned(String),
    #[error("{word}: not for a {role}", word = .0.word(), role = .1)]
    NotAllowed(Act, Role),
    /// An operator's word was not carried out.
    #[error("{0}")]
    Operator(String),
    #[error("this server does not know that request: update pychat on one side")]
    Unknown,
}

impl Refusal {
    pub fn code(&self) -> Code {
        match self {
            Refusal::Rate { .. }
            | Refusal::PinJoins { .. }
            | Refusal::TooManyLogins { .. }
            | Refusal::Unpaid { .. } => Code::Rate,
            Refusal::TooLong { .. } | Refusal::SearchTooLong { .. } => Code::TooLong,
            Refusal::Empty
            | Refusal::Unknown
            | Refusal::BadChange
            | Refusal::MustSeal
            | Refusal::MustNotSeal
            | Refusal::NotOwnCertificate
            | Refusal::TooManyNames
            | Refusal::LongReference => Code::BadRequest,
            Refusal::NoSuchLine => Code::NoSuchLine,
            Refusal::MailboxFull(..) | Refusal::MailboxShare(..) => Code::MailboxFull,
            Refusal::Storage => Code::Storage,
            Refusal::InDoubt => Code::InDoubt,
            Refusal::IdConflict => Code::IdConflict,
            Refusal::NotOwn | Refusal::TooLate(_) | Refusal::NoTopic => Code::Forbidden,
            Refusal::Unread => Code::Slow,
            Refusal::NotMember(_) => Code::NotMember,
            Refusal::NoSuchUser(_) | Refusal::NotRegistered(_) => Code::NoSuchUser,
            Refusal::NotHere(_) | Refusal::SearchOff => Code::Unavailable,
            Refusal::NoSuchChannel(_) => Code::NoSuchChannel,
            Refusal::LobbyStays | Refusal::TooManyChannels { .. } => Code::Forbidden,
            Refusal::Muted(_) | Refusal::MutedJoin(_) => Code::Muted,
            Refusal::Banned(_) => Code::Banned,
            Refusal::NotAllowed(..) | Refusal::Operator(_) => Code::Forbidden,
            Refusal::ServerFull | Refusal::TooManySessions { .. } | Refusal::ReadersBusy => {
                Code::Busy
            }
        }
    }

    /// The event that tells it to the one who asked.
    pub fn event(&self, id: Option<MsgId>, reference: Option<String>) -> Event {
        let (code, hint, retry_ms) = (self.code(), self.to_string(), self.retry_ms());
        Event::Refused { code, hint, id, retry_ms, reference }
    }

    /// When to try again, which is never at once.
    pub fn retry_ms(&self) -> Option<u64> {
        match self {
            Refusal::Rate { retry_ms }
            | Refusal::PinJoins { retry_ms, .. }
            | Refusal::TooManyLogins { retry_ms }
            | Refusal::Unpaid { retry_ms } => Some((*retry_ms).max(1)),
            _ => None,
        }
    }
}

fn window(seconds: u64) -> String {
    TimeSpan::from_s(seconds).map_or_else(|| "no time".to_owned(), |span| span.to_string())
}
