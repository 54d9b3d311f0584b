//! Sequence check per device: each sealed message has a count within its session and a link to the
//! previous message. Pure.
//!
//! The state outlives the server's log. A server with another epoch (after a restore, or by its own
//! claim only) has other seqs, but the same users and messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::tombstones::Tombstones;
use crate::chat::{Epoch, Opaque, Retention, Seq, Target, UserName};
use crate::crypto::header::ChainLink;
use crate::limits::CONVERSATIONS_MAX;

/// Remembered sessions, and messages, of a device.
const SESSIONS_MAX: usize = 32;
const HASHES_MAX: usize = 16;
/// Unsigned tombstones of edits in all conversations: 2.4 MB of the stored file at most.
const EDITS_MAX: usize = 20_000;
/// The same in all private conversations in which the user has written nothing. A server can invent
/// as many of them as it has pinned keys.
const UNANSWERED_EDITS_MAX: usize = 5_000;
/// Time for a replay, in milliseconds. After it, a deletion that could explain a tombstone is
/// overdue.
const REPLAY_MS: u64 = 60_000;

/// The state of all sealed conversations.
#[derive(Default, Serialize, Deserialize)]
pub struct Sequences {
    conversations: Vec<(Target, SequenceState)>,
    /// Conversations changed since the last call of `take_changed`.
    #[serde(skip)]
    changed: BTreeSet<Target>,
}

/// The state of one conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct SequenceState {
    epoch: Option<Epoch>,
    /// The retention that the server stated last.
    #[serde(default)]
    retention: Option<Retention>,
    /// The log is not the first one, so messages received earlier may be replayed.
    #[serde(default)]
    again: bool,
    /// Seq of the newest received message.
    last: Seq,
    /// When `last` was the newest message in the log, by this client's clock in milliseconds since
    /// 1970.
    #[serde(default)]
    stated_ms: i64,
    /// The newest seq that the server stated last, and when.
    #[serde(default)]
    newest: Option<(Seq, i64)>,
    /// By certificate fingerprint.
    devices: BTreeMap<String, Device>,
    #[serde(default)]
    tombstones: Tombstones,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Device {
    sessions: VecDeque<Session>,
    /// A message up to this time in a session that is no longer remembered is not new.
    until_ms: i64,
    /// Hashes of the newest messages, and of the newest changes.
    hashes: [VecDeque<Opaque>; 2],
    /// Messages may be missing before the next one: any count is accepted.
    loose: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct Session {
    id: Opaque,
    /// The next expected count.
    next: u64,
    /// Signed time of its newest message.
    time_ms: i64,
}

/// The signed fields of a message that the check uses.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    pub link: &'a ChainLink,
    /// The message changes another one.
    pub changes: bool,
    pub time_ms: i64,
    pub hash: [u8; 32],
}

/// The result of the check for one message.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Good,
    /// This many messages before it are missing.
    Missing(u64),
    /// It links to a message that was not received.
    Unlinked,
    /// It was received before.
    Again,
}

impl Sequences {
    /// Takes the server's log and newest seq of a conversation. Returns whether the log has
    /// changed, and whether there was one before.
    pub fn begin(&mut self, to: &Target, epoch: Epoch, newest: Seq, now_ms: i64) -> (bool, bool) {
        let state = self.state(to);
        let (other, met) = (state.epoch != Some(epoch), state.epoch.is_some());
        if other {
            state.epoch = Some(epoch);
            (state.again, state.last, state.stated_ms) = (met, Seq(0), 0);
            state.tombstones.clear();
        }
        // Until the newest message arrives, the previous `stated_ms` bounds the age of new ones.
        match newest <= state.last {
            true => (state.stated_ms, state.newest) = (now_ms, None),
            false => state.newest = Some((newest, now_ms)),
        }
        self.changed.insert(to.clone());
        (other, met)
    }

    /// Records the retention of a known conversation. Returns the previous one.
    pub fn retains(&mut self, to: &Target, retention: Retention) -> Option<Retention> {
        self.conversation(to)?;
        self.changed.insert(to.clone());
        self.state(to).retention.replace(retention)
    }

    /// The log and the retention that the server stated last.
    pub fn epoch_and_retention(&self, to: &Target) -> (Option<Epoch>, Option<Retention>) {
        self.conversation(to).map_or((None, None), |state| (state.epoch, state.retention))
    }

    /// When all messages up to the newest received one were here. By the server's own statement of
    /// that time, later messages were stored after it.
    pub fn stated_ms(&self, to: &Target) -> i64 {
        self.conversation(to).map_or(0, |state| state.stated_ms)
    }

    /// Returns whether messages of an earlier log may be replayed.
    pub fn may_replay(&self, to: &Target) -> bool {
        self.conversation(to).is_some_and(|state| state.again)
    }

    /// Records a gap up to this seq. After it any count is accepted.
    pub fn skip(&mut self, to: &Target, upto: Seq) {
        let state = self.state(to);
        state.reaches(state.last.max(upto));
        state.devices.values_mut().for_each(|device| device.loose = true);
        self.changed.insert(to.clone());
    }

    /// Returns whether a message is new, and how many seqs are missing before it. A message that is
    /// not replayed was stored at `live_ms`.
    pub fn arrives(&mut self, to: &Target, seq: Seq, live_ms: Option<i64>) -> (bool, u64) {
        let state = self.state(to);
        let (before, new) = (state.last, seq > state.last);
        if !new {
            return (false, 0);
        }
        state.reaches(seq);
        state.stated_ms = live_ms.unwrap_or(state.stated_ms);
        self.changed.insert(to.clone());
        (true, if before == Seq(0) { 0 } else { seq.0 - before.0 - 1 })
    }

    /// The tombstones of a conversation.
    pub fn tombstones(&mut self, to: &Target) -> &mut Tombstones {
        self.changed.insert(to.clone());
        &mut self.state(to).tombstones
    }

    /// Adds the unsigned tombstone of an edit. Beyond the bounds it excuses nothing.
    pub fn add_unsigned_edit(&mut self, to: &Target, who: &UserName, of: Seq, own: &UserName) {
        let edits = |state: &SequenceState| state.tombstones.unsigned_edits();
        let with_edits = self.conversations.iter().filter(|(_, state)| edits(state) > 0);
        let (all, unanswered) = with_edits.fold((0, 0), |(all, unanswered), (other, state)| {
            let count = if state.is_of_user(other, own) { 0 } else { edits(state) };
            (all + edits(state), unanswered + count)
        });
        let is_of_user = self.conversation(to).is_some_and(|state| state.is_of_user(to, own));
        if all < EDITS_MAX && (is_of_user || unanswered < UNANSWERED_EDITS_MAX) {
            self.tombstones(to).add_unsigned_edit(who, of);
        }
    }

    /// Once the replay has ended: how many changes of each user are missing whose tombstones nobody
    /// has signed.
    pub fn take_unexplained(&mut self, to: &Target, now_ms: i64) -> BTreeMap<UserName, u64> {
        let state = self.state(to);
        // A server may claim that newer messages follow, and not send them.
        let is_open = |(newest, then_ms): (Seq, i64)| {
            newest > state.last && now_ms.abs_diff(then_ms) < REPLAY_MS
        };
        match state.newest.is_some_and(is_open) {
            true => BTreeMap::new(),
            false => state.tombstones.take_unexplained(),
        }
    }

    /// Checks a new message of a device.
    pub fn check(&mut self, to: &Target, who: &UserName, device: &str, signed: Signed) -> Order {
        self.changed.insert(to.clone());
        let state = self.state(to);
        let device = state.devices.entry(device.to_owned()).or_default();
        let Signed { link, time_ms, hash, .. } = signed;
        let free = device.loose || device.sessions.is_empty();
        let linked = link.prev == [0; 32] && link.n == 0 || device.has_received(&link.prev);
        let session = device.sessions.iter().position(|one| one.id.bytes() == link.session);
        let expected = session.map_or(0, |index| device.sessions[index].next);
        let forgotten = session.is_none() && time_ms <= device.until_ms;
        if link.n < expected || forgotten || device.has_received(&hash) {
            return Order::Again;
        }
        let missing = link.n - expected;
        let order = match (missing, linked) {
            _ if free => Order::Good,
            (0, true) => Order::Good,
            _ if state.tombstones.excuse(who, signed.changes, missing.max(1)) => Order::Good,
            (0, false) => Order::Unlinked,
            (missing, _) => Order::Missing(missing),
        };
        device.loose = false;
        state.tombstones.meets(who);
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
        let hashes = &mut device.hashes[usize::from(signed.changes)];
        hashes.push_back(Opaque::new(&hash).expect("32 bytes"));
        if hashes.len() > HASHES_MAX {
            hashes.pop_front();
        }
        order
    }

    /// Hash of the newest message, or of the newest change, of a device; zeros if there is none.
    pub fn newest(&self, to: &Target, device: &str, changes: bool) -> [u8; 32] {
        let device = self.conversation(to).and_then(|state| state.devices.get(device));
        let newest = device.and_then(|device| device.hashes[usize::from(changes)].back());
        newest.and_then(|hash| hash.bytes().try_into().ok()).unwrap_or_default()
    }

    /// Forgets a conversation.
    pub fn forget(&mut self, to: &Target) {
        self.conversations.retain(|(conversation, _)| conversation != to);
        self.changed.insert(to.clone());
    }

    /// Restores the stored state. The last entry of each conversation counts.
    pub fn of(entries: Vec<(Target, Option<SequenceState>)>) -> Sequences {
        let entries = entries.into_iter().collect::<BTreeMap<_, _>>().into_iter();
        let conversations = entries.filter_map(|(to, state)| Some((to, state?))).collect();
        Sequences { conversations, changed: BTreeSet::new() }
    }

    /// The conversations that changed since the last call; `None` for a forgotten one.
    pub fn take_changed(&mut self) -> Vec<(Target, Option<SequenceState>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed
            .map(|to| (self.conversation(&to).cloned(), to))
            .map(|(state, to)| (to, state))
            .collect()
    }

    /// The whole state, for storage.
    pub fn all(&self) -> Vec<(Target, Option<SequenceState>)> {
        self.conversations.iter().map(|(to, state)| (to.clone(), Some(state.clone()))).collect()
    }

    fn conversation(&self, to: &Target) -> Option<&SequenceState> {
        self.conversations
            .iter()
            .find(|(conversation, _)| conversation == to)
            .map(|(_, state)| state)
    }

    fn state(&mut self, to: &Target) -> &mut SequenceState {
        let index = self.conversations.iter().position(|(conversation, _)| conversation == to);
        let index = index.unwrap_or_else(|| {
            self.make_room();
            self.conversations.push((to.clone(), SequenceState::default()));
            self.conversations.len() - 1
        });
        &mut self.conversations[index].1
    }

    /// Forgets the newest conversation without a verified message, if there are too many. A server
    /// can invent such conversations without end; those with one are as many as there are pinned
    /// keys and channels with a PIN.
    fn make_room(&mut self) {
        if self.conversations.len() >= CONVERSATIONS_MAX
            && let Some(index) = self.conversations.iter().rposition(|one| one.1.devices.is_empty())
        {
            let (gone, _) = self.conversations.remove(index);
            self.changed.insert(gone);
        }
    }
}

impl SequenceState {
    /// Returns whether the user has entered the PIN of the channel, or has written in the private
    /// conversation. A server can invent neither.
    fn is_of_user(&self, conversation: &Target, own: &UserName) -> bool {
        match conversation {
            Target::Channel(_) => true,
            Target::User(with) => {
                with == own || self.tombstones.known_users().any(|who| who != with)
            }
        }
    }

    fn reaches(&mut self, seq: Seq) {
        self.last = seq;
        if let Some((_, then_ms)) = self.newest.take_if(|(newest, _)| *newest < seq) {
            self.stated_ms = then_ms;
        }
    }
}

impl Device {
    fn has_received(&self, hash: &[u8; 32]) -> bool {
        self.hashes.iter().flatten().any(|one| one.bytes() == hash)
    }
}

#[cfg(test)]
#[path = "unsigned_edit_tests.rs"]
mod unsigned_edits;

#[cfg(test)]
mod tests {
    use super::*;

    const TEA: &str = "#tea";

    fn link(session: u8, n: u64, prev: u8) -> ChainLink {
        ChainLink { session: [session; 16], n, prev: [prev; 32] }
    }

    struct Talk(Sequences);

    impl Talk {
        fn new() -> Talk {
            Talk(Sequences::default())
        }

        /// Receives the message with this hash.
        fn says(&mut self, session: u8, n: u64, prev: u8, hash: u8) -> Order {
            let (to, who) = (TEA.parse().unwrap(), "ana".parse().unwrap());
            let link = &link(session, n, prev);
            let time_ms = i64::from(hash);
            let signed = Signed { link, changes: false, time_ms, hash: [hash; 32] };
            self.0.check(&to, &who, "laptop", signed)
        }
    }

    #[test]
    fn messages_in_order_are_good_across_sessions() {
        let mut talk = Talk::new();
        assert_eq!(talk.says(1, 40, 39, 41), Order::Good, "the first one received");
        assert_eq!(talk.says(1, 41, 41, 42), Order::Good);
        assert_eq!(talk.says(2, 0, 42, 43), Order::Good);
        assert_eq!(talk.says(3, 0, 0, 44), Order::Good, "it remembers nothing");
        assert_eq!(talk.says(1, 42, 42, 45), Order::Good, "the older session was resent");
        let kept = serde_json::to_string(&talk.0).unwrap();
        let mut talk = Talk(serde_json::from_str(&kept).unwrap());
        assert_eq!(talk.says(3, 1, 45, 46), Order::Good);
        assert_eq!(talk.0.newest(&TEA.parse().unwrap(), "laptop", false), [46; 32]);
    }

    #[test]
    fn dropped_swapped_and_replayed_messages_are_detected() {
        let mut talk = Talk::new();
        talk.says(1, 0, 0, 1);
        assert_eq!(talk.says(1, 2, 2, 3), Order::Missing(1));
        assert_eq!(talk.says(1, 1, 1, 2), Order::Again, "too late");
        assert_eq!(talk.says(1, 2, 2, 3), Order::Again);
        assert_eq!(talk.says(2, 0, 9, 4), Order::Unlinked, "the end of a session was dropped");
        assert_eq!(talk.says(4, 3, 4, 5), Order::Missing(3), "the start of a session was dropped");
    }

    #[test]
    fn gaps_and_tombstones_excuse_missing_messages() {
        let tea = TEA.parse().unwrap();
        let mut talk = Talk::new();
        talk.says(1, 0, 0, 1);
        talk.0.skip(&tea, Seq(7));
        assert_eq!(talk.says(1, 5, 5, 6), Order::Good);
        talk.0.tombstones(&tea).add(&"ana".parse().unwrap(), true);
        assert_eq!(talk.says(1, 7, 7, 8), Order::Missing(1), "that was a change");
        talk.0.tombstones(&tea).add(&"ana".parse().unwrap(), false);
        assert_eq!(talk.says(1, 9, 9, 10), Order::Good);
        assert_eq!(talk.says(1, 11, 11, 12), Order::Missing(1), "the tombstone was used");
        // A stored count may be as large as the type allows.
        let state = serde_json::json!({"last": "7", "devices": {}, "tombstones": {"free": {"ana": [u64::MAX, 0]}, "edits": []}});
        let kept = serde_json::json!({"conversations": [[TEA, state]]});
        let mut many: Sequences = serde_json::from_value(kept).unwrap();
        many.tombstones(&tea).add(&"ana".parse().unwrap(), false);
        assert_eq!(talk.0.arrives(&tea, Seq(8), None), (true, 0));
        assert_eq!(talk.0.arrives(&tea, Seq(8), None), (false, 0));
        assert_eq!(talk.0.arrives(&tea, Seq(11), None), (true, 2));
    }

    #[test]
    fn invented_users_and_conversations_cost_the_others_nothing() {
        let tea: Target = TEA.parse().unwrap();
        let mut talk = Talk::new();
        talk.says(1, 0, 0, 1);
        let before = serde_json::to_string(&talk.0).unwrap().len();
        for number in 0..100_000 {
            let made = format!("made{number}").parse().unwrap();
            talk.0.tombstones(&tea).add(&made, false);
            talk.0.add_unsigned_edit(&tea, &made, Seq(1), &"bob".parse().unwrap());
        }
        assert_eq!(serde_json::to_string(&talk.0).unwrap().len(), before);
        for number in 0..CONVERSATIONS_MAX as u64 + 100 {
            let made = format!("@made{number}").parse().unwrap();
            talk.0.begin(&made, Epoch(1), Seq(number), 7);
        }
        assert_eq!(talk.0.conversations.len(), CONVERSATIONS_MAX);
        // What is gone is gone on the disk too, and what was verified stays.
        let stored = Sequences::of(talk.0.take_changed());
        assert_eq!(stored.conversations.len(), CONVERSATIONS_MAX);
        let mut talk = Talk(stored);
        assert_eq!(talk.says(1, 0, 0, 1), Order::Again);
        assert_eq!(talk.says(1, 2, 2, 3), Order::Missing(1));
    }

    #[test]
    fn another_log_keeps_the_sequences() {
        let tea = TEA.parse().unwrap();
        let mut talk = Talk::new();
        let begins =
            |talk: &mut Talk, epoch, newest| talk.0.begin(&tea, Epoch(epoch), Seq(newest), 7);
        assert_eq!(begins(&mut talk, 8, 0), (true, false));
        talk.says(1, 0, 0, 1);
        assert_eq!((begins(&mut talk, 8, 1), talk.0.may_replay(&tea)), ((false, true), false));
        assert_eq!((begins(&mut talk, 9, 1), talk.0.may_replay(&tea)), ((true, true), true));
        assert_eq!(talk.0.arrives(&tea, Seq(1), None), (true, 0), "its count restarts");
        assert_eq!(talk.says(1, 0, 0, 1), Order::Again);
        assert_eq!(talk.says(1, 2, 2, 3), Order::Missing(1), "one was lost with the old log");
        assert_eq!(talk.says(1, 3, 3, 4), Order::Good);
    }

    #[test]
    fn a_forgotten_session_accepts_nothing() {
        let mut talk = Talk::new();
        let sessions = 0..=SESSIONS_MAX as u8;
        sessions.for_each(|session| {
            talk.says(session, 0, session, session + 1);
        });
        assert_eq!(talk.says(0, 0, 0, 1), Order::Again, "another one took its room");
        assert_eq!(talk.says(0, 1, 1, 1), Order::Again);
        assert_eq!(talk.says(1, 1, 33, 60), Order::Good, "the next one is still remembered");
    }

    #[test]
    fn the_age_of_new_messages_is_bounded_by_the_last_complete_state() {
        let tea = TEA.parse().unwrap();
        let mut sequences = Sequences::default();
        sequences.begin(&tea, Epoch(9), Seq(2), 1_000);
        assert_eq!(sequences.stated_ms(&tea), 0, "two messages are outstanding");
        for (seq, stated_ms) in [(1, 0), (2, 0), (3, 1_000)] {
            sequences.arrives(&tea, Seq(seq), None);
            assert_eq!(sequences.stated_ms(&tea), stated_ms, "{seq}");
        }
        sequences.begin(&tea, Epoch(9), Seq(3), 2_000);
        assert_eq!(sequences.stated_ms(&tea), 2_000);
        sequences.begin(&tea, Epoch(9), Seq(9), 3_000);
        assert_eq!(sequences.stated_ms(&tea), 2_000);
        sequences.arrives(&tea, Seq(4), Some(3_500));
        assert_eq!(sequences.stated_ms(&tea), 3_500, "it arrived live");
        sequences.begin(&tea, Epoch(10), Seq(9), 4_000);
        assert_eq!(sequences.stated_ms(&tea), 0);
    }
}
