//! The handshake against clatter, a PQNoise library by other hands, in both roles. Only the two
//! KEMs are written here, from docs/protocol.md and with other libraries than pychat's.

use std::sync::Arc;

use clatter::bytearray::{ByteArray, HeapArray, SensitiveByteArray};
use clatter::crypto::cipher::AesGcm;
use clatter::crypto::dh::X25519;
use clatter::crypto::hash::Sha256;
use clatter::error::{KemError, KemResult};
use clatter::handshakepattern::noise_pqkx;
use clatter::traits::{CryptoComponent, Dh, Hash, Kem, Rng};
use clatter::transportstate::TransportState;
use clatter::{Handshaker, KeyPair, PqHandshake};
use pychat::crypto::handshake::{ClientStart, R3_BYTES, ServerHello};
use pychat::crypto::hello::{Greeting, r0};
use pychat::crypto::{Identity, Opener, RecordType, Sealer};
use pychat::suite::{Suite, Suites};
use rsa::pkcs8::DecodePrivateKey;
use rsa::{BoxedUint, Oaep, RsaPrivateKey, RsaPublicKey};

/// DHKEM(X25519, HKDF-SHA256) of RFC 9180, section 4.1.
#[derive(Clone)]
struct X25519Dhkem;

/// RSAES-OAEP of 32 random bytes.
#[derive(Clone)]
struct RsaOaep3072;

/// clatter puts both names into the protocol's, with a `+` between them.
impl CryptoComponent for X25519Dhkem {
    fn name() -> &'static str {
        "X25519DHKEM"
    }
}

impl CryptoComponent for RsaOaep3072 {
    fn name() -> &'static str {
        "RSAOAEP3072"
    }
}

type Secret = SensitiveByteArray<[u8; 32]>;

impl Kem for X25519Dhkem {
    type SecretKey = Secret;
    type PubKey = [u8; 32];
    type Ct = [u8; 32];
    type Ss = Secret;

    fn genkey_rng<R: Rng>(rng: &mut R) -> KemResult<KeyPair<[u8; 32], Secret>> {
        X25519::genkey_rng(rng).map_err(|_| KemError::KeyGeneration)
    }

    fn encapsulate<R: Rng>(pk: &[u8], rng: &mut R) -> KemResult<([u8; 32], Secret)> {
        let own = Self::genkey_rng(rng)?;
        let dh = dh(&own.secret, pk)?;
        Ok((own.public, extract_and_expand(dh.as_slice(), &own.public, pk)))
    }

    fn decapsulate(ct: &[u8], sk: &[u8]) -> KemResult<Secret> {
        let own = Secret::from_slice(sk);
        let dh = dh(&own, ct)?;
        Ok(extract_and_expand(dh.as_slice(), ct, &X25519::pubkey(&own)))
    }
}

fn dh(own: &Secret, peer: &[u8]) -> KemResult<<X25519 as Dh>::Output> {
    X25519::dh(own, &<[u8; 32]>::from_slice(peer)).map_err(|_| KemError::Input)
}

fn extract_and_expand(dh: &[u8], enc: &[u8], to: &[u8]) -> Secret {
    let prk = Sha256::hmac_many(&[], &[b"HPKE-v1KEM\x00\x20eae_prk", dh]);
    let info = [b"\x00\x20HPKE-v1KEM\x00\x20shared_secret", enc, to, b"\x01"];
    Secret::from_slice(Sha256::hmac_many(prk.as_slice(), &info).as_slice())
}

/// Room for a private key in PEM, filled up with newlines.
const PEM_BYTES: usize = 4096;
type Pem = HeapArray<PEM_BYTES>;

impl Kem for RsaOaep3072 {
    type SecretKey = Pem;
    type PubKey = HeapArray<384>;
    type Ct = HeapArray<384>;
    type Ss = Secret;

    fn genkey_rng<R: Rng>(_: &mut R) -> KemResult<KeyPair<Self::PubKey, Pem>> {
        unreachable!("static keys are given")
    }

    fn encapsulate<R: Rng>(pk: &[u8], rng: &mut R) -> KemResult<(Self::Ct, Secret)> {
        let modulus = BoxedUint::from_be_slice(pk, 3072).map_err(|_| KemError::Input)?;
        let key = RsaPublicKey::new(modulus, 65_537u32.into()).map_err(|_| KemError::Input)?;
        let mut ss = [0; 32];
        rng.fill_bytes(&mut ss);
        let ct = key.encrypt(&mut rand::rng(), oaep(), &ss);
        let ct = ct.map_err(|_| KemError::Encapsulation)?;
        Ok((HeapArray::from_slice(&ct), Secret::new(ss)))
    }

    fn decapsulate(ct: &[u8], sk: &[u8]) -> KemResult<Secret> {
        let pem = str::from_utf8(sk).map_err(|_| KemError::Input)?;
        let key = RsaPrivateKey::from_pkcs8_pem(pem.trim()).map_err(|_| KemError::Input)?;
        let ss = key.decrypt(oaep(), ct).map_err(|_| KemError::Decapsulation)?;
        Ok(Secret::from_slice(&ss))
    }
}

fn oaep() -> Oaep<rsa::sha2::Sha256> {
    Oaep::new_with_label(*b"pychat/1 hop")
}

type Oracle = PqHandshake<X25519Dhkem, RsaOaep3072, AesGcm, Sha256>;
type OracleTransport = TransportState<AesGcm, Sha256>;

/// The two keys of the known answers.
fn identity(party: &str) -> Arc<Identity> {
    let vectors = include_str!("data/hop.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let pem = vectors["keys_for_tests_only"][party]["pem"].as_str().unwrap();
    Arc::new(Identity::from_pem(pem, None).unwrap())
}

/// clatter has no KEM of suite 2.
fn suite_1() -> Suites {
    Suites::only(Suite::Classic)
}

/// Bytes of suite 1's records.
const R1_BYTES: usize = 40;
const R2_BYTES: usize = 848;

/// A client's first record, and our server's answer.
fn greeted(server: &Arc<Identity>) -> (Vec<u8>, ServerHello, Vec<u8>) {
    let r0 = r0(&server.public().fingerprint(), suite_1());
    let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [server]) else { panic!("not an R0") };
    let (hello, r1) = ServerHello::start(hello, suite_1());
    (r0.to_vec(), hello, r1)
}

fn key_pair(identity: &Identity) -> KeyPair<HeapArray<384>, Pem> {
    let mut pem = Pem::new_with(b'\n');
    let text = identity.to_pem(None);
    pem.as_mut()[..text.len()].copy_from_slice(text.as_bytes());
    KeyPair::new(HeapArray::from_slice(identity.public().modulus()), pem)
}

fn oracle_server(prologue: &[u8], server: &Identity) -> Oracle {
    let own = Some(key_pair(server));
    Oracle::new(noise_pqkx(), prologue, true, own, None, None, None).unwrap()
}

fn oracle_client(prologue: &[u8], client: &Identity, server: &Identity) -> Oracle {
    let (own, server) = (Some(key_pair(client)), key_pair(server).public.clone());
    Oracle::new(noise_pqkx(), prologue, false, own, None, Some(server), None).unwrap()
}

fn write<const BYTES: usize>(oracle: &mut Oracle, payload: &[u8]) -> [u8; BYTES] {
    let mut message = [0; BYTES];
    assert_eq!(oracle.write_message(payload, &mut message).unwrap(), BYTES);
    message
}

/// The payload, or none where clatter does not open the message.
fn read(oracle: &mut Oracle, message: &[u8]) -> Option<Vec<u8>> {
    let mut payload = [0; 64];
    let bytes = oracle.read_message(message, &mut payload).ok()?;
    Some(payload[..bytes].to_vec())
}

/// Records go both ways, over a renewal of the keys.
fn talk(sealer: &mut Sealer, opener: &mut Opener, oracle: &mut OracleTransport) {
    const REKEY_RECORDS: u64 = 3;
    sealer.rekey_every(REKEY_RECORDS);
    opener.rekey_every(REKEY_RECORDS);
    for number in 0..8 {
        if number > 0 && number % REKEY_RECORDS == 0 {
            oracle.rekey_receiver().unwrap();
            oracle.rekey_sender().unwrap();
        }
        let body = format!("record {number}");
        let mut record = Vec::new();
        sealer.seal(RecordType::Json, body.as_bytes(), &mut record).unwrap();
        let plain = oracle.receive_vec(&record).unwrap();
        assert_eq!(plain, format!("\x01{body:63}").as_bytes());
        let mut record = oracle.send_vec(&plain).unwrap();
        assert_eq!(opener.open(&mut record), Ok((RecordType::Json, body.as_bytes())));
    }
}

#[test]
fn the_oracles_protocol_has_our_name() {
    let name = "Noise_pqKX_X25519DHKEM+RSAOAEP3072_AESGCM_SHA256";
    assert_eq!(&*Oracle::build_name(&noise_pqkx()), name);
}

#[test]
fn our_server_and_clatters_client() {
    let (server, client) = (identity("server"), identity("client"));
    let (r0, hello, r1) = greeted(&server);
    let mut oracle = oracle_client(&r0, &client, &server);
    let offer = read(&mut oracle, &r1).unwrap();
    assert_eq!(offer, r1[32..], "the offer is a payload in clear");
    let r2: [u8; R2_BYTES] = write(&mut oracle, b"");
    let (key, r3, mut ours) = hello.gate(&r2).unwrap().finish().unwrap();
    assert_eq!(&key, client.public());
    assert_eq!(read(&mut oracle, &r3).unwrap(), b"");
    let mut theirs = oracle.finalize().unwrap();
    assert_eq!(ours.session_id, theirs.get_handshake_hash().as_slice());
    talk(&mut ours.sealer, &mut ours.opener, &mut theirs);
}

#[test]
fn clatters_server_and_our_client() {
    let (server, client) = (identity("server"), identity("client"));
    let (start, r0) = ClientStart::new(&client, server.public(), suite_1());
    let mut oracle = oracle_server(&r0, &server);
    let r1: [u8; R1_BYTES] = write(&mut oracle, &[1, 1, 0, 1, 0x40, 0, 0, 0]);
    let (sent, r2) = start.answer(&r1).unwrap();
    assert_eq!(read(&mut oracle, &r2).unwrap(), b"");
    assert_eq!(oracle.get_remote_static().unwrap().as_slice(), client.public().modulus());
    let r3: [u8; R3_BYTES] = write(&mut oracle, b"");
    let mut ours = sent.finish(&r3).unwrap();
    let mut theirs = oracle.finalize().unwrap();
    assert_eq!(ours.session_id, theirs.get_handshake_hash().as_slice());
    talk(&mut ours.sealer, &mut ours.opener, &mut theirs);
}

/// The control: with another prologue neither side understands the other.
#[test]
fn another_prologue_is_noticed_by_either_side() {
    let (server, client) = (identity("server"), identity("client"));
    let (r0, hello, r1) = greeted(&server);
    // The suites on offer are another one.
    let mut stripped = r0.clone();
    stripped[9] = 3;
    let mut oracle = oracle_client(&stripped, &client, &server);
    read(&mut oracle, &r1).unwrap();
    assert!(hello.gate(&write::<R2_BYTES>(&mut oracle, b"")).is_err());

    let (start, _) = ClientStart::new(&client, server.public(), suite_1());
    let mut oracle = oracle_server(&r0, &server);
    let r1: [u8; R1_BYTES] = write(&mut oracle, &[1, 1, 0, 1, 0x40, 0, 0, 0]);
    let (_, r2) = start.answer(&r1).unwrap();
    assert_eq!(read(&mut oracle, &r2), None);
}
