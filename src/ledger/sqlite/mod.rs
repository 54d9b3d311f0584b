//! The ledger on disk: SQLite with a write-ahead log, synced at every commit (`synchronous=FULL`),
//! with deleted bytes overwritten (`secure_delete`).

mod backup;
mod blobs;
mod commit;
mod connection;
mod conversations;
mod detach;
mod erase;
mod export;
mod file;
mod fold;
mod fresh;
mod migrate;
mod owners;
mod reader;
mod restore;
mod rows;
mod schema;
mod tidy;
mod verify;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::{Connection, params};

use super::pace::{CommitTime, Pace};
use super::{
    Began, BlobLimits, BlobRow, BlobTotals, Blobs, DropOutcome, Erased, Ledger, LedgerError,
    NewBlob, Outcome, Place, Record, Remembered, SentMessage, Tidied,
};
use crate::chat::{BlobId, Conversation, Epoch, Seq, UserName};
use crate::limits::DAY_MS;
use blobs::{DELETED, EXPIRED, LOST, Rows, doom, forget_gone};
use commit::Commit;
use connection::{create, faults, prepare, sync_log, truncate_log, write_faults};
use conversations::{Known, WAITING, remembered};
use erase::note_removal;
pub use file::jobs;
use fresh::Fresh;
use migrate::migrate;
use owners::Owners;
pub use reader::SqliteReader;
use rows::{SEQ_MAX, seq};
use tidy::Tidy;

/// Time for which the ids of removed messages are known.
const USED_IDS_MS: i64 = 7 * DAY_MS;

/// The writing half.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    epoch: Epoch,
    change_s_max: u64,
    conversations: HashMap<Conversation, Known>,
    /// Rows of conversations whose messages are to be removed, and their names.
    detached: Vec<(i64, Conversation)>,
    /// Whether any id of a removed message is stored.
    has_used_ids: bool,
    /// Messages of a new conversation get greater seqs than this.
    floor: Seq,
    poisoned: bool,
    /// Number of messages ever stored.
    stored_ever: u64,
    owners: Owners,
    tidy: Tidy,
    /// New messages that are not in the full-text index.
    fresh: Fresh,
    /// Number of messages that are removed at once.
    pace: Pace,
    commit_time: CommitTime,
    /// Files that were doomed and not taken yet.
    doomed: Vec<BlobId>,
    /// The bounds of `pace`, in rows.
    at_once: (usize, usize),
}

/// The least and the largest number of messages that are removed at once.
const REMOVED_AT_ONCE: (usize, usize) = (16, 2_000);

impl Sqlite {
    /// Opens or creates the file, and migrates its schema (after a copy).
    pub fn open(path: &Path, change_s_max: u64) -> Result<Sqlite, LedgerError> {
        let fault = faults(path);
        create(path).map_err(|error| LedgerError::Io { path: path.to_owned(), error })?;
        backup::remove_leftovers(path)?;
        let mut connection = Connection::open(path).map_err(&fault)?;
        prepare(&connection).map_err(&fault)?;
        sync_log(&connection, path)?;
        migrate(&mut connection, path)?;
        let (epoch, floor): (i64, i64) = connection
            .query_row("SELECT log, floor FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&fault)?;
        let has_used_ids = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM used_ids)", [], |row| row.get(0))
            .map_err(&fault)?;
        let stored_ever: i64 = connection
            .query_row(
                "SELECT dropped + (SELECT coalesce(sum(last - first), 0) FROM conversations) FROM meta",
                [],
                |row| row.get(0),
            )
            .map_err(&fault)?;
        Ok(Sqlite {
            epoch: Epoch(epoch as u64),
            change_s_max,
            conversations: conversations::load(&connection).map_err(&fault)?,
            detached: detach::load(&connection).map_err(&fault)?,
            has_used_ids,
            floor: seq(floor),
            poisoned: false,
            stored_ever: seq(stored_ever).0,
            owners: Owners::load(&connection).map_err(&fault)?,
            tidy: Tidy::load(&connection).map_err(&fault)?,
            fresh: Fresh::load(&connection).map_err(&fault)?,
            pace: Pace::new(REMOVED_AT_ONCE.0, REMOVED_AT_ONCE.1),
            commit_time: CommitTime::default(),
            doomed: Vec::new(),
            at_once: REMOVED_AT_ONCE,
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

    /// Removes some of the messages of a row that are older than `before_ms`. Their ids stay known
    /// under the conversation's name.
    fn remove_some(
        &mut self,
        row: i64,
        name: Conversation,
        before_ms: i64,
    ) -> Result<(usize, bool), LedgerError> {
        let (began, messages_max) = (Instant::now(), self.pace.size());
        let gone = self.write(|ledger| {
            ledger.tidy.expect(&ledger.connection)?;
            let transaction = ledger.connection.unchecked_transaction()?;
            let old = "SELECT message FROM messages WHERE conversation = ?1 AND time_ms < ?2 \
                 ORDER BY time_ms LIMIT ?3";
            let keep = format!(
                "INSERT OR IGNORE INTO used_ids SELECT ?4, sender, id, message & {SEQ_MAX}, time_ms \
                 FROM messages WHERE message IN ({old})"
            );
            transaction.execute(&keep, params![row, before_ms, messages_max, name.folded()])?;
            let (theirs, values) =
                (format!("message IN ({old})"), params![row, before_ms, messages_max]);
            let doomed = doom(&transaction, EXPIRED, (&theirs, values))?;
            forget_gone(&transaction, (&theirs, values))?;
            let gone = transaction.execute(&format!("DELETE FROM messages WHERE {theirs}"), values)?;
            if gone > 0 {
                note_removal(&transaction)?;
            }
            transaction.commit()?;
            ledger.doomed.extend(doomed);
            Ok(gone)
        });
        let gone = match gone {
            Err(error) if self.has_less_to_do(&error) => return Ok((0, true)),
            gone => gone?,
        };
        if gone > 0 {
            self.has_used_ids = true;
            self.tidy.note(gone);
            self.pace.done(began, self.commit_time);
        }
        Ok((gone, gone == messages_max))
    }

    /// Calls `count` for each 100 steps of the database engine, and bounds parts by so many rows.
    #[cfg(test)]
    pub fn count_steps(&mut self, rows: usize, mut count: impl FnMut() + Send + 'static) {
        self.pace = Pace::new(rows, rows);
        self.at_once = (rows, rows);
        let count = move || {
            count();
            false
        };
        self.connection.progress_handler(100, Some(count)).unwrap();
    }

    /// Bounds parts of removals and of the passes after them.
    #[cfg(test)]
    pub fn work_in_parts_of(&mut self, rows: usize, pages: usize) {
        self.pace = Pace::new(rows, rows);
        self.tidy.work_in_parts_of(pages);
    }

    /// Indexes new messages in parts of so many.
    #[cfg(test)]
    pub fn index_in_parts_of(&mut self, messages: usize) {
        self.fresh.work_in_parts_of(messages);
    }

    /// Indexes messages right after each commit.
    #[cfg(test)]
    pub fn index_at_once(&mut self) {
        self.fresh.at_once = true;
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

impl Ledger for Sqlite {
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError> {
        let (mut touched, began) = (HashMap::new(), Instant::now());
        let (outcomes, (removals, doomed)) = self.write(|ledger| {
            let mut commit = Commit::begin(ledger, &mut touched)?;
            let outcomes = commit.write_all(records)?;
            Ok((outcomes, commit.end()?))
        })?;
        self.commit_time.add(began.elapsed());
        if removals > 0 {
            self.tidy.note(removals);
        }
        self.doomed.extend(doomed);
        let is_stored = |outcome: &&Outcome| matches!(outcome, Outcome::Stored(seq) if seq.0 > 0);
        self.stored_ever += outcomes.iter().filter(is_stored).count() as u64;
        self.fresh.add(touched.values().map(|known| known.row));
        self.conversations.extend(touched);
        #[cfg(test)]
        while self.fresh.at_once && self.index_some()? {}
        Ok(outcomes)
    }

    fn index_some(&mut self) -> Result<bool, LedgerError> {
        if self.poisoned {
            return Err(LedgerError::Poisoned { path: self.path.clone() });
        }
        let more = self.fresh.some(&self.connection, &self.path, self.commit_time);
        self.poisoned |= matches!(more, Err(LedgerError::InDoubt { .. }));
        more
    }

    fn stored(&self, sent: &SentMessage) -> Option<Seq> {
        let present = self.conversations.get(&sent.conversation).map(|known| known.row);
        let detached = self.detached.iter().filter(|(_, name)| *name == sent.conversation);
        // If the file cannot be read, the answer is unknown.
        let in_row = |row: i64| {
            let find =
                "SELECT message FROM messages WHERE conversation = ?1 AND sender = ?2 AND id = ?3";
            let by_id = params![row, sent.from.folded(), sent.id.0];
            let found = self.connection.query_row(find, by_id, |row| row.get::<_, i64>(0));
            found.ok().map(|rowid| seq(rowid & SEQ_MAX))
        };
        let used = || {
            let find = "SELECT seq FROM used_ids WHERE name = ?1 AND sender = ?2 AND id = ?3";
            let by_name = params![sent.conversation.folded(), sent.from.folded(), sent.id.0];
            self.connection.query_row(find, by_name, |row| row.get::<_, i64>(0)).ok().map(seq)
        };
        let mut rows = present.into_iter().chain(detached.map(|(row, _)| *row));
        rows.find_map(in_row).or_else(used)
    }

    fn expire(
        &mut self,
        conversation: &Conversation,
        before_ms: i64,
    ) -> Result<(usize, bool), LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok((0, false)) };
        self.remove_some(known.row, conversation.clone(), before_ms)
    }

    fn count_old(
        &self,
        conversation: &Conversation,
        before_ms: i64,
        from: Option<Place>,
    ) -> Result<(usize, Option<Place>), LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok((0, None)) };
        let (time_ms, rowid) = from.unwrap_or((i64::MIN, i64::MIN));
        let find = "SELECT time_ms, message FROM messages WHERE conversation = ?1 AND time_ms < ?2 \
             AND (time_ms, message) > (?3, ?4) ORDER BY time_ms, message LIMIT ?5";
        let count = || -> rusqlite::Result<(usize, Option<Place>)> {
            let mut find = self.connection.prepare_cached(find)?;
            let values = params![known.row, before_ms, time_ms, rowid, self.at_once.1];
            let mut rows = find.query(values)?;
            let (mut count, mut last) = (0, None);
            while let Some(row) = rows.next()? {
                (count, last) = (count + 1, Some((row.get(0)?, row.get(1)?)));
            }
            Ok((count, last.filter(|_| count == self.at_once.1)))
        };
        count().map_err(faults(&self.path))
    }

    fn detach(&mut self, conversation: &Conversation, kept: bool) -> Result<(), LedgerError> {
        let Some(known) = self.conversations.get(conversation).copied() else { return Ok(()) };
        let floor = self.floor.max(known.last);
        let row = self.write(|ledger| {
            detach::detach(&ledger.connection, conversation, (known.row, known.last), (floor, kept))
        })?;
        self.floor = floor;
        self.tidy.note(0);
        self.fresh.forget(known.row);
        self.detached.push((known.row, conversation.clone()));
        match row {
            Some(row) => self.conversations.insert(conversation.clone(), Known { row, ..known }),
            None => self.conversations.remove(conversation),
        };
        Ok(())
    }

    fn remove_detached(&mut self) -> Result<bool, LedgerError> {
        let Some((row, name)) = self.detached.last().cloned() else { return Ok(false) };
        if self.remove_some(row, name, i64::MAX)?.1 {
            return Ok(true);
        }
        self.write(|ledger| {
            let transaction = ledger.connection.unchecked_transaction()?;
            detach::drop_row(&transaction, row)?;
            transaction.commit()
        })?;
        self.detached.pop();
        Ok(!self.detached.is_empty())
    }

    fn waiting(
        &self,
        conversation: &Conversation,
        user: &UserName,
        waiting_max: usize,
    ) -> Result<usize, LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok(0) };
        let values = params![known.row, user.folded(), waiting_max];
        let count = self.connection.query_row(WAITING, values, |row| row.get(0));
        count.map_err(faults(&self.path))
    }

    fn drop_empty(&mut self, conversation: &Conversation) -> Result<(), LedgerError> {
        let Some(last) = self.emptied(conversation)? else { return Ok(()) };
        let row = self.conversations[conversation].row;
        self.floor = self.floor.max(last);
        self.write(|ledger| {
            let transaction = ledger.connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM reads WHERE conversation = ?1", [row])?;
            detach::drop_row(&transaction, row)?;
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
        let find = "SELECT EXISTS (SELECT 1 FROM messages WHERE conversation = ?1)";
        let found = self.connection.query_row(find, [known.row], |row| row.get(0));
        let has_messages: bool = found.map_err(faults(&self.path))?;
        Ok((!has_messages).then_some(known.last))
    }

    fn floor(&self) -> Seq {
        self.floor
    }

    fn conversations(&self) -> Vec<Conversation> {
        self.conversations.keys().cloned().collect()
    }

    fn tidy(&mut self, now_ms: i64) -> Result<Tidied, LedgerError> {
        let (old, ids_max, began) = (now_ms - USED_IDS_MS, self.pace.size(), Instant::now());
        let gone = self.write(|ledger| {
            let gone = "DELETE FROM used_ids WHERE (name, sender, id) IN \
                 (SELECT name, sender, id FROM used_ids WHERE time_ms < ?1 LIMIT ?2)";
            ledger.connection.prepare_cached(gone)?.execute(params![old, ids_max as i64])
        })?;
        if gone == ids_max {
            self.pace.done(began, self.commit_time);
            return Ok(Tidied::More);
        }
        let tidied = self.tidy.some(&self.connection, &self.path, self.commit_time);
        self.poisoned |= matches!(tidied, Err(LedgerError::InDoubt { .. }));
        tidied
    }

    fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        // For each conversation, because its index contains the times.
        let find = "SELECT max((SELECT max(time_ms) FROM messages m WHERE m.conversation = c.conversation)) FROM conversations c";
        self.connection.query_row(find, [], |row| row.get(0)).map_err(faults(&self.path))
    }

    fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError> {
        let doomed = self.write(|ledger| erase::begin(&ledger.connection, user))?;
        self.doomed.extend(doomed);
        self.tidy.note(0);
        Ok(())
    }

    fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError> {
        let (began, messages_max) = (Instant::now(), self.pace.size());
        let erased = self.write(|ledger| {
            ledger.tidy.expect(&ledger.connection)?;
            erase::some(&ledger.connection, messages_max, &mut ledger.doomed)
        });
        let erased = match erased {
            Err(error) if self.has_less_to_do(&error) => return self.erase_some(),
            erased => erased?,
        };
        if let Some(part) = erased.as_ref().map(|erased| erased.part).filter(|part| *part > 0) {
            self.tidy.note(part);
            self.pace.done(began, self.commit_time);
        }
        Ok(erased)
    }

    fn renew(&mut self, user: &UserName) -> Result<(), LedgerError> {
        let unclaimed = "owner = ?1 AND message IS NULL";
        let doomed = self.write(|ledger| {
            let transaction = ledger.connection.unchecked_transaction()?;
            ledger.owners.renew(&transaction, user)?;
            let doomed = doom(&transaction, DELETED, (unclaimed, params![user.folded()]))?;
            transaction.commit()?;
            Ok(doomed)
        })?;
        self.doomed.extend(doomed);
        Ok(())
    }

    fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        remembered(&self.connection, waiting_max).map_err(faults(&self.path))
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn stored_ever(&self) -> u64 {
        self.stored_ever
    }

    fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), LedgerError> {
        self.write(|ledger| {
            ledger.connection.execute("UPDATE meta SET log = ?1", [epoch.0 as i64]).map(drop)
        })?;
        self.epoch = epoch;
        Ok(())
    }
}

impl Sqlite {
    /// Dooms the files that a condition selects. Returns their number.
    fn doom_some(
        &mut self,
        why: i64,
        condition: (&str, &[&dyn rusqlite::ToSql]),
    ) -> Result<usize, LedgerError> {
        let doomed = self.write(|ledger| doom(&ledger.connection, why, condition))?;
        let count = doomed.len();
        self.doomed.extend(doomed);
        Ok(count)
    }

    fn blob_rows(&self, which: Rows) -> Result<Vec<BlobRow>, LedgerError> {
        blobs::rows(&self.connection, which).map_err(faults(&self.path))
    }
}

impl Blobs for Sqlite {
    fn begin_blob(&mut self, new: &NewBlob, limits: &BlobLimits) -> Result<Began, LedgerError> {
        let holder = self.owners.of(&new.owner);
        self.write(|ledger| blobs::begin(&ledger.connection, new, holder, limits))
    }

    fn keep_blob(&mut self, stored: BlobId, until_ms: i64) -> Result<bool, LedgerError> {
        self.write(|ledger| blobs::keep(&ledger.connection, stored, until_ms))
    }

    fn drop_blob(&mut self, owner: &UserName, blob: BlobId) -> Result<DropOutcome, LedgerError> {
        let holder = self.owners.of(owner);
        // `+` keeps the database engine from going through all files of the owner.
        let condition = "blob = ?3 AND +owner = ?1 AND +holder = ?2 AND message IS NULL";
        let values = params![owner.folded(), holder, blob.0];
        if self.doom_some(DELETED, (condition, values))? > 0 {
            return Ok(DropOutcome::Doomed);
        }
        let announced = blobs::is_announced(&self.connection, (owner, holder), blob);
        Ok(match announced.map_err(faults(&self.path))? {
            true => DropOutcome::Announced,
            false => DropOutcome::Unknown,
        })
    }

    fn cancel_blob(&mut self, stored: BlobId) -> Result<(), LedgerError> {
        let condition = format!("stored = ?1 AND state = {}", blobs::COMING);
        self.doom_some(DELETED, (&condition, params![stored.0])).map(drop)
    }

    fn lose_blob(&mut self, stored: BlobId) -> Result<(), LedgerError> {
        let condition = format!("stored = ?1 AND state = {}", blobs::KEPT);
        self.doom_some(LOST, (&condition, params![stored.0])).map(drop)
    }

    fn expire_blobs(&mut self, now_ms: i64) -> Result<usize, LedgerError> {
        let condition = "stored IN \
             (SELECT stored FROM blobs WHERE state IN (0, 1) AND until_ms <= ?1 LIMIT ?2)";
        self.doom_some(EXPIRED, (condition, params![now_ms, blobs::ROWS_MAX]))
    }

    fn doomed_blobs(&self) -> Result<Vec<BlobId>, LedgerError> {
        Ok(self.blob_rows(Rows::Doomed)?.into_iter().map(|row| row.stored).collect())
    }

    fn bury_blobs(&mut self, stored: &[BlobId]) -> Result<(), LedgerError> {
        self.write(|ledger| blobs::bury(&ledger.connection, stored))
    }

    fn blob(&self, stored: BlobId) -> Result<Option<BlobRow>, LedgerError> {
        Ok(self.blob_rows(Rows::One(stored))?.pop())
    }

    fn blobs_of(
        &self,
        owner: &UserName,
        rows_max: usize,
    ) -> Result<(Vec<BlobRow>, BlobTotals), LedgerError> {
        let holder = (owner, self.owners.of(owner));
        let totals = blobs::totals(&self.connection, Some(holder)).map_err(faults(&self.path))?;
        Ok((self.blob_rows(Rows::Of(holder, rows_max))?, totals))
    }

    fn blobs_after(&self, stored: Option<BlobId>) -> Result<Vec<BlobRow>, LedgerError> {
        self.blob_rows(Rows::After(stored))
    }

    fn blob_totals(&self) -> Result<BlobTotals, LedgerError> {
        blobs::totals(&self.connection, None).map_err(faults(&self.path))
    }

    fn blob_owners(&self) -> Result<Vec<(UserName, BlobTotals)>, LedgerError> {
        blobs::owners(&self.connection).map_err(faults(&self.path))
    }

    fn take_doomed(&mut self) -> Vec<BlobId> {
        std::mem::take(&mut self.doomed)
    }
}
