//! What waits for the ledger.

use std::sync::Arc;

use crate::ledger::{Record, SentMessage, SplitLedger};
use crate::server::delivery::send_queue::SendQueue;

/// A job for the ledger's owner between two commits.
pub type Job = Box<dyn FnOnce(&mut SplitLedger) + Send>;

/// An entry of the ledger's queue.
pub enum Waiting {
    Message(QueuedMessage),
    /// A fact beside messages.
    Record(Record),
    /// A job; everything queued before is written first.
    Job(Job),
}

/// A message on its way through the ledger.
pub struct QueuedMessage {
    pub sent: Arc<SentMessage>,
    /// The fields for members, from `stored_fields`.
    pub fields: Vec<u8>,
    pub queue: Arc<SendQueue>,
}

/// Records and jobs for the ledger, in order.
pub(super) struct WaitingList {
    entries: Vec<Waiting>,
    entries_max: usize,
    /// Nothing more is accepted for the ledger.
    closed: bool,
    /// The commit thread has ended: nobody does what waits for the ledger.
    abandoned: bool,
    /// Whether the commit thread sleeps and has to be woken.
    commit_thread_sleeps: bool,
}

impl WaitingList {
    pub fn new(entries_max: usize) -> WaitingList {
        WaitingList {
            entries: Vec::new(),
            entries_max,
            closed: false,
            abandoned: false,
            commit_thread_sleeps: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether requests that add something have to wait.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.entries_max && !self.drops_jobs()
    }

    /// Whether nothing more is accepted.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the commit thread does nothing more.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    fn drops_jobs(&self) -> bool {
        self.closed || self.abandoned
    }

    pub fn push(&mut self, entry: Waiting) {
        self.entries.push(entry);
    }

    /// Adds a job, unless nobody would do it.
    pub fn push_job(&mut self, job: Job) {
        if !self.drops_jobs() {
            self.entries.push(Waiting::Job(job));
        }
    }

    /// Stops accepting work; queued records are still written.
    pub fn close(&mut self) {
        self.closed = true;
        self.drop_jobs();
    }

    /// The commit thread has ended: jobs are dropped, so that nobody waits for their results.
    pub fn abandon(&mut self) {
        self.abandoned = true;
        self.drop_jobs();
    }

    fn drop_jobs(&mut self) {
        self.entries.retain(|one| !matches!(one, Waiting::Job(_)));
    }

    /// Swaps all entries into `empty`, which keeps its capacity.
    pub fn take(&mut self, empty: &mut Vec<Waiting>) {
        std::mem::swap(&mut self.entries, empty);
    }

    /// The commit thread goes to sleep, or is awake again.
    pub fn set_asleep(&mut self, sleeps: bool) {
        self.commit_thread_sleeps = sleeps;
    }

    /// Returns whether the commit thread sleeps and has work. The caller then wakes it.
    pub fn takes_wakeup(&mut self) -> bool {
        let has_work = !self.entries.is_empty() || self.closed;
        has_work && std::mem::take(&mut self.commit_thread_sleeps)
    }
}
