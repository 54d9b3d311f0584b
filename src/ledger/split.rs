//! Selects the ledger of a conversation: on disk, or in memory if its messages are not stored.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Blobs, Counted, Erased, Ledger, LedgerError, Memory, Older, Outcome, Page, Place, Reader,
    Record, Remembered, SentMessage, Swept, Tidied, Work,
};
use crate::chat::registry::Mailbox;
use crate::chat::{
    BlobId, Conversation, Epoch, Matching, Message, MsgId, Retention, Seq, UserName, Wanted,
};
use crate::config::Retentions;

/// The writing half for all conversations.
pub struct SplitLedger {
    disk: Option<Box<dyn Ledger>>,
    memory: Memory,
    retentions: Retentions,
    /// Messages of a commit whose sync failed.
    doubtful: HashSet<MessageKey>,
    /// Conversations that the running sweep, and the running count, have not processed.
    unswept: Option<Unswept>,
    uncounted: Option<Uncounted>,
    watch: Option<Watch>,
    doomed: Option<Doomed>,
    detached: Option<Detached>,
    /// Whether new messages on disk are refused.
    refuses_new: bool,
}

/// Receives, after each commit to disk, the id of the logs and the number of messages ever stored.
type Watch = Box<dyn FnMut(Epoch, u64) + Send>;

/// Receives files that were doomed, right after the commit that did it.
type Doomed = Box<dyn FnMut(Vec<BlobId>) + Send>;

/// Receives conversations that were detached, before their files are doomed.
type Detached = Box<dyn FnMut(&Conversation) + Send>;

/// Conversations, and whether a message of the conversation was found.
type Unswept = Vec<(Conversation, bool)>;

/// Conversations, and the place in the last one where the count continues.
type Uncounted = (Vec<Conversation>, Option<Place>);

/// The key that identifies a message.
type MessageKey = (Conversation, UserName, MsgId);

/// The reading half for all conversations.
pub struct SplitReader {
    disk: Option<Box<dyn Reader>>,
    memory: Memory,
    retentions: Retentions,
}

/// A sweep processes conversations for this long while commits wait, or until it has removed
/// something.
const SWEEP_TURN: Duration = Duration::from_millis(5);

/// Both halves of a ledger on disk.
pub type Halves = (Box<dyn Ledger>, Box<dyn Reader>);

impl SplitLedger {
    /// Without a `disk`, everything is in memory, whatever the retentions are.
    pub fn new(
        disk: Option<Halves>,
        memory: Memory,
        retentions: Retentions,
    ) -> (SplitLedger, Arc<SplitReader>) {
        let (disk, reader) = match disk {
            Some((disk, reader)) => (Some(disk), Some(reader)),
            None => (None, None),
        };
        let kept = SplitLedger {
            disk,
            memory: memory.clone(),
            retentions: retentions.clone(),
            doubtful: HashSet::new(),
            unswept: None,
            uncounted: None,
            watch: None,
            doomed: None,
            detached: None,
            refuses_new: false,
        };
        (kept, Arc::new(SplitReader { disk: reader, memory, retentions }))
    }

    /// Sets the function that learns the state of the disk before anybody else does.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Sets the function that learns of doomed files before anybody else does.
    pub fn on_doomed(&mut self, doomed: Doomed) {
        self.doomed = Some(doomed);
    }

    /// Sets the function that is called with each detached conversation, before it is reported
    /// elsewhere.
    pub fn on_detached(&mut self, detached: Detached) {
        self.detached = Some(detached);
    }

    /// Passes on the files that were doomed since the last call.
    pub fn tell_doomed(&mut self) {
        let files = self.blobs().take_doomed();
        if let Some(doomed) = self.doomed.as_mut().filter(|_| !files.is_empty()) {
            doomed(files);
        }
    }

    /// Sets whether new messages on disk are refused. Deletions, read positions and topics are
    /// stored in any case, and a message that was stored before is recognised.
    pub fn refuse_new(&mut self, refuses: bool) {
        self.refuses_new = refuses;
    }

    /// Sets other retentions. They must not move a conversation between disk and memory.
    pub fn set_retentions(&mut self, retentions: Retentions) {
        self.retentions = retentions;
    }

    /// Commits records and returns an outcome for each. If the disk fails, its records fail, and
    /// the error is returned too.
    pub fn commit(&mut self, records: Vec<Record>) -> (Vec<Outcome>, Option<LedgerError>) {
        let done = self.commit_all(records);
        self.tell_doomed();
        done
    }

    fn commit_all(&mut self, records: Vec<Record>) -> (Vec<Outcome>, Option<LedgerError>) {
        let Some(disk) = &mut self.disk else {
            return (commit_to_memory(&mut self.memory, &records), None);
        };
        let on_disk: Vec<bool> =
            records.iter().map(|record| is_persistent(&self.retentions, record)).collect();
        let (persistent, ephemeral) = split(records, &on_disk);
        // The outcomes of refused records, by their index among the persistent records.
        let refused = |record: &Record| match sent(record) {
            Some(sent) if self.refuses_new && (sent.kind.is_edit() || !sent.kind.is_change()) => {
                Some(disk.stored(sent).map_or(Outcome::NoRoom, Outcome::Known))
            }
            _ => None,
        };
        let refused: Vec<Option<Outcome>> = persistent.iter().map(refused).collect();
        let taken: Vec<bool> = refused.iter().map(Option::is_none).collect();
        let (persistent, _) = split(persistent, &taken);
        let mut ephemeral = commit_to_memory(&mut self.memory, &ephemeral).into_iter();
        let (persistent, fault) = match disk.commit(&persistent) {
            Ok(outcomes) => {
                if let Some(watch) = &mut self.watch {
                    watch(disk.epoch(), disk.stored_ever());
                }
                (outcomes, None)
            }
            Err(error) => {
                if let LedgerError::InDoubt { .. } = error {
                    self.doubtful.extend(persistent.iter().filter_map(sent).map(name));
                }
                let outcome = |record: &Record| match sent(record) {
                    Some(sent) => match disk.stored(sent) {
                        Some(seq) => Outcome::Known(seq),
                        None if self.doubtful.contains(&name(sent)) => Outcome::InDoubt,
                        None => Outcome::Failed,
                    },
                    None => Outcome::Failed,
                };
                (persistent.iter().map(outcome).collect(), Some(error))
            }
        };
        let mut stored = persistent.into_iter();
        let persistent = refused.into_iter().map(|outcome| outcome.or_else(|| stored.next()));
        let mut persistent = persistent.flatten();
        let next = |on_disk: bool| if on_disk { persistent.next() } else { ephemeral.next() };
        let outcomes = on_disk.into_iter().map(next);
        (outcomes.map(|outcome| outcome.expect("one for each record")).collect(), fault)
    }

    /// Removes messages that are older than their conversation's retention, a bounded number at
    /// once. While the result has `more`, the next call continues.
    pub fn sweep(&mut self, now_ms: i64) -> Result<Swept, LedgerError> {
        let swept = self.sweep_some(now_ms);
        self.tell_doomed();
        swept
    }

    fn sweep_some(&mut self, now_ms: i64) -> Result<Swept, LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(Swept::default()) };
        let all =
            || disk.conversations().into_iter().map(|conversation| (conversation, false)).collect();
        let mut conversations = self.unswept.take().unwrap_or_else(all);
        let (mut swept, began) = (Swept::default(), Instant::now());
        while let Some((conversation, counted)) = conversations.pop() {
            let Some(before_ms) = expiry(&self.retentions, &conversation, now_ms) else { continue };
            let (messages, more) = match disk.expire(&conversation, before_ms) {
                // Other conversations keep their retention.
                Err(error) if error.is_damage() => {
                    let place = conversation.in_log();
                    log::error!("old messages of {place} are not removed: {error}");
                    continue;
                }
                expired => expired?,
            };
            swept.messages += messages;
            swept.conversations += usize::from(messages > 0 && !counted);
            if more {
                conversations.push((conversation, counted || messages > 0));
            } else {
                note_empty(&mut **disk, &self.retentions, conversation, &mut swept.emptied)?;
            }
            if messages > 0 || began.elapsed() >= SWEEP_TURN {
                swept.more = true;
                self.unswept = Some(conversations);
                return Ok(swept);
            }
        }
        Ok(swept)
    }

    /// Counts the messages that `sweep` would remove, a bounded number at once. While the result
    /// has `more`, the next call continues.
    pub fn count_old(&mut self, now_ms: i64) -> Result<Swept, LedgerError> {
        let Some(disk) = &self.disk else { return Ok(Swept::default()) };
        let all = || (disk.conversations(), None);
        let (mut left, mut place) = self.uncounted.take().unwrap_or_else(all);
        let (mut swept, began) = (Swept::default(), Instant::now());
        while let Some(conversation) = left.pop() {
            let Some(before_ms) = expiry(&self.retentions, &conversation, now_ms) else { continue };
            let (messages, next) = disk.count_old(&conversation, before_ms, place)?;
            swept.messages += messages;
            swept.conversations += usize::from(messages > 0 && place.is_none());
            place = next;
            if place.is_some() {
                left.push(conversation);
            }
            if place.is_some() || began.elapsed() >= SWEEP_TURN {
                swept.more = true;
                self.uncounted = Some((left, place));
                return Ok(swept);
            }
        }
        Ok(swept)
    }

    /// Indexes the words of some of the new messages on disk. Returns whether there may be many
    /// more.
    pub fn index_some(&mut self) -> Result<bool, LedgerError> {
        self.disk.as_mut().map_or(Ok(false), |disk| disk.index_some())
    }

    /// Does one part of erasing removed texts from the medium.
    pub fn tidy(&mut self, now_ms: i64) -> Result<Tidied, LedgerError> {
        self.disk.as_mut().map_or(Ok(Tidied::Done), |disk| disk.tidy(now_ms))
    }

    /// Returns the time of the newest message on disk.
    pub fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.newest_ms())
    }

    /// Marks the texts of all messages of a user for erasure by `erase_some`.
    pub fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.memory.begin_erasing(user)?;
        let begun = self.disk.as_mut().map_or(Ok(()), |disk| disk.begin_erasing(user));
        self.tell_doomed();
        begun
    }

    /// Erases a bounded number of marked texts; `None` if nothing is left.
    pub fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError> {
        let erased = match self.memory.erase_some()? {
            Some(erased) => Ok(Some(erased)),
            None => self.disk.as_mut().map_or(Ok(None), |disk| disk.erase_some()),
        };
        self.tell_doomed();
        erased
    }

    /// Records that a name was given to another user.
    pub fn renew(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.memory.renew(user)?;
        let renewed = self.disk.as_mut().map_or(Ok(()), |disk| disk.renew(user));
        self.tell_doomed();
        renewed
    }

    /// Moves what belongs to the user `old` to the name `new`. Returns the private conversations
    /// that did not move.
    ///
    /// # Errors
    /// The disk cannot be written.
    pub fn rename(
        &mut self,
        old: &UserName,
        new: &UserName,
    ) -> Result<Vec<Conversation>, LedgerError> {
        let mut kept = self.disk.as_mut().map_or(Ok(Vec::new()), |disk| disk.rename(old, new))?;
        kept.extend(self.memory.rename(old, new)?);
        Ok(kept)
    }

    /// Removes a conversation without members from memory, and from disk if the operator has
    /// configured that.
    pub fn forget(&mut self, conversation: &Conversation) -> Result<(), LedgerError> {
        self.memory.forget(conversation);
        let forgotten = self.forget_on_disk(conversation);
        self.tell_doomed();
        forgotten
    }

    fn forget_on_disk(&mut self, conversation: &Conversation) -> Result<(), LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let is_named = self.retentions.names(conversation);
        if self.retentions.forgets(conversation) {
            disk.detach(conversation, is_named)?;
            if let Some(detached) = &mut self.detached {
                detached(conversation);
            }
            // Most have few messages, and leave nothing for later.
            return disk.remove_detached().map(drop);
        }
        if !is_named {
            disk.drop_empty(conversation)?;
        }
        Ok(())
    }

    /// Returns all conversations that have messages, a topic or read positions.
    pub fn conversations(&self) -> Vec<Conversation> {
        let mut all = self.memory.conversations();
        all.extend(self.disk.iter().flat_map(|disk| disk.conversations()));
        all
    }

    /// Detaches all messages of a channel: nobody can read them and their files any more, and
    /// `remove_detached` removes them. Its topic and read positions stay. Returns its last seq.
    pub fn detach(&mut self, channel: &Conversation) -> Result<Option<Seq>, LedgerError> {
        // A configuration may have moved it between memory and disk.
        self.memory.expire(channel, i64::MAX)?;
        let detached = self.detach_on_disk(channel);
        self.tell_doomed();
        detached
    }

    fn detach_on_disk(&mut self, channel: &Conversation) -> Result<Option<Seq>, LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(None) };
        disk.detach(channel, true)?;
        if let Some(detached) = &mut self.detached {
            detached(channel);
        }
        disk.emptied(channel)
    }

    /// Removes a bounded number of messages of forgotten conversations. Returns whether there may
    /// be more.
    pub fn remove_detached(&mut self) -> Result<bool, LedgerError> {
        let removed = self.disk.as_mut().map_or(Ok(false), |disk| disk.remove_detached());
        self.tell_doomed();
        removed
    }

    /// Counts the messages of private conversations that wait for a user, at most `waiting_max` of
    /// each. Leaves out conversations in memory.
    pub fn waiting(
        &self,
        mailboxes: Vec<Mailbox>,
        waiting_max: usize,
    ) -> Result<Vec<(Mailbox, usize)>, LedgerError> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let mut counted = Vec::new();
        for (user, sender) in mailboxes {
            let conversation = Conversation::private(user.clone(), sender.clone());
            if self.retentions.of(&conversation) != Retention::Off {
                let count = disk.waiting(&conversation, &user, waiting_max)?;
                counted.push(((user, sender), count));
            }
        }
        Ok(counted)
    }

    /// Returns the seq after which a new conversation on disk starts.
    pub fn floor(&self) -> Seq {
        self.disk.as_ref().map_or(Seq(0), |disk| disk.floor())
    }

    pub fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let mut all = disk.remembered(waiting_max)?;
        all.retain(|remembered| self.retentions.of(&remembered.conversation) != Retention::Off);
        Ok(all)
    }

    /// Returns the number of messages that were ever stored on disk.
    pub fn stored_ever(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.stored_ever())
    }

    /// Sets another id for the logs on disk.
    pub fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        disk.begin_epoch(epoch)?;
        if let Some(watch) = &mut self.watch {
            watch(epoch, disk.stored_ever());
        }
        Ok(())
    }

    /// Returns the rows of encrypted files.
    pub fn blobs(&mut self) -> &mut dyn Blobs {
        match &mut self.disk {
            Some(disk) => &mut **disk,
            None => &mut self.memory,
        }
    }

    /// Returns the id of the logs on disk.
    pub fn epoch(&self) -> Epoch {
        self.disk.as_ref().map_or(self.memory.epoch(), |disk| disk.epoch())
    }
}

/// Returns the time before which messages of a conversation are too old; `None` if none is.
fn expiry(retentions: &Retentions, conversation: &Conversation, now_ms: i64) -> Option<i64> {
    match retentions.of(conversation) {
        Retention::Forever => None,
        Retention::For(span) => Some(now_ms - span.as_ms()),
        // Messages that were stored before the operator turned storage off.
        Retention::Off => Some(i64::MAX),
    }
}

/// Records an empty conversation for the registry, which knows its members. If the conversation is
/// only in memory, drops what an earlier configuration has left of it on disk.
fn note_empty(
    disk: &mut dyn Ledger,
    retentions: &Retentions,
    conversation: Conversation,
    emptied: &mut Vec<(Conversation, Seq)>,
) -> Result<(), LedgerError> {
    let Some(last) = disk.emptied(&conversation)? else { return Ok(()) };
    if retentions.of(&conversation) != Retention::Off {
        emptied.push((conversation, last));
    } else if !retentions.names(&conversation) {
        disk.drop_empty(&conversation)?;
    }
    Ok(())
}

fn is_persistent(retentions: &Retentions, record: &Record) -> bool {
    match record {
        Record::Message(sent) => retentions.of(&sent.conversation) != Retention::Off,
        Record::Topic(channel, _) => {
            retentions.of(&Conversation::Channel(channel.clone())) != Retention::Off
        }
        Record::Read(_, conversation, _) => retentions.of(conversation) != Retention::Off,
        Record::Away(_, conversations) => conversations
            .first()
            .is_some_and(|conversation| retentions.of(conversation) != Retention::Off),
    }
}

fn split(records: Vec<Record>, on_disk: &[bool]) -> (Vec<Record>, Vec<Record>) {
    let (mut persistent, mut ephemeral) = (Vec::new(), Vec::new());
    for (record, on_disk) in records.into_iter().zip(on_disk) {
        if *on_disk { persistent.push(record) } else { ephemeral.push(record) }
    }
    (persistent, ephemeral)
}

fn sent(record: &Record) -> Option<&SentMessage> {
    match record {
        Record::Message(sent) => Some(sent),
        _ => None,
    }
}

fn name(sent: &SentMessage) -> MessageKey {
    (sent.conversation.clone(), sent.from.clone(), sent.id)
}

fn commit_to_memory(memory: &mut Memory, records: &[Record]) -> Vec<Outcome> {
    memory.commit(records).expect("memory does not fail")
}

impl SplitReader {
    fn of(&self, conversation: &Conversation) -> &dyn Reader {
        match &self.disk {
            Some(disk) if self.retentions.of(conversation) != Retention::Off => &**disk,
            _ => &self.memory,
        }
    }
}

impl Reader for SplitReader {
    fn read(
        &self,
        conversation: &Conversation,
        after: Seq,
        upto: Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError> {
        self.of(conversation).read(conversation, after, upto, page)
    }

    fn history(
        &self,
        conversation: &Conversation,
        older: Older,
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        self.of(conversation).history(conversation, older, page, work)
    }

    fn search_conversation(
        &self,
        conversation: &Conversation,
        wanted: (&Wanted, Matching),
        page: Page,
        work: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        self.of(conversation).search_conversation(conversation, wanted, page, work)
    }

    fn count(
        &self,
        conversation: &Conversation,
        span: (Seq, Seq),
        but: &UserName,
        work: &Arc<Work>,
    ) -> Result<Counted, LedgerError> {
        self.of(conversation).count(conversation, span, but, work)
    }

    fn another(&self) -> Box<dyn Reader> {
        let disk = self.disk.as_ref().map(|disk| disk.another());
        let (memory, retentions) = (self.memory.clone(), self.retentions.clone());
        Box::new(SplitReader { disk, memory, retentions })
    }
}
