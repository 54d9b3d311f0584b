//! Indexes the words of new messages in parts, after their commit: a large batch costs less for
//! each message, and no sender waits for it. `conversations.indexed` is the last seq of a
//! conversation that is in the index. A search compares the texts after it with its words
//! (`reader.rs`). Edits and deletions change the index up to that seq only (triggers of
//! `schema.rs`), so that a text that is removed before it is indexed never gets there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use super::connection::write_faults;
use super::detach::ATTACHED;
use super::rows::{is_page_damaged, is_readable, rowid_of, seq};
use crate::ledger::LedgerError;
use crate::ledger::pace::{CommitTime, Pace};

/// Messages of one part: minimum and maximum.
const PART: (usize, usize) = (64, 4_096);

/// Conversations with messages that are not in the index.
pub(super) struct Fresh {
    /// Their rows, in the order in which the index batches its writes.
    rows: BTreeSet<i64>,
    pace: Pace,
    /// Number of the next messages that are indexed one at a time, because a part could not be
    /// read.
    alone: usize,
    /// Whether the warning about messages that are left out was logged.
    warned: bool,
    /// Messages are indexed right after each commit.
    #[cfg(test)]
    pub at_once: bool,
}

/// Messages of a conversation's row: after the first seq, up to the second one.
struct Span {
    row: i64,
    after: u64,
    upto: u64,
}

/// What a part has done.
#[derive(Default)]
struct Part {
    /// Rows without messages that are not in the index.
    done: Vec<i64>,
    /// Whether the part has reached its maximum.
    full: bool,
}

impl Fresh {
    /// Finds the messages that an earlier process has not indexed. Ignores detached conversations,
    /// which are removed soon.
    pub fn load(connection: &Connection) -> rusqlite::Result<Fresh> {
        let find = format!("SELECT conversation FROM conversations {ATTACHED} AND indexed < last");
        let rows = connection
            .prepare(&find)?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(Fresh {
            rows,
            pace: Pace::new(PART.0, PART.1),
            alone: 0,
            warned: false,
            #[cfg(test)]
            at_once: false,
        })
    }

    #[cfg(test)]
    pub fn work_in_parts_of(&mut self, messages: usize) {
        self.pace = Pace::new(messages, messages);
    }

    /// Adds conversations with new messages.
    pub fn add(&mut self, rows: impl Iterator<Item = i64>) {
        self.rows.extend(rows);
    }

    /// Drops a conversation whose messages are to be removed.
    pub fn forget(&mut self, row: i64) {
        self.rows.remove(&row);
    }

    /// Indexes one part. Returns whether it was full, or has to be done again.
    pub fn some(
        &mut self,
        connection: &Connection,
        path: &Path,
        commit_time: CommitTime,
    ) -> Result<bool, LedgerError> {
        if self.rows.is_empty() {
            return Ok(false);
        }
        if self.alone > 0 {
            self.alone -= 1;
            self.one(connection).map_err(write_faults(path))?;
            return Ok(true);
        }
        let began = Instant::now();
        match self.part(connection, self.pace.size()) {
            Ok(part) => {
                part.done.iter().for_each(|row| self.forget(*row));
                if part.full {
                    self.pace.done(began, commit_time);
                }
                Ok(part.full)
            }
            Err(error) if is_page_damaged(&error) => {
                if !self.pace.fall_back() {
                    self.alone = self.pace.size();
                }
                Ok(true)
            }
            Err(error) => {
                let fault = write_faults(path)(error);
                // A smaller part may fit on a disk that has no room for this one.
                match fault.is_of_the_disk() && self.pace.fall_back() {
                    true => Ok(true),
                    false => Err(fault),
                }
            }
        }
    }

    /// Indexes at most so many messages, in one statement: with a statement for each conversation,
    /// the index would write its batch each time.
    fn part(&self, connection: &Connection, messages_max: usize) -> rusqlite::Result<Part> {
        let transaction = connection.unchecked_transaction()?;
        let (mut part, mut spans, mut left) = (Part::default(), Vec::new(), messages_max as u64);
        for row in self.rows.iter().take(messages_max) {
            let Some((indexed, last)) = place(&transaction, *row)? else {
                part.done.push(*row);
                continue;
            };
            let upto = last.min(indexed + left);
            left -= upto - indexed;
            if indexed < upto {
                spans.push(Span { row: *row, after: indexed, upto });
            }
            if upto == last {
                part.done.push(*row);
            }
            if left == 0 {
                break;
            }
        }
        part.full = left == 0 || self.rows.len() > messages_max;
        // Without messages nothing is written, and nothing synced.
        if !spans.is_empty() {
            add(&transaction, &spans)?;
        }
        transaction.commit()?;
        Ok(part)
    }

    /// Indexes one message. Leaves it out if it is on a damaged page.
    fn one(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(row) = self.rows.first().copied() else { return Ok(()) };
        let waits = place(connection, row)?.filter(|(indexed, last)| indexed < last);
        let Some((indexed, _)) = waits else {
            self.forget(row);
            return Ok(());
        };
        let span = Span { row, after: indexed, upto: indexed + 1 };
        match add_one(connection, &span) {
            // A message that can be read is not left out where the index is damaged.
            Err(error)
                if is_page_damaged(&error)
                    && !is_readable(connection, rowid_of(row, seq(span.upto as i64)))? => {}
            added => return added,
        }
        if !self.warned {
            log::warn!("some messages are on a damaged page: a search does not find them");
            self.warned = true;
        }
        note(connection, &span)
    }
}

/// Returns the last seq of a row that is in the index, and its last seq.
fn place(connection: &Connection, row: i64) -> rusqlite::Result<Option<(u64, u64)>> {
    let find = "SELECT indexed, last FROM conversations WHERE conversation = ?1";
    let mut find = connection.prepare_cached(find)?;
    let read = |row: &rusqlite::Row| Ok((seq(row.get(0)?).0, seq(row.get(1)?).0));
    find.query_row([row], read).optional()
}

/// Indexes spans, sorted by their rows.
fn add(connection: &Connection, spans: &[Span]) -> rusqlite::Result<()> {
    let of = |span: &Span| {
        [rowid_of(span.row, seq(span.after as i64)), rowid_of(span.row, seq(span.upto as i64))]
    };
    let rows: Vec<[i64; 2]> = spans.iter().map(of).collect();
    let add = "INSERT INTO words (rowid, text) SELECT m.message, pychat_words(m.text) \
         FROM json_each(?1) s CROSS JOIN messages m \
         WHERE m.message > s.value ->> 0 AND m.message <= s.value ->> 1 AND m.text <> ''";
    connection.prepare_cached(add)?.execute([format!("{rows:?}")])?;
    spans.iter().try_for_each(|span| note(connection, span))
}

/// Indexes a span of one message. Reads no other one, which may be on a damaged page.
fn add_one(connection: &Connection, span: &Span) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let add = "INSERT INTO words (rowid, text) SELECT message, pychat_words(text) FROM messages \
         WHERE message = ?1 AND text <> ''";
    transaction.prepare_cached(add)?.execute([rowid_of(span.row, seq(span.upto as i64))])?;
    note(&transaction, span)?;
    transaction.commit()
}

/// Records that the messages of a span are in the index.
fn note(connection: &Connection, span: &Span) -> rusqlite::Result<()> {
    let set = "UPDATE conversations SET indexed = ?2 WHERE conversation = ?1";
    connection.prepare_cached(set)?.execute([span.row, span.upto as i64]).map(drop)
}
