//! Registers keys in users/, and removes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::folder::Folder;
use super::{Reason, SIGNATURES, Users};
use crate::chat::{DeviceName, UserName};
use crate::crypto::succession::{Succession, Whose};
use crate::crypto::{Fingerprint, PublicKey};
use crate::file::{self, FileError};

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
