//! The connections that are asked for a password: few of one key from one source, so that a thief of a key
//! who opens many keeps nobody out who comes from elsewhere.

use super::door::source::Source;
use crate::chat::UserName;
use crate::crypto::Fingerprint;
use crate::sync::{Mutex, MutexGuard, Rank};

/// All sources of a person that they have not logged in from lately have so many times the prompts of one
/// of them.
const SOURCES: usize = 4;

/// A connection that is asked for a password.
#[derive(Clone)]
pub struct Prompt<H> {
    pub user: UserName,
    pub key: Fingerprint,
    pub source: Source,
    /// The person has logged in from there lately.
    pub known: bool,
    /// What ends the connection.
    pub handle: H,
}

/// All of them, the oldest first.
pub struct Prompts<H> {
    open: Mutex<Open<H>>,
}

struct Open<H> {
    prompts: Vec<(u64, Prompt<H>)>,
    next: u64,
}

/// A place among them, given back when dropped.
pub struct Place<'a, H> {
    prompts: &'a Prompts<H>,
    id: u64,
}

impl<H> Default for Prompts<H> {
    fn default() -> Self {
        Prompts { open: Mutex::new(Rank::Prompts, Open { prompts: Vec::new(), next: 0 }) }
    }
}

impl<H> Prompts<H> {
    /// A place, where the key has less than `max` from this source; and whom it closes: where the person's
    /// unknown sources have too many, the oldest of those.
    pub fn open(&self, prompt: Prompt<H>, max: usize) -> Option<(Place<'_, H>, Option<H>)> {
        let mut open = self.lock();
        let same = |one: &&(u64, Prompt<H>)| {
            (&one.1.user, one.1.key, one.1.source) == (&prompt.user, prompt.key, prompt.source)
        };
        if open.prompts.iter().filter(same).count() >= max {
            return None;
        }
        let unknown = |one: &Prompt<H>| one.user == prompt.user && !one.known;
        let count = open.prompts.iter().filter(|(_, one)| unknown(one)).count();
        let too_many = !prompt.known && count >= SOURCES.saturating_mul(max);
        let oldest = open.prompts.iter().position(|(_, one)| too_many && unknown(one));
        let closed = oldest.map(|index| open.prompts.remove(index).1.handle);
        let id = open.next;
        open.next += 1;
        open.prompts.push((id, prompt));
        Some((Place { prompts: self, id }, closed))
    }

    fn lock(&self) -> MutexGuard<'_, Open<H>> {
        self.open.lock()
    }
}

impl<H> Drop for Place<'_, H> {
    fn drop(&mut self) {
        self.prompts.lock().prompts.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(key: u8, source: &str, known: bool, handle: u32) -> Prompt<u32> {
        let (user, key) = ("bob".parse().unwrap(), Fingerprint([key; 32]));
        Prompt { user, key, source: source.parse().unwrap(), known, handle }
    }

    #[test]
    fn a_thief_with_the_key_keeps_the_owner_out_from_no_other_source() {
        let prompts = Prompts::default();
        let open = |prompt| prompts.open(prompt, 10);
        let mut held: Vec<_> =
            (0..10).map(|number| open(prompt(1, "192.0.2.1", false, number)).unwrap().0).collect();
        assert!(open(prompt(1, "192.0.2.1", false, 10)).is_none());
        for other in [prompt(2, "192.0.2.1", false, 0), prompt(1, "192.0.2.2", false, 0)] {
            assert!(matches!(open(other), Some((_, None))), "another key, or another source");
        }
        held.pop();
        assert!(open(prompt(1, "192.0.2.1", false, 10)).is_some());
    }

    #[test]
    fn of_many_sources_the_oldest_goes_and_never_one_of_the_persons_own() {
        let prompts = Prompts::default();
        let own = prompts.open(prompt(1, "192.0.2.1", true, 0), 2).unwrap().0;
        let mut held = Vec::new();
        let mut closed = Vec::new();
        for number in 1..=20 {
            let source = format!("10.0.0.{number}");
            let (place, gone) = prompts.open(prompt(1, &source, false, number), 2).unwrap();
            held.push(place);
            closed.extend(gone);
        }
        assert_eq!(closed, (1..=12).collect::<Vec<_>>(), "eight are left");
        assert_eq!(prompts.lock().prompts.len(), 9);
        let again = prompts.open(prompt(1, "192.0.2.1", true, 30), 2).unwrap();
        assert!(again.1.is_none(), "nobody goes for a known source");
        drop((own, held, again));
        assert!(prompts.lock().prompts.is_empty());
    }
}
