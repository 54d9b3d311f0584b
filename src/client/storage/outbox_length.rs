//! The length up to which an outbox is certainly on disk, in a file beside it. Entries that are
//! missing before this length were lost. An incomplete entry after it was never reported as stored.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::at_rest;
use crate::file::replace;
use crate::system::files;
use crate::system::fs::File;

/// Length of the encrypted file, in bytes: salt, two numbers, tag.
const LOCKED_BYTES: usize = 32 + 16 + 16;

/// The synced part of an outbox.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Synced {
    /// Length of its lines, in bytes.
    pub bytes: u64,
    /// Count of the lines that add a message.
    pub adds: u64,
}

impl Synced {
    fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.bytes) << 64 | u128::from(self.adds)).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Synced {
        let both = u128::from_be_bytes(bytes);
        Synced { bytes: (both >> 64) as u64, adds: both as u64 }
    }
}

/// The file. It is written in place, so that it can be corrected on a full disk.
pub struct LengthFile {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
    /// `None` until something is synced.
    file: Option<File>,
    /// The content of the file; zeros if there is none.
    synced: Synced,
}

impl LengthFile {
    /// Opens the file, if there is one. Returns its damage, for the user.
    pub fn open(path: PathBuf, key: &Zeroizing<[u8; 32]>) -> (LengthFile, Option<String>) {
        let (file, damage) = match read(&path, key) {
            Ok(Some((file, synced))) => (Some((file, synced)), None),
            Ok(None) => (None, None),
            Err(error) => {
                let unknown = "it is unknown whether unsent messages are missing";
                (None, Some(format!("{}: {error}: {unknown}", path.display())))
            }
        };
        let (file, synced) = file.unzip();
        let synced = synced.unwrap_or_default();
        (LengthFile { path, key: key.clone(), file, synced }, damage)
    }

    /// Returns the part that is certainly on disk; zeros if the file is missing or damaged.
    pub fn synced(&self) -> Synced {
        self.synced
    }

    /// Stores the length that was synced. A loss of power may undo this; damage of the last entries
    /// is then not detected.
    pub fn raise(&mut self, synced: Synced) {
        if synced != self.synced && self.write(synced).is_ok() {
            self.synced = synced;
        }
    }

    /// Replaces a damaged file, whose damage was returned: the next start does not report it again.
    /// A full disk leaves it as it is.
    pub fn replace_damaged(&mut self, synced: Synced) {
        if self.write(synced).is_ok() {
            self.synced = synced;
        }
    }

    /// Stores a smaller length, before the outbox is shortened or replaced: the next start would
    /// report damage for a length that is no longer true.
    ///
    /// # Errors
    /// The file cannot be written or synced; the outbox must not become shorter.
    pub fn lower(&mut self, synced: Synced) -> io::Result<()> {
        if self.synced.bytes <= synced.bytes {
            return Ok(());
        }
        self.write(synced)?;
        if let Some(file) = &self.file {
            file.sync_data()?;
        }
        self.synced = synced;
        Ok(())
    }

    /// Lets each write fail, as on a damaged disk.
    #[cfg(test)]
    pub fn refuses(&mut self, refuses: bool) {
        let mut options = files::private();
        options.read(true).write(!refuses);
        self.file = Some(options.open(&self.path).unwrap());
    }

    fn write(&mut self, synced: Synced) -> io::Result<()> {
        let locked = at_rest::lock(&self.key, &synced.to_bytes());
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(0))?;
            return file.write_all(&locked);
        }
        replace(&self.path, &locked, 0o600).map_err(io::Error::other)?;
        self.file = Some(opened(&self.path)?);
        Ok(())
    }
}

fn opened(path: &Path) -> io::Result<File> {
    files::private().read(true).write(true).open(path)
}

/// Opens and decrypts a file.
fn read(path: &Path, key: &[u8; 32]) -> io::Result<Option<(File, Synced)>> {
    let mut file = match opened(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut locked = Vec::new();
    Read::by_ref(&mut file).take(LOCKED_BYTES as u64 + 1).read_to_end(&mut locked)?;
    let plain = at_rest::unlock(key, &locked).and_then(|plain| plain[..].try_into().ok());
    let plain = plain.ok_or_else(|| io::Error::other("it is damaged"))?;
    Ok(Some((file, Synced::from_bytes(plain))))
}
