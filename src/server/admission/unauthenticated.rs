//! The loop over unauthenticated connections: one thread handles their handshakes up to R2, so that
//! each costs a descriptor and a buffer only. A connection that passes the gate gets a thread.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::Ways;
use super::accepting::Accepting;
use super::connection::{Connection, Progress};
use super::control::{Admission, Via};
use super::login::{GatedLogin, Logins, Serve};
use super::penalties::Offence;
use super::table::Stage;
use crate::net::link::Link;
use crate::net::listener::Listener;
use crate::net::ready::Wanted;
use crate::server::observe::log as server_log;
use crate::server::stop::Stop;

/// The most connections accepted before the existing ones are handled again.
const ACCEPTS_MAX: usize = 64;

/// The connections without a thread.
pub struct Unauthenticated<'a> {
    admission: &'a Arc<Admission>,
    logins: Logins,
    connections: BTreeMap<u64, Connection>,
    accepting: Accepting,
}

impl<'a> Unauthenticated<'a> {
    pub fn new(admission: &'a Arc<Admission>, serve: &Serve) -> Self {
        let (connections, accepting) = (BTreeMap::new(), Accepting::default());
        let logins = Logins::new(admission, serve);
        Unauthenticated { admission, logins, connections, accepting }
    }

    /// Runs until the server stops.
    pub fn run(mut self, ways: &Ways, stop: &Stop) {
        while !stop.is_requested() {
            self.admission.looks();
            self.turn(ways);
        }
    }

    fn turn(&mut self, ways: &Ways) {
        let sinks = self.connections.iter().map(|(id, connection)| (id, &connection.link.sink));
        let (ids, streams): (Vec<u64>, Vec<_>) =
            sinks.filter_map(|(id, sink)| Some((*id, (sink.fd()?, Wanted::Input)))).unzip();
        let sockets = [&[(ways.arrivals.as_fd(), Wanted::Input)], &streams[..]].concat();
        let deadlines = self.connections.values().map(|connection| connection.deadline);
        let ready = self.accepting.wait(&ways.listeners, &sockets, deadlines);
        let readable = ids.into_iter().zip(&ready.sockets[1..]).filter(|(_, ready)| **ready);
        readable.for_each(|(id, _)| self.advance(id));
        self.expire();
        let listening = ways.listeners.iter().zip(ready.listeners);
        listening.filter(|(_, ready)| *ready).for_each(|(listener, _)| self.accept(listener));
        if ready.sockets[0] {
            for arrival in ways.arrivals.take() {
                self.take_in(arrival.link, Via::Web, arrival.deadline);
            }
        }
    }

    fn accept(&mut self, listener: &Listener) {
        for _ in 0..ACCEPTS_MAX {
            let accepted = listener.accept();
            let Some(link) = self.accepting.accepted(accepted, "connections") else { return };
            let deadline = Instant::now() + self.admission.login_time();
            self.take_in(link, Via::Chat, deadline);
        }
    }

    fn take_in(&mut self, link: Link, via: Via, deadline: Instant) {
        let (waiting, evicted) = self.admission.enter(&link, via);
        self.forget(&evicted);
        let Some(waiting) = waiting else { return };
        let id = waiting.id();
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
                        self.logins.begin(self.admission, GatedLogin { connection, gated });
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
