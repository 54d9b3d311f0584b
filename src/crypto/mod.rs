//! The hop: identities, the handshake as states and the record cipher. Pure: bytes in, bytes out.
//! `docs/protocol.md` is the authority for every byte.

mod dhkem;
pub mod handshake;
pub mod identity;
pub mod key_request;
mod primitives;
pub mod record_cipher;

pub use identity::{Fingerprint, Identity, KeyError, PublicKey};
pub use primitives::sha256;
pub use record_cipher::{Opener, RecordType, Sealer};
