//! What was opened here is looked for here: the words of a search in a sealed place go nowhere.

use super::search_index::Entry;
use super::search_log::{self, SearchLog};
use super::storage::{Storage, StorageError};
use super::{BOOK_BYTES_MAX, Engine, Output};
use crate::chat::{Event, Message, MsgId, Refusal, Target, Wanted};

impl Engine {
    /// Whether lines are kept; another client of this person may have changed it just now.
    fn keeps_lines(&self) -> bool {
        self.storage.stores_messages().unwrap_or(false)
    }

    /// A line of a sealed place was opened and found good; `changes` is the line that it changes.
    pub(super) fn remember(
        &mut self,
        place: &Target,
        line: &Message,
        changes: Option<MsgId>,
        now_ms: i64,
    ) {
        if let Some(entry) = Entry::of(place, line, changes) {
            self.note_down(&[entry], now_ms);
        }
    }

    pub(super) fn note_down(&mut self, entries: &[Entry], now_ms: i64) {
        if !entries.is_empty() {
            self.on_search_log(now_ms, |log, storage| log.add(storage, entries, now_ms));
        }
    }

    /// Until something has to leave the disk.
    pub(super) fn tidy_rest_ms(&self, now_ms: i64) -> Option<u64> {
        self.search_log.as_ref()?.rests_ms(now_ms)
    }

    /// What should not be on the disk any more leaves it.
    pub(super) fn tidy_lines(&mut self, now_ms: i64) {
        self.on_search_log(now_ms, |log, storage| log.tidy(storage, now_ms));
    }

    /// Only the client that has the journal writes. One that fails is told of once.
    fn on_search_log(
        &mut self,
        now_ms: i64,
        write: impl FnOnce(&mut SearchLog, &mut dyn Storage) -> Result<(), StorageError>,
    ) {
        if !self.writes_lines {
            return;
        }
        if !self.keeps_lines() {
            self.search_log = None;
            return;
        }
        let storage = &mut *self.storage;
        let written = match &mut self.search_log {
            Some(log) => write(log, storage),
            None => SearchLog::open(storage, self.store.key(), now_ms, BOOK_BYTES_MAX)
                .and_then(|log| write(self.search_log.insert(log), storage)),
        };
        if let Err(error) = written {
            (self.search_log, self.writes_lines) = (None, false);
            log::warn!("sealed lines are not kept for /search from here on: {error}");
        }
    }

    /// The answer to a search in a sealed place, as the server gives others.
    pub(super) fn search(
        &mut self,
        to: Target,
        text: &str,
        reference: Option<String>,
        now_ms: i64,
    ) -> Vec<Output> {
        let happen = |event| Output::Answer(event);
        if !self.keeps_lines() {
            return vec![happen(Refusal::SearchOff.event(None, reference))];
        }
        let text = crate::clean::line(text);
        if let Err(refusal) = Wanted::new(&text) {
            return vec![happen(refusal.event(None, reference))];
        }
        let place = match &to {
            Target::User(name) => Target::User(self.trust.spelled(name)),
            channel => channel.clone(),
        };
        let book = match search_log::read(&*self.storage, &self.store.key()) {
            Ok(book) => book,
            Err(error) => {
                let problem = format!("what is kept for /search cannot be read: {error}");
                return vec![Output::Trouble(problem)];
            }
        };
        let (found, more) = book.search(&place, &text, now_ms);
        let (lines, told) = (found.len(), Some(reference.clone().unwrap_or_default()));
        let line =
            |line| Event::Message(Message { reference: told.clone(), replay: false, ..line });
        let end = Event::History { to: Some(to), lines, more, partial: false, reference };
        found.into_iter().map(line).chain([end]).map(happen).collect()
    }

    /// `/set` and `/set search on` or `off`, which erases what is kept of every server.
    pub fn set_search(&mut self, search: Option<bool>) -> Vec<Output> {
        let set = search.map_or(Ok(()), |search| self.storage.set_stores_messages(search));
        let erased = set.map_err(|error| error.to_string()).and_then(|()| {
            if self.keeps_lines() {
                return Ok(());
            }
            self.search_log = None;
            let erased = self.storage.erase_search_logs();
            erased.map_err(|error| format!("what is kept cannot be erased: {error}"))
        });
        let word = if self.keeps_lines() { "on" } else { "off" };
        let told = match (erased, search) {
            (Err(problem), _) => Output::Trouble(problem),
            (Ok(()), None) => Output::Told(format!("search {word}")),
            (Ok(()), Some(true)) => Output::Told(
                "search on: lines of sealed places that you read are kept here, sealed to your key"
                    .into(),
            ),
            (Ok(()), Some(false)) => Output::Told(
                "search off: what was kept of sealed places is erased from this disk".into(),
            ),
        };
        vec![told]
    }
}
