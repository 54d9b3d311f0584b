//! Migration of files of an older schema.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::backup::{copy_to, remove};
use super::connection::{faults, io};
use super::fold::fold_names;
use super::reindex::{UNFINISHED, finish};
use super::rows::FOLDED;
use super::schema::{EMPTY_WORDS, STEPS, version};
use crate::chat::words;
use crate::ledger::LedgerError;
use crate::system::files;

/// Brings the schema up to date. Copies a file that is not new first.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let fault = faults(path);
    let found = version(connection, path)?;
    let known = STEPS.len() as i64;
    if found == known {
        renew_words(connection).map_err(&fault)?;
        return name_copies(path);
    }
    if found > 0 {
        copy(connection, path, found)?;
    }
    let mut step_up = || -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for step in STEPS.iter().skip(found.max(0) as usize) {
            transaction.execute_batch(step)?;
        }
        if found < FOLDED {
            fold_names(&transaction)?;
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
    renew_words(connection).map_err(&fault)?;
    if found > 0 && found < 5 {
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM").map_err(&fault)?;
    }
    name_copies(path)
}

/// Creates the index of words, and replaces an index that a program with another version of Unicode
/// has filled. In such an index, words that this program does not find in a removed text would
/// stay.
fn renew_words(connection: &mut Connection) -> rusqlite::Result<()> {
    let versions = words::unicode_versions();
    let filled_by: String =
        connection.query_row("SELECT unicode FROM meta", [], |row| row.get(0))?;
    if filled_by == versions {
        return Ok(());
    }
    if filled_by == UNFINISHED {
        // Without the room for it, the next start tries again.
        if let Err(error) = finish(connection) {
            log::error!("the pages of a damaged search index cannot be removed: {error}");
        }
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(EMPTY_WORDS)?;
    transaction.execute("UPDATE meta SET unicode = ?1", [versions])?;
    transaction.commit()
}

/// Copies a file of an older schema. The copy gets its name once the migration is done: starts that
/// are interrupted leave one copy, and not one each.
fn copy(connection: &Connection, path: &Path, schema: i64) -> Result<(), LedgerError> {
    let copy = unnamed(path, schema);
    remove(&copy)?;
    copy_to(connection, &copy, &mut |_| {})
}

/// A copy before the migration is done.
fn unnamed(path: &Path, schema: i64) -> PathBuf {
    path.with_extension(format!("schema-{schema}.unfinished"))
}

/// Names the copies of migrations that are done: the first free name beside the ledger.
fn name_copies(path: &Path) -> Result<(), LedgerError> {
    for schema in 1..STEPS.len() as i64 {
        let unnamed = unnamed(path, schema);
        if !unnamed.exists() {
            continue;
        }
        let mut names = (1..).map(|number| match number {
            1 => path.with_extension(format!("schema-{schema}.backup")),
            number => path.with_extension(format!("schema-{schema}-{number}.backup")),
        });
        let name = names.find(|name| !name.exists()).expect("some number is free");
        fs::rename(&unnamed, &name).map_err(io(&name))?;
        files::sync_folder(&name).map_err(io(&name))?;
        log::info!("the ledger (schema {schema}) was copied to {}", name.display());
    }
    Ok(())
}
