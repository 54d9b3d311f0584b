//! Files without modes: a file inherits the permissions of its folder. The data folder is in the
//! user's profile, which the user, administrators and the system can read.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::system::reserve;

/// Permissions of a key file, for display.
pub const READERS: &str = "as its folder";

/// Options that create a file for its owner only.
pub fn private() -> OpenOptions {
    OpenOptions::new()
}

/// Creates a folder and its parents if they are missing.
pub fn make_folder(path: &Path, _: u32) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Windows journals the entries of a folder itself.
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the permissions of a new file with this mode.
pub fn permissions(_: u32) -> Option<Permissions> {
    None
}

/// Replaces a file, which may be open. The standard library can do that; tempfile cannot.
pub fn put(file: NamedTempFile, path: &Path) -> io::Result<()> {
    let temporary = file.into_temp_path().keep().map_err(|failed| failed.error)?;
    let put = match fs::rename(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            put_instead(&temporary, path)
        }
        other => other,
    };
    if put.is_err() {
        // Removes the temporary file; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    put
}

/// On file systems that cannot replace an open file (FAT), renames that one first.
fn put_instead(temporary: &Path, path: &Path) -> io::Result<()> {
    let aside = temporary.with_extension("old");
    fs::rename(path, &aside)?;
    let put = fs::rename(temporary, path);
    // Removes or restores it. An error here would hide the one to report.
    let _ = if put.is_ok() { fs::remove_file(&aside) } else { fs::rename(&aside, path) };
    put
}

/// Opens a file for reading.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Returns what a path leads to that is no regular file.
pub fn irregular(about: &Metadata) -> Option<&'static str> {
    match about.is_file() {
        true => None,
        false if about.is_dir() => Some("a folder"),
        false => Some("a device"),
    }
}

/// Opens a file that another run has created, for reading and writing. `None` if there is none.
pub fn open_own(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Renames a file to a name that is not taken. `AlreadyExists` if it is.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // FAT has no links.
        Err(_) => reserve::rename(from, to),
    }
}

/// Returns whether a path leads to an open file, as far as their times say.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(own.creation_time() == there.creation_time()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns `None`, because files have no modes.
pub fn exposed(path: &Path) -> io::Result<Option<u32>> {
    fs::metadata(path).map(|_| None)
}

/// The account that owns a file has no number here.
pub fn owner(_: &Path) -> Option<u32> {
    None
}

/// Returns values that distinguish a file from a replacement of it.
pub fn stamp(about: &Metadata) -> (u64, i64) {
    (about.creation_time(), about.last_write_time().cast_signed())
}

/// Waits for a file's lock, which ends when the file is closed.
pub fn lock(file: &File) -> io::Result<()> {
    file.lock()
}

/// Tries to take a file's lock without waiting. Returns whether it succeeded.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opens a file for text, and creates it if it is missing. Returns whether it is new.
pub fn open_to_append(path: &Path) -> io::Result<(File, bool)> {
    let is_new = !path.exists();
    Ok((OpenOptions::new().append(true).create(true).open(path)?, is_new))
}
