//! A connection and a handshake make a tunnel: records in, records out. The client's way in is
//! here; the server's is its door.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypto::handshake::{ClientStart, R0, R1_BYTES};
use crate::crypto::record_cipher::RECORD_BYTES_MAX;
use crate::crypto::{Fingerprint, Identity, Opener, PublicKey, RecordType, Sealer, key_request};
use crate::limits::RECORD_LOGIN_BYTES_MAX;
use crate::wire::codec::{self, Login, Parts};
use crate::wire::record::{self, RecordReader};

/// What a server says in clear instead of R1.
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
    #[error("the server speaks protocol {theirs}, this client speaks 1")]
    Version { theirs: String },
    /// Closed before a first word: a list of addresses, penalties, or a house so full that nobody
    /// has the time to say so.
    #[error(
        "the server closed the connection without a word: it may not let this address in, or be too busy"
    )]
    Wordless,
    #[error("what answers there does not speak pychat")]
    Foreign,
    /// It speaks pychat, and not to those who know the pinned key.
    #[error("the server does not hold the key that it should")]
    WrongKey,
    #[error("the connection was cut before the login")]
    Cut,
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

/// Connects, shakes hands under the pinned `server` key and sends `login`. A server that falls silent
/// on the way is asked for its key: whether it is another one, or the connection was cut.
pub fn dial(
    host: &str,
    port: u16,
    identity: &Identity,
    server: &PublicKey,
    login: &Login,
    patience: Duration,
) -> Result<Tunnel, DialError> {
    let deadline = Instant::now() + patience;
    let (stream, peer) = connect(host, port, deadline)?;
    let mut records = login_reader(&stream, deadline);
    write_record(&stream, R0).map_err(|_| DialError::Wordless)?;
    let r1 = first_answer(&mut records)?.to_vec();
    let (sent, r2) =
        ClientStart::new(identity, server).answer(&r1).map_err(|_| DialError::Foreign)?;
    write_record(&stream, &r2).map_err(|_| DialError::Cut)?;
    // A server that holds another key closes here, and says nothing.
    let transport = answer(&mut records)?.and_then(|r3| sent.finish(r3).ok());
    let Some(transport) = transport else {
        fetch_key(host, port, &server.fingerprint(), patience)?;
        return Err(DialError::Cut);
    };
    let mut writer = TunnelWriter { stream, sealer: transport.sealer, sealed: Vec::new() };
    let mut body = Vec::new();
    codec::encode(login, &mut body);
    writer.send(RecordType::Login, &body).map_err(|_| DialError::Cut)?;
    let mut reader = TunnelReader::new(records, transport.opener);
    reader.set_timeout(patience).map_err(|_| DialError::Cut)?;
    let parts = Parts::default();
    Ok(Tunnel { reader, writer, parts, session_id: transport.session_id, peer })
}

/// Asks a server for its public key by the fingerprint that an invite carries. A server that says
/// nothing to that holds another key only if it speaks pychat otherwise: strangers whom it does not
/// let in, or has no time for, meet the same silence.
pub fn fetch_key(
    host: &str,
    port: u16,
    server: &Fingerprint,
    patience: Duration,
) -> Result<PublicKey, DialError> {
    if let Some(key) = ask_key(host, port, server, patience)? {
        return Ok(key);
    }
    greet(host, port, patience)?;
    // It could have been cut off before.
    ask_key(host, port, server, patience)?.ok_or(DialError::WrongKey)
}

/// One request for the key; none where it was heard, and not answered.
fn ask_key(
    host: &str,
    port: u16,
    server: &Fingerprint,
    patience: Duration,
) -> Result<Option<PublicKey>, DialError> {
    let deadline = Instant::now() + patience;
    let (stream, _) = connect(host, port, deadline)?;
    let nonce = rand::random();
    write_record(&stream, &key_request::ask(server, nonce)).map_err(|_| DialError::Wordless)?;
    let mut records = login_reader(&stream, deadline);
    match answer(&mut records) {
        Ok(Some(sealed)) => {
            let key = key_request::read_answer(server, nonce, sealed);
            key.map(Some).ok_or(DialError::WrongKey)
        }
        Ok(None) => Ok(None),
        // Who closes before the request came has not heard it.
        Err(DialError::Cut) => Err(DialError::Wordless),
        Err(error) => Err(error),
    }
}

/// Whether a server speaks pychat with this computer.
fn greet(host: &str, port: u16, patience: Duration) -> Result<(), DialError> {
    let deadline = Instant::now() + patience;
    let (stream, _) = connect(host, port, deadline)?;
    write_record(&stream, R0).map_err(|_| DialError::Wordless)?;
    match first_answer(&mut login_reader(&stream, deadline))?.len() {
        R1_BYTES => Ok(()),
        _ => Err(DialError::Foreign),
    }
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

/// The server's first word.
fn first_answer(records: &mut RecordReader<Socket>) -> Result<&[u8], DialError> {
    match answer(records) {
        Ok(Some(record)) => Ok(record),
        Ok(None) | Err(DialError::Cut) => Err(DialError::Wordless),
        Err(error) => Err(error),
    }
}

/// One record of the handshake from the server; none where it closed instead.
fn answer(records: &mut RecordReader<Socket>) -> Result<Option<&[u8]>, DialError> {
    match records.read() {
        Ok(Some(record)) => match record.strip_prefix(b"PYCHAT!") {
            Some(b"busy") => Err(DialError::Busy),
            Some(theirs) => {
                let theirs = String::from_utf8_lossy(theirs);
                Err(DialError::Version { theirs: crate::clean::line(&theirs) })
            }
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
