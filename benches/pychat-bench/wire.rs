//! The transports to a server: TCP, WebSocket, and WebSocket over TLS, at the member's side.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use pychat::crypto::record_cipher::RECORD_BYTES_MAX;
use pychat::wire::record::head;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::client::WhatIsThere;

const UPGRADE: &[u8] = b"GET /hop HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// FIN and binary.
const MESSAGE: u8 = 0x82;
const MASKED: u8 = 0x80;
/// A mask that changes each byte: the server unmasks it as it unmasks a browser's frames.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// A way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Tcp,
    Ws,
    Wss,
}

impl FromStr for Wire {
    type Err = String;

    fn from_str(text: &str) -> Result<Wire, String> {
        match text {
            "tcp" => Ok(Wire::Tcp),
            "ws" => Ok(Wire::Ws),
            "wss" => Ok(Wire::Wss),
            _ => Err("tcp, ws or wss".into()),
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wire::Tcp => "tcp",
            Wire::Ws => "ws",
            Wire::Wss => "wss",
        })
    }
}

/// The certificates that members trust at a web port with TLS.
pub type Trust = Arc<ClientConfig>;

/// Writes a certificate for localhost and its key into a home. Returns the setting that names both,
/// and the certificates that members trust.
pub fn certify(home: &Path) -> (String, Trust) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(home.join("web.pem"), made.cert.pem()).unwrap();
    std::fs::write(home.join("web.key"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    (r#""web_tls": {"certificate": "web.pem", "key": "web.key"}"#.to_owned(), Arc::new(config))
}

/// A member's side of a connection, which sends and receives whole records.
pub struct Pipe {
    pub stream: Arc<TcpStream>,
    wire: Wire,
    tls: Option<Box<ClientConnection>>,
    /// Reads wait for the server.
    waits: bool,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were read and not taken.
    taken: usize,
    filled: usize,
}

impl Pipe {
    /// Opens a way over a connection.
    pub fn open(stream: Arc<TcpStream>, wire: Wire, trust: Option<&Trust>) -> Pipe {
        let tls = trust.filter(|_| wire == Wire::Wss).map(|trust| {
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = ClientConnection::new(Arc::clone(trust), name).unwrap();
            tls.complete_io(&mut &*stream).unwrap();
            Box::new(tls)
        });
        let buffer = vec![0; READ_BYTES + RECORD_BYTES_MAX];
        let mut pipe = Pipe { stream, wire, tls, waits: true, buffer, taken: 0, filled: 0 };
        if wire != Wire::Tcp {
            pipe.write(UPGRADE).unwrap();
            let end = loop {
                let end =
                    pipe.buffer[..pipe.filled].windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(end) = end {
                    break end + 4;
                }
                pipe.fill().unwrap();
            };
            assert!(pipe.buffer.starts_with(b"HTTP/1.1 101"), "the server upgrades");
            pipe.taken = end;
        }
        pipe
    }

    /// Makes reads return at once with the bytes that have arrived.
    pub fn stops_waiting(&mut self) {
        self.waits = false;
    }

    pub fn send(&mut self, record: &[u8]) -> io::Result<()> {
        if self.wire == Wire::Tcp {
            return self.write(&[&head(record.len())[..], record].concat());
        }
        let mut frame = vec![MESSAGE];
        match u8::try_from(record.len()) {
            Ok(bytes @ ..=125) => frame.push(MASKED | bytes),
            _ => {
                frame.push(MASKED | 126);
                frame.extend((record.len() as u16).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(record.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.write(&frame)
    }

    /// The next record; `None` at the end of the connection.
    pub fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        loop {
            if let Some((from, bytes)) = self.frame() {
                self.taken = from + bytes;
                return Ok(Some(&mut self.buffer[from..from + bytes]));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Where the record of a whole frame is.
    fn frame(&self) -> Option<(usize, usize)> {
        let rest = &self.buffer[self.taken..self.filled];
        let two = |at: usize| {
            let bytes = [*rest.get(at)?, *rest.get(at + 1)?];
            Some(usize::from(u16::from_be_bytes(bytes)))
        };
        let (head, bytes) = match self.wire {
            Wire::Tcp => (2, two(0)?),
            _ => match *rest.get(1)? {
                126 => (4, two(2)?),
                bytes => (2, usize::from(bytes)),
            },
        };
        assert!(bytes <= RECORD_BYTES_MAX, "a record has {bytes} bytes");
        (rest.len() >= head + bytes).then_some((self.taken + head, bytes))
    }

    /// Reads more. Returns how much; 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        (self.taken, self.filled) = (0, self.filled - self.taken);
        let into = &mut self.buffer[self.filled..];
        let mut socket = Socket { stream: &self.stream, waits: self.waits };
        let read = match &mut self.tls {
            None => socket.read(into),
            Some(tls) => decrypted(tls, &mut socket, into),
        }?;
        self.filled += read;
        Ok(read)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = &*self.stream;
        let Some(tls) = &mut self.tls else { return stream.write_all(bytes) };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        Ok(())
    }
}

/// Returns decrypted bytes, and reads from the socket until there are some.
fn decrypted(
    tls: &mut ClientConnection,
    socket: &mut Socket,
    into: &mut [u8],
) -> io::Result<usize> {
    loop {
        match tls.reader().read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        if tls.read_tls(socket)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}

struct Socket<'a> {
    stream: &'a Arc<TcpStream>,
    waits: bool,
}

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.waits {
            true => (&**self.stream).read(buffer),
            false => WhatIsThere(Arc::clone(self.stream)).read(buffer),
        }
    }
}
