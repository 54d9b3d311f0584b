//! A connection and a handshake make a tunnel: records in, records out. The client's way in is
//! here; the server's is its admission.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypto::handshake::{self, ClientStart};
use crate::crypto::key_request::{self, ANSWER_BYTES};
use crate::crypto::lineage::{self, AnswerError, Lineage};
use crate::crypto::record_cipher::RECORD_BYTES_MAX;
use crate::crypto::{Fingerprint, Identity, Opener, PublicKey, RecordType, Sealer};
use crate::limits::RECORD_LOGIN_BYTES_MAX;
use crate::suite::{Suite, Suites};
use crate::wire::codec::{self, Login, Parts};
use crate::wire::record::{self, RecordReader};

/// What a server says in the clear to peers that have an invite, instead of the next record of the handshake.
pub const BUSY: &[u8] = b"PYCHAT!busy";
pub const VERSIONS: &[u8] = b"PYCHAT!1-1";

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the server did not answer in time")]
    Timeout,
    #[error("the server is full")]
    Busy,
    /// Majors that the server claims to speak. Anybody on the path can claim that.
    #[error("the server speaks protocol {lowest}-{highest}, this client speaks 1")]
    Version { lowest: u8, highest: u8 },
    /// The server has chosen a suite that was not offered: it has none of those. Anybody on the path can claim
    /// that.
    #[error("{}", refused(*.0))]
    Suite(Suite),
    /// No answer to what proves that this client knows the pinned key.
    #[error(
        "the server closed the connection without an answer: it has another key than the pinned one, it \
        does not let this address in now, or it is no pychat server. If this lasts, ask the operator for \
        the current invite and give it to pychat trust"
    )]
    Silent,
    #[error("what answers there does not speak pychat")]
    Foreign,
    /// It speaks pychat and cannot prove that it holds the pinned key.
    #[error("the server does not hold the key that it should")]
    WrongKey,
    /// It names keys that it had before, and cannot prove them.
    #[error(
        "the server names keys that it had before, and not both keys of each change have signed it"
    )]
    Unsigned,
    /// Its first key is another one than this client was started with.
    #[error(
        "the server had other keys before, which it did not name when pychat was started: end pychat, and \
        start it with the invite again"
    )]
    Founding,
    #[error("the connection was cut before the login")]
    Cut,
}

/// What a person is told about a suite that the server wants and this client does not.
fn refused(suite: Suite) -> String {
    let what = match suite {
        Suite::Classic => "which a later quantum computer could open",
        Suite::Hybrid => "which is the default",
    };
    let number = suite.number();
    format!(
        "the server claims to have only suite {number} of the handshake, {what}, and this client refuses it. \
        Ask the operator about \"suites\" in config.json; to accept it here, write \"suites\": [{number}] into \
        settings.json beside your key"
    )
}

/// A socket whose reads share one absolute deadline, or a time for each record.
pub struct Socket {
    stream: Arc<TcpStream>,
    deadline: Option<Instant>,
    /// A record that comes byte by byte has no more time than one that does not come.
    patience: Duration,
    asked: Instant,
}

/// The reading half after the handshake.
pub struct TunnelReader {
    records: RecordReader<Socket>,
    opener: Opener,
}

/// The client's writing half after the handshake.
pub struct TunnelWriter {
    stream: Arc<TcpStream>,
    sealer: Sealer,
    sealed: Vec<u8>,
}

/// Cuts a tunnel's socket from any thread.
#[derive(Clone)]
pub struct Closer(Arc<TcpStream>);

/// Both halves, and who is at the other end.
pub struct Tunnel {
    pub reader: TunnelReader,
    pub writer: TunnelWriter,
    /// Joins the server's messages that span records.
    pub parts: Parts,
    pub session_id: [u8; 32],
    pub peer: SocketAddr,
}

/// What a tunnel gives.
#[derive(Debug, PartialEq)]
pub enum Incoming<'a> {
    Record(RecordType, &'a [u8]),
    /// The end: with the peer's reason if it closed for good, with none if the connection was cut.
    Closed(Option<String>),
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        } else if self.asked.elapsed() >= self.patience {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        (&*self.stream).read(buffer)
    }
}

/// Reads records of the handshake from a fresh connection, all before one deadline.
pub fn login_reader(stream: &Arc<TcpStream>, deadline: Instant) -> RecordReader<Socket> {
    let stream = Arc::clone(stream);
    let deadline = Some(deadline);
    let socket = Socket { stream, deadline, patience: Duration::MAX, asked: Instant::now() };
    RecordReader::new(socket, RECORD_LOGIN_BYTES_MAX)
}

/// Writes one record of the handshake in clear framing.
pub fn write_record(stream: &TcpStream, body: &[u8]) -> io::Result<()> {
    let mut framed = Vec::with_capacity(body.len() + 2);
    record::frame(&mut framed, |out| out.extend_from_slice(body));
    let mut stream = stream;
    stream.write_all(&framed)
}

impl TunnelReader {
    /// `records` is what read the handshake: bytes may have come behind it.
    pub fn new(records: RecordReader<Socket>, opener: Opener) -> Self {
        TunnelReader { records, opener }
    }

    /// The login is over: longer records are legal, and one `receive` takes `timeout` at most, or
    /// twice as long where a record began to come.
    pub fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.records.set_bytes_max(RECORD_BYTES_MAX);
        let socket = self.records.source_mut();
        (socket.deadline, socket.patience) = (None, timeout);
        socket.stream.set_read_timeout(Some(timeout))
    }

    /// The login is over: longer records are legal, and all reads share a deadline.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.records.set_bytes_max(RECORD_BYTES_MAX);
        self.records.source_mut().deadline = Some(deadline);
    }

    /// Whether a whole record is at hand without another read.
    pub fn has_record(&self) -> bool {
        self.records.has_record()
    }

    /// The next record. `WouldBlock` or `TimedOut` after a time of silence; `InvalidData` where a
    /// record does not open, and nothing that follows will.
    pub fn receive(&mut self) -> io::Result<Incoming<'_>> {
        self.records.source_mut().asked = Instant::now();
        let record = match self.records.read() {
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
    /// Seals and writes one record; waits for a slow network, at most for the write timeout.
    pub fn send(&mut self, kind: RecordType, body: &[u8]) -> io::Result<()> {
        self.sealed.clear();
        record::frame(&mut self.sealed, |out| self.sealer.seal(kind, body, out))
            .map_err(io::Error::other)?;
        (&*self.stream).write_all(&self.sealed)
    }

    /// Ends the session so that the other side knows it was meant.
    pub fn close(&mut self, reason: &str) {
        let reason = serde_json::to_string(reason).expect("a string is plain JSON");
        // Whoever is gone already needs no goodbye.
        let _ = self.send(RecordType::Close, reason.as_bytes());
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.stream))
    }
}

impl Closer {
    pub fn cut(&self) {
        // A socket that is gone already is what is wanted.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A write that the network does not take for this long ends a client's session.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The server to dial, and how.
pub struct Dial<'a> {
    pub host: &'a str,
    pub port: u16,
    /// The pinned key.
    pub server: &'a PublicKey,
    /// The suites on offer.
    pub suites: Suites,
    /// For all of it.
    pub patience: Duration,
}

/// Connects, shakes hands under the pinned key and sends `login`. All of it, and what is read until the
/// caller sets another timeout, has one deadline.
pub fn dial(to: &Dial<'_>, identity: &Identity, login: &Login) -> Result<Tunnel, DialError> {
    let mut tunnel = shake_hands(to, identity)?;
    let mut body = Vec::new();
    codec::encode(login, &mut body);
    tunnel.writer.send(RecordType::Login, &body).map_err(|_| DialError::Cut)?;
    Ok(tunnel)
}

/// Connects, lets the server prove its key by a handshake, and ends the connection.
///
/// # Errors
/// The server cannot be reached, or does not hold the key.
pub fn prove(to: &Dial<'_>, identity: &Identity) -> Result<(), DialError> {
    shake_hands(to, identity)?.writer.close("quit");
    Ok(())
}

fn shake_hands(to: &Dial<'_>, identity: &Identity) -> Result<Tunnel, DialError> {
    let deadline = Instant::now() + to.patience;
    let (stream, peer) = connect(to.host, to.port, deadline)?;
    let mut records = login_reader(&stream, deadline);
    let (start, r0) = ClientStart::new(identity, to.server, to.suites);
    write_record(&stream, &r0).map_err(|_| DialError::Silent)?;
    let r1 = first_answer(&mut records)?;
    let refused = match handshake::suite_of(r1) {
        Some(suite) if !to.suites.contains(suite) => DialError::Suite(suite),
        _ => DialError::Foreign,
    };
    let (sent, r2) = start.answer(r1).map_err(|_| refused)?;
    write_record(&stream, &r2).map_err(|_| DialError::Cut)?;
    let r3 = answer(&mut records)?.ok_or(DialError::Cut)?;
    let transport = sent.finish(r3).map_err(|_| DialError::WrongKey)?;
    let writer = TunnelWriter { stream, sealer: transport.sealer, sealed: Vec::new() };
    let mut reader = TunnelReader::new(records, transport.opener);
    reader.set_deadline(deadline);
    let parts = Parts::default();
    Ok(Tunnel { reader, writer, parts, session_id: transport.session_id, peer })
}

/// Asks a server for its public key by the fingerprint that an invite carries.
pub fn fetch_key(
    host: &str,
    port: u16,
    server: &Fingerprint,
    patience: Duration,
) -> Result<PublicKey, DialError> {
    let deadline = Instant::now() + patience;
    let (stream, _) = connect(host, port, deadline)?;
    let nonce = rand::random();
    write_record(&stream, &key_request::ask(server, nonce)).map_err(|_| DialError::Silent)?;
    let mut records = login_reader(&stream, deadline);
    let sealed = first_answer(&mut records)?;
    if sealed.len() != ANSWER_BYTES {
        return Err(DialError::Foreign);
    }
    key_request::read_answer(server, nonce, sealed).ok_or(DialError::WrongKey)
}

/// Asks a server for its public key and for the keys before it, which are verified.
pub fn fetch_lineage(
    host: &str,
    port: u16,
    server: &Fingerprint,
    patience: Duration,
) -> Result<(PublicKey, Lineage), DialError> {
    let deadline = Instant::now() + patience;
    let (stream, _) = connect(host, port, deadline)?;
    let nonce = rand::random();
    write_record(&stream, &lineage::ask(server, nonce)).map_err(|_| DialError::Silent)?;
    let mut records = login_reader(&stream, deadline);
    records.set_bytes_max(RECORD_BYTES_MAX);
    let sealed = first_answer(&mut records)?;
    lineage::read_answer(server, nonce, sealed).map_err(|error| match error {
        AnswerError::Foreign => DialError::Foreign,
        AnswerError::Unsigned => DialError::Unsigned,
    })
}

fn connect(
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<(Arc<TcpStream>, SocketAddr), DialError> {
    let addresses = (host, port).to_socket_addrs().map_err(DialError::Connect)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DialError::Timeout);
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(DialError::Connect)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT)).map_err(DialError::Connect)?;
                return Ok((Arc::new(stream), address));
            }
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect(last))
}

/// The server's first record.
fn first_answer(records: &mut RecordReader<Socket>) -> Result<&[u8], DialError> {
    match answer(records) {
        Ok(Some(record)) => Ok(record),
        Ok(None) | Err(DialError::Cut) => Err(DialError::Silent),
        Err(error) => Err(error),
    }
}

/// One record of the handshake from the server; none where it closed instead.
fn answer(records: &mut RecordReader<Socket>) -> Result<Option<&[u8]>, DialError> {
    match records.read() {
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

/// Anybody on the path can say it: two words are understood, and nothing of it is ever shown as text.
fn said_in_the_clear(word: &[u8]) -> DialError {
    let majors = || {
        let (lowest, highest) = str::from_utf8(word).ok()?.split_once('-')?;
        let number = |text: &str| {
            let number = text.parse::<u8>().ok()?;
            (number.to_string() == text).then_some(number)
        };
        Some((number(lowest)?, number(highest)?))
    };
    match majors() {
        _ if word == b"busy" => DialError::Busy,
        // A server of this client's major has no reason to name majors.
        Some((lowest, highest)) if lowest <= highest && !(lowest..=highest).contains(&1) => {
            DialError::Version { lowest, highest }
        }
        _ => DialError::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_in_the_clear_are_understood_and_no_others() {
        let said = |word: &[u8]| match said_in_the_clear(word) {
            DialError::Busy => "busy".to_owned(),
            DialError::Version { lowest, highest } => format!("{lowest}-{highest}"),
            error => {
                assert!(matches!(error, DialError::Foreign));
                "nothing".to_owned()
            }
        };
        for word in ["busy", "2-3", "0-0", "2-255"] {
            assert_eq!(said(word.as_bytes()), word);
        }
        let others = [
            "",
            "busy ",
            "Busy",
            "-",
            "1-1",
            "0-9",
            "3-2",
            "2-256",
            "+2-3",
            "02-3",
            "2-3-4",
            "2",
            "2-3 call +1 555",
            "\u{1b}[2J",
            "\u{0662}-\u{0663}",
        ];
        for word in others.iter().map(|word| word.as_bytes()).chain([&b"2-\xff"[..], &[b'9'; 2000]])
        {
            assert_eq!(said(word), "nothing", "{word:?}");
        }
    }
}
