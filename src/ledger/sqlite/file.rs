//! Jobs on the file of a ledger.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::connection::{faults, open_to_read};
use super::schema::{self, version};
use super::{Sqlite, backup, blobs, export, restore, verify};
use crate::chat::{BlobId, Epoch, Message, UserName};
use crate::ledger::{BlobRow, Exported, Jobs, Ledger, LedgerError, Verified};

/// The file of a ledger, which a server may have open.
struct SqliteFile<'a>(&'a Path);

/// Returns the jobs on the file of a ledger.
pub fn jobs(path: &Path) -> impl Jobs {
    SqliteFile(path)
}

impl Jobs for SqliteFile<'_> {
    fn has_tables(&self) -> Result<bool, LedgerError> {
        // The header tells it once the log was copied into the file. The database engine takes
        // longer.
        Ok(schema::has_version(self.0) || version(&open_to_read(self.0)?, self.0)? > 0)
    }

    fn backup(&self, to: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), LedgerError> {
        backup::backup(self.0, to, progress)
    }

    fn prepare_restore(&self, from: &Path) -> Result<Epoch, LedgerError> {
        restore::prepare(from, self.0)
    }

    fn finish_restore(&self) -> Result<Option<PathBuf>, LedgerError> {
        restore::finish(self.0)
    }

    fn head(&self) -> Result<(Epoch, u64), LedgerError> {
        let ledger = Sqlite::open(self.0, 0)?;
        Ok((ledger.epoch(), ledger.stored_ever()))
    }

    fn verify(&self) -> Result<Verified, LedgerError> {
        verify::verify(self.0)
    }

    fn kept_files(&self) -> Result<Vec<(BlobId, u64)>, LedgerError> {
        let connection = open_to_read(self.0)?;
        match version(&connection, self.0)? {
            // A file of before there were files.
            ..7 => Ok(Vec::new()),
            _ => blobs::kept(&connection).map_err(faults(self.0)),
        }
    }

    fn exported_files(&self, wanted: &Exported) -> Result<Vec<BlobRow>, LedgerError> {
        let connection = export::open(self.0)?;
        blobs::exported(&connection, wanted).map_err(faults(self.0))
    }

    fn export(
        &self,
        wanted: &Exported,
        each: &mut dyn FnMut(Message) -> bool,
    ) -> Result<usize, LedgerError> {
        export::export(self.0, wanted, each)
    }

    fn erase(&self, user: &UserName) -> Result<usize, LedgerError> {
        // 0 s: this process changes no message.
        let mut ledger = Sqlite::open(self.0, 0)?;
        let messages = ledger.erase(user)?;
        match ledger.unerased() {
            0 => Ok(messages),
            left => {
                let what =
                    format!("{messages} messages of {user} were erased, and {left} could not be");
                Err(LedgerError::Damaged { path: self.0.to_owned(), what })
            }
        }
    }

    fn remove_copies(&self, age: Duration) -> Result<Vec<PathBuf>, LedgerError> {
        backup::remove_copies(self.0, age)
    }
}
