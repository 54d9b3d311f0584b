//! The former keys of a server, each with the signatures of both keys of its rotation. They prove
//! to a new client that a server has a founding key, which nothing else does (docs/protocol.md,
//! "Lineage").

use super::identity::MODULUS_BYTES;
use super::key_request::{NONCE_BYTES, REQUEST_BYTES, heard, request};
use super::primitives::{Secret, TAG_BYTES, hkdf, open, seal};
use super::record_cipher::RECORD_BYTES_MAX;
use super::succession::{SUCCESSION_BYTES, Succession, Whose};
use super::{Fingerprint, PublicKey};

/// The first bytes of a request.
pub const ASK: &[u8; 8] = b"PYCHAT<1";
/// Maximum number of former keys: as many as fit in one record after the server's key (13).
pub const FORMER_KEYS_MAX: usize =
    (RECORD_BYTES_MAX - MODULUS_BYTES - TAG_BYTES) / FORMER_KEY_BYTES;
/// A modulus and two signatures.
const FORMER_KEY_BYTES: usize = MODULUS_BYTES + SUCCESSION_BYTES;

/// A key, and the signatures of it and its successor on the succession.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerKey {
    pub key: PublicKey,
    pub succession: Succession,
}

/// Verified former keys, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<FormerKey>);

impl Lineage {
    /// Returns `None` unless each key and its successor, of which the last is `own`, have signed
    /// the rotation.
    pub fn verify(links: Vec<FormerKey>, own: &PublicKey) -> Option<Lineage> {
        let mut next = own;
        for link in links.iter().rev() {
            if !link.succession.holds(&link.key, Whose::Server, next) {
                return None;
            }
            next = &link.key;
        }
        (links.len() <= FORMER_KEYS_MAX).then_some(Lineage(links))
    }

    pub fn former_keys(&self) -> &[FormerKey] {
        &self.0
    }

    /// Returns the fingerprints of the keys, oldest first.
    pub fn prints(&self) -> impl Iterator<Item = Fingerprint> {
        self.0.iter().map(|link| link.key.fingerprint())
    }

    /// Returns the part of the lineage before one of its keys; all of it for another key.
    pub fn before(&self, key: &PublicKey) -> Lineage {
        Lineage(self.0.iter().take_while(|link| link.key != *key).cloned().collect())
    }
}

/// Returns the request; `nonce` is new and random.
pub fn ask(server: &Fingerprint, nonce: [u8; NONCE_BYTES]) -> [u8; REQUEST_BYTES] {
    request(ASK, server, nonce)
}

/// Returns the server's key and its former keys, encrypted. `None` if the peer does not know the
/// fingerprint.
pub fn answer(server: &PublicKey, links: &[FormerKey], ask: &[u8]) -> Option<Vec<u8>> {
    let print = server.fingerprint();
    let nonce = heard(ASK, &print, ask)?;
    let mut plain = server.modulus().to_vec();
    for FormerKey { key, succession } in links {
        plain.extend_from_slice(key.modulus());
        plain.extend_from_slice(&succession.to_bytes());
    }
    Some(seal(&answer_key(&print, nonce), 0, b"", &plain))
}

/// The reason why an answer proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// It does not decrypt, contains another key than that of the fingerprint, or is incomplete.
    Foreign,
    /// It contains keys without the signatures of both keys on a rotation.
    Unsigned,
}

/// Returns the server's key and its verified lineage.
///
/// # Errors
/// The answer is not the server's, or not all signatures of its lineage hold.
pub fn read_answer(
    server: &Fingerprint,
    nonce: [u8; NONCE_BYTES],
    answer: &[u8],
) -> Result<(PublicKey, Lineage), AnswerError> {
    let (own, links) = claimed(server, &nonce, answer).ok_or(AnswerError::Foreign)?;
    let lineage = Lineage::verify(links, &own).ok_or(AnswerError::Unsigned)?;
    Ok((own, lineage))
}

/// Returns the claims of an answer without verification of signatures.
fn claimed(
    server: &Fingerprint,
    nonce: &[u8; NONCE_BYTES],
    answer: &[u8],
) -> Option<(PublicKey, Vec<FormerKey>)> {
    let plain = open(&answer_key(server, nonce), 0, b"", answer)?;
    let (own, links) = plain.split_first_chunk::<MODULUS_BYTES>()?;
    let own = PublicKey::from_modulus(own).ok().filter(|own| own.fingerprint() == *server)?;
    if links.len() > FORMER_KEYS_MAX * FORMER_KEY_BYTES || links.len() % FORMER_KEY_BYTES != 0 {
        return None;
    }
    let link = |bytes: &[u8]| {
        let (key, succession) = bytes.split_first_chunk::<MODULUS_BYTES>()?;
        let key = PublicKey::from_modulus(key).ok()?;
        Some(FormerKey { key, succession: Succession::from_bytes(succession)? })
    };
    let links = links.chunks_exact(FORMER_KEY_BYTES).map(link).collect::<Option<Vec<_>>>()?;
    Some((own, links))
}

pub(super) fn answer_key(server: &Fingerprint, nonce: &[u8]) -> Secret {
    hkdf(super::key_request::SALT, &server.0, &[b"lineage", nonce])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identity;
    use crate::crypto::test_keys::spare;

    fn link(old: &Identity, next: &Identity) -> FormerKey {
        let succession = Succession::sign(old, Whose::Server, next);
        FormerKey { key: old.public().clone(), succession }
    }

    #[test]
    fn only_a_whole_chain_of_signatures_is_a_lineage() {
        let [one, two, three, other] = [0, 1, 2, 3].map(spare);
        let links = vec![link(&one, &two), link(&two, &three)];
        let lineage = Lineage::verify(links.clone(), three.public()).unwrap();
        let prints: Vec<_> = lineage.prints().collect();
        assert_eq!(prints, [&one, &two].map(|key| key.public().fingerprint()));
        assert_eq!(lineage.before(two.public()).former_keys(), &links[..1]);
        assert_eq!(lineage.before(three.public()), lineage);
        assert!(Lineage::verify(Vec::new(), three.public()).is_some());
        // Another key at the end, at the start or in between, and links that are missing or
        // swapped.
        let mut claims = link(&one, &two);
        claims.key = other.public().clone();
        let mut swapped = links.clone();
        swapped[0].succession = links[1].succession.clone();
        swapped[1].succession = links[0].succession.clone();
        for bad in [
            vec![link(&one, &two)],
            vec![link(&two, &three), link(&one, &two)],
            vec![claims, link(&two, &three)],
            vec![link(&one, &other), link(&two, &three)],
            vec![link(&one, &three), link(&two, &three)],
            swapped,
        ] {
            assert_eq!(Lineage::verify(bad, three.public()), None);
        }
        assert_eq!(Lineage::verify(links, other.public()), None);
        let succession = Succession::sign(&one, Whose::Person, &two);
        let person = FormerKey { key: one.public().clone(), succession };
        assert_eq!(Lineage::verify(vec![person], two.public()), None, "signed for another purpose");
        let pair = [link(&one, &two), link(&two, &one)];
        let many: Vec<_> = pair.into_iter().cycle().take(FORMER_KEYS_MAX + 1).collect();
        let own = [two.public(), one.public()][FORMER_KEYS_MAX % 2];
        let lineage = Lineage::verify(many[1..].to_vec(), own).unwrap();
        assert_eq!(Lineage::verify(many, own), None);
        let sealed = answer(own, lineage.former_keys(), &ask(&own.fingerprint(), [5; 16])).unwrap();
        assert!(
            sealed.len() <= RECORD_BYTES_MAX && sealed.len() + FORMER_KEY_BYTES > RECORD_BYTES_MAX
        );
        assert_eq!(read_answer(&own.fingerprint(), [5; 16], &sealed).unwrap().1, lineage);
    }

    #[test]
    fn a_key_that_has_not_signed_is_in_no_lineage_at_either_end() {
        let [evil, real, next] = [0, 1, 2].map(spare);
        // The thief has both signatures of two real rotations, and combines halves of them.
        let [theirs, thiefs] = [link(&real, &next), link(&evil, &real)].map(|it| it.succession);
        let [theirs, thiefs] = [theirs, thiefs].map(|it| it.to_bytes());
        let spliced = |old: &[u8], new: &[u8]| {
            let succession = Succession::from_bytes(&[old, new].concat()).unwrap();
            vec![FormerKey { key: evil.public().clone(), succession }]
        };
        let (by_thief, by_old, by_new) = (&thiefs[..384], &theirs[..384], &theirs[384..]);
        for new in [by_thief, by_old, by_new] {
            assert_eq!(Lineage::verify(spliced(by_thief, new), real.public()), None);
        }
        assert!(Lineage::verify(spliced(by_thief, &thiefs[384..]), real.public()).is_some());
    }

    #[test]
    fn the_lineage_is_for_those_who_know_the_fingerprint_and_proves_itself() {
        let [one, two] = [0, 1].map(spare);
        let lineage = Lineage::verify(vec![link(&one, &two)], two.public()).unwrap();
        let print = two.public().fingerprint();
        let request = ask(&print, [5; 16]);
        let sealed = answer(two.public(), lineage.former_keys(), &request).unwrap();
        let read = |print: &Fingerprint, nonce, sealed: &[u8]| read_answer(print, nonce, sealed);
        assert_eq!(read(&print, [5; 16], &sealed), Ok((two.public().clone(), lineage.clone())));
        let foreign = Err(AnswerError::Foreign);
        assert_eq!(read(&print, [6; 16], &sealed), foreign);
        assert_eq!(read(&one.public().fingerprint(), [5; 16], &sealed), foreign);
        assert_eq!(answer(one.public(), lineage.former_keys(), &request), None);
        assert_eq!(answer(two.public(), lineage.former_keys(), &request[1..]), None);
        let key_request = super::super::key_request::ask(&print, [5; 16]);
        assert_eq!(
            answer(two.public(), lineage.former_keys(), &key_request),
            None,
            "another question"
        );
        // A thief that encrypts any claim: a key that has signed nothing, and half a link.
        let seals = |plain: &[&[u8]]| {
            let plain = [&[&two.public().modulus()[..]], plain].concat().concat();
            seal(&answer_key(&print, &[5; 16]), 0, b"", &plain)
        };
        let claim = seals(&[&one.public().modulus()[..], &[7; SUCCESSION_BYTES]]);
        assert_eq!(read(&print, [5; 16], &claim), Err(AnswerError::Unsigned));
        assert_eq!(read(&print, [5; 16], &seals(&[&one.public().modulus()[..]])), foreign);
        let alone = seals(&[]);
        assert_eq!(read(&print, [5; 16], &alone).unwrap().1, Lineage::default());
    }
}
