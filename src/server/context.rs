//! Handles to the server's parts. The context decides nothing: each part owns its state in its own
//! file.

use std::sync::Arc;

use super::access::Access;
use super::accounts::Accounts;
use super::accounts::directory::Directory;
use super::accounts::key_history::KeyHistory;
use super::admission::Admission;
use super::clock_guard::ClockGuard;
use super::decisions::Decisions;
use super::files::Files;
use super::hub::Hub;
use super::ledger_jobs::LedgerJobs;
use super::overrides::Overrides;
use super::passwords::Passwords;
use super::readers::Readers;
use super::records::Records;
use super::session_tickets::SessionTickets;
use super::stop::Stop;
use crate::config::Config;
use crate::home::{Decided, Home, ServerKeys};
use crate::sync::Snapshot;

/// The parts that sessions, operators and periodic jobs use.
pub struct Context {
    /// The current configuration.
    pub config: Arc<Snapshot<Config>>,
    pub home: Home,
    pub overrides: Overrides,
    pub hub: Arc<Hub>,
    /// The ledger's reading threads.
    pub readers: Arc<Readers>,
    pub ledger: LedgerJobs,
    /// Encrypted files; absent where nothing is stored.
    pub files: Option<Arc<Files>>,
    /// Registered users.
    pub accounts: Accounts,
    pub directory: Arc<Directory>,
    pub key_history: Arc<KeyHistory>,
    /// The server's own keys.
    pub host_keys: Arc<Snapshot<ServerKeys>>,
    /// What operators decided at runtime.
    pub decided: Arc<Decided>,
    /// Writes these decisions.
    pub decisions: Arc<Decisions>,
    pub access: Arc<Access>,
    pub passwords: Arc<Passwords>,
    /// Tickets for logins without RSA operations.
    pub session_tickets: Arc<SessionTickets>,
    pub admission: Arc<Admission>,
    /// The audit trail and the key history.
    pub records: Arc<Records>,
    /// Decides whether the clock is trusted for removals by age.
    pub clock: ClockGuard,
    pub stop: Arc<Stop>,
}
