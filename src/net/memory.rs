//! An in-memory transport for tests, with a bounded buffer, which can break inside a record. Its
//! framing differs from that of TCP.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::link::{Link, Patience, RecordSink, RecordSource};
use crate::sync::{Mutex, Rank};

/// Bytes of a record's head, which is its length.
const HEAD_BYTES: usize = 4;

/// One direction of a link, controlled by a test.
pub struct Pipe(Mutex<State>);

struct State {
    /// Bytes that the reader can read.
    arrived: VecDeque<u8>,
    /// Bytes in transit, at most `room`.
    sent: VecDeque<u8>,
    room: usize,
    cut: bool,
}

impl Pipe {
    fn new(room: usize) -> Arc<Pipe> {
        let (arrived, sent) = (VecDeque::new(), VecDeque::new());
        Arc::new(Pipe(Mutex::new(Rank::MemoryLink, State { arrived, sent, room, cut: false })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock())
    }

    /// Delivers up to `bytes_max` bytes to the reader. Returns how many.
    pub fn carry(&self, bytes_max: usize) -> usize {
        self.with(|state| {
            let bytes = state.sent.len().min(bytes_max);
            let carried = state.sent.drain(..bytes);
            state.arrived.extend(carried);
            bytes
        })
    }

    /// Breaks the link. This share of the bytes in transit still arrives.
    pub fn break_off(&self, share: f64) {
        self.with(|state| {
            state.cut = true;
            let bytes = state.sent.len() as f64 * share;
            state.sent.truncate(bytes as usize);
        });
    }

    pub fn is_cut(&self) -> bool {
        self.with(|state| state.cut)
    }

    /// Returns whether no bytes are in transit or unread.
    pub fn is_empty(&self) -> bool {
        self.with(|state| state.sent.is_empty() && state.arrived.is_empty())
    }

    /// Takes all bytes in transit; `None` after a cut.
    pub fn take_sent(&self) -> Option<Vec<u8>> {
        self.with(|state| (!state.cut).then(|| state.sent.drain(..).collect()))
    }

    /// Bounds the bytes in transit.
    pub fn set_room(&self, room: usize) {
        self.with(|state| state.room = room);
    }
}

/// Creates both ends of a link. The first pipe carries what the first end sends, and holds `room`
/// bytes; the other direction is unbounded.
pub fn pair(room: usize) -> ([Link; 2], [Arc<Pipe>; 2]) {
    let pipes = [Pipe::new(room), Pipe::new(usize::MAX)];
    let link = |from: usize, to: usize| Link {
        source: Box::new(MemorySource { pipe: Arc::clone(&pipes[from]), record: Vec::new() }),
        sink: Arc::new(MemorySink {
            pipes: [Arc::clone(&pipes[to]), Arc::clone(&pipes[from])],
            unsent: Mutex::new(Rank::Sink, Vec::new()),
        }),
        peer: ([127, 0, 0, 1], 1).into(),
    };
    ([link(1, 0), link(0, 1)], pipes)
}

/// The reading half.
struct MemorySource {
    pipe: Arc<Pipe>,
    record: Vec<u8>,
}

/// The writing half.
struct MemorySink {
    /// The sending direction and the other one; `cut` ends both.
    pipes: [Arc<Pipe>; 2],
    unsent: Mutex<Vec<u8>>,
}

/// Returns the length of the first record if it has arrived completely.
fn first_record_bytes(arrived: &VecDeque<u8>) -> Option<usize> {
    let head: Vec<u8> = arrived.iter().copied().take(HEAD_BYTES).collect();
    let bytes = u32::from_le_bytes(head.try_into().ok()?) as usize;
    (arrived.len() >= HEAD_BYTES + bytes).then_some(bytes)
}

impl RecordSource for MemorySource {
    fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        let read = self.pipe.with(|state| match first_record_bytes(&state.arrived) {
            Some(bytes) => {
                self.record = state.arrived.drain(..HEAD_BYTES + bytes).skip(HEAD_BYTES).collect();
                Ok(true)
            }
            None if !state.cut || !state.sent.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            None if state.arrived.is_empty() => Ok(false),
            None => {
                state.arrived.clear();
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        });
        read.map(|is_record: bool| is_record.then_some(&mut self.record[..]))
    }

    fn has_record(&self) -> bool {
        self.pipe.with(|state| first_record_bytes(&state.arrived).is_some())
    }

    fn set_record_bytes_max(&mut self, _: usize) {}

    fn set_patience(&mut self, _: Patience) -> io::Result<()> {
        Ok(())
    }
}

impl RecordSink for MemorySink {
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::try_from(record_bytes).unwrap().to_le_bytes());
    }

    fn send(&self, framed: &[u8]) -> io::Result<bool> {
        self.unsent.lock().extend_from_slice(framed);
        self.flush()
    }

    fn flush(&self) -> io::Result<bool> {
        let mut unsent = self.unsent.lock();
        self.pipes[0].with(|state| {
            if state.cut {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let taken = unsent.len().min(state.room.saturating_sub(state.sent.len()));
            state.sent.extend(unsent.drain(..taken));
            Ok(unsent.is_empty())
        })
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.lock().len()
    }

    fn finish(&self) {
        self.pipes[0].with(|state| state.cut = true);
    }

    fn cut(&self) {
        self.pipes.iter().for_each(|pipe| pipe.with(|state| state.cut = true));
        self.unsent.lock().clear();
    }
}
