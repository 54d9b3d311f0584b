//! The ports of the engine: the local user's account, and the storage, a disk or a browser's store.
//! All stored content is encrypted by the engine, except sequences, which the storage encrypts with
//! the given key.

use std::error::Error;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::changes::{Change, Changed};
use super::sequence::SequenceState;
use crate::chat::{Target, UserName};
use crate::crypto::{Fingerprint, Identity, PublicKey};

/// Why something cannot be stored or read.
pub type StorageError = Box<dyn Error + Send + Sync>;

/// The key of files that are written record by record.
pub type FileKey = Zeroizing<[u8; 32]>;

/// Conversations with their sequence state; `None` for a forgotten one.
pub type Sequenced = Vec<(Target, Option<SequenceState>)>;

/// Messages that their senders have changed; none where a change is forgotten.
pub type ChangeEntries = Vec<(Changed, Option<Change>)>;

/// The local user's account on one server.
pub trait Account: Send + Sync {
    fn name(&self) -> &UserName;

    /// Fingerprint of the server's first host key. Stored state and derived keys refer to it, so
    /// that a rotation does not change them.
    fn founding(&self) -> &Fingerprint;

    /// The key that identifies the user to the server now.
    fn own(&self) -> Arc<Identity>;

    /// The keys that open messages sealed for the user, the own key first.
    fn openers(&self) -> Vec<Arc<Identity>>;

    /// The keys that stored content is sealed for: the own key, and the one that may take over.
    fn keepers(&self) -> Vec<PublicKey>;
}

/// A stored item, for error messages.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    Trust,
    DeviceKey(&'a str),
    SearchLog,
}

/// Turns the current trust file into a new one.
pub type ChangeTrust<'a> = &'a mut dyn FnMut(Option<Vec<u8>>) -> Result<Vec<u8>, StorageError>;

/// The storage of one profile for one server. Several clients of the profile may use it at once.
pub trait Storage: Send {
    /// The trust file; `None` before the first one is written.
    fn trust(&self) -> Result<Option<Vec<u8>>, StorageError>;

    /// Replaces the trust file under a lock against other clients.
    fn update_trust(&mut self, change: ChangeTrust) -> Result<(), StorageError>;

    /// The names of all device keys.
    fn device_keys(&self) -> Result<Vec<String>, StorageError>;

    /// Reads a device key; `None` if another client has removed it.
    fn device_key(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Adds a device key. Never replaces one.
    fn add_device_key(&mut self, name: &str, sealed: &[u8]) -> Result<(), StorageError>;

    /// Erases a device key, unless another client has already done so.
    fn remove_device_key(&mut self, name: &str) -> Result<(), StorageError>;

    /// Renames a damaged device key, whose damage was reported, so that no client reads it again.
    /// If this fails, the next start reports the damage again.
    fn set_aside_device_key(&mut self, name: &str);

    /// Takes the damage that was found in files, for the user.
    fn take_damage(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Reads the stored sequences; the last entry of each conversation counts.
    fn sequences(&self, key: FileKey) -> Result<Sequenced, StorageError>;

    /// The same, for the one client that stores more.
    fn open_sequences(&mut self, key: FileKey) -> Result<Sequenced, StorageError>;

    /// Stores changed sequences; `all` returns the whole state for a rewrite of the file.
    fn store_sequences(
        &mut self,
        changed: &Sequenced,
        all: &dyn Fn() -> Sequenced,
    ) -> Result<(), StorageError>;

    /// What was stored of edits and deletions: of each message the last entry holds.
    fn changes(&self, key: FileKey) -> Result<ChangeEntries, StorageError>;

    /// The same, for the client that stores more.
    fn open_changes(&mut self, key: FileKey) -> Result<ChangeEntries, StorageError>;

    /// These are new, or forgotten; `all` returns all entries, for a file that is written again.
    fn store_changes(
        &mut self,
        changed: &ChangeEntries,
        all: &dyn Fn() -> ChangeEntries,
    ) -> Result<(), StorageError>;

    /// Returns whether opened messages are stored for `/search`.
    fn stores_messages(&self) -> Result<bool, StorageError>;

    /// Changes that setting for every server of the profile.
    fn set_stores_messages(&mut self, stores: bool) -> Result<(), StorageError>;

    /// The search log, or its beginning within a bound.
    fn search_log(&self) -> Result<Vec<u8>, StorageError>;

    /// Opens or creates the search log for writing. Returns its size in bytes.
    fn open_search_log(&mut self) -> Result<u64, StorageError>;

    fn append_search_log(&mut self, records: &[u8]) -> Result<(), StorageError>;

    /// Replaces the search log; the old file's bytes are overwritten.
    fn replace_search_log(&mut self, records: &[u8]) -> Result<(), StorageError>;

    /// Syncs appended records to the disk.
    fn sync_search_log(&mut self) -> Result<(), StorageError>;

    /// Erases the search logs of all servers.
    fn erase_search_logs(&mut self) -> Result<(), StorageError>;

    /// Records damage and the resulting loss, for the user.
    fn note_damage(&mut self, what: Stored, loss: &str);

    /// An error that names the damaged item as a path or name that the user can find.
    fn damaged(&self, what: Stored, reason: String) -> StorageError;
}
