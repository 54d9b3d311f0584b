//! Noise pqKX (PQNoise: Angel, Dowling, Huelsing, Schwabe, Weber, 2022) with the server in the
//! initiator's role. Each state is a type, and only the last one can talk. docs/protocol.md has
//! every step.

use std::sync::Arc;

use super::dhkem::{Ephemeral, PUBLIC_BYTES};
use super::hello::{self, Hello, R0_BYTES};
use super::identity::{HOP, MODULUS_BYTES};
use super::primitives::{Secret, TAG_BYTES, hkdf, open, seal, sha256};
use super::{Identity, Opener, PublicKey, Sealer};
use zeroize::Zeroizing;

/// The one failure of a handshake, whatever its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handshake failed")]
pub struct HandshakeError;

/// The suites that a client offers in R0.
const SUITES: u16 = 1;
/// Bytes of R1, R2 and R3.
pub const R1_BYTES: usize = PUBLIC_BYTES + OFFER.len();
pub const R2_BYTES: usize = PUBLIC_BYTES + 2 * SEALED_BYTES + TAG_BYTES;
pub const R3_BYTES: usize = SEALED_BYTES + TAG_BYTES;

const NAME: &[u8] = b"Noise_pqKX_X25519DHKEM+RSAOAEP3072_AESGCM_SHA256";
/// Majors 1 to 1, suite 1, records of 16384 bytes, no flags.
const OFFER: &[u8; 8] = &[1, 1, 0, 1, 0x40, 0, 0, 0];
/// A ciphertext or a modulus under the handshake's key.
const SEALED_BYTES: usize = MODULUS_BYTES + TAG_BYTES;

/// What a finished handshake leaves: a half for each direction, and `h` for a session id.
pub struct Transport {
    pub sealer: Sealer,
    pub opener: Opener,
    pub session_id: [u8; 32],
}

/// Noise's SymmetricState (revision 34, section 5.2).
struct Symmetric {
    h: [u8; 32],
    ck: Secret,
    key: Option<(Secret, u64)>,
}

impl Symmetric {
    /// The name is longer than a hash, so it is hashed; then the prologue and the pre-message.
    fn new(r0: &[u8], server: &PublicKey) -> Self {
        let h = sha256(&[NAME]);
        let mut symmetric = Symmetric { h, ck: Zeroizing::new(h), key: None };
        symmetric.mix_hash(r0);
        symmetric.mix_hash(server.modulus());
        symmetric
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = sha256(&[&self.h, data]);
    }

    fn mix_key(&mut self, ikm: &[u8; 32]) {
        let out = hkdf::<64>(&self.ck[..], ikm, &[b""]);
        self.ck.copy_from_slice(&out[..32]);
        self.set_key(&out[32..]);
    }

    fn mix_key_and_hash(&mut self, ikm: &[u8; 32]) {
        let out = hkdf::<96>(&self.ck[..], ikm, &[b""]);
        self.ck.copy_from_slice(&out[..32]);
        self.mix_hash(&out[32..64]);
        self.set_key(&out[64..]);
    }

    fn set_key(&mut self, key: &[u8]) {
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(key);
        self.key = Some((secret, 0));
    }

    fn encrypt_and_hash(&mut self, plain: &[u8]) -> Vec<u8> {
        let sealed = match &mut self.key {
            Some((key, counter)) => {
                *counter += 1;
                seal(key, *counter - 1, &self.h, plain)
            }
            None => plain.to_vec(),
        };
        self.mix_hash(&sealed);
        sealed
    }

    fn decrypt_and_hash<const N: usize>(
        &mut self,
        sealed: &[u8],
    ) -> Result<[u8; N], HandshakeError> {
        let plain = match &mut self.key {
            Some((key, counter)) => {
                *counter += 1;
                open(key, *counter - 1, &self.h, sealed).ok_or(HandshakeError)?
            }
            None => Zeroizing::new(sealed.to_vec()),
        };
        self.mix_hash(sealed);
        plain[..].try_into().map_err(|_| HandshakeError)
    }

    /// The initiator's (the server's) sending key comes first.
    fn split(self) -> (Secret, Secret, [u8; 32]) {
        let out = hkdf::<64>(&self.ck[..], b"", &[b""]);
        let mut keys = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
        keys[0].copy_from_slice(&out[..32]);
        keys[1].copy_from_slice(&out[32..]);
        let [server, client] = keys;
        (server, client, self.h)
    }
}

/// Server, R1 sent, waiting for R2.
pub struct ServerHello {
    /// The key that the client has pinned.
    identity: Arc<Identity>,
    symmetric: Symmetric,
    ephemeral: Ephemeral,
}

/// Server, R2 passed the gate: the peer knows the server's public key. RSA comes next.
pub struct ServerGated {
    identity: Arc<Identity>,
    symmetric: Symmetric,
    ct: [u8; MODULUS_BYTES],
    rest: [u8; SEALED_BYTES + TAG_BYTES],
}

impl ServerHello {
    /// Gives R1, the answer to R0.
    pub fn start(hello: Hello) -> (Self, [u8; R1_BYTES]) {
        Self::start_with(hello, Ephemeral::generate())
    }

    fn start_with(hello: Hello, ephemeral: Ephemeral) -> (Self, [u8; R1_BYTES]) {
        let Hello { identity, r0 } = hello;
        let mut symmetric = Symmetric::new(&r0, identity.public());
        symmetric.mix_hash(ephemeral.public());
        symmetric.mix_hash(OFFER);
        let mut r1 = [0; R1_BYTES];
        r1[..PUBLIC_BYTES].copy_from_slice(ephemeral.public());
        r1[PUBLIC_BYTES..].copy_from_slice(OFFER);
        (ServerHello { identity, symmetric, ephemeral }, r1)
    }

    /// X25519 and the gate; no RSA. Garbage, replays and whoever lacks the server's public key end
    /// here.
    pub fn gate(self, r2: &[u8]) -> Result<ServerGated, HandshakeError> {
        let ServerHello { identity, mut symmetric, ephemeral } = self;
        let r2: &[u8; R2_BYTES] = r2.try_into().map_err(|_| HandshakeError)?;
        let (ekem, rest) = r2.split_first_chunk::<PUBLIC_BYTES>().expect("lengths add up");
        let (skem, rest) = rest.split_first_chunk::<SEALED_BYTES>().expect("lengths add up");
        let secret = ephemeral.decapsulate(ekem)?;
        symmetric.mix_hash(ekem);
        symmetric.mix_key(&secret);
        let ct = symmetric.decrypt_and_hash(skem)?;
        let rest = rest.try_into().expect("lengths add up");
        Ok(ServerGated { identity, symmetric, ct, rest })
    }
}

impl ServerGated {
    /// One RSA private operation and one encapsulation. Gives the client's key (not yet proven: the
    /// first record that opens proves it), R3 and the transport.
    pub fn finish(self) -> Result<(PublicKey, [u8; R3_BYTES], Transport), HandshakeError> {
        self.finish_with(|key| key.encapsulate(HOP))
    }

    fn finish_with(
        mut self,
        encapsulate: impl FnOnce(&PublicKey) -> ([u8; MODULUS_BYTES], Secret),
    ) -> Result<(PublicKey, [u8; R3_BYTES], Transport), HandshakeError> {
        let secret = self.identity.decapsulate(HOP, &self.ct);
        self.symmetric.mix_key_and_hash(&secret);
        let (key, end) = self.rest.split_at(SEALED_BYTES);
        let modulus = self.symmetric.decrypt_and_hash::<MODULUS_BYTES>(key)?;
        let client = PublicKey::from_modulus(&modulus).map_err(|_| HandshakeError)?;
        self.symmetric.decrypt_and_hash::<0>(end)?;
        let (ct, secret) = encapsulate(&client);
        let mut r3 = self.symmetric.encrypt_and_hash(&ct);
        self.symmetric.mix_key_and_hash(&secret);
        r3.extend(self.symmetric.encrypt_and_hash(b""));
        let r3 = r3.try_into().expect("lengths add up");
        let (server, peer, session_id) = self.symmetric.split();
        let (sealer, opener) = (Sealer::new(server), Opener::new(peer));
        Ok((client, r3, Transport { sealer, opener, session_id }))
    }
}

/// Client, R0 sent, waiting for R1.
pub struct ClientStart<'a> {
    identity: &'a Identity,
    server: &'a PublicKey,
    r0: [u8; R0_BYTES],
}

/// Client, R2 sent, waiting for R3.
pub struct ClientSent<'a> {
    identity: &'a Identity,
    symmetric: Symmetric,
}

impl<'a> ClientStart<'a> {
    /// The client knows the server's key before it connects. Gives R0.
    pub fn new(identity: &'a Identity, server: &'a PublicKey) -> (Self, [u8; R0_BYTES]) {
        let r0 = hello::r0(&server.fingerprint(), SUITES);
        (ClientStart { identity, server, r0 }, r0)
    }

    /// R1 in, R2 out.
    pub fn answer(self, r1: &[u8]) -> Result<(ClientSent<'a>, [u8; R2_BYTES]), HandshakeError> {
        self.answer_with(r1, Ephemeral::generate(), |key| key.encapsulate(HOP))
    }

    fn answer_with(
        self,
        r1: &[u8],
        ephemeral: Ephemeral,
        encapsulate: impl FnOnce(&PublicKey) -> ([u8; MODULUS_BYTES], Secret),
    ) -> Result<(ClientSent<'a>, [u8; R2_BYTES]), HandshakeError> {
        let r1: &[u8; R1_BYTES] = r1.try_into().map_err(|_| HandshakeError)?;
        let (e, offer) = r1.split_first_chunk::<PUBLIC_BYTES>().expect("lengths add up");
        // Majors from..to must hold 1, and the suites' bit 0 must be set.
        if offer[0] > 1 || offer[1] < 1 || offer[3] & 1 == 0 {
            return Err(HandshakeError);
        }
        let mut symmetric = Symmetric::new(&self.r0, self.server);
        symmetric.mix_hash(e);
        symmetric.mix_hash(offer);
        let secret = ephemeral.encapsulate(e)?;
        symmetric.mix_hash(ephemeral.public());
        symmetric.mix_key(&secret);
        let mut r2 = ephemeral.public().to_vec();
        let (ct, secret) = encapsulate(self.server);
        r2.extend(symmetric.encrypt_and_hash(&ct));
        symmetric.mix_key_and_hash(&secret);
        r2.extend(symmetric.encrypt_and_hash(self.identity.public().modulus()));
        r2.extend(symmetric.encrypt_and_hash(b""));
        let r2 = r2.try_into().expect("lengths add up");
        Ok((ClientSent { identity: self.identity, symmetric }, r2))
    }
}

impl ClientSent<'_> {
    /// R3 in: the server is proven, and the client may talk (LOGIN first).
    pub fn finish(mut self, r3: &[u8]) -> Result<Transport, HandshakeError> {
        let r3: &[u8; R3_BYTES] = r3.try_into().map_err(|_| HandshakeError)?;
        let (skem, end) = r3.split_at(SEALED_BYTES);
        let ct = self.symmetric.decrypt_and_hash(skem)?;
        let secret = self.identity.decapsulate(HOP, &ct);
        self.symmetric.mix_key_and_hash(&secret);
        self.symmetric.decrypt_and_hash::<0>(end)?;
        let (server, own, session_id) = self.symmetric.split();
        Ok(Transport { sealer: Sealer::new(own), opener: Opener::new(server), session_id })
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "vectors_tests.rs"]
mod vectors;
