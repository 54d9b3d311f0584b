//! The loop over unauthenticated connections: one thread handles their handshakes up to R2, so that
//! each costs a descriptor and a buffer only. A connection that passes the gate gets a thread.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::{Connection, Progress};
use super::control::Admission;
use super::login::{Login, Serve, begin};
use super::penalties::Offence;
use super::table::Stage;
use crate::net::link::Link;
use crate::net::listener::Listener;
use crate::server::observe::log as server_log;
use crate::server::stop::Stop;

/// How often the loop checks whether the server stops.
const PATIENCE: Duration = Duration::from_millis(200);
/// The pause after a failed accept, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The most connections accepted before the existing ones are handled again.
const ACCEPTS_MAX: usize = 64;

/// The connections without a thread.
pub struct Unauthenticated<'a> {
    admission: &'a Arc<Admission>,
    serve: &'a Serve,
    connections: BTreeMap<u64, Connection>,
    /// No connection is accepted before this time.
    paused: Option<Instant>,
}

impl<'a> Unauthenticated<'a> {
    pub fn new(admission: &'a Arc<Admission>, serve: &'a Serve) -> Self {
        Unauthenticated { admission, serve, connections: BTreeMap::new(), paused: None }
    }

    /// Runs until the server stops.
    pub fn run(mut self, listener: &Listener, stop: &Stop) {
        while !stop.is_told() {
            self.admission.looks();
            let now = Instant::now();
            let paused = self.paused.is_some_and(|until| now < until);
            let (ready, arrived) = self.poll((!paused).then_some(listener), now);
            ready.into_iter().for_each(|id| self.advance(id));
            self.expire();
            if arrived {
                self.accept(listener);
            }
        }
    }

    /// Waits for input for a while. Returns the connections with input, and whether the listener
    /// has connections to accept.
    fn poll(&self, listener: Option<&Listener>, now: Instant) -> (Vec<u64>, bool) {
        let deadlines = self.connections.values().map(|connection| connection.deadline);
        let until = deadlines.chain(self.paused.filter(|until| now < *until)).min();
        let patience = until.map_or(PATIENCE, |until| {
            // Rounded up by a millisecond, so that the deadline has passed when the wait ends.
            (until.saturating_duration_since(now) + Duration::from_millis(1)).min(PATIENCE)
        });
        let listeners = listener.into_iter().map(|listener| listener.as_fd());
        let sinks = self.connections.iter().map(|(id, connection)| (id, &connection.link.sink));
        let (ids, streams): (Vec<u64>, Vec<_>) =
            sinks.filter_map(|(id, sink)| Some((*id, sink.fd()?))).unzip();
        let mut fds: Vec<PollFd> = listeners
            .chain(streams)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        if poll(&mut fds, Some(&patience)).is_err() {
            // Interrupted, or the descriptor limit was lowered: tries every connection after a
            // pause.
            thread::sleep(ACCEPT_PAUSE);
            return (self.connections.keys().copied().collect(), listener.is_some());
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let arrived = listener.is_some() && ready.next().is_some_and(|ready| ready);
        let ids = ids.into_iter().zip(ready).filter(|(_, ready)| *ready);
        (ids.map(|(id, _)| id).collect(), arrived)
    }

    fn accept(&mut self, listener: &Listener) {
        for _ in 0..ACCEPTS_MAX {
            match listener.accept() {
                Ok(Some(link)) => {
                    self.paused = None;
                    self.take_in(link);
                }
                Ok(None) => return,
                Err(error) => {
                    if self.paused.is_none() {
                        log::warn!("cannot accept connections for now: {error}");
                    }
                    self.paused = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn take_in(&mut self, link: Link) {
        let (waiting, evicted) = self.admission.enter(&link);
        self.forget(&evicted);
        let Some(waiting) = waiting else { return };
        let id = waiting.id();
        let deadline = Instant::now() + self.admission.login_time();
        self.connections.insert(id, Connection::new(link, waiting, deadline));
        // A client's hello comes with its connection.
        self.advance(id);
    }

    /// Handles what a connection has sent.
    fn advance(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let advance = || connection.advance(self.admission);
        // A panic must not affect other peers.
        let progress = catch_unwind(AssertUnwindSafe(advance));
        match progress.unwrap_or(Err(Offence::Garbage)) {
            Ok(Progress::Waits(evicted)) => self.forget(&evicted),
            Ok(Progress::Gated(gated)) => {
                let Some(connection) = self.connections.remove(&id) else { return };
                match connection.waiting.moves_on(Stage::LoggingIn) {
                    Ok(evicted) => {
                        self.forget(&evicted);
                        begin(self.admission, Login { connection, gated }, self.serve);
                    }
                    Err(_) => {
                        connection.end(self.admission, connection.turned_away(Offence::Unserved));
                    }
                }
            }
            Err(offence) => {
                if let Some(connection) = self.connections.remove(&id) {
                    connection.end(self.admission, offence);
                }
            }
        }
    }

    /// Closes the connections whose login deadline has passed.
    fn expire(&mut self) {
        let now = Instant::now();
        let late = self.connections.extract_if(.., |_, connection| connection.deadline <= now);
        late.for_each(|(_, connection)| connection.end(self.admission, Offence::Late));
    }

    /// Drops evicted connections.
    fn forget(&mut self, evicted: &[u64]) {
        for id in evicted {
            if let Some(connection) = self.connections.remove(id) {
                log::debug!("{} made room", server_log::address(connection.link.peer));
            }
        }
    }
}
