//! DHKEM(X25519, HKDF-SHA256) of RFC 9180, section 4.1: the ephemeral KEM of the handshake.

use zeroize::Zeroizing;

use super::handshake_error::HandshakeError;
use super::primitives::{Secret, hmac_sha256, random};
use super::provider::Agreement;

/// Bytes of a public key and of an encapsulation.
pub const PUBLIC_BYTES: usize = 32;

/// An X25519 key pair for one handshake.
pub struct Ephemeral(Agreement);

impl Ephemeral {
    pub fn generate() -> Self {
        Ephemeral::from_bytes(&Zeroizing::new(random()))
    }

    pub fn from_bytes(private: &[u8; 32]) -> Self {
        Ephemeral(Agreement::from_bytes(private))
    }

    pub fn public(&self) -> &[u8; PUBLIC_BYTES] {
        self.0.public()
    }

    /// `Decap(enc, skR)`.
    pub fn decapsulate(&self, enc: &[u8; PUBLIC_BYTES]) -> Result<Secret, HandshakeError> {
        let dh = self.agree(enc)?;
        Ok(extract_and_expand(&dh, enc, self.public()))
    }

    /// `Encap(pkR)` with this pair as the ephemeral one: the encapsulation is its public key.
    pub fn encapsulate(&self, to: &[u8; PUBLIC_BYTES]) -> Result<Secret, HandshakeError> {
        let dh = self.agree(to)?;
        Ok(extract_and_expand(&dh, self.public(), to))
    }

    /// X25519; an all-zero result is an error (RFC 9180, section 7.1.4).
    pub(super) fn agree(&self, peer: &[u8; PUBLIC_BYTES]) -> Result<Secret, HandshakeError> {
        self.0.agree(peer).ok_or(HandshakeError)
    }
}

/// `LabeledExtract` and `LabeledExpand` with suite_id `"KEM" || 0x0020`.
fn extract_and_expand(dh: &[u8; 32], enc: &[u8], to: &[u8]) -> Secret {
    let suite_id: &[u8] = b"KEM\x00\x20";
    let prk = hmac_sha256(&[], &[b"HPKE-v1", suite_id, b"eae_prk", dh]);
    let prk = Zeroizing::new(prk);
    let length = 32u16.to_be_bytes();
    let info: &[&[u8]] = &[&length, b"HPKE-v1", suite_id, b"shared_secret", enc, to, &[1]];
    Zeroizing::new(hmac_sha256(&prk[..], info))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses hexadecimal digits of the tests' tables.
    fn hex(text: &str) -> [u8; 32] {
        let byte = |index: usize| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap();
        std::array::from_fn(byte)
    }

    /// RFC 9180, appendix A.1.1 (base mode; the KEM part).
    #[test]
    fn the_vector_of_rfc_9180() {
        let sender = Ephemeral::from_bytes(&hex(
            "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
        ));
        let receiver = Ephemeral::from_bytes(&hex(
            "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        ));
        let enc = hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
        let secret = hex("fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc");
        assert_eq!(sender.public(), &enc);
        assert_eq!(*sender.encapsulate(receiver.public()).unwrap(), secret);
        assert_eq!(*receiver.decapsulate(&enc).unwrap(), secret);
    }

    #[test]
    fn a_point_of_small_order_is_an_error() {
        let pair = Ephemeral::generate();
        assert!(pair.decapsulate(&[0; 32]).is_err());
        assert!(pair.encapsulate(&[0; 32]).is_err());
    }
}
