//! What the threads of pages and the runtime share: the state, and the queues of the attached
//! pages. The lock is held for short work only; nothing is written to a page under it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::queue::{Queue, close};
use super::spool::Spool;
use super::state::State;
use crate::chat::Event;
use crate::client::connection::inbox::Sender;
use crate::client::model::{Origin, Output};
use crate::client::transfer::{Progress, TransferId, TransferState};
use crate::client::ui::objects::Objects;
use crate::limits::{PAGES_MAX, UNSETTLED_BYTES_MAX};
use crate::sync::{Mutex, MutexGuard, Rank};

pub struct Core {
    pub spool: Spool,
    inner: Mutex<Inner>,
    inbox: Sender,
}

struct Inner {
    state: State,
    pages: Vec<Arc<Queue>>,
    /// The client is ending.
    has_ended: bool,
}

impl Core {
    pub fn new(state: State, spool: Spool, inbox: Sender) -> Core {
        let inner = Mutex::new(Rank::Page, Inner { state, pages: Vec::new(), has_ended: false });
        Core { spool, inner, inbox }
    }

    /// Returns a sender of its own for the inputs of one page.
    pub fn inputs(&self) -> Sender {
        self.inbox.bounded(UNSETTLED_BYTES_MAX)
    }

    /// Attaches a page. The error is the reason to close it.
    pub fn attach(&self) -> Result<Arc<Queue>, u16> {
        self.spool.remove_redirect();
        let mut inner = self.lock();
        inner.pages.retain(|page| !page.is_closing());
        if inner.has_ended {
            return Err(close::ENDS);
        }
        if inner.pages.len() >= PAGES_MAX {
            return Err(close::LATER);
        }
        let queue = Arc::new(Queue::new(inner.state.snapshot()));
        inner.pages.push(Arc::clone(&queue));
        Ok(queue)
    }

    /// Changes or asks the state. The objects go to all pages.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> (T, Vec<Value>)) -> T {
        let mut inner = self.lock();
        let (result, mut objects) = change(&mut inner.state);
        objects.extend(inner.state.store());
        inner.send(&objects);
        result
    }

    /// Takes an output of the model.
    pub fn show(&self, output: &Output) {
        let ended = self.with(|state| {
            let mut objects = state.take(output);
            self.marks_viewed(output, &mut objects);
            let ended = state.take_ended();
            let with_file =
                |(id, reference): (TransferId, Option<String>)| (id, reference, state.fetched(id));
            (ended.into_iter().map(with_file).collect::<Vec<_>>(), objects)
        });
        match output {
            Output::Transfer(progress) => {
                progress.reference.iter().for_each(|reference| self.spool.sends(reference));
            }
            Output::Event(Origin::Client, Event::Refused { reference: Some(reference), .. }) => {
                self.spool.refused(reference);
            }
            _ => {}
        }
        for (id, reference, file) in ended {
            self.spool.ended(id, reference.as_deref(), file);
        }
    }

    /// Marks a fetched file that is only shown: it is not in a folder of the user.
    fn marks_viewed(&self, output: &Output, objects: &mut [Value]) {
        let Output::Transfer(Progress { state: TransferState::Saved(path), .. }) = output else {
            return;
        };
        if path.starts_with(self.spool.viewed()) {
            objects.iter_mut().for_each(|object| object["viewed"] = true.into());
        }
    }

    pub fn fetched(&self, id: TransferId) -> Option<PathBuf> {
        self.lock().state.fetched(id)
    }

    pub fn file_bytes_max(&self) -> Option<u64> {
        self.lock().state.file_bytes_max()
    }

    /// Ends all pages, which get a last object. Returns the last error, and the pages.
    pub fn end(&self, reason: &str) -> (Option<(Origin, String)>, Vec<Arc<Queue>>) {
        let mut inner = self.lock();
        let (error, bye) = inner.state.parting();
        inner.send(&[Objects::bye(bye.as_deref().unwrap_or(reason))]);
        inner.has_ended = true;
        let pages = std::mem::take(&mut inner.pages);
        drop(inner);
        pages.iter().for_each(|page| page.close(close::ENDS));
        (error, pages)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn send(&mut self, objects: &[Value]) {
        for object in objects {
            let text: Arc<str> = object.to_string().into();
            self.pages.iter().for_each(|page| page.push(&text));
        }
        self.pages.retain(|page| !page.is_closing());
    }
}
