//! Queue of inputs to the runtime, in order. Each source from a socket or from stdin has a budget:
//! once it is used up the source blocks until its earlier inputs were handled and written out. That
//! gives TCP backpressure and bounds memory.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::client::model::Input;
use crate::sync::{Condvar, Mutex, Rank};

/// Budget for server events that are not shown yet, in bytes of memory.
pub const EVENTS_BYTES_MAX: usize = 1 << 20;
/// Fixed cost of an input in bytes: the queue's entry and its output.
const ENTRY_BYTES: usize = 512;

/// An input, with its share of the sender's budget.
pub struct Entry {
    pub input: Input,
    pub permit: Option<Permit>,
}

/// Sending half of the queue; each source has its own.
#[derive(Clone)]
pub struct Sender {
    queue: mpsc::Sender<Entry>,
    budget: Option<Budget>,
}

/// The runtime has ended.
#[derive(Debug)]
pub struct Gone;

/// Creates the queue, with a sender that never blocks.
pub fn open() -> (Sender, Receiver<Entry>) {
    let (queue, entries) = mpsc::channel();
    (Sender { queue, budget: None }, entries)
}

impl Sender {
    /// Returns a sender of its own, which blocks while more than `bytes_max` bytes from it are not
    /// shown.
    pub fn bounded(&self, bytes_max: usize) -> Sender {
        Sender { queue: self.queue.clone(), budget: Some(Budget::new(bytes_max)) }
    }

    /// Sends an input of no size.
    pub fn send(&self, input: Input) -> Result<(), Gone> {
        self.send_sized(input, 0, Duration::MAX, || {})
    }

    /// Sends an input of `bytes` bytes. `idle` is called after each such time of waiting.
    pub fn send_sized(
        &self,
        input: Input,
        bytes: usize,
        patience: Duration,
        mut idle: impl FnMut(),
    ) -> Result<(), Gone> {
        let permit = self.budget.as_ref().map(|budget| {
            loop {
                if let Some(permit) = budget.take(bytes.saturating_add(ENTRY_BYTES), patience) {
                    break permit;
                }
                idle();
            }
        });
        self.queue.send(Entry { input, permit }).map_err(|_| Gone)
    }
}

/// Bound on the bytes of one source in a queue.
#[derive(Clone)]
pub struct Budget(Arc<Account>);

struct Account {
    bytes_max: usize,
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    /// Sources that wait. Nobody is woken otherwise: each wake-up costs a system call.
    waiting: usize,
}

/// A share of a budget, which is returned when its last clone is dropped.
#[derive(Clone)]
pub struct Permit(#[expect(dead_code, reason = "its drop returns the budget")] Arc<Share>);

struct Share {
    account: Arc<Account>,
    bytes: usize,
}

impl Budget {
    pub fn new(bytes_max: usize) -> Budget {
        let account = Account {
            bytes_max,
            taken: Mutex::new(Rank::Inbox, Taken::default()),
            freed: Condvar::new(),
        };
        Budget(Arc::new(account))
    }

    /// Waits at most for `patience`. An input larger than the whole budget passes alone.
    pub fn take(&self, bytes: usize, patience: Duration) -> Option<Permit> {
        let Account { bytes_max, taken, freed } = &*self.0;
        let full =
            |taken: &mut Taken| taken.bytes > 0 && taken.bytes.saturating_add(bytes) > *bytes_max;
        let mut taken = taken.lock();
        if full(&mut taken) {
            taken.waiting += 1;
            taken = freed.wait_timeout_while(taken, patience, full);
            taken.waiting -= 1;
            if full(&mut taken) {
                return None;
            }
        }
        taken.bytes += bytes;
        Some(Permit(Arc::new(Share { account: Arc::clone(&self.0), bytes })))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.account.taken.lock();
        taken.bytes -= self.bytes;
        if taken.waiting > 0 {
            self.account.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_source_blocks_until_its_inputs_are_handled() {
        let (inputs, entries) = open();
        let source = inputs.bounded(10 * ENTRY_BYTES);
        thread::scope(|scope| {
            let (said, is_full) = mpsc::channel();
            scope.spawn(move || {
                for _ in 0..100 {
                    let idle = || said.send(()).unwrap_or_default();
                    source.send_sized(Input::Tick, 0, Duration::from_millis(1), idle).unwrap();
                }
            });
            is_full.recv().unwrap();
            // A sender without a budget does not block.
            inputs.send(Input::Interrupt).unwrap();
            let held: Vec<Entry> = entries.iter().take(11).collect();
            assert!(held[..10].iter().all(|entry| entry.permit.is_some()));
            assert!(matches!(held[10].input, Input::Interrupt));
            drop(held);
            assert_eq!(entries.iter().take(90).count(), 90);
        });
    }

    #[test]
    fn an_oversized_input_passes_alone_and_clones_count_once() {
        let budget = Budget::new(10);
        let all = budget.take(1_000, Duration::ZERO).unwrap();
        let same = all.clone();
        assert!(budget.take(1, Duration::ZERO).is_none());
        drop(all);
        assert!(budget.take(1, Duration::ZERO).is_none());
        drop(same);
        assert!(budget.take(10, Duration::ZERO).is_some());
    }
}
