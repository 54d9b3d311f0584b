//! The known answers of tests/data/hop.json against the real code, step by step. The file is
//! written anew by `cargo test --lib vectors::write -- --ignored`, which keeps its keys and lines
//! and makes new RSA ciphertexts (OAEP is randomised).

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::crypto::hello::{Greeting, r0_with};
use crate::crypto::lineage::{self, FormerKey, Lineage};
use crate::crypto::succession::{Succession, Whose};
use crate::crypto::{Fingerprint, RecordType, key_request};

/// The vectors renew a direction's key after this many records instead of 65536.
const REKEY_RECORDS: u64 = 4;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/hop.json")
}

fn vectors() -> Value {
    serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn secret(value: &Value) -> Secret {
    Zeroizing::new(array(value))
}

/// A party's RSA key.
fn identity(vectors: &Value, party: &str) -> Arc<Identity> {
    let pem = vectors["keys_for_tests_only"][party]["pem"].as_str().unwrap();
    Arc::new(Identity::from_pem(pem, None).unwrap())
}

/// The suites that the client offers.
fn suites(handshake: &Value) -> Suites {
    serde_json::from_value(handshake["suites"].clone()).unwrap()
}

/// The server's key pair for the handshake.
fn pair(handshake: &Value) -> Pair {
    let x25519 = ephemeral(handshake, "server");
    let expanded = &handshake["mlkem"]["expanded"];
    if expanded.is_null() {
        return Pair::Classic(x25519);
    }
    Pair::Hybrid(Box::new(hybrid::Pair::new(x25519, MlKem::from_expanded(&array(expanded)))))
}

/// The client's encapsulation.
fn encap(handshake: &Value, to: &[u8]) -> (Vec<u8>, Secret) {
    let own = ephemeral(handshake, "client");
    let mlkem = &handshake["mlkem"];
    if mlkem.is_null() {
        return (own.public().to_vec(), own.encapsulate(to.try_into().unwrap()).unwrap());
    }
    let sealed = |_: &_| Some((array(&mlkem["ct"]), secret(&mlkem["ss"])));
    hybrid::encapsulate_with(&own, to, sealed).unwrap()
}

/// The client's first record.
fn r0(handshake: &Value, server: &PublicKey) -> [u8; R0_BYTES] {
    r0_with(&server.fingerprint(), suites(handshake), &array(&handshake["r0_nonce"]))
}

/// A party's X25519 key.
fn ephemeral(handshake: &Value, party: &str) -> Ephemeral {
    Ephemeral::from_bytes(&array(&handshake["x25519"][party]))
}

/// The encapsulation to a party's RSA key.
fn kem(handshake: &Value, party: &str) -> ([u8; MODULUS_BYTES], Secret) {
    let kem = &handshake["rsa_kem"][party];
    (array(&kem["ct"]), secret(&kem["ss"]))
}

/// The state after each step of docs/protocol.md, and both transport keys.
fn steps(handshake: &Value, server: &PublicKey, client: &PublicKey) -> (Value, Secret, Secret) {
    fn note(steps: &mut Vec<Value>, after: &str, state: &Symmetric) {
        let k = state.key.as_ref().map(|(key, _)| hex(&key[..]));
        let (h, ck) = (hex(&state.h), hex(&state.ck[..]));
        steps.push(json!({"after": after, "h": h, "ck": ck, "k": k}));
    }
    let pair = pair(handshake);
    let mut state = Symmetric::new(pair.suite(), &r0(handshake, server), server);
    let mut steps = Vec::new();
    note(&mut steps, "prologue and server modulus", &state);
    state.mix_hash(&pair.public());
    state.mix_hash(&offer(pair.suite()));
    note(&mut steps, "R1", &state);
    let (ekem, ss) = encap(handshake, &pair.public());
    state.mix_hash(&ekem);
    state.mix_key(&ss);
    note(&mut steps, "R2 ekem", &state);
    let (ct, ss) = kem(handshake, "server");
    state.encrypt_and_hash(&ct);
    note(&mut steps, "R2 skem, its ciphertext", &state);
    state.mix_key_and_hash(&ss);
    note(&mut steps, "R2 skem", &state);
    state.encrypt_and_hash(client.modulus());
    note(&mut steps, "R2 s", &state);
    state.encrypt_and_hash(b"");
    note(&mut steps, "R2", &state);
    let (ct, ss) = kem(handshake, "client");
    state.encrypt_and_hash(&ct);
    note(&mut steps, "R3 skem, its ciphertext", &state);
    state.mix_key_and_hash(&ss);
    note(&mut steps, "R3 skem", &state);
    state.encrypt_and_hash(b"");
    note(&mut steps, "R3", &state);
    let (k1, k2, _) = state.split();
    (json!(steps), k1, k2)
}

/// The records of a handshake whose random choices are those of `handshake`, and both ends.
fn shake(
    handshake: &Value,
    server: &Arc<Identity>,
    client: &Identity,
) -> ([Vec<u8>; 4], Transport, Transport) {
    let r0 = r0(handshake, server.public());
    let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [server]) else { panic!("not an R0") };
    let (hello, r1) = ServerHello::start_with(hello, pair(handshake));
    let suites = suites(handshake);
    let (sent, r2) = ClientStart {
        identity: Own::Lent(client),
        server: Cow::Borrowed(server.public()),
        suites,
        r0,
    }
    .answer_with(&r1, |_, to| Ok(encap(handshake, to)), |_| kem(handshake, "server"))
    .unwrap();
    let gated = hello.gate(&r2).unwrap();
    let (key, r3, at_server) = gated.finish_with(|_| kem(handshake, "client")).unwrap();
    assert_eq!(&key, client.public());
    let at_client = sent.finish(&r3).unwrap();
    ([r0.to_vec(), r1.to_vec(), r2.to_vec(), r3.to_vec()], at_server, at_client)
}

#[test]
fn keys_and_fingerprints() {
    let vectors = vectors();
    for party in ["server", "client"] {
        let (key, known) = (identity(&vectors, party), &vectors["keys_for_tests_only"][party]);
        assert_eq!(described(&key), *known);
    }
}

fn described(identity: &Identity) -> Value {
    let (key, print) = (identity.public(), identity.public().fingerprint());
    json!({
        "pem": *identity.to_pem(None),
        "modulus": hex(key.modulus()),
        "spki": hex(&key.to_der()),
        "fingerprint": print.to_string(),
        "fingerprint_spoken": print.spoken(),
        "fingerprint_base64url": print.to_url(),
    })
}

/// mk and ak.
fn request_keys(server: &Fingerprint, nonce: &[u8; 16]) -> [Value; 2] {
    let salt = b"pychat/1 key request";
    let (mk, ak) = (hkdf(salt, &server.0, &[b"ask"]), hkdf(salt, &server.0, &[b"answer", nonce]));
    [mk, ak].map(|key: Secret| hex(&key[..]).into())
}

#[test]
fn key_request() {
    let vectors = vectors();
    let (server, known) = (identity(&vectors, "server"), &vectors["key_request"]);
    let nonce = array(&known["nonce"]);
    let print = server.public().fingerprint();
    assert_eq!(request_keys(&print, &nonce), [known["mk"].clone(), known["ak"].clone()]);
    assert_eq!(hex(&key_request::ask(&print, nonce)), known["ask"]);
    let answer = key_request::answer(server.public(), &bytes(&known["ask"])).unwrap();
    assert_eq!(hex(&answer), known["answer"]);
    let key = key_request::read_answer(&print, nonce, &bytes(&known["answer"]));
    assert_eq!(key.as_ref(), Some(server.public()));
}

/// The server's key as the one before the client's, by the signatures in `next_server_key`.
fn known_lineage(vectors: &Value) -> (PublicKey, Lineage) {
    let [old, own] = ["server", "client"].map(|party| identity(vectors, party));
    let succession = succession(vectors);
    let links = vec![FormerKey { key: old.public().clone(), succession }];
    let own = own.public().clone();
    let lineage = Lineage::verify(links, &own).unwrap();
    (own, lineage)
}

#[test]
fn the_lineage_of_a_server() {
    let vectors = vectors();
    let known = &vectors["lineage"];
    let (own, lineage) = known_lineage(&vectors);
    let (print, nonce) = (own.fingerprint(), array(&known["nonce"]));
    assert_eq!(hex(&lineage::answer_key(&print, &nonce)[..]), known["key"]);
    assert_eq!(hex(&lineage::ask(&print, nonce)), known["ask"]);
    let answer = lineage::answer(&own, lineage.former_keys(), &bytes(&known["ask"])).unwrap();
    assert_eq!(hex(&answer), known["answer"]);
    assert_eq!(lineage::read_answer(&print, nonce, &answer), Ok((own, lineage)));
}

#[test]
fn a_server_key_and_the_next_one() {
    let vectors = vectors();
    let [old, new] = ["server", "client"].map(|party| identity(&vectors, party));
    let succession = succession(&vectors);
    assert!(succession.holds(old.public(), Whose::Server, new.public()));
    assert!(!succession.holds(new.public(), Whose::Server, old.public()));
}

fn succession(vectors: &Value) -> Succession {
    let known = &vectors["next_server_key"];
    let both = ["by_old", "by_new"].map(|by| bytes(&known[by])).concat();
    Succession::from_bytes(&both).unwrap()
}

/// The handshake of a suite.
fn handshake(vectors: &Value, suite: Suite) -> &Value {
    &vectors["handshakes"][suite.number().to_string()]
}

#[test]
fn kems() {
    let vectors = vectors();
    for handshake in Suite::ALL.map(|suite| handshake(&vectors, suite)) {
        for party in ["server", "client"] {
            let (ct, ss) = kem(handshake, party);
            assert_eq!(identity(&vectors, party).decapsulate(HOP, &ct), ss);
            let public = hex(ephemeral(handshake, party).public());
            assert_eq!(public, handshake["x25519"][format!("{party}_public")]);
        }
        let (server, client) = (ephemeral(handshake, "server"), ephemeral(handshake, "client"));
        let ss = secret(&handshake["dhkem"]["ss"]);
        assert_eq!(server.decapsulate(&array(&handshake["dhkem"]["enc"])).unwrap(), ss);
        assert_eq!(client.encapsulate(server.public()).unwrap(), ss);
    }
    let known = &handshake(&vectors, Suite::Hybrid)["mlkem"];
    assert_eq!(mlkem(&array(&known["seed"]), &array(&known["m"])), *known);
    let key = MlKem::from_expanded(&array(&known["expanded"]));
    assert_eq!(hex(key.public()), known["public"]);
    assert_eq!(key.open(&array(&known["ct"])), Some(secret(&known["ss"])));
}

/// ML-KEM-768 from its random choices, by one of the two libraries: `kems` has it from both.
#[expect(deprecated, reason = "AWS-LC has no other form of a key")]
fn mlkem(seed: &[u8; 64], m: &[u8; 32]) -> Value {
    use ml_kem::{DecapsulationKey768, ExpandedKeyEncoding, kem::KeyExport};
    let key = DecapsulationKey768::from_seed((*seed).into());
    let (ct, ss) = key.encapsulation_key().encapsulate_deterministic(&(*m).into());
    json!({
        "seed": hex(seed),
        "expanded": hex(&key.to_expanded_bytes()),
        "public": hex(&key.encapsulation_key().to_bytes()),
        "m": hex(m),
        "ct": hex(&ct),
        "ss": hex(&ss),
    })
}

#[test]
fn the_handshake_byte_for_byte_at_both_ends() {
    let vectors = vectors();
    let (server, client) = (identity(&vectors, "server"), identity(&vectors, "client"));
    let mac_key = hello::mac_key(&server.public().fingerprint());
    for suite in Suite::ALL {
        let known = handshake(&vectors, suite);
        assert_eq!(String::from_utf8_lossy(name(suite)), known["name"].as_str().unwrap());
        assert_eq!(hex(&mac_key[..]), known["r0_key"]);
        let (records, at_server, at_client) = shake(known, &server, &client);
        for (number, record) in records.iter().enumerate() {
            assert_eq!(hex(record), known[format!("r{number}")], "R{number}");
        }
        assert_eq!(suite_of(&records[1]), Some(suite));
        assert_eq!(hex(&at_server.session_id), known["h"]);
        assert_eq!(hex(&at_client.session_id), known["h"]);
        let (steps, k1, k2) = steps(known, server.public(), client.public());
        assert_eq!(steps, known["steps"]);
        let last = steps.as_array().unwrap().last().unwrap();
        assert_eq!((&last["h"], &last["ck"]), (&known["h"], &known["ck"]));
        let keys = [&k1, &k2].map(|key| Value::from(hex(&key[..])));
        assert_eq!(keys, ["k1", "k2"].map(|key| known[key].clone()));
    }
}

#[test]
fn the_records_of_both_directions() {
    let vectors = vectors();
    let (handshake, known) = (handshake(&vectors, Suite::Hybrid), &vectors["transport"]);
    let (server, client) = (identity(&vectors, "server"), identity(&vectors, "client"));
    let (_, at_server, at_client) = shake(handshake, &server, &client);
    for (direction, mut sealer, mut opener, key) in [
        ("server_to_client", at_server.sealer, at_client.opener, "k1"),
        ("client_to_server", at_client.sealer, at_server.opener, "k2"),
    ] {
        sealer.rekey_every(known["rekey_records"].as_u64().unwrap());
        opener.rekey_every(known["rekey_records"].as_u64().unwrap());
        let rekeyed = seal(&secret(&handshake[key]), u64::MAX, b"", &[0; 32]);
        assert_eq!(hex(&rekeyed[..32]), known["key_after_rekey"][direction]);
        for (n, record) in known[direction].as_array().unwrap().iter().enumerate() {
            assert_eq!(record["n"], n);
            let kind = RecordType::from(record["type"].as_u64().unwrap() as u8);
            let body = record["body"].as_str().unwrap().as_bytes();
            let mut sealed = Vec::new();
            sealer.seal(kind, body, &mut sealed).unwrap();
            assert_eq!(hex(&sealed), record["record"], "{direction} {n}");
            assert_eq!(opener.open(&mut sealed), Ok((kind, body)));
        }
    }
}

/// The messages of the parties in the vectors: a type and a body for each record.
const SERVER_SAYS: &[(RecordType, &str)] = &[
    (
        RecordType::Json,
        "{\"type\":\"welcome\",\"name\":\"bob\",\"device\":\"laptop\",\"version\":\"0.1.0\",\
         \"text_bytes_max\":8192}\n",
    ),
    // Two messages in one record.
    (
        RecordType::Json,
        "{\"type\":\"joined\",\"to\":\"#lobby\",\"who\":\"bob\",\"here\":2}\n\
         [\"7\",\"#lobby\",\"bob\",\"laptop\",\"000102030405060708090a0b0c0d0e0f\",\
         1764079391123,\"gr\u{fc}n\"]\n",
    ),
    (
        RecordType::Json,
        "{\"type\":\"ticket\",\"ticket\":\"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg\"}\n",
    ),
    (RecordType::Pong, "42"),
    // An empty body: 63 bytes of padding.
    (RecordType::Ping, ""),
    // The first record under the next key.
    (RecordType::Close, "\"shutdown\""),
];
const CLIENT_SAYS: &[(RecordType, &str)] = &[
    (
        RecordType::Login,
        "{\"name\":\"bob\",\"device\":\"laptop\",\"version\":\"0.1.0\",\"major\":1,\
         \"features\":[\"ticket\"],\"ticket\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\"}\n",
    ),
    (RecordType::Json, "[\"#lobby\",\"000102030405060708090a0b0c0d0e0f\",\"gr\u{fc}n\"]\n"),
    (RecordType::Ping, "42"),
    // A type byte and 63 bytes of body: no padding.
    (
        RecordType::Json,
        "{\"type\":\"topic\",\"channel\":\"#lobby\",\"text\":\"sixty-three bytes\"}\n",
    ),
    // The first record under the next key.
    (RecordType::Close, "\"quit\""),
];

/// The values derived from a handshake's random choices, and both ends.
fn finished(
    mut handshake: Value,
    server: &Arc<Identity>,
    client: &Identity,
) -> (Value, Transport, Transport) {
    let (at_server, at_client) = (ephemeral(&handshake, "server"), ephemeral(&handshake, "client"));
    handshake["x25519"]["server_public"] = hex(at_server.public()).into();
    handshake["x25519"]["client_public"] = hex(at_client.public()).into();
    let ss = at_client.encapsulate(at_server.public()).unwrap();
    handshake["dhkem"] = json!({"enc": hex(at_client.public()), "ss": hex(&ss[..])});
    let (_, ss) = encap(&handshake, &pair(&handshake).public());
    handshake["ekem_ss"] = hex(&ss[..]).into();
    let (records, at_server, at_client) = shake(&handshake, server, client);
    for (number, record) in records.iter().enumerate() {
        handshake[format!("r{number}")] = hex(record).into();
    }
    let (steps, k1, k2) = steps(&handshake, server.public(), client.public());
    handshake["ck"] = steps.as_array().unwrap().last().unwrap()["ck"].clone();
    handshake["steps"] = steps;
    handshake["h"] = hex(&at_server.session_id).into();
    handshake["k1"] = hex(&k1[..]).into();
    handshake["k2"] = hex(&k2[..]).into();
    (handshake, at_server, at_client)
}

/// The rotation from one server key to another, and its lineage.
fn rotation(old: &Identity, new: &Identity) -> (Value, Lineage) {
    let succession = Succession::sign(old, Whose::Server, new);
    let signed = succession.to_bytes();
    let [by_old, by_new] = [&signed[..384], &signed[384..]].map(hex);
    let known = json!({"old": "server", "new": "client", "by_old": by_old, "by_new": by_new});
    let links = vec![FormerKey { key: old.public().clone(), succession }];
    (known, Lineage::verify(links, new.public()).unwrap())
}

#[test]
#[ignore = "writes tests/data/hop.json"]
fn write() {
    let old = vectors();
    let (server, client) = (identity(&old, "server"), identity(&old, "client"));
    let encapsulated = |identity: &Identity| {
        let (ct, ss) = identity.public().encapsulate(HOP);
        json!({"ct": hex(&ct), "ss": hex(&ss[..])})
    };
    let nonce: [u8; 16] = std::array::from_fn(|index| index as u8);
    let (next_server_key, lineage) = rotation(&server, &client);
    let ask_lineage = lineage::ask(&client.public().fingerprint(), nonce);
    let ask = key_request::ask(&server.public().fingerprint(), nonce);
    let [mk, ak] = request_keys(&server.public().fingerprint(), &nonce);
    let made = |suite: Suite| {
        let mut made = json!({
            "name": String::from_utf8_lossy(name(suite)),
            "suites": Suites::only(suite),
            "r0_nonce": hex(&nonce),
            "r0_key": hex(&hello::mac_key(&server.public().fingerprint())[..]),
            "x25519": handshake(&old, Suite::Classic)["x25519"],
            "rsa_kem": {"server": encapsulated(&server), "client": encapsulated(&client)},
        });
        if suite == Suite::Hybrid {
            let [seed, m] = [0x40, 0x80].map(|first| move |index: usize| first + index as u8);
            made["mlkem"] = mlkem(&std::array::from_fn(seed), &std::array::from_fn(m));
        }
        finished(made, &server, &client)
    };
    let [(hybrid, mut at_server, mut at_client), (classic, ..)] = Suite::ALL.map(made);
    let [k1, k2] = ["k1", "k2"].map(|key| secret(&hybrid[key]));
    let renewed = |key: &Secret| hex(&seal(key, u64::MAX, b"", &[0; 32])[..32]);
    let sealed = |sealer: &mut Sealer, said: &[(RecordType, &str)]| {
        sealer.rekey_every(REKEY_RECORDS);
        let records = said.iter().enumerate().map(|(n, (kind, body))| {
            let mut record = Vec::new();
            sealer.seal(*kind, body.as_bytes(), &mut record).unwrap();
            json!({"n": n, "type": u8::from(*kind), "body": body, "record": hex(&record)})
        });
        records.collect::<Vec<_>>()
    };
    let new = json!({
        "about": old["about"],
        "keys_for_tests_only": {"server": described(&server), "client": described(&client)},
        "lines": old["lines"],
        "key_request": {
            "nonce": hex(&nonce),
            "mk": mk,
            "ask": hex(&ask),
            "ak": ak,
            "answer": hex(&key_request::answer(server.public(), &ask).unwrap()),
        },
        "next_server_key": next_server_key,
        "lineage": {
            "nonce": hex(&nonce),
            "key": hex(&lineage::answer_key(&client.public().fingerprint(), &nonce)[..]),
            "ask": hex(&ask_lineage),
            "answer": hex(&lineage::answer(client.public(), lineage.former_keys(), &ask_lineage).unwrap()),
        },
        "handshakes": {"1": classic, "2": hybrid},
        "transport": {
            "rekey_records": REKEY_RECORDS,
            "key_after_rekey": {"server_to_client": renewed(&k1), "client_to_server": renewed(&k2)},
            "server_to_client": sealed(&mut at_server.sealer, SERVER_SAYS),
            "client_to_server": sealed(&mut at_client.sealer, CLIENT_SAYS),
        },
    });
    fs::write(path(), serde_json::to_string_pretty(&new).unwrap() + "\n").unwrap();
}
