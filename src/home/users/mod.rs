//! users/: one SPKI PEM for each registered key, `NAME.pem` or `NAME.DEVICE.pem`. A line before the
//! PEM may contain the signatures of the former and the new key.

mod folder;
mod registration;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Settings;
use super::seniority;
use crate::chat::look::{Alike, Looks};
use crate::chat::rights::Role;
use crate::chat::{DeviceName, NameError, UserName};
use crate::crypto::succession::Succession;
use crate::crypto::{Fingerprint, KeyError, PublicKey};
use crate::file;
use crate::sync::{Mutex, Rank};
pub use folder::Folder;
use folder::KeyFile;
pub use registration::{
    AddError, add, finish_rename, may_add, may_rename, remove, remove_key, rename, succeed,
};
pub use watch::UsersWatch;

/// The registered users.
#[derive(Default)]
pub struct Users {
    keys: HashMap<PublicKey, (UserName, DeviceName)>,
    names: BTreeMap<UserName, Vec<PublicKey>>,
    looks: Looks,
    /// Names that are similar to a name that was registered before.
    similar: BTreeMap<UserName, UserName>,
    settings: HashMap<UserName, Settings>,
    /// The succession that each key file claims. Not verified yet.
    successions: HashMap<PublicKey, Succession>,
    /// The content of each file at the last read.
    files: HashMap<PathBuf, (PublicKey, Option<Succession>)>,
    demoted: Demoted,
}

/// Moderators who are members already, before their files say so. Shared with later readings of the
/// folder, which drop those whose files do not say moderator any more.
#[derive(Clone)]
struct Demoted(Arc<Mutex<BTreeSet<UserName>>>);

impl Default for Demoted {
    fn default() -> Self {
        Demoted(Arc::new(Mutex::new(Rank::Demoted, BTreeSet::new())))
    }
}

/// A file in users/ that registers nobody, and the reason.
#[derive(Debug)]
pub struct Rejected {
    pub file: PathBuf,
    pub reason: Reason,
}

/// The reason why a key is not registered.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("the file's name is no NAME.pem or NAME.DEVICE.pem: {0}")]
    Name(#[from] NameError),
    #[error("the same key is registered for {0} already")]
    DuplicateKey(UserName),
    #[error("the name looks like {0}, who is registered already")]
    Confusable(UserName),
    #[error("the name looks like {0:?}, a word that names no person: choose another name")]
    Word(&'static str),
    #[error("{0}")]
    File(String),
    #[error(
        "it holds no key now: the one of before stays registered for {0} until the file is gone or is right"
    )]
    KeptKey(UserName),
    /// Unreadable settings could have denied access, so that the user is not admitted.
    #[error("the settings of {0} are unreadable ({1}): nobody gets in by this name until they are")]
    Settings(UserName, String),
    #[error("the settings of {0} are unreadable ({1}): until they are, those of before hold")]
    Kept(UserName, String),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = crate::clean::line(&self.file.display().to_string());
        match self.reason {
            Reason::Kept(..) | Reason::KeptKey(..) => write!(f, "{file}: {}", self.reason),
            _ => write!(f, "{file} is ignored: {}", self.reason),
        }
    }
}

impl Users {
    /// Reads users/. A file that registers nobody is reported and does not affect others. Of two
    /// files with one key, and of two names that look alike, the one that was registered before (if
    /// a server runs or has run here) or the older file wins.
    pub fn load(dir: &Path) -> io::Result<(Users, Vec<Rejected>)> {
        Users::load_over(dir, None)
    }

    /// Reads users/ with the present users `old`. A key whose file exists and is unreadable for the
    /// moment stays registered, and unreadable settings stay as they were.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load_over(dir: &Path, old: Option<&Users>) -> io::Result<(Users, Vec<Rejected>)> {
        let mut folder = Folder::read(dir)?;
        let (mut users, mut rejected) = (Users::default(), Vec::new());
        users.demoted = old.map(|old| old.demoted.clone()).unwrap_or_default();
        let before = match old {
            Some(old) => old.names.keys().cloned().collect(),
            None => dir.parent().map(seniority::registered).unwrap_or_default(),
        };
        folder.keys.sort_by_cached_key(|file| {
            let before = file.owner.as_ref().is_ok_and(|(name, _)| before.contains(name));
            let changed = std::fs::metadata(&file.path).and_then(|about| about.modified());
            (!before, changed.ok())
        });
        for file in &folder.keys {
            if let Err(reason) = users.read(file, old) {
                rejected.push(Rejected { file: file.path.clone(), reason });
            }
        }
        rejected.extend(users.read_settings(&folder, old));
        users.demoted.0.lock().retain(|name| users.role_on_disk(name) == Role::Moderator);
        let device = |key: &PublicKey| users.keys.get(key).map(|(_, device)| device.clone());
        users.names.values_mut().for_each(|keys| keys.sort_by_cached_key(device));
        Ok((users, rejected))
    }

    /// Returns the key files of the last reading that are not in the folder any more, with their
    /// keys. An unreadable folder has all of them.
    pub fn missing(&self, dir: &Path) -> Vec<(&PathBuf, &PublicKey)> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let Ok(there) = entries.map(|entry| entry.map(|entry| entry.path())).collect() else {
            return Vec::new();
        };
        let there: HashSet<PathBuf> = there;
        let files = self.files.iter().filter(|(file, _)| !there.contains(*file));
        files.map(|(file, (key, _))| (file, key)).collect()
    }

    fn read(&mut self, file: &KeyFile, old: Option<&Users>) -> Result<(), Reason> {
        let (name, device) = file.owner.clone()?;
        let before = || old.and_then(|old| old.files.get(&file.path)).cloned();
        let ((key, succession), is_before) = match read_key(&file.path) {
            Ok(Some(read)) => (read, false),
            // The name is there: the file that it leads to may be back in a moment.
            Ok(None) if file.path.is_symlink() => {
                (before().ok_or_else(|| Reason::File("it leads to no file".into()))?, true)
            }
            Ok(None) => return Err(Reason::File("it is gone".into())),
            Err(reason) => (before().ok_or(reason)?, true),
        };
        self.register(key.clone(), name.clone(), device)?;
        if let Some(succession) = &succession {
            self.successions.insert(key.clone(), succession.clone());
        }
        self.files.insert(file.path.clone(), (key, succession));
        if is_before { Err(Reason::KeptKey(name)) } else { Ok(()) }
    }

    /// Reads the settings of all users. A user whose settings are unreadable keeps the old ones, or
    /// is not registered.
    fn read_settings(&mut self, folder: &Folder, old: Option<&Users>) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            let files = folder.settings_of(&name);
            let (read, file) = match files {
                [] => (Ok(Settings::default()), None),
                [file] => (Settings::read(file).map_err(|error| error.to_string()), Some(file)),
                [file, other, ..] => {
                    let other = other.file_name().unwrap_or_default().display();
                    (Err(format!("{other} is of the same person")), Some(file))
                }
            };
            let settings = read.or_else(|why| {
                let before = old.and_then(|old| old.settings.get(&name)).cloned();
                let about = name.clone();
                let reason = match before {
                    Some(_) => Reason::Kept(about, why),
                    None => Reason::Settings(about, why),
                };
                let file = file.cloned().unwrap_or_default();
                rejected.push(Rejected { file, reason });
                before.ok_or(())
            });
            match settings {
                Ok(settings) => {
                    self.settings.insert(name, settings);
                }
                Err(()) => self.forget(&name),
            }
        }
        rejected
    }

    fn forget(&mut self, name: &UserName) {
        self.names.remove(name);
        self.keys.retain(|_, (owner, _)| owner != name);
        self.looks.remove(name);
        self.similar.retain(|one, other| one != name && other != name);
    }

    /// Returns a user's settings; the defaults for an unregistered user.
    pub fn settings(&self, name: &UserName) -> Settings {
        self.settings.get(name).cloned().unwrap_or_default()
    }

    pub fn role(&self, name: &UserName) -> Role {
        match self.role_on_disk(name) {
            Role::Moderator if self.demoted.0.lock().contains(name) => Role::Member,
            role => role,
        }
    }

    /// Whether a user is a member until `users/` is read again: neither an operator nor one whose
    /// demotion can be taken back.
    pub fn is_plain_member(&self, name: &UserName) -> bool {
        self.role_on_disk(name) == Role::Member
    }

    fn role_on_disk(&self, name: &UserName) -> Role {
        self.settings.get(name).map_or(Role::Member, |settings| settings.role)
    }

    /// Makes a moderator a member at once, until the file says so, or this process ends.
    pub fn demote(&self, name: &UserName) {
        self.demoted.0.lock().insert(name.clone());
    }

    /// Takes back a demotion.
    pub fn promote(&self, name: &UserName) {
        self.demoted.0.lock().remove(name);
    }

    pub fn owners(&self) -> impl Iterator<Item = &UserName> {
        self.names.keys().filter(|name| self.role(name) == Role::Owner)
    }

    fn register(
        &mut self,
        key: PublicKey,
        name: UserName,
        device: DeviceName,
    ) -> Result<(), Reason> {
        self.check(&key, &name)?;
        if let Some(other) = self.similar_to(&name) {
            self.similar.insert(name.clone(), other.clone());
        }
        self.looks.add(&name);
        self.names.entry(name.clone()).or_default().push(key.clone());
        self.keys.insert(key, (name, device));
        Ok(())
    }

    /// Returns the registered key of a fingerprint, and its user and device.
    pub fn by_print(&self, print: &Fingerprint) -> Option<(&PublicKey, &UserName)> {
        let found = self.keys.iter().find(|(key, _)| key.fingerprint() == *print)?;
        Some((found.0, &found.1.0))
    }

    /// Returns whether this key may be registered for this name.
    pub fn check(&self, key: &PublicKey, name: &UserName) -> Result<(), Reason> {
        if let Some((owner, _)) = self.keys.get(key) {
            return Err(Reason::DuplicateKey(owner.clone()));
        }
        // The audit trail has one spelling of each user.
        if let Some(other) = self.find(name).filter(|other| other.as_str() != name.as_str()) {
            return Err(Reason::Confusable(other.clone()));
        }
        match self.looks.alike(name) {
            Some(Alike::Person(other)) => Err(Reason::Confusable(other)),
            Some(Alike::Word(word)) => Err(Reason::Word(word)),
            None => Ok(()),
        }
    }

    /// Returns a registered name that is similar to this one. Both may be legitimate.
    pub fn similar_to(&self, name: &UserName) -> Option<&UserName> {
        self.looks.similar(name).filter(|_| !self.names.contains_key(name))
    }

    /// Returns the warnings for the operator about similar names.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.similar.iter().map(|(name, other)| similar(name, other))
    }

    pub fn by_key(&self, key: &PublicKey) -> Option<(&UserName, &DeviceName)> {
        self.keys.get(key).map(|(name, device)| (name, device))
    }

    /// Returns the signatures that this key's file contains.
    pub fn succession(&self, key: &PublicKey) -> Option<&Succession> {
        self.successions.get(key)
    }

    /// Returns the registered spelling of a name.
    pub fn find(&self, name: &UserName) -> Option<&UserName> {
        self.names.get_key_value(name).map(|(name, _)| name)
    }

    /// Returns all names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &UserName> {
        self.names.keys()
    }

    pub fn keys_of(&self, name: &UserName) -> impl Iterator<Item = &PublicKey> {
        self.names.get(name).into_iter().flatten()
    }

    pub fn keys(&self) -> impl Iterator<Item = (&PublicKey, &UserName)> {
        self.keys.iter().map(|(key, (name, _))| (key, name))
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Returns the warning about a name that is similar to a registered one.
pub fn similar(name: &UserName, other: &UserName) -> String {
    format!(
        "the name {name} is similar to {other}, who is registered too: one may be taken for the other"
    )
}

/// Reads the key and the signatures in a file; `None` if the file does not exist.
fn read_key(path: &Path) -> Result<Option<(PublicKey, Option<Succession>)>, Reason> {
    let text = file::read_text(path).map_err(|error| Reason::File(error.to_string()))?;
    let Some(text) = text else { return Ok(None) };
    Ok(Some((PublicKey::from_pem(&text)?, succession_of(&text))))
}

/// The text before the signatures in a key file.
const SIGNATURES: &str = "signatures of the key before and of this one: ";

/// Parses the signatures in a key file.
fn succession_of(text: &str) -> Option<Succession> {
    let line = text.lines().next()?.strip_prefix(SIGNATURES)?;
    Succession::from_bytes(&URL_SAFE_NO_PAD.decode(line).ok()?)
}
