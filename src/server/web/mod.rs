//! The web port: the page by HTTP/1.1, until a request opens a hop, which is handed to the login
//! loop. One thread handles all its connections, so that each costs only a descriptor and a buffer.

pub mod authority;
pub mod certificate;
mod connection;
mod pages;
mod routes;
mod rules;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::admission::accepting::Accepting;
use super::admission::entrance::{Arrival, Entrance};
use super::admission::table::Table;
use super::stop::Stop;
use crate::chat::rate::Stamp;
use crate::config::Config;
use crate::net::http::HttpStream;
use crate::net::listener::Listener;
use crate::sync::Snapshot;
use certificate::Certificate;
use connection::{Asked, Connection, Progress};

/// The most connections accepted before the existing ones are handled again.
const ACCEPTS_MAX: usize = 16;

/// The parts of the server that the web port uses.
pub struct Web {
    pub admission: Arc<Admission>,
    pub config: Arc<Snapshot<Config>>,
    pub entrance: Entrance,
    pub certificate: Certificate,
}

/// Answers requests until the server stops.
pub fn run(web: Web, listener: &Listener, stop: &Stop) {
    let table = Table::new(web.admission.web_bounds(&web.config.get()));
    let (connections, accepting) = (BTreeMap::new(), Accepting::default());
    let mut pages = Pages { web, table, connections, began: Instant::now(), accepting };
    while !stop.is_requested() {
        pages.turn(listener);
    }
}

/// The connections that are no hop.
struct Pages {
    web: Web,
    table: Table<HttpStream>,
    connections: BTreeMap<u64, Connection>,
    began: Instant,
    accepting: Accepting,
}

impl Pages {
    fn turn(&mut self, listener: &Listener) {
        self.web.certificate.keep(&self.web.config.get());
        let connections = self.connections.iter();
        let sockets = connections
            .map(|(id, connection)| (*id, (connection.stream().as_fd(), connection.wanted())));
        let (ids, streams): (Vec<u64>, Vec<_>) = sockets.unzip();
        let deadlines = self.connections.values().map(Connection::deadline);
        let ready = self.accepting.wait(slice::from_ref(listener), &streams, deadlines);
        let active = ids.into_iter().zip(ready.sockets).filter(|(_, ready)| *ready);
        active.for_each(|(id, _)| self.advance(id));
        self.expire();
        if ready.listeners == [true] {
            self.accept(listener);
        }
    }

    fn accept(&mut self, listener: &Listener) {
        for _ in 0..ACCEPTS_MAX {
            let accepted = listener.accept_http();
            let what = "connections to the web port";
            let Some(stream) = self.accepting.accepted(accepted, what) else { return };
            self.take_in(stream);
        }
    }

    /// Adds a new connection. One that the limits do not admit is closed without an answer.
    fn take_in(&mut self, stream: HttpStream) {
        let Some(origin) = self.web.admission.web_origin(stream.peer.ip()) else { return };
        let now = Stamp(self.began.elapsed().as_millis() as u64);
        let (id, evicted) = self.table.enter(origin, stream.clone(), now);
        for held in evicted {
            held.handle.cut();
            self.connections.remove(&held.id);
        }
        let Ok(id) = id else { return };
        let deadline = Instant::now() + self.web.admission.login_time();
        self.connections.insert(id, Connection::new(stream, deadline));
        // The request has usually arrived with the connection.
        self.advance(id);
    }

    fn advance(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let admission = &self.web.admission;
        let config = self.web.config.get();
        let is_proxy = |address: IpAddr| admission.is_web_proxy(address);
        let certificate = &self.web.certificate;
        let asked = Asked {
            origins: &config.web_origins,
            names: &config.web_names,
            authority: &|| certificate.authority(&config),
            is_proxy: &is_proxy,
            is_open: admission.is_open(),
            login_time: admission.login_time(),
            about: &|| pages::about(&admission.keys(), &config),
            tls: certificate.get(),
        };
        let advance = || connection.advance(&asked);
        // A panic must not affect other peers.
        let progress = catch_unwind(AssertUnwindSafe(advance)).unwrap_or(Progress::Over);
        if matches!(progress, Progress::Waits) {
            return;
        }
        let deadline = connection.deadline();
        self.remove(id);
        if let Progress::Hop(link) = progress {
            self.web.entrance.hand_over(Arrival { link, deadline });
        }
    }

    /// Closes the connections whose deadline has passed.
    fn expire(&mut self) {
        let now = Instant::now();
        let late = self.connections.iter().filter(|(_, connection)| connection.deadline() <= now);
        let late: Vec<_> = late.map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.remove(id));
    }

    fn remove(&mut self, id: u64) {
        self.connections.remove(&id);
        self.table.leave(id);
    }
}
