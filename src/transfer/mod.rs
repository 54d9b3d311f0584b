//! How much of a file is on its way at a time, and of which transfer. Pure: no clock and no socket;
//! uploads of a client, downloads of a client and the server's tests use the same rules.

pub mod turns;
pub mod window;
#[cfg(test)]
mod window_tests;
