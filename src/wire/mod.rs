//! Framing of records, and the JSON and bytes in them. Pure functions.

pub mod codec;
#[cfg(test)]
mod dripping;
#[cfg(not(target_family = "wasm"))]
pub mod http;
#[cfg(feature = "server")]
pub mod proxy;
pub mod record;
mod short;
pub mod transfer;
#[cfg(not(target_family = "wasm"))]
pub mod websocket;

pub use short::stored_fields;
