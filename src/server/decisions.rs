//! Writes operators' decisions. One thread does it, so that a disk that hangs delays no other
//! decision.

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::backlog::Backlog;
use crate::file::FileError;

/// Time for which an operator waits until a decision is on disk.
pub const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// Access to the thread that writes decisions.
pub struct Decisions(Arc<Backlog<Write>>);

struct Write {
    write: Box<dyn FnOnce() -> Result<(), FileError> + Send>,
    done: mpsc::Sender<Result<(), FileError>>,
}

/// Whether a decision is on disk.
#[derive(Debug)]
pub enum Saved {
    Yes,
    /// It could not be written.
    Failed(FileError),
    /// The disk has not answered within [`DISK_PATIENCE`]. The decision is written once it does.
    Late,
}

impl Decisions {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start() -> anyhow::Result<Decisions> {
        let backlog = Arc::new(Backlog::new());
        let own = Arc::clone(&backlog);
        super::stop::spawn("decisions", move || own.run(write_all))?;
        Ok(Decisions(backlog))
    }

    /// Writes a decision after those before it, and waits for it for a while.
    pub fn write(&self, write: impl FnOnce() -> Result<(), FileError> + Send + 'static) -> Saved {
        let (done, result) = mpsc::channel();
        // A backlog that is full drops it: it is late for good.
        self.0.add(Write { write: Box::new(write), done });
        match result.recv_timeout(DISK_PATIENCE) {
            Ok(Ok(())) => Saved::Yes,
            Ok(Err(error)) => Saved::Failed(error),
            Err(_) => {
                log::warn!("the disk has not taken a decision within {DISK_PATIENCE:?}");
                Saved::Late
            }
        }
    }

    /// Waits until all decisions are written. Returns how many are left after `patience`.
    pub fn settle(&self, patience: Duration) -> u64 {
        self.0.settle(patience)
    }

    /// Whether the disk takes decisions.
    pub fn are_current(&self) -> bool {
        self.0.is_current()
    }
}

fn write_all(batch: VecDeque<Write>) {
    for Write { write, done } in batch {
        let result = write();
        if let Err(error) = &result {
            log::error!("a decision cannot be written: {error}");
        }
        // The operator may have stopped waiting.
        let _ = done.send(result);
    }
}
