//! Who computes: AWS-LC and ring where a C compiler is at hand (with the `server` feature), Rust
//! alone for a client without one. Both have the same names, and give the same bytes.

#[cfg(feature = "server")]
mod native;
#[cfg(any(test, not(feature = "server")))]
mod pure;

#[cfg(feature = "server")]
pub use native::*;
#[cfg(not(feature = "server"))]
pub use pure::*;

#[cfg(all(test, feature = "server"))]
mod tests;
