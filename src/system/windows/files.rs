//! Files. There are no modes: who may read one is what its folder passes on, and a person's
//! profile, where the data folder is, is for that person, the administrators and the system.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// Who may read a key, for a person.
pub const READERS: &str = "as its folder";

/// Options that make a file for its owner alone.
pub fn private() -> OpenOptions {
    OpenOptions::new()
}

/// Makes a folder, and those above it, where it is missing.
pub fn make_folder(path: &Path, _: u32) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Windows writes a folder's entries to its journal itself.
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// What a new file with this mode is made with.
pub fn permissions(_: u32) -> Option<Permissions> {
    None
}

/// Puts a file in the place of the one that may be there, and may be open: std knows how, while
/// tempfile would be denied that.
pub fn put(file: NamedTempFile, path: &Path) -> io::Result<()> {
    let temporary = file.into_temp_path().keep().map_err(|failed| failed.error)?;
    let put = match fs::rename(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            put_instead(&temporary, path)
        }
        other => other,
    };
    if put.is_err() {
        // It is of no use, and the error that counts is that it could not be put there.
        let _ = fs::remove_file(&temporary);
    }
    put
}

/// Where the file system (FAT) replaces no open file, that one is moved aside.
fn put_instead(temporary: &Path, path: &Path) -> io::Result<()> {
    let aside = temporary.with_extension("old");
    fs::rename(path, &aside)?;
    let put = fs::rename(temporary, path);
    // Either it is in the way no more, or it comes back: both errors would hide the one that
    // counts.
    let _ = if put.is_ok() { fs::remove_file(&aside) } else { fs::rename(&aside, path) };
    put
}

/// Opens a file to read it.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The mode of a file that others than its owner may use: there is none.
pub fn exposed(path: &Path) -> io::Result<Option<u32>> {
    fs::metadata(path).map(|_| None)
}

/// Tells a file from another one that is put in its place.
pub fn stamp(about: &Metadata) -> (u64, i64) {
    (about.creation_time(), about.last_write_time().cast_signed())
}

/// Waits for a file's lock, which ends with the file's being closed.
pub fn lock(file: &File) -> io::Result<()> {
    file.lock()
}

/// Whether the lock could be had at once.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
