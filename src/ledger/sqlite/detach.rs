//! Conversations that are removed in parts. Their rows are renamed at once, which hides them from
//! readers. The new names are in the file, so that the next run continues the removal.

use rusqlite::{Connection, Row, Transaction, params};

use super::erase::note_removal;
use super::remove::has_messages;
use super::rows::parsed;
use crate::chat::{Conversation, Seq};

/// Selects conversations that are not detached. No name of a conversation begins like this.
pub(super) const ATTACHED: &str = "WHERE name NOT LIKE '-%'";

/// Returns the rows of detached conversations, and their names before that.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Vec<(i64, Conversation)>> {
    let find = "SELECT substr(name, instr(name, ' ') + 1), conversation FROM conversations \
         WHERE name LIKE '-%'";
    let mut find = connection.prepare(find)?;
    let read = |row: &Row| Ok((row.get(1)?, parsed(row, 0)?));
    find.query_map([], read)?.collect()
}

/// Detaches a conversation. If it is `kept`, another row takes over its name, last seq, topic and
/// read positions, and is returned.
pub(super) fn detach(
    connection: &Connection,
    conversation: &Conversation,
    (row, last): (i64, Seq),
    (floor, kept): (Seq, bool),
) -> rusqlite::Result<Option<i64>> {
    let transaction = connection.unchecked_transaction()?;
    let rename = "UPDATE conversations SET name = '-' || conversation || ' ' || name \
         WHERE conversation = ?1";
    transaction.execute(rename, [row])?;
    let new = match kept {
        true => {
            let add = "INSERT INTO conversations (name, first, last, indexed, topic, topic_by) \
                 SELECT ?2, ?3, ?3, ?3, topic, topic_by FROM conversations WHERE conversation = ?1";
            transaction.execute(add, params![row, conversation.folded(), last.0 as i64])?;
            let new = transaction.last_insert_rowid();
            let take = "UPDATE reads SET conversation = ?2 WHERE conversation = ?1";
            transaction.execute(take, [row, new])?;
            Some(new)
        }
        false => {
            transaction.execute("DELETE FROM reads WHERE conversation = ?1", [row])?;
            None
        }
    };
    let clear = "UPDATE conversations SET topic = NULL, topic_by = NULL WHERE conversation = ?1";
    transaction.execute(clear, [row])?;
    transaction.execute("UPDATE meta SET floor = ?1", [floor.0 as i64])?;
    note_removal(&transaction)?;
    transaction.commit()?;
    Ok(new)
}

/// Drops the row of a conversation without messages, in the caller's transaction.
pub(super) fn drop_row(transaction: &Transaction, row: i64) -> rusqlite::Result<()> {
    let dropped = "UPDATE meta SET dropped = dropped + \
         (SELECT last - first FROM conversations WHERE conversation = ?1)";
    transaction.execute(dropped, [row])?;
    transaction.execute("DELETE FROM conversations WHERE conversation = ?1", [row]).map(drop)
}

/// Drops the row of a conversation without messages, its topic and its read positions.
pub(super) fn drop_empty(connection: &Connection, row: i64, floor: Seq) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute("DELETE FROM reads WHERE conversation = ?1", [row])?;
    drop_row(&transaction, row)?;
    transaction.execute("UPDATE meta SET floor = ?1", [floor.0 as i64])?;
    // The topic was removed.
    note_removal(&transaction)?;
    transaction.commit()
}

/// Drops the row of a detached conversation. One with messages on damaged pages is kept: the next
/// start tries again.
pub(super) fn drop_removed(connection: &Connection, row: i64) -> rusqlite::Result<()> {
    if has_messages(connection, row)? {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    drop_row(&transaction, row)?;
    transaction.commit()
}
