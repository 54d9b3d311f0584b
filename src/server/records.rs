//! Records beside the chat: the audit trail and the key history. One thread writes them, so that
//! ending a session never waits for the disk or for another process that locks the trail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::observe::log as server_log;
use crate::chat::Retention;
use crate::config::{Config, IpRange};
use crate::home::{Audit, AuditEntry, Decision};
use crate::sync::{Condvar, Mutex, MutexGuard, Rank, Snapshot};

/// The most queued records. Further decisions are only logged and counted.
const WAITING_MAX: usize = 100_000;

/// A record that waits longer makes the server unhealthy.
const STALL: Duration = Duration::from_secs(5);

/// Access to the records thread.
pub struct Records {
    shared: Arc<Shared>,
    config: Arc<Snapshot<Config>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Record>,
    /// Records ever added.
    added: u64,
    /// Records ever written.
    done: u64,
    /// When the thread started to be busy without a pause.
    busy_since: Option<Instant>,
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
        let shared = Arc::new(Shared {
            queue: Mutex::new(Rank::Records, Queue::default()),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        super::stop::spawn("records", move || own.write_all(&audit))?;
        Ok(Records { shared, config })
    }

    /// Logs a decision and adds it with the current time to the audit trail.
    pub fn record(&self, decision: &Decision) {
        let Decision { actor, action, target, reason, .. } = decision;
        let logged = match target.parse::<IpRange>() {
            Ok(range) => server_log::address(range),
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
        self.shared.queue().added
    }

    /// Waits until all earlier records are written. Returns how many are left after `patience`.
    pub fn settle(&self, patience: Duration) -> u64 {
        let queue = self.shared.queue();
        let wanted = queue.added;
        let behind = |queue: &mut Queue| queue.done < wanted;
        let waited = self.shared.changed.wait_timeout_while(queue, patience, behind);
        wanted.saturating_sub(waited.done)
    }

    /// Whether the thread makes progress.
    pub fn are_current(&self) -> bool {
        self.shared.queue().busy_since.is_none_or(|since| since.elapsed() < STALL)
    }

    fn add(&self, record: Record) {
        let mut queue = self.shared.queue();
        if queue.waiting.len() >= WAITING_MAX {
            drop(queue);
            return log::error!("a record is dropped: {WAITING_MAX} are waiting for the disk");
        }
        queue.added += 1;
        queue.waiting.push_back(record);
        drop(queue);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    fn write_all(&self, audit: &Audit) {
        loop {
            let batch = self.next();
            let count = batch.len() as u64;
            write(audit, batch);
            let mut queue = self.queue();
            queue.done += count;
            // Each batch counts as progress.
            queue.busy_since = (!queue.waiting.is_empty()).then(Instant::now);
            drop(queue);
            self.changed.notify_all();
        }
    }

    /// Waits for records and takes all of them.
    fn next(&self) -> VecDeque<Record> {
        let queue = self.queue();
        let idle = |queue: &mut Queue| queue.waiting.is_empty();
        let waited = self.changed.wait_while(queue, idle);
        let mut queue = waited;
        queue.busy_since = Some(Instant::now());
        std::mem::take(&mut queue.waiting)
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
