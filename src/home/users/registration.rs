//! Registers keys in users/, and removes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::folder::Folder;
use super::{Reason, SIGNATURES, Users};
use crate::chat::{DeviceName, UserName};
use crate::crypto::succession::{Succession, Whose};
use crate::crypto::{Fingerprint, PublicKey};
use crate::file::{self, FileError, json_file};

/// The reason why a key cannot be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error("{0}")]
    Refused(#[from] Reason),
    #[error("{0} has another key already")]
    Taken(UserName),
    #[error("nobody is registered as {0}")]
    Nobody(UserName),
    #[error("{0} has no device {1}")]
    NoDevice(UserName, DeviceName),
    #[error("{0} is registered already")]
    Registered(UserName),
    #[error("{0} has this name already")]
    SameName(UserName),
    #[error("there is a file for the new name already: {}", .0.display())]
    Occupied(PathBuf),
    #[error("the new key and a registered key of {0} have not both signed this line")]
    Unsigned(UserName),
    #[error("{0}")]
    File(#[from] FileError),
    #[error("cannot read users/: {0}")]
    Io(#[from] io::Error),
}

/// Returns whether `add` would register the key, and the file.
pub fn may_add(
    dir: &Path,
    key: &PublicKey,
    name: &UserName,
    device: Option<&DeviceName>,
    replace: bool,
) -> Result<PathBuf, AddError> {
    let (users, _) = Users::load(dir)?;
    users.check(key, name)?;
    let main = DeviceName::main();
    match Folder::read(dir)?.keys_of(name, Some(device.unwrap_or(&main))).next() {
        Some(_) if !replace => Err(AddError::Taken(name.clone())),
        Some(path) => Ok(path.to_owned()),
        None => Ok(key_file(dir, name, device)),
    }
}

/// Registers a key: writes `NAME.pem`, or `NAME.DEVICE.pem` for a device.
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

/// Replaces a key by its successor, which both have signed. Returns the file and the old key.
pub fn succeed(
    dir: &Path,
    key: &PublicKey,
    name: &UserName,
    succession: &Succession,
) -> Result<(PathBuf, Fingerprint), AddError> {
    let (users, _) = Users::load(dir)?;
    let signs = |old: &&PublicKey| succession.holds(old, Whose::Person, key);
    let old = users.keys_of(name).find(signs).ok_or_else(|| AddError::Unsigned(name.clone()))?;
    users.check(key, name)?;
    let path = file_of(dir, old)?.ok_or_else(|| AddError::Nobody(name.clone()))?;
    let signatures = URL_SAFE_NO_PAD.encode(succession.to_bytes());
    let text = format!("{SIGNATURES}{signatures}\n{}", key.to_pem());
    file::replace(&path, text.as_bytes(), 0o644)?;
    Ok((path, old.fingerprint()))
}

/// Removes a key.
pub fn remove_key(dir: &Path, key: &PublicKey) -> Result<(), AddError> {
    let Some(path) = file_of(dir, key)? else { return Ok(()) };
    fs::remove_file(&path).map_err(FileError::io(&path))?;
    Ok(())
}

/// Returns the file of a registered key.
fn file_of(dir: &Path, key: &PublicKey) -> Result<Option<PathBuf>, AddError> {
    for file in Folder::read(dir)?.keys {
        let holds = |text: &Zeroizing<String>| PublicKey::from_pem(text).as_ref() == Ok(key);
        // An unreadable file contains no registered key.
        if file::read_text(&file.path).ok().flatten().as_ref().is_some_and(holds) {
            return Ok(Some(file.path));
        }
    }
    Ok(None)
}

/// The file of a rename that has begun, in users/: a start of the server completes it.
const RENAMING: &str = ".renaming";

/// The names of a rename that has begun.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    old: UserName,
    new: UserName,
}

/// Renames the files of a user. A failure leaves all files as they were, unless that fails too.
///
/// # Errors
/// The new name is taken or looks like another user's, nobody has the old one, or a file cannot be
/// renamed.
pub fn rename(dir: &Path, old: &UserName, new: &UserName) -> Result<UserName, AddError> {
    finish_rename(dir)?;
    let old = may_rename(dir, old, new)?;
    let begun = dir.join(RENAMING);
    let moves = moves(dir, &old, new)?;
    json_file::save(&begun, &Begun { old: old.clone(), new: new.clone() }, 0o600)?;
    for (at, (from, to)) in moves.iter().enumerate() {
        if let Err(error) = fs::rename(from, to) {
            for (from, to) in moves[..at].iter().rev() {
                let _ = fs::rename(to, from);
            }
            let _ = fs::remove_file(&begun);
            return Err(FileError::io(from)(error).into());
        }
    }
    file::remove(&begun)?;
    Ok(old)
}

/// Completes a rename that was interrupted.
///
/// # Errors
/// A file cannot be read or renamed.
pub fn finish_rename(dir: &Path) -> Result<(), AddError> {
    let begun = dir.join(RENAMING);
    let names: Option<Begun> = json_file::load(&begun, json_file::SMALL)?;
    let Some(Begun { old, new }) = names else { return Ok(()) };
    for (from, to) in moves(dir, &old, &new)? {
        if !to.exists() {
            fs::rename(&from, &to).map_err(FileError::io(&from))?;
        }
    }
    file::remove(&begun)?;
    Ok(())
}

/// Returns the present and the new path of each file of a user.
fn moves(dir: &Path, old: &UserName, new: &UserName) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let folder = Folder::read(dir)?;
    let mut moves = Vec::new();
    for file in &folder.keys {
        let Ok((owner, device)) = &file.owner else { continue };
        if owner == old {
            let device = (!device.is_default()).then_some(device);
            moves.push((file.path.clone(), key_file(dir, new, device)));
        }
    }
    let settings = folder.settings_of(old).iter();
    moves.extend(settings.map(|path| (path.clone(), dir.join(format!("{new}.json")))));
    moves.retain(|(from, to)| from != to);
    Ok(moves)
}

/// Returns the registered spelling of `old`, if `rename` would rename the user.
///
/// # Errors
/// The same as of [`rename`].
pub fn may_rename(dir: &Path, old: &UserName, new: &UserName) -> Result<UserName, AddError> {
    let (mut users, _) = Users::load(dir)?;
    let old = users.find(old).cloned().ok_or_else(|| AddError::Nobody(old.clone()))?;
    if old.as_str() == new.as_str() {
        return Err(AddError::SameName(old));
    }
    if let Some(other) = users.find(new).filter(|other| **other != old) {
        return Err(AddError::Registered(other.clone()));
    }
    let folder = Folder::read(dir)?;
    // Settings of nobody would become those of the renamed user, and keys that are not registered
    // would be replaced.
    if old != *new
        && let Some(path) = folder
            .settings_of(new)
            .iter()
            .map(PathBuf::as_path)
            .next()
            .or_else(|| folder.keys_of(new, None).next())
    {
        return Err(AddError::Occupied(path.to_owned()));
    }
    if let Some((_, to)) = moves(dir, &old, new)?.into_iter().find(|(_, to)| to.exists()) {
        return Err(AddError::Occupied(to));
    }
    // The name may look like the user's own former one.
    let key = users.keys_of(&old).next().cloned().ok_or_else(|| AddError::Nobody(old.clone()))?;
    users.forget(&old);
    users.check(&key, new)?;
    Ok(old)
}

fn key_file(dir: &Path, name: &UserName, device: Option<&DeviceName>) -> PathBuf {
    dir.join(match device {
        Some(device) => format!("{name}.{device}.pem"),
        None => format!("{name}.pem"),
    })
}

/// Removes all keys of a user, or those of one device. With the last key, removes the user's
/// settings. Returns the removed files.
pub fn remove(
    dir: &Path,
    name: &UserName,
    device: Option<&DeviceName>,
) -> Result<Vec<PathBuf>, AddError> {
    let folder = Folder::read(dir)?;
    let mut gone: Vec<_> = folder.keys_of(name, device).map(Path::to_owned).collect();
    let keys = folder.keys_of(name, None).count();
    match device {
        _ if !gone.is_empty() => {}
        Some(device) if keys > 0 => return Err(AddError::NoDevice(name.clone(), device.clone())),
        _ => return Err(AddError::Nobody(name.clone())),
    }
    if keys == gone.len() {
        // Another user of this name starts with the defaults.
        gone.extend_from_slice(folder.settings_of(name));
    }
    gone.iter().try_for_each(|path| fs::remove_file(path).map_err(FileError::io(path)))?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::spare;

    fn user(name: &str) -> UserName {
        name.parse().unwrap()
    }

    /// Bob with two devices and settings.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let phone = "phone".parse().unwrap();
        add(folder.path(), spare(0).public(), &user("bob"), None, false).unwrap();
        add(folder.path(), spare(1).public(), &user("bob"), Some(&phone), false).unwrap();
        fs::write(folder.path().join("bob.json"), "{}").unwrap();
        folder
    }

    fn files(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_rename_replaces_no_file() {
        for name in ["robert.pem", "Robert.phone.pem", "robert.json"] {
            let folder = folder();
            fs::write(folder.path().join(name), "no key").unwrap();
            let before = files(&folder);
            let refused = rename(folder.path(), &user("bob"), &user("robert"));
            assert!(matches!(refused, Err(AddError::Occupied(_))), "{name}: {refused:?}");
            assert_eq!(files(&folder), before);
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "no key");
        }
    }

    #[test]
    fn a_rename_that_was_interrupted_is_completed() {
        let folder = folder();
        let names = Begun { old: user("bob"), new: user("robert") };
        json_file::save(&folder.path().join(RENAMING), &names, 0o600).unwrap();
        fs::rename(folder.path().join("bob.pem"), folder.path().join("robert.pem")).unwrap();
        for _ in 0..2 {
            finish_rename(folder.path()).unwrap();
            assert_eq!(files(&folder), ["robert.json", "robert.pem", "robert.phone.pem"]);
        }
        rename(folder.path(), &user("robert"), &user("Robert")).unwrap();
        assert_eq!(files(&folder), ["Robert.json", "Robert.pem", "Robert.phone.pem"]);
    }
}
