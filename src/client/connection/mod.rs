//! The connection to the server: connecting, login and reading, on a thread of its own.

mod dial;
mod listen;
mod silence;
mod writer;

pub use dial::Dialer;
