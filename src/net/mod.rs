//! Sockets: listening, dialing, and the handshake over them.

#[cfg(feature = "server")]
pub mod listener;
pub mod tunnel;
