//! Permits for the RSA operation: a few at once, a bounded queue, and a deadline.

use std::time::Instant;

use crate::sync::{Condvar, Mutex, Rank};

/// A counted lock around the dear part of the handshake.
pub struct Permits {
    state: Mutex<State>,
    freed: Condvar,
    waiting_max: usize,
}

struct State {
    free: usize,
    waiting: usize,
}

/// The right to one operation, given back when dropped.
pub struct Permit<'a>(&'a Permits);

impl Permits {
    pub fn new(permits: usize, waiting_max: usize) -> Self {
        let state = Mutex::new(Rank::Permits, State { free: permits, waiting: 0 });
        Permits { state, freed: Condvar::new(), waiting_max }
    }

    /// How many may wait.
    pub fn waiting_max(&self) -> usize {
        self.waiting_max
    }

    /// Waits for a permit until `deadline`. None when it passes, and at once when `ahead_max` others
    /// wait already.
    pub fn take(&self, deadline: Instant, ahead_max: usize) -> Option<Permit<'_>> {
        let mut state = self.state.lock();
        if state.free == 0 && state.waiting >= ahead_max {
            return None;
        }
        state.waiting += 1;
        while state.free == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.waiting -= 1;
                return None;
            }
            state = self.freed.wait_timeout(state, left);
        }
        state.waiting -= 1;
        state.free -= 1;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state.lock().free += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn permits_are_few_and_come_back() {
        let permits = Permits::new(1, 0);
        let past = Instant::now();
        let held = permits.take(past, 0).unwrap();
        assert!(
            permits.take(past + Duration::from_secs(60), permits.waiting_max()).is_none(),
            "no room to wait"
        );
        assert!(permits.take(past, usize::MAX).is_none(), "the deadline has passed");
        drop(held);
        assert!(permits.take(past, 0).is_some());
    }
}
