//! What happens to the client, on its way to the runtime, which takes it in order. Whatever comes
//! from a socket or from stdin has a budget: a source that has spent it waits until what it has
//! sent before was handled and written to the terminal or to stdout. So TCP pushes back, and memory
//! is bounded.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::model::Input;

/// Bytes, in memory, of events from the server that are not shown yet.
pub const EVENTS_BYTES_MAX: usize = 1 << 20;
/// Bytes of typed or piped lines that are not handled yet.
pub const INPUT_BYTES_MAX: usize = 256 << 10;
/// What a input takes beside what its source counts: the queue's entry and what is shown of it.
const ENTRY_BYTES: usize = 512;

/// One thing that happens, and its share of the budget of whoever has sent it.
pub struct Entry {
    pub input: Input,
    pub permit: Option<Permit>,
}

/// The way in. Every source has its own.
#[derive(Clone)]
pub struct Sender {
    queue: mpsc::Sender<Entry>,
    budget: Option<Budget>,
}

/// The runtime is gone.
#[derive(Debug)]
pub struct Gone;

/// Makes the queue, with a way in that never waits.
pub fn open() -> (Sender, Receiver<Entry>) {
    let (queue, entries) = mpsc::channel();
    (Sender { queue, budget: None }, entries)
}

impl Sender {
    /// A source of its own, which waits where it has sent more than `bytes_max` bytes that are not
    /// shown.
    pub fn bounded(&self, bytes_max: usize) -> Sender {
        Sender { queue: self.queue.clone(), budget: Some(Budget::new(bytes_max)) }
    }

    /// Sends something of no size.
    pub fn send(&self, input: Input) -> Result<(), Gone> {
        self.send_sized(input, 0, Duration::MAX, || {})
    }

    /// Sends something of `bytes` bytes. `idle` is called each time it has waited for so long.
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

/// How many bytes of one source may be on their way.
#[derive(Clone)]
struct Budget(Arc<Account>);

struct Account {
    bytes_max: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A share of a budget, which comes back when its last clone is dropped.
#[derive(Clone)]
pub struct Permit(#[expect(dead_code, reason = "its end counts")] Arc<Share>);

struct Share {
    account: Arc<Account>,
    bytes: usize,
}

impl Budget {
    fn new(bytes_max: usize) -> Budget {
        let account = Account { bytes_max, taken: Mutex::new(0), freed: Condvar::new() };
        Budget(Arc::new(account))
    }

    /// Waits at most for `patience`. What is larger than the whole budget goes alone.
    fn take(&self, bytes: usize, patience: Duration) -> Option<Permit> {
        let Account { bytes_max, taken, freed } = &*self.0;
        let full = |taken: &mut usize| *taken > 0 && taken.saturating_add(bytes) > *bytes_max;
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = freed.wait_timeout_while(taken, patience, full);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if full(&mut taken) {
            return None;
        }
        *taken += bytes;
        Some(Permit(Arc::new(Share { account: Arc::clone(&self.0), bytes })))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.account.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken -= self.bytes;
        self.account.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_source_that_is_not_heard_waits_and_goes_on_when_it_is() {
        let (happen, entries) = open();
        let source = happen.bounded(10 * ENTRY_BYTES);
        thread::scope(|scope| {
            let (said, is_full) = mpsc::channel();
            scope.spawn(move || {
                for _ in 0..100 {
                    let idle = || said.send(()).unwrap_or_default();
                    source.send_sized(Input::Tick, 0, Duration::from_millis(1), idle).unwrap();
                }
            });
            is_full.recv().unwrap();
            // What has no budget goes on.
            happen.send(Input::Interrupt).unwrap();
            let held: Vec<Entry> = entries.iter().take(11).collect();
            assert!(held[..10].iter().all(|entry| entry.permit.is_some()));
            assert!(matches!(held[10].input, Input::Interrupt));
            drop(held);
            assert_eq!(entries.iter().take(90).count(), 90);
        });
    }

    #[test]
    fn what_is_larger_than_all_goes_alone_and_clones_count_once() {
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
