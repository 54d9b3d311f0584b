//! What waits for the ledger.

use std::ops::Range;
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

/// A message that waits for the ledger.
pub struct QueuedMessage {
    pub sent: SentMessage,
    /// Where [`Queued::fields`] has the message's fields for members.
    pub fields: Range<usize>,
    pub queue: Arc<SendQueue>,
}

/// A message that was passed to the ledger.
pub struct GivenMessage {
    pub sent: Arc<SentMessage>,
    pub queue: Arc<SendQueue>,
}

/// Capacity of the buffer of fields, in bytes, that is kept for the next entries.
const FIELDS_KEPT_BYTES: usize = 1 << 20;

/// Entries for the ledger, in order.
#[derive(Default)]
pub struct Queued {
    pub entries: Vec<Waiting>,
    /// The results of `stored_fields` of all messages among the entries, one after the other: a
    /// buffer for each message would be freed by another thread than its own.
    pub fields: Vec<u8>,
}

impl Queued {
    /// Empties it. It keeps its capacity, unless it was unusually large.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.fields.clear();
        if self.fields.capacity() > FIELDS_KEPT_BYTES {
            self.fields = Vec::new();
        }
    }
}

/// Records and jobs for the ledger, in order.
pub(super) struct WaitingList {
    queued: Queued,
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
            queued: Queued::default(),
            entries_max,
            closed: false,
            abandoned: false,
            commit_thread_sleeps: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queued.entries.is_empty()
    }

    /// Whether requests that add something have to wait.
    pub fn is_full(&self) -> bool {
        self.queued.entries.len() >= self.entries_max && !self.refuses_jobs()
    }

    /// Whether nothing more is accepted.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the commit thread does nothing more.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    fn refuses_jobs(&self) -> bool {
        self.closed || self.abandoned
    }

    pub fn push(&mut self, entry: Waiting) {
        self.queued.entries.push(entry);
    }

    /// Adds a message with its fields for members.
    pub fn push_message(&mut self, sent: SentMessage, fields: &[u8], queue: Arc<SendQueue>) {
        let from = self.queued.fields.len();
        self.queued.fields.extend_from_slice(fields);
        let fields = from..self.queued.fields.len();
        self.push(Waiting::Message(QueuedMessage { sent, fields, queue }));
    }

    /// Adds a job, unless nobody would do it.
    pub fn push_job(&mut self, job: Job) {
        if !self.refuses_jobs() {
            self.push(Waiting::Job(job));
        }
    }

    /// Stops accepting work. What is queued is still done: nobody repeats a job that stores a
    /// decision.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// The commit thread has ended: jobs are dropped, so that nobody waits for their results.
    pub fn abandon(&mut self) {
        self.abandoned = true;
        self.queued.entries.retain(|one| !matches!(one, Waiting::Job(_)));
    }

    /// Swaps all entries into `empty`, which keeps its capacity.
    pub fn take(&mut self, empty: &mut Queued) {
        std::mem::swap(&mut self.queued, empty);
    }

    /// The commit thread goes to sleep, or is awake again.
    pub fn set_asleep(&mut self, sleeps: bool) {
        self.commit_thread_sleeps = sleeps;
    }

    /// Returns whether the commit thread sleeps and has work. The caller then wakes it.
    pub fn takes_wakeup(&mut self) -> bool {
        let has_work = !self.is_empty() || self.closed;
        has_work && std::mem::take(&mut self.commit_thread_sleeps)
    }
}
