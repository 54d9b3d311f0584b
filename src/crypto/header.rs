//! The header of a sealed message, and the padding of its content (docs/protocol.md, "Sealed
//! messages").

use zeroize::Zeroizing;

use super::certificate::CERTIFICATE_BYTES;
use super::context::Context;
use super::primitives::sha256;
use crate::chat::{BlobId, Kind, MsgId};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16 + 8 + 1 + 1 + 16 + 16 + 8 + 32;
/// The first byte of a sealed message.
pub(super) const VERSION: u8 = 1;
/// Content with its length is padded to a multiple of this.
const PADDING_BYTES: usize = 64;

/// The number of the kind `file`, whose header has the blob in the place of the changed message.
const FILE: u8 = 4;

/// The target of a message that changes no other one.
const NONE: MsgId = MsgId([0; 16]);

/// The reason why a sealed message is not decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it is not what a sealed message looks like")]
    Malformed,
    #[error("it is not sealed to this device")]
    NotForMe,
    #[error("it does not open")]
    Closed,
    #[error("its signature does not hold")]
    Forged,
}

/// A message's position among its sender's messages in the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Identifies one run of a client in a conversation.
    pub session: [u8; 16],
    /// Number of earlier messages of the session.
    pub n: u64,
    /// The hash of the sender's previous message; zeros if it is not known.
    pub prev: [u8; 32],
}

/// The content type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType(pub u8);

/// The fields that a message states itself. The server's must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: MsgId,
    /// The sender's clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// A change identifies its target by id; zeros if there is none.
    pub kind: Kind<MsgId>,
    pub content: ContentType,
    pub link: ChainLink,
}

/// A message before encryption.
#[derive(Clone, Copy)]
pub struct Plaintext<'a> {
    pub context: &'a Context,
    pub header: &'a Header,
    pub text: &'a str,
}

/// A decrypted message.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    pub header: Header,
    /// `None` if this version does not know the content type.
    pub text: Option<String>,
}

impl ContentType {
    pub const TEXT: ContentType = ContentType(0);
    /// The descriptor of a file, in messages of kind `file` alone.
    pub const FILE: ContentType = ContentType(1);

    /// Returns the content type of messages of this kind.
    pub fn of<Of: Copy>(kind: Kind<Of>) -> ContentType {
        if kind.blob().is_some() { ContentType::FILE } else { ContentType::TEXT }
    }
}

impl Opened {
    pub(super) fn new(header: Header, padded: &[u8]) -> Result<Opened, SealError> {
        let content = unpad(padded).ok_or(SealError::Malformed)?;
        let known = header.content == ContentType::of(header.kind);
        let text = known.then(|| str::from_utf8(content).map(str::to_owned)).transpose();
        let text = text.map_err(|_| SealError::Malformed)?;
        Ok(Opened { header, text })
    }
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let kind = [self.kind.code(), self.content.0];
        let of =
            self.kind.blob().map(|BlobId(blob)| MsgId(blob)).or(self.kind.of()).unwrap_or(NONE);
        let (time, n) = (self.time_ms.to_be_bytes(), self.link.n.to_be_bytes());
        let parts: [&[u8]; 7] =
            [&self.id.0, &time, &kind, &of.0, &self.link.session, &n, &self.link.prev];
        parts.concat().try_into().expect("the parts have these lengths")
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Header> {
        let mut bytes = bytes;
        let id = MsgId(take(&mut bytes)?);
        let time_ms = u64::from_be_bytes(take(&mut bytes)?);
        let [code, content] = take(&mut bytes)?;
        let of = Some(MsgId(take(&mut bytes)?)).filter(|of| *of != NONE);
        let header = Header {
            id,
            time_ms,
            kind: match of {
                Some(MsgId(blob)) if code == FILE => Kind::File { blob: BlobId(blob) },
                of => Kind::from_code(code, of, None)?,
            },
            content: ContentType(content),
            link: ChainLink {
                session: take(&mut bytes)?,
                n: u64::from_be_bytes(take(&mut bytes)?),
                prev: take(&mut bytes)?,
            },
        };
        bytes.is_empty().then_some(header)
    }
}

/// Returns the claimed certificate of the sender, which follows the version.
pub fn claimed_sender(body: &[u8]) -> Result<&[u8; CERTIFICATE_BYTES], SealError> {
    let after = body.strip_prefix(&[VERSION]).ok_or(SealError::Malformed)?;
    after.first_chunk().ok_or(SealError::Malformed)
}

/// Returns the hash by which the sender's next message refers to this one.
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    sha256(&[b"pychat/1 message", body])
}

/// Removes and returns the first bytes.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// Returns a length, the text, and zeros up to a multiple of 64.
pub(super) fn pad(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let length = u16::try_from(text.len()).ok()?;
    let bytes = (2 + text.len()).next_multiple_of(PADDING_BYTES);
    let mut padded = Zeroizing::new(Vec::with_capacity(bytes));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(text.as_bytes());
    padded.resize(bytes, 0);
    Some(padded)
}

fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let mut rest = padded;
    let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let (content, zeros) = rest.split_at_checked(length)?;
    let canonical = padded.len() == (2 + length).next_multiple_of(PADDING_BYTES);
    if !canonical || zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_comes_back_from_its_padding(text in "\\PC{0,200}") {
            let padded = pad(&text).unwrap();
            prop_assert_eq!(padded.len() % PADDING_BYTES, 0);
            prop_assert_eq!(unpad(&padded), Some(text.as_bytes()));
        }

        #[test]
        fn whatever_comes_is_read_in_one_way(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(Ok(text)) = unpad(&bytes).map(str::from_utf8) {
                prop_assert_eq!(&pad(text).unwrap()[..], &bytes[..]);
            }
            if let Some(header) = Header::from_bytes(&bytes) {
                prop_assert_eq!(&header.to_bytes()[..], &bytes[..]);
            }
        }
    }
}
