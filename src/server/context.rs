//! Handles to the server's parts. The context decides nothing: each part owns its state in its own
//! file.

use std::sync::Arc;

use log::LevelFilter;

use super::access::Access;
use super::accounts::Accounts;
use super::accounts::directory::Directory;
use super::accounts::key_history::KeyHistory;
use super::admission::Admission;
use super::clock_guard::ClockGuard;
use super::hub::Hub;
use super::ledger_jobs::LedgerJobs;
use super::passwords::Passwords;
use super::readers::Readers;
use super::records::Records;
use super::stop::Stop;
use crate::config::Config;
use crate::home::sanctions::Decided;
use crate::home::{Home, ServerKeys};
use crate::sync::Snapshot;

/// The parts that sessions, operators and periodic jobs use.
pub struct Context {
    /// The current configuration.
    pub config: Arc<Snapshot<Config>>,
    pub home: Home,
    /// The log level of the command line, which overrides the configuration.
    pub log_level: Option<LevelFilter>,
    pub hub: Arc<Hub>,
    /// The ledger's reading threads.
    pub readers: Arc<Readers>,
    pub ledger: LedgerJobs,
    /// Registered users.
    pub accounts: Accounts,
    pub directory: Arc<Directory>,
    pub key_history: Arc<KeyHistory>,
    /// The server's own keys.
    pub host_keys: Arc<Snapshot<ServerKeys>>,
    /// What operators decided at runtime.
    pub decided: Arc<Decided>,
    pub access: Arc<Access>,
    pub passwords: Passwords,
    pub admission: Arc<Admission>,
    /// The audit trail and the key history.
    pub records: Arc<Records>,
    /// Whether the clock is believed where something is removed for its age.
    pub clock: ClockGuard,
    pub stop: Arc<Stop>,
}
