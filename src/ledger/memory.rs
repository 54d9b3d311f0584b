//! A ledger in memory: the newest messages of each conversation, until the process ends.

mod blobs;

use std::collections::{HashMap, VecDeque, hash_map, vec_deque};
use std::sync::Arc;

use super::rules::{known_as, may_change};
use super::{
    Counted, Erased, Ledger, LedgerError, Older, Outcome, Page, Place, Reader, Record, Remembered,
    SentMessage, Tidied, Topic, Work, message,
};
use crate::chat::{Body, Conversation, Epoch, Matching, Message, MsgId, Seq, UserName, Wanted};
use crate::sync::{Mutex, MutexGuard, Rank};
use blobs::MemoryBlobs;

/// Counted for each message beside its text: about its size in memory.
const MESSAGE_BYTES: usize = 256;
/// Messages that a reader copies at once under the lock that commits need. Texts are shared, so
/// that a copy is about this many reference counts.
const SLICE_MESSAGES: usize = 500;

/// An erasure goes through conversations of so many messages under the lock, and through one at
/// least, which `tail_bytes_max` bounds.
const ERASED_AT_ONCE: usize = 2_000;

/// The state that the writer and the readers share.
#[derive(Clone)]
pub struct Memory {
    conversations: Arc<Mutex<Conversations>>,
    epoch: Epoch,
    change_s_max: u64,
}

struct Conversations {
    conversations: HashMap<Conversation, Log>,
    /// Bytes of all conversations together.
    bytes: usize,
    conversation_bytes_max: usize,
    bytes_max: usize,
    /// Messages of a new conversation get greater seqs than this.
    floor: Seq,
    /// Number of messages stored in conversations that were dropped.
    dropped: u64,
    /// Users whose messages are being erased.
    erasing: Vec<Erasure>,
    /// How often each name was given to another user.
    owners: HashMap<UserName, u64>,
    blobs: MemoryBlobs,
}

/// An erasure under way.
struct Erasure {
    user: UserName,
    /// Conversations that are not done.
    left: Vec<Conversation>,
    erased: usize,
}

#[derive(Default)]
struct Log {
    /// Messages get greater seqs than this.
    first: Seq,
    last: Seq,
    /// Sorted by seq; seqs may be missing.
    messages: VecDeque<Entry>,
    ids: Ids,
    bytes: usize,
    topic: Option<Topic>,
}

/// The seqs of messages by sender and id. An id is unique among the messages of its sender; those
/// of two senders are equal only if one of them has copied it.
#[derive(Default)]
struct Ids {
    /// By the first sender of an id.
    first: HashMap<MsgId, Seq>,
    /// By all other senders of an id.
    copied: HashMap<(UserName, MsgId), Seq>,
}

impl Ids {
    /// Returns the seqs that a message may have.
    fn find(&self, from: &UserName, id: MsgId) -> impl Iterator<Item = Seq> {
        let copied = match self.copied.is_empty() {
            true => None,
            false => self.copied.get(&(from.clone(), id)),
        };
        self.first.get(&id).into_iter().chain(copied).copied()
    }

    /// Adds a message that `find` does not find.
    fn insert(&mut self, from: &UserName, id: MsgId, seq: Seq) {
        match self.first.entry(id) {
            hash_map::Entry::Vacant(entry) => drop(entry.insert(seq)),
            hash_map::Entry::Occupied(_) => drop(self.copied.insert((from.clone(), id), seq)),
        }
    }

    fn remove(&mut self, from: &UserName, id: MsgId, seq: Seq) {
        match self.first.entry(id) {
            hash_map::Entry::Occupied(entry) if *entry.get() == seq => drop(entry.remove()),
            _ => drop(self.copied.remove(&(from.clone(), id))),
        }
    }
}

#[derive(Clone)]
struct Entry {
    seq: Seq,
    sent: Arc<SentMessage>,
    /// Which holder of the sender's name wrote the message.
    owner: u64,
    edited: bool,
    deleted: bool,
}

impl Memory {
    /// Keeps `bytes_max.0` bytes of each conversation, at least its newest message, and
    /// `bytes_max.1` bytes in all. A message can be changed for `change_s_max` seconds.
    pub fn new(epoch: Epoch, bytes_max: (usize, usize), change_s_max: u64) -> Memory {
        let (conversation_bytes_max, bytes_max) = bytes_max;
        let conversations = Conversations {
            conversations: HashMap::new(),
            bytes: 0,
            conversation_bytes_max,
            bytes_max,
            floor: Seq(0),
            dropped: 0,
            erasing: Vec::new(),
            owners: HashMap::new(),
            blobs: MemoryBlobs::default(),
        };
        Memory {
            conversations: Arc::new(Mutex::new(Rank::Ledger, conversations)),
            epoch,
            change_s_max,
        }
    }

    /// Removes a conversation with all its state.
    pub fn forget(&self, conversation: &Conversation) {
        let gone = {
            let mut all = self.lock();
            let gone = all.conversations.remove(conversation);
            all.bytes -= gone.as_ref().map_or(0, |gone| gone.bytes);
            all.dropped += gone.as_ref().map_or(0, |gone| gone.last.0 - gone.first.0);
            all.settle_files();
            gone
        };
        // Frees the messages after the lock is released.
        drop(gone);
    }

    /// Returns the newest messages of a conversation before `before`, newest first, at most
    /// `SLICE_MESSAGES`.
    fn slice(&self, conversation: &Conversation, before: Seq) -> Vec<Entry> {
        let all = self.lock();
        let Some(log) = all.conversations.get(conversation) else { return Vec::new() };
        log.between(Seq(0), before).rev().take(SLICE_MESSAGES).cloned().collect()
    }

    /// Returns the newest messages of a conversation before `before` that are `wanted`, oldest
    /// first, and whether there are more. Does not hold the lock while it checks them.
    fn newest(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        (page, work): (Page, &Work),
        wanted: &dyn Fn(&Entry) -> bool,
    ) -> (Vec<Message>, bool) {
        let mut before = before.unwrap_or(Seq(u64::MAX));
        let (mut newest, mut bytes) = (Vec::new(), 0);
        let more = 'slices: loop {
            let slice = self.slice(conversation, before);
            let Some(last) = slice.last() else { break false };
            before = last.seq;
            for message in slice {
                if work.is_spent() {
                    break 'slices true;
                }
                if !wanted(&message) {
                    continue;
                }
                bytes += page.cost(message.sent.body.wire_len());
                if !page.holds(newest.len(), bytes) {
                    break 'slices true;
                }
                newest.push(message.told(None));
            }
        };
        newest.reverse();
        (newest, more)
    }

    /// Runs a job on the rows of files.
    fn with_blobs<T>(&self, job: impl FnOnce(&mut MemoryBlobs) -> T) -> T {
        job(&mut self.lock().blobs)
    }

    /// Returns the number of the present holder among all holders of a name.
    fn holder(&self, user: &UserName) -> u64 {
        self.lock().holder(user)
    }

    fn lock(&self) -> MutexGuard<'_, Conversations> {
        self.conversations.lock()
    }
}

impl Conversations {
    /// Returns the number of the present holder among all holders of a name.
    fn holder(&self, user: &UserName) -> u64 {
        // Most servers never give a name to another user.
        if self.owners.is_empty() { 0 } else { self.owners.get(user).copied().unwrap_or(0) }
    }

    /// Dooms the files of messages that were removed.
    fn settle_files(&mut self) {
        let conversations = &self.conversations;
        self.blobs.settle(|conversation, seq| {
            conversations.get(conversation)?.message(seq).map(|message| message.deleted)
        });
    }

    fn append(&mut self, sent: &Arc<SentMessage>, change_s_max: u64) -> Outcome {
        let owner = self.holder(&sent.from);
        let log = entry(&mut self.conversations, &sent.conversation, self.floor);
        let before = log.bytes;
        let claims = |seq| self.blobs.claim(sent, owner, seq);
        let outcome = log.append(sent, owner, change_s_max, claims);
        log.shrink(self.conversation_bytes_max);
        let after = log.bytes;
        self.bytes = self.bytes - before + after;
        while self.bytes > self.bytes_max {
            // Removes half of the largest conversation at once, so that the search for it is rare.
            // The newest message of each one is kept.
            let logs = self.conversations.values_mut().filter(|log| log.messages.len() > 1);
            let Some(log) = logs.max_by_key(|log| log.bytes) else { break };
            let before = log.bytes;
            log.shrink(before / 2);
            self.bytes = self.bytes - before + log.bytes;
        }
        outcome
    }
}

/// Returns a conversation's messages, which begin behind `floor` if there are none.
fn entry<'a>(
    conversations: &'a mut HashMap<Conversation, Log>,
    conversation: &Conversation,
    floor: Seq,
) -> &'a mut Log {
    let new = || Log { first: floor, last: floor, ..Log::default() };
    conversations.entry(conversation.clone()).or_insert_with(new)
}

impl Log {
    /// Calls `claims` with a new message's seq. It returns false if the message may not announce
    /// its file.
    fn append(
        &mut self,
        sent: &Arc<SentMessage>,
        owner: u64,
        change_s_max: u64,
        claims: impl FnOnce(Seq) -> bool,
    ) -> Outcome {
        if let Some(known) = self.known(sent) {
            return known_as(&known.sent, known.edited || known.deleted, known.seq, sent);
        }
        if !claims(Seq(self.last.0 + 1)) {
            return Outcome::NoSuchFile;
        }
        if let Some(target) = sent.kind.of()
            && let Err(outcome) = self.change(target, (sent, owner), change_s_max)
        {
            return outcome;
        }
        self.last.0 += 1;
        let (seq, mut sent) = (self.last, Arc::clone(sent));
        self.ids.insert(&sent.from, sent.id, seq);
        if sent.kind.is_edit() {
            // The text is stored in the target.
            Arc::make_mut(&mut sent).body = Body::default();
        }
        self.bytes += MESSAGE_BYTES + sent.body.len();
        self.messages.push_back(Entry { seq, sent, owner, edited: false, deleted: false });
        Outcome::Stored(seq)
    }

    /// Returns the message of the same sender with the same id.
    fn known(&self, sent: &SentMessage) -> Option<&Entry> {
        let mut same_id = self.ids.find(&sent.from, sent.id).filter_map(|seq| self.message(seq));
        same_id.find(|known| known.sent.from == sent.from)
    }

    /// Removes the oldest messages until at most `bytes_max` bytes or one message remain.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.messages.len() > 1 {
            let Some(gone) = self.messages.pop_front() else { break };
            self.forget(gone);
        }
    }

    /// Gives the messages of a private conversation its new name, and those of the renamed user
    /// the user's new name.
    fn rename(
        &mut self,
        to: &Conversation,
        (old, new): (&UserName, &UserName),
        (holder, next): (u64, u64),
    ) {
        for message in &mut self.messages {
            let sent = Arc::make_mut(&mut message.sent);
            sent.conversation = to.clone();
            if sent.from == *old {
                sent.from = new.clone();
                // Nobody can change messages of an earlier user with the old name.
                message.owner = if message.owner == holder { next } else { u64::MAX };
            }
        }
        self.ids = Ids::default();
        for one in &self.messages {
            self.ids.insert(&one.sent.from, one.sent.id, one.seq);
        }
    }

    /// Updates the counts after a message was removed.
    fn forget(&mut self, gone: Entry) {
        self.bytes -= MESSAGE_BYTES + gone.sent.body.len();
        self.ids.remove(&gone.sent.from, gone.sent.id, gone.seq);
    }

    /// Erases the texts and the topic of a user. Returns the number of texts.
    fn erase(&mut self, user: &UserName) -> usize {
        self.topic.take_if(|topic| topic.by == *user);
        let mut erased = 0;
        let own = |message: &&mut Entry| message.sent.from == *user && !message.deleted;
        for message in self.messages.iter_mut().filter(own) {
            self.bytes -= message.sent.body.len();
            Arc::make_mut(&mut message.sent).body = Body::default();
            message.deleted = true;
            erased += 1;
        }
        erased
    }

    fn change(
        &mut self,
        target: Seq,
        (sent, owner): (&SentMessage, u64),
        change_s_max: u64,
    ) -> Result<(), Outcome> {
        let index = self.index(target).ok_or(Outcome::NoSuchMessage)?;
        let target = &mut self.messages[index];
        let flags = (target.owner == owner, target.deleted);
        may_change(&target.sent, flags, sent, change_s_max)?;
        let before = target.sent.body.len();
        // The body of a deletion is empty or, if messages are sealed, not used.
        target.edited = sent.kind.is_edit();
        target.deleted = !target.edited;
        let body = if target.edited { sent.body.clone() } else { Body::default() };
        Arc::make_mut(&mut target.sent).body = body;
        let after = target.sent.body.len();
        self.bytes = self.bytes - before + after;
        Ok(())
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        self.messages.binary_search_by_key(&seq, |message| message.seq).ok()
    }

    fn message(&self, seq: Seq) -> Option<&Entry> {
        self.index(seq).map(|index| &self.messages[index])
    }

    /// Returns the messages with `after < seq < before`.
    fn between(&self, after: Seq, before: Seq) -> vec_deque::Iter<'_, Entry> {
        let first = self.messages.partition_point(|message| message.seq <= after);
        let end = self.messages.partition_point(|message| message.seq < before).max(first);
        self.messages.range(first..end)
    }
}

impl Entry {
    /// Returns a message as it is delivered from history: an edit has the present text of its
    /// `target`.
    fn told(&self, target: Option<&SentMessage>) -> Message {
        let mut sent = SentMessage::clone(&self.sent);
        if sent.kind.is_edit() {
            sent.body = target.map(|target| target.body.clone()).unwrap_or_default();
        }
        message(sent, self.seq, self.edited, self.deleted)
    }
}

impl Ledger for Memory {
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError> {
        let mut all = self.lock();
        let mut write = |record: &Record| match record {
            Record::Message(sent) => all.append(sent, self.change_s_max),
            Record::Topic(channel, topic) => {
                let (floor, channel) = (all.floor, Conversation::Channel(channel.clone()));
                entry(&mut all.conversations, &channel, floor).topic = topic.clone();
                Outcome::Stored(Seq(0))
            }
            // The registry has these for as long as the process runs.
            Record::Read(..) | Record::Away(..) => Outcome::Stored(Seq(0)),
        };
        let outcomes = records.iter().map(&mut write).collect();
        all.settle_files();
        Ok(outcomes)
    }

    fn stored(&self, _line: &SentMessage) -> Option<Seq> {
        // A ledger in memory never fails, so that this is not called.
        None
    }

    fn expire(
        &mut self,
        conversation: &Conversation,
        before_ms: i64,
    ) -> Result<(usize, bool), LedgerError> {
        let mut all = self.lock();
        let Some(log) = all.conversations.get_mut(conversation) else { return Ok((0, false)) };
        let before = log.bytes;
        let (gone, kept): (VecDeque<_>, _) = std::mem::take(&mut log.messages)
            .into_iter()
            .partition(|message| message.sent.time_ms < before_ms);
        log.messages = kept;
        let old = gone.len();
        gone.into_iter().for_each(|message| log.forget(message));
        let after = log.bytes;
        all.bytes = all.bytes - before + after;
        all.settle_files();
        Ok((old, false))
    }

    fn count_old(
        &self,
        conversation: &Conversation,
        before_ms: i64,
        _from: Option<Place>,
    ) -> Result<(usize, Option<Place>), LedgerError> {
        let all = self.lock();
        let Some(log) = all.conversations.get(conversation) else { return Ok((0, None)) };
        let old = log.messages.iter().filter(|message| message.sent.time_ms < before_ms);
        Ok((old.count(), None))
    }

    fn detach(&mut self, conversation: &Conversation, _kept: bool) -> Result<(), LedgerError> {
        self.forget(conversation);
        Ok(())
    }

    fn remove_detached(&mut self) -> Result<bool, LedgerError> {
        Ok(false)
    }

    fn waiting(
        &self,
        _conversation: &Conversation,
        _user: &UserName,
        _waiting_max: usize,
    ) -> Result<usize, LedgerError> {
        Ok(0)
    }

    fn drop_empty(&mut self, conversation: &Conversation) -> Result<(), LedgerError> {
        if let Some(last) = self.emptied(conversation)? {
            {
                let mut all = self.lock();
                all.floor = all.floor.max(last);
            }
            self.forget(conversation);
        }
        Ok(())
    }

    fn emptied(&self, conversation: &Conversation) -> Result<Option<Seq>, LedgerError> {
        let all = self.lock();
        let empty = all.conversations.get(conversation).filter(|log| log.messages.is_empty());
        Ok(empty.map(|log| log.last))
    }

    fn floor(&self) -> Seq {
        self.lock().floor
    }

    fn conversations(&self) -> Vec<Conversation> {
        self.lock().conversations.keys().cloned().collect()
    }

    fn tidy(&mut self, _now_ms: i64) -> Result<Tidied, LedgerError> {
        Ok(Tidied::Done)
    }

    fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        let all = self.lock();
        let newest =
            all.conversations.values().flat_map(|conversation| conversation.messages.back());
        Ok(newest.map(|message| message.sent.time_ms).max())
    }

    fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError> {
        let mut all = self.lock();
        let left = all.conversations.keys().cloned().collect();
        all.erasing.push(Erasure { user: user.clone(), left, erased: 0 });
        all.blobs.doom_unclaimed(user);
        Ok(())
    }

    fn renew(&mut self, user: &UserName) -> Result<(), LedgerError> {
        let mut all = self.lock();
        *all.owners.entry(user.clone()).or_default() += 1;
        all.blobs.doom_unclaimed(user);
        Ok(())
    }

    fn rename(&mut self, old: &UserName, new: &UserName) -> Result<Vec<Conversation>, LedgerError> {
        // An erasure finds texts by the name of their sender.
        while self.erase_some()?.is_some() {}
        let mut all = self.lock();
        let holder = |name| all.owners.get(name).copied().unwrap_or(0);
        let holders = (holder(old), holder(new));
        let mut kept = Vec::new();
        let names: Vec<Conversation> = all.conversations.keys().cloned().collect();
        for from in names {
            let Some(to) = from.renamed(old, new) else { continue };
            let taken = all.conversations.get(&to).is_some_and(|log| !log.messages.is_empty());
            if taken {
                kept.push(from);
            } else if let Some(mut log) = all.conversations.remove(&from) {
                log.rename(&to, (old, new), holders);
                all.floor = all.floor.max(log.last);
                all.conversations.insert(to, log);
            }
        }
        let topics = all.conversations.values_mut().filter_map(|log| log.topic.as_mut());
        topics.filter(|topic| topic.by == *old).for_each(|topic| topic.by = new.clone());
        all.blobs.rename((old, new), holders);
        Ok(kept)
    }

    fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError> {
        let mut all = self.lock();
        let Some(mut erasure) = all.erasing.pop() else { return Ok(None) };
        let (mut part, mut seen) = (0, 0);
        while let Some(name) = erasure.left.pop() {
            let Some(conversation) = all.conversations.get_mut(&name) else { continue };
            let before = conversation.bytes;
            seen += conversation.messages.len();
            part += conversation.erase(&erasure.user);
            let after = conversation.bytes;
            all.bytes = all.bytes - before + after;
            if seen >= ERASED_AT_ONCE {
                break;
            }
        }
        all.settle_files();
        erasure.erased += part;
        let (user, messages) = (erasure.user.clone(), erasure.erased);
        let more = !erasure.left.is_empty();
        if more {
            all.erasing.push(erasure);
        }
        Ok(Some(Erased { user, part, messages, unreadable: 0, more }))
    }

    fn remembered(&self, _waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        let all = self.lock();
        let remember = |(conversation, log): (&Conversation, &Log)| Remembered {
            conversation: conversation.clone(),
            first: log.first,
            last: log.last,
            stored: !log.messages.is_empty(),
            topic: log.topic.clone(),
            reads: Vec::new(),
            waiting: Vec::new(),
        };
        Ok(all.conversations.iter().map(remember).collect())
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn stored_ever(&self) -> u64 {
        let all = self.lock();
        all.dropped + all.conversations.values().map(|one| one.last.0 - one.first.0).sum::<u64>()
    }

    fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), LedgerError> {
        self.epoch = epoch;
        Ok(())
    }
}

impl Reader for Memory {
    fn read(
        &self,
        conversation: &Conversation,
        after: Seq,
        upto: Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError> {
        let taken: Vec<(Entry, Option<Arc<SentMessage>>)> = {
            let all = self.lock();
            let Some(log) = all.conversations.get(conversation) else { return Ok(Vec::new()) };
            let target = |message: &Entry| {
                let target = message.sent.kind.of().and_then(|of| log.message(of))?;
                Some(Arc::clone(&target.sent))
            };
            let wanted = log.between(after, Seq(upto.0.saturating_add(1)));
            let wanted = wanted.take(page.messages_max.min(SLICE_MESSAGES));
            wanted.map(|message| (message.clone(), target(message))).collect()
        };
        Ok(page.take(taken.iter().map(|(message, target)| message.told(target.as_deref()))))
    }

    fn history(
        &self,
        conversation: &Conversation,
        older: Older,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let said = |message: &Entry| {
            older.since_ms.is_none_or(|since| message.sent.time_ms >= since)
                && !message.sent.kind.is_change()
                && (!older.files || message.sent.kind.blob().is_some())
        };
        Ok(self.newest(conversation, older.before, (page, work), &said))
    }

    fn search_conversation(
        &self,
        conversation: &Conversation,
        (wanted, matching): (&Wanted, Matching),
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let holds = |message: &Entry| {
            let SentMessage { kind, body, .. } = &*message.sent;
            !kind.is_change() && kind.blob().is_none() && wanted.is_in(body.text(), matching)
        };
        Ok(self.newest(conversation, None, (page, work), &holds))
    }

    fn count(
        &self,
        conversation: &Conversation,
        (after, upto): (Seq, Seq),
        but: &UserName,
        work: &Arc<Work>,
    ) -> Result<Counted, LedgerError> {
        let mut by: HashMap<UserName, u64> = HashMap::new();
        let mut before = Seq(upto.0.saturating_add(1));
        loop {
            let slice = self.slice(conversation, before);
            let Some(last) = slice.last().filter(|_| before.0 > after.0 + 1) else { break };
            before = last.seq;
            if work.is_spent() {
                return Ok(Counted::of(by.into_iter().collect(), true));
            }
            let counts = |message: &&Entry| {
                let sent = &message.sent;
                let said = !sent.kind.is_change() && !message.deleted;
                message.seq > after && said && sent.from != *but
            };
            for message in slice.iter().filter(counts) {
                *by.entry(message.sent.from.clone()).or_default() += 1;
            }
        }
        Ok(Counted::of(by.into_iter().collect(), false))
    }

    fn another(&self) -> Box<dyn Reader> {
        // Readers of memory do not wait for each other.
        Box::new(self.clone())
    }
}
