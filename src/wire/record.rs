//! Framing on TCP: a big-endian u16 length, then the record (docs/protocol.md, "Framing").

use std::io::{self, Read};

/// Reads records through one buffer that takes many records in one read and grows with the received
/// bytes, never by a declared length.
pub struct RecordReader<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    bytes_max: usize,
    /// Bytes of the last record; 0 after a silence.
    last_bytes: usize,
}

/// Size of the buffer of an idle reader, after a silence: most connections are idle.
const IDLE_BYTES: usize = 512;
/// Size of the buffer once more has arrived than an idle reader's buffer has room for.
const BUFFER_BYTES: usize = 2_048;
/// Size of the buffer while long records arrive: it takes several in one read. It shrinks after a
/// short record and after a silence.
const BUSY_BYTES: usize = 64 << 10;

impl<R: Read> RecordReader<R> {
    /// Records above `bytes_max` are an `InvalidData` error.
    pub fn new(source: R, bytes_max: usize) -> Self {
        RecordReader {
            source,
            buffer: vec![0; IDLE_BYTES],
            start: 0,
            end: 0,
            bytes_max,
            last_bytes: 0,
        }
    }

    /// Allows longer records after the login, whose records have enlarged the buffer.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        if self.start == self.end {
            self.shrink(IDLE_BYTES);
        }
    }

    pub fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// Returns whether a whole record is buffered.
    pub fn has_record(&self) -> bool {
        self.declared().is_some_and(|bytes| self.end - self.start >= 2 + bytes)
    }

    /// Returns the next record, to be decrypted in place. `UnexpectedEof` inside a record; `None`
    /// at a clean end. After `WouldBlock` or `TimedOut` the call may be repeated without loss.
    pub fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        loop {
            if let Some(bytes) = self.declared() {
                if bytes > self.bytes_max {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "record too long"));
                }
                let first = self.start + 2;
                if self.end >= first + bytes {
                    self.start = first + bytes;
                    self.last_bytes = bytes;
                    return Ok(Some(&mut self.buffer[first..first + bytes]));
                }
            }
            self.make_room();
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) if self.start == self.end => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.last_bytes = 0;
                    if self.start == self.end {
                        self.shrink(IDLE_BYTES);
                    }
                    return Err(error);
                }
            }
        }
    }

    fn declared(&self) -> Option<usize> {
        let head = self.buffer[self.start..self.end].first_chunk::<2>()?;
        Some(usize::from(u16::from_be_bytes(*head)))
    }

    /// Shrinks the buffer, in which nothing is unread.
    fn shrink(&mut self, bytes: usize) {
        (self.start, self.end) = (0, 0);
        self.buffer.truncate(bytes);
        self.buffer.shrink_to_fit();
    }

    /// Moves the unread bytes to the front. Enlarges the buffer if it is full with the start of one
    /// record, was full of long ones, or is an idle reader's.
    fn make_room(&mut self) {
        let is_busy = self.last_bytes > BUFFER_BYTES;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > 4 * BUFFER_BYTES && !is_busy {
                self.shrink(BUFFER_BYTES);
            }
        }
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let size = self.buffer.len();
            if self.end == size || (is_busy && size < BUSY_BYTES) || size < BUFFER_BYTES {
                self.buffer.resize((2 * size).max(BUFFER_BYTES), 0);
            }
        }
    }
}

/// Returns the head of a record of this size.
pub fn head(record_bytes: usize) -> [u8; 2] {
    u16::try_from(record_bytes).expect("a record has at most 65535 bytes").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::dripping::Dripping;
    use super::*;
    use proptest::prelude::*;

    fn read_all(source: Dripping, bytes_max: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut reader = RecordReader::new(source, bytes_max);
        let mut records = Vec::new();
        loop {
            match reader.read() {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => return Ok(records),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in_however_the_bytes_arrive(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..8),
            pieces in prop::collection::vec(1usize..4000, 0..40),
        ) {
            let mut bytes = Vec::new();
            for record in &records {
                bytes.extend(head(record.len()));
                bytes.extend(record);
            }
            let read = read_all(Dripping { bytes, pieces, late: false }, 65_535).unwrap();
            prop_assert_eq!(read, records);
        }

        #[test]
        fn a_cut_stream_is_an_error_and_never_a_record(cut in 1usize..10) {
            let mut bytes = Vec::new();
            bytes.extend(head(9));
            bytes.extend([7; 9]);
            bytes.truncate(cut);
            let read = read_all(Dripping { bytes, pieces: vec![], late: false }, 65_535);
            prop_assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    /// A source with whole records and silences, which counts its reads.
    struct Counting {
        bytes: io::Cursor<Vec<u8>>,
        reads: usize,
        is_silent: bool,
    }

    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.is_silent {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.reads += 1;
            self.bytes.read(buffer)
        }
    }

    #[test]
    fn long_records_take_few_reads_and_an_idle_reader_little_memory() {
        let records =
            |bytes: usize, count: usize| [&head(bytes)[..], &vec![7; bytes]].concat().repeat(count);
        for (last, is_silent) in [(100, false), (0, true)] {
            let mut bytes = records(16_400, 100);
            let short = if last > 0 { records(last, 1) } else { Vec::new() };
            bytes.extend_from_slice(&short);
            let source = Counting { bytes: io::Cursor::new(bytes), reads: 0, is_silent: false };
            let mut reader = RecordReader::new(source, 65_535);
            for _ in 0..100 {
                assert_eq!(reader.read().unwrap().unwrap().len(), 16_400);
            }
            assert!(reader.source.reads < 50, "{} reads of 100 records", reader.source.reads);
            assert!(reader.buffer.len() <= BUSY_BYTES);
            if last > 0 {
                assert_eq!(reader.read().unwrap().unwrap().len(), last);
            }
            reader.source.is_silent = is_silent;
            // A timeout of the socket, and the next wait.
            for _ in 0..2 {
                assert!(reader.read().is_err() || !is_silent);
            }
            assert_eq!(reader.buffer.len(), if is_silent { IDLE_BYTES } else { BUFFER_BYTES });
        }
    }

    #[test]
    fn the_end_of_a_login_frees_its_buffer_and_keeps_unread_bytes() {
        let record = |bytes: usize| [&head(bytes)[..], &vec![7; bytes]].concat();
        let source = io::Cursor::new([record(1_500), record(20), record(300)].concat());
        let mut reader = RecordReader::new(source, 2_048);
        assert_eq!(reader.read().unwrap().unwrap().len(), 1_500);
        assert!(reader.buffer.len() > IDLE_BYTES, "the control: a login enlarges the buffer");
        reader.set_bytes_max(65_535);
        assert_eq!(reader.read().unwrap().unwrap(), [7; 20]);
        assert_eq!(reader.read().unwrap().unwrap(), [7; 300]);
        reader.set_bytes_max(65_535);
        assert_eq!(reader.buffer.capacity(), IDLE_BYTES);
        assert!(reader.read().unwrap().is_none());
    }

    #[test]
    fn a_long_record_is_refused_by_its_head_alone() {
        let source = Dripping { bytes: vec![8, 1], pieces: vec![], late: false };
        assert_eq!(read_all(source, 2_048).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
