//! Files in memory, with the functions of the standard library that the client uses. The Worker
//! loads them at its start and stores the changes after each call. Folders exist as soon as they
//! have files. The browser keeps the bytes of the files in one folder, which a user has chosen or
//! which arrive.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A file is stored in parts of this size: a change writes only those that it touches, in bytes.
pub const PART_BYTES: usize = 64 << 10;
/// All files together, in bytes. A search log has at most a quarter of it.
const DISK_BYTES_MAX: usize = 256 << 20;
/// The folder of files whose bytes are outside of this memory. The Worker stores copies of those
/// that the user has chosen, in the clear.
pub const OUTSIDE: &str = "/outside";
/// Maximum bytes of the files that arrive there, all together.
const OUTSIDE_BYTES_MAX: u64 = 2 << 30;

/// The browser's store for the bytes of those files, by their number.
pub trait Outside: Send + Sync {
    /// Reads bytes from a position of a file.
    ///
    /// # Errors
    /// The browser cannot read the file.
    fn read(&self, number: u32, from: u64, into: &mut [u8]) -> io::Result<()>;

    /// Adds bytes at the end of a file.
    ///
    /// # Errors
    /// The browser cannot store more.
    fn append(&self, number: u32, bytes: &[u8]) -> io::Result<()>;

    /// Removes the bytes of a file that no longer exists.
    fn forget(&self, number: u32);
}

static STORE: OnceLock<Box<dyn Outside>> = OnceLock::new();
static NUMBERS: AtomicU32 = AtomicU32::new(1);
/// Bytes of the files that have arrived outside and still exist.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Sets the browser's store, once.
pub fn set_outside(store: Box<dyn Outside>) {
    // The Worker starts the client once.
    let _ = STORE.set(store);
}

/// Creates a file at a path for a file that the user has chosen. Returns its number, under which
/// the store has the bytes.
pub fn put(path: PathBuf, bytes: u64) -> u32 {
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let outer = Outer { number, bytes, arrived: 0 };
    let content = Content { outer: Some(outer), ..Content::default() };
    disk().files.insert(path, Arc::new(Node(Mutex::new(content))));
    number
}

/// Returns the number of a file outside.
pub fn outside(path: &Path) -> Option<u32> {
    let node = disk().files.get(path).cloned()?;
    node.content().outer.as_ref().map(|outer| outer.number)
}

static DISK: Mutex<Disk> = Mutex::new(Disk { files: BTreeMap::new(), stored: BTreeMap::new() });
/// Bytes of all files.
static BYTES: AtomicUsize = AtomicUsize::new(0);

struct Disk {
    files: BTreeMap<PathBuf, Arc<Node>>,
    /// The files that the Worker has, by their path.
    stored: BTreeMap<PathBuf, Arc<Node>>,
}

/// The content of a file, whatever its path is.
#[derive(Default)]
struct Node(Mutex<Content>);

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// The first byte that the Worker does not have.
    changed_from: Option<usize>,
    is_locked: bool,
    /// The bytes are outside instead of in `bytes`.
    outer: Option<Outer>,
}

/// Bytes outside of this memory.
struct Outer {
    number: u32,
    bytes: u64,
    /// The part of `bytes` that is counted in `ARRIVED`.
    arrived: u64,
}

impl Outer {
    fn read(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.bytes.saturating_sub(position).min(into.len() as u64) as usize;
        if rest > 0 {
            store()?.read(self.number, position, &mut into[..rest])?;
        }
        Ok(rest)
    }

    fn append(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        if position != self.bytes {
            return Err(ErrorKind::Unsupported.into());
        }
        let count = bytes.len() as u64;
        if ARRIVED.load(Ordering::Relaxed) + count > OUTSIDE_BYTES_MAX {
            return Err(ErrorKind::StorageFull.into());
        }
        store()?.append(self.number, bytes)?;
        ARRIVED.fetch_add(count, Ordering::Relaxed);
        (self.bytes, self.arrived) = (self.bytes + count, self.arrived + count);
        Ok(())
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        ARRIVED.fetch_sub(self.arrived, Ordering::Relaxed);
        if let Ok(store) = store() {
            store.forget(self.number);
        }
    }
}

fn store() -> io::Result<&'static dyn Outside> {
    STORE.get().map(|store| &**store).ok_or_else(|| ErrorKind::Unsupported.into())
}

/// What the Worker has to store.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The content from a multiple of `PART_BYTES` on, up to the end of the file.
    Write {
        path: PathBuf,
        from: usize,
        bytes: Vec<u8>,
    },
    Remove(PathBuf),
}

/// Adds a file that the Worker has stored.
pub fn load(path: PathBuf, bytes: Vec<u8>) {
    BYTES.fetch_add(bytes.len(), Ordering::Relaxed);
    let content = Content { bytes, ..Content::default() };
    let node = Arc::new(Node(Mutex::new(content)));
    let mut disk = disk();
    disk.files.insert(path.clone(), Arc::clone(&node));
    disk.stored.insert(path, node);
}

/// Takes what has changed since the last call.
pub fn take_changes() -> Vec<Change> {
    let mut disk = disk();
    let Disk { files, stored } = &mut *disk;
    let gone: Vec<_> = stored.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
    let mut changes: Vec<_> = gone.into_iter().map(Change::Remove).collect();
    for (path, node) in files.iter().filter(|(path, _)| !path.starts_with(OUTSIDE)) {
        let is_other = stored.get(path).is_none_or(|known| !Arc::ptr_eq(known, node));
        let mut content = node.content();
        let from = content.changed_from.take();
        let Some(from) = (if is_other { Some(0) } else { from }) else { continue };
        let from = from.min(content.bytes.len()) / PART_BYTES * PART_BYTES;
        let bytes = content.bytes[from..].to_vec();
        changes.push(Change::Write { path: path.clone(), from, bytes });
    }
    let inside = files.iter().filter(|(path, _)| !path.starts_with(OUTSIDE));
    *stored = inside.map(|(path, node)| (path.clone(), Arc::clone(node))).collect();
    changes
}

fn disk() -> MutexGuard<'static, Disk> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// The empty content of a new file.
    fn at(path: &Path) -> Node {
        let number = || NUMBERS.fetch_add(1, Ordering::Relaxed);
        let outer =
            path.starts_with(OUTSIDE).then(|| Outer { number: number(), bytes: 0, arrived: 0 });
        Node(Mutex::new(Content { outer, ..Content::default() }))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.content().bytes.len(), Ordering::Relaxed);
    }
}

impl Content {
    fn bytes(&self) -> u64 {
        self.outer.as_ref().map_or(self.bytes.len() as u64, |outer| outer.bytes)
    }

    fn resize(&mut self, bytes: usize) -> io::Result<()> {
        if let Some(outer) = &self.outer {
            let is_same = outer.bytes == bytes as u64;
            return if is_same { Ok(()) } else { Err(ErrorKind::Unsupported.into()) };
        }
        let before = self.bytes.len();
        let others = BYTES.load(Ordering::Relaxed) - before;
        if bytes > before && bytes > DISK_BYTES_MAX - others.min(DISK_BYTES_MAX) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.resize(bytes, 0);
        BYTES.store(others + bytes, Ordering::Relaxed);
        if bytes != before {
            self.changes(before.min(bytes));
        }
        Ok(())
    }

    fn changes(&mut self, from: usize) {
        self.changed_from = Some(self.changed_from.map_or(from, |before| before.min(from)));
    }
}

/// An open file.
pub struct File {
    node: Arc<Node>,
    position: AtomicUsize,
    may_write: bool,
    holds_lock: Mutex<bool>,
}

impl File {
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.writable()?;
        let bytes = usize::try_from(bytes).map_err(|_| ErrorKind::StorageFull)?;
        self.node.content().resize(bytes)
    }

    /// The Worker stores all changes before anything is sent.
    pub fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    pub fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        let node = Arc::as_ptr(&self.node).addr();
        Ok(Metadata { bytes: self.node.content().bytes(), node })
    }

    pub fn is_same(&self, other: &File) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }

    pub fn try_lock(&self) -> bool {
        let mut holds = self.holds_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = self.node.content();
        if content.is_locked && !*holds {
            return false;
        }
        (content.is_locked, *holds) = (true, true);
        true
    }

    fn writable(&self) -> io::Result<()> {
        if self.may_write { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }

    fn read_at(&self, position: usize, into: &mut [u8]) -> io::Result<usize> {
        let content = self.node.content();
        if let Some(outer) = &content.outer {
            return outer.read(position as u64, into);
        }
        let rest = content.bytes.get(position..).unwrap_or_default();
        let bytes = rest.len().min(into.len());
        into[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }
}

/// Its lock ends with it.
impl Drop for File {
    fn drop(&mut self) {
        if *self.holds_lock.lock().unwrap_or_else(PoisonError::into_inner) {
            self.node.content().is_locked = false;
        }
    }
}

impl Read for &File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let position = self.position.load(Ordering::Relaxed);
        let bytes = self.read_at(position, into)?;
        self.position.store(position + bytes, Ordering::Relaxed);
        Ok(bytes)
    }
}

impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writable()?;
        let position = self.position.load(Ordering::Relaxed);
        let end = position.checked_add(bytes.len()).ok_or(ErrorKind::StorageFull)?;
        let mut content = self.node.content();
        if let Some(outer) = &mut content.outer {
            outer.append(position as u64, bytes)?;
        } else {
            if end > content.bytes.len() {
                content.resize(end)?;
            }
            content.bytes[position..end].copy_from_slice(bytes);
            content.changes(position);
        }
        drop(content);
        self.position.store(end, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(bytes) => (0, i64::try_from(bytes).unwrap_or(i64::MAX)),
            SeekFrom::Current(by) => (self.position.load(Ordering::Relaxed) as u64, by),
            SeekFrom::End(by) => (self.node.content().bytes(), by),
        };
        let position = base.checked_add_signed(by).ok_or(ErrorKind::InvalidInput)?;
        let to = usize::try_from(position).map_err(|_| ErrorKind::InvalidInput)?;
        self.position.store(to, Ordering::Relaxed);
        Ok(position)
    }
}

/// How a file is opened.
#[derive(Clone, Default)]
pub struct OpenOptions {
    writes: bool,
    creates: bool,
    is_new: bool,
    truncates: bool,
    appends: bool,
}

impl OpenOptions {
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Each file can be read.
    pub fn read(&mut self, _reads: bool) -> &mut OpenOptions {
        self
    }

    pub fn write(&mut self, writes: bool) -> &mut OpenOptions {
        self.writes = writes;
        self
    }

    pub fn create(&mut self, creates: bool) -> &mut OpenOptions {
        self.creates = creates;
        self
    }

    pub fn create_new(&mut self, is_new: bool) -> &mut OpenOptions {
        self.is_new = is_new;
        self
    }

    /// Writes begin at the end that the file has when it is opened.
    pub fn append(&mut self, appends: bool) -> &mut OpenOptions {
        self.appends = appends;
        self
    }

    pub fn truncate(&mut self, truncates: bool) -> &mut OpenOptions {
        self.truncates = truncates;
        self
    }

    /// Opens a file, or creates it.
    ///
    /// # Errors
    /// There is none, or it has to be a new one and is not.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let mut disk = disk();
        let there = disk.files.get(path.as_ref()).cloned();
        let node = match there {
            Some(_) if self.is_new => return Err(ErrorKind::AlreadyExists.into()),
            Some(node) => node,
            None if self.creates || self.is_new => {
                let node = Arc::new(Node::at(path.as_ref()));
                disk.files.insert(path.as_ref().to_owned(), Arc::clone(&node));
                node
            }
            None => return Err(ErrorKind::NotFound.into()),
        };
        drop(disk);
        if self.truncates {
            node.content().resize(0)?;
        }
        let start = if self.appends { node.content().bytes() as usize } else { 0 };
        let (position, holds_lock) = (AtomicUsize::new(start), Mutex::new(false));
        let may_write = self.writes || self.appends;
        Ok(File { node, position, may_write, holds_lock })
    }
}

/// What is known about a file.
pub struct Metadata {
    bytes: u64,
    /// What no other file has while this one exists.
    node: usize,
}

impl Metadata {
    pub fn len(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub fn node(&self) -> usize {
        self.node
    }

    pub fn is_file(&self) -> bool {
        true
    }

    /// Files have no times here.
    ///
    /// # Errors
    /// Always.
    pub fn modified(&self) -> io::Result<std::time::SystemTime> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Reads a whole file.
///
/// # Errors
/// There is no such file, or the browser cannot read it.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    File::open(path)?.metadata()
}

pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let mut disk = disk();
    let node = disk.files.remove(from.as_ref()).ok_or(ErrorKind::NotFound)?;
    disk.files.insert(to.as_ref().to_owned(), node);
    Ok(())
}

pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let removed = disk().files.remove(path.as_ref());
    removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
}

/// Folders are gone with their files.
pub fn remove_dir(_path: impl AsRef<Path>) -> io::Result<()> {
    Ok(())
}

pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    disk().files.retain(|file, _| !file.starts_with(path.as_ref()));
    Ok(())
}

/// An entry of a folder.
pub struct DirEntry(PathBuf);

impl DirEntry {
    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    pub fn file_name(&self) -> OsString {
        self.0.file_name().unwrap_or_default().to_owned()
    }
}

/// Lists the files and folders in a folder, which is empty if it has no files.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<std::vec::IntoIter<io::Result<DirEntry>>> {
    let path = path.as_ref();
    let mut names: Vec<PathBuf> = Vec::new();
    for file in disk().files.keys() {
        let first = file.strip_prefix(path).ok().and_then(|rest| rest.components().next());
        let entry = first.map(|name| path.join(name));
        names.extend(entry.filter(|entry| names.last() != Some(entry)));
    }
    Ok(names.into_iter().map(|name| Ok(DirEntry(name))).collect::<Vec<_>>().into_iter())
}
