//! One page over HTTP/1.1: one request per connection, one connection at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Time limit of a request and its response. Further connections wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bound on a request, in bytes.
const ASK_BYTES_MAX: usize = 4_096;

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
