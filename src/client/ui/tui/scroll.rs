//! Reading state beside a window's position: Ctrl-F, and the last mention.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::Act;
use super::window::At;
use crate::chat::Seq;

/// Ctrl-F: the search text and the last hit.
pub struct Finder {
    pub query: String,
    pub found: Option<i64>,
    pub exhausted: bool,
    /// The position before the search.
    from: At,
}

/// What a key does to the search.
pub enum Step {
    /// The key is not for the search.
    Other,
    Nothing,
    /// The text has changed: the search starts again.
    Restart,
    /// To the next hit, above or below.
    Next {
        up: bool,
    },
    /// The search is closed: back to the position before.
    Back(At),
}

/// Reading state beside the window's position.
#[derive(Default)]
pub struct Scroll {
    finder: Option<Finder>,
    /// The last mention that was jumped to, until the view moves otherwise.
    marked: Option<i64>,
    /// The message that is chosen. Numbers of lines move, and its seq stays.
    chosen: Option<Seq>,
}

impl Scroll {
    /// Resets the state for another window.
    pub fn reset(&mut self) {
        *self = Scroll::default();
    }

    pub fn finder(&self) -> Option<&Finder> {
        self.finder.as_ref()
    }

    /// The chosen message, which may be gone.
    pub fn chosen(&self) -> Option<Seq> {
        self.chosen
    }

    pub fn choose(&mut self, message: Option<Seq>) {
        self.chosen = message;
    }

    pub fn is_finding(&self) -> bool {
        self.finder.is_some()
    }

    /// The search text of Ctrl-F.
    pub fn query(&self) -> &str {
        self.finder.as_ref().map_or("", |finder| &finder.query)
    }

    /// Extends the search text. Returns whether a search is open.
    pub fn paste(&mut self, text: &str) -> bool {
        self.finder.iter_mut().for_each(|finder| finder.query.push_str(text));
        self.is_finding()
    }

    /// The last mention that was jumped to.
    pub fn marked(&self) -> Option<i64> {
        self.marked
    }

    /// Forgets the last mention, because the view has moved otherwise.
    pub fn unmark(&mut self) {
        self.marked = None;
    }

    /// Records the mention that was jumped to.
    pub fn mark(&mut self, number: i64) {
        self.marked = Some(number);
    }

    /// Opens a search that began at a position.
    pub fn begin(&mut self, from: At) {
        self.finder = Some(Finder { query: String::new(), found: None, exhausted: false, from });
    }

    /// Handles a key of an open search.
    pub fn key(&mut self, key: &KeyEvent, act: Option<Act>) -> Step {
        let Some(finder) = &mut self.finder else { return Step::Other };
        match act {
            None => {
                let held = KeyModifiers::CONTROL | KeyModifiers::ALT;
                let (KeyCode::Char(c), false) = (key.code, key.modifiers.intersects(held)) else {
                    return Step::Nothing;
                };
                finder.query.push(c);
                Step::Restart
            }
            Some(Act::Erase) => {
                finder.query.pop();
                Step::Restart
            }
            Some(Act::Send | Act::Older | Act::Search) => Step::Next { up: true },
            Some(Act::Newer) => Step::Next { up: false },
            Some(Act::Close | Act::Interrupt) => self.close().map_or(Step::Nothing, Step::Back),
            Some(Act::PageUp | Act::PageDown | Act::Redraw) => Step::Other,
            Some(_) => {
                self.finder = None;
                Step::Other
            }
        }
    }

    /// Forgets the hits. Returns the position before the search.
    pub fn restart(&mut self) -> Option<At> {
        let finder = self.finder.as_mut()?;
        (finder.found, finder.exhausted) = (None, false);
        Some(finder.from)
    }

    /// Records a hit.
    pub fn found(&mut self, number: i64) {
        if let Some(finder) = &mut self.finder {
            (finder.found, finder.exhausted) = (Some(number), false);
        }
    }

    /// Records that there is no further hit, above or below.
    pub fn exhaust(&mut self, up: bool) {
        if let Some(finder) = &mut self.finder {
            finder.exhausted = up;
        }
    }

    /// Closes the search. Returns the position before it.
    pub fn close(&mut self) -> Option<At> {
        self.finder.take().map(|finder| finder.from)
    }
}
