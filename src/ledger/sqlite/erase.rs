//! Erases a user's texts in parts. The progress is in the file, so that another process continues
//! after the end of this one.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::blobs::{DELETED, doom};
use super::rows::{COLUMNS, FROM, checksum, is_row_damaged, parsed, read_row};
use crate::chat::{BlobId, Body, UserName};
use crate::ledger::Erased;

/// Records that a user's texts are to be erased. Erases the topics that the user has set, and dooms
/// the files that no message announces, at once. Schemas before 5 did not store who set a topic:
/// the user may have set those topics, which nobody is shown any more, so they are erased too.
pub(super) fn begin(connection: &Connection, user: &UserName) -> rusqlite::Result<Vec<BlobId>> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute("INSERT OR REPLACE INTO erasing (sender) VALUES (?1)", [user.folded()])?;
    let topics = "UPDATE conversations SET topic = NULL, topic_by = NULL \
         WHERE topic_by = ?1 OR topic_by IS NULL AND topic IS NOT NULL";
    transaction.execute(topics, [user.folded()])?;
    let unclaimed = "owner = ?1 AND message IS NULL";
    let doomed = doom(&transaction, DELETED, (unclaimed, params![user.folded()]))?;
    note_removal(&transaction)?;
    transaction.commit()?;
    Ok(doomed)
}

/// Records a removal, so that `tidy` overwrites its copies in free space.
pub(super) fn note_removal(connection: &Connection) -> rusqlite::Result<()> {
    let note = "UPDATE meta SET removals = removals + 1";
    connection.prepare_cached(note)?.execute([]).map(drop)
}

/// Erases at most `messages_max` texts of the next user, or `leaves` them; `None` if no user is
/// left. Adds the files of these messages to `doomed`.
pub(super) fn some(
    connection: &Connection,
    messages_max: usize,
    leaves: bool,
    doomed: &mut Vec<BlobId>,
) -> rusqlite::Result<Option<Erased>> {
    let next = "SELECT sender, conversation, id, erased FROM erasing LIMIT 1";
    let read = |row: &rusqlite::Row| {
        let erased: i64 = row.get(3)?;
        Ok((parsed::<UserName>(row, 0)?, row.get(1)?, row.get(2)?, erased as usize))
    };
    let Some((user, conversation, id, before)) = connection.query_row(next, [], read).optional()?
    else {
        return Ok(None);
    };
    let (conversation, id): (i64, Vec<u8>) = (conversation, id);
    let transaction = connection.unchecked_transaction()?;
    let part = messages(&transaction, &user, (conversation, &id), messages_max)?;
    let rowids: Vec<i64> = match leaves {
        true => Vec::new(),
        false => part.iter().map(|(rowid, _)| *rowid).collect(),
    };
    let unreadable = if leaves { part.len() } else { 0 };
    let mut gone = Vec::new();
    for rowid in &rowids {
        gone.extend(doom(&transaction, DELETED, ("message = ?1", params![rowid]))?);
    }
    let buried = bury(&transaction, rowids)?;
    let erased = before + buried;
    let after = match part.last() {
        Some((_, id)) if part.len() == messages_max => Some((conversation, id.clone())),
        // The next conversation with messages of the user.
        _ => next_conversation(&transaction, &user, conversation, messages_max)?
            .map(|conversation| (conversation, Vec::new())),
    };
    match &after {
        Some((conversation, id)) => transaction.execute(
            "UPDATE erasing SET conversation = ?2, id = ?3, erased = ?4 WHERE sender = ?1",
            params![user.folded(), conversation, id, erased as i64],
        )?,
        None => transaction.execute("DELETE FROM erasing WHERE sender = ?1", [user.folded()])?,
    };
    if buried > 0 {
        note_removal(&transaction)?;
    }
    transaction.commit()?;
    doomed.extend(gone);
    let (part, messages, more) = (buried, erased, after.is_some());
    Ok(Some(Erased { user, part, messages, unreadable, more }))
}

/// Returns messages of a user in a conversation after an id, sorted by id.
fn messages(
    transaction: &Transaction,
    user: &UserName,
    (conversation, id): (i64, &[u8]),
    messages_max: usize,
) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    let find = "SELECT message, id FROM messages WHERE conversation = ?1 AND sender = ?2 AND id > ?3 \
         ORDER BY id LIMIT ?4";
    let mut find = transaction.prepare_cached(find)?;
    let values = params![conversation, user.folded(), id, messages_max as i64];
    find.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Returns the next conversation with messages of a user, or the last one of those that were looked
/// at; `None` at the end.
fn next_conversation(
    transaction: &Transaction,
    user: &UserName,
    conversation: i64,
    conversations_max: usize,
) -> rusqlite::Result<Option<i64>> {
    let find = "SELECT conversation, EXISTS \
         (SELECT 1 FROM messages m WHERE m.conversation = c.conversation AND m.sender = ?2) \
         FROM conversations c WHERE conversation > ?1 ORDER BY conversation LIMIT ?3";
    let mut find = transaction.prepare_cached(find)?;
    let mut rows = find.query(params![conversation, user.folded(), conversations_max as i64])?;
    let (mut seen, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        (seen, last) = (seen + 1, Some(row.get(0)?));
        if row.get(1)? {
            return Ok(last);
        }
    }
    Ok(last.filter(|_| seen == conversations_max))
}

/// Replaces each message that has a text by a tombstone. Returns their number.
fn bury(transaction: &Transaction, mut rowids: Vec<i64>) -> rusqlite::Result<usize> {
    // The full-text index batches its writes only while row numbers increase.
    rowids.sort_unstable();
    let find = format!(
        "SELECT {COLUMNS} {FROM} WHERE m.message = ?1 \
         AND (m.text <> '' OR m.sealed IS NOT NULL OR m.descriptor IS NOT NULL OR m.state = 1)"
    );
    let mut find = transaction.prepare_cached(&find)?;
    let set = "UPDATE messages SET text = '', sealed = NULL, descriptor = NULL, state = 2, checksum = ?2 \
         WHERE message = ?1";
    let mut set = transaction.prepare_cached(set)?;
    let mut sums = HashMap::new();
    for rowid in &rowids {
        let sum = |row: &rusqlite::Row| match read_row(row) {
            Ok(mut stored) => {
                stored.sent.body = Body::default();
                Ok(checksum(&stored.sent, (stored.seq, stored.owner), 2))
            }
            // Removes the text; the rest of the row stays damaged.
            Err(error) if is_row_damaged(&error) => Ok(0),
            Err(error) => Err(error),
        };
        if let Some(sum) = find.query_row([rowid], sum).optional()? {
            sums.insert(rowid, sum);
        }
    }
    for rowid in rowids.iter().filter(|rowid| sums.contains_key(rowid)) {
        set.execute(params![rowid, sums[rowid]])?;
    }
    Ok(sums.len())
}

/// Logs that damaged pages keep so many messages of a user.
pub(super) fn report_left(path: &Path, user: &UserName, messages: usize) {
    log::error!(
        "{}: damaged: {messages} messages of {user} cannot be erased; pychat restore FILE restores a \
         backup",
        path.display()
    );
}
