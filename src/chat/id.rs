//! Identifiers. They are text on the wire, because JavaScript numbers are exact only up to 2^53.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A message's position in its conversation: 1, 2, 3 and so on without gaps. Decimal text on the
/// wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// The epoch of a conversation's log. A log that starts again (because it was in memory only, or
/// restored from a backup) gets a new id, so that a client does not mistake its seqs for those of
/// the old log. 16 hex digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A position in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPoint {
    pub epoch: Epoch,
    pub seq: Seq,
}

/// A message's id, chosen by the sender: 128 random bits, 32 lower-case hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgId(pub [u8; 16]);

const HEX: &[u8; 16] = b"0123456789abcdef";

/// An authenticated connection, unique while the server runs. Never on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Hashes numbers that this process counts itself, which nobody can choose so that they collide.
#[derive(Clone, Copy, Default)]
pub struct CountedHasher(u64);

/// A map by numbers that this process counts itself.
pub type CountedMap<K, V> = HashMap<K, V, BuildHasherDefault<CountedHasher>>;

impl Hasher for CountedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: the map uses the highest and the lowest bits.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// The text is not an id of the expected form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdError(&'static str);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Seq {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| plain);
        number.map(Seq).ok_or(IdError("a seq is a decimal number as text"))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| plain);
        number.map(Epoch).ok_or(IdError("a log id is 16 hex digits"))
    }
}

impl MsgId {
    /// Calls `take` with the id's digits.
    fn with_digits<T>(&self, take: impl FnOnce(&str) -> T) -> T {
        // Every message is sent with its id: a table is faster than formatting numbers.
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        take(std::str::from_utf8(&hex).expect("digits are ASCII"))
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_digits(|digits| f.write_str(digits))
    }
}

impl Serialize for MsgId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_digits(|digits| serializer.serialize_str(digits))
    }
}

impl fmt::Debug for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MsgId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = IdError("a message id is 32 lower-case hex digits");
        let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| wrong)?;
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(wrong),
        };
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Ok(MsgId(id))
    }
}

/// Implements serde as text, by `Display` and `FromStr`.
macro_rules! as_text {
    ($($kind:ty),+) => {$(
        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        $crate::chat::id::read_text!($kind);
    )+};
}

/// Parses text where it is: a name or an id in a message is not copied first.
pub(crate) struct Parsed<T>(pub std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Implements `Deserialize` from text, by `FromStr`.
macro_rules! read_text {
    ($($kind:ty),+) => {$(
        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::chat::id::Parsed::<$kind>(std::marker::PhantomData))
            }
        }
    )+};
}
pub(crate) use {as_text, read_text};

as_text!(Seq, Epoch);
read_text!(MsgId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_travel_as_text() {
        let id = MsgId([0xab; 16]);
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text, format!("\"{}\"", "ab".repeat(16)));
        assert_eq!(serde_json::from_str::<MsgId>(&text).unwrap(), id);
        assert_eq!(serde_json::to_string(&Seq(u64::MAX)).unwrap(), "\"18446744073709551615\"");
    }

    #[test]
    fn nothing_else_is_an_id() {
        for text in ["", "AB", "+1", "1 ", "18446744073709551616", "-1"] {
            assert!(text.parse::<MsgId>().is_err());
        }
        for text in ["+1", "1 ", "18446744073709551616", "-1", "0x1"] {
            assert!(text.parse::<Seq>().is_err(), "{text}");
        }
        assert!("AB".repeat(16).parse::<MsgId>().is_err());
    }
}
