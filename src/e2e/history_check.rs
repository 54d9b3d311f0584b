//! Completeness check of `/history` answers, per device, up to the messages that are already here.
//! Pure.
//!
//! Such an answer leaves out changes, therefore changes have their own sessions. A session of
//! messages counts messages only, and each message links to the one before it, also the first of a
//! session. A changed message leaves a tombstone without its count.

use std::collections::{HashMap, HashSet, VecDeque};

use super::sequence::Order;
use crate::chat::{Body, Message, Seq, Target, UserName};
use crate::crypto::header::ChainLink;

/// Messages of a device to which the next session may link: two clients may write at once.
const HASHES_MAX: usize = 16;
/// Requests whose answers are outstanding.
const ASKED_MAX: usize = 100;
/// Users with tombstones in a conversation and no message there yet. Further ones are not excused:
/// a server can invent any number of them.
const TOMBSTONE_USERS_MAX: usize = 1_000;

/// The current answer and the state that it is checked against.
#[derive(Default)]
pub struct HistoryCheck {
    page: Page,
    /// The upper bound of each request.
    asked: VecDeque<(Target, String, Seq)>,
    /// Requests for messages of one kind, whose answers leave out others.
    selections: VecDeque<(Target, String)>,
    /// Per conversation, the older end of the messages received without a gap.
    ends: HashMap<Target, End>,
}

/// The answer that is being received.
#[derive(Default)]
struct Page {
    of: Option<(Target, String)>,
    /// It leaves out messages of other kinds.
    selects: bool,
    first: Seq,
    last: Seq,
    sessions: HashMap<(String, [u8; 16]), Session>,
    devices: HashMap<String, Device>,
    /// Tombstones per user: messages whose own count is gone. As few as an answer has messages.
    tombstones: HashMap<UserName, Tombstones>,
}

struct Session {
    /// The next expected count.
    next: u64,
    /// Tombstones of its user before its last message.
    tombstones: u64,
}

struct Device {
    /// The link of its first message in this answer.
    first: Expected,
    hashes: VecDeque<[u8; 32]>,
    /// Tombstones of its user before its last message.
    tombstones: u64,
}

#[derive(Clone, Copy, Default)]
struct Tombstones {
    all: u64,
    free: u64,
}

/// The oldest received messages of a conversation.
struct End {
    first: Seq,
    /// The first message of each device.
    devices: HashMap<String, Expected>,
    /// Users with tombstones in this range.
    tombstones: HashSet<UserName>,
}

/// A message and its link to the previous message of its device.
#[derive(Clone)]
struct Expected {
    link: ChainLink,
    message: Message,
    /// Tombstones of its user lie between the two; one of them may be the linked message.
    any: bool,
}

impl HistoryCheck {
    /// Records a request for messages before this seq.
    pub fn record_request(&mut self, to: &Target, reference: &str, before: Seq) {
        self.asked.push_back((to.clone(), reference.to_owned(), before));
        if self.asked.len() > ASKED_MAX {
            self.asked.pop_front();
        }
    }

    /// Records a request for messages of one kind.
    pub fn record_selection(&mut self, to: &Target, reference: &str) {
        self.selections.push_back((to.clone(), reference.to_owned()));
        if self.selections.len() > ASKED_MAX {
            self.selections.pop_front();
        }
    }

    /// Starts or continues an answer. Returns whether the seqs ascend.
    pub fn advance(&mut self, to: &Target, reference: &str, seq: Seq) -> bool {
        let page = &mut self.page;
        if !page.of.as_ref().is_some_and(|of| of.0 == *to && of.1 == reference) {
            let of = (to.clone(), reference.to_owned());
            let selects = self.selections.contains(&of);
            *page = Page { of: Some(of), selects, first: seq, ..Page::default() };
        }
        let later = seq > page.last;
        page.last = page.last.max(seq);
        later
    }

    /// Ends the answer. Returns the already received messages whose predecessor is missing.
    pub fn finish(&mut self) -> Vec<Message> {
        let page = std::mem::take(&mut self.page);
        let Some((to, reference)) = page.of else { return Vec::new() };
        if page.selects {
            self.selections.retain(|one| one.0 != to || one.1 != reference);
            return Vec::new();
        }
        let asked = self.asked.iter().position(|one| one.0 == to && one.1 == reference);
        let before = asked.and_then(|index| self.asked.remove(index)).map(|one| one.2);
        let mut missed = Vec::new();
        if let Some(end) = self.ends.get_mut(&to).filter(|end| Some(end.first) == before) {
            end.first = page.first;
            for (name, device) in &page.devices {
                let Some(expected) = end.devices.get(name) else { continue };
                let all = page
                    .tombstones
                    .get(&expected.message.from)
                    .map_or(0, |tombstones| tombstones.all);
                if !expected.any && all == device.tombstones && !device.has(&expected.link) {
                    missed.push(expected.message.clone());
                }
            }
            page.tombstones.keys().for_each(|who| end.add_tombstone(who));
            for expected in end.devices.values_mut() {
                expected.any |= page.tombstones.contains_key(&expected.message.from);
            }
            let devices = page.devices.into_iter();
            end.devices.extend(devices.map(|(name, device)| (name, device.first)));
        }
        missed
    }

    /// Forgets open requests when the connection is lost.
    pub fn lost(&mut self) {
        self.page = Page::default();
        self.asked.clear();
        self.selections.clear();
    }

    /// Records a new message. The first one of a device is checked against older ones that arrive
    /// later; a changed message has no link.
    pub fn record(&mut self, to: &Target, message: &Message, link: Option<(&str, &ChainLink)>) {
        let new =
            || End { first: message.seq, devices: HashMap::new(), tombstones: HashSet::new() };
        let end = self.ends.entry(to.clone()).or_insert_with(new);
        let Some((device, link)) = link else {
            end.add_tombstone(&message.from);
            return;
        };
        let any = end.tombstones.contains(&message.from);
        let expected = || Expected { link: *link, message: bare(message), any };
        end.devices.entry(device.to_owned()).or_insert_with(expected);
    }

    /// Records a gap or another epoch: messages before it do not connect to messages after it.
    pub fn skip(&mut self, to: &Target) {
        self.ends.remove(to);
    }

    /// Counts a tombstone of this user.
    pub fn count_tombstone(&mut self, who: &UserName) {
        let tombstones = self.page.tombstones.entry(who.clone()).or_default();
        (tombstones.all, tombstones.free) = (tombstones.all + 1, tombstones.free + 1);
    }

    /// Checks the place of a message among those of its device.
    pub fn check(
        &mut self,
        message: &Message,
        device: &str,
        link: &ChainLink,
        hash: [u8; 32],
    ) -> Order {
        let page = &mut self.page;
        let mut none = Tombstones::default();
        let tombstones = page.tombstones.get_mut(&message.from).unwrap_or(&mut none);
        let counted = Session { next: link.n.saturating_add(1), tombstones: tombstones.all };
        let session = (device.to_owned(), link.session);
        let new = || Device {
            first: Expected { link: *link, message: bare(message), any: tombstones.all > 0 },
            hashes: VecDeque::new(),
            tombstones: tombstones.all,
        };
        let known = page.devices.entry(device.to_owned()).or_insert_with(new);
        let first = known.hashes.is_empty();
        let order = match page.sessions.get(&session) {
            None if first || page.selects || known.has(link) => Order::Good,
            None if tombstones.all > known.tombstones && tombstones.free > 0 => {
                tombstones.free -= 1;
                Order::Good
            }
            None => Order::Unlinked,
            Some(before) if link.n < before.next => return Order::Again,
            Some(_) if page.selects => Order::Good,
            Some(before) => {
                let missing = link.n - before.next;
                let excused = missing.min(tombstones.all - before.tombstones).min(tombstones.free);
                tombstones.free -= excused;
                match missing - excused {
                    0 => Order::Good,
                    missing => Order::Missing(missing),
                }
            }
        };
        known.tombstones = tombstones.all;
        known.hashes.push_back(hash);
        if known.hashes.len() > HASHES_MAX {
            known.hashes.pop_front();
        }
        page.sessions.insert(session, counted);
        order
    }
}

impl End {
    fn add_tombstone(&mut self, who: &UserName) {
        let is_known = || self.devices.values().any(|one| one.message.from == *who);
        if self.tombstones.len() < TOMBSTONE_USERS_MAX
            || self.tombstones.contains(who)
            || is_known()
        {
            self.tombstones.insert(who.clone());
        }
    }
}

impl Device {
    /// Returns whether the linked message was received, or the link is the first of a client that
    /// knows none.
    fn has(&self, link: &ChainLink) -> bool {
        link.n == 0 && link.prev == [0; 32] || self.hashes.contains(&link.prev)
    }
}

/// The message without its text.
fn bare(message: &Message) -> Message {
    Message { body: Body::default(), ..message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64) -> Message {
        let message = serde_json::json!({
            "seq": seq.to_string(), "to": "#tea", "from": "ana", "device": "main",
            "id": "0".repeat(32), "time_ms": 0,
        });
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn between_two_lines_of_a_session_nothing_is_left_out() {
        let (tea, ana): (Target, UserName) = ("#tea".parse().unwrap(), "ana".parse().unwrap());
        let mut answer = HistoryCheck::default();
        let says = |answer: &mut HistoryCheck, session: u8, n: u64| {
            // Each message links to the one before; the first of the second session links to the
            // last of the first one.
            let hash = |session: u8, n: u64| [session ^ n as u8; 32];
            let prev =
                if (session, n) == (2, 0) { hash(1, 41) } else { hash(session, n.max(1) - 1) };
            let link = ChainLink { session: [session; 16], n, prev };
            answer.check(&message(1), "laptop", &link, hash(session, n))
        };
        assert!(answer.advance(&tea, "1", Seq(7)) && !answer.advance(&tea, "1", Seq(7)));
        assert_eq!(says(&mut answer, 1, 40), Order::Good, "the first that is known");
        assert_eq!(says(&mut answer, 1, 41), Order::Good);
        assert_eq!(says(&mut answer, 2, 0), Order::Good);
        assert_eq!(says(&mut answer, 1, 43), Order::Missing(1));
        answer.count_tombstone(&ana);
        assert_eq!(says(&mut answer, 1, 46), Order::Missing(1), "one was changed");
        assert_eq!(says(&mut answer, 2, 2), Order::Missing(1), "that excuse was used");
        assert_eq!(says(&mut answer, 1, 46), Order::Again);
        answer.count_tombstone(&ana);
        assert_eq!(says(&mut answer, 3, 5), Order::Good);
        assert_eq!(says(&mut answer, 3, 7), Order::Missing(1), "that was changed before both");
        assert!(answer.advance(&tea, "2", Seq(1)), "another answer");
        assert_eq!(says(&mut answer, 1, 9), Order::Good);
        answer.finish();
        assert_eq!(says(&mut answer, 1, 2), Order::Good);
    }

    #[test]
    fn users_with_tombstones_are_bounded_and_displace_none_with_messages() {
        let (tea, mut check) = ("#tea".parse().unwrap(), HistoryCheck::default());
        let link = ChainLink { session: [7; 16], n: 9, prev: [8; 32] };
        check.record(&tea, &message(9), Some(("laptop", &link)));
        let tombstone = |who: String| Message { from: who.parse().unwrap(), ..message(10) };
        for number in 0..3 * TOMBSTONE_USERS_MAX {
            check.record(&tea, &tombstone(format!("made{number}")), None);
        }
        check.record(&tea, &tombstone("ana".into()), None);
        let tombstones = &check.ends[&tea].tombstones;
        assert_eq!(tombstones.len(), TOMBSTONE_USERS_MAX + 1);
        assert!(tombstones.contains("ana".parse::<UserName>().as_ref().unwrap()));
    }

    #[test]
    fn an_older_answer_ends_where_what_is_here_begins() {
        let (tea, ana): (Target, UserName) = ("#tea".parse().unwrap(), "ana".parse().unwrap());
        let link = |n: u8| ChainLink { session: [7; 16], n: n.into(), prev: [n - 1; 32] };
        // What is here new with the ninth message, and older ones are asked for.
        let page = |seqs: &[u8], changed: bool, before: u64| {
            let mut answer = HistoryCheck::default();
            answer.record(&tea, &message(9), Some(("laptop", &link(9))));
            answer.record(&tea, &message(10), Some(("laptop", &link(10))));
            answer.record_request(&tea, "1", Seq(before));
            for n in seqs {
                assert!(answer.advance(&tea, "1", Seq((*n).into())));
                let order = answer.check(&message((*n).into()), "laptop", &link(*n), [*n; 32]);
                assert_eq!(order, Order::Good);
            }
            if changed {
                answer.count_tombstone(&ana);
            }
            let missed: Vec<_> = answer.finish().into_iter().map(|message| message.seq).collect();
            (missed, answer)
        };
        assert_eq!(page(&[7, 8], false, 9).0, []);
        assert_eq!(page(&[6, 7], false, 9).0, [Seq(9)], "the eighth is left out");
        assert_eq!(page(&[6, 7], true, 9).0, [], "it was changed");
        assert_eq!(page(&[4, 5], false, 6).0, [], "what lies between was not asked for");
        // The next older page ends where this one new.
        for (seqs, missed) in [(&[5, 6][..], vec![]), (&[5][..], vec![Seq(7)])] {
            let (_, mut answer) = page(&[7, 8], false, 9);
            answer.record_request(&tea, "2", Seq(7));
            for n in seqs {
                answer.advance(&tea, "2", Seq((*n).into()));
                answer.check(&message((*n).into()), "laptop", &link(*n), [*n; 32]);
            }
            let found: Vec<_> = answer.finish().into_iter().map(|message| message.seq).collect();
            assert_eq!(found, missed);
        }
    }

    #[test]
    fn an_answer_with_messages_of_one_kind_leaves_out_others() {
        let tea: Target = "#tea".parse().unwrap();
        for (selects, expected) in [(false, Order::Missing(3)), (true, Order::Good)] {
            let mut answer = HistoryCheck::default();
            answer.record(&tea, &message(9), Some(("laptop", &link(9, 8))));
            if selects {
                answer.record_selection(&tea, "1");
            } else {
                answer.record_request(&tea, "1", Seq(9));
            }
            let mut takes = |n: u64| {
                answer.advance(&tea, "1", Seq(n));
                answer.check(&message(n), "laptop", &link(n, n as u8 - 1), [n as u8; 32])
            };
            assert_eq!((takes(1), takes(5)), (Order::Good, expected));
            assert_eq!(takes(1), Order::Again, "a message is there once");
            assert_eq!(answer.finish().is_empty(), selects);
        }
    }

    fn link(n: u64, prev: u8) -> ChainLink {
        ChainLink { session: [7; 16], n, prev: [prev; 32] }
    }

    #[test]
    fn the_ends_of_sessions_are_missed_too() {
        let tea: Target = "#tea".parse().unwrap();
        let takes = |answer: &mut HistoryCheck, session: u8, n: u64, prev: u8, hash: u8| {
            let link = ChainLink { session: [session; 16], n, prev: [prev; 32] };
            answer.check(&message(1), "laptop", &link, [hash; 32])
        };
        let new = || {
            let mut answer = HistoryCheck::default();
            assert!(answer.advance(&tea, "1", Seq(1)));
            assert_eq!(takes(&mut answer, 1, 0, 0, 1), Order::Good);
            answer
        };
        assert_eq!(takes(&mut new(), 2, 0, 1, 3), Order::Good);
        assert_eq!(takes(&mut new(), 2, 0, 2, 3), Order::Unlinked, "the last of the first one");
        assert_eq!(takes(&mut new(), 2, 1, 2, 3), Order::Unlinked, "the first of the second");
        assert_eq!(takes(&mut new(), 2, 0, 0, 3), Order::Good, "a client that knows of none");
        let mut changed = new();
        changed.count_tombstone(&"ana".parse().unwrap());
        assert_eq!(takes(&mut changed, 2, 0, 2, 3), Order::Good, "it was changed");
    }
}
