//! Records through memory, for tests: a link that fills up, and that breaks in the middle of a
//! record. Its framing is another one than TCP's.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use super::link::{Link, Patience, RecordSink, RecordSource};

/// Bytes before a record: its length.
const HEAD_BYTES: usize = 4;

/// One direction of a link, as a test sees it.
pub struct Pipe(Mutex<State>);

struct State {
    /// Bytes that the reader has.
    arrived: VecDeque<u8>,
    /// Bytes on their way; `room` of them at most.
    sent: VecDeque<u8>,
    room: usize,
    cut: bool,
}

impl Pipe {
    fn new(room: usize) -> Arc<Pipe> {
        let (arrived, sent) = (VecDeque::new(), VecDeque::new());
        Arc::new(Pipe(Mutex::new(State { arrived, sent, room, cut: false })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Up to `bytes_max` bytes reach the reader; gives how many.
    pub fn carry(&self, bytes_max: usize) -> usize {
        self.with(|state| {
            let bytes = state.sent.len().min(bytes_max);
            let carried = state.sent.drain(..bytes);
            state.arrived.extend(carried);
            bytes
        })
    }

    /// It breaks: of the bytes on their way, this share arrives still.
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

    /// Whether nothing is on its way or waits for the reader.
    pub fn is_empty(&self) -> bool {
        self.with(|state| state.sent.is_empty() && state.arrived.is_empty())
    }

    /// All bytes that are on their way; none once it is cut.
    pub fn take_sent(&self) -> Option<Vec<u8>> {
        self.with(|state| (!state.cut).then(|| state.sent.drain(..).collect()))
    }

    /// From now on so many bytes at most are on their way.
    pub fn set_room(&self, room: usize) {
        self.with(|state| state.room = room);
    }
}

/// The two ends of a link: what the first one sends goes through the first pipe, which holds `room`
/// bytes; the other direction holds any number.
pub fn pair(room: usize) -> ([Link; 2], [Arc<Pipe>; 2]) {
    let pipes = [Pipe::new(room), Pipe::new(usize::MAX)];
    let link = |from: usize, to: usize| Link {
        source: Box::new(MemorySource { pipe: Arc::clone(&pipes[from]), record: Vec::new() }),
        sink: Arc::new(MemorySink {
            pipes: [Arc::clone(&pipes[to]), Arc::clone(&pipes[from])],
            unsent: Mutex::default(),
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
    /// The own direction and the other one: both are cut at once.
    pipes: [Arc<Pipe>; 2],
    unsent: Mutex<Vec<u8>>,
}

/// How long the first record is, where all of it has arrived.
fn whole(arrived: &VecDeque<u8>) -> Option<usize> {
    let head: Vec<u8> = arrived.iter().copied().take(HEAD_BYTES).collect();
    let bytes = u32::from_le_bytes(head.try_into().ok()?) as usize;
    (arrived.len() >= HEAD_BYTES + bytes).then_some(bytes)
}

impl RecordSource for MemorySource {
    fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        let read = self.pipe.with(|state| match whole(&state.arrived) {
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
        self.pipe.with(|state| whole(&state.arrived).is_some())
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
        self.unsent.lock().unwrap().extend_from_slice(framed);
        self.flush()
    }

    fn flush(&self) -> io::Result<bool> {
        let mut unsent = self.unsent.lock().unwrap();
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
        self.unsent.lock().unwrap().len()
    }

    fn finish(&self) {
        self.pipes[0].with(|state| state.cut = true);
    }

    fn cut(&self) {
        self.pipes.iter().for_each(|pipe| pipe.with(|state| state.cut = true));
        self.unsent.lock().unwrap().clear();
    }
}
