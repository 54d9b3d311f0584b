//! Work for one thread that may wait for the disk, so that nobody else does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, Rank};

/// The most work that is queued.
const WAITING_MAX: usize = 100_000;

/// Work that waits longer makes the server unhealthy.
const STALL: Duration = Duration::from_secs(5);

/// A queue, and the progress of the thread that does its work.
pub struct Backlog<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
}

struct Queue<T> {
    waiting: VecDeque<T>,
    /// Work ever added.
    added: u64,
    /// Work ever done.
    done: u64,
    /// When the thread started to be busy without a pause.
    busy_since: Option<Instant>,
}

impl<T> Backlog<T> {
    pub fn new() -> Backlog<T> {
        let queue = Queue { waiting: VecDeque::new(), added: 0, done: 0, busy_since: None };
        Backlog { queue: Mutex::new(Rank::Backlog, queue), changed: Condvar::new() }
    }

    /// Queues work without waiting. Returns false if too much waits: the work is dropped.
    pub fn add(&self, work: T) -> bool {
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= WAITING_MAX {
            return false;
        }
        queue.added += 1;
        queue.waiting.push_back(work);
        drop(queue);
        self.changed.notify_all();
        true
    }

    /// Returns how much work was ever added.
    pub fn added(&self) -> u64 {
        self.queue.lock().added
    }

    /// Waits until all earlier work is done. Returns how much is left after `patience`.
    pub fn settle(&self, patience: Duration) -> u64 {
        let queue = self.queue.lock();
        let wanted = queue.added;
        let behind = |queue: &mut Queue<T>| queue.done < wanted;
        let waited = self.changed.wait_timeout_while(queue, patience, behind);
        wanted.saturating_sub(waited.done)
    }

    /// Whether the thread makes progress.
    pub fn is_current(&self) -> bool {
        self.queue.lock().busy_since.is_none_or(|since| since.elapsed() < STALL)
    }

    /// Does the work, all that waits at once, on the thread that calls it.
    pub fn run(&self, mut work: impl FnMut(VecDeque<T>)) {
        loop {
            let batch = self.next();
            let count = batch.len() as u64;
            work(batch);
            let mut queue = self.queue.lock();
            queue.done += count;
            // Each batch counts as progress.
            queue.busy_since = (!queue.waiting.is_empty()).then(Instant::now);
            drop(queue);
            self.changed.notify_all();
        }
    }

    /// Waits for work and takes all of it.
    fn next(&self) -> VecDeque<T> {
        let idle = |queue: &mut Queue<T>| queue.waiting.is_empty();
        let mut queue = self.changed.wait_while(self.queue.lock(), idle);
        queue.busy_since = Some(Instant::now());
        std::mem::take(&mut queue.waiting)
    }
}
