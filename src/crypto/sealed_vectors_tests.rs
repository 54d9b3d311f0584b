//! The known answers of tests/data/sealed.json: a certificate, a private message, a PIN channel.
//! The file is written anew by `cargo test --lib sealed_vectors_tests::write -- --ignored`; RSA's
//! signature and ciphertext are random, so that each writing differs.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Fingerprint;
use super::certificate::{Certificate, OpeningKey, SigningKey};
use super::context::Context;
use super::dhkem::Ephemeral;
use super::header::{ChainLink, ContentType, Draft, Header, Opened, body_hash};
use super::identity::MODULUS_BYTES;
use super::pin_channel::{Pin, PinChannel};
use super::private::{Device, Fresh, Parsed, Under, seal_with};
use super::test_keys::{ana, bob};
use crate::chat::{BlobId, ChannelName, Kind, MsgId, Target};

const NOW_S: u64 = 1_764_079_391;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/sealed.json")
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

fn signing() -> SigningKey {
    SigningKey::from_seed(&[0x11; 32])
}

fn opening(seed: u8) -> OpeningKey {
    OpeningKey::from_bytes(&[seed; 32])
}

/// Of a message that is in no vector.
const EDIT: Kind<MsgId> = Kind::Edit { of: MsgId([0xaa; 16]) };
const FILE: Kind<MsgId> = Kind::File { blob: BlobId([0xbb; 16]) };

/// The changed message, or the blob of a file.
fn of_bytes(header: &Header) -> [u8; 16] {
    let blob = header.kind.blob().map(|blob| blob.0);
    blob.or(header.kind.of().map(|of| of.0)).unwrap_or_default()
}

fn header(kind: Kind<MsgId>, n: u64, prev: [u8; 32]) -> Header {
    let link = ChainLink { session: [0x44; 16], n, prev };
    let (id, content) = (MsgId([0xa0 + n as u8; 16]), ContentType::of(kind));
    Header { id, time_ms: 1_764_079_391_123, kind, content, link }
}

fn described(header: &Header) -> Value {
    json!({
        "id": hex(&header.id.0), "time_ms": header.time_ms, "kind": header.kind.code(),
        "content": header.content.0, "of": hex(&of_bytes(header)), "session": hex(&header.link.session),
        "n": header.link.n, "prev": hex(&header.link.prev),
    })
}

/// Ana's key is the server's first one, too.
fn server() -> Fingerprint {
    ana().public().fingerprint()
}

/// What ana says there.
fn context(conversation: &Target) -> Context {
    Context::new(&server(), &"Ana".parse().unwrap(), conversation)
}

fn to() -> Target {
    "@Bob".parse().unwrap()
}

fn channel_name(channel: &PinChannel) -> Target {
    let name: ChannelName = "#F\u{e4}mily".parse().unwrap();
    Target::Channel(name.with_tag(&channel.tag()).unwrap())
}

const TEXT: &str = "gr\u{fc}n, at five";

#[test]
fn certificates() {
    let known = &vectors()["certificates"];
    for (party, identity, seed) in [("ana", ana(), 0x22), ("bob", bob(), 0x33)] {
        let known = &known[party];
        let certificate =
            Certificate::verify(&bytes(&known["certificate"]), identity.public(), &server());
        let certificate = certificate.unwrap();
        assert_eq!(hex(&certificate.hash), known["hash"]);
        assert_eq!(certificate.not_after(), known["not_after"].as_u64().unwrap());
        let made = Certificate::issue(identity, &server(), &signing(), &opening(seed), NOW_S);
        assert_eq!(made.bytes()[..157], certificate.bytes()[..157]);
    }
}

fn certificate(vectors: &Value, party: &str) -> Certificate {
    let identity = if party == "ana" { ana() } else { bob() };
    let bytes = bytes(&vectors["certificates"][party]["certificate"]);
    Certificate::verify(&bytes, identity.public(), &server()).unwrap()
}

#[test]
fn private_message() {
    let vectors = vectors();
    for (part, under) in [("private", Under::Certificate), ("private_rsa_alone", Under::RsaAlone)] {
        private(&vectors, &vectors[part], under);
    }
}

fn private(vectors: &Value, known: &Value, under: Under) {
    let (from, bobs) = (certificate(vectors, "ana"), certificate(vectors, "bob"));
    let body = bytes(&known["body"]);
    let fresh = |_: &_| Fresh {
        ct: array::<MODULUS_BYTES>(&known["ct"]),
        r: Zeroizing::new(array(&known["r"])),
        eph: Ephemeral::from_bytes(&array(&known["ephemeral"])),
    };
    let header = header(Kind::Say, 0, [0; 32]);
    assert_eq!(described(&header), known["header"]);
    let key = Zeroizing::new(array(&known["message_key"]));
    let devices = [match under {
        Under::Certificate => Device::Certified(&bobs, bob().public()),
        Under::RsaAlone => Device::Bare(bob().public()),
    }];
    let context = context(&to());
    assert_eq!(hex(&context.0), known["context"]);
    let draft = Draft { context: &context, header: &header, text: TEXT };
    let made = seal_with(&draft, (&from, &signing()), &devices, key, fresh).unwrap();
    assert_eq!(hex(&made), known["body"]);
    let parsed = Parsed::parse(&body).unwrap();
    let own = [(bobs.hash, opening(0x33))];
    let opened = parsed.open(&context, bob(), &own, &from).unwrap();
    assert_eq!(opened, (Opened { header, text: Some(TEXT.into()) }, under));
}

#[test]
fn pin_channel() {
    let vectors = vectors();
    let known = &vectors["pin_channel"];
    let pin = Pin::new(known["pin"].as_str().unwrap());
    let channel = PinChannel::derive(&pin, &server(), "f\u{e4}mily");
    assert_eq!(hex(&channel.root()[..]), known["root"]);
    assert_eq!(channel.tag(), known["tag"].as_str().unwrap());
    let (from, context) = (certificate(&vectors, "ana"), context(&channel_name(&channel)));
    assert_eq!(hex(&context.0), known["context"]);
    let mut prev = [0; 32];
    for (n, line) in known["messages"].as_array().unwrap().iter().enumerate() {
        let header = header([Kind::Say, EDIT, FILE][n], n as u64, prev);
        assert_eq!(described(&header), line["header"]);
        let draft = Draft { context: &context, header: &header, text: TEXT };
        let body = channel.seal_with(&draft, (&from, &signing()), &array(&line["salt"])).unwrap();
        assert_eq!(hex(&body), line["body"]);
        let opened = Opened { header, text: Some(TEXT.into()) };
        assert_eq!(channel.open(&context, &body, &from), Ok(opened));
        prev = body_hash(&body);
    }
}

#[test]
#[ignore = "writes tests/data/sealed.json"]
fn write() {
    let certify =
        |identity, seed| Certificate::issue(identity, &server(), &signing(), &opening(seed), NOW_S);
    let (from, bobs) = (certify(ana(), 0x22), certify(bob(), 0x33));
    let shown = |certificate: &Certificate, seed: u8| {
        json!({
            "signing_seed": hex(&signing().seed()[..]), "opening_key": hex(&[seed; 32]),
            "certificate": hex(certificate.bytes()), "hash": hex(&certificate.hash),
            "not_after": certificate.not_after(),
        })
    };
    let private = |device: Device| {
        let (ct, r) = bob().public().encapsulate(b"pychat/1 pm");
        let (r_hex, ct_hex) = (hex(&r[..]), hex(&ct));
        let mut fresh = Some(Fresh { ct, r, eph: Ephemeral::from_bytes(&[0x55; 32]) });
        let say = header(Kind::Say, 0, [0; 32]);
        let (by, key) = ((&from, &signing()), Zeroizing::new([0x66; 32]));
        let context = context(&to());
        let draft = Draft { context: &context, header: &say, text: TEXT };
        let body = seal_with(&draft, by, &[device], key, |_| fresh.take().unwrap()).unwrap();
        json!({
            "header": described(&say), "sender": "Ana", "to": "Bob", "context": hex(&context.0), "ct": ct_hex, "r": r_hex,
            "ephemeral": hex(&[0x55; 32]), "message_key": hex(&[0x66; 32]), "body": hex(&body),
        })
    };
    let pin = Pin::new("k3x9f-2m7qa");
    let channel = PinChannel::derive(&pin, &server(), "f\u{e4}mily");
    let context = context(&channel_name(&channel));
    let mut lines = Vec::new();
    let mut prev = [0; 32];
    for (n, kind) in [Kind::Say, EDIT, FILE].into_iter().enumerate() {
        let header = header(kind, n as u64, prev);
        let salt = [0x70 + n as u8; 16];
        let draft = Draft { context: &context, header: &header, text: TEXT };
        let body = channel.seal_with(&draft, (&from, &signing()), &salt).unwrap();
        lines.push(json!({"header": described(&header), "salt": hex(&salt), "body": hex(&body)}));
        prev = body_hash(&body);
    }
    let new = json!({
        "about": "Known answers for docs/protocol.md from \"Device certificates\" on. Ana and bob hold \
            the RSA keys \"server\" and \"client\" of hop.json, and ana's key is the server's first one too. Hex.",
        "text": TEXT,
        "certificates": {"ana": shown(&from, 0x22), "bob": shown(&bobs, 0x33)},
        "private": private(Device::Certified(&bobs, bob().public())),
        "private_rsa_alone": private(Device::Bare(bob().public())),
        "pin_channel": {
            "pin": pin.text(), "name": "f\u{e4}mily", "root": hex(&channel.root()[..]),
            "tag": channel.tag(), "sender": "Ana", "context": hex(&context.0), "messages": lines,
        },
    });
    fs::write(path(), serde_json::to_string_pretty(&new).unwrap() + "\n").unwrap();
}
