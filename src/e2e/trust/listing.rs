//! The server's key list of a user. Pure.

use std::collections::BTreeMap;

use super::{KEY_BYTES_MAX, KEYS_MAX, Person, Recipient};
use crate::chat::DeviceKey;
use crate::crypto::certificate::Certificate;
use crate::crypto::{Fingerprint, PublicKey};

/// A part of a list.
pub struct Part {
    pub keys: Vec<DeviceKey>,
    /// Another part follows.
    pub more: bool,
    /// It answers a request. An unsolicited list may arrive between two parts of an answer.
    pub asked: bool,
}

/// A key that the server lists.
#[derive(Clone)]
pub struct Listed {
    pub print: Fingerprint,
    pub key: PublicKey,
    pub certificate: Option<Certificate>,
    /// The key had a certificate, and no valid one is listed.
    pub over: bool,
}

impl Listed {
    fn read(one: DeviceKey, server: &Fingerprint, now_ms: i64) -> Option<Listed> {
        let key = PublicKey::from_der(one.key.bytes()).ok()?;
        let certificate = one.certificate.and_then(|bytes| {
            let certificate = Certificate::verify(bytes.bytes(), &key, server)?;
            certificate.is_valid_at((now_ms / 1000) as u64).then_some(certificate)
        });
        Some(Listed { print: key.fingerprint(), key, certificate, over: false })
    }

    pub fn recipient(&self) -> Recipient {
        Recipient { key: self.key.clone(), certificate: self.certificate.clone() }
    }
}

impl Person {
    /// Collects the parts. With the last one, returns the list without duplicates, and whether a
    /// certificate in it has to be stored.
    pub fn takes(
        &mut self,
        part: Part,
        server: &Fingerprint,
        now_ms: i64,
    ) -> Option<(Vec<Listed>, bool)> {
        let coming = &mut self.coming[usize::from(part.asked)];
        let room = KEYS_MAX.saturating_sub(coming.len());
        let fits = |one: &DeviceKey| {
            let certificate = one.certificate.as_ref().map_or(0, |one| one.bytes().len());
            one.key.bytes().len().max(certificate) <= KEY_BYTES_MAX
        };
        coming.extend(part.keys.into_iter().filter(fits).take(room));
        if part.more {
            return None;
        }
        let (mut listed, mut noted) = (BTreeMap::new(), false);
        for one in
            std::mem::take(coming).into_iter().filter_map(|one| Listed::read(one, server, now_ms))
        {
            let certificate = one.certificate.as_ref();
            noted |= certificate.is_some_and(|certificate| self.sees(certificate, now_ms));
            listed.entry(one.print.0).or_insert(one);
        }
        let mut listed: Vec<_> = listed.into_values().collect();
        for one in &mut listed {
            let newest = self.newest.get(&one.print.0);
            let valid = |it: &&Certificate| it.is_valid_at((now_ms / 1000) as u64);
            one.certificate = newest.filter(valid).cloned();
            one.over = newest.is_some() && one.certificate.is_none();
        }
        Some((listed, noted))
    }

    /// Takes a certificate of a listed or pinned key. Returns whether to store it.
    pub fn sees(&mut self, certificate: &Certificate, now_ms: i64) -> bool {
        // A certificate of a clock that is far ahead would outrank all others.
        if !certificate.has_begun_at((now_ms / 1000) as u64) {
            return false;
        }
        let print = certificate.fingerprint();
        let known = self.newest.get(&print.0);
        let newer = known.is_none_or(|known| known.made_at() < certificate.made_at());
        if newer {
            self.newest.insert(print.0, certificate.clone());
        }
        let newest = &self.newest[&print.0];
        if newest.is_valid_at((now_ms / 1000) as u64) {
            self.bare.remove(&print.0);
        }
        newer && self.pin(&print).is_some()
    }

    /// Returns whether the server lists this key now.
    pub fn lists(&self, print: &Fingerprint) -> bool {
        self.listed.iter().flatten().any(|one| one.print == *print)
    }
}
