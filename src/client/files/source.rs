//! A file that is sent. A first pass records the digest of each chunk on disk before any byte
//! leaves; a chunk is sealed only if it still has its recorded digest. So no chunk is sealed twice
//! with different content, which would break AES-GCM, whatever the server claims to have, and
//! whatever happens to the file meanwhile.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::chat::BlobId;
use crate::crypto::file::{CHUNK_BYTES, FILE_BYTES_MAX, FileKey, Layout, chunk_digest, file_hash};
use crate::crypto::sha256;
use crate::file::{FileError, write_new};
use crate::system::files;
use crate::system::fs::{self, File};

/// A file cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{} is {what}: only files can be sent", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is too large to be sent at all", path.display())]
    TooLarge { path: PathBuf },
    /// Chunks that were sent are of the file as it was.
    #[error("{} was changed while it was sent: send it again", path.display())]
    Changed { path: PathBuf },
    #[error("{} is damaged: send the file again", path.display())]
    Damaged { path: PathBuf },
    #[error(transparent)]
    Record(#[from] FileError),
}

/// An opened regular file.
pub struct Source {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// What the first pass has recorded: exactly one content for the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    blob: BlobId,
    bytes: u64,
    hides_size: bool,
    chunks: Vec<[u8; 32]>,
}

/// A first pass in progress: the digests of the chunks that are read.
#[derive(Default)]
pub struct Pass {
    chunks: Vec<[u8; 32]>,
    buffer: Vec<u8>,
}

/// Seals the chunks of a file as they were recorded.
pub struct Sealing {
    source: Source,
    digests: Digests,
    key: FileKey,
}

/// A file whose size is not that of its content.
const UNSIZED: &str = "a file of the system without a size";
const MAGIC: &[u8; 8] = b"pychat-s";
/// Magic, blob, bytes, whether the size is hidden; then the digests, and a digest of all.
const HEAD_BYTES: usize = 8 + 16 + 8 + 1;
const DIGEST_BYTES: usize = 32;

impl Source {
    /// Opens a file. Never waits, as opening a pipe would.
    ///
    /// # Errors
    /// It cannot be read, or is a folder, a pipe, a socket or a device.
    pub fn open(path: &Path) -> Result<Source, SourceError> {
        let io = |error| SourceError::Io { path: path.to_owned(), error };
        let refuse = |about: &fs::Metadata| match files::irregular(about) {
            Some(what) => Err(SourceError::NotAFile { path: path.to_owned(), what }),
            None => Ok(()),
        };
        // Some devices act when they are opened; what was opened is checked again.
        refuse(&fs::metadata(path).map_err(io)?)?;
        let file = files::open_to_read(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        refuse(&about)?;
        if about.len() > FILE_BYTES_MAX {
            return Err(SourceError::TooLarge { path: path.to_owned() });
        }
        Ok(Source { path: path.to_owned(), file, bytes: about.len() })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The opened file, at its begin before a first pass.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Reads the next chunk in a first pass. Returns the number of bytes that the pass has read,
    /// and `None` once the file is read to its end.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub fn pass(&mut self, pass: &mut Pass) -> Result<Option<u64>, SourceError> {
        let index = pass.chunks.len() as u64;
        if index == self.bytes.div_ceil(CHUNK_BYTES as u64) {
            return Ok(None);
        }
        self.read_chunk(index, &mut pass.buffer)?;
        pass.chunks.push(chunk_digest(&pass.buffer));
        Ok(Some(index * CHUNK_BYTES as u64 + pass.buffer.len() as u64))
    }

    /// Ends a first pass over the whole file: records its digests in the new file `record` (0600),
    /// which is on disk when this returns.
    ///
    /// # Errors
    /// The file has changed, or the record exists or cannot be written.
    pub fn record(
        &mut self,
        pass: Pass,
        (blob, hides_size): (BlobId, bool),
        record: &Path,
    ) -> Result<Digests, SourceError> {
        let grown = self.file.metadata().map_err(|error| self.io(error))?.len();
        if grown != self.bytes
            || pass.chunks.len() as u64 != self.bytes.div_ceil(CHUNK_BYTES as u64)
        {
            return Err(self.changed());
        }
        // Files of /proc have a size of 0, whatever they contain.
        let end = self.file.seek(SeekFrom::Start(self.bytes));
        if end.and_then(|_| self.file.read(&mut [0])).map_err(|error| self.io(error))? > 0 {
            return Err(match self.bytes {
                0 => SourceError::NotAFile { path: self.path.clone(), what: UNSIZED },
                _ => self.changed(),
            });
        }
        let digests = Digests { blob, bytes: self.bytes, hides_size, chunks: pass.chunks };
        write_new(record, &digests.encode(), 0o600)?;
        Ok(digests)
    }

    /// Replaces `buffer` by chunk `index`, which is shorter at the end of the file only. After an
    /// error the content of the buffer is unspecified, and the caller clears or drops the buffer.
    fn read_chunk(&mut self, index: u64, buffer: &mut Vec<u8>) -> Result<(), SourceError> {
        let begin = index * CHUNK_BYTES as u64;
        let wanted = self.bytes.saturating_sub(begin).min(CHUNK_BYTES as u64);
        buffer.resize(wanted as usize, 0);
        // One call reads a whole chunk; `read_to_end` would begin with a small read each time.
        let read =
            self.file.seek(SeekFrom::Start(begin)).and_then(|_| self.file.read_exact(buffer));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => self.io(error),
        })
    }

    fn io(&self, error: io::Error) -> SourceError {
        SourceError::Io { path: self.path.clone(), error }
    }

    fn changed(&self) -> SourceError {
        SourceError::Changed { path: self.path.clone() }
    }
}

impl Digests {
    /// Reads the record of an earlier run.
    ///
    /// # Errors
    /// It cannot be read, or is not as it was written.
    pub fn load(record: &Path) -> Result<Digests, SourceError> {
        let bytes =
            fs::read(record).map_err(|error| SourceError::Io { path: record.to_owned(), error })?;
        Digests::decode(&bytes).ok_or(SourceError::Damaged { path: record.to_owned() })
    }

    pub fn blob(&self) -> BlobId {
        self.blob
    }

    pub fn layout(&self) -> Layout {
        let layout = if self.hides_size { Layout::sealed } else { Layout::open };
        layout(self.bytes).expect("a source is not larger")
    }

    /// Returns the hash of the file, for its descriptor.
    pub fn hash(&self) -> [u8; 32] {
        file_hash(self.bytes, &self.chunks)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &self.blob.0, &self.bytes.to_be_bytes()].concat();
        bytes.push(u8::from(self.hides_size));
        bytes.extend(self.chunks.as_flattened());
        let digest = sha256(&[&bytes]);
        bytes.extend_from_slice(&digest);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Digests> {
        let (body, digest) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
        if sha256(&[body]) != *digest || !body.starts_with(MAGIC) {
            return None;
        }
        let (head, digests) = body.split_at_checked(HEAD_BYTES)?;
        let blob = BlobId(head[8..24].try_into().ok()?);
        let bytes = u64::from_be_bytes(head[24..32].try_into().ok()?);
        let hides_size = head[32] == 1;
        let (chunks, rest) = digests.as_chunks::<DIGEST_BYTES>();
        let is_whole = rest.is_empty()
            && bytes <= FILE_BYTES_MAX
            && chunks.len() as u64 == bytes.div_ceil(CHUNK_BYTES as u64);
        is_whole.then(|| Digests { blob, bytes, hides_size, chunks: chunks.to_vec() })
    }
}

impl Sealing {
    /// Seals `source` under the secret of its file.
    ///
    /// # Errors
    /// The file has another size than it had.
    pub fn new(
        source: Source,
        digests: Digests,
        secret: &[u8; 32],
    ) -> Result<Sealing, SourceError> {
        if source.bytes != digests.bytes {
            return Err(source.changed());
        }
        let secret = zeroize::Zeroizing::new(*secret);
        let key = FileKey::new(&secret, &digests.blob.0, digests.layout());
        Ok(Sealing { source, digests, key })
    }

    pub fn layout(&self) -> Layout {
        self.key.layout()
    }

    /// Replaces `out` by the sealed chunk `index`. The same index gives the same bytes each time.
    ///
    /// # Errors
    /// The file cannot be read, or the chunk is not what was recorded: nothing was sealed.
    ///
    /// # Panics
    /// The layout has no such chunk.
    pub fn seal_chunk(&mut self, index: u64, out: &mut Vec<u8>) -> Result<(), SourceError> {
        let read = self.source.read_chunk(index, out);
        // Chunks of padding alone have no digest, and no other content.
        let recorded = usize::try_from(index).ok().and_then(|index| self.digests.chunks.get(index));
        let is_recorded = match recorded {
            Some(recorded) => chunk_digest(out) == *recorded,
            None => out.is_empty(),
        };
        if read.is_err() || !is_recorded {
            out.clear();
            return read.and_then(|()| Err(self.source.changed()));
        }
        self.key.seal_in_place(index, out).expect("a chunk of the layout");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::crypto::file::new_secret;

    const BLOB: BlobId = BlobId([7; 16]);

    /// A whole first pass.
    fn digest(
        source: &mut Source,
        hides_size: bool,
        record: &Path,
    ) -> Result<(Digests, u64), SourceError> {
        let (mut pass, mut read) = (Pass::default(), 0);
        while let Some(bytes) = source.pass(&mut pass)? {
            read = bytes;
        }
        Ok((source.record(pass, (BLOB, hides_size), record)?, read))
    }

    fn folder_with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (path, record) = (folder.path().join("a.bin"), folder.path().join("record"));
        fs::write(&path, bytes).unwrap();
        (folder, path, record)
    }

    fn sealing(path: &Path, record: &Path) -> Result<Sealing, SourceError> {
        Sealing::new(Source::open(path)?, Digests::load(record)?, &[9; 32])
    }

    #[test]
    fn a_recorded_file_is_sealed_and_opens() {
        for (size, hides_size) in
            [(0, false), (0, true), (1, true), (65_536, false), (200_000, true)]
        {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
            let (_folder, path, record) = folder_with(&bytes);
            let mut source = Source::open(&path).unwrap();
            let (digests, read) = digest(&mut source, hides_size, &record).unwrap();
            assert_eq!(read, size as u64);
            assert_eq!(Digests::load(&record).unwrap(), digests);
            assert_eq!(files::exposed(&record).unwrap(), None);
            let mut sealing = sealing(&path, &record).unwrap();
            let layout = sealing.layout();
            let key = FileKey::new(&zeroize::Zeroizing::new([9; 32]), &BLOB.0, layout);
            let (mut opened, mut out) = (Vec::new(), Vec::new());
            for index in 0..layout.chunks() {
                sealing.seal_chunk(index, &mut out).unwrap();
                opened.extend_from_slice(key.open_chunk(index, &mut out).unwrap());
            }
            assert_eq!(opened, bytes);
            let chunks: Vec<_> = bytes.chunks(CHUNK_BYTES).map(chunk_digest).collect();
            assert_eq!(digests.hash(), file_hash(size as u64, &chunks));
        }
    }

    #[test]
    fn only_files_are_sent() {
        let folder = tempfile::tempdir().unwrap();
        let what = |path: &Path| Source::open(path).map(drop).unwrap_err().to_string();
        assert!(what(folder.path()).contains("is a folder: only files can be sent"));
        assert!(what(&folder.path().join("none")).contains("No such file"));
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
                .unwrap();
            assert!(what(&pipe).contains("is a pipe"));
            let _listener =
                std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
            assert!(what(&folder.path().join("s")).contains("is a socket"));
            assert!(what(Path::new("/dev/zero")).contains("is a device"));
            // What would be sent as an empty file.
            let mut maps = Source::open(Path::new("/proc/self/maps")).unwrap();
            let read = digest(&mut maps, false, &folder.path().join("record"));
            assert!(matches!(read, Err(SourceError::NotAFile { .. })), "{read:?}");
            // A link leads to what it leads to.
            std::os::unix::fs::symlink(&pipe, folder.path().join("link")).unwrap();
            assert!(what(&folder.path().join("link")).contains("is a pipe"));
        }
    }

    #[test]
    fn a_record_is_written_once_and_damage_is_noticed() {
        let (_folder, path, record) = folder_with(&[1; 70_000]);
        let mut source = Source::open(&path).unwrap();
        digest(&mut source, false, &record).unwrap();
        let again = digest(&mut source, false, &record);
        assert!(matches!(again, Err(SourceError::Record(FileError::Exists { .. }))));
        let good = fs::read(&record).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Digests::decode(&bad), None);
            assert_eq!(Digests::decode(&good[..at]), None);
        }
        assert!(Digests::decode(&good).is_some());
        let mut pass = Pass::default();
        source.pass(&mut pass).unwrap();
        let early = source.record(pass, (BLOB, false), &record.with_extension("2"));
        assert!(matches!(early, Err(SourceError::Changed { .. })), "a part is not the file");
        assert!(!record.with_extension("2").exists());
    }

    #[test]
    fn a_changed_file_is_not_sealed_whatever_the_server_has() {
        let (_folder, path, record) = folder_with(&[1; 140_000]);
        digest(&mut Source::open(&path).unwrap(), true, &record).unwrap();
        let mut out = Vec::new();
        let mut before = sealing(&path, &record).unwrap();
        before.seal_chunk(0, &mut out).unwrap();
        let first = out.clone();
        // The second chunk is changed in place, and the server says that it has nothing.
        let mut changed = vec![1; 140_000];
        changed[70_000] = 2;
        fs::write(&path, &changed).unwrap();
        let mut after = sealing(&path, &record).unwrap();
        after.seal_chunk(0, &mut out).unwrap();
        assert_eq!(out, first);
        for sealing in [&mut before, &mut after] {
            let sealed = sealing.seal_chunk(1, &mut out);
            assert!(matches!(sealed, Err(SourceError::Changed { .. })) && out.is_empty());
        }
        // Shorter, and longer.
        for bytes in [139_999, 140_001] {
            fs::write(&path, vec![1; bytes]).unwrap();
            assert!(matches!(sealing(&path, &record), Err(SourceError::Changed { .. })));
        }
        fs::write(&path, &changed[..100]).unwrap();
        assert!(matches!(before.seal_chunk(1, &mut out), Err(SourceError::Changed { .. })));
        assert!(new_secret(&[1; 32]) != new_secret(&[1; 32]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_index_is_sealed_with_two_contents(
            steps in prop::collection::vec((0u64..3, 0usize..3, any::<bool>()), 1..30),
        ) {
            let (_folder, path, record) = folder_with(&vec![0; 3 * CHUNK_BYTES]);
            digest(&mut Source::open(&path).unwrap(), false, &record).unwrap();
            let mut sealed = BTreeMap::new();
            let (mut out, mut file) = (Vec::new(), vec![0; 3 * CHUNK_BYTES]);
            for (index, changed, restarts) in steps {
                file[changed * CHUNK_BYTES] ^= u8::from(restarts);
                fs::write(&path, &file).unwrap();
                let mut sealing = sealing(&path, &record).unwrap();
                if sealing.seal_chunk(index, &mut out).is_ok() {
                    let first = sealed.entry(index).or_insert_with(|| out.clone());
                    prop_assert_eq!(&*first, &out);
                }
            }
        }
    }
}
