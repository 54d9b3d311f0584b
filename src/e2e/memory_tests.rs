//! An account and a store in memory. Clones share one store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::storage::{
    Account, ChangeEntries, ChangeTrust, FileKey, Sequenced, Storage, StorageError, Stored,
};
use crate::chat::UserName;
use crate::crypto::{Fingerprint, Identity, PublicKey};

pub struct Me {
    name: UserName,
    server: Fingerprint,
    /// The own key first.
    pub openers: Vec<Arc<Identity>>,
    /// The key that may take over.
    pub next: Option<PublicKey>,
}

impl Me {
    pub fn new(name: &str, server: Fingerprint, identity: Identity) -> Me {
        Me { name: name.parse().unwrap(), server, openers: vec![Arc::new(identity)], next: None }
    }
}

impl Account for Me {
    fn name(&self) -> &UserName {
        &self.name
    }

    fn founding(&self) -> &Fingerprint {
        &self.server
    }

    fn own(&self) -> Arc<Identity> {
        Arc::clone(&self.openers[0])
    }

    fn openers(&self) -> Vec<Arc<Identity>> {
        self.openers.clone()
    }

    fn keepers(&self) -> Vec<PublicKey> {
        [self.openers[0].public()].into_iter().chain(&self.next).cloned().collect()
    }
}

/// Files whose writes fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failing {
    #[default]
    None,
    Sequences,
    Changes,
    All,
}

#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Content>>);

#[derive(Default)]
pub struct Content {
    pub trust: Option<Vec<u8>>,
    /// Count of writes to the trust file.
    pub writes: usize,
    /// The files whose writes fail.
    pub failing: Failing,
    pub device_keys: BTreeMap<String, Vec<u8>>,
    pub sequences: Sequenced,
    pub changes: ChangeEntries,
    pub search_log: Vec<u8>,
}

impl Memory {
    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn room(&self) -> Result<MutexGuard<'_, Content>, StorageError> {
        self.room_in(Failing::All)
    }

    fn room_in(&self, file: Failing) -> Result<MutexGuard<'_, Content>, StorageError> {
        let content = self.content();
        let fails = [file, Failing::All].contains(&content.failing);
        if fails { Err("no space left".into()) } else { Ok(content) }
    }
}

impl Storage for Memory {
    fn trust(&self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.content().trust.clone())
    }

    fn update_trust(&mut self, change: ChangeTrust) -> Result<(), StorageError> {
        let mut content = self.room()?;
        content.trust = Some(change(content.trust.clone())?);
        content.writes += 1;
        Ok(())
    }

    fn device_keys(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.content().device_keys.keys().cloned().collect())
    }

    fn device_key(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.content().device_keys.get(name).cloned())
    }

    fn add_device_key(&mut self, name: &str, sealed: &[u8]) -> Result<(), StorageError> {
        let before = self.room()?.device_keys.insert(name.to_owned(), sealed.to_vec());
        if before.is_some() { Err("it exists already".into()) } else { Ok(()) }
    }

    fn remove_device_key(&mut self, name: &str) -> Result<(), StorageError> {
        self.content().device_keys.remove(name);
        Ok(())
    }

    fn set_aside_device_key(&mut self, name: &str) {
        self.content().device_keys.remove(name);
    }

    fn sequences(&self, _: FileKey) -> Result<Sequenced, StorageError> {
        Ok(self.content().sequences.clone())
    }

    fn open_sequences(&mut self, _: FileKey) -> Result<Sequenced, StorageError> {
        Ok(self.content().sequences.clone())
    }

    fn store_sequences(
        &mut self,
        changed: &Sequenced,
        _: &dyn Fn() -> Sequenced,
    ) -> Result<(), StorageError> {
        self.room_in(Failing::Sequences)?.sequences.extend(changed.iter().cloned());
        Ok(())
    }

    fn changes(&self, _: FileKey) -> Result<ChangeEntries, StorageError> {
        Ok(self.content().changes.clone())
    }

    fn open_changes(&mut self, _: FileKey) -> Result<ChangeEntries, StorageError> {
        Ok(self.content().changes.clone())
    }

    fn store_changes(
        &mut self,
        changed: &ChangeEntries,
        _: &dyn Fn() -> ChangeEntries,
    ) -> Result<(), StorageError> {
        self.room_in(Failing::Changes)?.changes.extend(changed.iter().cloned());
        Ok(())
    }

    fn stores_messages(&self) -> Result<bool, StorageError> {
        Ok(true)
    }

    fn set_stores_messages(&mut self, _: bool) -> Result<(), StorageError> {
        Ok(())
    }

    fn search_log(&self) -> Result<Vec<u8>, StorageError> {
        Ok(self.content().search_log.clone())
    }

    fn open_search_log(&mut self) -> Result<u64, StorageError> {
        Ok(self.content().search_log.len() as u64)
    }

    fn append_search_log(&mut self, records: &[u8]) -> Result<(), StorageError> {
        self.room()?.search_log.extend_from_slice(records);
        Ok(())
    }

    fn replace_search_log(&mut self, records: &[u8]) -> Result<(), StorageError> {
        self.room()?.search_log = records.to_vec();
        Ok(())
    }

    fn sync_search_log(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn erase_search_logs(&mut self) -> Result<(), StorageError> {
        self.content().search_log.clear();
        Ok(())
    }

    fn note_damage(&mut self, _: Stored, _: &str) {}

    fn damaged(&self, what: Stored, reason: String) -> StorageError {
        format!("{what:?}: {reason}").into()
    }
}
