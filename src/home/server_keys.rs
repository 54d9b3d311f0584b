//! The server's keys in keys/: the present one, and the former one while it is accepted
//! (docs/protocol.md, "Key rotation").

use std::fs;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Home;
use crate::crypto::lineage::{self, FORMER_KEYS_MAX, FormerKey, Lineage};
use crate::crypto::succession::{Succession, Whose};
use crate::crypto::{Fingerprint, Identity, PublicKey};
use crate::file::json_file;
use crate::file::{self, FileError};
use crate::system::files;

pub struct ServerKeys {
    pub own: Arc<Identity>,
    /// The former key, while it is accepted.
    pub former: Option<Former>,
    /// All former keys. Values that are derived from the server's identity use the first one.
    pub lineage: Lineage,
}

/// A key that has a successor.
pub struct Former {
    identity: Arc<Identity>,
    /// The signatures of both keys on the succession.
    pub succession: Succession,
    pub until_ms: i64,
}

/// `keys/server.json`, which exists after the first change of the key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The former keys, oldest first.
    lineage: Vec<FormerKeyRecord>,
    /// End of the time in which the former key is accepted.
    until_ms: i64,
}

/// A former key, and the signatures of it and of its successor, in base64url.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormerKeyRecord {
    spki: String,
    signatures: String,
}

impl FormerKeyRecord {
    fn of(link: &FormerKey) -> FormerKeyRecord {
        let spki = URL_SAFE_NO_PAD.encode(link.key.to_der());
        FormerKeyRecord { spki, signatures: URL_SAFE_NO_PAD.encode(link.succession.to_bytes()) }
    }

    fn link(&self) -> Option<FormerKey> {
        let key = URL_SAFE_NO_PAD.decode(&self.spki).ok()?;
        let signatures = URL_SAFE_NO_PAD.decode(&self.signatures).ok()?;
        let key = PublicKey::from_der(&key).ok()?;
        Some(FormerKey { key, succession: Succession::from_bytes(&signatures)? })
    }
}

/// The next key cannot be created now.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("there is no server in {0} yet")]
    NoServer(String),
    #[error("the key was changed a while ago, and the one before is accepted until {0}")]
    Underway(jiff::Timestamp),
    #[error("the key was changed {FORMER_KEYS_MAX} times: clients follow no longer chain of keys")]
    TooOften,
    #[error(transparent)]
    File(#[from] FileError),
}

/// Identifies the present key file; it differs after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStamp(u64, i64);

impl ServerKeys {
    /// The keys of a server that has never changed its key.
    pub fn first(own: Identity) -> ServerKeys {
        ServerKeys { own: Arc::new(own), former: None, lineage: Lineage::default() }
    }

    /// Returns the fingerprint of the first key.
    pub fn founding(&self) -> Fingerprint {
        self.lineage.prints().next().unwrap_or_else(|| self.own.public().fingerprint())
    }

    /// Returns the answer to a request for the lineage of an accepted key.
    pub fn answer_lineage(&self, request: &[u8], now_ms: i64) -> Option<Vec<u8>> {
        self.accepted(now_ms).find_map(|key| {
            lineage::answer(key.public(), self.lineage.before(key.public()).former_keys(), request)
        })
    }

    /// Returns the keys that clients may have pinned, newest first.
    pub fn accepted(&self, now_ms: i64) -> impl Iterator<Item = &Arc<Identity>> {
        let former = self.former.as_ref().filter(|former| now_ms < former.until_ms);
        [Some(&self.own), former.map(|former| &former.identity)].into_iter().flatten()
    }

    /// Returns whether these keys contain the successor of `old`.
    pub fn follow(&self, old: &PublicKey) -> bool {
        self.former.as_ref().is_some_and(|former| former.identity.public() == old)
    }
}

impl Home {
    /// Reads the server's keys; `None` if there are none yet.
    pub fn server_keys(&self) -> Result<Option<ServerKeys>, FileError> {
        let Some(own) = file::read_identity(&self.server_key_file(), &mut || None)? else {
            return Ok(None);
        };
        let mut keys = ServerKeys::first(own);
        let Some(record) = self.key_record()? else { return Ok(Some(keys)) };
        let path = self.key_record_file();
        let links = record.lineage.iter().map(FormerKeyRecord::link).collect::<Option<Vec<_>>>();
        let mut links = links.ok_or_else(|| FileError::damaged(&path, "a link is no key's"))?;
        // An interrupted change has left the key as it was.
        links.pop_if(|last| last.key == *keys.own.public());
        // A key that was replaced by hand has no former keys.
        keys.lineage = Lineage::verify(links, keys.own.public()).unwrap_or_default();
        if let Some(identity) = file::read_identity(&self.former_key_file(), &mut || None)?
            && let Some(last) = keys.lineage.former_keys().last()
            && last.key == *identity.public()
        {
            let (identity, succession) = (Arc::new(identity), last.succession.clone());
            keys.former = Some(Former { identity, succession, until_ms: record.until_ms });
        }
        Ok(Some(keys))
    }

    /// Creates the server's key. Never replaces one.
    pub fn make_server_key(&self) -> Result<ServerKeys, FileError> {
        let own = Identity::generate();
        file::write_new(&self.server_key_file(), own.to_pem(None).as_bytes(), 0o600)?;
        Ok(self.server_keys()?.unwrap_or_else(|| ServerKeys::first(own)))
    }

    /// Creates the server's next key, which is used from now on. Both keys sign the change, and the
    /// former key is accepted until `until_ms`. There is a `server.pem` at every moment, and an
    /// interrupted change is repeated.
    pub fn rotate_server_key(&self, now_ms: i64, until_ms: i64) -> Result<ServerKeys, RotateError> {
        let none = || RotateError::NoServer(self.dir().display().to_string());
        if !self.server_key_file().exists() {
            return Err(none());
        }
        let _turn = self.keys_turn()?;
        let keys = self.server_keys()?.ok_or_else(none)?;
        let mut links = keys.lineage.former_keys().to_vec();
        if links.len() >= FORMER_KEYS_MAX {
            return Err(RotateError::TooOften);
        }
        if let Some(former) = &keys.former {
            if now_ms < former.until_ms {
                let until = jiff::Timestamp::from_millisecond(former.until_ms).unwrap_or_default();
                return Err(RotateError::Underway(until));
            }
            self.put_former_away()?;
        }
        let (old, next) = (keys.own, Arc::new(Identity::generate()));
        let succession = Succession::sign(&old, Whose::Server, &next);
        let waiting = self.key_path("server.next.pem");
        file::replace(&waiting, next.to_pem(None).as_bytes(), 0o600)?;
        file::replace(&self.former_key_file(), old.to_pem(None).as_bytes(), 0o600)?;
        links.push(FormerKey { key: old.public().clone(), succession: succession.clone() });
        let record = Record { lineage: links.iter().map(FormerKeyRecord::of).collect(), until_ms };
        json_file::save(&self.key_record_file(), &record, 0o600)?;
        fs::rename(&waiting, self.server_key_file()).map_err(FileError::io(&waiting))?;
        let former = Some(Former { identity: old, succession, until_ms });
        let lineage = Lineage::verify(links, next.public()).expect("the keys have just signed it");
        Ok(ServerKeys { own: next, former, lineage })
    }

    /// Retires the former key after its time: it is kept as `server.retired.pem` and no longer
    /// accepted.
    pub fn retire_server_key(&self, now_ms: i64) -> Result<bool, FileError> {
        let _turn = self.keys_turn()?;
        let over = self.key_record()?.is_some_and(|record| record.until_ms <= now_ms);
        if !over || !self.former_key_file().exists() {
            return Ok(false);
        }
        self.put_former_away()?;
        Ok(true)
    }

    /// Identifies the present key file; `None` if it cannot be read.
    pub fn server_key_stamp(&self) -> Option<KeyStamp> {
        let about = fs::metadata(self.server_key_file()).ok()?;
        let (file, changed) = files::stamp(&about);
        Some(KeyStamp(file, changed))
    }

    fn put_former_away(&self) -> Result<(), FileError> {
        let former = self.former_key_file();
        fs::rename(&former, self.key_path("server.retired.pem")).map_err(FileError::io(&former))
    }

    fn key_record(&self) -> Result<Option<Record>, FileError> {
        json_file::load(&self.key_record_file(), json_file::SMALL)
    }

    /// Serialises changes of the keys, until the result is dropped.
    fn keys_turn(&self) -> Result<fs::File, FileError> {
        file::turn(&self.key_path("lock"))
    }

    fn key_record_file(&self) -> std::path::PathBuf {
        self.key_path("server.json")
    }

    fn former_key_file(&self) -> std::path::PathBuf {
        self.key_path("server.old.pem")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prints(keys: &ServerKeys, now_ms: i64) -> Vec<Fingerprint> {
        keys.accepted(now_ms).map(|key| key.public().fingerprint()).collect()
    }

    #[test]
    fn a_key_has_a_successor_for_a_while_and_the_first_one_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        assert!(matches!(home.rotate_server_key(0, 10), Err(RotateError::NoServer(_))));
        let first = home.make_server_key().unwrap().own.public().fingerprint();
        let stamp = home.server_key_stamp();
        let made = home.rotate_server_key(0, 10).unwrap();
        assert_ne!(home.server_key_stamp(), stamp);
        let second = made.own.public().fingerprint();
        let read = home.server_keys().unwrap().unwrap();
        assert_eq!(prints(&read, 9), [second, first]);
        assert_eq!(prints(&read, 10), [second]);
        assert_eq!(read.founding(), first);
        let former = read.former.as_ref().unwrap();
        let (old, new) = (former.identity.public(), read.own.public());
        assert!(former.succession.holds(old, Whose::Server, new));

        assert!(matches!(home.rotate_server_key(9, 20), Err(RotateError::Underway(_))));
        assert!(!home.retire_server_key(9).unwrap());
        assert!(home.retire_server_key(10).unwrap() && !home.retire_server_key(10).unwrap());
        assert!(home.server_keys().unwrap().unwrap().former.is_none());
        let third = home.rotate_server_key(11, 20).unwrap();
        assert_eq!(prints(&third, 11), [third.own.public().fingerprint(), second]);
        assert_eq!(third.founding(), first, "through all changes");
    }

    #[test]
    fn a_key_that_was_changed_too_often_is_not_changed_and_one_put_there_by_hand_goes_back_to_none()
    {
        use crate::crypto::test_keys::{ana, bob, spare};
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        file::replace(&home.server_key_file(), bob().to_pem(None).as_bytes(), 0o600).unwrap();
        // Two keys that have followed each other in turn; the last key before bob's is ana's.
        let link = |old: &Identity, new: &Identity| {
            let succession = Succession::sign(old, Whose::Server, new);
            FormerKey { key: old.public().clone(), succession }
        };
        let links = [link(bob(), ana()), link(ana(), bob())];
        let links = links.iter().cycle().skip(FORMER_KEYS_MAX % 2).take(FORMER_KEYS_MAX);
        let record = Record { lineage: links.map(FormerKeyRecord::of).collect(), until_ms: 0 };
        file::replace(&home.key_record_file(), &serde_json::to_vec(&record).unwrap(), 0o600)
            .unwrap();
        assert_eq!(
            home.server_keys().unwrap().unwrap().lineage.former_keys().len(),
            FORMER_KEYS_MAX
        );
        assert!(matches!(home.rotate_server_key(1, 10), Err(RotateError::TooOften)));
        let other = spare(0);
        file::replace(&home.server_key_file(), other.to_pem(None).as_bytes(), 0o600).unwrap();
        let keys = home.server_keys().unwrap().unwrap();
        assert_eq!((keys.founding(), keys.former.is_none()), (other.public().fingerprint(), true));
    }

    #[test]
    fn a_change_that_broke_off_leaves_the_key_and_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        let first = home.make_server_key().unwrap().own.public().fingerprint();
        let pem = fs::read(home.server_key_file()).unwrap();
        home.rotate_server_key(0, 10).unwrap();
        // Undoes the last step.
        file::replace(&home.server_key_file(), &pem, 0o600).unwrap();
        let read = home.server_keys().unwrap().unwrap();
        assert_eq!((prints(&read, 0), read.founding()), (vec![first], first));
        let again = home.rotate_server_key(1, 10).unwrap();
        assert_eq!(prints(&again, 1), [again.own.public().fingerprint(), first]);
    }
}
