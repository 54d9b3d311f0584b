//! Jobs on the file of a ledger.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Sqlite, backup, verify};
use crate::chat::{LogId, UserName};
use crate::ledger::{Jobs, Ledger, LedgerError, Verified};

/// The file of a ledger, which a server may have open.
struct SqliteFile<'a>(&'a Path);

/// Returns the jobs on the file of a ledger.
pub fn jobs(path: &Path) -> impl Jobs {
    SqliteFile(path)
}

impl Jobs for SqliteFile<'_> {
    fn backup(&self, to: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), LedgerError> {
        backup::backup(self.0, to, progress)
    }

    fn restore(&self, from: &Path) -> Result<Option<PathBuf>, LedgerError> {
        backup::restore(from, self.0)
    }

    fn head(&self) -> Result<(LogId, u64), LedgerError> {
        let ledger = Sqlite::open(self.0, 0)?;
        Ok((ledger.log_id(), ledger.stored_ever()))
    }

    fn verify(&self) -> Result<Verified, LedgerError> {
        verify::verify(self.0)
    }

    fn erase(&self, user: &UserName) -> Result<usize, LedgerError> {
        // 0 s: this process changes no message.
        Sqlite::open(self.0, 0)?.erase(user)
    }

    fn remove_copies(&self, age: Duration) -> Result<Vec<PathBuf>, LedgerError> {
        backup::remove_copies(self.0, age)
    }
}
