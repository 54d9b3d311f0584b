//! The one error of the handshake.

/// The one failure of a handshake, whatever its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handshake failed")]
pub struct HandshakeError;
