//! Records beside the chat: the audit trail and the key history. One thread writes them, so that
//! ending a session never waits for the disk or for another process that locks the trail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::Backlog;
use super::observe::log as server_log;
use crate::chat::Retention;
use crate::config::{Config, IpRange};
use crate::home::{Audit, AuditEntry, Decision};
use crate::sync::Snapshot;

/// Access to the records thread.
pub struct Records {
    backlog: Arc<Backlog<Record>>,
    config: Arc<Snapshot<Config>>,
}

enum Record {
    Decision(AuditEntry),
    /// Writes a whole file.
    Save(Box<dyn FnOnce() + Send>),
    /// Removes entries of the audit trail before this time, in milliseconds since 1970.
    Expire(i64),
}

impl Records {
    /// Starts the thread.
    ///
    /// Fails if the operating system starts no thread.
    pub fn start(audit: Audit, config: Arc<Snapshot<Config>>) -> anyhow::Result<Records> {
        let backlog = Arc::new(Backlog::new());
        let own = Arc::clone(&backlog);
        super::stop::spawn("records", move || own.run(|batch| write(&audit, batch)))?;
        Ok(Records { backlog, config })
    }

    /// Logs a decision and adds it with the current time to the audit trail.
    pub fn record(&self, decision: &Decision) {
        let Decision { actor, action, target, reason, .. } = decision;
        let logged = match target.parse::<IpRange>() {
            Ok(range) => server_log::address(range),
            // Without the tag of the channel: with it, a reader of the log could guess PINs.
            Err(_) if target.starts_with('#') => {
                target.split('~').next().unwrap_or_default().to_owned()
            }
            Err(_) => (*target).to_owned(),
        };
        let said = format!("{actor}: {action} {logged} {}", reason.unwrap_or_default());
        log::info!("{}", said.trim_end());
        if self.config.get().audit != Retention::Off {
            self.add(Record::Decision(AuditEntry::now(decision)));
        }
    }

    pub fn save(&self, write: impl FnOnce() + Send + 'static) {
        self.add(Record::Save(Box::new(write)));
    }

    /// Removes audit entries that are too old.
    pub fn expire(&self, now_ms: i64) {
        if let Retention::For(span) = self.config.get().audit {
            self.add(Record::Expire(now_ms - span.as_ms()));
        }
    }

    /// Returns how many records were ever added.
    pub fn added(&self) -> u64 {
        self.backlog.added()
    }

    /// Waits until all earlier records are written. Returns how many are left after `patience`.
    pub fn settle(&self, patience: Duration) -> u64 {
        self.backlog.settle(patience)
    }

    /// Whether the thread makes progress.
    pub fn are_current(&self) -> bool {
        self.backlog.is_current()
    }

    /// Further decisions are only logged where too many wait.
    fn add(&self, record: Record) {
        if !self.backlog.add(record) {
            log::error!("a record is dropped: too many are waiting for the disk");
        }
    }
}

/// Writes records in order; adjacent decisions share a sync.
fn write(audit: &Audit, batch: VecDeque<Record>) {
    let mut entries = Vec::new();
    for record in batch {
        match record {
            Record::Decision(entry) => entries.push(entry),
            Record::Save(write) => write(),
            Record::Expire(before_ms) => {
                add(audit, &mut entries);
                match audit.expire(before_ms) {
                    Ok(0) => {}
                    Ok(lines) => log::info!("removed {lines} expired entries of the audit trail"),
                    Err(error) => {
                        log::error!("cannot remove old entries of the audit trail: {error}")
                    }
                }
            }
        }
    }
    add(audit, &mut entries);
}

fn add(audit: &Audit, entries: &mut Vec<AuditEntry>) {
    let entries = std::mem::take(entries);
    if let Err(error) = audit.add_all(&entries) {
        log::error!("{} decisions are missing in the audit trail: {error}", entries.len());
    }
}
