//! What was opened here is looked for here: the words of a search in a sealed place go nowhere.

use std::path::PathBuf;

use super::book::Entry;
use super::shelf::{self, Shelf};
use super::{BOOK_BYTES_MAX, Next, Secrets};
use crate::chat::{Event, Message, MsgId, Refusal, Target, Wanted};
use crate::client::happening::Happening;
use crate::client::vault::Settings;

impl Secrets {
    fn stem(&self) -> PathBuf {
        self.contact.vault.journal_stem(self.contact.founding())
    }

    /// Whether lines are kept; another client of this person may have changed it just now.
    fn keeps_lines(&self) -> bool {
        self.contact.vault.settings().is_ok_and(|settings| settings.search)
    }

    /// A line of a sealed place was opened and found good; `changes` is the line that it changes.
    pub(super) fn remember(&mut self, place: &Target, line: &Message, changes: Option<MsgId>) {
        if let Some(entry) = Entry::of(place, line, changes) {
            self.note_down(&[entry]);
        }
    }

    pub(super) fn note_down(&mut self, entries: &[Entry]) {
        if !entries.is_empty() {
            self.on_shelf(|shelf, now_ms| shelf.add(entries, now_ms));
        }
    }

    /// Until something has to leave the disk.
    pub(super) fn tidy_rest_ms(&self, now_ms: i64) -> Option<u64> {
        self.shelf.as_ref()?.rests_ms(now_ms)
    }

    /// What should not be on the disk any more leaves it.
    pub(super) fn tidy_lines(&mut self) {
        self.on_shelf(Shelf::tidy);
    }

    /// Only the client that has the journal writes. One that fails is told of once.
    fn on_shelf(&mut self, write: impl FnOnce(&mut Shelf, i64) -> std::io::Result<()>) {
        if !self.writes_lines {
            return;
        }
        if !self.keeps_lines() {
            self.shelf = None;
            return;
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let written = match &mut self.shelf {
            Some(shelf) => write(shelf, now_ms),
            None => Shelf::open(&self.stem(), self.store.key(), now_ms, BOOK_BYTES_MAX)
                .and_then(|shelf| write(self.shelf.insert(shelf), now_ms)),
        };
        if let Err(error) = written {
            (self.shelf, self.writes_lines) = (None, false);
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
    ) -> Vec<Next> {
        let happen = |event| Next::Happen(Happening::Answer(event));
        if !self.keeps_lines() {
            return vec![happen(Refusal::SearchOff.event(None, reference))];
        }
        let text = crate::clean::line(text);
        if let Err(refusal) = Wanted::new(&text) {
            return vec![happen(refusal.event(None, reference))];
        }
        let place = match &to {
            Target::User(name) => Target::User(self.people.spelled(name)),
            channel => channel.clone(),
        };
        let book = match shelf::read(&self.stem(), &self.store.key()) {
            Ok(book) => book,
            Err(error) => {
                let problem = format!("what is kept for /search cannot be read: {error}");
                return vec![Next::Happen(Happening::Trouble(problem))];
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
    pub fn set_search(&mut self, search: Option<bool>) -> Vec<Next> {
        let vault = &self.contact.vault;
        let set = match search {
            None => Ok(()),
            Some(search) => vault
                .settings()
                .and_then(|settings| vault.set(&Settings { search, ..settings }))
                .map_err(|error| error.to_string()),
        };
        let erased = set.and_then(|()| match self.keeps_lines() {
            true => Ok(()),
            false => {
                self.shelf = None;
                let folder = self.stem().with_file_name("");
                let erased = shelf::erase_all(&folder);
                erased.map_err(|error| format!("what is kept cannot be erased: {error}"))
            }
        });
        let word = if self.keeps_lines() { "on" } else { "off" };
        let told = match (erased, search) {
            (Err(problem), _) => Happening::Trouble(problem),
            (Ok(()), None) => Happening::Told(format!("search {word}")),
            (Ok(()), Some(true)) => Happening::Told(
                "search on: lines of sealed places that you read are kept here, sealed to your key"
                    .into(),
            ),
            (Ok(()), Some(false)) => Happening::Told(
                "search off: what was kept of sealed places is erased from this disk".into(),
            ),
        };
        vec![Next::Happen(told)]
    }
}
