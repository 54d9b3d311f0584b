//! What the ledger has stored comes back from here, apart from the outcomes of commits: those
//! answer senders, and the feed fills the tails. So a message is delivered in one way, whoever has
//! committed it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Draft;
use crate::chat::Seq;

/// A message that is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    pub seq: Seq,
    pub draft: Arc<Draft>,
    /// How its session has encoded it for its readers; none where it was not committed here.
    pub fields: Option<Vec<u8>>,
}

/// Stored messages, own and others' alike, those of a conversation in the order of their seqs.
pub trait Feed {
    /// The next message; none where no more has come yet.
    fn next(&mut self) -> Option<StoredMessage>;
}

/// The feed of a ledger that nobody else writes to: its own commits are all there is.
#[derive(Default)]
pub struct OwnFeed(VecDeque<StoredMessage>);

impl OwnFeed {
    /// A message was committed.
    pub fn push(&mut self, stored: StoredMessage) {
        self.0.push_back(stored);
    }
}

impl Feed for OwnFeed {
    fn next(&mut self) -> Option<StoredMessage> {
        self.0.pop_front()
    }
}
