//! Accounts: registered users, their keys and certificates, and the server's own key.

pub mod directory;
pub mod host_key;
pub mod key_history;
mod users;
pub mod vanished;

pub use users::{Accounts, PASSWORD_CHANGED, Renamed, log_rejected};
