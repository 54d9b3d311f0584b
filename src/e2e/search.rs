//! What was opened here is looked for here: the words of a search in a sealed conversation go
//! nowhere.

use super::output::Output;
use super::search_index::{Entry, Terms};
use super::search_log::{self, SearchLog};
use super::storage::{FileKey, Storage, StorageError};
use crate::chat::{Event, LogId, Message, MsgId, Refusal, Retention, Target, Wanted};

/// Bytes of sealed messages that are stored for a search: some ten thousand. Beyond, half of them
/// go.
const LOG_BYTES_MAX: u64 = 8 << 20;

pub struct Search {
    key: FileKey,
    log: Option<SearchLog>,
    /// This client writes the log.
    writes: bool,
}

/// A message of a sealed conversation that was found good.
pub struct Found<'a> {
    pub conversation: &'a Target,
    pub message: &'a Message,
    /// The message that it changes.
    pub changes: Option<MsgId>,
    /// When it was signed, by its sender's clock; where nobody has signed it, the server's word.
    pub said_ms: i64,
}

/// What somebody looks for.
pub struct Question<'a> {
    /// As it was asked.
    pub to: Target,
    /// As the log has it.
    pub conversation: &'a Target,
    /// The log that the server has of it now.
    pub log: Option<LogId>,
    pub text: &'a str,
    pub reference: Option<String>,
}

/// Whether messages are stored; another client of this person may have changed it just now.
fn stores(storage: &dyn Storage) -> bool {
    storage.stores_messages().unwrap_or(false)
}

impl Search {
    pub fn new(key: FileKey) -> Search {
        Search { key, log: None, writes: false }
    }

    /// This client has the journal.
    pub fn begins(&mut self, storage: &mut dyn Storage, now_ms: i64) {
        self.writes = true;
        self.tidy(storage, now_ms);
    }

    /// A message of a sealed conversation was opened and found good. The server says which log it
    /// has there, and how long it stores messages.
    pub fn remember(
        &mut self,
        storage: &mut dyn Storage,
        Found { conversation, message, changes, said_ms }: Found,
        (log, retention): (Option<LogId>, Option<Retention>),
        now_ms: i64,
    ) {
        let until_ms = match retention {
            None | Some(Retention::Forever) => None,
            // The server counts from when it stored the message, which is no earlier than its
            // sender has signed it, and no later than now.
            Some(Retention::For(span)) => Some(said_ms.min(now_ms).saturating_add(span.as_ms())),
            Some(Retention::Off) if !message.kind.is_change() => return,
            Some(Retention::Off) => None,
        };
        let terms = Terms { log, until_ms, read_ms: now_ms };
        if let Some(entry) = Entry::of(conversation, message, changes, terms) {
            self.note_down(storage, &[entry], now_ms);
        }
    }

    pub fn note_down(&mut self, storage: &mut dyn Storage, entries: &[Entry], now_ms: i64) {
        if !entries.is_empty() {
            self.on_log(storage, now_ms, |log, storage| log.add(storage, entries, now_ms));
        }
    }

    /// Until something has to leave the disk.
    pub fn rest_ms(&self, now_ms: i64) -> Option<u64> {
        self.log.as_ref()?.rests_ms(now_ms)
    }

    /// What should not be on the disk any more leaves it.
    pub fn tidy(&mut self, storage: &mut dyn Storage, now_ms: i64) {
        self.on_log(storage, now_ms, |log, storage| log.tidy(storage, now_ms));
    }

    /// One that fails is told of once.
    fn on_log(
        &mut self,
        storage: &mut dyn Storage,
        now_ms: i64,
        write: impl FnOnce(&mut SearchLog, &mut dyn Storage) -> Result<(), StorageError>,
    ) {
        if !self.writes {
            return;
        }
        if !stores(storage) {
            self.log = None;
            return;
        }
        let written = match &mut self.log {
            Some(log) => write(log, storage),
            None => SearchLog::open(storage, self.key.clone(), now_ms, LOG_BYTES_MAX)
                .and_then(|log| write(self.log.insert(log), storage)),
        };
        if let Err(error) = written {
            (self.log, self.writes) = (None, false);
            log::warn!("sealed lines are not kept for /search from here on: {error}");
        }
    }

    /// The answer to a search in a sealed conversation, as the server gives others.
    pub fn answer(&self, storage: &dyn Storage, question: Question, now_ms: i64) -> Vec<Output> {
        let Question { to, conversation, log, text, reference } = question;
        if !stores(storage) {
            return vec![Output::Answer(Refusal::SearchOff.event(None, reference))];
        }
        let text = crate::clean::line(text);
        if let Err(refusal) = Wanted::new(&text) {
            return vec![Output::Answer(refusal.event(None, reference))];
        }
        let index = match search_log::read(storage, &self.key) {
            Ok(index) => index,
            Err(error) => {
                let problem = format!("what is kept for /search cannot be read: {error}");
                return vec![Output::Trouble(problem)];
            }
        };
        let (found, more) = index.search(conversation, &text, now_ms, log);
        let (lines, told) = (found.len(), Some(reference.clone().unwrap_or_default()));
        let line =
            |line| Event::Message(Message { reference: told.clone(), replay: false, ..line });
        let end = Event::History { to: Some(to), lines, more, partial: false, reference };
        found.into_iter().map(line).chain([end]).map(Output::Answer).collect()
    }

    /// `/set` and `/set search on` or `off`, which erases what is kept of every server.
    pub fn set(&mut self, storage: &mut dyn Storage, search: Option<bool>) -> Output {
        let set = search.map_or(Ok(()), |search| storage.set_stores_messages(search));
        let erased = set.map_err(|error| error.to_string()).and_then(|()| {
            if stores(storage) {
                return Ok(());
            }
            self.log = None;
            let erased = storage.erase_search_logs();
            erased.map_err(|error| format!("what is kept cannot be erased: {error}"))
        });
        let word = if stores(storage) { "on" } else { "off" };
        match (erased, search) {
            (Err(problem), _) => Output::Trouble(problem),
            (Ok(()), None) => Output::Told(format!("search {word}")),
            (Ok(()), Some(true)) => Output::Told(
                "search on: lines of sealed conversations that you read are kept here, sealed to your key"
                    .into(),
            ),
            (Ok(()), Some(false)) => Output::Told(
                "search off: what was kept of sealed conversations is erased from this disk".into(),
            ),
        }
    }
}

/// What is told where the server stores messages of a sealed conversation for a shorter time than
/// before. What was read before stays.
pub fn told_shorter(conversation: &Target, before: Retention, now: Retention) -> Option<Output> {
    if !conversation.is_sealed() || stored_ms(now) >= stored_ms(before) {
        return None;
    }
    let stores = match now {
        Retention::Off => "no messages".to_owned(),
        now => format!("messages for {now} only"),
    };
    Some(Output::Told(format!(
        "the server stores {stores} in {conversation} from now on, and this computer does the same with what \
         you read from now on. What you have read before stays for /search; /set search off erases it"
    )))
}

/// For how long messages are stored, to compare.
fn stored_ms(retention: Retention) -> i64 {
    match retention {
        Retention::Forever => i64::MAX,
        Retention::For(span) => span.as_ms(),
        Retention::Off => 0,
    }
}
