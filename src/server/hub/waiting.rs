//! The entries of the ledger's queue.

use std::sync::Arc;

use crate::ledger::{Draft, Record, SplitLedger};
use crate::server::delivery::send_queue::SendQueue;

/// A job for the ledger's owner between two commits.
pub type Job = Box<dyn FnOnce(&mut SplitLedger) + Send>;

/// An entry of the ledger's queue.
pub enum Waiting {
    Line(Line),
    /// A fact beside messages.
    Record(Record),
    /// A job; everything queued before is written first.
    Job(Job),
}

/// A message on its way through the ledger.
pub struct Line {
    pub draft: Arc<Draft>,
    /// The fields for members, from `stored_fields`.
    pub fields: Vec<u8>,
    pub queue: Arc<SendQueue>,
}
