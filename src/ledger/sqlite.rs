//! The ledger on disk: SQLite with a write-ahead log, synced at every commit (`synchronous=FULL`),
//! and deleted bytes overwritten (`secure_delete`).

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::ffi;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};

use super::memory::{known_as, may_change};
use super::schema::KINDS;
use super::{
    Draft, Ledger, LedgerError, Page, Reader, Record, Remembered, Verdict, message, upkeep,
};
use crate::chat::{Kind, LogId, Message, MsgId, Opaque, Place, Seq, UserName};
use crate::crypto::sha256;

/// Another connection's lock is waited for this long.
const BUSY: Duration = Duration::from_secs(5);
/// Pages of the file in memory.
const CACHE_KIB: i64 = 8_192;
/// Pages in the write-ahead log before they are copied into the file.
const LOG_PAGES: i64 = 4_000;
/// Read connections at once; who wants one more waits.
const READERS_MAX: usize = 3;
/// Ids of lines that are gone are known for this long.
const SPENT_MS: i64 = 7 * 86_400_000;

/// Bits of a line's number that are its seq; those above are its place's.
const SEQ_BITS: u32 = 40;
const SEQ_MAX: i64 = (1 << SEQ_BITS) - 1;

const COLUMNS: &str = "l.line, l.id, l.sender, l.device, l.time_ms, l.kind, l.target, l.state, \
     l.text, l.checksum, p.name, t.text AS target_text, l.sealed, t.sealed AS target_sealed";
const FROM: &str = "FROM lines l JOIN places p USING (place) \
     LEFT JOIN lines t ON t.line = l.place << 40 | l.target";

/// The writing half.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    log: LogId,
    change_s_max: u64,
    places: HashMap<Place, Known>,
    /// Whether any id of a removed line is kept.
    spent: bool,
    poisoned: bool,
}

#[derive(Clone, Copy)]
struct Known {
    row: i64,
    last: Seq,
}

/// The reading half: a few connections that only read.
pub struct SqliteReader {
    path: PathBuf,
    idle: Mutex<(Vec<Connection>, usize)>,
    freed: Condvar,
}

impl Sqlite {
    /// Opens or makes the file, and brings its schema up to date (with a copy beside it first).
    pub fn open(path: &Path, change_s_max: u64) -> Result<Sqlite, LedgerError> {
        let fault = faults(path);
        create(path).map_err(|error| LedgerError::Io { path: path.to_owned(), error })?;
        let mut connection = Connection::open(path).map_err(&fault)?;
        prepare(&connection).map_err(&fault)?;
        upkeep::migrate(&mut connection, path)?;
        let log: i64 =
            connection.query_row("SELECT log FROM meta", [], |row| row.get(0)).map_err(&fault)?;
        let spent = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM spent)", [], |row| row.get(0))
            .map_err(&fault)?;
        let mut places = HashMap::new();
        {
            let mut query =
                connection.prepare("SELECT name, place, last FROM places").map_err(&fault)?;
            let mut rows = query.query([]).map_err(&fault)?;
            while let Some(row) = rows.next().map_err(&fault)? {
                let known = read_known(row).map_err(&fault)?;
                places.insert(known.0, known.1);
            }
        }
        let (path, log) = (path.to_owned(), LogId(log as u64));
        Ok(Sqlite { connection, path, log, change_s_max, places, spent, poisoned: false })
    }

    pub fn reader(&self) -> SqliteReader {
        // One is opened now: there may be no descriptor left when it is needed.
        let first = open_reader(&self.path).ok();
        let count = usize::from(first.is_some());
        let idle = Mutex::new((first.into_iter().collect(), count));
        SqliteReader { path: self.path.clone(), idle, freed: Condvar::new() }
    }

    /// The file may grow to this many pages and no further.
    #[cfg(test)]
    pub fn limit_pages(&self, pages: i64) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    #[cfg(test)]
    pub fn break_with(&self, statement: &str) {
        self.connection.execute_batch(statement).unwrap();
    }
}

/// Makes the file for its owner's eyes only, where it is missing; SQLite gives its log the same mode.
fn create(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(|_| ())
}

/// What every connection that writes is set to.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // The pages that writing touches again and again stay at hand, and are copied from the log into
    // the file less often than a page's every change (both 4 times SQLite's own figures).
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

pub(super) fn faults(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    let path = path.to_owned();
    move |error| match error {
        rusqlite::Error::FromSqlConversionFailure(_, _, what) => {
            LedgerError::Damaged { path: path.clone(), what: what.to_string() }
        }
        error => LedgerError::Sqlite { path: path.clone(), error },
    }
}

fn read_known(row: &Row) -> rusqlite::Result<(Place, Known)> {
    let place = parsed(row, 0)?;
    Ok((place, Known { row: row.get(1)?, last: seq(row.get(2)?) }))
}

/// A text column that is a name.
fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error: T::Err| damaged(column, error))
}

fn damaged(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

fn seq(number: i64) -> Seq {
    Seq(number as u64)
}

/// The number of a place's line.
fn line_of(place: i64, seq: Seq) -> i64 {
    place << SEQ_BITS | i64::try_from(seq.0).unwrap_or(i64::MAX).min(SEQ_MAX)
}

/// Eight bytes over all that a row says, so that a flipped bit on the disk is noticed.
fn checksum(draft: &Draft, seq: Seq, state: i64) -> i64 {
    let target = draft.target.map_or(0, |target| target.0);
    let place = draft.place.to_string();
    // A line with a text has the sum that it had before lines could be sealed.
    let sealed = draft.sealed.as_ref().map_or(&[][..], Opaque::bytes);
    let mark = if draft.sealed.is_some() { 0x80 } else { 0 };
    let parts: [&[u8]; 10] = [
        place.as_bytes(),
        &[0],
        draft.from.as_str().as_bytes(),
        &[0],
        draft.device.as_str().as_bytes(),
        &draft.id.0,
        &[draft.kind as u8 | mark, state as u8],
        &[seq.0.to_be_bytes(), draft.time_ms.to_be_bytes(), target.to_be_bytes()].concat(),
        draft.text.as_bytes(),
        sealed,
    ];
    i64::from_be_bytes(*sha256(&parts).first_chunk().expect("a hash has 8 bytes"))
}

fn read_sealed(row: &Row, column: usize) -> rusqlite::Result<Option<Opaque>> {
    let bytes = row.get_ref(column)?.as_blob_or_null()?;
    let sealed = bytes.map(Opaque::new).transpose();
    sealed.map_err(|error| damaged(column, error))
}

/// A row of `COLUMNS` as it was written.
fn read_row(row: &Row) -> rusqlite::Result<(Draft, Seq, i64)> {
    let kind: usize = row.get(5)?;
    let draft = Draft {
        place: parsed(row, 10)?,
        from: parsed(row, 2)?,
        device: parsed(row, 3)?,
        id: MsgId(row.get(1)?),
        time_ms: row.get(4)?,
        kind: *KINDS.get(kind).ok_or_else(|| damaged(5, "a line of an unknown kind"))?,
        target: row.get::<_, Option<i64>>(6)?.map(seq),
        text: row.get(8)?,
        sealed: read_sealed(row, 12)?,
    };
    let (line, state): (i64, i64) = (row.get(0)?, row.get(7)?);
    let seq = seq(line & SEQ_MAX);
    if checksum(&draft, seq, state) != row.get::<_, i64>(9)? {
        let what = format!("line {seq} of {} is not what was stored", draft.place);
        return Err(damaged(9, what));
    }
    Ok((draft, seq, state))
}

/// A row as it is told again: an edit with the text that its target has now.
fn read_message(row: &Row) -> rusqlite::Result<Message> {
    let (mut draft, number, state) = read_row(row)?;
    if draft.kind == Kind::Edit {
        draft.text = row.get::<_, Option<String>>(11)?.unwrap_or_default();
        draft.sealed = read_sealed(row, 13)?;
    }
    Ok(message(draft, number, state == 1, state == 2))
}

/// One transaction's work.
struct Commit<'a> {
    transaction: Transaction<'a>,
    places: &'a HashMap<Place, Known>,
    /// Places as they are once this is committed.
    touched: &'a mut HashMap<Place, Known>,
    spent: bool,
    change_s_max: u64,
}

impl Commit<'_> {
    /// In their order, but for lines beside each other, which are taken place by place: the index of
    /// words is written at once only as long as the lines' numbers rise.
    fn write_all(&mut self, records: &[Record]) -> rusqlite::Result<Vec<Verdict>> {
        let mut verdicts = vec![Verdict::Failed; records.len()];
        let mut first = 0;
        let is_line = |record: &Record| matches!(record, Record::Line(_));
        for run in records.chunk_by(|one, next| is_line(one) && is_line(next)) {
            let mut order: Vec<usize> = (first..first + run.len()).collect();
            order.sort_by_cached_key(|index| match &records[*index] {
                Record::Line(Draft { place, .. }) => {
                    let row = self.places.get(place).map_or(i64::MAX, |known| known.row);
                    Some((row, place.clone()))
                }
                _ => None,
            });
            for index in order {
                verdicts[index] = self.write(&records[index])?;
            }
            first += run.len();
        }
        Ok(verdicts)
    }

    fn write(&mut self, record: &Record) -> rusqlite::Result<Verdict> {
        match record {
            Record::Line(draft) => return self.line(draft),
            Record::Topic(channel, topic) => {
                let place = self.place(&Place::Channel(channel.clone()))?;
                let set = "UPDATE places SET topic = ?2 WHERE place = ?1";
                self.transaction.prepare_cached(set)?.execute(params![place.row, topic])?;
            }
            Record::Read(user, place, read) => {
                let place = self.place(place)?;
                let set = "INSERT INTO reads (person, place, seq) VALUES (?1, ?2, ?3) \
                     ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)";
                let values = params![user.as_str(), place.row, read.0 as i64];
                self.transaction.prepare_cached(set)?.execute(values)?;
            }
            Record::Away(user, places) => {
                for place in places {
                    let place = self.place(place)?;
                    let set = "INSERT INTO reads (person, place, away) VALUES (?1, ?2, ?3) \
                         ON CONFLICT DO UPDATE SET away = excluded.away";
                    let values = params![user.as_str(), place.row, place.last.0 as i64];
                    self.transaction.prepare_cached(set)?.execute(values)?;
                }
            }
        }
        Ok(Verdict::Stored(Seq(0)))
    }

    fn place(&mut self, place: &Place) -> rusqlite::Result<Known> {
        if let Some(known) = self.touched.get(place).or_else(|| self.places.get(place)) {
            return Ok(*known);
        }
        let add = "INSERT INTO places (name) VALUES (?1)";
        self.transaction.prepare_cached(add)?.execute([place.to_string()])?;
        let known = Known { row: self.transaction.last_insert_rowid(), last: Seq(0) };
        self.touched.insert(place.clone(), known);
        Ok(known)
    }

    fn line(&mut self, draft: &Draft) -> rusqlite::Result<Verdict> {
        let place = self.place(&draft.place)?;
        // A change is looked for first, because it would be made before its own line is added.
        if (draft.target.is_some() || self.spent)
            && let Some(verdict) = self.known(place, draft)?
        {
            return Ok(verdict);
        }
        if let Some(target) = draft.target
            && let Err(verdict) = self.change(place, target, draft)?
        {
            return Ok(verdict);
        }
        let next = Seq(place.last.0 + 1);
        let mut own = draft.clone();
        if draft.kind == Kind::Edit {
            own.clear();
        }
        let add = "INSERT INTO lines \
             (line, place, id, sender, device, time_ms, kind, target, text, checksum, sealed) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
             ON CONFLICT (place, sender, id) DO NOTHING";
        let added = self.transaction.prepare_cached(add)?.execute(params![
            line_of(place.row, next),
            place.row,
            own.id.0,
            own.from.as_str(),
            own.device.as_str(),
            own.time_ms,
            own.kind as i64,
            own.target.map(|target| target.0 as i64),
            own.text,
            checksum(&own, next, 0),
            own.sealed.as_ref().map(Opaque::bytes),
        ])?;
        if added == 0 {
            return Ok(self.known(place, draft)?.unwrap_or(Verdict::Conflict));
        }
        self.touched.insert(draft.place.clone(), Known { last: next, ..place });
        Ok(Verdict::Stored(next))
    }

    /// The verdict on a line whose id is known.
    fn known(&self, place: Known, draft: &Draft) -> rusqlite::Result<Option<Verdict>> {
        let by_id = params![place.row, draft.from.as_str(), draft.id.0];
        let find =
            format!("SELECT {COLUMNS} {FROM} WHERE l.place = ?1 AND l.sender = ?2 AND l.id = ?3");
        let mut find = self.transaction.prepare_cached(&find)?;
        if let Some((stored, number, state)) = find.query_row(by_id, read_row).optional()? {
            return Ok(Some(known_as(&stored, state != 0, number, draft)));
        }
        let find = "SELECT seq FROM spent WHERE place = ?1 AND sender = ?2 AND id = ?3";
        let mut find = self.transaction.prepare_cached(find)?;
        let gone = find.query_row(by_id, |row| row.get(0)).optional()?;
        Ok(gone.map(|number| Verdict::Known(seq(number))))
    }

    fn change(
        &self,
        place: Known,
        target: Seq,
        draft: &Draft,
    ) -> rusqlite::Result<Result<(), Verdict>> {
        let line = line_of(place.row, target);
        let find = format!("SELECT {COLUMNS} {FROM} WHERE l.line = ?1");
        let mut find = self.transaction.prepare_cached(&find)?;
        let Some((mut stored, number, state)) = find.query_row([line], read_row).optional()? else {
            return Ok(Err(Verdict::NoSuchLine));
        };
        if let Err(verdict) = may_change(&stored, state == 2, draft, self.change_s_max) {
            return Ok(Err(verdict));
        }
        let state = if draft.kind == Kind::Edit { 1 } else { 2 };
        match draft.kind {
            Kind::Edit => stored.say_as(draft),
            _ => stored.clear(),
        }
        let set =
            "UPDATE lines SET text = ?2, state = ?3, checksum = ?4, sealed = ?5 WHERE line = ?1";
        let sum = checksum(&stored, number, state);
        let sealed = stored.sealed.as_ref().map(Opaque::bytes);
        let values = params![line, stored.text, state, sum, sealed];
        self.transaction.prepare_cached(set)?.execute(values)?;
        Ok(Ok(()))
    }

    fn end(self) -> rusqlite::Result<()> {
        for known in self.touched.values() {
            let set = "UPDATE places SET last = ?2 WHERE place = ?1";
            let mut set = self.transaction.prepare_cached(set)?;
            set.execute(params![known.row, known.last.0 as i64])?;
        }
        self.transaction.commit()
    }
}

/// Whether it is open what a failed commit left on the disk.
fn in_doubt(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC | ffi::SQLITE_IOERR))
}

impl Ledger for Sqlite {
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Verdict>, LedgerError> {
        if self.poisoned {
            return Err(LedgerError::Poisoned { path: self.path.clone() });
        }
        let mut touched = HashMap::new();
        let mut work = || {
            let transaction = Transaction::new_unchecked(
                &self.connection,
                rusqlite::TransactionBehavior::Immediate,
            )?;
            let (spent, change_s_max) = (self.spent, self.change_s_max);
            let mut commit = Commit {
                transaction,
                places: &self.places,
                touched: &mut touched,
                spent,
                change_s_max,
            };
            let verdicts = commit.write_all(records)?;
            commit.end()?;
            Ok(verdicts)
        };
        match work() {
            Ok(verdicts) => {
                self.places.extend(touched);
                Ok(verdicts)
            }
            Err(error) if in_doubt(&error) => {
                self.poisoned = true;
                Err(LedgerError::InDoubt { path: self.path.clone(), error })
            }
            Err(error) => Err(faults(&self.path)(error)),
        }
    }

    fn expire(
        &mut self,
        place: &Place,
        before_ms: i64,
        lines_max: usize,
        dry: bool,
    ) -> Result<usize, LedgerError> {
        let Some(known) = self.places.get(place) else { return Ok(0) };
        let row = known.row;
        let work = || {
            if dry {
                let count = "SELECT count(*) FROM lines WHERE place = ?1 AND time_ms < ?2";
                return self.connection.query_row(count, params![row, before_ms], |row| row.get(0));
            }
            let transaction = self.connection.unchecked_transaction()?;
            let old = "SELECT line FROM lines WHERE place = ?1 AND time_ms < ?2 \
                 ORDER BY time_ms LIMIT ?3";
            let values = params![row, before_ms, lines_max];
            let keep = format!(
                "INSERT OR IGNORE INTO spent SELECT place, sender, id, line & {SEQ_MAX}, time_ms \
                 FROM lines WHERE line IN ({old})"
            );
            transaction.execute(&keep, values)?;
            let gone =
                transaction.execute(&format!("DELETE FROM lines WHERE line IN ({old})"), values)?;
            transaction.commit()?;
            Ok(gone)
        };
        let gone = work().map_err(faults(&self.path))?;
        self.spent |= gone > 0 && !dry;
        Ok(gone)
    }

    fn places(&self) -> Vec<Place> {
        self.places.keys().cloned().collect()
    }

    fn scrub(&mut self, now_ms: i64) -> Result<(), LedgerError> {
        let work = || {
            self.connection.execute("DELETE FROM spent WHERE time_ms < ?1", [now_ms - SPENT_MS])?;
            // A reader in the way makes it busy; the next sweep tries again.
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        work().map_err(faults(&self.path))
    }

    fn erase(&mut self, user: &UserName) -> Result<usize, LedgerError> {
        upkeep::erase(&self.connection, user).map_err(faults(&self.path))
    }

    fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        remembered(&self.connection, waiting_max).map_err(faults(&self.path))
    }

    fn log_id(&self) -> LogId {
        self.log
    }
}

/// Takes the texts of a person's lines away: each becomes a tombstone in its seat.
pub(super) fn bury(connection: &Connection, user: &UserName) -> rusqlite::Result<usize> {
    let transaction = connection.unchecked_transaction()?;
    let buried = {
        // Place by place, where the index of ids has them by their sender.
        let find = format!(
            "SELECT {COLUMNS} FROM places p CROSS JOIN lines l ON l.place = p.place \
             LEFT JOIN lines t ON t.line = l.place << 40 | l.target \
             WHERE l.sender = ?1 AND (l.text <> '' OR l.sealed IS NOT NULL OR l.state = 1)"
        );
        let mut find = transaction.prepare(&find)?;
        let mut rows = find.query([user.as_str()])?;
        let mut set = transaction.prepare(
            "UPDATE lines SET text = '', sealed = NULL, state = 2, checksum = ?2 \
                 WHERE line = ?1",
        )?;
        let mut buried = 0;
        while let Some(row) = rows.next()? {
            let (mut draft, number, _) = read_row(row)?;
            draft.clear();
            let sum = checksum(&draft, number, 2);
            buried += set.execute(params![row.get::<_, i64>(0)?, sum])?;
        }
        buried
    };
    transaction.commit()?;
    Ok(buried)
}

/// Reads every line of a file; gives how many there are.
pub(super) fn read_all(connection: &Connection) -> rusqlite::Result<usize> {
    let mut query = connection.prepare(&format!("SELECT {COLUMNS} {FROM}"))?;
    let mut rows = query.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        read_row(row)?;
        count += 1;
    }
    Ok(count)
}

fn remembered(connection: &Connection, waiting_max: usize) -> rusqlite::Result<Vec<Remembered>> {
    let mut places = connection.prepare("SELECT name, place, last, topic FROM places")?;
    let mut reads = connection.prepare("SELECT person, seq FROM reads WHERE place = ?1")?;
    // Who is away does not write: as many lines as may wait are all that has to be looked at.
    let mut waiting = connection.prepare(
        "SELECT count(*) FROM (SELECT sender FROM lines WHERE line > ?1 << 40 | coalesce( \
         (SELECT away FROM reads WHERE place = ?1 AND person = ?2), 0) \
         AND line < (?1 + 1) << 40 LIMIT ?3) WHERE sender <> ?2",
    )?;
    let mut found = Vec::new();
    let mut rows = places.query([])?;
    while let Some(row) = rows.next()? {
        let (place, known) = read_known(row)?;
        let read = |row: &Row| Ok((parsed(row, 0)?, seq(row.get(1)?)));
        let reads = reads.query_map([known.row], read)?.collect::<Result<_, _>>()?;
        let mut waits = Vec::new();
        for person in place.people().into_iter().flatten() {
            let values = params![known.row, person.as_str(), waiting_max];
            waits.push((person.clone(), waiting.query_row(values, |row| row.get(0))?));
        }
        let topic = row.get(3)?;
        found.push(Remembered { place, last: known.last, topic, reads, waiting: waits });
    }
    Ok(found)
}

impl SqliteReader {
    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let fault = faults(&self.path);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = loop {
            if let Some(connection) = idle.0.pop() {
                break Ok(connection);
            }
            if idle.1 < READERS_MAX {
                idle.1 += 1;
                break open_reader(&self.path);
            }
            idle = self.freed.wait(idle).unwrap_or_else(PoisonError::into_inner);
        };
        drop(idle);
        let (connection, result) = match connection {
            Ok(connection) => {
                let result = work(&connection);
                (Some(connection), result)
            }
            Err(error) => (None, Err(error)),
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match connection {
            Some(connection) => idle.0.push(connection),
            None => idle.1 -= 1,
        }
        drop(idle);
        self.freed.notify_one();
        result.map_err(fault)
    }
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", "ON")?;
    Ok(connection)
}

/// Rows as lines, as many as a page holds and one more to tell whether there are more.
fn take(
    path: &Path,
    mut rows: rusqlite::Rows,
    page: Page,
) -> rusqlite::Result<(Vec<Message>, bool)> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let line = match read_message(row) {
            Ok(line) => line,
            // Not what was stored, so nobody is shown it; its seat becomes a gap.
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                log::error!("{}: damaged: {error}", path.display());
                continue;
            }
            Err(error) => return Err(error),
        };
        bytes += line.said_bytes() + 200;
        let full = taken.len() >= page.lines_max || bytes > page.bytes_max;
        if full && !taken.is_empty() {
            return Ok((taken, true));
        }
        taken.push(line);
    }
    Ok((taken, false))
}

impl Reader for SqliteReader {
    fn read(
        &self,
        place: &Place,
        after: Seq,
        upto: Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError> {
        self.with(|connection| {
            let Some(row) = row_of(connection, place)? else { return Ok(Vec::new()) };
            let query = format!(
                "SELECT {COLUMNS} {FROM} WHERE l.line > ?1 AND l.line <= ?2 ORDER BY l.line LIMIT ?3"
            );
            let mut query = connection.prepare_cached(&query)?;
            let (after, upto) = (line_of(row, after), line_of(row, upto));
            let rows = query.query(params![after, upto, page.lines_max])?;
            Ok(take(&self.path, rows, page)?.0)
        })
    }

    fn history(
        &self,
        place: &Place,
        before: Option<Seq>,
        since_ms: Option<i64>,
        page: Page,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        self.with(|connection| {
            let Some(row) = row_of(connection, place)? else { return Ok((Vec::new(), false)) };
            let mut first = line_of(row, Seq(0));
            if let Some(since_ms) = since_ms {
                // Nothing before it need be looked at, so that it costs what it finds. (Where the
                // clock was set back, lines of before that are left out.)
                let find = "SELECT line FROM lines WHERE place = ?1 AND time_ms >= ?2 \
                     ORDER BY time_ms LIMIT 1";
                let mut find = connection.prepare_cached(find)?;
                let found = find.query_row(params![row, since_ms], |row| row.get(0)).optional()?;
                let Some(found) = found else { return Ok((Vec::new(), false)) };
                first = found;
            }
            let query = format!(
                "SELECT {COLUMNS} {FROM} WHERE l.line >= ?1 AND l.line < ?2 AND l.time_ms >= ?3 \
                 AND l.kind < 2 ORDER BY l.line DESC"
            );
            let before = before.map_or((row + 1) << SEQ_BITS, |seq| line_of(row, seq));
            let mut query = connection.prepare_cached(&query)?;
            let rows = query.query(params![first, before, since_ms.unwrap_or(i64::MIN)])?;
            let (mut lines, more) = take(&self.path, rows, page)?;
            lines.reverse();
            Ok((lines, more))
        })
    }

    fn search(
        &self,
        places: &[Place],
        text: &str,
        page: Page,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let word = |word: &str| format!("\"{}\"", word.replace('"', "\"\""));
        let words: Vec<String> = text.split_whitespace().map(word).collect();
        let words = words.join(" ");
        // Whole words of one place at a time: the index gives these from the newest on, so that an
        // answer costs what it shows, however many lines there are.
        self.with(|connection| {
            let query = format!(
                "SELECT {COLUMNS} FROM words w JOIN lines l ON l.line = w.rowid \
                 JOIN places p USING (place) \
                 LEFT JOIN lines t ON t.line = l.place << 40 | l.target \
                 WHERE words MATCH ?1 AND w.rowid >= ?2 AND w.rowid < ?3 ORDER BY w.rowid DESC"
            );
            let mut query = connection.prepare_cached(&query)?;
            let (mut found, mut more) = (Vec::new(), false);
            for place in places {
                let Some(row) = row_of(connection, place)? else { continue };
                let rows = query.query(params![words, row << SEQ_BITS, (row + 1) << SEQ_BITS])?;
                let (lines, more_here) = take(&self.path, rows, page)?;
                found.extend(lines);
                more |= more_here;
            }
            let (newest, left) = page.newest(found);
            Ok((newest, more || left))
        })
    }
}

/// A place's row, if it has one.
fn row_of(connection: &Connection, place: &Place) -> rusqlite::Result<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT place FROM places WHERE name = ?1")?;
    find.query_row([place.to_string()], |row| row.get(0)).optional()
}
