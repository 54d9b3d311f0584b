//! A connection whose records somebody else carries, one at a time: no sockets, threads and waits.
//! The carrier opens a connection for each `Carry::Open`, hands over what arrives, and calls
//! `looks` when `due` has come. A profile has one key here; its rotation is for the terminal.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::connects::{
    Connects, Derivation, EVENTS_FIRST_MAX, PATIENCE, decides, login, too_long, why,
};
use super::edge::Asked;
use super::hearing::{ECHO, Heard, Hearing, LASTS, rekeys};
use super::inbox::Sender;
use super::keepalive::{Due, Keepalive};
use super::profile::Profile;
use super::transfers::steps::Steps;
use crate::chat::{Event, Request, SecretText};
use crate::client::model::{Input, Loss};
use crate::client::transfer::{Failure, Place, Report, Work};
use crate::crypto::handshake::{
    self, ClientPresented, ClientSent, ClientStart, HandshakeError, Presented, Transport,
};
use crate::crypto::key_request::NONCE_BYTES;
use crate::crypto::lineage::{self, AnswerError};
use crate::crypto::pin_channel::PinChannel;
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::crypto::session_ticket::HeldTicket;
use crate::crypto::{Fingerprint, Opener, PublicKey, RecordType, Sealer};
use crate::e2e::storage::Account;
use crate::fault::code;
use crate::net::dial_error::{DialError, said_in_the_clear};
use crate::system::clock::Instant;
use crate::wire::codec::{self, Parts};

/// Interval between checks whether the server is silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The start of an answer in the clear.
const CLEAR: &[u8] = b"PYCHAT!";

/// What the carrier has to do, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Carry {
    /// Open a connection, in place of the one before.
    Open,
    Record(Vec<u8>),
    /// Close the connection.
    Close,
    /// Derive the key of a PIN beside the chat, and hand it to `derived` with this number.
    Derive(Wanted),
}

/// A key to be derived from a PIN.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    pub number: u32,
    pub pin: SecretText,
    /// The server's founding key.
    pub server: Fingerprint,
    /// The name of the channel without its `#`.
    pub letters: String,
}

/// How far a connection is.
enum Stage {
    None,
    /// The delay before a connection.
    Pause(Instant),
    Dialing(Instant, Dialing),
    Live(Box<Live>),
}

/// The steps up to the login, all of which share a deadline.
enum Dialing {
    /// The server's key is asked for once the connection is open.
    OpensToAsk,
    Asks([u8; NONCE_BYTES]),
    Opens,
    Greets(Box<ClientStart<'static>>),
    Presents(Box<ClientPresented<'static>>),
    Proves(Box<ClientSent<'static>>),
    LogsIn(Box<Ciphers>, Vec<Event>),
}

/// The keys of a session.
struct Ciphers {
    sealer: Sealer,
    opener: Opener,
    parts: Parts,
}

/// A session.
struct Live {
    ciphers: Ciphers,
    hearing: Hearing,
    keepalive: Keepalive,
    began: Instant,
    /// Time of the last keepalive ping.
    pinged: Instant,
    /// Time of the first request since the server was heard.
    sent: Option<Instant>,
}

/// The connection, as a state that never waits.
pub struct Hop {
    profile: Arc<Profile>,
    asked: Asked,
    inbox: Sender,
    stage: Stage,
    /// The server's key, once it is proven that its fingerprint is the pinned one.
    server: Option<PublicKey>,
    carry: VecDeque<Carry>,
    transfers: Steps,
    /// Keys that the carrier derives.
    derivations: BTreeMap<u32, Derivation>,
    /// Number of the newest one.
    derivation: u32,
    /// The folder of files that the carrier hands over. No other file is sent.
    handed: PathBuf,
}

impl Hop {
    pub fn new(profile: Arc<Profile>, inbox: Sender, (transfers, handed): (Steps, PathBuf)) -> Hop {
        let (asked, stage, carry) = (Asked::default(), Stage::None, VecDeque::new());
        let (derivations, derivation) = (BTreeMap::new(), 0);
        let server = None;
        Hop {
            profile,
            asked,
            inbox,
            stage,
            server,
            carry,
            transfers,
            derivations,
            derivation,
            handed,
        }
    }

    /// Takes the next thing for the carrier.
    pub fn take(&mut self) -> Option<Carry> {
        self.carry.pop_front()
    }

    /// Returns the time at which `looks` has something to do.
    pub fn due(&self) -> Option<Instant> {
        match &self.stage {
            _ if self.transfers.is_reading() => Some(Instant::now()),
            Stage::None => None,
            Stage::Pause(until) | Stage::Dialing(until, _) => Some(*until),
            Stage::Live(_) => Some(Instant::now() + LOOK_EVERY),
        }
    }

    /// Handles the time, and continues the transfers of files.
    pub fn looks(&mut self) {
        for body in self.transfers.resume() {
            self.send_record(RecordType::Binary, &body);
        }
        let now = Instant::now();
        match &mut self.stage {
            Stage::Pause(until) if now >= *until => {
                self.stage = Stage::None;
                self.tell(Input::Wake);
            }
            Stage::Dialing(until, _) if now >= *until => self.fails(DialError::Timeout),
            Stage::Live(live) => match live.keepalive.due(now, live.sent) {
                Some(Due::End) => self.ends(),
                Some(Due::Ping) => self.ping(),
                Some(Due::Silent(time)) => {
                    self.tell(Input::Silent { for_ms: Some(time.as_millis() as u64) });
                }
                None => {}
            },
            _ => {}
        }
    }

    /// Does the next part of long work: reads files.
    pub fn continue_work(&mut self) {
        self.transfers.reads_on();
    }

    /// Takes the secret of a key that the carrier has derived. Without one, the carrier could not
    /// derive it, and it is derived here.
    pub fn derived(&mut self, number: u32, root: Option<Zeroizing<[u8; 32]>>) {
        let Some(wanted) = self.derivations.remove(&number) else { return };
        let key = root.map_or_else(|| wanted.key(), PinChannel::from_root);
        self.tell(wanted.done(key));
    }

    /// The connection that the carrier had to open is open.
    pub fn opened(&mut self) {
        let Stage::Dialing(_, dialing) = &mut self.stage else { return };
        match dialing {
            Dialing::OpensToAsk => {
                let nonce = rand::random();
                let ask = lineage::ask(&self.profile.pinned(), nonce);
                *dialing = Dialing::Asks(nonce);
                self.carry.push_back(Carry::Record(ask.to_vec()));
            }
            Dialing::Opens => {
                let Some(server) = self.server.clone() else { return };
                let (own, suites) = (self.profile.own(), self.profile.suites);
                let (start, r0) = ClientStart::shared(own, server, suites);
                *dialing = Dialing::Greets(Box::new(start));
                self.carry.push_back(Carry::Record(r0.to_vec()));
            }
            _ => {}
        }
    }

    /// The connection is closed, or could not be opened.
    pub fn closed(&mut self) {
        let Stage::Dialing(_, dialing) = &self.stage else {
            if matches!(self.stage, Stage::Live(_)) {
                self.ends();
            }
            return;
        };
        let error = match dialing {
            Dialing::OpensToAsk | Dialing::Opens => {
                DialError::Connect(io::Error::other("the server does not answer"))
            }
            Dialing::Asks(_) | Dialing::Greets(_) => DialError::Silent,
            Dialing::Presents(_) | Dialing::Proves(_) | Dialing::LogsIn(..) => DialError::Cut,
        };
        self.fails(error);
    }

    /// Handles a record that has arrived.
    pub fn record(&mut self, mut record: Vec<u8>) {
        match std::mem::replace(&mut self.stage, Stage::None) {
            Stage::Dialing(until, dialing) => {
                if let Err(error) = self.answer(dialing, &mut record, until) {
                    self.fails(error);
                }
            }
            Stage::Live(live) => {
                self.stage = Stage::Live(live);
                if self.hears(&mut record).is_none() {
                    self.ends();
                }
            }
            other => self.stage = other,
        }
    }

    /// Handles an answer of the login phase, and sets the next stage.
    fn answer(
        &mut self,
        dialing: Dialing,
        record: &mut [u8],
        until: Instant,
    ) -> Result<(), DialError> {
        let in_the_clear = record.strip_prefix(CLEAR).filter(|_| dialing.is_in_the_clear());
        if let Some(word) = in_the_clear {
            return Err(said_in_the_clear(word));
        }
        let next = match dialing {
            Dialing::OpensToAsk | Dialing::Opens => return Err(DialError::Foreign),
            Dialing::Asks(nonce) => {
                self.learns_key(nonce, record)?;
                self.carry.push_back(Carry::Open);
                Dialing::Opens
            }
            Dialing::Greets(start) => {
                let refused = match handshake::suite_of(record) {
                    Some(suite) if !self.profile.suites.contains(suite) => DialError::Suite(suite),
                    _ => DialError::Foreign,
                };
                let held = handshake::suite_of(record).and_then(|_| self.ticket());
                self.greeted(*start, record, held).map_err(|_| refused)?
            }
            Dialing::Presents(presented) => {
                match presented.finish(record).map_err(|_| DialError::WrongKey)? {
                    Presented::Accepted(transport) => self.logs_in(*transport)?,
                    Presented::Refused(sent, t4) => {
                        self.carry.push_back(Carry::Record(t4));
                        Dialing::Proves(Box::new(sent))
                    }
                }
            }
            Dialing::Proves(sent) => {
                let transport = sent.finish(record).map_err(|_| DialError::WrongKey)?;
                self.logs_in(transport)?
            }
            Dialing::LogsIn(mut ciphers, mut first) => {
                let (kind, body) = ciphers.opener.open(record).map_err(|_| DialError::Cut)?;
                match kind {
                    RecordType::Json => {
                        let messages = ciphers.parts.join(body).ok_or(DialError::Cut)?;
                        first.extend(codec::decode(messages).filter_map(Result::ok));
                    }
                    RecordType::Close => return Err(DialError::Cut),
                    _ => {}
                }
                if first.iter().any(decides) {
                    self.begins(*ciphers, first);
                    return Ok(());
                }
                if first.len() > EVENTS_FIRST_MAX {
                    return Err(DialError::Cut);
                }
                Dialing::LogsIn(ciphers, first)
            }
        };
        self.stage = Stage::Dialing(until, next);
        Ok(())
    }

    /// Takes the session ticket for this server and key.
    fn ticket(&self) -> Option<HeldTicket> {
        let own = self.profile.own().public().fingerprint();
        self.profile.take_session_ticket(&self.server.as_ref()?.fingerprint(), &own)
    }

    /// Answers R1, by the ticket if there is one.
    fn greeted(
        &mut self,
        start: ClientStart<'static>,
        r1: &[u8],
        held: Option<HeldTicket>,
    ) -> Result<Dialing, HandshakeError> {
        let (next, record) = match held {
            Some(held) => {
                let (presented, t2) = start.present(r1, &held)?;
                (Dialing::Presents(Box::new(presented)), t2)
            }
            None => {
                let (sent, r2) = start.answer(r1)?;
                (Dialing::Proves(Box::new(sent)), r2)
            }
        };
        self.carry.push_back(Carry::Record(record));
        Ok(next)
    }

    /// Sends LOGIN.
    fn logs_in(&mut self, transport: Transport) -> Result<Dialing, DialError> {
        let (sealer, opener) = (transport.sealer, transport.opener);
        let mut ciphers = Ciphers { sealer, opener, parts: Parts::default() };
        let mut body = Vec::new();
        codec::encode(&login(&self.profile, true), &mut body);
        let sealed = ciphers.seal(RecordType::Login, &body).ok_or(DialError::Cut)?;
        self.carry.push_back(Carry::Record(sealed));
        Ok(Dialing::LogsIn(Box::new(ciphers), Vec::new()))
    }

    /// Stores the server's key. A server on first use must also prove its founding key.
    fn learns_key(&mut self, nonce: [u8; NONCE_BYTES], record: &[u8]) -> Result<(), DialError> {
        let print = self.profile.pinned();
        let (key, lineage) =
            lineage::read_answer(&print, nonce, record).map_err(|error| match error {
                AnswerError::Foreign => DialError::Foreign,
                AnswerError::Unsigned => DialError::Unsigned,
            })?;
        let founding = lineage.prints().next().unwrap_or(print);
        if !self.profile.is_known() && founding != *self.profile.founding() {
            return Err(DialError::Founding);
        }
        if let Err(error) = self.profile.data_folder.remember_server_key(&key) {
            self.tell(Input::Trouble(format!("the server's key cannot be stored: {error}")));
        }
        self.server = Some(key);
        Ok(())
    }

    /// Begins the session with the events of the login.
    fn begins(&mut self, ciphers: Ciphers, first: Vec<Event>) {
        if let Err(error) = self.profile.met() {
            self.tell(Input::Trouble(format!("the server cannot be stored: {error}")));
        }
        self.asked.forget();
        let now = Instant::now();
        let key = self.profile.own().public().fingerprint();
        let hearing = Hearing::new((self.profile.pinned(), key), self.asked.clone());
        let keepalive = Keepalive::new(now);
        let (began, pinged) = (now, now);
        let live = Live { ciphers, hearing, keepalive, began, pinged, sent: None };
        self.stage = Stage::Live(Box::new(live));
        first.into_iter().for_each(|event| self.event(event));
        self.ping();
    }

    /// Handles a record of a session; `None` if it ends the session.
    fn hears(&mut self, record: &mut [u8]) -> Option<()> {
        let Stage::Live(live) = &mut self.stage else { return None };
        let mut told = Vec::new();
        let mut pong = None;
        let mut events: Vec<Event> = Vec::new();
        let (kind, body) = live.ciphers.opener.open(record).ok()?;
        match kind {
            RecordType::Json => {
                let messages = live.ciphers.parts.join(body)?;
                events.extend(codec::decode(messages).filter_map(Result::ok));
            }
            RecordType::Binary => self.transfers.record(body),
            RecordType::Ping if live.hearing.answers_ping() => pong = Some(body.to_vec()),
            RecordType::Pong if body == ECHO => told.push(Input::Echoed),
            RecordType::Pong => {
                told.push(Input::Pong(live.pinged.elapsed().as_millis() as u64));
            }
            RecordType::Close => {
                let reason = serde_json::from_slice::<String>(body).unwrap_or_default();
                if reason == "rekey" {
                    self.tell(rekeys());
                }
                return None;
            }
            _ => {}
        }
        live.sent = None;
        if live.keepalive.ends(Instant::now()) {
            told.push(Input::Silent { for_ms: None });
        }
        pong.into_iter().for_each(|body| self.send_record(RecordType::Pong, &body));
        events.into_iter().for_each(|event| self.event(event));
        told.into_iter().for_each(|input| self.tell(input));
        Some(())
    }

    fn event(&mut self, event: Event) {
        let Stage::Live(live) = &mut self.stage else { return };
        let heard = live.hearing.event(&self.profile, event);
        heard.into_iter().for_each(|Heard { input, .. }| self.tell(input));
    }

    fn ping(&mut self) {
        if let Stage::Live(live) = &mut self.stage {
            live.pinged = Instant::now();
        }
        self.send_record(RecordType::Ping, b"");
    }

    fn send_record(&mut self, kind: RecordType, body: &[u8]) {
        let Stage::Live(live) = &mut self.stage else { return };
        if kind == RecordType::Json {
            live.sent.get_or_insert_with(Instant::now);
        }
        match live.ciphers.seal(kind, body) {
            Some(sealed) => self.carry.push_back(Carry::Record(sealed)),
            None => self.ends(),
        }
    }

    /// The session has ended.
    fn ends(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::None);
        if let Stage::Live(live) = stage {
            self.carry.push_back(Carry::Close);
            if live.began.elapsed() >= LASTS {
                self.tell(Input::ConnectionStable);
            }
            self.tell(Input::Lost(Loss::Cut));
        }
    }

    /// There is no session.
    fn fails(&mut self, error: DialError) {
        self.stage = Stage::None;
        self.carry.push_back(Carry::Close);
        self.tell(Input::Lost(why(error)));
    }

    fn tell(&self, input: Input) {
        // The runtime may already have ended.
        let _ = self.inbox.send(input);
    }
}

impl Dialing {
    /// Whether an overloaded server may answer in the clear.
    fn is_in_the_clear(&self) -> bool {
        matches!(
            self,
            Dialing::Asks(_) | Dialing::Greets(_) | Dialing::Presents(_) | Dialing::Proves(_)
        )
    }
}

impl Ciphers {
    fn seal(&mut self, kind: RecordType, body: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::new();
        self.sealer.seal(kind, body, &mut sealed).ok()?;
        Some(sealed)
    }
}

impl Connects for Hop {
    fn dial(&mut self, after_ms: u64) {
        if after_ms > 0 {
            self.stage = Stage::Pause(Instant::now() + Duration::from_millis(after_ms));
            return;
        }
        let print = self.profile.pinned();
        if self.server.as_ref().is_none_or(|key| key.fingerprint() != print) {
            let stored = || self.profile.data_folder.server_key(&print).ok().flatten();
            self.server = self.profile.is_known().then(stored).flatten();
        }
        let dialing = match self.server {
            Some(_) => Dialing::Opens,
            None => Dialing::OpensToAsk,
        };
        self.stage = Stage::Dialing(Instant::now() + PATIENCE, dialing);
        self.carry.push_back(Carry::Open);
    }

    fn send(&mut self, request: &Request) {
        let mut body = Vec::new();
        codec::encode(request, &mut body);
        if body.len() > RECORD_BODY_BYTES_MAX {
            return self.tell(Input::Answer(too_long(&request.command, body.len())));
        }
        self.asked.note(request);
        self.send_record(RecordType::Json, &body);
    }

    fn echo(&mut self) {
        self.send_record(RecordType::Ping, ECHO);
    }

    fn cut(&mut self) {
        match &self.stage {
            Stage::Live(_) => self.ends(),
            Stage::Dialing(..) => self.fails(DialError::Cut),
            _ => {}
        }
    }

    fn close(&mut self) {
        let reason = serde_json::to_string("quit").expect("a string is plain JSON");
        self.send_record(RecordType::Close, reason.as_bytes());
        self.ends();
    }

    /// A page has no access to paths of the computer.
    fn work(&mut self, work: Work) {
        let refused = match &work {
            Work::Read { id, file, .. } if !file.path.starts_with(&self.handed) => Some((
                *id,
                "the page cannot read a path: use the button for files, or drop or paste the file",
            )),
            Work::Open { id, get, .. } if matches!(get.place, Place::Named(_) | Place::Stdout) => {
                Some((*id, "the page cannot write to a path: leave the path out"))
            }
            _ => None,
        };
        match refused {
            Some((id, hint)) => {
                let failure = Failure::local("not_here", hint, code::OTHER);
                self.tell(Input::Transfer(id, Report::Failed(failure)));
            }
            None => self.transfers.work(work),
        }
    }

    fn lost(&mut self) {
        self.transfers.lost();
    }

    fn finish(&mut self) {}

    fn derive(&mut self, wanted: Derivation) -> Option<Derivation> {
        self.derivation += 1;
        let Derivation { pin, server, .. } = &wanted;
        let (number, letters) = (self.derivation, wanted.name.letters().to_owned());
        let (pin, server) = (pin.clone(), *server);
        self.carry.push_back(Carry::Derive(Wanted { number, pin, server, letters }));
        self.derivations.insert(number, wanted);
        None
    }
}

#[cfg(test)]
#[path = "hop_tests.rs"]
mod tests;
