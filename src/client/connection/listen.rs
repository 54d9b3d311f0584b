//! The reading half of a connection, from the welcome to its end. What the server says is admitted
//! by the edge (`edge.rs`) and waits for the user interface (`inbox.rs`); what keeps the connection
//! alive does not.

use std::io;
use std::time::{Duration, Instant};

use super::writer::Writer;
use crate::chat::{Code, Event, Opaque, Ticket};
use crate::client::edge::{Asked, Edge};
use crate::client::inbox::{Gone, Sender};
use crate::client::model::{Input, Loss};
use crate::client::profile::Profile;
use crate::crypto::{Fingerprint, RecordType};
use crate::net::tunnel::{Incoming, Tunnel, TunnelReader};
use crate::wire::codec::{self, Parts};

/// A silent connection is asked for a sign of life after this time ...
const PING_AFTER: Duration = Duration::from_secs(30);
/// ... and given up after this.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// Pings that are answered within `PING_AFTER`: a server sends one in that time.
const PONGS_MAX: u32 = 30;
/// A connection that ends sooner was of no use: the next one is not made at once.
const LASTS: Duration = Duration::from_secs(5);

/// Keys that a server may get while a connection lasts, which a client looks at.
const SUCCESSORS_MAX: u32 = 4;

const OVERFLOW: &str = "the server tells of more than 10,000 conversations: others are not shown";

/// What a ping that asks for an echo says.
pub const ECHO: &[u8] = b"echo";

pub struct Listener<'a> {
    profile: &'a Profile,
    /// Of the own key, by which the server knows this client.
    key: Fingerprint,
    edge: Edge,
    writer: Writer,
    events: Sender,
    /// When the last ping went out that asks for nothing but life.
    pinged: Instant,
    /// Pings that were answered, since when.
    pongs: (u32, Instant),
    /// How often the server has named a key that follows its own.
    successors: u32,
    /// The server has given a ticket: one for each connection.
    has_ticket: bool,
}

impl<'a> Listener<'a> {
    pub fn new(
        profile: &'a Profile,
        key: Fingerprint,
        asked: Asked,
        writer: Writer,
        events: Sender,
    ) -> Listener<'a> {
        Listener {
            profile,
            key,
            edge: Edge::new(asked),
            writer,
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
        // The runtime may be gone: nobody is left to hear of the end, either.
        let told = first.into_iter().try_for_each(|event| self.event(event));
        if told.is_ok() && reader.set_timeout(PING_AFTER).is_ok() {
            let _ = self.listen(&mut reader, &mut parts);
        }
        closer.cut();
        if began.elapsed() >= LASTS {
            let _ = self.tell(Input::Lasted, 0);
        }
        Loss::Cut
    }

    fn listen(&mut self, reader: &mut TunnelReader, parts: &mut Parts) -> Result<(), Gone> {
        let mut heard = Instant::now();
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
                        false => Input::Answered(self.pinged.elapsed().as_millis() as u64),
                    };
                    self.tell(input, 0)?;
                }
                Ok(Incoming::Record(..)) => {}
                Ok(Incoming::Closed(reason)) => {
                    if reason.as_deref() == Some("rekey") {
                        let reason = "it is time for fresh keys: logging in again".to_owned();
                        let code = Code::Shutdown;
                        let goodbye = Event::Goodbye { code, reason, retry_ms: None };
                        self.tell(Input::Answer(goodbye), 0)?;
                    }
                    return Ok(());
                }
                Err(error) if waits(&error) => {
                    let left = SILENCE_MAX.saturating_sub(heard.elapsed());
                    if left.is_zero() || reader.set_timeout(PING_AFTER.min(left)).is_err() {
                        return Ok(());
                    }
                    self.ping();
                    continue;
                }
                Err(_) => return Ok(()),
            }
            // Also after a long time in which the user interface was not ready for it.
            heard = Instant::now();
        }
    }

    /// What the server has said, as far as it may say it.
    fn event(&mut self, event: Event) -> Result<(), Gone> {
        if let Some(goodbye) = self.rotated(&event) {
            return self.tell(Input::Answer(goodbye), 0);
        }
        let overflowed = self.edge.overflows;
        let admitted = self.edge.admit(event);
        if self.edge.overflows && !overflowed {
            self.tell(Input::Trouble(OVERFLOW.to_owned()), OVERFLOW.len())?;
        }
        let Some(event) = admitted else { return Ok(()) };
        match event {
            Event::Successor { key, signatures } => match self.succeeds(&key, &signatures) {
                Some(input) => self.tell(input, 0),
                None => Ok(()),
            },
            Event::Ticket { ticket } => match self.keeps(&ticket) {
                Some(input) => self.tell(input, 0),
                None => Ok(()),
            },
            event => {
                let bytes = event.bytes_in_memory();
                self.tell(Input::Event(event), bytes)
            }
        }
    }

    /// Waits until the user interface is ready for it. The server hears meanwhile that this client
    /// lives.
    fn tell(&mut self, input: Input, bytes: usize) -> Result<(), Gone> {
        let events = self.events.clone();
        events.send_sized(input, bytes, PING_AFTER, || self.ping())
    }

    fn ping(&mut self) {
        self.pinged = Instant::now();
        self.writer.send(RecordType::Ping, b"");
    }

    /// A server that pings without end is not answered without end.
    fn pong(&mut self, body: &[u8]) {
        if self.pongs.1.elapsed() >= PING_AFTER {
            self.pongs = (0, Instant::now());
        }
        self.pongs.0 = self.pongs.0.saturating_add(1);
        if self.pongs.0 <= PONGS_MAX {
            self.writer.send(RecordType::Pong, body);
        }
    }

    /// A key that was removed while another one waits was replaced by it, most likely.
    fn rotated(&self, event: &Event) -> Option<Event> {
        let removed = matches!(event, Event::Goodbye { code: Code::Removed, .. });
        let replaced = removed && self.profile.keys().another(&self.key, &self.profile.data_folder);
        replaced.then(|| {
            let reason = "your key was replaced: logging in with the new one".to_owned();
            Event::Goodbye { code: Code::Shutdown, reason, retry_ms: None }
        })
    }

    /// The server has given this device a ticket.
    fn keeps(&mut self, ticket: &Ticket) -> Option<Input> {
        if std::mem::replace(&mut self.has_ticket, true) {
            return None;
        }
        let error = self.profile.keep_ticket(ticket).err()?;
        Some(Input::Trouble(format!("the device's ticket cannot be stored: {error}")))
    }

    /// The server names the key that follows its own.
    fn succeeds(&mut self, key: &Opaque, signatures: &Opaque) -> Option<Input> {
        self.successors = self.successors.saturating_add(1);
        if self.successors > SUCCESSORS_MAX {
            return None;
        }
        match self.profile.succeed(key.bytes(), signatures.bytes()) {
            Ok(told) => told.map(Input::Told),
            Err(error) => Some(Input::Trouble(format!("the server's key stays pinned: {error:#}"))),
        }
    }
}

pub fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
