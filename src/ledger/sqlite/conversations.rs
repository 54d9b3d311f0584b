//! The conversations of a file: their rows, topics and read positions, and what waits for whom.

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};

use super::detach::ATTACHED;
use super::rows::{parsed, seq};
use crate::chat::{Conversation, Epoch, Seq};
use crate::ledger::{Remembered, Topic};

/// Counts the messages of a conversation that wait for a user. Absent users write nothing: it is
/// sufficient to read as many messages as may wait.
pub(super) const WAITING: &str = "SELECT count(*) FROM (SELECT sender FROM messages WHERE message > ?1 << 40 | coalesce( \
     (SELECT away FROM reads WHERE conversation = ?1 AND person = ?2), 0) \
     AND message < (?1 + 1) << 40 LIMIT ?3) WHERE sender <> ?2";

/// A conversation as the database has it: its row, and its last seq.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub row: i64,
    pub last: Seq,
}

/// What a file has of all its conversations.
pub(super) struct Head {
    pub epoch: Epoch,
    /// Messages of a new conversation get greater seqs than this.
    pub floor: Seq,
    /// Whether any id of a removed message is stored.
    pub has_used_ids: bool,
    /// Number of messages ever stored.
    pub stored_ever: u64,
}

/// Loads what a file has of all its conversations.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let find = "SELECT log, floor, EXISTS (SELECT 1 FROM used_ids), \
         dropped + (SELECT coalesce(sum(last - first), 0) FROM conversations) FROM meta";
    connection.query_row(find, [], |row| {
        Ok(Head {
            epoch: Epoch(row.get::<_, i64>(0)? as u64),
            floor: seq(row.get(1)?),
            has_used_ids: row.get(2)?,
            stored_ever: seq(row.get(3)?).0,
        })
    })
}

/// Loads the conversations that are not detached.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<HashMap<Conversation, Known>> {
    let find = format!("SELECT name, conversation, last FROM conversations {ATTACHED}");
    connection.prepare(&find)?.query_map([], read_known)?.collect()
}

fn read_known(row: &Row) -> rusqlite::Result<(Conversation, Known)> {
    let conversation = parsed(row, 0)?;
    Ok((conversation, Known { row: row.get(1)?, last: seq(row.get(2)?) }))
}

/// Returns what is stored of each conversation, apart from its messages.
pub(super) fn remembered(
    connection: &Connection,
    waiting_max: usize,
) -> rusqlite::Result<Vec<Remembered>> {
    let mut conversations = connection.prepare(&format!(
        "SELECT name, conversation, last, first, \
         EXISTS (SELECT 1 FROM messages m WHERE m.conversation = c.conversation), topic, topic_by \
         FROM conversations c {ATTACHED}",
    ))?;
    let mut reads = connection.prepare("SELECT person, seq FROM reads WHERE conversation = ?1")?;
    let mut waiting = connection.prepare(WAITING)?;
    let mut found = Vec::new();
    let mut rows = conversations.query([])?;
    while let Some(row) = rows.next()? {
        let (conversation, known) = read_known(row)?;
        let read = |row: &Row| Ok((parsed(row, 0)?, seq(row.get(1)?)));
        let reads = reads.query_map([known.row], read)?.collect::<Result<_, _>>()?;
        let mut waits = Vec::new();
        for person in conversation.people().into_iter().flatten() {
            let values = params![known.row, person.folded(), waiting_max];
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
