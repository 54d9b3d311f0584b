//! The ledger gives order and durability: every line passes it once, gets its conversation's next
//! seq, and is committed before anybody sees it. Two of a kind, one contract (`contract_tests.rs`):
//! SQLite on disk, and memory for conversations whose lines are not kept.

mod feed;
mod memory;
mod pace;
mod rules;
mod split;
mod sqlite;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use crate::chat::registry::{Remembered, Topic};
use crate::chat::{
    Body, ChannelName, Confidentiality, Conversation, DeviceName, Kind, LogId, Message, MsgId, Seq,
    UserName, Wanted,
};
pub use feed::{Feed, OwnFeed, StoredMessage};
pub use memory::Memory;
pub use split::{SplitLedger, SplitReader};
pub use sqlite::{Sqlite, jobs};
pub use work::Work;

/// A line before it has its seq.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub conversation: Conversation,
    pub from: UserName,
    pub device: DeviceName,
    pub id: MsgId,
    /// Milliseconds since 1970; for display and for retention, never for order.
    pub time_ms: i64,
    pub kind: Kind,
    pub body: Body,
}

/// What is written: lines, and what is remembered beside them.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Line(Arc<Draft>),
    Topic(ChannelName, Option<Topic>),
    /// A person has read a conversation up to a seq.
    Read(UserName, Conversation, Seq),
    /// A person's last session ended: what comes to these private conversations now waits for them.
    Away(UserName, Vec<Conversation>),
}

impl Record {
    pub fn line(draft: Draft) -> Record {
        Record::Line(Arc::new(draft))
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed; a line under this seq.
    Stored(Seq),
    /// The same line was stored before, under this seq.
    Known(Seq),
    /// Another line of this sender in this conversation has the id.
    Conflict,
    NoSuchMessage,
    NotOwn,
    TooLate,
    /// It is certain that nothing was stored.
    Failed,
    /// Whether it was stored shows after a restart.
    InDoubt,
}

/// How much of a conversation to read at once; what comes first ends it.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub lines_max: usize,
    /// Of text, so that an answer's size is bounded.
    pub bytes_max: usize,
}

/// Which lines of a conversation an answer to `/history` is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Older {
    /// Those before this one; none is from the newest on.
    pub before: Option<Seq>,
    /// Those that are not older than this.
    pub since_ms: Option<i64>,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub lines: usize,
    pub conversations: usize,
    /// Conversations that have no line any more, and their last seqs.
    pub emptied: Vec<(Conversation, Seq)>,
    /// There is more to do.
    pub more: bool,
}

/// A part of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    pub user: UserName,
    /// Messages whose texts went in this part ...
    pub part: usize,
    /// ... and so far.
    pub messages: usize,
    /// There are more messages of this person.
    pub more: bool,
}

/// How far what was removed is gone from the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tidied {
    /// Nothing of it can be read any more.
    Done,
    /// There is more to do.
    More,
    /// Somebody reads what was there before.
    Blocked,
}

/// What the engine below a ledger says.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the ledger does not do what it should. Names the file, never a text.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{}: {error}", path.display())]
    Engine { path: PathBuf, error: Cause, is_disk: bool },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    /// A row does not hold what was written into it.
    #[error("{}: damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "{} was written by a newer pychat (schema {found}, this one knows {known})",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// The layout that schema 1 had before the first release.
    #[error("{} is of a layout from before pychat's first release, which nothing converts", path.display())]
    Unreleased { path: PathBuf },
    /// A commit whose sync failed: it may be stored or not.
    #[error("{}: the disk failed while it synced: {error}", path.display())]
    InDoubt { path: PathBuf, error: Cause },
    /// After a failed sync nothing is certain until the file is opened again.
    #[error("{}: a sync failed before; the server must be started again", path.display())]
    Poisoned { path: PathBuf },
}

impl LedgerError {
    /// The disk has no room, or does not do what it should; what the file holds may be sound.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, LedgerError::Engine { is_disk: true, .. })
    }
}

/// The writing half; one thread owns it.
pub trait Ledger: Send {
    /// Commits all records in their order, or none; one outcome for each. On return what is stored
    /// is as durable as the ledger makes it.
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError>;

    /// The seq of a line that was stored before, also where nothing can be stored now.
    fn stored(&self, line: &Draft) -> Option<Seq>;

    /// Removes some of the lines of `conversation` that are older than `before_ms`, so that nobody
    /// waits long for the next commit; only counts them all when `dry`. Gives how many, and whether
    /// there may be more.
    fn expire(
        &mut self,
        conversation: &Conversation,
        before_ms: i64,
        dry: bool,
    ) -> Result<(usize, bool), LedgerError>;

    /// Forgets a conversation that has no line, with its topic and what people have read of it.
    /// Lines of a conversation that begins later come behind its last one.
    fn drop_empty(&mut self, conversation: &Conversation) -> Result<(), LedgerError>;

    /// The last seq of a conversation that has no line; none where it has lines or is not known.
    fn emptied(&self, conversation: &Conversation) -> Result<Option<Seq>, LedgerError>;

    /// Lines of a conversation that begins now come behind this seq.
    fn floor(&self) -> Seq;

    /// All conversations.
    fn conversations(&self) -> Vec<Conversation>;

    /// Does a part of what is left to do until nothing of what was removed can be read from the
    /// medium. Ids of removed lines are forgotten after a week.
    fn tidy(&mut self, now_ms: i64) -> Result<Tidied, LedgerError>;

    /// When the newest line was said.
    fn newest_ms(&self) -> Result<Option<i64>, LedgerError>;

    /// The texts of all messages of a person are to be erased, and topics that they have set;
    /// tombstones stay. `erase_some` does it, also after a restart.
    fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError>;

    /// Erases a part of what is to be erased, so that nobody waits long for the next commit; none
    /// where nothing is.
    fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError>;

    /// A name was given to somebody else, who may not change what its former holder wrote.
    fn renew(&mut self, user: &UserName) -> Result<(), LedgerError>;

    /// All of `tidy` at once, for a ledger that nobody waits for; false where somebody is in the
    /// way.
    fn scrub(&mut self, now_ms: i64) -> Result<bool, LedgerError> {
        loop {
            match self.tidy(now_ms)? {
                Tidied::More => {}
                tidied => return Ok(tidied == Tidied::Done),
            }
        }
    }

    /// Erases all messages of a person at once, for a ledger that nobody waits for; gives how many.
    fn erase(&mut self, user: &UserName) -> Result<usize, LedgerError> {
        self.begin_erasing(user)?;
        let mut messages = 0;
        while let Some(erased) = self.erase_some()? {
            messages += erased.part;
        }
        for _ in 0..SCRUB_TRIES {
            if self.scrub(0)? {
                break;
            }
            std::thread::sleep(SCRUB_PAUSE);
        }
        Ok(messages)
    }

    /// All conversations with lines or a topic. Of the lines that wait for a person, `waiting_max`
    /// are counted at most.
    fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError>;

    /// The id of its logs.
    fn log_id(&self) -> LogId;

    /// Messages that were ever stored, of which some may be gone.
    fn stored_ever(&self) -> u64;

    /// What is here is less than what was: its logs have this id from now on, so that nobody takes
    /// a new message for one of before.
    fn begin_log(&mut self, log: LogId) -> Result<(), LedgerError>;
}

/// After an erasure a reader in the way is waited for so often ...
const SCRUB_TRIES: usize = 10;
/// ... and so long each time; then the rest is left to the next sweep.
const SCRUB_PAUSE: Duration = Duration::from_millis(50);

/// The reading half; shared by threads.
pub trait Reader: Send + Sync {
    /// Lines with `after < seq <= upto`, oldest first.
    fn read(
        &self,
        conversation: &Conversation,
        after: Seq,
        upto: Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError>;

    /// The newest of the lines that `older` names, oldest first, and whether there are older ones
    /// among those.
    fn history(
        &self,
        conversation: &Conversation,
        older: Older,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError>;

    /// The newest lines of a conversation that hold all words of `wanted` as whole words, in any
    /// case, oldest first, and whether there are more.
    fn search_conversation(
        &self,
        conversation: &Conversation,
        wanted: &Wanted,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError>;

    /// The same of all these conversations together. Each has a share of the work, so that a
    /// conversation in which much has to be looked at hides nothing of the others.
    fn search(
        &self,
        conversations: &[Conversation],
        wanted: &Wanted,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let (mut newest, mut more) = (Vec::new(), false);
        for (index, conversation) in conversations.iter().enumerate() {
            work.share(conversations.len() - index);
            if work.is_spent() {
                more = true;
                continue;
            }
            let (found, more_here) = self.search_conversation(conversation, wanted, page, work)?;
            newest.extend(found);
            // What one answer cannot hold is not gathered.
            let (kept, left) = page.newest(newest);
            (newest, more) = (kept, more || more_here || left);
        }
        Ok((newest, more))
    }

    /// Another reader of the same ledger, for which nobody has to wait who uses this one.
    fn another(&self) -> Box<dyn Reader>;
}

/// Jobs on a ledger's file, also while a server has it open.
pub trait Jobs {
    /// Copies it to the new file `to`. `progress` gets percents.
    ///
    /// # Errors
    /// The file cannot be read, or there is one at `to`.
    fn backup(&self, to: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), LedgerError>;

    /// Puts the backup `from` in its place, which no server may have open. What was there is kept
    /// beside it, and its path given.
    ///
    /// # Errors
    /// The backup is damaged, or the folder takes no file.
    fn restore(&self, from: &Path) -> Result<Option<PathBuf>, LedgerError>;

    /// The id of its logs, and how many messages were ever stored.
    ///
    /// # Errors
    /// It cannot be opened.
    fn head(&self) -> Result<(LogId, u64), LedgerError>;

    /// Checks pages, index and every message.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    fn verify(&self) -> Result<Verified, LedgerError>;

    /// Takes the texts of all messages of a user away; gives how many.
    ///
    /// # Errors
    /// It cannot be written.
    fn erase(&self, user: &UserName) -> Result<usize, LedgerError>;

    /// Removes the copies beside it that `restore` and a new schema have left, where they are at
    /// least so old; gives their paths.
    ///
    /// # Errors
    /// The folder cannot be read, or a copy not removed.
    fn remove_copies(&self, age: Duration) -> Result<Vec<PathBuf>, LedgerError>;
}

/// What `verify` found in a sound file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    pub conversations: usize,
    pub lines: usize,
}

/// A stored line as everybody is told it again.
fn message(draft: Draft, seq: Seq, edited: bool, deleted: bool) -> Message {
    Message {
        seq,
        to: draft.conversation.as_seen_by(&draft.from),
        from: draft.from,
        device: draft.device,
        id: draft.id,
        time_ms: draft.time_ms,
        kind: draft.kind,
        body: draft.body,
        confidentiality: Confidentiality::Open,
        edited,
        deleted,
        replay: true,
        reference: None,
    }
}

#[cfg(test)]
mod bounded_tests;
#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
pub mod doubles;
#[cfg(test)]
mod dropped_tests;
#[cfg(test)]
mod erase_tests;
#[cfg(test)]
mod jobs_tests;
#[cfg(test)]
mod sealed_tests;
