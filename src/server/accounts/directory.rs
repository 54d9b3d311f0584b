//! The directory of users' keys and certificates, which clients need to seal and to verify. The
//! keys are those in users/; clients publish the certificates. The server cannot forge one, because
//! clients verify all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use crate::chat::rate::{Bucket, Stamp};
use crate::chat::{DeviceKey, Event, Opaque, Refusal, UserName};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::{CERTIFICATE_BYTES, Certificate};
use crate::file::{FileError, json_file};
use crate::home::Users;
use crate::limits::{CERTIFICATE_EVERY_S, CERTIFICATES_BURST, KEY_NAMES_MAX};
use crate::sync::{Mutex, Persisted, Rank};

/// Keys in one event, which must fit into a record.
const KEYS_PER_EVENT: usize = 8;

/// The newest certificate of each key. Publications are serialised.
pub struct Directory {
    certificates: Persisted<Certificates, FileError>,
    /// The rate limit for publishing, per user. Locked while a certificate is published.
    budgets: Mutex<BTreeMap<UserName, Bucket>>,
    began: Instant,
}

type Certificates = BTreeMap<Fingerprint, Opaque>;

impl Directory {
    pub fn open(file: PathBuf) -> Result<Directory, FileError> {
        let mut certificates = BTreeMap::new();
        let list: Option<Vec<Opaque>> = json_file::load_list(&file, json_file::LARGE)?;
        for one in list.into_iter().flatten() {
            let bytes: Option<&[u8; CERTIFICATE_BYTES]> = one.bytes().try_into().ok();
            let bytes = bytes.ok_or_else(|| FileError::damaged(&file, "no certificate"))?;
            certificates.insert(Certificate::issuer(bytes), one);
        }
        let save = move |certificates: &Certificates| {
            let list: Vec<_> = certificates.values().collect();
            json_file::save_compact(&file, &list, 0o600)
        };
        let budgets = Mutex::new(Rank::Certificates, BTreeMap::new());
        let certificates = Persisted::new(certificates, save);
        Ok(Directory { certificates, budgets, began: Instant::now() })
    }

    /// Stores a certificate that a client has made for its key and this server, identified by its
    /// first key. A certificate older than the stored one is ignored.
    pub fn publish(
        &self,
        users: &Users,
        server: &Fingerprint,
        key: &Fingerprint,
        certificate: &Opaque,
    ) -> Result<(), Refusal> {
        let (key, _) = users.by_print(key).ok_or(Refusal::NotOwnCertificate)?;
        let (user, _) = users.by_key(key).ok_or(Refusal::NotOwnCertificate)?;
        let fresh = Certificate::verify(certificate.bytes(), key, server);
        let fresh = fresh.ok_or(Refusal::NotOwnCertificate)?;
        let now_s = jiff::Timestamp::now().as_second().max(0) as u64;
        if !fresh.has_begun_at(now_s) {
            return Err(Refusal::EarlyCertificate);
        }
        let mut budgets = self.budgets.lock();
        let known = self.certificates.get();
        let old = known.get(&fresh.fingerprint());
        let old = old.and_then(|old| Certificate::verify(old.bytes(), key, server));
        if old.is_some_and(|old| stays(&old, &fresh, now_s)) {
            return Ok(());
        }
        // Each publication writes the whole file.
        let now = Stamp(self.began.elapsed().as_millis() as u64);
        let (burst, per_s) = (f64::from(CERTIFICATES_BURST), 1.0 / CERTIFICATE_EVERY_S as f64);
        let budget = budgets.entry(user.clone());
        let budget = budget.or_insert_with(|| Bucket::new(burst, per_s, now));
        budget.take(1.0, now).map_err(|retry_ms| Refusal::Rate { retry_ms })?;
        let registered: BTreeSet<_> = users.keys().map(|(key, _)| key.fingerprint()).collect();
        budgets.retain(|user, _| users.find(user) == Some(user));
        let kept = self.certificates.change(|certificates| {
            certificates.insert(fresh.fingerprint(), certificate.clone());
            certificates.retain(|print, _| registered.contains(print));
        });
        kept.map_err(|error| {
            log::error!("cannot store a certificate: {error}");
            Refusal::Storage
        })
    }

    /// Returns the answer to `Command::Keys`.
    pub fn keys(
        &self,
        users: &Users,
        names: &[UserName],
        reference: &Option<String>,
    ) -> Result<Vec<Event>, Refusal> {
        if names.len() > KEY_NAMES_MAX {
            return Err(Refusal::TooManyNames);
        }
        // Each user once, however often and in whatever case they are named.
        let mut seen = BTreeSet::new();
        let names = names.iter().map(|name| users.find(name).unwrap_or(name));
        let names = names.filter(|name| seen.insert((*name).clone()));
        Ok(names.flat_map(|name| self.keys_of(users, name, reference)).collect())
    }

    /// Returns one user's keys, in one or more events.
    pub fn keys_of(
        &self,
        users: &Users,
        name: &UserName,
        reference: &Option<String>,
    ) -> Vec<Event> {
        let known = self.certificates.get();
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

/// Returns whether a stored certificate is kept: not if it has expired, or was made by a clock that
/// was ahead.
fn stays(old: &Certificate, fresh: &Certificate, now_s: u64) -> bool {
    old.is_valid_at(now_s) && old.not_before() >= fresh.not_before()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::certificate::{OpeningKey, SigningKey};
    use crate::crypto::test_keys::spare;

    #[test]
    fn a_newer_certificate_replaces_an_older_one_or_one_of_a_wrong_clock() {
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
    fn publishing_is_rate_limited_and_old_certificates_cost_nothing() {
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
            assert_eq!(publish(now_s - 1), Ok(()), "an older certificate is ignored");
        }
        assert!(matches!(publish(now_s + burst), Err(Refusal::Rate { retry_ms: 1.. })));
        assert_eq!(publish(now_s + 2 * 86_400), Err(Refusal::EarlyCertificate));
    }
}
