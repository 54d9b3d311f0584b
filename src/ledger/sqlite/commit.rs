//! The work of one transaction: assigns seqs, applies edits and deletions, and stores read
//! positions.

use std::borrow::Cow;
use std::collections::HashMap;

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};

use super::Sqlite;
use super::blobs::{Claim, DELETED, claim, doom};
use super::conversations::Known;
use super::erase::note_removal;
use super::owners::Owners;
use super::rows::{
    COLUMNS, FROM, SEQ_MAX, checksum, is_readable, is_row_damaged, read_row, rowid_of, seq,
};
use crate::chat::{BlobId, Body, Conversation, Opaque, Seq, UserName};
use crate::ledger::rules::{known_as, may_change};
use crate::ledger::{Outcome, Record, SentMessage};

pub(super) struct Commit<'a> {
    transaction: Transaction<'a>,
    connection: &'a Connection,
    /// Adds a message, once one was added.
    add: Option<CachedStatement<'a>>,
    conversations: &'a HashMap<Conversation, Known>,
    detached: &'a [(i64, Conversation)],
    owners: &'a Owners,
    /// The state of conversations after this commit.
    touched: &'a mut HashMap<Conversation, Known>,
    /// The conversation of the last message, and its state if that is not in `touched` yet.
    at: Option<(Conversation, Known)>,
    has_used_ids: bool,
    /// Messages of a new conversation get greater seqs than this.
    floor: Seq,
    change_s_max: u64,
    /// Number of removed texts and topics.
    removals: usize,
    /// Files that were doomed.
    doomed: Vec<BlobId>,
}

impl<'a> Commit<'a> {
    pub fn begin(
        ledger: &'a Sqlite,
        touched: &'a mut HashMap<Conversation, Known>,
    ) -> rusqlite::Result<Commit<'a>> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = Transaction::new_unchecked(&ledger.connection, behavior)?;
        Ok(Commit {
            transaction,
            connection: &ledger.connection,
            add: None,
            conversations: &ledger.conversations,
            detached: &ledger.detached,
            owners: &ledger.owners,
            touched,
            at: None,
            has_used_ids: ledger.has_used_ids,
            floor: ledger.floor,
            change_s_max: ledger.change_s_max,
            removals: 0,
            doomed: Vec::new(),
        })
    }

    /// Writes records in order. Adjacent messages are grouped by conversation, whose rows are side
    /// by side.
    pub fn write_all(&mut self, records: &[Record]) -> rusqlite::Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Failed; records.len()];
        let mut first = 0;
        let is_message = |record: &Record| matches!(record, Record::Message(_));
        for run in records.chunk_by(|one, next| is_message(one) && is_message(next)) {
            let mut order: Vec<usize> = (first..first + run.len()).collect();
            if run.windows(2).any(|pair| said_in(&pair[0]) != said_in(&pair[1])) {
                order.sort_by_cached_key(|index| {
                    let conversation = said_in(&records[*index])?;
                    let known = self.conversations.get(conversation);
                    Some((known.map_or(i64::MAX, |known| known.row), conversation.clone()))
                });
            }
            for index in order {
                outcomes[index] = self.write(&records[index])?;
            }
            first += run.len();
        }
        Ok(outcomes)
    }

    fn write(&mut self, record: &Record) -> rusqlite::Result<Outcome> {
        match record {
            Record::Message(sent) => return self.message(sent),
            Record::Topic(channel, topic) => {
                let conversation = self.conversation(&Conversation::Channel(channel.clone()))?;
                let set =
                    "UPDATE conversations SET topic = ?2, topic_by = ?3 WHERE conversation = ?1";
                let text = topic.as_ref().map(|topic| topic.text.as_str());
                let by = topic.as_ref().map(|topic| topic.by.folded());
                self.transaction.prepare_cached(set)?.execute(params![
                    conversation.row,
                    text,
                    by
                ])?;
                self.removals += 1;
            }
            Record::Read(user, conversation, read) => {
                let conversation = self.conversation(conversation)?;
                let set = "INSERT INTO reads (person, conversation, seq) VALUES (?1, ?2, ?3) \
                     ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)";
                let values = params![user.folded(), conversation.row, read.0 as i64];
                self.transaction.prepare_cached(set)?.execute(values)?;
            }
            Record::Away(user, conversations) => {
                for conversation in conversations {
                    let conversation = self.conversation(conversation)?;
                    let set = "INSERT INTO reads (person, conversation, away) VALUES (?1, ?2, ?3) \
                         ON CONFLICT DO UPDATE SET away = excluded.away";
                    let values =
                        params![user.folded(), conversation.row, conversation.last.0 as i64];
                    self.transaction.prepare_cached(set)?.execute(values)?;
                }
            }
        }
        Ok(Outcome::Stored(Seq(0)))
    }

    fn conversation(&mut self, conversation: &Conversation) -> rusqlite::Result<Known> {
        if let Some((name, known)) = &self.at
            && name == conversation
        {
            return Ok(*known);
        }
        self.touch();
        if let Some(known) =
            self.touched.get(conversation).or_else(|| self.conversations.get(conversation))
        {
            return Ok(*known);
        }
        let add = "INSERT INTO conversations (name, first, last, indexed) VALUES (?1, ?2, ?2, ?2)";
        let values = params![conversation.folded(), self.floor.0 as i64];
        self.transaction.prepare_cached(add)?.execute(values)?;
        let known = Known { row: self.transaction.last_insert_rowid(), last: self.floor };
        self.touched.insert(conversation.clone(), known);
        Ok(known)
    }

    fn message(&mut self, sent: &SentMessage) -> rusqlite::Result<Outcome> {
        let conversation = self.conversation(&sent.conversation)?;
        // Searches for a change first, because it is applied before its own row is added.
        let is_looked_up = sent.kind.is_change() || sent.kind.blob().is_some();
        if (is_looked_up || self.has_used_ids || !self.detached.is_empty())
            && let Some(outcome) = self.known(conversation, sent)?
        {
            return Ok(outcome);
        }
        if let Some(of) = sent.kind.of()
            && let Err(outcome) = self.change(conversation, of, sent)?
        {
            return Ok(outcome);
        }
        let next = Seq(conversation.last.0 + 1);
        if let Some(blob) = sent.kind.blob()
            && !self.claims(sent, blob, rowid_of(conversation.row, next))?
        {
            return Ok(Outcome::NoSuchFile);
        }
        let mut own = Cow::Borrowed(sent);
        if sent.kind.is_edit() {
            own.to_mut().body = Body::default();
        }
        let owner = self.owners.of(&own.from);
        let (text, descriptor) = columns_of(&own);
        let add = match &mut self.add {
            Some(add) => add,
            none => none.insert(self.connection.prepare_cached(ADD)?),
        };
        let added = add.execute(params![
            rowid_of(conversation.row, next),
            conversation.row,
            own.id.0,
            own.from.folded(),
            own.device.as_str(),
            own.time_ms,
            own.kind.code(),
            own.kind.of().map(|of| of.0 as i64),
            text,
            checksum(&own, (next, owner), 0),
            own.body.sealed().map(Opaque::bytes),
            owner,
            own.kind.blob().map(|blob| blob.0),
            descriptor,
            spelled(&own.from),
        ])?;
        if added == 0 {
            return Ok(self.known(conversation, sent)?.unwrap_or(Outcome::Conflict));
        }
        match &mut self.at {
            Some((name, known)) if *name == sent.conversation => known.last = next,
            at => *at = Some((sent.conversation.clone(), Known { last: next, ..conversation })),
        }
        Ok(Outcome::Stored(next))
    }

    /// Leaves the conversation of the last message.
    fn touch(&mut self) {
        self.touched.extend(self.at.take());
    }

    /// Lets a new message announce its file. Returns false if it may not.
    fn claims(&self, sent: &SentMessage, blob: BlobId, rowid: i64) -> rusqlite::Result<bool> {
        let (owner, holder) = (&sent.from, self.owners.of(&sent.from));
        let (conversation, time_ms) = (&sent.conversation, sent.time_ms);
        claim(&self.transaction, &Claim { owner, holder, conversation, blob, rowid, time_ms })
    }

    /// Returns the outcome for a message whose id is known.
    fn known(&self, conversation: Known, sent: &SentMessage) -> rusqlite::Result<Option<Outcome>> {
        let detached = self.detached.iter().filter(|(_, name)| *name == sent.conversation);
        for row in std::iter::once(conversation.row).chain(detached.map(|(row, _)| *row)) {
            if let Some(outcome) = self.stored_in(row, sent)? {
                return Ok(Some(outcome));
            }
        }
        let by_name = params![sent.conversation.folded(), sent.from.folded(), sent.id.0];
        let find = "SELECT seq FROM used_ids WHERE name = ?1 AND sender = ?2 AND id = ?3";
        let mut find = self.transaction.prepare_cached(find)?;
        let gone = find.query_row(by_name, |row| row.get(0)).optional()?;
        Ok(gone.map(|number| Outcome::Known(seq(number))))
    }

    /// Returns the outcome for a message whose id a conversation's row has.
    fn stored_in(&self, row: i64, sent: &SentMessage) -> rusqlite::Result<Option<Outcome>> {
        let by_id = params![row, sent.from.folded(), sent.id.0];
        let find = format!(
            "SELECT {COLUMNS} {FROM} WHERE m.conversation = ?1 AND m.sender = ?2 AND m.id = ?3"
        );
        let mut find = self.transaction.prepare_cached(&find)?;
        let outcome = |row: &Row| match read_row(row) {
            Ok(stored) => Ok(known_as(&stored.sent, stored.state != 0, stored.seq, sent)),
            // The message was stored; a comparison is no longer possible.
            Err(error) if is_row_damaged(&error) => {
                Ok(Outcome::Known(seq(row.get::<_, i64>(0)? & SEQ_MAX)))
            }
            Err(error) => Err(error),
        };
        find.query_row(by_id, outcome).optional()
    }

    fn change(
        &mut self,
        conversation: Known,
        of: Seq,
        sent: &SentMessage,
    ) -> rusqlite::Result<Result<(), Outcome>> {
        let rowid = rowid_of(conversation.row, of);
        let find = format!("SELECT {COLUMNS} {FROM} WHERE m.message = ?1");
        let mut find = self.transaction.prepare_cached(&find)?;
        let mut stored = match find.query_row([rowid], read_row).optional() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Err(Outcome::NoSuchMessage)),
            // A damaged message is not shown, so that there is nothing to change.
            Err(error) if is_row_damaged(&error) => return Ok(Err(Outcome::NoSuchMessage)),
            Err(error) => return Err(error),
        };
        let flags = (stored.owner == self.owners.of(&sent.from), stored.state == 2);
        if let Err(outcome) = may_change(&stored.sent, flags, sent, self.change_s_max) {
            return Ok(Err(outcome));
        }
        let (state, body) =
            if sent.kind.is_edit() { (1, sent.body.clone()) } else { (2, Body::default()) };
        stored.sent.body = body;
        let set = "UPDATE messages SET text = ?2, state = ?3, checksum = ?4, sealed = ?5, descriptor = NULL \
             WHERE message = ?1";
        let sum = checksum(&stored.sent, (stored.seq, stored.owner), state);
        let sealed = stored.sent.body.sealed().map(Opaque::bytes);
        let values = params![rowid, stored.sent.body.text(), state, sum, sealed];
        self.transaction.prepare_cached(set)?.execute(values)?;
        self.removals += 1;
        if stored.sent.kind.blob().is_some() {
            let gone = doom(&self.transaction, DELETED, ("message = ?1", params![rowid]))?;
            self.doomed.extend(gone);
        }
        Ok(Ok(()))
    }

    /// Commits. Returns the number of removed texts, and the files that were doomed.
    pub fn end(mut self) -> rusqlite::Result<(usize, Vec<BlobId>)> {
        self.touch();
        if self.removals > 0 {
            note_removal(&self.transaction)?;
        }
        for known in self.touched.values() {
            let set = "UPDATE conversations SET last = ?2 WHERE conversation = ?1";
            let mut set = self.transaction.prepare_cached(set)?;
            set.execute(params![known.row, known.last.0 as i64])?;
        }
        self.transaction.commit()?;
        Ok((self.removals, self.doomed))
    }
}

/// Returns the seq of a message that one of these rows of its conversation has, or that was
/// removed. If the file cannot be read, the answer is unknown.
pub(super) fn stored(
    connection: &Connection,
    mut rows: impl Iterator<Item = i64>,
    sent: &SentMessage,
) -> Option<Seq> {
    let in_row = |row: i64| {
        let find =
            "SELECT message FROM messages WHERE conversation = ?1 AND sender = ?2 AND id = ?3";
        let by_id = params![row, sent.from.folded(), sent.id.0];
        let found = connection.query_row(find, by_id, |row| row.get::<_, i64>(0));
        found.ok().map(|rowid| seq(rowid & SEQ_MAX))
    };
    let used = || {
        let find = "SELECT seq FROM used_ids WHERE name = ?1 AND sender = ?2 AND id = ?3";
        let by_name = params![sent.conversation.folded(), sent.from.folded(), sent.id.0];
        connection.query_row(find, by_name, |row| row.get::<_, i64>(0)).ok().map(seq)
    };
    rows.find_map(in_row).or_else(used)
}

/// Returns the outcome for a message that was stored on a damaged page of its conversation's row,
/// and for a change of such a message.
pub(super) fn outcome_of_unreadable(
    connection: &Connection,
    row: i64,
    (sent, stored): (&SentMessage, Option<Seq>),
) -> rusqlite::Result<Option<Outcome>> {
    let is_readable = |seq| is_readable(connection, rowid_of(row, seq));
    if let Some(seq) = stored
        && !is_readable(seq)?
    {
        // The message was stored; a comparison is no longer possible.
        return Ok(Some(Outcome::Known(seq)));
    }
    match sent.kind.of() {
        // A damaged message is not shown, so that there is nothing to change.
        Some(of) if !is_readable(of)? => Ok(Some(Outcome::NoSuchMessage)),
        _ => Ok(None),
    }
}

/// Adds a message, unless its id is known.
const ADD: &str = "INSERT INTO messages \
     (message, conversation, id, sender, device, time_ms, kind, target, text, checksum, sealed, owner, \
     blob, descriptor, spelled) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
     ON CONFLICT (conversation, sender, id) DO NOTHING";

/// Returns the conversation of a message; `None` for other records.
fn said_in(record: &Record) -> Option<&Conversation> {
    match record {
        Record::Message(sent) => Some(&sent.conversation),
        _ => None,
    }
}

/// Returns the column `spelled`: the name of a message's sender, where it is not in lower case.
fn spelled(sender: &UserName) -> Option<&str> {
    (sender.as_str() != sender.folded()).then(|| sender.as_str())
}

/// Returns the columns `text` and `descriptor`: what a file says of itself is not searched.
fn columns_of(sent: &SentMessage) -> (&str, Option<&str>) {
    let text = sent.body.text();
    match sent.kind.blob() {
        Some(_) if !text.is_empty() => ("", Some(text)),
        _ => (text, None),
    }
}
