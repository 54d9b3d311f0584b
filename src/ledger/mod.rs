//! The ledger gives order and durability: each message is committed once, under the next seq of its
//! conversation, before anybody receives it. There are two with one contract (`contract_tests.rs`):
//! SQLite on disk, and memory for conversations that are not stored.

pub mod blobs;
mod error;
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
    BlobId, Body, ChannelName, Confidentiality, Conversation, DeviceName, Epoch, Kind, Matching,
    Message, MsgId, Seq, UserName, Wanted,
};
pub use blobs::{
    Began, BlobLimits, BlobRow, BlobState, BlobTotals, Blobs, DropOutcome, NewBlob, Why,
    stored_name,
};
pub use error::{Cause, EngineFault, LedgerError};
pub use feed::{Feed, OwnFeed, StoredMessage};
pub use memory::Memory;
pub use split::{SplitLedger, SplitReader};
pub use sqlite::{Sqlite, jobs};
pub use work::Work;

/// A message without a seq.
#[derive(Clone, Debug, PartialEq)]
pub struct SentMessage {
    pub conversation: Conversation,
    pub from: UserName,
    pub device: DeviceName,
    pub id: MsgId,
    /// Milliseconds since 1970; used for display and retention, never for order.
    pub time_ms: i64,
    pub kind: Kind,
    pub body: Body,
}

/// An entry of a commit: a message, or state beside messages.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Message(Arc<SentMessage>),
    Topic(ChannelName, Option<Topic>),
    /// A user's read position in a conversation.
    Read(UserName, Conversation, Seq),
    /// The end of a user's last session: messages in these private conversations wait for the user
    /// from now on.
    Away(UserName, Vec<Conversation>),
}

impl Record {
    pub fn message(sent: SentMessage) -> Record {
        Record::Message(Arc::new(sent))
    }
}

/// The outcome of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed; a message has this seq.
    Stored(Seq),
    /// The same message was stored before, under this seq.
    Known(Seq),
    /// The sender has used the id for another message in this conversation.
    Conflict,
    NoSuchMessage,
    /// The message announces a file that is not complete, not the sender's, of another
    /// conversation, or announced already.
    NoSuchFile,
    /// A message that announces a file can only be deleted.
    FileNotEdited,
    NotOwn,
    TooLate,
    /// Not stored, because new messages are refused ([`SplitLedger::refuse_new`]).
    NoRoom,
    /// Certainly not stored.
    Failed,
    /// Stored or not; the next start decides.
    InDoubt,
}

/// Bounds of one read; the one that is reached first applies.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub messages_max: usize,
    /// Bytes of text, which bound the size of an answer.
    pub bytes_max: usize,
}

/// Counted for the names, id and time of a message in an answer, in bytes.
const FIELDS_BYTES: usize = 200;

impl Page {
    /// Returns the bytes that a message counts in an answer.
    fn cost(self, said_bytes: usize) -> usize {
        said_bytes + FIELDS_BYTES
    }

    /// Returns whether another message fits after so many `messages` of so many `bytes`. The
    /// first one always fits.
    fn holds(self, messages: usize, bytes: usize) -> bool {
        messages == 0 || (messages < self.messages_max && bytes <= self.bytes_max)
    }

    /// Takes as many messages as fit in the page, at least one.
    fn take(self, messages: impl Iterator<Item = Message>) -> Vec<Message> {
        let mut bytes = 0;
        let mut taken = Vec::new();
        for message in messages {
            bytes += self.cost(message.body.wire_len());
            if !self.holds(taken.len(), bytes) {
                break;
            }
            taken.push(message);
        }
        taken
    }

    /// Returns the newest of these messages, oldest first, and whether some were left out.
    fn newest(self, mut messages: Vec<Message>) -> (Vec<Message>, bool) {
        messages.sort_by_key(|message| (message.time_ms, message.seq));
        let all = messages.len();
        let mut newest = self.take(messages.into_iter().rev());
        newest.reverse();
        let left = newest.len() < all;
        (newest, left)
    }

    /// Adds the newest of `others` that are not among `messages`, as many as fit. Returns all
    /// messages, the oldest first, and whether some were left out.
    fn fill(self, mut messages: Vec<Message>, mut others: Vec<Message>) -> (Vec<Message>, bool) {
        let order = |message: &Message| (message.time_ms, message.seq);
        // Private conversations with the same seq differ by their users.
        let is_same = |one: &Message, other: &Message| {
            one.seq == other.seq && one.from == other.from && one.to == other.to
        };
        others.retain(|other| !messages.iter().any(|one| is_same(one, other)));
        others.sort_by_key(order);
        let cost = |message: &Message| self.cost(message.body.wire_len());
        let mut bytes: usize = messages.iter().map(cost).sum();
        let mut left = false;
        for other in others.into_iter().rev() {
            bytes += cost(&other);
            if !self.holds(messages.len(), bytes) {
                left = true;
                break;
            }
            messages.push(other);
        }
        messages.sort_by_key(order);
        (messages, left)
    }
}

/// The messages of a conversation that an answer to `/history` consists of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Older {
    /// Only messages before this one; `None` starts with the newest.
    pub before: Option<Seq>,
    /// Only messages since this time.
    pub since_ms: Option<i64>,
    /// Only messages that announce files.
    pub files: bool,
}

/// How many messages each sender has in a part of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The sender with the most first.
    pub by: Vec<(UserName, u64)>,
    /// Not all of them were looked at.
    pub partial: bool,
}

impl Counted {
    fn of(mut by: Vec<(UserName, u64)>, partial: bool) -> Counted {
        by.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        Counted { by, partial }
    }
}

/// The time and the row of a message, which order the messages of a conversation by age.
pub type Place = (i64, i64);

/// The result of a part of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub messages: usize,
    pub conversations: usize,
    /// Conversations without remaining messages, and their last seqs.
    pub emptied: Vec<(Conversation, Seq)>,
    /// Whether there is more to do.
    pub more: bool,
}

/// The result of a part of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    pub user: UserName,
    /// Messages that were erased in this part.
    pub part: usize,
    /// Messages that were erased so far.
    pub messages: usize,
    /// Messages of this part on damaged pages, which cannot be erased.
    pub unreadable: usize,
    /// Whether there are more messages of this user.
    pub more: bool,
}

/// How far removed texts are erased from the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tidied {
    /// Nothing of them is readable any more.
    Done,
    /// There is more to do.
    More,
    /// Another process is reading an older state of the file.
    Blocked,
}

/// The writing half, owned by one thread.
pub trait Ledger: Blobs + Send {
    /// Commits all records in order, or none. Returns an outcome for each; committed records are as
    /// durable as the ledger makes them.
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError>;

    /// Makes some of the new messages cheaper to find, few enough not to delay the next commit. A
    /// search finds all messages in any case. Returns whether there may be many more.
    fn index_some(&mut self) -> Result<bool, LedgerError> {
        Ok(false)
    }

    /// Returns the seq of a message that was stored before, even if nothing can be stored now.
    fn stored(&self, sent: &SentMessage) -> Option<Seq>;

    /// Removes some of the messages of `conversation` that are older than `before_ms`, few enough
    /// not to delay the next commit. Returns the number, and whether there may be more.
    fn expire(
        &mut self,
        conversation: &Conversation,
        before_ms: i64,
    ) -> Result<(usize, bool), LedgerError>;

    /// Counts some of the messages of `conversation` that are older than `before_ms`, from a place
    /// on. Returns the number, and the place where the next part begins; `None` at the end.
    fn count_old(
        &self,
        conversation: &Conversation,
        before_ms: i64,
        from: Option<Place>,
    ) -> Result<(usize, Option<Place>), LedgerError>;

    /// Detaches all messages of a conversation: nobody reads them and their files any more, and
    /// `remove_detached` removes them, also after a restart. If it is `kept`, its topic and read
    /// positions stay. New messages come after its last seq.
    fn detach(&mut self, conversation: &Conversation, kept: bool) -> Result<(), LedgerError>;

    /// Removes some of the detached messages, few enough not to delay the next commit, and dooms
    /// their files. Returns whether there may be more.
    fn remove_detached(&mut self) -> Result<bool, LedgerError>;

    /// Counts the messages of a private conversation that wait for a user, at most `waiting_max`.
    fn waiting(
        &self,
        conversation: &Conversation,
        user: &UserName,
        waiting_max: usize,
    ) -> Result<usize, LedgerError>;

    /// Removes an empty conversation with its topic and read positions. A new conversation of that
    /// name starts after its last seq.
    fn drop_empty(&mut self, conversation: &Conversation) -> Result<(), LedgerError>;

    /// Returns the last seq of an empty conversation; `None` if it has messages or does not exist.
    fn emptied(&self, conversation: &Conversation) -> Result<Option<Seq>, LedgerError>;

    /// Returns the seq after which a new conversation starts.
    fn floor(&self) -> Seq;

    /// Returns all conversations.
    fn conversations(&self) -> Vec<Conversation>;

    /// Does one part of erasing removed texts from the medium. Forgets the ids of removed messages
    /// after a week.
    fn tidy(&mut self, now_ms: i64) -> Result<Tidied, LedgerError>;

    /// Returns the time of the newest message.
    fn newest_ms(&self) -> Result<Option<i64>, LedgerError>;

    /// Marks the texts of all messages of a user for erasure, and the topics that the user has set;
    /// tombstones remain. `erase_some` erases them, also after a restart.
    fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError>;

    /// Erases some of the marked texts, few enough not to delay the next commit; `None` if nothing
    /// is left.
    fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError>;

    /// Records that a name was given to another user, who cannot change messages of its former
    /// holder.
    fn renew(&mut self, user: &UserName) -> Result<(), LedgerError>;

    /// Moves to the name `new` what belongs to the user `old`: private conversations with their
    /// messages, read positions, topics and files. Messages in channels stay under `old`, whose
    /// next holder is another user. Returns the private conversations that did not move, because
    /// the name `new` has messages with the same user, or because they are damaged. Erasures that
    /// wait are completed first.
    ///
    /// # Errors
    /// It cannot be written; then nothing has moved.
    fn rename(&mut self, old: &UserName, new: &UserName) -> Result<Vec<Conversation>, LedgerError>;

    /// Does all of `tidy` at once, for a ledger without a running server. Returns false if another
    /// process is in the way.
    fn scrub(&mut self, now_ms: i64) -> Result<bool, LedgerError> {
        loop {
            match self.tidy(now_ms)? {
                Tidied::More => {}
                tidied => return Ok(tidied == Tidied::Done),
            }
        }
    }

    /// Erases all messages of a user at once, for a ledger without a running server. Returns their
    /// number.
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

    /// Returns all conversations with messages or a topic. Counts at most `waiting_max` of the
    /// messages that wait for a user.
    fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError>;

    /// Returns the id of the logs.
    fn epoch(&self) -> Epoch;

    /// Returns the number of messages that were ever stored, removed ones included.
    fn stored_ever(&self) -> u64;

    /// Changes the id of the logs after a loss of messages, so that clients do not confuse new
    /// messages with lost ones.
    fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), LedgerError>;
}

/// Number of attempts to erase while another process reads.
const SCRUB_TRIES: usize = 10;
/// Pause between two attempts. After the last one, the next sweep continues.
const SCRUB_PAUSE: Duration = Duration::from_millis(50);

/// The reading half, shared by threads.
pub trait Reader: Send + Sync {
    /// Returns the messages with `after < seq <= upto`, oldest first.
    fn read(
        &self,
        conversation: &Conversation,
        after: Seq,
        upto: Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError>;

    /// Returns the newest of the messages that `older` selects, oldest first, and whether there are
    /// older ones.
    fn history(
        &self,
        conversation: &Conversation,
        older: Older,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError>;

    /// Returns the newest messages of a conversation that contain all words of a search, compared
    /// in this way, oldest first, and whether there are more.
    fn search_conversation(
        &self,
        conversation: &Conversation,
        wanted: (&Wanted, Matching),
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError>;

    /// Searches several conversations. Messages with the whole words, of all conversations, come
    /// first. If the page has room for more, the newest messages with longer words follow.
    fn search(
        &self,
        conversations: &[Conversation],
        wanted: &Wanted,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let (whole, more) =
            self.search_all(conversations, (wanted, Matching::Whole), page, work)?;
        if more || !wanted.has_beginnings() {
            return Ok((whole, more));
        }
        let beginnings = (wanted, Matching::Beginnings);
        let (others, more) = self.search_all(conversations, beginnings, page, work)?;
        let (messages, left) = page.fill(whole, others);
        Ok((messages, more || left))
    }

    /// Searches several conversations with one way of matching. Each has a share of the work, so
    /// that an expensive conversation does not hide messages of the others.
    fn search_all(
        &self,
        conversations: &[Conversation],
        wanted: (&Wanted, Matching),
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
            // Messages that do not fit in one answer are dropped at once.
            let (kept, left) = page.newest(newest);
            (newest, more) = (kept, more || more_here || left);
        }
        Ok((newest, more))
    }

    /// Counts the messages with `after < seq <= upto` that others than `but` sent and nobody
    /// deleted, from the newest on.
    fn count(
        &self,
        conversation: &Conversation,
        span: (Seq, Seq),
        but: &UserName,
        work: &Arc<Work>,
    ) -> Result<Counted, LedgerError>;

    /// Returns another reader of the same ledger that does not wait for this one.
    fn another(&self) -> Box<dyn Reader>;
}

/// Jobs on the file of a ledger, also while a server uses it.
pub trait Jobs {
    /// Returns whether the file has tables. One whose creation was interrupted has none.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of a ledger.
    fn has_tables(&self) -> Result<bool, LedgerError>;

    /// Copies the ledger to the new file `to`. Calls `progress` with percents.
    ///
    /// # Errors
    /// The file cannot be read, or there is one at `to`.
    fn backup(&self, to: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), LedgerError>;

    /// Copies the backup `from` beside the ledger, which no server may have open, with another id
    /// of the logs. Returns the id.
    ///
    /// # Errors
    /// The backup is damaged, or the folder takes no file.
    fn prepare_restore(&self, from: &Path) -> Result<Epoch, LedgerError>;

    /// Replaces the ledger by the prepared copy. Returns the path of the replaced ledger, if there
    /// was one.
    ///
    /// # Errors
    /// The folder takes no file, or nothing is prepared.
    fn finish_restore(&self) -> Result<Option<PathBuf>, LedgerError>;

    /// Returns the id of the logs, and the number of messages that were ever stored.
    ///
    /// # Errors
    /// It cannot be opened.
    fn head(&self) -> Result<(Epoch, u64), LedgerError>;

    /// Checks pages, index and messages.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    fn verify(&self) -> Result<Verified, LedgerError>;

    /// Returns the files that the store has to have, by their names in it, with their sizes.
    ///
    /// # Errors
    /// It cannot be read.
    fn kept_files(&self) -> Result<Vec<(BlobId, u64)>, LedgerError>;

    /// Returns the files that `wanted` selects and that are neither removed nor about to be, the
    /// oldest first: those that the present holder of a name has uploaded, or those of a channel.
    ///
    /// # Errors
    /// It cannot be read, or has another schema than this program.
    fn exported_files(&self, wanted: &Exported) -> Result<Vec<BlobRow>, LedgerError>;

    /// Passes the messages that `wanted` selects to `each`, until `each` returns false. Returns the
    /// number of damaged messages, which are left out.
    ///
    /// # Errors
    /// It cannot be read, or has another schema than this program.
    fn export(
        &self,
        wanted: &Exported,
        each: &mut dyn FnMut(Message) -> bool,
    ) -> Result<usize, LedgerError>;

    /// Erases the texts of all messages of a user. Returns their number.
    ///
    /// # Errors
    /// It cannot be written.
    fn erase(&self, user: &UserName) -> Result<usize, LedgerError>;

    /// Removes the copies that `restore` and a schema change have left beside the ledger and that
    /// are at least `age` old. Returns their paths.
    ///
    /// # Errors
    /// The folder cannot be read, or a copy not removed.
    fn remove_copies(&self, age: Duration) -> Result<Vec<PathBuf>, LedgerError>;
}

/// Which messages are exported.
#[derive(Clone, Debug)]
pub enum Exported {
    /// All messages that the present holder of a user name has sent, the oldest first.
    User(UserName),
    /// All messages of a channel, in their order.
    Channel(ChannelName),
}

/// The result of `verify` for a sound file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    pub conversations: usize,
    pub messages: usize,
}

/// Returns a stored message as it is delivered from history.
fn message(sent: SentMessage, seq: Seq, edited: bool, deleted: bool) -> Message {
    Message {
        seq,
        to: sent.conversation.as_seen_by(&sent.from),
        from: sent.from,
        device: sent.device,
        id: sent.id,
        time_ms: sent.time_ms,
        kind: sent.kind,
        body: sent.body,
        confidentiality: Confidentiality::Open,
        edited,
        deleted,
        replay: true,
        reference: None,
    }
}

#[cfg(test)]
mod blob_tests;
#[cfg(test)]
mod bounded_tests;
#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod count_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
pub mod doubles;
#[cfg(test)]
mod dropped_tests;
#[cfg(test)]
mod erase_tests;
#[cfg(test)]
mod fresh_tests;
#[cfg(test)]
mod jobs_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod refused_tests;
#[cfg(test)]
mod rename_tests;
#[cfg(test)]
mod sealed_tests;
#[cfg(test)]
mod turns_tests;
