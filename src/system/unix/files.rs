//! File modes, and locks that end with their holder.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::system::reserve;

/// Permissions of a key file, for display.
pub const READERS: &str = "0600";

/// Options that create a file for its owner only.
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

/// Returns the permissions of a new file with this mode.
pub fn permissions(mode: u32) -> Option<Permissions> {
    Some(Permissions::from_mode(mode))
}

/// Atomically replaces a file, and syncs its folder.
pub fn put(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map_err(|failed| failed.error)?;
    sync_folder(path)
}

/// Opens a file for reading. Does not block on a pipe at its path.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

/// Returns what a path leads to that is no regular file.
pub fn irregular(about: &Metadata) -> Option<&'static str> {
    let kind = about.file_type();
    match kind {
        _ if kind.is_file() => None,
        _ if kind.is_dir() => Some("a folder"),
        _ if kind.is_fifo() => Some("a pipe"),
        _ if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

/// Opens a file that another run has created for its owner only, for reading and writing. `None`
/// if there is none. A link, and what is not such a file, is an error: others may have put it
/// there. On a file system without modes, such as FAT, the mode is ignored.
pub fn open_own(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let about = file.metadata()?;
    let is_own = about.is_file() && belongs_to_user(&about) && about.nlink() == 1;
    match is_own && (is_private(&about) || !has_modes(path).unwrap_or(false)) {
        true => Ok(Some(file)),
        false => Err(io::Error::new(ErrorKind::AlreadyExists, "it belongs to somebody else")),
    }
}

/// Opens a file for text that only its owner can read, and creates it if it is missing. Returns
/// whether it is new. Fails if the path is not a file, or if others own the file or can access it.
/// The mode is ignored only if a new file beside it shows that the file system has no modes.
pub fn open_to_append(path: &Path) -> io::Result<(File, bool)> {
    match private().append(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        other => return other.map(|file| (file, true)),
    }
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().append(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if let Some(what) = irregular(&about) {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what}")));
    }
    if !belongs_to_user(&about) {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it belongs to somebody else"));
    }
    match is_private(&about) || !has_modes(path).unwrap_or(true) {
        true => Ok((file, false)),
        false => {
            let problem = "others can access it: run chmod 600 on it";
            Err(io::Error::new(ErrorKind::PermissionDenied, problem))
        }
    }
}

fn belongs_to_user(about: &Metadata) -> bool {
    about.uid() == rustix::process::geteuid().as_raw()
}

fn is_private(about: &Metadata) -> bool {
    about.mode() & 0o077 == 0
}

/// Returns whether a new file beside `path` gets the mode that it is created with.
fn has_modes(path: &Path) -> io::Result<bool> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let created = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    created.and_then(|new| new.as_file().metadata()).map(|about| is_private(&about))
}

/// Returns whether a path leads to an open file, and not to another one or a link.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((own.dev(), own.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Renames a file to a name that is not taken. `AlreadyExists` if it is.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            Err(_) => reserve::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// Returns the mode of a file that others may access.
pub fn exposed(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// The account that owns a file or a folder; none where it cannot be seen.
pub fn owner(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|about| about.uid())
}

/// Returns values that distinguish a file from a replacement of it.
pub fn stamp(about: &Metadata) -> (u64, i64) {
    (about.ino(), about.mtime_nsec() ^ about.mtime())
}

/// Waits for a file's lock, which ends when the file is closed.
pub fn lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::LockExclusive)?)
}

/// Tries to take a file's lock without waiting. Returns whether it succeeded.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> Option<ErrorKind> {
        open_to_append(path).err().map(|error| error.kind())
    }

    /// No account can create a file in the folder of a process's open files.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_of_others_is_not_appended_to_where_no_new_file_can_be_created() {
        use std::os::fd::AsRawFd;

        let file = NamedTempFile::new().unwrap();
        let beside = format!("/proc/self/fd/{}", file.as_file().as_raw_fd());
        let mode = |mode| fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert_eq!(refusal(Path::new(&beside)), Some(ErrorKind::PermissionDenied));
        mode(0o600);
        assert_eq!(refusal(Path::new(&beside)), None, "the control");
    }

    /// Only root can give a file away.
    #[test]
    fn a_private_file_of_another_account_is_not_appended_to() {
        const ANOTHER: u32 = 65_534;
        let file = NamedTempFile::new().unwrap();
        assert_eq!(refusal(file.path()), None, "the control");
        if std::os::unix::fs::chown(file.path(), Some(ANOTHER), None).is_ok() {
            assert_eq!(refusal(file.path()), Some(ErrorKind::PermissionDenied));
        }
    }
}
