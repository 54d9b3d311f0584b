use proptest::prelude::*;

use super::*;
use crate::chat::{Kind, MsgId};
use crate::crypto::certificate::OpeningKey;
use crate::crypto::note::{Link, claimed_sender};
use crate::crypto::test_keys::{ana, bob};

struct Device {
    certificate: Certificate,
    signing: SigningKey,
}

fn device(identity: &crate::crypto::Identity) -> Device {
    let signing = SigningKey::generate();
    let certificate = Certificate::issue(identity, &signing, &OpeningKey::generate(), 1_000_000);
    Device { certificate, signing }
}

fn note(n: u64) -> Note {
    let link = Link { session: [3; 16], n, prev: [4; 32] };
    let (id, target) = (MsgId([1; 16]), MsgId([0; 16]));
    Note { id, time_ms: 5, kind: Kind::Say, target, link }
}

fn channel(seed: u8) -> PinChannel {
    PinChannel::from_root(Zeroizing::new([seed; 32]))
}

fn sealed(channel: &PinChannel, by: &Device, n: u64) -> Vec<u8> {
    channel.seal(&note(n), "tea at five", (&by.certificate, &by.signing)).unwrap()
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
    let opened = channel(1).open(&body, &ana.certificate).unwrap();
    assert_eq!((opened.note, opened.text.as_str()), (note(7), "tea at five"));
    assert_eq!(channel(2).open(&body, &ana.certificate), Err(SealError::Closed));
}

#[test]
fn a_member_cannot_speak_as_another() {
    let (ana, bob) = (device(ana()), device(bob()));
    // Bob knows the channel's key, and so ana's sender key, and signs with his own.
    let forged = Device { certificate: ana.certificate.clone(), signing: bob.signing };
    let body = sealed(&channel(1), &forged, 0);
    assert_eq!(channel(1).open(&body, &ana.certificate), Err(SealError::Forged));
    let body = sealed(&channel(1), &ana, 0);
    assert_eq!(channel(1).open(&body, &bob.certificate), Err(SealError::Forged));
}

#[test]
fn nothing_of_a_line_can_be_changed_or_spliced() {
    let ana = device(ana());
    let (one, other) = (sealed(&channel(1), &ana, 0), sealed(&channel(1), &ana, 1));
    for index in 0..one.len() {
        let mut changed = one.clone();
        changed[index] ^= 1;
        assert!(channel(1).open(&changed, &ana.certificate).is_err(), "byte {index}");
    }
    let head = 1 + CERTIFICATE_BYTES + 16 + 8;
    let spliced = [&one[..head], &other[head..]].concat();
    assert_eq!(channel(1).open(&spliced, &ana.certificate), Err(SealError::Closed));
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
        prop_assert!(channel(1).open(&bytes, &ana.certificate).is_err());
    }
}
