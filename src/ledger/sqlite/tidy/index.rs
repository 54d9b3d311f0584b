//! Messages of a file of an older schema get into the full-text index in parts, the newest of each
//! conversation first. Until then a search says that it is not complete.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::connection::{truncate_log, write_faults};
use super::super::rows::is_page_damaged;
use crate::ledger::pace::{CommitTime, Pace};
use crate::ledger::{LedgerError, Tidied};

/// Messages of one part: least and most.
const PART: (usize, usize) = (8, 1_024);

/// What is left to do.
pub struct Index {
    waits: bool,
    pace: Pace,
}

impl Index {
    pub fn load(connection: &Connection) -> rusqlite::Result<Index> {
        let waits = "SELECT EXISTS (SELECT 1 FROM unindexed)";
        let waits = connection.query_row(waits, [], |row| row.get(0))?;
        Ok(Index { waits, pace: Pace::new(PART.0, PART.1) })
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
        let began = Instant::now();
        match part(connection, self.pace.size()) {
            Ok(more) => self.waits = more,
            // Messages of a damaged page are not found.
            Err(error) if is_page_damaged(&error) => {
                if !self.pace.fall_back() {
                    skip(connection, self.pace.size()).map_err(write_faults(path))?;
                }
                return Ok(Tidied::More);
            }
            Err(error) => {
                let fault = write_faults(path)(error);
                // A smaller part may find the room on the disk that this one did not.
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
}

/// Indexes the newest messages of one conversation that are not indexed. Returns whether there may
/// be more.
fn part(connection: &Connection, messages: usize) -> rusqlite::Result<bool> {
    let transaction = connection.unchecked_transaction()?;
    let next = "SELECT conversation, upto FROM unindexed LIMIT 1";
    let next = transaction.query_row(next, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((conversation, upto)) = next else { return Ok(false) };
    let (conversation, upto): (i64, i64) = (conversation, upto);
    let before = "SELECT line FROM lines WHERE line > ?1 << 40 AND line <= ?2 ORDER BY line DESC LIMIT 1 OFFSET ?3";
    let values = params![conversation, upto, messages as i64];
    let before: Option<i64> = transaction.query_row(before, values, |row| row.get(0)).optional()?;
    let add = "INSERT INTO words (rowid, text) SELECT line, pychat_words(text) FROM lines \
         WHERE line > ?1 AND line <= ?2 AND text <> '' ORDER BY line";
    let first = before.unwrap_or(conversation << 40);
    transaction.prepare_cached(add)?.execute([first, upto])?;
    note(&transaction, conversation, before)?;
    transaction.commit()?;
    Ok(true)
}

/// Leaves out the newest lines of one conversation that are not indexed.
fn skip(connection: &Connection, lines: usize) -> rusqlite::Result<()> {
    let next = "SELECT conversation, upto FROM unindexed LIMIT 1";
    let (conversation, upto): (i64, i64) =
        connection.query_row(next, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let before = Some(upto - lines as i64).filter(|line| *line > conversation << 40);
    log::warn!("some messages are on a damaged page: a search does not find them");
    note(connection, conversation, before)
}

/// Records that lines up to this one are left in a conversation.
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
