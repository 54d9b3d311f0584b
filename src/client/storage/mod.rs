//! Storage of the engine, in the profile's folder.

pub mod data_folder;
#[cfg(test)]
mod device_keys_tests;
pub mod ignore_list;
pub mod journal;
mod known_server;
mod outbox_file;
mod outbox_format;
mod outbox_length;
mod sealed_map;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod set_aside_tests;
pub mod transfer_folder;
#[cfg(test)]
mod trust_file_tests;

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crypto::Fingerprint;
use crate::e2e::storage::{
    ChangeEntries, ChangeTrust, FileKey, Sequenced, Storage, StorageError, Stored,
};
use crate::file::FileError;
use crate::file::{make_folder, overwrite, read_bytes_up_to, replace, turn, wipe, write_new};
use crate::system::files;
use crate::system::fs::{self, File, OpenOptions};
use data_folder::{DataFolder, Settings};
use sealed_map::Entries;
pub use sealed_map::SealedMap;

/// Bytes read of a file, which another program may have enlarged.
const READ_BYTES_MAX: u64 = 64 << 20;

const TRUST: &str = "trust";
const SEQUENCES: &str = "sequences";
const CHANGES: &str = "changes";
const SEARCH_LOG: &str = "search";
const DEVICE_KEY: &str = "key";
const DAMAGED_KEY: &str = "key-damaged";

/// The files of one server in the profile's folder (0600 in 0700).
pub struct Folder {
    data_folder: DataFolder,
    /// Path of the server's files, without extensions.
    stem: PathBuf,
    devices: PathBuf,
    sequences: Option<SealedMap>,
    changes: Option<SealedMap>,
    search_log: Option<File>,
    /// Damage that was found.
    damage: Vec<String>,
}

impl Folder {
    /// Opens the folder of the server with this founding key.
    pub fn open(data_folder: &DataFolder, server: &Fingerprint) -> Result<Folder, FileError> {
        let (stem, devices) = (data_folder.journal_stem(server), data_folder.devices_dir(server));
        make_folder(&devices, 0o700)?;
        let data_folder = data_folder.clone();
        let (sequences, changes, search_log) = (None, None, None);
        let damage = Vec::new();
        Ok(Folder { data_folder, stem, devices, sequences, changes, search_log, damage })
    }

    fn trust_file(&self) -> PathBuf {
        self.stem.with_extension(TRUST)
    }

    fn device_key_file(&self, name: &str) -> PathBuf {
        self.devices.join(name).with_extension(DEVICE_KEY)
    }

    fn file_of(&self, what: Stored) -> PathBuf {
        match what {
            Stored::Trust => self.trust_file(),
            Stored::DeviceKey(name) => self.device_key_file(name),
            Stored::SearchLog => self.search_log_file(),
        }
    }

    fn search_log_file(&self) -> PathBuf {
        self.stem.with_extension(SEARCH_LOG)
    }

    fn read_map<K: DeserializeOwned, V: DeserializeOwned>(
        &self,
        extension: &str,
        key: &FileKey,
    ) -> Result<Entries<K, V>, FileError> {
        let path = self.stem.with_extension(extension);
        SealedMap::read(&path, key).map_err(of_map(&path))
    }

    fn open_map<K: DeserializeOwned, V: DeserializeOwned>(
        &mut self,
        extension: &str,
        key: FileKey,
    ) -> Result<(SealedMap, Entries<K, V>), FileError> {
        let path = self.stem.with_extension(extension);
        let (map, entries) = SealedMap::open(path.clone(), key).map_err(of_map(&path))?;
        if map.damaged > 0 {
            let text = "is damaged: the verification state of some messages is lost";
            self.damage.push(format!("{} {text}", path.display()));
        }
        Ok((map, entries))
    }

    fn opened_search_log(&mut self) -> io::Result<&mut File> {
        self.search_log.as_mut().ok_or_else(|| io::Error::other("the search log is not open"))
    }
}

/// Names the file of an error.
fn of_map(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    |error| match error.kind() {
        io::ErrorKind::InvalidData => FileError::damaged(path, error),
        _ => FileError::io(path)(error),
    }
}

/// The content of a file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    read_bytes_up_to(path, READ_BYTES_MAX)
}

/// Converts a storage error to one for the command line.
pub fn fault(error: StorageError) -> anyhow::Error {
    match error.downcast::<FileError>() {
        Ok(error) => anyhow::Error::new(*error),
        Err(error) => anyhow::Error::from_boxed(error),
    }
}

impl Storage for Folder {
    fn trust(&self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(read(&self.trust_file())?)
    }

    fn update_trust(&mut self, change: ChangeTrust) -> Result<(), StorageError> {
        let _turn = turn(&self.stem.with_extension("trust.lock"))?;
        let path = self.trust_file();
        let sealed = change(read(&path)?)?;
        Ok(replace(&path, &sealed, 0o600)?)
    }

    fn device_keys(&self) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.devices).map_err(FileError::io(&self.devices))? {
            let path = entry.map_err(FileError::io(&self.devices))?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let is_key = path.extension().is_some_and(|extension| extension == DEVICE_KEY);
            names.extend(name.filter(|_| is_key).map(str::to_owned));
        }
        Ok(names)
    }

    fn device_key(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(read(&self.device_key_file(name))?)
    }

    fn add_device_key(&mut self, name: &str, sealed: &[u8]) -> Result<(), StorageError> {
        Ok(write_new(&self.device_key_file(name), sealed, 0o600)?)
    }

    fn remove_device_key(&mut self, name: &str) -> Result<(), StorageError> {
        let path = self.device_key_file(name);
        match wipe(&path) {
            // Another client of this user was first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => Ok(other.map_err(FileError::io(&path))?),
        }
    }

    fn set_aside_device_key(&mut self, name: &str) {
        let path = self.device_key_file(name);
        let _ = fs::rename(&path, path.with_extension(DAMAGED_KEY));
    }

    fn sequences(&self, key: FileKey) -> Result<Sequenced, StorageError> {
        Ok(self.read_map(SEQUENCES, &key)?)
    }

    fn open_sequences(&mut self, key: FileKey) -> Result<Sequenced, StorageError> {
        let (map, entries) = self.open_map(SEQUENCES, key)?;
        self.sequences = Some(map);
        Ok(entries)
    }

    fn store_sequences(
        &mut self,
        changed: &Sequenced,
        all: &dyn Fn() -> Sequenced,
    ) -> Result<(), StorageError> {
        store(&mut self.sequences, &self.stem.with_extension(SEQUENCES), changed, all)
    }

    fn changes(&self, key: FileKey) -> Result<ChangeEntries, StorageError> {
        Ok(self.read_map(CHANGES, &key)?)
    }

    fn open_changes(&mut self, key: FileKey) -> Result<ChangeEntries, StorageError> {
        let (map, entries) = self.open_map(CHANGES, key)?;
        self.changes = Some(map);
        Ok(entries)
    }

    fn store_changes(
        &mut self,
        changed: &ChangeEntries,
        all: &dyn Fn() -> ChangeEntries,
    ) -> Result<(), StorageError> {
        store(&mut self.changes, &self.stem.with_extension(CHANGES), changed, all)
    }

    fn stores_messages(&self) -> Result<bool, StorageError> {
        Ok(self.data_folder.settings()?.search)
    }

    fn set_stores_messages(&mut self, stores: bool) -> Result<(), StorageError> {
        let settings = self.data_folder.settings()?;
        Ok(self.data_folder.set(&Settings { search: stores, ..settings })?)
    }

    fn search_log(&self) -> Result<Vec<u8>, StorageError> {
        let file = match File::open(self.search_log_file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn open_search_log(&mut self) -> Result<u64, StorageError> {
        let mut options = files::private();
        let options = options.write(true).create(true).truncate(false);
        let mut file = options.open(self.search_log_file())?;
        let bytes = file.seek(SeekFrom::End(0))?;
        self.search_log = Some(file);
        Ok(bytes)
    }

    fn append_search_log(&mut self, records: &[u8]) -> Result<(), StorageError> {
        let path = self.search_log_file();
        Ok(self.opened_search_log()?.write_all(records).map_err(FileError::io(&path))?)
    }

    fn replace_search_log(&mut self, records: &[u8]) -> Result<(), StorageError> {
        let path = self.search_log_file();
        replace(&path, records, 0o600)?;
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.seek(SeekFrom::End(0))?;
        if let Some(mut old) = self.search_log.replace(file) {
            overwrite(&mut old)?;
        }
        Ok(())
    }

    fn sync_search_log(&mut self) -> Result<(), StorageError> {
        let path = self.search_log_file();
        Ok(self.opened_search_log()?.sync_data().map_err(FileError::io(&path))?)
    }

    fn erase_search_logs(&mut self) -> Result<(), StorageError> {
        self.search_log = None;
        for folder in self.data_folder.folders_of_servers()? {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == SEARCH_LOG) {
                    wipe(&path)?;
                }
            }
        }
        Ok(())
    }

    fn take_damage(&mut self) -> Vec<String> {
        std::mem::take(&mut self.damage)
    }

    fn note_damage(&mut self, what: Stored, loss: &str) {
        let path = self.file_of(what);
        self.damage.push(format!("{} is damaged: {loss}", path.display()));
    }

    fn damaged(&self, what: Stored, reason: String) -> StorageError {
        FileError::damaged(&self.file_of(what), reason).into()
    }
}

/// Stores the changes of a map, if this client has opened it to store more.
fn store<K: Serialize, V: Serialize>(
    map: &mut Option<SealedMap>,
    path: &Path,
    changed: &[(K, Option<V>)],
    all: &dyn Fn() -> Entries<K, V>,
) -> Result<(), StorageError> {
    let Some(map) = map else { return Ok(()) };
    Ok(map.store(changed, all).map_err(FileError::io(path))?)
}
