//! The rows of encrypted files: what the writing half does with them. The files of a detached
//! conversation are doomed with its messages, in parts; until then their rows are read as doomed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::parsed;
use crate::chat::{BlobId, Conversation, UserName};
use crate::ledger::{
    Began, BlobLimits, BlobRow, BlobState, BlobTotals, Exported, NewBlob, Why, stored_name,
};

pub(super) const COMING: i64 = 0;
pub(super) const KEPT: i64 = 1;
const DOOMED: i64 = 2;
const GONE: i64 = 3;

pub(super) const DELETED: i64 = 1;
pub(super) const EXPIRED: i64 = 2;
pub(super) const LOST: i64 = 3;

/// Rows that one call reads or dooms.
pub(super) const ROWS_MAX: i64 = 500;

/// The columns that `read` reads. A file whose message is of a detached conversation is doomed: it
/// is written so when that message is removed.
fn columns() -> String {
    let detached = format!("state < {DOOMED} AND {OF_DETACHED}");
    format!(
        "stored, blob, owner, conversation, bytes, iif({detached}, {DOOMED}, state), \
         iif({detached}, {EXPIRED}, why), made_ms, until_ms, message"
    )
}

/// Selects files whose message is of a detached conversation.
const OF_DETACHED: &str = "EXISTS (SELECT 1 FROM conversations c \
     WHERE c.conversation = message >> 40 AND c.name LIKE '-%')";

/// A message that claims its file: the holder of the sender's name, and the row of the message.
pub(super) struct Claim<'a> {
    pub owner: &'a UserName,
    pub holder: i64,
    pub conversation: &'a Conversation,
    pub blob: BlobId,
    pub rowid: i64,
    pub time_ms: i64,
}

/// Lets a message announce a complete file of its sender. Returns false if there is none, or if its
/// time is over.
pub(super) fn claim(connection: &Connection, claim: &Claim) -> rusqlite::Result<bool> {
    let set = format!(
        "UPDATE blobs SET message = ?4, until_ms = last_ms WHERE stored = ?1 AND owner = ?2 \
         AND holder = ?3 AND state = {KEPT} AND message IS NULL AND last_ms > ?5"
    );
    let stored = stored_name(claim.conversation, claim.blob);
    let (owner, holder) = (claim.owner.folded(), claim.holder);
    let values = params![stored.0, owner, holder, claim.rowid, claim.time_ms];
    Ok(connection.prepare_cached(&set)?.execute(values)? == 1)
}

/// Dooms the files that a condition selects. Returns their names in the store.
pub(super) fn doom(
    connection: &Connection,
    why: i64,
    (condition, values): (&str, &[&dyn rusqlite::ToSql]),
) -> rusqlite::Result<Vec<BlobId>> {
    let set = format!(
        "UPDATE blobs SET state = {DOOMED}, why = {why} WHERE state < {DOOMED} AND {condition} \
         RETURNING stored"
    );
    let mut set = connection.prepare_cached(&set)?;
    set.query_map(values, |row| Ok(BlobId(row.get(0)?)))?.collect()
}

/// Forgets what is known of removed files whose messages are removed too.
pub(super) fn forget_gone(
    connection: &Connection,
    (condition, values): (&str, &[&dyn rusqlite::ToSql]),
) -> rusqlite::Result<()> {
    // `+` keeps the database engine from going through all removed files instead of these messages.
    let drop_rows = format!("DELETE FROM blobs WHERE +state = {GONE} AND {condition}");
    connection.prepare_cached(&drop_rows)?.execute(values).map(drop)
}

fn read(row: &Row) -> rusqlite::Result<BlobRow> {
    let why = match row.get(6)? {
        EXPIRED => Why::Expired,
        LOST => Why::Lost,
        _ => Why::Deleted,
    };
    let bytes: i64 = row.get(4)?;
    Ok(BlobRow {
        stored: BlobId(row.get(0)?),
        blob: BlobId(row.get(1)?),
        owner: parsed(row, 2)?,
        conversation: parsed(row, 3)?,
        bytes: bytes.max(0) as u64,
        state: match row.get(5)? {
            COMING => BlobState::Coming,
            KEPT => BlobState::Kept,
            DOOMED => BlobState::Doomed(why),
            _ => BlobState::Gone(why),
        },
        made_ms: row.get(7)?,
        until_ms: row.get(8)?,
        claimed: row.get::<_, Option<i64>>(9)?.is_some(),
    })
}

/// A user: a name, and which holder of the name it is.
pub(super) type Holder<'a> = (&'a UserName, i64);

/// Sums the files of a user, or of all users, in the states before `state`.
fn sums(
    connection: &Connection,
    owner: Option<Holder>,
    state: i64,
) -> rusqlite::Result<BlobTotals> {
    let sum = "SELECT coalesce(sum(files), 0), coalesce(sum(bytes), 0) FROM blob_sums";
    let read = |row: &Row| {
        let bytes: i64 = row.get(1)?;
        Ok(BlobTotals { files: row.get(0)?, bytes: bytes.max(0) as u64 })
    };
    match owner {
        Some((owner, holder)) => {
            let sum = format!("{sum} WHERE owner = ?1 AND holder = ?2 AND state < ?3");
            let values = params![owner.folded(), holder, state];
            connection.prepare_cached(&sum)?.query_row(values, read)
        }
        None => {
            let sum = format!("{sum} WHERE state < ?1");
            connection.prepare_cached(&sum)?.query_row([state], read)
        }
    }
}

/// Sums the files of a user that are not doomed, or of all users with the doomed ones, which are
/// still in the store.
pub(super) fn totals(
    connection: &Connection,
    owner: Option<Holder>,
) -> rusqlite::Result<BlobTotals> {
    sums(connection, owner, if owner.is_some() { DOOMED } else { GONE })
}

/// Returns the name of a user whose sums differ from the files, if there is one.
pub(super) fn wrong_sum(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let files = "SELECT owner, holder, state, count(*), sum(max(bytes, 4096)) FROM blobs \
         GROUP BY owner, holder, state";
    let find = format!(
        "SELECT owner FROM (SELECT * FROM ({files} EXCEPT SELECT * FROM blob_sums) UNION ALL \
         SELECT * FROM (SELECT * FROM blob_sums EXCEPT {files})) LIMIT 1"
    );
    connection.query_row(&find, [], |row| row.get(0)).optional()
}

pub(super) fn begin(
    connection: &Connection,
    new: &NewBlob,
    holder: i64,
    limits: &BlobLimits,
) -> rusqlite::Result<Began> {
    let stored = stored_name(&new.conversation, new.blob);
    let transaction = connection.unchecked_transaction()?;
    let find = format!("SELECT {}, holder FROM blobs WHERE stored = ?1", columns());
    let read_held = |row: &Row| Ok((read(row)?, row.get::<_, i64>(10)? == holder));
    let known = transaction.query_row(&find, [stored.0], read_held).optional()?;
    match known {
        Some((row, true)) if row.is_upload(new) => match row.state {
            BlobState::Kept => return Ok(Began::Kept { until_ms: row.until_ms }),
            BlobState::Coming => {
                let set = "UPDATE blobs SET until_ms = min(?2, last_ms) WHERE stored = ?1";
                transaction.execute(set, params![stored.0, new.until_ms])?;
                transaction.commit()?;
                return Ok(Began::Coming { is_new: false });
            }
            BlobState::Doomed(_) | BlobState::Gone(_) => return Ok(Began::Conflict),
        },
        Some(_) => return Ok(Began::Conflict),
        None => {
            let of = |state| sums(&transaction, Some((&new.owner, holder)), state);
            // What is doomed takes room until it is removed.
            let own = (of(GONE)?, of(KEPT)?.files);
            if let Some(refused) = limits.refuse(new.bytes, own, totals(&transaction, None)?) {
                return Ok(refused);
            }
            let add = "INSERT INTO blobs (stored, blob, owner, holder, conversation, bytes, state, \
                 made_ms, until_ms, last_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9)";
            transaction.execute(
                add,
                params![
                    stored.0,
                    new.blob.0,
                    new.owner.folded(),
                    holder,
                    new.conversation.to_string(),
                    new.bytes as i64,
                    new.now_ms,
                    new.until_ms,
                    new.last_ms,
                ],
            )?;
        }
    }
    transaction.commit()?;
    Ok(Began::Coming { is_new: true })
}

/// Records that a file is complete. Returns false if it was doomed meanwhile.
pub(super) fn keep(
    connection: &Connection,
    stored: BlobId,
    until_ms: i64,
) -> rusqlite::Result<bool> {
    // A file that was kept before stays what it is: a message may announce it already.
    let set = format!(
        "UPDATE blobs SET until_ms = iif(state = {COMING}, min(?2, last_ms), until_ms), state = {KEPT} \
         WHERE stored = ?1 AND state < {DOOMED}"
    );
    Ok(connection.prepare_cached(&set)?.execute(params![stored.0, until_ms])? == 1)
}

/// Returns whether a message announces a file of this user.
pub(super) fn is_announced(
    connection: &Connection,
    (owner, holder): Holder,
    blob: BlobId,
) -> rusqlite::Result<bool> {
    let find = format!(
        "SELECT EXISTS (SELECT 1 FROM blobs WHERE blob = ?3 AND +owner = ?1 AND +holder = ?2 \
         AND state < {DOOMED} AND message IS NOT NULL)"
    );
    let values = params![owner.folded(), holder, blob.0];
    connection.prepare_cached(&find)?.query_row(values, |row| row.get(0))
}

/// Records that doomed files were removed from the store.
pub(super) fn bury(connection: &Connection, all: &[BlobId]) -> rusqlite::Result<()> {
    let known = format!("stored = ?1 AND state = {DOOMED}");
    let lone = "NOT EXISTS (SELECT 1 FROM messages m WHERE m.message = blobs.message)";
    let drop_row = format!("DELETE FROM blobs WHERE {known} AND (message IS NULL OR {lone})");
    let set = format!("UPDATE blobs SET state = {GONE}, bytes = 0 WHERE {known}");
    let transaction = connection.unchecked_transaction()?;
    for stored in all {
        transaction.prepare_cached(&drop_row)?.execute([stored.0])?;
        transaction.prepare_cached(&set)?.execute([stored.0])?;
    }
    transaction.commit()
}

/// Which rows are read, and in which order.
pub(super) enum Rows<'a> {
    Doomed,
    One(BlobId),
    Of(Holder<'a>, usize),
    After(Option<BlobId>),
}

/// Reads rows.
pub(super) fn rows(connection: &Connection, which: Rows) -> rusqlite::Result<Vec<BlobRow>> {
    let select = format!("SELECT {} FROM blobs", columns());
    let all = |rest: String, values: &[&dyn rusqlite::ToSql]| {
        let mut query = connection.prepare_cached(&format!("{select} WHERE {rest}"))?;
        query.query_map(values, read)?.collect()
    };
    match which {
        Rows::Doomed => all(format!("state = {DOOMED} LIMIT ?1"), params![ROWS_MAX]),
        Rows::One(stored) => all("stored = ?1".to_owned(), params![stored.0]),
        Rows::Of((owner, holder), rows_max) => all(
            format!(
                "owner = ?1 AND holder = ?2 AND state < {DOOMED} \
                 ORDER BY made_ms DESC, stored LIMIT ?3"
            ),
            params![owner.folded(), holder, rows_max as i64],
        ),
        Rows::After(stored) => {
            let after = stored.map_or_else(Vec::new, |stored| stored.0.to_vec());
            all("stored > ?1 ORDER BY stored LIMIT ?2".to_owned(), params![after, ROWS_MAX])
        }
    }
}

/// Returns the files that are not doomed of the present holder of a name, or of a channel, the
/// oldest first.
pub(super) fn exported(
    connection: &Connection,
    wanted: &Exported,
) -> rusqlite::Result<Vec<BlobRow>> {
    let owned = "owner = ?1 AND holder = coalesce((SELECT owner FROM owners WHERE name = ?1), 0)";
    let (condition, name) = match wanted {
        Exported::User(user) => (owned, user.folded()),
        Exported::Channel(_) => ("?1 = ''", ""),
    };
    let columns = columns();
    let find = format!(
        "SELECT {columns} FROM blobs WHERE state < {DOOMED} AND {condition} ORDER BY made_ms, stored"
    );
    let is_wanted = |row: &BlobRow| match (wanted, &row.conversation) {
        (Exported::Channel(wanted), Conversation::Channel(channel)) => channel == wanted,
        (Exported::Channel(_), Conversation::Private(..)) => false,
        (Exported::User(_), _) => true,
    };
    let mut find = connection.prepare(&find)?;
    let rows = find.query_map([name], read)?;
    rows.filter(|row| row.as_ref().map_or(true, is_wanted)).collect()
}

/// Returns the file of a conversation. One from before a user of a private conversation was renamed
/// has the name in the store that it got then, which belongs to a file of that conversation only if
/// its row says so.
pub(super) fn find(
    connection: &Connection,
    conversation: &Conversation,
    blob: BlobId,
) -> rusqlite::Result<Option<BlobRow>> {
    let is_of = |row: &BlobRow| row.conversation == *conversation;
    let by_name = rows(connection, Rows::One(stored_name(conversation, blob)))?.pop().filter(is_of);
    if by_name.is_some() || conversation.people().is_none() {
        return Ok(by_name);
    }
    let find = format!("SELECT {} FROM blobs WHERE blob = ?1", columns());
    let mut find = connection.prepare_cached(&find)?;
    let same: Vec<BlobRow> = find.query_map([blob.0], read)?.collect::<Result<_, _>>()?;
    Ok(same.into_iter().find(is_of))
}

/// Returns the totals of each user with files that are not doomed, the largest first.
pub(super) fn owners(connection: &Connection) -> rusqlite::Result<Vec<(UserName, BlobTotals)>> {
    let sum = format!(
        "SELECT owner, sum(files), sum(bytes) AS bytes FROM blob_sums WHERE state < {DOOMED} \
         GROUP BY owner ORDER BY bytes DESC"
    );
    let read = |row: &Row| {
        let bytes: i64 = row.get(2)?;
        Ok((parsed(row, 0)?, BlobTotals { files: row.get(1)?, bytes: bytes.max(0) as u64 }))
    };
    connection.prepare(&sum)?.query_map([], read)?.collect()
}

/// Returns the complete files, by their names in the store, with their sizes.
pub(super) fn kept(connection: &Connection) -> rusqlite::Result<Vec<(BlobId, u64)>> {
    let find = format!("SELECT stored, bytes FROM blobs WHERE state = {KEPT} ORDER BY stored");
    let read = |row: &Row| {
        let bytes: i64 = row.get(1)?;
        Ok((BlobId(row.get(0)?), bytes.max(0) as u64))
    };
    connection.prepare(&find)?.query_map([], read)?.collect()
}
