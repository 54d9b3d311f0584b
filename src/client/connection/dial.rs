//! The client's connection: dialed on a thread of its own, which then reads it to its end
//! (`listen.rs`).

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::listen::{ECHO, Listener, waits};
use super::writer::Writer;
use crate::chat::{Command, Event, Refusal};
use crate::client::edge::Asked;
use crate::client::inbox::{EVENTS_BYTES_MAX, Sender};
use crate::client::model::{Input, Loss};
use crate::client::profile::Profile;
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::crypto::{Fingerprint, Identity, PublicKey, RecordType};
use crate::limits::Limits;
use crate::net::tunnel::{Dial, DialError, Incoming, Tunnel, dial, fetch_lineage};
use crate::wire::codec::{self, Login};

/// For a connection and its whole login, until the server lets in, asks for a password or refuses.
const PATIENCE: Duration = Duration::from_secs(10);
/// The server may say this many things before that.
const EVENTS_FIRST_MAX: usize = 64;

/// Makes connections, one after the other.
pub struct Dialer {
    profile: Arc<Profile>,
    /// Whether the client takes up each conversation where it was left.
    resumes: bool,
    writer: Writer,
    asked: Asked,
    happen: Sender,
    /// For what the server says: it waits where that is not shown yet.
    events: Sender,
}

impl Dialer {
    pub fn new(profile: Arc<Profile>, resumes: bool, happen: Sender) -> Self {
        let events = happen.bounded(EVENTS_BYTES_MAX);
        let (writer, asked) = (Writer::default(), Asked::default());
        Dialer { profile, resumes, writer, asked, happen, events }
    }

    /// Connects after a while; what comes of it happens to the model.
    pub fn dial(&mut self, after_ms: u64) {
        let (profile, writer) = (Arc::clone(&self.profile), self.writer.clone());
        let (events, asked, resumes) = (self.events.clone(), self.asked.clone(), self.resumes);
        let job = move || {
            if after_ms > 0 {
                thread::sleep(Duration::from_millis(after_ms));
                let _ = events.send(Input::Wake);
                return;
            }
            let loss = match connect(&profile, resumes, &events) {
                Ok((tunnel, first, key)) => {
                    asked.forget();
                    Listener::new(&profile, key, asked, writer.clone(), events.clone())
                        .live(tunnel, first)
                }
                Err(error) => why(error),
            };
            writer.clear();
            // At the end nobody may be left to hear of it.
            let _ = events.send(Input::Lost(loss));
        };
        let spawned = thread::Builder::new().name("connection".into()).spawn(job);
        spawned.expect("a client can start a thread");
    }

    pub fn send(&mut self, command: &Command) {
        let mut body = Vec::new();
        codec::encode(command, &mut body);
        if body.len() > RECORD_BODY_BYTES_MAX {
            // At the end nobody may be left to hear of it.
            let _ = self.happen.send(Input::Answer(too_long(command, body.len())));
            return;
        }
        self.asked.note(command);
        self.writer.send(RecordType::Json, &body);
    }

    /// Asks for a sign that the server has answered all that it got before.
    pub fn echo(&mut self) {
        self.writer.send(RecordType::Ping, ECHO);
    }

    /// Ends the connection; the server holds the person's seats for a while.
    pub fn cut(&mut self) {
        self.writer.cut();
    }

    /// Closes the connection for good, so that the server knows it was meant.
    pub fn close(&mut self) {
        self.writer.quit();
    }
}

/// The refusal of what no record can hold, in the server's own words.
fn too_long(command: &Command, bytes: usize) -> Event {
    match command {
        Command::Say(message) => {
            let max_bytes = Limits::default().text_bytes_max;
            let bytes = message.body.len();
            Refusal::TooLong { bytes, max_bytes }.event(Some(message.id), None)
        }
        _ => Refusal::TooLong { bytes, max_bytes: RECORD_BODY_BYTES_MAX }.event(None, None),
    }
}

/// Logs in with the next key, where there is one, and with the own one where that is not admitted.
fn connect(
    profile: &Profile,
    resumes: bool,
    happen: &Sender,
) -> Result<(Tunnel, Vec<Event>, Fingerprint), DialError> {
    let server = server_key(profile, happen)?;
    let keys = {
        let mut keys = profile.keys();
        if let Some(error) = keys.refresh(&profile.data_folder) {
            let text = format!("the new key is not tried: {error}");
            // At the end nobody may be left to hear of it.
            let _ = happen.send(Input::Trouble(text));
        }
        [keys.next.clone(), Some(Arc::clone(&keys.own))]
    };
    let mut last = Err(DialError::Cut);
    for key in keys.into_iter().flatten() {
        let (tunnel, first) = log_in(profile, &key, &server, resumes)?;
        if let Err(error) = profile.met() {
            let text = format!("the server is not remembered: {error}");
            let _ = happen.send(Input::Trouble(text));
        }
        let admitted =
            |event: &Event| matches!(event, Event::Welcome { .. } | Event::Password { .. });
        let admitted = first.iter().any(admitted);
        let print = key.public().fingerprint();
        last = Ok((tunnel, first, print));
        if admitted {
            if let Err(error) = profile.keys().admitted(&key, &profile.data_folder) {
                let text = format!("the new key works and cannot be kept: {error}");
                let _ = happen.send(Input::Trouble(text));
            }
            break;
        }
    }
    last
}

/// Dials and waits for the event that says whether the key is admitted. It has the deadline of the
/// whole login, whatever else the server sends.
fn log_in(
    profile: &Profile,
    identity: &Identity,
    server: &PublicKey,
    resumes: bool,
) -> Result<(Tunnel, Vec<Event>), DialError> {
    let features = ["ticket"].into_iter().chain(resumes.then_some("resume"));
    let login = Login {
        name: profile.name.clone(),
        device: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        major: 1,
        features: features.map(str::to_owned).collect(),
        ticket: profile.ticket(),
    };
    let at = profile.server();
    let suites = profile.suites;
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

/// The pinned server's public key: kept, or asked for with the fingerprint. A server that was
/// never met has to prove its first key, too: it may not have answered when that was asked for.
fn server_key(profile: &Profile, happen: &Sender) -> Result<PublicKey, DialError> {
    let (at, print) = (profile.server(), profile.pinned());
    let known = profile.is_known();
    if known && let Ok(Some(key)) = profile.data_folder.server_key(&print) {
        return Ok(key);
    }
    let (key, lineage) = fetch_lineage(&at.host, at.port, &print, PATIENCE)?;
    if !known && lineage.prints().next().unwrap_or(print) != *profile.founding() {
        return Err(DialError::Founding);
    }
    if let Err(error) = profile.data_folder.remember_server_key(&key) {
        let text = format!("the server's key cannot be kept: {error}");
        let _ = happen.send(Input::Trouble(text));
    }
    Ok(key)
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
