//! The keys that this device uses on one server: a new certificate each week, and the private parts
//! of old ones until nothing that was sealed for them can wait any more. One file for each, so that
//! two clients of one person never write over each other's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::chat::{Hidden, Opaque};
use crate::crypto::certificate::{Certificate, CertificateHash, OpeningKey, SigningKey};
use crate::crypto::{Fingerprint, Identity, PublicKey, keep};
use crate::home::FileError;
use crate::home::file::{make_folder, wipe, write_new};

/// A certificate is followed by another after a week ...
const RENEWED_AFTER_S: u64 = 7 * 86_400;
/// ... and its private parts are deleted so long after it ends.
const DELETED_AFTER_S: u64 = 14 * 86_400;

#[derive(Serialize, Deserialize)]
struct Kept {
    certificate: Opaque,
    signing: Hidden,
    opening: Hidden,
}

struct Own {
    file: PathBuf,
    certificate: Certificate,
    signing: SigningKey,
}

pub struct Devices {
    /// The fingerprint of the server's first key.
    server: Fingerprint,
    dir: PathBuf,
    /// The newest last.
    own: Vec<Own>,
    opening: Vec<(CertificateHash, OpeningKey)>,
}

impl Devices {
    /// Reads what is there. What another key has made, or for another server, is of no use and
    /// stays unread.
    pub fn open(
        dir: &Path,
        server: &Fingerprint,
        openers: &[Arc<Identity>],
    ) -> Result<Devices, FileError> {
        make_folder(dir, 0o700)?;
        let dir = dir.to_owned();
        let mut devices = Devices { server: *server, dir, own: Vec::new(), opening: Vec::new() };
        devices.refresh(openers)?;
        Ok(devices)
    }

    /// Takes up what another client of this person has made since.
    pub fn refresh(&mut self, openers: &[Arc<Identity>]) -> Result<(), FileError> {
        let dir = self.dir.clone();
        for entry in fs::read_dir(&dir).map_err(FileError::io(&dir))? {
            let file = entry.map_err(FileError::io(&dir))?.path();
            if file.extension().is_some_and(|extension| extension == "key")
                && !self.own.iter().any(|own| own.file == file)
                && let Some((kept, certificate)) = read(&file, &self.server, openers)?
            {
                self.add(file, certificate, &kept);
            }
        }
        self.own.sort_by_key(|own| own.certificate.made_at());
        Ok(())
    }

    /// Whether a certificate was made here.
    pub fn has(&self, certificate: &Certificate) -> bool {
        self.own.iter().any(|own| own.certificate.hash == certificate.hash)
    }

    fn add(&mut self, file: PathBuf, certificate: Certificate, kept: &Kept) {
        let (Some(signing), Some(opening)) = (secret(&kept.signing), secret(&kept.opening)) else {
            return;
        };
        self.opening.push((certificate.hash, OpeningKey::from_bytes(&opening)));
        let signing = SigningKey::from_seed(&signing);
        self.own.push(Own { file, certificate, signing });
    }

    /// The certificate to use, made anew where the last one is a week old. It is kept for whoever
    /// holds one of `keepers`.
    pub fn renew(
        &mut self,
        identity: &Identity,
        keepers: &[PublicKey],
        now_s: u64,
    ) -> Result<(), FileError> {
        self.expire(now_s)?;
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
        let certificate = Certificate::issue(identity, &self.server, &signing, &opening, now_s);
        let hidden = |bytes: &[u8; 32]| Hidden::new(STANDARD_NO_PAD.encode(bytes));
        let kept = Kept {
            certificate: Opaque::new(certificate.bytes()).expect("a certificate has bytes"),
            signing: hidden(signing.seed()),
            opening: hidden(opening.private()),
        };
        let text = Zeroizing::new(serde_json::to_vec(&kept).expect("keys are plain JSON"));
        let keys: Vec<_> = keepers.iter().collect();
        let name: String = certificate.hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let file = self.dir.join(name).with_extension("key");
        write_new(&file, &keep::seal_for(&keys, &text), 0o600)?;
        self.add(file, certificate, &kept);
        Ok(())
    }

    /// Private parts that nobody needs any more go.
    pub fn expire(&mut self, now_s: u64) -> Result<(), FileError> {
        let over = |own: &Own| now_s > own.certificate.not_after() + DELETED_AFTER_S;
        for own in self.own.iter().filter(|own| over(own)) {
            match wipe(&own.file) {
                // Another client of this person was there first.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(FileError::io(&own.file))?,
            }
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
    file: &Path,
    server: &Fingerprint,
    openers: &[Arc<Identity>],
) -> Result<Option<(Kept, Certificate)>, FileError> {
    let sealed = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(FileError::io(file))?,
    };
    let opened = openers.iter().find_map(|opener| Some((keep::open_by(opener, &sealed)?, opener)));
    let Some((text, _)) = opened else { return Ok(None) };
    let kept: Kept =
        serde_json::from_slice(&text).map_err(|error| FileError::damaged(file, error))?;
    let made = |opener: &Arc<Identity>| {
        Certificate::verify(kept.certificate.bytes(), opener.public(), server)
    };
    let certificate = openers.iter().find_map(made);
    Ok(certificate.map(|certificate| (kept, certificate)))
}

fn secret(text: &Hidden) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.reveal()).ok()?);
    Some(Zeroizing::new(bytes[..].try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::spare;

    const DAY: u64 = 86_400;
    const SERVER: Fingerprint = Fingerprint([9; 32]);

    #[test]
    fn a_certificate_lasts_a_week_and_its_private_parts_six() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Arc::new(spare(0));
        let keepers = [identity.public().clone()];
        let open = || Devices::open(folder.path(), &SERVER, &[Arc::clone(&identity)]).unwrap();
        let files = || fs::read_dir(folder.path()).unwrap().count();
        let mut devices = open();
        assert!(devices.signing().is_none());
        devices.renew(&identity, &keepers, 100 * DAY).unwrap();
        let first = devices.signing().unwrap().0.clone();
        devices.renew(&identity, &keepers, 106 * DAY).unwrap();
        assert_eq!(devices.signing().unwrap().0, &first);
        devices.renew(&identity, &keepers, 107 * DAY).unwrap();
        assert_ne!(devices.signing().unwrap().0, &first);
        let mut devices = open();
        assert_ne!(devices.signing().unwrap().0, &first, "the newest is used after a restart");
        assert_eq!((devices.opening().len(), files()), (2, 2));
        devices.renew(&identity, &keepers, 142 * DAY).unwrap();
        assert_eq!(devices.opening().len(), 3, "the first one ended two weeks ago");
        devices.renew(&identity, &keepers, 142 * DAY + 1).unwrap();
        assert_eq!((devices.opening().len(), files()), (2, 2));
        assert!(devices.opening().iter().all(|(hash, _)| *hash != first.hash));
        // A clock that was wrong by months.
        devices.renew(&identity, &keepers, 10 * DAY).unwrap();
        assert!(devices.signing().unwrap().0.is_valid_at(10 * DAY));
        let count = files();
        for _ in 0..3 {
            let mut devices = open();
            devices.renew(&identity, &keepers, 11 * DAY).unwrap();
            assert!(devices.signing().unwrap().0.is_valid_at(11 * DAY));
        }
        assert_eq!(files(), count, "not one for each start");
    }

    #[test]
    fn two_servers_see_no_key_in_common() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Arc::new(spare(0));
        let (keepers, openers) = ([identity.public().clone()], [Arc::clone(&identity)]);
        let dir = |server: &Fingerprint| folder.path().join(server.to_url());
        let open = |server| Devices::open(&dir(server), server, &openers).unwrap();
        let other = Fingerprint([8; 32]);
        let [one, two] = [&SERVER, &other].map(|server| {
            let mut devices = open(server);
            devices.renew(&identity, &keepers, 100 * DAY).unwrap();
            devices
        });
        let seeds = |devices: &Devices| {
            let (signing, opening) = (devices.signing().unwrap().1, &devices.opening()[0].1);
            (signing.seed().clone(), opening.private().clone())
        };
        let ((sign, open_one), (other_sign, open_two)) = (seeds(&one), seeds(&two));
        assert!(sign != other_sign && open_one != open_two);
        // What lies in the wrong folder is of no use.
        let file = one.own[0].file.file_name().unwrap().to_owned();
        fs::copy(dir(&SERVER).join(&file), dir(&other).join(&file)).unwrap();
        assert_eq!(open(&other).opening().len(), 1);
    }

    #[test]
    fn two_clients_of_a_vault_open_what_is_sealed_for_either() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Arc::new(spare(0));
        let (keepers, openers) = ([identity.public().clone()], [Arc::clone(&identity)]);
        let [mut one, mut two] =
            [(); 2].map(|()| Devices::open(folder.path(), &SERVER, &openers).unwrap());
        one.renew(&identity, &keepers, 100 * DAY).unwrap();
        two.refresh(&openers).unwrap();
        two.renew(&identity, &keepers, 100 * DAY).unwrap();
        assert_eq!(one.signing().unwrap().0, two.signing().unwrap().0, "none is made anew");
        two.renew(&identity, &keepers, 107 * DAY).unwrap();
        let newest = two.signing().unwrap().0.clone();
        assert!(!one.has(&newest));
        one.refresh(&openers).unwrap();
        assert!(one.has(&newest) && one.opening().len() == 2);
        // What is over is gone for both, whoever is first.
        for client in [&mut one, &mut two] {
            client.renew(&identity, &keepers, 149 * DAY + 1).unwrap();
            client.refresh(&openers).unwrap();
        }
        assert_eq!((one.opening().len(), two.opening().len()), (1, 2));
    }

    #[test]
    fn the_files_are_of_no_use_without_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let [identity, next] = [0, 1].map(|index| Arc::new(spare(index)));
        let keepers = [identity.public().clone(), next.public().clone()];
        let mut devices = Devices::open(folder.path(), &SERVER, &[Arc::clone(&identity)]).unwrap();
        devices.renew(&identity, &keepers, 100 * DAY).unwrap();
        let other = Devices::open(folder.path(), &SERVER, &[Arc::new(spare(2))]).unwrap();
        assert!(other.signing().is_none() && other.opening().is_empty());
        // The successor has them for what was sealed before, and makes its own.
        let openers = [Arc::clone(&next), Arc::clone(&identity)];
        let mut after = Devices::open(folder.path(), &SERVER, &openers).unwrap();
        assert_eq!(after.opening().len(), 1);
        after.renew(&next, &keepers, 100 * DAY).unwrap();
        let signing = after.signing().unwrap().0.fingerprint();
        assert_eq!((signing, after.opening().len()), (next.public().fingerprint(), 2));
    }
}
