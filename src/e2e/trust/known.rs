//! The stored trust in one user. Pure.

use serde::{Deserialize, Serialize};

use crate::chat::{Opaque, UserName};
use crate::crypto::certificate::Certificate;

/// The stored trust in one user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub name: Option<UserName>,
    pub keys: Vec<KnownKey>,
    /// The user has published a certificate, so their private messages must be sealed.
    pub certified: bool,
    /// The newest certificate seen for each of these keys.
    #[serde(default)]
    pub certificates: Vec<Opaque>,
}

/// A current or former key of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownKey {
    /// SPKI.
    pub key: Opaque,
    /// Count of pins and retirements. When two clients have stored different states, the higher
    /// count wins.
    #[serde(default)]
    pub changes: u64,
    /// Time of its retirement, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_ms: Option<i64>,
    #[serde(skip)]
    pub unstored: Unstored,
}

/// What this client has learned about a key since it last read or wrote the trust file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Unstored {
    #[default]
    Nothing,
    /// It was pinned at the first contact with its user.
    Met,
    /// It was confirmed or retired.
    Decided,
}

impl KnownKey {
    /// At equal counts, retirement wins.
    fn order(&self) -> (u64, bool) {
        (self.changes, self.retired_ms.is_some())
    }

    /// Merges what the file has of this key.
    fn merged(&self, file: &KnownKey) -> KnownKey {
        if self.order() == file.order() {
            return file.clone();
        }
        let is_retired = self.unstored != Unstored::Nothing && self.retired_ms.is_some();
        if is_retired && file.retired_ms.is_none() {
            // The retirement wins over confirmations by clients that did not know of it.
            let changes = self.changes.max(file.changes.saturating_add(1));
            return KnownKey { changes, unstored: Unstored::Decided, ..self.clone() };
        }
        let newer = self.unstored != Unstored::Met && self.order() > file.order();
        if newer { self.clone() } else { file.clone() }
    }
}

impl Known {
    /// Merges what another client of this data folder has stored. That client was the first to meet
    /// this user, so that further keys of a first contact are not pinned.
    pub fn merge(&mut self, other: &Known) {
        self.certified |= other.certified;
        let has = |own: &KnownKey| other.keys.iter().any(|theirs| theirs.key == own.key);
        self.keys.retain(|own| own.unstored != Unstored::Met || has(own));
        for theirs in &other.keys {
            match self.keys.iter_mut().find(|own| own.key == theirs.key) {
                Some(own) => *own = own.merged(theirs),
                None => self.keys.push(theirs.clone()),
            }
        }
        for bytes in &other.certificates {
            let Some(theirs) = Certificate::unchecked(bytes.bytes()) else { continue };
            let print = theirs.fingerprint();
            let same = |own: &Opaque| {
                Certificate::unchecked(own.bytes()).filter(|own| own.fingerprint() == print)
            };
            let at = self.certificates.iter().position(|own| same(own).is_some());
            match at.map(|at| (at, same(&self.certificates[at]))) {
                None => self.certificates.push(bytes.clone()),
                Some((at, Some(own))) if own.made_at() < theirs.made_at() => {
                    self.certificates[at] = bytes.clone();
                }
                Some(_) => {}
            }
        }
    }
}
