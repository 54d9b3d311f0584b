//! data/keys.json: the keys that a server has seen. The server compares them with users/ to notify
//! members of changed keys, also of changes that were made while it did not run, and to find
//! devices that have not logged in for long.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Users;
use crate::chat::{DeviceName, UserName};
use crate::crypto::succession::Whose;
use crate::crypto::{Fingerprint, PublicKey};
use crate::file::FileError;
use crate::file::json_file;
use crate::limits::DAY_MS;

/// Number of key changes that are stored for members who were away.
const CHANGES_MAX: usize = 1_000;
/// Time for which they are stored, in milliseconds.
const CHANGES_MS: i64 = 366 * DAY_MS;
/// Number of removed keys that are remembered, so that the next key of the name is noticed.
const GONE_MAX: usize = 1_000;
/// After a longer pause of the server, the pause does not count as absence of devices.
const AWAY_MS: i64 = DAY_MS;
/// The keys that were ever registered here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Known {
    /// The last time at which the server ran.
    alive_ms: i64,
    keys: BTreeMap<String, Key>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: UserName,
    device: DeviceName,
    /// SPKI PEM, to verify the signature of the next key.
    pem: String,
    /// Last login or registration.
    seen_ms: i64,
    /// The last time at which the key was connected; `None` if it never was. Unlike `seen_ms`, it
    /// does not change after a pause of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    here_ms: Option<i64>,
    /// No longer registered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

/// A user has a new key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub time_ms: i64,
    pub name: UserName,
    pub device: DeviceName,
    /// The replaced key; `None` for another device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    pub new: String,
    /// Signed by the old and the new key.
    pub signed: bool,
    /// The user's former name, if the user was renamed and has the same keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<UserName>,
}

/// The text of the notice to members.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { name, device, new, .. } = self;
        if let Some(was) = &self.was {
            return write!(f, "the operator has renamed {was} to {name}, whose key is {new}");
        }
        match &self.old {
            Some(_) if self.signed => {
                write!(f, "{name} has a new key, signed by the one before: {new}")
            }
            Some(old) => write!(
                f,
                "the operator gave {name} another key: {new}, not signed by the one before ({old})"
            ),
            None => write!(f, "{name} has a further device, {device}: {new}"),
        }
    }
}

impl Known {
    /// Reads the file; empty if it does not exist.
    pub fn load(path: &Path) -> Result<Known, FileError> {
        Ok(json_file::load(path, json_file::LARGE)?.unwrap_or_default())
    }

    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        json_file::save_compact(path, self, 0o600)
    }

    /// Records the start of the server. The pause before it does not count as absence.
    pub fn begin(&mut self, now_ms: i64) {
        let away_ms = now_ms - self.alive_ms;
        for key in self.keys.values_mut() {
            if away_ms > AWAY_MS {
                key.seen_ms += away_ms;
            }
            key.seen_ms = key.seen_ms.min(now_ms);
        }
        self.alive_ms = now_ms;
    }

    /// Compares with the registered keys. Returns the changes of which members are notified. Users
    /// who were renamed and have not moved yet stay as they were.
    pub fn compare(&mut self, users: &Users, now_ms: i64) -> Vec<Change> {
        let mut names: BTreeMap<UserName, bool> = BTreeMap::new();
        let renamed: BTreeMap<UserName, UserName> = self.renamed(users).into_iter().collect();
        for key in self.keys.values_mut().filter(|key| !renamed.contains_key(&key.name)) {
            let registered = key.public().and_then(|own| Some(users.by_key(&own)?.0 == &key.name));
            // A key that returns is handled below.
            key.gone |= registered != Some(true);
            *names.entry(key.name.clone()).or_default() |= !key.gone;
        }
        let mut changes = Vec::new();
        for (public, name) in users.keys() {
            let print = public.fingerprint().to_string();
            if self.keys.get(&print).is_some_and(|known| !known.gone) {
                continue;
            }
            let device = users.by_key(public).map_or_else(DeviceName::main, |one| one.1.clone());
            let has_others = names.get(name);
            let before = self.before(name, &device, has_others == Some(&true));
            let signed = before
                .as_ref()
                .zip(users.succession(public))
                .is_some_and(|(old, by)| by.holds(&old.1, Whose::Person, public));
            let back = before.as_ref().is_some_and(|old| old.0 == print);
            if has_others.is_some() && !back {
                let (old, new) = (before.map(|old| old.0), print.clone());
                let (name, device) = (name.clone(), device.clone());
                let (time_ms, was) = (now_ms, None);
                changes.push(Change { time_ms, name, device, old, new, signed, was });
            }
            let pem = public.to_pem();
            let key = Key {
                name: name.clone(),
                device,
                pem,
                seen_ms: now_ms,
                here_ms: None,
                gone: false,
            };
            self.keys.insert(print, key);
        }
        self.note(&changes);
        self.forget();
        changes
    }

    /// Stores changes for members who are away.
    fn note(&mut self, changes: &[Change]) {
        self.changes.extend(changes.iter().cloned());
        let excess = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..excess);
    }

    /// Returns users who were renamed, and whose keys have not moved here yet, with the former and
    /// the new name: the former name has no key in users/ any more, and all its keys that are
    /// there have one new name, which had none.
    pub fn renamed(&self, users: &Users) -> Vec<(UserName, UserName)> {
        let mut pairs = BTreeSet::new();
        for (key, new) in users.keys() {
            let known = self.keys.get(&key.fingerprint().to_string()).filter(|one| !one.gone);
            pairs.extend(known.map(|known| (known.name.clone(), new.clone())));
        }
        let is_only = |(old, new): &(UserName, UserName)| {
            pairs.iter().filter(|(one, other)| one == old || other == new).count() == 1
        };
        let is_free = |new: &UserName| !self.keys.values().any(|one| !one.gone && one.name == *new);
        let moved = pairs.iter().filter(|(old, new)| old != new && is_free(new));
        moved.filter(|pair| users.find(&pair.0).is_none() && is_only(pair)).cloned().collect()
    }

    /// Moves the keys of a user to another name. Returns the change of which members are notified.
    pub fn rename(&mut self, old: &UserName, new: &UserName, now_ms: i64) -> Option<Change> {
        let mut change = None;
        for (print, key) in self.keys.iter_mut().filter(|(_, key)| key.name == *old) {
            key.name = new.clone();
            if !key.gone {
                let (name, device, was) = (new.clone(), key.device.clone(), Some(old.clone()));
                let (new, time_ms) = (print.clone(), now_ms);
                change = Some(Change { time_ms, name, device, old: None, new, signed: false, was });
            }
        }
        self.note(change.as_slice());
        change
    }

    /// Returns whether a name had keys before.
    pub fn had(&self, name: &UserName) -> bool {
        self.keys.values().any(|key| key.name == *name)
    }

    /// Returns the names that another user has now: none of the present keys was theirs before, or
    /// follows one of those with the signatures of both.
    pub fn reassigned(&self, users: &Users) -> Vec<UserName> {
        let is_reassigned = |name: &&UserName| {
            let before: Vec<_> = self.keys.iter().filter(|(_, key)| key.name == **name).collect();
            let is_known = |key: &PublicKey| {
                let print = key.fingerprint().to_string();
                let signed = users.succession(key);
                let follows = |old: &Key| {
                    let old = old.public();
                    old.zip(signed).is_some_and(|(old, by)| by.holds(&old, Whose::Person, key))
                };
                before.iter().any(|(known, old)| **known == print || follows(old))
            };
            !before.is_empty() && !users.keys_of(name).any(is_known)
        };
        users.names().filter(is_reassigned).cloned().collect()
    }

    /// Returns the previous key of the device, or the last key of a user who has none now.
    fn before(
        &self,
        name: &UserName,
        device: &DeviceName,
        has_others: bool,
    ) -> Option<(String, PublicKey)> {
        let gone = self.keys.iter().filter(|(_, key)| {
            key.gone && key.name == *name && (!has_others || key.device == *device)
        });
        let (print, key) = gone.max_by_key(|(_, key)| (key.device == *device, key.seen_ms))?;
        Some((print.clone(), key.public()?))
    }

    /// Removes the oldest entries of removed keys beyond the bound.
    fn forget(&mut self) {
        let mut gone: Vec<_> = self.keys.iter().filter(|(_, key)| key.gone).collect();
        gone.sort_unstable_by_key(|(_, key)| key.seen_ms);
        let excess = gone.len().saturating_sub(GONE_MAX);
        let old: Vec<String> = gone[..excess].iter().map(|(print, _)| (*print).clone()).collect();
        old.iter().for_each(|print| drop(self.keys.remove(print)));
    }

    /// Records that these keys are logged in.
    pub fn see(&mut self, here: &[Fingerprint], now_ms: i64) {
        for print in here {
            if let Some(key) = self.keys.get_mut(&print.to_string()) {
                key.seen_ms = key.seen_ms.max(now_ms);
                key.here_ms = key.here_ms.max(Some(now_ms));
            }
        }
        self.alive_ms = now_ms;
    }

    /// Returns the last time at which a registered key of a user was connected.
    pub fn last_connected_ms(&self, name: &UserName) -> Option<i64> {
        let keys = self.keys.values().filter(|key| !key.gone && key.name == *name);
        keys.filter_map(|key| key.here_ms).max()
    }

    /// Removes changes that are too old to notify members of. `now_ms` is a trusted time.
    pub fn expire_changes(&mut self, now_ms: i64) {
        self.changes.retain(|one| now_ms - one.time_ms < CHANGES_MS);
    }

    /// Returns the changes since the last login of a key.
    pub fn missed(&self, print: &Fingerprint) -> Vec<Change> {
        let Some(key) = self.keys.get(&print.to_string()) else { return Vec::new() };
        self.changes.iter().filter(|one| one.time_ms > key.seen_ms).cloned().collect()
    }

    /// Returns registered keys that have not logged in since then, with user and device.
    pub fn unseen_since(&self, since_ms: i64) -> Vec<(UserName, DeviceName, String)> {
        let old = self.keys.iter().filter(|(_, key)| !key.gone && key.seen_ms < since_ms);
        old.map(|(print, key)| (key.name.clone(), key.device.clone(), print.clone())).collect()
    }
}

impl Key {
    fn public(&self) -> Option<PublicKey> {
        PublicKey::from_pem(&self.pem).ok()
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
