//! Whom the server was asked about, and when it is asked again where it had no time for it. Pure.

use std::collections::VecDeque;

use crate::chat::{Command, UserName};
use crate::crypto::random;

/// A server that has no time is asked again no sooner and no later, whatever it says.
const AGAIN_MS: (u64, u64) = (500, 60_000);

pub struct Asking {
    /// Of the newest request: the first is random, because programs choose references as they like.
    number: u64,
    /// Requests that are not answered, as far as is known.
    open: VecDeque<(u64, Vec<UserName>)>,
    /// Whom it is asked about again ...
    again: Vec<UserName>,
    /// ... so many milliseconds after this time.
    waits: Option<(i64, u64)>,
}

impl Default for Asking {
    fn default() -> Asking {
        let number = u64::from_be_bytes(random()) >> 1;
        Asking { number, open: VecDeque::new(), again: Vec::new(), waits: None }
    }
}

fn reference(number: u64) -> String {
    format!("keys-{number:016x}")
}

impl Asking {
    pub fn request(&mut self, names: Vec<UserName>) -> Command {
        self.number += 1;
        self.open.push_back((self.number, names.clone()));
        Command::Keys { names, reference: Some(reference(self.number)) }
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

    /// In how many milliseconds somebody is asked about again.
    pub fn rests_ms(&self, now_ms: i64) -> Option<u64> {
        self.waits.map(|(since_ms, wait_ms)| wait_ms.saturating_sub(now_ms.abs_diff(since_ms)))
    }

    /// Whom it is time to ask about again.
    pub fn due(&mut self, now_ms: i64) -> Vec<UserName> {
        if self.rests_ms(now_ms) != Some(0) {
            return Vec::new();
        }
        self.waits = None;
        std::mem::take(&mut self.again)
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

    fn asks(asking: &mut Asking, whom: &[&str]) -> String {
        match asking.request(names(whom)) {
            Command::Keys { names: asked, reference: Some(reference) } if asked == names(whom) => {
                reference
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_asked_too_fast_is_asked_again_in_its_time_and_once() {
        let mut asking = Asking::default();
        let [one, two] =
            [["alice", "bob"], ["carol", "alice"]].map(|them| asks(&mut asking, &them));
        assert!(!asking.refused("q1", 700, 0), "a program asked that");
        asking.answered(None);
        assert!(asking.refused(&one, 700, 10_000));
        assert!(!asking.refused(&one, 700, 10_000), "it has one answer");
        assert!(asking.refused(&two, 900, 10_000));
        assert_eq!((asking.rests_ms(10_100), asking.due(10_899)), (Some(800), names(&[])));
        assert_eq!(asking.due(10_900), names(&["alice", "bob", "carol", "alice"]));
        assert_eq!((asking.due(99_000), asking.rests_ms(99_000)), (names(&[]), None));
    }

    #[test]
    fn no_server_is_asked_without_a_pause_nor_never_again() {
        for (told_ms, waits_ms) in [(0, 500), (u64::MAX, 60_000)] {
            let mut asking = Asking::default();
            let one = asks(&mut asking, &["bob"]);
            assert!(asking.refused(&one, told_ms, 1_000));
            assert_eq!(asking.rests_ms(1_000), Some(waits_ms));
            // Nor when a clock was set back by years.
            assert_eq!(asking.due(-9_000_000_000), names(&["bob"]));
        }
    }

    #[test]
    fn requests_before_an_answered_one_are_not_remembered() {
        let mut asking = Asking::default();
        let [one, two] = [["alice"], ["bob"]].map(|them| asks(&mut asking, &them));
        asking.answered(Some(&two));
        assert!(!asking.refused(&one, 500, 0) && asking.open.len() == 1);
    }
}
