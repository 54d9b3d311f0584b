//! One upload: which bytes of its file are written and synced, and which transfer writes them.
//!
//! The session's thread writes and never syncs. The lock of `Progress` is held while bytes are
//! written and while HAVE and events about the upload are sent. Of two transfers of one file, only
//! the later one writes, and the client receives HAVE and events in their order.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::downloads::Downloads;
use super::kill::kill_point;
use super::ports::Ports;
use super::store::{Coming, StoreError};
use crate::chat::{BlobId, Event, FileBytes, Refusal};
use crate::ledger::{BlobLimits, NewBlob};
use crate::limits::{UPLOAD_AHEAD_BYTES, UPLOAD_SYNC_BYTES};
use crate::server::delivery::send_queue::SendQueue;
use crate::sync::{Mutex, MutexGuard, Rank};
use crate::wire::transfer::TransferRecord;

/// Bytes after which a transfer reports its progress although more are waiting to be read.
const REPORT_BYTES: u64 = 64 << 10;

/// Progress of an upload, in bytes.
#[derive(Clone, Copy)]
pub struct Reached {
    written: u64,
    /// Bytes that survive a loss of power.
    synced: u64,
}

/// An upload as a client asks for it.
pub struct Wanted {
    pub new: NewBlob,
    pub limits: BlobLimits,
    /// Bytes of the disk that files leave for everything else.
    pub reserve: u64,
    pub unfinished_ms: i64,
}

/// Bounds on bytes that are written and not synced.
#[derive(Clone, Copy)]
pub struct Ahead {
    /// Bytes that are accepted beyond the last sync.
    pub bytes: u64,
    /// Bytes after which a sync begins.
    pub sync_bytes: u64,
}

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead { bytes: UPLOAD_AHEAD_BYTES, sync_bytes: UPLOAD_SYNC_BYTES }
    }
}

/// What uploads use of the server.
#[derive(Clone)]
pub struct Means {
    pub ports: Arc<Ports>,
    pub downloads: Arc<Downloads>,
    pub ahead: Ahead,
}

/// What is left of an upload that is over. The next transfer of the file opens it again.
pub enum Left {
    Nothing,
    /// An unfinished file.
    Unfinished(Reached),
    /// A file of which the ledger knows nothing.
    Unknown,
}

/// Runs when an upload is over, under the lock of its progress.
pub type WhenOver = Box<dyn Fn(&Progress, Left) + Send + Sync>;

/// A file whose upload has not ended.
pub struct Progress {
    means: Means,
    when_over: WhenOver,
    stored: BlobId,
    blob: BlobId,
    bytes: u64,
    coming: Arc<dyn Coming>,
    /// When the file was opened: monotonic, and by the clock in milliseconds since 1970.
    opened: (Instant, i64),
    /// A complete file that no message announces is removed after this time, in milliseconds.
    unfinished_ms: i64,
    state: Mutex<State>,
}

struct State {
    reached: Reached,
    /// Bytes after which the last sync began.
    asked: u64,
    /// Syncs that have not ended.
    syncs: usize,
    /// The last sync and the rename have begun.
    keeping: bool,
    /// The upload has ended: another transfer has to reopen the file.
    is_over: bool,
    writer: Option<Writer>,
    writers: u64,
}

/// The transfer that sends the bytes.
struct Writer {
    number: u64,
    queue: Arc<SendQueue>,
    transfer: u32,
}

/// A transfer of a session.
pub struct Upload {
    /// Dropped, with its open file, when the upload ends.
    progress: Weak<Progress>,
    number: u64,
    reported: u64,
}

/// The outcome of a DATA record.
#[derive(Debug, PartialEq)]
pub enum Taken {
    Written,
    /// The server has already ended the transfer.
    Over,
    /// The transfer ends with this refusal.
    Stopped(Refusal),
    /// The client has broken a rule of the protocol.
    Violation,
}

impl Reached {
    /// The progress of a renamed file: a file is synced before it is renamed.
    pub fn whole(bytes: u64) -> Reached {
        Reached { written: bytes, synced: bytes }
    }

    /// The progress of an unfinished file of `length` bytes. Of bytes from an earlier run of the
    /// server, the last `ahead.bytes` count as not written: a loss of power may have damaged them.
    pub fn of_file(resting: Option<Reached>, length: u64, ahead: Ahead) -> Reached {
        let certain = Reached::whole(length.saturating_sub(ahead.bytes));
        resting.filter(|resting| resting.written <= length).unwrap_or(certain)
    }
}

impl State {
    fn is_written_by(&self, number: u64) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.number == number)
    }
}

impl Progress {
    pub fn new(
        (means, when_over): (Means, WhenOver),
        wanted: &Wanted,
        stored: BlobId,
        (coming, reached): (Arc<dyn Coming>, Reached),
    ) -> Progress {
        let state = State {
            reached,
            // Bytes of an earlier transfer count too: without a sync of them the client would wait
            // for a higher limit for ever.
            asked: reached.synced,
            syncs: 0,
            keeping: false,
            is_over: false,
            writer: None,
            writers: 0,
        };
        Progress {
            means,
            when_over,
            stored,
            blob: wanted.new.blob,
            bytes: wanted.new.bytes,
            coming,
            opened: (Instant::now(), wanted.new.now_ms),
            unfinished_ms: wanted.unfinished_ms,
            state: Mutex::new(Rank::Progress, state),
        }
    }

    /// The name of the file in the store, and its size.
    pub fn row(&self) -> (BlobId, u64) {
        (self.stored, self.bytes)
    }

    pub fn is_of(&self, bytes: u64) -> bool {
        self.bytes == bytes
    }

    /// Ends the upload. The refusal is sent to its transfer.
    pub fn end(&self, refusal: &Refusal) {
        self.end_with(&mut self.lock(), refusal, Left::Nothing);
    }

    /// Closes the file if nothing needs it.
    pub fn rest(&self) {
        self.rest_in(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn limit(&self, state: &State) -> u64 {
        self.bytes.min(state.reached.synced.saturating_add(self.means.ahead.bytes))
    }

    /// Sends HAVE: at once, or as soon as nothing else waits for the session.
    fn report(&self, state: &State) {
        let Some(Writer { queue, transfer, .. }) = &state.writer else { return };
        let (transfer, written, limit) = (*transfer, state.reached.written, self.limit(state));
        self.means.downloads.report(queue, TransferRecord::Have { transfer, written, limit });
    }

    /// Detaches the transfer that sends the bytes. No HAVE is sent to it afterwards.
    fn take_writer(&self, state: &mut State) -> Option<Writer> {
        let writer = state.writer.take()?;
        self.means.downloads.drop_report(&writer.queue, writer.transfer);
        Some(writer)
    }

    /// Ends the transfer that sends the bytes, with this refusal.
    fn stop(&self, state: &mut State, refusal: &Refusal) {
        if let Some(Writer { queue, transfer, .. }) = self.take_writer(state) {
            self.means.ports.stop(&queue, transfer, refusal);
        }
    }

    /// Ends the upload: the next transfer reopens the file. Returns the transfer that has sent the
    /// bytes.
    fn end_in(&self, state: &mut State, left: Left) -> Option<Writer> {
        let writer = self.take_writer(state);
        state.is_over = true;
        (self.when_over)(self, left);
        writer
    }

    fn end_with(&self, state: &mut State, refusal: &Refusal, left: Left) {
        self.stop(state, refusal);
        self.end_in(state, left);
    }

    /// Closes the file if nothing needs it.
    fn rest_in(&self, state: &mut State) {
        if state.writer.is_none() && state.syncs == 0 && !state.keeping && !state.is_over {
            self.end_in(state, Left::Unfinished(state.reached));
        }
    }

    /// Attaches a transfer, which sends the bytes from now on, and ends the previous one. Returns
    /// `None` if the file has to be reopened.
    pub fn attach(
        self: &Arc<Self>,
        (queue, transfer): (&Arc<SendQueue>, u32),
        answer: &mut dyn FnMut((u64, u64)),
    ) -> Option<Upload> {
        let mut state = self.lock();
        if state.is_over {
            return None;
        }
        self.stop(&mut state, &Refusal::UploadContinuedElsewhere);
        state.writers += 1;
        let (number, reported) = (state.writers, state.reached.written);
        state.writer = Some(Writer { number, queue: Arc::clone(queue), transfer });
        answer((reported, self.limit(&state)));
        Some(Upload { progress: Arc::downgrade(self), number, reported })
    }

    /// Syncs the bytes written so far, on the thread for files.
    fn sync(self: &Arc<Self>, state: &mut State) {
        let upto = state.reached.written;
        (state.asked, state.syncs) = (upto, state.syncs + 1);
        let own = Arc::clone(self);
        self.means.ports.push(Box::new(move || {
            let synced = own.coming.sync();
            let mut state = own.lock();
            state.syncs -= 1;
            match synced {
                _ if state.is_over => {}
                Ok(()) => {
                    state.reached.synced = state.reached.synced.max(upto);
                    own.report(&state);
                    own.rest_in(&mut state);
                }
                Err(error) => own.fails(&mut state, &error),
            }
        }));
    }

    /// Ends the upload after an error of the store.
    fn fails(&self, state: &mut State, error: &StoreError) {
        log::error!("an upload has failed: {error}");
        self.end_with(state, &refusal(error), Left::Nothing);
    }

    /// Syncs and renames the complete file on the thread for files. Then records it in the ledger
    /// and sends `kept` to the client.
    fn keep(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.keeping, true) {
            return;
        }
        let own = Arc::clone(self);
        self.means.ports.push(Box::new(move || {
            let synced = own.coming.sync();
            kill_point("synced");
            // Removals run on this thread too: none can run between this check and the rename.
            // After a failed sync the upload is over: a later sync may succeed without the bytes.
            if own.lock().is_over {
                return;
            }
            let kept = synced.and_then(|()| own.means.ports.store().keep(own.stored));
            kill_point("renamed");
            match kept {
                Ok(()) => own.enter(),
                Err(error) => own.fails(&mut own.lock(), &error),
            }
        }));
    }

    /// Records the complete file in the ledger.
    fn enter(self: &Arc<Self>) {
        let own = Arc::clone(self);
        let (opened, opened_ms) = own.opened;
        let until_ms = opened_ms + opened.elapsed().as_millis() as i64 + own.unfinished_ms;
        self.means.ports.ledger(Box::new(move |ledger| {
            let kept = ledger.blobs().keep_blob(own.stored, until_ms);
            kill_point("row-kept");
            let mut state = own.lock();
            match kept {
                Ok(true) => {
                    if let Some(Writer { queue, .. }) = own.end_in(&mut state, Left::Nothing) {
                        let event = Event::Kept { blob: own.blob, until_ms, reference: None };
                        own.means.ports.answer(&queue, &event);
                    }
                }
                Ok(false) => {
                    own.end_with(&mut state, &Refusal::FileRemoved, Left::Unknown);
                }
                Err(error) => {
                    log::error!("a complete file cannot be recorded: {error}");
                    own.end_with(&mut state, &Refusal::Storage, Left::Nothing);
                }
            }
        }));
    }
}

impl Upload {
    /// Writes bytes of DATA.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) -> Taken {
        let Some(progress) = self.progress.upgrade() else { return Taken::Over };
        let mut state = progress.lock();
        if !state.is_written_by(self.number) {
            return Taken::Over;
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != state.reached.written || end > progress.limit(&state) {
            progress.take_writer(&mut state);
            progress.rest_in(&mut state);
            return Taken::Violation;
        }
        if let Err(error) = progress.coming.append_at(offset, bytes) {
            if !matches!(error, StoreError::Full { .. }) {
                log::error!("a file cannot be written: {error}");
            }
            progress.end_in(&mut state, Left::Nothing);
            return Taken::Stopped(refusal(&error));
        }
        state.reached.written = end;
        kill_point("bytes");
        if end == progress.bytes {
            progress.keep(&mut state);
        } else if end - state.asked >= progress.means.ahead.sync_bytes {
            progress.sync(&mut state);
        }
        if end - self.reported >= REPORT_BYTES {
            self.reported = end;
            progress.report(&state);
        }
        Taken::Written
    }

    /// Completes the upload at once if no byte is missing. Syncs what an earlier transfer has
    /// written if it is much.
    pub fn begin(&self) {
        let Some(progress) = self.progress.upgrade() else { return };
        let mut state = progress.lock();
        let written = state.reached.written;
        if written == progress.bytes {
            progress.keep(&mut state);
        } else if written - state.asked >= progress.means.ahead.sync_bytes {
            progress.sync(&mut state);
        }
    }

    /// Reports the progress, if there is any: nothing more is waiting to be read.
    pub fn report(&mut self) {
        let Some(progress) = self.progress.upgrade() else { return };
        let state = progress.lock();
        if state.reached.written > self.reported && state.is_written_by(self.number) {
            self.reported = state.reached.written;
            progress.report(&state);
        }
    }

    /// Whether the server has ended the transfer.
    pub fn is_over(&self) -> bool {
        let progress = self.progress.upgrade();
        progress.is_none_or(|progress| !progress.lock().is_written_by(self.number))
    }
}

impl Drop for Upload {
    /// The session, or its client, ends the transfer: the file stays unfinished.
    fn drop(&mut self) {
        let Some(progress) = self.progress.upgrade() else { return };
        let mut state = progress.lock();
        if state.is_written_by(self.number) {
            progress.take_writer(&mut state);
            progress.rest_in(&mut state);
        }
    }
}

/// The refusal that reports an error of the store.
pub fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full { .. } => Refusal::NoRoom,
        _ => Refusal::Storage,
    }
}

/// Returns the event that answers `put`.
pub fn begun(
    (transfer, blob): (u32, BlobId),
    (have, limit): (u64, u64),
    reference: Option<String>,
) -> Event {
    Event::Upload { transfer, blob, have: FileBytes(have), limit: FileBytes(limit), reference }
}
