//! What a browser has of this folder: no addresses, sockets and tokens.

mod answers;
mod carried;
pub mod commands;
pub mod core;
mod outgoing;
pub mod queue;
mod room;
mod shown;
mod spool;
pub mod state;
mod unread;
mod wrong;

pub use shown::Shown;
pub use spool::Spool;
pub use wrong::Wrong;
