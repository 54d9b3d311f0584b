//! The transfers of one session: what its requests for files and its transfer records lead to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::chat::registry::Query;
use crate::chat::{BlobId, Conversation, Event, FileBytes, FileInfo, Refusal, UserName};
use crate::crypto::file::Layout;
use crate::ledger::{
    Began, BlobLimits, BlobRow, BlobState, DropOutcome, LedgerError, NewBlob, SplitLedger, Why,
};
use crate::limits::{FILE_RECORD_BYTES_MIN, Limits, USAGE_FILES_MAX};
use crate::server::context::Context;
use crate::server::delivery::send_queue::SendQueue;
use crate::server::files::Files;
use crate::server::files::downloads::Download;
use crate::server::files::ports::ask;
use crate::server::files::progress::{Taken, Upload, Wanted, begun};
use crate::server::files::uploads::Begun;
use crate::server::hub::Job;
use crate::wire::transfer::TransferRecord;

/// DATA with fewer bytes, and WANT of fewer, costs a request: single bytes would cost more than
/// messages.
const FREE_BYTES: u64 = 1_024;

/// Whose transfers these are.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub context: &'a Arc<Context>,
    pub queue: &'a Arc<SendQueue>,
    pub user: &'a UserName,
}

/// What a transfer record leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Handled {
    Free,
    /// It costs the bytes of a file.
    Bytes(u64),
    /// It costs a request: it was of no use, or small.
    Paid,
    /// The client has broken a rule of the protocol.
    Violation(&'static str),
}

/// The bytes that records of a transfer may cover without costing a request. It outlives the
/// transfer: records that were in flight when the server ended it must not delay later records.
struct Allowance {
    /// Bytes that were sent, or wanted, so far.
    reached: u64,
    /// The size of the file.
    bytes: u64,
}

impl Allowance {
    /// Moves to `upto`. Returns whether that is free.
    fn moves(&mut self, upto: u64) -> bool {
        let before = self.reached;
        self.reached = before.max(upto.min(self.bytes));
        self.reached - before >= FREE_BYTES || (before < self.bytes && self.reached == self.bytes)
    }
}

#[derive(Default)]
pub struct Transfers {
    uploads: HashMap<u32, Upload>,
    /// The allowances of all running transfers and of the most recently ended ones.
    allowances: BTreeMap<u32, Allowance>,
    /// The newest transfer's number.
    last: u32,
}

/// Returns the size of the largest encrypted file that a server accepts.
pub fn largest(limits: &Limits) -> u64 {
    Layout::sealed(limits.file_bytes_max as u64).map_or(0, |layout| layout.stored())
}

impl Owner<'_> {
    fn files(&self) -> Result<&Arc<Files>, Refusal> {
        self.context.files.as_ref().ok_or(Refusal::NoFiles)
    }

    fn answer(&self, event: &Event) {
        self.context.hub.delivery.answer(self.queue, event);
    }

    /// Runs a job on the commit thread.
    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut SplitLedger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Refusal> {
        ask(&|job| self.context.hub.ledger.add_job(job), job)
    }
}

impl Transfers {
    /// Answers a request for files.
    pub fn query(
        &mut self,
        owner: Owner,
        query: Query,
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        match query {
            Query::Put { conversation, blob, bytes } => {
                self.put(owner, (conversation, blob, bytes.0), reference)
            }
            Query::Get { conversation, blob, from } => {
                self.get(owner, (conversation, blob, from.0), reference)
            }
            Query::Drop(blob) => drop_file(owner, blob, reference),
            Query::Usage => usage(owner, reference),
            _ => Err(Refusal::Unknown),
        }
    }

    /// Returns the number of a further transfer, if there may be one.
    fn next(&mut self, owner: Owner) -> Result<u32, Refusal> {
        let max = owner.context.config.get().limits.transfers_per_session_max;
        self.uploads.retain(|_, upload| !upload.is_over());
        let downloads = owner.files()?.downloads();
        if self.uploads.len() + downloads.count(owner.queue.id) >= max {
            return Err(Refusal::TooManyTransfers { max });
        }
        let ended = |number: &u32| {
            !self.uploads.contains_key(number) && !downloads.is_running((owner.queue.id, *number))
        };
        let ended: Vec<u32> = self.allowances.keys().copied().filter(ended).collect();
        for number in &ended[..ended.len().saturating_sub(max)] {
            self.allowances.remove(number);
        }
        self.last = self.last.checked_add(1).ok_or(Refusal::TooManyTransfers { max })?;
        Ok(self.last)
    }

    fn put(
        &mut self,
        owner: Owner,
        (conversation, blob, bytes): (Conversation, BlobId, u64),
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        let (files, config) = (owner.files()?, owner.context.config.get());
        let (limits, max) = (&config.limits, largest(&config.limits));
        if bytes == 0 {
            return Err(Refusal::EmptyFile);
        } else if bytes > max {
            let (bytes, max_bytes) = (FileBytes(bytes), FileBytes(max));
            return Err(Refusal::FileTooLarge { bytes, max_bytes });
        }
        let transfer = self.next(owner)?;
        let now_ms = owner.context.clock.time_ms();
        let unfinished_ms = limits.file_unfinished_s as i64 * 1000;
        let new = NewBlob {
            blob,
            owner: owner.user.clone(),
            conversation,
            bytes,
            now_ms,
            until_ms: now_ms + unfinished_ms,
            last_ms: now_ms + limits.file_age_s_max as i64 * 1000,
        };
        let reserve = limits.file_reserve_bytes as u64;
        let wanted = Wanted { new, limits: bounds(limits), reserve, unfinished_ms };
        let run: &dyn Fn(Job) = &|job| owner.context.hub.ledger.add_job(job);
        let mut have = 0;
        let began = files.uploads().begin(run, &wanted, (owner.queue, transfer), &mut |reached| {
            have = reached.0;
            owner.answer(&begun((transfer, blob), reached, reference.clone()));
        });
        match began? {
            Begun::Kept { until_ms } => owner.answer(&Event::Kept { blob, until_ms, reference }),
            Begun::Refused(began) => return Err(refused(owner, began, (bytes, limits))),
            Begun::Upload(upload) => {
                self.uploads.insert(transfer, upload);
                self.allowances.insert(transfer, Allowance { reached: have, bytes });
            }
        }
        Ok(())
    }

    fn get(
        &mut self,
        owner: Owner,
        (conversation, blob, from): (Conversation, BlobId, u64),
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        let files = owner.files()?;
        let transfer = self.next(owner)?;
        let (own, queue) = (Arc::clone(files), Arc::clone(owner.queue));
        // The commit thread adds the download, so that a removal which is committed later ends it.
        let (stored, bytes) = owner.ask(move |ledger| {
            let row = ledger.blobs().find_blob(&conversation, blob)?;
            let stored = row.as_ref().map_or(blob, |row| row.stored);
            Ok(readable(row).map(|bytes| (stored, bytes)).inspect(|(stored, bytes)| {
                let (stored, next, bytes) = (*stored, from.min(*bytes), *bytes);
                own.downloads().add(Download {
                    queue,
                    transfer,
                    conversation,
                    stored,
                    next,
                    bytes,
                });
            }))
        })??;
        let key = (owner.queue.id, transfer);
        let found = files.ports().store().look_up(stored);
        if !matches!(&found, Ok(Some(found)) if found.is_kept(bytes)) {
            if !files.downloads().end(key) {
                // The file was removed in between.
                return Err(Refusal::FileRemoved);
            }
            let why = match &found {
                Ok(Some(found)) => format!("{} of {bytes} bytes are there", found.length),
                Ok(None) => "it is missing".to_owned(),
                Err(error) => error.to_string(),
            };
            log::error!("the file {stored}, which was announced, cannot be read: {why}");
            return Err(Refusal::FileLost);
        }
        owner.answer(&Event::Download { transfer, blob, bytes: FileBytes(bytes), reference });
        self.allowances.insert(transfer, Allowance { reached: from, bytes });
        if from >= bytes {
            files.downloads().end(key);
        } else if !files.downloads().is_running(key) {
            // The file was removed while the download began: `stopped` has to follow `download`.
            files.ports().stop(owner.queue, transfer, &Refusal::FileRemoved);
        }
        Ok(())
    }

    /// Handles a transfer record of the client.
    pub fn record(&mut self, owner: Owner, body: &[u8]) -> Handled {
        let Ok(record) = TransferRecord::parse(body) else {
            return Handled::Violation("a malformed transfer record");
        };
        let (Some(files), transfer) = (&owner.context.files, record.transfer()) else {
            return Handled::Violation("a transfer record without a transfer");
        };
        if transfer == 0 || transfer > self.last {
            return Handled::Violation("a transfer record without a transfer");
        }
        match record {
            TransferRecord::Data { offset, bytes, .. } => {
                self.data(owner, files, (transfer, offset, bytes))
            }
            TransferRecord::Want { upto, .. } => {
                files.downloads().want((owner.queue.id, transfer), upto);
                files.ports().ring();
                let allowance = self.allowances.get_mut(&transfer);
                if allowance.is_some_and(|own| own.moves(upto)) {
                    Handled::Free
                } else {
                    Handled::Paid
                }
            }
            TransferRecord::Stop { .. } => {
                self.uploads.remove(&transfer);
                files.downloads().end((owner.queue.id, transfer));
                Handled::Paid
            }
            TransferRecord::Have { .. } => Handled::Violation("HAVE of a client"),
        }
    }

    fn data(
        &mut self,
        owner: Owner,
        files: &Arc<Files>,
        (transfer, offset, bytes): (u32, u64, &[u8]),
    ) -> Handled {
        // The next bytes cost no request, even if the server has ended the transfer and `stopped`
        // has not reached the client yet.
        let end = offset.saturating_add(bytes.len() as u64);
        let is_free = self
            .allowances
            .get_mut(&transfer)
            .is_some_and(|own| offset == own.reached && own.moves(end));
        let paid = (bytes.len() as u64).max(FILE_RECORD_BYTES_MIN);
        let cost = if is_free { Handled::Bytes(paid) } else { Handled::Paid };
        let Some(upload) = self.uploads.get_mut(&transfer) else { return cost };
        match upload.take(offset, bytes) {
            Taken::Written => {}
            Taken::Over => drop(self.uploads.remove(&transfer)),
            Taken::Stopped(refusal) => {
                self.uploads.remove(&transfer);
                owner.context.hub.counters().refused(refusal.code());
                files.ports().stop(owner.queue, transfer, &refusal);
            }
            Taken::Violation => return Handled::Violation("bytes of a file out of their order"),
        }
        cost
    }

    /// Reports the progress of uploads: nothing more is waiting to be read.
    pub fn report(&mut self) {
        self.uploads.values_mut().for_each(Upload::report);
    }

    /// Ends all transfers, with the session.
    pub fn end(&mut self, owner: Owner) {
        self.uploads.clear();
        if let Some(files) = &owner.context.files {
            files.downloads().forget(owner.queue.id);
        }
    }
}

fn bounds(limits: &Limits) -> BlobLimits {
    BlobLimits {
        person_bytes_max: limits.files_per_user_bytes_max as u64,
        bytes_max: limits.files_bytes_max as u64,
        unfinished_max: limits.uploads_unfinished_max,
    }
}

/// Returns the refusal of an upload that may not begin.
fn refused(owner: Owner, began: Began, (bytes, limits): (u64, &Limits)) -> Refusal {
    match began {
        Began::Quota { used } => {
            over_quota(owner, (bytes, used), limits).unwrap_or_else(|failed| failed)
        }
        Began::NoRoom => Refusal::NoRoom,
        Began::TooManyUnfinished => Refusal::TooManyUploads { max: limits.uploads_unfinished_max },
        Began::Conflict | Began::Coming { .. } | Began::Kept { .. } => Refusal::BlobConflict,
    }
}

/// Returns the refusal of a file that exceeds the user's quota.
fn over_quota(
    owner: Owner,
    (bytes, used): (u64, u64),
    limits: &Limits,
) -> Result<Refusal, Refusal> {
    let (user, max_bytes) = (owner.user.clone(), limits.files_per_user_bytes_max as u64);
    let (rows, totals) =
        owner.ask(move |ledger| ledger.blobs().blobs_of(&user, USAGE_FILES_MAX))?;
    let excess = used.saturating_add(BlobRow::counts(bytes)).saturating_sub(max_bytes);
    // If the user has more files, the rows lack the oldest ones.
    let frees = if totals.files > rows.len() { None } else { frees(rows, excess) };
    let (bytes, used, max_bytes) = (FileBytes(bytes), FileBytes(used), FileBytes(max_bytes));
    Ok(Refusal::Quota { bytes, used, max_bytes, frees })
}

/// Returns the time at which files of at least `bytes` have expired, and their size; `None` if all
/// files together are smaller.
fn frees(mut rows: Vec<BlobRow>, bytes: u64) -> Option<(String, FileBytes)> {
    rows.sort_by_key(|row| row.until_ms);
    let mut freed = 0u64;
    let last = rows.iter().find(|row| {
        freed = freed.saturating_add(BlobRow::counts(row.bytes));
        freed >= bytes
    })?;
    let at = jiff::Timestamp::from_millisecond(last.until_ms).ok()?;
    Some((at.strftime("%Y-%m-%d %H:%M UTC").to_string(), FileBytes(freed)))
}

/// Returns the size of a file that was announced.
fn readable(row: Option<BlobRow>) -> Result<u64, Refusal> {
    match row {
        Some(row) if row.claimed => match row.state {
            BlobState::Kept => Ok(row.bytes),
            BlobState::Doomed(Why::Deleted) | BlobState::Gone(Why::Deleted) => {
                Err(Refusal::FileDeleted)
            }
            BlobState::Doomed(Why::Expired) | BlobState::Gone(Why::Expired) => {
                Err(Refusal::FileExpired)
            }
            BlobState::Doomed(Why::Lost) | BlobState::Gone(Why::Lost) => Err(Refusal::FileLost),
            BlobState::Coming => Err(Refusal::NoSuchFile),
        },
        _ => Err(Refusal::NoSuchFile),
    }
}

fn drop_file(owner: Owner, blob: BlobId, reference: Option<String>) -> Result<(), Refusal> {
    owner.files()?;
    let user = owner.user.clone();
    let dropped = owner.ask(move |ledger| {
        let dropped = ledger.blobs().drop_blob(&user, blob)?;
        ledger.tell_doomed();
        Ok(dropped)
    })?;
    match dropped {
        DropOutcome::Doomed => {
            owner.answer(&Event::Dropped { blob, reference });
            Ok(())
        }
        DropOutcome::Announced => Err(Refusal::FileSent),
        DropOutcome::Unknown => Err(Refusal::NoSuchFile),
    }
}

fn usage(owner: Owner, reference: Option<String>) -> Result<(), Refusal> {
    owner.files()?;
    let (user, config) = (owner.user.clone(), owner.context.config.get());
    let (rows, totals) =
        owner.ask(move |ledger| ledger.blobs().blobs_of(&user, USAGE_FILES_MAX))?;
    let info = |row: BlobRow| FileInfo {
        blob: row.blob,
        to: row.conversation.as_seen_by(owner.user),
        bytes: FileBytes(row.bytes),
        kept: row.state == BlobState::Kept,
        sent: row.claimed,
        until_ms: row.until_ms,
    };
    let files: Vec<FileInfo> = rows.into_iter().map(info).collect();
    let omitted = totals.files.saturating_sub(files.len());
    let (bytes, of) =
        (FileBytes(totals.bytes), FileBytes(config.limits.files_per_user_bytes_max as u64));
    owner.answer(&Event::Usage { bytes, of, files, omitted, reference });
    Ok(())
}
