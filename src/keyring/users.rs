//! users/: one SPKI PEM for each registered key, `NAME.pem` or `NAME.DEVICE.pem`. A line before it may
//! have the signature of the key in whose place it is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Settings;
use super::file::{self, FileError};
use crate::chat::rights::Role;
use crate::chat::{DeviceName, NameError, UserName};
use crate::crypto::succession::{self, Signature, Whose};
use crate::crypto::{Fingerprint, KeyError, PublicKey};

/// Who is registered.
#[derive(Default)]
pub struct Users {
    keys: HashMap<PublicKey, (UserName, DeviceName)>,
    names: BTreeMap<UserName, Vec<PublicKey>>,
    folded: HashMap<String, UserName>,
    skeletons: HashMap<String, UserName>,
    settings: HashMap<UserName, Settings>,
    /// What each key's file says that the one before has signed. Nobody has verified it yet.
    signatures: HashMap<PublicKey, Signature>,
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
    #[error("{0}")]
    File(String),
    /// Of a person's settings: what they would have denied must not be allowed.
    #[error("the settings of {0} are unreadable ({1}): nobody gets in by this name until they are")]
    Settings(UserName, String),
    #[error("the settings of {0} are unreadable ({1}): until they are, those of before hold")]
    Kept(UserName, String),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = crate::clean::line(&self.file.display().to_string());
        write!(f, "{file} is ignored: {}", self.reason)
    }
}

impl Users {
    /// Reads users/. A file that registers nobody is reported and never stops the others. Of two
    /// files with one key, and of two names that look alike, the first in the order of names wins.
    pub fn load(dir: &Path) -> io::Result<(Users, Vec<Rejected>)> {
        Users::load_over(dir, None)
    }

    /// The same, where settings that cannot be read stay as they were in `old`.
    pub fn load_over(dir: &Path, old: Option<&Users>) -> io::Result<(Users, Vec<Rejected>)> {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
            if !hidden && path.extension().is_some_and(|extension| extension == "pem") {
                files.push(path);
            }
        }
        files.sort();
        let (mut users, mut rejected) = (Users::default(), Vec::new());
        for file in files {
            if let Err(reason) = users.read(&file) {
                rejected.push(Rejected { file, reason });
            }
        }
        rejected.extend(users.read_settings(dir, old));
        Ok((users, rejected))
    }

    fn read(&mut self, path: &Path) -> Result<(), Reason> {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let (name, device) = match stem.split_once('.') {
            Some((name, device)) => (name.parse()?, device.parse()?),
            None => (stem.parse()?, DeviceName::main()),
        };
        let text = file::read_text(path).map_err(|error| Reason::File(error.to_string()))?;
        let text = text.ok_or_else(|| Reason::File("it is gone".into()))?;
        let key = PublicKey::from_pem(&text)?;
        self.register(key.clone(), name, device)?;
        if let Some(signature) = signature_of(&text) {
            self.signatures.insert(key, signature);
        }
        Ok(())
    }

    /// Reads everybody's settings. Whose cannot be read keeps the old ones, or is not registered.
    fn read_settings(&mut self, dir: &Path, old: Option<&Users>) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            let settings = match Settings::load(dir, &name) {
                Ok(settings) => Some(settings),
                Err(error) => {
                    let before = old.and_then(|old| old.settings.get(&name)).cloned();
                    let (about, why) = (name.clone(), error.to_string());
                    let reason = match before {
                        Some(_) => Reason::Kept(about, why),
                        None => Reason::Settings(about, why),
                    };
                    rejected.push(Rejected { file: dir.join(format!("{name}.json")), reason });
                    before
                }
            };
            match settings {
                Some(settings) => {
                    self.settings.insert(name, settings);
                }
                None => self.forget(&name),
            }
        }
        rejected
    }

    fn forget(&mut self, name: &UserName) {
        self.names.remove(name);
        self.keys.retain(|_, (owner, _)| owner != name);
        self.folded.retain(|_, owner| owner != name);
        self.skeletons.retain(|_, owner| owner != name);
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
        self.folded.insert(name.as_str().to_lowercase(), name.clone());
        self.skeletons.insert(name.skeleton(), name.clone());
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
        match self.skeletons.get(&name.skeleton()) {
            Some(other) if other != name => Err(Reason::Confusable(other.clone())),
            _ => Ok(()),
        }
    }

    pub fn by_key(&self, key: &PublicKey) -> Option<(&UserName, &DeviceName)> {
        self.keys.get(key).map(|(name, device)| (name, device))
    }

    /// What the key before this one is said to have signed.
    pub fn signature(&self, key: &PublicKey) -> Option<&Signature> {
        self.signatures.get(key)
    }

    /// The registered spelling of a name, whatever its case.
    pub fn find(&self, name: &UserName) -> Option<&UserName> {
        self.folded.get(&name.as_str().to_lowercase())
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

/// Why somebody could not be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error("{0}")]
    Refused(#[from] Reason),
    #[error("{0} has another key already")]
    Taken(UserName),
    #[error("nobody is registered as {0}")]
    Nobody(UserName),
    #[error("no key that is registered for {0} has signed this one")]
    Unsigned(UserName),
    #[error("{0}")]
    File(#[from] FileError),
    #[error("cannot read users/: {0}")]
    Io(#[from] io::Error),
}

/// Whether `add` would register the key, and in which file.
pub fn may_add(
    dir: &Path,
    key: &PublicKey,
    name: &UserName,
    device: Option<&DeviceName>,
    replace: bool,
) -> Result<PathBuf, AddError> {
    let (users, _) = Users::load(dir)?;
    users.check(key, name)?;
    let path = key_file(dir, name, device);
    if !replace && path.exists() {
        return Err(AddError::Taken(name.clone()));
    }
    Ok(path)
}

/// Registers a key: writes `NAME.pem` or, for a device of its own, `NAME.DEVICE.pem`.
pub fn add(
    dir: &Path,
    key: &PublicKey,
    name: &UserName,
    device: Option<&DeviceName>,
    replace: bool,
) -> Result<PathBuf, AddError> {
    let path = may_add(dir, key, name, device, replace)?;
    let pem = key.to_pem();
    if replace {
        file::replace(&path, pem.as_bytes(), 0o644)?;
    } else {
        file::write_new(&path, pem.as_bytes(), 0o644).map_err(|error| match error {
            FileError::Exists { .. } => AddError::Taken(name.clone()),
            other => other.into(),
        })?;
    }
    Ok(path)
}

/// Before the signature in a key's file.
const SIGNED_BY: &str = "signed by the key before: ";

fn signature_of(text: &str) -> Option<Signature> {
    let line = text.lines().next()?.strip_prefix(SIGNED_BY)?;
    URL_SAFE_NO_PAD.decode(line).ok()?.try_into().ok()
}

/// Registers a key in the place of the one that has signed it; gives the file and the old key.
pub fn succeed(
    dir: &Path,
    key: &PublicKey,
    name: &UserName,
    signature: &Signature,
) -> Result<(PathBuf, Fingerprint), AddError> {
    let (users, _) = Users::load(dir)?;
    let signs = |old: &&PublicKey| succession::holds(old, Whose::Person, key, signature);
    let old = users.keys_of(name).find(signs).ok_or_else(|| AddError::Unsigned(name.clone()))?;
    users.check(key, name)?;
    let path = file_of(dir, old)?.ok_or_else(|| AddError::Nobody(name.clone()))?;
    let text = format!("{SIGNED_BY}{}\n{}", URL_SAFE_NO_PAD.encode(signature), key.to_pem());
    file::replace(&path, text.as_bytes(), 0o644)?;
    Ok((path, old.fingerprint()))
}

/// Removes one key.
pub fn remove_key(dir: &Path, key: &PublicKey) -> Result<(), AddError> {
    let Some(path) = file_of(dir, key)? else { return Ok(()) };
    fs::remove_file(&path).map_err(FileError::io(&path))?;
    Ok(())
}

/// Where a key is registered.
fn file_of(dir: &Path, key: &PublicKey) -> Result<Option<PathBuf>, AddError> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let holds = |text: &Zeroizing<String>| PublicKey::from_pem(text).as_ref() == Ok(key);
        if path.extension().is_some_and(|extension| extension == "pem")
            && file::read_text(&path)?.as_ref().is_some_and(holds)
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn key_file(dir: &Path, name: &UserName, device: Option<&DeviceName>) -> PathBuf {
    dir.join(match device {
        Some(device) => format!("{name}.{device}.pem"),
        None => format!("{name}.pem"),
    })
}

/// Removes all keys of a person, or one device's; with the last one goes what was set for them. Gives the
/// files that are gone.
pub fn remove(
    dir: &Path,
    name: &UserName,
    device: Option<&DeviceName>,
) -> Result<Vec<PathBuf>, AddError> {
    let (mut gone, mut left) = (Vec::new(), false);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let Some(stem) = file.strip_suffix(".pem") else { continue };
        let (owner, own) = stem.split_once('.').unwrap_or((stem, "main"));
        let wanted = device.is_none_or(|device| device.as_str() == own);
        if owner == name.as_str() && wanted {
            fs::remove_file(&path).map_err(FileError::io(&path))?;
            gone.push(path);
        } else {
            left |= owner == name.as_str();
        }
    }
    if !left && !gone.is_empty() {
        // Whoever has this name next begins with nothing.
        let path = dir.join(format!("{name}.json"));
        match fs::remove_file(&path) {
            Ok(()) => gone.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::io(&path)(error).into()),
        }
    }
    if gone.is_empty() { Err(AddError::Nobody(name.clone())) } else { Ok(gone) }
}

/// Notices changes in users/: at once when files come, go or are renamed, and within a second when
/// one is changed in place, unless there are thousands.
pub struct UsersWatch {
    dir: PathBuf,
    folder: Option<SystemTime>,
    files: Vec<(PathBuf, SystemTime, u64)>,
    /// The next look at every file.
    look_at: Instant,
}

/// Between two looks at every file ...
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// ... and as many times as long as the look took: it takes a hundredth of a core at most.
const LOOK_PAUSE: u32 = 100;

impl UsersWatch {
    pub fn new(dir: PathBuf) -> Self {
        let mut watch =
            UsersWatch { dir, folder: None, files: Vec::new(), look_at: Instant::now() };
        watch.folder = watch.folder_time();
        watch.files = watch.look();
        watch
    }

    /// Whether something has changed since the last time this was asked.
    pub fn changed(&mut self) -> bool {
        let folder = self.folder_time();
        if folder == self.folder && Instant::now() < self.look_at {
            return false;
        }
        let files = self.look();
        let changed = folder != self.folder || files != self.files;
        (self.folder, self.files) = (folder, files);
        changed
    }

    fn folder_time(&self) -> Option<SystemTime> {
        fs::metadata(&self.dir).and_then(|folder| folder.modified()).ok()
    }

    fn look(&mut self) -> Vec<(PathBuf, SystemTime, u64)> {
        let began = Instant::now();
        let files = self.list();
        self.look_at = Instant::now() + LOOK_EVERY.max(began.elapsed() * LOOK_PAUSE);
        files
    }

    fn list(&self) -> Vec<(PathBuf, SystemTime, u64)> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let about = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let about = entry.metadata().ok()?;
            Some((entry.path(), about.modified().ok()?, about.len()))
        };
        let mut files: Vec<_> = entries.filter_map(about).collect();
        files.sort();
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::spare;

    #[test]
    fn bad_files_are_refused_each_with_its_reason_and_the_others_load() {
        let folder = tempfile::tempdir().unwrap();
        let (alice, bob) = (spare(0), spare(1));
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("alice.pem", &alice.public().to_pem());
        put("bob.phone.pem", &bob.public().to_pem());
        put("zoe.pem", &alice.public().to_pem());
        put("Alice.laptop.pem", "not a key");
        put("carol.pem", &bob.to_pem(None));
        put("half.pem", &alice.public().to_pem()[..200]);
        put("a b.pem", &alice.public().to_pem());
        put("README.md", "no key at all");
        put("bytes.pem", "\0\0");
        fs::create_dir(folder.path().join("folder.pem")).unwrap();
        let (users, rejected) = Users::load(folder.path()).unwrap();
        assert_eq!(users.names().map(UserName::as_str).collect::<Vec<_>>(), ["alice", "bob"]);
        let (name, device) = users.by_key(bob.public()).unwrap();
        assert_eq!((name.as_str(), device.as_str()), ("bob", "phone"));
        assert_eq!(users.find(&"ALICE".parse().unwrap()).unwrap().as_str(), "alice");
        let reasons: BTreeMap<_, _> = rejected
            .iter()
            .map(|one| (one.file.file_name().unwrap().to_str().unwrap(), one.reason.to_string()))
            .collect();
        assert_eq!(reasons.len(), 7, "{reasons:?}");
        assert!(reasons["zoe.pem"].contains("registered for alice"));
        assert!(reasons["carol.pem"].contains("private key"));
        assert!(reasons["a b.pem"].contains("letters"));
        assert!(reasons["half.pem"].contains("not an RSA key"));
    }

    #[test]
    fn a_file_that_is_changed_in_place_is_noticed_within_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alice.pem");
        fs::write(&file, "one").unwrap();
        let mut watch = UsersWatch::new(folder.path().to_owned());
        assert!(!watch.changed());
        let began = Instant::now();
        fs::write(&file, "another").unwrap();
        while !watch.changed() {
            std::thread::park_timeout(Duration::from_millis(50));
            assert!(began.elapsed() < Duration::from_secs(1), "nobody has noticed");
        }
        assert!(!watch.changed());
    }

    #[test]
    fn adding_checks_and_removing_removes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (spare(0), spare(1));
        let name = |text: &str| text.parse::<UserName>().unwrap();
        let mut watch = UsersWatch::new(folder.path().to_owned());
        add(folder.path(), one.public(), &name("alice"), None, false).unwrap();
        assert!(watch.changed() && !watch.changed());
        let again = add(folder.path(), one.public(), &name("bob"), None, false);
        assert!(matches!(again, Err(AddError::Refused(Reason::DuplicateKey(_)))));
        let alike = add(folder.path(), two.public(), &name("ALICE"), None, false);
        assert!(matches!(alike, Err(AddError::Refused(Reason::Confusable(_)))));
        let taken = add(folder.path(), two.public(), &name("alice"), None, false);
        assert!(matches!(taken, Err(AddError::Taken(_))));
        let phone = "phone".parse().unwrap();
        add(folder.path(), two.public(), &name("alice"), Some(&phone), false).unwrap();
        assert_eq!(remove(folder.path(), &name("alice"), None).unwrap().len(), 2);
        let gone = remove(folder.path(), &name("alice"), None);
        assert!(matches!(gone, Err(AddError::Nobody(_))));
    }
}
