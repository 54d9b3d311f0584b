//! Errors of the ledger.

use std::path::PathBuf;

/// An error of the storage engine.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The cause of an error of the storage engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineFault {
    /// The disk is full or fails.
    Disk,
    /// The structure of the file is not as it was written, or it is no file of the engine.
    File,
    Other,
}

/// An error of the ledger. Names the file, never a text.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{}: {error}", path.display())]
    Engine { path: PathBuf, error: Cause, kind: EngineFault },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    /// A row is not as it was written.
    #[error("{}: damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "{} was written by a newer pychat (schema {found}, this one knows {known})",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// A reader does not convert a file. The start of a server does.
    #[error(
        "{} is of an older pychat (schema {found}): start the server once, which converts it",
        path.display()
    )]
    Older { path: PathBuf, found: i64 },
    /// The layout of schema 1 before the first release.
    #[error("{} is of a layout from before pychat's first release, which nothing converts", path.display())]
    Unreleased { path: PathBuf },
    /// The sync of a commit failed: the records may be stored or not.
    #[error("{}: the disk failed while it synced: {error}", path.display())]
    InDoubt { path: PathBuf, error: Cause },
    /// After a failed sync nothing is certain until the file is opened again.
    #[error("{}: a sync failed before; the server must be started again", path.display())]
    Poisoned { path: PathBuf },
}

impl LedgerError {
    /// Returns whether the disk is full or fails; the file may be sound.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, LedgerError::Engine { kind: EngineFault::Disk, .. })
    }

    /// Returns whether the file was read and is not as it was written. Without memory, descriptors
    /// or a disk that works, a sound file fails too.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            LedgerError::Damaged { .. } | LedgerError::Engine { kind: EngineFault::File, .. }
        )
    }
}
