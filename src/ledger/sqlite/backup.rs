//! Backup and restore of the file.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::connection::{faults, io, open_existing};
use super::verify::verify;
use crate::ledger::LedgerError;

/// Copies the ledger `from`, in use or not, to the new file `to`. Calls `progress` with percents.
pub fn backup(from: &Path, to: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), LedgerError> {
    let connection = open_existing(from)?;
    copy_to(&connection, to, progress)
}

/// Replaces the ledger `to`, which nobody may have open, by a backup. Keeps the replaced file
/// beside it and returns its path. Gives the logs a new id, because clients may have later messages
/// of the old ones.
pub fn restore(from: &Path, to: &Path) -> Result<Option<PathBuf>, LedgerError> {
    verify(from)?;
    let fresh = to.with_extension("restored");
    remove(&fresh)?;
    backup(from, &fresh, &mut |_| {})?;
    let fault = faults(&fresh);
    {
        let connection = open_existing(&fresh)?;
        let log = rand::random::<u64>() >> 1;
        connection.execute("UPDATE meta SET log = ?1", [log as i64]).map_err(&fault)?;
    }
    let mut kept = None;
    if to.exists() {
        // Moves the contents of the write-ahead log into the kept file.
        if let Ok(old) = open_existing(to) {
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            // A damaged file is kept as it is.
            let _ = old.query_row(checkpoint, [], |_| Ok(()));
        }
        kept = Some(set_aside(to)?);
    }
    for suffix in ["-wal", "-shm"] {
        let mut name = to.as_os_str().to_owned();
        name.push(suffix);
        remove(Path::new(&name))?;
    }
    fs::rename(&fresh, to).map_err(io(to))?;
    Ok(kept)
}

/// Gives a file the first free name as a second name, so that it always has one.
fn set_aside(path: &Path) -> Result<PathBuf, LedgerError> {
    for number in 1.. {
        let aside = match number {
            1 => path.with_extension("before-restore"),
            number => path.with_extension(format!("before-restore-{number}")),
        };
        match fs::hard_link(path, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(path)(error)),
        }
    }
    unreachable!("some number is free")
}

/// Removes the copies that `restore` and a schema change have left, if they are at least `age` old.
pub fn remove_copies(ledger: &Path, age: Duration) -> Result<Vec<PathBuf>, LedgerError> {
    let folder = ledger.parent().unwrap_or(Path::new("."));
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        if !is_copy(ledger, &path) {
            continue;
        }
        // A new link and a copy that preserves times still have a new change time.
        let since_s = path.metadata().map_err(io(&path))?.ctime();
        let since = UNIX_EPOCH + Duration::from_secs(since_s.try_into().unwrap_or(0));
        if since.elapsed().unwrap_or_default() >= age {
            remove(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Returns whether `set_aside` or the migration has created this name.
fn is_copy(ledger: &Path, path: &Path) -> bool {
    let (Some(stem), Some(name)) = (ledger.file_stem(), path.file_name()) else { return false };
    let (stem, name) = (stem.to_string_lossy(), name.to_string_lossy());
    let Some(rest) = name.strip_prefix(&*stem) else { return false };
    rest == ".before-restore"
        || rest.starts_with(".before-restore-")
        || (rest.starts_with(".schema-") && rest.ends_with(".backup"))
}

pub fn copy_to(
    connection: &Connection,
    to: &Path,
    progress: &mut dyn FnMut(u8),
) -> Result<(), LedgerError> {
    if to.exists() {
        return Err(io(to)(ErrorKind::AlreadyExists.into()));
    }
    let fault = faults(to);
    // A temporary file, readable by the operator only, until it is complete.
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let partial = tempfile::Builder::new()
        .prefix(".backup-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(io(to))?;
    {
        let mut copy = Connection::open(partial.path()).map_err(&fault)?;
        // One read transaction for the whole copy: otherwise the copy starts again after each
        // commit.
        let look = connection.unchecked_transaction().map_err(&fault)?;
        look.query_row("PRAGMA schema_version", [], |_| Ok(())).map_err(&fault)?;
        let work = Backup::new(connection, &mut copy).map_err(&fault)?;
        loop {
            let step = work.step(1_000).map_err(&fault)?;
            let state = work.progress();
            let done = state.pagecount - state.remaining;
            progress((100 * done / state.pagecount.max(1)) as u8);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
    partial.persist_noclobber(to).map_err(|error| io(to)(error.error))?;
    Ok(())
}

fn remove(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io(path)(error)),
        _ => Ok(()),
    }
}
