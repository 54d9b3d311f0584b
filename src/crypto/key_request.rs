//! How a client that holds only an invite gets the server's public key: it proves that it knows the
//! key's fingerprint, and the answer can be read only with it. A stranger learns nothing, not even
//! that a server is here (docs/protocol.md, "Key request").

use super::identity::MODULUS_BYTES;
use super::primitives::{Secret, TAG_BYTES, equal, hkdf, hmac_sha256, open, seal};
use super::{Fingerprint, PublicKey};

/// The first bytes of a request.
pub const ASK: &[u8; 8] = b"PYCHAT?1";
/// `ASK`, a nonce and a MAC over both under a key derived from the fingerprint.
pub const REQUEST_BYTES: usize = ASK.len() + NONCE_BYTES + 32;
/// The modulus, sealed under a key derived from the fingerprint and the nonce.
pub const ANSWER_BYTES: usize = MODULUS_BYTES + TAG_BYTES;

pub const NONCE_BYTES: usize = 16;
pub(super) const SALT: &[u8] = b"pychat/1 key request";

/// Returns the request; `nonce` is new and random.
pub fn ask(server: &Fingerprint, nonce: [u8; NONCE_BYTES]) -> [u8; REQUEST_BYTES] {
    request(ASK, server, nonce)
}

/// Returns a request with this start.
pub(super) fn request(
    ask: &[u8; 8],
    server: &Fingerprint,
    nonce: [u8; NONCE_BYTES],
) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    let (head, mac) = request.split_at_mut(ask.len() + NONCE_BYTES);
    head[..ask.len()].copy_from_slice(ask);
    head[ask.len()..].copy_from_slice(&nonce);
    mac.copy_from_slice(&hmac_sha256(&mac_key(server)[..], &[head]));
    request
}

/// Returns the nonce of a request; `None` if the peer does not know the fingerprint (compared in
/// constant time).
pub(super) fn heard<'a>(
    ask: &[u8; 8],
    server: &Fingerprint,
    request: &'a [u8],
) -> Option<&'a [u8]> {
    let request: &[u8; REQUEST_BYTES] = request.try_into().ok()?;
    let (head, mac) = request.split_at(ask.len() + NONCE_BYTES);
    let nonce = head.strip_prefix(ask)?;
    equal(mac, &hmac_sha256(&mac_key(server)[..], &[head])).then_some(nonce)
}

/// Returns `None` if the peer does not know the fingerprint.
pub fn answer(server: &PublicKey, ask: &[u8]) -> Option<[u8; ANSWER_BYTES]> {
    let fingerprint = server.fingerprint();
    let nonce = heard(ASK, &fingerprint, ask)?;
    let sealed = seal(&answer_key(&fingerprint, nonce), 0, b"", server.modulus());
    sealed.try_into().ok()
}

/// Returns `None` unless the answer decrypts and contains the key of that fingerprint.
pub fn read_answer(
    server: &Fingerprint,
    nonce: [u8; NONCE_BYTES],
    answer: &[u8],
) -> Option<PublicKey> {
    let modulus = open(&answer_key(server, &nonce), 0, b"", answer)?;
    let key = PublicKey::from_modulus(&modulus).ok()?;
    (key.fingerprint() == *server).then_some(key)
}

fn mac_key(server: &Fingerprint) -> Secret {
    hkdf(SALT, &server.0, &[b"ask"])
}

fn answer_key(server: &Fingerprint, nonce: &[u8]) -> Secret {
    hkdf(SALT, &server.0, &[b"answer", nonce])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::spare;

    #[test]
    fn the_key_is_for_those_who_know_its_fingerprint() {
        let server = spare(0);
        let fingerprint = server.public().fingerprint();
        let request = ask(&fingerprint, [5; 16]);
        let sealed = answer(server.public(), &request).unwrap();
        assert_eq!(read_answer(&fingerprint, [5; 16], &sealed).as_ref(), Some(server.public()));
        assert_eq!(read_answer(&fingerprint, [6; 16], &sealed), None);
        assert_eq!(read_answer(&Fingerprint([1; 32]), [5; 16], &sealed), None);
        assert!(answer(server.public(), &ask(&Fingerprint([1; 32]), [5; 16])).is_none());
        for byte in 0..REQUEST_BYTES {
            let mut bent = request;
            bent[byte] ^= 1;
            assert!(answer(server.public(), &bent).is_none(), "byte {byte}");
        }
        assert!(answer(server.public(), &request[..REQUEST_BYTES - 1]).is_none());
    }
}
