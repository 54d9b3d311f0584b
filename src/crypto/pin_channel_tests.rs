use proptest::prelude::*;

use super::*;
use crate::chat::{Kind, MsgId};
use crate::crypto::certificate::OpeningKey;
use crate::crypto::header::{ChainLink, ContentType, claimed_sender};
use crate::crypto::test_keys::{ana, bob};

const SERVER: Fingerprint = Fingerprint([9; 32]);

fn context_of(server: u8, sender: &str, channel: &str) -> Context {
    let channel = format!("#{channel}~{}", "0".repeat(26)).parse().unwrap();
    Context::new(&Fingerprint([server; 32]), &sender.parse().unwrap(), &channel)
}

/// The context of ana's messages.
fn context() -> Context {
    context_of(9, "ana", "tea")
}

struct Device {
    certificate: Certificate,
    signing: SigningKey,
}

fn device(identity: &crate::crypto::Identity) -> Device {
    let signing = SigningKey::generate();
    let certificate =
        Certificate::issue(identity, &SERVER, &signing, &OpeningKey::generate(), 1_000_000);
    Device { certificate, signing }
}

fn header(n: u64) -> Header {
    let link = ChainLink { session: [3; 16], n, prev: [4; 32] };
    let id = MsgId([1; 16]);
    Header { id, time_ms: 5, kind: Kind::Say, content: ContentType::TEXT, link }
}

fn channel(seed: u8) -> PinChannel {
    PinChannel::from_root(Zeroizing::new([seed; 32]))
}

fn sealed(channel: &PinChannel, by: &Device, n: u64) -> Vec<u8> {
    let plaintext = Plaintext { context: &context(), header: &header(n), text: "tea at five" };
    channel.seal(&plaintext, (&by.certificate, &by.signing)).unwrap()
}

#[test]
fn another_pin_name_or_server_is_another_channel() {
    let server = Fingerprint([1; 32]);
    let one = PinChannel::derive(&Pin::new("1234"), &server, "tea");
    assert_eq!(one.tag().len(), 26);
    assert_eq!(PinChannel::derive(&Pin::new("1234"), &server, "tea").tag(), one.tag());
    assert_ne!(PinChannel::derive(&Pin::new("1235"), &server, "tea").tag(), one.tag());
    assert_ne!(PinChannel::derive(&Pin::new("1234"), &server, "teb").tag(), one.tag());
    assert_ne!(
        PinChannel::derive(&Pin::new("1234"), &Fingerprint([2; 32]), "tea").tag(),
        one.tag()
    );
}

#[test]
fn a_line_opens_for_who_has_the_pin_and_for_nobody_else() {
    let ana = device(ana());
    let body = sealed(&channel(1), &ana, 7);
    assert_eq!(claimed_sender(&body), Ok(ana.certificate.bytes()));
    let opened = channel(1).open(&context(), &body, &ana.certificate).unwrap();
    assert_eq!((opened.header, opened.text.as_deref()), (header(7), Some("tea at five")));
    assert_eq!(channel(2).open(&context(), &body, &ana.certificate), Err(SealError::Closed));
}

#[test]
fn a_member_cannot_speak_as_another() {
    let (ana, bob) = (device(ana()), device(bob()));
    // Bob knows the channel's key, and so ana's sender key, and signs with his own.
    let forged = Device { certificate: ana.certificate.clone(), signing: bob.signing };
    let body = sealed(&channel(1), &forged, 0);
    assert_eq!(channel(1).open(&context(), &body, &ana.certificate), Err(SealError::Forged));
    let body = sealed(&channel(1), &ana, 0);
    assert_eq!(channel(1).open(&context(), &body, &bob.certificate), Err(SealError::Forged));
}

#[test]
fn nothing_of_a_line_can_be_changed_or_spliced() {
    let ana = device(ana());
    let (one, other) = (sealed(&channel(1), &ana, 0), sealed(&channel(1), &ana, 1));
    for index in 0..one.len() {
        let mut changed = one.clone();
        changed[index] ^= 1;
        assert!(channel(1).open(&context(), &changed, &ana.certificate).is_err(), "byte {index}");
    }
    let head = 1 + CERTIFICATE_BYTES + HEAD_BYTES;
    let spliced = [&one[..head], &other[head..]].concat();
    assert_eq!(channel(1).open(&context(), &spliced, &ana.certificate), Err(SealError::Closed));
}

impl PinChannel {
    /// The attack of a malicious member: encrypts a message that its sender has signed in one
    /// context again in another context.
    pub fn sealed_again(
        &self,
        body: &[u8],
        certificate: &Certificate,
        [from, to]: [&Context; 2],
    ) -> Vec<u8> {
        let (before, text) = body.split_at(1 + CERTIFICATE_BYTES + HEAD_BYTES);
        let aad = |context| self.aad(context, &certificate.hash, &before[1 + CERTIFICATE_BYTES..]);
        let said = open(&self.message_key(&aad(from)), 0, &aad(from), text).unwrap();
        [before, &seal(&self.message_key(&aad(to)), 0, &aad(to), &said)].concat()
    }
}

#[test]
fn in_another_context_a_line_does_not_open_and_is_not_signed() {
    let (ana, own) = (device(ana()), context());
    let body = sealed(&channel(1), &ana, 7);
    let others =
        [context_of(8, "ana", "tea"), context_of(9, "bob", "tea"), context_of(9, "ana", "teb")];
    assert_eq!(channel(1).sealed_again(&body, &ana.certificate, [&own, &own]), body);
    for other in others {
        assert_eq!(channel(1).open(&other, &body, &ana.certificate), Err(SealError::Closed));
        let moved = channel(1).sealed_again(&body, &ana.certificate, [&own, &other]);
        assert_eq!(channel(1).open(&other, &moved, &ana.certificate), Err(SealError::Forged));
    }
}

#[test]
fn no_two_sealings_have_a_key_and_a_count_in_common() {
    let (ana, start) = (device(ana()), 1 + CERTIFICATE_BYTES);
    // A client that was restored from a snapshot sends another text with the same count and id.
    let says = |text: &str| {
        let plaintext = Plaintext { context: &context(), header: &header(7), text };
        let body = channel(1).seal(&plaintext, (&ana.certificate, &ana.signing)).unwrap();
        let (head, sealed) = body[start..].split_at(HEAD_BYTES);
        let aad = channel(1).aad(&context(), &ana.certificate.hash, head);
        (channel(1).message_key(&aad), sealed.to_vec())
    };
    let (one, other, again) = (says("tea at five"), says("tea at six!"), says("tea at five"));
    assert!(one.0 != other.0 && one.0 != again.0 && other.0 != again.0);
    // Under one key and nonce the ciphertexts would differ only where the texts do.
    let same = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    assert!(same(&one.1, &other.1) < 8 && same(&one.1, &again.1) < 8);
}

#[test]
fn generated_pins_are_long_enough_and_differ() {
    let (one, other) = (Pin::generate(), Pin::generate());
    assert_eq!(one.text().len(), 11);
    assert_ne!(one.text(), other.text());
    assert!(one.bits() >= 50);
    assert!(Pin::new("1234").bits() < 14);
    assert_eq!(format!("{one:?} {:?}", channel(1)), "Pin(...) PinChannel(...)");
}

proptest! {
    #[test]
    fn whatever_comes_is_no_line(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let ana = device(ana());
        let _ = claimed_sender(&bytes);
        prop_assert!(channel(1).open(&context(), &bytes, &ana.certificate).is_err());
    }
}
