//! The feed of stored messages. It is separate from the outcomes of commits: outcomes answer
//! senders, and the feed fills the tails. Every message is therefore delivered in one way,
//! independent of the process that committed it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::SentMessage;
use crate::chat::Seq;

/// A stored message.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage<'a> {
    pub seq: Seq,
    pub sent: Arc<SentMessage>,
    /// The encoding for readers that its session made; `None` if it was not committed here.
    pub fields: Option<&'a [u8]>,
}

/// Stored messages of this and other processes, in the order of seqs in each conversation.
pub trait Feed {
    /// Returns the next message; `None` if there is none yet.
    fn next(&mut self) -> Option<StoredMessage<'_>>;
}

/// The feed of a ledger without other writers: its own commits.
#[derive(Default)]
pub struct OwnFeed<'a>(VecDeque<StoredMessage<'a>>);

impl<'a> OwnFeed<'a> {
    /// Adds a committed message.
    pub fn push(&mut self, stored: StoredMessage<'a>) {
        self.0.push_back(stored);
    }
}

impl Feed for OwnFeed<'_> {
    fn next(&mut self) -> Option<StoredMessage<'_>> {
        self.0.pop_front()
    }
}
