//! Cache of verified certificates: a signature is checked once, not for each message. Pure.

use std::collections::HashMap;

use crate::crypto::Fingerprint;
use crate::crypto::certificate::{Certificate, CertificateHash};

/// Certificates in the cache; beyond it, the cache begins again.
const CERTIFICATES_MAX: usize = 1_000;

#[derive(Default)]
pub struct Verified(HashMap<CertificateHash, Certificate>);

impl Verified {
    /// Returns the certificate with this hash if this key has signed it.
    pub fn get(&self, hash: &CertificateHash, key: &Fingerprint) -> Option<&Certificate> {
        self.0.get(hash).filter(|one| one.fingerprint() == *key)
    }

    pub fn add(&mut self, hash: CertificateHash, certificate: Certificate) {
        if self.0.len() >= CERTIFICATES_MAX {
            self.0.clear();
        }
        self.0.insert(hash, certificate);
    }
}
