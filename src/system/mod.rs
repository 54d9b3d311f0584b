//! What Unix and Windows each do in their own way, under the same names: the one place that asks
//! which system this is.

mod signal;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use signal::Signal;
#[cfg(unix)]
pub use unix::{files, programs, terminal};
#[cfg(windows)]
pub use windows::{files, programs, terminal};

#[cfg(all(windows, feature = "server"))]
compile_error!("the server needs a Unix: build the client with --no-default-features");
