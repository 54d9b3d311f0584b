//! An upload in progress: seals the bytes from the server's position on.

use super::reading::Ready;
use crate::client::files::source::SourceError;
use crate::crypto::file::{SEALED_CHUNK_BYTES, file_bytes_in};

/// DATA with fewer bytes costs the sender a request.
const PIECE_BYTES_MIN: u64 = 1_024;

pub struct Upload {
    ready: Ready,
    /// The server's number, while it takes bytes.
    pub number: Option<u32>,
    /// Offset of the next byte to be sent.
    next: u64,
    /// The server accepts bytes before `limit`, and has written those before the next field.
    limit: u64,
    written: u64,
    /// A sealed chunk, of which the bytes before `taken` were taken.
    chunk: Vec<u8>,
    taken: usize,
}

impl Upload {
    pub fn new(ready: Ready) -> Upload {
        Upload { ready, number: None, next: 0, limit: 0, written: 0, chunk: Vec::new(), taken: 0 }
    }

    /// Begins or continues at the byte that the server wants next.
    pub fn begin(&mut self, number: u32, have: u64, limit: u64) {
        (self.number, self.next, self.limit, self.written) = (Some(number), have, limit, have);
        self.chunk.clear();
        self.taken = 0;
    }

    pub fn pause(&mut self) {
        self.number = None;
    }

    pub fn total(&self) -> u64 {
        self.ready.recorded.stored
    }

    /// Offset of the next byte.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes of the file itself that the server has.
    pub fn file_bytes(&self) -> u64 {
        file_bytes_in(self.written, self.ready.recorded.file.bytes.0)
    }

    /// Records the server's position and limit. Returns whether the server has all bytes.
    pub fn has(&mut self, written: u64, limit: u64) -> bool {
        self.written = written.clamp(self.written, self.next);
        self.limit = limit.max(self.limit);
        self.written == self.total()
    }

    /// Returns the size of the next piece, at most `wanted`. A short piece waits for a higher
    /// limit, unless all sent bytes are acknowledged: then no HAVE can raise the limit.
    pub fn piece(&self, wanted: u64) -> Option<u64> {
        self.number?;
        let rest = self.total().saturating_sub(self.next);
        let room = self.limit.saturating_sub(self.next);
        let piece = wanted.min(rest).min(room);
        let is_worth = piece >= PIECE_BYTES_MIN || piece == rest || self.written == self.next;
        (piece > 0 && is_worth).then_some(piece)
    }

    /// Seals the next bytes and appends them to `out`.
    ///
    /// # Errors
    /// The file cannot be read, or has changed: the upload cannot go on.
    pub fn take(&mut self, bytes: u64, out: &mut Vec<u8>) -> Result<(), SourceError> {
        let (chunk_bytes, end) = (SEALED_CHUNK_BYTES as u64, self.next + bytes);
        while self.next < end {
            if self.taken == self.chunk.len() {
                self.ready.sealing.seal_chunk(self.next / chunk_bytes, &mut self.chunk)?;
                self.taken = (self.next % chunk_bytes) as usize;
            }
            let part = ((end - self.next) as usize).min(self.chunk.len() - self.taken);
            out.extend_from_slice(&self.chunk[self.taken..self.taken + part]);
            self.taken += part;
            self.next += part as u64;
        }
        Ok(())
    }

    /// Removes all that is stored of it.
    pub fn remove(self) {
        self.ready.held.remove();
    }
}
