//! The ledger on disk: SQLite with a write-ahead log, synced at every commit (`synchronous=FULL`),
//! with deleted bytes overwritten (`secure_delete`).

mod backup;
mod commit;
mod connection;
mod erase;
mod file;
mod migrate;
mod owners;
mod reader;
mod rows;
mod schema;
mod tidy;
mod verify;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::{Connection, Row, params};

use super::pace::Pace;
use super::{Draft, Erased, Ledger, LedgerError, Outcome, Record, Remembered, Tidied, Topic};
use crate::chat::{Conversation, LogId, Seq, UserName};
use commit::Commit;
use connection::{create, faults, prepare, truncate_log, write_faults};
use erase::note_removal;
pub use file::jobs;
use migrate::migrate;
use owners::Owners;
pub use reader::SqliteReader;
use rows::{SEQ_MAX, parsed, seq};
use tidy::Tidy;

/// Time for which the ids of removed messages are known.
const SPENT_MS: i64 = 7 * 86_400_000;

/// The writing half.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    log: LogId,
    change_s_max: u64,
    conversations: HashMap<Conversation, Known>,
    /// Whether any id of a removed message is stored.
    spent: bool,
    /// Messages of a new conversation get greater seqs than this.
    floor: Seq,
    poisoned: bool,
    /// Number of messages ever stored.
    stored_ever: u64,
    owners: Owners,
    tidy: Tidy,
    /// Number of messages that are removed at once.
    pace: Pace,
}

/// The least and the largest number of messages that are removed at once.
const REMOVED_AT_ONCE: (usize, usize) = (16, 2_000);

/// A conversation as the database has it: its row, and its last seq.
#[derive(Clone, Copy)]
struct Known {
    pub row: i64,
    pub last: Seq,
}

impl Sqlite {
    /// Opens or creates the file, and migrates its schema (after a copy).
    pub fn open(path: &Path, change_s_max: u64) -> Result<Sqlite, LedgerError> {
        let fault = faults(path);
        create(path).map_err(|error| LedgerError::Io { path: path.to_owned(), error })?;
        backup::remove_leftovers(path)?;
        let mut connection = Connection::open(path).map_err(&fault)?;
        prepare(&connection).map_err(&fault)?;
        migrate(&mut connection, path)?;
        let (log, floor): (i64, i64) = connection
            .query_row("SELECT log, floor FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&fault)?;
        let spent = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM spent)", [], |row| row.get(0))
            .map_err(&fault)?;
        let stored_ever: i64 = connection
            .query_row(
                "SELECT dropped + (SELECT coalesce(sum(last - first), 0) FROM conversations) FROM meta",
                [],
                |row| row.get(0),
            )
            .map_err(&fault)?;
        let mut conversations = HashMap::new();
        {
            let mut query = connection
                .prepare("SELECT name, conversation, last FROM conversations")
                .map_err(&fault)?;
            let mut rows = query.query([]).map_err(&fault)?;
            while let Some(row) = rows.next().map_err(&fault)? {
                let known = read_known(row).map_err(&fault)?;
                conversations.insert(known.0, known.1);
            }
        }
        Ok(Sqlite {
            log: LogId(log as u64),
            change_s_max,
            conversations,
            spent,
            floor: seq(floor),
            poisoned: false,
            stored_ever: seq(stored_ever).0,
            owners: Owners::load(&connection).map_err(&fault)?,
            tidy: Tidy::load(&connection).map_err(&fault)?,
            pace: Pace::new(REMOVED_AT_ONCE.0, REMOVED_AT_ONCE.1),
            path: path.to_owned(),
            connection,
        })
    }

    pub fn reader(&self) -> SqliteReader {
        SqliteReader::new(&self.path)
    }

    /// Runs a write. After a failed sync nothing is written until the file is opened again.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Sqlite) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        if self.poisoned {
            return Err(LedgerError::Poisoned { path: self.path.clone() });
        }
        let done = work(self).map_err(write_faults(&self.path));
        self.poisoned |= matches!(done, Err(LedgerError::InDoubt { .. }));
        done
    }

    /// After an error of a part of a long job: whether a smaller part may find the room on the disk
    /// that this one did not. The log's own room is for the next part.
    fn has_less_to_do(&mut self, error: &LedgerError) -> bool {
        let less = error.is_of_the_disk() && !self.poisoned && self.pace.fall_back();
        // Where somebody reads from the log, the next part does without.
        less && truncate_log(&self.connection).is_ok()
    }

    /// Limits the size of the file in pages.
    #[cfg(test)]
    pub fn limit_pages(&self, pages: i64) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    #[cfg(test)]
    pub fn ask<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        self.connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    #[cfg(test)]
    pub fn break_with(&self, statement: &str) {
        self.connection.execute_batch(statement).unwrap();
    }
}

fn read_known(row: &Row) -> rusqlite::Result<(Conversation, Known)> {
    let conversation = parsed(row, 0)?;
    Ok((conversation, Known { row: row.get(1)?, last: seq(row.get(2)?) }))
}

impl Ledger for Sqlite {
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError> {
        let mut touched = HashMap::new();
        let (outcomes, removals) = self.write(|ledger| {
            let mut commit = Commit::begin(ledger, &mut touched)?;
            let outcomes = commit.write_all(records)?;
            Ok((outcomes, commit.end()?))
        })?;
        if removals > 0 {
            self.tidy.note(removals);
        }
        let is_stored = |outcome: &&Outcome| matches!(outcome, Outcome::Stored(seq) if seq.0 > 0);
        self.stored_ever += outcomes.iter().filter(is_stored).count() as u64;
        self.conversations.extend(touched);
        Ok(outcomes)
    }

    fn stored(&self, line: &Draft) -> Option<Seq> {
        let conversation = self.conversations.get(&line.conversation)?;
        let find = "SELECT line FROM lines WHERE conversation = ?1 AND sender = ?2 AND id = ?3";
        let by_id = params![conversation.row, line.from.as_str(), line.id.0];
        // If the file cannot be read, the answer is unknown.
        let found = self.connection.query_row(find, by_id, |row| row.get::<_, i64>(0));
        found.ok().map(|line| seq(line & SEQ_MAX))
    }

    fn expire(
        &mut self,
        conversation: &Conversation,
        before_ms: i64,
        dry: bool,
    ) -> Result<(usize, bool), LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok((0, false)) };
        let row = known.row;
        if dry {
            let count = "SELECT count(*) FROM lines WHERE conversation = ?1 AND time_ms < ?2";
            let count = self.connection.query_row(count, [row, before_ms], |row| row.get(0));
            return count.map(|count| (count, false)).map_err(faults(&self.path));
        }
        let (began, lines_max) = (Instant::now(), self.pace.size());
        let gone = self.write(|ledger| {
            ledger.tidy.expect(&ledger.connection)?;
            let transaction = ledger.connection.unchecked_transaction()?;
            let old = "SELECT line FROM lines WHERE conversation = ?1 AND time_ms < ?2 \
                 ORDER BY time_ms LIMIT ?3";
            let values = params![row, before_ms, lines_max];
            let keep = format!(
                "INSERT OR IGNORE INTO spent SELECT name, sender, id, line & {SEQ_MAX}, time_ms \
                 FROM lines JOIN conversations USING (conversation) WHERE line IN ({old})"
            );
            transaction.execute(&keep, values)?;
            let gone =
                transaction.execute(&format!("DELETE FROM lines WHERE line IN ({old})"), values)?;
            if gone > 0 {
                note_removal(&transaction)?;
            }
            transaction.commit()?;
            Ok(gone)
        });
        let gone = match gone {
            Err(error) if self.has_less_to_do(&error) => return Ok((0, true)),
            gone => gone?,
        };
        if gone > 0 {
            self.spent = true;
            self.tidy.note(gone);
            self.pace.done(began);
        }
        Ok((gone, gone == lines_max))
    }

    fn drop_empty(&mut self, conversation: &Conversation) -> Result<(), LedgerError> {
        let Some(last) = self.emptied(conversation)? else { return Ok(()) };
        let row = self.conversations[conversation].row;
        self.floor = self.floor.max(last);
        self.write(|ledger| {
            let transaction = ledger.connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM reads WHERE conversation = ?1", [row])?;
            let dropped = "UPDATE meta SET dropped = dropped + \
                 (SELECT last - first FROM conversations WHERE conversation = ?1)";
            transaction.execute(dropped, [row])?;
            transaction.execute("DELETE FROM conversations WHERE conversation = ?1", [row])?;
            transaction.execute("UPDATE meta SET floor = ?1", [ledger.floor.0 as i64])?;
            // The topic was removed.
            note_removal(&transaction)?;
            transaction.commit()
        })?;
        self.tidy.note(0);
        self.conversations.remove(conversation);
        Ok(())
    }

    fn emptied(&self, conversation: &Conversation) -> Result<Option<Seq>, LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok(None) };
        let find = "SELECT EXISTS (SELECT 1 FROM lines WHERE conversation = ?1)";
        let lines = self.connection.query_row(find, [known.row], |row| row.get(0));
        let lines: bool = lines.map_err(faults(&self.path))?;
        Ok((!lines).then_some(known.last))
    }

    fn floor(&self) -> Seq {
        self.floor
    }

    fn conversations(&self) -> Vec<Conversation> {
        self.conversations.keys().cloned().collect()
    }

    fn tidy(&mut self, now_ms: i64) -> Result<Tidied, LedgerError> {
        let (old, ids_max) = (now_ms - SPENT_MS, REMOVED_AT_ONCE.1);
        let gone = self.write(|ledger| {
            let gone = "DELETE FROM spent WHERE (name, sender, id) IN \
                 (SELECT name, sender, id FROM spent WHERE time_ms < ?1 LIMIT ?2)";
            ledger.connection.prepare_cached(gone)?.execute(params![old, ids_max as i64])
        })?;
        if gone == ids_max {
            return Ok(Tidied::More);
        }
        let tidied = self.tidy.some(&self.connection, &self.path);
        self.poisoned |= matches!(tidied, Err(LedgerError::InDoubt { .. }));
        tidied
    }

    fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        // For each conversation, because its index contains the times.
        let find = "SELECT max((SELECT max(time_ms) FROM lines l WHERE l.conversation = p.conversation)) FROM conversations p";
        self.connection.query_row(find, [], |row| row.get(0)).map_err(faults(&self.path))
    }

    fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.write(|ledger| erase::begin(&ledger.connection, user))?;
        self.tidy.note(0);
        Ok(())
    }

    fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError> {
        let (began, messages_max) = (Instant::now(), self.pace.size());
        let erased = self.write(|ledger| {
            ledger.tidy.expect(&ledger.connection)?;
            erase::some(&ledger.connection, messages_max)
        });
        let erased = match erased {
            Err(error) if self.has_less_to_do(&error) => return self.erase_some(),
            erased => erased?,
        };
        if let Some(part) = erased.as_ref().map(|erased| erased.part).filter(|part| *part > 0) {
            self.tidy.note(part);
            self.pace.done(began);
        }
        Ok(erased)
    }

    fn renew(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.write(|ledger| ledger.owners.renew(&ledger.connection, user))
    }

    fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        remembered(&self.connection, waiting_max).map_err(faults(&self.path))
    }

    fn log_id(&self) -> LogId {
        self.log
    }

    fn stored_ever(&self) -> u64 {
        self.stored_ever
    }

    fn begin_log(&mut self, log: LogId) -> Result<(), LedgerError> {
        self.write(|ledger| {
            ledger.connection.execute("UPDATE meta SET log = ?1", [log.0 as i64]).map(drop)
        })?;
        self.log = log;
        Ok(())
    }
}

fn remembered(connection: &Connection, waiting_max: usize) -> rusqlite::Result<Vec<Remembered>> {
    let mut conversations = connection.prepare(
        "SELECT name, conversation, last, first, \
         EXISTS (SELECT 1 FROM lines l WHERE l.conversation = p.conversation), topic, topic_by FROM conversations p",
    )?;
    let mut reads = connection.prepare("SELECT person, seq FROM reads WHERE conversation = ?1")?;
    // Absent users write nothing: it is sufficient to read as many messages as may wait.
    let mut waiting = connection.prepare(
        "SELECT count(*) FROM (SELECT sender FROM lines WHERE line > ?1 << 40 | coalesce( \
         (SELECT away FROM reads WHERE conversation = ?1 AND person = ?2), 0) \
         AND line < (?1 + 1) << 40 LIMIT ?3) WHERE sender <> ?2",
    )?;
    let mut found = Vec::new();
    let mut rows = conversations.query([])?;
    while let Some(row) = rows.next()? {
        let (conversation, known) = read_known(row)?;
        let read = |row: &Row| Ok((parsed(row, 0)?, seq(row.get(1)?)));
        let reads = reads.query_map([known.row], read)?.collect::<Result<_, _>>()?;
        let mut waits = Vec::new();
        for person in conversation.people().into_iter().flatten() {
            let values = params![known.row, person.as_str(), waiting_max];
            waits.push((person.clone(), waiting.query_row(values, |row| row.get(0))?));
        }
        let (first, stored, last) = (seq(row.get(3)?), row.get(4)?, known.last);
        let by = row.get::<_, Option<String>>(6)?.and_then(|by| by.parse().ok());
        let topic = row.get::<_, Option<String>>(5)?.zip(by);
        let topic = topic.map(|(text, by)| Topic { text, by });
        found.push(Remembered { conversation, first, last, stored, topic, reads, waiting: waits });
    }
    Ok(found)
}
