//! Current and former keys of one user. Pure.

use super::{Known, KnownKey, Listed, Person};
use crate::chat::Opaque;
use crate::crypto::certificate::Certificate;
use crate::crypto::{Fingerprint, PublicKey};

/// A current or former key of a user.
pub struct Pin {
    pub print: Fingerprint,
    pub key: PublicKey,
    /// Count of pins and retirements.
    changes: u64,
    /// Time of its retirement.
    pub retired_ms: Option<i64>,
}

impl Pin {
    fn new(print: Fingerprint, key: PublicKey) -> Pin {
        Pin { print, key, changes: 0, retired_ms: None }
    }

    /// Returns `None` if the stored bytes are no key.
    pub fn of(known: &KnownKey) -> Option<Pin> {
        let key = PublicKey::from_der(known.key.bytes()).ok()?;
        let (print, KnownKey { changes, retired_ms, .. }) = (key.fingerprint(), known);
        Some(Pin { print, key, changes: *changes, retired_ms: *retired_ms })
    }

    pub fn is_theirs(&self) -> bool {
        self.retired_ms.is_none()
    }

    pub fn retire(&mut self, now_ms: i64) {
        (self.changes, self.retired_ms) = (self.changes + 1, Some(now_ms));
    }

    fn known(&self) -> KnownKey {
        let key = Opaque::new(&self.key.to_der()).expect("a key has bytes");
        KnownKey { key, changes: self.changes, retired_ms: self.retired_ms }
    }
}

impl Person {
    pub fn pin(&self, print: &Fingerprint) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.print == *print)
    }

    /// Returns whether a key is pinned.
    pub fn has(&self, print: &Fingerprint) -> bool {
        self.pin(print).is_some_and(Pin::is_theirs)
    }

    /// Pins a key. Returns whether that is a change.
    pub fn pins(&mut self, one: &Listed) -> bool {
        match self.pins.iter_mut().find(|pin| pin.print == one.print) {
            Some(pin) if pin.is_theirs() => return false,
            Some(pin) => (pin.changes, pin.retired_ms) = (pin.changes + 1, None),
            None => self.pins.push(Pin::new(one.print, one.key.clone())),
        }
        true
    }

    /// Retires the pinned keys that `goes` selects.
    pub fn retires(
        &mut self,
        now_ms: i64,
        goes: impl Fn(&Fingerprint) -> bool,
    ) -> Vec<Fingerprint> {
        let pins = self.pins.iter_mut().filter(|pin| pin.is_theirs() && goes(&pin.print));
        pins.map(|pin| {
            pin.retire(now_ms);
            pin.print
        })
        .collect()
    }

    /// How much this user counts towards the first-use limit.
    pub fn counts(&self) -> usize {
        if self.name.is_some() { self.pins.len().max(1) } else { 0 }
    }

    /// Returns the trust to store.
    pub fn known(&self) -> Known {
        let newest =
            self.newest.iter().filter(|(print, _)| self.pin(&Fingerprint(**print)).is_some());
        let bytes = |one: &Certificate| Opaque::new(one.bytes()).expect("a certificate has bytes");
        Known {
            name: self.name.clone(),
            keys: self.pins.iter().map(Pin::known).collect(),
            certified: self.certified,
            certificates: newest.map(|(_, one)| bytes(one)).collect(),
        }
    }
}
