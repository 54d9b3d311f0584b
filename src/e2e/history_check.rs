//! Whether an answer to `/history` has all that a person's devices have said, up to the lines that
//! are here already. Pure.
//!
//! What changes lines is not told in such an answer, so it has sessions of its own: a session of
//! lines that say something counts these alone, and each of them names the one before it, also the
//! first of a session. Of a line that was changed its seat is there, without its own count.

use std::collections::{HashMap, HashSet, VecDeque};

use super::sequence::Order;
use crate::chat::{Body, Message, Seq, Target, UserName};
use crate::crypto::header::Link;

/// Lines of a device of which the next session may name any: two clients may speak at once.
const LINES_MAX: usize = 16;
/// Questions that wait for their answers.
const ASKED_MAX: usize = 100;

/// Answers, and what they are held against.
#[derive(Default)]
pub struct HistoryCheck {
    now: Answer,
    /// Up to where lines were asked for, by the question.
    asked: VecDeque<(Target, String, Seq)>,
    /// Of each conversation the older end of what was told without a hole.
    ends: HashMap<Target, End>,
}

/// The answer that is being told.
#[derive(Default)]
struct Answer {
    of: Option<(Target, String)>,
    first: Seq,
    last: Seq,
    sessions: HashMap<(String, [u8; 16]), Session>,
    devices: HashMap<String, Device>,
    /// Lines of a person whose own count is gone, all of them and those that excuse nothing yet.
    seats: HashMap<UserName, Seats>,
}

struct Session {
    /// The count that comes next.
    next: u64,
    /// Seats of its person before its last line.
    seats: u64,
}

struct Device {
    /// What its first line here names.
    wants: Wants,
    hashes: VecDeque<[u8; 32]>,
    /// Seats of its person before its last line.
    seats: u64,
}

#[derive(Clone, Copy, Default)]
struct Seats {
    all: u64,
    free: u64,
}

/// The first lines that were told of a conversation.
struct End {
    first: Seq,
    /// The first line of each device.
    devices: HashMap<String, Wants>,
    /// Who has seats there.
    seats: HashSet<UserName>,
}

/// A line, and the one before it of its device.
#[derive(Clone)]
struct Wants {
    link: Link,
    line: Message,
    /// Between the two are seats of its person, one of which may be the one that it names.
    any: bool,
}

impl HistoryCheck {
    /// Lines before this one are asked for.
    pub fn asked(&mut self, to: &Target, reference: &str, before: Seq) {
        self.asked.push_back((to.clone(), reference.to_owned(), before));
        if self.asked.len() > ASKED_MAX {
            self.asked.pop_front();
        }
    }

    /// A line of an answer to this question comes; whether it stands where it should.
    pub fn goes_on(&mut self, to: &Target, reference: &str, seq: Seq) -> bool {
        let now = &mut self.now;
        if !now.of.as_ref().is_some_and(|of| of.0 == *to && of.1 == reference) {
            let of = Some((to.clone(), reference.to_owned()));
            *now = Answer { of, first: seq, ..Answer::default() };
        }
        let later = seq > now.last;
        now.last = now.last.max(seq);
        later
    }

    /// The answer is whole. Gives the lines, told before, whose one before is missing.
    pub fn ends(&mut self) -> Vec<Message> {
        let now = std::mem::take(&mut self.now);
        let Some((to, reference)) = now.of else { return Vec::new() };
        let asked = self.asked.iter().position(|one| one.0 == to && one.1 == reference);
        let before = asked.and_then(|index| self.asked.remove(index)).map(|one| one.2);
        let mut missed = Vec::new();
        if let Some(end) = self.ends.get_mut(&to).filter(|end| Some(end.first) == before) {
            end.first = now.first;
            for (name, device) in &now.devices {
                let Some(wants) = end.devices.get(name) else { continue };
                let all = now.seats.get(&wants.line.from).map_or(0, |seats| seats.all);
                if !wants.any && all == device.seats && !device.has(&wants.link) {
                    missed.push(wants.line.clone());
                }
            }
            end.seats.extend(now.seats.keys().cloned());
            for wants in end.devices.values_mut() {
                wants.any |= now.seats.contains_key(&wants.line.from);
            }
            let devices = now.devices.into_iter();
            end.devices.extend(devices.map(|(name, device)| (name, device.wants)));
        }
        missed
    }

    /// The connection is gone, and with it what was asked.
    pub fn lost(&mut self) {
        self.now = Answer::default();
        self.asked.clear();
    }

    /// A new line is told. The first one of a device is held against what is told of older ones;
    /// of a line that was changed there is no link.
    pub fn is_told(&mut self, to: &Target, line: &Message, link: Option<(&str, &Link)>) {
        let begins = || End { first: line.seq, devices: HashMap::new(), seats: HashSet::new() };
        let end = self.ends.entry(to.clone()).or_insert_with(begins);
        let Some((device, link)) = link else {
            end.seats.insert(line.from.clone());
            return;
        };
        let any = end.seats.contains(&line.from);
        let wants = || Wants { link: *link, line: bare(line), any };
        end.devices.entry(device.to_owned()).or_insert_with(wants);
    }

    /// There is a hole, or another log: what is told before it does not end at what comes after.
    pub fn skip(&mut self, to: &Target) {
        self.ends.remove(to);
    }

    /// A line of this person is told without what it said first.
    pub fn spent(&mut self, who: &UserName) {
        let seats = self.now.seats.entry(who.clone()).or_default();
        (seats.all, seats.free) = (seats.all + 1, seats.free + 1);
    }

    /// A line as its person's device has said it.
    pub fn takes(&mut self, line: &Message, device: &str, link: &Link, hash: [u8; 32]) -> Order {
        let now = &mut self.now;
        let mut none = Seats::default();
        let seats = now.seats.get_mut(&line.from).unwrap_or(&mut none);
        let counted = Session { next: link.n.saturating_add(1), seats: seats.all };
        let session = (device.to_owned(), link.session);
        let begins = || Device {
            wants: Wants { link: *link, line: bare(line), any: seats.all > 0 },
            hashes: VecDeque::new(),
            seats: seats.all,
        };
        let told = now.devices.entry(device.to_owned()).or_insert_with(begins);
        let first = told.hashes.is_empty();
        let order = match now.sessions.get(&session) {
            None if first || told.has(link) => Order::Good,
            None if seats.all > told.seats && seats.free > 0 => {
                seats.free -= 1;
                Order::Good
            }
            None => Order::Unlinked,
            Some(before) if link.n < before.next => return Order::Again,
            Some(before) => {
                let missing = link.n - before.next;
                let excused = missing.min(seats.all - before.seats).min(seats.free);
                seats.free -= excused;
                match missing - excused {
                    0 => Order::Good,
                    missing => Order::Missing(missing),
                }
            }
        };
        told.seats = seats.all;
        told.hashes.push_back(hash);
        if told.hashes.len() > LINES_MAX {
            told.hashes.pop_front();
        }
        now.sessions.insert(session, counted);
        order
    }
}

impl Device {
    /// Whether this line names one that was told, or a client said it that knows of none.
    fn has(&self, link: &Link) -> bool {
        link.n == 0 && link.prev == [0; 32] || self.hashes.contains(&link.prev)
    }
}

/// Without its words.
fn bare(line: &Message) -> Message {
    Message { body: Body::default(), ..line.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64) -> Message {
        let line = serde_json::json!({
            "seq": seq.to_string(), "to": "#tea", "from": "ana", "device": "main",
            "id": "0".repeat(32), "time_ms": 0,
        });
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn between_two_lines_of_a_session_nothing_is_left_out() {
        let (tea, ana): (Target, UserName) = ("#tea".parse().unwrap(), "ana".parse().unwrap());
        let mut answer = HistoryCheck::default();
        let says = |answer: &mut HistoryCheck, session: u8, n: u64| {
            // Each line names the one before, and the first of the second session the first one's
            // last.
            let hash = |session: u8, n: u64| [session ^ n as u8; 32];
            let prev =
                if (session, n) == (2, 0) { hash(1, 41) } else { hash(session, n.max(1) - 1) };
            let link = Link { session: [session; 16], n, prev };
            answer.takes(&line(1), "laptop", &link, hash(session, n))
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

    #[test]
    fn an_older_answer_ends_where_what_is_here_begins() {
        let (tea, ana): (Target, UserName) = ("#tea".parse().unwrap(), "ana".parse().unwrap());
        let link = |n: u8| Link { session: [7; 16], n: n.into(), prev: [n - 1; 32] };
        // What is here begins with the ninth line, and older ones are asked for.
        let page = |lines: &[u8], changed: bool, before: u64| {
            let mut answer = HistoryCheck::default();
            answer.is_told(&tea, &line(9), Some(("laptop", &link(9))));
            answer.is_told(&tea, &line(10), Some(("laptop", &link(10))));
            answer.asked(&tea, "1", Seq(before));
            for n in lines {
                assert!(answer.goes_on(&tea, "1", Seq((*n).into())));
                let order = answer.takes(&line((*n).into()), "laptop", &link(*n), [*n; 32]);
                assert_eq!(order, Order::Good);
            }
            if changed {
                answer.spent(&ana);
            }
            let missed: Vec<_> = answer.ends().into_iter().map(|line| line.seq).collect();
            (missed, answer)
        };
        assert_eq!(page(&[7, 8], false, 9).0, []);
        assert_eq!(page(&[6, 7], false, 9).0, [Seq(9)], "the eighth is left out");
        assert_eq!(page(&[6, 7], true, 9).0, [], "it was changed");
        assert_eq!(page(&[4, 5], false, 6).0, [], "what lies between was not asked for");
        // The next older page ends where this one begins.
        for (lines, missed) in [(&[5, 6][..], vec![]), (&[5][..], vec![Seq(7)])] {
            let (_, mut answer) = page(&[7, 8], false, 9);
            answer.asked(&tea, "2", Seq(7));
            for n in lines {
                answer.goes_on(&tea, "2", Seq((*n).into()));
                answer.takes(&line((*n).into()), "laptop", &link(*n), [*n; 32]);
            }
            let found: Vec<_> = answer.ends().into_iter().map(|line| line.seq).collect();
            assert_eq!(found, missed);
        }
    }

    #[test]
    fn the_ends_of_sessions_are_missed_too() {
        let tea: Target = "#tea".parse().unwrap();
        let takes = |answer: &mut HistoryCheck, session: u8, n: u64, prev: u8, hash: u8| {
            let link = Link { session: [session; 16], n, prev: [prev; 32] };
            answer.takes(&line(1), "laptop", &link, [hash; 32])
        };
        let begins = || {
            let mut answer = HistoryCheck::default();
            assert!(answer.goes_on(&tea, "1", Seq(1)));
            assert_eq!(takes(&mut answer, 1, 0, 0, 1), Order::Good);
            answer
        };
        assert_eq!(takes(&mut begins(), 2, 0, 1, 3), Order::Good);
        assert_eq!(takes(&mut begins(), 2, 0, 2, 3), Order::Unlinked, "the last of the first one");
        assert_eq!(takes(&mut begins(), 2, 1, 2, 3), Order::Unlinked, "the first of the second");
        assert_eq!(takes(&mut begins(), 2, 0, 0, 3), Order::Good, "a client that knows of none");
        let mut changed = begins();
        changed.spent(&"ana".parse().unwrap());
        assert_eq!(takes(&mut changed, 2, 0, 2, 3), Order::Good, "it was changed");
    }
}
