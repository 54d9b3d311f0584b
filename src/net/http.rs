//! HTTP/1.1 with one request per connection: non-blocking connections, and a listener that serves
//! one page to one connection at a time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::link::{Link, RecordSink};
use super::tls::Tls;
use super::websocket::{self, Pipe};

/// Time limit of a request and its response. Further connections wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bound on a request, in bytes.
const ASK_BYTES_MAX: usize = 4_096;

/// A non-blocking connection.
#[derive(Clone)]
pub struct HttpStream {
    stream: Arc<TcpStream>,
    pub peer: SocketAddr,
    tls: Option<Arc<Tls>>,
}

impl HttpStream {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> HttpStream {
        HttpStream { stream: Arc::new(stream), peer, tls: None }
    }

    /// Continues the connection in TLS, whose first bytes were received.
    ///
    /// # Errors
    /// They begin no TLS, or the connection has failed.
    pub fn begin_tls(&mut self, config: Arc<ServerConfig>, received: &[u8]) -> io::Result<()> {
        let tls = Tls::accept(Arc::clone(&self.stream), config, received)?;
        self.tls = Some(Arc::new(tls));
        Ok(())
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads available bytes, at most `part.len()`. Returns 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if no byte is available; the connection has failed.
    pub fn read(&self, part: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &self.tls {
                Some(tls) => tls.read(&*self.stream, part),
                None => (&*self.stream).read(part),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Sends all bytes without waiting: the send buffer of a new connection has room for them.
    ///
    /// # Errors
    /// The send buffer is full, or the connection has failed.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.tls {
            Some(tls) if tls.send(bytes)? => Ok(()),
            Some(_) => Err(io::ErrorKind::WouldBlock.into()),
            None => (&*self.stream).write_all(bytes),
        }
    }

    /// Sends what the connection has not taken yet.
    ///
    /// # Errors
    /// `WouldBlock` if it does not take all of it now; the connection has failed.
    pub fn flush(&self) -> io::Result<()> {
        match &self.tls {
            Some(tls) if !tls.sink().flush()? => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }

    /// Whether bytes wait until the peer reads.
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.sink().unsent_bytes() > 0)
    }

    /// Sends as many bytes as the connection takes now. Returns their number.
    ///
    /// # Errors
    /// `WouldBlock` if it takes none; the connection has failed.
    pub fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(tls) = &self.tls {
            return tls.send_some(bytes);
        }
        loop {
            match (&*self.stream).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }

    /// Ends the sending direction only.
    pub fn finish(&self) {
        self.tls.iter().for_each(|tls| tls.close());
        // A socket that is already closed is fine.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Returns the link for the rest of the connection, which is WebSocket. `peer` is the source.
    pub fn into_link(self, peer: SocketAddr) -> Link {
        let pipe = self.tls.map_or_else(|| Pipe::plain(&self.stream), Pipe::Tls);
        websocket::link(self.stream, pipe, peer)
    }
}

impl AsFd for HttpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A listener for requests.
pub struct Http(TcpListener);

impl Http {
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<Http> {
        Ok(Http(TcpListener::bind(address)?))
    }

    /// Returns the bound address, with the real port if port 0 was requested.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for the next request, and answers requests for `path` with `text`.
    ///
    /// # Errors
    /// The peer is gone or too slow, or no connection can be accepted.
    pub fn answer_next(&self, path: &str, kind: &str, text: &dyn Fn() -> String) -> io::Result<()> {
        let (mut stream, _) = self.0.accept()?;
        let deadline = Instant::now() + PATIENCE;
        stream.set_write_timeout(Some(PATIENCE))?;
        let wanted = is_wanted(path, |part| {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            stream.read(part)
        })?;
        let (status, body) = match wanted {
            Some(true) => ("200 OK", text()),
            Some(false) => ("404 Not Found", format!("GET {path}\n")),
            None => return Ok(()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())
    }
}

/// Reads a request. Returns whether it is for `path`; `None` if it is incomplete.
///
/// # Errors
/// It is too long, or cannot be read.
pub fn is_wanted(
    path: &str,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Option<bool>> {
    let (mut ask, mut part) = (Vec::new(), [0; 512]);
    while !ask.windows(4).any(|end| end == b"\r\n\r\n") {
        if ask.len() > ASK_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match read(&mut part)? {
            0 => return Ok(None),
            bytes => ask.extend_from_slice(&part[..bytes]),
        }
    }
    let path = ask.strip_prefix(b"GET ").and_then(|ask| ask.strip_prefix(path.as_bytes()));
    Ok(Some(path.is_some_and(|rest| rest.starts_with(b" "))))
}
