//! A server that the client knows: its address, and the keys that it has had.

use serde::{Deserialize, Serialize};

use crate::chat::UserName;
use crate::crypto::Fingerprint;
use crate::crypto::lineage::Lineage;
use crate::invite::normal_host;

/// A known server, pinned by its fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub host: String,
    pub port: u16,
    /// As in an invite: 43 characters of base64url.
    fingerprint: String,
    /// Fingerprints of its former keys, oldest first; each has signed the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<String>,
    /// The user's name on this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<UserName>,
}

impl Server {
    /// A server whose founding key this is, as far as proven.
    pub fn new(host: String, port: u16, key: &Fingerprint, name: Option<UserName>) -> Self {
        Server { host, port, fingerprint: key.to_url(), former: Vec::new(), name }
    }

    /// The same server with these former keys.
    pub fn after(&self, lineage: &Lineage) -> Server {
        let former = lineage.prints().map(|print| print.to_url()).collect();
        Server { former, ..self.clone() }
    }

    /// The same server after a rotation to this key.
    pub fn succeeded_by(&self, key: &Fingerprint) -> Server {
        let mut server = Server { fingerprint: key.to_url(), ..self.clone() };
        server.former.push(self.fingerprint.clone());
        server
    }

    /// The same server with a chain of keys, each signed by its neighbours; the pinned key is at
    /// `pinned_at`. Earlier keys are taken from the chain only if none was known.
    pub fn along(&self, chain: &[Fingerprint], pinned_at: usize) -> Server {
        let mut server = self.clone();
        if server.former.is_empty() {
            server.former = chain[..pinned_at].iter().map(Fingerprint::to_url).collect();
        }
        chain[pinned_at + 1..].iter().fold(server, |server, key| server.succeeded_by(key))
    }

    /// Another client's view of this server, with the longer one of both chains of keys. None if
    /// the chains part.
    pub fn merged(&self, other: &Server) -> Option<Server> {
        let chain = |server: &Server| {
            [&server.former[..], std::slice::from_ref(&server.fingerprint)].concat()
        };
        let (own, others) = (chain(self), chain(other));
        if others.starts_with(&own) {
            return Some(other.clone());
        }
        let (fingerprint, former) = (self.fingerprint.clone(), self.former.clone());
        own.starts_with(&others).then(|| Server { fingerprint, former, ..other.clone() })
    }

    /// The same server at another address.
    pub fn at(&self, host: String, port: u16) -> Server {
        Server { host, port, ..self.clone() }
    }

    /// Returns whether it has this address, in any spelling of the host.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        normal_host(&self.host) == normal_host(host) && self.port == port
    }

    /// How many keys it had before the present one.
    pub fn former_keys(&self) -> usize {
        self.former.len()
    }

    /// Returns whether this is its current or a former key.
    pub fn is_known_by(&self, key: &Fingerprint) -> bool {
        let key = key.to_url();
        self.fingerprint == key || self.former.contains(&key)
    }

    /// Fingerprint of its founding key, which never changes.
    pub fn founding(&self) -> Option<Fingerprint> {
        Fingerprint::from_url(self.former.first().unwrap_or(&self.fingerprint))
    }

    /// The pinned fingerprint; `None` only if the file was tampered with.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Fingerprint::from_url(&self.fingerprint)
    }
}
