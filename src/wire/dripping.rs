//! A source for tests of readers.

use std::io::{self, Read};

/// Returns its bytes in pieces of the given sizes, with a timeout between them.
pub struct Dripping {
    pub bytes: Vec<u8>,
    pub pieces: Vec<usize>,
    pub late: bool,
}

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.late = !self.late;
        if self.late {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = self.pieces.pop().unwrap_or(1).min(buffer.len()).min(self.bytes.len());
        buffer[..piece].copy_from_slice(&self.bytes[..piece]);
        self.bytes.drain(..piece);
        Ok(piece)
    }
}
