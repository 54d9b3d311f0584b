//! Where encrypted files are: a small contract, so that a shared folder or an object store can take
//! the place of the folder `data/files`.
//!
//! | path | content |
//! |---|---|
//! | `coming/ID` | a blob whose upload has not ended |
//! | `XX/ID` | a whole blob; XX is the first byte of its id in hexadecimal digits |
//!
//! A blob moves from the one to the other after its sync, and is never changed afterwards. After a
//! loss of power a coming blob may have lost what was written since its last sync.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use crate::chat::BlobId;
use crate::file::FileError;
use crate::file::make_folder;
use crate::sync::{Mutex, Rank};
use crate::system::files;

const COMING: &str = "coming";
/// Mode that marks a file without a row in the ledger. Its modification time is the time of the
/// mark.
const UNKNOWN_MODE: u32 = 0o400;
const MODE: u32 = 0o600;
/// Interval of free-space checks in bytes, on file systems that cannot allocate in advance.
const LOOK_BYTES: u64 = 1 << 20;

/// A store cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room, or none beside the reserve. Others' messages go on; the upload can be resumed.
    #[error("the disk has no room for {bytes} more bytes of files")]
    Full { bytes: u64 },
    #[error("the file {blob} is not in the store")]
    Missing { blob: BlobId },
    /// Bytes behind the end of a coming blob would leave a hole.
    #[error("the file {blob} has {length} bytes: none can be written at {offset}")]
    Hole { blob: BlobId, length: u64, offset: u64 },
    /// The disk failed.
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Folder(#[from] FileError),
}

/// Whether a blob is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Coming,
    Kept,
}

/// A blob as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub blob: BlobId,
    pub place: Place,
    /// Bytes that are there.
    pub length: u64,
    /// Time at which it was marked as a blob without a row, in milliseconds.
    pub unknown_ms: Option<i64>,
}

impl Listed {
    /// Whether it is a whole blob of this length.
    pub fn is_kept(&self, bytes: u64) -> bool {
        (self.place, self.length) == (Place::Kept, bytes)
    }
}

/// A coming blob, shared by the session that writes it and the thread that syncs it.
pub trait Coming: Send + Sync {
    /// Writes bytes at `offset`, over what is there. Never waits for a sync.
    ///
    /// # Errors
    /// `Full`, `Hole`, or the disk fails. Bytes before `offset` are as they were.
    fn append_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// Syncs everything that was written before the call. May take a minute on a slow disk.
    ///
    /// # Errors
    /// The disk fails: what was written since the last sync may be lost.
    fn sync(&self) -> Result<(), StoreError>;

    /// Returns the number of bytes that are there.
    ///
    /// # Errors
    /// The disk fails.
    fn length(&self) -> Result<u64, StoreError>;
}

/// A whole blob, for reading.
pub trait Kept: Send + Sync {
    /// Reads bytes from `offset` on, as many as `buffer` has room for. Fewer at the end only.
    ///
    /// # Errors
    /// The disk fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError>;

    fn length(&self) -> u64;
}

/// A blob to write, or why there is none.
pub type Opened = Result<Arc<dyn Coming>, StoreError>;

/// A store of blobs.
pub trait BlobStore: Send + Sync {
    /// Opens a coming blob, or a whole one of this length, or creates one and allocates room for
    /// `bytes`, so that a full disk is noticed before a byte is sent.
    ///
    /// # Errors
    /// `Full` where less than `reserve` would be left for others, after which there is no blob;
    /// the disk fails.
    fn create(&self, blob: BlobId, bytes: u64, reserve: u64) -> Opened;

    /// Makes a coming blob, which has been synced, a whole one: it stays one after a loss of power.
    /// A whole blob stays what it is.
    ///
    /// # Errors
    /// `Missing`, or the disk fails; the call can be repeated.
    fn keep(&self, blob: BlobId) -> Result<(), StoreError>;

    /// Opens a whole blob. It can be read to its end after it was removed.
    ///
    /// # Errors
    /// `Missing`, or the disk fails.
    fn open(&self, blob: BlobId) -> Result<Arc<dyn Kept>, StoreError>;

    /// Removes a coming blob, or a whole one, if it is there. Returns whether it was. A loss of
    /// power may undo it before `sync_removed`.
    ///
    /// # Errors
    /// The disk fails.
    fn remove(&self, blob: BlobId, place: Place) -> Result<bool, StoreError>;

    /// Makes the removal of these blobs permanent, so that a loss of power cannot undo it.
    ///
    /// # Errors
    /// The disk fails.
    fn sync_removed(&self, blobs: &[BlobId]) -> Result<(), StoreError>;

    /// Marks a blob as one without a row since this time, or removes the mark. The mark survives a
    /// restart of the server.
    ///
    /// # Errors
    /// The disk fails.
    fn mark(&self, blob: BlobId, place: Place, unknown_ms: Option<i64>) -> Result<(), StoreError>;

    /// Returns a blob as it is listed; `None` if it is not there.
    ///
    /// # Errors
    /// The disk fails.
    fn look_up(&self, blob: BlobId) -> Result<Option<Listed>, StoreError>;

    /// Returns the blobs whose first byte is in this range, in no order.
    ///
    /// # Errors
    /// The disk fails.
    fn list(&self, first: RangeInclusive<u8>) -> Result<Vec<Listed>, StoreError>;

    /// Returns the bytes that the store has room for.
    ///
    /// # Errors
    /// The disk fails.
    fn free_bytes(&self) -> Result<u64, StoreError>;
}

/// A store in a folder (0700) with files (0600).
pub struct FolderStore {
    root: PathBuf,
    /// Held while free space is checked and allocated, so that two blobs cannot both get the last
    /// of it.
    room: Mutex<()>,
    /// Whether the file system can allocate room.
    allocates: bool,
}

struct ComingFile {
    blob: BlobId,
    path: PathBuf,
    file: File,
    /// The reserve, where no room is allocated for the blob.
    reserve: Option<u64>,
}

struct KeptFile {
    path: PathBuf,
    file: File,
    length: u64,
}

/// The error of a file, by what the caller can do about it.
fn error(path: &Path, bytes: u64) -> impl FnOnce(io::Error) -> StoreError {
    move |error| match error.kind() {
        // FileTooLarge: more than a file of this file system can have.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full { bytes }
        }
        _ => StoreError::Io { path: path.to_owned(), error },
    }
}

impl FolderStore {
    /// Opens the store in a folder, which is created if it is missing.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(root: PathBuf) -> Result<FolderStore, StoreError> {
        make_folder(&root.join(COMING), 0o700)?;
        Ok(FolderStore::existing(root))
    }

    /// A store to read only: nothing is created.
    pub fn existing(root: PathBuf) -> FolderStore {
        FolderStore { root, room: Mutex::new(Rank::Room, ()), allocates: true }
    }

    /// A store on a file system that cannot allocate room.
    #[cfg(test)]
    pub fn without_allocation(root: PathBuf) -> FolderStore {
        FolderStore { allocates: false, ..FolderStore::open(root).unwrap() }
    }

    /// Copies a whole blob of this length from another folder, by a hard link where possible: a
    /// whole blob never changes. Replaces a blob of another length, which an interrupted copy or a
    /// damaged disk may have left. Returns false if the other folder has no blob of this length.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub fn copy_from(
        &self,
        from: &FolderStore,
        (blob, bytes): (BlobId, u64),
    ) -> Result<bool, StoreError> {
        let (source, to) = (from.kept(blob), self.kept(blob));
        let is_whole = |path: &Path| {
            let about = if_there(path, fs::metadata(path))?;
            Ok::<_, StoreError>(about.is_some_and(|about| about.len() == bytes))
        };
        if is_whole(&to)? {
            return Ok(true);
        } else if !is_whole(&source)? {
            return Ok(false);
        }
        make_folder(to.parent().expect("it is in a folder"), 0o700)?;
        if_there(&to, fs::remove_file(&to))?;
        match fs::hard_link(&source, &to) {
            Ok(()) => {
                files::sync_folder(&to).map_err(error(&to, 0))?;
                return Ok(true);
            }
            Err(failed) if failed.kind() == io::ErrorKind::NotFound => return Ok(false),
            // Another disk, or one without links.
            Err(_) => {}
        }
        let part = self.coming(blob);
        let Some(mut read) = if_there(&source, File::open(&source))? else { return Ok(false) };
        let mut copy = || -> io::Result<()> {
            let mut write = files::private().write(true).create(true).truncate(true).open(&part)?;
            io::copy(&mut read, &mut write)?;
            write.sync_data()
        };
        copy().map_err(error(&part, 0))?;
        self.keep(blob)?;
        Ok(true)
    }

    fn coming(&self, blob: BlobId) -> PathBuf {
        self.root.join(COMING).join(blob.to_string())
    }

    fn kept(&self, blob: BlobId) -> PathBuf {
        self.root.join(format!("{:02x}", blob.0[0])).join(blob.to_string())
    }

    fn path(&self, blob: BlobId, place: Place) -> PathBuf {
        match place {
            Place::Coming => self.coming(blob),
            Place::Kept => self.kept(blob),
        }
    }

    fn new_coming(&self, blob: BlobId, bytes: u64, reserve: u64) -> Result<ComingFile, StoreError> {
        let _room = self.room.lock();
        let needed = bytes.saturating_add(reserve);
        if self.free_bytes()? < needed {
            return Err(StoreError::Full { bytes });
        }
        let path = self.coming(blob);
        let open = files::private().read(true).write(true).create_new(true).open(&path);
        let file = open.map_err(error(&path, bytes))?;
        let allocated = match self.allocates {
            true => fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes.max(1)),
            false => Err(Errno::OPNOTSUPP),
        };
        let (allocated, unallocated) = match allocated {
            // Not every file system can.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => (Ok(()), Some(reserve)),
            other => (other.map_err(io::Error::from), None),
        };
        if let Err(failed) = allocated {
            // The first error is the one to report.
            let _ = fs::remove_file(&path);
            return Err(error(&path, bytes)(failed));
        }
        Ok(ComingFile { blob, path, file, reserve: unallocated })
    }

    fn listed(&self, folder: &Path, place: Place, all: &mut Vec<Listed>) -> Result<(), StoreError> {
        let of_folder = |failed| error(folder, 0)(failed);
        for entry in fs::read_dir(folder).map_err(of_folder)? {
            let entry = entry.map_err(of_folder)?;
            let name = entry.file_name();
            // What is no id is none of the store's.
            let Some(Ok(blob)) = name.to_str().map(str::parse::<BlobId>) else { continue };
            match entry.metadata() {
                Ok(about) if about.is_file() => all.push(listed(blob, place, &about)),
                Ok(_) => {}
                // Removed or moved meanwhile.
                Err(failed) if failed.kind() == io::ErrorKind::NotFound => {}
                Err(failed) => return Err(error(&entry.path(), 0)(failed)),
            }
        }
        Ok(())
    }
}

fn listed(blob: BlobId, place: Place, about: &Metadata) -> Listed {
    let is_marked = about.permissions().mode() & 0o200 == 0;
    let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.map_or(0, |time| time.as_millis() as i64);
    Listed { blob, place, length: about.len(), unknown_ms: is_marked.then_some(modified_ms) }
}

/// Sets the mode of a file, if it is there.
fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    if_there(path, fs::set_permissions(path, Permissions::from_mode(mode))).map(drop)
}

/// The free space of the file system of a file.
fn free_bytes(file: &File) -> io::Result<u64> {
    let about = fstatvfs(file)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Returns the value, or `None` if the file is not there.
fn if_there<T>(path: &Path, done: io::Result<T>) -> Result<Option<T>, StoreError> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(failed) if failed.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(failed) => Err(error(path, 0)(failed)),
    }
}

impl BlobStore for FolderStore {
    fn create(&self, blob: BlobId, bytes: u64, reserve: u64) -> Opened {
        let open = |path: PathBuf| -> Result<Option<ComingFile>, StoreError> {
            let Some(about) = if_there(&path, fs::metadata(&path))? else { return Ok(None) };
            if about.permissions().mode() & 0o777 == UNKNOWN_MODE {
                set_mode(&path, MODE)?;
            }
            let there = if_there(&path, OpenOptions::new().read(true).write(true).open(&path))?;
            let reserve = (!self.allocates).then_some(reserve);
            Ok(there.map(|file| ComingFile { blob, path, file, reserve }))
        };
        let is_whole = |file: &ComingFile| file.length().is_ok_and(|length| length == bytes);
        if let Some(whole) = open(self.kept(blob))?.filter(is_whole) {
            let left = self.coming(blob);
            if_there(&left, fs::remove_file(&left))?;
            return Ok(Arc::new(whole));
        }
        match open(self.coming(blob))? {
            Some(coming) => Ok(Arc::new(coming)),
            None => Ok(Arc::new(self.new_coming(blob, bytes, reserve)?)),
        }
    }

    fn keep(&self, blob: BlobId) -> Result<(), StoreError> {
        let (from, to) = (self.coming(blob), self.kept(blob));
        make_folder(to.parent().expect("it is in a folder"), 0o700)?;
        if if_there(&from, fs::rename(&from, &to))?.is_none() && !to.exists() {
            return Err(StoreError::Missing { blob });
        }
        files::sync_folder(&to).map_err(error(&to, 0))?;
        files::sync_folder(&from).map_err(error(&from, 0))
    }

    fn open(&self, blob: BlobId) -> Result<Arc<dyn Kept>, StoreError> {
        let path = self.kept(blob);
        let file = if_there(&path, File::open(&path))?.ok_or(StoreError::Missing { blob })?;
        let length = file.metadata().map_err(error(&path, 0))?.len();
        Ok(Arc::new(KeptFile { path, file, length }))
    }

    fn remove(&self, blob: BlobId, place: Place) -> Result<bool, StoreError> {
        let path = self.path(blob, place);
        Ok(if_there(&path, fs::remove_file(&path))?.is_some())
    }

    fn sync_removed(&self, blobs: &[BlobId]) -> Result<(), StoreError> {
        let paths = blobs.iter().flat_map(|blob| [self.coming(*blob), self.kept(*blob)]);
        let one_of_each: BTreeMap<PathBuf, PathBuf> = paths
            .filter_map(|path| Some((path.parent()?.to_owned(), path)))
            .filter(|(folder, _)| folder.is_dir())
            .collect();
        one_of_each.values().try_for_each(|path| files::sync_folder(path).map_err(error(path, 0)))
    }

    fn mark(&self, blob: BlobId, place: Place, unknown_ms: Option<i64>) -> Result<(), StoreError> {
        let path = self.path(blob, place);
        let Some(since_ms) = unknown_ms else { return set_mode(&path, MODE) };
        let Some(file) = if_there(&path, File::open(&path))? else { return Ok(()) };
        let since = UNIX_EPOCH + Duration::from_millis(since_ms.max(0).unsigned_abs());
        file.set_modified(since).map_err(error(&path, 0))?;
        set_mode(&path, UNKNOWN_MODE)
    }

    fn look_up(&self, blob: BlobId) -> Result<Option<Listed>, StoreError> {
        for (path, place) in [(self.kept(blob), Place::Kept), (self.coming(blob), Place::Coming)] {
            if let Some(about) = if_there(&path, fs::metadata(&path))? {
                return Ok(Some(listed(blob, place, &about)));
            }
        }
        Ok(None)
    }

    fn list(&self, first: RangeInclusive<u8>) -> Result<Vec<Listed>, StoreError> {
        let mut all = Vec::new();
        // Coming ones first: one that is kept meanwhile is listed twice, and not left out.
        self.listed(&self.root.join(COMING), Place::Coming, &mut all)?;
        all.retain(|one| first.contains(&one.blob.0[0]));
        for entry in fs::read_dir(&self.root).map_err(error(&self.root, 0))? {
            let name = entry.map_err(error(&self.root, 0))?.file_name();
            let is_its = |name, byte| first.contains(&byte) && format!("{byte:02x}") == name;
            let is_one = |name| u8::from_str_radix(name, 16).is_ok_and(|byte| is_its(name, byte));
            let folder = self.root.join(&name);
            if name.to_str().is_some_and(is_one) && folder.is_dir() {
                self.listed(&folder, Place::Kept, &mut all)?;
            }
        }
        Ok(all)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        File::open(&self.root).and_then(|root| free_bytes(&root)).map_err(error(&self.root, 0))
    }
}

impl Coming for ComingFile {
    fn append_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let length = self.length()?;
        if offset > length {
            return Err(StoreError::Hole { blob: self.blob, length, offset });
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if let Some(reserve) = self.reserve.filter(|_| offset / LOOK_BYTES != end / LOOK_BYTES)
            && free_bytes(&self.file).map_err(error(&self.path, 0))? < reserve
        {
            return Err(StoreError::Full { bytes: bytes.len() as u64 });
        }
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(error(&self.path, bytes.len() as u64))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(error(&self.path, 0))
    }

    fn length(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata().map_err(error(&self.path, 0))?.len())
    }
}

impl Kept for KeptFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(failed) if failed.kind() == io::ErrorKind::Interrupted => {}
                Err(failed) => return Err(error(&self.path, 0)(failed)),
            }
        }
        Ok(read)
    }

    fn length(&self) -> u64 {
        self.length
    }
}
