//! Sockets: listening, dialing, and the handshake over them. The other modules see records only
//! (`link.rs`).

#[cfg(feature = "server")]
pub mod http;
pub mod link;
#[cfg(feature = "server")]
pub mod listener;
#[cfg(test)]
pub mod memory;
pub mod tcp;
pub mod tunnel;
