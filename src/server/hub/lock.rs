//! The one lock, and what a thread waits for under it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::state::State;
use super::waiting::{Job, Queued};
use crate::server::delivery::send_queue::SendQueue;
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};

/// How long a sender waits for delivery progress before it checks again.
const PROGRESS_WAIT: Duration = Duration::from_millis(50);

/// The state that all sessions share.
pub(super) struct Lock {
    state: Mutex<State>,
    /// Signals that a span of a congested conversation was offered, or that records were committed.
    progress: Condvar,
    /// The number of threads that wait for progress. Changes under the lock.
    waiters: AtomicUsize,
    /// Signals that something waits for the ledger.
    written: Condvar,
}

impl Lock {
    pub fn new(state: State) -> Lock {
        Lock {
            state: Mutex::new(Rank::Hub, state),
            progress: Condvar::new(),
            waiters: AtomicUsize::new(0),
            written: Condvar::new(),
        }
    }

    /// Locks. Every change under this lock is complete before the next one can panic, so the maps
    /// stay consistent.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits for progress, or for a moment.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let state = self.progress.wait_timeout(state, PROGRESS_WAIT);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Whether a thread waits for progress.
    pub fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) > 0
    }

    /// Wakes the threads that wait for progress.
    pub fn progressed(&self) {
        self.progress.notify_all();
    }

    /// Locks once all messages of the session are committed, so that everybody sees its next action
    /// after them.
    pub fn when_decided(&self, queue: &SendQueue) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while queue.undecided.load(Ordering::Relaxed) > 0 {
            state = self.wait(state);
        }
        state
    }

    /// Locks once the ledger's queue has room, so that the request may add to it.
    pub fn when_roomy<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.waiting.is_full() {
            state = self.wait(state);
        }
        state
    }

    /// Unlocks, and wakes the commit thread if it sleeps and has work: a wakeup costs a system call
    /// even if nobody sleeps.
    pub fn wake_commit_thread(&self, mut state: MutexGuard<'_, State>) {
        let wakes = state.waiting.takes_wakeup();
        drop(state);
        if wakes {
            self.written.notify_one();
        }
    }

    /// Waits for work and swaps it into `waiting`, which is empty and keeps its capacity. Returns
    /// false once the hub is closed.
    pub fn next_waiting(&self, waiting: &mut Queued) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.waiting.is_closed() {
                return false;
            }
            state.waiting.set_asleep(true);
            state = self.written.wait(state);
            state.waiting.set_asleep(false);
        }
        state.waiting.take(waiting);
        true
    }

    /// Queues a job and unlocks.
    pub fn push_job(&self, mut state: MutexGuard<'_, State>, job: Job) {
        state.waiting.push_job(job);
        self.wake_commit_thread(state);
    }
}
