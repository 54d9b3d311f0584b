//! What Unix and Windows each do in their own way, under the same names: the one place that asks which
//! system this is.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{files, programs, terminal};
#[cfg(windows)]
pub use windows::{files, programs, terminal};

#[cfg(all(windows, feature = "server"))]
compile_error!("the server needs a Unix: build the client with --no-default-features");

/// What the system tells a program that has the full screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C, from somewhere else than this terminal in raw mode.
    Interrupt,
    End,
    /// Into the background, and back from it.
    Suspend,
    Continue,
}
