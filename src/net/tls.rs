//! TLS 1.3 at the web port: the server's half of a connection, whose bytes another layer frames.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::link::RecordSink;
use super::tcp::TcpSink;
use crate::sync::{Mutex, Rank};

/// The first byte of a TLS connection: a handshake record.
pub const FIRST_BYTE: u8 = 0x16;
/// Bytes of ciphertext that are read at once.
const PART_BYTES: usize = 4_096;
/// Bytes that `send_some` encrypts at once.
const WRITE_BYTES: usize = 16 * 1_024;

/// A connection. Reads and writes share the state of the encryption, so that nothing waits for the
/// network while it is locked.
pub struct Tls {
    state: Mutex<State>,
    sink: TcpSink,
}

struct State {
    connection: ServerConnection,
    /// Ciphertext after plaintext that is not read yet: at most one part.
    unread: Vec<u8>,
}

impl Tls {
    /// Begins a connection whose first bytes were received.
    ///
    /// # Errors
    /// The bytes begin no TLS 1.3, or the connection is gone.
    pub fn accept(
        stream: Arc<TcpStream>,
        config: Arc<ServerConfig>,
        received: &[u8],
    ) -> io::Result<Tls> {
        let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
        // What is encrypted goes to the sink at once.
        connection.set_buffer_limit(None);
        let state = State { connection, unread: received.to_vec() };
        let tls = Tls { state: Mutex::new(Rank::Tls, state), sink: TcpSink::new(stream) };
        tls.decrypt(&mut tls.state.lock())?;
        Ok(tls)
    }

    /// Reads what was decrypted, and ciphertext from `raw` where nothing was. Returns 0 at the end
    /// of the peer's bytes.
    ///
    /// # Errors
    /// Those of `raw`. `InvalidData` if a byte was altered, `UnexpectedEof` if the end was cut off.
    pub fn read(&self, mut raw: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut state = self.state.lock();
            let read = state.connection.reader().read(buffer);
            if !read.as_ref().is_err_and(is_would_block) {
                return read;
            }
            if !state.unread.is_empty() {
                self.decrypt(&mut state)?;
                continue;
            }
            drop(state);
            let mut part = [0; PART_BYTES];
            let bytes = raw.read(&mut part)?;
            let mut state = self.state.lock();
            state.unread.extend_from_slice(&part[..bytes]);
            self.decrypt(&mut state)?;
        }
    }

    /// Decrypts ciphertext until there is plaintext, and answers the handshake. No ciphertext is
    /// the end. What follows the peer's close is dropped (RFC 8446, section 6.1).
    fn decrypt(&self, state: &mut State) -> io::Result<()> {
        loop {
            let taken = state.connection.read_tls(&mut state.unread.as_slice())?;
            state.unread.drain(..taken);
            let processed = state.connection.process_new_packets();
            // Also the alert after an error.
            self.send_pending(&mut state.connection)?;
            let processed =
                processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if taken == 0 {
                state.unread.clear();
            }
            if state.unread.is_empty() || processed.plaintext_bytes_to_read() > 0 {
                return Ok(());
            }
        }
    }

    /// Sends what the state has encrypted. Returns whether the socket has taken all of it.
    fn send_pending(&self, connection: &mut ServerConnection) -> io::Result<bool> {
        let mut bytes = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut bytes)?;
        }
        self.sink.send(&bytes)
    }

    /// Encrypts and sends bytes after the queued ones. Returns whether the socket has taken all.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&self, bytes: &[u8]) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.connection.writer().write_all(bytes)?;
        self.send_pending(&mut state.connection)
    }

    /// Encrypts and sends some bytes, unless earlier ones wait for the socket. Returns how many.
    ///
    /// # Errors
    /// `WouldBlock` if bytes wait for the socket; the connection is gone.
    pub fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.sink.flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let some = &bytes[..bytes.len().min(WRITE_BYTES)];
        self.send(some)?;
        Ok(some.len())
    }

    /// Notifies the peer that nothing follows.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.connection.send_close_notify();
        // A peer that is gone needs none.
        let _ = self.send_pending(&mut state.connection);
    }

    /// Returns the sink of the ciphertext.
    pub(super) fn sink(&self) -> &TcpSink {
        &self.sink
    }
}

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustls::crypto::ring;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
    use rustls::version::TLS13;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    const BYTES: usize = 100_000;

    /// A connection, and the ciphertext of `BYTES` bytes of plaintext and the close of its client.
    fn received() -> (Tls, Vec<u8>, TcpStream) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let server = server.with_protocol_versions(&[&TLS13]).unwrap().with_no_client_auth();
        let key = PrivateKeyDer::from(key);
        let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider);
        let client = client.with_protocol_versions(&[&TLS13]).unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        client.set_buffer_limit(None);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = Arc::new(listener.accept().unwrap().0);
        let mut ciphertext = Vec::new();
        client.write_tls(&mut ciphertext).unwrap();
        let tls = Tls::accept(stream, Arc::new(server), &ciphertext).unwrap();
        while client.is_handshaking() {
            client.read_tls(&mut peer).unwrap();
            client.process_new_packets().unwrap();
        }
        client.writer().write_all(&[7; BYTES]).unwrap();
        client.send_close_notify();
        ciphertext.clear();
        while client.wants_write() {
            client.write_tls(&mut ciphertext).unwrap();
        }
        (tls, ciphertext, peer)
    }

    #[test]
    fn more_ciphertext_than_the_buffer_of_plaintext_has_room_for_is_decrypted() {
        let (tls, mut ciphertext, _peer) = received();
        // Bytes after the close are dropped.
        ciphertext.extend([0x17; 2_500]);
        let (mut raw, mut read, mut part) = (ciphertext.as_slice(), 0, [0; 2_048]);
        while let bytes @ 1.. = tls.read(&mut raw, &mut part).unwrap() {
            assert_eq!(part[..bytes], [7; 2_048][..bytes]);
            read += bytes;
        }
        assert_eq!(read, BYTES);
    }
}
