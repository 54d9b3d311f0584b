//! Ids and senders of verified messages, by seq. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::chat::{Message, MsgId, Seq, Target, UserName};

/// Ids per conversation: as many as a window of the full screen has messages.
const IDS_MAX: usize = 100_000;
/// Ids of all conversations together. The oldest of the largest conversation are dropped.
const IDS_ALL_MAX: usize = 200_000;

type Ids = BTreeMap<Seq, (MsgId, UserName)>;

#[derive(Default)]
pub struct MessageIds(HashMap<Target, Ids>);

impl MessageIds {
    fn at(&self, to: &Target, seq: Seq) -> Option<&(MsgId, UserName)> {
        self.0.get(to)?.get(&seq)
    }

    /// Returns the id of the message with this seq if this user is its sender.
    pub fn id_of(&self, to: &Target, seq: Seq, whose: &UserName) -> Option<MsgId> {
        self.at(to, seq).filter(|(_, sender)| sender == whose).map(|(id, _)| *id)
    }

    /// Returns whether a change names the message that it changes and has the same sender. A target
    /// that was not seen here has no effect here.
    pub fn names(&self, to: &Target, change: &Message, of: Option<MsgId>) -> bool {
        match change.kind.of().map(|seq| self.at(to, seq)) {
            Some(Some((id, whose))) => of == Some(*id) && *whose == change.from,
            Some(None) => true,
            None => of.is_none(),
        }
    }

    /// Returns whether another message was verified under the same seq.
    pub fn is_anothers(&self, to: &Target, seq: Seq, (id, from): (MsgId, &UserName)) -> bool {
        self.at(to, seq).is_some_and(|(known, whose)| *known != id || whose != from)
    }

    /// Returns whether the message was verified under another seq. Ids of other senders do not
    /// count: they can be copied.
    pub fn is_elsewhere(&self, to: &Target, seq: Seq, (id, from): (MsgId, &UserName)) -> bool {
        let mut known = self.0.get(to).into_iter().flatten();
        known.any(|(other, (known, whose))| *known == id && whose == from && *other != seq)
    }

    pub fn remember(&mut self, to: &Target, seq: Seq, (id, from): (MsgId, &UserName)) {
        let ids = self.0.entry(to.clone()).or_default();
        ids.insert(seq, (id, from.clone()));
        if ids.len() > IDS_MAX {
            ids.pop_first();
        }
        let all: usize = self.0.values().map(BTreeMap::len).sum();
        if all > IDS_ALL_MAX
            && let Some(ids) = self.0.values_mut().max_by_key(|ids| ids.len())
        {
            ids.pop_first();
        }
    }

    /// Gives the local user's messages in private conversations another name, as the server does
    /// when its operator renames the user.
    pub fn rename_own(&mut self, old: &UserName, new: &UserName) {
        let private = self.0.iter_mut().filter(|(to, _)| matches!(to, Target::User(_)));
        let senders = private.flat_map(|(_, ids)| ids.values_mut()).map(|(_, sender)| sender);
        senders.filter(|sender| *sender == old).for_each(|sender| *sender = new.clone());
    }

    /// Forgets a conversation whose log was replaced.
    pub fn forget(&mut self, to: &Target) {
        self.0.remove(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_another_sender_has_copied_is_no_repetition() {
        let (mut ids, to) = (MessageIds::default(), "@bob".parse().unwrap());
        let [bob, mallory] = ["bob", "mallory"].map(|name| name.parse::<UserName>().unwrap());
        let id = MsgId([7; 16]);
        ids.remember(&to, Seq(6), (id, &mallory));
        assert!(!ids.is_elsewhere(&to, Seq(5), (id, &bob)), "bob's is the original");
        assert!(ids.is_elsewhere(&to, Seq(5), (id, &mallory)));
        assert_eq!(ids.id_of(&to, Seq(6), &bob), None, "and bob does not change mallory's");
        assert_eq!(ids.id_of(&to, Seq(6), &mallory), Some(id));
    }
}
