//! Providers of the primitives: AWS-LC and ring with a C compiler (feature `server`), only Rust for
//! a client without one. Both have the same functions and results.

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
