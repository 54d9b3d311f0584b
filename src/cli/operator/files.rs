//! Copies of people's files beside a backup of the ledger. A copy is incremental: a whole file
//! never changes, so that one that is there already, with its length, stays.

use std::path::Path;

use crate::chat::BlobId;
use crate::ledger::{Jobs, jobs};
use crate::server::files::store::{BlobStore, FolderStore, Place};

/// The files of a ledger that a folder contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub there: usize,
    pub bytes: u64,
    pub missing: usize,
}

impl Copied {
    fn add(&mut self, is_there: bool, bytes: u64) {
        if is_there {
            (self.there, self.bytes) = (self.there + 1, self.bytes + bytes);
        } else {
            self.missing += 1;
        }
    }
}

/// Copies the files that the ledger `of` names from one folder to another.
pub fn copy(of: &Path, from: &Path, to: &Path) -> anyhow::Result<Copied> {
    let from = FolderStore::existing(from.to_owned());
    let to = FolderStore::open(to.to_owned())?;
    let mut copied = Copied::default();
    for (stored, bytes) in jobs(of).kept_files()? {
        copied.add(to.copy_from(&from, (stored, bytes))?, bytes);
    }
    Ok(copied)
}

/// Looks for the files that the ledger `of` names.
pub fn look(of: &Path, folder: &Path) -> anyhow::Result<Copied> {
    let store = FolderStore::existing(folder.to_owned());
    let mut found = Copied::default();
    for (stored, bytes) in jobs(of).kept_files()? {
        found.add(is_whole(&store, stored, bytes)?, bytes);
    }
    Ok(found)
}

fn is_whole(store: &FolderStore, stored: BlobId, bytes: u64) -> anyhow::Result<bool> {
    let found = store.look_up(stored)?;
    Ok(found.is_some_and(|found| found.place == Place::Kept && found.length == bytes))
}
