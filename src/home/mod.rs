//! A server's home on disk: config.json, users/, keys/ and data/.

mod audit;
#[cfg(feature = "server")]
mod decided;
pub mod known;
#[cfg(feature = "server")]
mod ledger_head;
#[cfg(feature = "server")]
mod reserve;
pub mod sanctions;
mod seniority;
mod server_keys;
mod settings;
#[cfg(feature = "server")]
mod ticket_keys;
mod users;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use audit::{Audit, AuditEntry, AuditError, Decision};
#[cfg(feature = "server")]
pub use decided::{Decided, Rest};
#[cfg(feature = "server")]
pub use ledger_head::{LedgerHead, LedgerHeadFile, LedgerHeads};
#[cfg(feature = "server")]
pub use reserve::Reserve;
pub use server_keys::{KeyStamp, RotateError, ServerKeys};
pub use settings::Settings;
#[cfg(feature = "server")]
pub use ticket_keys::TicketKeys;
pub use users::{
    AddError, Folder, Reason, Rejected, Users, UsersWatch, add, finish_rename, may_add, may_rename,
    remove, remove_key, rename, similar, succeed,
};

use crate::file::{self, FileError};
use crate::system::files;

/// The folders of a home that the server creates.
const FOLDERS: [&str; 4] = ["users", "keys", "data", "data/files"];

/// The folder of a server, named by `--home`.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
}

/// The lock on a home that this process holds.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Another process uses the home.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("a server runs in {} already", dir.display())]
    Taken { dir: PathBuf },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
}

impl Home {
    pub fn new(dir: impl Into<PathBuf>) -> Home {
        Home { dir: dir.into() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    pub fn users_dir(&self) -> PathBuf {
        self.dir.join("users")
    }

    pub fn server_key_file(&self) -> PathBuf {
        self.key_path("server.pem")
    }

    fn key_path(&self, file: &str) -> PathBuf {
        self.dir.join("keys").join(file)
    }

    pub fn ctl_socket(&self) -> PathBuf {
        self.dir.join("data").join("ctl.sock")
    }

    /// Path of the operators' decisions while the server runs.
    pub fn decisions_file(&self) -> PathBuf {
        self.dir.join("data").join("sanctions.json")
    }

    /// Path of the users' published certificates.
    pub fn certificates_file(&self) -> PathBuf {
        self.dir.join("data").join("certificates.json")
    }

    /// Path of the keys that the server has seen.
    pub fn known_file(&self) -> PathBuf {
        self.dir.join(seniority::KEYS_FILE)
    }

    /// Path of the addresses of recent logins.
    pub fn sources_file(&self) -> PathBuf {
        self.dir.join("data").join("sources.json")
    }

    /// Path of the tickets of devices that have logged in with a password.
    pub fn tickets_file(&self) -> PathBuf {
        self.dir.join("data").join("tickets.json")
    }

    /// The folder of encrypted files.
    pub fn files_dir(&self) -> PathBuf {
        self.dir.join("data").join("files")
    }

    /// Path of the ledger.
    pub fn ledger_file(&self) -> PathBuf {
        self.dir.join("data").join("ledger.db")
    }

    /// Space that the server keeps for a full disk.
    pub fn reserve_file(&self) -> PathBuf {
        self.dir.join("data").join("reserve")
    }

    /// Path of the ledger's recorded state.
    pub fn ledger_head_file(&self) -> PathBuf {
        self.key_path("ledger.head")
    }

    /// Returns whether a server has run here before, which leaves the heads of the ledger and of
    /// the audit trail, the trail, and the keys that it has seen.
    pub fn was_used(&self) -> bool {
        let trail = self.dir.join("data").join("audit.jsonl");
        let left = [self.ledger_head_file(), self.key_path("audit.head"), trail, self.known_file()];
        left.iter().any(|file| file.exists())
    }

    /// Returns whether the ledger is missing or an empty file.
    pub fn lacks_ledger(&self) -> bool {
        fs::metadata(self.ledger_file()).map_or(true, |about| about.len() == 0)
    }

    /// Returns whether a path, relative to the home, is reserved for a file or folder of the server
    /// or its operator.
    pub fn has_own(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return true };
        // A folder that is not there has no file either.
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let home = real(&self.dir);
        let path = self.dir.join(path);
        let folder = real(path.parent().unwrap_or(&self.dir));
        // The target of a link may be a file of the home, also one that does not exist yet.
        let target = match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::read_link(&path).map(|target| folder.join(target))
            }
            found => found,
        };
        if target.is_ok_and(|target| target != path && self.has_own(&target)) {
            return true;
        }
        if FOLDERS.iter().any(|own| folder.join(&*name) == home.join(own)) {
            return true;
        }
        let is_record = [".json", ".jsonl", ".sock"].iter().any(|end| name.ends_with(end));
        let is_of_data =
            name.starts_with("ledger.") || is_record || ["lock", "reserve"].contains(&&*name);
        ["keys", "users", "data/files"].iter().any(|own| folder.starts_with(home.join(own)))
            || folder == home.join("data") && is_of_data
            || folder == home && name == "config.json"
    }

    /// Returns whether the server creates the folder at this path.
    pub fn makes(&self, folder: &Path) -> bool {
        FOLDERS.iter().any(|own| self.dir.join(own) == folder)
    }

    /// Locks the home for this process, until the lock is dropped.
    pub fn lock(&self) -> Result<HomeLock, LockError> {
        let path = self.lock_file();
        let open = files::private().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|error| LockError::Io { path: path.clone(), error })?;
        match files::try_lock(&file) {
            Ok(true) => Ok(HomeLock { _file: file }),
            Ok(false) => Err(LockError::Taken { dir: self.dir.clone() }),
            Err(error) => Err(LockError::Io { path, error }),
        }
    }

    /// Whether a server runs here. Unlike `lock`, it makes no file.
    ///
    /// # Errors
    /// The file of the lock cannot be read.
    pub fn is_locked(&self) -> Result<bool, LockError> {
        let path = self.lock_file();
        let taken = match files::open_to_read(&path) {
            Ok(file) => files::try_lock(&file).map(|free| !free),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        taken.map_err(|error| LockError::Io { path, error })
    }

    /// Path of the file that a running server locks.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("data").join("lock")
    }

    /// The account that a file of root would be lost to: the first other one that owns the home,
    /// a folder of it or, where there is no home yet, the folder in which it would be made.
    pub fn other_owner(&self) -> Option<u32> {
        let parts = ["", "users", "keys", "data"].map(|name| self.dir.join(name));
        let above = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let above = above.ancestors().find(|folder| folder.exists()).map(Path::to_owned);
        let owners = parts.iter().chain(&above).filter_map(|path| files::owner(path));
        owners.into_iter().find(|owner| *owner != 0)
    }

    /// Creates missing folders. keys/ and data/ are accessible to the operator only.
    pub fn make_folders(&self) -> Result<(), FileError> {
        file::make_folder(&self.users_dir(), 0o755)?;
        file::make_folder(&self.dir.join("keys"), 0o700)?;
        file::make_folder(&self.dir.join("data"), 0o700)
    }
}
