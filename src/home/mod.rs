//! A server's home on disk: config.json, users/, keys/ and data/.

mod audit;
pub mod file;
pub mod json_file;
pub mod known;
#[cfg(feature = "server")]
mod ledger_head;
pub mod sanctions;
mod seniority;
mod server_keys;
mod settings;
mod users;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use audit::{Audit, AuditEntry, AuditError, Decision};
pub use file::FileError;
#[cfg(feature = "server")]
pub use ledger_head::{LedgerHead, LedgerHeadFile};
pub use server_keys::{KeyStamp, RotateError, ServerKeys};
pub use settings::Settings;
pub use users::{
    AddError, Folder, Reason, Rejected, Users, UsersWatch, add, may_add, remove, remove_key,
    similar, succeed,
};

use crate::system::files;

/// The folder that `--home` names.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
}

/// The home belongs to this process.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// The home is somebody else's.
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

    /// What operators have decided while the server ran.
    pub fn decisions_file(&self) -> PathBuf {
        self.dir.join("data").join("sanctions.json")
    }

    /// The certificates that people have published.
    pub fn certificates_file(&self) -> PathBuf {
        self.dir.join("data").join("certificates.json")
    }

    /// What the server remembers of people's keys.
    pub fn known_file(&self) -> PathBuf {
        self.dir.join(seniority::KEYS_FILE)
    }

    /// Where people have logged in from lately.
    pub fn sources_file(&self) -> PathBuf {
        self.dir.join("data").join("sources.json")
    }

    /// Tickets of devices that have come in by a password.
    pub fn tickets_file(&self) -> PathBuf {
        self.dir.join("data").join("tickets.json")
    }

    /// Where the ledger is on disk.
    pub fn ledger_file(&self) -> PathBuf {
        self.dir.join("data").join("ledger.db")
    }

    /// How far the ledger has been.
    pub fn ledger_head_file(&self) -> PathBuf {
        self.key_path("ledger.head")
    }

    /// Whether a server has run here before: it has left what its ledger or its audit trail was.
    pub fn was_used(&self) -> bool {
        self.ledger_head_file().exists() || self.key_path("audit.head").exists()
    }

    /// Whether there is no ledger, or a file with nothing in it.
    pub fn lacks_ledger(&self) -> bool {
        fs::metadata(self.ledger_file()).map_or(true, |about| about.len() == 0)
    }

    /// Takes the home for this process alone, until the lock is dropped.
    pub fn lock(&self) -> Result<HomeLock, LockError> {
        let path = self.dir.join("data").join("lock");
        let open = files::private().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|error| LockError::Io { path: path.clone(), error })?;
        match files::try_lock(&file) {
            Ok(true) => Ok(HomeLock { _file: file }),
            Ok(false) => Err(LockError::Taken { dir: self.dir.clone() }),
            Err(error) => Err(LockError::Io { path, error }),
        }
    }

    /// Makes the folders that are missing; keys/ and data/ are for the operator's eyes only.
    pub fn make_folders(&self) -> Result<(), FileError> {
        file::make_folder(&self.users_dir(), 0o755)?;
        file::make_folder(&self.dir.join("keys"), 0o700)?;
        file::make_folder(&self.dir.join("data"), 0o700)
    }
}
