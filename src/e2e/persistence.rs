//! Verified state that outlives a run of the client: the order of messages, and their edits and
//! deletions.

use super::changes::Changes;
use super::sequence::Sequences;
use super::storage::{FileKey, Storage, StorageError};

/// Least time between two writes, in milliseconds.
const CHANGES_MS: u64 = 500;

const UNREAD: &str = "what was verified before cannot be used";
const UNSTORED: &str = "what was verified is only in memory";

/// Writes the state.
#[derive(Default)]
pub struct Persistence {
    sequences: bool,
    changes: bool,
    /// Time of the last write.
    changes_ms: i64,
    /// Reports what could not be stored.
    trouble: Trouble,
}

/// A failure of the disk, which the user is told once.
#[derive(Default)]
pub struct Trouble {
    told: bool,
    text: Option<String>,
}

impl Trouble {
    /// Records whether storing has worked.
    pub fn notes(&mut self, what: &str, stored: Result<(), StorageError>) {
        match stored {
            Ok(()) => self.told = false,
            Err(error) if !std::mem::replace(&mut self.told, true) => {
                self.text = Some(format!("{what}: {error}"));
            }
            Err(_) => {}
        }
    }

    /// Takes the text for the user.
    pub fn take(&mut self) -> Option<String> {
        self.text.take()
    }
}

/// Reads the stored state, also for a client that writes none: without it, old messages would pass
/// as new ones.
///
/// # Errors
/// The state cannot be read as a whole.
pub fn read(storage: &dyn Storage, key: FileKey) -> Result<(Sequences, Changes), StorageError> {
    let sequences = Sequences::of(storage.sequences(key.clone())?);
    Ok((sequences, Changes::of(storage.changes(key)?)))
}

impl Persistence {
    /// Loads the state again, as the client before has left it, and stores it from now on.
    pub fn resume(
        &mut self,
        storage: &mut dyn Storage,
        key: FileKey,
        (sequences, changes): (&mut Sequences, &mut Changes),
    ) {
        match storage.open_sequences(key.clone()) {
            Ok(entries) => (*sequences, self.sequences) = (Sequences::of(entries), true),
            // What was read at the start counts, and nothing more is stored.
            Err(error) => self.trouble.notes(UNREAD, Err(error)),
        }
        match storage.open_changes(key) {
            Ok(entries) => (*changes, self.changes) = (Changes::of(entries), true),
            Err(error) => self.trouble.notes(UNREAD, Err(error)),
        }
    }

    /// Takes the trouble with the disk, for the user.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Stores the changed state. If that fails, messages are still verified during this run, and
    /// the next call stores it.
    pub fn store(
        &mut self,
        storage: &mut dyn Storage,
        (sequences, changes): (&mut Sequences, &mut Changes),
        now_ms: i64,
    ) {
        let changed = sequences.take_changed();
        if self.sequences {
            let stored = storage.store_sequences(&changed, &|| sequences.all());
            self.trouble.notes(UNSTORED, stored);
        }
        if self.changes {
            self.changes_ms = now_ms;
            let changed = changes.take_unstored();
            let stored = storage.store_changes(&changed, &|| changes.all());
            self.trouble.notes(UNSTORED, stored);
        }
    }

    /// Returns the time until the next write.
    pub fn rest_ms(&self, changes: &Changes, now_ms: i64) -> Option<u64> {
        let waits = self.changes && changes.waits();
        waits.then(|| CHANGES_MS.saturating_sub(now_ms.abs_diff(self.changes_ms)))
    }
}
