//! Bytes that a server stores and forwards without interpreting them: sealed bodies and keys.
//! Base64 on the wire.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A byte string that is never empty.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Opaque(Arc<[u8]>);

/// The byte string is empty or not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected base64 of at least one byte, without padding")]
pub struct OpaqueError;

impl Opaque {
    pub fn new(bytes: &[u8]) -> Result<Opaque, OpaqueError> {
        if bytes.is_empty() { Err(OpaqueError) } else { Ok(Opaque(bytes.into())) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in characters on the wire.
    pub fn wire_len(&self) -> usize {
        (4 * self.0.len()).div_ceil(3)
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as Deserialize>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text.as_bytes());
        bytes
            .ok()
            .and_then(|bytes| Opaque::new(&bytes).ok())
            .ok_or_else(|| de::Error::custom(OpaqueError))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_on_the_wire_and_nothing_else_parses() {
        let opaque = Opaque::new(&[0, 255, 7, 9]).unwrap();
        let text = serde_json::to_string(&opaque).unwrap();
        assert_eq!(text.len() - 2, opaque.wire_len());
        assert_eq!(serde_json::from_str::<Opaque>(&text).unwrap(), opaque);
        for bad in ["\"\"", "\"AA==\"", "\"A\"", "\"a b\"", "7", "null"] {
            assert!(serde_json::from_str::<Opaque>(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{opaque:?}"), "Opaque(4 bytes)");
    }
}
