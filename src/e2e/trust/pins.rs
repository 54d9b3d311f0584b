//! The pins of one person: keys that are theirs, and keys that were. Pure.

use super::{Known, KnownKey, Listed, Person};
use crate::chat::Opaque;
use crate::crypto::certificate::Certificate;
use crate::crypto::{Fingerprint, PublicKey};

/// A key that is or was a person's.
pub struct Pin {
    pub print: Fingerprint,
    pub key: PublicKey,
    /// How often it was pinned and retired.
    changes: u64,
    /// Since when it is not theirs any more.
    pub retired_ms: Option<i64>,
}

impl Pin {
    fn new(print: Fingerprint, key: PublicKey) -> Pin {
        Pin { print, key, changes: 0, retired_ms: None }
    }

    /// None where what was kept is no key.
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

    /// Whether a key is theirs.
    pub fn has(&self, print: &Fingerprint) -> bool {
        self.pin(print).is_some_and(Pin::is_theirs)
    }

    /// A key is theirs from now on. Whether it was not.
    pub fn pins(&mut self, one: &Listed) -> bool {
        match self.pins.iter_mut().find(|pin| pin.print == one.print) {
            Some(pin) if pin.is_theirs() => return false,
            Some(pin) => (pin.changes, pin.retired_ms) = (pin.changes + 1, None),
            None => self.pins.push(Pin::new(one.print, one.key.clone())),
        }
        true
    }

    /// Retires those of their keys that `goes` names.
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

    /// How many keys of those that may be met they take.
    pub fn counts(&self) -> usize {
        if self.name.is_some() { self.pins.len().max(1) } else { 0 }
    }

    /// What is to be kept of them.
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
