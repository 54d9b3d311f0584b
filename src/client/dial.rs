//! The client's connection: dialed on a thread of its own, which then reads it to its end.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::contact::Contact;
use super::model::{Happening, Loss};
use crate::chat::{Code, Command, Event, Opaque, Refusal};
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::crypto::{Fingerprint, Identity, PublicKey, RecordType};
use crate::limits::Limits;
use crate::net::tunnel::{
    Dial, DialError, Incoming, Tunnel, TunnelReader, TunnelWriter, dial, fetch_key,
};
use crate::wire::codec::{self, Login, Parts};

/// For a connection and its whole login, until the server lets in, asks for a password or refuses.
const PATIENCE: Duration = Duration::from_secs(10);
/// The server may say this many things before that.
const EVENTS_FIRST_MAX: usize = 64;
/// A silent connection is asked for a sign of life after this time ...
const PING_AFTER: Duration = Duration::from_secs(30);
/// ... and given up after this.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// What a ping that asks for an echo says.
const ECHO: &[u8] = b"echo";

type Writer = Arc<Mutex<Option<TunnelWriter>>>;

/// Makes connections, one after the other.
pub struct Dialer {
    contact: Arc<Contact>,
    /// Whether the client takes up each place where it was left.
    resumes: bool,
    writer: Writer,
    happen: Sender<Happening>,
}

impl Dialer {
    pub fn new(contact: Arc<Contact>, resumes: bool, happen: Sender<Happening>) -> Self {
        Dialer { contact, resumes, writer: Writer::default(), happen }
    }

    /// Connects after a while; what comes of it happens to the model.
    pub fn dial(&mut self, after_ms: u64) {
        let (contact, writer) = (Arc::clone(&self.contact), Arc::clone(&self.writer));
        let (happen, resumes) = (self.happen.clone(), self.resumes);
        let job = move || {
            if after_ms > 0 {
                thread::sleep(Duration::from_millis(after_ms));
                let _ = happen.send(Happening::Wake);
                return;
            }
            let loss = match connect(&contact, resumes, &happen) {
                Ok((tunnel, first, key)) => live(&contact, tunnel, first, &key, &writer, &happen),
                Err(error) => why(error),
            };
            *lock(&writer) = None;
            // At the end nobody may be left to hear of it.
            let _ = happen.send(Happening::Lost(loss));
        };
        let spawned = thread::Builder::new().name("connection".into()).spawn(job);
        spawned.expect("a client can start a thread");
    }

    pub fn send(&mut self, command: &Command) {
        let mut body = Vec::new();
        codec::encode(command, &mut body);
        if body.len() > RECORD_BODY_BYTES_MAX {
            // At the end nobody may be left to hear of it.
            let _ = self.happen.send(Happening::Event(too_long(command, body.len())));
            return;
        }
        if let Some(writer) = &mut *lock(&self.writer)
            && writer.send(RecordType::Json, &body).is_err()
        {
            // The reading half notices the same and says so.
            writer.closer().cut();
        }
    }

    /// Asks for a sign that the server has answered all that it got before.
    pub fn echo(&mut self) {
        send(&self.writer, RecordType::Ping, ECHO);
    }

    /// Ends the connection; the server holds the person's seats for a while.
    pub fn cut(&mut self) {
        if let Some(writer) = &*lock(&self.writer) {
            writer.closer().cut();
        }
    }

    /// Closes the connection for good, so that the server knows it was meant.
    pub fn close(&mut self) {
        if let Some(mut writer) = lock(&self.writer).take() {
            writer.close("quit");
        }
    }
}

/// The refusal of what no record can hold, in the server's own words.
fn too_long(command: &Command, bytes: usize) -> Event {
    match command {
        Command::Say { id, text, .. } => {
            let max_bytes = Limits::default().text_bytes_max;
            Refusal::TooLong { bytes: text.len(), max_bytes }.event(Some(*id), None)
        }
        _ => Refusal::TooLong { bytes, max_bytes: RECORD_BODY_BYTES_MAX }.event(None, None),
    }
}

/// Logs in with the next key, where there is one, and with the own one where that is not admitted.
fn connect(
    contact: &Contact,
    resumes: bool,
    happen: &Sender<Happening>,
) -> Result<(Tunnel, Vec<Event>, Fingerprint), DialError> {
    let server = server_key(contact, happen)?;
    let keys = {
        let mut keys = contact.keys();
        if let Some(error) = keys.refresh(&contact.vault) {
            let text = format!("the new key is not tried: {error}");
            // At the end nobody may be left to hear of it.
            let _ = happen.send(Happening::Trouble(text));
        }
        [keys.next.clone(), Some(Arc::clone(&keys.own))]
    };
    let mut last = Err(DialError::Cut);
    for key in keys.into_iter().flatten() {
        let (tunnel, first) = log_in(contact, &key, &server, resumes)?;
        let admitted =
            |event: &Event| matches!(event, Event::Welcome { .. } | Event::Password { .. });
        let admitted = first.iter().any(admitted);
        let print = key.public().fingerprint();
        last = Ok((tunnel, first, print));
        if admitted {
            if let Err(error) = contact.keys().admitted(&key, &contact.vault) {
                let text = format!("the new key works and cannot be kept: {error}");
                let _ = happen.send(Happening::Trouble(text));
            }
            break;
        }
    }
    last
}

/// Dials and waits for the event that says whether the key is admitted. It has the deadline of the whole
/// login, whatever else the server sends.
fn log_in(
    contact: &Contact,
    identity: &Identity,
    server: &PublicKey,
    resumes: bool,
) -> Result<(Tunnel, Vec<Event>), DialError> {
    let login = Login {
        name: contact.name.clone(),
        device: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        major: 1,
        features: if resumes { vec!["resume".to_owned()] } else { Vec::new() },
    };
    let at = contact.server();
    let suites = contact.suites;
    let to = Dial { host: &at.host, port: at.port, server, suites, patience: PATIENCE };
    let mut tunnel = dial(&to, identity, &login)?;
    let mut first = Vec::new();
    while !first.iter().any(decides) {
        let messages = match tunnel.reader.receive() {
            Ok(Incoming::Record(RecordType::Json, body)) => tunnel.parts.join(body),
            Ok(Incoming::Record(..)) => continue,
            Ok(Incoming::Closed(_)) => None,
            Err(error) if waits(&error) => return Err(DialError::Timeout),
            Err(_) => None,
        };
        first.extend(codec::decode(messages.ok_or(DialError::Cut)?).filter_map(Result::ok));
        if first.len() > EVENTS_FIRST_MAX && !first.iter().any(decides) {
            return Err(DialError::Cut);
        }
    }
    Ok((tunnel, first))
}

/// Whether an event says if the key is admitted.
fn decides(event: &Event) -> bool {
    matches!(event, Event::Welcome { .. } | Event::Password { .. } | Event::Goodbye { .. })
}

/// The pinned server's public key: kept, or asked for with the fingerprint.
fn server_key(contact: &Contact, happen: &Sender<Happening>) -> Result<PublicKey, DialError> {
    let (at, print) = (contact.server(), contact.pinned());
    if let Ok(Some(key)) = contact.vault.server_key(&print) {
        return Ok(key);
    }
    let key = fetch_key(&at.host, at.port, &print, PATIENCE)?;
    if let Err(error) = contact.vault.remember_server_key(&key) {
        let text = format!("the server's key cannot be kept: {error}");
        let _ = happen.send(Happening::Trouble(text));
    }
    Ok(key)
}

/// Reads a connection to its end.
fn live(
    contact: &Contact,
    tunnel: Tunnel,
    first: Vec<Event>,
    key: &Fingerprint,
    writer: &Writer,
    happen: &Sender<Happening>,
) -> Loss {
    let Tunnel { mut reader, mut parts, writer: own, .. } = tunnel;
    let closer = own.closer();
    *lock(writer) = Some(own);
    for event in first {
        let _ = happen.send(Happening::Event(event));
    }
    if reader.set_timeout(PING_AFTER).is_ok() {
        listen(contact, &mut reader, &mut parts, key, writer, happen);
    }
    closer.cut();
    Loss::Cut
}

fn listen(
    contact: &Contact,
    reader: &mut TunnelReader,
    parts: &mut Parts,
    key: &Fingerprint,
    writer: &Writer,
    happen: &Sender<Happening>,
) {
    let mut heard = Instant::now();
    let mut asked = Instant::now();
    send(writer, RecordType::Ping, b"");
    loop {
        match reader.receive() {
            Ok(Incoming::Record(kind, body)) => {
                heard = Instant::now();
                match kind {
                    RecordType::Json => {
                        let Some(messages) = parts.join(body) else { return };
                        for event in codec::decode(messages).filter_map(Result::ok) {
                            let happening = match rotated(contact, key, event) {
                                Event::Successor { key, signature } => {
                                    match succeeded(contact, &key, &signature) {
                                        Some(happening) => happening,
                                        None => continue,
                                    }
                                }
                                event => Happening::Event(event),
                            };
                            if happen.send(happening).is_err() {
                                return;
                            }
                        }
                    }
                    RecordType::Ping => send(writer, RecordType::Pong, body),
                    RecordType::Pong if body == ECHO => {
                        let _ = happen.send(Happening::Echoed);
                    }
                    RecordType::Pong => {
                        let ms = asked.elapsed().as_millis() as u64;
                        let _ = happen.send(Happening::Answered(ms));
                    }
                    _ => {}
                }
            }
            Ok(Incoming::Closed(reason)) => {
                if reason.as_deref() == Some("rekey") {
                    let reason = "it is time for fresh keys: logging in again".to_owned();
                    let code = Code::Shutdown;
                    let event = Event::Goodbye { code, reason, retry_ms: None };
                    let _ = happen.send(Happening::Event(event));
                }
                return;
            }
            Err(error) if waits(&error) => {
                let left = SILENCE_MAX.saturating_sub(heard.elapsed());
                if left.is_zero() || reader.set_timeout(PING_AFTER.min(left)).is_err() {
                    return;
                }
                asked = Instant::now();
                send(writer, RecordType::Ping, b"");
            }
            Err(_) => return,
        }
    }
}

/// A key that was removed while another one waits was replaced by it, most likely.
fn rotated(contact: &Contact, key: &Fingerprint, event: Event) -> Event {
    match event {
        Event::Goodbye { code: Code::Removed, .. }
            if contact.keys().another(key, &contact.vault) =>
        {
            let reason = "your key was replaced: logging in with the new one".to_owned();
            Event::Goodbye { code: Code::Shutdown, reason, retry_ms: None }
        }
        other => other,
    }
}

/// The server names the key that follows its own.
fn succeeded(contact: &Contact, key: &Opaque, signature: &Opaque) -> Option<Happening> {
    match contact.succeed(key.bytes(), signature.bytes()) {
        Ok(told) => told.map(Happening::Told),
        Err(error) => Some(Happening::Trouble(format!("the server's key stays pinned: {error:#}"))),
    }
}

fn send(writer: &Writer, kind: RecordType, body: &[u8]) {
    if let Some(writer) = &mut *lock(writer) {
        // The reading half notices a connection that is gone.
        let _ = writer.send(kind, body);
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn why(error: DialError) -> Loss {
    match error {
        DialError::WrongKey => Loss::WrongServer,
        DialError::Version { lowest, highest } => Loss::Version(format!("{lowest}-{highest}")),
        DialError::Suite(_) => Loss::Suite(error.to_string()),
        DialError::Busy => Loss::Busy,
        DialError::Cut => Loss::Cut,
        other => Loss::Unreachable(other.to_string()),
    }
}

fn lock(writer: &Writer) -> std::sync::MutexGuard<'_, Option<TunnelWriter>> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
