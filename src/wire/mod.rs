//! Framing of records, and the JSON in them. Pure functions.

pub mod codec;
pub mod record;
mod short;

pub use short::stored_fields;
