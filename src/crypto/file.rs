//! The format of an encrypted file: chunks of 64 KiB under a key of their own, in the STREAM
//! construction (Hoang, Reyhanitabar, Rogaway, Vizar: "Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance", CRYPTO 2015), as age uses it. docs/protocol.md, "Encrypted
//! files".

use zeroize::Zeroizing;

use super::primitives::{Aead, Secret, TAG_BYTES, hedged, hkdf, sha256};

/// Plaintext bytes of every chunk but the last.
pub const CHUNK_BYTES: usize = 65_536;
/// Bytes of a chunk and its tag.
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// Returns how many bytes of a file of `bytes` the first `stored` bytes of its encrypted form hold.
pub fn file_bytes_in(stored: u64, bytes: u64) -> u64 {
    let chunks = stored / SEALED_CHUNK_BYTES as u64;
    stored.saturating_sub(TAG_BYTES as u64 * chunks).min(bytes)
}
/// The largest file: its number of chunks fits 32 bits with room for the padding.
pub const FILE_BYTES_MAX: u64 = 1 << 47;
/// A padded file has at least this many bytes.
const PADDED_BYTES_MIN: u64 = 4_096;

const KEY_SALT: &[u8] = b"pychat/1 file";
const HASH_LABEL: &[u8] = b"pychat/1 file hash";

/// The sizes of a file and of its encrypted form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    bytes: u64,
    padded: u64,
}

impl Layout {
    /// Returns the layout for an open conversation: the exact size. `None` above `FILE_BYTES_MAX`.
    pub fn open(bytes: u64) -> Option<Layout> {
        (bytes <= FILE_BYTES_MAX).then_some(Layout { bytes, padded: bytes })
    }

    /// The layout of a file of a sealed conversation: its size is hidden by Padmé (Nikitin and
    /// others: "Reducing Metadata Leakage from Encrypted Files", PETS 2019, section 4). None above
    /// `FILE_BYTES_MAX`.
    pub fn sealed(bytes: u64) -> Option<Layout> {
        let padded = padme(bytes).max(PADDED_BYTES_MIN);
        (bytes <= FILE_BYTES_MAX).then_some(Layout { bytes, padded })
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the file and its padding.
    pub fn padded(&self) -> u64 {
        self.padded
    }

    /// Number of chunks: one at least.
    pub fn chunks(&self) -> u64 {
        self.padded.div_ceil(CHUNK_BYTES as u64).max(1)
    }

    /// Bytes that a server stores: every chunk with its tag.
    pub fn stored(&self) -> u64 {
        self.padded + TAG_BYTES as u64 * self.chunks()
    }

    /// Bytes of chunk `index` in plaintext, padding included. Zero behind the last chunk.
    pub fn chunk_bytes(&self, index: u64) -> usize {
        let begin = index.saturating_mul(CHUNK_BYTES as u64);
        self.padded.saturating_sub(begin).min(CHUNK_BYTES as u64) as usize
    }

    /// Bytes of chunk `index` that are the file's.
    pub fn file_bytes(&self, index: u64) -> usize {
        let begin = index.saturating_mul(CHUNK_BYTES as u64);
        self.bytes.saturating_sub(begin).min(CHUNK_BYTES as u64) as usize
    }
}

/// Rounds a size up so that only about log log n bits of it show.
fn padme(bytes: u64) -> u64 {
    if bytes < 2 {
        return bytes;
    }
    let exponent = bytes.ilog2();
    let significant = exponent.ilog2() + 1;
    let step = 1 << (exponent - significant.min(exponent));
    bytes.div_ceil(step) * step
}

/// The key of one file. A chunk is sealed once: two different texts under one nonce would break
/// AES-GCM, so a sender records the digest of each chunk before it seals the first one.
pub struct FileKey {
    aead: Aead,
    layout: Layout,
}

impl FileKey {
    /// Derives the key from the secret of a file, the name of its blob and its padded size.
    pub fn new(secret: &Secret, blob: &[u8; 16], layout: Layout) -> FileKey {
        let padded = layout.padded.to_be_bytes();
        let key: Secret = hkdf(KEY_SALT, &secret[..], &[blob, &padded]);
        FileKey { aead: Aead::new(&key), layout }
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Encrypts chunk `index` of the file, whose bytes are `file`, into `out`. `None` if the layout
    /// has no such chunk, or the chunk has another size.
    pub fn seal_chunk(&self, index: u64, file: &[u8], out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        out.extend_from_slice(file);
        self.seal_in_place(index, out)
    }

    /// Encrypts the bytes of the file in chunk `index`, which `out` contains. `None` as for
    /// `seal_chunk`.
    pub fn seal_in_place(&self, index: u64, out: &mut Vec<u8>) -> Option<()> {
        let nonce = self.nonce(index).filter(|_| out.len() == self.layout.file_bytes(index))?;
        out.resize(self.layout.chunk_bytes(index), 0);
        let tag = self.aead.seal(nonce, b"", out)?;
        out.extend_from_slice(&tag);
        Some(())
    }

    /// Decrypts chunk `index` in place. Returns the bytes of the file in it; `None` if its sender
    /// has not encrypted it for this position, or its padding is not zero.
    pub fn open_chunk<'a>(&self, index: u64, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let plain = self.aead.open(self.nonce(index)?, b"", sealed)?;
        if plain.len() != self.layout.chunk_bytes(index) {
            return None;
        }
        let (file, padding) = plain.split_at(self.layout.file_bytes(index));
        padding.iter().all(|byte| *byte == 0).then_some(file)
    }

    /// Returns `last u32 || index u64`; `None` after the last chunk.
    fn nonce(&self, index: u64) -> Option<[u8; 12]> {
        let last = self.layout.chunks() - 1;
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&u32::from(index == last).to_be_bytes());
        nonce[4..].copy_from_slice(&index.to_be_bytes());
        (index <= last).then_some(nonce)
    }
}

/// Returns the hash of a file of `bytes` from the digests of its chunks in order, without padding.
pub fn file_hash<'a>(bytes: u64, digests: impl IntoIterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    let bytes = bytes.to_be_bytes();
    let mut parts = vec![HASH_LABEL, &bytes];
    parts.extend(digests.into_iter().map(|digest| &digest[..]));
    sha256(&parts)
}

/// Returns the digest of a chunk of a file.
pub fn chunk_digest(file: &[u8]) -> [u8; 32] {
    sha256(&[file])
}

/// Returns a new secret for the file with this hash. Different files have different secrets even
/// where the system's random numbers repeat: their chunks have the same nonces.
pub fn new_secret(hash: &[u8; 32]) -> Secret {
    Zeroizing::new(hedged(&[b"pychat/1 file secret", hash]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::crypto::primitives::{REPEATS, random};

    fn vectors() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/file_format.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes<const N: usize>(value: &Value) -> [u8; N] {
        let text = value.as_str().unwrap();
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }

    fn sealed(key: &FileKey, file: &[u8]) -> Vec<Vec<u8>> {
        let mut chunk = Vec::new();
        let chunks = 0..key.layout().chunks();
        let sealed = chunks.map(|index| {
            let rest = &file[file.len().min(index as usize * CHUNK_BYTES)..];
            key.seal_chunk(index, &rest[..rest.len().min(CHUNK_BYTES)], &mut chunk).unwrap();
            chunk.clone()
        });
        sealed.collect()
    }

    fn layout(bytes: u64, hides_size: bool) -> Layout {
        if hides_size { Layout::sealed(bytes) } else { Layout::open(bytes) }.unwrap()
    }

    #[test]
    fn known_answers() {
        let known = vectors();
        let secret: Secret = Zeroizing::new(bytes(&known["secret"]));
        let rows = known["vectors"].as_array().unwrap();
        assert_eq!(rows.len(), 16);
        for row in rows {
            let size = row["bytes"].as_u64().unwrap();
            let layout = layout(size, row["sealed"].as_bool().unwrap());
            assert_eq!(layout.padded(), row["padded"], "{row}");
            assert_eq!(layout.stored(), row["stored"], "{row}");
            let file: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
            let key = FileKey::new(&secret, &bytes(&known["blob"]), layout);
            let stored = sealed(&key, &file).concat();
            assert_eq!(stored.len() as u64, layout.stored());
            assert_eq!(hex(&sha256(&[&stored])), row["sha256_of_stored"], "{row}");
            let digests: Vec<_> = file.chunks(CHUNK_BYTES).map(chunk_digest).collect();
            assert_eq!(hex(&file_hash(size, &digests)), row["hash"], "{row}");
        }
    }

    #[test]
    fn padding_costs_little_and_hides_most_of_the_size() {
        for bytes in [2, 3, 9, 1_000, 65_537, 1 << 20, (1 << 20) + 1, 100 << 20, FILE_BYTES_MAX] {
            let padded = padme(bytes);
            assert!(padded >= bytes && padme(padded) == padded, "{bytes}");
            if bytes > 1 << 20 {
                assert!((padded - bytes) * 32 <= bytes, "{bytes}: {padded}");
            }
        }
        let sizes = (1 << 20..1 << 21).map(padme).collect::<std::collections::BTreeSet<_>>();
        assert!(sizes.len() <= 33, "a MiB of sizes becomes {} sizes", sizes.len());
        assert_eq!(Layout::open(FILE_BYTES_MAX + 1), None);
        assert_eq!(Layout::sealed(u64::MAX / 2), None);
    }

    #[test]
    fn a_chunk_opens_at_its_own_index_in_its_own_file_only() {
        let secret: Secret = Zeroizing::new([1; 32]);
        let file = vec![7; 2 * CHUNK_BYTES + 9];
        let size = file.len() as u64;
        let key = FileKey::new(&secret, &[2; 16], layout(size, true));
        let chunks = sealed(&key, &file);
        let opens = |key: &FileKey, index: u64, chunk: &[u8]| {
            key.open_chunk(index, &mut chunk.to_vec()).is_some()
        };
        for (at, chunk) in chunks.iter().enumerate() {
            for index in 0..5 {
                assert_eq!(opens(&key, index, chunk), index == at as u64, "{at} at {index}");
            }
            // A file that ends after a whole chunk, another blob, another size, another secret.
            let others = [
                FileKey::new(&secret, &[2; 16], layout(CHUNK_BYTES as u64, true)),
                FileKey::new(&secret, &[3; 16], layout(size, true)),
                FileKey::new(&secret, &[2; 16], layout(size, false)),
                FileKey::new(&Zeroizing::new([2; 32]), &[2; 16], layout(size, true)),
            ];
            assert!(others.iter().all(|other| !opens(other, at as u64, chunk)));
        }
        let mut out = Vec::new();
        assert_eq!(key.seal_chunk(3, b"", &mut out), None, "no such chunk");
        assert_eq!(key.seal_chunk(0, b"short", &mut out), None);
    }

    #[test]
    fn padding_that_is_not_zero_is_refused() {
        let secret: Secret = Zeroizing::new([1; 32]);
        // The same padded size, and a file that has filled it.
        let (short, full) = (layout(10, true), layout(PADDED_BYTES_MIN, true));
        let (reader, writer) =
            (FileKey::new(&secret, &[2; 16], short), FileKey::new(&secret, &[2; 16], full));
        let mut chunk = sealed(&writer, &[7; PADDED_BYTES_MIN as usize]).remove(0);
        assert_eq!(reader.open_chunk(0, &mut chunk), None);
    }

    #[test]
    fn no_key_seals_two_files_where_randomness_repeats() {
        for repeats in [true, false] {
            REPEATS.set(repeats);
            // The same blob and size, as after the restore of a snapshot.
            let seals = |file: &[u8]| {
                let digests: Vec<_> = file.chunks(CHUNK_BYTES).map(chunk_digest).collect();
                let secret = new_secret(&file_hash(file.len() as u64, &digests));
                let key = FileKey::new(&secret, &random(), layout(file.len() as u64, true));
                (secret, sealed(&key, file))
            };
            let [one, other] = [[1; 100], [2; 100]].map(|file| seals(&file));
            assert_ne!(one.0, other.0);
            let stream = |sealed: &[Vec<u8>], of: u8| {
                sealed[0][..100].iter().map(|byte| byte ^ of).collect::<Vec<_>>()
            };
            assert_ne!(stream(&one.1, 1), stream(&other.1, 2), "no key stream is used twice");
            assert_eq!(one == seals(&[1; 100]), repeats, "the control");
        }
        REPEATS.set(false);
    }

    proptest! {
        #[test]
        fn every_file_is_read_back_and_no_changed_byte(
            file in prop::collection::vec(any::<u8>(), 0..3_000), hides_size: bool, at: prop::sample::Index, bit in 0..8u8,
        ) {
            let key = FileKey::new(&new_secret(&[1; 32]), &[9; 16], layout(file.len() as u64, hides_size));
            let mut chunk = sealed(&key, &file).remove(0);
            let mut copy = chunk.clone();
            prop_assert_eq!(key.open_chunk(0, &mut copy).unwrap(), &file[..]);
            let at = at.index(chunk.len());
            chunk[at] ^= 1 << bit;
            prop_assert_eq!(key.open_chunk(0, &mut chunk), None);
        }
    }
}
