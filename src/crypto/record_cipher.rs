//! The encryption of records: AES-256-GCM with a counter and periodic rekeying (docs/protocol.md,
//! "Transport"). Each half has one owner.

use zeroize::Zeroizing;

use super::primitives::{Aead, Secret, TAG_BYTES, nonce, seal};
use crate::limits::RECORD_PLAIN_BYTES_MAX;

/// Maximum bytes of a record's body.
pub const RECORD_BODY_BYTES_MAX: usize = RECORD_PLAIN_BYTES_MAX - 1;
/// Maximum bytes of a record on the wire.
pub const RECORD_BYTES_MAX: usize = RECORD_PLAIN_BYTES_MAX + TAG_BYTES;

/// Plaintexts are padded with spaces to a multiple of this.
const PADDING_BYTES: usize = 64;
/// Number of records under one key.
const REKEY_RECORDS: u64 = 65_536;
/// Number of records in one direction of a session.
const RECORDS_MAX: u64 = 1 << 32;

/// Returns the bytes of the encrypted record of a body.
pub fn sealed_bytes(body_bytes: usize) -> usize {
    (1 + body_bytes).next_multiple_of(PADDING_BYTES) + TAG_BYTES
}

/// The only error of encryption and decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record does not open")]
pub struct RecordError;

/// The first byte of a record's plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    Json,
    Binary,
    Ping,
    Pong,
    Close,
    Login,
    /// Unknown type: skipped from 128 on, an error below.
    Other(u8),
}

impl From<u8> for RecordType {
    fn from(byte: u8) -> Self {
        match byte {
            1 => RecordType::Json,
            2 => RecordType::Binary,
            3 => RecordType::Ping,
            4 => RecordType::Pong,
            5 => RecordType::Close,
            6 => RecordType::Login,
            other => RecordType::Other(other),
        }
    }
}

impl From<RecordType> for u8 {
    fn from(kind: RecordType) -> Self {
        match kind {
            RecordType::Json => 1,
            RecordType::Binary => 2,
            RecordType::Ping => 3,
            RecordType::Pong => 4,
            RecordType::Close => 5,
            RecordType::Login => 6,
            RecordType::Other(byte) => byte,
        }
    }
}

/// A key and its counter, the state of each half.
struct Cipher {
    secret: Secret,
    key: Aead,
    counter: u64,
    rekey_records: u64,
}

/// Encrypts one direction, owned by the writer.
pub struct Sealer(Cipher);

/// Decrypts one direction, owned by the reader.
pub struct Opener(Cipher);

impl Cipher {
    fn new(secret: Secret) -> Self {
        let key = Aead::new(&secret);
        Cipher { secret, key, counter: 0, rekey_records: REKEY_RECORDS }
    }

    /// Returns the next counter. Renews the key first when it is due.
    fn next(&mut self) -> Result<u64, RecordError> {
        let counter = self.counter;
        if counter >= RECORDS_MAX {
            return Err(RecordError);
        }
        if counter > 0 && counter.is_multiple_of(self.rekey_records) {
            let next = Zeroizing::new(seal(&self.secret, u64::MAX, b"", &[0; 32]));
            self.secret.copy_from_slice(&next[..32]);
            self.key = Aead::new(&self.secret);
        }
        self.counter += 1;
        Ok(counter)
    }
}

/// Both halves of one direction, for other modules' tests.
#[cfg(test)]
pub fn pair(secret: [u8; 32]) -> (Sealer, Opener) {
    (Sealer::new(Zeroizing::new(secret)), Opener::new(Zeroizing::new(secret)))
}

impl Sealer {
    pub(super) fn new(secret: Secret) -> Self {
        Sealer(Cipher::new(secret))
    }

    /// For tests of the rekeying, in which both halves must have the same interval.
    #[doc(hidden)]
    pub fn rekey_every(&mut self, records: u64) {
        self.0.rekey_records = records;
    }

    /// Appends the encrypted record of `kind` and `body`, without its length prefix, to `out`.
    /// `body` has at most `RECORD_BODY_BYTES_MAX` bytes. An error if the counter is exhausted: the
    /// session must end.
    pub fn seal(
        &mut self,
        kind: RecordType,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        self.seal_parts(kind, [body, b""], out)
    }

    /// Does the same for a body in two parts, so that a caller need not join them.
    pub fn seal_parts(
        &mut self,
        kind: RecordType,
        parts: [&[u8]; 2],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let body_bytes = parts[0].len() + parts[1].len();
        if body_bytes > RECORD_BODY_BYTES_MAX {
            return Err(RecordError);
        }
        let counter = self.0.next()?;
        let start = out.len();
        out.push(kind.into());
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.resize(start + sealed_bytes(body_bytes) - TAG_BYTES, b' ');
        let plain = &mut out[start..];
        let tag = self.0.key.seal(nonce(counter), b"", plain);
        out.extend_from_slice(&tag.ok_or(RecordError)?);
        Ok(())
    }
}

impl Opener {
    pub(super) fn new(secret: Secret) -> Self {
        Opener(Cipher::new(secret))
    }

    /// For tests of the rekeying, in which both halves must have the same interval.
    #[doc(hidden)]
    pub fn rekey_every(&mut self, records: u64) {
        self.0.rekey_records = records;
    }

    /// Decrypts in place. Returns the body without padding: trailing spaces of a body are padding.
    /// A binary body may end in spaces of its own, so that it is returned with its padding and must
    /// contain its length.
    pub fn open<'a>(
        &mut self,
        record: &'a mut [u8],
    ) -> Result<(RecordType, &'a [u8]), RecordError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(RecordError);
        }
        let counter = self.0.next()?;
        let plain = &*self.0.key.open(nonce(counter), b"", record).ok_or(RecordError)?;
        let (kind, body) = plain.split_first().ok_or(RecordError)?;
        let kind = (*kind).into();
        let end = match kind {
            RecordType::Binary => body.len(),
            _ => body.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1),
        };
        Ok((kind, &body[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn halves() -> (Sealer, Opener) {
        let secret = || Zeroizing::new([7; 32]);
        (Sealer::new(secret()), Opener::new(secret()))
    }

    fn sealed(sealer: &mut Sealer, body: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        sealer.seal(RecordType::Json, body, &mut record).unwrap();
        record
    }

    #[test]
    fn thousands_of_records_through_many_keys() {
        let (mut sealer, mut opener) = halves();
        sealer.rekey_every(7);
        opener.rekey_every(7);
        let mut first_key_still_opens = 0;
        let (_, mut stale) = halves();
        for number in 0..5_000u32 {
            let body = number.to_string();
            let mut record = sealed(&mut sealer, body.as_bytes());
            first_key_still_opens += usize::from(stale.open(&mut record.clone()).is_ok());
            let opened = opener.open(&mut record).unwrap();
            assert_eq!(opened, (RecordType::Json, body.as_bytes()));
        }
        assert_eq!(first_key_still_opens, 7, "a key opens its own records only");
    }

    #[test]
    fn a_replayed_reordered_or_dropped_record_does_not_open() {
        let (mut sealer, mut opener) = halves();
        let records: Vec<_> = (0..3).map(|_| sealed(&mut sealer, b"hi")).collect();
        opener.open(&mut records[0].clone()).unwrap();
        assert_eq!(opener.open(&mut records[0].clone()), Err(RecordError));
        let (_, mut opener) = halves();
        assert_eq!(opener.open(&mut records[1].clone()), Err(RecordError));
    }

    #[test]
    fn a_body_over_the_limit_is_not_sealed() {
        let (mut sealer, _) = halves();
        let body = vec![b'x'; RECORD_BODY_BYTES_MAX + 1];
        assert_eq!(sealer.seal(RecordType::Json, &body, &mut Vec::new()), Err(RecordError));
        assert_eq!(sealed(&mut sealer, &body[1..]).len(), RECORD_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_is_padded(body in "[^ ]{0,300}") {
            let (mut sealer, mut opener) = halves();
            let mut record = sealed(&mut sealer, body.as_bytes());
            prop_assert_eq!((record.len() - TAG_BYTES) % PADDING_BYTES, 0);
            let opened = opener.open(&mut record).unwrap();
            prop_assert_eq!(opened, (RecordType::Json, body.as_bytes()));
        }

        #[test]
        fn a_binary_body_keeps_its_own_spaces(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut sealer, mut opener) = halves();
            let body = [&body[..], b" "].concat();
            let mut record = Vec::new();
            sealer.seal(RecordType::Binary, &body, &mut record).unwrap();
            let (kind, opened) = opener.open(&mut record).unwrap();
            prop_assert_eq!(kind, RecordType::Binary);
            prop_assert_eq!(&opened[..body.len()], &body[..]);
            prop_assert!(opened[body.len()..].iter().all(|byte| *byte == b' '));
        }

        #[test]
        fn a_flipped_bit_is_noticed(bit in 0usize..640) {
            let (mut sealer, mut opener) = halves();
            let mut record = sealed(&mut sealer, b"hello");
            record[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(opener.open(&mut record), Err(RecordError));
        }

        #[test]
        fn garbage_does_not_open(mut record in prop::collection::vec(any::<u8>(), 0..200)) {
            let (_, mut opener) = halves();
            prop_assert!(opener.open(&mut record).is_err());
        }
    }
}
