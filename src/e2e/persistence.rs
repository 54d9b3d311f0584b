//! What the engine has verified, from one run of a client to the next: the order of messages, and
//! which of them were edited or deleted.

use super::changes::Changes;
use super::sequence::Sequences;
use super::storage::{FileKey, Storage, StorageError};

/// Changes are stored at most so often, in milliseconds.
const CHANGES_MS: u64 = 500;

/// What this client stores, as long as that works.
#[derive(Default)]
pub struct Persistence {
    sequences: bool,
    changes: bool,
    /// When changes were stored last.
    changes_ms: i64,
}

/// The changes that are stored, for a client that stores nothing.
pub fn changes(storage: &dyn Storage, key: FileKey) -> Changes {
    let entries = storage.changes(key).unwrap_or_else(|error| {
        log::warn!("stored edits and deletions cannot be read: {error}");
        Vec::new()
    });
    Changes::of(entries)
}

impl Persistence {
    /// This client takes up what the last one has stored, and stores what comes.
    pub fn resume(
        &mut self,
        storage: &mut dyn Storage,
        key: FileKey,
        (sequences, changes): (&mut Sequences, &mut Changes),
    ) {
        match storage.open_sequences(key.clone()) {
            Ok(entries) => (*sequences, self.sequences) = (Sequences::of(entries), true),
            // Without it the next message of everybody is taken as it comes.
            Err(error) => log::warn!("the chains of sealed lines cannot be read: {error}"),
        }
        match storage.open_changes(key) {
            Ok(entries) => (*changes, self.changes) = (Changes::of(entries), true),
            Err(error) => log::warn!("edits and deletions cannot be stored: {error}"),
        }
    }

    /// What has changed is stored. Where that fails, messages are verified all the same as long as
    /// this client runs.
    pub fn store(
        &mut self,
        storage: &mut dyn Storage,
        (sequences, changes): (&mut Sequences, &mut Changes),
        now_ms: i64,
    ) {
        let changed = sequences.take_changed();
        if self.sequences {
            let stored = storage.store_sequences(&changed, &|| sequences.all());
            self.sequences = works(stored);
        }
        if self.changes {
            self.changes_ms = now_ms;
            let changed = changes.take_unstored();
            self.changes = works(storage.store_changes(&changed, &|| changes.all()));
        }
    }

    /// Until changes have to be stored.
    pub fn rest_ms(&self, changes: &Changes, now_ms: i64) -> Option<u64> {
        let waits = self.changes && changes.waits();
        waits.then(|| CHANGES_MS.saturating_sub(now_ms.abs_diff(self.changes_ms)))
    }
}

fn works(stored: Result<(), StorageError>) -> bool {
    stored.inspect_err(|error| log::warn!("{error}")).is_ok()
}
