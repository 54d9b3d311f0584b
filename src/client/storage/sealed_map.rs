//! A map on disk (0600), as an encrypted append-only file of changes. It is rewritten once most of
//! it is outdated, so the cost of a write depends on the changes, not on the size of the map.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::crypto::at_rest;
use crate::file::replace;
use crate::system::files;
use crate::system::fs::File;

/// Bytes of a file. A longer one is neither written nor read: cut off, it would lose what the
/// client has to remember.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// A file is rewritten when it has grown by this plus twice its size after the last rewrite.
const GROWS_BYTES: u64 = 64 << 10;

/// Keys with their values; `None` for a removed key.
pub type Entries<K, V> = Vec<(K, Option<V>)>;

pub struct SealedMap {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
    file: File,
    bytes: u64,
    /// Size after the last rewrite, or when opened.
    whole_bytes: u64,
    /// Changes could not be written: the next ones come with the whole map.
    is_behind: bool,
    /// Count of damaged lines that were found when it was opened.
    pub damaged: usize,
}

impl SealedMap {
    /// Opens the map. The last value of each key counts, and an incomplete record is skipped.
    ///
    /// # Errors
    /// `InvalidData` for a file of more than `FILE_BYTES_MAX`, which stays as it is.
    pub fn open<K: DeserializeOwned, V: DeserializeOwned>(
        path: PathBuf,
        key: Zeroizing<[u8; 32]>,
    ) -> io::Result<(SealedMap, Entries<K, V>)> {
        let mut file = open_file(&path, true)?;
        let Content { whole, damaged, entries } = content(&mut file, &key)?;
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let bytes = whole as u64;
        // All of it may be outdated.
        let whole_bytes = bytes / 4;
        let map = SealedMap { path, key, file, bytes, whole_bytes, is_behind: false, damaged };
        Ok((map, entries))
    }

    /// Reads the map without opening it for writing.
    ///
    /// # Errors
    /// As `open`.
    pub fn read<K: DeserializeOwned, V: DeserializeOwned>(
        path: &Path,
        key: &[u8; 32],
    ) -> io::Result<Entries<K, V>> {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => Ok(content(&mut other?, key)?.entries),
        }
    }

    /// Stores changed and removed keys; `all` returns the whole map for a rewrite.
    ///
    /// # Errors
    /// The file cannot be written, or would have more than `FILE_BYTES_MAX`. Nothing was stored.
    /// The next call stores these changes too.
    pub fn store<K: Serialize, V: Serialize>(
        &mut self,
        changed: &[(K, Option<V>)],
        all: impl FnOnce() -> Entries<K, V>,
    ) -> io::Result<()> {
        if changed.is_empty() && !self.is_behind {
            return Ok(());
        }
        let stored = self.write(changed, all);
        self.is_behind = stored.is_err();
        stored
    }

    fn write<K: Serialize, V: Serialize>(
        &mut self,
        changed: &[(K, Option<V>)],
        all: impl FnOnce() -> Entries<K, V>,
    ) -> io::Result<()> {
        let line = self.line(changed)?;
        let is_full = self.bytes + line.len() as u64 > FILE_BYTES_MAX;
        let is_old = self.bytes > GROWS_BYTES + 2 * self.whole_bytes;
        if self.is_behind || is_full || is_old {
            let line = self.line(&all())?;
            check(line.len() as u64)?;
            replace(&self.path, line.as_bytes(), 0o600).map_err(io::Error::other)?;
            self.file = open_file(&self.path, false)?;
            self.file.seek(SeekFrom::End(0))?;
            self.bytes = line.len() as u64;
            self.whole_bytes = self.bytes;
            return Ok(());
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // A part of a line would hide the next one.
            let _ = self.file.set_len(self.bytes);
            let _ = self.file.seek(SeekFrom::Start(self.bytes));
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.file.sync_data()
    }

    fn line<K: Serialize, V: Serialize>(&self, entries: &[(K, Option<V>)]) -> io::Result<String> {
        let text = Zeroizing::new(serde_json::to_vec(entries)?);
        Ok(STANDARD_NO_PAD.encode(at_rest::lock(&self.key, &text)) + "\n")
    }
}

/// The content of a file.
struct Content<K, V> {
    /// How many bytes were written whole.
    whole: usize,
    /// Count of damaged lines.
    damaged: usize,
    entries: Entries<K, V>,
}

fn content<K: DeserializeOwned, V: DeserializeOwned>(
    file: &mut File,
    key: &[u8; 32],
) -> io::Result<Content<K, V>> {
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    check(text.len() as u64)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let (mut entries, mut damaged) = (Vec::new(), 0);
    for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let locked = STANDARD_NO_PAD.decode(line).unwrap_or_default();
        let opened = at_rest::unlock(key, &locked);
        let some: Option<Vec<_>> = opened.and_then(|text| serde_json::from_slice(&text).ok());
        damaged += usize::from(some.is_none());
        entries.extend(some.into_iter().flatten());
    }
    // An interrupted write leaves the beginning of a line; a lost one leaves zeros.
    damaged += usize::from(!text[whole..].iter().all(at_rest::is_base64));
    Ok(Content { whole, damaged, entries })
}

fn check(bytes: u64) -> io::Result<()> {
    match bytes > FILE_BYTES_MAX {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "more than 64 MiB are not read")),
        false => Ok(()),
    }
}

fn open_file(path: &Path, create: bool) -> io::Result<File> {
    files::private().read(true).write(true).create(create).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn opened(path: &Path) -> (SealedMap, BTreeMap<u32, u64>) {
        let key = Zeroizing::new([7; 32]);
        let (map, entries) = SealedMap::open(path.to_owned(), key).unwrap();
        let mut values = BTreeMap::new();
        for (key, value) in entries {
            match value {
                Some(value) => values.insert(key, value),
                None => values.remove(&key),
            };
        }
        (map, values)
    }

    #[test]
    fn a_file_that_is_too_long_is_neither_written_nor_read_nor_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        let (mut map, _) = opened(&path);
        map.store(&[(1, Some(7u64))], || vec![(1, Some(7))]).unwrap();
        let before = std::fs::read(&path).unwrap();
        let long = vec![(2u32, Some("x".repeat(FILE_BYTES_MAX as usize)))];
        map.store(&long, || long.clone()).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        map.store(&long, || vec![(2, Some("short".to_owned()))]).unwrap();
        assert!(map.bytes < 1_000, "what fits as a whole is written as a whole");
        map.file.set_len(FILE_BYTES_MAX + 1).unwrap();
        let key = Zeroizing::new([7; 32]);
        let opened = SealedMap::open::<u32, u64>(path.clone(), key.clone()).map(drop);
        assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let read = SealedMap::read::<u32, u64>(&path, &key).map(drop);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), FILE_BYTES_MAX + 1);
    }

    #[test]
    fn the_last_values_are_restored_and_only_changes_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        let (mut map, mut values) = opened(&path);
        values.extend((0..2_000).map(|key| (key, 0)));
        let all = |values: &BTreeMap<u32, u64>| -> Vec<(u32, Option<u64>)> {
            values.iter().map(|(key, value)| (*key, Some(*value))).collect()
        };
        map.store(&all(&values), || all(&values)).unwrap();
        let whole = map.bytes;
        let mut written = 0;
        for round in 0..5_000 {
            let (key, value) = (round % 2_000, u64::from(round));
            values.insert(key, value);
            let before = map.bytes;
            map.store(&[(key, Some(value))], || all(&values)).unwrap();
            written += if map.bytes > before { map.bytes - before } else { map.bytes };
        }
        // What could not be written comes with the next change.
        let writable = std::mem::replace(&mut map.file, File::open(&path).unwrap());
        values.insert(7, 77);
        assert!(map.store(&[(7, Some(77))], || all(&values)).is_err());
        map.file = writable;
        let nothing: &[(u32, Option<u64>)] = &[];
        map.store(nothing, || all(&values)).unwrap();
        assert_eq!(opened(&path).1, values);
        values.remove(&3);
        map.store(&[(3, None::<u64>)], || all(&values)).unwrap();
        assert!(written < 5_000 * 200 + 10 * whole, "{written} bytes; the whole has {whole}");
        assert!(std::fs::metadata(&path).unwrap().len() < 4 * whole + 2 * GROWS_BYTES);
        // An interrupted write.
        map.file.write_all(b"half").unwrap();
        for _ in 0..2 {
            let (_, found) = opened(&path);
            assert_eq!(found, values);
        }
    }
}
