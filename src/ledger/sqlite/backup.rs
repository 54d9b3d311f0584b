//! Backups of the file, and what interrupted copies leave.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::connection::{faults, io, open_to_read};
use crate::ledger::LedgerError;
use crate::system::files;

/// The name of a copy that is not whole yet. The process that writes it holds its lock.
const PARTIAL: (&str, &str) = (".pychat-copy-", ".partial");
/// What SQLite puts beside a file.
pub(super) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Copies the ledger `from`, in use or not, to the new file `to`. Calls `progress` with percents.
pub fn backup(from: &Path, to: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), LedgerError> {
    let connection = open_to_read(from)?;
    copy_to(&connection, to, progress)
}

/// The file that a restore makes before it takes the ledger's place.
pub(super) fn restored(ledger: &Path) -> PathBuf {
    ledger.with_extension("restored")
}

/// Removes what an interrupted copy or restore has left beside a ledger that nobody else has open.
pub fn remove_leftovers(ledger: &Path) -> Result<(), LedgerError> {
    remove_partial(ledger)?;
    remove_whole(&restored(ledger))
}

/// Removes copies in the folder of a file whose processes have ended before they were whole.
fn remove_partial(file: &Path) -> Result<(), LedgerError> {
    // The error of a missing folder is reported when the file is made.
    let Ok(entries) = fs::read_dir(folder_of(file)) else { return Ok(()) };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !name.starts_with(PARTIAL.0) || !name.ends_with(PARTIAL.1) {
            continue;
        }
        // What cannot be looked at is left alone.
        let Ok(open) = File::open(&path) else { continue };
        if files::try_lock(&open).is_ok_and(|free| free)
            && let Err(error) = remove_whole(&path)
        {
            // Another account's, in a folder that all accounts use.
            log::warn!("cannot remove the unfinished copy {}: {error}", path.display());
        }
    }
    Ok(())
}

/// Removes a file and what SQLite has put beside it: a new file of that name would take it in.
pub(super) fn remove_whole(path: &Path) -> Result<(), LedgerError> {
    BESIDE.iter().try_for_each(|suffix| remove(&beside(path, suffix)))?;
    if path.exists() {
        log::warn!("removing {}, which an interrupted backup or restore has left", path.display());
    }
    remove(path)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Removes the copies that `restore` and a schema change have left, if they are at least `age` old.
pub fn remove_copies(ledger: &Path, age: Duration) -> Result<Vec<PathBuf>, LedgerError> {
    let folder = folder_of(ledger);
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        if !is_copy(ledger, &path) {
            continue;
        }
        // A new link and a copy that preserves times still have a new change time.
        let since_s = match path.metadata() {
            Ok(about) => about.ctime(),
            // The sweep and an erasure may remove it at the same time.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(io(&path)(error)),
        };
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
    remove_partial(to)?;
    let partial = tempfile::Builder::new()
        .prefix(PARTIAL.0)
        .suffix(PARTIAL.1)
        .tempfile_in(folder_of(to))
        .map_err(io(to))?;
    files::try_lock(partial.as_file()).map_err(io(to))?;
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
        drop(work);
        // Without a write-ahead log it can be read where nothing can be written.
        copy.pragma_update(None, "journal_mode", "DELETE").map_err(&fault)?;
    }
    partial.persist_noclobber(to).map_err(|error| io(to)(error.error))?;
    files::sync_folder(to).map_err(io(to))?;
    Ok(())
}

pub(super) fn remove(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io(path)(error)),
        _ => Ok(()),
    }
}
