//! Functions that differ between Unix and Windows, under the same names. No other module checks the
//! operating system.

mod graphics;
mod reserve;
mod signal;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use graphics::{GRAPHICS_QUERY, Heard};
pub use signal::Signal;
#[cfg(unix)]
pub use unix::{files, programs, terminal};
#[cfg(windows)]
pub use windows::{files, programs, terminal};

#[cfg(all(windows, feature = "server"))]
compile_error!("the server needs a Unix: build the client with --no-default-features");
