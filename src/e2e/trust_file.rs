//! What is stored of one server's people and channels: whose key is whose, and the keys of channels
//! with a PIN. Sealed to the person's key.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::storage::{Account, FileKey, Storage, StorageError, Stored};
use super::trust::Known;
use crate::chat::{ChannelName, Hidden};
use crate::crypto::pin_channel::PinChannel;
use crate::crypto::{keep, random, sha256};

/// The file's content.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Of what is written record by record.
    key: Hidden,
    pub people: Vec<Known>,
    /// Roots of channels with a PIN.
    channels: Vec<(ChannelName, Hidden)>,
    /// Names of channels with a PIN that were left: who writes to one by its name alone is asked.
    pub left: BTreeSet<ChannelName>,
}

pub struct TrustFile {
    pub kept: Kept,
    /// Of the file that `kept` was read from or written to: as long as it lies there nothing is
    /// opened.
    hash: Option<[u8; 32]>,
    /// Of the file as it was written last.
    pub bytes: u64,
}

impl TrustFile {
    pub fn open(
        storage: &mut dyn Storage,
        account: &dyn Account,
    ) -> Result<TrustFile, StorageError> {
        let key = Hidden::new(STANDARD_NO_PAD.encode(random::<32>()));
        let (channels, left) = (Vec::new(), BTreeSet::new());
        let kept = Kept { key, people: Vec::new(), channels, left };
        let mut file = TrustFile { kept, hash: None, bytes: 0 };
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
        change: impl FnOnce(&mut Kept),
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
            let sealed = keep::seal_for(&keepers.iter().collect::<Vec<_>>(), &text);
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

impl Kept {
    /// A channel's PIN was given.
    pub fn add_channel(&mut self, name: &ChannelName, key: &PinChannel) {
        self.forget_channel(name);
        self.left.remove(&name.bare());
        let root = Zeroizing::new(STANDARD_NO_PAD.encode(&key.root()[..]));
        self.channels.push((name.clone(), Hidden::new(root.to_string())));
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

fn open(sealed: &[u8], account: &dyn Account) -> Result<Kept, String> {
    let what = "it is not sealed to your key: move it away to meet everybody anew";
    let openers = account.openers();
    let text = openers.iter().find_map(|opener| keep::open_by(opener, sealed));
    serde_json::from_slice(&text.ok_or(what)?).map_err(|error| error.to_string())
}

/// A key of 32 bytes, as it is stored.
pub fn secret(text: &Hidden) -> Option<FileKey> {
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.reveal()).ok()?);
    Some(Zeroizing::new(bytes[..].try_into().ok()?))
}
