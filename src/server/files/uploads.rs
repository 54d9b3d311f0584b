//! The uploads of the server, and how one begins. A file is open only while a transfer sends it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::downloads::Downloads;
use super::kill::kill_point;
use super::ports::{Ask, Ports, ask};
use super::progress::{Ahead, Left, Means, Progress, Reached, Upload, Wanted, WhenOver, refusal};
use super::store::{Place, StoreError};
use crate::chat::{BlobId, Refusal};
use crate::ledger::{Began, BlobState, stored_name};
use crate::server::delivery::send_queue::SendQueue;
use crate::sync::{Mutex, Rank};

/// Attempts to begin an upload whose file is removed meanwhile.
const ATTEMPTS: usize = 3;

/// The uploads of this run of the server, by the names of their files in the store.
#[derive(Clone)]
pub struct Uploads {
    means: Means,
    all: Arc<Mutex<All>>,
}

#[derive(Default)]
struct All {
    open: HashMap<BlobId, Arc<Progress>>,
    /// Unfinished files without a transfer. They are closed.
    resting: HashMap<BlobId, Reached>,
    /// Files without a row that are being removed: none of these names is opened.
    removing: HashSet<BlobId>,
}

/// The outcome of a request for an upload.
pub enum Begun {
    /// The file is complete; it is removed at this time.
    Kept {
        until_ms: i64,
    },
    Upload(Upload),
    /// The ledger refuses it.
    Refused(Began),
}

impl Uploads {
    pub fn new(ports: Arc<Ports>, downloads: Arc<Downloads>, ahead: Ahead) -> Uploads {
        let all = Arc::new(Mutex::new(Rank::Uploads, All::default()));
        Uploads { means: Means { ports, downloads, ahead }, all }
    }

    /// Begins or resumes an upload. Calls `answer` with the number of bytes that the server has and
    /// the limit, before any other record or event of the transfer is sent.
    ///
    /// # Errors
    /// The ledger or the store fails.
    pub fn begin(
        &self,
        run: Ask,
        wanted: &Wanted,
        (queue, transfer): (&Arc<SendQueue>, u32),
        answer: &mut dyn FnMut((u64, u64)),
    ) -> Result<Begun, Refusal> {
        for _ in 0..ATTEMPTS {
            let (new, limits) = (wanted.new.clone(), wanted.limits);
            let began = ask(run, move |ledger| ledger.blobs().begin_blob(&new, &limits))?;
            let is_new = match began {
                Began::Kept { until_ms } => return Ok(Begun::Kept { until_ms }),
                Began::Coming { is_new } => is_new,
                refused => return Ok(Begun::Refused(refused)),
            };
            kill_point("row-coming");
            let progress = match self.open(wanted) {
                Ok(Some(progress)) => progress,
                Ok(None) => continue,
                Err(error) => return Err(self.give_up(run, is_new, wanted, &error)),
            };
            kill_point("file-created");
            if !self.has_row(run, &progress)? {
                continue;
            }
            if let Some(upload) = progress.attach((queue, transfer), answer) {
                upload.begin();
                return Ok(Begun::Upload(upload));
            }
        }
        // A sync in front of the removal may take long.
        Err(Refusal::FileRemoving)
    }

    /// Returns the progress of a file, and opens the file for its first transfer. See
    /// [`Reached::of_file`] for bytes from an earlier run of the server. Returns `None` while the
    /// file is being removed.
    fn open(&self, wanted: &Wanted) -> Result<Option<Arc<Progress>>, StoreError> {
        let (blob, bytes) = (wanted.new.blob, wanted.new.bytes);
        let stored = stored_name(&wanted.new.conversation, blob);
        let known = |all: &All| all.open.get(&stored).cloned();
        let resting = {
            let all = self.all.lock();
            if let Some(known) = known(&all) {
                return Ok(known.is_of(bytes).then_some(known));
            }
            if all.removing.contains(&stored) {
                return Ok(None);
            }
            all.resting.get(&stored).copied()
        };
        let store = self.means.ports.store();
        let is_whole = store.look_up(stored)?.is_some_and(|found| found.is_kept(bytes));
        let coming = store.create(stored, bytes, wanted.reserve)?;
        let reached = match resting {
            _ if is_whole => Reached::whole(bytes),
            resting => Reached::of_file(resting, coming.length()?.min(bytes), self.means.ahead),
        };
        let own = self.clone();
        let when_over = Box::new(move |progress: &Progress, left| own.forget(progress, left));
        let server = (self.means.clone(), when_over as WhenOver);
        let progress = Progress::new(server, wanted, stored, (coming, reached));
        let mut all = self.all.lock();
        // Another session of the user may have opened the file in between.
        if let Some(known) = known(&all) {
            return Ok(known.is_of(bytes).then_some(known));
        }
        all.resting.remove(&stored);
        let progress = Arc::new(progress);
        all.open.insert(stored, Arc::clone(&progress));
        Ok(Some(progress))
    }

    /// Returns whether the row of an opened file still exists. If the row is removed later, the
    /// removal ends the upload. A file that was opened after the removal has no row.
    fn has_row(&self, run: Ask, progress: &Arc<Progress>) -> Result<bool, Refusal> {
        let (stored, bytes) = progress.row();
        let row = match ask(run, move |ledger| ledger.blobs().blob(stored)) {
            Ok(row) => row,
            Err(refusal) => {
                progress.rest();
                return Err(refusal);
            }
        };
        let has_row = row.is_some_and(|row| row.state == BlobState::Coming && row.bytes == bytes);
        if !has_row {
            progress.end(&Refusal::FileRemoved);
            self.remove_unknown(stored, &[Place::Coming]);
        }
        Ok(has_row)
    }

    /// Returns the refusal of an upload that the store cannot begin, and removes the row of a new
    /// upload. A resumed upload keeps its row, so that a temporary error loses none of its bytes.
    fn give_up(&self, run: Ask, is_new: bool, wanted: &Wanted, error: &StoreError) -> Refusal {
        if !matches!(error, StoreError::Full { .. }) {
            log::error!("an upload cannot begin: {error}");
        }
        if !is_new {
            return refusal(error);
        }
        let stored = stored_name(&wanted.new.conversation, wanted.new.blob);
        let cancelled = ask(run, move |ledger| {
            ledger.blobs().cancel_blob(stored)?;
            ledger.tell_doomed();
            Ok(())
        });
        cancelled.err().unwrap_or_else(|| refusal(error))
    }

    /// Ends the transfer of a file that was removed.
    pub fn removed(&self, stored: BlobId) {
        let progress = {
            let mut all = self.all.lock();
            all.resting.remove(&stored);
            all.open.get(&stored).cloned()
        };
        if let Some(progress) = progress {
            progress.end(&Refusal::FileRemoved);
        }
    }

    /// Closes a file: the next transfer reopens it.
    fn forget(&self, progress: &Progress, left: Left) {
        let (stored, _) = progress.row();
        let mut all = self.all.lock();
        if all.open.get(&stored).is_some_and(|known| std::ptr::eq(&**known, progress)) {
            all.open.remove(&stored);
            if let Left::Unfinished(reached) = left {
                all.resting.insert(stored, reached);
            }
        }
        drop(all);
        if matches!(left, Left::Unknown) {
            self.remove_unknown(stored, &[Place::Coming, Place::Kept]);
        }
    }

    /// Removes a file without a row, on the thread for files. Meanwhile no upload opens a file of
    /// this name. An upload that has already written its row prevents the removal.
    pub fn remove_unknown(&self, stored: BlobId, places: &'static [Place]) {
        let own = self.clone();
        self.means.ports.push(Box::new(move || {
            {
                let mut all = own.all.lock();
                if all.open.contains_key(&stored) || !all.removing.insert(stored) {
                    return;
                }
            }
            let ports = Arc::clone(&own.means.ports);
            ports.ledger(Box::new(move |ledger| {
                let state = ledger.blobs().blob(stored).map(|row| row.map(|row| row.state));
                let is_unknown = move |place: &&Place| match &state {
                    Ok(None | Some(BlobState::Gone(_))) => true,
                    Ok(Some(BlobState::Kept)) => **place == Place::Coming,
                    _ => false,
                };
                let places: Vec<Place> = places.iter().filter(is_unknown).copied().collect();
                let ports = Arc::clone(&own.means.ports);
                ports.push(Box::new(move || own.remove_now(stored, &places)));
            }));
        }));
    }

    fn remove_now(&self, stored: BlobId, places: &[Place]) {
        for place in places {
            match self.means.ports.store().remove(stored, *place) {
                Ok(true) => log::info!("the file {stored} is removed: nothing announces it"),
                Ok(false) => {}
                Err(error) => log::error!("a file that nothing announces stays: {error}"),
            }
        }
        self.all.lock().removing.remove(&stored);
    }
}
