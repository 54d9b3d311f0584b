//! What a browser has of this folder: no sockets and threads.

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
