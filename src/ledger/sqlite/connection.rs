//! Connections to the file: options, and the meaning of errors.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use rustix::fs::{Access, access};

use super::rows::{is_page_damaged, is_row_damaged};
use crate::chat::words;
use crate::ledger::{EngineFault, LedgerError};

/// Time to wait for the lock of another connection.
pub const BUSY: Duration = Duration::from_secs(5);
/// Page cache in KiB.
const CACHE_KIB: i64 = 8_192;
/// Pages in the write-ahead log before a checkpoint.
pub const LOG_PAGES: i64 = 4_000;

/// Maximum size of the file in pages: 64 GiB. In a larger file the first byte of some pages would
/// not identify their type any more (`tidy/pages.rs`).
pub const PAGES_MAX: i64 = (1 << 24) - 1;

/// Creates the file, readable by its owner only, if it is missing. SQLite gives its log the same
/// mode.
pub fn create(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(|_| ())
}

/// Adds the SQL function `pychat_words`, which the schema uses and which returns the words of a
/// text. Invalid UTF-8 in a damaged text separates words.
pub fn add_words(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("pychat_words", 1, flags, |call| {
        let text = call.get_raw(0).as_bytes_or_null()?.unwrap_or_default();
        Ok(words::indexed(&String::from_utf8_lossy(text)))
    })
}

/// Sets the options of each connection that writes.
pub fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    add_words(connection)?;
    connection.busy_timeout(BUSY)?;
    // Before the first write: the mode, which allows to shrink the file in parts, cannot be set
    // later.
    if connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))? == 0 {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "max_page_count", PAGES_MAX)?;
    // A larger cache and rarer checkpoints (both 4 times SQLite's defaults): pages that change
    // often are copied from the log into the file less often.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

pub fn open_existing(path: &Path) -> Result<Connection, LedgerError> {
    let connection = open_as_it_is(path)?;
    prepare(&connection).map_err(faults(path))?;
    Ok(connection)
}

pub fn open_as_it_is(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(faults(path))?;
    connection.busy_timeout(BUSY).map_err(faults(path))?;
    Ok(connection)
}

/// Opens a file to read it. On a medium that cannot be written, or in a folder of another account,
/// SQLite could make no write-ahead log beside it; where there is none either, nobody writes there.
pub fn open_to_read(path: &Path) -> Result<Connection, LedgerError> {
    let absolute = std::path::absolute(path).map_err(io(path))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let writable = |path| access(path, Access::WRITE_OK).is_ok();
    let beside = |suffix| {
        let mut name = absolute.clone().into_os_string();
        name.push(suffix);
        std::fs::metadata(name)
    };
    let has_log = beside("-shm").is_ok() || beside("-wal").is_ok_and(|log| log.len() > 0);
    if has_log || (writable(folder) && writable(&absolute)) || !absolute.is_file() {
        return open_as_it_is(path);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut address = b"file://".to_vec();
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => address.extend(format!("%{byte:02x}").into_bytes()),
            _ => address.push(*byte),
        }
    }
    address.extend(b"?immutable=1");
    Connection::open_with_flags(OsStr::from_bytes(&address), flags).map_err(faults(path))
}

/// Makes what an earlier process has committed durable. One that was killed may have left frames in
/// the write-ahead log that are in no more than the kernel's memory: a message in them that is sent
/// again is known already, and nothing else would sync it before it is acknowledged.
///
/// # Errors
/// The disk has failed.
pub fn sync_log(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let log = log_of(path);
    match File::open(&log).and_then(|file| file.sync_data()) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&log)(error)),
        _ => {}
    }
    // After a failed sync the kernel considers pages of the log written that are not. Their copies
    // in the file are synced again. An active reader keeps some of them in the log.
    let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
    connection.query_row(checkpoint, [], |_| Ok(())).map_err(write_faults(path))
}

/// The path of the write-ahead log.
pub fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Copies the write-ahead log into the file and empties it, so that removed texts do not stay in
/// it. Does not wait for readers: the next sweep tries again. Returns whether it succeeded.
pub fn truncate_log(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?;
    let busy: rusqlite::Result<i64> =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    connection.busy_timeout(BUSY)?;
    Ok(busy? == 0)
}

pub fn faults(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    let path = path.to_owned();
    move |error| match error {
        rusqlite::Error::FromSqlConversionFailure(_, _, what) => {
            LedgerError::Damaged { path: path.clone(), what: what.to_string() }
        }
        error if is_row_damaged(&error) => {
            LedgerError::Damaged { path: path.clone(), what: error.to_string() }
        }
        error => {
            let kind = match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => EngineFault::Disk,
                _ if is_page_damaged(&error) => EngineFault::File,
                _ => EngineFault::Other,
            };
            LedgerError::Engine { path: path.clone(), error: error.into(), kind }
        }
    }
}

/// Maps errors of a write, after which it may be open whether it is stored.
pub fn write_faults(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    let (path, faults) = (path.to_owned(), faults(path));
    move |error| match in_doubt(&error) {
        true => LedgerError::InDoubt { path: path.clone(), error: error.into() },
        false => faults(error),
    }
}

/// Returns whether a failed write may be on the disk or not.
fn in_doubt(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC | ffi::SQLITE_IOERR))
}

pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> LedgerError {
    let path = path.to_owned();
    move |error| LedgerError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_was_read_is_damaged() {
        for (code, is_damage, is_disk) in [
            (ffi::SQLITE_CORRUPT, true, false),
            (ffi::SQLITE_NOTADB, true, false),
            (ffi::SQLITE_NOMEM, false, false),
            (ffi::SQLITE_CANTOPEN, false, false),
            (ffi::SQLITE_BUSY, false, false),
            (ffi::SQLITE_FULL, false, true),
            (ffi::SQLITE_IOERR, false, true),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = faults(Path::new("ledger.db"))(error);
            assert_eq!((error.is_damage(), error.is_of_the_disk()), (is_damage, is_disk), "{code}");
        }
    }
}
