//! The stored search index: a log of entries, each encrypted under the record key. The client that
//! owns the journal writes it; every client of the user reads it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::search_index::{Entry, SearchIndex};
use super::storage::{FileKey, Storage, StorageError, Stored};
use crate::chat::Message;
use crate::crypto::at_rest;

/// Size of a record apart from its text: names, salt and tag, in base64.
const LINE_BYTES: usize = 600;
/// Minimum time between two searches for expired messages.
const TIDY_MS: u64 = 60_000;
/// Delay before changed and deleted messages leave the disk, so that several leave at once.
const STALE_MS: u64 = 500;
/// Time between two rewrites of a large file, given as bytes per millisecond: 1 s for 8 MiB.
const BYTES_PER_MS: u64 = 8 << 10;

pub struct SearchLog {
    key: FileKey,
    bytes: u64,
    /// When there are more, half of them go.
    bytes_max: u64,
    /// The last record of each message, by a hash of conversation, sender and id.
    last: HashMap<u64, Noted>,
    hasher: RandomState,
    /// The file has content that is no longer in the index.
    stale: bool,
    synced: bool,
    /// Expiry of the first message.
    due_ms: Option<i64>,
    tidied_ms: i64,
}

/// What the file has of a message: a hash of it and its expiry.
#[derive(Clone, Copy)]
struct Noted {
    said: u64,
    until_ms: Option<i64>,
}

/// Reads the stored index, and counts damaged lines.
pub fn read(storage: &dyn Storage, key: &FileKey) -> Result<(SearchIndex, usize), StorageError> {
    let (mut index, mut damaged) = (SearchIndex::default(), 0);
    for line in storage.search_log()?.split_inclusive(|byte| *byte == b'\n') {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let locked = STANDARD_NO_PAD.decode(body).unwrap_or_default();
        let text = at_rest::unlock(key, &locked);
        match text.and_then(|text| serde_json::from_slice(&text).ok()) {
            Some(entry) => index.write(entry),
            // An interrupted write leaves the beginning of a line.
            None if body.len() == line.len() && body.iter().all(at_rest::is_base64) => {}
            None => damaged += usize::from(!body.is_empty()),
        }
    }
    Ok((index, damaged))
}

impl SearchLog {
    /// Opens the log for writing, and removes what has expired.
    pub fn open(
        storage: &mut dyn Storage,
        key: FileKey,
        now_ms: i64,
        bytes_max: u64,
    ) -> Result<SearchLog, StorageError> {
        let mut log = SearchLog {
            key,
            bytes: storage.open_search_log()?,
            bytes_max,
            last: HashMap::new(),
            hasher: RandomState::new(),
            stale: false,
            synced: true,
            due_ms: None,
            tidied_ms: now_ms,
        };
        log.rewrite(storage, now_ms)?;
        Ok(log)
    }

    /// Appends new entries at once.
    pub fn add(
        &mut self,
        storage: &mut dyn Storage,
        entries: &[Entry],
        now_ms: i64,
    ) -> Result<(), StorageError> {
        // A message that has expired is new again when it is read again.
        if entries.iter().any(|entry| self.is_over(entry, now_ms)) {
            self.rewrite(storage, now_ms)?;
        }
        let mut lines = String::new();
        for entry in entries {
            if self.notes(entry, now_ms) {
                let text = Zeroizing::new(serde_json::to_vec(entry)?);
                lines.push_str(&locked(&self.key, &text));
            }
        }
        self.append(storage, &lines)?;
        let forgets = entries.iter().any(|entry| matches!(entry, Entry::Forget(_)));
        if self.bytes > self.bytes_max || forgets {
            self.rewrite(storage, now_ms)?;
        }
        Ok(())
    }

    /// Returns whether an entry changes the file.
    fn notes(&mut self, entry: &Entry, now_ms: i64) -> bool {
        let Some(key) = self.key_of(entry) else {
            self.stale = true;
            return true;
        };
        let (said, before) = (self.said(entry), self.last.get(&key).copied());
        let until_ms = before.map_or_else(|| until_ms(entry), |before| before.until_ms);
        match entry {
            // A message that is not in the index cannot be changed.
            Entry::Change { .. } if before.is_none() => return false,
            Entry::Message(..) if before.is_some_and(|before| before.said == said) => return false,
            // Its time was over when it was read.
            Entry::Message(..) if before.is_none() && until_ms.is_some_and(|it| it <= now_ms) => {
                return false;
            }
            _ => self.dates(entry),
        }
        self.stale |= before.is_some();
        self.last.insert(key, Noted { said, until_ms });
        true
    }

    fn is_over(&self, entry: &Entry, now_ms: i64) -> bool {
        let noted = self.key_of(entry).and_then(|key| self.last.get(&key));
        noted.and_then(|noted| noted.until_ms).is_some_and(|until_ms| until_ms <= now_ms)
    }

    /// Hash of the content of an entry, without the expiry, which was set when the message was new.
    fn said(&self, entry: &Entry) -> u64 {
        let json = match entry {
            Entry::Message(_, indexed) => {
                serde_json::to_vec(&(indexed.epoch, indexed.confidentiality, &indexed.message))
            }
            entry => serde_json::to_vec(entry),
        };
        self.hasher.hash_one(Zeroizing::new(json.unwrap_or_default()).as_slice())
    }

    /// Takes an entry's expiry into account.
    fn dates(&mut self, entry: &Entry) {
        self.due_ms = self.due_ms.into_iter().chain(until_ms(entry)).min();
    }

    /// Removes changed, deleted and expired messages from the disk, and syncs new ones to it.
    pub fn tidy(&mut self, storage: &mut dyn Storage, now_ms: i64) -> Result<(), StorageError> {
        let since_ms = now_ms.abs_diff(self.tidied_ms);
        let old = self.due_ms.is_some_and(|due_ms| due_ms <= now_ms) && since_ms >= TIDY_MS;
        if old || self.stale && since_ms >= self.bytes / BYTES_PER_MS {
            return self.rewrite(storage, now_ms);
        }
        if !std::mem::replace(&mut self.synced, true) {
            storage.sync_search_log()?;
        }
        Ok(())
    }

    /// Time until changed or deleted messages have to leave the disk, in milliseconds. The larger
    /// the file, the rarer the rewrites.
    pub fn rests_ms(&self, now_ms: i64) -> Option<u64> {
        let rest_ms = STALE_MS.max(self.bytes / BYTES_PER_MS);
        self.stale.then(|| rest_ms.saturating_sub(now_ms.abs_diff(self.tidied_ms)))
    }

    /// The key of the indexed message that an entry is about.
    fn key_of(&self, entry: &Entry) -> Option<u64> {
        let (conversation, from, id) = match entry {
            Entry::Message(conversation, indexed) => {
                (conversation, &indexed.message.from, &indexed.message.id)
            }
            Entry::Change { conversation, id, from, .. } => (conversation, from, id),
            Entry::Forget(_) => return None,
        };
        Some(self.hasher.hash_one((conversation, from, id)))
    }

    fn append(&mut self, storage: &mut dyn Storage, lines: &str) -> Result<(), StorageError> {
        storage.append_search_log(lines.as_bytes())?;
        self.bytes += lines.len() as u64;
        self.synced &= lines.is_empty();
        Ok(())
    }

    /// Rewrites the log from the index; the old file's bytes are overwritten.
    fn rewrite(&mut self, storage: &mut dyn Storage, now_ms: i64) -> Result<(), StorageError> {
        let (mut index, damaged) = read(storage, &self.key)?;
        if damaged > 0 {
            storage
                .note_damage(Stored::SearchLog, "/search misses some messages that you have read");
        }
        self.due_ms = index.expire(now_ms);
        if self.bytes > self.bytes_max {
            let bytes = |message: &Message| LINE_BYTES + message.body.len() * 4 / 3;
            index.shorten(self.bytes_max as usize / 2, bytes);
        }
        let mut text = String::new();
        self.last.clear();
        for entry in index.entries() {
            self.dates(&entry);
            let json = Zeroizing::new(serde_json::to_vec(&entry)?);
            if let Some(key) = self.key_of(&entry) {
                let (said, until_ms) = (self.said(&entry), until_ms(&entry));
                self.last.insert(key, Noted { said, until_ms });
            }
            text.push_str(&locked(&self.key, &json));
        }
        storage.replace_search_log(text.as_bytes())?;
        (self.bytes, self.stale, self.synced) = (text.len() as u64, false, true);
        self.tidied_ms = now_ms;
        Ok(())
    }
}

/// Expiry of an entry.
fn until_ms(entry: &Entry) -> Option<i64> {
    match entry {
        Entry::Message(_, indexed) => indexed.until_ms,
        _ => None,
    }
}

fn locked(key: &[u8; 32], text: &[u8]) -> String {
    STANDARD_NO_PAD.encode(at_rest::lock(key, text)) + "\n"
}
