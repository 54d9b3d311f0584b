//! Refusals and their messages.

use serde::{Deserialize, Serialize};

use super::rights::{Act, Role, who_may};
use super::{ChannelName, FileBytes, TimeSpan, UserName};

/// The codes of refusals and goodbyes, for programs. `docs/json.md` explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Rate,
    TooLong,
    NotMember,
    NoSuchUser,
    NoSuchChannel,
    NoSuchMessage,
    Forbidden,
    Storage,
    /// A restart of the server will show whether the message is stored.
    InDoubt,
    Busy,
    Slow,
    Unavailable,
    IdConflict,
    /// The mailbox of an offline user is full.
    MailboxFull,
    BadRequest,
    /// The file exceeds the server's bound.
    FileTooLarge,
    /// The user's files would exceed the user's share.
    Quota,
    /// The server has no room for the file.
    Disk,
    /// The server, or the conversation, keeps no files.
    NoFiles,
    /// The conversation has no such file.
    NoSuchFile,
    /// The conversation's file was removed.
    FileGone,
    NotAdmitted,
    /// A password is missing, or was changed.
    Password,
    /// The operator ended this session.
    Kicked,
    /// An operator muted this user for a while.
    Muted,
    /// An operator banned this user, key or address.
    Banned,
    /// This user's key was removed.
    Removed,
    /// The operator has given this user another name, under which the client may log in at once.
    Renamed,
    /// The server stops or restarts.
    Shutdown,
    #[serde(other)]
    Unknown,
}

/// Why a request was refused, with a message for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("too fast: wait {} s", retry_ms.div_ceil(1000))]
    Rate { retry_ms: u64 },
    #[error(
        "a message may have {max_bytes} bytes and this one has {bytes}: it was not sent; split it"
    )]
    TooLong { bytes: usize, max_bytes: usize },
    #[error(
        "a topic or an away text may have {max_bytes} bytes and this one has {bytes}: shorten it"
    )]
    TextTooLong { bytes: usize, max_bytes: usize },
    #[error("this device has no search index of sealed messages: /set search on starts one")]
    SearchOff,
    #[error("a search may have {max} {of} and this one has {found}: search for fewer")]
    SearchTooLong { found: usize, max: usize, of: &'static str },
    #[error("too many people are searching or loading history: try again in a moment")]
    ReadersBusy,
    #[error("an empty message was not sent")]
    Empty,
    #[error("a search needs a word")]
    EmptySearch,
    #[error("you are not in {0}: /join {0} first")]
    NotMember(ChannelName),
    #[error("no user is called {0}: /list shows who is here")]
    NoSuchUser(UserName),
    #[error("{0} is offline, and this server does not store private messages for offline users")]
    NotHere(UserName),
    #[error("{0} is offline with {1} private messages waiting, the most allowed: try later")]
    MailboxFull(UserName, usize),
    #[error("{0} is offline with {1} messages of yours waiting, the most per sender: try later")]
    MailboxShare(UserName, usize),
    #[error("{0} is no longer registered here: the message was not sent")]
    NotRegistered(UserName),
    #[error("the server cannot store messages now: its operator has to check its log")]
    Storage,
    #[error("the disk of the server is almost full: its operator has to free space")]
    DiskLow,
    #[error(
        "the server's disk failed: a restart of the server will show whether this message is stored"
    )]
    InDoubt,
    #[error("another message has this id: nothing was sent")]
    IdConflict,
    #[error("no such message")]
    NoSuchMessage,
    #[error("you can change only your own messages")]
    NotOwn,
    #[error("a message can be changed for {} after it was sent", window(*.0))]
    TooLate(u64),
    #[error("an edit needs a seq and a text, a deletion a seq only")]
    BadChange,
    #[error("a channel with a PIN accepts sealed messages only: update pychat")]
    MustSeal,
    #[error("this conversation does not accept sealed messages")]
    MustNotSeal,
    #[error("a channel with a PIN has no topic: the operator could read it")]
    NoTopic,
    #[error("the certificate is not signed by your key: it was not published")]
    NotOwnCertificate,
    #[error(
        "the certificate begins in the future by the server's clock: it was not published; correct \
         the clock that is wrong"
    )]
    EarlyCertificate,
    #[error("the request names too many users")]
    TooManyNames,
    #[error("one count can name {max} conversations: send another for the rest")]
    TooManyCounted { max: usize },
    #[error("a ref may have 64 bytes")]
    LongReference,
    #[error("you have not read the answers to earlier requests: read them first")]
    Unread,
    #[error("there is no channel {0}: /channels lists channels, /join creates one")]
    NoSuchChannel(ChannelName),
    #[error("#lobby cannot be left: /exit leaves the chat")]
    LobbyStays,
    #[error("you are in {max} channels or created them, the most allowed: /part one first")]
    TooManyChannels { max: usize },
    #[error(
        "you joined {max} channels with a PIN that were new to you within an hour, the most allowed: try \
         again in {} min", retry_ms.div_ceil(60_000)
    )]
    PinJoins {
        max: usize,
        /// Refused joins since the last allowed one.
        refused: u32,
        retry_ms: u64,
    },
    #[error("muted users cannot join a channel that is new: {0}")]
    MutedJoin(ChannelName),
    #[error("too many logins: try again in {} s", retry_ms.div_ceil(1000))]
    TooManyLogins { retry_ms: u64 },
    #[error(
        "your sessions have loaded too much: try again in {} s", retry_ms.div_ceil(1000)
    )]
    Unpaid { retry_ms: u64 },
    #[error("you have {max} sessions, the most allowed: end another one first")]
    TooManySessions { max: usize },
    #[error("the server has the maximum number of channels: join an existing one")]
    ServerFull,
    #[error("{0}")]
    Muted(String),
    #[error("{0}")]
    Banned(String),
    #[error("{}", not_allowed(*.0, *.1))]
    NotAllowed(Act, Role),
    /// An operator command failed.
    #[error("{0}")]
    Operator(String),
    /// An operator command is malformed.
    #[error("{0}")]
    OperatorMisused(String),
    #[error("the file has {bytes} after encryption, and this server accepts at most {max_bytes}")]
    FileTooLarge { bytes: FileBytes, max_bytes: FileBytes },
    #[error("{}", over_quota((*bytes, *used, *max_bytes), frees.as_ref()))]
    Quota {
        bytes: FileBytes,
        used: FileBytes,
        max_bytes: FileBytes,
        /// The time at which enough older files have expired, and their total size.
        frees: Option<(String, FileBytes)>,
    },
    #[error("you have {max} unfinished uploads, the most allowed: finish or cancel one first")]
    TooManyUploads { max: usize },
    #[error("this session has {max} transfers, the most allowed: wait until one ends")]
    TooManyTransfers { max: usize },
    #[error("the server has no room for this file: try later, or ask its operator")]
    NoRoom,
    #[error("an encrypted file has 16 bytes at least")]
    EmptyFile,
    #[error("another session of yours continues this upload")]
    UploadContinuedElsewhere,
    #[error("this server keeps no files")]
    NoFiles,
    #[error("this conversation keeps no messages, and so no files")]
    NoFilesHere,
    #[error("no such file")]
    NoSuchFile,
    #[error("another file has this id, or this one another size: send it again")]
    BlobConflict,
    #[error("the file was sent already: delete its message instead")]
    FileSent,
    #[error("a file cannot be edited: delete its message and send another one")]
    FileNotEdited,
    #[error("the file was removed meanwhile: it was deleted, or its upload took too long")]
    FileRemoved,
    #[error("the server still removes an earlier file of this id: try again in a moment")]
    FileRemoving,
    #[error("the file was deleted")]
    FileDeleted,
    #[error("the file has expired: the server keeps files for a limited time")]
    FileExpired,
    #[error("the server has lost the file: ask its sender to send it again")]
    FileLost,
    #[error("the server does not support this request: update pychat on one side")]
    Unknown,
}

impl Refusal {
    pub fn code(&self) -> Code {
        match self {
            Refusal::Rate { .. }
            | Refusal::PinJoins { .. }
            | Refusal::TooManyLogins { .. }
            | Refusal::Unpaid { .. } => Code::Rate,
            Refusal::TooLong { .. }
            | Refusal::TextTooLong { .. }
            | Refusal::SearchTooLong { .. } => Code::TooLong,
            Refusal::Empty
            | Refusal::EmptySearch
            | Refusal::Unknown
            | Refusal::BadChange
            | Refusal::EmptyFile
            | Refusal::MustSeal
            | Refusal::MustNotSeal
            | Refusal::NotOwnCertificate
            | Refusal::EarlyCertificate
            | Refusal::TooManyNames
            | Refusal::TooManyCounted { .. }
            | Refusal::OperatorMisused(_)
            | Refusal::LongReference => Code::BadRequest,
            Refusal::FileTooLarge { .. } => Code::FileTooLarge,
            Refusal::Quota { .. } => Code::Quota,
            Refusal::NoRoom => Code::Disk,
            Refusal::NoFiles | Refusal::NoFilesHere => Code::NoFiles,
            Refusal::NoSuchFile => Code::NoSuchFile,
            Refusal::FileRemoved
            | Refusal::FileDeleted
            | Refusal::FileExpired
            | Refusal::FileLost => Code::FileGone,
            Refusal::NoSuchMessage => Code::NoSuchMessage,
            Refusal::MailboxFull(..) | Refusal::MailboxShare(..) => Code::MailboxFull,
            Refusal::Storage | Refusal::DiskLow => Code::Storage,
            Refusal::InDoubt => Code::InDoubt,
            Refusal::IdConflict | Refusal::BlobConflict => Code::IdConflict,
            Refusal::NotOwn
            | Refusal::TooLate(_)
            | Refusal::NoTopic
            | Refusal::FileSent
            | Refusal::FileNotEdited => Code::Forbidden,
            Refusal::Unread => Code::Slow,
            Refusal::NotMember(_) => Code::NotMember,
            Refusal::NoSuchUser(_) | Refusal::NotRegistered(_) => Code::NoSuchUser,
            Refusal::NotHere(_) | Refusal::SearchOff => Code::Unavailable,
            Refusal::NoSuchChannel(_) => Code::NoSuchChannel,
            Refusal::LobbyStays | Refusal::TooManyChannels { .. } => Code::Forbidden,
            Refusal::Muted(_) | Refusal::MutedJoin(_) => Code::Muted,
            Refusal::Banned(_) => Code::Banned,
            Refusal::NotAllowed(..) | Refusal::Operator(_) => Code::Forbidden,
            Refusal::ServerFull
            | Refusal::TooManySessions { .. }
            | Refusal::UploadContinuedElsewhere
            | Refusal::FileRemoving
            | Refusal::TooManyUploads { .. }
            | Refusal::TooManyTransfers { .. }
            | Refusal::ReadersBusy => Code::Busy,
        }
    }

    /// Returns the wait before a retry in milliseconds, at least 1.
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

fn not_allowed(act: Act, role: Role) -> String {
    format!("{}: not allowed for a {role}; {}", act.word(), who_may(act.least()))
}

/// Returns the hint for a file with which a user would exceed the quota.
fn over_quota(
    (bytes, used, max_bytes): (FileBytes, FileBytes, FileBytes),
    frees: Option<&(String, FileBytes)>,
) -> String {
    if bytes > max_bytes {
        return format!("this file takes {bytes}, and all your files here may take {max_bytes}");
    }
    let wait = match frees {
        Some((at, freed)) => format!("wait until {at}, when {freed} expire"),
        None => "wait until one expires".to_owned(),
    };
    format!(
        "your files here take {used} of {max_bytes}, and this one takes {bytes}: delete an older one \
         (/files), or {wait}"
    )
}

fn window(seconds: u64) -> String {
    TimeSpan::from_s(seconds).map_or_else(|| "no time".to_owned(), |span| span.to_string())
}
