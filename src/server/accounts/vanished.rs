//! Keys whose files were removed since `users/` was last read. Reading it can take long, because
//! there may be thousands of new files. Meanwhile the sessions of removed keys end, and logins with
//! these keys are refused.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::crypto::PublicKey;
use crate::home::Users;
use crate::sync::{Mutex, Rank, Snapshot};

/// Two changes of a folder within this time may leave it with one time: FAT counts in 2 s.
const TIMES_DIFFER: Duration = Duration::from_secs(3);

/// Keys without a file since the last reading.
pub struct Vanished(Mutex<HashSet<PublicKey>>);

/// Files of a reading that were missing at the last check.
#[derive(Default)]
pub struct Missing {
    of: Option<Arc<Users>>,
    files: HashSet<PathBuf>,
    /// The folder's time at that check, if a later change sets another one.
    time: Option<SystemTime>,
}

impl Default for Vanished {
    fn default() -> Self {
        Vanished(Mutex::new(Rank::Vanished, HashSet::new()))
    }
}

impl Vanished {
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.lock().contains(key)
    }

    /// Forgets the keys, because users/ was read again.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Returns the keys whose files are missing at two checks in a row, without those that were
    /// returned before. If `users/` was read in between, returns none: a renamed file is read soon.
    /// Reads no file.
    pub fn find(
        &self,
        dir: &Path,
        users: &Snapshot<Users>,
        before: &mut Missing,
    ) -> Vec<PublicKey> {
        let read = users.get();
        let is_same = before.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &read));
        // Read before the listing, so that the next check notices a later change.
        let time = fs::metadata(dir).and_then(|folder| folder.modified()).ok();
        if is_same && before.files.is_empty() && time.is_some() && time == before.time {
            return Vec::new();
        }
        let time = time.filter(|at| at.elapsed().is_ok_and(|age| age > TIMES_DIFFER));
        let missing = read.missing(dir);
        let gone = missing.iter().filter(|(file, _)| is_same && before.files.contains(*file));
        let gone: Vec<_> = gone.map(|(_, key)| (*key).clone()).collect();
        let files = missing.into_iter().map(|(file, _)| file.clone()).collect();
        *before = Missing { of: Some(Arc::clone(&read)), files, time };
        let mut vanished = self.0.lock();
        // A reading that has ended in the meantime is newer.
        let is_newest = Arc::ptr_eq(&read, &users.get());
        gone.into_iter().filter(|key| is_newest && vanished.insert(key.clone())).collect()
    }
}
