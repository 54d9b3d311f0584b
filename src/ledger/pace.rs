//! Sizes the parts of a long job, so that each takes about as long on whatever disk and processor.

use std::time::{Duration, Instant};

/// A part that took longer is followed by one of half its size ...
const LONG: Duration = Duration::from_millis(12);
/// ... and one that took less by one of twice its size.
const SHORT: Duration = Duration::from_millis(5);

/// How much one part does, between bounds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    size: usize,
    least: usize,
    most: usize,
}

impl Pace {
    /// The first part has the least size.
    pub fn new(least: usize, most: usize) -> Pace {
        Pace { size: least, least, most }
    }

    pub fn size(self) -> usize {
        self.size
    }

    /// A part of this size began then, and is done.
    pub fn done(&mut self, began: Instant) {
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
        (0..9).for_each(|_| pace.done(long_ago));
        assert_eq!(pace.size(), 16);
    }
}
