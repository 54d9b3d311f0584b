//! The ephemeral KEM of suite 2: DHKEM(X25519) and ML-KEM-768 (FIPS 203) together, so that a secret
//! stays one as long as either holds. The combination is that of X-Wing (Barbosa et al., 2024,
//! ePrint 2024/039) with HKDF-SHA-256: both secrets go into one KDF; X25519's public values are
//! bound by DHKEM's own KDF, and those of ML-KEM need not be, because its ciphertexts and keys are
//! bound by its own hashes.

use zeroize::Zeroizing;

use super::dhkem::{self, Ephemeral};
use super::handshake_error::HandshakeError;
use super::parameters::{MLKEM_CIPHERTEXT_BYTES, MLKEM_PUBLIC_BYTES};
use super::primitives::{Secret, hkdf};
use super::provider::{self, MlKem};

/// An X25519 public key and an encapsulation key of ML-KEM-768.
pub const PUBLIC_BYTES: usize = dhkem::PUBLIC_BYTES + MLKEM_PUBLIC_BYTES;
/// An X25519 public key and a ciphertext of ML-KEM-768.
pub const ENCAPSULATION_BYTES: usize = dhkem::PUBLIC_BYTES + MLKEM_CIPHERTEXT_BYTES;

const SALT: &[u8] = b"pychat/1 X25519 and ML-KEM-768";

/// ML-KEM's encapsulation and its secret.
pub type Sealed = ([u8; MLKEM_CIPHERTEXT_BYTES], Secret);

/// Both key pairs, for one handshake.
pub struct Pair {
    x25519: Ephemeral,
    mlkem: MlKem,
}

impl Pair {
    pub fn new(x25519: Ephemeral, mlkem: MlKem) -> Self {
        Pair { x25519, mlkem }
    }

    pub fn public(&self) -> Vec<u8> {
        [&self.x25519.public()[..], self.mlkem.public()].concat()
    }

    pub fn decapsulate(&self, encapsulation: &[u8]) -> Result<Secret, HandshakeError> {
        let (enc, ct) = encapsulation.split_first_chunk().ok_or(HandshakeError)?;
        let ct = ct.try_into().map_err(|_| HandshakeError)?;
        let of_x25519 = self.x25519.decapsulate(enc)?;
        let of_mlkem = self.mlkem.open(ct).ok_or(HandshakeError)?;
        Ok(combine(&of_x25519, &of_mlkem))
    }
}

/// Encapsulates to the peer's `Pair::public` with an own ephemeral X25519 key.
pub fn encapsulate(own: &Ephemeral, to: &[u8]) -> Result<(Vec<u8>, Secret), HandshakeError> {
    encapsulate_with(own, to, provider::mlkem_seal)
}

pub(super) fn encapsulate_with(
    own: &Ephemeral,
    to: &[u8],
    seal: impl FnOnce(&[u8; MLKEM_PUBLIC_BYTES]) -> Option<Sealed>,
) -> Result<(Vec<u8>, Secret), HandshakeError> {
    let (point, key) = to.split_first_chunk().ok_or(HandshakeError)?;
    let key = key.try_into().map_err(|_| HandshakeError)?;
    if !is_reduced(key) {
        return Err(HandshakeError);
    }
    let of_x25519 = own.encapsulate(point)?;
    let (ct, of_mlkem) = seal(key).ok_or(HandshakeError)?;
    Ok(([&own.public()[..], &ct].concat(), combine(&of_x25519, &of_mlkem)))
}

/// The modulus check of FIPS 203, section 7.2: all coefficients are below q. Both libraries do it
/// too, without a promise in their API.
fn is_reduced(key: &[u8; MLKEM_PUBLIC_BYTES]) -> bool {
    const Q: u16 = 3329;
    let coefficients = key[..MLKEM_PUBLIC_BYTES - 32].chunks_exact(3);
    coefficients.map(|bytes| [bytes[0], bytes[1], bytes[2]].map(u16::from)).all(|[a, b, c]| {
        let (first, second) = (a | (b & 0xf) << 8, b >> 4 | c << 4);
        first < Q && second < Q
    })
}

fn combine(of_x25519: &Secret, of_mlkem: &Secret) -> Secret {
    let both = Zeroizing::new([&of_mlkem[..], &of_x25519[..]].concat());
    hkdf(SALT, &both, &[b""])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        Pair::new(Ephemeral::generate(), MlKem::generate())
    }

    #[test]
    fn both_sides_have_one_secret_of_both_kems() {
        let pair = pair();
        let own = Ephemeral::generate();
        let (encapsulation, secret) = encapsulate(&own, &pair.public()).unwrap();
        assert_eq!((pair.public().len(), encapsulation.len()), (1216, 1120));
        assert_eq!(pair.decapsulate(&encapsulation).unwrap(), secret);
        // Another byte of either half gives another secret; ML-KEM rejects implicitly.
        for byte in [0, 31, 32, 1119] {
            let mut bent = encapsulation.clone();
            bent[byte] ^= 1;
            assert_ne!(pair.decapsulate(&bent).unwrap(), secret, "byte {byte}");
        }
        assert!(pair.decapsulate(&encapsulation[..1119]).is_err());
        assert!(pair.decapsulate(&[&encapsulation[..], &[0]].concat()).is_err());
        assert!(pair.decapsulate(&[]).is_err());
    }

    #[test]
    fn each_kem_alone_does_not_give_the_secret() {
        let (pair, own) = (pair(), Ephemeral::generate());
        let zeros = Zeroizing::new([0; 32]);
        let (encapsulation, secret) = encapsulate(&own, &pair.public()).unwrap();
        let (enc, ct) = encapsulation.split_first_chunk().unwrap();
        let x25519 = pair.x25519.decapsulate(enc).unwrap();
        let mlkem = pair.mlkem.open(ct.try_into().unwrap()).unwrap();
        assert_eq!(combine(&x25519, &mlkem), secret);
        assert_ne!(combine(&x25519, &zeros), secret);
        assert_ne!(combine(&zeros, &mlkem), secret);
    }

    #[test]
    fn a_key_that_is_not_reduced_and_a_point_of_small_order_are_errors() {
        let (public, own) = (pair().public(), Ephemeral::generate());
        assert!(encapsulate(&own, &public).is_ok());
        // 3329 and 4095 as the first and the last coefficient.
        let last = 32 + 1152 - 3;
        for (at, bytes) in [
            (32, [0x01, 0x0d, 0x00]),
            (32, [0xff, 0x0f, 0x00]),
            (last, [0x00, 0x10, 0xd0]),
            (last, [0x00, 0xf0, 0xff]),
        ] {
            let mut bent = public.clone();
            bent[at..at + 3].copy_from_slice(&bytes);
            assert!(encapsulate(&own, &bent).is_err(), "{bytes:?} at {at}");
        }
        // 3328 is the largest valid one.
        let mut largest = public.clone();
        largest[32..35].copy_from_slice(&[0x00, 0x0d, 0xd0]);
        assert!(encapsulate(&own, &largest).is_ok());
        let small = [&[0; 32][..], &public[32..]].concat();
        assert!(encapsulate(&own, &small).is_err());
        assert!(encapsulate(&own, &public[..1215]).is_err());
        assert!(encapsulate(&own, &[&public[..], &[0]].concat()).is_err());
    }
}
