//! The file's upkeep: schema steps, backups, restoring, verifying, erasing a person.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::LedgerError;
use super::schema::STEPS;
use super::sqlite::{BUSY, bury, faults, prepare, read_all};
use crate::chat::UserName;

/// What `verify` found in a sound file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    pub places: usize,
    pub lines: usize,
}

/// Brings the schema up to date. A file that is not new is copied beside itself first.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
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
            // 63 bits: SQLite's integers have a sign.
            let log = rand::random::<u64>() >> 1;
            transaction.execute("INSERT INTO meta (log) VALUES (?1)", [log as i64])?;
        }
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    };
    step_up().map_err(&fault)
}

/// Copies a file of an older schema beside itself, under the first name that is free.
fn keep_copy(connection: &Connection, path: &Path, schema: i64) -> Result<(), LedgerError> {
    let names = (1..).map(|number| match number {
        1 => format!("schema-{schema}.backup"),
        number => format!("schema-{schema}-{number}.backup"),
    });
    for name in names {
        match copy_to(connection, &path.with_extension(name), &mut |_| {}) {
            Err(LedgerError::Io { error, .. }) if error.kind() == ErrorKind::AlreadyExists => {}
            done => return done,
        }
    }
    unreachable!("some number is free")
}

/// The file's schema, where it is one that this pychat knows.
fn version(connection: &Connection, path: &Path) -> Result<i64, LedgerError> {
    let fault = faults(path);
    let ask = |query| connection.query_row(query, [], |row| row.get(0)).map_err(&fault);
    let (found, known) = (ask("PRAGMA user_version")?, STEPS.len() as i64);
    if found > known {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known });
    }
    let columns = "SELECT count(*) FROM pragma_table_info('lines') WHERE name = 'seq'";
    if ask(columns)? > 0 {
        return Err(LedgerError::Unreleased { path: path.to_owned() });
    }
    Ok(found)
}

/// Copies the ledger at `from`, in use or not, to the new file `to`. `progress` is told percents.
pub fn backup(from: &Path, to: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), LedgerError> {
    let connection = open_existing(from)?;
    copy_to(&connection, to, progress)
}

/// Puts a backup in the place of the ledger, which nobody may have open. What was there is kept
/// beside it, and its path given. The logs get a new id: what clients have of the old ones may
/// reach further.
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
        // Whatever is in its write-ahead log belongs into what is kept.
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

/// Gives a file a second name, the first that is free: at no moment is it without one.
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

/// Whether the file is sound: its pages, its index of words, every line as it was written, and each
/// place's seqs without a double or one beyond the last. A server that uses the file is not disturbed:
/// its index of words, which is checked by writing, is checked in a copy in memory.
pub fn verify(path: &Path) -> Result<Verified, LedgerError> {
    let fault = faults(path);
    let damaged = |what: String| LedgerError::Damaged { path: path.to_owned(), what };
    let connection = open_as_it_is(path)?;
    let found = version(&connection, path)?;
    let look = connection.unchecked_transaction().map_err(&fault)?;
    let pages: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(&fault)?;
    if pages != "ok" {
        return Err(damaged(pages));
    }
    let mut copy = Connection::open_in_memory().map_err(&fault)?;
    Backup::new(&look, &mut copy)
        .and_then(|work| work.step(-1))
        .and_then(|_| {
            copy.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)", [])
        })
        .map_err(&fault)?;
    let lines = read_all(&connection, found).map_err(&fault)?;
    let beyond: Option<String> = connection
        .query_row(
            "SELECT min(name) FROM places JOIN lines USING (place) \
             WHERE line <= place << 40 OR line > place << 40 | last",
            [],
            |row| row.get(0),
        )
        .map_err(&fault)?;
    if let Some(place) = beyond {
        return Err(damaged(format!("{place} has a line that its count does not know")));
    }
    let places = connection
        .query_row("SELECT count(*) FROM places", [], |row| row.get(0))
        .map_err(&fault)?;
    Ok(Verified { places, lines })
}

/// Takes the texts of all lines of a person away, for good.
pub(super) fn erase(connection: &Connection, user: &UserName) -> rusqlite::Result<usize> {
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

/// Copies the write-ahead log into the file and empties it, so that nothing of what was removed stays
/// in it. Nobody's line waits for a reader that is in the way: then the next sweep does it.
/// Whether it is done.
pub(super) fn truncate_log(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?;
    let busy: rusqlite::Result<i64> =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    connection.busy_timeout(BUSY)?;
    Ok(busy? == 0)
}

/// The same on a ledger that no server has open.
pub fn erase_at(path: &Path, user: &UserName) -> Result<usize, LedgerError> {
    let mut connection = open_existing(path)?;
    migrate(&mut connection, path)?;
    erase(&connection, user).map_err(faults(path))
}

fn open_existing(path: &Path) -> Result<Connection, LedgerError> {
    let connection = open_as_it_is(path)?;
    prepare(&connection).map_err(faults(path))?;
    Ok(connection)
}

fn open_as_it_is(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(faults(path))?;
    connection.busy_timeout(BUSY).map_err(faults(path))?;
    Ok(connection)
}

fn copy_to(
    connection: &Connection,
    to: &Path,
    progress: &mut dyn FnMut(u8),
) -> Result<(), LedgerError> {
    if to.exists() {
        return Err(io(to)(ErrorKind::AlreadyExists.into()));
    }
    let fault = faults(to);
    // Under another name, for the operator's eyes only, until it is whole.
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let partial = tempfile::Builder::new()
        .prefix(".backup-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(io(to))?;
    {
        let mut copy = Connection::open(partial.path()).map_err(&fault)?;
        // One look at the source for the whole copy: else it begins anew after each line that comes.
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

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> LedgerError {
    let path = path.to_owned();
    move |error| LedgerError::Io { path, error }
}
