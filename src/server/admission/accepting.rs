//! The part that the loops of both ports share: the wait for new connections and for input, and the
//! pause after a failed accept.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::listener::Listener;
use crate::net::ready::{self, Wanted};

/// How often a loop checks whether the server stops.
const PATIENCE: Duration = Duration::from_millis(200);
/// The pause after a failed accept, for example without free descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether a loop accepts connections.
#[derive(Default)]
pub struct Accepting {
    /// No connection is accepted before this time.
    paused: Option<Instant>,
}

/// What is ready.
pub struct Ready {
    /// In the order of the listeners.
    pub listeners: Vec<bool>,
    /// In the order of the sockets.
    pub sockets: Vec<bool>,
}

impl Accepting {
    /// Waits for a connection, for a socket, or for the first deadline, at most for `PATIENCE`. If
    /// the system cannot wait, everything counts as ready after a pause: nothing that uses it
    /// waits.
    pub fn wait(
        &self,
        listeners: &[Listener],
        sockets: &[(BorrowedFd, Wanted)],
        deadlines: impl Iterator<Item = Instant>,
    ) -> Ready {
        let now = Instant::now();
        let paused = self.paused.filter(|until| now < *until);
        let patience = deadlines.chain(paused).min().map_or(PATIENCE, |until| {
            // Rounded up by a millisecond, so that the deadline has passed when the wait ends.
            (until.saturating_duration_since(now) + Duration::from_millis(1)).min(PATIENCE)
        });
        let listeners = if paused.is_none() { listeners } else { &[] };
        let listening = listeners.iter().map(|listener| (listener.as_fd(), Wanted::Input));
        match ready::wait(sockets.iter().copied().chain(listening), patience) {
            Ok(mut ready) => {
                let listeners = ready.split_off(sockets.len().min(ready.len()));
                Ready { listeners, sockets: ready }
            }
            Err(_) => {
                thread::sleep(PAUSE);
                let all = |count: usize| vec![true; count];
                Ready { listeners: all(listeners.len()), sockets: all(sockets.len()) }
            }
        }
    }

    /// Returns the connection that was accepted. After an error, which is logged once, nothing is
    /// accepted for a moment.
    pub fn accepted<T>(&mut self, accepted: io::Result<Option<T>>, what: &str) -> Option<T> {
        match accepted {
            Ok(None) => None,
            Ok(connection) => {
                self.paused = None;
                connection
            }
            Err(error) => {
                if self.paused.is_none() {
                    log::warn!("cannot accept {what} for now: {error}");
                }
                self.paused = Some(Instant::now() + PAUSE);
                None
            }
        }
    }
}
