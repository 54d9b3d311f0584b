//! Which keys people have: what clients seal for, and check signatures by. The keys are those in users/,
//! the certificates those that people's clients publish. The server cannot make one: each client checks
//! all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use crate::chat::rate::{Bucket, Stamp};
use crate::chat::{DeviceKey, Event, Opaque, Refusal, UserName};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::{CERTIFICATE_BYTES, Certificate};
use crate::home::file::{read_text_up_to, replace};
use crate::home::{FileError, Users};
use crate::limits::{CERTIFICATE_EVERY_S, CERTIFICATES_BURST, KEY_NAMES_MAX};

/// Keys in one event, which must fit a record.
const KEYS_PER_EVENT: usize = 8;
/// Far more than ten thousand certificates take.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The newest certificate of each key. One after the other is published; nobody who looks waits for
/// the disk.
pub struct Directory {
    file: PathBuf,
    certificates: RwLock<Arc<Certificates>>,
    /// Held by who publishes, with what each key may publish yet.
    turn: Mutex<BTreeMap<Fingerprint, Bucket>>,
    began: Instant,
}

type Certificates = BTreeMap<Fingerprint, Opaque>;

impl Directory {
    pub fn open(file: PathBuf) -> Result<Directory, FileError> {
        let mut certificates = BTreeMap::new();
        if let Some(text) = read_text_up_to(&file, FILE_BYTES_MAX)? {
            let list: Vec<Opaque> =
                serde_json::from_str(&text).map_err(|error| FileError::damaged(&file, error))?;
            for one in list {
                let bytes: Option<&[u8; CERTIFICATE_BYTES]> = one.bytes().try_into().ok();
                let bytes = bytes.ok_or_else(|| FileError::damaged(&file, "no certificate"))?;
                certificates.insert(Certificate::issuer(bytes), one);
            }
        }
        Ok(Directory {
            file,
            certificates: RwLock::new(Arc::new(certificates)),
            turn: Mutex::default(),
            began: Instant::now(),
        })
    }

    fn now(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A client has made a certificate for its key and this server, which is named by its first key. An older one than is known changes nothing.
    pub fn publish(
        &self,
        users: &Users,
        server: &Fingerprint,
        key: &Fingerprint,
        certificate: &Opaque,
    ) -> Result<(), Refusal> {
        let (key, _) = users.by_print(key).ok_or(Refusal::NotOwnCertificate)?;
        let fresh = Certificate::verify(certificate.bytes(), key, server);
        let fresh = fresh.ok_or(Refusal::NotOwnCertificate)?;
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.now();
        let old = known.get(&fresh.fingerprint());
        let old = old.and_then(|old| Certificate::verify(old.bytes(), key, server));
        let now_s = jiff::Timestamp::now().as_second().max(0) as u64;
        if old.is_some_and(|old| stays(&old, &fresh, now_s)) {
            return Ok(());
        }
        // Each one is a write of the whole file.
        let now = Stamp(self.began.elapsed().as_millis() as u64);
        let (burst, per_s) = (f64::from(CERTIFICATES_BURST), 1.0 / CERTIFICATE_EVERY_S as f64);
        let budget = turn.entry(fresh.fingerprint());
        let budget = budget.or_insert_with(|| Bucket::new(burst, per_s, now));
        budget.take(1.0, now).map_err(|retry_ms| Refusal::Rate { retry_ms })?;
        let mut new = Certificates::clone(&known);
        new.insert(fresh.fingerprint(), certificate.clone());
        let registered: BTreeSet<_> = users.keys().map(|(key, _)| key.fingerprint()).collect();
        new.retain(|print, _| registered.contains(print));
        turn.retain(|print, _| registered.contains(print));
        self.keep(new, |text| replace(&self.file, text, 0o600)).map_err(|error| {
            log::error!("a certificate is not kept: {error}");
            Refusal::Storage
        })
    }

    /// Others hold once they are on disk.
    fn keep(
        &self,
        new: Certificates,
        write: impl FnOnce(&[u8]) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let list: Vec<_> = new.values().collect();
        write(&serde_json::to_vec(&list).expect("certificates are plain JSON"))?;
        *self.certificates.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// The answer to `Command::Keys`.
    pub fn keys(
        &self,
        users: &Users,
        names: &[UserName],
        reference: &Option<String>,
    ) -> Result<Vec<Event>, Refusal> {
        if names.len() > KEY_NAMES_MAX {
            return Err(Refusal::TooManyNames);
        }
        // Each person once, however often and in whatever case they are named.
        let mut seen = BTreeSet::new();
        let names = names.iter().map(|name| users.find(name).unwrap_or(name));
        let names = names.filter(|name| seen.insert((*name).clone()));
        Ok(names.flat_map(|name| self.keys_of(users, name, reference)).collect())
    }

    /// One person's keys, in one event or several.
    pub fn keys_of(
        &self,
        users: &Users,
        name: &UserName,
        reference: &Option<String>,
    ) -> Vec<Event> {
        let known = self.now();
        let name = users.find(name).unwrap_or(name);
        let keys = users.keys_of(name).filter_map(|key| {
            let (_, device) = users.by_key(key)?;
            let certificate = known.get(&key.fingerprint()).cloned();
            let spki = Opaque::new(&key.to_der()).expect("a key has bytes");
            Some(DeviceKey { device: device.clone(), key: spki, certificate })
        });
        let keys: Vec<DeviceKey> = keys.collect();
        let events = keys.len().div_ceil(KEYS_PER_EVENT).max(1);
        let event = |index: usize| {
            let chunk = keys.iter().skip(index * KEYS_PER_EVENT).take(KEYS_PER_EVENT).cloned();
            let (name, reference) = (name.clone(), reference.clone());
            Event::Keys { name, keys: chunk.collect(), more: index + 1 < events, reference }
        };
        (0..events).map(event).collect()
    }
}

/// Whether a certificate keeps its place: not one that is over, nor one of a clock that was ahead.
fn stays(old: &Certificate, fresh: &Certificate, now_s: u64) -> bool {
    old.is_valid_at(now_s) && old.not_before() >= fresh.not_before()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::certificate::{OpeningKey, SigningKey};
    use crate::crypto::test_keys::spare;

    #[test]
    fn a_newer_certificate_takes_the_place_and_so_does_one_after_a_wrong_clock() {
        let key = spare(0);
        let made = |day: u64| {
            let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
            Certificate::issue(&key, &Fingerprint([9; 32]), &signing, &opening, day * 86_400)
        };
        let ([one, two, ahead], now_s) = ([100, 107, 400].map(made), 108 * 86_400);
        assert!(!stays(&one, &two, now_s) && stays(&two, &one, now_s) && stays(&two, &two, now_s));
        assert!(!stays(&ahead, &two, now_s));
    }

    #[test]
    fn a_key_publishes_few_certificates_at_once_and_old_ones_cost_none() {
        let folder = tempfile::tempdir().unwrap();
        let key = spare(0);
        std::fs::write(folder.path().join("alice.pem"), key.public().to_pem()).unwrap();
        let (users, _) = Users::load(folder.path()).unwrap();
        let directory = Directory::open(folder.path().join("certificates.json")).unwrap();
        let server = Fingerprint([9; 32]);
        let publish = |at_s: u64| {
            let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
            let made = Certificate::issue(&key, &server, &signing, &opening, at_s);
            let made = Opaque::new(made.bytes()).unwrap();
            directory.publish(&users, &server, &key.public().fingerprint(), &made)
        };
        let now_s = jiff::Timestamp::now().as_second() as u64;
        let burst = u64::from(CERTIFICATES_BURST);
        for newer in 0..burst {
            assert_eq!(publish(now_s + newer), Ok(()));
            assert_eq!(publish(now_s - 1), Ok(()), "it changes nothing");
        }
        assert!(matches!(publish(now_s + burst), Err(Refusal::Rate { retry_ms: 1.. })));
    }

    #[test]
    fn who_looks_does_not_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("certificates.json")).unwrap();
        let new = || Certificates::from([(Fingerprint([1; 32]), Opaque::new(b"x").unwrap())]);
        let (looked, seen) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let kept = directory.keep(new(), |_| {
                scope.spawn(|| looked.send(directory.now().len()));
                // Nothing of it holds before it is on disk.
                assert_eq!(seen.recv_timeout(std::time::Duration::from_secs(60)), Ok(0));
                Ok(())
            });
            kept.unwrap();
        });
        assert_eq!(directory.now().len(), 1);
        let fails = directory
            .keep(Certificates::new(), |_| Err(FileError::damaged(&directory.file, "no disk")));
        assert!(
            fails.is_err() && directory.now().len() == 1,
            "what cannot be written does not hold"
        );
    }
}
