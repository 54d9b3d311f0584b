//! Readers: one thread reads the ledger for `/history` and one for `/search`, each with its own
//! connection, so that a search delays neither history nor reconnects. A reader serves requests in
//! order; each user may have one request there at a time.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::delivery::send_queue::SendQueue;
use super::liveness::{self, Asked, Question};
use crate::chat::{Refusal, UserName};
use crate::ledger::{Reader, Work};
use crate::limits::{READ_WAIT_S_MAX, READS_WAITING_MAX};
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};

/// The retry delay for users with a request in progress, and for full queues.
pub const TURN: Duration = Duration::from_millis(100);

/// How often a session that waits for its answer checks whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A read for a session.
type Job = Box<dyn FnOnce(&dyn Reader) + Send>;

/// The readers of a server.
#[derive(Default)]
pub struct Readers {
    pub history: ReadQueue,
    pub search: ReadQueue,
}

/// The queue of one reader.
pub struct ReadQueue {
    state: Mutex<State>,
    changed: Condvar,
    /// A session waits for so long at most.
    patience: Duration,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    asked: Asked,
    /// The users whose requests are queued or in progress.
    people: HashSet<UserName>,
    closed: bool,
}

/// A user's slot in a queue, freed on drop.
pub struct Slot<'a> {
    read_queue: &'a ReadQueue,
    user: UserName,
}

impl Default for ReadQueue {
    fn default() -> ReadQueue {
        ReadQueue::with_patience(Duration::from_secs(READ_WAIT_S_MAX))
    }
}

impl Readers {
    /// Lets the threads end.
    pub fn close(&self) {
        self.history.close();
        self.search.close();
    }
}

impl ReadQueue {
    fn with_patience(patience: Duration) -> ReadQueue {
        let state = Mutex::new(Rank::Reader, State::default());
        ReadQueue { state, changed: Condvar::new(), patience }
    }

    /// A conversation for a person's request.
    ///
    /// # Errors
    ///
    /// Refuses a second request of a user, and any request if the queue is full.
    pub fn slot(&self, user: &UserName) -> Result<Slot<'_>, Refusal> {
        let mut state = self.lock();
        if state.people.contains(user) {
            return Err(Refusal::Rate { retry_ms: TURN.as_millis() as u64 });
        }
        if state.people.len() >= READS_WAITING_MAX {
            return Err(Refusal::ReadersBusy);
        }
        state.people.insert(user.clone());
        Ok(Slot { read_queue: self, user: user.clone() })
    }

    /// Starts a liveness check, which the reader answers before its next request.
    pub fn ask(&self) -> Question {
        let (question, _) = self.lock().asked.ask();
        self.changed.notify_one();
        question
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.clear();
        self.changed.notify_all();
    }

    /// Waits for liveness checks or a job. `None` once the queue is closed.
    fn next(&self) -> Option<(Option<Question>, Option<Job>)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let asked = state.asked.take();
            let job = state.jobs.pop_front();
            if asked.is_some() || job.is_some() {
                return Some((asked, job));
            }
            state = self.changed.wait(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Slot<'_> {
    /// Runs a read for a session and waits for the result. The end of the session interrupts the
    /// read, and so does `cpu_max`.
    ///
    /// # Errors
    ///
    /// Refuses where the server stops, where reading ended in a panic, and where the reader does
    /// not answer in time.
    pub fn read<T: Send + 'static>(
        &self,
        queue: &Arc<SendQueue>,
        cpu_max: Duration,
        read: impl FnOnce(&dyn Reader, &Arc<Work>) -> T + Send + 'static,
    ) -> Result<(T, Arc<Work>), Refusal> {
        let (answer, answered) = channel();
        let (waits, given_up) = (Arc::clone(queue), Arc::new(AtomicBool::new(false)));
        let given_up_too = Arc::clone(&given_up);
        let job = move |reader: &dyn Reader| {
            let over = move || given_up_too.load(Ordering::Relaxed) || waits.is_deserted();
            let work = Arc::new(Work::new(cpu_max, over));
            // Its session may have gone meanwhile.
            let _ = answer.send((read(reader, &work), work));
        };
        {
            let mut state = self.read_queue.lock();
            // A reader that is stuck leaves behind the requests of those who have given up.
            if state.closed || state.jobs.len() >= READS_WAITING_MAX {
                return Err(Refusal::ReadersBusy);
            }
            state.jobs.push_back(Box::new(job));
            self.read_queue.changed.notify_one();
        }
        let until = Instant::now() + self.read_queue.patience;
        loop {
            match answered.recv_timeout(LOOK) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Timeout) if !queue.is_over() && Instant::now() < until => {}
                Err(_) => {
                    given_up.store(true, Ordering::Relaxed);
                    return Err(Refusal::Storage);
                }
            }
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.read_queue.lock().people.remove(&self.user);
    }
}

/// Runs a reader's thread until its queue is closed.
pub fn run(read_queue: &ReadQueue, reader: &dyn Reader) {
    while let Some((asked, job)) = read_queue.next() {
        liveness::answer(asked, reader);
        if let Some(job) = job {
            // A panic ends this request only; the panic hook logs it.
            let _ = catch_unwind(AssertUnwindSafe(|| job(reader)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::chat::{Epoch, SessionId, Wanted};
    use crate::crypto::Fingerprint;
    use crate::crypto::record_cipher::pair;
    use crate::ledger::doubles::Acting;
    use crate::ledger::{Memory, Page};
    use crate::net::memory;
    use crate::server::delivery::send_queue::Outgoing;

    const LONG: Duration = Duration::from_secs(60);

    fn queue() -> Arc<SendQueue> {
        let (sealer, _) = pair([7; 32]);
        let ([link, _], _) = memory::pair(usize::MAX);
        let outgoing = Outgoing { sink: link.sink, sealer, address: link.peer.ip(), offered: 2 };
        Arc::new(SendQueue::new(SessionId(1), Fingerprint([7; 32]), outgoing, 1 << 20))
    }

    fn user(name: &str) -> UserName {
        name.parse().unwrap()
    }

    /// Readers whose threads also end if the test fails.
    struct Closing<'a>(&'a Readers);

    impl Drop for Closing<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }

    #[test]
    fn a_stuck_reader_is_detected_and_does_not_block_the_other() {
        let ((go_on, held), (begins, begun)) = (channel(), channel());
        let hold = std::sync::Mutex::new((begins, held));
        // The search blocks until the test releases it.
        let stuck = Acting::searching(move |_, _| {
            let (begins, held) = &*hold.lock().unwrap();
            begins.send(()).unwrap();
            // Or until the test has failed.
            let _ = held.recv();
            Ok((Vec::new(), false))
        });
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 20), 60);
        let page = Page { messages_max: 1, bytes_max: 1 };
        let works = |read_queue: &ReadQueue, patience| {
            liveness::answers(&read_queue.ask(), Instant::now() + patience, || false)
        };
        let readers = Readers::default();
        thread::scope(|scope| {
            // Dropped when the test fails, which releases the reader.
            let go_on = go_on;
            let closing = Closing(&readers);
            scope.spawn(|| run(&readers.search, &stuck));
            scope.spawn(|| run(&readers.history, &memory));
            assert!(works(&readers.search, LONG), "while idle");
            let searches = scope.spawn(|| {
                let slot = readers.search.slot(&user("alice")).unwrap();
                let conversation = "#tea".parse().unwrap();
                let wanted = Wanted::new("te").unwrap();
                let search = move |reader: &dyn Reader, work: &Arc<Work>| {
                    reader.search(&[conversation], &wanted, page, work).map(|_| ())
                };
                slot.read(&queue(), LONG, search).map(|_| ())
            });
            begun.recv_timeout(LONG).unwrap();
            assert!(!works(&readers.search, Duration::from_millis(100)));
            assert!(works(&readers.history, LONG));
            let slot = readers.history.slot(&user("bob")).unwrap();
            assert!(slot.read(&queue(), LONG, |_, _| ()).is_ok(), "history is not blocked");
            go_on.send(()).unwrap();
            assert!(searches.join().unwrap().is_ok() && works(&readers.search, LONG));
            drop(closing);
        });
    }

    #[test]
    fn a_reader_that_is_stuck_holds_no_session_for_long_and_collects_no_requests() {
        let ((go_on, held), (begins, begun)) = (channel::<()>(), channel());
        let hold = std::sync::Mutex::new((begins, held));
        let stuck = Acting::searching(move |_, _| {
            let (begins, held) = &*hold.lock().unwrap();
            begins.send(()).unwrap();
            // Or until the test has failed.
            let _ = held.recv();
            Ok((Vec::new(), false))
        });
        let page = Page { messages_max: 1, bytes_max: 1 };
        // Long enough for a thread to wake up on a busy machine.
        let readers = Readers {
            search: ReadQueue::with_patience(Duration::from_millis(500)),
            ..Readers::default()
        };
        let (looks, looked) = channel();
        let searches = |name: &str| {
            let (looks, own) = (looks.clone(), name.to_owned());
            let search = move |reader: &dyn Reader, work: &Arc<Work>| {
                // What was given up is not looked for any more.
                if work.is_spent() {
                    return;
                }
                looks.send(own).unwrap();
                let (conversation, wanted) = ("#tea".parse().unwrap(), Wanted::new("te").unwrap());
                reader.search(&[conversation], &wanted, page, work).unwrap();
            };
            readers.search.slot(&user(name))?.read(&queue(), LONG, search).map(|_| ())
        };
        thread::scope(|scope| {
            let go_on = go_on;
            let closing = Closing(&readers);
            scope.spawn(|| run(&readers.search, &stuck));
            assert!(liveness::answers(&readers.search.ask(), Instant::now() + LONG, || false));
            assert_eq!(searches("alice"), Err(Refusal::Storage), "it does not come back");
            begun.recv_timeout(LONG).unwrap();
            assert_eq!(looked.try_iter().collect::<Vec<_>>(), ["alice"]);
            thread::scope(|scope| {
                for number in 0..READS_WAITING_MAX {
                    let searches = &searches;
                    scope.spawn(move || {
                        assert_eq!(searches(&format!("bob{number}")), Err(Refusal::Storage));
                    });
                }
            });
            assert_eq!(searches("carol"), Err(Refusal::ReadersBusy), "enough wait");
            // Once it is back, nobody waits for those who have gone.
            drop(go_on);
            while searches("carol").is_err() {
                thread::yield_now();
            }
            assert!(looked.try_iter().all(|name| name == "carol"), "it looked for carol's alone");
            drop(closing);
        });
    }

    #[test]
    fn the_end_of_a_session_ends_its_search_and_the_next_one_is_served() {
        let readers = Readers::default();
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 20), 60);
        thread::scope(|scope| {
            let closing = Closing(&readers);
            let read_queue = &readers.search;
            scope.spawn(|| run(read_queue, &memory));
            let (kicked, (began, begun)) = (queue(), channel());
            let own = Arc::clone(&kicked);
            let searches = scope.spawn(move || {
                let endless = move |_: &dyn Reader, work: &Arc<Work>| {
                    began.send(()).unwrap();
                    while !work.is_spent() {
                        thread::yield_now();
                    }
                };
                let slot = read_queue.slot(&user("alice")).unwrap();
                slot.read(&own, Duration::from_secs(3_600), endless).map(|_| ())
            });
            begun.recv_timeout(LONG).unwrap();
            kicked.end(None, "kicked");
            let slot = read_queue.slot(&user("bob")).unwrap();
            let (answer, answered) = channel();
            slot.read(&queue(), LONG, move |_, _| answer.send(()).unwrap()).unwrap();
            answered.recv_timeout(LONG).unwrap();
            // In either case the session gets no answer.
            let _ = searches.join().unwrap();
            drop(closing);
        });
    }

    #[test]
    fn a_user_has_one_request_at_a_time_and_the_queue_is_bounded() {
        let read_queue = ReadQueue::default();
        let slot = read_queue.slot(&user("alice")).unwrap();
        assert_eq!(
            read_queue.slot(&user("alice")).err(),
            Some(Refusal::Rate { retry_ms: TURN.as_millis() as u64 })
        );
        drop(slot);
        let name = |number: usize| user(&format!("alice{number}"));
        let slots: Vec<_> =
            (0..READS_WAITING_MAX).map(|number| read_queue.slot(&name(number)).unwrap()).collect();
        assert_eq!(read_queue.slot(&user("bob")).err(), Some(Refusal::ReadersBusy));
        drop(slots);
        read_queue.slot(&user("bob")).unwrap();
    }

    #[test]
    fn a_panic_ends_one_request_only() {
        let readers = Readers::default();
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 20), 60);
        thread::scope(|scope| {
            let closing = Closing(&readers);
            scope.spawn(|| run(&readers.search, &memory));
            let slot = readers.search.slot(&user("alice")).unwrap();
            let planted = |_: &dyn Reader, _: &Arc<Work>| panic!("planted");
            assert_eq!(slot.read(&queue(), LONG, planted).map(|_| ()), Err(Refusal::Storage));
            assert!(slot.read(&queue(), LONG, |_, _| ()).is_ok());
            drop(closing);
        });
    }
}
