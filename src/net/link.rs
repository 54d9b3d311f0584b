//! A connection of whole records, the only view of a transport that sessions, hub and delivery
//! have. A transport implements [`RecordSource`] and [`RecordSink`] (`tcp.rs`, `websocket.rs`;
//! `memory.rs` in tests).

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Both directions of a connection, and the peer's address.
pub struct Link {
    pub source: Box<dyn RecordSource>,
    pub sink: Arc<dyn RecordSink>,
    pub peer: SocketAddr,
}

/// The time limit of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Reads do not wait.
    None,
    /// All reads share this deadline.
    Until(Instant),
    /// This time for each record, doubled once a record has begun to arrive.
    Each(Duration),
}

/// Returns whether an error means that a read or a write has timed out.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The reading half, owned by the reading thread.
pub trait RecordSource: Send {
    /// Reads the next record, to be decrypted in place; `None` at a clean end.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` after the patience; bytes read so far are kept. `UnexpectedEof`
    /// at an end inside a record. `InvalidData` for a malformed or too long record.
    fn read(&mut self) -> io::Result<Option<&mut [u8]>>;

    /// Returns whether a whole record is buffered.
    fn has_record(&self) -> bool;

    /// Sets the bound on records; longer ones are `InvalidData`.
    fn set_record_bytes_max(&mut self, bytes_max: usize);

    /// Sets the time limit of the next reads.
    ///
    /// # Errors
    /// The connection is gone.
    fn set_patience(&mut self, patience: Patience) -> io::Result<()>;
}

/// The writing half, shared by threads. It owns the framing of records, and the bytes that the
/// connection has not accepted yet. A server's sink never waits; a client's sink may wait for a
/// slow network.
pub trait RecordSink: Send + Sync {
    /// Appends the head of a record of this size to `out`. The caller appends the record.
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>);

    /// Sends framed records after the queued ones. Returns whether the connection accepted all of
    /// them; the sink queues the rest for `flush`.
    ///
    /// # Errors
    /// The connection is gone.
    fn send(&self, framed: &[u8]) -> io::Result<bool>;

    /// Sends queued bytes. Returns whether the queue is empty.
    ///
    /// # Errors
    /// The connection is gone.
    fn flush(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Returns the number of queued bytes.
    fn unsent_bytes(&self) -> usize {
        0
    }

    /// Ends the sending direction only.
    fn finish(&self);

    /// Ends both directions, and so wakes a blocked reader.
    fn cut(&self);

    /// Returns whether the peer has closed: it sends no requests and reads no answers.
    fn is_deserted(&self) -> bool {
        false
    }

    /// The descriptor to poll for both halves; `None` in tests only:
    /// admission and the flusher never poll such a sink.
    #[cfg(unix)]
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Sends a single record of the handshake.
///
/// # Errors
/// The connection is gone, or does not accept the record at once.
pub fn send_record(sink: &dyn RecordSink, record: &[u8]) -> io::Result<()> {
    let mut framed = Vec::with_capacity(record.len() + 4);
    sink.frame(record.len(), &mut framed);
    framed.extend_from_slice(record);
    if sink.send(&framed)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}
