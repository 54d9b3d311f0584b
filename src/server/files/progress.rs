//! One upload: which bytes of its file are written and synced, and which transfer writes them.
//!
//! The session's thread writes and never syncs. The lock of `Progress` is held while bytes are
//! written and while HAVE and events about the upload are sent. Of two transfers of one file, only
//! the later one writes, and the client receives HAVE and events in their order.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::kill::kill_point;
use super::store::{Coming, Place, StoreError};
use super::uploads::{Ahead, Uploads, Wanted};
use crate::chat::{BlobId, Event, FileBytes, Refusal};
use crate::server::delivery::send_queue::SendQueue;
use crate::sync::{Mutex, MutexGuard, Rank};

/// Bytes after which a transfer reports its progress although more are waiting to be read.
const REPORT_BYTES: u64 = 64 << 10;

/// Progress of an upload, in bytes.
#[derive(Clone, Copy)]
pub struct Reached {
    written: u64,
    /// Bytes that survive a loss of power.
    synced: u64,
}

/// A file whose upload has not ended.
pub struct Progress {
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
    uploads: Uploads,
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
    fn limit(&self, uploads: &Uploads, bytes: u64) -> u64 {
        bytes.min(self.reached.synced.saturating_add(uploads.ahead().bytes))
    }

    fn report(&self, uploads: &Uploads, bytes: u64) {
        let Some(Writer { queue, transfer, .. }) = &self.writer else { return };
        let limit = self.limit(uploads, bytes);
        uploads.report(queue, *transfer, (self.reached.written, limit));
    }

    fn is_written_by(&self, number: u64) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.number == number)
    }

    /// Detaches the transfer that sends the bytes. No HAVE is sent to it afterwards.
    fn take_writer(&mut self, uploads: &Uploads) -> Option<Writer> {
        let writer = self.writer.take()?;
        uploads.downloads().drop_report(&writer.queue, writer.transfer);
        Some(writer)
    }

    fn stop(&mut self, uploads: &Uploads, refusal: &Refusal) {
        if let Some(Writer { queue, transfer, .. }) = self.take_writer(uploads) {
            uploads.ports().stop(&queue, transfer, refusal);
        }
    }

    /// Ends the upload: the next transfer reopens the file. With a refusal, the current transfer
    /// gets it.
    fn end(&mut self, uploads: &Uploads, progress: &Progress, refusal: Option<&Refusal>) {
        self.is_over = true;
        match refusal {
            Some(refusal) => self.stop(uploads, refusal),
            None => drop(self.take_writer(uploads)),
        }
        uploads.forget(progress, None);
    }

    /// Closes the file if nothing needs it.
    fn rest(&mut self, uploads: &Uploads, progress: &Progress) {
        if self.writer.is_none() && self.syncs == 0 && !self.keeping && !self.is_over {
            self.is_over = true;
            uploads.forget(progress, Some(self.reached));
        }
    }
}

impl Progress {
    pub fn new(
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
    pub fn end(&self, uploads: &Uploads, refusal: &Refusal) {
        self.lock().end(uploads, self, Some(refusal));
    }

    /// Closes the file if nothing needs it.
    pub fn rest(&self, uploads: &Uploads) {
        self.lock().rest(uploads, self);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Attaches a transfer, which sends the bytes from now on, and ends the previous one. Returns
    /// `None` if the file has to be reopened.
    pub fn attach(
        self: &Arc<Self>,
        uploads: &Uploads,
        (queue, transfer): (&Arc<SendQueue>, u32),
        answer: &mut dyn FnMut((u64, u64)),
    ) -> Option<Upload> {
        let mut state = self.lock();
        if state.is_over {
            return None;
        }
        state.stop(uploads, &Refusal::UploadContinuedElsewhere);
        state.writers += 1;
        let (number, reported) = (state.writers, state.reached.written);
        state.writer = Some(Writer { number, queue: Arc::clone(queue), transfer });
        answer((reported, state.limit(uploads, self.bytes)));
        let (uploads, progress) = (uploads.clone(), Arc::downgrade(self));
        Some(Upload { uploads, progress, number, reported })
    }

    /// Syncs the bytes written so far, on the thread for files.
    fn sync(self: &Arc<Self>, uploads: &Uploads, state: &mut State) {
        let upto = state.reached.written;
        (state.asked, state.syncs) = (upto, state.syncs + 1);
        let (own, all) = (Arc::clone(self), uploads.clone());
        uploads.ports().push(Box::new(move || {
            let synced = own.coming.sync();
            let mut state = own.lock();
            state.syncs -= 1;
            match synced {
                _ if state.is_over => {}
                Ok(()) => {
                    state.reached.synced = state.reached.synced.max(upto);
                    state.report(&all, own.bytes);
                    state.rest(&all, &own);
                }
                Err(error) => own.fails(&all, &mut state, &error),
            }
        }));
    }

    /// Ends the upload after an error of the store.
    fn fails(&self, uploads: &Uploads, state: &mut State, error: &StoreError) {
        log::error!("an upload has failed: {error}");
        state.end(uploads, self, Some(&refusal(error)));
    }

    /// Syncs and renames the complete file on the thread for files. Then records it in the ledger
    /// and sends `kept` to the client.
    fn keep(self: &Arc<Self>, uploads: &Uploads, state: &mut State) {
        if std::mem::replace(&mut state.keeping, true) {
            return;
        }
        let (own, all) = (Arc::clone(self), uploads.clone());
        uploads.ports().push(Box::new(move || {
            let synced = own.coming.sync();
            kill_point("synced");
            // Removals run on this thread too: none can run between this check and the rename.
            // After a failed sync the upload is over: a later sync may succeed without the bytes.
            if own.lock().is_over {
                return;
            }
            let kept = synced.and_then(|()| all.ports().store().keep(own.stored));
            kill_point("renamed");
            match kept {
                Ok(()) => own.enter(&all),
                Err(error) => own.fails(&all, &mut own.lock(), &error),
            }
        }));
    }

    /// Records the complete file in the ledger.
    fn enter(self: Arc<Self>, uploads: &Uploads) {
        let (own, all) = (self, uploads.clone());
        let (opened, opened_ms) = own.opened;
        let until_ms = opened_ms + opened.elapsed().as_millis() as i64 + own.unfinished_ms;
        uploads.ports().ledger(Box::new(move |ledger| {
            let kept = ledger.blobs().keep_blob(own.stored, until_ms);
            kill_point("row-kept");
            let mut state = own.lock();
            match kept {
                Ok(true) => {
                    let writer = state.take_writer(&all);
                    state.end(&all, &own, None);
                    if let Some(Writer { queue, .. }) = writer {
                        let event = Event::Kept { blob: own.blob, until_ms, reference: None };
                        all.ports().answer(&queue, &event);
                    }
                }
                Ok(false) => {
                    state.end(&all, &own, Some(&Refusal::FileRemoved));
                    all.remove_unknown(own.stored, &[Place::Coming, Place::Kept]);
                }
                Err(error) => {
                    log::error!("a complete file cannot be recorded: {error}");
                    state.end(&all, &own, Some(&Refusal::Storage));
                }
            }
        }));
    }
}

impl Upload {
    /// Writes bytes of DATA.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) -> Taken {
        let uploads = &self.uploads;
        let Some(progress) = self.progress.upgrade() else { return Taken::Over };
        let mut state = progress.lock();
        if !state.is_written_by(self.number) {
            return Taken::Over;
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != state.reached.written || end > state.limit(uploads, progress.bytes) {
            state.take_writer(uploads);
            state.rest(uploads, &progress);
            return Taken::Violation;
        }
        if let Err(error) = progress.coming.append_at(offset, bytes) {
            if !matches!(error, StoreError::Full { .. }) {
                log::error!("a file cannot be written: {error}");
            }
            state.end(uploads, &progress, None);
            return Taken::Stopped(refusal(&error));
        }
        state.reached.written = end;
        kill_point("bytes");
        if end == progress.bytes {
            progress.keep(uploads, &mut state);
        } else if end - state.asked >= uploads.ahead().sync_bytes {
            progress.sync(uploads, &mut state);
        }
        if end - self.reported >= REPORT_BYTES {
            self.reported = end;
            state.report(uploads, progress.bytes);
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
            progress.keep(&self.uploads, &mut state);
        } else if written - state.asked >= self.uploads.ahead().sync_bytes {
            progress.sync(&self.uploads, &mut state);
        }
    }

    /// Reports the progress, if there is any: nothing more is waiting to be read.
    pub fn report(&mut self) {
        let Some(progress) = self.progress.upgrade() else { return };
        let state = progress.lock();
        if state.reached.written > self.reported && state.is_written_by(self.number) {
            self.reported = state.reached.written;
            state.report(&self.uploads, progress.bytes);
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
            state.take_writer(&self.uploads);
            state.rest(&self.uploads, &progress);
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
