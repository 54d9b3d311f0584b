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
}

impl KnownKey {
    /// At equal counts, retirement wins.
    fn is_after(&self, other: &KnownKey) -> bool {
        let order = |one: &KnownKey| (one.changes, one.retired_ms.is_some());
        order(self) > order(other)
    }
}

impl Known {
    /// Merges what another client of this data folder has stored.
    pub fn merge(&mut self, other: &Known) {
        self.certified |= other.certified;
        for theirs in &other.keys {
            match self.keys.iter_mut().find(|own| own.key == theirs.key) {
                Some(own) if theirs.is_after(own) => *own = theirs.clone(),
                Some(_) => {}
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
