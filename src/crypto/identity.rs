//! RSA identities: a private key that decrypts, a public key to encrypt to.

use std::fmt;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rsa::pkcs1::{self, RsaPublicKeyRef, UintRef};
use rsa::pkcs8::der::asn1::BitStringRef;
use rsa::pkcs8::der::{Decode, Encode};
use rsa::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding,
    SubjectPublicKeyInfoRef,
};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use zeroize::Zeroizing;

pub use super::parameters::MODULUS_BYTES;
use super::parameters::{EXPONENT, rsa_key};
use super::primitives::{Secret, hmac_sha256, random, sha256};
use super::provider::{self, Rsa};

const MODULUS_BITS: usize = 8 * MODULUS_BYTES;
/// The purpose of an encapsulation, so that a ciphertext is invalid for another purpose.
pub(super) const HOP: &[u8] = b"pychat/1 hop";

/// The digits of Crockford's base32, in which fingerprints are read aloud.
pub const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The reason why a key is not usable. Each says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("this is a private key, which is never handed out")]
    Private,
    #[error("the key has {0} bits; pychat wants RSA with 3072")]
    Size(usize),
    #[error("the key's public exponent is not 65537")]
    Exponent,
    #[error("the modulus is even: this is no RSA key")]
    Modulus,
    #[error("not an RSA key in PEM form ({0})")]
    Malformed(String),
    #[error("the passphrase does not open the key")]
    Passphrase,
    #[error("the key is locked with a passphrase")]
    Locked,
}

/// A public RSA-3072 key with e = 65537, as its modulus.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; MODULUS_BYTES]);

/// SHA-256 of a key's SPKI DER; shown as `SHA256:` and base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// A private key with its public half. `Debug` shows the fingerprint only.
pub struct Identity {
    private: Private,
    public: PublicKey,
}

enum Private {
    Here { key: Box<RsaPrivateKey>, operations: Box<Rsa> },
    Elsewhere(Box<dyn KeyHolder>),
}

/// What holds a private key that never comes here, as a browser does.
pub trait KeyHolder: Send + Sync {
    /// Opens RSAES-OAEP with SHA-256 and this label. `None` if the ciphertext is not valid.
    fn open(&self, label: &[u8], ct: &[u8; MODULUS_BYTES]) -> Option<Secret>;

    /// Signs with RSASSA-PSS, SHA-256 and a salt of 32 bytes. `None` if the key is gone.
    fn sign(&self, message: &[u8]) -> Option<[u8; MODULUS_BYTES]>;
}

impl Identity {
    /// Generates an RSA-3072 key, which takes up to some seconds.
    pub fn generate() -> Identity {
        let private = RsaPrivateKey::new(&mut rand::rng(), MODULUS_BITS);
        let private = private.expect("a key of this size can be made");
        Identity::new(private).expect("a key made here is a legal one")
    }

    /// An identity whose private key stays with its holder.
    pub fn held(public: PublicKey, holder: Box<dyn KeyHolder>) -> Identity {
        Identity { private: Private::Elsewhere(holder), public }
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns PKCS#8 PEM; with a passphrase, encrypted (PBES2: scrypt and AES-256-CBC).
    ///
    /// # Panics
    /// The private key is held elsewhere. No program that writes keys has such an identity.
    pub fn to_pem(&self, passphrase: Option<&str>) -> Zeroizing<String> {
        let Private::Here { key, .. } = &self.private else { panic!("the key is held elsewhere") };
        let pem = match passphrase {
            Some(passphrase) => key.to_pkcs8_encrypted_pem(passphrase, LineEnding::LF),
            None => key.to_pkcs8_pem(LineEnding::LF),
        };
        pem.expect("a whole key can be written")
    }

    /// Parses PKCS#8 PEM. `KeyError::Locked` if a passphrase is needed and none was given.
    pub fn from_pem(pem: &str, passphrase: Option<&str>) -> Result<Identity, KeyError> {
        let malformed = |error: &dyn fmt::Display| KeyError::Malformed(error.to_string());
        let private = if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            let passphrase = passphrase.ok_or(KeyError::Locked)?;
            RsaPrivateKey::from_pkcs8_encrypted_pem(pem, passphrase)
                .map_err(|_| KeyError::Passphrase)?
        } else {
            RsaPrivateKey::from_pkcs8_pem(pem).map_err(|error| malformed(&error))?
        };
        Identity::new(private)
    }

    fn new(private: RsaPrivateKey) -> Result<Identity, KeyError> {
        let public = PublicKey::from_rsa(&private.to_public_key())?;
        let malformed = |_| KeyError::Malformed("its numbers do not fit together".into());
        private.validate().map_err(malformed)?;
        let operations = Rsa::new(&private)
            .ok_or_else(|| KeyError::Malformed("its numbers do not fit together".into()))?;
        Ok(Identity {
            private: Private::Here { key: Box::new(private), operations: Box::new(operations) },
            public,
        })
    }

    /// Signs with RSASSA-PSS, SHA-256 and a salt of 32 bytes. Used only for device certificates and
    /// successions.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; MODULUS_BYTES] {
        match &self.private {
            Private::Here { operations, .. } => operations.sign(message),
            // No server and no client accepts this in place of a signature.
            Private::Elsewhere(holder) => holder.sign(message).unwrap_or([0; MODULUS_BYTES]),
        }
    }

    fn open(&self, label: &[u8], ct: &[u8; MODULUS_BYTES]) -> Option<Secret> {
        match &self.private {
            Private::Here { operations, .. } => operations.open(label, ct),
            Private::Elsewhere(holder) => holder.open(label, ct),
        }
    }

    /// Decapsulates. Never reports a failure: if OAEP fails, the secret is random, and the next
    /// AEAD tag is invalid (docs/protocol.md, "RSA KEM").
    pub(super) fn decapsulate(&self, label: &[u8], ct: &[u8; MODULUS_BYTES]) -> Secret {
        static REJECTION: OnceLock<[u8; 32]> = OnceLock::new();
        let rejected = hmac_sha256(REJECTION.get_or_init(random), &[ct]);
        self.open(label, ct).unwrap_or(Zeroizing::new(rejected))
    }

    /// Decapsulates and reports a failure.
    #[cfg(test)]
    pub(super) fn opens(&self, label: &[u8], ct: &[u8; MODULUS_BYTES]) -> Option<Secret> {
        self.open(label, ct)
    }
}

impl PublicKey {
    /// The top bit must be set and the number odd.
    pub fn from_modulus(modulus: &[u8]) -> Result<PublicKey, KeyError> {
        let modulus: [u8; MODULUS_BYTES] =
            modulus.try_into().map_err(|_| KeyError::Size(8 * modulus.len()))?;
        if modulus[0] & 0x80 == 0 {
            let zeros: u32 = match modulus.iter().position(|byte| *byte != 0) {
                Some(first) => 8 * first as u32 + modulus[first].leading_zeros(),
                None => MODULUS_BITS as u32,
            };
            return Err(KeyError::Size(MODULUS_BITS - zeros as usize));
        }
        if modulus[MODULUS_BYTES - 1] & 1 == 0 {
            return Err(KeyError::Modulus);
        }
        Ok(PublicKey(modulus))
    }

    pub fn modulus(&self) -> &[u8; MODULUS_BYTES] {
        &self.0
    }

    /// Parses SPKI PEM, `-----BEGIN PUBLIC KEY-----`.
    pub fn from_pem(pem: &str) -> Result<PublicKey, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if !pem.contains("-----BEGIN PUBLIC KEY-----") {
            return Err(KeyError::Malformed("there is no -----BEGIN PUBLIC KEY----- in it".into()));
        }
        if !pem.contains("-----END PUBLIC KEY-----") {
            return Err(KeyError::Malformed("it breaks off".into()));
        }
        let key = RsaPublicKey::from_public_key_pem(pem.trim());
        PublicKey::from_rsa(&key.map_err(|error| KeyError::Malformed(error.to_string()))?)
    }

    pub fn to_pem(&self) -> String {
        self.to_rsa().to_public_key_pem(LineEnding::LF).expect("a public key can be written")
    }

    /// Parses SPKI DER (RFC 3279, section 2.3.1) without arithmetic, because fingerprints are
    /// computed often.
    pub fn from_der(spki: &[u8]) -> Result<PublicKey, KeyError> {
        let malformed = |error: &dyn fmt::Display| KeyError::Malformed(error.to_string());
        let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|error| malformed(&error))?;
        if spki.algorithm != pkcs1::ALGORITHM_ID {
            return Err(malformed(&"its algorithm is not rsaEncryption"));
        }
        let key = spki.subject_public_key.as_bytes();
        let key = key.ok_or_else(|| malformed(&"it is not of whole bytes"))?;
        let key = RsaPublicKeyRef::from_der(key).map_err(|error| malformed(&error))?;
        PublicKey::from_numbers(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    pub fn to_der(&self) -> Vec<u8> {
        let exponent = EXPONENT.to_be_bytes();
        let [modulus, public_exponent] = [&self.0[..], &exponent]
            .map(|number| UintRef::new(number).expect("DER has numbers of this size"));
        let key = RsaPublicKeyRef { modulus, public_exponent }.to_der();
        let key = key.expect("a public key can be written");
        let subject_public_key = BitStringRef::from_bytes(&key).expect("a key is of whole bytes");
        let spki = SubjectPublicKeyInfoRef { algorithm: pkcs1::ALGORITHM_ID, subject_public_key };
        spki.to_der().expect("a public key can be written")
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(sha256(&[&self.to_der()]))
    }

    /// Returns whether this key has signed `message`.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        provider::rsa_signed(&self.0, message, signature)
    }

    /// Returns a new secret for the owner of this key, and its ciphertext.
    pub(super) fn encapsulate(&self, label: &[u8]) -> ([u8; MODULUS_BYTES], Secret) {
        let secret: Secret = Zeroizing::new(random());
        (self.encapsulate_secret(label, &secret), secret)
    }

    /// Encapsulates a secret that the caller has made.
    pub(super) fn encapsulate_secret(&self, label: &[u8], secret: &Secret) -> [u8; MODULUS_BYTES] {
        // A modulus that is no product of primes may be refused: its owner could not decrypt
        // anyway.
        provider::rsa_seal(&self.0, label, secret).unwrap_or([0; MODULUS_BYTES])
    }

    fn from_rsa(key: &RsaPublicKey) -> Result<PublicKey, KeyError> {
        PublicKey::from_numbers(&key.n_bytes(), &key.e_bytes())
    }

    /// Both are big-endian.
    fn from_numbers(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, KeyError> {
        let first = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
        let modulus = &modulus[first..];
        let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let bits = 8 * modulus.len() - leading;
        if bits != MODULUS_BITS {
            return Err(KeyError::Size(bits));
        }
        let first = exponent.iter().position(|byte| *byte != 0).unwrap_or(exponent.len());
        if exponent[first..] != EXPONENT.to_be_bytes()[1..] {
            return Err(KeyError::Exponent);
        }
        PublicKey::from_modulus(modulus)
    }

    pub(super) fn to_rsa(&self) -> RsaPublicKey {
        rsa_key(&self.0)
    }
}

impl Fingerprint {
    /// Base64url without padding, 43 characters, as in an invite.
    pub fn to_url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub fn from_url(text: &str) -> Option<Fingerprint> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Fingerprint)
    }

    /// The first 100 bits in Crockford base32, in four groups of five, to read over the phone.
    pub fn spoken(&self) -> String {
        let bits = u128::from_be_bytes(*self.0.first_chunk().expect("32 bytes hold 16"));
        let letter = |index: usize| CROCKFORD[(bits >> (123 - 5 * index)) as usize & 31] as char;
        let groups = (0..4).map(|group| (5 * group..5 * group + 5).map(letter).collect::<String>());
        groups.collect::<Vec<_>>().join("-")
    }
}

/// `SHA256:...`
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.fingerprint(), f)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.public, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::ana;

    /// Somebody who holds a key of the tests, and may have lost it.
    struct Holder {
        has_key: bool,
    }

    impl KeyHolder for Holder {
        fn open(&self, label: &[u8], ct: &[u8; MODULUS_BYTES]) -> Option<Secret> {
            ana().opens(label, ct).filter(|_| self.has_key)
        }

        fn sign(&self, message: &[u8]) -> Option<[u8; MODULUS_BYTES]> {
            self.has_key.then(|| ana().sign(message))
        }
    }

    #[test]
    fn a_key_that_is_held_elsewhere_opens_and_signs_until_it_is_lost() {
        let held = |has_key| Identity::held(ana().public().clone(), Box::new(Holder { has_key }));
        let (ct, secret) = ana().public().encapsulate(HOP);
        assert_eq!(held(true).decapsulate(HOP, &ct), secret);
        assert_ne!(held(true).decapsulate(b"another label", &ct), secret);
        assert_ne!(held(false).decapsulate(HOP, &ct), secret);
        let verifies = |own: Identity| ana().public().verify(b"statement", &own.sign(b"statement"));
        assert!(verifies(held(true)) && !verifies(held(false)));
    }

    /// The same by the rsa crate, which does arithmetic with the numbers.
    fn read_by_rsa(spki: &[u8]) -> Option<PublicKey> {
        RsaPublicKey::from_public_key_der(spki).ok().and_then(|key| PublicKey::from_rsa(&key).ok())
    }

    #[test]
    fn a_public_key_is_read_and_written_as_the_rsa_crate_does() {
        let key = ana().public();
        let der = key.to_der();
        assert_eq!(der, key.to_rsa().to_public_key_der().unwrap().into_vec());
        let mut refused = 0;
        for bit in 0..8 * der.len() {
            let mut other = der.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let read = PublicKey::from_der(&other).ok();
            assert_eq!(read, read_by_rsa(&other), "bit {bit}");
            refused += usize::from(read.is_none());
        }
        assert!(refused > 250, "{refused}");
        // No unused bits that are set, no other parameters, and no trailing bytes.
        let at = |bytes: &[u8]| der.windows(bytes.len()).position(|one| one == bytes).unwrap();
        let (unused, null) = (at(&[0x03, 0x82, 0x01, 0x8f, 0]) + 4, at(&[0x05, 0x00]));
        for (at, byte) in [(unused, 1), (unused, 7), (null, 0x04), (null, 0x30)] {
            let mut other = der.clone();
            other[at] = byte;
            assert!(PublicKey::from_der(&other).is_err(), "{byte} at {at}");
        }
        assert!(PublicKey::from_der(&[&der[..], &[0]].concat()).is_err());
    }
}
