//! The limits of password authentication: failed attempts, open prompts, concurrent hashes.

pub mod prompts;
pub mod throttle;
pub mod throttle_key;
pub mod tickets;

use std::sync::Arc;
use std::time::Instant;

use crate::chat::rate::Stamp;
use crate::server::admission::semaphore::Semaphore;
use crate::server::delivery::send_queue::SendQueue;
use crate::server::hub::Hub;
use crate::sync::{Mutex, Rank};
use prompts::{Prompt, Prompts, Slot, Wait};
use throttle::{Guess, PasswordThrottle};
use tickets::Tickets;

/// Concurrent hashes of passwords, 19 MiB each, and how many may wait.
const HASHES_AT_ONCE: usize = 2;
const HASHES_WAITING_MAX: usize = 64;

/// A slot, and the connection that was closed for it.
pub type Opened<'a> = (Slot<'a, Arc<SendQueue>>, Option<Arc<SendQueue>>);

/// The limits of password authentication.
pub struct Passwords {
    /// The clock of the limits.
    hub: Arc<Hub>,
    throttle: Mutex<PasswordThrottle>,
    /// Connections that wait for a password.
    prompts: Prompts<Arc<SendQueue>>,
    hashing: Semaphore,
    pub tickets: Mutex<Tickets>,
}

impl Passwords {
    pub fn new(hub: Arc<Hub>, tickets: Tickets) -> Passwords {
        Passwords {
            hub,
            throttle: Mutex::new(Rank::PasswordThrottle, PasswordThrottle::default()),
            prompts: Prompts::default(),
            hashing: Semaphore::new(HASHES_AT_ONCE, HASHES_WAITING_MAX),
            tickets: Mutex::new(Rank::Tickets, tickets),
        }
    }

    /// Opens a slot among the password prompts, and returns the connection that was closed for it.
    ///
    /// # Errors
    ///
    /// Returns the time in milliseconds for which too many prompts are open.
    pub fn open(&self, prompt: Prompt<Arc<SendQueue>>, max: usize) -> Result<Opened<'_>, u64> {
        self.prompts.open(prompt, max).map_err(|Wait(ms)| ms)
    }

    /// Returns how long an attempt has to wait, in milliseconds.
    pub fn guess_wait_ms(&self, guess: &Guess) -> u64 {
        self.throttle.lock().wait_ms(guess, self.hub.now())
    }

    /// Checks a password; `None` if the attempt has to wait.
    pub fn guess(&self, guess: &Guess, fits: impl FnOnce() -> bool) -> Option<bool> {
        try_one(&self.throttle, guess, || self.hub.now(), fits)
    }

    /// Runs a hash with bounded concurrency; `None` if no permit is free before the deadline.
    pub fn hash<T>(&self, deadline: Instant, hash: impl FnOnce() -> T) -> Option<T> {
        let _permit = self.hashing.take(deadline, Some(self.hashing.waiting_max()))?;
        Some(hash())
    }
}

/// Checks a password; `None` if the attempt has to wait. The throttle counts the attempt before the
/// hash is computed, so that simultaneous attempts get no more checks than sequential ones.
fn try_one(
    throttle: &Mutex<PasswordThrottle>,
    guess: &Guess,
    now: impl Fn() -> Stamp,
    fits: impl FnOnce() -> bool,
) -> Option<bool> {
    let turn = throttle.lock().take(guess, now())?;
    let fits = fits();
    if fits {
        throttle.lock().right(guess, turn, now());
    }
    Some(fits)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Barrier;
    use std::thread;

    use super::throttle_key::ThrottleKey;
    use super::*;
    use crate::chat::Ticket;
    use crate::crypto::ticket::Digest;

    const THREADS: u8 = 32;

    /// Counts how many of many simultaneous attempts are checked, each from the source that `last`
    /// returns.
    fn looked_at(throttle: &Mutex<PasswordThrottle>, now: Stamp, last: fn(u8) -> u8) -> usize {
        let bob = "bob".parse().unwrap();
        // No attempt is decided before all have been checked or delayed.
        let all = Barrier::new(THREADS.into());
        let tries = |number: u8| {
            let counted_by = ThrottleKey::Source(IpAddr::from([192, 0, 2, last(number)]).into());
            let password = Digest::of(&Ticket::new([0; 32]));
            let guess = Guess { user: &bob, counted_by, password, known: false };
            let decided = || {
                all.wait();
                false
            };
            let looked = try_one(throttle, &guess, || now, decided).is_some();
            if !looked {
                all.wait();
            }
            looked
        };
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..THREADS).map(|number| scope.spawn(move || tries(number))).collect();
            threads.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
        })
    }

    #[test]
    fn simultaneous_guesses_get_no_more_checks_than_sequential_ones() {
        let throttle = Mutex::new(Rank::PasswordThrottle, PasswordThrottle::default());
        assert_eq!(looked_at(&throttle, Stamp(0), |_| 1), 1, "from one source");
        assert_eq!(looked_at(&throttle, Stamp(999), |_| 1), 0);
        assert_eq!(looked_at(&throttle, Stamp(1_000), |_| 1), 1);
        let throttle = Mutex::new(Rank::PasswordThrottle, PasswordThrottle::default());
        let each = |number| number;
        assert_eq!(
            looked_at(&throttle, Stamp(0), each),
            6,
            "five are free, the sixth makes others wait"
        );
        assert_eq!(looked_at(&throttle, Stamp(999), each), 0);
        assert_eq!(looked_at(&throttle, Stamp(60_000), each), 1);
    }
}
