//! The first record of a client. It ends in a MAC under the server's fingerprint (the idea of
//! WireGuard's mac1), so that only peers that have an invite or a pinned key get an answer:
//! docs/protocol.md, "Handshake".

use std::sync::Arc;

use super::key_request;
use super::primitives::{Secret, equal, hkdf, hmac_sha256, random};
use super::{Fingerprint, Identity};
use crate::suite::Suites;

/// `PYCHAT/1`, the offered suites, a nonce and the MAC.
pub const R0_BYTES: usize = MAJOR + 1 + 2 + NONCE_BYTES + MAC_BYTES;
pub const NONCE_BYTES: usize = 16;
/// Bytes of the MAC at the end of the R0 of every major.
pub const MAC_BYTES: usize = 16;
/// The start of the R0 of every major, before the digit of the major.
const START: &[u8] = b"PYCHAT/";
/// Position of the major.
const MAJOR: usize = START.len();
const SALT: &[u8] = b"pychat/1 hello";

/// A first record with a valid MAC under a key of the server.
pub enum Greeting {
    /// A request for keys, and the answer to it.
    Ask(Vec<u8>),
    /// R0 of this major.
    Hello(Hello),
    /// R0 of another major.
    OtherMajor,
}

/// R0 of this major, and the server key that the client has pinned.
pub struct Hello {
    pub(super) identity: Arc<Identity>,
    pub(super) r0: [u8; R0_BYTES],
}

impl Greeting {
    /// Returns `None` unless `record` is complete and its MAC is valid under one of the `accepted`
    /// keys. Compares MACs in constant time.
    pub fn read<'a>(
        record: &[u8],
        accepted: impl IntoIterator<Item = &'a Arc<Identity>>,
    ) -> Option<Greeting> {
        accepted.into_iter().find_map(|identity| Greeting::under(record, identity))
    }

    fn under(record: &[u8], identity: &Arc<Identity>) -> Option<Greeting> {
        if record.starts_with(key_request::ASK) {
            let answer = key_request::answer(identity.public(), record)?;
            return Some(Greeting::Ask(answer.to_vec()));
        }
        let major = record.strip_prefix(START)?.first().filter(|major| major.is_ascii_digit())?;
        let (head, found) = record.split_last_chunk::<MAC_BYTES>()?;
        if head.len() <= MAJOR || !equal(found, &mac(&identity.public().fingerprint(), head)) {
            return None;
        }
        if *major != b'1' {
            return Some(Greeting::OtherMajor);
        }
        let r0 = record.try_into().ok()?;
        Some(Greeting::Hello(Hello { identity: Arc::clone(identity), r0 }))
    }
}

impl Hello {
    /// Returns the bitmap of the offered suites.
    pub(super) fn suites(&self) -> u16 {
        u16::from_be_bytes([self.r0[MAJOR + 1], self.r0[MAJOR + 2]])
    }
}

/// Returns R0 of this major for the server with this fingerprint and these suites.
pub fn r0(server: &Fingerprint, suites: Suites) -> [u8; R0_BYTES] {
    r0_with(server, suites, &random())
}

pub(super) fn r0_with(
    server: &Fingerprint,
    suites: Suites,
    nonce: &[u8; NONCE_BYTES],
) -> [u8; R0_BYTES] {
    let head = [START, b"1", &suites.bits().to_be_bytes(), nonce].concat();
    let r0 = [&head[..], &mac(server, &head)].concat();
    r0.try_into().expect("lengths add up")
}

/// Returns the MAC over all bytes before it, which ends the R0 of every major.
pub fn mac(server: &Fingerprint, head: &[u8]) -> [u8; MAC_BYTES] {
    let mac = hmac_sha256(&mac_key(server)[..], &[head]);
    *mac.first_chunk().expect("an HMAC is longer")
}

pub(super) fn mac_key(server: &Fingerprint) -> Secret {
    hkdf(SALT, &server.0, &[b""])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::spare;

    /// Returns the index of the key under which the record's MAC is valid.
    fn met(record: &[u8], keys: &[Arc<Identity>]) -> Option<usize> {
        match Greeting::read(record, keys)? {
            Greeting::Hello(hello) => {
                keys.iter().position(|key| key.public() == hello.identity.public())
            }
            Greeting::Ask(_) | Greeting::OtherMajor => Some(100),
        }
    }

    #[test]
    fn r0_is_read_under_the_key_that_it_was_made_for_and_no_other() {
        let [own, former, other] = [0, 1, 2].map(|number| Arc::new(spare(number)));
        let print = |key: &Identity| key.public().fingerprint();
        let keys = [Arc::clone(&own), Arc::clone(&former)];
        assert_eq!(met(&r0(&print(&own), Suites::default()), &keys), Some(0));
        assert_eq!(met(&r0(&print(&former), Suites::default()), &keys), Some(1));
        assert_eq!(
            met(&r0(&print(&former), Suites::default()), &keys[..1]),
            None,
            "its time is over"
        );
        assert_eq!(met(&r0(&print(&other), Suites::default()), &keys), None);
        let whole = r0(&print(&own), Suites::default());
        assert_ne!(whole, r0(&print(&own), Suites::default()), "each has a nonce of its own");
        for byte in 0..R0_BYTES {
            let mut bent = whole;
            bent[byte] ^= 1;
            assert_eq!(met(&bent, &keys), None, "byte {byte}");
        }
        for bytes in 0..R0_BYTES {
            assert_eq!(met(&whole[..bytes], &keys), None, "{bytes} bytes");
        }
        assert_eq!(met(&[&whole[..], &[0]].concat(), &keys), None);
    }

    #[test]
    fn another_major_and_a_key_request_are_known_by_their_macs_alone() {
        let keys = [Arc::new(spare(0))];
        let print = keys[0].public().fingerprint();
        let maced = |head: &[u8]| [head, &mac(&print, head)].concat();
        for head in [&b"PYCHAT/2"[..], b"PYCHAT/9 and what it likes", b"PYCHAT/0"] {
            assert_eq!(met(&maced(head), &keys), Some(100));
            assert_eq!(met(head, &keys), None, "without a MAC");
        }
        let strange =
            [&b"PYCHAT/"[..], b"PYCHAT/x", b"PYCHAT!2", b"PYCHAT/1", b"PYCHAT/1 longer", b""];
        for head in strange {
            assert_eq!(met(&maced(head), &keys), None, "{head:?}");
        }
        let ask = key_request::ask(&print, [5; 16]);
        assert_eq!(met(&ask, &keys), Some(100));
        assert_eq!(met(&ask[..ask.len() - 1], &keys), None);
        assert_eq!(met(&key_request::ask(&Fingerprint([1; 32]), [5; 16]), &keys), None);
    }
}
