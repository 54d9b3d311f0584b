//! Converts messages to rows and back, with a checksum over all fields.

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use crate::chat::{BlobId, Body, Kind, Message, MsgId, Opaque, Seq};
use crate::crypto::sha256;
use crate::ledger::{SentMessage, message};

/// The first version of the schema in which the names of users are folded (`fold.rs`).
pub(super) const FOLDED: i64 = 9;
/// The first version of the schema whose tables of messages and of used ids have these names.
pub(super) const RENAMED: i64 = 12;
/// Bits of a row's number that are the seq; the higher bits are the conversation's number.
pub(super) const SEQ_BITS: u32 = 40;
pub(super) const SEQ_MAX: i64 = (1 << SEQ_BITS) - 1;

/// The columns that `read_row` reads, of messages `l` and conversations `p`. The name of a detached
/// conversation (`detach.rs`) comes after a space.
pub(super) const COLUMNS: &str = "m.message, m.id, coalesce(m.spelled, m.sender), m.device, m.time_ms, m.kind, m.target, \
     m.state, coalesce(m.descriptor, m.text), m.checksum, \
     substr(c.name, instr(c.name, ' ') + 1), m.sealed, m.owner, m.blob";
pub(super) const FROM: &str = "FROM messages m JOIN conversations c USING (conversation)";

/// Parses a text column that contains a name.
pub(super) fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
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

pub(super) fn seq(number: i64) -> Seq {
    Seq(number as u64)
}

/// Returns the row number of a message.
pub(super) fn rowid_of(conversation: i64, seq: Seq) -> i64 {
    conversation << SEQ_BITS | i64::try_from(seq.0).unwrap_or(i64::MAX).min(SEQ_MAX)
}

/// A row as a message.
pub(super) struct Stored {
    pub sent: SentMessage,
    pub seq: Seq,
    /// Which holder of the sender's name wrote it.
    pub owner: i64,
    /// 0 as sent, 1 edited, 2 deleted.
    pub state: i64,
}

/// Returns eight bytes over all fields of a row, which reveal a flipped bit on the disk.
pub(super) fn checksum(sent: &SentMessage, of_row: (Seq, i64), state: i64) -> i64 {
    checksum_in(&sent.conversation.folded(), sent, of_row, state)
}

/// Returns the checksum of a row whose conversation has this name in the file.
pub(super) fn checksum_in(
    conversation: &str,
    sent: &SentMessage,
    (seq, owner): (Seq, i64),
    state: i64,
) -> i64 {
    let of = sent.kind.of().map_or(0, |of| of.0);
    // A text that is not sealed has the checksum of versions without sealed messages.
    let sealed = sent.body.sealed().map_or(&[][..], Opaque::bytes);
    let mark = if sent.body.sealed().is_some() { 0x80 } else { 0 };
    // A message of the first holder has the checksum of versions without holders.
    let owner = owner.to_be_bytes();
    let owner = if owner == [0; 8] { &[][..] } else { &owner[..] };
    let blob = sent.kind.blob().map_or(Vec::new(), |BlobId(blob)| blob.to_vec());
    let parts: [&[u8]; 12] = [
        conversation.as_bytes(),
        &[0],
        sent.from.as_str().as_bytes(),
        &[0],
        sent.device.as_str().as_bytes(),
        &sent.id.0,
        &[sent.kind.code() | mark, state as u8],
        &[seq.0.to_be_bytes(), sent.time_ms.to_be_bytes(), of.to_be_bytes()].concat(),
        sent.body.text().as_bytes(),
        sealed,
        owner,
        &blob,
    ];
    i64::from_be_bytes(*sha256(&parts).first_chunk().expect("a hash has 8 bytes"))
}

fn read_sealed(row: &Row, column: usize) -> rusqlite::Result<Option<Opaque>> {
    let bytes = row.get_ref(column)?.as_blob_or_null()?;
    let sealed = bytes.map(Opaque::new).transpose();
    sealed.map_err(|error| damaged(column, error))
}

/// Reads a row of `COLUMNS`.
pub(super) fn read_row(row: &Row) -> rusqlite::Result<Stored> {
    let of = row.get::<_, Option<i64>>(6)?.map(seq);
    let kind = Kind::from_code(row.get(5)?, of, row.get::<_, Option<[u8; 16]>>(13)?.map(BlobId));
    let body = match read_sealed(row, 11)? {
        Some(sealed) => Body::Sealed(sealed),
        None => Body::Text(row.get(8)?),
    };
    let sent = SentMessage {
        conversation: parsed(row, 10)?,
        from: parsed(row, 2)?,
        device: parsed(row, 3)?,
        id: MsgId(row.get(1)?),
        time_ms: row.get(4)?,
        kind: kind.ok_or_else(|| damaged(5, "a message of an unknown kind"))?,
        body,
    };
    let (rowid, state): (i64, i64) = (row.get(0)?, row.get(7)?);
    let (seq, owner) = (seq(rowid & SEQ_MAX), row.get(12)?);
    let sum = checksum_in(row.get_ref(10)?.as_str()?, &sent, (seq, owner), state);
    if sum != row.get::<_, i64>(9)? {
        let what = format!("message {seq} of {} is not what was stored", sent.conversation);
        return Err(damaged(9, what));
    }
    Ok(Stored { sent, seq, owner, state })
}

/// Reads a row as it is delivered from history: an edit has the present text of its target.
pub(super) fn read_message(connection: &Connection, row: &Row) -> rusqlite::Result<Message> {
    let Stored { mut sent, seq, state, .. } = read_row(row)?;
    if let Kind::Edit { of } = sent.kind {
        let rowid = row.get::<_, i64>(0)? - seq.0 as i64;
        let find = format!("SELECT {COLUMNS} {FROM} WHERE m.message = ?1 + ?2");
        let mut find = connection.prepare_cached(&find)?;
        let target = find.query_row([rowid, of.0 as i64], read_row).optional()?;
        sent.body = target.map(|target| target.sent.body).unwrap_or_default();
    }
    Ok(message(sent, seq, state == 1, state == 2))
}

/// Returns whether the error means that a row is not as it was written.
pub(super) fn is_row_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..)
    )
}

/// Returns whether the error means that a page of the file is not as it was written.
pub(super) fn is_page_damaged(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns a query over messages with the names that a schema has for them.
pub(super) fn in_schema(query: &str, schema: i64) -> String {
    match schema {
        ..RENAMED => query.replace("m.message", "m.line").replace("messages m", "lines m"),
        _ => query.to_owned(),
    }
}

/// Returns whether a row is on pages that can be read.
pub(super) fn is_readable(connection: &Connection, rowid: i64) -> rusqlite::Result<bool> {
    let find = "SELECT text, sealed, descriptor FROM messages WHERE message = ?1";
    let read = |row: &Row| (0..3).try_for_each(|column| row.get_ref(column).map(drop));
    match connection.prepare_cached(find)?.query_row([rowid], read).optional() {
        Err(error) if is_page_damaged(&error) => Ok(false),
        found => found.map(|_| true),
    }
}

/// Reads every message of a file of any schema. Returns their number.
pub(super) fn read_all(connection: &Connection, schema: i64) -> rusqlite::Result<usize> {
    let columns = if schema < 2 { COLUMNS.replace("m.sealed", "NULL") } else { COLUMNS.to_owned() };
    let columns = if schema < 5 { columns.replace("m.owner", "0") } else { columns };
    let columns = match schema {
        ..FOLDED => columns.replace("coalesce(m.spelled, m.sender)", "m.sender"),
        _ => columns,
    };
    let columns = match schema {
        ..7 => {
            columns.replace("m.blob", "NULL").replace("coalesce(m.descriptor, m.text)", "m.text")
        }
        _ => columns,
    };
    let query = in_schema(&format!("SELECT {columns} {FROM}"), schema);
    let mut query = connection.prepare(&query)?;
    let mut rows = query.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        read_row(row)?;
        count += 1;
    }
    Ok(count)
}
