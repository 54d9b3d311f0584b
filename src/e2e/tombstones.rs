//! Tombstones of a sealed conversation: a message whose own body is gone has lost its count and its
//! link. Each tombstone excuses one missing message of its sender and of its sort. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::chat::{Seq, UserName};

/// Unsigned tombstones of edits in one conversation, and of one sender in it.
const CONVERSATION_EDITS_MAX: usize = 2_000;
const SENDER_EDITS_MAX: usize = 100;
/// A sender gets at most one in this many of those that the other senders leave: ten senders do not
/// use up the room of the next one.
const SENDER_PARTS: usize = 10;
/// Users without a verified message in one conversation whose tombstones count until the first one.
/// A server can invent any number of them.
const UNVERIFIED_MAX: usize = 50;

/// The tombstones that have excused nothing yet, and those that still need a signed deletion.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Tombstones {
    /// Of messages, and of changes, of users with a verified message here.
    free: BTreeMap<UserName, [u64; 2]>,
    /// The same of others, whose first message may come after them. In memory only.
    #[serde(skip)]
    unverified: BTreeMap<UserName, [u64; 2]>,
    /// Tombstones of edits without any signature. A server has them where the edited message was
    /// deleted, and nothing shows them.
    edits: VecDeque<Edit>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Edit {
    who: UserName,
    /// The edited message.
    of: Seq,
    /// It has excused a missing change.
    used: bool,
}

impl Tombstones {
    /// Counts the tombstones of a user from now on: a message of the user was verified.
    pub fn meets(&mut self, who: &UserName) {
        if !self.free.contains_key(who) {
            let free = self.unverified.remove(who).unwrap_or_default();
            self.free.insert(who.clone(), free);
        }
    }

    /// Forgets all tombstones.
    pub fn clear(&mut self) {
        self.free.values_mut().for_each(|free| *free = [0; 2]);
        self.unverified.clear();
        self.edits.clear();
    }

    /// Adds a tombstone that is shown, or that a signed edit explains.
    pub fn add(&mut self, who: &UserName, changes: bool) {
        let is_known = self.free.contains_key(who);
        if !is_known && self.unverified.len() < UNVERIFIED_MAX {
            self.unverified.entry(who.clone()).or_default();
        }
        if let Some(free) = self.free_of(who) {
            let free = &mut free[usize::from(changes)];
            *free = free.saturating_add(1);
        }
    }

    fn free_of(&mut self, who: &UserName) -> Option<&mut [u64; 2]> {
        match self.free.get_mut(who) {
            Some(free) => Some(free),
            None => self.unverified.get_mut(who),
        }
    }

    /// The users with a verified message here.
    pub fn known_users(&self) -> impl Iterator<Item = &UserName> {
        self.free.keys()
    }

    /// Count of the unsigned tombstones of edits.
    pub fn unsigned_edits(&self) -> usize {
        self.edits.len()
    }

    /// Adds the unsigned tombstone of an edit. Beyond the sender's share it excuses nothing.
    pub fn add_unsigned_edit(&mut self, who: &UserName, of: Seq) {
        let of_sender = self.edits.iter().filter(|edit| edit.who == *who).count();
        let of_others = self.edits.len() - of_sender;
        let share = CONVERSATION_EDITS_MAX.saturating_sub(of_others) / SENDER_PARTS;
        if of_sender < share.min(SENDER_EDITS_MAX) && self.free.contains_key(who) {
            self.edits.push_back(Edit { who: who.clone(), of, used: false });
        }
    }

    /// The sender has signed the deletion of a message: that explains the tombstones of its edits.
    pub fn is_deleted(&mut self, who: &UserName, of: Seq) {
        let all = std::mem::take(&mut self.edits).into_iter();
        let (explained, others) = all.partition(|edit| edit.who == *who && edit.of == of);
        self.edits = others;
        let explained: VecDeque<Edit> = explained;
        explained.iter().filter(|edit| !edit.used).for_each(|_| self.add(who, true));
    }

    /// Uses as many tombstones of a user as messages, or changes, are missing. Returns whether
    /// there are enough.
    pub fn excuse(&mut self, who: &UserName, changes: bool, missing: u64) -> bool {
        let free = self.free_of(who).map_or(0, |free| free[usize::from(changes)]);
        let edits = self.edits.iter_mut().filter(|edit| changes && !edit.used && edit.who == *who);
        let mut edits: Vec<_> = edits.collect();
        let rest = missing.saturating_sub(free);
        if rest > edits.len() as u64 {
            return false;
        }
        edits.iter_mut().take(rest as usize).for_each(|edit| edit.used = true);
        if let Some(free) = self.free_of(who) {
            free[usize::from(changes)] -= missing - rest;
        }
        true
    }

    /// Ends a replay: every deletion of before has arrived. Returns, by user, how many missing
    /// changes were excused by tombstones that no signed deletion explains.
    pub fn take_unexplained(&mut self) -> BTreeMap<UserName, u64> {
        let mut unexplained = BTreeMap::new();
        let used = std::mem::take(&mut self.edits).into_iter().filter(|edit| edit.used);
        used.for_each(|edit| *unexplained.entry(edit.who).or_default() += 1);
        unexplained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_excuses_one_of_its_sort() {
        let [ana, bob]: [UserName; 2] = ["ana", "bob"].map(|name| name.parse().unwrap());
        let mut tombstones = Tombstones::default();
        tombstones.add(&ana, false);
        tombstones.meets(&ana);
        tombstones.add(&ana, true);
        assert!(!tombstones.excuse(&bob, false, 1) && !tombstones.excuse(&ana, false, 2));
        assert!(
            tombstones.excuse(&ana, false, 1) && !tombstones.excuse(&ana, false, 1),
            "it is used"
        );
        assert!(tombstones.excuse(&ana, true, 1) && !tombstones.excuse(&ana, true, 1));
        assert!(tombstones.take_unexplained().is_empty());
    }

    #[test]
    fn an_unsigned_edit_needs_the_signed_deletion_of_its_message() {
        let [ana, bob]: [UserName; 2] = ["ana", "bob"].map(|name| name.parse().unwrap());
        for deleted in [None, Some((&ana, Seq(3))), Some((&ana, Seq(4))), Some((&bob, Seq(3)))] {
            let mut tombstones = Tombstones::default();
            tombstones.meets(&ana);
            tombstones.add_unsigned_edit(&ana, Seq(3));
            assert!(!tombstones.excuse(&ana, false, 1), "it stands for no message");
            assert!(tombstones.excuse(&ana, true, 1) && !tombstones.excuse(&ana, true, 1));
            deleted.into_iter().for_each(|(who, of)| tombstones.is_deleted(who, of));
            let explained = deleted == Some((&ana, Seq(3)));
            let left = tombstones.take_unexplained();
            assert_eq!(left, (!explained).then(|| (ana.clone(), 1)).into_iter().collect());
            assert!(tombstones.take_unexplained().is_empty(), "once");
        }
        // The deletion may come first.
        let mut tombstones = Tombstones::default();
        tombstones.meets(&ana);
        tombstones.add_unsigned_edit(&ana, Seq(3));
        tombstones.is_deleted(&ana, Seq(3));
        assert!(tombstones.excuse(&ana, true, 1) && tombstones.take_unexplained().is_empty());
    }

    #[test]
    fn invented_users_cost_little_and_are_not_stored() {
        let mut tombstones = Tombstones::default();
        for number in 0..10_000 {
            tombstones.add(&format!("user{number}").parse().unwrap(), false);
        }
        assert_eq!(tombstones.unverified.len(), UNVERIFIED_MAX);
        assert_eq!(serde_json::to_string(&tombstones).unwrap(), r#"{"free":{},"edits":[]}"#);
        let first: UserName = "user0".parse().unwrap();
        assert!(tombstones.excuse(&first, false, 1) && !tombstones.excuse(&first, false, 1));
    }

    #[test]
    fn each_sender_has_a_share_of_the_unsigned_edits() {
        let mut tombstones = Tombstones::default();
        let mut flood = |who: &str| {
            let who: UserName = who.parse().unwrap();
            tombstones.meets(&who);
            (0..150).for_each(|of| tombstones.add_unsigned_edit(&who, Seq(of)));
            let count = tombstones.edits.iter().filter(|edit| edit.who == who).count();
            assert!(!tombstones.excuse(&who, true, count as u64 + 1));
            assert!(tombstones.excuse(&who, true, count as u64));
            count
        };
        let mallory = |number| format!("mallory{number}");
        assert!((0..10).all(|number| flood(&mallory(number)) == SENDER_EDITS_MAX));
        assert_eq!(flood("bob"), SENDER_EDITS_MAX);
        // More senders leave less to each later one.
        assert!((10..50).all(|number| flood(&mallory(number)) > 0));
        assert!((50..300).any(|number| flood(&mallory(number)) == 0));
        assert!(tombstones.edits.len() <= CONVERSATION_EDITS_MAX, "{}", tombstones.edits.len());
    }
}
