//! The queue of connections from the web port to the login loop (`unauthenticated.rs`).

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_setfl};

use crate::net::link::Link;

/// Bound on queued connections. The loop takes all of them in each turn.
const WAITING_MAX: usize = 64;

/// A connection whose first record is next.
pub struct Arrival {
    pub link: Link,
    /// The deadline of the whole login, from the connection on.
    pub deadline: Instant,
}

/// The end of another transport, which hands its connections to the admission: the web port.
pub struct Entrance {
    arrivals: SyncSender<Arrival>,
    bell: PipeWriter,
}

/// The loop's end.
pub struct Arrivals {
    arrivals: Receiver<Arrival>,
    bell: PipeReader,
}

/// # Errors
/// The system has no descriptors for it.
pub fn entrance() -> io::Result<(Entrance, Arrivals)> {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let (reader, writer) = io::pipe()?;
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let entrance = Entrance { arrivals: sender, bell: writer };
    Ok((entrance, Arrivals { arrivals: receiver, bell: reader }))
}

impl Entrance {
    /// Queues a connection and wakes the loop. If the queue is full, closes the connection.
    pub fn hand_over(&self, arrival: Arrival) {
        // The pipe has room for one byte per queued connection, so the write does not block.
        let waits = self.arrivals.try_send(arrival).is_ok();
        if waits && let Err(error) = (&self.bell).write_all(&[0]) {
            log::debug!("the admission is gone: {error}");
        }
    }
}

impl Arrivals {
    /// Returns the queued connections.
    pub fn take(&self) -> impl Iterator<Item = Arrival> + '_ {
        // An empty pipe does not block.
        let _ = (&self.bell).read(&mut [0; WAITING_MAX]);
        self.arrivals.try_iter().take(WAITING_MAX)
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
