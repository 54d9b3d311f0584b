//! Sockets: listening, dialing, and the handshake over them. The other modules see records only
//! (`link.rs`).

pub mod dial_error;
#[cfg(feature = "server")]
pub mod http;
pub mod link;
#[cfg(feature = "server")]
pub mod listener;
pub mod local;
#[cfg(test)]
pub mod memory;
#[cfg(feature = "server")]
pub mod ready;
pub mod tcp;
#[cfg(feature = "server")]
pub mod tls;
pub mod tunnel;
#[cfg(feature = "server")]
pub mod websocket;
