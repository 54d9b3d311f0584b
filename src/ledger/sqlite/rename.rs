//! Another name for a user. Private conversations move with their messages, because only the two
//! users read them. Messages in channels keep the name under which everybody has seen them.

use rusqlite::{Connection, Row, Transaction, params};

use super::detach::{ATTACHED, drop_row};
use super::rows::{
    COLUMNS, FROM, SEQ_MAX, Stored, checksum, is_page_damaged, is_row_damaged, parsed, read_row,
    rowid_of,
};
use crate::chat::{Conversation, Seq, UserName};

/// Messages of a conversation that are in memory at a time.
const MESSAGES_AT_ONCE: usize = 1_000;

/// The holder of messages of an earlier user with the old name: nobody can change them.
const NOBODY: i64 = -1;

/// The two names of a user.
pub(super) struct Names<'a> {
    pub old: &'a UserName,
    pub new: &'a UserName,
    /// Which holder of the old name the user is.
    pub holder: i64,
    /// Which holder of the new name the user becomes.
    pub next: i64,
}

/// A conversation that moves: its row, and its two names.
pub(super) struct Moved {
    pub row: i64,
    pub from: Conversation,
    pub to: Conversation,
}

/// Moves what belongs to a user. Returns the conversations that have moved, and those that have
/// not, because another one with messages has their new name, or a page of the file is damaged.
pub(super) fn rename(
    transaction: &Transaction,
    names: &Names,
    damaged: &[i64],
) -> rusqlite::Result<(Vec<Moved>, Vec<Conversation>)> {
    let (mut moved, mut kept) = (Vec::new(), Vec::new());
    for one in conversations_of(transaction, names)? {
        match !damaged.contains(&one.row) && move_conversation(transaction, &one, names)? {
            true => moved.push(one),
            false => kept.push(one.from),
        }
    }
    let (old, new) = (names.old.folded(), names.new.folded());
    let reads = "UPDATE OR REPLACE reads SET person = ?2 WHERE person = ?1";
    transaction.execute(reads, [old, new])?;
    let topics = "UPDATE conversations SET topic_by = ?2 WHERE topic_by = ?1";
    transaction.execute(topics, [old, new])?;
    let files = "UPDATE blobs SET owner = ?2, holder = ?4 WHERE owner = ?1 AND holder = ?3";
    transaction.execute(files, params![old, new, names.holder, names.next])?;
    Ok((moved, kept))
}

/// Returns the rows of the user's private conversations with messages on damaged pages. SQLite
/// writes nothing more in a transaction that has read such a page, so this comes before it.
pub(super) fn damaged(connection: &Connection, names: &Names) -> rusqlite::Result<Vec<i64>> {
    let find = format!("SELECT {COLUMNS} {FROM} WHERE m.message > ?1 AND m.message <= ?2");
    let mut find = connection.prepare(&find)?;
    let mut damaged = Vec::new();
    for Moved { row, .. } in conversations_of(connection, names)? {
        let (first, last) = (rowid_of(row, Seq(0)), rowid_of(row, Seq(SEQ_MAX as u64)));
        let mut messages = find.query([first, last])?;
        loop {
            match messages.next() {
                // Reads the whole row; a damaged row moves as it is.
                Ok(Some(message)) => drop(read_row(message)),
                Ok(None) => break,
                Err(error) if is_page_damaged(&error) => {
                    damaged.push(row);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(damaged)
}

/// Returns the private conversations of a user.
fn conversations_of(connection: &Connection, names: &Names) -> rusqlite::Result<Vec<Moved>> {
    let find =
        format!("SELECT conversation, name FROM conversations {ATTACHED} AND name LIKE '@%'");
    let mut find = connection.prepare(&find)?;
    let read = |row: &Row| Ok((row.get(0)?, parsed::<Conversation>(row, 1)?));
    let all: Vec<(i64, Conversation)> = find.query_map([], read)?.collect::<Result<_, _>>()?;
    let moves = |(row, from): (i64, Conversation)| {
        let to = from.renamed(names.old, names.new)?;
        Some(Moved { row, from, to })
    };
    Ok(all.into_iter().filter_map(moves).collect())
}

/// Returns whether no conversation with messages has a name. Drops an empty one.
fn frees(transaction: &Transaction, name: &Conversation) -> rusqlite::Result<bool> {
    let find = "SELECT conversation, EXISTS \
         (SELECT 1 FROM messages m WHERE m.conversation = p.conversation) \
         FROM conversations p WHERE name = ?1";
    let mut find = transaction.prepare_cached(find)?;
    let mut rows = find.query([name.folded()])?;
    let Some(row) = rows.next()? else { return Ok(true) };
    let (row, has_messages): (i64, bool) = (row.get(0)?, row.get(1)?);
    if !has_messages {
        transaction.execute("DELETE FROM reads WHERE conversation = ?1", [row])?;
        drop_row(transaction, row)?;
    }
    Ok(!has_messages)
}

/// Gives a conversation its new name, and the user's messages in it the user's new name. Returns
/// false if another conversation with messages has that name.
fn move_conversation(
    transaction: &Transaction,
    moved: &Moved,
    names: &Names,
) -> rusqlite::Result<bool> {
    if !frees(transaction, &moved.to)? {
        return Ok(false);
    }
    let mut after = Some(rowid_of(moved.row, Seq(0)));
    while let Some(rowid) = after {
        after = move_messages(transaction, (rowid, moved), names)?;
    }
    let name = "UPDATE conversations SET name = ?2 WHERE conversation = ?1";
    transaction.execute(name, params![moved.row, moved.to.folded()])?;
    let ids = "UPDATE OR REPLACE used_ids SET name = ?2, \
         sender = CASE sender WHEN ?3 THEN ?4 ELSE sender END WHERE name = ?1";
    let (old, new) = (names.old.folded(), names.new.folded());
    transaction.execute(ids, params![moved.from.folded(), moved.to.folded(), old, new])?;
    // The names of files in the store stay: `blobs::find` finds them by the conversation.
    let files = "UPDATE blobs SET conversation = ?2 WHERE message >> 40 = ?1";
    transaction.execute(files, params![moved.row, moved.to.to_string()])?;
    Ok(true)
}

/// Moves some of the messages of a conversation that come after a row. Damaged messages stay
/// damaged. Returns the last row; `None` at the end.
fn move_messages(
    transaction: &Transaction,
    (after, moved): (i64, &Moved),
    names: &Names,
) -> rusqlite::Result<Option<i64>> {
    let find = format!(
        "SELECT {COLUMNS} {FROM} WHERE m.message > ?1 AND m.message <= ?2 ORDER BY m.message LIMIT ?3"
    );
    let mut find = transaction.prepare_cached(&find)?;
    let end = rowid_of(moved.row, Seq(SEQ_MAX as u64));
    let mut messages = find.query(params![after, end, MESSAGES_AT_ONCE as i64])?;
    let (mut changed, mut last, mut count) = (Vec::new(), None, 0);
    while let Some(message) = messages.next()? {
        let rowid: i64 = message.get(0)?;
        (last, count) = (Some(rowid), count + 1);
        match read_row(message) {
            Ok(stored) => changed.push((rowid, renamed(stored, moved, names))),
            Err(error) if is_row_damaged(&error) => {}
            Err(error) => return Err(error),
        }
    }
    drop(messages);
    let set = "UPDATE messages SET checksum = ?2, sender = ?3, spelled = ?4, owner = ?5 WHERE message = ?1";
    let mut set = transaction.prepare_cached(set)?;
    for (rowid, Stored { sent, seq, owner, state }) in changed {
        let sum = checksum(&sent, (seq, owner), state);
        let spelled = (sent.from.as_str() != sent.from.folded()).then(|| sent.from.as_str());
        set.execute(params![rowid, sum, sent.from.folded(), spelled, owner])?;
    }
    Ok(last.filter(|_| count == MESSAGES_AT_ONCE))
}

/// Returns a message as one of the renamed conversation.
fn renamed(mut stored: Stored, moved: &Moved, names: &Names) -> Stored {
    stored.sent.conversation = moved.to.clone();
    if stored.sent.from == *names.old {
        stored.sent.from = names.new.clone();
        stored.owner = if stored.owner == names.holder { names.next } else { NOBODY };
    }
    stored
}
