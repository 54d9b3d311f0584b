//! Sizes and types that all providers share.

use rsa::{BoxedUint, RsaPublicKey};
use zeroize::Zeroizing;

/// Bytes of an RSA-3072 modulus: a public key on the wire, big-endian. Also of a ciphertext.
pub const MODULUS_BYTES: usize = 384;

pub const EXPONENT: u32 = 65_537;

/// Bytes of an AES-256-GCM tag.
pub const TAG_BYTES: usize = 16;

/// A 32-byte secret, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// Bytes of an encapsulation key of ML-KEM-768 (FIPS 203, table 3).
pub const MLKEM_PUBLIC_BYTES: usize = 1184;
/// Bytes of a ciphertext of ML-KEM-768.
pub const MLKEM_CIPHERTEXT_BYTES: usize = 1088;

/// Returns the RSA key with this modulus.
pub fn rsa_key(modulus: &[u8; MODULUS_BYTES]) -> RsaPublicKey {
    let modulus = BoxedUint::from_be_slice(modulus, 8 * MODULUS_BYTES as u32);
    let modulus = modulus.expect("the modulus has this many bits");
    RsaPublicKey::new(modulus, EXPONENT.into()).expect("odd, 3072 bits, e = 65537")
}
