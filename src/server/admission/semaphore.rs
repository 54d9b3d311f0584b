//! A semaphore for RSA operations: few at once, a bounded queue, and a deadline.

use std::time::Instant;

use crate::sync::{Condvar, Mutex, Rank};

/// A counted lock around the most expensive part of the handshake.
pub struct Semaphore {
    state: Mutex<State>,
    freed: Condvar,
    waiting_max: usize,
}

struct State {
    free: usize,
    /// Waiting callers that count against the limit.
    waiting: usize,
}

/// The permit for one operation, released on drop.
pub struct Permit<'a>(&'a Semaphore);

impl Semaphore {
    pub fn new(permits: usize, waiting_max: usize) -> Self {
        let state = Mutex::new(Rank::Semaphore, State { free: permits, waiting: 0 });
        Semaphore { state, freed: Condvar::new(), waiting_max }
    }

    /// Returns how many callers may wait.
    pub fn waiting_max(&self) -> usize {
        self.waiting_max
    }

    /// Waits for a permit until `deadline`. Returns `None` when it passes, and at once if
    /// `ahead_max` callers wait already. Callers without `ahead_max` always wait and are not
    /// counted.
    pub fn take(&self, deadline: Instant, ahead_max: Option<usize>) -> Option<Permit<'_>> {
        let mut state = self.state.lock();
        if state.free == 0 && ahead_max.is_some_and(|max| state.waiting >= max) {
            return None;
        }
        let counted = usize::from(ahead_max.is_some());
        state.waiting += counted;
        let mut left = deadline.saturating_duration_since(Instant::now());
        while state.free == 0 && !left.is_zero() {
            state = self.freed.wait_timeout(state, left);
            left = deadline.saturating_duration_since(Instant::now());
        }
        state.waiting -= counted;
        state.free = state.free.checked_sub(1)?;
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
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn permits_are_limited_and_returned_on_drop() {
        let permits = Semaphore::new(1, 0);
        let past = Instant::now();
        let held = permits.take(past, Some(0)).unwrap();
        let later = past + Duration::from_secs(60);
        assert!(permits.take(later, Some(permits.waiting_max())).is_none(), "no room to wait");
        assert!(permits.take(past, None).is_none(), "the deadline has passed");
        drop(held);
        assert!(permits.take(past, Some(0)).is_some());
    }

    #[test]
    fn uncounted_callers_do_not_use_up_the_queue() {
        let permits = Semaphore::new(1, 1);
        let (held, later) =
            (permits.take(Instant::now(), None), Instant::now() + Duration::from_secs(60));
        thread::scope(|scope| {
            let known: Vec<_> =
                (0..8).map(|_| scope.spawn(|| permits.take(later, None).is_some())).collect();
            let unknown = scope.spawn(|| permits.take(later, Some(1)).is_some());
            while permits.state.lock().waiting == 0 && !unknown.is_finished() {
                thread::yield_now();
            }
            assert_eq!(permits.state.lock().waiting, 1);
            drop(held);
            assert!(unknown.join().unwrap() && known.into_iter().all(|one| one.join().unwrap()));
        });
    }
}
