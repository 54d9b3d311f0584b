//! Sockets: listening, dialing, and the handshake over them.

pub mod listener;
pub mod tunnel;
