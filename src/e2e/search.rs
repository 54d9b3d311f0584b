//! Local search in sealed conversations. The search text stays on this computer.

use super::output::Output;
use super::persistence::FailureReport;
use super::search_index::{Entry, Terms};
use super::search_log::{self, SearchLog};
use super::storage::{FileKey, Storage, StorageError};
use crate::chat::{Epoch, Event, Message, MsgId, Refusal, Retention, Target, Wanted};

/// Bytes of sealed messages that are stored for a search: some ten thousand. Beyond, half of them
/// go.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Time until a failed write is tried again.
const AGAIN_MS: u64 = 10_000;

pub struct Search {
    key: FileKey,
    log: Option<SearchLog>,
    /// This client writes the log.
    writes: bool,
    /// When writing has failed last.
    failed_ms: Option<i64>,
    trouble: FailureReport,
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

/// A search request.
pub struct Question<'a> {
    /// As typed by the user.
    pub to: Target,
    /// As the index names it.
    pub conversation: &'a Target,
    /// The server's current log of the conversation.
    pub epoch: Option<Epoch>,
    pub text: &'a str,
    pub reference: Option<String>,
}

/// Returns whether messages are stored. Another client of this user may have changed the setting.
fn stores(storage: &dyn Storage) -> bool {
    storage.stores_messages().unwrap_or(false)
}

impl Search {
    pub fn new(key: FileKey) -> Search {
        Search { key, log: None, writes: false, failed_ms: None, trouble: FailureReport::default() }
    }

    /// Starts to write the log, in the client that owns the journal.
    pub fn start(&mut self, storage: &mut dyn Storage, now_ms: i64) {
        self.writes = true;
        self.tidy(storage, now_ms);
    }

    /// A message of a sealed conversation was opened and found good. The server says which log it
    /// has there, and how long it stores messages.
    pub fn remember(
        &mut self,
        storage: &mut dyn Storage,
        Found { conversation, message, changes, said_ms }: Found,
        (epoch, retention): (Option<Epoch>, Option<Retention>),
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
        let terms = Terms { epoch, until_ms, read_ms: now_ms };
        if let Some(entry) = Entry::of(conversation, message, changes, terms) {
            self.record(storage, &[entry], now_ms);
        }
    }

    pub fn record(&mut self, storage: &mut dyn Storage, entries: &[Entry], now_ms: i64) {
        if !entries.is_empty() {
            self.with_log(storage, now_ms, |log, storage| log.add(storage, entries, now_ms));
        }
    }

    /// Time until a message has to leave the disk, in milliseconds.
    pub fn rest_ms(&self, now_ms: i64) -> Option<u64> {
        self.log.as_ref()?.rests_ms(now_ms)
    }

    /// Removes expired and replaced messages from the disk.
    pub fn tidy(&mut self, storage: &mut dyn Storage, now_ms: i64) {
        self.with_log(storage, now_ms, |log, storage| log.tidy(storage, now_ms));
    }

    /// Takes the trouble with the disk, for the user.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Runs a change of the log. The first failure is reported, and it is tried again later.
    fn with_log(
        &mut self,
        storage: &mut dyn Storage,
        now_ms: i64,
        write: impl FnOnce(&mut SearchLog, &mut dyn Storage) -> Result<(), StorageError>,
    ) {
        let rests = |failed_ms: i64| now_ms.abs_diff(failed_ms) < AGAIN_MS;
        if !self.writes || self.failed_ms.is_some_and(rests) {
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
        self.failed_ms = written.is_err().then_some(now_ms);
        if written.is_err() {
            self.log = None;
        }
        let what = "new messages of sealed conversations are not stored for /search";
        self.trouble.notes(what, written);
    }

    /// Answers a search in a sealed conversation as the server answers other searches.
    pub fn answer(&self, storage: &dyn Storage, question: Question, now_ms: i64) -> Vec<Output> {
        let Question { to, conversation, epoch, text, reference } = question;
        if !stores(storage) {
            return vec![Output::Answer(Refusal::SearchOff.event(None, reference))];
        }
        let text = crate::clean::line(text);
        if let Err(refusal) = Wanted::new(&text) {
            return vec![Output::Answer(refusal.event(None, reference))];
        }
        let index = match search_log::read(storage, &self.key) {
            Ok((index, _)) => index,
            Err(error) => {
                let problem = format!("the messages stored for /search cannot be read: {error}");
                return vec![Output::Trouble(problem)];
            }
        };
        let (found, more) = index.search(conversation, &text, now_ms, epoch);
        let (messages, told) = (found.len(), Some(reference.clone().unwrap_or_default()));
        let message =
            |message| Event::Message(Message { reference: told.clone(), replay: false, ..message });
        let end = Event::History { to: Some(to), messages, more, partial: false, reference };
        found.into_iter().map(message).chain([end]).map(Output::Answer).collect()
    }

    /// Runs `/set` and `/set search on` or `off`; `off` erases the stored messages of every server.
    pub fn set(&mut self, storage: &mut dyn Storage, search: Option<bool>) -> Output {
        let set = search.map_or(Ok(()), |search| storage.set_stores_messages(search));
        let erased = set.map_err(|error| error.to_string()).and_then(|()| {
            if stores(storage) {
                return Ok(());
            }
            self.log = None;
            let erased = storage.erase_search_logs();
            erased.map_err(|error| format!("the stored messages cannot be erased: {error}"))
        });
        let word = if stores(storage) { "on" } else { "off" };
        match (erased, search) {
            (Err(problem), _) => Output::Trouble(problem),
            (Ok(()), None) => Output::Reply(format!("search {word}")),
            (Ok(()), Some(true)) => Output::Reply(
                "search on: messages of sealed conversations that you read are stored here, \
                 sealed to your key"
                    .into(),
            ),
            (Ok(()), Some(false)) => Output::Reply(
                "search off: the stored messages of sealed conversations were erased from this \
                 disk"
                    .into(),
            ),
        }
    }
}

/// The notice about a shorter retention in a sealed conversation. Messages read before are not
/// affected.
pub fn retention_notice(
    conversation: &Target,
    before: Retention,
    now: Retention,
) -> Option<Output> {
    if !conversation.is_sealed() || stored_ms(now) >= stored_ms(before) {
        return None;
    }
    let stores = match now {
        Retention::Off => "no messages".to_owned(),
        now => format!("messages for {now} only"),
    };
    Some(Output::Reply(format!(
        "the server stores {stores} in {conversation} from now on, and this computer does the same with what \
         you read from now on. What you have read before stays for /search; /set search off erases it"
    )))
}

/// Retention in milliseconds, for comparison.
fn stored_ms(retention: Retention) -> i64 {
    match retention {
        Retention::Forever => i64::MAX,
        Retention::For(span) => span.as_ms(),
        Retention::Off => 0,
    }
}
