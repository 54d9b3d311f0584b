//! What is kept of a person from one run to the next. Pure.

use serde::{Deserialize, Serialize};

use crate::chat::{Opaque, UserName};
use crate::crypto::certificate::Certificate;

/// What is kept of a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub name: Option<UserName>,
    pub keys: Vec<KnownKey>,
    /// They have published a certificate: what they say in private is sealed.
    pub certified: bool,
    /// The newest certificate of each of these keys that was ever seen here.
    #[serde(default)]
    pub certificates: Vec<Opaque>,
}

/// A key that is or was a person's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownKey {
    /// SPKI.
    pub key: Opaque,
    /// How often it was pinned and retired: of what two clients have kept, the later holds.
    #[serde(default)]
    pub changes: u64,
    /// Since when it is not theirs any more, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_ms: Option<i64>,
}

impl KnownKey {
    /// Of as many changes, that it was retired.
    fn is_after(&self, other: &KnownKey) -> bool {
        let order = |one: &KnownKey| (one.changes, one.retired_ms.is_some());
        order(self) > order(other)
    }
}

impl Known {
    /// Another client of this data folder may have learned more.
    pub fn joins(&mut self, other: &Known) {
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
