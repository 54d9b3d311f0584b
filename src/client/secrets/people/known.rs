//! What is kept of a person from one run to the next. Pure.

use serde::{Deserialize, Serialize};

use crate::chat::{Opaque, UserName};
use crate::crypto::certificate::Certificate;

/// What is kept of a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    pub name: Option<UserName>,
    /// SPKI of each key that is theirs.
    pub keys: Vec<Opaque>,
    /// They have published a certificate: what they say in private is sealed.
    pub certified: bool,
    /// The newest certificate of each of these keys that was ever seen here.
    #[serde(default)]
    pub certificates: Vec<Opaque>,
}

impl Known {
    /// Another client of this vault may have learned more.
    pub fn joins(&mut self, other: &Known) {
        self.certified |= other.certified;
        let more = other.keys.iter().filter(|key| !self.keys.contains(key));
        let more: Vec<_> = more.cloned().collect();
        self.keys.extend(more);
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
