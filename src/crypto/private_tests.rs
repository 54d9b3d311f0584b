use proptest::prelude::*;

use super::*;
use crate::chat::{Kind, MsgId};
use crate::crypto::note::Link;
use crate::crypto::test_keys::{ana, bob};

struct Party {
    identity: &'static Identity,
    certificate: Certificate,
    signing: SigningKey,
    opening: Vec<(CertificateHash, OpeningKey)>,
}

fn device(identity: &'static Identity) -> Party {
    let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
    let certificate = Certificate::issue(identity, &signing, &opening, 1_000_000);
    let opening = (certificate.hash, opening);
    Party { identity, certificate, signing, opening: vec![opening] }
}

impl Party {
    fn opens(&self, body: &[u8], from: &Certificate) -> Result<Opened, SealError> {
        let (opened, under) = Parsed::parse(body)?.open(self.identity, &self.opening, from)?;
        assert_eq!(under, Under::Certificate);
        Ok(opened)
    }
}

fn note() -> Note {
    let link = Link { session: [3; 16], n: 9, prev: [4; 32] };
    let (id, target) = (MsgId([1; 16]), MsgId([0; 16]));
    Note { id, time_ms: 5, kind: Kind::Say, target, link }
}

fn sealed(from: &Party, to: &[&Party]) -> Vec<u8> {
    let certified = |one: &&'_ Party| -> (Certificate, PublicKey) {
        (one.certificate.clone(), one.identity.public().clone())
    };
    let devices: Vec<_> = to.iter().map(certified).collect();
    let devices: Vec<_> = devices.iter().map(|(one, key)| Device::Certified(one, key)).collect();
    let by = (&from.certificate, &from.signing);
    seal_to(&note(), &"bob".parse().unwrap(), "psst", by, &devices).unwrap()
}

#[test]
fn every_device_it_is_sealed_for_opens_it() {
    let (ana, laptop, phone) = (device(ana()), device(bob()), device(bob()));
    let body = sealed(&ana, &[&laptop, &phone, &ana]);
    for one in [&laptop, &phone, &ana] {
        let opened = one.opens(&body, &ana.certificate).unwrap();
        assert_eq!((opened.note, opened.text.as_str()), (note(), "psst"));
    }
    let parsed = Parsed::parse(&body).unwrap();
    assert_eq!((parsed.to.as_str(), &parsed.from), ("bob", ana.certificate.bytes()));
}

#[test]
fn nobody_else_opens_it() {
    let (ana, laptop, phone) = (device(ana()), device(bob()), device(bob()));
    let body = sealed(&ana, &[&laptop]);
    assert_eq!(phone.opens(&body, &ana.certificate), Err(SealError::NotForMe));
    // The right certificate with another's keys.
    let own = [(laptop.certificate.hash, OpeningKey::generate())];
    let opened = Parsed::parse(&body).unwrap().open(phone.identity, &own, &ana.certificate);
    assert_eq!(opened, Err(SealError::Closed));
    let opened =
        Parsed::parse(&body).unwrap().open(ana.identity, &laptop.opening, &ana.certificate);
    assert_eq!(opened, Err(SealError::Closed));
}

#[test]
fn a_device_without_a_certificate_is_reached_under_its_rsa_key_alone() {
    let (ana, laptop) = (device(ana()), device(bob()));
    let by = (&ana.certificate, &ana.signing);
    let devices = [Device::Bare(bob().public())];
    let body = seal_to(&note(), &"bob".parse().unwrap(), "psst", by, &devices).unwrap();
    let parsed = Parsed::parse(&body).unwrap();
    let (opened, under) = parsed.open(bob(), &laptop.opening, &ana.certificate).unwrap();
    assert_eq!((opened.text.as_str(), under), ("psst", Under::RsaAlone));
    assert_eq!(parsed.open(ana.identity, &ana.opening, &ana.certificate), Err(SealError::NotForMe));
}

#[test]
fn a_swapped_certificate_and_a_forged_signature_are_noticed() {
    let (ana, bob) = (device(ana()), device(bob()));
    let body = sealed(&ana, &[&bob]);
    assert_eq!(bob.opens(&body, &bob.certificate), Err(SealError::Forged));
    let forger = Party { certificate: ana.certificate.clone(), ..device(bob.identity) };
    let body = sealed(&forger, &[&bob]);
    assert_eq!(bob.opens(&body, &ana.certificate), Err(SealError::Forged));
}

/// Bob has the message's key, and seals ana's words for another.
#[test]
fn a_forwarded_body_is_noticed() {
    let (ana, bob, carol) = (device(ana()), device(bob()), device(bob()));
    let body = sealed(&ana, &[&bob]);
    let elsewhere = sealed(&ana, &[&carol]);
    let (one, other) = (Parsed::parse(&body).unwrap(), Parsed::parse(&elsewhere).unwrap());
    let spliced = [other.header, other.wraps, one.text].concat();
    assert_eq!(carol.opens(&spliced, &ana.certificate), Err(SealError::Closed));
    let spliced = [other.header, one.wraps, one.text].concat();
    assert_eq!(carol.opens(&spliced, &ana.certificate), Err(SealError::Closed));
    // Sealed anew under the header that ana has signed: her signature is over the wraps too.
    let key = message_key(&bob, &body);
    let again = Fresh {
        ct: bob.identity.public().encapsulate(LABEL).0,
        r: Zeroizing::new([0; 32]),
        eph: Ephemeral::generate(),
    };
    let wrap = [&again.ct[..], again.eph.public(), &[0; 48]].concat();
    let hash = sha256(&[LABEL, one.header, &wrap]);
    let plain = open(&key, 0, &sha256(&[LABEL, one.header, one.wraps]), one.text).unwrap();
    let (padded, signature) = plain.split_at(plain.len() - SIGNATURE_BYTES);
    assert!(!ana.certificate.has_signed(&signed(&hash, padded), signature));
}

fn message_key(device: &Party, body: &[u8]) -> Secret {
    let parsed = Parsed::parse(body).unwrap();
    let (ct, rest) = parsed.wraps.split_first_chunk::<MODULUS_BYTES>().unwrap();
    let (eph, wrapped) = rest.split_first_chunk::<32>().unwrap();
    let r = device.identity.decapsulate(LABEL, ct);
    let shared = device.opening[0].1.pair().agree(eph).unwrap();
    let aad = [LABEL, parsed.header, ct, eph].concat();
    let key = open(&wrap_key(&aad, &r, Some(&shared)), 0, &aad, wrapped).unwrap();
    Zeroizing::new(key[..].try_into().unwrap())
}

#[test]
fn nothing_of_it_can_be_changed() {
    let (ana, bob) = (device(ana()), device(bob()));
    let body = sealed(&ana, &[&bob]);
    for index in 0..body.len() {
        let mut changed = body.clone();
        changed[index] ^= 1;
        assert!(bob.opens(&changed, &ana.certificate).is_err(), "byte {index}");
        assert!(bob.opens(&body[..index], &ana.certificate).is_err(), "cut at {index}");
    }
}

#[test]
fn the_kinds_of_sealing_are_kept_apart_by_their_labels() {
    let (ct, r) = ana().public().encapsulate(LABEL);
    assert_eq!(ana().decapsulate(LABEL, &ct), r);
    assert_ne!(ana().decapsulate(crate::crypto::identity::HOP, &ct), r);
}

proptest! {
    #[test]
    fn whatever_comes_is_no_message(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        let _ = Parsed::parse(&bytes);
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        if let Ok(parsed) = Parsed::parse(&bytes) {
            let bob = device(bob());
            prop_assert!(parsed.open(bob.identity, &bob.opening, &bob.certificate).is_err());
        }
    }
}
