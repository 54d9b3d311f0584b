//! Adapts the size of the parts of a long job, so that each part takes about the same time on any
//! disk and processor.

use std::time::{Duration, Instant};

/// If a part takes longer, the next part has half its size ...
const LONG: Duration = Duration::from_millis(12);
/// ... and if it takes less, twice its size.
const SHORT: Duration = Duration::from_millis(5);

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
    pub fn done(&mut self, began: Instant) {
        self.progressed = true;
        let took = began.elapsed();
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
        (0..9).for_each(|_| pace.done(Instant::now()));
        assert_eq!(pace.size(), 100);
        let long_ago = Instant::now().checked_sub(LONG * 2).unwrap();
        pace.done(long_ago);
        assert_eq!(pace.size(), 50);
        let mut full = pace;
        assert!(full.fall_back() && full.size() == 16);
        assert!(full.fall_back() && !full.fall_back(), "once after a part that found room");
        (0..9).for_each(|_| pace.done(long_ago));
        assert_eq!(pace.size(), 16);
    }
}
