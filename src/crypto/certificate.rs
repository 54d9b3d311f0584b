//! Device certificates (docs/protocol.md, "Device certificates"): an RSA identity names the keys
//! with which one device signs messages and opens private ones on one server.

use std::fmt;

use zeroize::Zeroizing;

use super::dhkem::Ephemeral;
use super::identity::MODULUS_BYTES;
use super::primitives::{Secret, random, sha256};
use super::provider::{self, Signing};
use super::{Fingerprint, Identity, PublicKey};

const LABEL: &[u8] = b"pychat/1 cert";
/// The label, four parts of 32 bytes, and two times.
const SIGNED_BYTES: usize = 13 + 4 * 32 + 2 * 8;
/// Bytes of a certificate.
pub const CERTIFICATE_BYTES: usize = SIGNED_BYTES + MODULUS_BYTES;

/// The parts of 32 bytes, in their order.
const SERVER: usize = 0;
const ISSUER: usize = 1;
const SIGNING: usize = 2;
const OPENING: usize = 3;

/// Seconds for which a certificate is valid after it was issued.
const VALID_S: u64 = 28 * 86_400;
/// Seconds for which it is valid before that, for clocks that differ.
const EARLY_S: u64 = 86_400;

/// SHA-256 of a certificate, which identifies it.
pub type CertificateHash = [u8; 32];

/// A certificate with a valid signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    bytes: Box<[u8; CERTIFICATE_BYTES]>,
    pub hash: CertificateHash,
}

/// The key with which a device signs its messages.
pub struct SigningKey {
    seed: Secret,
    pair: Signing,
}

/// The key with which a device decrypts private messages, until it is deleted.
pub struct OpeningKey {
    private: Secret,
    pair: Ephemeral,
}

impl Certificate {
    /// Signs the keys of a device for `server`, which is identified by the fingerprint of its first
    /// key.
    pub fn issue(
        identity: &Identity,
        server: &Fingerprint,
        signing: &SigningKey,
        opening: &OpeningKey,
        now_s: u64,
    ) -> Certificate {
        let mut bytes = Vec::with_capacity(CERTIFICATE_BYTES);
        bytes.extend_from_slice(LABEL);
        bytes.extend_from_slice(&server.0);
        bytes.extend_from_slice(&identity.public().fingerprint().0);
        bytes.extend_from_slice(&signing.pair.public());
        bytes.extend_from_slice(opening.pair.public());
        bytes.extend_from_slice(&now_s.saturating_sub(EARLY_S).to_be_bytes());
        bytes.extend_from_slice(&(now_s + VALID_S).to_be_bytes());
        bytes.extend_from_slice(&identity.sign(&bytes));
        Certificate::unchecked(&bytes).expect("all parts have their lengths")
    }

    /// Verifies untrusted bytes as a certificate of this identity for this server.
    pub fn verify(bytes: &[u8], key: &PublicKey, server: &Fingerprint) -> Option<Certificate> {
        let certificate = Certificate::unchecked(bytes)?;
        let (signed, signature) = certificate.bytes.split_at(SIGNED_BYTES);
        let is_named =
            certificate.part(SERVER) == server.0 && certificate.fingerprint() == key.fingerprint();
        let holds = is_named && signed.starts_with(LABEL) && key.verify(signed, signature);
        holds.then_some(certificate)
    }

    /// Parses stored bytes. The caller verifies the signature before it uses them.
    pub fn unchecked(bytes: &[u8]) -> Option<Certificate> {
        let bytes: Box<[u8; CERTIFICATE_BYTES]> = Box::new(bytes.try_into().ok()?);
        let hash = sha256(&[&bytes[..]]);
        Some(Certificate { bytes, hash })
    }

    pub fn bytes(&self) -> &[u8; CERTIFICATE_BYTES] {
        &self.bytes
    }

    /// Returns the fingerprint of the identity that has signed it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.part(ISSUER))
    }

    /// Returns the fingerprint of the claimed identity, which is not verified.
    pub fn issuer(bytes: &[u8; CERTIFICATE_BYTES]) -> Fingerprint {
        Fingerprint(
            *bytes[LABEL.len() + 32 * ISSUER..]
                .first_chunk()
                .expect("a certificate has its length"),
        )
    }

    pub(super) fn opening(&self) -> [u8; 32] {
        self.part(OPENING)
    }

    /// Returns when it was issued.
    pub fn made_at(&self) -> u64 {
        self.not_before().saturating_add(EARLY_S)
    }

    /// Seconds since 1970.
    pub fn not_before(&self) -> u64 {
        self.time(0)
    }

    pub fn not_after(&self) -> u64 {
        self.time(1)
    }

    pub fn is_valid_at(&self, time_s: u64) -> bool {
        (self.not_before()..=self.not_after()).contains(&time_s)
    }

    pub fn has_begun_at(&self, time_s: u64) -> bool {
        self.not_before() <= time_s
    }

    /// Returns whether it had expired at that time.
    pub fn is_over_since(&self, time_s: i64) -> bool {
        u64::try_from(time_s).is_ok_and(|time_s| time_s > self.not_after())
    }

    /// Returns whether its device has signed `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        provider::signed(&self.part(SIGNING), message, signature)
    }

    fn part(&self, index: usize) -> [u8; 32] {
        let start = LABEL.len() + 32 * index;
        self.bytes[start..start + 32].try_into().expect("a certificate has its length")
    }

    fn time(&self, index: usize) -> u64 {
        let start = LABEL.len() + 4 * 32 + 8 * index;
        let bytes = self.bytes[start..start + 8].try_into().expect("a certificate has its length");
        u64::from_be_bytes(bytes)
    }
}

impl SigningKey {
    pub fn generate() -> SigningKey {
        SigningKey::from_seed(&Zeroizing::new(random()))
    }

    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        SigningKey { seed: Zeroizing::new(*seed), pair: Signing::from_seed(seed) }
    }

    pub fn seed(&self) -> &Secret {
        &self.seed
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message)
    }
}

impl OpeningKey {
    pub fn generate() -> OpeningKey {
        OpeningKey::from_bytes(&Zeroizing::new(random()))
    }

    pub fn from_bytes(private: &[u8; 32]) -> OpeningKey {
        OpeningKey { private: Zeroizing::new(*private), pair: Ephemeral::from_bytes(private) }
    }

    pub fn private(&self) -> &Secret {
        &self.private
    }

    pub(super) fn pair(&self) -> &Ephemeral {
        &self.pair
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, until {})", self.fingerprint(), self.not_after())
    }
}

/// `Debug` for secret keys, which shows none of their bytes.
macro_rules! redacted {
    ($($kind:ident),+) => {$(
        impl std::fmt::Debug for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($kind), "(...)"))
            }
        }
    )+};
}
pub(super) use redacted;

redacted!(SigningKey, OpeningKey);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::test_keys::{ana, bob};

    #[test]
    fn a_certificate_holds_under_its_own_key_alone_and_only_whole() {
        let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
        let (server, other) = (Fingerprint([9; 32]), Fingerprint([8; 32]));
        let certificate = Certificate::issue(ana(), &server, &signing, &opening, 1_000_000);
        let bytes = *certificate.bytes();
        assert_eq!(Certificate::verify(&bytes, ana().public(), &server), Some(certificate.clone()));
        assert_eq!(Certificate::verify(&bytes, ana().public(), &other), None);
        assert_eq!(Certificate::verify(&bytes, bob().public(), &server), None);
        assert_eq!(Certificate::verify(&bytes[1..], ana().public(), &server), None);
        for index in 0..bytes.len() {
            let mut changed = bytes;
            changed[index] ^= 1;
            assert_eq!(
                Certificate::verify(&changed, ana().public(), &server),
                None,
                "byte {index}"
            );
        }
        assert!(certificate.is_valid_at(1_000_000));
        assert!(!certificate.is_valid_at(1_000_000 - EARLY_S - 1));
        assert!(!certificate.is_valid_at(1_000_000 + VALID_S + 1));
    }

    #[test]
    fn keys_show_nothing_of_themselves() {
        assert_eq!(format!("{:?}", SigningKey::from_seed(&[7; 32])), "SigningKey(...)");
        assert_eq!(format!("{:?}", OpeningKey::from_bytes(&[7; 32])), "OpeningKey(...)");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_certificate(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(Certificate::verify(&bytes, ana().public(), &Fingerprint([9; 32])), None);
        }
    }
}
