use proptest::prelude::*;

use super::*;
use crate::chat::{Kind, MsgId};
use crate::crypto::Fingerprint;
use crate::crypto::header::{ChainLink, ContentType};
use crate::crypto::primitives::random;
use crate::crypto::test_keys::{ana, bob};

const SERVER: Fingerprint = Fingerprint([9; 32]);

/// The context of ana's messages to bob.
fn context() -> Context {
    Context::new(&SERVER, &"ana".parse().unwrap(), &"@bob".parse().unwrap())
}

struct Party {
    identity: &'static Identity,
    certificate: Certificate,
    signing: SigningKey,
    opening: Vec<(CertificateHash, OpeningKey)>,
}

fn device(identity: &'static Identity) -> Party {
    let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
    let certificate = Certificate::issue(identity, &SERVER, &signing, &opening, 1_000_000);
    let opening = (certificate.hash, opening);
    Party { identity, certificate, signing, opening: vec![opening] }
}

impl Party {
    fn opens(&self, body: &[u8], from: &Certificate) -> Result<Opened, SealError> {
        let parsed = Parsed::parse(body)?;
        let (opened, under) = parsed.open(&context(), self.identity, &self.opening, from)?;
        assert_eq!(under, Under::Certificate);
        Ok(opened)
    }
}

fn header() -> Header {
    let link = ChainLink { session: [3; 16], n: 9, prev: [4; 32] };
    let id = MsgId([1; 16]);
    Header { id, time_ms: 5, kind: Kind::Say, content: ContentType::TEXT, link }
}

fn sealed(from: &Party, to: &[&Party]) -> Vec<u8> {
    let certified = |one: &&'_ Party| -> (Certificate, PublicKey) {
        (one.certificate.clone(), one.identity.public().clone())
    };
    let devices: Vec<_> = to.iter().map(certified).collect();
    let devices: Vec<_> = devices.iter().map(|(one, key)| Device::Certified(one, key)).collect();
    let by = (&from.certificate, &from.signing);
    seal_to(&plaintext(&header(), &context(), "psst"), by, &devices).unwrap()
}

fn plaintext<'a>(header: &'a Header, context: &'a Context, text: &'a str) -> Plaintext<'a> {
    Plaintext { context, header, text }
}

#[test]
fn every_device_it_is_sealed_for_opens_it() {
    let (ana, laptop, phone) = (device(ana()), device(bob()), device(bob()));
    let body = sealed(&ana, &[&laptop, &phone, &ana]);
    for one in [&laptop, &phone, &ana] {
        let opened = one.opens(&body, &ana.certificate).unwrap();
        assert_eq!((opened.header, opened.text.as_deref()), (header(), Some("psst")));
    }
    let parsed = Parsed::parse(&body).unwrap();
    assert_eq!(&parsed.from, ana.certificate.bytes());
}

#[test]
fn nobody_else_opens_it() {
    let (ana, laptop, phone) = (device(ana()), device(bob()), device(bob()));
    let body = sealed(&ana, &[&laptop]);
    assert_eq!(phone.opens(&body, &ana.certificate), Err(SealError::NotForMe));
    // The right certificate with keys of another one.
    let own = [(laptop.certificate.hash, OpeningKey::generate())];
    let parsed = Parsed::parse(&body).unwrap();
    let opened = parsed.open(&context(), phone.identity, &own, &ana.certificate);
    assert_eq!(opened, Err(SealError::Closed));
    let opened = parsed.open(&context(), ana.identity, &laptop.opening, &ana.certificate);
    assert_eq!(opened, Err(SealError::Closed));
}

#[test]
fn a_device_without_a_certificate_is_reached_under_its_rsa_key_alone() {
    let (ana, laptop) = (device(ana()), device(bob()));
    let by = (&ana.certificate, &ana.signing);
    let devices = [Device::Bare(bob().public())];
    let body = seal_to(&plaintext(&header(), &context(), "psst"), by, &devices).unwrap();
    let parsed = Parsed::parse(&body).unwrap();
    let opened = parsed.open(&context(), bob(), &laptop.opening, &ana.certificate);
    let (opened, under) = opened.unwrap();
    assert_eq!((opened.text.as_deref(), under), (Some("psst"), Under::RsaAlone));
    let opened = parsed.open(&context(), ana.identity, &ana.opening, &ana.certificate);
    assert_eq!(opened, Err(SealError::NotForMe));
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

/// Bob has the message's key, and encrypts ana's text for another user.
#[test]
fn a_forwarded_body_is_noticed() {
    let (ana, bob, carol) = (device(ana()), device(bob()), device(bob()));
    let body = sealed(&ana, &[&bob]);
    let elsewhere = sealed(&ana, &[&carol]);
    let (one, other) = (Parsed::parse(&body).unwrap(), Parsed::parse(&elsewhere).unwrap());
    let spliced = [other.clear, other.wraps, one.text].concat();
    assert_eq!(carol.opens(&spliced, &ana.certificate), Err(SealError::Closed));
    let spliced = [other.clear, one.wraps, one.text].concat();
    assert_eq!(carol.opens(&spliced, &ana.certificate), Err(SealError::Closed));
    // Encrypted again under the header that ana has signed: her signature covers the wraps too.
    let key = message_key(&bob, &body);
    let fresh = Fresh {
        ct: bob.identity.public().encapsulate(LABEL).0,
        r: Zeroizing::new([0; 32]),
        eph: Ephemeral::generate(),
    };
    let wrap = [&fresh.ct[..], fresh.eph.public(), &[0; 48]].concat();
    let again = hash(one.clear, &wrap);
    let plain = open(&key, 0, &hash(one.clear, one.wraps), one.text).unwrap();
    let (padded, signature) = plain.split_at(plain.len() - SIGNATURE_BYTES);
    assert!(!ana.certificate.has_signed(&signed(&again, padded), signature));
}

fn hash(header: &[u8], wraps: &[u8]) -> [u8; 32] {
    sha256(&[LABEL, &context().0, header, wraps])
}

fn message_key(device: &Party, body: &[u8]) -> Secret {
    let parsed = Parsed::parse(body).unwrap();
    let (ct, rest) = parsed.wraps.split_first_chunk::<MODULUS_BYTES>().unwrap();
    let (eph, wrapped) = rest.split_first_chunk::<32>().unwrap();
    let r = device.identity.decapsulate(LABEL, ct);
    let shared = device.opening[0].1.pair().agree(eph).unwrap();
    let aad = [LABEL, &context().0, parsed.clear, ct, eph].concat();
    let key = open(&wrap_key(&aad, &r, Some(&shared)), 0, &aad, wrapped).unwrap();
    Zeroizing::new(key[..].try_into().unwrap())
}

#[test]
fn in_another_context_it_does_not_open() {
    let (ana, bob) = (device(ana()), device(bob()));
    let body = sealed(&ana, &[&bob]);
    let parsed = Parsed::parse(&body).unwrap();
    for (server, sender, to) in
        [(8, "ana", "@bob"), (9, "bob", "@bob"), (9, "ana", "@ana"), (9, "ana", "#bob")]
    {
        let (sender, to) = (sender.parse().unwrap(), to.parse().unwrap());
        let other = Context::new(&Fingerprint([server; 32]), &sender, &to);
        let opened = parsed.open(&other, bob.identity, &bob.opening, &ana.certificate);
        assert_eq!(opened, Err(SealError::Closed));
    }
}

impl Parsed<'_> {
    /// The attack of a malicious recipient: encrypts a message that its sender has signed in one
    /// context for another device in another context.
    pub fn sealed_again(
        &self,
        identity: &Identity,
        own: &[(CertificateHash, OpeningKey)],
        [from, to]: [&Context; 2],
        device: Device,
    ) -> Vec<u8> {
        let (index, (_, opening)) = (self.devices.iter().enumerate())
            .find_map(|(index, id)| Some((index, own.iter().find(|(hash, _)| hash == id)?)))
            .unwrap();
        let wrap = &self.wraps[index * WRAP_BYTES..][..WRAP_BYTES];
        let (ct, rest) = wrap.split_first_chunk::<MODULUS_BYTES>().unwrap();
        let (eph, wrapped) = rest.split_first_chunk::<32>().unwrap();
        let shared = opening.pair().agree(eph).unwrap();
        let aad = [LABEL, &from.0, self.clear, ct, eph].concat();
        let key = wrap_key(&aad, &identity.decapsulate(LABEL, ct), Some(&shared));
        let key = open(&key, 0, &aad, wrapped).unwrap();
        let key: &[u8; 32] = key[..].try_into().unwrap();
        let hash = sha256(&[LABEL, &from.0, self.clear, self.wraps]);
        let said = open(key, 0, &hash, self.text).unwrap();
        let Device::Certified(certificate, recipient) = device else { panic!("it has one") };
        let head = &self.clear[..self.clear.len() - 1 - 32 * self.devices.len()];
        let header = [head, &[1], &certificate.hash].concat();
        let ((ct, r), eph) = (recipient.encapsulate(LABEL), Ephemeral::generate());
        let shared = eph.agree(&certificate.opening()).unwrap();
        let aad = [LABEL, &to.0, &header, &ct, eph.public()].concat();
        let wrap = seal(&wrap_key(&aad, &r, Some(&shared)), 0, &aad, key);
        let wraps = [&ct[..], eph.public(), &wrap].concat();
        let hash = sha256(&[LABEL, &to.0, &header, &wraps]);
        [&header, &wraps, &seal(key, 0, &hash, &said)].map(|part| &part[..]).concat()
    }
}

#[test]
fn what_was_signed_in_another_context_is_forged() {
    let (ana, bob, carol) = (device(ana()), device(bob()), device(bob()));
    let body = sealed(&ana, &[&bob]);
    let parsed = Parsed::parse(&body).unwrap();
    let other = Context::new(&SERVER, &"ana".parse().unwrap(), &"@carol".parse().unwrap());
    let to = Device::Certified(&carol.certificate, carol.identity.public());
    let body = parsed.sealed_again(bob.identity, &bob.opening, [&context(), &other], to);
    let parsed = Parsed::parse(&body).unwrap();
    let opened = parsed.open(&other, carol.identity, &carol.opening, &ana.certificate);
    assert_eq!(opened, Err(SealError::Forged));
}

#[test]
fn a_content_of_another_type_is_no_text() {
    let (ana, bob) = (device(ana()), device(bob()));
    let devices = [Device::Certified(&bob.certificate, bob.identity.public())];
    let by = (&ana.certificate, &ana.signing);
    for content in 1..=255 {
        let header = Header { content: ContentType(content), ..header() };
        let body = seal_to(&plaintext(&header, &context(), "psst"), by, &devices).unwrap();
        let opened = bob.opens(&body, &ana.certificate).unwrap();
        assert_eq!(opened, Opened { header, text: None });
    }
}

#[test]
fn no_two_sealings_have_a_key_in_common() {
    let (ana, bob) = (device(ana()), device(bob()));
    // A client that was restored from a snapshot sends another text with the same count.
    let keys = [(); 8].map(|()| message_key(&bob, &sealed(&ana, &[&bob])));
    let others = |at: usize| keys[..at].iter().all(|other| *other != keys[at]);
    assert!((0..keys.len()).all(others));
    assert_ne!(random::<32>(), random::<32>());
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
            prop_assert!(parsed.open(&context(), bob.identity, &bob.opening, &bob.certificate).is_err());
        }
    }
}
