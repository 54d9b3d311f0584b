//! Current and former keys of one user. Pure.

use super::known::{KnownKey, Unstored};
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
    unstored: Unstored,
}

impl Pin {
    pub fn new(print: Fingerprint, key: PublicKey, unstored: Unstored) -> Pin {
        Pin { print, key, changes: 0, retired_ms: None, unstored }
    }

    /// Returns `None` if the stored bytes are no key.
    pub fn of(known: &KnownKey) -> Option<Pin> {
        let key = PublicKey::from_der(known.key.bytes()).ok()?;
        let (print, KnownKey { changes, retired_ms, unstored, .. }) = (key.fingerprint(), known);
        let (changes, retired_ms, unstored) = (*changes, *retired_ms, *unstored);
        Some(Pin { print, key, changes, retired_ms, unstored })
    }

    pub fn is_theirs(&self) -> bool {
        self.retired_ms.is_none()
    }

    /// Returns whether it was pinned at a first contact that the file does not have yet.
    pub fn is_met(&self) -> bool {
        self.unstored == Unstored::Met
    }

    /// Records that the file has its state.
    pub fn is_stored(&mut self) {
        self.unstored = Unstored::Nothing;
    }

    /// Makes a retired key a current one. Returns whether it was retired.
    pub fn renew(&mut self) -> bool {
        let was_retired = self.retired_ms.take().is_some();
        if was_retired {
            (self.changes, self.unstored) = (self.changes.saturating_add(1), Unstored::Decided);
        }
        was_retired
    }

    /// Records that the user has confirmed it.
    pub fn confirm(&mut self) {
        if self.is_met() {
            self.unstored = Unstored::Decided;
        }
    }

    pub fn retire(&mut self, now_ms: i64) {
        (self.changes, self.retired_ms) = (self.changes.saturating_add(1), Some(now_ms));
        if !self.is_met() {
            self.unstored = Unstored::Decided;
        }
    }

    pub fn known(&self) -> KnownKey {
        let key = Opaque::new(&self.key.to_der()).expect("a key has bytes");
        let Pin { changes, retired_ms, unstored, .. } = *self;
        KnownKey { key, changes, retired_ms, unstored }
    }
}
