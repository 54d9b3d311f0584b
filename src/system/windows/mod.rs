//! Windows 10 and later, the client only: a server needs Unix modes and sockets.

pub mod files;
pub mod programs;
pub mod terminal;
