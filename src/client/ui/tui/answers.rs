//! Answers of the server that come in parts: older messages, and what a search has found.

use super::window::Line;
use crate::chat::Target;
use crate::client::model::Origin;

/// Hits of a search that are listed.
const HITS_MAX: usize = 1_000;

/// What a search has found.
pub struct Hit {
    /// Who has found it.
    pub by: Origin,
    pub to: Target,
    pub line: Line,
}

/// Older messages of a conversation that are on their way.
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

    /// What a search has found, at its end.
    pub fn take_hits(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    pub fn gathers(&mut self, to: Target, line: Line) {
        match self.gathering.iter_mut().find(|one| one.to == to) {
            Some(one) => one.lines.push(line),
            None => self.gathering.push(Gathering { to, lines: vec![line] }),
        }
    }

    /// The older messages of a conversation, at the end of their answer.
    pub fn take_older(&mut self, to: &Target) -> Vec<Line> {
        match self.gathering.iter().position(|one| one.to == *to) {
            Some(index) => self.gathering.swap_remove(index).lines,
            None => Vec::new(),
        }
    }

    /// The connection is lost, and no end of an answer will come.
    pub fn lost(&mut self) {
        self.gathering.clear();
    }
}
