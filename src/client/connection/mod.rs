//! The connection to the server: whom the client trusts there and which key it uses, connecting,
//! login and reading on a thread of its own, and the queue of what is read.

mod dial;
mod edge;
pub mod inbox;
mod keepalive;
mod keys;
mod listen;
pub mod pinning;
pub mod profile;
pub mod transfers;
mod writer;

pub use dial::Dialer;
