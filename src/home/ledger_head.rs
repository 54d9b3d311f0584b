//! keys/ledger.head: the number of messages that the ledger has stored, kept outside of it. A
//! ledger with fewer messages has lost some: its write-ahead log was damaged, or an older copy was
//! restored.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::file::{self, FileError};
use crate::chat::LogId;
use crate::system::files;

/// The state of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// Id of its logs.
    pub log: LogId,
    /// Number of messages ever stored.
    pub messages: u64,
}

impl LedgerHead {
    /// Reads the file; `None` if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Option<LedgerHead>, FileError> {
        let Some(text) = file::read_text(path)? else { return Ok(None) };
        let mut words = text.split_whitespace();
        let log = words.next().and_then(|word| word.parse().ok());
        let messages = words.next().and_then(|word| word.parse().ok());
        let (Some(log), Some(messages)) = (log, messages) else {
            return Err(FileError::damaged(path, "it has no log id and number of messages"));
        };
        Ok(Some(LedgerHead { log, messages }))
    }
}

/// The open file.
pub struct LedgerHeadFile {
    path: PathBuf,
    file: File,
    /// The last write failed and was logged.
    failing: bool,
}

impl LedgerHeadFile {
    /// Opens the file and writes the present state.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn open(path: PathBuf, head: LedgerHead) -> Result<LedgerHeadFile, FileError> {
        let open = files::private().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(FileError::io(&path))?;
        put(&file, head).and_then(|()| file.sync_data()).map_err(FileError::io(&path))?;
        Ok(LedgerHeadFile { path, file, failing: false })
    }

    /// Writes the state without a sync: after a power failure the ledger may be ahead of the file,
    /// never behind.
    pub fn set(&mut self, head: LedgerHead) {
        let failed = put(&self.file, head).err();
        if let Some(error) = failed.as_ref().filter(|_| !self.failing) {
            let path = self.path.display();
            log::error!("{path}: {error}: a loss of messages is not detected until this is fixed");
        }
        self.failing = failed.is_some();
    }
}

/// Overwrites the file in one write, because the text has a constant length.
fn put(file: &File, LedgerHead { log, messages }: LedgerHead) -> io::Result<()> {
    file.write_all_at(format!("{log} {messages:020}\n").as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.head");
        assert_eq!(LedgerHead::read(&path).unwrap(), None);
        let head = |messages| LedgerHead { log: LogId(7), messages };
        let mut file = LedgerHeadFile::open(path.clone(), head(u64::MAX)).unwrap();
        assert_eq!(LedgerHead::read(&path).unwrap(), Some(head(u64::MAX)));
        file.set(head(3));
        assert_eq!(LedgerHead::read(&path).unwrap(), Some(head(3)));
        std::fs::write(&path, "tea\n").unwrap();
        assert!(LedgerHead::read(&path).unwrap_err().to_string().contains("ledger.head"));
    }
}
