//! Files between pages and the engine of transfers: those that a page has handed over, until they
//! are sent, and fetched ones that are only shown. They are in a folder of this run (0700) in the
//! profile, which is removed with the run. A file whose upload continues in the next run stays.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use super::wrong::Wrong;
use crate::client::files::name;
use crate::client::transfer::{Left, TransferId};
use crate::file::{FileError, make_folder, turn, write_new};
use crate::limits::{PAGE_FILES_MAX, PAGE_VIEWED_BYTES_MAX};
use crate::sync::{Mutex, MutexGuard, Rank};
use crate::system::files;
use crate::system::fs::{self, File};

/// The file of a run that is locked while the run lasts.
const LOCK: &str = "lock";
/// The folder of fetched files that are only shown.
const VIEWED: &str = "viewed";
/// The page that leads a browser to the client.
const REDIRECT: &str = "open.html";

pub struct Spool {
    folder: PathBuf,
    held: Mutex<Held>,
    /// The locks of this run, and of earlier ones whose files are still sent.
    _locks: Vec<File>,
}

#[derive(Default)]
struct Held {
    /// Count of files that were handed over.
    number: u64,
    files: BTreeMap<u64, Handed>,
    /// Uploads of an earlier run.
    left: BTreeMap<TransferId, PathBuf>,
    viewed: VecDeque<(PathBuf, u64)>,
}

/// A file that was handed over.
struct Handed {
    path: PathBuf,
    stage: Stage,
}

enum Stage {
    Arriving,
    /// No command has named it yet.
    Waiting,
    /// A command with this reference has named it.
    Named(String),
    /// A transfer sends it, for the command with this reference.
    Sent(String),
}

impl Spool {
    /// Opens the folder of this run, and removes what earlier runs have left. `stem` is the path of
    /// the server's files, without extension.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(stem: &Path, transfers: &Left) -> Result<Spool, FileError> {
        let all = stem.with_extension("pages");
        let paths = transfers.uploads.iter().map(|upload| (upload.id, upload.path.clone()));
        let left: BTreeMap<_, _> = paths.filter(|(_, path)| path.starts_with(&all)).collect();
        make_folder(&all, 0o700)?;
        // Another run that begins now would remove a folder that is not locked yet.
        let _turn = turn(&stem.with_extension("pages.lock"))?;
        let mut locks = swept(&all, &left);
        let folder = all.join(format!("{:016x}", rand::random::<u64>()));
        make_folder(&folder, 0o700)?;
        locks.push(locked(&folder).map_err(FileError::io(&folder))?);
        let held = Mutex::new(Rank::PageFiles, Held { left, ..Held::default() });
        Ok(Spool { folder, held, _locks: locks })
    }

    /// The folder of files that pages hand over.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins to take a file from a page. `arrived` or `vanishes` follows.
    ///
    /// # Errors
    /// Too many files are sent, or the disk takes none.
    pub fn begin(&self, own_name: &str) -> Result<(u64, File, PathBuf), Wrong> {
        let mut held = self.lock();
        if held.files.len() >= PAGE_FILES_MAX {
            let is_free = |handed: &Handed| matches!(handed.stage, Stage::Waiting);
            let free = held.files.iter().find(|(_, handed)| is_free(handed));
            let oldest = *free.ok_or(Wrong::Busy)?.0;
            held.remove(oldest);
        }
        held.number += 1;
        let number = held.number;
        let folder = self.folder.join(number.to_string());
        let path = folder.join(name::cleaned(own_name));
        make_folder(&folder, 0o700).map_err(|_| Wrong::Disk)?;
        let opened = files::private().write(true).create_new(true).open(&path);
        let file = opened.map_err(|_| Wrong::Disk)?;
        held.files.insert(number, Handed { path: path.clone(), stage: Stage::Arriving });
        Ok((number, file, path))
    }

    /// A file has arrived.
    pub fn arrived(&self, number: u64) {
        if let Some(handed) = self.lock().files.get_mut(&number) {
            handed.stage = Stage::Waiting;
        }
    }

    /// A file has not arrived.
    pub fn vanishes(&self, number: u64) {
        self.lock().remove(number);
    }

    /// A command with this reference names a file.
    pub fn names(&self, path: &Path, reference: &str) {
        let mut held = self.lock();
        if let Some(handed) = held.files.values_mut().find(|handed| handed.path == path) {
            handed.stage = Stage::Named(reference.to_owned());
        }
    }

    /// The command with this reference has begun a transfer.
    pub fn sends(&self, reference: &str) {
        let mut held = self.lock();
        if let Some(number) = held.named(reference) {
            held.files
                .entry(number)
                .and_modify(|handed| handed.stage = Stage::Sent(reference.to_owned()));
        }
    }

    /// The command with this reference was refused.
    pub fn refused(&self, reference: &str) {
        let mut held = self.lock();
        held.named(reference).into_iter().for_each(|number| held.remove(number));
    }

    /// A transfer has ended, with this file if it was fetched.
    pub fn ended(&self, id: TransferId, reference: Option<&str>, fetched: Option<PathBuf>) {
        let mut held = self.lock();
        if let Some(path) = held.left.remove(&id) {
            remove(&path);
        }
        let is = |handed: &Handed| matches!(&handed.stage, Stage::Sent(own) if Some(own.as_str()) == reference);
        let number = held.files.iter().find(|(_, handed)| is(handed)).map(|(number, _)| *number);
        number.into_iter().for_each(|number| held.remove(number));
        if let Some(path) = fetched.filter(|path| path.starts_with(self.viewed())) {
            let bytes = fs::metadata(&path).map_or(0, |about| about.len());
            held.viewed.push_back((path, bytes));
            while held.viewed.len() > 1 && held.viewed_bytes() > PAGE_VIEWED_BYTES_MAX {
                let oldest = held.viewed.pop_front();
                oldest.into_iter().for_each(|(path, _)| drop(fs::remove_file(path)));
            }
        }
    }

    /// The folder of fetched files that are only shown.
    pub fn viewed(&self) -> PathBuf {
        self.folder.join(VIEWED)
    }

    /// Creates that folder.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn view(&self) -> Result<PathBuf, FileError> {
        let folder = self.viewed();
        make_folder(&folder, 0o700)?;
        Ok(folder)
    }

    /// Writes a page that leads to an address, which has a secret: no other account can read it, as
    /// it could read the arguments of a program.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn redirect(&self, address: &str) -> Result<PathBuf, FileError> {
        let path = self.folder.join(REDIRECT);
        let page = format!(
            "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
             <meta http-equiv=\"refresh\" content=\"0; url={address}\"><title>pychat</title>\n"
        );
        write_new(&path, page.as_bytes(), 0o600)?;
        Ok(path)
    }

    /// Removes that page, once a browser was there.
    pub fn remove_redirect(&self) {
        // It is often gone already.
        let _ = fs::remove_file(self.folder.join(REDIRECT));
    }

    /// Removes what no upload needs any more.
    pub fn end(&self) {
        let mut held = self.lock();
        self.remove_redirect();
        let _ = fs::remove_dir_all(self.viewed());
        let is_sent = |handed: &Handed| matches!(handed.stage, Stage::Sent(_));
        let idle: Vec<u64> = held
            .files
            .iter()
            .filter(|(_, handed)| !is_sent(handed))
            .map(|(number, _)| *number)
            .collect();
        idle.into_iter().for_each(|number| held.remove(number));
        if held.files.is_empty() {
            // What is left there, the next run removes.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock()
    }
}

impl Held {
    fn remove(&mut self, number: u64) {
        if let Some(handed) = self.files.remove(&number) {
            remove(&handed.path);
        }
    }

    /// The file that a command names, if no transfer has begun.
    fn named(&self, reference: &str) -> Option<u64> {
        let is = |handed: &Handed| matches!(&handed.stage, Stage::Named(own) if own == reference);
        self.files.iter().find(|(_, handed)| is(handed)).map(|(number, _)| *number)
    }

    fn viewed_bytes(&self) -> u64 {
        self.viewed.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Removes a file that was handed over, with its folder. The next run removes what stays.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = path.parent().map(fs::remove_dir);
}

/// Locks the folder of a run. Its end unlocks it.
fn locked(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    let file = files::private().write(true).create(true).truncate(false).open(path)?;
    match files::try_lock(&file)? {
        true => Ok(file),
        false => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Removes what runs that have ended have left in their folders, but for files whose upload
/// continues. Returns the locks of the folders that stay for that.
fn swept(all: &Path, left: &BTreeMap<TransferId, PathBuf>) -> Vec<File> {
    let Ok(runs) = fs::read_dir(all) else { return Vec::new() };
    let runs = runs.filter_map(|run| Some(run.ok()?.path()));
    let ended = runs.filter_map(|run| Some((locked(&run).ok()?, run)));
    let swept = ended.filter_map(|(lock, run)| {
        let is_needed = |path: &Path| left.values().any(|file| file.starts_with(path));
        if !is_needed(&run) {
            let _ = fs::remove_dir_all(&run);
            return None;
        }
        let entries = fs::read_dir(&run).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        for folder in entries.filter(|entry| !entry.ends_with(LOCK) && !is_needed(entry)) {
            // Other files stay until the folder of the run is removed.
            let _ = fs::remove_dir_all(folder);
        }
        Some(lock)
    });
    swept.collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_private_and_goes_with_its_transfer() {
        let home = tempfile::tempdir().unwrap();
        let stem = home.path().join("server");
        let spool = Spool::open(&stem, &Left::default()).unwrap();
        let (number, mut file, path) = spool.begin("../tea\u{202e}.jpg").unwrap();
        file.write_all(b"tea").unwrap();
        spool.arrived(number);
        assert!(path.starts_with(stem.with_extension("pages")), "{}", path.display());
        assert_eq!(path.file_name().unwrap(), "_tea.jpg");
        assert_eq!(files::exposed(&path).unwrap(), None);
        spool.names(&path, "p1");
        spool.sends("p1");
        spool.refused("p1");
        spool.ended(TransferId(1), Some("p2"), None);
        assert!(path.exists());
        spool.ended(TransferId(1), Some("p1"), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_goes_with_the_refusal_of_its_command() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(&home.path().join("server"), &Left::default()).unwrap();
        let (number, _, path) = spool.begin("tea.jpg").unwrap();
        spool.arrived(number);
        spool.names(&path, "p1");
        spool.refused("p2");
        assert!(path.exists());
        spool.refused("p1");
        assert!(!path.exists());
    }

    #[test]
    fn files_that_nobody_sends_are_bounded_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let stem = home.path().join("server");
        let spool = Spool::open(&stem, &Left::default()).unwrap();
        let take = |name: &str| {
            let (number, _, path) = spool.begin(name)?;
            spool.arrived(number);
            Ok::<_, Wrong>(path)
        };
        let paths: Vec<_> = (0..PAGE_FILES_MAX).map(|_| take("a").unwrap()).collect();
        let later = take("b").unwrap();
        assert!(!paths[0].exists() && paths[1].exists() && later.exists());
        for path in paths[1..].iter().chain([&later]) {
            spool.names(path, "p");
            spool.sends("p");
        }
        assert_eq!(take("c").unwrap_err(), Wrong::Busy, "all are being sent");
        spool.ended(TransferId(9), Some("p"), None);
        let waits = take("c").unwrap();
        spool.end();
        assert!(!waits.exists() && paths[2].exists(), "uploads continue in the next run");
        drop(spool);
        let next = Spool::open(&stem, &Left::default()).unwrap();
        assert!(!paths[2].exists(), "this one does not continue");
        next.end();
        assert_eq!(fs::read_dir(stem.with_extension("pages")).unwrap().count(), 0);
    }
}
