//! What the client has asked the server to replay on this connection. Pure.

use std::collections::HashMap;

use crate::chat::{ConversationInfo, Position, Seq, SyncPoint, Target};

/// From where the replay of each conversation begins; `None` for one without a position.
#[derive(Default)]
pub struct ReplayRequests {
    after: HashMap<Target, Option<SyncPoint>>,
    /// `resume` was sent: it is about all private conversations.
    resumes: bool,
}

impl ReplayRequests {
    /// Records a `resume`.
    pub fn resume(&mut self, positions: &[Position]) {
        self.resumes = true;
        self.after.extend(positions.iter().map(|one| (one.to.clone(), Some(one.point))));
    }

    /// Records a `join`.
    pub fn join(&mut self, conversation: Target, after: Option<SyncPoint>) {
        self.after.insert(conversation, after);
    }

    /// Takes the server's log of a conversation. Where that is another one, or lacks messages that
    /// were here, the conversation is read again.
    pub fn check_log(&mut self, info: &ConversationInfo) {
        if let Some(after) = self.after.get_mut(&info.to) {
            after.take_if(|point| point.epoch != info.epoch || point.seq > info.last);
        }
    }

    /// Returns whether the client has asked for this message, if it has asked for any position.
    pub fn admits(&self, conversation: &Target, seq: Seq) -> bool {
        let after = self.after.get(conversation).copied().flatten();
        after.is_none_or(|point| seq > point.seq)
    }

    /// Returns whether the client has asked for the conversation without a position.
    pub fn is_from_start(&self, conversation: &Target) -> bool {
        match self.after.get(conversation) {
            Some(after) => after.is_none(),
            None => self.resumes && matches!(conversation, Target::User(_)),
        }
    }

    /// Forgets the requests of the previous connection.
    pub fn lost(&mut self) {
        *self = ReplayRequests::default();
    }
}
