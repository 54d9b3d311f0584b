//! Functions that differ between Unix and Windows, under the same names. No other module checks the
//! operating system.

pub mod clock;
pub mod fs;
#[cfg(not(target_family = "wasm"))]
mod graphics;
#[cfg(not(target_family = "wasm"))]
mod reserve;
#[cfg(not(target_family = "wasm"))]
mod signal;
pub mod threads;
#[cfg(unix)]
mod unix;
#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(windows)]
mod windows;

#[cfg(not(target_family = "wasm"))]
pub use graphics::{GRAPHICS_QUERY, Heard};
#[cfg(not(target_family = "wasm"))]
pub use signal::Signal;
#[cfg(unix)]
pub use unix::{files, programs, terminal};
#[cfg(target_family = "wasm")]
pub use wasm::{clock::set as set_clock, disk, files, programs};
#[cfg(windows)]
pub use windows::{files, programs, terminal};

#[cfg(all(windows, feature = "server"))]
compile_error!("the server needs a Unix: build the client with --no-default-features");
