//! Counters of the server for metrics: numbers only, never names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::chat::Code;
use crate::sync::{Mutex, Rank};

/// Upper bounds of the commit histogram's buckets, in seconds.
pub const COMMIT_BOUNDS_S: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// Counters since the start.
pub struct Counters {
    /// Writes of messages and notices that a session's socket accepted at once.
    deliveries: AtomicU64,
    commits: Mutex<Commits>,
    /// Refused requests and logins by code.
    refusals: Mutex<BTreeMap<Code, u64>>,
    /// Whether the last commit failed.
    failing: AtomicBool,
    /// Commits, and jobs of the commit thread.
    turns: AtomicU64,
    /// Messages that were stored, in memory or on disk.
    stored: AtomicU64,
}

/// The durations of commits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commits {
    pub count: u64,
    pub sum_s: f64,
    /// For each bound, how many commits took no longer.
    pub within: [u64; COMMIT_BOUNDS_S.len()],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            deliveries: AtomicU64::new(0),
            commits: Mutex::new(Rank::Commits, Commits::default()),
            refusals: Mutex::new(Rank::Refusals, BTreeMap::new()),
            failing: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            stored: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub fn delivered(&self, count: u64) {
        self.deliveries.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a commit. After a failure, storage counts as working only once a message was stored,
    /// because small records may still fit on a full disk.
    pub fn committed(&self, took: Duration, failed: bool, has_message: bool) {
        if failed || has_message {
            self.failing.store(failed, Ordering::Relaxed);
        }
        let took_s = took.as_secs_f64();
        let mut commits = self.commits.lock();
        commits.count += 1;
        commits.sum_s += took_s;
        for (within, bound) in commits.within.iter_mut().zip(COMMIT_BOUNDS_S) {
            *within += u64::from(took_s <= bound);
        }
    }

    /// Counts work of the commit thread.
    pub fn took_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages of a commit.
    pub fn stored_some(&self, count: u64) {
        self.stored.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the number of messages stored since the start.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub fn refused(&self, code: Code) {
        let mut refusals = self.refusals.lock();
        *refusals.entry(code).or_default() += 1;
    }

    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    pub fn commits(&self) -> Commits {
        *self.commits.lock()
    }

    pub fn refusals(&self) -> BTreeMap<Code, u64> {
        self.refusals.lock().clone()
    }

    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_works_again_once_a_message_is_stored() {
        let counters = Counters::default();
        let commit = |failed, has_message| {
            counters.committed(Duration::from_millis(1), failed, has_message);
            counters.is_failing()
        };
        assert!(!commit(false, true));
        assert!(commit(true, true) && commit(false, false), "a small record still fits");
        assert!(!commit(false, true));
        assert!(commit(true, false) && counters.commits().count == 5);
    }
}
