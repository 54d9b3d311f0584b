//! Removes old messages: finds them by their age, and removes them with their files.

use std::path::Path;

use rusqlite::{Connection, params};

use super::blobs::{EXPIRED, doom, forget_gone};
use super::erase::note_removal;
use super::rows::SEQ_MAX;
use crate::chat::{BlobId, Conversation};
use crate::ledger::Place;

/// Returns the places of messages of a row that are older than `before_ms`, the oldest first, from
/// the one after `from` on. Reads an index only.
pub(super) fn old(
    connection: &Connection,
    (row, before_ms): (i64, i64),
    (time_ms, rowid): Place,
    messages_max: usize,
) -> rusqlite::Result<Vec<Place>> {
    let find = "SELECT time_ms, message FROM messages WHERE conversation = ?1 AND time_ms < ?2 \
         AND (time_ms, message) > (?3, ?4) ORDER BY time_ms, message LIMIT ?5";
    let mut find = connection.prepare_cached(find)?;
    let values = params![row, before_ms, time_ms, rowid, messages_max];
    find.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Returns whether a row has messages. Reads an index only.
pub(super) fn has_messages(connection: &Connection, row: i64) -> rusqlite::Result<bool> {
    let find = "SELECT EXISTS (SELECT 1 FROM messages WHERE conversation = ?1)";
    connection.query_row(find, [row], |row| row.get(0))
}

/// Removes messages, whose ids stay known under the conversation's name. Returns their number, and
/// the files that were doomed.
pub(super) fn remove(
    connection: &Connection,
    rowids: &[i64],
    name: &Conversation,
) -> rusqlite::Result<(usize, Vec<BlobId>)> {
    let transaction = connection.unchecked_transaction()?;
    let (theirs, rowids) = ("message IN (SELECT value FROM json_each(?1))", format!("{rowids:?}"));
    let keep = format!(
        "INSERT OR IGNORE INTO used_ids SELECT ?2, sender, id, message & {SEQ_MAX}, time_ms \
         FROM messages WHERE {theirs}"
    );
    transaction.execute(&keep, params![rowids, name.folded()])?;
    let doomed = doom(&transaction, EXPIRED, (theirs, params![rowids]))?;
    forget_gone(&transaction, (theirs, params![rowids]))?;
    let delete = format!("DELETE FROM messages WHERE {theirs}");
    let gone = transaction.execute(&delete, params![rowids])?;
    if gone > 0 {
        note_removal(&transaction)?;
    }
    transaction.commit()?;
    Ok((gone, doomed))
}

/// Logs that a damaged page keeps so many messages.
pub(super) fn report_left(path: &Path, messages: usize, name: &Conversation) {
    log::error!(
        "{}: damaged: {messages} messages of {} cannot be removed; pychat restore FILE restores a \
         backup",
        path.display(),
        name.in_log()
    );
}
