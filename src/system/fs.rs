//! Files of this computer. In a browser they are in memory, and the page's Worker stores them.

#[cfg(not(target_family = "wasm"))]
pub use std::fs::*;

#[cfg(target_family = "wasm")]
pub use super::wasm::disk::*;
