//! Verification of a file.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::blobs::wrong_sum;
use super::connection::{add_words, faults, open_to_read};
use super::rows::{in_schema, read_all};
use super::schema::version;
use crate::chat::{Conversation, words};
use crate::ledger::{LedgerError, Verified};

/// The version of the schema that has sums of files.
const SUMS_SINCE: i64 = 8;

/// The first version of the schema that stores the versions of Unicode of the index of words.
const UNICODE_SINCE: i64 = 10;

/// The first version of the schema that stores how far the index of words is.
const INDEXED_SINCE: i64 = 11;

/// Returns whether the index of words has the words that this program finds in the texts. The next
/// start replaces any other index.
fn has_own_words(connection: &Connection, schema: i64) -> rusqlite::Result<bool> {
    if schema < UNICODE_SINCE {
        return Ok(true);
    }
    let versions: String =
        connection.query_row("SELECT unicode FROM meta", [], |row| row.get(0))?;
    Ok(versions == words::unicode_versions())
}

/// Verifies pages, sums of files, full-text index, checksums of all messages, and that the seqs of
/// each conversation are unique and not beyond its last one. Does not disturb a server that uses
/// the file: the index, whose check writes, is checked in a copy in memory.
pub fn verify(path: &Path) -> Result<Verified, LedgerError> {
    let fault = faults(path);
    let damaged = |what: String| LedgerError::Damaged { path: path.to_owned(), what };
    let connection = open_to_read(path)?;
    let found = version(&connection, path)?;
    let look = connection.unchecked_transaction().map_err(&fault)?;
    let pages: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(&fault)?;
    if pages != "ok" {
        return Err(damaged(pages));
    }
    let mut copy = Connection::open_in_memory().map_err(&fault)?;
    add_words(&copy).map_err(&fault)?;
    Backup::new(&look, &mut copy)
        .and_then(|work| work.step(-1))
        .and_then(|_| match has_own_words(&copy, found)? {
            true => {
                copy.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)", [])
            }
            false => Ok(0),
        })
        .map_err(&fault)?;
    let messages = read_all(&connection, found).map_err(&fault)?;
    let beyond = in_schema(
        "SELECT min(c.name) FROM conversations c JOIN messages m USING (conversation) \
         WHERE m.message <= c.conversation << 40 OR m.message > c.conversation << 40 | c.last",
        found,
    );
    let beyond: Option<String> =
        connection.query_row(&beyond, [], |row| row.get(0)).map_err(&fault)?;
    if let Some(conversation) = beyond {
        let place = conversation.parse::<Conversation>().map(|known| known.in_log());
        let place = place.unwrap_or_else(|_| "a conversation".to_owned());
        return Err(damaged(format!("{place} has a message beyond its last seq")));
    }
    if found >= INDEXED_SINCE
        && connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM conversations WHERE indexed NOT BETWEEN first AND last)",
                [],
                |row| row.get(0),
            )
            .map_err(&fault)?
    {
        return Err(damaged("a conversation has an index beyond its messages".to_owned()));
    }
    if found >= SUMS_SINCE
        && let Some(owner) = wrong_sum(&connection).map_err(&fault)?
    {
        return Err(damaged(format!("the sums of {owner}'s files are wrong")));
    }
    let conversations = connection
        .query_row("SELECT count(*) FROM conversations", [], |row| row.get(0))
        .map_err(&fault)?;
    Ok(Verified { conversations, messages })
}
