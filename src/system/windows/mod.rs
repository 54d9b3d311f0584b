//! Windows 10 and later. The client only: a server's home rests on Unix's modes and sockets.

pub mod files;
pub mod programs;
pub mod terminal;
