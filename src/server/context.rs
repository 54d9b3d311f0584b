//! Handles to the server's parts. It decides nothing: each part owns its state in a file of its own.

use std::sync::Arc;

use log::LevelFilter;

use super::access::Access;
use super::accounts::Accounts;
use super::accounts::directory::Directory;
use super::accounts::key_history::KeyHistory;
use super::admission::Admission;
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

/// What sessions, operators and periodic jobs are handed.
pub struct Context {
    /// The configuration that holds now.
    pub config: Arc<Snapshot<Config>>,
    pub home: Home,
    /// The command line's, which wins over the configuration's.
    pub log_level: Option<LevelFilter>,
    pub hub: Arc<Hub>,
    /// Who reads the ledger for sessions.
    pub readers: Arc<Readers>,
    pub ledger: LedgerJobs,
    /// Who is registered.
    pub accounts: Accounts,
    pub directory: Arc<Directory>,
    pub key_history: Arc<KeyHistory>,
    /// The server's own keys.
    pub host_keys: Arc<Snapshot<ServerKeys>>,
    /// What operators have decided while the server ran.
    pub decided: Arc<Decided>,
    pub access: Arc<Access>,
    pub passwords: Passwords,
    pub admission: Arc<Admission>,
    /// What is written down beside the chat.
    pub records: Arc<Records>,
    pub stop: Arc<Stop>,
}
