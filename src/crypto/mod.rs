//! The hop (identities, the handshake as states, the record cipher) and what lies inside it from
//! end to end (certificates, private messages, channels with a PIN). Pure: bytes in, bytes out.
//! `docs/protocol.md` is the authority for every byte.

pub mod at_rest;
pub mod certificate;
pub mod context;
mod dhkem;
pub mod file;
pub mod handshake;
mod handshake_error;
pub mod header;
pub mod hello;
mod hybrid;
pub mod identity;
pub mod key_request;
pub mod lineage;
mod parameters;
pub mod password;
pub mod pin_channel;
mod primitives;
pub mod private;
mod provider;
pub mod record_cipher;
pub mod session_ticket;
pub mod succession;
pub mod ticket;

pub use identity::{Fingerprint, Identity, KeyError, PublicKey};
pub use primitives::{equal, hmac_sha256, random, sha256};
pub use record_cipher::{Opener, RecordType, Sealer};

#[cfg(test)]
mod sealed_vectors_tests;
#[cfg(test)]
pub(crate) mod test_keys;
