//! pychat: a private chat to run at home. ARCHITECTURE.md shows the floors that these modules stand
//! on.
#![forbid(unsafe_code)]
// They panic where nobody reads any more: crate::print does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod chat;
pub mod clean;
pub mod cli;
pub mod client;
pub mod config;
pub mod crypto;
pub mod e2e;
pub mod fault;
pub mod home;
pub mod invite;
#[cfg(feature = "server")]
pub mod ledger;
pub mod limits;
pub mod net;
pub mod print;
#[cfg(feature = "server")]
pub mod server;
pub mod suite;
pub mod sync;
pub mod system;
pub mod terminal;
pub mod wire;
#[cfg(all(test, feature = "server"))]
mod world_tests;
