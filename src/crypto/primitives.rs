//! SHA-256, HKDF, AES-256-GCM and random bytes, in the forms that the protocol uses.

pub use super::parameters::{Secret, TAG_BYTES};
use super::provider;
pub use super::provider::{Aead, equal, hmac_sha256, sha256};
use zeroize::Zeroizing;

/// RFC 5869 with SHA-256: extract under `salt`, then expand to `N` bytes.
pub fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let prk = Zeroizing::new(hmac_sha256(salt, &[ikm]));
    let mut out = Zeroizing::new([0; N]);
    let mut before = Zeroizing::new(Vec::new());
    for (count, chunk) in (1u8..).zip(out.chunks_mut(32)) {
        let (prefix, suffix) = ([&before[..]], [count]);
        let parts = prefix.iter().chain(info).copied().chain([&suffix[..]]).collect::<Vec<_>>();
        let block = Zeroizing::new(hmac_sha256(&prk[..], &parts));
        chunk.copy_from_slice(&block[..chunk.len()]);
        *before = block.to_vec();
    }
    out
}

#[cfg(test)]
thread_local! {
    /// Whether the system's randomness repeats, as it may after the restore of a snapshot.
    pub static REPEATS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

pub fn random<const N: usize>() -> [u8; N] {
    #[cfg(test)]
    if REPEATS.get() {
        return [7; N];
    }
    let mut bytes = [0; N];
    provider::fill(&mut bytes);
    bytes
}

/// Returns random bytes that differ for different `parts` even if the system's random numbers
/// repeat, as in a virtual machine that was restored from a snapshot.
pub fn hedged(parts: &[&[u8]]) -> [u8; 32] {
    hmac_sha256(&random::<32>(), parts)
}

/// `0x00000000 || counter` (big-endian).
pub fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// Encrypts a short text. Returns ciphertext and tag.
pub fn seal(key: &[u8; 32], counter: u64, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    let tag = Aead::new(key).seal(nonce(counter), aad, &mut sealed);
    sealed.extend(tag.expect("a short text can be sealed"));
    sealed
}

/// Decrypts the result of `seal`; `None` if anything differs.
pub fn open(key: &[u8; 32], counter: u64, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(sealed.to_vec());
    let bytes = Aead::new(key).open(nonce(counter), aad, &mut plain)?.len();
    plain.truncate(bytes);
    Some(plain)
}
