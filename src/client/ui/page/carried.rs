//! Transfers as pages see them. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::client::transfer::{Progress, TransferId, TransferState};

/// Fetched files of this run whose bytes a page can get.
const FETCHED_MAX: usize = 1_000;

#[derive(Default)]
pub struct Carried {
    /// The last object of each transfer that has not ended.
    open: BTreeMap<TransferId, Value>,
    fetched: BTreeMap<TransferId, PathBuf>,
    ended: Vec<(TransferId, Option<String>)>,
}

impl Carried {
    /// Takes the progress of a transfer.
    pub fn moves(&mut self, progress: &Progress, objects: &[Value]) {
        if !progress.state.is_end() {
            self.open.extend(objects.last().map(|object| (progress.id, object.clone())));
            return;
        }
        self.open.remove(&progress.id);
        self.ended.push((progress.id, progress.reference.clone()));
        if let TransferState::Saved(path) = &progress.state {
            self.fetched.insert(progress.id, path.clone());
            if self.fetched.len() > FETCHED_MAX {
                self.fetched.pop_first();
            }
        }
    }

    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.open.values()
    }

    pub fn fetched(&self, id: TransferId) -> Option<PathBuf> {
        self.fetched.get(&id).cloned()
    }

    pub fn take_ended(&mut self) -> Vec<(TransferId, Option<String>)> {
        std::mem::take(&mut self.ended)
    }
}
