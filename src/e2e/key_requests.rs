//! Whom the server was asked about, and when it is asked again where it had no time for it. Pure.

use std::collections::VecDeque;

use super::output::Output;
use super::trust::TrustStore;
use crate::chat::{Command, UserName};
use crate::crypto::random;

/// People that are asked for at once.
const NAMES_MAX: usize = 50;
/// A server that has no time is asked again no sooner and no later, whatever it says.
const AGAIN_MS: (u64, u64) = (500, 60_000);
/// Requests at once, and a pause for each that was made: a server can bring up people without end.
const REQUESTS_MAX: u64 = 10;
const PAUSE_MS: u64 = 500;
/// Requests of which an answer is still expected.
const OPEN_MAX: usize = 100;

pub struct KeyRequests {
    /// Of the newest request: the first is random, because programs choose references as they like.
    number: u64,
    /// Requests that are not answered, as far as is known.
    open: VecDeque<(u64, Vec<UserName>)>,
    /// Whom it is asked about as soon as may be.
    wanted: VecDeque<UserName>,
    /// Whom it is asked about again ...
    again: Vec<UserName>,
    /// ... so many milliseconds after this time.
    waits: Option<(i64, u64)>,
    now_ms: i64,
    /// The pauses of all requests so far would be over then.
    paused_until_ms: i64,
}

impl Default for KeyRequests {
    fn default() -> KeyRequests {
        KeyRequests {
            number: u64::from_be_bytes(random()) >> 1,
            open: VecDeque::new(),
            wanted: VecDeque::new(),
            again: Vec::new(),
            waits: None,
            now_ms: 0,
            paused_until_ms: 0,
        }
    }
}

fn reference(number: u64) -> String {
    format!("keys-{number:016x}")
}

impl KeyRequests {
    /// So late is it now. Whom it is time to ask about again is wanted.
    pub fn clock(&mut self, now_ms: i64) {
        // A clock that was set back does not stop it.
        if now_ms < self.now_ms {
            self.paused_until_ms = now_ms;
        }
        self.now_ms = now_ms;
        if self.again_rest_ms(now_ms) == Some(0) {
            self.waits = None;
            self.wanted.extend(std::mem::take(&mut self.again));
        }
    }

    /// The person of this client waits for the answer: it is asked about before all others.
    pub fn want_first(&mut self, name: UserName) {
        self.wanted.push_front(name);
    }

    /// The server is to be asked about these.
    pub fn want(&mut self, names: Vec<UserName>) {
        self.wanted.extend(names);
    }

    /// The person of this client wants to know somebody.
    pub fn ask(&mut self, name: UserName, trust: &mut TrustStore, next: &mut Vec<Output>) {
        if trust.ask(&name) {
            self.want_first(name);
            self.request(next);
        }
    }

    /// The server has brought them up.
    pub fn meet(&mut self, names: &[UserName], trust: &mut TrustStore, next: &mut Vec<Output>) {
        self.want(names.iter().filter(|name| trust.meet(name)).cloned().collect());
        self.request(next);
    }

    /// What may go out now does.
    pub fn request(&mut self, next: &mut Vec<Output>) {
        next.extend(std::iter::from_fn(|| self.next_request()).map(Output::Send));
    }

    /// What goes out now: many people in one request, and few requests at once.
    pub fn next_request(&mut self) -> Option<Command> {
        if self.wanted.is_empty() || self.pause_ms(self.now_ms) > 0 {
            return None;
        }
        self.paused_until_ms = self.paused_until_ms.max(self.now_ms) + PAUSE_MS as i64;
        self.number += 1;
        let names: Vec<_> = self.wanted.drain(..self.wanted.len().min(NAMES_MAX)).collect();
        self.open.push_back((self.number, names.clone()));
        if self.open.len() > OPEN_MAX {
            self.open.pop_front();
        }
        Some(Command::Keys { names, reference: Some(reference(self.number)) })
    }

    /// Until the next request may go out.
    fn pause_ms(&self, now_ms: i64) -> u64 {
        let paused = u64::try_from(self.paused_until_ms.saturating_sub(now_ms)).unwrap_or_default();
        (paused + PAUSE_MS).saturating_sub(REQUESTS_MAX * PAUSE_MS)
    }

    /// The connection is gone, and all that was asked over it. The next one is asked no faster.
    pub fn lost(&mut self) {
        self.open.clear();
        self.wanted.clear();
        self.again.clear();
        self.waits = None;
    }

    /// A server answers in order: all requests before this one are answered.
    pub fn answered(&mut self, told: Option<&str>) {
        if let Some(at) = self.position(told) {
            self.open.drain(..at);
        }
    }

    /// The server was asked too fast; whether it was one of these requests.
    pub fn refused(&mut self, told: &str, retry_ms: u64, now_ms: i64) -> bool {
        let Some((_, names)) = self.position(Some(told)).and_then(|at| self.open.remove(at)) else {
            return false;
        };
        self.again.extend(names);
        self.waits = Some((now_ms, retry_ms.clamp(AGAIN_MS.0, AGAIN_MS.1)));
        true
    }

    /// In how many milliseconds somebody is asked about.
    pub fn rests_ms(&self, now_ms: i64) -> Option<u64> {
        let wanted = (!self.wanted.is_empty()).then(|| self.pause_ms(now_ms));
        wanted.into_iter().chain(self.again_rest_ms(now_ms)).min()
    }

    fn again_rest_ms(&self, now_ms: i64) -> Option<u64> {
        self.waits.map(|(since_ms, wait_ms)| wait_ms.saturating_sub(now_ms.abs_diff(since_ms)))
    }

    fn position(&self, told: Option<&str>) -> Option<usize> {
        let told = told?;
        self.open.iter().position(|(number, _)| reference(*number) == told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<UserName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn asks(asking: &mut KeyRequests, whom: &[&str]) -> String {
        asking.want(names(whom));
        match asking.next_request() {
            Some(Command::Keys { names: asked, reference: Some(reference) })
                if asked == names(whom) =>
            {
                reference
            }
            other => panic!("{other:?}"),
        }
    }

    /// Whom it is asked about at this time.
    fn due(asking: &mut KeyRequests, now_ms: i64) -> Vec<UserName> {
        asking.clock(now_ms);
        match asking.next_request() {
            Some(Command::Keys { names, .. }) => names,
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_was_asked_too_fast_is_asked_again_in_its_time_and_once() {
        let mut asking = KeyRequests::default();
        let [one, two] =
            [["alice", "bob"], ["carol", "alice"]].map(|them| asks(&mut asking, &them));
        assert!(!asking.refused("q1", 700, 0), "a program asked that");
        asking.answered(None);
        assert!(asking.refused(&one, 700, 10_000));
        assert!(!asking.refused(&one, 700, 10_000), "it has one answer");
        assert!(asking.refused(&two, 900, 10_000));
        assert_eq!((asking.rests_ms(10_100), due(&mut asking, 10_899)), (Some(800), names(&[])));
        let all = names(&["alice", "bob", "carol", "alice"]);
        assert_eq!(due(&mut asking, 10_900), all);
        assert_eq!((due(&mut asking, 99_000), asking.rests_ms(99_000)), (names(&[]), None));
    }

    #[test]
    fn no_server_is_asked_without_a_pause_nor_never_again() {
        for (told_ms, waits_ms) in [(0, 500), (u64::MAX, 60_000)] {
            let mut asking = KeyRequests::default();
            let one = asks(&mut asking, &["bob"]);
            assert!(asking.refused(&one, told_ms, 1_000));
            assert_eq!(asking.rests_ms(1_000), Some(waits_ms));
            // Nor when a clock was set back by years.
            assert_eq!(due(&mut asking, -9_000_000_000), names(&["bob"]));
        }
    }

    #[test]
    fn a_server_that_brings_up_people_without_end_is_asked_twice_a_second() {
        let mut asking = KeyRequests::default();
        let mut requests = 0;
        for now_ms in 1_000_000..1_010_000 {
            asking.want(names(&["alice"]));
            asking.clock(now_ms);
            requests += u64::from(asking.next_request().is_some());
            // Neither does it help to cut the connection.
            if now_ms % 1_000 == 0 {
                asking.lost();
            }
        }
        assert!((REQUESTS_MAX + 19..=REQUESTS_MAX + 21).contains(&requests), "{requests}");
        assert!(asking.wanted.is_empty() || asking.rests_ms(1_010_000) <= Some(PAUSE_MS));
        assert!(asking.open.len() <= OPEN_MAX);
    }

    #[test]
    fn requests_before_an_answered_one_are_not_remembered() {
        let mut asking = KeyRequests::default();
        let [one, two] = [["alice"], ["bob"]].map(|them| asks(&mut asking, &them));
        asking.answered(Some(&two));
        assert!(!asking.refused(&one, 500, 0) && asking.open.len() == 1);
    }
}
