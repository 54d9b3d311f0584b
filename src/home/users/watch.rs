//! Detects changes in users/.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Detects changes in users/: created, removed and renamed files at once, and files that change in
/// place within a second, unless there are thousands.
pub struct UsersWatch {
    dir: PathBuf,
    folder: Option<SystemTime>,
    files: Vec<(PathBuf, SystemTime, u64)>,
    /// Time of the next check of every file.
    look_at: Instant,
}

/// Pause between two checks of every file.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pause is at least this many times the duration of a check, which limits it to 1 % of a core.
const LOOK_PAUSE: u32 = 100;

impl UsersWatch {
    pub fn new(dir: PathBuf) -> Self {
        let mut watch =
            UsersWatch { dir, folder: None, files: Vec::new(), look_at: Instant::now() };
        watch.folder = watch.folder_time();
        watch.files = watch.look();
        watch
    }

    /// Returns whether something has changed since the last call.
    pub fn changed(&mut self) -> bool {
        let folder = self.folder_time();
        if folder == self.folder && Instant::now() < self.look_at {
            return false;
        }
        let files = self.look();
        let changed = folder != self.folder || files != self.files;
        (self.folder, self.files) = (folder, files);
        changed
    }

    fn folder_time(&self) -> Option<SystemTime> {
        fs::metadata(&self.dir).and_then(|folder| folder.modified()).ok()
    }

    fn look(&mut self) -> Vec<(PathBuf, SystemTime, u64)> {
        let began = Instant::now();
        let files = self.list();
        self.look_at = Instant::now() + LOOK_EVERY.max(began.elapsed() * LOOK_PAUSE);
        files
    }

    fn list(&self) -> Vec<(PathBuf, SystemTime, u64)> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let about = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            // A link changes with the file that it leads to.
            let about = fs::metadata(entry.path()).or_else(|_| entry.metadata()).ok()?;
            Some((entry.path(), about.modified().ok()?, about.len()))
        };
        let mut files: Vec<_> = entries.filter_map(about).collect();
        files.sort();
        files
    }
}
