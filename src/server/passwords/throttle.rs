//! Password throttle: each failed attempt delays the next one, per source and per user. Pure:
//! callers pass in the time.
//!
//! Only holders of a user's registered key can attempt a password at all. If a key is stolen,
//! attempts from sources that the user never came from delay each other; the user's own sources are
//! not affected. Each delay is bounded, so that a thief's attempts delay the owner by at most that
//! bound, and the source with fewer failures has the next turn.
//!
//! An attempt counts as failed from its start, before it is hashed, and a success is taken back:
//! simultaneous attempts therefore delay each other.

use std::collections::HashMap;

use super::throttle_key::ThrottleKey;
use crate::chat::UserName;
use crate::chat::rate::Stamp;
use crate::crypto::ticket::Digest;

/// The delay of a source after its first failure in milliseconds, doubled for each further one, up
/// to the second value: 8,640 attempts a day from one source.
const SOURCE_MS: (u64, u64) = (1_000, 10_000);
/// The number of failures from all unknown sources of a user without a delay.
const USER_FREE: u32 = 5;
/// The delay after further failures, doubled up to the second value: 17,280 attempts a day from all
/// unknown sources.
const USER_MS: (u64, u64) = (1_000, 5_000);
/// How long a source may reserve the next turn.
const TURN_MS: u64 = 2_000;
/// Sources that are tracked for each user. One more replaces the user's own oldest, so that the
/// failures of one user never cost those of another.
const SOURCES_PER_USER_MAX: usize = 256;
/// Sources of a right password that count as the user's own: the newest of them, as many as recent
/// logins.
const KNOWN_PER_USER_MAX: usize = 16;
/// How long a right password makes a source the user's own: as long as a login.
const KNOWN_MS: u64 = 30 * 24 * 3_600_000;
/// When failures are forgotten.
const FORGET_MS: u64 = 24 * 3_600_000;
/// Number of users with failures above which outdated entries are removed. All are registered
/// users, which bounds the number.
const USERS_TO_SWEEP: usize = 1_024;

#[derive(Clone, Copy, Default, PartialEq)]
struct Wrong {
    count: u32,
    until: Stamp,
}

/// The failures about one user.
#[derive(Default)]
struct Person {
    sources: HashMap<ThrottleKey, Wrong>,
    /// Sources of the right password, the newest at the end.
    known: Vec<Known>,
    /// Those of all unknown sources together.
    wrong: Wrong,
    /// The source with the next turn, and its failures when it reserved the turn.
    turn: Option<(ThrottleKey, u32)>,
}

/// A source from which the right password came.
struct Known {
    source: ThrottleKey,
    /// Of the password's hash: another password makes the source unknown.
    password: Digest,
    at: Stamp,
}

/// The state of the throttle.
#[derive(Default)]
pub struct PasswordThrottle {
    users: HashMap<UserName, Person>,
}

/// The delay before and after an attempt, so that a success can be taken back.
pub struct Turn {
    before: Wrong,
    after: Wrong,
}

/// A guess of a password: about whom, what it is counted by, and whether that is the person's own.
pub struct Guess<'a> {
    pub user: &'a UserName,
    pub counted_by: ThrottleKey,
    /// Of the hash of the user's present password.
    pub password: Digest,
    pub known: bool,
}

impl PasswordThrottle {
    /// Returns how long this attempt has to wait, in milliseconds. If it has to wait, it reserves
    /// the next turn, unless a source with as few failures has it.
    pub fn wait_ms(&mut self, guess: &Guess, now: Stamp) -> u64 {
        let own = self.of_source(guess);
        let own_ms = own.until.ms_since(now);
        match self.users.get_mut(guess.user) {
            Some(person) if !person.is_known(guess, now) => {
                own_ms.max(person.wait_ms(guess.counted_by, own, now))
            }
            _ => own_ms,
        }
    }

    /// Starts an attempt, which counts as failed until it succeeds; `None` if it has to wait.
    pub fn take(&mut self, guess: &Guess, now: Stamp) -> Option<Turn> {
        if self.wait_ms(guess, now) > 0 {
            return None;
        }
        let before = self.of_person(guess);
        self.wrong(guess, now);
        Some(Turn { before, after: self.of_person(guess) })
    }

    fn wrong(&mut self, guess: &Guess, now: Stamp) {
        if self.users.len() >= USERS_TO_SWEEP {
            self.users.retain(|_, person| !person.is_forgotten(now));
        }
        let person = self.users.entry(guess.user.clone()).or_default();
        person.make_room(guess.counted_by, now);
        later(person.sources.entry(guess.counted_by).or_default(), 0, SOURCE_MS, now);
        if !person.is_known(guess, now) {
            later(&mut person.wrong, USER_FREE, USER_MS, now);
            person.turn = None;
        }
    }

    /// Takes a successful attempt back, and makes the source the user's own.
    pub fn right(&mut self, guess: &Guess, turn: Turn, now: Stamp) {
        let Some(person) = self.users.get_mut(guess.user) else { return };
        person.sources.remove(&guess.counted_by);
        person.remember(guess, now);
        if turn.before != turn.after {
            match person.wrong == turn.after {
                true => person.wrong = turn.before,
                // Others have attempted since; their delays stay.
                false => person.wrong.count = person.wrong.count.saturating_sub(1),
            }
        }
    }

    fn of_source(&self, guess: &Guess) -> Wrong {
        let person = self.users.get(guess.user);
        person.and_then(|person| person.sources.get(&guess.counted_by)).copied().unwrap_or_default()
    }

    fn of_person(&self, guess: &Guess) -> Wrong {
        self.users.get(guess.user).map(|person| person.wrong).unwrap_or_default()
    }
}

impl Person {
    fn is_forgotten(&self, now: Stamp) -> bool {
        let is_old = |wrong: &Wrong| now.ms_since(wrong.until) >= FORGET_MS;
        let is_over = |known: &Known| now.ms_since(known.at) >= KNOWN_MS;
        is_old(&self.wrong) && self.sources.values().all(is_old) && self.known.iter().all(is_over)
    }

    fn is_known(&self, guess: &Guess, now: Stamp) -> bool {
        let is_own = |known: &Known| {
            known.source == guess.counted_by
                && known.password.is_same(&guess.password)
                && now.ms_since(known.at) < KNOWN_MS
        };
        guess.known || self.known.iter().any(is_own)
    }

    fn remember(&mut self, guess: &Guess, now: Stamp) {
        let &Guess { counted_by: source, password, .. } = guess;
        self.known.retain(|known| known.source != source);
        self.known.push(Known { source, password, at: now });
        let beyond = self.known.len().saturating_sub(KNOWN_PER_USER_MAX);
        self.known.drain(..beyond);
    }

    /// Makes room for a source that is not tracked yet.
    fn make_room(&mut self, source: ThrottleKey, now: Stamp) {
        if self.sources.len() < SOURCES_PER_USER_MAX || self.sources.contains_key(&source) {
            return;
        }
        self.sources.retain(|_, wrong| now.ms_since(wrong.until) < FORGET_MS);
        let oldest = self.sources.iter().min_by_key(|(_, wrong)| wrong.until).map(|(key, _)| *key);
        if let Some(oldest) = oldest.filter(|_| self.sources.len() >= SOURCES_PER_USER_MAX) {
            self.sources.remove(&oldest);
        }
    }

    /// Returns how long a source has to wait for the user's other unknown sources, in milliseconds.
    fn wait_ms(&mut self, counted_by: ThrottleKey, own: Wrong, now: Stamp) -> u64 {
        let until = self.wrong.until;
        let turn_ends = Stamp(until.0 + TURN_MS);
        let others_ms = match self.turn {
            Some((other, count)) if other != counted_by && count <= own.count => {
                turn_ends.ms_since(now)
            }
            _ => 0,
        };
        // A source whose own delay is longer could not use the turn.
        if others_ms == 0 && own.until <= until && now < until {
            self.turn = Some((counted_by, own.count));
        }
        until.ms_since(now).max(others_ms)
    }
}

/// Counts a failure, of which the first `free` cause no delay.
fn later(wrong: &mut Wrong, free: u32, (first_ms, last_ms): (u64, u64), now: Stamp) {
    if wrong.count > 0 && now.ms_since(wrong.until) >= FORGET_MS {
        wrong.count = 0;
    }
    wrong.count = wrong.count.saturating_add(1);
    let doubled = wrong.count.checked_sub(free + 1);
    let wait_ms = doubled.map_or(0, |doubled| (first_ms << doubled.min(20)).min(last_ms));
    // Set for free failures too, because it tells when they are forgotten.
    wrong.until = Stamp(now.0 + wait_ms);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::chat::Ticket;

    const DAY_MS: u64 = 24 * 3_600_000;

    /// A password, as the throttle knows it.
    fn password(number: u8) -> Digest {
        Digest::of(&Ticket::new([number; 32]))
    }

    fn source(last: u8) -> ThrottleKey {
        ThrottleKey::Source(IpAddr::from([192, 0, 2, last]).into())
    }

    fn from(user: &UserName, last: u8) -> Guess<'_> {
        Guess { user, counted_by: source(last), password: password(0), known: false }
    }

    fn comes_in(throttle: &mut PasswordThrottle, guess: &Guess, now: Stamp) {
        let turn = throttle.take(guess, now).expect("no wait");
        throttle.right(guess, turn, now);
    }

    #[test]
    fn each_failure_doubles_the_delay_of_its_source_up_to_ten_seconds() {
        let (bob, mut throttle) = ("bob".parse().unwrap(), PasswordThrottle::default());
        let mut now = Stamp(1_000);
        for wait in [1_000, 2_000, 4_000, 8_000] {
            assert_eq!(throttle.wait_ms(&from(&bob, 1), now), 0);
            throttle.wrong(&from(&bob, 1), now);
            assert_eq!(throttle.wait_ms(&from(&bob, 1), now), wait);
            assert_eq!(throttle.wait_ms(&from(&bob, 2), now), 0);
            now = Stamp(now.0 + wait);
        }
        for _ in 0..40 {
            throttle.wrong(&from(&bob, 1), now);
        }
        assert_eq!(throttle.wait_ms(&from(&bob, 1), now), 10_000);
        now = Stamp(now.0 + 10_000);
        comes_in(&mut throttle, &from(&bob, 1), now);
        assert_eq!(throttle.wait_ms(&from(&bob, 1), now), 0);
    }

    #[test]
    fn a_right_guess_delays_nobody() {
        let (bob, mut throttle) = ("bob".parse().unwrap(), PasswordThrottle::default());
        for last in 1..=USER_FREE as u8 {
            throttle.wrong(&from(&bob, last), Stamp(0));
        }
        for last in 20..60 {
            comes_in(&mut throttle, &from(&bob, last), Stamp(0));
        }
        assert_eq!(throttle.wait_ms(&from(&bob, 100), Stamp(0)), 0);
        // A success after attempts of others leaves only their own delays.
        let own = throttle.take(&from(&bob, 100), Stamp(0)).unwrap();
        assert_eq!(throttle.wait_ms(&from(&bob, 101), Stamp(0)), 1_000);
        throttle.take(&from(&bob, 101), Stamp(1_000)).unwrap();
        throttle.right(&from(&bob, 100), own, Stamp(1_100));
        assert_eq!(throttle.wait_ms(&from(&bob, 102), Stamp(1_100)), 1_900);
        assert_eq!(throttle.users[&bob].wrong.count, USER_FREE + 1);
    }

    #[test]
    fn unknown_sources_wait_and_the_owners_source_does_not() {
        let (bob, carol) = ("bob".parse().unwrap(), "carol".parse().unwrap());
        let mut throttle = PasswordThrottle::default();
        comes_in(&mut throttle, &from(&bob, 1), Stamp(0));
        for last in 2..100 {
            throttle.wrong(&from(&bob, last), Stamp(0));
        }
        let fresh = throttle.wait_ms(&from(&bob, 200), Stamp(0));
        assert_eq!(fresh, 5_000, "a new source waits too");
        assert_eq!(throttle.wait_ms(&from(&bob, 1), Stamp(0)), 0, "bob's own source does not wait");
        let logged_in = Guess { known: true, ..from(&bob, 201) };
        assert_eq!(
            throttle.wait_ms(&logged_in, Stamp(0)),
            0,
            "a source of a recent login does not wait"
        );
        assert_eq!(throttle.wait_ms(&from(&carol, 2), Stamp(0)), 0, "other users do not wait");
        throttle.wrong(&from(&bob, 1), Stamp(0));
        assert_eq!(throttle.wait_ms(&from(&bob, 1), Stamp(0)), 1_000, "its own failures count");
        let (last, over) = (Stamp(KNOWN_MS - 1), Stamp(KNOWN_MS));
        (2..100).for_each(|other| throttle.wrong(&from(&bob, other), last));
        assert_eq!(throttle.wait_ms(&from(&bob, 1), last), 0);
        let changed = Guess { password: password(1), ..from(&bob, 1) };
        assert!(throttle.wait_ms(&changed, last) > 0, "the password was changed since");
        assert!(throttle.wait_ms(&from(&bob, 1), over) > 0, "the source is no longer bob's own");
    }

    #[test]
    fn only_the_newest_sources_of_a_right_password_are_the_users_own() {
        let (bob, mut throttle) = ("bob".parse().unwrap(), PasswordThrottle::default());
        let most = KNOWN_PER_USER_MAX as u8;
        (1..=most + 1).for_each(|last| comes_in(&mut throttle, &from(&bob, last), Stamp(0)));
        (100..200).for_each(|last| throttle.wrong(&from(&bob, last), Stamp(0)));
        let is_own = |last| throttle.users[&bob].is_known(&from(&bob, last), Stamp(0));
        assert!(!is_own(1) && (2..=most + 1).all(is_own));
    }

    #[test]
    fn any_number_of_failures_of_one_user_delays_the_others_failures_as_before() {
        let (bob, carol) = ("bob".parse().unwrap(), "carol".parse().unwrap());
        let mut throttle = PasswordThrottle::default();
        throttle.wrong(&from(&carol, 1), Stamp(0));
        for number in 0..70_000u32 {
            let mut ticket = [0; 32];
            ticket[..4].copy_from_slice(&number.to_be_bytes());
            let counted_by = ThrottleKey::Ticket(Digest::of(&Ticket::new(ticket)));
            let guess = Guess { user: &bob, counted_by, password: password(0), known: true };
            throttle.wrong(&guess, Stamp(number.into()));
        }
        assert_eq!(throttle.users[&bob].sources.len(), SOURCES_PER_USER_MAX);
        assert_eq!(throttle.wait_ms(&from(&carol, 1), Stamp(0)), 1_000);
        // A new client is delayed like any other.
        let fresh = Guess { known: true, ..from(&bob, 9) };
        throttle.wrong(&fresh, Stamp(70_000));
        assert_eq!(throttle.wait_ms(&fresh, Stamp(70_000)), 1_000);
    }

    #[test]
    fn a_device_with_a_ticket_waits_for_its_own_mistakes_only() {
        let (bob, mut throttle) = ("bob".parse().unwrap(), PasswordThrottle::default());
        let ticket = ThrottleKey::Ticket(Digest::of(&Ticket::new([7; 32])));
        let device =
            || Guess { user: &bob, counted_by: ticket, password: password(0), known: true };
        // The thief comes from the device's own address, which is known.
        let thief = || Guess { known: true, ..from(&bob, 1) };
        for _ in 0..100 {
            throttle.wrong(&thief(), Stamp(0));
            throttle.wrong(&from(&bob, 2), Stamp(0));
        }
        assert_eq!(throttle.wait_ms(&thief(), Stamp(0)), 10_000);
        assert_eq!(throttle.wait_ms(&device(), Stamp(0)), 0);
        throttle.wrong(&device(), Stamp(0));
        assert_eq!(throttle.wait_ms(&device(), Stamp(0)), 1_000);
    }

    #[test]
    fn guesses_are_counted_at_any_uptime() {
        let (bob, mut throttle) = ("bob".parse().unwrap(), PasswordThrottle::default());
        for day in [0, 1, 2, 40] {
            let now = Stamp(day * (DAY_MS + 60_000));
            (1..=USER_FREE as u8).for_each(|last| throttle.wrong(&from(&bob, last), now));
            assert_eq!(throttle.wait_ms(&from(&bob, 100), now), 0, "day {day}");
            throttle.wrong(&from(&bob, 101), now);
            assert!(throttle.wait_ms(&from(&bob, 100), now) > 0, "day {day}");
        }
    }

    proptest! {
        /// The thief attempts from `sources` addresses as often as allowed, and has attempted from
        /// each before.
        #[test]
        fn the_owner_gets_an_attempt_in_time_during_any_attack(
            sources in 1u8..60, step_ms in 1u64..700, at_ms in 0u64..120_000,
        ) {
            let (bob, mut throttle) = ("bob".parse().unwrap(), PasswordThrottle::default());
            (1..=sources).for_each(|last| throttle.wrong(&from(&bob, last), Stamp(0)));
            let (mut now, mut next_try, mut tried) = (0, at_ms, None);
            while now < at_ms + 30_000 && tried.is_none() {
                now += step_ms;
                // The thief comes first each time; the owner comes at the time the server named.
                for last in 1..=sources {
                    if throttle.wait_ms(&from(&bob, last), Stamp(now)) == 0 {
                        throttle.wrong(&from(&bob, last), Stamp(now));
                    }
                }
                if now >= next_try {
                    match throttle.wait_ms(&from(&bob, 200), Stamp(now)) {
                        0 => tried = Some(now),
                        wait_ms => next_try = now + wait_ms,
                    }
                }
            }
            let waited_ms = tried.map(|tried| tried.saturating_sub(at_ms));
            let bound_ms = USER_MS.1 + TURN_MS + 2 * step_ms;
            prop_assert!(waited_ms.is_some_and(|ms| ms <= bound_ms), "{waited_ms:?}");
        }

        #[test]
        fn guesses_per_day_are_bounded_from_any_sources(
            tries in prop::collection::vec((any::<u8>(), 0u64..3_000), 2_000),
        ) {
            let (bob, mut throttle) = ("bob".parse().unwrap(), PasswordThrottle::default());
            let (mut now, mut looked_at) = (0, 0);
            let mut by_source = HashMap::new();
            for (last, pause) in tries {
                now += pause;
                let wait_ms = throttle.wait_ms(&from(&bob, last), Stamp(now));
                prop_assert!(wait_ms <= SOURCE_MS.1.max(USER_MS.1 + TURN_MS));
                if wait_ms == 0 {
                    throttle.wrong(&from(&bob, last), Stamp(now));
                    looked_at += 1;
                    *by_source.entry(last).or_insert(0u64) += 1;
                }
            }
            // The first attempts are faster: five are free, and the delays grow to their bound.
            prop_assert!(looked_at <= 9 + now / USER_MS.1, "{looked_at} in {now} ms");
            prop_assert!(by_source.values().all(|count| *count <= 5 + now / SOURCE_MS.1));
            prop_assert!(DAY_MS / USER_MS.1 == 17_280 && DAY_MS / SOURCE_MS.1 == 8_640);
        }
    }
}
