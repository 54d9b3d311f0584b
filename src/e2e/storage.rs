//! The ports of the engine: the person for whom it works, and what holds its files, a disk or a
//! browser's store. What it stores is sealed before it leaves, but for sequences, which come with
//! the key.

use std::error::Error;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::changes::{Change, Changed};
use super::sequence::SequenceState;
use crate::chat::{Target, UserName};
use crate::crypto::{Fingerprint, Identity, PublicKey};

/// Why something is not stored, or cannot be read.
pub type StorageError = Box<dyn Error + Send + Sync>;

/// The key of what is written record by record.
pub type FileKey = Zeroizing<[u8; 32]>;

/// Conversations, each with what is known of its order; none where nothing is any more.
pub type Sequenced = Vec<(Target, Option<SequenceState>)>;

/// Messages that their senders have changed; none where a change is forgotten.
pub type ChangeEntries = Vec<(Changed, Option<Change>)>;

/// The person of this client, on one server.
pub trait Account: Send + Sync {
    fn name(&self) -> &UserName;

    /// Of the server's first key.
    fn founding(&self) -> &Fingerprint;

    /// The key by which the server knows this person now.
    fn own(&self) -> Arc<Identity>;

    /// What was sealed for this person was sealed for one of these, the own key first.
    fn openers(&self) -> Vec<Arc<Identity>>;

    /// What is stored is sealed for these: the own key, and the one that may take over.
    fn keepers(&self) -> Vec<PublicKey>;
}

/// What is stored, where it is damaged.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    Trust,
    DeviceKey(&'a str),
}

/// Makes another trust file of the one that is there.
pub type ChangeTrust<'a> = &'a mut dyn FnMut(Option<Vec<u8>>) -> Result<Vec<u8>, StorageError>;

/// One profile's store of one server. Several clients of the profile may use it at once.
pub trait Storage: Send {
    /// The trust file; none where there is none yet.
    fn trust(&self) -> Result<Option<Vec<u8>>, StorageError>;

    /// Replaces the trust file; no other client changes it meanwhile.
    fn update_trust(&mut self, change: ChangeTrust) -> Result<(), StorageError>;

    /// The names of all device keys.
    fn device_keys(&self) -> Result<Vec<String>, StorageError>;

    /// None where another client has removed it.
    fn device_key(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Never replaces one.
    fn add_device_key(&mut self, name: &str, sealed: &[u8]) -> Result<(), StorageError>;

    /// Erases it; another client may have done so before.
    fn remove_device_key(&mut self, name: &str) -> Result<(), StorageError>;

    /// What was stored of sequences: of each conversation the last entry holds. Only the client
    /// that opened them stores more.
    fn open_sequences(&mut self, key: FileKey) -> Result<Sequenced, StorageError>;

    /// These have changed; `all` gives everything, where it is written anew.
    fn store_sequences(
        &mut self,
        changed: &Sequenced,
        all: &dyn Fn() -> Sequenced,
    ) -> Result<(), StorageError>;

    /// What was stored of edits and deletions: of each message the last entry holds.
    fn changes(&self, key: FileKey) -> Result<ChangeEntries, StorageError>;

    /// The same, for the client that stores more.
    fn open_changes(&mut self, key: FileKey) -> Result<ChangeEntries, StorageError>;

    /// These are new, or forgotten; `all` gives everything, where it is written anew.
    fn store_changes(
        &mut self,
        changed: &ChangeEntries,
        all: &dyn Fn() -> ChangeEntries,
    ) -> Result<(), StorageError>;

    /// Whether opened messages are stored for `/search`.
    fn stores_messages(&self) -> Result<bool, StorageError>;

    /// Sets it for every server of the profile.
    fn set_stores_messages(&mut self, stores: bool) -> Result<(), StorageError>;

    /// What is in the search log, or the bounded beginning of it.
    fn search_log(&self) -> Result<Vec<u8>, StorageError>;

    /// Opens the search log to write to it, and makes it where there is none. Gives its size.
    fn open_search_log(&mut self) -> Result<u64, StorageError>;

    fn append_search_log(&mut self, records: &[u8]) -> Result<(), StorageError>;

    /// Puts other content in its place; the bytes of the old one are overwritten.
    fn replace_search_log(&mut self, records: &[u8]) -> Result<(), StorageError>;

    /// What was appended is on the disk.
    fn sync_search_log(&mut self) -> Result<(), StorageError>;

    /// Erases the search logs of all servers.
    fn erase_search_logs(&mut self) -> Result<(), StorageError>;

    /// The error that names what is damaged as its person would look for it.
    fn damaged(&self, what: Stored, reason: String) -> StorageError;
}
