//! keys/ledger.head: the number of messages that the ledger has stored, kept outside of it. A
//! ledger with fewer messages has lost some: its write-ahead log was damaged, or an older copy was
//! restored. While `pychat restore` replaces the ledger, the file also has the new epoch: a start
//! then accepts either ledger.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::chat::Epoch;
use crate::file::{self, FileError};
use crate::system::files;

/// The state of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// Epoch of its logs.
    pub epoch: Epoch,
    /// Number of messages ever stored.
    pub messages: u64,
}

/// The ledgers that a start may find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerHeads {
    stored: LedgerHead,
    /// Epochs of the ledgers that restores were about to put in its place.
    restored: Vec<Epoch>,
}

impl LedgerHeads {
    /// Reads the file; `None` if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Option<LedgerHeads>, FileError> {
        let Some(text) = file::read_text(path)? else { return Ok(None) };
        let parse = || {
            let mut lines = text.lines();
            let (epoch, messages) = lines.next()?.split_once(' ')?;
            let stored =
                LedgerHead { epoch: epoch.parse().ok()?, messages: messages.parse().ok()? };
            let restored = lines.map(|line| line.strip_prefix(RESTORED)?.parse().ok());
            Some(LedgerHeads { stored, restored: restored.collect::<Option<_>>()? })
        };
        let damaged = || FileError::damaged(path, "it has no epoch and number of messages");
        parse().map(Some).ok_or_else(damaged)
    }

    /// Expects a restored ledger with this epoch, or the present ledger. Without a file, any ledger
    /// is expected.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn expect_restored(path: &Path, epoch: Epoch) -> Result<(), FileError> {
        let Some(mut heads) = Self::read(path)? else { return Ok(()) };
        heads.restored.push(epoch);
        let mut text = line(heads.stored);
        for epoch in heads.restored {
            let _ = writeln!(text, "{RESTORED}{epoch}");
        }
        file::replace(path, text.as_bytes(), 0o600)
    }

    /// Returns the head that a ledger is behind; `None` if the ledger is one of those expected.
    pub fn ahead_of(&self, ledger: LedgerHead) -> Option<LedgerHead> {
        let is_expected = self.restored.contains(&ledger.epoch)
            || (self.stored.epoch == ledger.epoch && self.stored.messages <= ledger.messages);
        (!is_expected).then_some(self.stored)
    }
}

/// Begins the line of a restored ledger.
const RESTORED: &str = "restored ";

/// The open file.
pub struct LedgerHeadFile {
    path: PathBuf,
    file: File,
    /// The last write failed and was logged.
    failing: bool,
}

impl LedgerHeadFile {
    /// Opens the file and writes the present state. Overwrites a file of the same ledger without a
    /// sync, as `set` does; replaces any other one.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn open(path: PathBuf, head: LedgerHead) -> Result<LedgerHeadFile, FileError> {
        let is_same =
            |heads: LedgerHeads| heads.restored.is_empty() && heads.stored.epoch == head.epoch;
        if !LedgerHeads::read(&path).is_ok_and(|heads| heads.is_some_and(is_same)) {
            file::replace(&path, line(head).as_bytes(), 0o600)?;
        }
        let file = files::private().write(true).open(&path).map_err(FileError::io(&path))?;
        put(&file, head).map_err(FileError::io(&path))?;
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

/// Overwrites the file in one write, because the line has a constant length.
fn put(file: &File, head: LedgerHead) -> io::Result<()> {
    file.write_all_at(line(head).as_bytes(), 0)
}

fn line(LedgerHead { epoch, messages }: LedgerHead) -> String {
    format!("{epoch} {messages:020}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.head");
        assert_eq!(LedgerHeads::read(&path).unwrap(), None);
        let head = |messages| LedgerHead { epoch: Epoch(7), messages };
        let ahead_of = |ledger| LedgerHeads::read(&path).unwrap().unwrap().ahead_of(ledger);
        let mut file = LedgerHeadFile::open(path.clone(), head(u64::MAX)).unwrap();
        assert_eq!(ahead_of(head(u64::MAX - 1)), Some(head(u64::MAX)));
        file.set(head(3));
        assert_eq!((ahead_of(head(3)), ahead_of(head(4))), (None, None));
        assert_eq!(ahead_of(head(2)), Some(head(3)));
        // The next start.
        LedgerHeadFile::open(path.clone(), head(5)).unwrap();
        assert_eq!((ahead_of(head(4)), ahead_of(head(5))), (Some(head(5)), None));
        for text in ["tea\n", "", "0000000000000007 3\ntea\n"] {
            std::fs::write(&path, text).unwrap();
            let error = LedgerHeads::read(&path).unwrap_err().to_string();
            assert!(error.contains("ledger.head"), "{error}");
        }
        LedgerHeadFile::open(path.clone(), head(6)).unwrap();
        assert_eq!((ahead_of(head(5)), ahead_of(head(6))), (Some(head(6)), None));
    }

    #[test]
    fn during_a_restore_the_old_and_the_new_ledger_are_expected_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.head");
        LedgerHeads::expect_restored(&path, Epoch(8)).unwrap();
        assert_eq!(LedgerHeads::read(&path).unwrap(), None, "nothing was expected before");
        let head = |epoch, messages| LedgerHead { epoch: Epoch(epoch), messages };
        let ahead_of = |ledger| LedgerHeads::read(&path).unwrap().unwrap().ahead_of(ledger);
        LedgerHeadFile::open(path.clone(), head(7, 5)).unwrap();
        // The second one after the first was interrupted.
        for epoch in [8, 9] {
            LedgerHeads::expect_restored(&path, Epoch(epoch)).unwrap();
        }
        for fine in [head(7, 5), head(8, 0), head(9, 0)] {
            assert_eq!(ahead_of(fine), None);
        }
        for lost in [head(7, 4), head(6, 9)] {
            assert_eq!(ahead_of(lost), Some(head(7, 5)));
        }
        LedgerHeadFile::open(path.clone(), head(9, 0)).unwrap();
        assert_eq!(ahead_of(head(7, 5)), Some(head(9, 0)));
    }
}
