//! The status line: connection, temporary notices, and the error that remains on the terminal after
//! the end.

use std::collections::BTreeMap;

use crate::client::model::{Origin, State};
use crate::client::transfer::{Progress, TransferId};
use crate::client::ui::transfers;

/// Duration of a temporary notice.
const FLASH_MS: i64 = 10_000;
/// Time within which a second Ctrl-C leaves.
const LEAVING_MS: i64 = 3_000;

/// The connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionState {
    Connecting,
    Up,
    /// Connected to a server that is silent since this time.
    Silent {
        since_ms: i64,
    },
    Off {
        retry_at_ms: i64,
    },
    /// The operator has not admitted the key yet.
    Waiting {
        retry_at_ms: i64,
    },
    Refused,
}

/// Messages that were sent while offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    pub loaded: usize,
    /// They can be loaded.
    pub omitted: usize,
}

pub struct Status {
    connection: ConnectionState,
    latency_ms: Option<u64>,
    /// A notice and its end.
    flash: Option<(String, i64)>,
    /// Missed messages, while they are counted.
    missed: Option<Missed>,
    /// End of the time in which a second Ctrl-C leaves.
    leaving_until_ms: i64,
    /// Messages that wait for a connection are only in memory.
    loses: bool,
    /// The last error, for the terminal after the end.
    parting: Option<(Origin, String)>,
    /// Files that are sent and fetched.
    transfers: BTreeMap<TransferId, String>,
}

impl Status {
    pub fn new() -> Status {
        Status {
            connection: ConnectionState::Connecting,
            latency_ms: None,
            flash: None,
            missed: None,
            leaving_until_ms: 0,
            loses: false,
            parting: None,
            transfers: BTreeMap::new(),
        }
    }

    pub fn connection(&self) -> &ConnectionState {
        &self.connection
    }

    pub fn is_up(&self) -> bool {
        matches!(self.connection, ConnectionState::Up | ConnectionState::Silent { .. })
    }

    pub fn latency_ms(&self) -> Option<u64> {
        self.latency_ms
    }

    pub fn missed(&self) -> Option<Missed> {
        self.missed
    }

    pub fn word(&self) -> Option<&str> {
        self.flash.as_ref().map(|(word, _)| word.as_str())
    }

    /// The first transfer, and how many there are beside it.
    pub fn transfer(&self) -> Option<String> {
        let first = self.transfers.values().next()?;
        Some(match self.transfers.len() {
            1 => first.clone(),
            all => format!("{first} and {} more", all - 1),
        })
    }

    /// Takes the state of a transfer.
    pub fn transfers(&mut self, progress: &Progress) {
        if progress.state.is_end() {
            self.transfers.remove(&progress.id);
        } else {
            let (bar, state) = (transfers::bar(progress, 10), transfers::state(progress));
            self.transfers
                .insert(progress.id, format!("{} {bar} {state}", transfers::name(progress)));
        }
    }

    pub fn set_connection(&mut self, state: &State, now_ms: i64) {
        self.connection = match state {
            // The countdown already shows repeated attempts.
            State::Connecting if matches!(self.connection, ConnectionState::Waiting { .. }) => {
                self.connection.clone()
            }
            State::Connecting => ConnectionState::Connecting,
            State::Connected { .. } => {
                self.parting = None;
                ConnectionState::Up
            }
            State::Silent { for_ms } => {
                ConnectionState::Silent { since_ms: now_ms.saturating_sub_unsigned(*for_ms) }
            }
            State::Offline { retry_ms } => {
                ConnectionState::Off { retry_at_ms: now_ms + *retry_ms as i64 }
            }
            State::NotAdmitted { retry_ms } => {
                ConnectionState::Waiting { retry_at_ms: now_ms + *retry_ms as i64 }
            }
            State::Refused { code } => {
                let why = format!("refused: {code:?}").to_lowercase();
                self.parting.get_or_insert((Origin::Client, why));
                ConnectionState::Refused
            }
        };
        if !self.is_up() {
            self.latency_ms = None;
        }
    }

    pub fn answered_within(&mut self, ms: u64) {
        self.latency_ms = Some(ms);
    }

    /// Records whether waiting messages are on disk.
    pub fn stores(&mut self, stored: bool) {
        self.loses = !stored;
    }

    pub fn loses(&self) -> bool {
        self.loses
    }

    /// Starts counting missed messages, because the connection is back.
    pub fn is_back(&mut self, now_ms: i64) {
        self.missed = Some(Missed::default());
        self.flash(String::new(), now_ms);
    }

    /// Counts a message that was sent while offline.
    pub fn misses_one(&mut self) {
        if let Some(missed) = &mut self.missed {
            missed.loaded += 1;
        }
    }

    /// Counts messages that were sent while offline and are not loaded.
    pub fn omits(&mut self, lines: usize) {
        if let Some(missed) = &mut self.missed {
            missed.omitted = missed.omitted.saturating_add(lines);
        }
    }

    pub fn flash(&mut self, text: String, now_ms: i64) {
        self.flash = Some((text, now_ms + FLASH_MS));
    }

    /// Removes the passing notice: it was about a line that is sent now. Missed messages stay.
    pub fn settle(&mut self) {
        if let Some((text, _)) = &mut self.flash {
            text.clear();
        }
    }

    pub fn clear(&mut self) {
        (self.flash, self.missed) = (None, None);
    }

    /// Advances the time.
    pub fn pass(&mut self, now_ms: i64) {
        if self.flash.as_ref().is_some_and(|(_, until)| *until <= now_ms) {
            self.clear();
        }
    }

    /// Time until the line changes by itself, in milliseconds.
    pub fn next_change_ms(&self, now_ms: i64) -> Option<u64> {
        let counts = match self.connection {
            ConnectionState::Off { retry_at_ms } | ConnectionState::Waiting { retry_at_ms } => {
                let left = retry_at_ms - now_ms;
                (left > 0).then(|| left.rem_euclid(1_000) as u64 + 1)
            }
            ConnectionState::Silent { since_ms } => {
                Some(1_000 - (now_ms - since_ms).rem_euclid(1_000) as u64)
            }
            _ => None,
        };
        let flash = self.flash.as_ref().map(|(_, until)| (until - now_ms).max(0) as u64);
        [counts, flash].into_iter().flatten().min()
    }

    /// Handles Ctrl-C. Returns whether it is the second one, which leaves.
    pub fn leaves(&mut self, now_ms: i64) -> bool {
        let leaves = now_ms < self.leaving_until_ms;
        if !leaves {
            self.leaving_until_ms = now_ms + LEAVING_MS;
            self.flash = Some(("Ctrl-C again leaves".into(), self.leaving_until_ms));
        }
        leaves
    }

    /// Sets the error to show after the end, unless another one follows.
    pub fn fails(&mut self, origin: Origin, text: String) {
        self.parting = Some((origin, text));
    }

    pub fn take_parting(&mut self) -> Option<(Origin, String)> {
        self.parting.take()
    }
}
