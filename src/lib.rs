//! pychat: a private chat to run at home. ARCHITECTURE.md shows the floors that these modules stand
//! on.
#![forbid(unsafe_code)]
// These panic if the output is closed; crate::print does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod chat;
pub mod clean;
#[cfg(not(target_family = "wasm"))]
pub mod cli;
#[cfg(not(target_family = "wasm"))]
pub mod client;
#[cfg(not(target_family = "wasm"))]
pub mod config;
pub mod crypto;
pub mod e2e;
#[cfg(not(target_family = "wasm"))]
pub mod fault;
#[cfg(not(target_family = "wasm"))]
pub mod file;
#[cfg(not(target_family = "wasm"))]
pub mod home;
#[cfg(not(target_family = "wasm"))]
pub mod invite;
#[cfg(feature = "server")]
pub mod ledger;
pub mod limits;
#[cfg(not(target_family = "wasm"))]
pub mod nearest;
#[cfg(not(target_family = "wasm"))]
pub mod net;
#[cfg(not(target_family = "wasm"))]
pub mod page;
#[cfg(not(target_family = "wasm"))]
pub mod print;
#[cfg(feature = "server")]
pub mod server;
pub mod suite;
#[cfg(not(target_family = "wasm"))]
pub mod sync;
#[cfg(not(target_family = "wasm"))]
pub mod system;
#[cfg(not(target_family = "wasm"))]
pub mod terminal;
pub mod transfer;
pub mod wire;
#[cfg(all(test, feature = "server"))]
mod world_tests;
