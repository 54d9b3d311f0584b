//! Device tickets: random, and stored by the server as a hash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::password::PasswordHash;
use super::primitives::{equal, random, sha256};
use crate::chat::Ticket;

const LABEL: &[u8] = b"pychat/1 device ticket";

/// SHA-256 of a ticket, or of the password hash to which a ticket belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// Returns a new ticket.
pub fn fresh() -> Ticket {
    Ticket::new(random())
}

impl Digest {
    pub fn of(ticket: &Ticket) -> Digest {
        Digest(sha256(&[LABEL, &ticket.reveal()[..]]))
    }

    pub fn of_password(password: &PasswordHash) -> Digest {
        Digest(sha256(&[LABEL, password.text().as_bytes()]))
    }

    /// Compares in constant time.
    pub fn is_same(&self, other: &Digest) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = STANDARD_NO_PAD.decode(String::deserialize(from)?).unwrap_or_default();
        let bytes = bytes.try_into().map(Digest);
        bytes.map_err(|_| de::Error::custom("a digest is base64 of 32 bytes"))
    }
}
