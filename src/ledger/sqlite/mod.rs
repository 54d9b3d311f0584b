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
mod reindex;
mod remove;
mod rename;
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
use blobs::{DELETED, EXPIRED, LOST, Rows, doom};
use commit::{Commit, outcome_of_unreadable, stored};
use connection::{create, faults, prepare, sync_log, truncate_log, write_faults};
use conversations::{Known, WAITING, remembered};
pub use file::jobs;
use fresh::Fresh;
use migrate::migrate;
use owners::Owners;
pub use reader::SqliteReader;
use reindex::Reindex;
use remove::{has_messages, old, remove, report_left};
use rename::{Moved, Names};
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
    reindex: Reindex,
    /// Number of messages that are removed at once.
    pace: Pace,
    commit_time: CommitTime,
    /// Files that were doomed and not taken yet.
    doomed: Vec<BlobId>,
    /// The place in a row behind which its next removal goes on, where some before could not be
    /// removed.
    passed: HashMap<i64, Place>,
    /// Number of the next texts that are erased one at a time, because a part met a damaged page.
    erased_alone: usize,
    /// Number of texts that could not be erased.
    unerased: usize,
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
        let head = conversations::head(&connection).map_err(&fault)?;
        Ok(Sqlite {
            epoch: head.epoch,
            change_s_max,
            conversations: conversations::load(&connection).map_err(&fault)?,
            detached: detach::load(&connection).map_err(&fault)?,
            has_used_ids: head.has_used_ids,
            floor: head.floor,
            poisoned: false,
            stored_ever: head.stored_ever,
            owners: Owners::load(&connection).map_err(&fault)?,
            tidy: Tidy::load(&connection).map_err(&fault)?,
            fresh: Fresh::load(&connection).map_err(&fault)?,
            reindex: Reindex::default(),
            pace: Pace::new(REMOVED_AT_ONCE.0, REMOVED_AT_ONCE.1),
            commit_time: CommitTime::default(),
            doomed: Vec::new(),
            passed: HashMap::new(),
            erased_alone: 0,
            unerased: 0,
            at_once: REMOVED_AT_ONCE,
            path: path.to_owned(),
            connection,
        })
    }

    pub fn reader(&self) -> SqliteReader {
        SqliteReader::new(&self.path)
    }

    /// Returns how many texts could not be erased since the file was opened.
    fn unerased(&self) -> usize {
        self.unerased
    }

    /// Runs a write, and again if it met a damaged index of words. After a failed sync nothing is
    /// written until the file is opened again.
    fn write<T>(
        &mut self,
        mut work: impl FnMut(&mut Sqlite) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        if self.poisoned {
            return Err(LedgerError::Poisoned { path: self.path.clone() });
        }
        let mut work = |ledger: &mut Sqlite| work(ledger).map_err(write_faults(&ledger.path));
        let done = match work(self) {
            Err(error) if self.replaces_words(&error) => work(self),
            done => done,
        };
        self.poisoned |= matches!(done, Err(LedgerError::InDoubt { .. }));
        done
    }

    /// After an error: replaces the index of words if that is damaged. Returns whether to try
    /// again.
    fn replaces_words(&mut self, error: &LedgerError) -> bool {
        let fresh = self.reindex.replace(&self.connection, &self.path, error);
        let is_replaced = fresh.is_some();
        if let Some(fresh) = fresh {
            self.fresh = fresh;
            self.tidy.note(0);
        }
        is_replaced
    }

    /// After an error of a part of a long job: whether a smaller part may find the room on the disk
    /// that this one did not. The log's own room is for the next part.
    fn has_less_to_do(&mut self, error: &LedgerError) -> bool {
        let less = error.is_of_the_disk() && !self.poisoned && self.pace.fall_back();
        // Where somebody reads from the log, the next part does without.
        less && truncate_log(&self.connection).is_ok()
    }

    /// Removes some of the messages of a row that are older than `before_ms`. Their ids stay known
    /// under the conversation's name. Messages that a damaged page keeps stay.
    fn remove_some(
        &mut self,
        row: i64,
        name: &Conversation,
        before_ms: i64,
    ) -> Result<(usize, bool), LedgerError> {
        let (began, messages_max) = (Instant::now(), self.pace.size());
        let from = self.passed.remove(&row).unwrap_or((i64::MIN, i64::MIN));
        let old = old(&self.connection, (row, before_ms), from, messages_max);
        let old = old.map_err(faults(&self.path))?;
        let rowids: Vec<i64> = old.iter().map(|(_, rowid)| *rowid).collect();
        self.write(|ledger| ledger.tidy.expect(&ledger.connection))?;
        let gone = match self.remove_around(&rowids, name) {
            Err(error) if self.has_less_to_do(&error) => return Ok((0, true)),
            gone => gone?,
        };
        if gone > 0 {
            self.has_used_ids = true;
            self.tidy.note(gone);
            self.pace.done(began, self.commit_time);
        }
        let more = old.len() == messages_max;
        if gone < old.len() {
            report_left(&self.path, old.len() - gone, name);
            // The next part goes on behind them.
            self.passed.extend(old.last().filter(|_| more).map(|place| (row, *place)));
        }
        Ok((gone, more))
    }

    /// Removes messages around damaged pages. A transaction that has met one cannot go on, so that
    /// it halves the messages until those that cannot be removed are alone: they are on the page,
    /// or the database engine would join their page with it. Returns the number of removed ones.
    fn remove_around(&mut self, rowids: &[i64], name: &Conversation) -> Result<usize, LedgerError> {
        match self.write(|ledger| remove(&ledger.connection, rowids, name)) {
            Err(error) if error.is_damage() && rowids.len() > 1 => {
                let (one, other) = rowids.split_at(rowids.len() / 2);
                Ok(self.remove_around(one, name)? + self.remove_around(other, name)?)
            }
            Err(error) if error.is_damage() => Ok(0),
            gone => {
                let (gone, doomed) = gone?;
                self.doomed.extend(doomed);
                Ok(gone)
            }
        }
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
        match self.commit_all(records) {
            Err(error) if error.is_damage() => self.commit_around(records),
            outcomes => outcomes,
        }
    }

    fn index_some(&mut self) -> Result<bool, LedgerError> {
        if self.poisoned {
            return Err(LedgerError::Poisoned { path: self.path.clone() });
        }
        let more = self.fresh.some(&self.connection, &self.path, self.commit_time);
        self.poisoned |= matches!(more, Err(LedgerError::InDoubt { .. }));
        match more {
            Err(error) if self.replaces_words(&error) => Ok(true),
            more => more,
        }
    }

    fn stored(&self, sent: &SentMessage) -> Option<Seq> {
        let present = self.conversations.get(&sent.conversation).map(|known| known.row);
        let detached = self.detached.iter().filter(|(_, name)| *name == sent.conversation);
        let rows = present.into_iter().chain(detached.map(|(row, _)| *row));
        stored(&self.connection, rows, sent)
    }

    fn expire(
        &mut self,
        conversation: &Conversation,
        before_ms: i64,
    ) -> Result<(usize, bool), LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok((0, false)) };
        self.remove_some(known.row, conversation, before_ms)
    }

    fn count_old(
        &self,
        conversation: &Conversation,
        before_ms: i64,
        from: Option<Place>,
    ) -> Result<(usize, Option<Place>), LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok((0, None)) };
        let (which, from) = ((known.row, before_ms), from.unwrap_or((i64::MIN, i64::MIN)));
        let found =
            old(&self.connection, which, from, self.at_once.1).map_err(faults(&self.path))?;
        let last = found.last().copied().filter(|_| found.len() == self.at_once.1);
        Ok((found.len(), last))
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
        if self.remove_some(row, &name, i64::MAX)?.1 {
            return Ok(true);
        }
        self.write(|ledger| detach::drop_removed(&ledger.connection, row))?;
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
        self.write(|ledger| detach::drop_empty(&ledger.connection, row, ledger.floor))?;
        self.tidy.note(0);
        self.conversations.remove(conversation);
        Ok(())
    }

    fn emptied(&self, conversation: &Conversation) -> Result<Option<Seq>, LedgerError> {
        let Some(known) = self.conversations.get(conversation) else { return Ok(None) };
        let has_messages = has_messages(&self.connection, known.row).map_err(faults(&self.path))?;
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
        match tidied {
            Err(error) if self.replaces_words(&error) => Ok(Tidied::More),
            tidied => tidied,
        }
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
        let messages_max = if self.erased_alone > 0 { 1 } else { self.pace.size() };
        let began = Instant::now();
        let erased = match self.erase_part(messages_max, false) {
            Err(error) if self.has_less_to_do(&error) => return self.erase_some(),
            Err(error) if error.is_damage() && messages_max > 1 => {
                if !self.pace.fall_back() {
                    self.erased_alone = messages_max;
                }
                return self.erase_some();
            }
            Err(error) if error.is_damage() => self.erase_part(messages_max, true)?,
            erased => erased?,
        };
        self.erased_alone = self.erased_alone.saturating_sub(1);
        if let Some(Erased { user, unreadable: left @ 1.., .. }) = &erased {
            self.unerased += left;
            erase::report_left(&self.path, user, *left);
        }
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

    fn rename(&mut self, old: &UserName, new: &UserName) -> Result<Vec<Conversation>, LedgerError> {
        // An erasure finds texts by the name of their sender.
        while self.erase_some()?.is_some() {}
        let (holder, next) = (self.owners.of(old), self.owners.of(new));
        let (moved, kept, floor) = self.write(|ledger| {
            let names = Names { old, new, holder, next };
            let damaged = rename::damaged(&ledger.connection, &names)?;
            let transaction = ledger.connection.unchecked_transaction()?;
            let (moved, kept) = rename::rename(&transaction, &names, &damaged)?;
            let last = |one: &Moved| Some(ledger.conversations.get(&one.from)?.last);
            let floor = moved.iter().filter_map(last).fold(ledger.floor, Seq::max);
            transaction.execute("UPDATE meta SET floor = ?1", [floor.0 as i64])?;
            transaction.commit()?;
            Ok((moved, kept, floor))
        })?;
        // Clients have positions under the old names.
        self.floor = floor;
        for one in moved {
            self.conversations.remove(&one.to);
            if let Some(known) = self.conversations.remove(&one.from) {
                self.conversations.insert(one.to, known);
            }
        }
        Ok(kept)
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
    /// Erases so many texts at most, or `leaves` them.
    fn erase_part(
        &mut self,
        messages_max: usize,
        leaves: bool,
    ) -> Result<Option<Erased>, LedgerError> {
        self.write(|ledger| {
            ledger.tidy.expect(&ledger.connection)?;
            erase::some(&ledger.connection, messages_max, leaves, &mut ledger.doomed)
        })
    }

    /// Commits records in one transaction.
    fn commit_all(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError> {
        let (mut touched, began) = (HashMap::new(), Instant::now());
        let (outcomes, (removals, doomed)) = self.write(|ledger| {
            touched.clear();
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

    /// Commits records of which some need a damaged page. A transaction that has met one cannot go
    /// on: records about messages on such pages get their outcome without it.
    fn commit_around(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError> {
        let find = |record: &Record| {
            let Record::Message(sent) = record else { return Ok(None) };
            let Some(known) = self.conversations.get(&sent.conversation) else { return Ok(None) };
            outcome_of_unreadable(&self.connection, known.row, (sent, self.stored(sent)))
        };
        let found = records.iter().map(find);
        let found: Vec<Option<Outcome>> =
            found.collect::<Result<_, _>>().map_err(faults(&self.path))?;
        let rest = records.iter().zip(&found).filter(|(_, found)| found.is_none());
        let rest: Vec<Record> = rest.map(|(record, _)| record.clone()).collect();
        let committed = match self.commit_all(&rest) {
            // A change next to a damaged page fails alone.
            Err(error) if error.is_damage() => {
                let alone = |record: &Record| match self.commit_all(std::slice::from_ref(record)) {
                    Err(error) if error.is_damage() => {
                        log::error!("a record is not stored: {error}");
                        Ok(Outcome::Failed)
                    }
                    outcomes => outcomes.map(|outcomes| outcomes[0]),
                };
                rest.iter().map(alone).collect::<Result<_, _>>()?
            }
            committed => committed?,
        };
        let mut committed = committed.into_iter();
        let outcomes = found.into_iter().map(|found| found.or_else(|| committed.next()));
        Ok(outcomes.map(|outcome| outcome.expect("one for each record")).collect())
    }

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

    fn find_blob(
        &self,
        conversation: &Conversation,
        blob: BlobId,
    ) -> Result<Option<BlobRow>, LedgerError> {
        blobs::find(&self.connection, conversation, blob).map_err(faults(&self.path))
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
