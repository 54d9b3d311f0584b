//! What password authentication is limited by: wrong guesses, open prompts, hashes at once.

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

/// Passwords that are hashed at once, 19 MiB each, and those that may wait for it.
const HASHES_AT_ONCE: usize = 2;
const HASHES_WAITING_MAX: usize = 64;

/// A slot, and the connection that it closes.
pub type Opened<'a> = (Slot<'a, Arc<SendQueue>>, Option<Arc<SendQueue>>);

/// The limits of password authentication.
pub struct Passwords {
    /// Its clock is the limits' one.
    hub: Arc<Hub>,
    guesses: Mutex<PasswordThrottle>,
    /// Connections that are asked for a password now.
    prompts: Prompts<Arc<SendQueue>>,
    hashing: Semaphore,
    pub tickets: Mutex<Tickets>,
}

impl Passwords {
    pub fn new(hub: Arc<Hub>, tickets: Tickets) -> Passwords {
        Passwords {
            hub,
            guesses: Mutex::new(Rank::PasswordThrottle, PasswordThrottle::default()),
            prompts: Prompts::default(),
            hashing: Semaphore::new(HASHES_AT_ONCE, HASHES_WAITING_MAX),
            tickets: Mutex::new(Rank::Tickets, tickets),
        }
    }

    /// A slot among the connections that are asked for a password, and the connection that it
    /// closes.
    ///
    /// # Errors
    /// Too many are, for so many milliseconds.
    pub fn open(&self, prompt: Prompt<Arc<SendQueue>>, max: usize) -> Result<Opened<'_>, u64> {
        self.prompts.open(prompt, max).map_err(|Wait(ms)| ms)
    }

    /// How long a guess of a password has to wait, in milliseconds.
    pub fn guess_wait_ms(&self, guess: &Guess) -> u64 {
        self.guesses.lock().wait_ms(guess, self.hub.now())
    }

    /// Whether a guess is right; none where it has to wait.
    pub fn guess(&self, guess: &Guess, fits: impl FnOnce() -> bool) -> Option<bool> {
        try_one(&self.guesses, guess, || self.hub.now(), fits)
    }

    /// Does something that takes a hash's memory and time; few at once. None where its turn does
    /// not come before the deadline.
    pub fn hash<T>(&self, deadline: Instant, hash: impl FnOnce() -> T) -> Option<T> {
        let _permit = self.hashing.take(deadline, Some(self.hashing.waiting_max()))?;
        Some(hash())
    }
}

/// Whether a guess is right; none where it has to wait. It has its turn before it is hashed, so
/// that of those that come at the same moment no more are looked at than of those that come one by
/// one.
fn try_one(
    guesses: &Mutex<PasswordThrottle>,
    guess: &Guess,
    now: impl Fn() -> Stamp,
    fits: impl FnOnce() -> bool,
) -> Option<bool> {
    let turn = guesses.lock().take(guess, now())?;
    let fits = fits();
    if fits {
        guesses.lock().right(guess, turn, now());
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

    const THREADS: u8 = 32;

    /// How many guesses are looked at of many that come at once, each from the source that `last`
    /// gives.
    fn looked_at(guesses: &Mutex<PasswordThrottle>, now: Stamp, last: fn(u8) -> u8) -> usize {
        let bob = "bob".parse().unwrap();
        // No guess is decided before each has been looked at, or told to wait.
        let all = Barrier::new(THREADS.into());
        let tries = |number: u8| {
            let counted_by = ThrottleKey::Source(IpAddr::from([192, 0, 2, last(number)]).into());
            let guess = Guess { user: &bob, counted_by, known: false };
            let decided = || {
                all.wait();
                false
            };
            let looked = try_one(guesses, &guess, || now, decided).is_some();
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
    fn guesses_at_the_same_moment_are_as_few_as_one_after_the_other() {
        let guesses = Mutex::new(Rank::PasswordThrottle, PasswordThrottle::default());
        assert_eq!(looked_at(&guesses, Stamp(0), |_| 1), 1, "of one source");
        assert_eq!(looked_at(&guesses, Stamp(999), |_| 1), 0);
        assert_eq!(looked_at(&guesses, Stamp(1_000), |_| 1), 1);
        let guesses = Mutex::new(Rank::PasswordThrottle, PasswordThrottle::default());
        let each = |number| number;
        assert_eq!(looked_at(&guesses, Stamp(0), each), 6, "five make nobody wait, the sixth does");
        assert_eq!(looked_at(&guesses, Stamp(999), each), 0);
        assert_eq!(looked_at(&guesses, Stamp(60_000), each), 1);
    }
}
