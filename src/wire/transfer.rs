//! Records of type 2: bytes of files, and how far each side has come (docs/protocol.md, "Transfer
//! record"). Binary: a record of a chunk would grow by a third in base64.

use crate::limits::RECORD_PLAIN_BYTES_MAX;

/// Bytes of DATA before its content: operation, transfer, offset, number of bytes.
const DATA_HEAD_BYTES: usize = 1 + 4 + 8 + 2;
/// Bytes of a file that one record carries, so that DATA fills exactly one record.
pub const DATA_BYTES_MAX: usize = RECORD_PLAIN_BYTES_MAX - 1 - DATA_HEAD_BYTES;
/// Bytes of padding that a record can have, less than this.
const PADDING_BYTES: usize = 64;

const DATA: u8 = 1;
const HAVE: u8 = 2;
const WANT: u8 = 3;
const STOP: u8 = 4;

/// The body of a record of type 2. `transfer` is the number that the server gave the transfer; an
/// offset counts bytes of the stored file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferRecord<'a> {
    /// The bytes at `offset`.
    Data { transfer: u32, offset: u64, bytes: &'a [u8] },
    /// The receiver of an upload has written all bytes before `written`, and accepts those before
    /// `limit`.
    Have { transfer: u32, written: u64, limit: u64 },
    /// The receiver of a download accepts all bytes before `upto`.
    Want { transfer: u32, upto: u64 },
    /// The transfer has ended before its last byte. 0 is a cancellation.
    Stop { transfer: u32, code: u8 },
}

/// The body of a record of type 2 is none of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transfer record that has another form")]
pub struct TransferError;

/// Replaces `out` by the body of DATA up to its bytes, for a caller that appends them.
///
/// # Panics
/// DATA has no bytes, or more than `DATA_BYTES_MAX`.
pub fn data_head(transfer: u32, offset: u64, bytes: usize, out: &mut Vec<u8>) {
    assert!((1..=DATA_BYTES_MAX).contains(&bytes), "DATA fits a record");
    out.clear();
    out.reserve_exact(DATA_HEAD_BYTES + bytes);
    out.push(DATA);
    out.extend_from_slice(&transfer.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&(bytes as u16).to_be_bytes());
}

impl<'a> TransferRecord<'a> {
    /// Returns the number of the transfer.
    pub fn transfer(&self) -> u32 {
        match *self {
            TransferRecord::Data { transfer, .. }
            | TransferRecord::Have { transfer, .. }
            | TransferRecord::Want { transfer, .. }
            | TransferRecord::Stop { transfer, .. } => transfer,
        }
    }

    /// Replaces `out` by the body of the record.
    ///
    /// # Panics
    /// DATA has no bytes, or more than `DATA_BYTES_MAX`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.encode_head(out);
        out.extend_from_slice(bytes);
    }

    /// Replaces `out` by the beginning of the body. Returns its rest: the bytes of DATA.
    ///
    /// # Panics
    /// As `encode`.
    pub fn encode_head(&self, out: &mut Vec<u8>) -> &'a [u8] {
        out.clear();
        let mut head = |operation: u8, transfer: u32| {
            out.push(operation);
            out.extend_from_slice(&transfer.to_be_bytes());
        };
        match *self {
            TransferRecord::Data { transfer, offset, bytes } => {
                data_head(transfer, offset, bytes.len(), out);
                return bytes;
            }
            TransferRecord::Have { transfer, written, limit } => {
                head(HAVE, transfer);
                out.extend_from_slice(&written.to_be_bytes());
                out.extend_from_slice(&limit.to_be_bytes());
            }
            TransferRecord::Want { transfer, upto } => {
                head(WANT, transfer);
                out.extend_from_slice(&upto.to_be_bytes());
            }
            TransferRecord::Stop { transfer, code } => {
                head(STOP, transfer);
                out.push(code);
            }
        }
        &[]
    }

    /// Reads the body of a record with its padding, as the tunnel opens records of this type. The
    /// bytes of DATA are a part of it: nothing is allocated.
    ///
    /// # Errors
    /// An unknown operation, a missing byte, DATA without bytes or whose end is above 2^64, or more
    /// than padding behind the record.
    pub fn parse(body: &'a [u8]) -> Result<Self, TransferError> {
        let mut rest = body;
        let operation = take::<1>(&mut rest)?[0];
        let transfer = u32::from_be_bytes(take(&mut rest)?);
        let record = match operation {
            DATA => {
                let offset = number(&mut rest)?;
                let bytes = usize::from(u16::from_be_bytes(take(&mut rest)?));
                let is_whole = (1..=DATA_BYTES_MAX).contains(&bytes)
                    && offset.checked_add(bytes as u64).is_some();
                let (bytes, after) =
                    rest.split_at_checked(bytes).filter(|_| is_whole).ok_or(TransferError)?;
                rest = after;
                TransferRecord::Data { transfer, offset, bytes }
            }
            HAVE => TransferRecord::Have {
                transfer,
                written: number(&mut rest)?,
                limit: number(&mut rest)?,
            },
            WANT => TransferRecord::Want { transfer, upto: number(&mut rest)? },
            STOP => TransferRecord::Stop { transfer, code: take::<1>(&mut rest)?[0] },
            _ => return Err(TransferError),
        };
        let is_padding = rest.len() < PADDING_BYTES && rest.iter().all(|byte| *byte == b' ');
        if is_padding { Ok(record) } else { Err(TransferError) }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], TransferError> {
    let (taken, after) = rest.split_first_chunk().ok_or(TransferError)?;
    *rest = after;
    Ok(*taken)
}

fn number(rest: &mut &[u8]) -> Result<u64, TransferError> {
    take(rest).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn encoded(record: &TransferRecord<'_>) -> Vec<u8> {
        let mut body = vec![7];
        record.encode(&mut body);
        body
    }

    /// As the tunnel opens it: with the padding of the whole plaintext, type included.
    fn carried(body: &[u8]) -> Vec<u8> {
        let mut carried = body.to_vec();
        carried.resize((1 + body.len()).next_multiple_of(PADDING_BYTES) - 1, b' ');
        carried
    }

    #[test]
    fn the_longest_data_fills_one_record() {
        let bytes = [b' '; DATA_BYTES_MAX];
        let record = TransferRecord::Data { transfer: 1, offset: 2, bytes: &bytes };
        let body = encoded(&record);
        assert_eq!((DATA_BYTES_MAX, 1 + body.len()), (16_368, RECORD_PLAIN_BYTES_MAX));
        assert_eq!(TransferRecord::parse(&carried(&body)), Ok(record));
    }

    #[test]
    fn another_form_is_refused() {
        let stop = encoded(&TransferRecord::Stop { transfer: 1, code: 0 });
        let with = |tail: &[u8]| TransferRecord::parse(&[&stop[..], tail].concat()).is_ok();
        assert!(with(&[b' '; 63]));
        assert!(!with(&[b' '; 64]) && !with(b"\0") && !with(b" \n "));
        let data = |offset: u64, n: u16, tail: &[u8]| {
            let head = [&[DATA, 0, 0, 0, 1][..], &offset.to_be_bytes(), &n.to_be_bytes()].concat();
            TransferRecord::parse(&[&head[..], tail].concat()).is_ok()
        };
        assert!(data(0, 2, b"ab") && data(u64::MAX - 1, 1, b"a"));
        assert!(!data(0, 3, b"ab"), "a byte is missing");
        assert!(!data(0, 0, b""), "DATA has a byte at least");
        assert!(!data(u64::MAX, 1, b"a"), "no byte is above 2^64");
        assert!(!data(0, u16::MAX, &[0; 65_535]), "no record holds so many");
        for operation in [0, 5, 255] {
            assert!(TransferRecord::parse(&[operation, 0, 0, 0, 1, 0, 0, 0, 0]).is_err());
        }
    }

    /// The test vectors of docs/protocol.md.
    #[test]
    fn the_vectors_of_the_document_agree() {
        let vectors = include_str!("../../tests/data/transfer.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let bytes = |value: &Value| {
            let text = value.as_str().unwrap();
            let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(byte).collect::<Vec<_>>()
        };
        for vector in vectors["records"].as_array().unwrap() {
            let field = |name: &str| vector[name].as_u64().unwrap();
            let transfer = field("transfer") as u32;
            let data = bytes(vector.get("bytes").unwrap_or(&Value::String(String::new())));
            let record = match vector["op"].as_str().unwrap() {
                "data" => TransferRecord::Data { transfer, offset: field("offset"), bytes: &data },
                "have" => {
                    let (written, limit) = (field("written"), field("limit"));
                    TransferRecord::Have { transfer, written, limit }
                }
                "want" => TransferRecord::Want { transfer, upto: field("upto") },
                "stop" => TransferRecord::Stop { transfer, code: field("code") as u8 },
                other => panic!("{other}"),
            };
            let plain = bytes(&vector["plain"]);
            let body = encoded(&record);
            assert_eq!(plain[..=body.len()], [&[2][..], &body].concat());
            assert_eq!(carried(&body), plain[1..]);
            assert_eq!(TransferRecord::parse(&plain[1..]), Ok(record));
        }
        for refused in vectors["refused"].as_array().unwrap() {
            let body = bytes(&refused["body"]);
            assert!(TransferRecord::parse(&body).is_err(), "{}", refused["what"]);
        }
    }

    proptest! {
        #[test]
        fn a_record_arrives_as_it_was_sent(
            mut bytes in prop::collection::vec(any::<u8>(), 1..200),
            spaces in 0usize..140,
            transfer: u32,
            first in 0..u64::MAX - 1_000,
            limit: u64,
            code: u8,
        ) {
            bytes.extend(vec![b' '; spaces]);
            for sent in [
                TransferRecord::Data { transfer, offset: first, bytes: &bytes },
                TransferRecord::Have { transfer, written: first, limit },
                TransferRecord::Want { transfer, upto: limit },
                TransferRecord::Stop { transfer, code },
            ] {
                prop_assert_eq!(sent.transfer(), transfer);
                let body = carried(&encoded(&sent));
                prop_assert_eq!(TransferRecord::parse(&body), Ok(sent));
            }
        }

        #[test]
        fn any_bytes_are_a_record_in_one_form_only(body in prop::collection::vec(any::<u8>(), 0..90)) {
            if let Ok(record) = TransferRecord::parse(&body) {
                let again = encoded(&record);
                prop_assert_eq!(&body[..again.len()], &again[..]);
                prop_assert!(body[again.len()..].iter().all(|byte| *byte == b' '));
            }
        }
    }
}
