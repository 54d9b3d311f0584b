//! What waits for the ledger.

use std::sync::Arc;

use crate::ledger::{Draft, Record, SplitLedger};
use crate::server::delivery::send_queue::SendQueue;

/// Something for the ledger's owner to do between two commits.
pub type Job = Box<dyn FnOnce(&mut SplitLedger) + Send>;

/// What waits for the ledger.
pub enum Waiting {
    Line(Line),
    /// Something that is remembered beside lines.
    Record(Record),
    /// Something else, for which all that was decided before is written first.
    Job(Job),
}

/// A line on its way through the ledger.
pub struct Line {
    pub draft: Arc<Draft>,
    /// What its conversation's members will get: what `stored_fields` made of it.
    pub fields: Vec<u8>,
    pub queue: Arc<SendQueue>,
}
