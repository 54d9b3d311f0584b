//! The writing half in front of a connection that accepts nothing for a time.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use super::*;
use crate::crypto::Opener;
use crate::crypto::record_cipher::pair;
use crate::net::link::RecordSink;
use crate::wire::record;

/// The deadline of every wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// A connection that accepts a record when the test lets it.
struct Stalled {
    open: Mutex<Flow>,
    changed: Condvar,
    records: mpsc::Sender<Vec<u8>>,
}

#[derive(Default)]
struct Flow {
    is_open: bool,
    is_cut: bool,
}

impl Stalled {
    fn set(&self, change: impl FnOnce(&mut Flow)) {
        change(&mut self.open.lock());
        self.changed.notify_all();
    }
}

impl RecordSink for Stalled {
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&record::head(record_bytes));
    }

    fn send(&self, framed: &[u8]) -> io::Result<bool> {
        let stalls = |flow: &mut Flow| !flow.is_open && !flow.is_cut;
        let flow = self.changed.wait_while(self.open.lock(), stalls);
        if flow.is_cut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut framed = framed;
        while let Some((head, rest)) = framed.split_first_chunk::<2>() {
            let (record, next) = rest.split_at(usize::from(u16::from_be_bytes(*head)));
            self.records.send(record.to_vec()).unwrap();
            framed = next;
        }
        Ok(true)
    }

    fn finish(&self) {}

    fn cut(&self) {
        self.set(|flow| flow.is_cut = true);
    }
}

/// A connected writer, and what the other side reads.
fn connects(writer: &Writer) -> (Arc<Stalled>, Receiver<Vec<u8>>, Opener) {
    let (records, read) = mpsc::channel();
    let sink = Arc::new(Stalled {
        open: Mutex::new(Rank::Sink, Flow::default()),
        changed: Condvar::new(),
        records,
    });
    let (sealer, opener) = pair([7; 32]);
    writer.set(TunnelWriter::new(Arc::clone(&sink) as Arc<dyn RecordSink>, sealer));
    (sink, read, opener)
}

#[test]
fn a_connection_that_accepts_nothing_keeps_no_request_and_no_ping() {
    let writer = Writer::default();
    let (sink, read, mut opener) = connects(&writer);
    let (woken, is_woken) = mpsc::channel();
    writer.wakes(move || woken.send(()).unwrap());
    let mut pieces = 0;
    while writer.has_room() {
        writer.send_transfers(writer.number(), [vec![1; 16_000]]);
        pieces += 1;
    }
    assert!(pieces * 16_000 < 2 * ROOM_BYTES, "{pieces} pieces wait");
    writer.send(RecordType::Json, b"hello");
    writer.send(RecordType::Ping, b"");
    assert!(writer.sent().is_some());
    assert!(is_woken.try_recv().is_err());
    sink.set(|flow| flow.is_open = true);
    is_woken.recv_timeout(DEADLINE).expect("the engine learns that there is room");
    let mut arrives = || {
        let mut record = read.recv_timeout(DEADLINE).expect("it is written");
        let (kind, body) = opener.open(&mut record).unwrap();
        // A record of a transfer keeps its padding.
        (kind, body.iter().copied().filter(|byte| *byte != b' ').collect::<Vec<u8>>())
    };
    for _ in 0..pieces {
        assert_eq!(arrives(), (RecordType::Binary, vec![1; 16_000]));
    }
    assert_eq!(arrives(), (RecordType::Json, b"hello".to_vec()));
    assert_eq!(arrives(), (RecordType::Ping, Vec::new()));
    writer.quit();
    assert_eq!(arrives().0, RecordType::Close);
}

#[test]
fn the_end_does_not_wait_for_a_connection_that_accepts_nothing() {
    let writer = Writer::default();
    let (sink, read, _) = connects(&writer);
    writer.send(RecordType::Json, b"hello");
    writer.quit();
    assert!(sink.open.lock().is_cut);
    drop(sink);
    let ends = read.recv_timeout(DEADLINE);
    assert_eq!(ends, Err(RecvTimeoutError::Disconnected), "nothing was written");
}

#[test]
fn requests_wait_for_a_queue_of_bounded_size_until_the_connection_ends() {
    let writer = Writer::default();
    let (sink, read, _) = connects(&writer);
    let floods = writer.clone();
    let (said, is_said) = mpsc::channel();
    let thread = thread::spawn(move || {
        let number = floods.number();
        while floods.number() == number {
            floods.send(RecordType::Json, &[b' '; 16_000]);
            said.send(()).unwrap();
        }
    });
    let enough = QUEUE_BYTES_MAX / 16_064;
    (0..enough).for_each(|_| is_said.recv_timeout(DEADLINE).unwrap());
    // The thread that writes notices the end; nothing else does.
    sink.cut();
    thread.join().unwrap();
    assert!(is_said.try_iter().count() < 4, "the queue has a bound");
    drop(read);
}

#[test]
fn records_of_an_earlier_connection_are_dropped() {
    let writer = Writer::default();
    let before = writer.number();
    drop(connects(&writer));
    writer.clear();
    let (sink, read, mut opener) = connects(&writer);
    sink.set(|flow| flow.is_open = true);
    writer.send_transfers(before, [b"old".to_vec()]);
    writer.send_transfers(writer.number(), [b"new".to_vec()]);
    let mut record = read.recv_timeout(DEADLINE).unwrap();
    assert!(opener.open(&mut record).unwrap().1.starts_with(b"new"));
}
