//! The part of this folder for browsers, without sockets and threads.

pub mod connects;
mod edge;
mod hearing;
pub mod hop;
pub mod inbox;
mod keepalive;
mod keys;
pub mod pinning;
pub mod profile;
#[path = "transfers/wasm.rs"]
pub mod transfers;
