//! A key rotation. The old key signs that the new one follows it, and the new key signs the same:
//! with the old key's signature alone, its owner could name another user's public key
//! (docs/protocol.md, "Key rotation").

use super::identity::MODULUS_BYTES;
use super::{Identity, PublicKey};

/// Bytes of a `Succession`.
pub const SUCCESSION_BYTES: usize = 2 * MODULUS_BYTES;

/// The purpose of a key, so that a signature is invalid for another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Person,
    Server,
}

/// The signing key, so that neither signature is valid as the other one.
#[derive(Clone, Copy)]
enum Role {
    Old,
    New,
}

type Signature = [u8; MODULUS_BYTES];

/// The signatures of both keys, the old one's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    by_old: Signature,
    by_new: Signature,
}

impl Succession {
    /// Signs with both keys that `new` follows `old`.
    pub fn sign(old: &Identity, whose: Whose, new: &Identity) -> Succession {
        let signed = |role| statement(role, whose, old.public(), new.public());
        Succession { by_old: old.sign(&signed(Role::Old)), by_new: new.sign(&signed(Role::New)) }
    }

    /// Returns whether both keys have signed that `new` follows `old`. No key follows itself.
    pub fn holds(&self, old: &PublicKey, whose: Whose, new: &PublicKey) -> bool {
        let signed = |role| statement(role, whose, old, new);
        old != new
            && old.verify(&signed(Role::Old), &self.by_old)
            && new.verify(&signed(Role::New), &self.by_new)
    }

    pub fn to_bytes(&self) -> [u8; SUCCESSION_BYTES] {
        let mut bytes = [0; SUCCESSION_BYTES];
        let (old, new) = bytes.split_at_mut(MODULUS_BYTES);
        old.copy_from_slice(&self.by_old);
        new.copy_from_slice(&self.by_new);
        bytes
    }

    /// Returns `None` unless the bytes have the length of two signatures. Verifies nothing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Succession> {
        let (by_old, by_new) = bytes.split_first_chunk()?;
        Some(Succession { by_old: *by_old, by_new: by_new.try_into().ok()? })
    }
}

fn statement(role: Role, whose: Whose, old: &PublicKey, new: &PublicKey) -> Vec<u8> {
    let label: &[u8] = match whose {
        Whose::Person => b"pychat/1 next person key",
        Whose::Server => b"pychat/1 next server key",
    };
    let role: &[u8] = match role {
        Role::Old => b"old",
        Role::New => b"new",
    };
    [label, role, &old.fingerprint().0, &new.fingerprint().0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::{ana, bob, spare};

    #[test]
    fn a_succession_is_for_one_old_key_one_new_key_and_one_purpose() {
        let signed = Succession::sign(ana(), Whose::Person, bob());
        let (old, new) = (ana().public(), bob().public());
        assert!(signed.holds(old, Whose::Person, new));
        assert!(!signed.holds(old, Whose::Server, new));
        assert!(!signed.holds(new, Whose::Person, new));
        assert!(!signed.holds(old, Whose::Person, old));
        assert!(!signed.holds(new, Whose::Person, old));
        assert!(!Succession::sign(ana(), Whose::Person, ana()).holds(old, Whose::Person, old));
        let bytes = signed.to_bytes();
        assert_eq!(Succession::from_bytes(&bytes), Some(signed));
        for bad in [&bytes[1..], &[&bytes[..], &[0]].concat(), &bytes[..MODULUS_BYTES], b""] {
            assert_eq!(Succession::from_bytes(bad), None);
        }
        for byte in [0, 100, 383, 384, 767] {
            let mut bent = bytes;
            bent[byte] ^= 1;
            let bent = Succession::from_bytes(&bent).unwrap();
            assert!(!bent.holds(old, Whose::Person, new));
        }
    }

    #[test]
    fn neither_key_makes_the_other_one_its_own() {
        let (old, new, other) = (ana(), bob(), &spare(0));
        let both = |by_old, by_new| Succession { by_old, by_new };
        for whose in [Whose::Person, Whose::Server] {
            let holds = |it: Succession| it.holds(old.public(), whose, new.public());
            let signs = |key: &Identity, role| {
                key.sign(&statement(role, whose, old.public(), new.public()))
            };
            let (by_old, by_new) = (signs(old, Role::Old), signs(new, Role::New));
            assert!(holds(both(by_old, by_new)));
            // One key alone with any signatures, and the right signatures swapped.
            for bad in [
                both(by_old, signs(old, Role::New)),
                both(by_old, by_old),
                both(by_old, [0; MODULUS_BYTES]),
                both(signs(new, Role::Old), by_new),
                both(by_new, by_new),
                both([0; MODULUS_BYTES], by_new),
                both(by_new, by_old),
                both(signs(old, Role::New), signs(new, Role::Old)),
            ] {
                assert!(!holds(bad));
            }
            // Signatures of other rotations, in which a key was the old or the new one.
            let others = [
                Succession::sign(old, whose, other),
                Succession::sign(other, whose, old),
                Succession::sign(new, whose, other),
                Succession::sign(other, whose, new),
                Succession::sign(new, whose, old),
            ];
            for other in others {
                for replayed in [other.by_old, other.by_new] {
                    assert!(!holds(both(by_old, replayed)) && !holds(both(replayed, by_new)));
                }
            }
        }
    }
}
