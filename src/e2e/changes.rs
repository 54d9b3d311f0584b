//! The newest signed edit or deletion of each sealed message. With it, the client detects a server
//! that delivers an earlier version. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::shares::{Item, fitting};
use crate::chat::{Kind, MsgId, Target, UserName};
use crate::crypto::header::Header;
use crate::limits::CHANGES_MAX;

/// Key of a changed message: conversation, sender, id.
pub type Changed = (Target, UserName, MsgId);

/// A signed edit or deletion. Later ones are greater, and a deletion is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    deleted: bool,
    /// By the sender's clock, in milliseconds since 1970.
    time_ms: i64,
    /// Id of the edit; zero for deletions, which are all equal.
    id: MsgId,
}

/// The newest change of a message.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    version: Version,
    /// When this client read it, in milliseconds since 1970.
    read_ms: i64,
}

#[derive(Default)]
pub struct Changes {
    newest: BTreeMap<Changed, Change>,
    /// Keys changed since the last write.
    unstored: BTreeSet<Changed>,
}

impl Version {
    /// Returns the version of an edit or a deletion; `None` for other messages.
    pub fn of(header: &Header) -> Option<Version> {
        let time_ms = time_ms(header);
        match header.kind {
            Kind::Say | Kind::Me | Kind::File { .. } => None,
            Kind::Edit { .. } => Some(Version { deleted: false, time_ms, id: header.id }),
            Kind::Delete { .. } => {
                Some(Version { deleted: true, time_ms: i64::MAX, id: MsgId([0; 16]) })
            }
        }
    }
}

/// Signing time by the sender's clock, in milliseconds since 1970.
pub fn time_ms(header: &Header) -> i64 {
    header.time_ms.min(i64::MAX as u64) as i64
}

impl Changes {
    /// Restores the stored entries; the last entry of each message applies.
    pub fn of(entries: Vec<(Changed, Option<Change>)>) -> Changes {
        let mut changes = Changes::default();
        for (changed, change) in entries {
            match change {
                Some(change) => changes.newest.insert(changed, change),
                None => changes.newest.remove(&changed),
            };
        }
        changes.shorten();
        changes
    }

    /// Returns whether a write is due.
    pub fn waits(&self) -> bool {
        !self.unstored.is_empty()
    }

    /// Takes the entries to store since the last call; `None` for removed ones.
    pub fn take_unstored(&mut self) -> Vec<(Changed, Option<Change>)> {
        let unstored = std::mem::take(&mut self.unstored).into_iter();
        let entry = |changed: Changed| (changed.clone(), self.newest.get(&changed).copied());
        unstored.map(entry).collect()
    }

    /// Returns all entries.
    pub fn all(&self) -> Vec<(Changed, Option<Change>)> {
        self.newest.iter().map(|(changed, change)| (changed.clone(), Some(*change))).collect()
    }

    /// Records a message or a change of it. Returns whether it is the newest known version.
    pub fn takes(&mut self, changed: Changed, version: Option<Version>, now_ms: i64) -> bool {
        let known = self.newest.get(&changed).copied();
        let before = known.map(|change| change.version);
        if version > before
            && let Some(version) = version
        {
            let read_ms = known.map_or(now_ms, |change| change.read_ms);
            self.newest.insert(changed.clone(), Change { version, read_ms });
            self.unstored.insert(changed);
            if self.newest.len() > CHANGES_MAX {
                self.shorten();
            }
        }
        version >= before
    }

    /// Returns the time of a message's newest edit; the next edit has to be later.
    pub fn edited_ms(&self, changed: &Changed) -> Option<i64> {
        let version = self.newest.get(changed)?.version;
        (!version.deleted).then_some(version.time_ms)
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.newest.len()
    }

    /// Removes the entries of a conversation that the user has left.
    pub fn forget(&mut self, conversation: &Target) {
        let of_conversation = |changed: &&Changed| changed.0 == *conversation;
        let gone = self.newest.keys().filter(of_conversation).cloned().collect();
        self.remove(gone);
    }

    /// Halves the entries if there are too many; entries that a server could invent go first.
    fn shorten(&mut self) {
        if self.newest.len() <= CHANGES_MAX {
            return;
        }
        let items = self.newest.iter().map(|((conversation, from, _), change)| Item {
            conversation,
            from,
            signed: true,
            read_ms: change.read_ms,
            since_ms: change.read_ms,
            bytes: 1,
        });
        let items: Vec<_> = items.collect();
        let stays = fitting(&items, CHANGES_MAX / 2);
        let gone = self.newest.keys().zip(stays).filter(|(_, stays)| !stays);
        let gone = gone.map(|(changed, _)| changed.clone()).collect();
        self.remove(gone);
    }

    fn remove(&mut self, gone: BTreeSet<Changed>) {
        self.newest.retain(|changed, _| !gone.contains(changed));
        self.unstored.extend(gone);
    }
}
