//! The domain: names, commands, events, refusals and the registry that decides. Nothing here knows
//! a socket, a file, a thread, a clock or a random number; what it needs of them is handed in.

mod command;
mod event;
mod id;
mod name;
pub mod rate;
mod refusal;
pub mod registry;

pub use command::{Command, Kind};
pub use event::{ChannelInfo, Event, Message};
pub use id::{MsgId, Seq, SessionId};
pub use name::{ChannelName, DeviceName, NameError, Target, UserName};
pub use refusal::{Code, Refusal};
