//! Encrypted files on the server's disk: uploads, downloads, and what removes them. The ledger has
//! a row for each file (`ledger/blobs.rs`); the order of writes is row, bytes, sync, rename, row,
//! `kept`, so that a message never announces a file that is not there.

#[cfg(test)]
pub mod doubles;
pub mod downloads;
mod kill;
pub mod ports;
pub mod progress;
pub mod store;
#[cfg(test)]
mod store_tests;
mod sweep;
#[cfg(test)]
mod sweep_tests;
pub mod uploads;
mod worker;
#[cfg(test)]
mod world_tests;

use std::collections::HashSet;
use std::sync::Arc;

use super::hub::Hub;
use super::stop::{Stop, essential};
use crate::chat::{BlobId, Conversation, Refusal};
use crate::ledger::BlobTotals;
use crate::sync::Snapshot;
use downloads::Downloads;
pub use kill::kill_point;
use ports::Ports;
use progress::Ahead;
use store::{BlobStore, Place};
pub use sweep::Sweep;
use uploads::Uploads;
use worker::Worker;

/// The files of a server.
pub struct Files {
    ports: Arc<Ports>,
    uploads: Uploads,
    downloads: Arc<Downloads>,
    /// What all files take, as of the last sweep.
    totals: Snapshot<BlobTotals>,
}

impl Files {
    /// Starts the thread for syncs, renames and removals.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: Arc<dyn BlobStore>, stop: &Arc<Stop>) -> anyhow::Result<Arc<Files>> {
        let ports = Ports::new(store, Worker::start(stop)?);
        Ok(Files::new(Arc::new(ports), Ahead::default()))
    }

    fn new(ports: Arc<Ports>, ahead: Ahead) -> Arc<Files> {
        let downloads = Arc::new(Downloads::new(Arc::clone(&ports)));
        let uploads = Uploads::new(Arc::clone(&ports), Arc::clone(&downloads), ahead);
        let totals = Snapshot::new(BlobTotals::default());
        Arc::new(Files { ports, uploads, downloads, totals })
    }

    /// Starts to serve downloads to the hub's sessions.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn serve(&self, hub: &Arc<Hub>, stop: &Arc<Stop>) -> anyhow::Result<()> {
        self.ports.connect(hub);
        let downloads = Arc::clone(&self.downloads);
        essential("downloads", stop, move || downloads.run())?;
        Ok(())
    }

    /// Returns what all files take, as of the last sweep.
    pub fn totals(&self) -> BlobTotals {
        *self.totals.get()
    }

    fn set_totals(&self, totals: BlobTotals) {
        self.totals.set(totals);
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    pub fn downloads(&self) -> &Downloads {
        &self.downloads
    }

    /// Handles files that the ledger has doomed: from now on nobody gets a byte of them, and they
    /// are removed from the store.
    pub fn doomed(self: &Arc<Self>, doomed: Vec<BlobId>) {
        if doomed.is_empty() {
            return;
        }
        kill_point("doomed");
        let removed: HashSet<&BlobId> = doomed.iter().collect();
        self.downloads.removed(|one| removed.contains(&one.stored), &Refusal::FileRemoved);
        self.remove_all(doomed);
    }

    /// Handles a detached conversation: ends the downloads of its files. Some of the files are
    /// doomed later, in parts.
    pub fn detached(&self, conversation: &Conversation) {
        self.downloads.removed(|one| one.conversation == *conversation, &Refusal::FileRemoved);
    }

    /// Removes doomed files from the store, on the thread for files, and then their rows. A failure
    /// is repeated by the sweep.
    pub fn remove_all(self: &Arc<Self>, doomed: Vec<BlobId>) {
        let own = Arc::clone(self);
        self.ports.push(Box::new(move || {
            let mut removed = doomed;
            removed.retain(|stored| own.remove(*stored));
            if removed.is_empty() {
                return;
            }
            // A file that a loss of power restores would have no row.
            if let Err(error) = own.ports.store().sync_removed(&removed) {
                log::error!("removed files stay in the ledger for now: {error}");
                return;
            }
            kill_point("unlinked");
            own.ports.ledger(Box::new(move |ledger| {
                if let Err(error) = ledger.blobs().bury_blobs(&removed) {
                    log::error!("removed files stay in the ledger for now: {error}");
                }
            }));
        }));
    }

    /// Removes a file from the store. Returns whether it is gone.
    fn remove(&self, stored: BlobId) -> bool {
        self.uploads.removed(stored);
        let store = self.ports.store();
        let mut places = [Place::Coming, Place::Kept].into_iter();
        let removed = places.try_for_each(|place| store.remove(stored, place).map(drop));
        if let Err(error) = &removed {
            log::error!("a file cannot be removed yet: {error}");
        }
        removed.is_ok()
    }
}
