//! SHA-256, HKDF, AES-256-GCM and random bytes, in the few shapes that the protocol wants.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac, rand};
use zeroize::Zeroizing;

/// Bytes of an AES-256-GCM tag.
pub const TAG_BYTES: usize = 16;

/// A 32-byte secret, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// The hash of all parts, one behind the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// RFC 5869 with SHA-256: extract under `salt`, then expand to `N` bytes.
pub fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm);
    let mut out = Zeroizing::new([0; N]);
    let okm = prk.expand(info, Length(N)).expect("N is far below 255 hashes");
    okm.fill(&mut out[..]).expect("the buffer has the length asked for");
    out
}

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
}

/// Whether two byte strings are equal, in time that depends on their lengths only.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// An AES-256-GCM key whose nonces are `0x00000000 || counter` (big-endian).
pub fn aead_key(key: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
    LessSafeKey::new(key)
}

pub fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Seals a short text: ciphertext, then tag.
pub fn seal(key: &[u8; 32], counter: u64, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    let sealing =
        aead_key(key).seal_in_place_append_tag(nonce(counter), Aad::from(aad), &mut sealed);
    sealing.expect("a short text can be sealed");
    sealed
}

/// Opens what `seal` made; none if anything differs.
pub fn open(key: &[u8; 32], counter: u64, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(sealed.to_vec());
    let opened = aead_key(key).open_in_place(nonce(counter), Aad::from(aad), &mut plain);
    let bytes = opened.ok()?.len();
    plain.truncate(bytes);
    Some(plain)
}
