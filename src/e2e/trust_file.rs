//! What is stored of one server's people and channels: whose key is whose, and the keys of channels
//! with a PIN. Sealed to the person's key.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::storage::{Account, FileKey, Storage, StorageError, Stored};
use super::trust::{Known, TrustStore};
use crate::chat::{ChannelName, SecretText, UserName};
use crate::crypto::pin_channel::PinChannel;
use crate::crypto::{at_rest, random, sha256};

/// The file's content.
#[derive(Serialize, Deserialize)]
pub struct StoredTrust {
    /// Of what is written record by record.
    key: SecretText,
    pub people: Vec<Known>,
    /// Roots of channels with a PIN.
    channels: Vec<(ChannelName, SecretText)>,
    /// Names of channels with a PIN that were left: who writes to one by its name alone is asked.
    pub left: BTreeSet<ChannelName>,
}

pub struct TrustFile {
    pub kept: StoredTrust,
    /// Of the file that `kept` was read from or written to: as long as it lies there nothing is
    /// opened.
    hash: Option<[u8; 32]>,
    /// Of the file as it was written last.
    bytes: u64,
    /// Of whom something was learned that is not stored ...
    unsaved: BTreeSet<UserName>,
    /// ... since when, unless it could not be written.
    unsaved_ms: Option<i64>,
}

/// What was learned of people is written after so many milliseconds, in one piece.
pub(super) const LEARNED_MS: u64 = 1_000;
/// ... or later where the file is large: it is written anew each time.
const BYTES_PER_MS: u64 = 4_000;

impl TrustFile {
    pub fn open(
        storage: &mut dyn Storage,
        account: &dyn Account,
    ) -> Result<TrustFile, StorageError> {
        let key = SecretText::new(STANDARD_NO_PAD.encode(random::<32>()));
        let (channels, left) = (Vec::new(), BTreeSet::new());
        let kept = StoredTrust { key, people: Vec::new(), channels, left };
        let unsaved = BTreeSet::new();
        let mut file = TrustFile { kept, hash: None, bytes: 0, unsaved, unsaved_ms: None };
        match storage.trust()? {
            Some(sealed) => {
                file.takes(&sealed, account).map_err(|error| damaged(storage, error))?
            }
            // Of two clients that begin at once the first one's key holds.
            None => file.update(storage, account, |_| {})?,
        }
        Ok(file)
    }

    /// Changes what is stored now, which another client of this person may have changed meanwhile.
    pub fn update(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        change: impl FnOnce(&mut StoredTrust),
    ) -> Result<(), StorageError> {
        let (mut change, mut unreadable, mut written) = (Some(change), None, None);
        let updated = storage.update_trust(&mut |before| {
            if let Some(Err(error)) = before.map(|sealed| self.takes(&sealed, account)) {
                unreadable = Some(error.clone());
                return Err(error.into());
            }
            // Where it cannot be written, what is stored counts the next time.
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
        Ok(())
    }

    /// This is stored, and with it all that was learned of people.
    pub fn save(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        trust: &TrustStore,
        change: impl FnOnce(&mut StoredTrust),
    ) -> Result<(), String> {
        self.unsaved_ms = None;
        let known: Vec<_> = self.unsaved.iter().filter_map(|name| trust.known(name)).collect();
        let saved = self.update(storage, account, |kept| {
            kept.set_people(known);
            change(kept);
        });
        saved.map_err(|error| format!("this cannot be kept: {error}"))?;
        self.unsaved.clear();
        Ok(())
    }

    /// All that was learned of people is stored now.
    pub fn save_learned(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        trust: &TrustStore,
    ) -> Result<(), String> {
        if self.unsaved.is_empty() { Ok(()) } else { self.save(storage, account, trust, |_| {}) }
    }

    /// Something of a person is to be stored, soon.
    pub fn is_learned(&mut self, name: &UserName, now_ms: i64) {
        self.unsaved.insert(name.clone());
        self.unsaved_ms.get_or_insert(now_ms);
    }

    /// Until what was learned of people is stored.
    pub fn rest_ms(&self, now_ms: i64) -> Option<u64> {
        let rest_ms = LEARNED_MS.max(self.bytes / BYTES_PER_MS);
        self.unsaved_ms.map(|since_ms| rest_ms.saturating_sub(now_ms.abs_diff(since_ms)))
    }

    /// Takes up what is stored.
    fn takes(&mut self, sealed: &[u8], account: &dyn Account) -> Result<(), String> {
        let hash = Some(sha256(&[sealed]));
        if self.hash != hash {
            self.kept = open(sealed, account)?;
            self.hash = hash;
        }
        Ok(())
    }

    /// The key of what is written record by record.
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
    /// A channel's PIN was given.
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

    /// What is known of these people is this.
    pub fn set_people(&mut self, news: Vec<Known>) {
        let seats = self.people.iter().enumerate().map(|(at, one)| (one.name.clone(), at));
        let seats: BTreeMap<_, _> = seats.collect();
        for mut known in news {
            match seats.get(&known.name).map(|at| &mut self.people[*at]) {
                Some(before) => {
                    known.joins(before);
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
    let what = "it is not sealed to your key: move it away to meet everybody anew";
    let openers = account.openers();
    let text = openers.iter().find_map(|opener| at_rest::open_by(opener, sealed));
    serde_json::from_slice(&text.ok_or(what)?).map_err(|error| error.to_string())
}

/// A key of 32 bytes, as it is stored.
pub fn secret(text: &SecretText) -> Option<FileKey> {
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.reveal()).ok()?);
    Some(Zeroizing::new(bytes[..].try_into().ok()?))
}
