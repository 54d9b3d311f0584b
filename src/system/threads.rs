//! Threads. A browser's Worker has none: there a job is done at once.

use std::io;

/// Starts a job on a thread of its own.
///
/// # Panics
/// The system cannot start a thread.
#[cfg(not(target_family = "wasm"))]
pub fn start(name: &str, job: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(job);
    spawned.expect("a client can start a thread");
}

/// Starts a job on a thread of its own.
///
/// # Errors
/// The system cannot start a thread.
#[cfg(not(target_family = "wasm"))]
pub fn try_start(name: &str, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(job).map(drop)
}

/// Runs a job.
#[cfg(target_family = "wasm")]
pub fn start(_name: &str, job: impl FnOnce() + Send + 'static) {
    job();
}

/// Runs a job.
///
/// # Errors
/// None.
#[cfg(target_family = "wasm")]
pub fn try_start(_name: &str, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    job();
    Ok(())
}
