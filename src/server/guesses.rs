//! Wrong passwords: each makes the next guess wait, by the source that it came from and by the person
//! it was about. Pure: the moment is handed in.
//!
//! Only who holds a person's registered key can guess at all. Where a thief has one, guesses from
//! sources that the person never came from wait for each other; the person's own sources do not wait
//! for them.

use std::collections::HashMap;

use super::door::source::Source;
use crate::chat::UserName;
use crate::chat::rate::Stamp;

/// A source waits this long after its first wrong guess, and twice as long after each further one ...
const SOURCE_MS: (u64, u64) = (1_000, 15 * 60_000);
/// ... and all unknown sources of a person wait after so many wrong guesses, from one second on.
const USER_FREE: u32 = 5;
const USER_MS: (u64, u64) = (1_000, 60_000);
/// Sources and people that are remembered.
const REMEMBERED_MAX: usize = 65_536;
/// What was wrong this long ago is forgotten.
const FORGET_MS: u64 = 24 * 3_600_000;

#[derive(Clone, Copy, Default)]
struct Wrong {
    count: u32,
    until: Stamp,
}

/// What is remembered of guesses.
#[derive(Default)]
pub struct Guesses {
    sources: HashMap<(UserName, Source), Wrong>,
    users: HashMap<UserName, Wrong>,
    /// Sources that a person's right password has come from.
    known: HashMap<(UserName, Source), Stamp>,
}

impl Guesses {
    /// How long a guess from there about this person has to wait, in milliseconds.
    pub fn wait_ms(&self, user: &UserName, source: Source, now: Stamp) -> u64 {
        let left = |wrong: Option<&Wrong>| wrong.map_or(0, |wrong| wrong.until.ms_since(now));
        let key = (user.clone(), source);
        let own = left(self.sources.get(&key));
        if self.known.contains_key(&key) { own } else { own.max(left(self.users.get(user))) }
    }

    /// A guess was wrong.
    pub fn wrong(&mut self, user: &UserName, source: Source, now: Stamp) {
        self.forget(now);
        let key = (user.clone(), source);
        let known = self.known.contains_key(&key);
        if self.sources.len() < REMEMBERED_MAX || self.sources.contains_key(&key) {
            later(self.sources.entry(key).or_default(), 0, SOURCE_MS, now);
        }
        if !known && (self.users.len() < REMEMBERED_MAX || self.users.contains_key(user)) {
            later(self.users.entry(user.clone()).or_default(), USER_FREE, USER_MS, now);
        }
    }

    /// A guess was right: this source is the person's own from now on.
    pub fn right(&mut self, user: &UserName, source: Source, now: Stamp) {
        let key = (user.clone(), source);
        self.sources.remove(&key);
        if self.known.len() < REMEMBERED_MAX {
            self.known.insert(key, now);
        }
    }

    fn forget(&mut self, now: Stamp) {
        if self.sources.len().max(self.users.len()) >= REMEMBERED_MAX {
            self.sources.retain(|_, wrong| now.ms_since(wrong.until) < FORGET_MS);
            self.users.retain(|_, wrong| now.ms_since(wrong.until) < FORGET_MS);
        }
    }
}

/// One more wrong guess, of which the first `free` cost nothing.
fn later(wrong: &mut Wrong, free: u32, (first_ms, last_ms): (u64, u64), now: Stamp) {
    if wrong.count > 0 && now.ms_since(wrong.until) >= FORGET_MS {
        wrong.count = 0;
    }
    wrong.count = wrong.count.saturating_add(1);
    if let Some(doubled) = wrong.count.checked_sub(free + 1) {
        let wait_ms = (first_ms << doubled.min(20)).min(last_ms);
        wrong.until = Stamp(now.0 + wait_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(last: u8) -> Source {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn each_wrong_guess_makes_its_source_wait_twice_as_long() {
        let (bob, mut guesses) = ("bob".parse().unwrap(), Guesses::default());
        let mut now = Stamp(1_000);
        for wait in [1_000, 2_000, 4_000, 8_000] {
            assert_eq!(guesses.wait_ms(&bob, source(1), now), 0);
            guesses.wrong(&bob, source(1), now);
            assert_eq!(guesses.wait_ms(&bob, source(1), now), wait);
            assert_eq!(guesses.wait_ms(&bob, source(2), now), 0);
            now = Stamp(now.0 + wait);
        }
        for _ in 0..40 {
            guesses.wrong(&bob, source(1), now);
        }
        assert_eq!(guesses.wait_ms(&bob, source(1), now), 15 * 60_000);
        guesses.right(&bob, source(1), now);
        assert_eq!(guesses.wait_ms(&bob, source(1), now), 0);
    }

    #[test]
    fn a_thief_elsewhere_waits_and_the_member_at_home_does_not() {
        let (bob, carol) = ("bob".parse().unwrap(), "carol".parse().unwrap());
        let mut guesses = Guesses::default();
        guesses.right(&bob, source(1), Stamp(0));
        for last in 2..100 {
            guesses.wrong(&bob, source(last), Stamp(0));
        }
        assert_eq!(
            guesses.wait_ms(&bob, source(200), Stamp(0)),
            60_000,
            "a fresh source waits too"
        );
        assert_eq!(guesses.wait_ms(&bob, source(1), Stamp(0)), 0, "bob's own does not");
        assert_eq!(guesses.wait_ms(&carol, source(2), Stamp(0)), 0, "nor does anybody else");
        guesses.wrong(&bob, source(1), Stamp(0));
        assert_eq!(guesses.wait_ms(&bob, source(1), Stamp(0)), 1_000, "but for its own mistakes");
    }
}
