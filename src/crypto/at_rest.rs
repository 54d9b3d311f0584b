//! Encryption of files in a client's folder: to the user's own key, so that a passphrase on the key
//! protects all of them.

use zeroize::Zeroizing;

use super::header::take;
use super::identity::MODULUS_BYTES;
use super::primitives::{Secret, TAG_BYTES, hedged, hkdf, open, seal, sha256};
use super::{Identity, PublicKey};

const LABEL: &[u8] = b"pychat/1 at rest";
const WRAP_BYTES: usize = 32 + MODULUS_BYTES + 32 + TAG_BYTES;
const SALT_BYTES: usize = 32;

/// Encrypts for the holder of one of these keys: the present one and, during a rotation, its
/// successor.
pub fn seal_for(keys: &[&PublicKey], plain: &[u8]) -> Vec<u8> {
    // No key encrypts two texts, even if the system's random numbers repeat.
    let key: Secret = Zeroizing::new(hedged(&[LABEL, plain]));
    let mut sealed = vec![keys.len() as u8];
    for one in keys {
        let r: Secret = Zeroizing::new(hedged(&[LABEL, b" wrap", &one.fingerprint().0, plain]));
        let ct = one.encapsulate_secret(LABEL, &r);
        sealed.extend_from_slice(&one.fingerprint().0);
        sealed.extend_from_slice(&ct);
        sealed.extend_from_slice(&seal(&wrap_key(&ct, &r), 0, LABEL, &key[..]));
    }
    let text = seal(&key, 0, &sha256(&[LABEL, &sealed]), plain);
    sealed.extend_from_slice(&text);
    sealed
}

/// Decrypts data for this identity; `None` if it is for another key, or damaged.
pub fn open_by(identity: &Identity, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut rest = sealed;
    let [count] = take(&mut rest)?;
    let (wraps, text) = rest.split_at_checked(usize::from(count) * WRAP_BYTES)?;
    let own = identity.public().fingerprint().0;
    let mut wrap = wraps.chunks(WRAP_BYTES).find(|wrap| wrap.starts_with(&own))?.get(32..)?;
    let ct: [u8; MODULUS_BYTES] = take(&mut wrap)?;
    let r = identity.decapsulate(LABEL, &ct);
    let key = open(&wrap_key(&ct, &r), 0, LABEL, wrap)?;
    let key: Secret = Zeroizing::new(key[..].try_into().ok()?);
    open(&key, 0, &sha256(&[LABEL, &sealed[..sealed.len() - text.len()]]), text)
}

/// Returns whether data is sealed, and only for other keys than `own`.
pub fn is_for_others(own: &PublicKey, sealed: &[u8]) -> bool {
    let mut rest = sealed;
    let Some([count]) = take(&mut rest) else { return false };
    let Some((wraps, _)) = rest.split_at_checked(usize::from(count) * WRAP_BYTES) else {
        return false;
    };
    let own = own.fingerprint().0;
    count > 0 && !wraps.chunks(WRAP_BYTES).any(|wrap| wrap.starts_with(&own))
}

/// Returns whether a byte is one of base64 without padding.
pub fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

fn wrap_key(ct: &[u8; MODULUS_BYTES], r: &Secret) -> Secret {
    hkdf(&sha256(&[ct]), &r[..], &[LABEL])
}

/// Encrypts under a symmetric key that was decrypted before, for files that are written message by
/// message.
pub fn lock(key: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let salt: [u8; SALT_BYTES] = hedged(&[LABEL, b" line", plain]);
    [&salt[..], &seal(&hkdf(&salt, key, &[LABEL, b" line"]), 0, LABEL, plain)].concat()
}

pub fn unlock(key: &[u8; 32], locked: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, sealed) = locked.split_first_chunk::<SALT_BYTES>()?;
    open(&hkdf(salt, key, &[LABEL, b" line"]), 0, LABEL, sealed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::primitives::REPEATS;
    use crate::crypto::test_keys::{ana, bob};

    #[test]
    fn what_is_kept_opens_for_its_owners_alone_and_only_whole() {
        let sealed = seal_for(&[ana().public()], b"a PIN");
        assert_eq!(open_by(ana(), &sealed).unwrap()[..], b"a PIN"[..]);
        assert!(open_by(bob(), &sealed).is_none());
        for index in (0..sealed.len()).step_by(7).chain(sealed.len() - 20..sealed.len()) {
            let mut other = sealed.clone();
            other[index] ^= 1;
            assert!(open_by(ana(), &other).is_none(), "byte {index}");
        }
        assert!(is_for_others(bob().public(), &sealed) && !is_for_others(ana().public(), &sealed));
        let zeros = vec![0; sealed.len()];
        for damaged in [&sealed[..100], &zeros[..0], &zeros[..]] {
            assert!(!is_for_others(bob().public(), damaged));
        }
        let both = seal_for(&[ana().public(), bob().public()], b"a PIN");
        assert!(open_by(ana(), &both).is_some() && open_by(bob(), &both).is_some());
        assert!(both.windows(5).all(|window| window != b"a PIN"));
    }

    #[test]
    fn a_locked_line_opens_under_its_key_and_only_whole() {
        let locked = lock(&[7; 32], b"a line");
        assert_eq!(unlock(&[7; 32], &locked).unwrap()[..], b"a line"[..]);
        assert!(unlock(&[8; 32], &locked).is_none());
        for index in 0..locked.len() {
            let mut other = locked.clone();
            other[index] ^= 1;
            assert!(unlock(&[7; 32], &other).is_none(), "byte {index}");
        }
    }

    #[test]
    fn no_key_seals_two_texts_where_randomness_repeats() {
        let secret = |sealed: &[u8]| {
            let ct = sealed[1 + 32..][..MODULUS_BYTES].try_into().unwrap();
            ana().decapsulate(LABEL, &ct)
        };
        for repeats in [true, false] {
            REPEATS.set(repeats);
            let seals = |text: &[u8]| secret(&seal_for(&[ana().public()], text));
            assert_ne!(seals(b"one"), seals(b"two"));
            assert_eq!(seals(b"one") == seals(b"one"), repeats, "the control");
            let salt = |text: &[u8]| lock(&[7; 32], text)[..SALT_BYTES].to_vec();
            assert_ne!(salt(b"one"), salt(b"two"));
            assert_eq!(salt(b"one") == salt(b"one"), repeats, "the control");
        }
    }

    proptest! {
        #[test]
        fn whatever_lies_there_is_none_of_it(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
            prop_assert!(open_by(ana(), &bytes).is_none());
            prop_assert!(unlock(&[7; 32], &bytes).is_none());
        }
    }
}
