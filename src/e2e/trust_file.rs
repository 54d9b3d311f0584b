//! The trust file of one server: pinned keys of users, and keys of PIN channels. Sealed to the
//! user's key.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::clock::KnownTime;
use super::storage::{Account, FileKey, Storage, StorageError, Stored};
use super::trust::{Known, TrustStore};
use crate::chat::{ChannelName, SecretText, UserName};
use crate::crypto::pin_channel::PinChannel;
use crate::crypto::{at_rest, random, sha256};

/// The file's content.
#[derive(Serialize, Deserialize)]
pub struct StoredTrust {
    /// The key of files that are written record by record.
    key: SecretText,
    pub people: Vec<Known>,
    /// Roots of PIN channels.
    channels: Vec<(ChannelName, SecretText)>,
    /// PIN channels that were left. Sending to one by its name alone needs a confirmation.
    pub left: BTreeSet<ChannelName>,
    #[serde(default)]
    pub time: KnownTime,
}

pub struct TrustFile {
    pub kept: StoredTrust,
    /// Hash of the file that `kept` was read from or written to. While it is unchanged the file is
    /// not opened.
    hash: Option<[u8; 32]>,
    /// Size of the last written file.
    bytes: u64,
    /// Users with changes that are not stored ...
    unsaved: BTreeSet<UserName>,
    /// ... and since when, unless writing has failed.
    unsaved_ms: Option<i64>,
    /// Time of the last check for changes by other clients.
    looked_ms: i64,
}

/// Delay in milliseconds before changes of trust are written, all at once.
pub(super) const LEARNED_MS: u64 = 1_000;
/// A larger file waits longer, because each write replaces it whole.
const BYTES_PER_MS: u64 = 4_000;

impl TrustFile {
    pub fn open(
        storage: &mut dyn Storage,
        account: &dyn Account,
    ) -> Result<TrustFile, StorageError> {
        let key = SecretText::new(STANDARD_NO_PAD.encode(random::<32>()));
        let (channels, left) = (Vec::new(), BTreeSet::new());
        let (people, time) = (Vec::new(), KnownTime::default());
        let kept = StoredTrust { key, people, channels, left, time };
        let unsaved = BTreeSet::new();
        let (hash, bytes, unsaved_ms, looked_ms) = (None, 0, None, 0);
        let mut file = TrustFile { kept, hash, bytes, unsaved, unsaved_ms, looked_ms };
        match storage.trust()? {
            Some(sealed) => {
                file.takes(&sealed, account).map_err(|error| damaged(storage, error))?;
            }
            // If two clients start at once, the first one's key counts.
            None => {
                file.update(storage, account, |_| {})?;
            }
        }
        Ok(file)
    }

    /// Changes the stored content. Returns whether another client has changed it meanwhile.
    pub fn update(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        change: impl FnOnce(&mut StoredTrust),
    ) -> Result<bool, StorageError> {
        let (mut change, mut unreadable, mut written) = (Some(change), None, None);
        let mut others = false;
        let updated = storage.update_trust(&mut |before| {
            match before.map(|sealed| self.takes(&sealed, account)) {
                Some(Err(error)) => {
                    unreadable = Some(error.clone());
                    return Err(error.into());
                }
                Some(Ok(changed)) => others = changed,
                None => {}
            }
            // After a failed write the stored content is read again.
            self.hash = None;
            change.take().into_iter().for_each(|change| change(&mut self.kept));
            let text = Zeroizing::new(serde_json::to_vec(&self.kept).expect("it is plain JSON"));
            let keepers = account.keepers();
            let sealed = at_rest::seal_for(&keepers.iter().collect::<Vec<_>>(), &text);
            written = Some((sha256(&[&sealed]), sealed.len() as u64));
            Ok(sealed)
        });
        if let Some(error) = unreadable {
            return Err(damaged(storage, error));
        }
        updated?;
        if let Some((hash, bytes)) = written {
            (self.hash, self.bytes) = (Some(hash), bytes);
        }
        Ok(others)
    }

    /// Takes over what another client has stored since the last look: a key that was retired there
    /// is retired here.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn refresh(
        &mut self,
        storage: &dyn Storage,
        account: &dyn Account,
        trust: &mut TrustStore,
        now_ms: i64,
    ) -> Result<(), String> {
        self.looked_ms = now_ms;
        let problem = |error: StorageError| format!("the trust store cannot be read: {error}");
        let Some(sealed) = storage.trust().map_err(problem)? else { return Ok(()) };
        let changed = self.takes(&sealed, account);
        if changed.map_err(|error| problem(damaged(storage, error)))? {
            trust.merge(self.kept.people.iter());
        }
        Ok(())
    }

    /// Returns whether the last look was long enough ago for another one.
    pub fn is_old(&self, now_ms: i64) -> bool {
        now_ms.abs_diff(self.looked_ms) >= LEARNED_MS
    }

    /// Applies a change and stores it with all pending changes of trust.
    pub fn save(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        trust: &mut TrustStore,
        change: impl FnOnce(&mut StoredTrust),
    ) -> Result<(), String> {
        self.unsaved_ms = None;
        let known: Vec<_> = self.unsaved.iter().filter_map(|name| trust.known(name)).collect();
        let saved = self.update(storage, account, |kept| {
            kept.set_people(known);
            change(kept);
        });
        let others =
            saved.map_err(|error| format!("the trust store cannot be written: {error}"))?;
        let stored = std::mem::take(&mut self.unsaved);
        match others {
            true => trust.merge(self.kept.people.iter()),
            false => trust.are_stored(stored.iter()),
        }
        Ok(())
    }

    /// Stores all pending changes of trust.
    pub fn save_learned(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        trust: &mut TrustStore,
    ) -> Result<(), String> {
        if self.unsaved.is_empty() { Ok(()) } else { self.save(storage, account, trust, |_| {}) }
    }

    /// Marks a user's trust as changed; it is stored soon.
    pub fn is_learned(&mut self, name: &UserName, now_ms: i64) {
        self.unsaved.insert(name.clone());
        self.unsaved_ms.get_or_insert(now_ms);
    }

    /// Time until pending changes have to be stored, in milliseconds.
    pub fn rest_ms(&self, now_ms: i64) -> Option<u64> {
        let rest_ms = LEARNED_MS.max(self.bytes / BYTES_PER_MS);
        self.unsaved_ms.map(|since_ms| rest_ms.saturating_sub(now_ms.abs_diff(since_ms)))
    }

    /// Reads the stored content. Returns whether it differs from what this client has read or
    /// written last.
    fn takes(&mut self, sealed: &[u8], account: &dyn Account) -> Result<bool, String> {
        let hash = Some(sha256(&[sealed]));
        let changed = self.hash != hash;
        if changed {
            self.kept = open(sealed, account)?;
            self.hash = hash;
        }
        Ok(changed)
    }

    /// The key of files that are written record by record.
    pub fn key(&self) -> FileKey {
        secret(&self.kept.key).unwrap_or_default()
    }

    pub fn channels(&self) -> impl Iterator<Item = (ChannelName, PinChannel)> {
        self.kept
            .channels
            .iter()
            .filter_map(|(name, root)| Some((name.clone(), PinChannel::from_root(secret(root)?))))
    }
}

impl StoredTrust {
    /// Adds the key of a PIN channel.
    pub fn add_channel(&mut self, name: &ChannelName, key: &PinChannel) {
        self.forget_channel(name);
        self.left.remove(&name.bare());
        let root = Zeroizing::new(STANDARD_NO_PAD.encode(&key.root()[..]));
        self.channels.push((name.clone(), SecretText::new(root.to_string())));
    }

    pub fn forget_channel(&mut self, name: &ChannelName) {
        self.channels.retain(|(other, _)| other != name);
        self.left.insert(name.bare());
    }

    /// Replaces the trust in these users.
    pub fn set_people(&mut self, news: Vec<Known>) {
        let places = self.people.iter().enumerate().map(|(at, one)| (one.name.clone(), at));
        let places: BTreeMap<_, _> = places.collect();
        for mut known in news {
            match places.get(&known.name).map(|at| &mut self.people[*at]) {
                Some(before) => {
                    known.merge(before);
                    *before = known;
                }
                None => self.people.push(known),
            }
        }
    }
}

fn damaged(storage: &dyn Storage, reason: String) -> StorageError {
    storage.damaged(Stored::Trust, reason)
}

fn open(sealed: &[u8], account: &dyn Account) -> Result<StoredTrust, String> {
    let what = "it is not sealed to your key: move it away to pin everybody again";
    let openers = account.openers();
    let text = openers.iter().find_map(|opener| at_rest::open_by(opener, sealed));
    serde_json::from_slice(&text.ok_or(what)?).map_err(|error| error.to_string())
}

/// Decodes a stored key of 32 bytes.
pub fn secret(text: &SecretText) -> Option<FileKey> {
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.reveal()).ok()?);
    Some(Zeroizing::new(bytes[..].try_into().ok()?))
}
