//! Migration of files of an older schema.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::Connection;

use super::backup::copy_to;
use super::connection::faults;
use super::schema::{STEPS, version};
use crate::ledger::LedgerError;

/// Brings the schema up to date. Copies a file that is not new first.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let fault = faults(path);
    let found = version(connection, path)?;
    let known = STEPS.len() as i64;
    if found == known {
        return Ok(());
    }
    if found > 0 {
        keep_copy(connection, path, found)?;
    }
    let mut step_up = || -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for step in &STEPS[found.max(0) as usize..] {
            transaction.execute_batch(step)?;
        }
        if found == 0 {
            // 63 bits, because SQLite's integers are signed.
            let log = rand::random::<u64>() >> 1;
            transaction.execute("INSERT INTO meta (log) VALUES (?1)", [log as i64])?;
        }
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    };
    step_up().map_err(&fault)?;
    if found > 0 && found < 5 {
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM").map_err(&fault)?;
    }
    Ok(())
}

/// Copies a file of an older schema to the first free name beside it.
fn keep_copy(connection: &Connection, path: &Path, schema: i64) -> Result<(), LedgerError> {
    let names = (1..).map(|number| match number {
        1 => format!("schema-{schema}.backup"),
        number => format!("schema-{schema}-{number}.backup"),
    });
    for name in names {
        let copy = path.with_extension(name);
        match copy_to(connection, &copy, &mut |_| {}) {
            Err(LedgerError::Io { error, .. }) if error.kind() == ErrorKind::AlreadyExists => {
                log::warn!("{} is there from an earlier start, and stays", copy.display());
            }
            done => {
                log::info!("schema {schema} of the ledger was copied to {}", copy.display());
                return done;
            }
        }
    }
    unreachable!("some number is free")
}
