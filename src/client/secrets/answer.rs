//! Whether an answer to `/history` has all that a person's devices have said between its first and its
//! last line. Pure.
//!
//! What changes lines is not told in such an answer, so it has sessions of its own: a session of lines
//! that say something counts these alone. Of a line that was changed its seat is there, without its own
//! count.

use std::collections::HashMap;

use super::chain::Order;
use crate::chat::{Seq, Target, UserName};
use crate::crypto::note::Link;

/// The answer that is being told.
#[derive(Default)]
pub struct Answer {
    of: Option<(Target, String)>,
    last: Seq,
    sessions: HashMap<(String, [u8; 16]), Session>,
    /// Lines of a person whose own count is gone, all of them and those that excuse nothing yet.
    seats: HashMap<UserName, Seats>,
}

struct Session {
    /// The count that comes next.
    next: u64,
    /// Seats of its person before its last line.
    seats: u64,
}

#[derive(Clone, Copy, Default)]
struct Seats {
    all: u64,
    free: u64,
}

impl Answer {
    /// A line of an answer to this question comes; whether it stands where it should.
    pub fn goes_on(&mut self, to: &Target, reference: &str, seq: Seq) -> bool {
        if !self.of.as_ref().is_some_and(|of| of.0 == *to && of.1 == reference) {
            *self = Answer { of: Some((to.clone(), reference.to_owned())), ..Answer::default() };
        }
        let later = seq > self.last;
        self.last = self.last.max(seq);
        later
    }

    pub fn ends(&mut self) {
        *self = Answer::default();
    }

    /// A line of this person is told without what it said first.
    pub fn spent(&mut self, who: &UserName) {
        let seats = self.seats.entry(who.clone()).or_default();
        (seats.all, seats.free) = (seats.all + 1, seats.free + 1);
    }

    /// A line as its person's device has said it.
    pub fn takes(&mut self, who: &UserName, device: &str, link: &Link) -> Order {
        let mut none = Seats::default();
        let seats = self.seats.get_mut(who).unwrap_or(&mut none);
        let now = Session { next: link.n.saturating_add(1), seats: seats.all };
        let session = (device.to_owned(), link.session);
        let before = match self.sessions.get_mut(&session) {
            None => {
                self.sessions.insert(session, now);
                return Order::Good;
            }
            Some(before) if link.n < before.next => return Order::Again,
            Some(before) => std::mem::replace(before, now),
        };
        let missing = link.n - before.next;
        let excused = missing.min(seats.all - before.seats).min(seats.free);
        seats.free -= excused;
        match missing - excused {
            0 => Order::Good,
            missing => Order::Missing(missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_lines_of_a_session_nothing_is_left_out() {
        let (tea, ana): (Target, UserName) = ("#tea".parse().unwrap(), "ana".parse().unwrap());
        let mut answer = Answer::default();
        let says = |answer: &mut Answer, session: u8, n: u64| {
            let link = Link { session: [session; 16], n, prev: [0; 32] };
            answer.takes(&ana, "laptop", &link)
        };
        assert!(answer.goes_on(&tea, "1", Seq(7)) && !answer.goes_on(&tea, "1", Seq(7)));
        assert_eq!(says(&mut answer, 1, 40), Order::Good, "the first that is told");
        assert_eq!(says(&mut answer, 1, 41), Order::Good);
        assert_eq!(says(&mut answer, 2, 0), Order::Good);
        assert_eq!(says(&mut answer, 1, 43), Order::Missing(1));
        answer.spent(&ana);
        assert_eq!(says(&mut answer, 1, 46), Order::Missing(1), "one was changed");
        assert_eq!(says(&mut answer, 2, 2), Order::Missing(1), "that excuse was used");
        assert_eq!(says(&mut answer, 1, 46), Order::Again);
        answer.spent(&ana);
        assert_eq!(says(&mut answer, 3, 5), Order::Good);
        assert_eq!(says(&mut answer, 3, 7), Order::Missing(1), "that was changed before both");
        assert!(answer.goes_on(&tea, "2", Seq(1)), "another answer");
        assert_eq!(says(&mut answer, 1, 9), Order::Good);
        answer.ends();
        assert_eq!(says(&mut answer, 1, 2), Order::Good);
    }
}
