//! Replaces a damaged index of words. Everything in it comes from the messages, so that nothing is
//! lost: they are indexed again in parts (`fresh.rs`).

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ffi};

use super::erase::note_removal;
use super::fresh::Fresh;
use super::rows::is_page_damaged;
use super::schema::EMPTY_WORDS;
use crate::chat::words;
use crate::ledger::LedgerError;

/// In place of the versions of Unicode: the pages of the former index are still in the file.
pub(super) const UNFINISHED: &str = "unfinished";

/// Reads all pages of the index.
const PAGES: [&str; 3] = [
    "SELECT sum(length(CAST(block AS TEXT))) FROM words_data",
    "SELECT sum(length(CAST(term AS TEXT))) FROM words_idx",
    "SELECT sum(length(CAST(v AS TEXT))) FROM words_config",
];

/// Errors within this time after a look at the whole index cause no other look.
const LOOKS_EVERY: Duration = Duration::from_secs(3_600);

/// Replaces the index where a write has met its damage.
#[derive(Default)]
pub(super) struct Reindex {
    /// When the whole index was last read.
    looked: Option<Instant>,
}

impl Reindex {
    /// After an error: replaces the index if that is damaged. Returns the messages that are not in
    /// the new one.
    pub fn replace(
        &mut self,
        connection: &Connection,
        path: &Path,
        error: &LedgerError,
    ) -> Option<Fresh> {
        let looks = self.looked.is_none_or(|at| at.elapsed() >= LOOKS_EVERY);
        if !error.is_damage() || !looks {
            return None;
        }
        self.looked = Some(Instant::now());
        if !is_cause(connection, error) {
            return None;
        }
        let path = path.display();
        log::error!("{path}: the search index is damaged, and is filled again: {error}");
        match replace(connection).and_then(|()| Fresh::load(connection)) {
            Ok(fresh) => {
                if let Err(error) = finish(connection) {
                    log::error!("{path}: pages of a damaged search index are not removed: {error}");
                }
                Some(fresh)
            }
            Err(error) => {
                log::error!("{path}: the search index cannot be replaced: {error}");
                None
            }
        }
    }
}

/// Returns whether an error comes from a damaged index.
fn is_cause(connection: &Connection, error: &LedgerError) -> bool {
    let LedgerError::Engine { error, .. } = error else { return false };
    let Some(error) = error.downcast_ref::<rusqlite::Error>() else { return false };
    if !is_page_damaged(error) {
        return false;
    }
    let code = error.sqlite_error().map(|error| error.extended_code);
    let is_damaged = |query: &&str| {
        let read = connection.query_row(query, [], |row| row.get::<_, Option<i64>>(0));
        read.is_err_and(|error| is_page_damaged(&error))
    };
    code == Some(ffi::SQLITE_CORRUPT_VTAB) || PAGES.iter().any(is_damaged)
}

/// Replaces the index by an empty one. Nothing uses the pages of the former one until `finish`.
fn replace(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    // To drop a table, the database engine reads its pages.
    transaction.execute_batch(
        "PRAGMA writable_schema = ON;
         DELETE FROM sqlite_schema WHERE tbl_name IN ('words', 'words_data', 'words_idx', 'words_config');
         PRAGMA writable_schema = RESET;",
    )?;
    transaction.execute_batch(EMPTY_WORDS)?;
    transaction.execute("UPDATE meta SET unicode = ?1", [UNFINISHED])?;
    // Words of removed texts were in its pages.
    note_removal(&transaction)?;
    transaction.commit()
}

/// Removes the pages of the former index.
pub(super) fn finish(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("VACUUM")?;
    connection.execute("UPDATE meta SET unicode = ?1", [words::unicode_versions()]).map(drop)
}
