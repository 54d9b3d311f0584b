//! Connecting and logging in, on a thread of its own, which then reads the connection to its end
//! (`listen.rs`).

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::connects::{Connects, EVENTS_FIRST_MAX, PATIENCE, decides, login, too_long, why};
use super::edge::Asked;
use super::hearing::ECHO;
use super::inbox::{EVENTS_BYTES_MAX, Sender};
use super::listen::{Listener, waits};
use super::profile::Profile;
use super::transfers::Transfers;
use super::writer::Writer;
use crate::chat::{Event, Request};
use crate::client::model::Input;
use crate::client::transfer::{Left, Work};
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::crypto::{Fingerprint, Identity, PublicKey, RecordType};
use crate::e2e::storage::Account;
use crate::net::tunnel::{Dial, DialError, Incoming, Tunnel, dial_by, fetch_lineage};
use crate::wire::codec;

/// Makes connections, one at a time.
pub struct Dialer {
    profile: Arc<Profile>,
    /// This client resumes each conversation at its last position. Otherwise it has one job.
    resumes: bool,
    writer: Writer,
    asked: Asked,
    inbox: Sender,
    /// Server events. The sender blocks while the user interface is behind.
    events: Sender,
    /// Files that are sent and fetched.
    transfers: Transfers,
}

impl Dialer {
    /// `key` encrypts what is stored of transfers. Returns those that an earlier run has left.
    pub fn new(
        profile: Arc<Profile>,
        resumes: bool,
        inbox: Sender,
        key: Zeroizing<[u8; 32]>,
    ) -> (Dialer, Left) {
        let events = inbox.bounded(EVENTS_BYTES_MAX);
        let (writer, asked) = (Writer::default(), Asked::default());
        let stem = profile.data_folder.journal_stem(profile.founding());
        let (transfers, left) =
            Transfers::start((&stem, key), !resumes, writer.clone(), inbox.clone());
        (Dialer { profile, resumes, writer, asked, inbox, events, transfers }, left)
    }
}

impl Connects for Dialer {
    fn dial(&mut self, after_ms: u64) {
        let (profile, writer) = (Arc::clone(&self.profile), self.writer.clone());
        let (events, asked, resumes) = (self.events.clone(), self.asked.clone(), self.resumes);
        let transfers = self.transfers.clone();
        let job = move || {
            if after_ms > 0 {
                thread::sleep(Duration::from_millis(after_ms));
                let _ = events.send(Input::Wake);
                return;
            }
            let loss = match connect(&profile, resumes, &events) {
                Ok((tunnel, first, key)) => {
                    asked.forget();
                    let half = (writer.clone(), transfers);
                    Listener::new(&profile, key, asked, half, events.clone()).live(tunnel, first)
                }
                Err(error) => why(error),
            };
            writer.clear();
            // The runtime may already have ended.
            let _ = events.send(Input::Lost(loss));
        };
        let spawned = thread::Builder::new().name("connection".into()).spawn(job);
        spawned.expect("a client can start a thread");
    }

    fn send(&mut self, request: &Request) {
        let mut body = Vec::new();
        codec::encode(request, &mut body);
        if body.len() > RECORD_BODY_BYTES_MAX {
            // The runtime may already have ended.
            let _ = self.inbox.send(Input::Answer(too_long(&request.command, body.len())));
            return;
        }
        self.asked.note(request);
        self.writer.send(RecordType::Json, &body);
    }

    fn echo(&mut self) {
        self.writer.send(RecordType::Ping, ECHO);
    }

    fn cut(&mut self) {
        self.writer.cut();
    }

    fn close(&mut self) {
        self.writer.quit();
    }

    fn work(&mut self, work: Work) {
        self.transfers.work(work);
    }

    fn lost(&mut self) {
        self.transfers.lost();
    }

    fn finish(&mut self) {
        self.transfers.finish();
    }
}

/// Logs in with the next key if there is one, and with the own key if the next one is not admitted.
fn connect(
    profile: &Profile,
    resumes: bool,
    inbox: &Sender,
) -> Result<(Tunnel, Vec<Event>, Fingerprint), DialError> {
    let server = server_key(profile, inbox)?;
    let keys = {
        let mut keys = profile.keys();
        if let Some(error) = keys.refresh(&profile.data_folder) {
            let text = format!("the new key cannot be tried: {error}");
            // The runtime may already have ended.
            let _ = inbox.send(Input::Trouble(text));
        }
        [keys.next.clone(), Some(Arc::clone(&keys.own))]
    };
    let mut last = Err(DialError::Cut);
    for key in keys.into_iter().flatten() {
        let (tunnel, first) = log_in(profile, &key, &server, resumes)?;
        if let Err(error) = profile.met() {
            let text = format!("the server cannot be stored: {error}");
            let _ = inbox.send(Input::Trouble(text));
        }
        let admitted =
            |event: &Event| matches!(event, Event::Welcome { .. } | Event::Password { .. });
        let admitted = first.iter().any(admitted);
        let print = key.public().fingerprint();
        last = Ok((tunnel, first, print));
        if admitted {
            if let Err(error) = profile.keys().admitted(&key, &profile.data_folder) {
                let text = format!("the new key was admitted and cannot be stored: {error}");
                let _ = inbox.send(Input::Trouble(text));
            }
            break;
        }
    }
    last
}

/// Connects and waits for the event that shows whether the key is admitted. The deadline covers the
/// whole login, whatever else the server sends.
fn log_in(
    profile: &Profile,
    identity: &Identity,
    server: &PublicKey,
    resumes: bool,
) -> Result<(Tunnel, Vec<Event>), DialError> {
    let login = login(profile, resumes);
    let at = profile.server();
    let suites = profile.suites;
    let to = Dial { host: &at.host, port: at.port, server, suites, patience: PATIENCE };
    let own = identity.public().fingerprint();
    let ticket = || profile.take_session_ticket(&server.fingerprint(), &own);
    let mut tunnel = dial_by(&to, identity, &login, &ticket)?;
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

/// The pinned server's public key, stored or fetched by its fingerprint. A server on first use must
/// also prove its founding key, because it may have been unreachable when the invite was read.
fn server_key(profile: &Profile, inbox: &Sender) -> Result<PublicKey, DialError> {
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
        let text = format!("the server's key cannot be stored: {error}");
        let _ = inbox.send(Input::Trouble(text));
    }
    Ok(key)
}
