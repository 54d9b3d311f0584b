//! What transfers need of the server: the store, the thread for files, the ledger's queue, and the
//! way to sessions.

use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::time::Duration;

use super::store::BlobStore;
use super::worker::Worker;
use crate::chat::{Conversation, Event, Refusal, SessionId};
use crate::ledger::{LedgerError, SplitLedger};
use crate::server::delivery::flusher::Deliver;
use crate::server::delivery::send_queue::{Offered, SendQueue};
use crate::server::hub::{Hub, Job};
use crate::wire::transfer::TransferRecord;

/// Adds a job to the ledger's queue.
pub type Ask<'a> = &'a dyn Fn(Job);

/// Runs a job on the ledger and waits for its result.
///
/// # Errors
/// The ledger fails, or the server stops.
pub fn ask<T: Send + 'static>(
    run: Ask,
    job: impl FnOnce(&mut SplitLedger) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Refusal> {
    let (done, result) = mpsc::channel();
    run(Box::new(move |ledger| {
        // The caller may have given up.
        let _ = done.send(job(ledger));
    }));
    result.recv().map_err(|_| Refusal::Storage)?.map_err(|error| {
        log::error!("{error}");
        Refusal::Storage
    })
}

pub struct Ports {
    store: Arc<dyn BlobStore>,
    worker: Worker,
    hub: OnceLock<Weak<Hub>>,
}

impl Ports {
    pub fn new(store: Arc<dyn BlobStore>, worker: Worker) -> Ports {
        Ports { store, worker, hub: OnceLock::new() }
    }

    /// Connects the hub, which is made after the files.
    pub fn connect(&self, hub: &Arc<Hub>) {
        let _ = self.hub.set(Arc::downgrade(hub));
    }

    pub fn store(&self) -> &dyn BlobStore {
        &*self.store
    }

    /// Adds a job to the queue of the thread for files.
    pub fn push(&self, job: Box<dyn FnOnce() + Send>) {
        self.worker.push(job);
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        self.hub.get().and_then(Weak::upgrade)
    }

    /// Adds a job to the ledger's queue.
    pub fn ledger(&self, job: Job) {
        if let Some(hub) = self.hub() {
            hub.ledger.add_job(job);
        }
    }

    pub fn answer(&self, queue: &Arc<SendQueue>, event: &Event) {
        if let Some(hub) = self.hub() {
            hub.delivery.answer(queue, event);
        }
    }

    /// Notifies a client that the server has ended a transfer.
    pub fn stop(&self, queue: &Arc<SendQueue>, transfer: u32, refusal: &Refusal) {
        let event = Event::Stopped { transfer, code: refusal.code(), hint: refusal.to_string() };
        self.answer(queue, &event);
    }

    /// Sends a transfer record if nothing else waits for the session. Returns false if it has to be
    /// sent later.
    pub fn send(&self, queue: &Arc<SendQueue>, record: TransferRecord<'_>) -> bool {
        match queue.transfer(&[record]) {
            Offered::Blocked => self.watch(queue),
            Offered::StillBlocked => return false,
            _ => {}
        }
        true
    }

    pub fn watch(&self, queue: &Arc<SendQueue>) {
        if let Some(hub) = self.hub() {
            hub.delivery.flusher().watch(Arc::clone(queue));
        }
    }

    /// Wakes the thread for downloads.
    pub fn ring(&self) {
        if let Some(hub) = self.hub() {
            hub.delivery.flusher().bell().ring();
        }
    }

    /// Waits until a session can be sent more, at most this long.
    pub fn wait(&self, time: Duration) {
        match self.hub() {
            Some(hub) => hub.delivery.flusher().bell().wait(time),
            None => std::thread::sleep(time),
        }
    }

    /// Charges for bytes of a download. Returns the time that it has to wait.
    pub fn pay(&self, queue: &SendQueue, bytes: u64) -> Option<Duration> {
        self.hub()?.pay_file_bytes(queue, bytes)
    }

    pub fn may_read(&self, session: SessionId, conversation: &Conversation) -> bool {
        self.hub().is_some_and(|hub| hub.reads(session, conversation))
    }
}
