//! The server's key list of a user. Pure.

use crate::chat::DeviceKey;
use crate::crypto::certificate::Certificate;
use crate::crypto::private::Device;
use crate::crypto::{Fingerprint, PublicKey};

/// Keys per user that are taken from a list.
pub const KEYS_MAX: usize = 1_000;

/// Bound for a key and for a certificate, in bytes; longer ones are invalid.
pub const KEY_BYTES_MAX: usize = 1_024;

/// A part of a list.
pub struct Part {
    pub keys: Vec<DeviceKey>,
    /// Another part follows.
    pub more: bool,
    /// It answers a request. An unsolicited list may arrive between two parts of an answer.
    pub asked: bool,
}

/// A key that the server lists.
#[derive(Clone)]
pub struct Listed {
    pub print: Fingerprint,
    pub key: PublicKey,
    pub certificate: Option<Certificate>,
}

impl Listed {
    pub fn read(one: DeviceKey, server: &Fingerprint, now_ms: i64) -> Option<Listed> {
        let key = PublicKey::from_der(one.key.bytes()).ok()?;
        let certificate = one.certificate.and_then(|bytes| {
            let certificate = Certificate::verify(bytes.bytes(), &key, server)?;
            certificate.is_valid_at((now_ms / 1000) as u64).then_some(certificate)
        });
        Some(Listed { print: key.fingerprint(), key, certificate })
    }

    pub fn recipient(&self) -> Recipient {
        Recipient { key: self.key.clone(), certificate: self.certificate.clone() }
    }
}

/// A key to seal for.
#[derive(Clone)]
pub struct Recipient {
    pub key: PublicKey,
    pub certificate: Option<Certificate>,
}

impl Recipient {
    pub fn device(&self) -> Device<'_> {
        match &self.certificate {
            Some(certificate) => Device::Certified(certificate, &self.key),
            None => Device::Bare(&self.key),
        }
    }
}
