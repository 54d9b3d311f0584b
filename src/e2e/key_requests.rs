//! Key requests to the server: batches, pauses and retries. Pure.

use std::collections::VecDeque;

use super::output::Output;
use super::trust::TrustStore;
use crate::chat::{Command, Request, UserName};
use crate::crypto::random;
use crate::limits::KEY_NAMES_MAX;

/// Bounds of the time before a retry, whatever the server states, in milliseconds.
const AGAIN_MS: (u64, u64) = (500, 60_000);
/// Burst of requests, and the pause that each one costs. The limit holds because a server can
/// mention invented users without end.
const REQUESTS_MAX: u64 = 10;
const PAUSE_MS: u64 = 500;
/// Requests whose answers are outstanding.
const OPEN_MAX: usize = 100;

pub struct KeyRequests {
    /// Number of the newest request. The first is random, because programs choose references
    /// freely.
    number: u64,
    /// Requests without an answer so far.
    open: VecDeque<(u64, Vec<UserName>)>,
    /// Users for the next request.
    wanted: VecDeque<UserName>,
    /// Users for a retry ...
    again: Vec<UserName>,
    /// ... after a time in milliseconds, counted from this moment.
    waits: Option<(i64, u64)>,
    now_ms: i64,
    /// End of the pauses of all requests so far.
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
    /// Sets the current time and moves users whose retry is due to the next request.
    pub fn clock(&mut self, now_ms: i64) {
        // A clock that was set back does not stop requests.
        if now_ms < self.now_ms {
            self.paused_until_ms = now_ms;
        }
        self.now_ms = now_ms;
        if self.again_rest_ms(now_ms) == Some(0) {
            self.waits = None;
            self.wanted.extend(std::mem::take(&mut self.again));
        }
    }

    /// Puts a user first, because the local user waits for the answer.
    pub fn want_first(&mut self, name: UserName) {
        self.wanted.push_front(name);
    }

    /// Adds users to the next request.
    pub fn want(&mut self, names: Vec<UserName>) {
        self.wanted.extend(names);
    }

    /// Requests the keys of a user whom the local user has named.
    pub fn request_named(
        &mut self,
        name: UserName,
        trust: &mut TrustStore,
        next: &mut Vec<Output>,
    ) {
        if trust.wants_named(&name) {
            self.want_first(name);
            self.request(next);
        }
    }

    /// Requests the keys of users whom the server has mentioned.
    pub fn request_mentioned(
        &mut self,
        names: &[UserName],
        trust: &mut TrustStore,
        next: &mut Vec<Output>,
    ) {
        self.want(names.iter().filter(|name| trust.wants_mentioned(name)).cloned().collect());
        self.request(next);
    }

    /// Sends the requests that may go out now.
    pub fn request(&mut self, next: &mut Vec<Output>) {
        next.extend(std::iter::from_fn(|| self.next_request()).map(Output::Send));
    }

    /// Returns the next request: many users in each, few requests at once.
    pub fn next_request(&mut self) -> Option<Request> {
        if self.wanted.is_empty() || self.pause_ms(self.now_ms) > 0 {
            return None;
        }
        self.paused_until_ms = self.paused_until_ms.max(self.now_ms) + PAUSE_MS as i64;
        self.number += 1;
        let names: Vec<_> = self.wanted.drain(..self.wanted.len().min(KEY_NAMES_MAX)).collect();
        self.open.push_back((self.number, names.clone()));
        if self.open.len() > OPEN_MAX {
            self.open.pop_front();
        }
        Some(Request::new(Command::Keys { names }, Some(reference(self.number))))
    }

    /// Time until the next request may go out, in milliseconds.
    fn pause_ms(&self, now_ms: i64) -> u64 {
        let paused = u64::try_from(self.paused_until_ms.saturating_sub(now_ms)).unwrap_or_default();
        (paused + PAUSE_MS).saturating_sub(REQUESTS_MAX * PAUSE_MS)
    }

    /// Forgets requests when the connection is lost. The pauses stay, so that reconnecting gains
    /// nothing.
    pub fn lost(&mut self) {
        self.open.clear();
        self.wanted.clear();
        self.again.clear();
        self.waits = None;
    }

    /// Handles an answer. A server answers in order, so all earlier requests are answered too.
    pub fn answered(&mut self, told: Option<&str>) {
        if let Some(at) = self.position(told) {
            self.open.drain(..at);
        }
    }

    /// Handles a rate refusal. Returns whether it refused one of these requests.
    pub fn refused(&mut self, told: &str, retry_ms: u64, now_ms: i64) -> bool {
        let Some((_, names)) = self.position(Some(told)).and_then(|at| self.open.remove(at)) else {
            return false;
        };
        self.again.extend(names);
        self.waits = Some((now_ms, retry_ms.clamp(AGAIN_MS.0, AGAIN_MS.1)));
        true
    }

    /// Time until the next request is due, in milliseconds.
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
            Some(Request {
                command: Command::Keys { names: asked },
                reference: Some(reference),
            }) if asked == names(whom) => reference,
            other => panic!("{other:?}"),
        }
    }

    /// The users requested at this time.
    fn due(asking: &mut KeyRequests, now_ms: i64) -> Vec<UserName> {
        asking.clock(now_ms);
        match asking.next_request() {
            Some(Request { command: Command::Keys { names }, .. }) => names,
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_refused_request_is_retried_once_when_due() {
        let mut requests = KeyRequests::default();
        let [one, two] =
            [["alice", "bob"], ["carol", "alice"]].map(|them| asks(&mut requests, &them));
        assert!(!requests.refused("q1", 700, 0), "a program asked that");
        requests.answered(None);
        assert!(requests.refused(&one, 700, 10_000));
        assert!(!requests.refused(&one, 700, 10_000), "there is one answer");
        assert!(requests.refused(&two, 900, 10_000));
        assert_eq!(
            (requests.rests_ms(10_100), due(&mut requests, 10_899)),
            (Some(800), names(&[]))
        );
        let all = names(&["alice", "bob", "carol", "alice"]);
        assert_eq!(due(&mut requests, 10_900), all);
        assert_eq!((due(&mut requests, 99_000), requests.rests_ms(99_000)), (names(&[]), None));
    }

    #[test]
    fn retry_times_are_bounded() {
        for (stated_ms, waits_ms) in [(0, 500), (u64::MAX, 60_000)] {
            let mut requests = KeyRequests::default();
            let one = asks(&mut requests, &["bob"]);
            assert!(requests.refused(&one, stated_ms, 1_000));
            assert_eq!(requests.rests_ms(1_000), Some(waits_ms));
            // A clock that was set back by years does not matter.
            assert_eq!(due(&mut requests, -9_000_000_000), names(&["bob"]));
        }
    }

    #[test]
    fn invented_users_cause_two_requests_a_second() {
        let mut requests = KeyRequests::default();
        let mut count = 0;
        for now_ms in 1_000_000..1_010_000 {
            requests.want(names(&["alice"]));
            requests.clock(now_ms);
            count += u64::from(requests.next_request().is_some());
            // Reconnecting does not help either.
            if now_ms % 1_000 == 0 {
                requests.lost();
            }
        }
        assert!((REQUESTS_MAX + 19..=REQUESTS_MAX + 21).contains(&count), "{count}");
        assert!(requests.wanted.is_empty() || requests.rests_ms(1_010_000) <= Some(PAUSE_MS));
        assert!(requests.open.len() <= OPEN_MAX);
    }

    #[test]
    fn an_answer_settles_earlier_requests() {
        let mut requests = KeyRequests::default();
        let [one, two] = [["alice"], ["bob"]].map(|them| asks(&mut requests, &them));
        requests.answered(Some(&two));
        assert!(!requests.refused(&one, 500, 0) && requests.open.len() == 1);
    }
}
