//! The connection to the server: dialed, logged in and read on a thread of its own.

mod dial;
mod listen;
mod writer;

pub use dial::Dialer;
