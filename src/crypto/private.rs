//! Private messages (docs/protocol.md, "Private messages"): a signed text under a new key, which is
//! encrypted for each device of both users.

use zeroize::Zeroizing;

use super::certificate::{CERTIFICATE_BYTES, Certificate, CertificateHash, OpeningKey, SigningKey};
use super::context::Context;
use super::dhkem::Ephemeral;
use super::header::{HEADER_BYTES, Header, Opened, Plaintext, SealError, VERSION, pad, take};
use super::identity::MODULUS_BYTES;
use super::primitives::{Secret, hedged, hkdf, open, seal, sha256};
use super::{Identity, PublicKey};

const LABEL: &[u8] = b"pychat/1 pm";
const SIGNATURE_BYTES: usize = 64;
const TAG_BYTES: usize = 16;
/// RSA ciphertext, ephemeral key, sealed message key.
const WRAP_BYTES: usize = MODULUS_BYTES + 32 + 32 + TAG_BYTES;

/// Maximum number of devices for which a message can be encrypted.
pub const DEVICES_MAX: usize = 20;

/// A device of a recipient.
#[derive(Clone, Copy)]
pub enum Device<'a> {
    /// A device with a published certificate, which this key has signed.
    Certified(&'a Certificate, &'a PublicKey),
    /// A device without one: a message is as safe as this key, for as long as the key exists.
    Bare(&'a PublicKey),
}

/// The protection of a message for the device that has decrypted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    Certificate,
    RsaAlone,
}

/// The random values of one encryption.
pub(super) struct Fresh {
    pub ct: [u8; MODULUS_BYTES],
    pub r: Secret,
    pub eph: Ephemeral,
}

impl Device<'_> {
    /// The identifier of a device in a message: the hash of its certificate, or its key's
    /// fingerprint.
    fn id(&self) -> [u8; 32] {
        match self {
            Device::Certified(certificate, _) => certificate.hash,
            Device::Bare(key) => key.fingerprint().0,
        }
    }

    fn key(&self) -> &PublicKey {
        match self {
            Device::Certified(_, key) | Device::Bare(key) => key,
        }
    }
}

/// The unverified parts of a body.
pub struct Parsed<'a> {
    pub header: Header,
    from: [u8; CERTIFICATE_BYTES],
    devices: Vec<[u8; 32]>,
    /// All bytes before the wraps.
    clear: &'a [u8],
    wraps: &'a [u8],
    text: &'a [u8],
}

/// Encrypts for devices: those of the recipient, and the sender's own.
pub fn seal_to(
    plaintext: &Plaintext,
    from: (&Certificate, &SigningKey),
    devices: &[Device],
) -> Result<Vec<u8>, SealError> {
    let fresh = |key: &PublicKey| {
        let (ct, r) = key.encapsulate(LABEL);
        Fresh { ct, r, eph: Ephemeral::generate() }
    };
    let message_key =
        hedged(&[b"pychat/1 pm", &plaintext.header.to_bytes(), plaintext.text.as_bytes()]);
    seal_with(plaintext, from, devices, Zeroizing::new(message_key), fresh)
}

pub(super) fn seal_with(
    plaintext: &Plaintext,
    (from, signing): (&Certificate, &SigningKey),
    devices: &[Device],
    message_key: Secret,
    mut fresh: impl FnMut(&PublicKey) -> Fresh,
) -> Result<Vec<u8>, SealError> {
    if devices.is_empty() || devices.len() > DEVICES_MAX {
        return Err(SealError::Malformed);
    }
    let Plaintext { context, header, text } = plaintext;
    let padded = pad(text).ok_or(SealError::Malformed)?;
    let mut body = vec![VERSION];
    body.extend_from_slice(from.bytes());
    body.extend_from_slice(&header.to_bytes());
    body.push(devices.len() as u8);
    devices.iter().for_each(|device| body.extend_from_slice(&device.id()));
    let clear = body.clone();
    for device in devices {
        let Fresh { ct, r, eph } = fresh(device.key());
        let (eph, shared) = match device {
            Device::Certified(certificate, _) => {
                let shared = eph.agree(&certificate.opening());
                (*eph.public(), Some(shared.map_err(|_| SealError::Malformed)?))
            }
            Device::Bare(_) => ([0; 32], None),
        };
        let aad = [LABEL, &context.0, &clear, &ct, &eph].concat();
        body.extend_from_slice(&ct);
        body.extend_from_slice(&eph);
        let key = wrap_key(&aad, &r, shared.as_ref());
        body.extend_from_slice(&seal(&key, 0, &aad, &message_key[..]));
    }
    let hash = sha256(&[LABEL, &context.0, &body]);
    let signature = signing.sign(&signed(&hash, &padded));
    let plain = Zeroizing::new([&padded[..], &signature].concat());
    body.extend_from_slice(&seal(&message_key, 0, &hash, &plain));
    Ok(body)
}

impl Parsed<'_> {
    pub fn parse(body: &[u8]) -> Result<Parsed<'_>, SealError> {
        Parsed::take_apart(body).ok_or(SealError::Malformed)
    }

    /// Returns whether it is encrypted for a device, identified by the hash of its certificate or
    /// its key's fingerprint.
    pub fn is_for(&self, device: &[u8; 32]) -> bool {
        self.devices.contains(device)
    }

    fn take_apart(body: &[u8]) -> Option<Parsed<'_>> {
        let mut rest = body;
        if take::<1>(&mut rest)? != [VERSION] {
            return None;
        }
        let from = take(&mut rest)?;
        let header = Header::from_bytes(&take::<HEADER_BYTES>(&mut rest)?)?;
        let [count] = take(&mut rest)?;
        if count == 0 || usize::from(count) > DEVICES_MAX {
            return None;
        }
        let devices = (0..count).map(|_| take(&mut rest)).collect::<Option<_>>()?;
        let clear = &body[..body.len() - rest.len()];
        let (wraps, text) = rest.split_at_checked(usize::from(count) * WRAP_BYTES)?;
        Some(Parsed { header, from, devices, clear, wraps, text })
    }

    /// Decrypts with the key of one of this device's certificates (`own`), or with the identity
    /// alone, and verifies that `from`, the claimed certificate, has signed all of it for this
    /// context.
    pub fn open(
        &self,
        context: &Context,
        identity: &Identity,
        own: &[(CertificateHash, OpeningKey)],
        from: &Certificate,
    ) -> Result<(Opened, Under), SealError> {
        let certified = self.devices.iter().enumerate().find_map(|(index, id)| {
            let own = own.iter().find(|(hash, _)| hash == id)?;
            Some((index, Some(&own.1)))
        });
        let bare = || {
            let fingerprint = identity.public().fingerprint().0;
            Some((self.devices.iter().position(|id| *id == fingerprint)?, None))
        };
        let (index, opening) = certified.or_else(bare).ok_or(SealError::NotForMe)?;
        let mut wrap = &self.wraps[index * WRAP_BYTES..(index + 1) * WRAP_BYTES];
        let ct: [u8; MODULUS_BYTES] = take(&mut wrap).ok_or(SealError::Malformed)?;
        let eph: [u8; 32] = take(&mut wrap).ok_or(SealError::Malformed)?;
        let r = identity.decapsulate(LABEL, &ct);
        let shared = match opening {
            Some(own) => Some(own.pair().agree(&eph).map_err(|_| SealError::Closed)?),
            None => None,
        };
        let aad = [LABEL, &context.0, self.clear, &ct, &eph].concat();
        let key = wrap_key(&aad, &r, shared.as_ref());
        let key = open(&key, 0, &aad, wrap).ok_or(SealError::Closed)?;
        let key: Secret = Zeroizing::new(key[..].try_into().map_err(|_| SealError::Closed)?);
        let hash = sha256(&[LABEL, &context.0, self.clear, self.wraps]);
        let plain = open(&key, 0, &hash, self.text).ok_or(SealError::Closed)?;
        let bytes = plain.len().checked_sub(SIGNATURE_BYTES).ok_or(SealError::Malformed)?;
        let (padded, signature) = plain.split_at(bytes);
        if *from.bytes() != self.from || !from.has_signed(&signed(&hash, padded), signature) {
            return Err(SealError::Forged);
        }
        let opened = Opened::new(self.header, padded)?;
        let under = if opening.is_some() { Under::Certificate } else { Under::RsaAlone };
        Ok((opened, under))
    }
}

/// Derives the key from both secrets, or from RSA's alone under another label.
fn wrap_key(aad: &[u8], r: &Secret, shared: Option<&Secret>) -> Secret {
    let salt = sha256(&[aad]);
    match shared {
        Some(shared) => {
            let ikm = Zeroizing::new([&r[..], &shared[..]].concat());
            hkdf(&salt, &ikm, &[b"pychat/1 pm key"])
        }
        None => hkdf(&salt, &r[..], &[b"pychat/1 pm rsa key"]),
    }
}

fn signed(hash: &[u8; 32], padded: &[u8]) -> Vec<u8> {
    [&b"pychat/1 pm sig"[..], hash, &sha256(&[padded])].concat()
}

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
