//! Reading half of a connection, from the welcome to its end. Server events pass the edge
//! (`edge.rs`) and wait for the user interface (`inbox.rs`); keepalives do not wait.

use std::io;
use std::time::{Duration, Instant};

use super::edge::Asked;
use super::hearing::{ECHO, Heard, Hearing, LASTS, PING_AFTER, rekeys};
use super::inbox::{Gone, Sender};
use super::keepalive::{Due, Keepalive};
use super::profile::Profile;
use super::transfers::Transfers;
use super::writer::Writer;
use crate::chat::Event;
use crate::client::model::{Input, Loss};
use crate::crypto::{Fingerprint, RecordType};
use crate::net::tunnel::{Incoming, Tunnel, TunnelReader};
use crate::wire::codec::{self, Parts};

/// Interval between checks whether the server is silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
pub struct Listener<'a> {
    profile: &'a Profile,
    hearing: Hearing,
    writer: Writer,
    transfers: Transfers,
    events: Sender,
    /// Time of the last keepalive ping.
    pinged: Instant,
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
            hearing: Hearing::new((profile.pinned(), key), asked),
            writer,
            transfers,
            events,
            pinged: Instant::now(),
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
                        self.deliver(rekeys(), 0)?;
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
        let heard = self.hearing.event(self.profile, event);
        heard.into_iter().try_for_each(|Heard { input, bytes }| self.deliver(input, bytes))
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
        if self.hearing.answers_ping() {
            self.writer.send(RecordType::Pong, body);
        }
    }
}

pub fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
