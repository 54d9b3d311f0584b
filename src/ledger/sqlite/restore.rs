//! Replaces the ledger by a backup. An interruption at any point leaves the old ledger or the new
//! one.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::backup::{BESIDE, backup, beside, remove, remove_whole, restored};
use super::connection::{faults, io, open_as_it_is, open_existing, truncate_log};
use super::verify::verify;
use crate::chat::Epoch;
use crate::ledger::LedgerError;
use crate::system::files;

/// Copies a backup beside the ledger `to`. Gives its logs another id, because clients may have
/// later messages of the old ones. Returns the id.
pub fn prepare(from: &Path, to: &Path) -> Result<Epoch, LedgerError> {
    verify(from)?;
    let fresh = restored(to);
    if is_same(from, &fresh) {
        return Err(io(from)(std::io::Error::other(
            "this file is the remainder of an interrupted restore, not a backup",
        )));
    }
    remove_whole(&fresh)?;
    backup(from, &fresh, &mut |_| {})?;
    let epoch = Epoch(rand::random::<u64>() >> 1);
    // The copy has no write-ahead log, which could be left behind when the copy gets its name.
    let connection = open_as_it_is(&fresh)?;
    connection.execute("UPDATE meta SET log = ?1", [epoch.0 as i64]).map_err(faults(&fresh))?;
    Ok(epoch)
}

/// Puts the prepared copy in the place of the ledger `to`, which nobody may have open. Keeps the
/// replaced file beside it and returns its path.
pub fn finish(to: &Path) -> Result<Option<PathBuf>, LedgerError> {
    let kept = match to.exists() {
        true if is_whole(to) => Some(set_aside(to)?),
        true => Some(move_aside(to)?),
        false => None,
    };
    // A write-ahead log would be taken in by the file that gets its name.
    BESIDE.iter().try_for_each(|suffix| remove(&beside(to, suffix)))?;
    files::sync_folder(to).map_err(io(to))?;
    fs::rename(restored(to), to).and_then(|()| files::sync_folder(to)).map_err(io(to))?;
    Ok(kept)
}

/// Moves the contents of the write-ahead log into the file. Returns false if the file is damaged,
/// has no room or is being read.
fn is_whole(ledger: &Path) -> bool {
    let checkpoint = open_existing(ledger).map(|ledger| truncate_log(&ledger));
    checkpoint.is_ok_and(|done| done.is_ok_and(|done| done))
}

/// Whether two names are of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let of = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    of(one).is_some_and(|one| of(other) == Some(one))
}

/// Gives a file the first free name as a second name, so that it always has one.
fn set_aside(path: &Path) -> Result<PathBuf, LedgerError> {
    for aside in names_aside(path) {
        match fs::hard_link(path, &aside) {
            Ok(()) => return Ok(aside),
            // A restore that was interrupted has given it this name already.
            Err(_) if is_same(path, &aside) => return Ok(aside),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(path)(error)),
        }
    }
    unreachable!("some number is free")
}

/// Moves a ledger with its write-ahead log to the first free name. Until the new one is in its
/// place no server starts here: it would take the file without the log for the ledger.
fn move_aside(path: &Path) -> Result<PathBuf, LedgerError> {
    let aside = set_aside(path)?;
    fs::remove_file(path).map_err(io(path))?;
    match fs::rename(beside(path, BESIDE[0]), beside(&aside, BESIDE[0])) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io(path)(error)),
        _ => Ok(aside),
    }
}

fn names_aside(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..).map(|number| match number {
        1 => path.with_extension("before-restore"),
        number => path.with_extension(format!("before-restore-{number}")),
    })
}
