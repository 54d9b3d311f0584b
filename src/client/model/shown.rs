//! Ids of the messages that were shown.

use std::collections::VecDeque;

use crate::chat::MsgId;

/// Bound on remembered ids.
const SHOWN_MAX: usize = 4_096;

#[derive(Default)]
pub struct Shown(VecDeque<MsgId>);

impl Shown {
    pub fn contains(&self, id: MsgId) -> bool {
        self.0.contains(&id)
    }

    pub fn add(&mut self, id: MsgId) {
        self.0.push_back(id);
        if self.0.len() > SHOWN_MAX {
            self.0.pop_front();
        }
    }
}
