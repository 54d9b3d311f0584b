//! What password authentication is limited by: wrong guesses, open prompts, hashes at once.

use std::sync::Arc;
use std::time::Instant;

use super::delivery::send_queue::SendQueue;
use super::door::permits::Permits;
use super::guesses::{Guess, Guesses};
use super::hub::Hub;
use super::prompts::{Place, Prompt, Prompts, Wait};
use crate::sync::{Mutex, Rank};

/// Passwords that are hashed at once, 19 MiB each, and those that may wait for it.
const HASHES_AT_ONCE: usize = 2;
const HASHES_WAITING_MAX: usize = 64;

/// A place, and the connection that it closes.
pub type Opened<'a> = (Place<'a, Arc<SendQueue>>, Option<Arc<SendQueue>>);

/// The limits of password authentication.
pub struct Passwords {
    /// Its clock is the limits' one.
    hub: Arc<Hub>,
    guesses: Mutex<Guesses>,
    /// Connections that are asked for a password now.
    prompts: Prompts<Arc<SendQueue>>,
    hashing: Permits,
}

impl Passwords {
    pub fn new(hub: Arc<Hub>) -> Passwords {
        Passwords {
            hub,
            guesses: Mutex::new(Rank::Guesses, Guesses::default()),
            prompts: Prompts::default(),
            hashing: Permits::new(HASHES_AT_ONCE, HASHES_WAITING_MAX),
        }
    }

    /// A place among the connections that are asked for a password, and the connection that it closes.
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

    /// What came of a guess.
    pub fn guessed(&self, guess: &Guess, fits: bool) {
        let note = if fits { Guesses::right } else { Guesses::wrong };
        note(&mut self.guesses.lock(), guess, self.hub.now());
    }

    /// Does something that takes a hash's memory and time; few at once. None where its turn does not
    /// come before the deadline.
    pub fn hash<T>(&self, deadline: Instant, hash: impl FnOnce() -> T) -> Option<T> {
        let _permit = self.hashing.take(deadline, self.hashing.waiting_max())?;
        Some(hash())
    }
}
