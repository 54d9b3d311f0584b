use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::crypto::RecordType;
use crate::crypto::hello::Greeting;
use crate::crypto::session_ticket::SESSION_TICKET_BYTES;

static SERVER: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate()));
static CLIENT: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate()));
static OTHER: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate()));

fn both() -> Suites {
    vec![1, 2].try_into().unwrap()
}

/// The answer to R0 of a server with both suites.
fn answers(r0: &[u8]) -> Result<(ServerHello, Vec<u8>), HandshakeError> {
    match Greeting::read(r0, [&*SERVER, &*OTHER]) {
        Some(Greeting::Hello(hello)) => Ok(ServerHello::start(hello, both())),
        _ => Err(HandshakeError),
    }
}

/// Both sides after R1.
fn greet<'a>(server: &'a PublicKey) -> (ClientStart<'a>, ServerHello, Vec<u8>) {
    let (start, r0) = ClientStart::new(&CLIENT, server, Suites::default());
    let (hello, r1) = answers(&r0).unwrap();
    (start, hello, r1)
}

/// Runs a handshake whose records are passed through `tamper(number, record)`.
fn shake(
    server: &PublicKey,
    suites: Suites,
    tamper: impl Fn(usize, Vec<u8>) -> Vec<u8>,
) -> Result<(PublicKey, Transport, Transport), HandshakeError> {
    let (start, r0) = ClientStart::new(&CLIENT, server, suites);
    let (hello, r1) = answers(&tamper(0, r0.to_vec()))?;
    let (sent, r2) = start.answer(&tamper(1, r1.to_vec()))?;
    let gated = hello.gate(&tamper(2, r2.to_vec()))?;
    let (key, r3, at_server) = gated.finish()?;
    let at_client = sent.finish(&tamper(3, r3.to_vec()))?;
    Ok((key, at_server, at_client))
}

#[test]
fn both_ends_hold_the_same_keys_and_talk() {
    for suites in Suite::ALL.map(Suites::only) {
        let (key, mut server, mut client) = shake(SERVER.public(), suites, |_, it| it).unwrap();
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
}

#[test]
fn the_better_suite_of_both_sides_is_taken_and_none_that_was_not_offered() {
    let [one, two] = [Suite::Classic, Suite::Hybrid].map(Suites::only);
    for (client, server, chosen) in [
        (both(), both(), Some(Suite::Hybrid)),
        (one, both(), Some(Suite::Classic)),
        (both(), one, Some(Suite::Classic)),
        (two, one, None),
        (one, two, None),
    ] {
        let (start, r0) = ClientStart::new(&CLIENT, SERVER.public(), client);
        let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [&*SERVER]) else { panic!() };
        let (_, r1) = ServerHello::start(hello, server);
        let says = suite_of(&r1).unwrap();
        assert!(server.contains(says));
        assert_eq!(start.answer(&r1).is_ok().then_some(says), chosen, "{client:?} {server:?}");
    }
}

#[test]
fn who_takes_the_better_suite_away_ends_the_handshake() {
    let [one, two] = [Suite::Classic, Suite::Hybrid].map(Suites::only);
    // An attacker on the path who has an invite: the MAC of R0 is no obstacle.
    let stripped = |number, record: Vec<u8>| match number {
        0 => {
            let nonce = record[10..26].try_into().unwrap();
            hello::r0_with(&SERVER.public().fingerprint(), one, nonce).to_vec()
        }
        _ => record,
    };
    assert!(shake(SERVER.public(), both(), stripped).is_err());
    // An R1 of the other suite, of another connection or of the attacker.
    for (suites, other) in [(both(), one), (both(), two), (one, two), (two, one)] {
        let swapped = |number, record| match number {
            1 => {
                let (_, r0) = ClientStart::new(&CLIENT, SERVER.public(), other);
                answers(&r0).unwrap().1
            }
            _ => record,
        };
        assert!(shake(SERVER.public(), suites, swapped).is_err(), "{suites:?} {other:?}");
    }
    // The offer of one suite after the public key of the other.
    let relabelled = |number, mut record: Vec<u8>| {
        if number == 1 {
            record.truncate(32);
            record.extend(offer(Suite::Classic));
        }
        record
    };
    assert!(shake(SERVER.public(), both(), relabelled).is_err());
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
    let (_, r0) = ClientStart::new(&CLIENT, CLIENT.public(), Suites::default());
    assert!(answers(&r0).is_err(), "a third key");
}

#[test]
fn an_r0_of_the_same_invite_in_the_place_of_the_clients_own_ends_the_handshake() {
    let (start, _) = ClientStart::new(&CLIENT, SERVER.public(), Suites::default());
    let (_, another) = ClientStart::new(&CLIENT, SERVER.public(), Suites::default());
    let (hello, r1) = answers(&another).unwrap();
    let (_, r2) = start.answer(&r1).unwrap();
    assert!(hello.gate(&r2).is_err());
}

#[test]
fn every_byte_of_every_record_counts() {
    for (suite, r1, r2) in [(Suite::Classic, 40, 848), (Suite::Hybrid, 1224, 1936)] {
        let (_, r0) = ClientStart::new(&CLIENT, SERVER.public(), Suites::only(suite));
        let (hello, made) = answers(&r0).unwrap();
        assert_eq!((made.len(), hello.pair.suite()), (r1, suite));
        let ekem = sizes(suite).1;
        for (number, bytes) in [(0, R0_BYTES), (1, r1), (2, r2), (3, R3_BYTES)] {
            // All bytes would take long because of RSA: some bytes, and the ends of each part.
            let borders =
                [31, 32, r1 - 8, r1 - 1, ekem - 1, ekem, ekem + 399, ekem + 400, r2 - 17, r2 - 1];
            let wanted = |byte: &usize| byte.is_multiple_of(13) || borders.contains(byte);
            for byte in (0..bytes).filter(wanted) {
                let flip = |at: usize, mut record: Vec<u8>| {
                    if at == number {
                        record[byte] ^= 1;
                    }
                    record
                };
                let shaken = shake(SERVER.public(), Suites::only(suite), flip);
                assert!(shaken.is_err(), "{suite:?}, R{number}, byte {byte}");
            }
            for (cut, grow) in [(1, 0), (0, 1)] {
                let resize = |at: usize, mut record: Vec<u8>| {
                    if at == number {
                        record.resize(record.len() - cut + grow, 0);
                    }
                    record
                };
                let shaken = shake(SERVER.public(), Suites::only(suite), resize);
                assert!(shaken.is_err(), "{suite:?}, R{number}, resized");
            }
        }
    }
}

#[test]
fn a_client_with_another_servers_key_fails_at_the_gate() {
    // R0 is made under the right fingerprint, all else under another key.
    let (start, hello, r1) = greet(SERVER.public());
    let start = ClientStart { server: Cow::Borrowed(OTHER.public()), ..start };
    let (_, r2) = start.answer(&r1).unwrap();
    assert!(hello.gate(&r2).is_err());
}

#[test]
fn a_replayed_r2_fails_at_the_gate() {
    let (start, r0) = ClientStart::new(&CLIENT, SERVER.public(), Suites::default());
    let (_, r1) = answers(&r0).unwrap();
    let (_, r2) = start.answer(&r1).unwrap();
    let (again, _) = answers(&r0).unwrap();
    assert!(again.gate(&r2).is_err());
}

#[test]
fn who_does_not_own_the_server_key_cannot_finish() {
    // The impostor knows the public key, so that it passes the gate, but not the private key.
    let (start, _, r1) = greet(SERVER.public());
    let (sent, r2) = start.answer(&r1).unwrap();
    assert_eq!(r2.len(), 1936);
    assert!(sent.finish(&[0; R3_BYTES]).is_err());
}

#[test]
fn a_thief_of_a_modulus_cannot_talk() {
    // Presents the client's public key without the private one, so that R3 does not decrypt.
    let (thief, hello, r1) = greet(SERVER.public());
    let (sent, r2) = thief.answer(&r1).unwrap();
    let (key, r3, _) = hello.gate(&r2).unwrap().finish().unwrap();
    assert_eq!(&key, CLIENT.public());
    let blind = ClientSent { identity: Own::Lent(&OTHER), symmetric: sent.symmetric };
    assert!(blind.finish(&r3).is_err());
}

/// A ticket with this secret.
fn held(secret: u8) -> HeldTicket {
    let [server, client] = [&SERVER, &CLIENT].map(|key| key.public().fingerprint());
    HeldTicket::new((&[9; SESSION_TICKET_BYTES], &[secret; 32]), server, client).unwrap()
}

/// Both sides after T2.
fn present(suites: Suites) -> (ClientPresented<'static>, ServerHello, Vec<u8>) {
    let (start, r0) = ClientStart::shared(Arc::clone(&CLIENT), SERVER.public().clone(), suites);
    let (hello, r1) = answers(&r0).unwrap();
    let (presented, t2) = start.present(&r1, &held(7)).unwrap();
    (presented, hello, t2)
}

/// The ticket that the server reads in T2.
fn reads(hello: ServerHello, t2: &[u8]) -> Result<ServerTicket, HandshakeError> {
    match hello.read(t2)? {
        Gated::Ticket(ticket) => Ok(*ticket),
        Gated::Keys(_) => panic!("the record is an R2"),
    }
}

fn talk(server: &mut Transport, client: &mut Transport) {
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
fn a_ticket_replaces_both_rsa_operations() {
    let mut sessions = BTreeSet::new();
    for (suites, bytes) in Suite::ALL.map(Suites::only).into_iter().zip([1120, 32]) {
        for _ in 0..2 {
            let (presented, hello, t2) = present(suites);
            assert_eq!(t2.len(), bytes + SESSION_TICKET_BYTES + 32);
            let ticket = reads(hello, &t2).unwrap();
            assert_eq!(ticket.ticket(), [9; SESSION_TICKET_BYTES]);
            assert_eq!(ticket.server(), SERVER.public().fingerprint());
            let (t3, mut server) = ticket.accept(&[7; 32]).unwrap();
            let Presented::Accepted(mut client) = presented.finish(&t3).unwrap() else { panic!() };
            talk(&mut server, &mut client);
            assert!(sessions.insert(server.session_id), "the ephemeral keys are new");
        }
    }
}

#[test]
fn after_a_refused_ticket_both_sides_prove_their_keys_in_the_same_connection() {
    for suites in Suite::ALL.map(Suites::only) {
        let (presented, hello, t2) = present(suites);
        let (t3, at_gate) = reads(hello, &t2).unwrap().refuse();
        let Presented::Refused(sent, t4) = presented.finish(&t3).unwrap() else { panic!() };
        assert_eq!(t4.len(), KEYS_BYTES);
        let (key, r3, mut server) = at_gate.gate(&t4).unwrap().finish().unwrap();
        assert_eq!(&key, CLIENT.public());
        talk(&mut server, &mut sent.finish(&r3).unwrap());
    }
}

#[test]
fn who_has_a_ticket_and_not_its_secret_is_not_accepted() {
    let (_, hello, t2) = present(Suites::default());
    let ticket = reads(hello, &t2).unwrap();
    for secret in [[0; 32], [8; 32]] {
        assert!(ticket.accept(&secret).is_none());
    }
    assert!(ticket.accept(&[7; 32]).is_some(), "the control");
}

#[test]
fn every_byte_of_a_login_by_ticket_counts() {
    for (suites, ekem) in Suite::ALL.map(Suites::only).into_iter().zip([1120, 32]) {
        let (_, _, t2) = present(suites);
        let tag = t2.len() - TAG_BYTES;
        let wanted = |byte: &usize| byte.is_multiple_of(13) || *byte >= ekem - 2;
        for byte in (0..t2.len()).filter(wanted) {
            let (presented, hello, mut t2) = present(suites);
            t2[byte] ^= 1;
            let read = reads(hello, &t2);
            assert_eq!(read.is_ok(), byte >= tag, "{suites:?}, T2, byte {byte}");
            let Ok(ticket) = read else { continue };
            assert!(ticket.accept(&[7; 32]).is_none(), "byte {byte}");
            assert!(presented.finish(&ticket.refuse().0).is_err(), "byte {byte}");
        }
        for byte in 0..T3_BYTES {
            let (presented, hello, t2) = present(suites);
            let (mut t3, _) = reads(hello, &t2).unwrap().accept(&[7; 32]).unwrap();
            t3[byte] ^= 1;
            assert!(presented.finish(&t3).is_err(), "{suites:?}, T3, byte {byte}");
        }
        for byte in (0..KEYS_BYTES).filter(|byte| byte.is_multiple_of(97) || *byte >= 800) {
            let (presented, hello, t2) = present(suites);
            let (t3, at_gate) = reads(hello, &t2).unwrap().refuse();
            let Presented::Refused(_, mut t4) = presented.finish(&t3).unwrap() else { panic!() };
            t4[byte] ^= 1;
            let read = at_gate.gate(&t4).and_then(ServerGated::finish);
            assert!(read.is_err(), "{suites:?}, T4, byte {byte}");
        }
    }
}

#[test]
fn a_replayed_t2_and_one_of_another_length_fail_at_the_gate() {
    let (_, hello, recorded) = present(Suites::default());
    let (_, again, _) = present(Suites::default());
    assert!(reads(hello, &recorded).is_ok(), "the control");
    assert!(again.read(&recorded).is_err());
    for bytes in [0, 1, 1119, 1120, recorded.len() - 1, recorded.len() + 1, 1936, 2048] {
        let (_, hello, mut t2) = present(Suites::default());
        t2.resize(bytes, 0);
        assert!(hello.read(&t2).is_err(), "{bytes} bytes");
    }
    // An R2 is still one, and T4 alone is nothing.
    let (start, hello, r1) = greet(SERVER.public());
    let (_, r2) = start.answer(&r1).unwrap();
    assert!(matches!(hello.read(&r2), Ok(Gated::Keys(_))));
    let (_, hello, t2) = present(Suites::default());
    let (_, at_gate) = reads(hello, &t2).unwrap().refuse();
    assert!(at_gate.gate(&r2).is_err());
}

#[test]
fn a_server_without_the_secret_and_without_its_key_proves_nothing() {
    // The impostor knows the server's public key, so that it reads the ticket and refuses it.
    let (presented, hello, t2) = present(Suites::default());
    let ticket = reads(hello, &t2).unwrap();
    let mut state = ticket.at_gate.symmetric.clone();
    state.mix_key_and_hash(&[8; 32]);
    let _ = state.decrypt_and_hash::<0>(&ticket.tag);
    state.mix_hash(&ticket.tag);
    assert!(presented.finish(&state.tag()).is_err(), "a T3 by another secret");
    assert!(ticket.accept(&[8; 32]).is_none(), "the tag of T2 needs the secret");
    let (presented, hello, t2) = present(Suites::default());
    let (t3, _) = reads(hello, &t2).unwrap().refuse();
    let Presented::Refused(sent, _) = presented.finish(&t3).unwrap() else { panic!() };
    assert!(sent.finish(&[0; R3_BYTES]).is_err());
    for t3 in [&[0; 16][..], &[0; 15], &[], &[0; R3_BYTES]] {
        let (presented, ..) = present(Suites::default());
        assert!(presented.finish(t3).is_err());
    }
}

#[test]
fn a_ticket_of_another_length_is_refused_and_the_keys_follow() {
    let [server, client] = [&SERVER, &CLIENT].map(|key| key.public().fingerprint());
    for bytes in [1, SESSION_TICKET_BYTES - 1, SESSION_TICKET_BYTES + 1, SESSION_TICKET_BYTES_MAX] {
        let suites = Suites::default();
        let (start, r0) = ClientStart::shared(Arc::clone(&CLIENT), SERVER.public().clone(), suites);
        let (hello, r1) = answers(&r0).unwrap();
        let held = HeldTicket::new((&vec![9; bytes], &[7; 32]), server, client).unwrap();
        let (presented, t2) = start.present(&r1, &held).unwrap();
        let ticket = reads(hello, &t2).unwrap();
        assert_eq!(ticket.ticket(), vec![9; bytes]);
        let (t3, at_gate) = ticket.refuse();
        let Presented::Refused(_, t4) = presented.finish(&t3).unwrap() else { panic!() };
        assert!(at_gate.gate(&t4).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_records_instead_of_a_ticket_end_the_handshake(
        part in prop::collection::vec(any::<u8>(), TICKET_PART_BYTES),
        other in prop::collection::vec(any::<u8>(), 0..2100),
    ) {
        let (_, hello, mut t2) = present(Suites::default());
        let from = t2.len() - (SESSION_TICKET_BYTES + 2 * TAG_BYTES);
        t2.truncate(from);
        t2.extend(part);
        prop_assert!(hello.read(&t2).is_err());
        let (presented, hello, _) = present(Suites::default());
        prop_assert!(hello.read(&other).is_err());
        prop_assert!(presented.finish(&other).is_err());
    }
}
