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
    sequences: StateFile,
    changes: StateFile,
    /// Time of the last write.
    changes_ms: i64,
}

/// One of the two files.
#[derive(Default)]
struct StateFile {
    /// This client writes it.
    is_open: bool,
    /// Reports what could not be stored.
    trouble: FailureReport,
}

/// A failure of the disk, which is reported to the user once.
#[derive(Default)]
pub struct FailureReport {
    is_reported: bool,
    text: Option<String>,
}

impl FailureReport {
    /// Records whether storing has worked.
    pub fn notes(&mut self, what: &str, stored: Result<(), StorageError>) {
        match stored {
            Ok(()) => self.is_reported = false,
            Err(error) if !std::mem::replace(&mut self.is_reported, true) => {
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
            Ok(entries) => (*sequences, self.sequences.is_open) = (Sequences::of(entries), true),
            // What was read at the start counts, and nothing more is stored.
            Err(error) => self.sequences.trouble.notes(UNREAD, Err(error)),
        }
        match storage.open_changes(key) {
            Ok(entries) => (*changes, self.changes.is_open) = (Changes::of(entries), true),
            Err(error) => self.changes.trouble.notes(UNREAD, Err(error)),
        }
    }

    /// Returns whether this client stores what it verifies: the first one of a profile does.
    pub fn stores(&self) -> bool {
        self.sequences.is_open
    }

    /// Takes the failure of each file, for the user.
    pub fn take_troubles(&mut self) -> impl Iterator<Item = String> + use<> {
        let files = [&mut self.sequences, &mut self.changes];
        files.map(|file| file.trouble.take()).into_iter().flatten()
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
        if self.sequences.is_open {
            let stored = storage.store_sequences(&changed, &|| sequences.all());
            self.sequences.trouble.notes(UNSTORED, stored);
        }
        if self.changes.is_open {
            self.changes_ms = now_ms;
            let changed = changes.take_unstored();
            let stored = storage.store_changes(&changed, &|| changes.all());
            self.changes.trouble.notes(UNSTORED, stored);
        }
    }

    /// Returns the time until the next write.
    pub fn rest_ms(&self, changes: &Changes, now_ms: i64) -> Option<u64> {
        let waits = self.changes.is_open && changes.waits();
        waits.then(|| CHANGES_MS.saturating_sub(now_ms.abs_diff(self.changes_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Epoch, Seq};
    use crate::e2e::memory_tests::{Failing, Memory};

    #[test]
    fn a_failure_of_each_file_is_reported_once() {
        for (failing, expected) in
            [(Failing::Sequences, 1), (Failing::Changes, 1), (Failing::All, 2), (Failing::None, 0)]
        {
            let (mut memory, mut persistence) = (Memory::default(), Persistence::default());
            let (mut sequences, mut changes) = (Sequences::default(), Changes::default());
            let key = FileKey::new([7; 32]);
            persistence.resume(&mut memory, key, (&mut sequences, &mut changes));
            for failure in [failing, Failing::None, failing] {
                memory.content().failing = failure;
                let mut reports = Vec::new();
                for seq in 0..5 {
                    sequences.begin(&"@bob".parse().unwrap(), Epoch(1), Seq(seq), 7);
                    persistence.store(&mut memory, (&mut sequences, &mut changes), 7);
                    reports.extend(persistence.take_troubles());
                }
                let expected = if failure == Failing::None { 0 } else { expected };
                assert_eq!(reports.len(), expected, "{failing:?}: {reports:?}");
            }
        }
    }
}
