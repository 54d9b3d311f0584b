//! The keys that this device uses on one server: a new certificate each week, and the private parts
//! of old ones until nothing that was sealed for them can wait any more. One file for each, so that
//! two clients of one person never write over each other's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::storage::{Account, Storage, StorageError, Stored};
use super::trust_file::secret;
use crate::chat::{Opaque, SecretText};
use crate::crypto::at_rest;
use crate::crypto::certificate::{Certificate, CertificateHash, OpeningKey, SigningKey};

/// A certificate is followed by another after a week ...
const RENEWED_AFTER_S: u64 = 7 * 86_400;
/// ... and its private parts are deleted so long after it ends.
const DELETED_AFTER_S: u64 = 14 * 86_400;

#[derive(Serialize, Deserialize)]
struct StoredKey {
    certificate: Opaque,
    signing: SecretText,
    opening: SecretText,
}

struct Own {
    /// Under which it is stored.
    name: String,
    certificate: Certificate,
    signing: SigningKey,
}

#[derive(Default)]
pub struct DeviceKeys {
    /// The newest last.
    own: Vec<Own>,
    opening: Vec<(CertificateHash, OpeningKey)>,
}

impl DeviceKeys {
    /// Takes up what another client of this person has made since. What another key has made, or
    /// for another server, is of no use and stays unread.
    pub fn refresh(
        &mut self,
        storage: &dyn Storage,
        account: &dyn Account,
    ) -> Result<(), StorageError> {
        for name in storage.device_keys()? {
            if !self.own.iter().any(|own| own.name == name)
                && let Some((kept, certificate)) = read(&name, storage, account)?
            {
                self.add(name, certificate, &kept);
            }
        }
        self.own.sort_by_key(|own| own.certificate.made_at());
        Ok(())
    }

    /// Whether a certificate was made here.
    pub fn has(&self, certificate: &Certificate) -> bool {
        self.own.iter().any(|own| own.certificate.hash == certificate.hash)
    }

    fn add(&mut self, name: String, certificate: Certificate, kept: &StoredKey) {
        let (Some(signing), Some(opening)) = (secret(&kept.signing), secret(&kept.opening)) else {
            return;
        };
        self.opening.push((certificate.hash, OpeningKey::from_bytes(&opening)));
        let signing = SigningKey::from_seed(&signing);
        self.own.push(Own { name, certificate, signing });
    }

    /// The certificate to use, made anew where the last one is a week old. It is stored for whoever
    /// holds a key that may take over.
    pub fn renew(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        now_s: u64,
    ) -> Result<(), StorageError> {
        self.expire(storage, now_s)?;
        let identity = account.own();
        let print = identity.public().fingerprint();
        let is_fresh = |own: &Own| {
            let age_s = now_s.abs_diff(own.certificate.made_at());
            own.certificate.fingerprint() == print && age_s < RENEWED_AFTER_S
        };
        // One of a clock that was wrong may stand behind it.
        if let Some(index) = self.own.iter().rposition(is_fresh) {
            let fresh = self.own.remove(index);
            self.own.push(fresh);
            return Ok(());
        }
        let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
        let certificate =
            Certificate::issue(&identity, account.founding(), &signing, &opening, now_s);
        let hidden = |bytes: &[u8; 32]| SecretText::new(STANDARD_NO_PAD.encode(bytes));
        let kept = StoredKey {
            certificate: Opaque::new(certificate.bytes()).expect("a certificate has bytes"),
            signing: hidden(signing.seed()),
            opening: hidden(opening.private()),
        };
        let text = Zeroizing::new(serde_json::to_vec(&kept).expect("keys are plain JSON"));
        let keepers = account.keepers();
        let sealed = at_rest::seal_for(&keepers.iter().collect::<Vec<_>>(), &text);
        let name: String = certificate.hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        storage.add_device_key(&name, &sealed)?;
        self.add(name, certificate, &kept);
        Ok(())
    }

    /// Private parts that nobody needs any more go.
    pub fn expire(&mut self, storage: &mut dyn Storage, now_s: u64) -> Result<(), StorageError> {
        let over = |own: &Own| now_s > own.certificate.not_after() + DELETED_AFTER_S;
        for own in self.own.iter().filter(|own| over(own)) {
            storage.remove_device_key(&own.name)?;
        }
        let gone: Vec<_> =
            self.own.iter().filter(|own| over(own)).map(|own| own.certificate.hash).collect();
        self.own.retain(|own| !over(own));
        self.opening.retain(|(hash, _)| !gone.contains(hash));
        Ok(())
    }

    /// What this device signs with.
    pub fn signing(&self) -> Option<(&Certificate, &SigningKey)> {
        self.own.last().map(|own| (&own.certificate, &own.signing))
    }

    /// What opens messages for this device.
    pub fn opening(&self) -> &[(CertificateHash, OpeningKey)] {
        &self.opening
    }
}

fn read(
    name: &str,
    storage: &dyn Storage,
    account: &dyn Account,
) -> Result<Option<(StoredKey, Certificate)>, StorageError> {
    let Some(sealed) = storage.device_key(name)? else { return Ok(None) };
    let openers = account.openers();
    let text = openers.iter().find_map(|opener| at_rest::open_by(opener, &sealed));
    let Some(text) = text else { return Ok(None) };
    let damaged =
        |error: serde_json::Error| storage.damaged(Stored::DeviceKey(name), error.to_string());
    let kept: StoredKey = serde_json::from_slice(&text).map_err(damaged)?;
    let certificate = openers.iter().find_map(|opener| {
        Certificate::verify(kept.certificate.bytes(), opener.public(), account.founding())
    });
    Ok(certificate.map(|certificate| (kept, certificate)))
}
