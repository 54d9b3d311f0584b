//! A person's texts are taken away.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::connection::{faults, open_existing, truncate_log};
use super::migrate::migrate;
use super::rows::{COLUMNS, checksum, is_row_damaged, read_row};
use crate::chat::{Body, UserName};
use crate::ledger::LedgerError;

/// Takes the texts of all lines of a person away, for good.
pub fn erase(connection: &Connection, user: &UserName) -> rusqlite::Result<usize> {
    let buried = bury(connection, user)?;
    // Somebody may just be reading what was there before.
    for _ in 0..SCRUB_TRIES {
        if truncate_log(connection)? {
            break;
        }
        std::thread::sleep(SCRUB_PAUSE);
    }
    Ok(buried)
}

/// After an erasure a reader in the way of the write-ahead log is waited for so often ...
const SCRUB_TRIES: usize = 10;
/// ... and so long each time; then it is left to the next sweep.
const SCRUB_PAUSE: Duration = Duration::from_millis(50);

/// The same on a ledger that no server has open.
pub fn erase_at(path: &Path, user: &UserName) -> Result<usize, LedgerError> {
    let mut connection = open_existing(path)?;
    migrate(&mut connection, path)?;
    erase(&connection, user).map_err(faults(path))
}

/// Takes the texts of a person's lines away: each becomes a tombstone in its seat.
fn bury(connection: &Connection, user: &UserName) -> rusqlite::Result<usize> {
    let transaction = connection.unchecked_transaction()?;
    let buried = {
        // Conversation by conversation, where the index of ids has them by their sender.
        let find = format!(
            "SELECT {COLUMNS} FROM conversations p CROSS JOIN lines l ON l.conversation = p.conversation \
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
            let sum = match read_row(row) {
                Ok((mut draft, number, _)) => {
                    draft.body = Body::default();
                    checksum(&draft, number, 2)
                }
                // Its text goes, and the rest stays as damaged as it was.
                Err(error) if is_row_damaged(&error) => 0,
                Err(error) => return Err(error),
            };
            buried += set.execute(params![row.get::<_, i64>(0)?, sum])?;
        }
        buried
    };
    transaction.commit()?;
    Ok(buried)
}
