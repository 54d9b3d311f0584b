//! Encrypted files in the ledger: a row for each, so that a file and the message that announces it
//! change in one transaction, and quotas are sums over rows.

use super::error::LedgerError;
use crate::chat::{BlobId, Conversation, UserName};
use crate::crypto::sha256;

/// Bytes that a file counts at least: the smallest file takes a block of the disk and a row.
pub const BLOB_BYTES_MIN: u64 = 4_096;

/// Returns the name of a file in the store. It depends on the conversation, so that an upload to
/// another conversation never shows whether an id is in use, and not on the spelling of names.
pub fn stored_name(conversation: &Conversation, blob: BlobId) -> BlobId {
    let name = conversation.folded();
    let hash = sha256(&[b"pychat/1 stored file", &blob.0, name.as_bytes()]);
    BlobId(*hash.first_chunk().expect("a hash has 16 bytes"))
}

/// An upload that begins or is resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBlob {
    pub blob: BlobId,
    pub owner: UserName,
    pub conversation: Conversation,
    pub bytes: u64,
    pub now_ms: i64,
    /// When it is removed unless a message announces it.
    pub until_ms: i64,
    /// When it is removed in any case.
    pub last_ms: i64,
}

/// Bounds on the files that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobLimits {
    pub person_bytes_max: u64,
    pub bytes_max: u64,
    pub unfinished_max: usize,
}

/// Why a file is no longer readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Deleted,
    Expired,
    /// The store has lost it.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobState {
    /// Its upload has not ended.
    Coming,
    /// It is whole and synced.
    Kept,
    /// It is to be removed from the store.
    Doomed(Why),
    /// It was removed from the store; the message that announced it still exists.
    Gone(Why),
}

/// A file as the ledger has it.
#[derive(Clone, Debug, PartialEq)]
pub struct BlobRow {
    /// Its name in the store.
    pub stored: BlobId,
    pub blob: BlobId,
    pub owner: UserName,
    pub conversation: Conversation,
    pub bytes: u64,
    pub state: BlobState,
    pub made_ms: i64,
    pub until_ms: i64,
    /// Whether a message announces it.
    pub claimed: bool,
}

/// The outcome of `begin_blob`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Began {
    /// The upload begins, or an earlier one is resumed.
    Coming {
        is_new: bool,
    },
    /// The file is complete; it is removed at this time.
    Kept {
        until_ms: i64,
    },
    Conflict,
    /// The user's files would exceed the user's share, of which this much is used.
    Quota {
        used: u64,
    },
    /// All files together would exceed the server's bound.
    NoRoom,
    TooManyUnfinished,
}

/// The outcome of `drop_blob`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropOutcome {
    Doomed,
    /// A message announces the file.
    Announced,
    /// The user has no such file.
    Unknown,
}

/// What the files of a user, or of all, take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobTotals {
    pub files: usize,
    pub bytes: u64,
}

/// The rows of encrypted files. A message of kind `file` claims its file in `Ledger::commit`, and
/// its removal dooms the file in the same transaction.
pub trait Blobs {
    /// Begins an upload or resumes it, within the limits.
    fn begin_blob(&mut self, new: &NewBlob, limits: &BlobLimits) -> Result<Began, LedgerError>;

    /// Records that a file is complete. Returns whether it may be announced: not if it was removed
    /// meanwhile.
    fn keep_blob(&mut self, stored: BlobId, until_ms: i64) -> Result<bool, LedgerError>;

    /// Dooms a file of this user that no message announces.
    fn drop_blob(&mut self, owner: &UserName, blob: BlobId) -> Result<DropOutcome, LedgerError>;

    /// Dooms an unfinished file.
    fn cancel_blob(&mut self, stored: BlobId) -> Result<(), LedgerError>;

    /// Dooms a complete file that the store has lost.
    fn lose_blob(&mut self, stored: BlobId) -> Result<(), LedgerError>;

    /// Dooms files whose time is over, a bounded number at once. Returns their number.
    fn expire_blobs(&mut self, now_ms: i64) -> Result<usize, LedgerError>;

    /// Returns doomed files, a bounded number, whose removal from the store is due.
    fn doomed_blobs(&self) -> Result<Vec<BlobId>, LedgerError>;

    /// Records that doomed files were removed from the store.
    fn bury_blobs(&mut self, stored: &[BlobId]) -> Result<(), LedgerError>;

    fn blob(&self, stored: BlobId) -> Result<Option<BlobRow>, LedgerError>;

    /// Returns the file with this id of a conversation, also if the conversation had another name
    /// when it was uploaded.
    fn find_blob(
        &self,
        conversation: &Conversation,
        blob: BlobId,
    ) -> Result<Option<BlobRow>, LedgerError>;

    /// Returns the newest files of a user that are not doomed, at most `rows_max`, and the totals
    /// of all of them.
    fn blobs_of(
        &self,
        owner: &UserName,
        rows_max: usize,
    ) -> Result<(Vec<BlobRow>, BlobTotals), LedgerError>;

    /// Returns the files in the order of their names in the store, after this one, a bounded
    /// number.
    fn blobs_after(&self, stored: Option<BlobId>) -> Result<Vec<BlobRow>, LedgerError>;

    /// Returns the totals of all files of the store.
    fn blob_totals(&self) -> Result<BlobTotals, LedgerError>;

    /// Returns the totals of each user with files, the largest first.
    fn blob_owners(&self) -> Result<Vec<(UserName, BlobTotals)>, LedgerError>;

    /// Returns the files that were doomed since the last call.
    fn take_doomed(&mut self) -> Vec<BlobId>;
}

impl BlobRow {
    /// Returns the bytes that the file counts.
    pub fn counts(bytes: u64) -> u64 {
        bytes.max(BLOB_BYTES_MIN)
    }

    /// Returns whether an upload with these values is the one of this row.
    pub fn is_upload(&self, new: &NewBlob) -> bool {
        (&self.owner, &self.conversation, self.bytes) == (&new.owner, &new.conversation, new.bytes)
    }
}

impl BlobLimits {
    /// Returns why a new file does not fit, if it does not.
    pub fn refuse(
        &self,
        bytes: u64,
        (own, unfinished): (BlobTotals, usize),
        all: BlobTotals,
    ) -> Option<Began> {
        let bytes = BlobRow::counts(bytes);
        if unfinished >= self.unfinished_max {
            Some(Began::TooManyUnfinished)
        } else if own.bytes.saturating_add(bytes) > self.person_bytes_max {
            Some(Began::Quota { used: own.bytes })
        } else if all.bytes.saturating_add(bytes) > self.bytes_max {
            Some(Began::NoRoom)
        } else {
            None
        }
    }
}
