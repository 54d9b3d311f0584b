//! The keys that a server had before its own, each with its signature for the next one. They prove to a
//! newcomer that a server goes back to a founding key, which nothing else does (docs/protocol.md,
//! "Lineage").

use super::identity::MODULUS_BYTES;
use super::key_request::{NONCE_BYTES, REQUEST_BYTES, heard, request};
use super::primitives::{Secret, hkdf, open, seal};
use super::succession::{self, Signature, Whose};
use super::{Fingerprint, PublicKey};

/// The first bytes of a request.
pub const ASK: &[u8; 8] = b"PYCHAT<1";
/// Keys before the server's own: as many as one record holds.
pub const LINKS_MAX: usize = 20;
/// A modulus and a signature.
const LINK_BYTES: usize = 2 * MODULUS_BYTES;

/// A key and what it has signed: that the next one follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub key: PublicKey,
    pub signature: Signature,
}

/// Verified links, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<Link>);

impl Lineage {
    /// None unless each key has signed the next one, and the last one `own`.
    pub fn verify(links: Vec<Link>, own: &PublicKey) -> Option<Lineage> {
        let mut next = own;
        for link in links.iter().rev() {
            if !succession::holds(&link.key, Whose::Server, next, &link.signature) {
                return None;
            }
            next = &link.key;
        }
        (links.len() <= LINKS_MAX).then_some(Lineage(links))
    }

    pub fn links(&self) -> &[Link] {
        &self.0
    }

    /// The fingerprints of the keys, the oldest first.
    pub fn prints(&self) -> impl Iterator<Item = Fingerprint> {
        self.0.iter().map(|link| link.key.fingerprint())
    }

    /// The lineage of one of its own keys; all of it for another key.
    pub fn before(&self, key: &PublicKey) -> Lineage {
        Lineage(self.0.iter().take_while(|link| link.key != *key).cloned().collect())
    }
}

/// The request; `nonce` is fresh and random.
pub fn ask(server: &Fingerprint, nonce: [u8; NONCE_BYTES]) -> [u8; REQUEST_BYTES] {
    request(ASK, server, nonce)
}

/// The server's key and its lineage, sealed. None where the asker does not know the fingerprint.
pub fn answer(server: &PublicKey, lineage: &Lineage, ask: &[u8]) -> Option<Vec<u8>> {
    let print = server.fingerprint();
    let nonce = heard(ASK, &print, ask)?;
    let mut plain = server.modulus().to_vec();
    for Link { key, signature } in &lineage.0 {
        plain.extend_from_slice(key.modulus());
        plain.extend_from_slice(signature);
    }
    Some(seal(&answer_key(&print, nonce), 0, b"", &plain))
}

/// None unless the answer opens, holds the key of that fingerprint, and proves its lineage.
pub fn read_answer(
    server: &Fingerprint,
    nonce: [u8; NONCE_BYTES],
    answer: &[u8],
) -> Option<(PublicKey, Lineage)> {
    let plain = open(&answer_key(server, &nonce), 0, b"", answer)?;
    let (own, links) = plain.split_first_chunk::<MODULUS_BYTES>()?;
    let own = PublicKey::from_modulus(own).ok().filter(|own| own.fingerprint() == *server)?;
    if links.len() > LINKS_MAX * LINK_BYTES || links.len() % LINK_BYTES != 0 {
        return None;
    }
    let link = |bytes: &[u8]| {
        let (key, signature) = bytes.split_first_chunk::<MODULUS_BYTES>()?;
        let key = PublicKey::from_modulus(key).ok()?;
        Some(Link { key, signature: signature.try_into().ok()? })
    };
    let links = links.chunks_exact(LINK_BYTES).map(link).collect::<Option<Vec<_>>>()?;
    Some((own.clone(), Lineage::verify(links, &own)?))
}

pub(super) fn answer_key(server: &Fingerprint, nonce: &[u8]) -> Secret {
    hkdf(super::key_request::SALT, &server.0, &[b"lineage", nonce])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identity;
    use crate::crypto::test_keys::spare;

    fn link(old: &Identity, next: &Identity) -> Link {
        let signature = succession::sign(old, Whose::Server, next.public());
        Link { key: old.public().clone(), signature }
    }

    #[test]
    fn only_a_whole_chain_of_signatures_is_a_lineage() {
        let [one, two, three, other] = [0, 1, 2, 3].map(spare);
        let links = vec![link(&one, &two), link(&two, &three)];
        let lineage = Lineage::verify(links.clone(), three.public()).unwrap();
        let prints: Vec<_> = lineage.prints().collect();
        assert_eq!(prints, [&one, &two].map(|key| key.public().fingerprint()));
        assert_eq!(lineage.before(two.public()).links(), &links[..1]);
        assert_eq!(lineage.before(three.public()), lineage);
        assert!(Lineage::verify(Vec::new(), three.public()).is_some());
        // Another key at the end, at the beginning or in between, and links that are left out or swapped.
        let mut claims = link(&one, &two);
        claims.key = other.public().clone();
        for bad in [
            vec![link(&one, &two)],
            vec![link(&two, &three), link(&one, &two)],
            vec![claims, link(&two, &three)],
            vec![link(&one, &other), link(&two, &three)],
            vec![link(&one, &three), link(&two, &three)],
        ] {
            assert_eq!(Lineage::verify(bad, three.public()), None);
        }
        assert_eq!(Lineage::verify(links, other.public()), None);
        let person = succession::sign(&one, Whose::Person, two.public());
        let person = Link { key: one.public().clone(), signature: person };
        assert_eq!(Lineage::verify(vec![person], two.public()), None, "signed for another purpose");
        let many = vec![link(&one, &one); LINKS_MAX + 1];
        assert!(Lineage::verify(many[1..].to_vec(), one.public()).is_some());
        assert_eq!(Lineage::verify(many, one.public()), None);
    }

    #[test]
    fn the_lineage_is_for_those_who_know_the_fingerprint_and_proves_itself() {
        let [one, two] = [0, 1].map(spare);
        let lineage = Lineage::verify(vec![link(&one, &two)], two.public()).unwrap();
        let print = two.public().fingerprint();
        let request = ask(&print, [5; 16]);
        let sealed = answer(two.public(), &lineage, &request).unwrap();
        let read = |print: &Fingerprint, nonce, sealed: &[u8]| read_answer(print, nonce, sealed);
        assert_eq!(read(&print, [5; 16], &sealed), Some((two.public().clone(), lineage.clone())));
        assert_eq!(read(&print, [6; 16], &sealed), None);
        assert_eq!(read(&one.public().fingerprint(), [5; 16], &sealed), None);
        assert_eq!(answer(one.public(), &lineage, &request), None);
        assert_eq!(answer(two.public(), &lineage, &request[1..]), None);
        let key_request = super::super::key_request::ask(&print, [5; 16]);
        assert_eq!(answer(two.public(), &lineage, &key_request), None, "another question");
        // A thief that seals what it likes: a key that has signed nothing, and half a link.
        let seals = |plain: &[&[u8]]| {
            let plain = [&[&two.public().modulus()[..]], plain].concat().concat();
            seal(&answer_key(&print, &[5; 16]), 0, b"", &plain)
        };
        let claim = seals(&[&one.public().modulus()[..], &[7; MODULUS_BYTES]]);
        assert_eq!(read(&print, [5; 16], &claim), None);
        assert_eq!(read(&print, [5; 16], &seals(&[&one.public().modulus()[..]])), None);
        let alone = seals(&[]);
        assert_eq!(read(&print, [5; 16], &alone).unwrap().1, Lineage::default());
    }
}
