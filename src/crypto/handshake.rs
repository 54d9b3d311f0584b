//! Noise pqKX (PQNoise: Angel, Dowling, Huelsing, Schwabe, Weber, 2022) with the server as
//! initiator. Each state is a type, and only the last one can send data. docs/protocol.md has every
//! step.

use std::borrow::Cow;
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;

use super::dhkem::{self, Ephemeral};
pub use super::handshake_error::HandshakeError;
use super::hello::{self, Hello, R0_BYTES};
use super::hybrid;
use super::identity::{HOP, MODULUS_BYTES};
use super::primitives::{Secret, TAG_BYTES, hkdf, open, seal, sha256};
use super::provider::MlKem;
use super::session_ticket::HeldTicket;
use super::{Fingerprint, Identity, Opener, PublicKey, Sealer};
use crate::limits::SESSION_TICKET_BYTES_MAX;
use crate::suite::{Suite, Suites};
use zeroize::Zeroizing;

/// Bytes of R3.
pub const R3_BYTES: usize = SEALED_BYTES + TAG_BYTES;
/// Bytes of T3.
pub const T3_BYTES: usize = TAG_BYTES;

/// Separates an R2 from a T2 in the transcript.
const BY_TICKET: &[u8] = b"pychat/1 session ticket";
/// Bytes of skem, s and tag: in R2 after the encapsulation, and the whole of T4.
const KEYS_BYTES: usize = 2 * SEALED_BYTES + TAG_BYTES;
/// Bytes of T2 after the encapsulation: the encrypted ticket and a tag.
const TICKET_PART_BYTES: RangeInclusive<usize> =
    1 + 2 * TAG_BYTES..=SESSION_TICKET_BYTES_MAX + 2 * TAG_BYTES;

/// Bytes of the offer, which ends R1.
const OFFER_BYTES: usize = 8;
/// A ciphertext or a modulus under the handshake's key.
const SEALED_BYTES: usize = MODULUS_BYTES + TAG_BYTES;

/// The name of a suite's protocol, as Noise has it.
fn name(suite: Suite) -> &'static [u8] {
    match suite {
        Suite::Classic => b"Noise_pqKX_X25519DHKEM+RSAOAEP3072_AESGCM_SHA256",
        Suite::Hybrid => b"Noise_pqKX_X25519DHKEM-MLKEM768+RSAOAEP3072_AESGCM_SHA256",
    }
}

/// Returns the bytes of the public key at the start of R1, and of the encapsulation at the start of
/// R2.
const fn sizes(suite: Suite) -> (usize, usize) {
    match suite {
        Suite::Classic => (dhkem::PUBLIC_BYTES, dhkem::PUBLIC_BYTES),
        Suite::Hybrid => (hybrid::PUBLIC_BYTES, hybrid::ENCAPSULATION_BYTES),
    }
}

/// Majors 1 to 1, the chosen suite, records of 16384 bytes, no flags.
fn offer(suite: Suite) -> [u8; OFFER_BYTES] {
    let [high, low] = suite.bit().to_be_bytes();
    [1, 1, high, low, 0x40, 0, 0, 0]
}

/// Returns the suite that the server has chosen in R1; `None` if R1 is not of this major.
pub fn suite_of(r1: &[u8]) -> Option<Suite> {
    let (public, offer) = r1.split_last_chunk::<OFFER_BYTES>()?;
    let bits = u16::from_be_bytes([offer[2], offer[3]]);
    // The range of majors must contain 1.
    let is_ours = offer[0] <= 1 && offer[1] >= 1;
    let mut suites = Suite::ALL.into_iter();
    suites.find(|suite| is_ours && suite.bit() == bits && sizes(*suite).0 == public.len())
}

/// The server's key pair for one handshake.
enum Pair {
    Classic(Ephemeral),
    Hybrid(Box<hybrid::Pair>),
}

impl Pair {
    fn generate(suite: Suite) -> Self {
        let x25519 = Ephemeral::generate();
        match suite {
            Suite::Classic => Pair::Classic(x25519),
            Suite::Hybrid => Pair::Hybrid(Box::new(hybrid::Pair::new(x25519, MlKem::generate()))),
        }
    }

    fn suite(&self) -> Suite {
        match self {
            Pair::Classic(_) => Suite::Classic,
            Pair::Hybrid(_) => Suite::Hybrid,
        }
    }

    fn public(&self) -> Vec<u8> {
        match self {
            Pair::Classic(pair) => pair.public().to_vec(),
            Pair::Hybrid(pair) => pair.public(),
        }
    }

    fn decapsulate(&self, encapsulation: &[u8]) -> Result<Secret, HandshakeError> {
        match self {
            Pair::Classic(pair) => {
                pair.decapsulate(encapsulation.try_into().map_err(|_| HandshakeError)?)
            }
            Pair::Hybrid(pair) => pair.decapsulate(encapsulation),
        }
    }
}

/// Encapsulates to the public key at the start of R1.
fn encapsulate(suite: Suite, to: &[u8]) -> Result<(Vec<u8>, Secret), HandshakeError> {
    let own = Ephemeral::generate();
    match suite {
        Suite::Classic => {
            let secret = own.encapsulate(to.try_into().map_err(|_| HandshakeError)?)?;
            Ok((own.public().to_vec(), secret))
        }
        Suite::Hybrid => hybrid::encapsulate(&own, to),
    }
}

/// The result of a handshake: a cipher for each direction, and `h` for a session id.
pub struct Transport {
    pub sealer: Sealer,
    pub opener: Opener,
    pub session_id: [u8; 32],
}

/// Noise's SymmetricState (revision 34, section 5.2).
#[derive(Clone)]
struct Symmetric {
    h: [u8; 32],
    ck: Secret,
    key: Option<(Secret, u64)>,
}

impl Symmetric {
    /// The name is longer than a hash, so it is hashed; then the prologue and the pre-message.
    fn new(suite: Suite, r0: &[u8], server: &PublicKey) -> Self {
        let h = sha256(&[name(suite)]);
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
        let plain = self.decrypt_and_hash_bytes(sealed)?;
        plain[..].try_into().map_err(|_| HandshakeError)
    }

    fn decrypt_and_hash_bytes(
        &mut self,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HandshakeError> {
        let plain = match &mut self.key {
            Some((key, counter)) => {
                *counter += 1;
                open(key, *counter - 1, &self.h, sealed).ok_or(HandshakeError)?
            }
            None => Zeroizing::new(sealed.to_vec()),
        };
        self.mix_hash(sealed);
        Ok(plain)
    }

    /// Encrypts nothing.
    fn tag(&mut self) -> [u8; TAG_BYTES] {
        self.encrypt_and_hash(b"").try_into().expect("a key is set")
    }

    /// The first key is the sending key of the initiator, the server.
    fn split(self) -> (Secret, Secret, [u8; 32]) {
        let out = hkdf::<64>(&self.ck[..], b"", &[b""]);
        let mut keys = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
        keys[0].copy_from_slice(&out[..32]);
        keys[1].copy_from_slice(&out[32..]);
        let [server, client] = keys;
        (server, client, self.h)
    }
}

/// Server state after R1, waiting for R2.
pub struct ServerHello {
    /// The key that the client has pinned.
    identity: Arc<Identity>,
    symmetric: Symmetric,
    pair: Pair,
    offered: u16,
}

/// Server state after R2 has proven that the peer knows the server's public key. RSA is next.
pub struct ServerGated {
    identity: Arc<Identity>,
    symmetric: Symmetric,
    ct: [u8; MODULUS_BYTES],
    rest: Vec<u8>,
    /// The bitmap of the suites that the client offers.
    offered: u16,
}

impl ServerHello {
    /// Returns R1, the answer to R0, with the best suite of `suites` that the client offers. If
    /// there is none, R1 names the server's suites, and the client ends the handshake.
    pub fn start(hello: Hello, suites: Suites) -> (Self, Vec<u8>) {
        let suite = suites.choose(hello.suites());
        Self::start_with(hello, Pair::generate(suite))
    }

    fn start_with(hello: Hello, pair: Pair) -> (Self, Vec<u8>) {
        let offered = hello.suites();
        let Hello { identity, r0 } = hello;
        let (public, offer) = (pair.public(), offer(pair.suite()));
        let mut symmetric = Symmetric::new(pair.suite(), &r0, identity.public());
        symmetric.mix_hash(&public);
        symmetric.mix_hash(&offer);
        (ServerHello { identity, symmetric, pair, offered }, [&public[..], &offer].concat())
    }

    /// Runs the ephemeral KEM and verifies the gate, without RSA. Malformed and replayed records,
    /// and peers that do not have the server's public key, are rejected here.
    ///
    /// # Errors
    /// The record is no R2 of this handshake.
    pub fn gate(self, r2: &[u8]) -> Result<ServerGated, HandshakeError> {
        match self.read(r2)? {
            Gated::Keys(gated) => Ok(*gated),
            Gated::Ticket(_) => Err(HandshakeError),
        }
    }

    /// Reads R2 or T2, which differ in their length.
    ///
    /// # Errors
    /// The record is no R2 and no T2 of this handshake.
    pub fn read(self, record: &[u8]) -> Result<Gated, HandshakeError> {
        let (at_gate, rest) = self.decapsulate(record)?;
        match rest.len() {
            KEYS_BYTES => at_gate.gate(rest).map(|gated| Gated::Keys(Box::new(gated))),
            _ => at_gate.ticket(rest).map(|ticket| Gated::Ticket(Box::new(ticket))),
        }
    }

    /// Decrypts the encapsulation. Returns the state, and the bytes after the encapsulation.
    fn decapsulate(self, record: &[u8]) -> Result<(AtGate, &[u8]), HandshakeError> {
        let ServerHello { identity, mut symmetric, pair, offered } = self;
        let ekem = record.split_at_checked(sizes(pair.suite()).1);
        let (ekem, rest) = ekem.ok_or(HandshakeError)?;
        if rest.len() != KEYS_BYTES && !TICKET_PART_BYTES.contains(&rest.len()) {
            return Err(HandshakeError);
        }
        let secret = pair.decapsulate(ekem)?;
        symmetric.mix_hash(ekem);
        symmetric.mix_key(&secret);
        Ok((AtGate { identity, symmetric, offered }, rest))
    }
}

/// The second record of a client.
pub enum Gated {
    /// R2.
    Keys(Box<ServerGated>),
    /// T2.
    Ticket(Box<ServerTicket>),
}

impl Gated {
    /// The bitmap of the suites that the client offers.
    pub fn offered(&self) -> u16 {
        match self {
            Gated::Keys(gated) => gated.offered,
            Gated::Ticket(ticket) => ticket.at_gate.offered,
        }
    }
}

/// Server state with the ephemeral secret, before the client's keys or its ticket.
pub struct AtGate {
    identity: Arc<Identity>,
    symmetric: Symmetric,
    offered: u16,
}

impl AtGate {
    /// Reads the keys of R2, or T4 after a ticket was refused.
    ///
    /// # Errors
    /// The bytes are none of this handshake.
    pub fn gate(self, keys: &[u8]) -> Result<ServerGated, HandshakeError> {
        let AtGate { identity, mut symmetric, offered } = self;
        if keys.len() != KEYS_BYTES {
            return Err(HandshakeError);
        }
        let (skem, rest) = keys.split_at(SEALED_BYTES);
        let ct = symmetric.decrypt_and_hash(skem)?;
        Ok(ServerGated { identity, symmetric, ct, rest: rest.to_vec(), offered })
    }

    fn ticket(mut self, part: &[u8]) -> Result<ServerTicket, HandshakeError> {
        let (sealed, tag) = part.split_last_chunk::<TAG_BYTES>().ok_or(HandshakeError)?;
        self.symmetric.mix_hash(BY_TICKET);
        let ticket = self.symmetric.decrypt_and_hash_bytes(sealed)?.to_vec();
        Ok(ServerTicket { at_gate: self, ticket, tag: *tag })
    }
}

/// Server state after T2 has proven that the peer knows the server's public key.
pub struct ServerTicket {
    at_gate: AtGate,
    ticket: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

impl ServerTicket {
    /// The presented ticket. It is not authenticated: a peer may present any bytes.
    pub fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// The server's key that the client has pinned.
    pub fn server(&self) -> Fingerprint {
        self.at_gate.identity.public().fingerprint()
    }

    /// Accepts the ticket, which has this secret. Returns T3 and the transport; `None` if the peer
    /// does not have the secret.
    pub fn accept(&self, secret: &[u8; 32]) -> Option<([u8; T3_BYTES], Transport)> {
        let mut symmetric = self.at_gate.symmetric.clone();
        symmetric.mix_key_and_hash(secret);
        symmetric.decrypt_and_hash::<0>(&self.tag).ok()?;
        let t3 = symmetric.tag();
        let (server, peer, session_id) = symmetric.split();
        let (sealer, opener) = (Sealer::new(server), Opener::new(peer));
        Some((t3, Transport { sealer, opener, session_id }))
    }

    /// Refuses the ticket. Returns T3, and the state that waits for T4.
    pub fn refuse(self) -> ([u8; T3_BYTES], AtGate) {
        let mut at_gate = self.at_gate;
        at_gate.symmetric.mix_hash(&self.tag);
        let t3 = at_gate.symmetric.tag();
        (t3, at_gate)
    }
}

impl ServerGated {
    /// Does one RSA private operation and one encapsulation. Returns the client's key (proven by
    /// the first record that decrypts), R3 and the transport.
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

/// The client's key: that of the caller, or one that outlives the call.
enum Own<'a> {
    Lent(&'a Identity),
    Shared(Arc<Identity>),
}

impl Deref for Own<'_> {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        match self {
            Own::Lent(identity) => identity,
            Own::Shared(identity) => identity,
        }
    }
}

/// Client state after R0, waiting for R1.
pub struct ClientStart<'a> {
    identity: Own<'a>,
    server: Cow<'a, PublicKey>,
    suites: Suites,
    r0: [u8; R0_BYTES],
}

/// Client state after R2, waiting for R3.
pub struct ClientSent<'a> {
    identity: Own<'a>,
    symmetric: Symmetric,
}

impl<'a> ClientStart<'a> {
    /// Starts with the server's key, which the client has pinned. Returns R0.
    pub fn new(
        identity: &'a Identity,
        server: &'a PublicKey,
        suites: Suites,
    ) -> (Self, [u8; R0_BYTES]) {
        let r0 = hello::r0(&server.fingerprint(), suites);
        let (identity, server) = (Own::Lent(identity), Cow::Borrowed(server));
        (ClientStart { identity, server, suites, r0 }, r0)
    }

    /// Same as [`ClientStart::new`], for a handshake whose records arrive in later calls.
    pub fn shared(
        identity: Arc<Identity>,
        server: PublicKey,
        suites: Suites,
    ) -> (ClientStart<'static>, [u8; R0_BYTES]) {
        let r0 = hello::r0(&server.fingerprint(), suites);
        let (identity, server) = (Own::Shared(identity), Cow::Owned(server));
        (ClientStart { identity, server, suites, r0 }, r0)
    }

    /// Processes R1. Returns R2.
    pub fn answer(self, r1: &[u8]) -> Result<(ClientSent<'a>, Vec<u8>), HandshakeError> {
        self.answer_with(r1, encapsulate, |key| key.encapsulate(HOP))
    }

    fn answer_with(
        self,
        r1: &[u8],
        encapsulate: impl FnOnce(Suite, &[u8]) -> Result<(Vec<u8>, Secret), HandshakeError>,
        rsa: impl FnOnce(&PublicKey) -> ([u8; MODULUS_BYTES], Secret),
    ) -> Result<(ClientSent<'a>, Vec<u8>), HandshakeError> {
        let (symmetric, mut r2) = self.encapsulate_with(r1, encapsulate)?;
        let (sent, keys) = self.keys_with(symmetric, rsa);
        r2.extend(keys);
        Ok((sent, r2))
    }

    /// Processes R1. Returns T2, which presents the ticket.
    ///
    /// # Errors
    /// The same as those of [`ClientStart::answer`].
    pub fn present(
        self,
        r1: &[u8],
        held: &HeldTicket,
    ) -> Result<(ClientPresented<'a>, Vec<u8>), HandshakeError> {
        self.present_with(r1, held, encapsulate)
    }

    fn present_with(
        self,
        r1: &[u8],
        held: &HeldTicket,
        encapsulate: impl FnOnce(Suite, &[u8]) -> Result<(Vec<u8>, Secret), HandshakeError>,
    ) -> Result<(ClientPresented<'a>, Vec<u8>), HandshakeError> {
        let (mut refused, mut t2) = self.encapsulate_with(r1, encapsulate)?;
        refused.mix_hash(BY_TICKET);
        t2.extend(refused.encrypt_and_hash(held.ticket()));
        let mut accepted = refused.clone();
        accepted.mix_key_and_hash(held.secret());
        let tag = accepted.tag();
        refused.mix_hash(&tag);
        t2.extend(tag);
        Ok((ClientPresented { start: self, accepted, refused }, t2))
    }

    fn encapsulate_with(
        &self,
        r1: &[u8],
        encapsulate: impl FnOnce(Suite, &[u8]) -> Result<(Vec<u8>, Secret), HandshakeError>,
    ) -> Result<(Symmetric, Vec<u8>), HandshakeError> {
        let suite = suite_of(r1).filter(|suite| self.suites.contains(*suite));
        let suite = suite.ok_or(HandshakeError)?;
        let (public, offer) = r1.split_at(sizes(suite).0);
        let mut symmetric = Symmetric::new(suite, &self.r0, &self.server);
        symmetric.mix_hash(public);
        symmetric.mix_hash(offer);
        let (ekem, secret) = encapsulate(suite, public)?;
        symmetric.mix_hash(&ekem);
        symmetric.mix_key(&secret);
        Ok((symmetric, ekem))
    }

    /// Returns skem, s and tag.
    fn keys_with(
        self,
        mut symmetric: Symmetric,
        rsa: impl FnOnce(&PublicKey) -> ([u8; MODULUS_BYTES], Secret),
    ) -> (ClientSent<'a>, Vec<u8>) {
        let (ct, secret) = rsa(&self.server);
        let mut keys = symmetric.encrypt_and_hash(&ct);
        symmetric.mix_key_and_hash(&secret);
        keys.extend(symmetric.encrypt_and_hash(self.identity.public().modulus()));
        keys.extend(symmetric.tag());
        (ClientSent { identity: self.identity, symmetric }, keys)
    }
}

/// Client state after T2, waiting for T3.
pub struct ClientPresented<'a> {
    start: ClientStart<'a>,
    /// The states after the server's two answers.
    accepted: Symmetric,
    refused: Symmetric,
}

/// The server's answer to a ticket.
pub enum Presented<'a> {
    /// The handshake is done.
    Accepted(Box<Transport>),
    /// The handshake continues with T4, and R3 answers it.
    Refused(ClientSent<'a>, Vec<u8>),
}

impl<'a> ClientPresented<'a> {
    /// Processes T3. The server has proven itself if it has accepted the ticket.
    ///
    /// # Errors
    /// The record is none of this handshake.
    pub fn finish(self, t3: &[u8]) -> Result<Presented<'a>, HandshakeError> {
        self.finish_with(t3, |key| key.encapsulate(HOP))
    }

    fn finish_with(
        self,
        t3: &[u8],
        rsa: impl FnOnce(&PublicKey) -> ([u8; MODULUS_BYTES], Secret),
    ) -> Result<Presented<'a>, HandshakeError> {
        let ClientPresented { start, mut accepted, mut refused } = self;
        if t3.len() != T3_BYTES {
            return Err(HandshakeError);
        }
        if accepted.decrypt_and_hash::<0>(t3).is_ok() {
            let (server, own, session_id) = accepted.split();
            let (sealer, opener) = (Sealer::new(own), Opener::new(server));
            return Ok(Presented::Accepted(Box::new(Transport { sealer, opener, session_id })));
        }
        refused.decrypt_and_hash::<0>(t3)?;
        let (sent, t4) = start.keys_with(refused, rsa);
        Ok(Presented::Refused(sent, t4))
    }
}

impl ClientSent<'_> {
    /// Processes R3, which authenticates the server. The client may send data, LOGIN first.
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

#[cfg(test)]
#[path = "oaep_timing_tests.rs"]
mod oaep_timing;
