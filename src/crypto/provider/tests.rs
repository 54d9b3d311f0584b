//! Both providers compute the same and reject the same. Each is tested alone with the known answers
//! of tests/data: `cargo test --lib crypto` and `cargo test --no-default-features --lib crypto`.

use proptest::prelude::*;
use rsa::RsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use zeroize::Zeroizing;

use super::{native, pure};
use crate::crypto::test_keys::{ana, bob};

proptest! {
    #[test]
    fn hashes_and_ciphers_are_the_same(
        key in any::<[u8; 32]>(), nonce in any::<[u8; 12]>(),
        aad in prop::collection::vec(any::<u8>(), 0..80),
        text in prop::collection::vec(any::<u8>(), 0..300), bent in any::<prop::sample::Index>(),
    ) {
        let parts: [&[u8]; 2] = [&aad, &text];
        prop_assert_eq!(native::sha256(&parts), pure::sha256(&parts));
        prop_assert_eq!(native::hmac_sha256(&aad, &parts), pure::hmac_sha256(&aad, &parts));
        prop_assert_eq!(native::equal(&aad, &text), pure::equal(&aad, &text));
        let (one, other) = (native::Aead::new(&key), pure::Aead::new(&key));
        let (mut sealed, mut same) = (text.clone(), text.clone());
        let tag = one.seal(nonce, &aad, &mut sealed).unwrap();
        prop_assert_eq!(other.seal(nonce, &aad, &mut same), Some(tag));
        prop_assert_eq!(&sealed, &same);
        sealed.extend(tag);
        let mut copies = [sealed.clone(), sealed.clone()];
        let [first, second] = &mut copies;
        prop_assert_eq!(one.open(nonce, &aad, first).map(|text| text.to_vec()), Some(text.clone()));
        prop_assert_eq!(other.open(nonce, &aad, second).map(|text| text.to_vec()), Some(text));
        let index = bent.index(sealed.len());
        sealed[index] ^= 1;
        prop_assert!(one.open(nonce, &aad, &mut sealed.clone()).is_none());
        prop_assert!(other.open(nonce, &aad, &mut sealed).is_none());
        prop_assert!(other.open(nonce, &aad, &mut [0; 15]).is_none());
    }

    #[test]
    fn curves_are_the_same(
        seed in any::<[u8; 32]>(), peer in any::<[u8; 32]>(), text in any::<Vec<u8>>(),
    ) {
        let (one, other) = (native::Agreement::from_bytes(&seed), pure::Agreement::from_bytes(&seed));
        prop_assert_eq!(one.public(), other.public());
        prop_assert_eq!(one.agree(&peer), other.agree(&peer));
        prop_assert!(one.agree(&[0; 32]).is_none() && other.agree(&[0; 32]).is_none());
        let (one, other) = (native::Signing::from_seed(&seed), pure::Signing::from_seed(&seed));
        prop_assert_eq!(one.public(), other.public());
        let signature = one.sign(&text);
        prop_assert_eq!(signature, other.sign(&text));
        for (key, message) in [(one.public(), &text[..]), (peer, &text[..]), (one.public(), b"x")] {
            let holds = native::signed(&key, message, &signature);
            prop_assert_eq!(holds, pure::signed(&key, message, &signature));
            prop_assert_eq!(holds, key == one.public() && message == text);
        }
        prop_assert!(!pure::signed(&one.public(), &text, &signature[1..]));
    }
}

#[test]
fn what_one_seals_and_signs_with_rsa_the_other_opens_and_verifies() {
    let private = RsaPrivateKey::from_pkcs8_pem(&ana().to_pem(None)).unwrap();
    let (key, wrong) = (ana().public().modulus(), bob().public().modulus());
    let (one, other) = (native::Rsa::new(&private).unwrap(), pure::Rsa::new(&private).unwrap());
    let secret = Zeroizing::new([7; 32]);
    for sealed in [native::rsa_seal(key, b"tea", &secret), pure::rsa_seal(key, b"tea", &secret)] {
        let sealed = sealed.unwrap();
        assert_eq!(one.open(b"tea", &sealed).as_ref(), Some(&secret));
        assert_eq!(other.open(b"tea", &sealed).as_ref(), Some(&secret));
        assert!(one.open(b"two", &sealed).is_none() && other.open(b"two", &sealed).is_none());
        let mut bent = sealed;
        bent[200] ^= 1;
        assert!(one.open(b"tea", &bent).is_none() && other.open(b"tea", &bent).is_none());
    }
    for signature in [one.sign(b"tea"), other.sign(b"tea")] {
        for verify in [native::rsa_signed, pure::rsa_signed] {
            assert!(verify(key, b"tea", &signature));
            assert!(!verify(key, b"two", &signature) && !verify(wrong, b"tea", &signature));
            assert!(!verify(key, b"tea", &signature[1..]));
        }
    }
}

#[test]
fn what_one_seals_with_ml_kem_the_other_opens() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/data/hop.json")).unwrap();
    let expanded = vectors["handshakes"]["2"]["mlkem"]["expanded"].as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&expanded[2 * at..2 * at + 2], 16).unwrap();
    let expanded = std::array::from_fn(byte);
    let (one, other) =
        (native::MlKem::from_expanded(&expanded), pure::MlKem::from_expanded(&expanded));
    assert_eq!(one.public(), other.public());
    for (sealed, secret) in
        [native::mlkem_seal(one.public()), pure::mlkem_seal(one.public())].map(Option::unwrap)
    {
        assert_eq!(one.open(&sealed), Some(secret.clone()));
        assert_eq!(other.open(&sealed), Some(secret.clone()));
        // Both reject implicitly: with a secret derived from the ciphertext and their own.
        let mut bent = sealed;
        bent[500] ^= 1;
        assert_eq!(one.open(&bent), other.open(&bent));
        assert_ne!(one.open(&bent), Some(secret));
    }
    for made in [native::MlKem::generate().public(), pure::MlKem::generate().public()] {
        assert_ne!(made, one.public());
    }
}

#[test]
fn random_bytes_are_other_ones_each_time() {
    for fill in [native::fill as fn(&mut [u8]), pure::fill] {
        let mut bytes = [[0; 32]; 2];
        bytes.iter_mut().for_each(|bytes| fill(bytes));
        assert!(bytes[0] != bytes[1] && bytes[0] != [0; 32]);
    }
}
