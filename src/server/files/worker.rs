//! The thread that syncs, renames and unlinks files, so that neither sessions nor commits wait.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use crate::server::stop::{Stop, essential};

pub type Job = Box<dyn FnOnce() + Send>;

/// The queue of the thread `files`. An upload adds a sync for each `sync_bytes`, and one job at its
/// end. Removals add one job per batch, or per file without a row.
pub struct Worker(Sender<Job>);

impl Worker {
    /// Starts the thread, which ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(stop: &Arc<Stop>) -> anyhow::Result<Worker> {
        let (jobs, queue) = mpsc::channel::<Job>();
        essential("files", stop, move || queue.into_iter().for_each(|job| job()))?;
        Ok(Worker(jobs))
    }

    /// Returns a queue without a thread, and its receiver.
    #[cfg(test)]
    pub fn held() -> (Worker, std::sync::mpsc::Receiver<Job>) {
        let (jobs, queue) = mpsc::channel();
        (Worker(jobs), queue)
    }

    pub fn push(&self, job: Job) {
        // The thread ends with the process only.
        let _ = self.0.send(job);
    }
}
