//! The connection to the server: whom the client trusts there and which key it uses, connecting,
//! login and reading on a thread of its own, and the queue of what is read.

pub mod connects;
mod dial;
mod edge;
mod hearing;
pub mod hop;
pub mod inbox;
mod keepalive;
mod keys;
mod listen;
pub mod pinning;
pub mod profile;
pub mod transfers;
mod writer;

pub use dial::Dialer;
