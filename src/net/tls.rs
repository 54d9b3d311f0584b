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
    state: Mutex<ServerConnection>,
    sink: TcpSink,
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
        let mut state = ServerConnection::new(config).map_err(io::Error::other)?;
        // What is encrypted goes to the sink at once.
        state.set_buffer_limit(None);
        let tls = Tls { state: Mutex::new(Rank::Tls, state), sink: TcpSink::new(stream) };
        tls.feed(received)?;
        Ok(tls)
    }

    /// Reads what was decrypted, and ciphertext from `raw` where nothing was. Returns 0 at the end
    /// of the peer's bytes.
    ///
    /// # Errors
    /// Those of `raw`. `InvalidData` if a byte was altered, `UnexpectedEof` if the end was cut off.
    pub fn read(&self, mut raw: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.state.lock().reader().read(buffer);
            if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                let mut part = [0; PART_BYTES];
                let bytes = raw.read(&mut part)?;
                self.feed(&part[..bytes])?;
                continue;
            }
            return read;
        }
    }

    /// Decrypts bytes, and answers the handshake. No bytes are the end.
    fn feed(&self, mut received: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        loop {
            state.read_tls(&mut received)?;
            let processed = state.process_new_packets();
            // Also the alert after an error.
            self.send_pending(&mut state)?;
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if received.is_empty() {
                return Ok(());
            }
        }
    }

    /// Sends what the state has encrypted. Returns whether the socket has taken all of it.
    fn send_pending(&self, state: &mut ServerConnection) -> io::Result<bool> {
        let mut bytes = Vec::new();
        while state.wants_write() {
            state.write_tls(&mut bytes)?;
        }
        self.sink.send(&bytes)
    }

    /// Encrypts and sends bytes after the queued ones. Returns whether the socket has taken all.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&self, bytes: &[u8]) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.writer().write_all(bytes)?;
        self.send_pending(&mut state)
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

    /// Tells the peer that nothing follows.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.send_close_notify();
        // A peer that is gone needs none.
        let _ = self.send_pending(&mut state);
    }

    /// Returns the sink of the ciphertext.
    pub(super) fn sink(&self) -> &TcpSink {
        &self.sink
    }
}
