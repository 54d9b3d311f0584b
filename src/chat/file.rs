//! Files: names of blobs, sizes, and the descriptor that a message of kind `file` carries.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use super::id::{as_text, read_text};
use crate::limits::{FILE_NAME_BYTES_MAX, MEDIA_BYTES_MAX, TEXT_BYTES_MAX, THUMB_BYTES_MAX};

/// The name of an encrypted file on the server: 128 random bits, base64url on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 16]);

/// A size or an offset in bytes: a number on the wire, below 2^48, which every JSON reader has
/// exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FileBytes(pub u64);

/// Larger than every encrypted file.
const FILE_BYTES_END: u64 = 1 << 48;

/// 32 secret bytes of a file's descriptor. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct FileSecret(pub Zeroizing<[u8; 32]>);

/// The text is no value of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(&'static str);

/// What a message of kind `file` says about its file: JSON, sealed where the conversation is
/// sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The version of the descriptor, 1.
    pub v: u8,
    pub blob: BlobId,
    pub name: String,
    /// Bytes of the file itself.
    pub bytes: FileBytes,
    /// The media type, such as `image/jpeg`.
    pub media: String,
    pub key: FileSecret,
    /// The hash of the file (docs/protocol.md, "Encrypted files").
    pub hash: FileSecret,
    /// Width and height of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// A ThumbHash, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumb: Option<Thumb>,
    /// The caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A ThumbHash: 5 to 28 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Thumb(pub Vec<u8>);

impl Descriptor {
    /// Reads the text of a message of kind `file` that names `blob`.
    ///
    /// # Errors
    ///
    /// The text is no descriptor, is of another version or file, or a field exceeds its bound.
    pub fn read(text: &str, blob: BlobId) -> Result<Descriptor, FileError> {
        let read: Descriptor = serde_json::from_str(text)
            .map_err(|_| FileError("the message does not describe a file"))?;
        if read.v != 1 {
            return Err(FileError("a newer pychat has sent this file"));
        }
        if read.blob != blob {
            return Err(FileError("the message describes another file than it names"));
        }
        let fits = !read.name.is_empty()
            && read.name.len() <= FILE_NAME_BYTES_MAX
            && read.media.len() <= MEDIA_BYTES_MAX
            && read.size.is_none_or(|size| !size.contains(&0))
            && read.text.as_ref().is_none_or(|text| text.len() <= TEXT_BYTES_MAX);
        if fits { Ok(read) } else { Err(FileError("a field of the file exceeds its bound")) }
    }

    /// Returns the text of the message.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a descriptor is plain JSON")
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptor({}, {} bytes)", self.blob, self.bytes.0)
    }
}

impl fmt::Debug for FileSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSecret")
    }
}

/// In decimal units, rounded down: `1.02 GB`.
impl fmt::Display for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
        let FileBytes(bytes) = *self;
        match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
            Some((unit, name)) => {
                write!(f, "{}.{:02} {name}", bytes / unit, bytes % unit * 100 / unit)
            }
            None => write!(f, "{bytes} bytes"),
        }
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let blob = bytes_of(text).map(BlobId);
        blob.ok_or(FileError("a blob is 16 bytes in base64url, 22 characters"))
    }
}

as_text!(BlobId);

/// Reads exactly `N` bytes of base64url.
fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    // The text is bounded before it is decoded.
    let fits = text.len() == (4 * N).div_ceil(3);
    let read = if fits { URL_SAFE_NO_PAD.decode_slice(text, &mut bytes[..]).ok() } else { None };
    (read == Some(N)).then_some(*bytes)
}

impl<'de> Deserialize<'de> for FileBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = u64::deserialize(deserializer)?;
        let fits = (bytes < FILE_BYTES_END).then_some(FileBytes(bytes));
        fits.ok_or_else(|| de::Error::custom("a size of a file is below 2^48"))
    }
}

impl Serialize for FileSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(&self.0[..]));
        serializer.serialize_str(&text)
    }
}

impl FromStr for FileSecret {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let secret = bytes_of(text).map(|bytes| FileSecret(Zeroizing::new(bytes)));
        secret.ok_or(FileError("expected 32 bytes in base64url, 43 characters"))
    }
}

impl Serialize for Thumb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for Thumb {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let fits = text.len() <= (4 * THUMB_BYTES_MAX).div_ceil(3);
        let bytes = if fits { URL_SAFE_NO_PAD.decode(text).ok() } else { None };
        let bytes = bytes.filter(|bytes| (5..=THUMB_BYTES_MAX).contains(&bytes.len()));
        bytes.map(Thumb).ok_or(FileError("a thumb is 5 to 28 bytes in base64url"))
    }
}

read_text!(FileSecret, Thumb);

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> Descriptor {
        Descriptor {
            v: 1,
            blob: BlobId([7; 16]),
            name: "holiday.jpg".into(),
            bytes: FileBytes(5),
            media: "image/jpeg".into(),
            key: FileSecret(Zeroizing::new([0xab; 32])),
            hash: FileSecret(Zeroizing::new([9; 32])),
            size: Some([4, 3]),
            thumb: Some(Thumb(vec![1; 21])),
            text: None,
        }
    }

    #[test]
    fn a_descriptor_is_read_as_it_was_written() {
        let own = descriptor();
        let text = own.text();
        assert_eq!(Descriptor::read(&text, own.blob), Ok(own.clone()));
        let shown = format!("{own:?} {:?}", own.key);
        assert!(!shown.contains("holiday") && !shown.contains("q6ur"), "{shown}");
    }

    #[test]
    fn a_descriptor_beyond_its_bounds_is_refused() {
        let wrong = |change: &dyn Fn(&mut Descriptor)| {
            let mut other = descriptor();
            change(&mut other);
            Descriptor::read(&other.text(), BlobId([7; 16])).is_err()
        };
        assert!(!wrong(&|_| {}));
        assert!(wrong(&|other| other.v = 2));
        assert!(wrong(&|other| other.blob = BlobId([8; 16])));
        assert!(wrong(&|other| other.name.clear()));
        assert!(wrong(&|other| other.name = "x".repeat(FILE_NAME_BYTES_MAX + 1)));
        assert!(wrong(&|other| other.media = "x".repeat(MEDIA_BYTES_MAX + 1)));
        assert!(wrong(&|other| other.size = Some([0, 3])));
        assert!(wrong(&|other| other.thumb = Some(Thumb(vec![1; THUMB_BYTES_MAX + 1]))));
        assert!(wrong(&|other| other.bytes = FileBytes(FILE_BYTES_END)));
        assert!(Descriptor::read("{}", BlobId([7; 16])).is_err());
    }

    #[test]
    fn a_blob_is_22_characters_in_one_way() {
        let blob = BlobId([255; 16]);
        assert_eq!(blob.to_string(), "_____________________w");
        assert_eq!(blob.to_string().parse(), Ok(blob));
        for text in
            ["", "_____________________x", "____________________w", "_____________________w="]
        {
            assert!(text.parse::<BlobId>().is_err(), "{text}");
        }
    }
}
