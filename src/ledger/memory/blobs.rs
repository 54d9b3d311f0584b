//! The rows of encrypted files of the ledger in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::Memory;
use crate::chat::{BlobId, Conversation, Seq, UserName};
use crate::ledger::{
    Began, BlobLimits, BlobRow, BlobState, BlobTotals, Blobs, DropOutcome, LedgerError, NewBlob,
    SentMessage, Why, stored_name,
};

struct Row {
    row: BlobRow,
    last_ms: i64,
    /// Which holder of the owner's name uploaded it.
    holder: u64,
    message: Option<Seq>,
}

impl Row {
    fn is_of(&self, owner: &UserName, holder: u64) -> bool {
        self.row.owner == *owner && self.holder == holder
    }
}

/// Encrypted files by their names in the store.
#[derive(Default)]
pub(super) struct MemoryBlobs {
    rows: BTreeMap<BlobId, Row>,
    doomed: Vec<BlobId>,
}

/// Rows that one call returns.
const ROWS_MAX: usize = 500;

fn is_live(row: &BlobRow) -> bool {
    matches!(row.state, BlobState::Coming | BlobState::Kept)
}

fn total<'a>(rows: impl Iterator<Item = &'a Row>) -> BlobTotals {
    rows.fold(BlobTotals::default(), |sum, one| BlobTotals {
        files: sum.files + 1,
        bytes: sum.bytes + BlobRow::counts(one.row.bytes),
    })
}

impl MemoryBlobs {
    /// Lets a new message announce its file. Returns false if it may not.
    pub fn claim(&mut self, sent: &SentMessage, holder: u64, seq: Seq) -> bool {
        let Some(blob) = sent.kind.blob() else { return true };
        let Some(one) = self.rows.get_mut(&stored_name(&sent.conversation, blob)) else {
            return false;
        };
        let fits = one.is_of(&sent.from, holder)
            && one.row.state == BlobState::Kept
            && one.message.is_none()
            && one.last_ms > sent.time_ms;
        if fits {
            (one.message, one.row.claimed, one.row.until_ms) = (Some(seq), true, one.last_ms);
        }
        fits
    }

    /// Dooms the files whose messages were removed. `deleted` is whether a message is a tombstone;
    /// `None` if it no longer exists.
    pub fn settle(&mut self, deleted: impl Fn(&Conversation, Seq) -> Option<bool>) {
        let mut gone = Vec::new();
        for (stored, one) in &mut self.rows {
            let Some(seq) = one.message else { continue };
            let why = match deleted(&one.row.conversation, seq) {
                Some(false) => continue,
                Some(true) => Why::Deleted,
                None => Why::Expired,
            };
            if is_live(&one.row) {
                one.row.state = BlobState::Doomed(why);
                self.doomed.push(*stored);
            } else if matches!(one.row.state, BlobState::Gone(_)) && why == Why::Expired {
                gone.push(*stored);
            }
            if why == Why::Expired {
                one.message = None;
            }
        }
        gone.iter().for_each(|stored| drop(self.rows.remove(stored)));
    }

    /// Moves the files of a user, who is the holder `holders.0` of `names.0`, to another name, and
    /// files of private conversations with the user.
    pub fn rename(&mut self, names: (&UserName, &UserName), holders: (u64, u64)) {
        for one in self.rows.values_mut() {
            if one.is_of(names.0, holders.0) {
                (one.row.owner, one.holder) = (names.1.clone(), holders.1);
            }
            if one.message.is_some()
                && let Some(moved) = one.row.conversation.renamed(names.0, names.1)
            {
                one.row.conversation = moved;
            }
        }
    }

    /// Dooms the files of a user that no message announces.
    pub fn doom_unclaimed(&mut self, owner: &UserName) {
        self.doom(Why::Deleted, |one| one.row.owner == *owner && one.message.is_none());
    }

    fn doom(&mut self, why: Why, which: impl Fn(&Row) -> bool) -> usize {
        let before = self.doomed.len();
        for (stored, one) in &mut self.rows {
            if is_live(&one.row) && which(one) {
                one.row.state = BlobState::Doomed(why);
                self.doomed.push(*stored);
            }
        }
        self.doomed.len() - before
    }

    fn begin(&mut self, new: &NewBlob, holder: u64, limits: &BlobLimits) -> Began {
        let stored = stored_name(&new.conversation, new.blob);
        if let Some(one) = self.rows.get_mut(&stored) {
            return match one.row.state {
                _ if !one.row.is_upload(new) || one.holder != holder => Began::Conflict,
                BlobState::Kept => Began::Kept { until_ms: one.row.until_ms },
                BlobState::Coming => {
                    one.row.until_ms = new.until_ms.min(one.last_ms);
                    Began::Coming { is_new: false }
                }
                BlobState::Doomed(_) | BlobState::Gone(_) => Began::Conflict,
            };
        }
        let in_store = |one: &&Row| !matches!(one.row.state, BlobState::Gone(_));
        let own = |one: &&Row| one.is_of(&new.owner, holder) && in_store(one);
        let unfinished = |one: &&Row| own(one) && one.row.state == BlobState::Coming;
        let counts =
            (total(self.rows.values().filter(own)), self.rows.values().filter(unfinished).count());
        let all = total(self.rows.values().filter(in_store));
        if let Some(refused) = limits.refuse(new.bytes, counts, all) {
            return refused;
        }
        let row = BlobRow {
            stored,
            blob: new.blob,
            owner: new.owner.clone(),
            conversation: new.conversation.clone(),
            bytes: new.bytes,
            state: BlobState::Coming,
            made_ms: new.now_ms,
            until_ms: new.until_ms,
            claimed: false,
        };
        self.rows.insert(stored, Row { row, last_ms: new.last_ms, holder, message: None });
        Began::Coming { is_new: true }
    }

    fn keep(&mut self, stored: BlobId, until_ms: i64) -> bool {
        let Some(one) = self.rows.get_mut(&stored).filter(|one| is_live(&one.row)) else {
            return false;
        };
        if one.row.state == BlobState::Coming {
            (one.row.state, one.row.until_ms) = (BlobState::Kept, until_ms.min(one.last_ms));
        }
        true
    }

    fn bury(&mut self, stored: BlobId) {
        let Some(one) = self.rows.get_mut(&stored) else { return };
        match (one.row.state, one.message) {
            (BlobState::Doomed(why), Some(_)) => {
                (one.row.state, one.row.bytes) = (BlobState::Gone(why), 0);
            }
            (BlobState::Doomed(_), None) => drop(self.rows.remove(&stored)),
            _ => {}
        }
    }
}

impl Blobs for Memory {
    fn begin_blob(&mut self, new: &NewBlob, limits: &BlobLimits) -> Result<Began, LedgerError> {
        let holder = self.holder(&new.owner);
        Ok(self.with_blobs(|blobs| blobs.begin(new, holder, limits)))
    }

    fn keep_blob(&mut self, stored: BlobId, until_ms: i64) -> Result<bool, LedgerError> {
        Ok(self.with_blobs(|blobs| blobs.keep(stored, until_ms)))
    }

    fn drop_blob(&mut self, owner: &UserName, blob: BlobId) -> Result<DropOutcome, LedgerError> {
        let holder = self.holder(owner);
        let own = |one: &Row| one.is_of(owner, holder) && one.row.blob == blob;
        Ok(self.with_blobs(|blobs| {
            if blobs.doom(Why::Deleted, |one| own(one) && one.message.is_none()) > 0 {
                DropOutcome::Doomed
            } else if blobs.rows.values().any(|one| own(one) && is_live(&one.row)) {
                DropOutcome::Announced
            } else {
                DropOutcome::Unknown
            }
        }))
    }

    fn cancel_blob(&mut self, stored: BlobId) -> Result<(), LedgerError> {
        let is = |one: &Row| one.row.stored == stored && one.row.state == BlobState::Coming;
        self.with_blobs(|blobs| blobs.doom(Why::Deleted, is));
        Ok(())
    }

    fn lose_blob(&mut self, stored: BlobId) -> Result<(), LedgerError> {
        let is = |one: &Row| one.row.stored == stored && one.row.state == BlobState::Kept;
        self.with_blobs(|blobs| blobs.doom(Why::Lost, is));
        Ok(())
    }

    fn expire_blobs(&mut self, now_ms: i64) -> Result<usize, LedgerError> {
        let over = |one: &Row| one.row.until_ms <= now_ms;
        Ok(self.with_blobs(|blobs| blobs.doom(Why::Expired, over)))
    }

    fn doomed_blobs(&self) -> Result<Vec<BlobId>, LedgerError> {
        let is_doomed = |one: &&Row| matches!(one.row.state, BlobState::Doomed(_));
        Ok(self.with_blobs(|blobs| {
            blobs.rows.values().filter(is_doomed).map(|one| one.row.stored).collect()
        }))
    }

    fn bury_blobs(&mut self, stored: &[BlobId]) -> Result<(), LedgerError> {
        self.with_blobs(|blobs| stored.iter().for_each(|one| blobs.bury(*one)));
        Ok(())
    }

    fn blob(&self, stored: BlobId) -> Result<Option<BlobRow>, LedgerError> {
        Ok(self.with_blobs(|blobs| blobs.rows.get(&stored).map(|one| one.row.clone())))
    }

    fn find_blob(
        &self,
        conversation: &Conversation,
        blob: BlobId,
    ) -> Result<Option<BlobRow>, LedgerError> {
        let is = |one: &&Row| one.row.blob == blob && one.row.conversation == *conversation;
        Ok(self.with_blobs(|blobs| blobs.rows.values().find(is).map(|one| one.row.clone())))
    }

    fn blobs_of(
        &self,
        owner: &UserName,
        rows_max: usize,
    ) -> Result<(Vec<BlobRow>, BlobTotals), LedgerError> {
        let holder = self.holder(owner);
        let own = |one: &&Row| one.is_of(owner, holder) && is_live(&one.row);
        let (mut rows, totals) = self.with_blobs(|blobs| {
            let rows = || blobs.rows.values().filter(own);
            (rows().map(|one| one.row.clone()).collect::<Vec<_>>(), total(rows()))
        });
        rows.sort_by_key(|row| (std::cmp::Reverse(row.made_ms), row.stored));
        rows.truncate(rows_max);
        Ok((rows, totals))
    }

    fn blobs_after(&self, stored: Option<BlobId>) -> Result<Vec<BlobRow>, LedgerError> {
        let after = |one: &&Row| stored.is_none_or(|stored| one.row.stored > stored);
        Ok(self.with_blobs(|blobs| {
            let rows = blobs.rows.values().filter(after).take(ROWS_MAX);
            rows.map(|one| one.row.clone()).collect()
        }))
    }

    fn blob_totals(&self) -> Result<BlobTotals, LedgerError> {
        let in_store = |one: &&Row| !matches!(one.row.state, BlobState::Gone(_));
        Ok(self.with_blobs(|blobs| total(blobs.rows.values().filter(in_store))))
    }

    fn blob_owners(&self) -> Result<Vec<(UserName, BlobTotals)>, LedgerError> {
        let mut owners: Vec<(UserName, BlobTotals)> = self.with_blobs(|blobs| {
            let names = blobs.rows.values().filter(|one| is_live(&one.row));
            let names: BTreeSet<&UserName> = names.map(|one| &one.row.owner).collect();
            let own = |name: &&UserName| {
                let rows = blobs.rows.values();
                (
                    (*name).clone(),
                    total(rows.filter(|one| one.row.owner == **name && is_live(&one.row))),
                )
            };
            names.iter().map(own).collect()
        });
        owners.sort_by_key(|one| std::cmp::Reverse(one.1.bytes));
        Ok(owners)
    }

    fn take_doomed(&mut self) -> Vec<BlobId> {
        self.with_blobs(|blobs| std::mem::take(&mut blobs.doomed))
    }
}
