//! Writing half of the connection. Records are queued, and a thread for each connection seals and
//! writes them: a thread that sends a record does not wait for the network.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::crypto::RecordType;
use crate::net::tunnel::{Closer, TunnelWriter};
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};

/// Bound on queued requests. Beyond it the runtime waits, and so does the program or the paste that
/// causes them.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Bytes in the queue from which on files wait: eight records of them, so that the next ones are
/// encrypted while others are written.
const ROOM_BYTES: usize = 128 << 10;
/// Records are written together up to this size.
const BATCH_BYTES: usize = 64 << 10;
/// Memory of a queued record beside its body.
const ENTRY_BYTES: usize = 64;
/// Time for the queued records at the end. Messages that are not sent stay in the outbox.
const END_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
pub struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The queue or the connection has changed.
    changed: Condvar,
}

impl Default for Shared {
    fn default() -> Shared {
        let state = Mutex::new(Rank::Writer, State::default());
        Shared { state, changed: Condvar::new() }
    }
}

#[derive(Default)]
struct State {
    /// Number of the connection, which increases with each end of one.
    number: u64,
    /// While connected.
    closer: Option<Closer>,
    queue: VecDeque<(RecordType, Vec<u8>)>,
    /// Bytes of the queue and of the record that is being written.
    bytes: usize,
    /// Time of the first request since the server was heard.
    sent: Option<Instant>,
    /// Wakes the engine of transfers, which waits for room.
    wakes: Option<Box<dyn Fn() + Send>>,
    waits_for_room: bool,
}

impl Writer {
    /// Starts the thread of a new connection.
    pub fn set(&self, half: TunnelWriter) {
        let number = {
            let mut state = self.lock();
            (state.closer, state.sent) = (Some(half.closer()), None);
            state.number
        };
        let (shared, closer) = (Arc::clone(&self.shared), half.closer());
        let job = move || shared.write(number, half);
        if thread::Builder::new().name("writer".into()).spawn(job).is_err() {
            closer.cut();
        }
    }

    /// Time of the first request since the server was heard.
    pub fn sent(&self) -> Option<Instant> {
        self.lock().sent
    }

    /// Records that the server was heard.
    pub fn is_answered(&self) {
        self.lock().sent = None;
    }

    /// Queues a record if connected. If it cannot be written the connection is closed, which the
    /// reading half reports. Waits only while more than `QUEUE_BYTES_MAX` bytes are queued, and for
    /// requests only.
    pub fn send(&self, kind: RecordType, body: &[u8]) {
        let mut state = self.lock();
        if kind == RecordType::Json {
            state.sent.get_or_insert_with(Instant::now);
            let number = state.number;
            let is_full =
                |state: &mut State| state.number == number && state.bytes > QUEUE_BYTES_MAX;
            state = self.shared.changed.wait_while(state, is_full);
            if state.number != number {
                return;
            }
        }
        self.push(&mut state, kind, body.to_vec());
    }

    /// Queues transfer records of the connection of this number, and drops those of an earlier one.
    pub fn send_transfers(&self, number: u64, bodies: impl IntoIterator<Item = Vec<u8>>) {
        let mut state = self.lock();
        if state.number == number {
            bodies.into_iter().for_each(|body| self.push(&mut state, RecordType::Binary, body));
        }
    }

    fn push(&self, state: &mut State, kind: RecordType, body: Vec<u8>) {
        if state.closer.is_some() {
            state.bytes += ENTRY_BYTES + body.len();
            state.queue.push_back((kind, body));
            // Otherwise the thread takes it after those before it, without waiting.
            if state.queue.len() == 1 {
                self.shared.changed.notify_all();
            }
        }
    }

    /// Number of the connection, which increases with each end of one.
    pub fn number(&self) -> u64 {
        self.lock().number
    }

    /// Sets what is called when there is room again after `has_room` has found none.
    pub fn wakes(&self, wakes: impl Fn() + Send + 'static) {
        self.lock().wakes = Some(Box::new(wakes));
    }

    /// Returns whether a piece of a file may be queued. Requests are not kept behind more of them.
    pub fn has_room(&self) -> bool {
        let mut state = self.lock();
        state.waits_for_room = state.bytes >= ROOM_BYTES;
        !state.waits_for_room
    }

    /// Cuts the connection, if any.
    pub fn cut(&self) {
        if let Some(closer) = &self.lock().closer {
            closer.cut();
        }
    }

    /// Says goodbye behind the queued records and closes, if connected. Waits at most
    /// `END_PATIENCE`.
    pub fn quit(&self) {
        let mut state = self.lock();
        self.push(&mut state, RecordType::Close, Vec::new());
        let number = state.number;
        let is_busy = |state: &mut State| state.number == number && state.bytes > 0;
        let changed = &self.shared.changed;
        let mut state = changed.wait_timeout_while(state, END_PATIENCE, is_busy);
        if is_busy(&mut state)
            && let Some(closer) = &state.closer
        {
            closer.cut();
        }
        state.end();
        self.shared.changed.notify_all();
    }

    /// Drops the queue of a connection that has ended.
    pub fn clear(&self) {
        self.lock().end();
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl State {
    fn end(&mut self) {
        self.number += 1;
        (self.closer, self.sent, self.bytes) = (None, None, 0);
        self.queue.clear();
        self.wake();
    }

    /// Returns whether a request, or the end, may wait for this.
    fn wrote(&mut self, bytes: usize) -> bool {
        let was_full = self.bytes > QUEUE_BYTES_MAX;
        self.bytes -= bytes;
        self.wake();
        was_full || self.bytes == 0
    }

    /// Wakes the engine if it waits for room.
    fn wake(&mut self) {
        if self.bytes < ROOM_BYTES
            && std::mem::take(&mut self.waits_for_room)
            && let Some(wakes) = &self.wakes
        {
            wakes();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Writes the records of a connection until it ends.
    fn write(&self, number: u64, mut half: TunnelWriter) {
        let mut batch = Vec::new();
        while self.next(number, &mut batch) {
            let written = match batch.first() {
                Some((RecordType::Close, _)) => {
                    half.close("quit");
                    Ok(())
                }
                _ => half.send_all(batch.iter().map(|(kind, body)| (*kind, &body[..]))),
            };
            let bytes = batch.drain(..).map(|(_, body)| ENTRY_BYTES + body.len()).sum();
            let mut state = self.lock();
            if state.number == number {
                let wakes = match written {
                    Ok(()) => state.wrote(bytes),
                    // The reading half may wait for the runtime, and the runtime for this queue.
                    Err(_) => {
                        state.end();
                        true
                    }
                };
                if wakes {
                    self.changed.notify_all();
                }
            }
            drop(state);
            if written.is_err() {
                half.closer().cut();
            }
        }
    }

    /// Waits for the next records that can be written together; the close is written alone. Returns
    /// false once the connection has ended.
    fn next(&self, number: u64, batch: &mut Vec<(RecordType, Vec<u8>)>) -> bool {
        let is_idle = |state: &mut State| state.number == number && state.queue.is_empty();
        let mut state = self.changed.wait_while(self.lock(), is_idle);
        if state.number != number {
            return false;
        }
        let mut bytes = 0;
        let mut fits = |(kind, body): &mut (RecordType, Vec<u8>)| {
            bytes += body.len();
            bytes <= BATCH_BYTES && *kind != RecordType::Close
        };
        while let Some(record) = state.queue.pop_front_if(&mut fits) {
            batch.push(record);
        }
        if batch.is_empty() {
            batch.extend(state.queue.pop_front());
        }
        true
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
