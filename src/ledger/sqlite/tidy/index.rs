//! Indexes the messages of a file of an older schema in parts: one conversation after another, each
//! from its newest message to its oldest. Until this is done, a search finds the indexed messages
//! only and reports that its result is incomplete.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::connection::{truncate_log, write_faults};
use super::super::rows::is_page_damaged;
use crate::ledger::pace::{CommitTime, Pace};
use crate::ledger::{LedgerError, Tidied};

/// Messages of one part: minimum and maximum.
const PART: (usize, usize) = (8, 1_024);

/// The remaining work.
pub struct Index {
    waits: bool,
    pace: Pace,
    /// Number of the next messages that are indexed one at a time, because a part could not be
    /// read.
    alone: usize,
    /// A conversation whose messages are indexed one at a time, and the row of its first one.
    first: Option<(i64, i64)>,
    /// Whether the warning about messages that are left out was logged.
    warned: bool,
}

impl Index {
    pub fn load(connection: &Connection) -> rusqlite::Result<Index> {
        let waits = "SELECT EXISTS (SELECT 1 FROM unindexed)";
        let waits = connection.query_row(waits, [], |row| row.get(0))?;
        Ok(Index { waits, pace: Pace::new(PART.0, PART.1), alone: 0, first: None, warned: false })
    }

    #[cfg(test)]
    pub fn work_in_parts_of(&mut self, messages: usize) {
        self.pace = Pace::new(messages, messages);
    }

    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Indexes one part.
    pub fn some(
        &mut self,
        connection: &Connection,
        path: &Path,
        commit_time: CommitTime,
    ) -> Result<Tidied, LedgerError> {
        if self.alone > 0 {
            self.alone -= 1;
            self.one(connection).map_err(write_faults(path))?;
            return Ok(Tidied::More);
        }
        let began = Instant::now();
        match part(connection, self.pace.size()) {
            Ok(more) => self.waits = more,
            Err(error) if is_page_damaged(&error) => {
                if !self.pace.fall_back() {
                    self.alone = self.pace.size();
                }
                return Ok(Tidied::More);
            }
            Err(error) => {
                let fault = write_faults(path)(error);
                // A smaller part may fit on a disk that has no room for this one.
                if !fault.is_of_the_disk() || !self.pace.fall_back() {
                    return Err(fault);
                }
                truncate_log(connection).map_err(write_faults(path))?;
                return Ok(Tidied::More);
            }
        }
        self.pace.done(began, commit_time);
        Ok(Tidied::More)
    }

    /// Indexes the newest message of one conversation that is not indexed. Leaves it out if it is
    /// on a damaged page.
    fn one(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some((conversation, rowid)) = next(connection)? else { return Ok(()) };
        let first = self.first_of(connection, conversation)?;
        let before = Some(rowid - 1).filter(|before| *before >= first);
        match add_one(connection, conversation, (rowid, before)) {
            Err(error) if is_page_damaged(&error) => {}
            added => return added,
        }
        if !self.warned {
            log::warn!("some messages are on a damaged page: a search does not find them");
            self.warned = true;
        }
        note(connection, conversation, before)
    }

    /// Returns the row of the first message of a conversation. Reads an index only, and once for
    /// each conversation: the page of that row may be damaged, and the index may be long.
    fn first_of(&mut self, connection: &Connection, conversation: i64) -> rusqlite::Result<i64> {
        if let Some((_, first)) = self.first.filter(|(of, _)| *of == conversation) {
            return Ok(first);
        }
        let find =
            "SELECT min(message) FROM messages INDEXED BY messages_by_time WHERE conversation = ?1";
        let first: Option<i64> = connection.query_row(find, [conversation], |row| row.get(0))?;
        let first = first.unwrap_or(i64::MAX);
        self.first = Some((conversation, first));
        Ok(first)
    }
}

/// Returns a conversation with messages that are not in the index, and the row of the newest.
fn next(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    let next = "SELECT conversation, upto FROM unindexed LIMIT 1";
    connection.query_row(next, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Indexes the newest messages of one conversation that are not indexed. Returns whether there may
/// be more.
fn part(connection: &Connection, messages: usize) -> rusqlite::Result<bool> {
    let transaction = connection.unchecked_transaction()?;
    let Some((conversation, upto)) = next(&transaction)? else { return Ok(false) };
    let before = "SELECT message FROM messages WHERE message > ?1 << 40 AND message <= ?2 ORDER BY message DESC LIMIT 1 OFFSET ?3";
    let values = params![conversation, upto, messages as i64];
    let before: Option<i64> = transaction.query_row(before, values, |row| row.get(0)).optional()?;
    let add = "INSERT INTO words (rowid, text) SELECT message, pychat_words(text) FROM messages \
         WHERE message > ?1 AND message <= ?2 AND text <> '' ORDER BY message";
    let first = before.unwrap_or(conversation << 40);
    transaction.prepare_cached(add)?.execute([first, upto])?;
    note(&transaction, conversation, before)?;
    transaction.commit()?;
    Ok(true)
}

/// Indexes one message. Reads no other one, which may be on a damaged page.
fn add_one(
    connection: &Connection,
    conversation: i64,
    (rowid, before): (i64, Option<i64>),
) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let add = "INSERT INTO words (rowid, text) SELECT message, pychat_words(text) FROM messages \
         WHERE message = ?1 AND text <> ''";
    transaction.prepare_cached(add)?.execute([rowid])?;
    note(&transaction, conversation, before)?;
    transaction.commit()
}

/// Records that the messages of a conversation up to this row remain to be indexed; `None` if none
/// do.
fn note(connection: &Connection, conversation: i64, upto: Option<i64>) -> rusqlite::Result<()> {
    match upto {
        Some(upto) => connection.execute(
            "UPDATE unindexed SET upto = ?2 WHERE conversation = ?1",
            [conversation, upto],
        )?,
        None => {
            connection.execute("DELETE FROM unindexed WHERE conversation = ?1", [conversation])?
        }
    };
    Ok(())
}
