//! Files: their modes, and locks that end with their holder.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::NamedTempFile;

/// Who may read a key, for a person.
pub const READERS: &str = "0600";

/// Options that make a file for its owner alone.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Creates a folder, and those above it, where they are missing. A loss of power after this does
/// not undo it.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|folder| !is_folder(folder)).collect();
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    missing.into_iter().try_for_each(sync_folder)
}

fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// Syncs the folder of a file, so that a new or renamed file has its name after a loss of power.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    match synced.as_ref().map_err(io::Error::kind) {
        // Some file systems cannot sync a folder, and some folders may be written but not read.
        Err(ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            Ok(())
        }
        _ => synced,
    }
}

/// What a new file with this mode is made with.
pub fn permissions(mode: u32) -> Option<Permissions> {
    Some(Permissions::from_mode(mode))
}

/// Puts a file in the place of the one that may be there. A loss of power after this does not bring
/// the old one back.
pub fn put(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map_err(|failed| failed.error)?;
    sync_folder(path)
}

/// Opens a file to read it; a pipe in its place does not hold the reader up.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

/// The mode of a file that others than its owner may use.
pub fn exposed(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Tells a file from another one that is put in its place.
pub fn stamp(about: &Metadata) -> (u64, i64) {
    (about.ino(), about.mtime_nsec() ^ about.mtime())
}

/// Waits for a file's lock, which ends with the file's being closed.
pub fn lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::LockExclusive)?)
}

/// Whether the lock could be had at once.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
