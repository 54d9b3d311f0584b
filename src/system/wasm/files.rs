//! The functions for files under the names that other systems have. A browser gives the page's
//! files to the page alone: there are no modes, and no other program to lock against.

use std::io;
use std::path::Path;

use super::disk::{self, File, Metadata, OpenOptions};

/// Options that create a file.
pub fn private() -> OpenOptions {
    OpenOptions::new()
}

/// Folders exist as soon as they have files.
pub fn make_folder(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

pub fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

pub fn open_to_read(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Returns whether a path leads to an open file, and not to another one.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    Ok(File::open(path).is_ok_and(|there| file.is_same(&there)))
}

/// Renames a file to a name that is not taken. `AlreadyExists` if it is.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match File::open(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => disk::rename(from, to),
    }
}

/// Returns values that distinguish a file from a replacement of it.
pub fn stamp(about: &Metadata) -> (u64, i64) {
    (about.node() as u64, 0)
}

/// Returns the type of a path that is not a file; always `None` here.
pub fn irregular(_about: &Metadata) -> Option<&'static str> {
    None
}

/// Opens a file that another run has created, for reading and writing. `None` if there is none.
pub fn open_own(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

pub fn exposed(_path: &Path) -> io::Result<Option<u32>> {
    Ok(None)
}

pub fn lock(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Tries to take a file's lock. Returns whether it succeeded.
pub fn try_lock(file: &File) -> io::Result<bool> {
    Ok(file.try_lock())
}
