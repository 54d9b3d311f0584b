//! Records over TCP: a big-endian u16 length before each (docs/protocol.md, "Framing").

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Link, Patience, RecordSink, RecordSource};
use crate::limits::RECORD_LOGIN_BYTES_MAX;
use crate::wire::record::{self, RecordReader};

/// Write timeout of a client's session.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects a client. All reads share the deadline. Returns `None` if the deadline has passed.
///
/// # Errors
/// None of the host's addresses accepts a connection.
pub fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<Option<Link>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let peers = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => {
            let name = host.to_owned();
            let resolve = move || Ok((name.as_str(), port).to_socket_addrs()?.collect());
            let Some(peers) = resolve_before(deadline, resolve)? else { return Ok(None) };
            peers
        }
    };
    for peer in peers {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match TcpStream::connect_timeout(&peer, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                let stream = Arc::new(stream);
                let source = Box::new(source(&stream, deadline));
                return Ok(Some(Link { source, sink: Arc::new(WaitingSink(stream)), peer }));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Look-ups of hosts in progress. The system may take minutes for one, and none can be cut short.
static LOOK_UPS: AtomicUsize = AtomicUsize::new(0);
/// Bound on them: a client that dials again and again leaves no more threads behind.
const LOOK_UPS_MAX: usize = 8;

struct LookUp;

impl LookUp {
    fn begin() -> io::Result<LookUp> {
        let look_up = LookUp;
        if LOOK_UPS.fetch_add(1, Ordering::Relaxed) < LOOK_UPS_MAX {
            return Ok(look_up);
        }
        let text = "name resolution (DNS) does not answer on this system";
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        LOOK_UPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Addresses of a host. Returns `None` if they are not found before the deadline.
fn resolve_before(
    deadline: Instant,
    resolve: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Option<Vec<SocketAddr>>> {
    let look_up = LookUp::begin()?;
    let (found, waits) = mpsc::channel();
    let job = move || {
        // The deadline may have passed.
        let _ = found.send(resolve());
        drop(look_up);
    };
    thread::Builder::new().name("resolver".into()).spawn(job)?;
    match waits.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(found) => found.map(Some),
        Err(_) => Ok(None),
    }
}

/// The source of a new connection's login records, all before one deadline.
pub fn source(stream: &Arc<TcpStream>, deadline: Instant) -> TcpSource {
    TcpSource::new(Arc::clone(stream), Patience::Until(deadline))
}

/// The server's link over a non-blocking connection. Its source does not wait yet.
#[cfg(feature = "server")]
pub fn accepted(stream: TcpStream, peer: SocketAddr) -> Link {
    let stream = Arc::new(stream);
    let source = Box::new(TcpSource::new(Arc::clone(&stream), Patience::None));
    Link { source, sink: Arc::new(TcpSink::new(stream)), peer }
}

/// The reading half.
pub struct TcpSource(RecordReader<Socket>);

/// A socket whose reads are bounded by its patience.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    patience: Patience,
    /// When the present record was requested: a record that arrives byte by byte gets no extra
    /// time.
    asked: Instant,
}

impl TcpSource {
    fn new(stream: Arc<TcpStream>, patience: Patience) -> TcpSource {
        TcpSource(RecordReader::new(Socket::new(stream, patience), RECORD_LOGIN_BYTES_MAX))
    }
}

impl RecordSource for TcpSource {
    fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        self.0.source_mut().begin();
        self.0.read()
    }

    fn has_record(&self) -> bool {
        self.0.has_record()
    }

    fn set_record_bytes_max(&mut self, bytes_max: usize) {
        self.0.set_bytes_max(bytes_max);
    }

    fn set_patience(&mut self, patience: Patience) -> io::Result<()> {
        self.0.source_mut().set_patience(patience)
    }
}

impl Socket {
    pub fn new(stream: Arc<TcpStream>, patience: Patience) -> Socket {
        Socket { stream, patience, asked: Instant::now() }
    }

    /// The next record is requested.
    pub fn begin(&mut self) {
        self.asked = Instant::now();
    }

    pub fn set_patience(&mut self, patience: Patience) -> io::Result<()> {
        let blocks = patience != Patience::None;
        if blocks != (self.patience != Patience::None) {
            self.stream.set_nonblocking(!blocks)?;
        }
        if let Patience::Each(time) = patience {
            self.stream.set_read_timeout(Some(time))?;
        }
        self.patience = patience;
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.patience {
            Patience::None => {}
            Patience::Until(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.stream.set_read_timeout(Some(left))?;
            }
            Patience::Each(time) if self.asked.elapsed() >= time => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Patience::Each(_) => {}
        }
        (&*self.stream).read(buffer)
    }
}

/// A client's writing half. It waits for a slow network, up to the write timeout.
struct WaitingSink(Arc<TcpStream>);

impl RecordSink for WaitingSink {
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&record::head(record_bytes));
    }

    fn send(&self, framed: &[u8]) -> io::Result<bool> {
        (&*self.0).write_all(framed)?;
        Ok(true)
    }

    fn finish(&self) {
        // A socket that is already closed is fine.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[cfg(feature = "server")]
pub(super) use server::TcpSink;

#[cfg(feature = "server")]
mod server {
    use std::os::fd::{AsFd, BorrowedFd};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::SendFlags;

    use super::*;
    use crate::sync::{Mutex, Rank};

    /// A server's writing half: it never waits.
    pub struct TcpSink {
        stream: Arc<TcpStream>,
        /// Framed records that the socket has not accepted yet.
        unsent: Mutex<Vec<u8>>,
    }

    impl TcpSink {
        pub fn new(stream: Arc<TcpStream>) -> TcpSink {
            TcpSink { stream, unsent: Mutex::new(Rank::Sink, Vec::new()) }
        }

        /// Sends a few bytes between two records, unless records wait for the socket.
        ///
        /// # Errors
        /// The connection is gone.
        pub fn send_aside(&self, bytes: &[u8]) -> io::Result<()> {
            let mut unsent = self.unsent.lock();
            if unsent.is_empty() {
                let rest = self.push(bytes)?;
                unsent.extend_from_slice(rest);
            }
            Ok(())
        }

        /// Stores what the socket does not accept now.
        fn push<'a>(&self, mut bytes: &'a [u8]) -> io::Result<&'a [u8]> {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            while !bytes.is_empty() {
                match rustix::net::send(&*self.stream, bytes, flags).map_err(io::Error::from) {
                    Ok(taken) => bytes = &bytes[taken..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(bytes)
        }
    }

    impl RecordSink for TcpSink {
        fn frame(&self, record_bytes: usize, out: &mut Vec<u8>) {
            out.extend_from_slice(&record::head(record_bytes));
        }

        fn send(&self, framed: &[u8]) -> io::Result<bool> {
            let mut unsent = self.unsent.lock();
            let rest = if unsent.is_empty() { self.push(framed)? } else { framed };
            unsent.extend_from_slice(rest);
            Ok(unsent.is_empty())
        }

        fn flush(&self) -> io::Result<bool> {
            let mut unsent = self.unsent.lock();
            let bytes = std::mem::take(&mut *unsent);
            let rest = self.push(&bytes)?;
            // Frees the memory of accepted bytes.
            *unsent = rest.to_vec();
            Ok(unsent.is_empty())
        }

        fn unsent_bytes(&self) -> usize {
            self.unsent.lock().len()
        }

        fn finish(&self) {
            // A socket that is already closed is fine.
            let _ = self.stream.shutdown(Shutdown::Write);
        }

        fn cut(&self) {
            let _ = self.stream.shutdown(Shutdown::Both);
            *self.unsent.lock() = Vec::new();
        }

        fn is_deserted(&self) -> bool {
            let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
            let mut fds = [PollFd::new(&*self.stream, ends)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let polled = poll(&mut fds, Some(&now));
            polled.is_ok_and(|ready| ready > 0) && fds[0].revents().intersects(ends)
        }

        fn fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.stream.as_fd())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_does_not_answer_costs_no_more_than_the_deadline() {
        let soon = || Instant::now() + Duration::from_millis(20);
        let mut held = Vec::new();
        for _ in 0..LOOK_UPS_MAX {
            let (ends, ended) = mpsc::channel::<()>();
            held.push(ends);
            let slow = move || {
                let _ = ended.recv();
                Ok(Vec::new())
            };
            assert!(resolve_before(soon(), slow).unwrap().is_none());
        }
        let further = resolve_before(soon(), || Ok(Vec::new()));
        assert_eq!(further.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(held);
        // The control: a resolver that answers.
        let deadline = Instant::now() + Duration::from_secs(60);
        while LOOK_UPS.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < deadline, "a look-up never ends");
            thread::yield_now();
        }
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let found = resolve_before(deadline, move || Ok(vec![peer])).unwrap();
        assert_eq!(found, Some(vec![peer]));
    }
}
