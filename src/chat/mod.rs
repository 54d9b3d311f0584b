//! The domain: names, commands, events, refusals, and the registry that decides. Nothing here uses
//! a socket, a file, a thread, a clock or a random number; callers pass in what is needed.

mod command;
mod conversation;
mod event;
mod file;
mod id;
pub mod look;
mod message;
mod name;
mod opaque;
pub mod operator_commands;
pub mod rate;
mod refusal;
pub mod registry;
pub mod rights;
mod secret_text;
mod size;
mod span;
mod ticket;
pub(crate) mod words;

pub use command::{Command, HistoryKind, Position, ReadMark, Request};
pub use conversation::Conversation;
pub use event::{
    ChannelInfo, ConversationInfo, DeviceKey, Event, FileInfo, FileRules, MessageCount, SenderCount,
};
pub use file::{BlobId, Descriptor, FileBytes, FileError, FileSecret, Thumb};
pub use id::{CountedHasher, CountedMap, Epoch, MsgId, Seq, SessionId, SyncPoint};
pub use message::{Body, Confidentiality, Kind, Message, NewMessage};
pub use name::{ChannelName, DeviceName, NAME_CHARS_MAX, NameError, Target, UserName};
pub use opaque::{Opaque, OpaqueError};
pub use refusal::{Code, Refusal};
pub use secret_text::SecretText;
pub use span::{Retention, TimeSpan, TimeSpanError};
pub use ticket::{TICKET_BYTES, Ticket};
pub use words::{Matching, Wanted};
