//! Whether a person's device has said all that we were told, in its order: each sealed line counts
//! its session's lines and names the one before. Pure.
//!
//! What was said stays said, whatever log the server tells it from: a server that has another log
//! (a backup was restored, or it only says so) has other seqs, and the same people with the same
//! lines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::chat::{LogId, Opaque, Retention, Seq, Target, UserName};
use crate::crypto::header::Link;

/// Sessions and lines of one device that are remembered.
const SESSIONS_MAX: usize = 32;
const LINES_MAX: usize = 16;

/// What is remembered of all sealed conversations.
#[derive(Default, Serialize, Deserialize)]
pub struct Sequences {
    conversations: Vec<(Target, SequenceState)>,
    /// Since the last call of `take_changed`.
    #[serde(skip)]
    changed: BTreeSet<Target>,
}

/// What is remembered of one conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct SequenceState {
    log: Option<LogId>,
    /// How long messages are stored, as the server said at last.
    #[serde(default)]
    retention: Option<Retention>,
    /// The log is not the first one: what was told before may be told again.
    #[serde(default)]
    again: bool,
    /// The newest line that was told.
    last: Seq,
    /// When it was the newest one there is, by this client's clock in milliseconds since 1970.
    #[serde(default)]
    told_ms: i64,
    /// Which line was the newest one, and when, as the server said at last.
    #[serde(default)]
    newest: Option<(Seq, i64)>,
    /// By the certificate's fingerprint.
    devices: BTreeMap<String, Device>,
    /// Lines of a person whose own body is gone, because they were changed.
    spent: BTreeMap<UserName, u64>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Device {
    sessions: VecDeque<Session>,
    /// What was said until then, in sessions that are remembered no more, is not new.
    until_ms: i64,
    /// Hashes of the newest lines that say something, and of those that change others.
    lines: [VecDeque<Opaque>; 2],
    /// Something was left out before: its next line may be any.
    loose: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct Session {
    id: Opaque,
    /// The count that comes next.
    next: u64,
    /// Of its newest line, by its sender's clock.
    time_ms: i64,
}

/// A line as its sender has signed it.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    pub link: &'a Link,
    /// It changes another one.
    pub changes: bool,
    pub time_ms: i64,
    pub hash: [u8; 32],
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

impl Sequences {
    /// What the server says of a conversation: its log, and the newest line there. Whether the log
    /// is another one than before, and whether there was one.
    pub fn begin(&mut self, to: &Target, log: LogId, newest: Seq, now_ms: i64) -> (bool, bool) {
        let lines = self.lines(to);
        let (other, met) = (lines.log != Some(log), lines.log.is_some());
        if other {
            lines.log = Some(log);
            (lines.again, lines.last, lines.told_ms) = (met, Seq(0), 0);
            lines.spent.clear();
        }
        // Until that line is here, the one before says since when nothing older is new.
        match newest <= lines.last {
            true => (lines.told_ms, lines.newest) = (now_ms, None),
            false => lines.newest = Some((newest, now_ms)),
        }
        self.changed.insert(to.clone());
        (other, met)
    }

    /// The server says how long it stores messages of a conversation that it has told of. Gives
    /// what it said before.
    pub fn retains(&mut self, to: &Target, retention: Retention) -> Option<Retention> {
        self.conversation(to)?;
        self.changed.insert(to.clone());
        self.lines(to).retention.replace(retention)
    }

    /// The log of a conversation, and how long messages are stored there, as the server said at
    /// last.
    pub fn told_of(&self, to: &Target) -> (Option<LogId>, Option<Retention>) {
        self.conversation(to).map_or((None, None), |lines| (lines.log, lines.retention))
    }

    /// When all lines up to the newest one that was told were here already: what is told from now
    /// on was stored since, by the server's own word of then.
    pub fn told_ms(&self, to: &Target) -> i64 {
        self.conversation(to).map_or(0, |lines| lines.told_ms)
    }

    /// Whether lines of an earlier log may be told again.
    pub fn tells_again(&self, to: &Target) -> bool {
        self.conversation(to).is_some_and(|lines| lines.again)
    }

    /// Lines up to here are not told: what follows may follow anything.
    pub fn skip(&mut self, to: &Target, upto: Seq) {
        let lines = self.lines(to);
        lines.reaches(lines.last.max(upto));
        lines.devices.values_mut().for_each(|device| device.loose = true);
        self.changed.insert(to.clone());
    }

    /// Whether a line is new, and how many seqs are missing before it. One that is not told again
    /// comes when it is stored, at `live_ms`.
    pub fn arrives(&mut self, to: &Target, seq: Seq, live_ms: Option<i64>) -> (bool, u64) {
        let lines = self.lines(to);
        let (before, new) = (lines.last, seq > lines.last);
        if !new {
            return (false, 0);
        }
        lines.reaches(seq);
        lines.told_ms = live_ms.unwrap_or(lines.told_ms);
        self.changed.insert(to.clone());
        (true, if before == Seq(0) { 0 } else { seq.0 - before.0 - 1 })
    }

    /// A line of this person is told without what it said first.
    pub fn spent(&mut self, to: &Target, who: &UserName) {
        let spent = self.lines(to).spent.entry(who.clone()).or_default();
        *spent = spent.saturating_add(1);
        self.changed.insert(to.clone());
    }

    /// A new line of a person's device.
    pub fn takes(&mut self, to: &Target, who: &UserName, device: &str, line: Signed) -> Order {
        self.changed.insert(to.clone());
        let lines = self.lines(to);
        let mut none = 0;
        let spent = lines.spent.get_mut(who).unwrap_or(&mut none);
        let device = lines.devices.entry(device.to_owned()).or_default();
        let Signed { link, time_ms, hash, .. } = line;
        let free = device.loose || device.sessions.is_empty();
        let linked = link.prev == [0; 32] && link.n == 0 || device.has_told(&link.prev);
        let session = device.sessions.iter().position(|one| one.id.bytes() == link.session);
        let expected = session.map_or(0, |index| device.sessions[index].next);
        let forgotten = session.is_none() && time_ms <= device.until_ms;
        if link.n < expected || forgotten || device.has_told(&hash) {
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
        let next = link.n.saturating_add(1);
        device.sessions.push_back(Session { id, next, time_ms });
        if device.sessions.len() > SESSIONS_MAX
            && let Some(oldest) = device.sessions.pop_front()
        {
            device.until_ms = device.until_ms.max(oldest.time_ms);
        }
        let hashes = &mut device.lines[usize::from(line.changes)];
        hashes.push_back(Opaque::new(&hash).expect("32 bytes"));
        if hashes.len() > LINES_MAX {
            hashes.pop_front();
        }
        order
    }

    /// The newest line of a device that says something, or changes another: zeros where none is
    /// known.
    pub fn newest(&self, to: &Target, device: &str, changes: bool) -> [u8; 32] {
        let device = self.conversation(to).and_then(|lines| lines.devices.get(device));
        let newest = device.and_then(|device| device.lines[usize::from(changes)].back());
        newest.and_then(|line| line.bytes().try_into().ok()).unwrap_or_default()
    }

    /// Nothing more is known of a conversation.
    pub fn forget(&mut self, to: &Target) {
        self.conversations.retain(|(conversation, _)| conversation != to);
        self.changed.insert(to.clone());
    }

    /// As it was kept: of each conversation what was kept last.
    pub fn of(entries: Vec<(Target, Option<SequenceState>)>) -> Sequences {
        let entries = entries.into_iter().collect::<BTreeMap<_, _>>().into_iter();
        let conversations = entries.filter_map(|(to, lines)| Some((to, lines?))).collect();
        Sequences { conversations, changed: BTreeSet::new() }
    }

    /// The conversations of which there is something to keep since the last call, or nothing any
    /// more.
    pub fn take_changed(&mut self) -> Vec<(Target, Option<SequenceState>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed
            .map(|to| (self.conversation(&to).cloned(), to))
            .map(|(lines, to)| (to, lines))
            .collect()
    }

    /// Everything, to be kept.
    pub fn all(&self) -> Vec<(Target, Option<SequenceState>)> {
        self.conversations.iter().map(|(to, lines)| (to.clone(), Some(lines.clone()))).collect()
    }

    fn conversation(&self, to: &Target) -> Option<&SequenceState> {
        self.conversations
            .iter()
            .find(|(conversation, _)| conversation == to)
            .map(|(_, lines)| lines)
    }

    fn lines(&mut self, to: &Target) -> &mut SequenceState {
        let index = self.conversations.iter().position(|(conversation, _)| conversation == to);
        let index = index.unwrap_or_else(|| {
            self.conversations.push((to.clone(), SequenceState::default()));
            self.conversations.len() - 1
        });
        &mut self.conversations[index].1
    }
}

impl SequenceState {
    fn reaches(&mut self, seq: Seq) {
        self.last = seq;
        if let Some((_, then_ms)) = self.newest.take_if(|(newest, _)| *newest < seq) {
            self.told_ms = then_ms;
        }
    }
}

impl Device {
    fn has_told(&self, hash: &[u8; 32]) -> bool {
        self.lines.iter().flatten().any(|line| line.bytes() == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEA: &str = "#tea";

    fn link(session: u8, n: u64, prev: u8) -> Link {
        Link { session: [session; 16], n, prev: [prev; 32] }
    }

    struct Talk(Sequences);

    impl Talk {
        fn new() -> Talk {
            Talk(Sequences::default())
        }

        /// The line of this hash.
        fn says(&mut self, session: u8, n: u64, prev: u8, hash: u8) -> Order {
            let (to, who) = (TEA.parse().unwrap(), "ana".parse().unwrap());
            let link = &link(session, n, prev);
            let time_ms = i64::from(hash);
            let line = Signed { link, changes: false, time_ms, hash: [hash; 32] };
            self.0.takes(&to, &who, "laptop", line)
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
        assert_eq!(talk.0.newest(&TEA.parse().unwrap(), "laptop", false), [46; 32]);
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
        // However many of them a file says there are.
        let lines = serde_json::json!({"last": "7", "devices": {}, "spent": {"ana": u64::MAX}});
        let kept = serde_json::json!({"conversations": [[TEA, lines]]});
        let mut many: Sequences = serde_json::from_value(kept).unwrap();
        many.spent(&tea, &"ana".parse().unwrap());
        assert_eq!(talk.0.arrives(&tea, Seq(8), None), (true, 0));
        assert_eq!(talk.0.arrives(&tea, Seq(8), None), (false, 0));
        assert_eq!(talk.0.arrives(&tea, Seq(11), None), (true, 2));
    }

    #[test]
    fn in_another_log_the_lines_go_on_and_those_that_were_told_are_known() {
        let tea = TEA.parse().unwrap();
        let mut talk = Talk::new();
        let begins = |talk: &mut Talk, log, newest| talk.0.begin(&tea, LogId(log), Seq(newest), 7);
        assert_eq!(begins(&mut talk, 8, 0), (true, false));
        talk.says(1, 0, 0, 1);
        assert_eq!((begins(&mut talk, 8, 1), talk.0.tells_again(&tea)), ((false, true), false));
        assert_eq!((begins(&mut talk, 9, 1), talk.0.tells_again(&tea)), ((true, true), true));
        assert_eq!(talk.0.arrives(&tea, Seq(1), None), (true, 0), "its count begins anew");
        assert_eq!(talk.says(1, 0, 0, 1), Order::Again);
        assert_eq!(talk.says(1, 2, 2, 3), Order::Missing(1), "one was lost with the old log");
        assert_eq!(talk.says(1, 3, 3, 4), Order::Good);
    }

    #[test]
    fn a_session_that_is_remembered_no_more_says_nothing_new() {
        let mut talk = Talk::new();
        let sessions = 0..=SESSIONS_MAX as u8;
        sessions.for_each(|session| {
            talk.says(session, 0, session, session + 1);
        });
        assert_eq!(talk.says(0, 0, 0, 1), Order::Again, "another one took its room");
        assert_eq!(talk.says(0, 1, 1, 1), Order::Again);
        assert_eq!(talk.says(1, 1, 33, 60), Order::Good, "the next one is known still");
    }

    #[test]
    fn since_when_lines_are_new_is_known_from_the_last_time_that_all_were_here() {
        let tea = TEA.parse().unwrap();
        let mut chains = Sequences::default();
        chains.begin(&tea, LogId(9), Seq(2), 1_000);
        assert_eq!(chains.told_ms(&tea), 0, "two lines are owed");
        for (seq, told_ms) in [(1, 0), (2, 0), (3, 1_000)] {
            chains.arrives(&tea, Seq(seq), None);
            assert_eq!(chains.told_ms(&tea), told_ms, "{seq}");
        }
        chains.begin(&tea, LogId(9), Seq(3), 2_000);
        assert_eq!(chains.told_ms(&tea), 2_000);
        chains.begin(&tea, LogId(9), Seq(9), 3_000);
        assert_eq!(chains.told_ms(&tea), 2_000);
        chains.arrives(&tea, Seq(4), Some(3_500));
        assert_eq!(chains.told_ms(&tea), 3_500, "it came as it was said");
        chains.begin(&tea, LogId(10), Seq(9), 4_000);
        assert_eq!(chains.told_ms(&tea), 0);
    }
}
