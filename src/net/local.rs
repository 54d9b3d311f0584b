//! Connections of programs on this computer, which block: those of the page of a client.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::link::is_timeout;

/// Bytes that the system buffers while a peer does not read.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// How long a write waits before `gives_up` is called.
const WRITE_PATIENCE: Duration = Duration::from_millis(500);

/// Bytes that are dropped after the last answer.
const DRAINED_BYTES_MAX: usize = 1 << 20;

/// A listener on a loopback address.
pub struct LocalListener(TcpListener);

impl LocalListener {
    /// # Errors
    /// The address is taken, or cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<LocalListener> {
        Ok(LocalListener(TcpListener::bind(address)?))
    }

    /// Returns the bound address, with the real port if port 0 was requested.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// No connection can be accepted.
    pub fn accept(&self) -> io::Result<LocalStream> {
        let (stream, _) = self.0.accept()?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
        Ok(LocalStream { stream: Arc::new(stream), deadline: None })
    }
}

/// A connection. Clones share the socket, and each has its own deadline.
#[derive(Clone)]
pub struct LocalStream {
    stream: Arc<TcpStream>,
    deadline: Option<Instant>,
}

impl LocalStream {
    /// Sets the end of the time for reads of this clone; without one they wait for ever.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Sends all bytes. While the peer takes none, `gives_up` is asked twice a second.
    ///
    /// # Errors
    /// The connection has failed, or `gives_up` has returned true.
    pub fn send(&self, mut bytes: &[u8], gives_up: impl Fn() -> bool) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&*self.stream).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && !gives_up() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the sending direction only.
    pub fn finish(&self) {
        // A socket that is already closed is fine.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the sending direction, and drops further bytes: a close with unread bytes would reset
    /// the connection, and the peer would lose the last answer.
    pub fn drain(&self, patience: Duration) {
        self.finish();
        let mut rest = self.clone();
        rest.set_deadline(Some(Instant::now() + patience));
        let (mut part, mut left) = ([0; 2_048], DRAINED_BYTES_MAX);
        while let Ok(bytes @ 1..) = rest.read(&mut part)
            && left > bytes
        {
            left -= bytes;
        }
        self.cut();
    }

    pub fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Read for LocalStream {
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(left)?;
        (&*self.stream).read(part)
    }
}
