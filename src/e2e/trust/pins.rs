//! Current and former keys of one user. Pure.

use super::known::KnownKey;
use crate::chat::Opaque;
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
    pub fn new(print: Fingerprint, key: PublicKey) -> Pin {
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

    /// Makes a retired key a current one. Returns whether it was retired.
    pub fn renew(&mut self) -> bool {
        let was_retired = self.retired_ms.take().is_some();
        self.changes += u64::from(was_retired);
        was_retired
    }

    pub fn retire(&mut self, now_ms: i64) {
        (self.changes, self.retired_ms) = (self.changes + 1, Some(now_ms));
    }

    pub fn known(&self) -> KnownKey {
        let key = Opaque::new(&self.key.to_der()).expect("a key has bytes");
        KnownKey { key, changes: self.changes, retired_ms: self.retired_ms }
    }
}
