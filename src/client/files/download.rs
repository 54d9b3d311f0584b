//! Downloads to disk. Verified chunks are written to a partial file (0600), which is renamed only
//! when it is complete and its hash is the sender's. After a kill at any point, the next run
//! continues the partial file.

use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::name;
use crate::chat::BlobId;
use crate::crypto::file::{
    CHUNK_BYTES, FileKey, Layout, SEALED_CHUNK_BYTES, chunk_digest, file_hash,
};
use crate::system::files;
use crate::system::fs::{self, File};

/// Files of one name in a folder.
const SAME_NAMES_MAX: u32 = 10_000;
/// Other downloads of the same file that may end while one begins.
const OPENINGS_MAX: usize = 100;

/// A file cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    /// The server, or another member, has changed it.
    #[error("what arrived is not what its sender sent: nothing of it was stored")]
    NotAsSent,
    #[error("{} has too many files named {name}", folder.display())]
    TooManyNames { folder: PathBuf, name: String },
    /// Another download writes the same file.
    #[error("{} is being written by another client: wait for it, or choose another folder", part.display())]
    InUse { part: PathBuf },
    #[error("{} was moved, replaced or changed while the file arrived", part.display())]
    Moved { part: PathBuf },
}

/// What a descriptor says of its file.
pub struct Wanted {
    pub blob: BlobId,
    pub secret: zeroize::Zeroizing<[u8; 32]>,
    pub layout: Layout,
    pub hash: [u8; 32],
}

/// A file that arrives on disk.
pub struct Download {
    part: PathBuf,
    file: File,
    check: Check,
}

/// A file that arrives on a pipe: chunks that its sender has sent are written at once.
pub struct Piped<W> {
    out: W,
    check: Check,
}

/// Verifies the chunks of a file in their order.
struct Check {
    key: FileKey,
    hash: [u8; 32],
    /// Digests of the chunks that were written.
    digests: Vec<[u8; 32]>,
    /// Number of chunks that were written, those of padding alone included.
    chunks: u64,
    /// The beginning of the next sealed chunk.
    buffer: Vec<u8>,
}

fn error(path: &Path) -> impl Fn(io::Error) -> DownloadError + use<> {
    let path = path.to_owned();
    move |error| DownloadError::Io { path: path.clone(), error }
}

impl Download {
    /// Begins the download of a file into `folder`, or goes on with what an earlier run has left
    /// there. Whole chunks stay; the rest of a chunk is fetched again.
    ///
    /// # Errors
    /// The folder cannot be written, the partial file's name is taken by another user's file, or
    /// another download writes it.
    pub fn begin(
        folder: &Path,
        file_name: &str,
        wanted: &Wanted,
    ) -> Result<Download, DownloadError> {
        let part = part_path(folder, file_name, wanted.blob);
        let file = locked(&part)?;
        let mut download = Download { part, file, check: Check::new(wanted) };
        download.go_on()?;
        Ok(download)
    }

    /// Takes over the whole chunks that are in the file.
    fn go_on(&mut self) -> Result<(), DownloadError> {
        let io = error(&self.part);
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let mut bytes = 0;
        loop {
            let wanted = self.check.next_file_bytes();
            chunk.clear();
            let mut rest = Read::by_ref(&mut self.file).take(wanted as u64);
            let read = rest.read_to_end(&mut chunk).map_err(&io)?;
            if wanted == 0 || read != wanted {
                break;
            }
            self.check.has_chunk(&chunk);
            bytes += read as u64;
        }
        self.file.set_len(bytes).map_err(&io)?;
        self.file.seek(io::SeekFrom::Start(bytes)).map(drop).map_err(io)
    }

    /// Returns the offset of the next byte of the stored file.
    pub fn offset(&self) -> u64 {
        self.check.offset()
    }

    /// Whether all bytes have arrived.
    pub fn is_whole(&self) -> bool {
        self.check.is_whole()
    }

    /// Takes the bytes at `offset`, and writes the chunks that are whole with them.
    ///
    /// # Errors
    /// A chunk is not what the sender sent, or more bytes arrive than it has sent. The disk is full
    /// or fails, or the file was cut: what arrived can be taken again after [`Download::begin`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        let Download { part, file, check } = self;
        check.take(bytes, &mut |chunk| {
            // Another program may have cut the file: the next write would leave a hole.
            let end = file.metadata().map_err(error(part))?.len();
            if file.stream_position().map_err(error(part))? != end {
                return Err(DownloadError::Moved { part: part.clone() });
            }
            file.write_all(chunk).map_err(error(part))
        })
    }

    /// Gives the whole file its name in its folder: `name`, or `name (1)` where that is taken, and
    /// so on. Returns its path. It is on disk then.
    ///
    /// # Errors
    /// Its hash is not the sender's: the file is removed. The disk fails, or all names are taken:
    /// the file stays for the next run.
    pub fn finish(self, file_name: &str) -> Result<PathBuf, DownloadError> {
        self.finish_under(&name::cleaned(file_name), name::numbered)
    }

    /// The same under a name that the user has chosen.
    ///
    /// # Errors
    /// As `finish`.
    pub fn finish_as(self, own_name: &str) -> Result<PathBuf, DownloadError> {
        self.finish_under(own_name, name::numbered_own)
    }

    fn finish_under(
        self,
        own_name: &str,
        numbered: fn(&str, u32) -> String,
    ) -> Result<PathBuf, DownloadError> {
        if !self.check.is_as_sent() {
            self.cancel();
            return Err(DownloadError::NotAsSent);
        }
        self.file.sync_all().map_err(error(&self.part))?;
        if !self.is_there() {
            return Err(DownloadError::Moved { part: self.part });
        }
        let folder = self.part.parent().unwrap_or(Path::new("."));
        for number in 0..SAME_NAMES_MAX {
            let name = match number {
                0 => own_name.to_owned(),
                _ => numbered(own_name, number),
            };
            let path = folder.join(name);
            match files::rename_new(&self.part, &path) {
                Err(failed) if failed.kind() == io::ErrorKind::AlreadyExists => {}
                Err(failed) => return Err(error(&path)(failed)),
                Ok(()) => {
                    files::sync_folder(&path).map_err(error(&path))?;
                    return Ok(path);
                }
            }
        }
        Err(DownloadError::TooManyNames { folder: folder.to_owned(), name: own_name.to_owned() })
    }

    /// Ends the download and removes what has arrived.
    pub fn cancel(self) {
        if self.is_there() {
            // A file that cannot be removed still has the name of a partial file.
            let _ = fs::remove_file(&self.part);
        }
    }

    fn is_there(&self) -> bool {
        files::is_at(&self.file, &self.part).unwrap_or(false)
    }
}

impl<W: Write> Piped<W> {
    pub fn begin(out: W, wanted: &Wanted) -> Piped<W> {
        Piped { out, check: Check::new(wanted) }
    }

    /// Returns the offset of the next byte of the stored file.
    pub fn offset(&self) -> u64 {
        self.check.offset()
    }

    /// Whether all bytes have arrived.
    pub fn is_whole(&self) -> bool {
        self.check.is_whole()
    }

    /// Takes the bytes at `offset`, and writes the chunks that are whole with them.
    ///
    /// # Errors
    /// A chunk is not what the sender sent, or the pipe is closed.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        let Piped { out, check } = self;
        check.take(bytes, &mut |chunk| out.write_all(chunk).map_err(error(Path::new("stdout"))))
    }

    /// Ends the output.
    ///
    /// # Errors
    /// The file's hash is not the sender's, or the pipe is closed.
    pub fn finish(mut self) -> Result<(), DownloadError> {
        self.out.flush().map_err(error(Path::new("stdout")))?;
        if self.check.is_as_sent() { Ok(()) } else { Err(DownloadError::NotAsSent) }
    }
}

impl Check {
    fn new(wanted: &Wanted) -> Check {
        let key = FileKey::new(&wanted.secret, &wanted.blob.0, wanted.layout);
        Check { key, hash: wanted.hash, digests: Vec::new(), chunks: 0, buffer: Vec::new() }
    }

    /// Bytes of the file in the next chunk.
    fn next_file_bytes(&self) -> usize {
        self.key.layout().file_bytes(self.chunks)
    }

    /// Records a whole chunk that was written earlier.
    fn has_chunk(&mut self, chunk: &[u8]) {
        self.digests.push(chunk_digest(chunk));
        self.chunks += 1;
    }

    fn offset(&self) -> u64 {
        match self.is_whole() {
            true => self.key.layout().stored(),
            false => self.chunks * SEALED_CHUNK_BYTES as u64 + self.buffer.len() as u64,
        }
    }

    fn is_whole(&self) -> bool {
        self.chunks == self.key.layout().chunks()
    }

    fn is_as_sent(&self) -> bool {
        self.is_whole() && file_hash(self.key.layout().bytes(), &self.digests) == self.hash
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        write: &mut dyn FnMut(&[u8]) -> Result<(), DownloadError>,
    ) -> Result<(), DownloadError> {
        while !bytes.is_empty() {
            if self.is_whole() {
                return Err(DownloadError::NotAsSent);
            }
            let sealed =
                self.key.layout().chunk_bytes(self.chunks) + SEALED_CHUNK_BYTES - CHUNK_BYTES;
            let (next, rest) = bytes.split_at(bytes.len().min(sealed - self.buffer.len()));
            self.buffer.extend_from_slice(next);
            bytes = rest;
            if self.buffer.len() == sealed {
                self.write_chunk(write)?;
            }
        }
        Ok(())
    }

    fn write_chunk(
        &mut self,
        write: &mut dyn FnMut(&[u8]) -> Result<(), DownloadError>,
    ) -> Result<(), DownloadError> {
        let opened = self.key.open_chunk(self.chunks, &mut self.buffer);
        let file = opened.ok_or(DownloadError::NotAsSent)?;
        write(file)?;
        if !file.is_empty() {
            self.digests.push(chunk_digest(file));
        }
        self.chunks += 1;
        self.buffer.clear();
        Ok(())
    }
}

/// Opens the file that a download writes, or creates it, and locks it for this download.
fn locked(part: &Path) -> Result<File, DownloadError> {
    let io = error(part);
    for _ in 0..OPENINGS_MAX {
        let file = match files::open_own(part).map_err(&io)? {
            Some(file) => file,
            None => {
                let mut options = files::private();
                match options.read(true).write(true).create_new(true).open(part) {
                    Err(failed) if failed.kind() == io::ErrorKind::AlreadyExists => continue,
                    opened => opened.map_err(&io)?,
                }
            }
        };
        // Some file systems have no locks.
        if !files::try_lock(&file).unwrap_or(true) {
            break;
        }
        // Another download may have ended meanwhile, and its file has another name.
        if files::is_at(&file, part).map_err(&io)? {
            return Ok(file);
        }
    }
    Err(DownloadError::InUse { part: part.to_owned() })
}

/// Returns the path of the partial file, `NAME.BLOB.part`: files of one name do not collide.
fn part_path(folder: &Path, file_name: &str, blob: BlobId) -> PathBuf {
    folder.join(format!("{}.{blob}.part", name::cleaned(file_name)))
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
