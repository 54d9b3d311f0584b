//! AWS-LC, which is constant-time. AES-GCM is from ring, which has code for the widest instructions
//! of more processors (docs/performance.md).

use aws_lc_rs::agreement::{self, X25519};
use aws_lc_rs::kem::{self, ML_KEM_768};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use aws_lc_rs::{digest, hmac, rand};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use zeroize::Zeroizing;

use crate::crypto::parameters::{
    EXPONENT, MLKEM_CIPHERTEXT_BYTES, MLKEM_PUBLIC_BYTES, MODULUS_BYTES, Secret, TAG_BYTES,
};

pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
}

pub fn equal(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

pub fn fill(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system gives random bytes");
}

/// AES-256-GCM.
pub struct Aead(LessSafeKey);

impl Aead {
    pub fn new(key: &[u8; 32]) -> Aead {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
        Aead(LessSafeKey::new(key))
    }

    /// Encrypts in place; no tag if a key may not encrypt as many bytes at once.
    pub fn seal(&self, nonce: [u8; 12], aad: &[u8], plain: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), plain).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts ciphertext and tag in place.
    pub fn open<'a>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(aad), sealed).ok()
    }
}

/// An X25519 key.
pub struct Agreement {
    private: agreement::PrivateKey,
    public: [u8; 32],
}

impl Agreement {
    pub fn from_bytes(private: &[u8; 32]) -> Agreement {
        let private = agreement::PrivateKey::from_private_key(&X25519, private);
        let private = private.expect("any 32 bytes are an X25519 key");
        let public = private.compute_public_key().expect("a private key has its public half");
        let public = public.as_ref().try_into().expect("an X25519 key has 32 bytes");
        Agreement { private, public }
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Returns the shared secret; `None` if it is all zero.
    pub fn agree(&self, peer: &[u8; 32]) -> Option<Secret> {
        let peer = agreement::UnparsedPublicKey::new(&X25519, peer);
        let shared = agreement::agree(&self.private, peer, (), |shared| {
            let shared: [u8; 32] = shared.try_into().map_err(|_| ())?;
            Ok(Zeroizing::new(shared))
        });
        shared.ok().filter(|shared| **shared != [0; 32])
    }
}

/// A decapsulation key of ML-KEM-768.
pub struct MlKem {
    private: kem::DecapsulationKey,
    public: Box<[u8; MLKEM_PUBLIC_BYTES]>,
}

impl MlKem {
    pub fn generate() -> MlKem {
        let private = kem::DecapsulationKey::generate(&ML_KEM_768).expect("a key can be made");
        let public = private.encapsulation_key().and_then(|key| key.key_bytes());
        let public = public.expect("a new key has its public half");
        let public = Box::new(public.as_ref().try_into().expect("it has 1184 bytes"));
        MlKem { private, public }
    }

    /// A key in its expanded form, which contains the public key.
    #[cfg(test)]
    pub fn from_expanded(expanded: &[u8; 2400]) -> MlKem {
        let private = kem::DecapsulationKey::new(&ML_KEM_768, expanded).unwrap();
        MlKem { private, public: Box::new(expanded[1152..2336].try_into().unwrap()) }
    }

    pub fn public(&self) -> &[u8; MLKEM_PUBLIC_BYTES] {
        &self.public
    }

    /// Returns the shared secret; a random one for a ciphertext of another key (implicit
    /// rejection).
    pub fn open(&self, sealed: &[u8; MLKEM_CIPHERTEXT_BYTES]) -> Option<Secret> {
        let secret = self.private.decapsulate(sealed[..].into()).ok()?;
        secret.as_ref().try_into().ok().map(Zeroizing::new)
    }
}

/// Returns a ciphertext for this encapsulation key, and its secret.
pub fn mlkem_seal(
    public: &[u8; MLKEM_PUBLIC_BYTES],
) -> Option<([u8; MLKEM_CIPHERTEXT_BYTES], Secret)> {
    let public = kem::EncapsulationKey::new(&ML_KEM_768, public).ok()?;
    let (sealed, secret) = public.encapsulate().ok()?;
    let secret = secret.as_ref().try_into().ok().map(Zeroizing::new)?;
    Some((sealed.as_ref().try_into().ok()?, secret))
}

/// An Ed25519 key.
pub struct Signing(Ed25519KeyPair);

impl Signing {
    pub fn from_seed(seed: &[u8; 32]) -> Signing {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        Signing(pair.expect("any 32 bytes are an Ed25519 seed"))
    }

    pub fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes")
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// Returns whether `signature` is valid under `public` (Ed25519).
pub fn signed(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// A private RSA-3072 key: OAEP and PSS, both with SHA-256.
pub struct Rsa {
    opening: OaepPrivateDecryptingKey,
    signing: RsaKeyPair,
}

impl Rsa {
    /// Returns `None` if the numbers are inconsistent.
    pub fn new(private: &RsaPrivateKey) -> Option<Rsa> {
        let der = private.to_pkcs8_der().ok()?;
        let opening = PrivateDecryptingKey::from_pkcs8(der.as_bytes()).ok()?;
        let opening = OaepPrivateDecryptingKey::new(opening).ok()?;
        Some(Rsa { opening, signing: RsaKeyPair::from_pkcs8(der.as_bytes()).ok()? })
    }

    pub fn open(&self, label: &[u8], sealed: &[u8; MODULUS_BYTES]) -> Option<Secret> {
        let mut plain = Zeroizing::new([0; MODULUS_BYTES]);
        let opened =
            self.opening.decrypt(&OAEP_SHA256_MGF1SHA256, sealed, &mut plain[..], Some(label));
        <[u8; 32]>::try_from(&*opened.ok()?).ok().map(Zeroizing::new)
    }

    pub fn sign(&self, message: &[u8]) -> [u8; MODULUS_BYTES] {
        let mut signature = [0; MODULUS_BYTES];
        let random = rand::SystemRandom::new();
        let signed = self.signing.sign(&RSA_PSS_SHA256, &random, message, &mut signature);
        signed.expect("a whole key can sign");
        signature
    }
}

/// Returns `None` for a modulus that is no product of primes.
pub fn rsa_seal(
    key: &[u8; MODULUS_BYTES],
    label: &[u8],
    secret: &Secret,
) -> Option<[u8; MODULUS_BYTES]> {
    let key: PublicEncryptingKey = components(key).try_into().ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut sealed = [0; MODULUS_BYTES];
    key.encrypt(&OAEP_SHA256_MGF1SHA256, &secret[..], &mut sealed, Some(label)).ok()?;
    Some(sealed)
}

pub fn rsa_signed(key: &[u8; MODULUS_BYTES], message: &[u8], signature: &[u8]) -> bool {
    components(key).verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
}

fn components(key: &[u8; MODULUS_BYTES]) -> RsaPublicKeyComponents<&[u8]> {
    const E: [u8; 4] = EXPONENT.to_be_bytes();
    RsaPublicKeyComponents { n: &key[..], e: &E[1..] }
}
