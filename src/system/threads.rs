//! Threads. A browser's Worker has none: there a job is done at once.

/// Starts a job on a thread of its own.
///
/// # Panics
/// The system gives no thread.
#[cfg(not(target_family = "wasm"))]
pub fn start(name: &str, job: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(job);
    spawned.expect("a client can start a thread");
}

/// Does a job.
#[cfg(target_family = "wasm")]
pub fn start(_name: &str, job: impl FnOnce() + Send + 'static) {
    job();
}
