//! Files that appear whole: written beside their place and renamed into it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::FileError;
use crate::system::files;

/// Writes a new file. It appears complete under its name; an existing file is an error.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = temporary(path, bytes, mode)?;
    temporary.persist_noclobber(path).map_err(|failed| FileError::io(path)(failed.error))?;
    files::sync_folder(path).map_err(FileError::io(path))
}

/// Writes a file, atomically replacing an existing one.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = temporary(path, bytes, mode)?;
    files::put(temporary, path).map_err(FileError::io(path))
}

/// Replaces a file as `replace` does. Returns the new file, whose lock is taken before it has its
/// name.
pub fn replace_locked(path: &Path, bytes: &[u8], mode: u32) -> Result<File, FileError> {
    let temporary = temporary(path, bytes, mode)?;
    let locked = || {
        let file = temporary.as_file().try_clone()?;
        files::lock(&file)?;
        Ok(file)
    };
    let file = locked().map_err(FileError::io(path))?;
    files::put(temporary, path).map_err(FileError::io(path))?;
    Ok(file)
}

fn temporary(path: &Path, bytes: &[u8], mode: u32) -> Result<tempfile::NamedTempFile, FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".tmp");
        if let Some(permissions) = files::permissions(mode) {
            builder.permissions(permissions);
        }
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(unnamed).map_err(FileError::io(path))
}

/// Hides the name of a temporary file in an error, because users do not know it.
fn unnamed(error: io::Error) -> io::Error {
    if error.get_ref().is_some() { error.kind().into() } else { error }
}
