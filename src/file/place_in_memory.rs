//! Files that appear whole, in a browser: the Worker stores all changes of a call at once.

use std::io::Write;
use std::path::Path;

use super::FileError;
use crate::system::fs::{self, File, OpenOptions};

/// Writes a new file; an existing file is an error.
pub fn write_new(path: &Path, bytes: &[u8], _mode: u32) -> Result<(), FileError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(FileError::io(path))
}

/// Writes a file, replacing an existing one.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    replace_locked(path, bytes, mode).map(drop)
}

/// Replaces a file as `replace` does. Returns the new file, which is locked.
pub fn replace_locked(path: &Path, bytes: &[u8], _mode: u32) -> Result<File, FileError> {
    let beside = path.with_added_extension("tmp");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
        file.write_all(bytes)?;
        file.try_lock();
        fs::rename(&beside, path)?;
        Ok(file)
    };
    write().map_err(FileError::io(path))
}
