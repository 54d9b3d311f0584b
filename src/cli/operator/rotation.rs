//! `pychat backup FOLDER --keep N`: makes a backup with the time in its name, and keeps the newest
//! N. A list in the folder names the backups that `--keep` has made. Other files are never removed.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, code};
use crate::file::{self, FileError, json_file};

/// The list of backups, and the lock file of the process that changes it.
const LIST: &str = "pychat-backups.json";
const LOCK: &str = ".pychat-backups.lock";

/// The list of backups, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Made {
    backups: Vec<Backup>,
}

/// A backup as it was when it was made. A file that differs was changed by somebody else.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    name: String,
    /// 0 until the backup is verified.
    bytes: u64,
    changed_ns: i64,
    /// The absolute path of the home that it copies. Other homes may use the same folder.
    home: String,
}

/// A locked folder of backups: no other process changes it in the meantime.
pub struct Rotation {
    folder: PathBuf,
    /// The absolute path of the home whose backups are counted and removed.
    home: String,
    made: Made,
    rotated: Rotated,
    _turn: File,
}

/// The result of `--keep`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    pub removed: Vec<PathBuf>,
    /// Backups that somebody has changed: the files stay, and the list no longer names them.
    pub foreign: Vec<PathBuf>,
}

impl Rotation {
    /// Opens the folder of a home's backups. Creates it if it is missing.
    ///
    /// # Errors
    /// The path is a file, the folder cannot be written, or its list is damaged.
    pub fn open(folder: &Path, home: &Path) -> anyhow::Result<Rotation> {
        if folder.is_file() {
            let error = format!("{} is a file", folder.display());
            let hint = "with --keep, name a folder for the backups";
            return Err(Fault::new(code::USAGE, error, hint).into());
        }
        file::make_folder(folder, 0o700)?;
        let turn = file::turn(&folder.join(LOCK))?;
        let made = json_file::load(&folder.join(LIST), json_file::LARGE)?.unwrap_or_default();
        let home = fs::canonicalize(home).map_err(FileError::io(home))?;
        let home = home.to_string_lossy().into_owned();
        let (folder, rotated) = (folder.to_owned(), Rotated::default());
        Ok(Rotation { folder, home, made, rotated, _turn: turn })
    }

    /// Adds the next backup to the list and returns its path. Removes the backups of earlier runs
    /// that did not verify them.
    ///
    /// # Errors
    /// The list cannot be written, or a file cannot be removed.
    pub fn begin(&mut self, now: Timestamp) -> Result<PathBuf, FileError> {
        while let Some(index) = self.not_verified() {
            self.remove(index)?;
        }
        let path = self.next(now);
        let name = name_of(&path);
        self.made.backups.push(Backup { name, bytes: 0, changed_ns: 0, home: self.home.clone() });
        self.save()?;
        Ok(path)
    }

    /// Returns the path of the next backup. No file has this name.
    fn next(&self, now: Timestamp) -> PathBuf {
        let time = now.strftime("%Y%m%dT%H%M%SZ");
        let name = |number: u32| match number {
            1 => self.folder.join(format!("pychat-{time}.db")),
            _ => self.folder.join(format!("pychat-{time}-{number}.db")),
        };
        let free = (1..u32::MAX).map(name).find(|path| !path.exists());
        free.expect("a second has fewer backups than that")
    }

    /// Records that a backup was verified, and removes the oldest ones of the same home beyond
    /// `keep`, at least 1. The list on disk is correct after each step.
    ///
    /// # Errors
    /// The list cannot be written, or a backup cannot be removed.
    pub fn add(mut self, path: &Path, keep: usize) -> Result<Rotated, FileError> {
        let about = fs::metadata(path).map_err(FileError::io(path))?;
        let name = name_of(path);
        self.made.backups.retain(|one| one.name != name);
        self.made.backups.push(Backup::of(name, &about, &self.home));
        self.save()?;
        while let Some(oldest) = self.oldest_beyond(keep.max(1)) {
            self.remove(oldest)?;
        }
        Ok(self.rotated)
    }

    /// Returns the index of a backup of this home that is not verified.
    fn not_verified(&self) -> Option<usize> {
        let is_left = |one: &Backup| one.home == self.home && one.bytes == 0;
        self.made.backups.iter().position(is_left)
    }

    /// Returns the index of this home's oldest backup, if it has more than `keep`.
    fn oldest_beyond(&self, keep: usize) -> Option<usize> {
        let backups = self.made.backups.iter().enumerate();
        let own: Vec<usize> =
            backups.filter(|(_, one)| one.home == self.home).map(|(index, _)| index).collect();
        if own.len() > keep { own.first().copied() } else { None }
    }

    /// Removes a backup from the list. Removes its file too, unless somebody has changed it.
    fn remove(&mut self, index: usize) -> Result<(), FileError> {
        let backup = self.made.backups.remove(index);
        let path = self.folder.join(&backup.name);
        match fs::symlink_metadata(&path) {
            // The operator has removed it, or it was never written.
            Err(_) => {}
            Ok(about) if about.is_file() && backup.is(&path, &about) => {
                file::remove(&path)?;
                self.rotated.removed.push(path);
            }
            Ok(_) => self.rotated.foreign.push(path),
        }
        self.save()
    }

    fn save(&self) -> Result<(), FileError> {
        json_file::save(&self.folder.join(LIST), &self.made, 0o600)
    }
}

impl Backup {
    fn of(name: String, about: &Metadata, home: &str) -> Backup {
        let seconds_ns = about.mtime().saturating_mul(1_000_000_000);
        let changed_ns = seconds_ns.saturating_add(about.mtime_nsec());
        Backup { name, bytes: about.len(), changed_ns, home: home.to_owned() }
    }

    /// Returns whether the file in this folder is still this backup. The state of a backup that was
    /// not verified is unknown, but its name was free when it was made.
    fn is(&self, path: &Path, about: &Metadata) -> bool {
        let now = Backup::of(self.name.clone(), about, &self.home);
        let is_inside = path.file_name().is_some_and(|name| *name == *self.name);
        let is_same = (now.bytes, now.changed_ns) == (self.bytes, self.changed_ns);
        is_inside && (is_same || self.bytes == 0)
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, keep: usize) -> (PathBuf, Rotated) {
        made_of(Path::new("/"), folder, keep)
    }

    fn made_of(home: &Path, folder: &Path, keep: usize) -> (PathBuf, Rotated) {
        let mut rotation = Rotation::open(folder, home).unwrap();
        let path = rotation.begin(Timestamp::UNIX_EPOCH).unwrap();
        fs::write(&path, home.display().to_string()).unwrap();
        let rotated = rotation.add(&path, keep).unwrap();
        (path, rotated)
    }

    #[test]
    fn homes_that_share_a_folder_rotate_their_own_backups() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        [&one, &other].iter().for_each(|home| fs::create_dir(home).unwrap());
        let backups = folder.path().join("backups");
        let (first, _) = made_of(&one, &backups, 1);
        for _ in 0..2 {
            made_of(&other, &backups, 1);
        }
        // A later backup may have the name of one that was removed.
        assert_eq!(fs::read_to_string(&first).unwrap(), one.display().to_string());
        // The same home by another path.
        let again = other.join("../one");
        let (_, rotated) = made_of(&again, &backups, 1);
        assert_eq!((rotated.removed, rotated.foreign), (vec![first], vec![]));
    }

    #[test]
    fn a_run_removes_the_backups_of_failed_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (good, _) = made(folder.path(), 2);
        let mut left = Vec::new();
        for _ in 0..4 {
            let mut rotation = Rotation::open(folder.path(), Path::new("/")).unwrap();
            let path = rotation.begin(Timestamp::UNIX_EPOCH).unwrap();
            fs::write(&path, "not verified").unwrap();
            left.push(path);
        }
        let names = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name());
        let count = names.filter(|name| name.to_string_lossy().ends_with(".db")).count();
        assert_eq!(count, 2, "the good backup and the last failed one");
        let last = left.pop().unwrap();
        let (_, rotated) = made(folder.path(), 2);
        assert_eq!((rotated.removed, rotated.foreign), (vec![last], vec![]));
        assert!(good.exists());
    }

    #[test]
    fn rotation_keeps_the_newest_backups_and_foreign_files() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("backups");
        let (first, _) = made(&folder, 2);
        assert!(first.ends_with("pychat-19700101T000000Z.db"), "{first:?}");
        // The operator's own backup, with a name of the same form.
        fs::write(folder.join("pychat-19600101T000000Z.db"), "mine").unwrap();
        let (second, rotated) = made(&folder, 2);
        assert_eq!(rotated, Rotated::default());
        let (third, rotated) = made(&folder, 2);
        assert_eq!((rotated.removed, rotated.foreign), (vec![first], vec![]));
        fs::write(&second, "another file of that name").unwrap();
        let (_, rotated) = made(&folder, 1);
        assert_eq!((rotated.removed, rotated.foreign), (vec![third], vec![second.clone()]));
        assert!(second.exists() && folder.join("pychat-19600101T000000Z.db").exists());
    }

    #[test]
    fn a_list_that_names_another_folder_removes_nothing_there() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("backups"), folder.path().join("mine"));
        let (path, _) = made(&inside, 2);
        fs::rename(&path, &outside).unwrap();
        let list = fs::read_to_string(inside.join(LIST)).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::write(inside.join(LIST), list.replace(name, "../mine")).unwrap();
        made(&inside, 1);
        assert!(outside.exists());
    }

    #[test]
    fn zero_keeps_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(made(folder.path(), 0).0.exists());
    }
}
