//! Tombstones of a sealed conversation: a message whose own body is gone has lost its count and its
//! link. Each tombstone excuses one missing message of its sender and of its sort. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::chat::{Seq, UserName};

/// Unsigned tombstones of edits in one conversation.
const EDITS_MAX: usize = 100;
/// Users without a verified message in one conversation whose tombstones count until the first one.
/// A server can invent any number of them.
const STRANGERS_MAX: usize = 50;

/// The tombstones that have excused nothing yet, and those that still need a signed deletion.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Seats {
    /// Of messages, and of changes, of users with a verified message here.
    free: BTreeMap<UserName, [u64; 2]>,
    /// The same of others, whose first message may come after them. In memory only.
    #[serde(skip)]
    strangers: BTreeMap<UserName, [u64; 2]>,
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

impl Seats {
    /// Counts the tombstones of a user from now on: a message of the user was verified.
    pub fn meets(&mut self, who: &UserName) {
        if !self.free.contains_key(who) {
            let free = self.strangers.remove(who).unwrap_or_default();
            self.free.insert(who.clone(), free);
        }
    }

    /// Forgets all tombstones.
    pub fn clear(&mut self) {
        self.free.values_mut().for_each(|free| *free = [0; 2]);
        self.strangers.clear();
        self.edits.clear();
    }

    /// Adds a tombstone that is shown, or that a signed edit explains.
    pub fn add(&mut self, who: &UserName, changes: bool) {
        let is_known = self.free.contains_key(who);
        if !is_known && self.strangers.len() < STRANGERS_MAX {
            self.strangers.entry(who.clone()).or_default();
        }
        if let Some(free) = self.free_of(who) {
            let free = &mut free[usize::from(changes)];
            *free = free.saturating_add(1);
        }
    }

    fn free_of(&mut self, who: &UserName) -> Option<&mut [u64; 2]> {
        match self.free.get_mut(who) {
            Some(free) => Some(free),
            None => self.strangers.get_mut(who),
        }
    }

    /// Adds the unsigned tombstone of an edit. Beyond the bound it excuses nothing.
    pub fn add_unsigned_edit(&mut self, who: &UserName, of: Seq) {
        if self.edits.len() < EDITS_MAX && self.free.contains_key(who) {
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
        let mut seats = Seats::default();
        seats.add(&ana, false);
        seats.meets(&ana);
        seats.add(&ana, true);
        assert!(!seats.excuse(&bob, false, 1) && !seats.excuse(&ana, false, 2));
        assert!(seats.excuse(&ana, false, 1) && !seats.excuse(&ana, false, 1), "it is used");
        assert!(seats.excuse(&ana, true, 1) && !seats.excuse(&ana, true, 1));
        assert!(seats.take_unexplained().is_empty());
    }

    #[test]
    fn an_unsigned_edit_needs_the_signed_deletion_of_its_message() {
        let [ana, bob]: [UserName; 2] = ["ana", "bob"].map(|name| name.parse().unwrap());
        for deleted in [None, Some((&ana, Seq(3))), Some((&ana, Seq(4))), Some((&bob, Seq(3)))] {
            let mut seats = Seats::default();
            seats.meets(&ana);
            seats.add_unsigned_edit(&ana, Seq(3));
            assert!(!seats.excuse(&ana, false, 1), "it stands for no message");
            assert!(seats.excuse(&ana, true, 1) && !seats.excuse(&ana, true, 1));
            deleted.into_iter().for_each(|(who, of)| seats.is_deleted(who, of));
            let explained = deleted == Some((&ana, Seq(3)));
            let left = seats.take_unexplained();
            assert_eq!(left, (!explained).then(|| (ana.clone(), 1)).into_iter().collect());
            assert!(seats.take_unexplained().is_empty(), "once");
        }
        // The deletion may come first.
        let mut seats = Seats::default();
        seats.meets(&ana);
        seats.add_unsigned_edit(&ana, Seq(3));
        seats.is_deleted(&ana, Seq(3));
        assert!(seats.excuse(&ana, true, 1) && seats.take_unexplained().is_empty());
    }

    #[test]
    fn invented_users_cost_little_and_are_not_stored() {
        let mut seats = Seats::default();
        for number in 0..10_000 {
            seats.add(&format!("user{number}").parse().unwrap(), false);
        }
        assert_eq!(seats.strangers.len(), STRANGERS_MAX);
        assert_eq!(serde_json::to_string(&seats).unwrap(), r#"{"free":{},"edits":[]}"#);
        let first: UserName = "user0".parse().unwrap();
        assert!(seats.excuse(&first, false, 1) && !seats.excuse(&first, false, 1));
    }

    #[test]
    fn the_count_of_unsigned_edits_is_bounded() {
        let ana: UserName = "ana".parse().unwrap();
        let mut seats = Seats::default();
        seats.meets(&ana);
        (0..10_000).for_each(|of| seats.add_unsigned_edit(&ana, Seq(of)));
        assert!(!seats.excuse(&ana, true, EDITS_MAX as u64 + 1));
        assert!(seats.excuse(&ana, true, EDITS_MAX as u64));
    }
}
