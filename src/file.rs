//! Files with keys: written completely or not at all, readable by their owner only.

pub mod json_file;
#[cfg(not(target_family = "wasm"))]
mod place;
#[cfg(target_family = "wasm")]
#[path = "file/place_in_memory.rs"]
mod place;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::{Identity, KeyError};
use crate::system::files;
use crate::system::fs::{self, File, OpenOptions};
pub use place::{replace, replace_locked, write_new};

/// Bound on key files, which are much smaller.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// An error of a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Key { path: PathBuf, error: KeyError },
    /// Others may read a private key; the hint is the chmod command that corrects it.
    #[error("{} may be read by others (mode {mode:o})", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} exists already and is not replaced", path.display())]
    Exists { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
}

impl FileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists { path },
            _ => FileError::Io { path, error },
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl ToString) -> FileError {
        FileError::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Creates a folder and its parents if they are missing.
pub fn make_folder(path: &Path, mode: u32) -> Result<(), FileError> {
    files::make_folder(path, mode).map_err(FileError::io(path))
}

/// Removes a file if it exists.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Overwrites a file before it is removed.
pub fn wipe(path: &Path) -> io::Result<()> {
    overwrite(&mut OpenOptions::new().write(true).open(path)?)?;
    fs::remove_file(path)
}

/// Overwrites all bytes of a file with zeros.
pub fn overwrite(file: &mut File) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut io::repeat(0).take(file.metadata()?.len()), file)?;
    file.sync_data()
}

/// Serialises programs that change a file: takes a lock that is held until the result is dropped.
pub fn turn(path: &Path) -> Result<File, FileError> {
    let open = files::private().write(true).create(true).truncate(false).open(path);
    let file = open.map_err(FileError::io(path))?;
    files::lock(&file).map_err(FileError::io(path))?;
    Ok(file)
}

/// Reads a key file or another small text; `None` if it does not exist.
pub fn read_text(path: &Path) -> Result<Option<Zeroizing<String>>, FileError> {
    read_text_up_to(path, FILE_BYTES_MAX)
}

/// Reads a text file up to a bound; `None` if it does not exist.
pub fn read_text_up_to(
    path: &Path,
    bytes_max: u64,
) -> Result<Option<Zeroizing<String>>, FileError> {
    let file = match files::open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::io(path)(error)),
    };
    read_open(path, &file, bytes_max).map(Some)
}

/// Reads a file up to a bound; `None` if it does not exist. A pipe at its path is an error.
///
/// # Errors
/// The file is larger, is no file, or cannot be read.
pub fn read_bytes_up_to(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match files::open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::io(path)(error)),
    };
    if !file.metadata().map_err(FileError::io(path))?.is_file() {
        return Err(FileError::damaged(path, "it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(FileError::io(path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(FileError::damaged(path, format!("it is larger than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

/// The byte order mark of UTF-8, which some editors on Windows write before a text.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Returns a text without the byte order mark that some editors write before it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

fn read_open(path: &Path, file: &File, bytes_max: u64) -> Result<Zeroizing<String>, FileError> {
    let mut text = Zeroizing::new(String::new());
    let bytes = file.take(bytes_max + 1).read_to_string(&mut text);
    let bytes = bytes.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => FileError::damaged(path, "it is not text"),
        io::ErrorKind::IsADirectory => FileError::damaged(path, "it is a folder"),
        _ => FileError::io(path)(error),
    })?;
    if bytes as u64 > bytes_max {
        return Err(FileError::damaged(path, format!("it is larger than {bytes_max} bytes")));
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// Reads a private key that only its owner may read. Calls `ask` for the passphrase of an encrypted
/// key. `None` if the file does not exist.
pub fn read_identity(
    path: &Path,
    ask: &mut dyn FnMut() -> Option<Zeroizing<String>>,
) -> Result<Option<Identity>, FileError> {
    if cfg!(target_family = "wasm") {
        // The browser holds the key: nothing that reads a private key is a part of the program.
        return Ok(None);
    }
    let Some(pem) = read_text(path)? else { return Ok(None) };
    if let Some(mode) = files::exposed(path).map_err(FileError::io(path))? {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    let identity = match Identity::from_pem(&pem, None) {
        Err(KeyError::Locked) => {
            let passphrase = ask();
            Identity::from_pem(&pem, passphrase.as_ref().map(|text| text.as_str()))
        }
        other => other,
    };
    identity.map(Some).map_err(|error| FileError::Key { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pipe_a_folder_and_a_larger_file_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        assert_eq!(read_bytes_up_to(&path, 4).unwrap(), None);
        fs::write(&path, [0xff; 4]).unwrap();
        assert_eq!(read_bytes_up_to(&path, 4).unwrap().unwrap(), [0xff; 4]);
        assert!(read_bytes_up_to(&path, 3).is_err());
        assert!(read_bytes_up_to(folder.path(), 4).is_err());
        #[cfg(target_os = "linux")]
        {
            let pipe = folder.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
            assert!(made.success());
            assert!(read_bytes_up_to(&pipe, 4).is_err());
        }
    }

    #[test]
    fn a_new_file_never_replaces_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_new(&path, b"one", 0o600).unwrap();
        assert!(matches!(write_new(&path, b"two", 0o600), Err(FileError::Exists { .. })));
        assert_eq!(read_text(&path).unwrap().unwrap().as_str(), "one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no leftovers");
        assert!(read_text(&folder.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_new(&path, b"half a key", 0o644).unwrap();
        let refused = read_identity(&path, &mut || None);
        assert!(matches!(refused, Err(FileError::Exposed { mode: 0o644, .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let refused = read_identity(&path, &mut || None);
        assert!(matches!(refused, Err(FileError::Key { error: KeyError::Malformed(_), .. })));
    }
}
