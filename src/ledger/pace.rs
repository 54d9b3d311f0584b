//! Adapts the size of the parts of a long job, so that each part takes about the same time on any
//! disk and processor, beside the time that the disk takes for any commit. A message that arrives
//! during a part waits for it and for its own commit: 12 ms and two commits.

use std::time::{Duration, Instant};

/// If a part takes longer than this and a commit, the next part has half its size ...
const LONG: Duration = Duration::from_millis(12);
/// ... and if it takes less than this and a commit, twice its size.
const SHORT: Duration = Duration::from_millis(5);
/// Parts get no more time for a commit. Two such commits and a part are 50 ms. On a slower disk
/// the parts shrink.
const COMMIT_MAX: Duration = Duration::from_millis(19);
/// A commit counts for one part in so many of the average.
const COMMITS: u32 = 8;

/// How long a commit of messages takes on this disk, on average over the last ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitTime(Duration);

impl CommitTime {
    pub fn add(&mut self, took: Duration) {
        self.0 = (self.0 * (COMMITS - 1) + took.min(2 * COMMIT_MAX)) / COMMITS;
    }
}

/// The size of a part, between bounds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    size: usize,
    least: usize,
    most: usize,
    /// Whether a part has finished since the last one that found no room.
    progressed: bool,
}

impl Pace {
    /// Starts with the least size.
    pub fn new(least: usize, most: usize) -> Pace {
        Pace { size: least, least, most, progressed: false }
    }

    pub fn size(self) -> usize {
        self.size
    }

    /// Falls back to the least size after a part that found no room on the disk. Returns whether
    /// another try makes sense: with a smaller part, or after others that found room.
    pub fn fall_back(&mut self) -> bool {
        let less = self.size > self.least;
        self.size = self.least;
        less || std::mem::take(&mut self.progressed)
    }

    /// Records a finished part of this size that began then.
    pub fn done(&mut self, began: Instant, commit: CommitTime) {
        self.progressed = true;
        let took = began.elapsed().saturating_sub(commit.0.min(COMMIT_MAX));
        if took > LONG {
            self.size = (self.size / 2).max(self.least);
        } else if took < SHORT {
            self.size = (self.size * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_while_they_are_short_and_shrink_while_they_are_long() {
        let mut pace = Pace::new(16, 100);
        let none = CommitTime::default();
        (0..9).for_each(|_| pace.done(Instant::now(), none));
        assert_eq!(pace.size(), 100);
        let long_ago = Instant::now().checked_sub(LONG * 2).unwrap();
        pace.done(long_ago, none);
        assert_eq!(pace.size(), 50);
        let mut full = pace;
        assert!(full.fall_back() && full.size() == 16);
        assert!(full.fall_back() && !full.fall_back(), "once after a part that found room");
        (0..9).for_each(|_| pace.done(long_ago, none));
        assert_eq!(pace.size(), 16);
    }

    #[test]
    fn a_slow_disk_shrinks_no_part_until_two_commits_and_a_part_take_too_long() {
        let mut commit = CommitTime::default();
        let after = |took: Duration, commit| {
            let mut pace = Pace::new(16, 64);
            pace.done(Instant::now().checked_sub(took).unwrap(), commit);
            pace.size()
        };
        let part = Duration::from_millis(19 + 2);
        assert_eq!(after(part + LONG, commit), 16);
        (0..100).for_each(|_| commit.add(Duration::from_millis(19)));
        assert_eq!(after(part, commit), 32, "a commit of 19 ms and 2 ms of work");
        // One slow commit is no slow disk.
        let mut once = CommitTime::default();
        once.add(Duration::from_secs(2));
        assert_eq!(after(part, once), 16);
        (0..100).for_each(|_| commit.add(Duration::from_secs(2)));
        let mut pace = Pace::new(16, 64);
        pace.done(Instant::now(), commit);
        let long_ago = Instant::now().checked_sub(COMMIT_MAX + 2 * LONG).unwrap();
        pace.done(long_ago, commit);
        assert_eq!(pace.size(), 16, "it gets no more than {COMMIT_MAX:?}");
    }
}
