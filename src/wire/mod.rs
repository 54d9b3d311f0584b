//! Bytes and values: framing of records and the JSON inside them. Pure.

pub mod codec;
pub mod record;
mod short;

pub use short::stored_fields;
