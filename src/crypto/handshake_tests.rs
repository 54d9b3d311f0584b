use std::sync::LazyLock;

use super::*;
use crate::crypto::RecordType;
use crate::crypto::hello::Greeting;

static SERVER: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate()));
static CLIENT: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate()));
static OTHER: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate()));

/// A server's answer to R0.
fn answers(r0: &[u8]) -> Result<(ServerHello, [u8; R1_BYTES]), HandshakeError> {
    match Greeting::read(r0, [&*SERVER, &*OTHER]) {
        Some(Greeting::Hello(hello)) => Ok(ServerHello::start(hello)),
        _ => Err(HandshakeError),
    }
}

/// Both sides after R1.
fn greet<'a>(server: &'a PublicKey) -> (ClientStart<'a>, ServerHello, [u8; R1_BYTES]) {
    let (start, r0) = ClientStart::new(&CLIENT, server);
    let (hello, r1) = answers(&r0).unwrap();
    (start, hello, r1)
}

/// Runs a handshake whose records are passed through `tamper(number, record)`.
fn shake(
    server: &PublicKey,
    tamper: impl Fn(usize, Vec<u8>) -> Vec<u8>,
) -> Result<(PublicKey, Transport, Transport), HandshakeError> {
    let (start, r0) = ClientStart::new(&CLIENT, server);
    let (hello, r1) = answers(&tamper(0, r0.to_vec()))?;
    let (sent, r2) = start.answer(&tamper(1, r1.to_vec()))?;
    let gated = hello.gate(&tamper(2, r2.to_vec()))?;
    let (key, r3, at_server) = gated.finish()?;
    let at_client = sent.finish(&tamper(3, r3.to_vec()))?;
    Ok((key, at_server, at_client))
}

#[test]
fn both_ends_hold_the_same_keys_and_talk() {
    let (key, mut server, mut client) = shake(SERVER.public(), |_, record| record).unwrap();
    assert_eq!(&key, CLIENT.public());
    assert_eq!(server.session_id, client.session_id);
    for (sealer, opener) in
        [(&mut client.sealer, &mut server.opener), (&mut server.sealer, &mut client.opener)]
    {
        let mut record = Vec::new();
        sealer.seal(RecordType::Login, b"hello", &mut record).unwrap();
        assert_eq!(opener.open(&mut record), Ok((RecordType::Login, &b"hello"[..])));
    }
}

#[test]
fn a_server_is_known_by_each_of_its_keys() {
    for key in [SERVER.public(), OTHER.public()] {
        let (start, hello, r1) = greet(key);
        let (sent, r2) = start.answer(&r1).unwrap();
        let (client, r3, at_server) = hello.gate(&r2).unwrap().finish().unwrap();
        assert_eq!(&client, CLIENT.public());
        assert_eq!(sent.finish(&r3).unwrap().session_id, at_server.session_id);
    }
    let (_, r0) = ClientStart::new(&CLIENT, CLIENT.public());
    assert!(answers(&r0).is_err(), "a third key");
}

#[test]
fn an_r0_of_the_same_invite_in_the_place_of_the_clients_own_ends_the_handshake() {
    let (start, _) = ClientStart::new(&CLIENT, SERVER.public());
    let (_, another) = ClientStart::new(&CLIENT, SERVER.public());
    let (hello, r1) = answers(&another).unwrap();
    let (_, r2) = start.answer(&r1).unwrap();
    assert!(hello.gate(&r2).is_err());
}

#[test]
fn every_byte_of_every_record_counts() {
    for (number, bytes) in [(0, R0_BYTES), (1, R1_BYTES), (2, R2_BYTES), (3, R3_BYTES)] {
        // RSA makes a full sweep slow: every seventh byte, and the borders of the parts.
        let borders = [31, 32, 415, 416, 431, 432, 831, 832, 847];
        let wanted = |byte: &usize| byte.is_multiple_of(7) || borders.contains(byte);
        for byte in (0..bytes).filter(wanted) {
            let flip = |at: usize, mut record: Vec<u8>| {
                if at == number {
                    record[byte] ^= 1;
                }
                record
            };
            assert!(shake(SERVER.public(), flip).is_err(), "R{number}, byte {byte}");
        }
        for (cut, grow) in [(1, 0), (0, 1)] {
            let resize = |at: usize, mut record: Vec<u8>| {
                if at == number {
                    record.resize(record.len() - cut + grow, 0);
                }
                record
            };
            assert!(shake(SERVER.public(), resize).is_err(), "R{number}, resized");
        }
    }
}

#[test]
fn a_client_with_another_servers_key_fails_at_the_gate() {
    // Its R0 is made under the right fingerprint, all else under another key.
    let (_, r0) = ClientStart::new(&CLIENT, SERVER.public());
    let (hello, r1) = answers(&r0).unwrap();
    let start = ClientStart { identity: &CLIENT, server: OTHER.public(), r0 };
    let (_, r2) = start.answer(&r1).unwrap();
    assert!(hello.gate(&r2).is_err());
}

#[test]
fn a_replayed_r2_fails_at_the_gate() {
    let (start, r0) = ClientStart::new(&CLIENT, SERVER.public());
    let (_, r1) = answers(&r0).unwrap();
    let (_, r2) = start.answer(&r1).unwrap();
    let (again, _) = answers(&r0).unwrap();
    assert!(again.gate(&r2).is_err());
}

#[test]
fn who_does_not_own_the_server_key_cannot_finish() {
    // The impostor knows the public key, so that its gate opens, but not the private one.
    let (start, _, r1) = greet(SERVER.public());
    let (sent, r2) = start.answer(&r1).unwrap();
    assert_eq!(r2.len(), R2_BYTES);
    assert!(sent.finish(&[0; R3_BYTES]).is_err());
}

#[test]
fn a_thief_of_a_modulus_cannot_talk() {
    // Presents the client's public key without its private half: R3's secret stays closed.
    let (thief, hello, r1) = greet(SERVER.public());
    let (sent, r2) = thief.answer(&r1).unwrap();
    let (key, r3, _) = hello.gate(&r2).unwrap().finish().unwrap();
    assert_eq!(&key, CLIENT.public());
    let blind = ClientSent { identity: &OTHER, symmetric: sent.symmetric };
    assert!(blind.finish(&r3).is_err());
}
