//! A device ticket: a secret that a server gives to a device after a correct password. A thief of
//! the key alone has none, so the server can distinguish the two if they have one address.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

pub const TICKET_BYTES: usize = 32;

/// The secret: never shown, never logged, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(Zeroizing<[u8; TICKET_BYTES]>);

impl Ticket {
    pub fn new(bytes: [u8; TICKET_BYTES]) -> Ticket {
        Ticket(Zeroizing::new(bytes))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &[u8; TICKET_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(STANDARD_NO_PAD.encode(&self.0[..])))
    }
}

impl<'de> Deserialize<'de> for Ticket {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.as_bytes()).unwrap_or_default());
        let bytes = bytes[..].try_into().map(Ticket::new);
        bytes.map_err(|_| de::Error::custom("a ticket is base64 of 32 bytes, without padding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_shown_to_nobody() {
        let ticket = Ticket::new(std::array::from_fn(|at| at as u8));
        let text = serde_json::to_string(&ticket).unwrap();
        assert_eq!(serde_json::from_str::<Ticket>(&text).unwrap(), ticket);
        assert_eq!(format!("{ticket:?}"), "Ticket");
        let longer = format!("\"{}\"", STANDARD_NO_PAD.encode([7; 33]));
        for bad in ["\"\"", "\"AAAA\"", "7", "null", &longer, &text.replace('"', "\"=")] {
            assert!(serde_json::from_str::<Ticket>(bad).is_err(), "{bad}");
        }
    }
}
