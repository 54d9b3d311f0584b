//! Open requests for stored messages (`history` and `search`) of one connection. A message with a
//! `ref` is part of the answer to one of them, or rejected.

use std::collections::VecDeque;
use std::time::Duration;

use crate::chat::{Command, Message, Request, Seq, Target};
use crate::limits::{
    ANSWER_MESSAGES_MAX, ANSWER_S_MAX, HISTORY_MESSAGES, OPEN_READS_MAX, REF_BYTES_MAX,
    SEARCH_MESSAGES,
};
use crate::system::clock::Instant;

#[derive(Default)]
pub struct Reads(VecDeque<Read>);

/// An open request and the bounds on the rest of its answer.
struct Read {
    /// Empty if the request has none.
    reference: String,
    to: Option<Target>,
    searches: bool,
    before: Option<Seq>,
    /// Seq of the newest message of the answer.
    last: Seq,
    messages_left: usize,
    /// Deadline of the answer: later messages are dropped.
    until: Instant,
}

impl Reads {
    /// Records a `history` or `search` request, and ignores others.
    pub fn note(&mut self, request: &Request, now: Instant) {
        let (to, before, messages) = match &request.command {
            Command::History { to, before, messages, .. } => {
                (Some(to), *before, messages.unwrap_or(HISTORY_MESSAGES))
            }
            Command::Search { to, .. } => (to.as_ref(), None, SEARCH_MESSAGES),
            _ => return,
        };
        // The server does not return a longer one in its answer.
        let reference = request.reference.clone().filter(|it| it.len() <= REF_BYTES_MAX);
        self.0.push_back(Read {
            reference: reference.unwrap_or_default(),
            to: to.cloned(),
            searches: matches!(request.command, Command::Search { .. }),
            before,
            last: Seq(0),
            messages_left: messages.clamp(1, ANSWER_MESSAGES_MAX),
            until: now + Duration::from_secs(ANSWER_S_MAX),
        });
        if self.0.len() > OPEN_READS_MAX {
            self.0.pop_front();
        }
    }

    /// Returns whether a message belongs to the answer to an open request. `known`: the client
    /// knew its conversation before.
    pub fn admits(
        &mut self,
        message: &Message,
        conversation: &Target,
        known: bool,
        now: Instant,
    ) -> bool {
        let Some(reference) = &message.reference else { return false };
        let mut open = self.0.iter_mut().filter(|one| one.reference == *reference);
        let Some(read) = open.find(|one| one.fits(message, conversation, known, now)) else {
            return false;
        };
        read.messages_left -= 1;
        read.last = message.seq;
        true
    }

    /// Closes the request that this `history` answers. Returns whether there was one.
    pub fn end(&mut self, to: Option<&Target>, reference: Option<&str>) -> bool {
        let is =
            |one: &Read| one.reference == reference.unwrap_or_default() && one.to.as_ref() == to;
        let at = self.0.iter().position(is);
        at.and_then(|at| self.0.remove(at)).is_some()
    }

    /// Closes the oldest request with this reference, which was refused. A refusal without one may
    /// be of any other request, and closes nothing.
    pub fn refused(&mut self, reference: Option<&str>) {
        let is = |one: &Read| reference.is_some_and(|reference| one.reference == *reference);
        if let Some(at) = self.0.iter().position(is) {
            self.0.remove(at);
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Read {
    fn fits(&self, message: &Message, conversation: &Target, known: bool, now: Instant) -> bool {
        let there = match &self.to {
            Some(to) => to == conversation,
            None => known,
        };
        let in_order = match self.searches {
            // Servers cannot search sealed messages.
            true => message.body.sealed().is_none(),
            false => message.seq > self.last && self.before.is_none_or(|end| message.seq < end),
        };
        there && in_order && self.messages_left > 0 && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(request: Value, reference: Option<&str>) -> Request {
        Request::new(serde_json::from_value(request).unwrap(), reference.map(Into::into))
    }

    /// Returns whether a message of bob to carol is admitted.
    fn admits(reads: &mut Reads, seq: u64, reference: &str, now: Instant) -> bool {
        let message = json!({"seq": seq.to_string(), "to": "@carol", "from": "Bob",
            "device": "main", "id": "0".repeat(32), "time_ms": 1, "sealed": "AQ",
            "ref": reference});
        let message: Message = serde_json::from_value(message).unwrap();
        let conversation = message.conversation(Some(&"carol".parse().unwrap()));
        reads.admits(&message, &conversation, true, now)
    }

    #[test]
    fn an_answer_is_bound_to_its_request() {
        let (mut reads, now) = (Reads::default(), Instant::now());
        assert!(!admits(&mut reads, 1, "", now) && !admits(&mut reads, 1, "q1", now));
        let bob = json!({"type": "history", "to": "@bob", "before": "9", "messages": 3});
        reads.note(&request(bob.clone(), Some("q1")), now);
        assert!(!admits(&mut reads, 1, "", now) && !admits(&mut reads, 1, "q2", now));
        assert!(!admits(&mut reads, 9, "q1", now), "it is not before the ninth");
        assert!(admits(&mut reads, 4, "q1", now) && admits(&mut reads, 5, "q1", now));
        assert!(!admits(&mut reads, 5, "q1", now), "the seqs ascend");
        assert!(admits(&mut reads, 6, "q1", now));
        assert!(!admits(&mut reads, 7, "q1", now), "three were asked for");
        let (bob_to, alice) = ("@bob".parse().unwrap(), "@alice".parse().unwrap());
        assert!(!reads.end(Some(&alice), Some("q1")) && !reads.end(None, Some("q1")));
        assert!(reads.end(Some(&bob_to), Some("q1")) && !reads.end(Some(&bob_to), Some("q1")));
        // A refusal without a reference may be of any other request.
        reads.note(&request(bob.clone(), None), now);
        assert!(admits(&mut reads, 4, "", now));
        reads.refused(None);
        assert!(admits(&mut reads, 5, "", now));
        assert!(reads.end(Some(&bob_to), None) && !admits(&mut reads, 6, "", now));
        reads.note(&request(bob.clone(), Some("q2")), now);
        reads.refused(Some("q2"));
        assert!(!admits(&mut reads, 1, "q2", now));
        // Another conversation, a search, and an answer that never ends.
        reads.note(&request(json!({"type": "history", "to": "@alice"}), Some("q1")), now);
        reads.note(&request(json!({"type": "search", "text": "tea"}), Some("q1")), now);
        assert!(!admits(&mut reads, 1, "q1", now));
        reads.note(&request(bob, Some("q1")), now);
        assert!(admits(&mut reads, 1, "q1", now));
        let late = now + Duration::from_secs(ANSWER_S_MAX);
        assert!(!admits(&mut reads, 2, "q1", late));
    }

    #[test]
    fn an_answer_and_the_open_requests_are_bounded() {
        let (mut reads, now) = (Reads::default(), Instant::now());
        let bob = json!({"type": "history", "to": "@bob", "messages": 1_000_000});
        reads.note(&request(bob.clone(), Some("q1")), now);
        let admitted = (1..5_000).filter(|seq| admits(&mut reads, *seq, "q1", now)).count();
        assert_eq!(admitted, ANSWER_MESSAGES_MAX);
        (0..5_000).for_each(|_| reads.note(&request(bob.clone(), None), now));
        assert_eq!(reads.0.len(), OPEN_READS_MAX);
    }
}
