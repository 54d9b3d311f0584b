//! Channels with a PIN (docs/protocol.md, "Channels with a PIN"): derives the channel's id and keys
//! from the PIN, and encrypts messages under them.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

use super::Fingerprint;
use super::certificate::{CERTIFICATE_BYTES, Certificate, CertificateHash, SigningKey, redacted};
use super::context::Context;
use super::header::{HEADER_BYTES, Header, Opened, Plaintext, SealError, VERSION, pad, take};
use super::identity::CROCKFORD;
use super::primitives::{Secret, hedged, hmac_sha256, open, random, seal, sha256};

/// Memory in KiB, passes and lanes of Argon2id.
const COST: (u32, u32, u32) = (64 * 1024, 3, 1);
const SIGNATURE_BYTES: usize = 64;
/// Session, count, id and salt: the fields beside the certificate that the server can read.
const HEAD_BYTES: usize = 16 + 8 + 16 + 16;
/// A header without the fields in the head.
const INNER_BYTES: usize = HEADER_BYTES - 16 - 8 - 16;

/// A PIN as a user types it; wiped when dropped.
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

/// The values that are derived from a PIN and a name: the channel's id and its key.
#[derive(Clone)]
pub struct PinChannel {
    root: Secret,
    id: [u8; 16],
    key: Secret,
}

redacted!(Pin, PinChannel);

impl Pin {
    pub fn new(text: &str) -> Pin {
        Pin(Zeroizing::new(text.nfc().collect()))
    }

    /// Returns 50 random bits: ten digits of Crockford's base32 in lower case, in two groups of
    /// five.
    pub fn generate() -> Pin {
        let bits = u64::from_be_bytes(random());
        let letter = |index: usize| CROCKFORD[(bits >> (5 * index)) as usize & 31] as char;
        let mut text: String = (0..10).map(letter).collect();
        text.make_ascii_lowercase();
        text.insert(5, '-');
        Pin(Zeroizing::new(text))
    }

    /// Returns the text, to display it to the creator of the channel.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Estimates the bits that an attacker has to guess who knows only the kinds of characters.
    pub fn bits(&self) -> u32 {
        let has = |kind: fn(&char) -> bool| self.0.chars().any(|c| kind(&c));
        let kinds = [
            (has(char::is_ascii_digit), 10.0_f64),
            (has(char::is_ascii_lowercase), 26.0),
            (has(char::is_ascii_uppercase), 26.0),
            (has(|c| !c.is_ascii_alphanumeric()), 32.0),
        ];
        let letters: f64 = kinds.iter().filter(|(has, _)| *has).map(|(_, count)| count).sum();
        (letters.max(1.0).log2() * self.0.chars().count() as f64) as u32
    }
}

impl PinChannel {
    /// Derives the keys, which takes a tenth of a second and 64 MiB. `name` is the folded name
    /// without its `#`.
    pub fn derive(pin: &Pin, server: &Fingerprint, name: &str) -> PinChannel {
        let salt = sha256(&[b"pychat/1 chan", &server.0, name.as_bytes()]);
        let (memory, passes, lanes) = COST;
        let params = Params::new(memory, passes, lanes, Some(32)).expect("legal costs");
        let mut blocks = vec![Block::default(); params.block_count()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut root: Secret = Zeroizing::new([0; 32]);
        argon2
            .hash_password_into_with_memory(
                pin.0.as_bytes(),
                &salt[..16],
                &mut root[..],
                &mut blocks,
            )
            .expect("a salt of 16 bytes and an output of 32 are legal");
        blocks.zeroize();
        PinChannel::from_root(root)
    }

    pub fn from_root(root: Secret) -> PinChannel {
        let id = *expand(&root, &[b"id"]).first_chunk().expect("32 bytes hold 16");
        let key = expand(&root, &[b"key"]);
        PinChannel { root, id, key }
    }

    /// Returns the secret from which the keys are derived.
    pub fn root(&self) -> &Secret {
        &self.root
    }

    /// Returns 26 digits of Crockford's base32 in lower case: 128 bits.
    pub fn tag(&self) -> String {
        let bits = u128::from_be_bytes(self.id);
        let letter = |index: usize| {
            let bits = if index < 25 { bits >> (123 - 5 * index) } else { bits << 2 };
            CROCKFORD[bits as usize & 31].to_ascii_lowercase() as char
        };
        (0..26).map(letter).collect()
    }

    pub fn seal(
        &self,
        plaintext: &Plaintext,
        by: (&Certificate, &SigningKey),
    ) -> Result<Vec<u8>, SealError> {
        let salt =
            hedged(&[b"pychat/1 pin", &plaintext.header.to_bytes(), plaintext.text.as_bytes()]);
        self.seal_with(plaintext, by, salt.first_chunk().expect("32 bytes hold 16"))
    }

    pub(super) fn seal_with(
        &self,
        Plaintext { context, header, text }: &Plaintext,
        (certificate, signing): (&Certificate, &SigningKey),
        salt: &[u8; 16],
    ) -> Result<Vec<u8>, SealError> {
        let (head, inner) = split(header, salt);
        let aad = self.aad(context, &certificate.hash, &head);
        let padded = pad(text).ok_or(SealError::Malformed)?;
        let signature = signing.sign(&signed(&aad, &inner, &padded));
        let plain = Zeroizing::new([&inner[..], &padded, &signature].concat());
        let sealed = seal(&self.message_key(&aad), 0, &aad, &plain);
        Ok([&[VERSION][..], certificate.bytes(), &head, &sealed].concat())
    }

    /// `certificate` is the verified one of `claimed_sender`.
    pub fn open(
        &self,
        context: &Context,
        body: &[u8],
        certificate: &Certificate,
    ) -> Result<Opened, SealError> {
        let mut rest = body;
        let version = take::<1>(&mut rest).filter(|version| *version == [VERSION]);
        version.ok_or(SealError::Malformed)?;
        let from: [u8; CERTIFICATE_BYTES] = take(&mut rest).ok_or(SealError::Malformed)?;
        let head: [u8; HEAD_BYTES] = take(&mut rest).ok_or(SealError::Malformed)?;
        if from != *certificate.bytes() {
            return Err(SealError::Forged);
        }
        let aad = self.aad(context, &certificate.hash, &head);
        let plain = open(&self.message_key(&aad), 0, &aad, rest).ok_or(SealError::Closed)?;
        let bytes = plain.len().checked_sub(SIGNATURE_BYTES).ok_or(SealError::Malformed)?;
        let (said, signature) = plain.split_at(bytes);
        let (inner, padded) = said.split_at_checked(INNER_BYTES).ok_or(SealError::Malformed)?;
        if !certificate.has_signed(&signed(&aad, inner, padded), signature) {
            return Err(SealError::Forged);
        }
        Opened::new(joined(&head, inner).ok_or(SealError::Malformed)?, padded)
    }

    fn aad(&self, context: &Context, certificate: &CertificateHash, head: &[u8]) -> Vec<u8> {
        [&b"pychat/1 pin"[..], &context.0, &self.id, certificate, head].concat()
    }

    /// Returns the key of a single message: no two messages have the same id and salt.
    fn message_key(&self, aad: &[u8]) -> Secret {
        expand(&self.key, &[b"send", &sha256(&[aad])])
    }
}

/// HKDF-Expand of RFC 5869 to 32 bytes, which is one block.
fn expand(key: &Secret, info: &[&[u8]]) -> Secret {
    let mut parts = info.to_vec();
    parts.push(&[1]);
    Zeroizing::new(hmac_sha256(&key[..], &parts))
}

/// Splits a header into the head, which the server can read, and the rest.
fn split(header: &Header, salt: &[u8; 16]) -> ([u8; HEAD_BYTES], [u8; INNER_BYTES]) {
    let bytes = header.to_bytes();
    let (id, rest) = bytes.split_at(16);
    let (before, rest) = rest.split_at(INNER_BYTES - 32);
    let (link, prev) = rest.split_at(24);
    let head = [link, id, salt].concat().try_into().expect("all parts have their lengths");
    (head, [before, prev].concat().try_into().expect("both parts have their lengths"))
}

fn joined(head: &[u8; HEAD_BYTES], inner: &[u8]) -> Option<Header> {
    let (link, rest) = head.split_at(24);
    let (before, prev) = inner.split_at(INNER_BYTES - 32);
    Header::from_bytes(&[&rest[..16], before, link, prev].concat())
}

fn signed(aad: &[u8], inner: &[u8], padded: &[u8]) -> Vec<u8> {
    [&b"pychat/1 pin sig"[..], &sha256(&[aad]), &sha256(&[inner, padded])].concat()
}

#[cfg(test)]
#[path = "pin_channel_tests.rs"]
mod tests;
