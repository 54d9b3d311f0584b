//! Implementations in Rust for a client without a C compiler. RSA is blinded, but not constant-time
//! (docs/security.md).

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use ed25519_dalek::{Signer, Verifier};
use hmac::{Hmac, Mac};
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use rand::TryRng;
use rand::rngs::SysRng;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use rsa::{Oaep, RsaPrivateKey, pss};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey as Point, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::parameters::{
    MLKEM_CIPHERTEXT_BYTES, MLKEM_PUBLIC_BYTES, MODULUS_BYTES, Secret, TAG_BYTES, rsa_key,
};

pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

pub fn fill(bytes: &mut [u8]) {
    SysRng.try_fill_bytes(bytes).expect("the system gives random bytes");
}

/// AES-256-GCM.
pub struct Aead(Aes256Gcm);

impl Aead {
    pub fn new(key: &[u8; 32]) -> Aead {
        Aead(Aes256Gcm::new(key.into()))
    }

    /// Encrypts in place; no tag if a key may not encrypt as many bytes at once.
    pub fn seal(&self, nonce: [u8; 12], aad: &[u8], plain: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let tag = self.0.encrypt_inout_detached(&nonce.into(), aad, plain.into());
        tag.ok().map(Into::into)
    }

    /// Decrypts ciphertext and tag in place.
    pub fn open<'a>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let (plain, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>()?;
        let tag = (*tag).into();
        self.0.decrypt_inout_detached(&nonce.into(), aad, (&mut *plain).into(), &tag).ok()?;
        Some(plain)
    }
}

/// An X25519 key.
pub struct Agreement {
    private: StaticSecret,
    public: [u8; 32],
}

impl Agreement {
    pub fn from_bytes(private: &[u8; 32]) -> Agreement {
        let private = StaticSecret::from(*private);
        let public = Point::from(&private).to_bytes();
        Agreement { private, public }
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Returns the shared secret; `None` if it is all zero.
    pub fn agree(&self, peer: &[u8; 32]) -> Option<Secret> {
        let shared = self.private.diffie_hellman(&Point::from(*peer));
        shared.was_contributory().then(|| Zeroizing::new(*shared.as_bytes()))
    }
}

/// A decapsulation key of ML-KEM-768.
pub struct MlKem {
    private: DecapsulationKey768,
    public: Box<[u8; MLKEM_PUBLIC_BYTES]>,
}

impl MlKem {
    pub fn generate() -> MlKem {
        let mut seed = Zeroizing::new([0; 64]);
        fill(&mut seed[..]);
        MlKem::of(DecapsulationKey768::from_seed((*seed).into()))
    }

    /// A key in its expanded form, which contains the public key.
    #[cfg(test)]
    #[expect(deprecated, reason = "AWS-LC has no other form")]
    pub fn from_expanded(expanded: &[u8; 2400]) -> MlKem {
        MlKem::of(DecapsulationKey768::from_expanded(&(*expanded).into()).unwrap())
    }

    fn of(private: DecapsulationKey768) -> MlKem {
        let public = Box::new(private.encapsulation_key().to_bytes().into());
        MlKem { private, public }
    }

    pub fn public(&self) -> &[u8; MLKEM_PUBLIC_BYTES] {
        &self.public
    }

    /// Returns the shared secret; a random one for a ciphertext of another key (implicit
    /// rejection).
    pub fn open(&self, sealed: &[u8; MLKEM_CIPHERTEXT_BYTES]) -> Option<Secret> {
        let mut secret = self.private.decapsulate(&(*sealed).into());
        let shared = Zeroizing::new(secret.into());
        secret.zeroize();
        Some(shared)
    }
}

/// Returns a ciphertext for this encapsulation key, and its secret.
pub fn mlkem_seal(
    public: &[u8; MLKEM_PUBLIC_BYTES],
) -> Option<([u8; MLKEM_CIPHERTEXT_BYTES], Secret)> {
    let public = EncapsulationKey768::new(&(*public).into()).ok()?;
    let mut message = Zeroizing::new([0; 32]);
    fill(&mut message[..]);
    let (sealed, mut secret) = public.encapsulate_deterministic((&*message).into());
    let shared = Zeroizing::new(secret.into());
    secret.zeroize();
    Some((sealed.into(), shared))
}

/// An Ed25519 key.
pub struct Signing(ed25519_dalek::SigningKey);

impl Signing {
    pub fn from_seed(seed: &[u8; 32]) -> Signing {
        Signing(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Returns whether `signature` is valid under `public` (Ed25519).
pub fn signed(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(public) else { return false };
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
    key.verify(message, &signature).is_ok()
}

/// A private RSA-3072 key: OAEP and PSS, both with SHA-256.
pub struct Rsa {
    opening: RsaPrivateKey,
    signing: pss::SigningKey<Sha256>,
}

impl Rsa {
    /// Returns `None` if the numbers are inconsistent.
    pub fn new(private: &RsaPrivateKey) -> Option<Rsa> {
        private.validate().ok()?;
        let signing = pss::SigningKey::new(private.clone());
        Some(Rsa { opening: private.clone(), signing })
    }

    pub fn open(&self, label: &[u8], sealed: &[u8; MODULUS_BYTES]) -> Option<Secret> {
        let padding = Oaep::<Sha256>::new_with_label(label);
        let plain = self.opening.decrypt_blinded(&mut rand::rng(), padding, sealed).ok()?;
        let plain = Zeroizing::new(plain);
        <[u8; 32]>::try_from(&plain[..]).ok().map(Zeroizing::new)
    }

    pub fn sign(&self, message: &[u8]) -> [u8; MODULUS_BYTES] {
        let signature = self.signing.sign_with_rng(&mut rand::rng(), message);
        signature.to_vec().try_into().expect("an RSA-3072 signature has 384 bytes")
    }
}

/// Returns `None` for a modulus that is no product of primes.
pub fn rsa_seal(
    key: &[u8; MODULUS_BYTES],
    label: &[u8],
    secret: &Secret,
) -> Option<[u8; MODULUS_BYTES]> {
    let padding = Oaep::<Sha256>::new_with_label(label);
    let sealed = rsa_key(key).encrypt(&mut rand::rng(), padding, &secret[..]).ok()?;
    sealed.try_into().ok()
}

pub fn rsa_signed(key: &[u8; MODULUS_BYTES], message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = pss::Signature::try_from(signature) else { return false };
    pss::VerifyingKey::<Sha256>::new(rsa_key(key)).verify(message, &signature).is_ok()
}
