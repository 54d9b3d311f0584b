//! pychat: a private chat to run at home. ARCHITECTURE.md shows the floors that these modules stand
//! on.
#![forbid(unsafe_code)]
// These panic if the output is closed; crate::print does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
// A browser has a part of the client; the other systems show what nobody uses.
#![cfg_attr(target_family = "wasm", allow(dead_code, unused_imports))]

pub mod calendar;
pub mod chat;
pub mod clean;
#[cfg(not(target_family = "wasm"))]
pub mod cli;
#[cfg(not(target_family = "wasm"))]
pub mod client;
#[cfg(target_family = "wasm")]
#[path = "client/wasm.rs"]
pub mod client;
#[cfg(not(target_family = "wasm"))]
pub mod config;
pub mod crypto;
pub mod e2e;
pub mod fault;
pub mod file;
#[cfg(not(target_family = "wasm"))]
pub mod home;
pub mod invite;
#[cfg(feature = "server")]
pub mod ledger;
pub mod limits;
pub mod nearest;
#[cfg(not(target_family = "wasm"))]
pub mod net;
#[cfg(target_family = "wasm")]
#[path = "net/wasm.rs"]
pub mod net;
#[cfg(not(target_family = "wasm"))]
pub mod page;
#[cfg(target_family = "wasm")]
#[path = "page/wasm.rs"]
pub mod page;
#[cfg(not(target_family = "wasm"))]
pub mod print;
#[cfg(feature = "server")]
pub mod server;
pub mod suite;
pub mod sync;
pub mod system;
#[cfg(not(target_family = "wasm"))]
pub mod terminal;
pub mod transfer;
pub mod wire;
#[cfg(all(test, feature = "server"))]
mod world_tests;
