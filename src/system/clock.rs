//! The clocks: the time of day, and one that only moves on.

#[cfg(not(target_family = "wasm"))]
pub use std::time::Instant;

#[cfg(target_family = "wasm")]
pub use super::wasm::clock::{Instant, now_ms};

/// Returns the time of day, in milliseconds since 1970.
#[cfg(not(target_family = "wasm"))]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
