//! Reading half of a connection, from the welcome to its end. Server events pass the edge
//! (`edge.rs`) and wait for the user interface (`inbox.rs`); keepalives do not wait.

use std::io;
use std::time::{Duration, Instant};

use super::edge::{Asked, Edge};
use super::inbox::{Gone, Sender};
use super::keepalive::{Due, Keepalive};
use super::profile::Profile;
use super::transfers::Transfers;
use super::writer::Writer;
use crate::chat::{Code, Event, Opaque, Ticket};
use crate::client::model::{Input, Loss};
use crate::crypto::{Fingerprint, RecordType};
use crate::net::tunnel::{Incoming, Tunnel, TunnelReader};
use crate::wire::codec::{self, Parts};

/// Interval between checks whether the server is silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between pings while the user interface is behind.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Pings answered within `PING_AFTER`; a server sends one in that time.
const PONGS_MAX: u32 = 30;
/// A connection that ends sooner counts as a failure, and the next attempt is delayed.
const LASTS: Duration = Duration::from_secs(5);

/// Host key rotations that are processed in one connection.
const SUCCESSORS_MAX: u32 = 4;

const OVERFLOW: &str = "the server lists more than 10,000 conversations: the others are not shown";

/// Body of a ping that asks for an echo.
pub const ECHO: &[u8] = b"echo";

pub struct Listener<'a> {
    profile: &'a Profile,
    /// Fingerprint of the own key.
    key: Fingerprint,
    edge: Edge,
    writer: Writer,
    transfers: Transfers,
    events: Sender,
    /// Time of the last keepalive ping.
    pinged: Instant,
    /// Count of answered pings, since the given time.
    pongs: (u32, Instant),
    /// Count of host key rotations.
    successors: u32,
    /// The server has sent a ticket; it may send one per connection.
    has_ticket: bool,
}

impl<'a> Listener<'a> {
    pub fn new(
        profile: &'a Profile,
        key: Fingerprint,
        asked: Asked,
        (writer, transfers): (Writer, Transfers),
        events: Sender,
    ) -> Listener<'a> {
        Listener {
            profile,
            key,
            edge: Edge::new(asked),
            writer,
            transfers,
            events,
            pinged: Instant::now(),
            pongs: (0, Instant::now()),
            successors: 0,
            has_ticket: false,
        }
    }

    /// Reads the connection to its end.
    pub fn live(mut self, tunnel: Tunnel, first: Vec<Event>) -> Loss {
        let began = Instant::now();
        let Tunnel { mut reader, mut parts, writer, .. } = tunnel;
        let closer = writer.closer();
        self.writer.set(writer);
        // If the runtime has ended, so does the reader.
        let told = first.into_iter().try_for_each(|event| self.event(event));
        if told.is_ok() && reader.set_timeout(LOOK_EVERY).is_ok() {
            let _ = self.listen(&mut reader, &mut parts);
        }
        closer.cut();
        if began.elapsed() >= LASTS {
            let _ = self.deliver(Input::ConnectionStable, 0);
        }
        Loss::Cut
    }

    fn listen(&mut self, reader: &mut TunnelReader, parts: &mut Parts) -> Result<(), Gone> {
        let mut keepalive = Keepalive::new(Instant::now());
        self.ping();
        loop {
            match reader.receive() {
                Ok(Incoming::Record(RecordType::Json, body)) => {
                    let Some(messages) = parts.join(body) else { return Ok(()) };
                    for event in codec::decode(messages).filter_map(Result::ok) {
                        self.event(event)?;
                    }
                }
                Ok(Incoming::Record(RecordType::Ping, body)) => self.pong(body),
                Ok(Incoming::Record(RecordType::Pong, body)) => {
                    let input = match body == ECHO {
                        true => Input::Echoed,
                        false => Input::Pong(self.pinged.elapsed().as_millis() as u64),
                    };
                    self.deliver(input, 0)?;
                }
                Ok(Incoming::Record(RecordType::Binary, body)) => {
                    let transfers = self.transfers.clone();
                    transfers.record(body, PING_AFTER, || self.ping());
                }
                Ok(Incoming::Record(..)) => {}
                Ok(Incoming::Closed(reason)) => {
                    if reason.as_deref() == Some("rekey") {
                        let reason =
                            "the session keys have to be renewed: logging in again".to_owned();
                        let code = Code::Shutdown;
                        let goodbye = Event::Goodbye { code, reason, retry_ms: None };
                        self.deliver(Input::Answer(goodbye), 0)?;
                    }
                    return Ok(());
                }
                Err(error) if waits(&error) => {
                    match keepalive.due(Instant::now(), self.writer.sent()) {
                        Some(Due::End) => return Ok(()),
                        Some(Due::Ping) => self.ping(),
                        Some(Due::Silent(time)) => {
                            let for_ms = Some(time.as_millis() as u64);
                            self.deliver(Input::Silent { for_ms }, 0)?;
                        }
                        None => {}
                    }
                    continue;
                }
                Err(_) => return Ok(()),
            }
            // The user interface may have been busy for long; that is no silence of the server.
            self.writer.is_answered();
            if keepalive.ends(Instant::now()) {
                self.deliver(Input::Silent { for_ms: None }, 0)?;
            }
        }
    }

    /// Handles a server event that the edge admits.
    fn event(&mut self, event: Event) -> Result<(), Gone> {
        if let Some(goodbye) = self.rotated(&event) {
            return self.deliver(Input::Answer(goodbye), 0);
        }
        let overflowed = self.edge.overflows;
        let admitted = self.edge.admit(event);
        if self.edge.overflows && !overflowed {
            self.deliver(Input::Trouble(OVERFLOW.to_owned()), OVERFLOW.len())?;
        }
        let Some(event) = admitted else { return Ok(()) };
        match event {
            Event::Successor { key, signatures } => match self.rotate_host_key(&key, &signatures) {
                Some(input) => self.deliver(input, 0),
                None => Ok(()),
            },
            Event::Ticket { ticket } => match self.store_ticket(&ticket) {
                Some(input) => self.deliver(input, 0),
                None => Ok(()),
            },
            event => {
                let bytes = event.bytes_in_memory();
                self.deliver(Input::Event(event), bytes)
            }
        }
    }

    /// Sends an input and waits for room in the queue. Meanwhile pings keep the connection alive.
    fn deliver(&mut self, input: Input, bytes: usize) -> Result<(), Gone> {
        let events = self.events.clone();
        events.send_sized(input, bytes, PING_AFTER, || self.ping())
    }

    fn ping(&mut self) {
        self.pinged = Instant::now();
        self.writer.send(RecordType::Ping, b"");
    }

    /// Answers a ping, up to a rate.
    fn pong(&mut self, body: &[u8]) {
        if self.pongs.1.elapsed() >= PING_AFTER {
            self.pongs = (0, Instant::now());
        }
        self.pongs.0 = self.pongs.0.saturating_add(1);
        if self.pongs.0 <= PONGS_MAX {
            self.writer.send(RecordType::Pong, body);
        }
    }

    /// If the key was removed while a next key exists, it was most likely replaced by it.
    fn rotated(&self, event: &Event) -> Option<Event> {
        let removed = matches!(event, Event::Goodbye { code: Code::Removed, .. });
        let replaced = removed && self.profile.keys().another(&self.key, &self.profile.data_folder);
        replaced.then(|| {
            let reason = "your key was replaced: logging in with the new one".to_owned();
            Event::Goodbye { code: Code::Shutdown, reason, retry_ms: None }
        })
    }

    /// Stores the device's ticket for the password.
    fn store_ticket(&mut self, ticket: &Ticket) -> Option<Input> {
        if std::mem::replace(&mut self.has_ticket, true) {
            return None;
        }
        let error = self.profile.keep_ticket(ticket).err()?;
        Some(Input::Trouble(format!("the device's ticket cannot be stored: {error}")))
    }

    /// Handles the announcement of the host key that follows the current one.
    fn rotate_host_key(&mut self, key: &Opaque, signatures: &Opaque) -> Option<Input> {
        self.successors = self.successors.saturating_add(1);
        if self.successors > SUCCESSORS_MAX {
            return None;
        }
        match self.profile.succeed(key.bytes(), signatures.bytes()) {
            Ok(told) => told.map(Input::Reply),
            Err(error) => Some(Input::Trouble(format!("the server's key stays pinned: {error:#}"))),
        }
    }
}

pub fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
