//! The threads that log peers in. To begin and to end a thread costs as much as the rest of a login
//! by a session ticket, so a thread takes the next login when it is done with one.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::sync::{Condvar, Mutex, Rank};

/// How long a thread without a login waits for one.
const IDLE: Duration = Duration::from_secs(1);
/// The most threads that wait for a login. The reserve of `capacity.rs` covers their mappings.
const IDLE_MAX: usize = 16;

/// Threads that do `job` with each thing that they are given.
pub struct LoginThreads<T>(Arc<Shared<T>>);

struct Shared<T> {
    job: Box<dyn Fn(T) + Send + Sync>,
    queue: Mutex<Queue<T>>,
    given: Condvar,
}

struct Queue<T> {
    waiting: VecDeque<T>,
    /// The number of threads that wait for more.
    idle: usize,
}

impl<T: Send + 'static> LoginThreads<T> {
    pub fn new(job: impl Fn(T) + Send + Sync + 'static) -> LoginThreads<T> {
        let queue = Queue { waiting: VecDeque::new(), idle: 0 };
        let queue = Mutex::new(Rank::Handover, queue);
        LoginThreads(Arc::new(Shared { job: Box::new(job), queue, given: Condvar::new() }))
    }

    /// Gives work to an idle thread, or to a new one with a stack of so many bytes.
    ///
    /// # Errors
    ///
    /// Returns `work` if no thread can be started.
    pub fn give(&self, work: T, stack_bytes: usize) -> Result<(), (io::Error, Option<T>)> {
        let mut queue = self.0.queue.lock();
        queue.waiting.push_back(work);
        if queue.waiting.len() <= queue.idle {
            drop(queue);
            self.0.given.notify_one();
            return Ok(());
        }
        drop(queue);
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("login".into()).stack_size(stack_bytes);
        match thread.spawn(move || shared.work()) {
            Ok(_) => Ok(()),
            // A thread that became idle meanwhile may have taken it.
            Err(error) => Err((error, self.0.queue.lock().waiting.pop_back())),
        }
    }
}

impl<T> Shared<T> {
    fn work(&self) {
        while let Some(work) = self.next() {
            // A panic must not affect other clients.
            if catch_unwind(AssertUnwindSafe(|| (self.job)(work))).is_err() {
                log::error!("a login failed; only its client is gone");
            }
        }
    }

    /// Returns the next work; `None` if there is none for a while.
    fn next(&self) -> Option<T> {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() && queue.idle < IDLE_MAX {
            queue.idle += 1;
            let waits = |queue: &mut Queue<T>| queue.waiting.is_empty();
            queue = self.given.wait_timeout_while(queue, IDLE, waits);
            queue.idle -= 1;
        }
        queue.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const STACK_BYTES: usize = 128 * 1024;

    #[test]
    fn all_work_is_done_however_many_threads_wait() {
        let (done, results) = mpsc::channel();
        let threads = LoginThreads::new(move |number: usize| {
            // A panic costs one login, and not its thread.
            assert!(number % 7 != 3, "the failure that the test wants");
            done.send((number, thread::current().id())).unwrap();
        });
        let mut ids = HashSet::new();
        for burst in 0..20 {
            let numbers: Vec<usize> = (0..50).map(|one| burst * 50 + one).collect();
            numbers.iter().for_each(|number| assert!(threads.give(*number, STACK_BYTES).is_ok()));
            let wanted: HashSet<usize> = numbers.into_iter().filter(|one| one % 7 != 3).collect();
            let next = || results.recv_timeout(PATIENCE).unwrap();
            let burst: Vec<_> = wanted.iter().map(|_| next()).collect();
            assert_eq!(burst.iter().map(|one| one.0).collect::<HashSet<_>>(), wanted);
            ids.extend(burst.into_iter().map(|one| one.1));
        }
        assert!(ids.len() < 900, "threads take more than one login");
    }

    #[test]
    fn work_that_waits_for_other_work_has_a_thread_of_its_own() {
        let (meets, met) = mpsc::channel();
        let barrier = Arc::new(std::sync::Barrier::new(40));
        let threads = LoginThreads::new(move |()| {
            barrier.wait();
            meets.send(()).unwrap();
        });
        // The second time, some threads are idle.
        for _ in 0..2 {
            (0..40).for_each(|_| assert!(threads.give((), STACK_BYTES).is_ok()));
            (0..40).for_each(|_| met.recv_timeout(PATIENCE).unwrap());
        }
    }

    #[test]
    fn idle_threads_end() {
        let threads = LoginThreads::new(|()| {});
        (0..40).for_each(|_| assert!(threads.give((), STACK_BYTES).is_ok()));
        let deadline = std::time::Instant::now() + PATIENCE;
        while Arc::strong_count(&threads.0) > 1 {
            assert!(std::time::Instant::now() < deadline, "an idle thread stays");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
