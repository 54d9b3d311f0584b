//! users/: one SPKI PEM for each registered key, `NAME.pem` or `NAME.DEVICE.pem`. A line before it may
//! have the signatures of the key in whose place it is, and its own.

mod folder;
mod registration;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Settings;
use super::file;
use super::seniority;
use crate::chat::look::{Alike, Looks};
use crate::chat::rights::Role;
use crate::chat::{DeviceName, NameError, UserName};
use crate::crypto::succession::Succession;
use crate::crypto::{Fingerprint, KeyError, PublicKey};
pub use folder::Folder;
use folder::{KeyFile, fold};
pub use registration::{AddError, add, may_add, remove, remove_key, succeed};
pub use watch::UsersWatch;

/// Who is registered.
#[derive(Default)]
pub struct Users {
    keys: HashMap<PublicKey, (UserName, DeviceName)>,
    names: BTreeMap<UserName, Vec<PublicKey>>,
    folded: HashMap<String, UserName>,
    looks: Looks,
    /// Names that are similar to one that was registered before.
    similar: BTreeMap<UserName, UserName>,
    settings: HashMap<UserName, Settings>,
    /// What each key's file says that it and the one before have signed. Nobody has verified it yet.
    successions: HashMap<PublicKey, Succession>,
    /// What each file had when it was read last.
    files: HashMap<PathBuf, (PublicKey, Option<Succession>)>,
}

/// A file in users/ that registers nobody, and why.
#[derive(Debug)]
pub struct Rejected {
    pub file: PathBuf,
    pub reason: Reason,
}

/// Why a key is not registered.
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
    /// Of a person's settings: what they would have denied must not be allowed.
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
    /// Reads users/. A file that registers nobody is reported and never stops the others. Of two
    /// files with one key, and of two names that look alike, the one that was registered first
    /// wins: before, if a server runs or has run here, or else the older file.
    pub fn load(dir: &Path) -> io::Result<(Users, Vec<Rejected>)> {
        Users::load_over(dir, None)
    }

    /// Reads users/ while `old` holds: a key whose file is there and cannot be read for the moment stays
    /// registered, and settings that cannot be read stay as they were.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load_over(dir: &Path, old: Option<&Users>) -> io::Result<(Users, Vec<Rejected>)> {
        let mut folder = Folder::read(dir)?;
        let (mut users, mut rejected) = (Users::default(), Vec::new());
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
        let device = |key: &PublicKey| users.keys.get(key).map(|(_, device)| device.clone());
        users.names.values_mut().for_each(|keys| keys.sort_by_cached_key(device));
        Ok((users, rejected))
    }

    fn read(&mut self, file: &KeyFile, old: Option<&Users>) -> Result<(), Reason> {
        let (name, device) = file.owner.clone()?;
        let before = || old.and_then(|old| old.files.get(&file.path)).cloned();
        let ((key, succession), is_before) = match read_key(&file.path) {
            Ok(Some(read)) => (read, false),
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

    /// Reads everybody's settings. A person whose settings cannot be read keeps the old ones, or is not
    /// registered.
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
        self.folded.retain(|_, owner| owner != name);
        self.looks.remove(name);
        self.similar.retain(|one, other| one != name && other != name);
    }

    /// What is set for a person; the defaults for who is not registered.
    pub fn settings(&self, name: &UserName) -> Settings {
        self.settings.get(name).cloned().unwrap_or_default()
    }

    pub fn role(&self, name: &UserName) -> Role {
        self.settings.get(name).map_or(Role::Member, |settings| settings.role)
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
        self.folded.insert(fold(&name), name.clone());
        self.looks.add(&name);
        self.names.entry(name.clone()).or_default().push(key.clone());
        self.keys.insert(key, (name, device));
        Ok(())
    }

    /// The registered key of a fingerprint, and whose it is.
    pub fn by_print(&self, print: &Fingerprint) -> Option<(&PublicKey, &UserName)> {
        let found = self.keys.iter().find(|(key, _)| key.fingerprint() == *print)?;
        Some((found.0, &found.1.0))
    }

    /// Whether this key may be registered for this name.
    pub fn check(&self, key: &PublicKey, name: &UserName) -> Result<(), Reason> {
        if let Some((owner, _)) = self.keys.get(key) {
            return Err(Reason::DuplicateKey(owner.clone()));
        }
        match self.looks.alike(name) {
            Some(Alike::Person(other)) => Err(Reason::Confusable(other)),
            Some(Alike::Word(word)) => Err(Reason::Word(word)),
            None => Ok(()),
        }
    }

    /// Who is registered under a name that is similar to this one: both may be people's own.
    pub fn similar_to(&self, name: &UserName) -> Option<&UserName> {
        self.looks.similar(name).filter(|_| !self.names.contains_key(name))
    }

    /// What the operator should know of names that are similar.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.similar.iter().map(|(name, other)| similar(name, other))
    }

    pub fn by_key(&self, key: &PublicKey) -> Option<(&UserName, &DeviceName)> {
        self.keys.get(key).map(|(name, device)| (name, device))
    }

    /// What this key and the one before it are said to have signed.
    pub fn succession(&self, key: &PublicKey) -> Option<&Succession> {
        self.successions.get(key)
    }

    /// The registered spelling of a name, whatever its case.
    pub fn find(&self, name: &UserName) -> Option<&UserName> {
        self.folded.get(&fold(name))
    }

    /// Everybody, in the order of names.
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

/// The warning about a name that is similar to a registered one.
pub fn similar(name: &UserName, other: &UserName) -> String {
    format!(
        "the name {name} is similar to {other}, who is registered too: one may be taken for the other"
    )
}

/// The key in a file, and what it says that both keys have signed; none where the file is gone.
fn read_key(path: &Path) -> Result<Option<(PublicKey, Option<Succession>)>, Reason> {
    let text = file::read_text(path).map_err(|error| Reason::File(error.to_string()))?;
    let Some(text) = text else { return Ok(None) };
    Ok(Some((PublicKey::from_pem(&text)?, succession_of(&text))))
}

/// Before the signatures in a key's file.
const SIGNATURES: &str = "signatures of the key before and of this one: ";

/// The signatures in a key's file, if there are any.
fn succession_of(text: &str) -> Option<Succession> {
    let line = text.lines().next()?.strip_prefix(SIGNATURES)?;
    Succession::from_bytes(&URL_SAFE_NO_PAD.decode(line).ok()?)
}
