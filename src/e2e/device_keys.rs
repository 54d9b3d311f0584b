//! The keys of this device on one server: a new certificate each week, and the private keys of old
//! ones until no message sealed for them can still be waiting. Each has its own file, so that two
//! clients of one user never overwrite each other's keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::storage::{Account, Storage, StorageError, Stored};
use super::trust_file::secret;
use crate::chat::{Opaque, SecretText};
use crate::crypto::certificate::{Certificate, CertificateHash, OpeningKey, SigningKey};
use crate::crypto::{Fingerprint, at_rest};

/// Age after which a certificate is replaced: one week.
const RENEWED_AFTER_S: u64 = 7 * 86_400;
/// Time from the end of a certificate to the deletion of its private keys: two weeks.
const DELETED_AFTER_S: u64 = 14 * 86_400;

#[derive(Serialize, Deserialize)]
struct StoredKey {
    certificate: Opaque,
    signing: SecretText,
    opening: SecretText,
}

struct Own {
    /// File name.
    name: String,
    certificate: Certificate,
    signing: SigningKey,
}

#[derive(Default)]
pub struct DeviceKeys {
    own: Vec<Own>,
    opening: Vec<(CertificateHash, OpeningKey)>,
    /// Names of damaged files that were reported.
    damaged: Vec<String>,
}

impl DeviceKeys {
    /// Loads key files that another client of this user has added. Files of another key or another
    /// server are of no use and are not opened.
    pub fn refresh(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
    ) -> Result<(), StorageError> {
        for name in storage.device_keys()? {
            if self.own.iter().any(|own| own.name == name) || self.damaged.contains(&name) {
                continue;
            }
            match read(&name, storage, account)? {
                Read::Key(kept, certificate) => self.add(name, *certificate, &kept),
                Read::OfOthers => {}
                Read::Damaged => {
                    let loss = "private messages that were sealed for this key cannot be opened";
                    storage.note_damage(Stored::DeviceKey(&name), loss);
                    storage.set_aside_device_key(&name);
                    self.damaged.push(name);
                }
            }
        }
        Ok(())
    }

    /// Returns whether this profile made the certificate.
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

    /// Makes a new certificate when the last is a week old, or one of a clock that was ahead. It is
    /// also sealed for the key that may take over.
    pub fn renew(
        &mut self,
        storage: &mut dyn Storage,
        account: &dyn Account,
        now_s: u64,
    ) -> Result<(), StorageError> {
        let identity = account.own();
        let print = identity.public().fingerprint();
        let is_fresh = |own: &Own| {
            let age_s = now_s.abs_diff(own.certificate.made_at());
            let is_own = own.certificate.fingerprint() == print;
            is_own && own.certificate.has_begun_at(now_s) && age_s < RENEWED_AFTER_S
        };
        if self.own.iter().any(is_fresh) {
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

    /// Deletes private keys that are no longer needed.
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

    /// The newest certificate of the key `own` that is valid, and its key for signing.
    pub fn signing(&self, own: &Fingerprint, now_s: u64) -> Option<(&Certificate, &SigningKey)> {
        let valid = self.own.iter().filter(|one| {
            one.certificate.fingerprint() == *own && one.certificate.is_valid_at(now_s)
        });
        let newest = valid.max_by_key(|one| one.certificate.made_at())?;
        Some((&newest.certificate, &newest.signing))
    }

    /// The newest certificate, whatever the time is.
    #[cfg(test)]
    pub fn newest(&self) -> Option<(&Certificate, &SigningKey)> {
        let newest = self.own.iter().max_by_key(|own| own.certificate.made_at())?;
        Some((&newest.certificate, &newest.signing))
    }

    /// The keys that open messages for this device.
    pub fn opening(&self) -> &[(CertificateHash, OpeningKey)] {
        &self.opening
    }
}

/// The content of a key file.
enum Read {
    Key(StoredKey, Box<Certificate>),
    /// The keys are for another user or server, or there is no file.
    OfOthers,
    Damaged,
}

fn read(name: &str, storage: &dyn Storage, account: &dyn Account) -> Result<Read, StorageError> {
    let Some(sealed) = storage.device_key(name)? else { return Ok(Read::OfOthers) };
    let openers = account.openers();
    let text = openers.iter().find_map(|opener| at_rest::open_by(opener, &sealed));
    let Some(text) = text else {
        let is_others =
            openers.iter().all(|opener| at_rest::is_for_others(opener.public(), &sealed));
        return Ok(if is_others { Read::OfOthers } else { Read::Damaged });
    };
    let damaged =
        |error: serde_json::Error| storage.damaged(Stored::DeviceKey(name), error.to_string());
    let kept: StoredKey = serde_json::from_slice(&text).map_err(damaged)?;
    let certificate = openers.iter().find_map(|opener| {
        Certificate::verify(kept.certificate.bytes(), opener.public(), account.founding())
    });
    Ok(certificate.map_or(Read::OfOthers, |it| Read::Key(kept, Box::new(it))))
}
