//! A key names the one that comes after it: whoever trusts the old one may trust the new one
//! (docs/protocol.md, "Key rotation").

use super::identity::MODULUS_BYTES;
use super::{Identity, PublicKey};

/// Whose key follows whose: no signature of one kind is taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Person,
    Server,
}

/// What the old key has signed.
pub type Signature = [u8; MODULUS_BYTES];

/// `old` signs that `new` comes after it.
pub fn sign(old: &Identity, whose: Whose, new: &PublicKey) -> Signature {
    old.sign(&statement(old.public(), whose, new))
}

/// Whether `old` has signed that `new` comes after it.
pub fn holds(old: &PublicKey, whose: Whose, new: &PublicKey, signature: &[u8]) -> bool {
    old.verify(&statement(old, whose, new), signature)
}

fn statement(old: &PublicKey, whose: Whose, new: &PublicKey) -> Vec<u8> {
    let label: &[u8] = match whose {
        Whose::Person => b"pychat/1 next person key",
        Whose::Server => b"pychat/1 next server key",
    };
    [label, &old.fingerprint().0, &new.fingerprint().0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::{ana, bob};

    #[test]
    fn a_signature_is_for_one_old_key_one_new_key_and_one_purpose() {
        let signed = sign(ana(), Whose::Person, bob().public());
        let (old, new) = (ana().public(), bob().public());
        assert!(holds(old, Whose::Person, new, &signed));
        assert!(!holds(old, Whose::Server, new, &signed));
        assert!(!holds(new, Whose::Person, new, &signed));
        assert!(!holds(old, Whose::Person, old, &signed));
        assert!(!holds(new, Whose::Person, old, &signed));
        assert!(!holds(old, Whose::Person, new, &signed[1..]));
        for byte in [0, 100, 383] {
            let mut bent = signed;
            bent[byte] ^= 1;
            assert!(!holds(old, Whose::Person, new, &bent));
        }
    }
}
