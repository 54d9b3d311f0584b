//! Locks: one policy on poisoning, and one order.
//!
//! **Poisoning.** A thread that panics while it holds a lock does not close the lock for the
//! others. Each change under a lock of this program is whole before anything in it can panic, so
//! that what the next thread finds is usable: at worst it lacks the last change. A thread without
//! which the server cannot go on is watched apart from this (`server/stop.rs`).
//!
//! **Order.** Each lock has a [`Rank`]. A thread that holds a lock takes only locks of a higher
//! rank. Builds with debug assertions check this on each lock, and panic where two are taken in the
//! wrong order; release builds pay nothing for it.

mod value;

use std::ops::{Deref, DerefMut};
use std::sync::{self, PoisonError};
use std::time::Duration;

pub use value::{Persisted, Snapshot};

macro_rules! ranks {
    ($($rank:ident $guards:literal,)+) => {
        /// A lock's place in the order, from the first to be taken to the last.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rank {
            $(#[doc = $guards] $rank,)+
        }

        const RANKS: &[(Rank, &str)] = &[$((Rank::$rank, $guards),)+];
    };
}

ranks! {
    PinDerivation "one derivation of a channel's key at a time, each of which takes 64 MiB",
    ClientKeys "the user's keys at this server, the next one and former ones",
    PinnedServer "the address and the keys of the server that the client has pinned",
    SessionTicket "the session ticket for the next login",
    Page "the page's state, and which pages are attached",
    PageFiles "files that are being sent to and from pages",
    PageSlots "connections of browsers",
    PageQueue "the objects that wait for one attached page",
    Requests "requests of the client that have no answer yet",
    Writer "the client's queue of records to send",
    Inbox "the budget of inputs that the client has not handled yet",
    Users "one reading of users/ at a time, and the problems that were logged",
    Renaming "logins wait while a user gets another name",
    KeyHistory "the history of people's keys",
    Certificates "which certificates each key may publish yet",
    Decision "one change at a time of a value that is kept on disk",
    Prompts "connections that are asked for a password",
    Tickets "tickets of devices that have come in by a password",
    PasswordThrottle "wrong passwords",
    Semaphore "permits for operations that cost memory or a core",
    Handover "a login on its way to its thread",
    Unauthenticated "connections that have not logged in",
    Penalties "address prefixes that are refused for a time",
    RecentLogins "sources of recent logins",
    UnregisteredKeys "keys that were proven and are not registered",
    Hub "sessions, channels, tails, and what waits for the ledger",
    Progress "one upload: what is written and synced, and which transfer writes",
    Uploads "which uploads there are",
    Room "room on the disk for a file that is being created",
    Downloads "downloads, and the reports of uploads that wait for a session",
    SendQueue "one session's sealer, cursors and answers",
    Tls "the state of a TLS connection",
    Sink "what a socket has not taken yet",
    MemoryLink "one direction of a link in memory, in tests",
    Reader "requests for a reader, and the pending liveness check of the commit thread",
    Backfill "sessions that wait for older messages",
    Flusher "sockets that are full, and conversations to deliver",
    Bell "whether the thread for downloads has to check for work again",
    Backlog "what waits for a thread that writes: audit entries, decisions",
    Commits "counters of commits",
    Refusals "counters of refusals",
    Stop "whether the server stops, and when",
    Ledger "messages in memory, or one connection to the database",
    Vanished "keys whose files are gone since the last reading of users/",
    Snapshot "which value a reader gets: held for one assignment or one clone of an `Arc`",
    Demoted "moderators whose demotion is not on disk yet",
    Clock "the state of the clock guard",
    Log "the shape of the log after the next line",
    Editor "whether the thread of the prompt reads or draws",
    Paste "the paste at the prompt",
    Prompt "the conversation of the line at the prompt, and whether the line is a secret",
    TerminalModes "the modes of the terminal before the prompt",
}

/// The table of ARCHITECTURE.md.
pub fn table() -> String {
    let row = |(rank, guards): &(Rank, &str)| format!("| `{rank:?}` | {guards} |\n");
    let rows: String = RANKS.iter().map(row).collect();
    format!("| lock | guards |\n|---|---|\n{rows}")
}

/// A mutual exclusion lock with a rank.
pub struct Mutex<T> {
    #[cfg(debug_assertions)]
    rank: Rank,
    inner: sync::Mutex<T>,
}

/// Access to the value of a [`Mutex`], released on drop.
pub struct MutexGuard<'a, T> {
    inner: sync::MutexGuard<'a, T>,
    held: order::Held,
}

impl<T> Mutex<T> {
    pub const fn new(rank: Rank, value: T) -> Mutex<T> {
        let inner = sync::Mutex::new(value);
        #[cfg(debug_assertions)]
        return Mutex { rank, inner };
        #[cfg(not(debug_assertions))]
        {
            let _ = rank;
            Mutex { inner }
        }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// With debug assertions, where this thread holds a lock of the same rank or of a higher one.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(debug_assertions)]
        let held = order::take(self.rank);
        #[cfg(not(debug_assertions))]
        let held = order::Held;
        MutexGuard { inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner), held }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// A condition variable for a [`Mutex`].
#[derive(Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    pub const fn new() -> Condvar {
        Condvar(sync::Condvar::new())
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { inner, held } = guard;
        let inner = self.0.wait(inner).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { inner, held }
    }

    pub fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        waits: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let MutexGuard { inner, held } = guard;
        let inner = self.0.wait_while(inner, waits).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { inner, held }
    }

    /// Waits for a notification, for at most this time.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> MutexGuard<'a, T> {
        let MutexGuard { inner, held } = guard;
        let inner = self.0.wait_timeout(inner, time).unwrap_or_else(PoisonError::into_inner).0;
        MutexGuard { inner, held }
    }

    /// Waits while the condition is true, for at most this time.
    pub fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
        waits: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let MutexGuard { inner, held } = guard;
        let waited = self.0.wait_timeout_while(inner, time, waits);
        MutexGuard { inner: waited.unwrap_or_else(PoisonError::into_inner).0, held }
    }
}

/// The ranks that a thread holds.
#[cfg(debug_assertions)]
mod order {
    use std::cell::RefCell;

    use super::Rank;

    thread_local! {
        static RANKS: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    /// Holds a rank until dropped.
    pub struct Held(Rank);

    pub fn take(rank: Rank) -> Held {
        // A thread that ends has no ranks any more, and takes no other lock.
        let _ = RANKS.try_with(|ranks| {
            let highest = ranks.borrow().iter().max().copied();
            if let Some(highest) = highest.filter(|highest| *highest >= rank) {
                panic!("lock order: {rank:?} is taken while {highest:?} is held");
            }
            ranks.borrow_mut().push(rank);
        });
        Held(rank)
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = RANKS.try_with(|ranks| {
                let mut ranks = ranks.borrow_mut();
                if let Some(index) = ranks.iter().rposition(|rank| *rank == self.0) {
                    ranks.remove(index);
                }
            });
        }
    }
}

#[cfg(not(debug_assertions))]
mod order {
    /// Nothing is checked.
    pub struct Held;
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn locks_are_taken_in_their_order() {
        let (hub, queue) = (Mutex::new(Rank::Hub, 1), Mutex::new(Rank::SendQueue, 2));
        let both = || *hub.lock() + *queue.lock();
        assert_eq!(both(), 3);
        // Released locks do not count, in any order.
        let (first, second) = (hub.lock(), queue.lock());
        drop(first);
        drop(second);
        assert_eq!(both(), 3);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn the_wrong_order_panics() {
        let (hub, queue) = (Mutex::new(Rank::Hub, ()), Mutex::new(Rank::SendQueue, ()));
        let wrong = catch_unwind(AssertUnwindSafe(|| {
            let _queue = queue.lock();
            let _hub = hub.lock();
        }));
        let problem = wrong.expect_err("the hub comes before a send queue");
        let problem = problem.downcast_ref::<String>().unwrap();
        assert_eq!(problem, "lock order: Hub is taken while SendQueue is held");
        let other = Mutex::new(Rank::SendQueue, ());
        drop(queue.lock());
        drop(other.lock());
        let same = catch_unwind(AssertUnwindSafe(|| {
            let _first = queue.lock();
            let _second = other.lock();
        }));
        assert!(same.is_err(), "two of one rank have no order");
        // The panics above have left nothing behind.
        let _hub = hub.lock();
        let _queue = queue.lock();
    }

    #[test]
    fn a_panic_does_not_close_a_lock_for_others() {
        let lock = Arc::new(Mutex::new(Rank::Hub, 1));
        let own = Arc::clone(&lock);
        let panicked = thread::spawn(move || {
            *own.lock() = 2;
            let _held = own.lock();
            panic!("expected by this test");
        });
        assert!(panicked.join().is_err());
        assert_eq!(*lock.lock(), 2);
    }

    #[test]
    fn a_condition_is_waited_for() {
        let shared = Arc::new((Mutex::new(Rank::Stop, false), Condvar::new()));
        let own = Arc::clone(&shared);
        let telling = thread::spawn(move || {
            *own.0.lock() = true;
            own.1.notify_all();
        });
        assert!(*shared.1.wait_while(shared.0.lock(), |told| !*told));
        telling.join().unwrap();
        let waited =
            shared.1.wait_timeout_while(shared.0.lock(), Duration::from_millis(1), |told| *told);
        assert!(*waited);
    }
}
