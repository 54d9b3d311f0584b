//! Server answers in parts: older messages, and search results.

use super::window::Line;
use crate::chat::Target;
use crate::client::model::Origin;
use crate::limits::ANSWER_MESSAGES_MAX;

/// Bound on listed search results.
const HITS_MAX: usize = 1_000;

/// A search result.
pub struct Hit {
    /// The server or the local index.
    pub by: Origin,
    pub to: Target,
    pub line: Line,
}

/// Older messages of a conversation that are still arriving.
struct Gathering {
    to: Target,
    lines: Vec<Line>,
}

#[derive(Default)]
pub struct Answers {
    gathering: Vec<Gathering>,
    hits: Vec<Hit>,
}

impl Answers {
    pub fn finds(&mut self, hit: Hit) {
        if self.hits.len() < HITS_MAX {
            self.hits.push(hit);
        }
    }

    /// The complete search results.
    pub fn take_hits(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    /// Adds an older message. An answer has a bounded count of them.
    pub fn gathers(&mut self, to: Target, line: Line) {
        match self.gathering.iter_mut().find(|one| one.to == to) {
            Some(one) if one.lines.len() >= ANSWER_MESSAGES_MAX => {}
            Some(one) => one.lines.push(line),
            None => self.gathering.push(Gathering { to, lines: vec![line] }),
        }
    }

    /// The complete older messages of a conversation.
    pub fn take_older(&mut self, to: &Target) -> Vec<Line> {
        match self.gathering.iter().position(|one| one.to == *to) {
            Some(index) => self.gathering.swap_remove(index).lines,
            None => Vec::new(),
        }
    }

    /// Drops incomplete answers when the connection is lost.
    pub fn lost(&mut self) {
        self.gathering.clear();
    }
}
