//! A connection as whole records: all that a session, the hub and the delivery know of a transport.
//! A transport is a [`RecordSource`] and a [`RecordSink`] (`tcp.rs`; `memory.rs` in tests).

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Both directions of a connection, and where its other end is.
pub struct Link {
    pub source: Box<dyn RecordSource>,
    pub sink: Arc<dyn RecordSink>,
    pub peer: SocketAddr,
}

/// How long a read waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// All reads share this deadline.
    Until(Instant),
    /// This long for each record, or twice as long where a record began to come.
    Each(Duration),
}

/// The reading half. Its only owner is the thread that reads.
pub trait RecordSource: Send {
    /// The next record, to be opened in place; `None` at a clean end.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` after the patience: nothing that was read is lost.
    /// `UnexpectedEof` at an end inside a record. `InvalidData` for what is no record, or too long.
    fn read(&mut self) -> io::Result<Option<&mut [u8]>>;

    /// Whether a whole record is at hand without another read.
    fn has_record(&self) -> bool;

    /// Longer records are `InvalidData` from now on.
    fn set_record_bytes_max(&mut self, bytes_max: usize);

    /// How long the next reads wait.
    ///
    /// # Errors
    /// The connection is gone.
    fn set_patience(&mut self, patience: Patience) -> io::Result<()>;
}

/// The writing half, shared by threads. It owns how records are framed, and what it was given and
/// the connection has not taken yet. A server's sink never waits; a client's may wait for a slow
/// network.
pub trait RecordSink: Send + Sync {
    /// Appends to `out` what stands before a record of so many bytes. The record follows there.
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>);

    /// Sends records that `frame` has framed, behind those that wait here. True where the connection
    /// has taken all; else the rest waits here, and `flush` is next.
    ///
    /// # Errors
    /// The connection is gone.
    fn send(&self, framed: &[u8]) -> io::Result<bool>;

    /// Sends what waits here. True where nothing does any more.
    ///
    /// # Errors
    /// The connection is gone.
    fn flush(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Bytes that wait here.
    fn unsent_bytes(&self) -> usize {
        0
    }

    /// Nothing more will be sent; the other direction stays.
    fn finish(&self);

    /// Ends both directions, which wakes whoever reads.
    fn cut(&self);

    /// Whether the peer has ended its side: it will ask nothing more, and reads no answer.
    fn is_deserted(&self) -> bool {
        false
    }

    /// What becomes readable with the source and writable with the sink; none where nobody polls.
    #[cfg(unix)]
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Sends one record as it is: one of the handshake.
///
/// # Errors
/// The connection is gone, or does not take the record at once.
pub fn send_record(sink: &dyn RecordSink, record: &[u8]) -> io::Result<()> {
    let mut framed = Vec::with_capacity(record.len() + 4);
    sink.frame(record.len(), &mut framed);
    framed.extend_from_slice(record);
    if sink.send(&framed)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}
