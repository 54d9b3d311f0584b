//! The status line: the connection, a word that stays for a while, and what is left for the terminal
//! after the end.

use crate::client::model::{Origin, State};

/// A word in the status line stays so long.
const FLASH_MS: i64 = 10_000;
/// A second Ctrl-C within this time leaves.
const LEAVING_MS: i64 = 3_000;

/// The connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    Connecting,
    Up,
    Off {
        retry_at_ms: i64,
    },
    /// The operator has not admitted the key yet.
    Waiting {
        retry_at_ms: i64,
    },
    Refused,
}

pub struct Status {
    link: Link,
    latency_ms: Option<u64>,
    /// A word, and until when it stays.
    flash: Option<(String, i64)>,
    /// Messages that were missed, while they are counted.
    missed: Option<usize>,
    /// Until when a second Ctrl-C leaves.
    leaving_until_ms: i64,
    /// The last error, for the terminal that is left behind.
    parting: Option<(Origin, String)>,
}

impl Status {
    pub fn new() -> Status {
        Status {
            link: Link::Connecting,
            latency_ms: None,
            flash: None,
            missed: None,
            leaving_until_ms: 0,
            parting: None,
        }
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    pub fn latency_ms(&self) -> Option<u64> {
        self.latency_ms
    }

    pub fn missed(&self) -> Option<usize> {
        self.missed
    }

    pub fn word(&self) -> Option<&str> {
        self.flash.as_ref().map(|(word, _)| word.as_str())
    }

    pub fn connection(&mut self, state: &State, now_ms: i64) {
        self.link = match state {
            // It is tried again and again: the countdown says so.
            State::Connecting if matches!(self.link, Link::Waiting { .. }) => self.link.clone(),
            State::Connecting => Link::Connecting,
            State::Connected { .. } => {
                self.parting = None;
                Link::Up
            }
            State::Offline { retry_ms } => Link::Off { retry_at_ms: now_ms + *retry_ms as i64 },
            State::NotAdmitted { retry_ms } => {
                Link::Waiting { retry_at_ms: now_ms + *retry_ms as i64 }
            }
            State::Refused { code } => {
                let why = format!("refused: {code:?}").to_lowercase();
                self.parting.get_or_insert((Origin::Client, why));
                Link::Refused
            }
        };
        if !self.is_up() {
            self.latency_ms = None;
        }
    }

    pub fn answered_within(&mut self, ms: u64) {
        self.latency_ms = Some(ms);
    }

    /// The connection is there again: what was missed is counted.
    pub fn is_back(&mut self, now_ms: i64) {
        self.missed = Some(0);
        self.flash(String::new(), now_ms);
    }

    /// A message arrived that was sent while there was no connection.
    pub fn misses_one(&mut self) {
        if let Some(missed) = &mut self.missed {
            *missed += 1;
        }
    }

    pub fn flash(&mut self, text: String, now_ms: i64) {
        self.flash = Some((text, now_ms + FLASH_MS));
    }

    pub fn clear(&mut self) {
        (self.flash, self.missed) = (None, None);
    }

    /// Time has passed.
    pub fn pass(&mut self, now_ms: i64) {
        if self.flash.as_ref().is_some_and(|(_, until)| *until <= now_ms) {
            self.clear();
        }
    }

    /// When something in the line changes by itself, in milliseconds from now.
    pub fn next_change_ms(&self, now_ms: i64) -> Option<u64> {
        let counts = match self.link {
            Link::Off { retry_at_ms } | Link::Waiting { retry_at_ms } => {
                let left = retry_at_ms - now_ms;
                (left > 0).then(|| left.rem_euclid(1_000) as u64 + 1)
            }
            _ => None,
        };
        let flash = self.flash.as_ref().map(|(_, until)| (until - now_ms).max(0) as u64);
        [counts, flash].into_iter().flatten().min()
    }

    /// Ctrl-C; whether it is the second one, which leaves.
    pub fn leaves(&mut self, now_ms: i64) -> bool {
        let leaves = now_ms < self.leaving_until_ms;
        if !leaves {
            self.leaving_until_ms = now_ms + LEAVING_MS;
            self.flash = Some(("Ctrl-C again leaves".into(), self.leaving_until_ms));
        }
        leaves
    }

    /// The error that is shown after the end, unless another one follows.
    pub fn fails(&mut self, origin: Origin, text: String) {
        self.parting = Some((origin, text));
    }

    pub fn take_parting(&mut self) -> Option<(Origin, String)> {
        self.parting.take()
    }
}
