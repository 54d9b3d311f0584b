//! A tunnel: encrypted records over a connection, after a handshake. The client's handshake is
//! here; the server's is in its admission.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::dial_error::DialError;
use super::dial_error::said_in_the_clear;
use super::link::{Link, Patience, RecordSink, RecordSource, send_record};
use super::tcp;
use crate::crypto::handshake::{
    self, ClientPresented, ClientSent, ClientStart, Presented, Transport,
};
use crate::crypto::key_request::{self, ANSWER_BYTES};
use crate::crypto::lineage::{self, AnswerError, Lineage};
use crate::crypto::record_cipher::{RECORD_BYTES_MAX, sealed_bytes};
use crate::crypto::session_ticket::HeldTicket;
use crate::crypto::{Fingerprint, Identity, Opener, PublicKey, RecordType, Sealer};
use crate::suite::Suites;
use crate::wire::codec::{self, Login, Parts};

/// The server's answer, in the clear, to peers that have an invite while it is overloaded.
pub const BUSY: &[u8] = b"PYCHAT!busy";
pub const VERSIONS: &[u8] = b"PYCHAT!1-1";

/// The reading half after the handshake.
pub struct TunnelReader {
    source: Box<dyn RecordSource>,
    opener: Opener,
}

/// The client's writing half after the handshake.
pub struct TunnelWriter {
    sink: Arc<dyn RecordSink>,
    sealer: Sealer,
    sealed: Vec<u8>,
}

/// Cuts a tunnel's connection from any thread.
#[derive(Clone)]
pub struct Closer(Arc<dyn RecordSink>);

/// Both halves, and the identity of the peer.
pub struct Tunnel {
    pub reader: TunnelReader,
    pub writer: TunnelWriter,
    /// Joins server messages that span records.
    pub parts: Parts,
    pub session_id: [u8; 32],
    pub peer: SocketAddr,
}

/// A received record, or the end.
#[derive(Debug, PartialEq)]
pub enum Incoming<'a> {
    Record(RecordType, &'a [u8]),
    /// The end: with the peer's reason if it was announced, `None` if the connection was cut.
    Closed(Option<String>),
}

impl TunnelReader {
    /// `source` has read the handshake, and may have buffered further bytes.
    pub fn new(source: Box<dyn RecordSource>, opener: Opener) -> Self {
        TunnelReader { source, opener }
    }

    /// Allows longer records after the login. A `receive` takes at most `timeout`, or twice as long
    /// once a record has begun to arrive.
    pub fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.source.set_record_bytes_max(RECORD_BYTES_MAX);
        self.source.set_patience(Patience::Each(timeout))
    }

    /// Allows longer records after the login. All reads share a deadline.
    pub fn set_deadline(&mut self, deadline: Instant) -> io::Result<()> {
        self.source.set_record_bytes_max(RECORD_BYTES_MAX);
        self.source.set_patience(Patience::Until(deadline))
    }

    /// Returns whether a whole record is buffered.
    pub fn has_record(&self) -> bool {
        self.source.has_record()
    }

    /// Returns the next record. `WouldBlock` or `TimedOut` after a silence; `InvalidData` if a
    /// record does not decrypt, after which none will.
    pub fn receive(&mut self) -> io::Result<Incoming<'_>> {
        let record = match self.source.read() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Incoming::Closed(None)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Incoming::Closed(None));
            }
            Err(error) => return Err(error),
        };
        match self.opener.open(record) {
            Ok((RecordType::Close, body)) => {
                let reason: Option<String> = serde_json::from_slice(body).ok();
                Ok(Incoming::Closed(Some(reason.unwrap_or_default())))
            }
            Ok((kind, body)) => Ok(Incoming::Record(kind, body)),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

impl TunnelWriter {
    pub fn new(sink: Arc<dyn RecordSink>, sealer: Sealer) -> Self {
        TunnelWriter { sink, sealer, sealed: Vec::new() }
    }

    /// Encrypts and sends one record.
    pub fn send(&mut self, kind: RecordType, body: &[u8]) -> io::Result<()> {
        self.send_all(std::iter::once((kind, body)))
    }

    /// Encrypts records and sends them in one call.
    pub fn send_all<'a>(
        &mut self,
        records: impl Iterator<Item = (RecordType, &'a [u8])>,
    ) -> io::Result<()> {
        self.sealed.clear();
        for (kind, body) in records {
            self.sink.frame(sealed_bytes(body.len()), &mut self.sealed);
            self.sealer.seal(kind, body, &mut self.sealed).map_err(io::Error::other)?;
        }
        // The owner of the sink sends the queued bytes.
        self.sink.send(&self.sealed).map(drop)
    }

    /// Ends the session with a reason, so that the peer does not take it for a cut.
    pub fn close(&mut self, reason: &str) {
        let reason = serde_json::to_string(reason).expect("a string is plain JSON");
        // A peer that is gone needs no reason.
        let _ = self.send(RecordType::Close, reason.as_bytes());
        self.sink.finish();
    }

    pub fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.sink))
    }
}

impl Closer {
    pub fn cut(&self) {
        self.0.cut();
    }
}

/// The server, and the parameters of the connection.
pub struct Dial<'a> {
    pub host: &'a str,
    pub port: u16,
    /// The pinned key.
    pub server: &'a PublicKey,
    /// The offered suites.
    pub suites: Suites,
    /// Time limit of the whole connection and login.
    pub patience: Duration,
}

/// Connects, does the handshake with the pinned key, and sends `login`. One deadline applies to all
/// of it, and to all reads until the caller sets another timeout.
pub fn dial(to: &Dial<'_>, identity: &Identity, login: &Login) -> Result<Tunnel, DialError> {
    dial_by(to, identity, login, &|| None)
}

/// Same as [`dial`], for a client that may have a session ticket. `ticket` is called
/// after the server has answered, and returns each ticket once. If the server refuses it, the
/// handshake continues with the client's key.
///
/// # Errors
/// The same as those of [`dial`].
pub fn dial_by(
    to: &Dial<'_>,
    identity: &Identity,
    login: &Login,
    ticket: &dyn Fn() -> Option<HeldTicket>,
) -> Result<Tunnel, DialError> {
    let mut tunnel = shake_hands(to, identity, ticket)?;
    let mut body = Vec::new();
    codec::encode(login, &mut body);
    tunnel.writer.send(RecordType::Login, &body).map_err(|_| DialError::Cut)?;
    Ok(tunnel)
}

/// Connects, has the server prove its key in a handshake, and ends the connection.
///
/// # Errors
/// The server cannot be reached, or does not hold the key.
pub fn prove(to: &Dial<'_>, identity: &Identity) -> Result<(), DialError> {
    shake_hands(to, identity, &|| None)?.writer.close("quit");
    Ok(())
}

fn shake_hands(
    to: &Dial<'_>,
    identity: &Identity,
    ticket: &dyn Fn() -> Option<HeldTicket>,
) -> Result<Tunnel, DialError> {
    let deadline = Instant::now() + to.patience;
    let Link { mut source, sink, peer } = connect(to.host, to.port, deadline)?;
    let (start, r0) = ClientStart::new(identity, to.server, to.suites);
    send_record(&*sink, &r0).map_err(|_| DialError::Silent)?;
    let r1 = first_answer(&mut *source)?;
    let refused = match handshake::suite_of(r1) {
        Some(suite) if !to.suites.contains(suite) => DialError::Suite(suite),
        _ => DialError::Foreign,
    };
    let transport = match handshake::suite_of(r1).and_then(|_| ticket()) {
        Some(held) => {
            let (presented, t2) = start.present(r1, &held).map_err(|_| refused)?;
            by_ticket((&mut *source, &*sink), presented, &t2)?
        }
        None => {
            let (sent, r2) = start.answer(r1).map_err(|_| refused)?;
            by_key((&mut *source, &*sink), sent, &r2)?
        }
    };
    let writer = TunnelWriter::new(sink, transport.sealer);
    let mut reader = TunnelReader::new(source, transport.opener);
    reader.set_deadline(deadline).map_err(|_| DialError::Cut)?;
    let parts = Parts::default();
    Ok(Tunnel { reader, writer, parts, session_id: transport.session_id, peer })
}

/// Both halves of a connection in its handshake.
type Ends<'a> = (&'a mut dyn RecordSource, &'a dyn RecordSink);

/// Sends T2, and the client's keys if the server refuses the ticket.
fn by_ticket(
    (source, sink): Ends<'_>,
    presented: ClientPresented<'_>,
    t2: &[u8],
) -> Result<Transport, DialError> {
    send_record(sink, t2).map_err(|_| DialError::Cut)?;
    let t3 = answer(source)?.ok_or(DialError::Cut)?;
    match presented.finish(t3).map_err(|_| DialError::WrongKey)? {
        Presented::Accepted(transport) => Ok(*transport),
        Presented::Refused(sent, t4) => by_key((source, sink), sent, &t4),
    }
}

/// Sends R2 or T4, and verifies the server's proof.
fn by_key(
    (source, sink): Ends<'_>,
    sent: ClientSent<'_>,
    keys: &[u8],
) -> Result<Transport, DialError> {
    send_record(sink, keys).map_err(|_| DialError::Cut)?;
    let r3 = answer(source)?.ok_or(DialError::Cut)?;
    sent.finish(r3).map_err(|_| DialError::WrongKey)
}

/// Requests a server's public key by the fingerprint in an invite.
pub fn fetch_key(
    host: &str,
    port: u16,
    server: &Fingerprint,
    patience: Duration,
) -> Result<PublicKey, DialError> {
    let deadline = Instant::now() + patience;
    let mut link = connect(host, port, deadline)?;
    let nonce = rand::random();
    let ask = key_request::ask(server, nonce);
    send_record(&*link.sink, &ask).map_err(|_| DialError::Silent)?;
    let sealed = first_answer(&mut *link.source)?;
    if sealed.len() != ANSWER_BYTES {
        return Err(DialError::Foreign);
    }
    key_request::read_answer(server, nonce, sealed).ok_or(DialError::WrongKey)
}

/// Requests a server's public key and its former keys, and verifies them.
pub fn fetch_lineage(
    host: &str,
    port: u16,
    server: &Fingerprint,
    patience: Duration,
) -> Result<(PublicKey, Lineage), DialError> {
    let deadline = Instant::now() + patience;
    let mut link = connect(host, port, deadline)?;
    let nonce = rand::random();
    send_record(&*link.sink, &lineage::ask(server, nonce)).map_err(|_| DialError::Silent)?;
    link.source.set_record_bytes_max(RECORD_BYTES_MAX);
    let sealed = first_answer(&mut *link.source)?;
    lineage::read_answer(server, nonce, sealed).map_err(|error| match error {
        AnswerError::Foreign => DialError::Foreign,
        AnswerError::Unsigned => DialError::Unsigned,
    })
}

fn connect(host: &str, port: u16, deadline: Instant) -> Result<Link, DialError> {
    tcp::connect(host, port, deadline).map_err(DialError::Connect)?.ok_or(DialError::Timeout)
}

/// Returns the server's first record.
fn first_answer(source: &mut dyn RecordSource) -> Result<&[u8], DialError> {
    match answer(source) {
        Ok(Some(record)) => Ok(record),
        Ok(None) | Err(DialError::Cut) => Err(DialError::Silent),
        Err(error) => Err(error),
    }
}

/// Returns a record of the server's handshake; `None` if the server has closed.
fn answer(source: &mut dyn RecordSource) -> Result<Option<&[u8]>, DialError> {
    match source.read() {
        Ok(Some(record)) => match record.strip_prefix(b"PYCHAT!") {
            Some(word) => Err(said_in_the_clear(word)),
            None => Ok(Some(record)),
        },
        Ok(None) => Ok(None),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => DialError::Timeout,
            io::ErrorKind::InvalidData => DialError::Foreign,
            _ => DialError::Cut,
        }),
    }
}
