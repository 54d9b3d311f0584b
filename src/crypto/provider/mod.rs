//! Who computes: AWS-LC and ring where a C compiler is at hand (with the `server` feature), Rust alone for a
//! client without one. Both have the same names, and give the same bytes.

#[cfg(feature = "server")]
mod native;
#[cfg(any(test, not(feature = "server")))]
mod pure;

#[cfg(feature = "server")]
pub use native::*;
#[cfg(not(feature = "server"))]
pub use pure::*;

/// Bytes of an encapsulation key of ML-KEM-768 (FIPS 203, table 3) ...
pub const MLKEM_PUBLIC_BYTES: usize = 1184;
/// ... and of a ciphertext.
pub const MLKEM_CIPHERTEXT_BYTES: usize = 1088;

#[cfg(all(test, feature = "server"))]
mod tests;
