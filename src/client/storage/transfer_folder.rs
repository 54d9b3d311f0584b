//! Transfers on disk, so that they continue after a restart: for each a file (0600) under a key
//! that only the user's own key opens, and for an upload its digests and a picture without its
//! metadata. A client that works on a transfer holds a lock on its file.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::chat::{BlobId, Descriptor, MsgId, Seq, Target};
use crate::client::transfer::{Place, ToSend};
use crate::crypto::at_rest;
use crate::file::{FileError, make_folder, replace_locked, turn};
use crate::system::files;
use crate::system::fs::{self, File};

/// Bytes of a file: a descriptor with its caption, and a path.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Transfers that are read at the start of a client.
const TRANSFERS_MAX: usize = 1_000;
/// Transfers of scripts are removed after this time: the server has removed their files by then.
const SCRIPT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

const STATE: &str = "state";
const DIGESTS: &str = "digests";
const PICTURE: &str = "picture";

/// A transfer as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub enum Stored {
    Upload(Box<StoredUpload>),
    Download { from: Target, seq: Seq, place: Place },
}

#[derive(Clone, Serialize, Deserialize)]
pub struct StoredUpload {
    pub send: ToSend,
    pub message: MsgId,
    pub file: Descriptor,
    /// Size and time of the file at `send.path`.
    pub stamp: (u64, u64, i64),
    /// It belongs to a script, and only the same command continues it.
    pub is_script: bool,
}

/// Why a transfer is not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("this client or another one of yours already transfers the file: wait for it")]
    InUse,
}

/// A stored transfer of this client; the lock ends with it.
pub struct Held {
    blob: BlobId,
    files: TransferFiles,
    _lock: File,
}

impl Held {
    /// The file that is transferred.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// The files beside its state.
    pub fn files(&self) -> &TransferFiles {
        &self.files
    }

    /// Removes all files of the transfer.
    pub fn remove(self) {
        self.files.remove();
    }
}

/// The folder of transfers of one server.
pub struct TransferFolder {
    folder: PathBuf,
    /// The folder of pictures, which are not encrypted.
    pictures: PathBuf,
    key: Zeroizing<[u8; 32]>,
}

impl TransferFolder {
    /// `stem` is the path of the server's files, without extension.
    pub fn new(stem: &Path, key: Zeroizing<[u8; 32]>) -> TransferFolder {
        let folder = stem.with_extension("transfers");
        TransferFolder { pictures: folder.clone(), folder, key }
    }

    /// Sets another folder for the pictures. It may be empty in the next run: a picture is then
    /// made again from the file.
    pub fn with_pictures(self, pictures: PathBuf) -> TransferFolder {
        TransferFolder { pictures, ..self }
    }

    /// The folder of pictures, also of those that are fetched to be shown.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn pictures(&self) -> Result<&Path, FileError> {
        make_folder(&self.pictures, 0o700)?;
        Ok(&self.pictures)
    }

    /// The files of a new upload, which must be there before its state is.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn place(&self, blob: BlobId) -> Result<TransferFiles, FileError> {
        make_folder(&self.folder, 0o700)?;
        make_folder(&self.pictures, 0o700)?;
        Ok(self.files(&self.stem(blob)))
    }

    /// Stores a transfer.
    ///
    /// # Errors
    /// The file cannot be written, or another client works on the same transfer.
    pub fn store(&self, blob: BlobId, stored: &Stored) -> Result<Held, StoreError> {
        make_folder(&self.folder, 0o700)?;
        let _turn = self.turn()?;
        let stem = self.stem(blob);
        let path = stem.with_extension(STATE);
        let there = files::open_own(&path).map_err(FileError::io(&path))?;
        if there.is_some_and(|file| files::try_lock(&file).is_ok_and(|free| !free)) {
            return Err(StoreError::InUse);
        }
        let text = serde_json::to_vec(stored).map(Zeroizing::new);
        let text = text.map_err(|error| FileError::damaged(&path, error))?;
        let sealed = at_rest::lock(&self.key, &text);
        if sealed.len() as u64 > FILE_BYTES_MAX {
            return Err(FileError::damaged(&path, "it would be larger than a client reads").into());
        }
        let lock = replace_locked(&path, &sealed, 0o600)?;
        Ok(Held { blob, files: self.files(&stem), _lock: lock })
    }

    /// Takes those transfers `of` a kind that no running client holds. Old ones of scripts are
    /// removed. A client that starts at the same time waits for the lock of the folder: it would
    /// otherwise skip transfers that this client only inspects.
    pub fn left(&self, of: impl Fn(&Stored) -> bool) -> Vec<(Held, Stored)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        // Without a turn there is no room for a file either.
        let Ok(_turn) = self.turn() else { return Vec::new() };
        let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.iter().for_each(|path| sweep(path));
        let states = paths.iter().filter(|path| path.extension().is_some_and(|it| it == STATE));
        let left = states.take(TRANSFERS_MAX).filter_map(|path| self.take(path));
        left.filter(|(_, stored)| of(stored)).collect()
    }

    /// Serialises the clients of a user while they take and store transfers.
    fn turn(&self) -> Result<File, FileError> {
        turn(&self.folder.with_extension("transfers.lock"))
    }

    fn take(&self, path: &Path) -> Option<(Held, Stored)> {
        let lock = files::open_own(path).ok()??;
        if !files::try_lock(&lock).ok()? {
            return None;
        }
        let mut sealed = Vec::new();
        Read::by_ref(&mut &lock).take(FILE_BYTES_MAX).read_to_end(&mut sealed).ok()?;
        let stored = at_rest::unlock(&self.key, &sealed)
            .and_then(|text| serde_json::from_slice::<Stored>(&text).ok());
        let age = age(path);
        let is_old = match &stored {
            Some(Stored::Upload(upload)) => upload.is_script && age > SCRIPT_AGE,
            Some(Stored::Download { .. }) => false,
            None => age > SCRIPT_AGE,
        };
        let stem = path.with_extension("");
        let files = self.files(&stem);
        if is_old {
            files.remove();
            return None;
        }
        let blob = stem.file_name()?.to_str()?.parse().ok()?;
        Some((Held { blob, files, _lock: lock }, stored?))
    }

    fn files(&self, stem: &Path) -> TransferFiles {
        let picture = self.pictures.join(stem.file_name().unwrap_or_default());
        TransferFiles { stem: stem.to_owned(), picture: picture.with_extension(PICTURE) }
    }

    fn stem(&self, blob: BlobId) -> PathBuf {
        self.folder.join(blob.to_string())
    }
}

/// The files of one transfer: its state, and those of an upload.
pub struct TransferFiles {
    stem: PathBuf,
    picture: PathBuf,
}

impl TransferFiles {
    /// The record of the digests of an upload.
    pub fn digests(&self) -> PathBuf {
        self.stem.with_extension(DIGESTS)
    }

    /// A picture without its metadata.
    pub fn picture(&self) -> &Path {
        &self.picture
    }

    /// Removes the files: the state with the secret first, so that nothing is sealed again.
    pub fn remove(&self) {
        for path in [&self.stem.with_extension(STATE), &self.picture, &self.digests()] {
            // What cannot be removed is harmless without its secret.
            let _ = fs::remove_file(path);
        }
    }
}

/// Time since a file was written.
fn age(path: &Path) -> Duration {
    let at = fs::metadata(path).and_then(|about| about.modified()).ok();
    at.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}

/// Removes an old file that belongs to no transfer: a first pass, or the fetch of a picture to be
/// shown, was interrupted.
fn sweep(path: &Path) {
    if fs::metadata(path.with_extension(STATE)).is_err() && age(path) > SCRIPT_AGE {
        // What cannot be removed is tried again at the next start.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn download() -> Stored {
        let place = Place::Downloads;
        Stored::Download { from: "#lobby".parse().unwrap(), seq: Seq(1), place }
    }

    fn folder(home: &tempfile::TempDir) -> TransferFolder {
        TransferFolder::new(&home.path().join("server"), Zeroizing::new([7; 32]))
    }

    #[test]
    fn a_transfer_is_stored_and_taken_by_one_client() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (folder(&home), folder(&home));
        let held = one.store(BlobId([1; 16]), &download()).unwrap();
        let stored = other.store(BlobId([1; 16]), &download());
        assert!(matches!(stored, Err(StoreError::InUse)));
        assert_eq!(other.left(|_| true).len(), 0);
        drop(held);
        assert_eq!(other.left(|_| false).len(), 0);
        let left = other.left(|_| true);
        assert_eq!((left.len(), left[0].0.blob()), (1, BlobId([1; 16])));
        assert_eq!(one.left(|_| true).len(), 0);
        left.into_iter().for_each(|(held, _)| held.remove());
        assert_eq!(one.left(|_| true).len(), 0);
        drop(one.store(BlobId([1; 16]), &download()).unwrap());
    }

    /// A script searches for its own transfers while another client starts.
    #[test]
    fn a_client_finds_what_another_one_only_looks_at() {
        let home = tempfile::tempdir().unwrap();
        for number in 0..8 {
            drop(folder(&home).store(BlobId([number; 16]), &download()).unwrap());
        }
        thread::scope(|scope| {
            let looks = || (0..200).for_each(|_| assert!(folder(&home).left(|_| false).is_empty()));
            scope.spawn(looks);
            scope
                .spawn(|| (0..200).for_each(|_| assert_eq!(folder(&home).left(|_| true).len(), 8)));
        });
    }
}
