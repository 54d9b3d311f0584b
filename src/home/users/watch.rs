//! Notices that something in users/ has changed.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Notices changes in users/: at once when files come, go or are renamed, and within a second when
/// one is changed in place, unless there are thousands.
pub struct UsersWatch {
    dir: PathBuf,
    folder: Option<SystemTime>,
    files: Vec<(PathBuf, SystemTime, u64)>,
    /// The next look at every file.
    look_at: Instant,
}

/// Between two looks at every file ...
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// ... and as many times as long as the look took: it takes a hundredth of a core at most.
const LOOK_PAUSE: u32 = 100;

impl UsersWatch {
    pub fn new(dir: PathBuf) -> Self {
        let mut watch =
            UsersWatch { dir, folder: None, files: Vec::new(), look_at: Instant::now() };
        watch.folder = watch.folder_time();
        watch.files = watch.look();
        watch
    }

    /// Whether something has changed since the last time this was asked.
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
            let about = entry.metadata().ok()?;
            Some((entry.path(), about.modified().ok()?, about.len()))
        };
        let mut files: Vec<_> = entries.filter_map(about).collect();
        files.sort();
        files
    }
}
