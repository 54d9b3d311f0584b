//! Downloads: one thread serves all of them in turn, a block at a time, and only while nothing else
//! is queued for the session. A file is open only while it is read, so few files are open at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ports::Ports;
use super::store::Kept;
use crate::chat::{BlobId, Conversation, Refusal, SessionId};
use crate::limits::FILE_RECORD_BYTES_MIN;
use crate::server::delivery::send_queue::{Offered, SendQueue};
use crate::sync::{Mutex, Rank};
use crate::wire::transfer::{DATA_BYTES_MAX, TransferRecord};

/// Bytes of one turn: four full records.
const TURN_BYTES: u64 = 4 * DATA_BYTES_MAX as u64;
/// The thread looks again after this time, whether it was woken or not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Ends of records that are stored for a download: those of a window of small pieces.
const ENDS_MAX: usize = 64;
/// Files that are open at once. `admission/capacity.rs` counts these.
const OPEN_FILES_MAX: usize = 8;

/// A transfer of a session.
type Key = (SessionId, u32);

/// A download and how far it is.
pub struct Download {
    pub queue: Arc<SendQueue>,
    pub transfer: u32,
    pub conversation: Conversation,
    pub stored: BlobId,
    pub next: u64,
    pub bytes: u64,
}

struct Running {
    download: Download,
    /// The client accepts bytes before this one.
    upto: u64,
    /// Offsets at which a record ends: those that the client has accepted, one after the other.
    ends: VecDeque<u64>,
    /// Whether it is in `order`.
    waits: bool,
    /// The user has exceeded the rate of files until then.
    resumes: Option<Instant>,
}

impl Running {
    fn waits_at(&self, now: Instant) -> bool {
        self.resumes.is_some_and(|resumes| now < resumes)
    }
}

#[derive(Default)]
struct State {
    running: BTreeMap<Key, Running>,
    /// Downloads whose clients accept more bytes.
    order: VecDeque<Key>,
    /// HAVE of uploads whose session had other bytes queued.
    reports: BTreeMap<Key, (Arc<SendQueue>, TransferRecord<'static>)>,
}

/// What a turn of a download needs.
struct Turn {
    queue: Arc<SendQueue>,
    conversation: Conversation,
    stored: BlobId,
    next: u64,
    upto: u64,
    ends: VecDeque<u64>,
}

pub struct Downloads {
    ports: Arc<Ports>,
    state: Mutex<State>,
}

/// The files that are open, the last one read in front.
#[derive(Default)]
pub(super) struct Open(VecDeque<(Key, Arc<dyn Kept>)>);

impl Downloads {
    pub fn new(ports: Arc<Ports>) -> Downloads {
        Downloads { ports, state: Mutex::new(Rank::Downloads, State::default()) }
    }

    /// Adds a download. The removal of its file ends it.
    pub fn add(&self, download: Download) {
        let key = (download.queue.id, download.transfer);
        let upto = download.next;
        let ends = VecDeque::new();
        let running = Running { download, upto, ends, waits: false, resumes: None };
        self.state.lock().running.insert(key, running);
    }

    /// Returns whether a download has not ended.
    pub fn is_running(&self, key: Key) -> bool {
        self.state.lock().running.contains_key(&key)
    }

    /// Accepts bytes before `upto`.
    pub fn want(&self, key: Key, upto: u64) {
        let mut state = self.state.lock();
        let State { running, order, .. } = &mut *state;
        let Some(running) = running.get_mut(&key) else { return };
        let upto = upto.min(running.download.bytes);
        if upto > running.upto {
            running.upto = upto;
            running.ends.truncate(ENDS_MAX - 1);
            running.ends.push_back(upto);
        }
        if running.download.next < running.upto && !running.waits {
            running.waits = true;
            order.push_back(key);
        }
    }

    /// Ends a download. Returns whether there was one.
    pub fn end(&self, key: Key) -> bool {
        let mut state = self.state.lock();
        state.order.retain(|one| *one != key);
        state.running.remove(&key).is_some()
    }

    /// Ends all transfers of a session.
    pub fn forget(&self, session: SessionId) {
        let mut state = self.state.lock();
        state.order.retain(|one| one.0 != session);
        state.running.retain(|one, _| one.0 != session);
        state.reports.retain(|one, _| one.0 != session);
    }

    /// Returns how many downloads a session has.
    pub fn count(&self, session: SessionId) -> usize {
        let from = (session, 0);
        self.state.lock().running.range(from..=(session, u32::MAX)).count()
    }

    /// Ends the downloads of files that were removed: no byte of them is sent after this call.
    pub fn removed(&self, is: impl Fn(&Download) -> bool, refusal: &Refusal) {
        let ended: Vec<(Arc<SendQueue>, u32)> = {
            let mut state = self.state.lock();
            let keys = state.running.iter().filter(|(_, running)| is(&running.download));
            let keys: Vec<Key> = keys.map(|(key, _)| *key).collect();
            state.order.retain(|key| !keys.contains(key));
            let gone = keys.iter().filter_map(|key| state.running.remove(key));
            gone.map(|running| (running.download.queue, running.download.transfer)).collect()
        };
        ended.iter().for_each(|(queue, transfer)| self.ports.stop(queue, *transfer, refusal));
    }

    /// Sends HAVE of an upload, at once or as soon as nothing else is queued for the session. It
    /// replaces a HAVE that is still queued, so that the client never receives an older one later.
    pub(super) fn report(&self, queue: &Arc<SendQueue>, have: TransferRecord<'static>) {
        let key = (queue.id, have.transfer());
        let mut state = self.state.lock();
        if state.reports.contains_key(&key) || !self.ports.send(queue, have) {
            state.reports.insert(key, (Arc::clone(queue), have));
        }
    }

    /// Drops the report of an upload that has ended.
    pub(super) fn drop_report(&self, queue: &SendQueue, transfer: u32) {
        self.state.lock().reports.remove(&(queue.id, transfer));
    }

    /// Sends the reports that wait.
    pub(super) fn send_reports(&self) {
        let mut state = self.state.lock();
        state.reports.retain(|_, (queue, have)| !queue.is_over() && !self.ports.send(queue, *have));
    }

    /// Takes the next download whose session has room, and whose user has not exceeded the rate,
    /// out of `order`, and returns its turn.
    fn next(&self, now: Instant) -> Option<(Key, Turn)> {
        let mut state = self.state.lock();
        let State { running, order, .. } = &mut *state;
        let is_ready = |one: &Running| {
            let queue = &one.download.queue;
            queue.is_over() || (!one.waits_at(now) && !queue.is_behind())
        };
        while let Some(at) = order.iter().position(|key| running.get(key).is_none_or(is_ready)) {
            let key = order.remove(at)?;
            let Some(one) = running.get_mut(&key) else { continue };
            one.waits = false;
            let Download { queue, conversation, stored, next, .. } = &one.download;
            if queue.is_over() {
                // Its session's thread removes it.
                continue;
            }
            let turn = Turn {
                queue: Arc::clone(queue),
                conversation: conversation.clone(),
                stored: *stored,
                next: *next,
                upto: one.upto.min(next + TURN_BYTES),
                ends: one.ends.clone(),
            };
            return Some((key, turn));
        }
        None
    }

    /// Returns the time until a download may go on that had to wait at `now`.
    fn until_next(&self, now: Instant) -> Duration {
        let state = self.state.lock();
        let waiting = state.order.iter().filter_map(|key| state.running.get(key));
        let waiting = waiting.filter(|one| one.waits_at(now)).filter_map(|one| one.resumes);
        let next = waiting.min().map_or(LOOK_EVERY, |resumes| resumes - now);
        next.min(LOOK_EVERY)
    }

    /// Charges the user for the bytes of a turn. The download waits while the debt is not paid.
    fn charge(&self, key: Key, queue: &SendQueue, bytes: u64) {
        let resumes = self.ports.pay(queue, bytes).map(|wait| Instant::now() + wait);
        if let Some(running) = self.state.lock().running.get_mut(&key) {
            running.resumes = resumes;
        }
    }

    /// Sends the records before the byte `next`, unless the download has ended. Returns whether
    /// they were sent.
    pub(super) fn send(&self, key: Key, next: u64, records: &[TransferRecord<'_>]) -> bool {
        let mut state = self.state.lock();
        let Some(running) = state.running.get_mut(&key) else { return false };
        let offered = running.download.queue.transfer(records);
        match offered {
            Offered::Taken | Offered::Blocked => running.download.next = next,
            _ => return false,
        }
        running.ends.retain(|end| *end > next);
        if offered == Offered::Blocked {
            self.ports.watch(&running.download.queue);
        }
        if next == running.download.bytes {
            state.running.remove(&key);
        }
        true
    }

    /// Serves downloads until the process ends.
    pub fn run(&self) {
        let (mut buffer, mut open) = (Vec::new(), Open::default());
        loop {
            let now = Instant::now();
            if !self.turn(&mut open, &mut buffer) {
                self.ports.wait(self.until_next(now));
            }
        }
    }

    /// Sends reports, and the bytes of one turn. Returns whether there were any to send.
    pub(super) fn turn(&self, open: &mut Open, buffer: &mut Vec<u8>) -> bool {
        self.send_reports();
        let next = self.next(Instant::now());
        // A removed file occupies the disk until it is closed. The close may take long, because it
        // frees the blocks: it must not run under the lock.
        open.0.retain(|(key, _)| self.is_running(*key));
        let Some((key, turn)) = next else { return false };
        match self.file(key, turn.stored, open) {
            Some(file) => {
                let bytes = self.serve(key, &turn, &*file, buffer);
                self.charge(key, &turn.queue, bytes);
            }
            None => self.fail(key, &turn, &Refusal::FileLost),
        }
        // Queues the download again, last, if the client accepts more.
        self.want(key, 0);
        true
    }

    /// Returns the file of a download, open.
    fn file(&self, key: Key, stored: BlobId, open: &mut Open) -> Option<Arc<dyn Kept>> {
        let opened =
            match open.0.iter().position(|one| one.0 == key).and_then(|at| open.0.remove(at)) {
                Some((_, file)) => file,
                None => match self.ports.store().open(stored) {
                    Ok(file) => file,
                    Err(error) => {
                        log::error!("a file that was announced cannot be read: {error}");
                        return None;
                    }
                },
            };
        open.0.push_front((key, Arc::clone(&opened)));
        open.0.truncate(OPEN_FILES_MAX);
        Some(opened)
    }

    /// Sends the bytes of one turn, read and sent in one call each. Returns how many its user pays
    /// for.
    fn serve(&self, key: Key, turn: &Turn, file: &dyn Kept, buffer: &mut Vec<u8>) -> u64 {
        let wanted = (turn.upto - turn.next) as usize;
        buffer.resize(TURN_BYTES as usize, 0);
        let bytes = match file.read_at(turn.next, &mut buffer[..wanted]) {
            Ok(read) if read == wanted => &buffer[..read],
            failed => {
                if let Err(error) = failed {
                    log::error!("a file cannot be read: {error}");
                }
                self.fail(key, turn, &Refusal::FileLost);
                return 0;
            }
        };
        // The read may have been slow: the user may have left in between.
        if !self.ports.may_read(turn.queue.id, &turn.conversation) {
            self.fail(key, turn, &Refusal::NoSuchFile);
            return 0;
        }
        let parts = parts(bytes, (turn.next, &turn.ends));
        let transfer = key.1;
        let records: Vec<TransferRecord> = parts
            .iter()
            .map(|&(offset, bytes)| TransferRecord::Data { transfer, offset, bytes })
            .collect();
        if !self.send(key, turn.upto, &records) {
            return 0;
        }
        let paid = |(_, bytes): &(u64, &[u8])| (bytes.len() as u64).max(FILE_RECORD_BYTES_MIN);
        parts.iter().map(paid).sum()
    }

    fn fail(&self, key: Key, turn: &Turn, refusal: &Refusal) {
        if self.end(key) {
            self.ports.stop(&turn.queue, key.1, refusal);
        }
    }
}

/// Cuts the bytes from an offset on into those of records, also at the wanted ends.
fn parts<'a>(
    mut bytes: &'a [u8],
    (mut offset, ends): (u64, &VecDeque<u64>),
) -> Vec<(u64, &'a [u8])> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let end = ends.iter().find(|end| **end > offset);
        let most = end.map_or(u64::MAX, |end| end - offset).min(DATA_BYTES_MAX as u64);
        let (part, rest) = bytes.split_at(bytes.len().min(most as usize));
        parts.push((offset, part));
        offset += part.len() as u64;
        bytes = rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_at_wanted_ends_and_at_their_size() {
        let bytes = vec![7; 40_000];
        let sizes = |from: u64, ends: &[u64]| -> Vec<usize> {
            let ends = ends.iter().copied().collect();
            let parts = parts(&bytes, (from, &ends));
            let mut next = from;
            for (offset, part) in &parts {
                assert_eq!(*offset, next);
                next += part.len() as u64;
            }
            assert_eq!(next, from + 40_000);
            parts.iter().map(|(_, part)| part.len()).collect()
        };
        assert_eq!(sizes(0, &[40_000]), [16_368, 16_368, 7_264]);
        assert_eq!(sizes(500, &[100, 500, 2_500, 40_500]), [2_000, 16_368, 16_368, 5_264]);
        assert_eq!(sizes(0, &[]), [16_368, 16_368, 7_264]);
    }
}
