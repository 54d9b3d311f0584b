//! The reading half: a read-only connection. Damaged messages are left out and logged; others are
//! returned.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Rows, params};

use super::connection::{BUSY, faults};
use super::rows::{
    COLUMNS, FROM, SEQ_BITS, is_page_damaged, is_row_damaged, parsed, read_message, rowid_of, seq,
};
use crate::chat::{Conversation, Matching, Message, Seq, UserName, Wanted};
use crate::ledger::{Counted, LedgerError, Older, Page, Reader, Work};
use crate::sync::{Mutex, Rank};

/// Page cache of a reader in KiB: the pages of one answer.
const CACHE_KIB: i64 = 1_024;
/// SQLite virtual machine steps between two checks of the cost. The full-text index takes a few
/// steps for each of its pages of 4 KB, which hold some hundred messages for each word of the
/// search.
const STEPS: i32 = 100;

/// The reading half, used by one thread at a time.
pub struct SqliteReader {
    path: PathBuf,
    opened: Mutex<Option<Opened>>,
}

/// An open connection.
struct Opened {
    connection: Connection,
    /// Whether the schema was read, which a start does not wait for.
    is_prepared: bool,
}

impl Opened {
    fn connection(&mut self) -> rusqlite::Result<&mut Connection> {
        if !self.is_prepared {
            self.connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            self.is_prepared = true;
        }
        Ok(&mut self.connection)
    }
}

impl SqliteReader {
    pub(super) fn new(path: &Path) -> SqliteReader {
        // Opened now: later there may be no free file descriptor.
        let opened = Mutex::new(Rank::Ledger, open_reader(path).ok());
        SqliteReader { path: path.to_owned(), opened }
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let mut opened = self.opened.lock();
        let read = || match &mut *opened {
            Some(opened) => read(opened.connection()?),
            none => read(none.insert(open_reader(&self.path)?).connection()?),
        };
        read().map_err(faults(&self.path))
    }

    /// Returns what was found before the work was spent: `nothing` if that was before the first
    /// row.
    fn with_work<T>(
        &self,
        work: &Arc<Work>,
        nothing: T,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let asks = Arc::clone(work);
        self.with(|connection| {
            let none = None::<fn() -> bool>;
            connection.progress_handler(STEPS, Some(move || asks.is_spent()))?;
            let result = read(connection);
            connection.progress_handler(0, none)?;
            match result {
                Err(error) if is_interrupted(&error) => Ok(nothing),
                result => result,
            }
        })
    }
}

fn open_reader(path: &Path) -> rusqlite::Result<Opened> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", "ON")?;
    // Opens the write-ahead log too.
    connection.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(Opened { connection, is_prepared: false })
}

fn is_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// Messages, and whether there are more than a page holds.
type Messages = (Vec<Message>, bool);

/// Reads of damaged pages that one answer may cost; after them the rest is left out.
const LOOKS_MAX: usize = 1_000;

/// The parts of a conversation that could not be read.
struct Damage<'a> {
    path: &'a Path,
    conversation: &'a Conversation,
    messages: Cell<usize>,
    /// Number of reads of damaged pages.
    looks: Cell<usize>,
}

impl Drop for Damage<'_> {
    fn drop(&mut self) {
        if self.messages.get() > 0 {
            let (path, messages, conversation) =
                (self.path.display(), self.messages.get(), self.conversation.in_log());
            log::error!(
                "{path}: damaged: {messages} messages of {conversation} are unreadable and left out; \
                 pychat restore FILE restores a backup"
            );
        }
    }
}

impl<'a> Damage<'a> {
    fn new(path: &'a Path, conversation: &'a Conversation) -> Damage<'a> {
        Damage { path, conversation, messages: Cell::new(0), looks: Cell::new(0) }
    }

    /// Reads a message. Its recipient is spelled as in the request: the file has one form of names.
    fn read(&self, connection: &Connection, row: &Row) -> rusqlite::Result<Message> {
        let mut message = read_message(connection, row)?;
        message.to = self.conversation.as_seen_by(&message.from);
        Ok(message)
    }

    /// Converts rows to messages: as many as a page holds, and one more to learn whether there are
    /// more.
    fn take(&self, connection: &Connection, rows: Rows, page: Page) -> rusqlite::Result<Messages> {
        self.take_some(rows, page, &|row| self.read(connection, row).map(Some))
    }

    /// Converts rows to messages like `take`. `read` returns `None` for a row to leave out.
    fn take_some(
        &self,
        mut rows: Rows,
        page: Page,
        read: &dyn Fn(&Row) -> rusqlite::Result<Option<Message>>,
    ) -> rusqlite::Result<Messages> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        loop {
            let message = match rows.next() {
                Ok(None) => return Ok((taken, false)),
                Ok(Some(row)) => read(row),
                Err(error) if is_interrupted(&error) => return Ok((taken, true)),
                Err(error) => return Err(error),
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(error) if is_interrupted(&error) => return Ok((taken, true)),
                // A damaged message is not shown; its seq becomes a gap.
                Err(error) if is_row_damaged(&error) => {
                    self.messages.update(|messages| messages + 1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            bytes += page.cost(message.body.wire_len());
            if !page.holds(taken.len(), bytes) {
                return Ok((taken, true));
            }
            taken.push(message);
        }
    }

    /// Compares the texts after one row, up to another one, with a search: those are not in the
    /// full-text index yet. Returns the newest messages first.
    fn compare(
        &self,
        connection: &Connection,
        rows: (i64, i64),
        (wanted, matching): (&Wanted, Matching),
        page: Page,
    ) -> rusqlite::Result<Messages> {
        if rows.0 >= rows.1 {
            return Ok((Vec::new(), false));
        }
        let texts = "SELECT message, text FROM messages WHERE message BETWEEN ?1 + 1 AND ?2 AND text <> '' \
             ORDER BY message DESC LIMIT ?3";
        let found = format!("SELECT {COLUMNS} {FROM} WHERE m.message = ?1");
        let read = |row: &Row| {
            let text = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?);
            if !wanted.is_in(&text, matching) {
                return Ok(None);
            }
            let mut found = connection.prepare_cached(&found)?;
            found.query_row([row.get::<_, i64>(0)?], |row| self.read(connection, row)).map(Some)
        };
        self.around(rows, true, page.messages_max, &|after, upto| {
            let mut texts = connection.prepare_cached(texts)?;
            self.take_some(texts.query([after, upto, upto - after])?, page, &read)
        })
    }

    /// Finds messages of a conversation's row in the full-text index, up to a row. Returns the
    /// newest first; `None` if the index is damaged.
    fn find(
        &self,
        connection: &Connection,
        (conversation, upto): (i64, i64),
        (wanted, matching): (&Wanted, Matching),
        page: Page,
    ) -> rusqlite::Result<Option<Messages>> {
        let find = "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid > ?2 AND rowid <= ?3 \
             ORDER BY rowid DESC";
        let message = format!("SELECT {COLUMNS} {FROM} WHERE m.message = ?1");
        let read = |row: &Row| {
            let mut message = connection.prepare_cached(&message)?;
            let rowid: i64 = row.get(0)?;
            match message.query_row([rowid], |row| self.read(connection, row)).optional() {
                Err(error) if is_page_damaged(&error) => {
                    self.messages.update(|messages| messages + 1);
                    Ok(None)
                }
                found => found,
            }
        };
        let find = || {
            let mut find = connection.prepare_cached(find)?;
            let words = wanted.query(matching);
            let rows = find.query(params![words, conversation << SEQ_BITS, upto])?;
            self.take_some(rows, page, &read)
        };
        match find() {
            // Matches that were found earlier stay in the result.
            Err(error) if is_interrupted(&error) => Ok(Some((Vec::new(), true))),
            Err(error) if is_page_damaged(&error) => {
                let (path, conversation) = (self.path.display(), self.conversation.in_log());
                log::error!(
                    "{path}: the search index is damaged: a search in {conversation} leaves out \
                     what is in it ({error})"
                );
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// Reads the messages with `after < seq <= upto`, also around damaged pages: halves the range
    /// until the damaged part is isolated. `read` starts at one end and must not read more messages
    /// than the range can have, because the next page may be damaged.
    fn around(
        &self,
        (after, upto): (i64, i64),
        newest_first: bool,
        messages_max: usize,
        read: &dyn Fn(i64, i64) -> rusqlite::Result<Messages>,
    ) -> rusqlite::Result<Messages> {
        if self.looks.get() < LOOKS_MAX {
            match read(after, upto) {
                Err(error) if is_page_damaged(&error) => self.looks.update(|looks| looks + 1),
                messages => return messages,
            }
        }
        let messages = usize::try_from(upto - after).unwrap_or(usize::MAX);
        if messages <= 1 || self.looks.get() >= LOOKS_MAX {
            self.messages.update(|lost| lost + messages);
            return Ok((Vec::new(), false));
        }
        let middle = after + (upto - after) / 2;
        let (one, other) = ((after, middle), (middle, upto));
        let (first, second) = if newest_first { (other, one) } else { (one, other) };
        let (mut messages, more) = self.around(first, newest_first, messages_max, read)?;
        if more {
            return Ok((messages, true));
        }
        let (rest, more) = self.around(second, newest_first, messages_max, read)?;
        messages.extend(rest);
        let more = more || messages.len() > messages_max;
        messages.truncate(messages_max);
        Ok((messages, more))
    }
}

impl Reader for SqliteReader {
    fn read(
        &self,
        conversation: &Conversation,
        after: Seq,
        upto: Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError> {
        self.with(|connection| {
            let Some((row, last)) = row_of(connection, conversation)? else {
                return Ok(Vec::new());
            };
            let query = format!(
                "SELECT {COLUMNS} {FROM} WHERE m.message BETWEEN ?1 + 1 AND ?2 ORDER BY m.message \
                 LIMIT ?3"
            );
            let damage = Damage::new(&self.path, conversation);
            let range = (rowid_of(row, after.min(last)), rowid_of(row, upto.min(last)));
            let messages = damage.around(range, false, page.messages_max, &|after, upto| {
                let mut query = connection.prepare_cached(&query)?;
                damage.take(connection, query.query([after, upto, upto - after])?, page)
            });
            Ok(messages?.0)
        })
    }

    fn history(
        &self,
        conversation: &Conversation,
        Older { before, since_ms, files }: Older,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        self.with_work(work, (Vec::new(), true), |connection| {
            let Some((row, last)) = row_of(connection, conversation)? else {
                return Ok((Vec::new(), false));
            };
            let mut first = rowid_of(row, Seq(0));
            if let Some(since_ms) = since_ms {
                // Reads no earlier messages, so that the cost depends on the result only. (If the
                // clock was set back, messages before that are left out.)
                let find = "SELECT message FROM messages WHERE conversation = ?1 AND time_ms >= ?2 \
                     ORDER BY time_ms LIMIT 1";
                let mut find = connection.prepare_cached(find)?;
                let found = find.query_row(params![row, since_ms], |row| row.get(0)).optional()?;
                let Some(found) = found else { return Ok((Vec::new(), false)) };
                first = found;
            }
            let kinds = if files { "m.kind = 4" } else { "m.kind IN (0, 1, 4)" };
            let query = format!(
                "SELECT {COLUMNS} {FROM} WHERE m.message BETWEEN ?1 + 1 AND ?2 AND m.time_ms >= ?3 \
                 AND {kinds} ORDER BY m.message DESC LIMIT ?4"
            );
            let last = before.map_or(last, |before| Seq(before.0.saturating_sub(1)).min(last));
            let damage = Damage::new(&self.path, conversation);
            let (mut messages, more) = damage.around(
                (first - 1, rowid_of(row, last)),
                true,
                page.messages_max,
                &|after, upto| {
                    let mut query = connection.prepare_cached(&query)?;
                    let since_ms = since_ms.unwrap_or(i64::MIN);
                    damage.take(
                        connection,
                        query.query([after, upto, since_ms, upto - after])?,
                        page,
                    )
                },
            )?;
            messages.reverse();
            Ok((messages, more))
        })
    }

    fn search_conversation(
        &self,
        conversation: &Conversation,
        (wanted, matching): (&Wanted, Matching),
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        // One conversation at a time: the index returns the newest first, so that the cost depends
        // on the number of results and not on the number of messages. For the beginning of a word,
        // the index first collects the messages of all conversations.
        self.with_work(work, (Vec::new(), true), |connection| {
            let find = "SELECT conversation, last, indexed FROM conversations WHERE name = ?1";
            let known = |row: &Row| Ok((row.get(0)?, seq(row.get(1)?), seq(row.get(2)?)));
            let mut find = connection.prepare_cached(find)?;
            let known = find.query_row([conversation.folded()], known).optional()?;
            let Some((row, last, indexed)) = known else { return Ok((Vec::new(), false)) };
            let damage = Damage::new(&self.path, conversation);
            let span = (rowid_of(row, indexed), rowid_of(row, last));
            let looked = (wanted, matching);
            let (mut messages, mut more) = damage.compare(connection, span, looked, page)?;
            if !more {
                let found = damage.find(connection, (row, span.0), looked, page)?;
                if found.is_none() {
                    work.omits();
                }
                let (older, has_more) = found.unwrap_or_default();
                let found = messages.len() + older.len();
                messages = page.take(messages.into_iter().chain(older));
                more = has_more || messages.len() < found;
            }
            messages.reverse();
            // The search of whole words has logged most damaged messages already.
            if matching == Matching::Beginnings {
                damage.messages.set(0);
            }
            Ok((messages, more))
        })
    }

    fn count(
        &self,
        conversation: &Conversation,
        (after, upto): (Seq, Seq),
        but: &UserName,
        work: &Arc<Work>,
    ) -> Result<Counted, LedgerError> {
        let nothing = Counted { partial: true, ..Counted::default() };
        self.with_work(work, nothing, |connection| {
            let Some((row, last)) = row_of(connection, conversation)? else {
                return Ok(Counted::default());
            };
            let find = "SELECT sender, coalesce(spelled, sender) FROM messages WHERE message BETWEEN ?1 + 1 AND ?2 AND kind IN (0, 1, 4) \
                 AND state <> 2 AND sender <> ?3 ORDER BY message DESC";
            let mut find = connection.prepare_cached(find)?;
            let (first, last) = (rowid_of(row, after.min(last)), rowid_of(row, upto.min(last)));
            let mut rows = find.query(params![first, last, but.folded()])?;
            let mut by: HashMap<String, (UserName, u64)> = HashMap::new();
            let partial = loop {
                match rows.next() {
                    Ok(Some(row)) => {
                        let sender = row.get_ref(0)?.as_str().unwrap_or_default();
                        match by.get_mut(sender) {
                            Some((_, messages)) => *messages += 1,
                            None => {
                                if let Ok(name) = parsed(row, 1) {
                                    by.insert(sender.to_owned(), (name, 1));
                                }
                            }
                        }
                    }
                    Ok(None) => break false,
                    // What lies behind a damaged page is not counted.
                    Err(error) if is_interrupted(&error) || is_page_damaged(&error) => break true,
                    Err(error) => return Err(error),
                }
            };
            Ok(Counted::of(by.into_values().collect(), partial))
        })
    }

    fn another(&self) -> Box<dyn Reader> {
        Box::new(SqliteReader::new(&self.path))
    }
}

/// Returns the row of a conversation and its newest seq, if it has a row.
fn row_of(
    connection: &Connection,
    conversation: &Conversation,
) -> rusqlite::Result<Option<(i64, Seq)>> {
    let mut find = connection
        .prepare_cached("SELECT conversation, last FROM conversations WHERE name = ?1")?;
    let known = |row: &Row| Ok((row.get(0)?, seq(row.get(1)?)));
    find.query_row([conversation.folded()], known).optional()
}
