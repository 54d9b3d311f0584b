//! What is kept of one server's people and channels: whose key is whose, and the keys of channels
//! with a PIN. A file of the vault (0600), sealed to the person's key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::people::Known;
use crate::chat::{ChannelName, Hidden};
use crate::crypto::pin_channel::PinChannel;
use crate::crypto::{Identity, PublicKey, keep, random, sha256};
use crate::home::FileError;
use crate::home::file::{replace, turn};

/// The file's content.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Of what is written line by line.
    key: Hidden,
    pub people: Vec<Known>,
    /// Roots of channels with a PIN.
    channels: Vec<(ChannelName, Hidden)>,
    /// Names of channels with a PIN that were left: who writes to one by its name alone is asked.
    pub left: BTreeSet<ChannelName>,
}

pub struct Store {
    stem: PathBuf,
    pub kept: Kept,
    /// Of the file that `kept` was read from or written to: as long as it lies there nothing is
    /// opened.
    hash: Option<[u8; 32]>,
    /// Of the file as it was written last.
    pub bytes: u64,
}

impl Store {
    /// `stem` is the files' path without their endings.
    pub fn open(
        stem: &Path,
        openers: &[Arc<Identity>],
        keepers: &[PublicKey],
    ) -> Result<Store, FileError> {
        let key = Hidden::new(STANDARD_NO_PAD.encode(random::<32>()));
        let (channels, left) = (Vec::new(), BTreeSet::new());
        let kept = Kept { key, people: Vec::new(), channels, left };
        let mut store = Store { stem: stem.to_owned(), kept, hash: None, bytes: 0 };
        if store.read(openers)? {
            return Ok(store);
        }
        // Of two clients that begin at once the first one's key holds.
        store.update(openers, keepers, |_| {})?;
        Ok(store)
    }

    /// Changes what is on disk now, which another client of this person may have changed meanwhile.
    pub fn update(
        &mut self,
        openers: &[Arc<Identity>],
        keepers: &[PublicKey],
        change: impl FnOnce(&mut Kept),
    ) -> Result<(), FileError> {
        let _turn = turn(&self.stem.with_extension("secrets.lock"))?;
        self.read(openers)?;
        // Where it cannot be written, what is on disk counts the next time.
        self.hash = None;
        change(&mut self.kept);
        let text = Zeroizing::new(serde_json::to_vec(&self.kept).expect("it is plain JSON"));
        let keepers: Vec<_> = keepers.iter().collect();
        let sealed = keep::seal_for(&keepers, &text);
        replace(&file(&self.stem), &sealed, 0o600)?;
        self.bytes = sealed.len() as u64;
        self.hash = Some(sha256(&[&sealed]));
        Ok(())
    }

    /// Takes up what is on disk; whether there is anything.
    fn read(&mut self, openers: &[Arc<Identity>]) -> Result<bool, FileError> {
        let path = file(&self.stem);
        let sealed = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(FileError::io(&path))?,
        };
        let hash = Some(sha256(&[&sealed]));
        if self.hash != hash {
            self.kept = open(&path, &sealed, openers)?;
            self.hash = hash;
        }
        Ok(true)
    }

    /// The key of what is written line by line.
    pub fn key(&self) -> Zeroizing<[u8; 32]> {
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

fn file(stem: &Path) -> PathBuf {
    stem.with_extension("secrets")
}

fn open(path: &Path, sealed: &[u8], openers: &[Arc<Identity>]) -> Result<Kept, FileError> {
    let what = "it is not sealed to your key: move it away to meet everybody anew";
    let text = openers.iter().find_map(|opener| keep::open_by(opener, sealed));
    let text = text.ok_or_else(|| FileError::damaged(path, what))?;
    serde_json::from_slice(&text).map_err(|error| FileError::damaged(path, error))
}

fn secret(text: &Hidden) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.reveal()).ok()?);
    Some(Zeroizing::new(bytes[..].try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Opaque;
    use crate::crypto::Fingerprint;
    use crate::crypto::certificate::{Certificate, OpeningKey, SigningKey};
    use crate::crypto::test_keys::spare;

    #[test]
    fn what_is_kept_is_there_again_for_two_clients_and_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let (stem, identity) = (folder.path().join("server"), Arc::new(spare(0)));
        let (openers, keepers) = ([Arc::clone(&identity)], [identity.public().clone()]);
        let mut one = Store::open(&stem, &openers, &keepers).unwrap();
        let mut two = Store::open(&stem, &openers, &keepers).unwrap();
        let tea: ChannelName = format!("#tea~{}", "0".repeat(26)).parse().unwrap();
        let key = PinChannel::from_root(Zeroizing::new([7; 32]));
        one.update(&openers, &keepers, |kept| kept.add_channel(&tea, &key)).unwrap();
        let [old, new] = [1_000_000, 1_100_000].map(|made_s| {
            let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
            let certificate =
                Certificate::issue(&identity, &Fingerprint([9; 32]), &signing, &opening, made_s);
            Opaque::new(certificate.bytes()).unwrap()
        });
        let of = |one: &Opaque| Known {
            name: Some("bob".parse().unwrap()),
            certificates: vec![one.clone()],
            ..Known::default()
        };
        let known = of(&new);
        two.update(&openers, &keepers, |kept| kept.set_people(vec![known.clone()])).unwrap();
        // The one that has seen an older certificate only does not put it in the place of the newer
        // one.
        one.update(&openers, &keepers, |kept| kept.set_people(vec![of(&old)])).unwrap();
        let three = Store::open(&stem, &openers, &keepers).unwrap();
        assert_eq!(three.key(), one.key());
        assert_eq!(three.kept.people, [known]);
        let channels: Vec<_> = three.channels().map(|(name, key)| (name, key.tag())).collect();
        assert_eq!(channels, [(tea, key.tag())]);
        let bytes = fs::read(stem.with_extension("secrets")).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"#tea" || window == b"bob\""));
        let error = Store::open(&stem, &[Arc::new(spare(1))], &keepers).err().unwrap();
        assert!(error.to_string().contains("not sealed to your key"), "{error}");
    }
}
