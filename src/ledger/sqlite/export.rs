//! Exports messages of a file for an operator: those of a user, or of a channel.

use std::path::Path;

use rusqlite::Connection;

use super::connection::{faults, open_to_read};
use super::detach::ATTACHED;
use super::rows::{COLUMNS, FROM, is_row_damaged, read_message};
use super::schema::{STEPS, version};
use crate::chat::{Conversation, Message};
use crate::ledger::{Exported, LedgerError};

/// Opens a ledger whose schema is that of this program.
pub(super) fn open(path: &Path) -> Result<Connection, LedgerError> {
    let connection = open_to_read(path)?;
    let found = version(&connection, path)?;
    if found < STEPS.len() as i64 {
        return Err(LedgerError::Older { path: path.to_owned(), found });
    }
    Ok(connection)
}

/// Passes messages to `each` until `each` returns false. Returns the number of damaged ones.
pub fn export(
    path: &Path,
    wanted: &Exported,
    each: &mut dyn FnMut(Message) -> bool,
) -> Result<usize, LedgerError> {
    let connection = open(path)?;
    // The transaction reads one state of the file, even if a server writes meanwhile.
    let look = connection.unchecked_transaction().map_err(faults(path))?;
    read(&look, wanted, each).map_err(faults(path))
}

fn read(
    connection: &Connection,
    wanted: &Exported,
    each: &mut dyn FnMut(Message) -> bool,
) -> rusqlite::Result<usize> {
    let (which, name) = match wanted {
        // A name that was given to somebody else has another owner.
        Exported::User(user) => (
            "AND m.sender = ?1 AND m.owner = coalesce((SELECT owner FROM owners WHERE name = ?1), 0) \
             ORDER BY m.time_ms, m.message",
            user.folded().to_owned(),
        ),
        Exported::Channel(channel) => {
            ("AND c.name = ?1 ORDER BY m.message", Conversation::Channel(channel.clone()).folded())
        }
    };
    let mut find = connection.prepare(&format!("SELECT {COLUMNS} {FROM} {ATTACHED} {which}"))?;
    let mut rows = find.query([name])?;
    let mut damaged = 0;
    while let Some(row) = rows.next()? {
        match read_message(connection, row) {
            Ok(message) => {
                if !each(message) {
                    break;
                }
            }
            Err(error) if is_row_damaged(&error) => damaged += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(damaged)
}
