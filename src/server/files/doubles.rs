//! A store in memory for tests: it survives the server's processes, can be full or fail, and loses
//! what was not synced when the power goes.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::store::{BlobStore, Coming, Kept, Listed, Place, StoreError};
use crate::chat::BlobId;

struct Blob {
    /// Shared with the readers, which read it to its end after it was removed.
    bytes: Arc<Vec<u8>>,
    /// Bytes that a loss of power leaves.
    synced: usize,
    /// A coming blob that was removed and created again is another one.
    birth: u64,
    unknown_ms: Option<i64>,
}

type Name = (BlobId, Place);

/// What a store has, and how it fails.
struct Disk {
    blobs: BTreeMap<Name, Blob>,
    /// Removed blobs that a loss of power may restore.
    unlinked: BTreeMap<Name, Blob>,
    births: u64,
    room: u64,
    fails: bool,
}

/// A store in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryStore(Arc<Mutex<Disk>>);

struct ComingBlob {
    store: MemoryStore,
    blob: BlobId,
    birth: u64,
}

struct KeptBlob(Arc<Vec<u8>>);

impl MemoryStore {
    /// A store with this many bytes in all.
    pub fn new(room: u64) -> MemoryStore {
        let (blobs, unlinked) = (BTreeMap::new(), BTreeMap::new());
        let disk = Disk { blobs, unlinked, births: 0, room, fails: false };
        MemoryStore(Arc::new(Mutex::new(disk)))
    }

    /// Every call fails from now on, or none.
    pub fn set_fails(&self, fails: bool) {
        self.0.lock().unwrap().fails = fails;
    }

    /// Cuts the power. `chance` gets the number of unsynced bytes of a coming blob and returns how
    /// many of them survive. The blob may keep its length, with zeros at its end. Removed blobs may
    /// reappear.
    pub fn lose_power(&self, chance: &mut dyn FnMut(u64) -> u64) {
        let mut disk = self.0.lock().unwrap();
        for (name, blob) in std::mem::take(&mut disk.unlinked) {
            if chance(1) == 1 {
                disk.blobs.entry(name).or_insert(blob);
            }
        }
        for (_, blob) in disk.blobs.iter_mut().filter(|(name, _)| name.1 == Place::Coming) {
            let (length, synced) = (blob.bytes.len(), blob.synced);
            let left = synced + chance((length - synced) as u64) as usize;
            let bytes = Arc::make_mut(&mut blob.bytes);
            bytes.truncate(left);
            if chance(1) == 1 {
                bytes.resize(length, 0);
            }
        }
    }

    fn disk(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.0.lock().unwrap();
        match disk.fails {
            true => {
                let error = io::Error::other("planted");
                Err(StoreError::Io { path: PathBuf::from("memory"), error })
            }
            false => Ok(disk),
        }
    }
}

impl Disk {
    fn free(&self) -> u64 {
        let used: u64 = self.blobs.values().map(|blob| blob.bytes.len() as u64).sum();
        self.room.saturating_sub(used)
    }
}

impl BlobStore for MemoryStore {
    fn create(
        &self,
        blob: BlobId,
        bytes: u64,
        reserve: u64,
    ) -> Result<Arc<dyn Coming>, StoreError> {
        let mut disk = self.disk()?;
        let coming = (blob, Place::Coming);
        let whole = disk.blobs.get(&(blob, Place::Kept));
        if let Some(whole) = whole.filter(|whole| whole.bytes.len() as u64 == bytes) {
            let birth = whole.birth;
            disk.blobs.remove(&coming);
            return Ok(Arc::new(ComingBlob { store: self.clone(), blob, birth }));
        }
        let free = disk.free();
        let birth = match disk.blobs.get_mut(&coming) {
            Some(there) => {
                there.unknown_ms = None;
                there.birth
            }
            None if free < bytes.saturating_add(reserve) => {
                return Err(StoreError::Full { bytes });
            }
            None => {
                disk.births += 1;
                let (bytes, birth) = (Arc::default(), disk.births);
                disk.unlinked.remove(&coming);
                disk.blobs.insert(coming, Blob { bytes, synced: 0, birth, unknown_ms: None });
                birth
            }
        };
        Ok(Arc::new(ComingBlob { store: self.clone(), blob, birth }))
    }

    fn keep(&self, blob: BlobId) -> Result<(), StoreError> {
        let mut disk = self.disk()?;
        let kept = (blob, Place::Kept);
        match disk.blobs.remove(&(blob, Place::Coming)) {
            Some(coming) => {
                disk.unlinked.remove(&kept);
                disk.blobs.insert(kept, coming);
                Ok(())
            }
            None if disk.blobs.contains_key(&kept) => Ok(()),
            None => Err(StoreError::Missing { blob }),
        }
    }

    fn open(&self, blob: BlobId) -> Result<Arc<dyn Kept>, StoreError> {
        let disk = self.disk()?;
        let kept = disk.blobs.get(&(blob, Place::Kept));
        let bytes = Arc::clone(&kept.ok_or(StoreError::Missing { blob })?.bytes);
        Ok(Arc::new(KeptBlob(bytes)))
    }

    fn remove(&self, blob: BlobId, place: Place) -> Result<bool, StoreError> {
        let mut disk = self.disk()?;
        let removed = disk.blobs.remove(&(blob, place));
        let was_there = removed.is_some();
        disk.unlinked.extend(removed.map(|removed| ((blob, place), removed)));
        Ok(was_there)
    }

    fn sync_removed(&self, blobs: &[BlobId]) -> Result<(), StoreError> {
        self.disk()?.unlinked.retain(|name, _| !blobs.contains(&name.0));
        Ok(())
    }

    fn mark(&self, blob: BlobId, place: Place, unknown_ms: Option<i64>) -> Result<(), StoreError> {
        let mut disk = self.disk()?;
        let marked = disk.blobs.get_mut(&(blob, place));
        marked.into_iter().for_each(|marked| marked.unknown_ms = unknown_ms);
        Ok(())
    }

    fn look_up(&self, blob: BlobId) -> Result<Option<Listed>, StoreError> {
        let all = self.list(0..=u8::MAX)?.into_iter().filter(|listed| listed.blob == blob);
        Ok(all.max_by_key(|listed| listed.place))
    }

    fn list(&self, first: RangeInclusive<u8>) -> Result<Vec<Listed>, StoreError> {
        let disk = self.disk()?;
        let blobs = disk.blobs.iter().filter(|((blob, _), _)| first.contains(&blob.0[0]));
        let listed = blobs.map(|((blob, place), is)| Listed {
            blob: *blob,
            place: *place,
            length: is.bytes.len() as u64,
            unknown_ms: is.unknown_ms,
        });
        Ok(listed.collect())
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.disk()?.free())
    }
}

impl ComingBlob {
    /// Calls `job` with the blob, unless it was removed or kept, after which nothing reaches it.
    fn with<T>(&self, job: impl FnOnce(&mut Blob, u64) -> T) -> Result<Option<T>, StoreError> {
        let mut disk = self.store.disk()?;
        let free = disk.free();
        let blob = disk.blobs.get_mut(&(self.blob, Place::Coming));
        let own = blob.filter(|blob| blob.birth == self.birth);
        Ok(own.map(|blob| job(blob, free)))
    }
}

impl Coming for ComingBlob {
    fn append_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.with(|blob, free| {
            let length = blob.bytes.len() as u64;
            if offset > length {
                return Err(StoreError::Hole { blob: self.blob, length, offset });
            }
            let end = offset as usize + bytes.len();
            if end as u64 > length + free {
                return Err(StoreError::Full { bytes: bytes.len() as u64 });
            }
            let own = Arc::make_mut(&mut blob.bytes);
            let (over, new) = bytes.split_at(bytes.len().min(own.len() - offset as usize));
            own[offset as usize..][..over.len()].copy_from_slice(over);
            own.extend_from_slice(new);
            blob.synced = blob.synced.min(offset as usize);
            Ok(())
        })?;
        written.unwrap_or(Ok(()))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.with(|blob, _| blob.synced = blob.bytes.len()).map(drop)
    }

    fn length(&self) -> Result<u64, StoreError> {
        let disk = self.store.disk()?;
        let places = [Place::Coming, Place::Kept].into_iter();
        let own = places.filter_map(|place| disk.blobs.get(&(self.blob, place)));
        let mut own = own.filter(|blob| blob.birth == self.birth);
        Ok(own.next().map_or(0, |blob| blob.bytes.len() as u64))
    }
}

impl Kept for KeptBlob {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let rest = rest.unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn length(&self) -> u64 {
        self.0.len() as u64
    }
}
