//! Whether a person's device has said all that we were told, in its order: each sealed line counts its
//! session's lines and names the one before. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::chat::{LogId, Opaque, Seq, Target, UserName};
use crate::crypto::note::Link;

/// Sessions and lines of one device that are remembered.
const SESSIONS_MAX: usize = 32;
const LINES_MAX: usize = 16;

/// What is remembered of all sealed places.
#[derive(Default, Serialize, Deserialize)]
pub struct Chains {
    places: Vec<(Target, Lines)>,
    #[serde(skip)]
    changed: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Lines {
    log: Option<LogId>,
    /// The newest line that was told.
    last: Seq,
    /// By the certificate's fingerprint.
    devices: BTreeMap<String, Device>,
    /// Lines of a person whose own body is gone, because they were changed.
    spent: BTreeMap<UserName, u64>,
}

#[derive(Default, Serialize, Deserialize)]
struct Device {
    /// Each with the count that comes next.
    sessions: VecDeque<(Opaque, u64)>,
    /// Hashes of the newest lines.
    lines: VecDeque<Opaque>,
    /// Something was left out before: its next line may be any.
    loose: bool,
}

/// What is wrong with a line that is whole by itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Good,
    /// So many before it are missing.
    Missing(u64),
    /// It names a line before it that we were not told.
    Unlinked,
    /// It was told before.
    Again,
}

impl Chains {
    /// What the server says of a place. Of another log nothing is known; whether it is one.
    pub fn begin(&mut self, to: &Target, log: LogId) -> bool {
        let lines = self.lines(to);
        let other = lines.log != Some(log);
        if other {
            *lines = Lines { log: Some(log), ..Lines::default() };
        }
        other
    }

    /// Lines up to here are not told: what follows may follow anything.
    pub fn skip(&mut self, to: &Target, upto: Seq) {
        let lines = self.lines(to);
        lines.last = lines.last.max(upto);
        lines.devices.values_mut().for_each(|device| device.loose = true);
        self.changed = true;
    }

    /// Whether a line is new, and how many seqs are missing before it.
    pub fn arrives(&mut self, to: &Target, seq: Seq) -> (bool, u64) {
        let lines = self.lines(to);
        let (before, new) = (lines.last, seq > lines.last);
        if !new {
            return (false, 0);
        }
        lines.last = seq;
        self.changed = true;
        (true, if before == Seq(0) { 0 } else { seq.0 - before.0 - 1 })
    }

    /// A line of this person is told without what it said first.
    pub fn spent(&mut self, to: &Target, who: &UserName) {
        *self.lines(to).spent.entry(who.clone()).or_default() += 1;
        self.changed = true;
    }

    /// A new line of a person's device.
    pub fn takes(
        &mut self,
        to: &Target,
        who: &UserName,
        device: &str,
        link: &Link,
        hash: [u8; 32],
    ) -> Order {
        self.changed = true;
        let lines = self.lines(to);
        let mut none = 0;
        let spent = lines.spent.get_mut(who).unwrap_or(&mut none);
        let device = lines.devices.entry(device.to_owned()).or_default();
        let free = device.loose || device.sessions.is_empty();
        let linked = link.prev == [0; 32] && link.n == 0
            || device.lines.iter().any(|line| line.bytes() == link.prev);
        let session = device.sessions.iter().position(|(id, _)| id.bytes() == link.session);
        let expected = session.map_or(0, |index| device.sessions[index].1);
        if link.n < expected || device.lines.iter().any(|line| line.bytes() == hash) {
            return Order::Again;
        }
        let missing = link.n - expected;
        let order = match (missing, linked) {
            _ if free => Order::Good,
            (0, true) => Order::Good,
            (missing @ 1.., _) if missing <= *spent => {
                *spent -= missing;
                Order::Good
            }
            (missing @ 1.., _) => Order::Missing(missing),
            (0, false) if *spent > 0 => {
                *spent -= 1;
                Order::Good
            }
            (0, false) => Order::Unlinked,
        };
        device.loose = false;
        if let Some(index) = session {
            device.sessions.remove(index);
        }
        let id = Opaque::new(&link.session).expect("16 bytes");
        device.sessions.push_back((id, link.n.saturating_add(1)));
        device.lines.push_back(Opaque::new(&hash).expect("32 bytes"));
        while device.sessions.len() > SESSIONS_MAX {
            device.sessions.pop_front();
        }
        while device.lines.len() > LINES_MAX {
            device.lines.pop_front();
        }
        order
    }

    /// The newest line of a device: zeros where none is known.
    pub fn newest(&self, to: &Target, device: &str) -> [u8; 32] {
        let lines = self.places.iter().find(|(place, _)| place == to).map(|(_, lines)| lines);
        let newest = lines.and_then(|lines| lines.devices.get(device)?.lines.back());
        newest.and_then(|line| line.bytes().try_into().ok()).unwrap_or_default()
    }

    /// Nothing more is known of a place.
    pub fn forget(&mut self, to: &Target) {
        self.places.retain(|(place, _)| place != to);
        self.changed = true;
    }

    /// Whether there is something to keep since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn lines(&mut self, to: &Target) -> &mut Lines {
        let index = self.places.iter().position(|(place, _)| place == to);
        let index = index.unwrap_or_else(|| {
            self.places.push((to.clone(), Lines::default()));
            self.places.len() - 1
        });
        &mut self.places[index].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEA: &str = "#tea";

    fn link(session: u8, n: u64, prev: u8) -> Link {
        Link { session: [session; 16], n, prev: [prev; 32] }
    }

    struct Talk(Chains);

    impl Talk {
        fn new() -> Talk {
            Talk(Chains::default())
        }

        /// The line of this hash.
        fn says(&mut self, session: u8, n: u64, prev: u8, hash: u8) -> Order {
            let (to, who) = (TEA.parse().unwrap(), "ana".parse().unwrap());
            self.0.takes(&to, &who, "laptop", &link(session, n, prev), [hash; 32])
        }
    }

    #[test]
    fn lines_in_their_order_are_good_and_a_new_session_goes_on() {
        let mut talk = Talk::new();
        assert_eq!(talk.says(1, 40, 39, 41), Order::Good, "the first that we see");
        assert_eq!(talk.says(1, 41, 41, 42), Order::Good);
        assert_eq!(talk.says(2, 0, 42, 43), Order::Good);
        assert_eq!(talk.says(3, 0, 0, 44), Order::Good, "it remembers nothing");
        assert_eq!(talk.says(1, 42, 42, 45), Order::Good, "the older session was sent again");
        let kept = serde_json::to_string(&talk.0).unwrap();
        let mut talk = Talk(serde_json::from_str(&kept).unwrap());
        assert_eq!(talk.says(3, 1, 45, 46), Order::Good);
        assert_eq!(talk.0.newest(&TEA.parse().unwrap(), "laptop"), [46; 32]);
    }

    #[test]
    fn what_is_dropped_swapped_or_told_again_shows() {
        let mut talk = Talk::new();
        talk.says(1, 0, 0, 1);
        assert_eq!(talk.says(1, 2, 2, 3), Order::Missing(1));
        assert_eq!(talk.says(1, 1, 1, 2), Order::Again, "too late");
        assert_eq!(talk.says(1, 2, 2, 3), Order::Again);
        assert_eq!(talk.says(2, 0, 9, 4), Order::Unlinked, "the end of a session was dropped");
        assert_eq!(talk.says(4, 3, 4, 5), Order::Missing(3), "the begin of a session was");
    }

    #[test]
    fn a_gap_and_changed_lines_excuse_what_is_not_told() {
        let tea = TEA.parse().unwrap();
        let mut talk = Talk::new();
        talk.says(1, 0, 0, 1);
        talk.0.skip(&tea, Seq(7));
        assert_eq!(talk.says(1, 5, 5, 6), Order::Good);
        talk.0.spent(&tea, &"ana".parse().unwrap());
        assert_eq!(talk.says(1, 7, 7, 8), Order::Good);
        assert_eq!(talk.says(1, 9, 9, 10), Order::Missing(1), "that excuse was used");
        assert_eq!(talk.0.arrives(&tea, Seq(8)), (true, 0));
        assert_eq!(talk.0.arrives(&tea, Seq(8)), (false, 0));
        assert_eq!(talk.0.arrives(&tea, Seq(11)), (true, 2));
        talk.0.begin(&tea, LogId(9));
        assert_eq!(talk.says(1, 99, 9, 11), Order::Good, "another log");
    }
}
