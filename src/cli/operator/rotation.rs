//! `pychat backup FOLDER --keep N`: backups with the time in their names, of which the newest stay.
//! A list beside them has those that were made this way, and nothing else is ever removed.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, code};
use crate::file::{self, FileError, json_file};

/// The list, and the lock of the process that changes it.
const LIST: &str = "pychat-backups.json";
const LOCK: &str = ".pychat-backups.lock";

/// The backups that were made, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Made {
    backups: Vec<Backup>,
}

/// A backup as it was when it was made. A file that differs is somebody else's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    name: String,
    bytes: u64,
    changed_ns: i64,
}

/// A folder of backups, which no other process changes meanwhile.
pub struct Rotation {
    folder: PathBuf,
    made: Made,
    _turn: File,
}

/// What `--keep` has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    pub removed: Vec<PathBuf>,
    /// Backups that somebody has changed since: they stay, and are no longer in the list.
    pub foreign: Vec<PathBuf>,
}

impl Rotation {
    /// Opens a folder, which is made where it is missing.
    ///
    /// # Errors
    /// It is a file, cannot be written, or its list is damaged.
    pub fn open(folder: &Path) -> anyhow::Result<Rotation> {
        if folder.is_file() {
            let error = format!("{} is a file", folder.display());
            let hint = "with --keep, name a folder for the backups";
            return Err(Fault::new(code::USAGE, error, hint).into());
        }
        file::make_folder(folder, 0o700)?;
        let turn = file::turn(&folder.join(LOCK))?;
        let made = json_file::load(&folder.join(LIST), json_file::LARGE)?.unwrap_or_default();
        Ok(Rotation { folder: folder.to_owned(), made, _turn: turn })
    }

    /// Returns the path of the next backup: none has this name.
    pub fn next(&self, now: Timestamp) -> PathBuf {
        let time = now.strftime("%Y%m%dT%H%M%SZ");
        let name = |number: u32| match number {
            1 => self.folder.join(format!("pychat-{time}.db")),
            _ => self.folder.join(format!("pychat-{time}-{number}.db")),
        };
        let free = (1..u32::MAX).map(name).find(|path| !path.exists());
        free.expect("a second has fewer backups than that")
    }

    /// Adds a backup that was verified, and removes the oldest ones beyond `keep`, at least 1. The
    /// list on disk is right after each step.
    ///
    /// # Errors
    /// The list cannot be written, or a backup not removed.
    pub fn add(mut self, path: &Path, keep: usize) -> Result<Rotated, FileError> {
        let about = fs::metadata(path).map_err(FileError::io(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.made.backups.push(Backup::of(name, &about));
        self.save()?;
        let mut rotated = Rotated::default();
        while self.made.backups.len() > keep.max(1) {
            let oldest = self.made.backups.remove(0);
            let path = self.folder.join(&oldest.name);
            match fs::symlink_metadata(&path) {
                // The operator has removed it.
                Err(_) => {}
                Ok(about) if about.is_file() && oldest.is(&path, &about) => {
                    file::remove(&path)?;
                    rotated.removed.push(path);
                }
                Ok(_) => rotated.foreign.push(path),
            }
            self.save()?;
        }
        Ok(rotated)
    }

    fn save(&self) -> Result<(), FileError> {
        json_file::save(&self.folder.join(LIST), &self.made, 0o600)
    }
}

impl Backup {
    fn of(name: String, about: &Metadata) -> Backup {
        let seconds_ns = about.mtime().saturating_mul(1_000_000_000);
        let changed_ns = seconds_ns.saturating_add(about.mtime_nsec());
        Backup { name, bytes: about.len(), changed_ns }
    }

    /// Whether the file is this backup still, in this folder.
    fn is(&self, path: &Path, about: &Metadata) -> bool {
        let now = Backup::of(self.name.clone(), about);
        let is_inside = path.file_name().is_some_and(|name| *name == *self.name);
        is_inside && (now.bytes, now.changed_ns) == (self.bytes, self.changed_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, keep: usize) -> (PathBuf, Rotated) {
        let rotation = Rotation::open(folder).unwrap();
        let path = rotation.next(Timestamp::UNIX_EPOCH);
        fs::write(&path, "a backup").unwrap();
        let rotated = rotation.add(&path, keep).unwrap();
        (path, rotated)
    }

    #[test]
    fn the_newest_stay_and_other_files_do_too() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("backups");
        let (first, _) = made(&folder, 2);
        assert!(first.ends_with("pychat-19700101T000000Z.db"), "{first:?}");
        // A backup of the operator's own, with a name of the same form.
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
