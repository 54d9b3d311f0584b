//! Selects the ledger of a conversation: on disk, or in memory if its messages are not stored.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Counted, Draft, Erased, Ledger, LedgerError, Memory, Older, Outcome, Page, Reader, Record,
    Remembered, Swept, Tidied, Work,
};
use crate::chat::{Conversation, LogId, Message, MsgId, Retention, Seq, UserName, Wanted};
use crate::config::Retentions;

/// The writing half for all conversations.
pub struct SplitLedger {
    disk: Option<Box<dyn Ledger>>,
    memory: Memory,
    retentions: Retentions,
    /// Messages of a commit whose sync failed.
    doubtful: HashSet<LineName>,
    /// Conversations that the running sweep, and the running count, have not processed.
    unswept: Option<Unswept>,
    uncounted: Option<Unswept>,
    watch: Option<Watch>,
}

/// Receives, after each commit to disk, the id of the logs and the number of messages ever stored.
type Watch = Box<dyn FnMut(LogId, u64) + Send>;

/// Conversations, and whether a message of the conversation was found.
type Unswept = Vec<(Conversation, bool)>;

/// The key that identifies a message.
type LineName = (Conversation, UserName, MsgId);

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
pub type Disk = (Box<dyn Ledger>, Box<dyn Reader>);

impl SplitLedger {
    /// Without a `disk`, everything is in memory, whatever the retentions are.
    pub fn new(
        disk: Option<Disk>,
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
        };
        (kept, Arc::new(SplitReader { disk: reader, memory, retentions }))
    }

    /// Sets the function that learns the state of the disk before anybody else does.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Sets other retentions. They must not move a conversation between disk and memory.
    pub fn set_retentions(&mut self, retentions: Retentions) {
        self.retentions = retentions;
    }

    /// Commits records and returns an outcome for each. If the disk fails, its records fail, and
    /// the error is returned too.
    pub fn commit(&mut self, records: Vec<Record>) -> (Vec<Outcome>, Option<LedgerError>) {
        let Some(disk) = &mut self.disk else {
            return (commit_to_memory(&mut self.memory, &records), None);
        };
        let on_disk: Vec<bool> =
            records.iter().map(|record| is_persistent(&self.retentions, record)).collect();
        let (persistent, ephemeral) = split(records, &on_disk);
        let mut ephemeral = commit_to_memory(&mut self.memory, &ephemeral).into_iter();
        let (persistent, fault) = match disk.commit(&persistent) {
            Ok(outcomes) => {
                if let Some(watch) = &mut self.watch {
                    watch(disk.log_id(), disk.stored_ever());
                }
                (outcomes, None)
            }
            Err(error) => {
                if let LedgerError::InDoubt { .. } = error {
                    self.doubtful.extend(persistent.iter().filter_map(line).map(name));
                }
                let outcome = |record: &Record| match line(record) {
                    Some(line) => match disk.stored(line) {
                        Some(seq) => Outcome::Known(seq),
                        None if self.doubtful.contains(&name(line)) => Outcome::InDoubt,
                        None => Outcome::Failed,
                    },
                    None => Outcome::Failed,
                };
                (persistent.iter().map(outcome).collect(), Some(error))
            }
        };
        let mut persistent = persistent.into_iter();
        let next = |on_disk: bool| if on_disk { persistent.next() } else { ephemeral.next() };
        let outcomes = on_disk.into_iter().map(next);
        (outcomes.map(|outcome| outcome.expect("one for each record")).collect(), fault)
    }

    /// Removes messages that are older than their conversation's retention, a bounded number at
    /// once; with `dry`, only counts them. While the result has `more`, the next call continues.
    pub fn sweep(&mut self, now_ms: i64, dry: bool) -> Result<Swept, LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(Swept::default()) };
        let all =
            || disk.conversations().into_iter().map(|conversation| (conversation, false)).collect();
        // A count during a sweep has its own progress.
        let left = if dry { &mut self.uncounted } else { &mut self.unswept };
        let mut conversations = left.take().unwrap_or_else(all);
        let (mut swept, began) = (Swept::default(), Instant::now());
        while let Some((conversation, counted)) = conversations.pop() {
            let before_ms = match self.retentions.of(&conversation) {
                Retention::Forever => continue,
                Retention::For(span) => now_ms - span.as_ms(),
                // Removes messages that were stored before the operator turned storage off.
                Retention::Off => i64::MAX,
            };
            let (lines, more) = disk.expire(&conversation, before_ms, dry)?;
            swept.lines += lines;
            swept.conversations += usize::from(lines > 0 && !counted);
            if more {
                conversations.push((conversation, counted || lines > 0));
            } else if !dry {
                note_empty(&mut **disk, &self.retentions, conversation, &mut swept.emptied)?;
            }
            if (!dry && lines > 0) || began.elapsed() >= SWEEP_TURN {
                swept.more = true;
                *left = Some(conversations);
                return Ok(swept);
            }
        }
        Ok(swept)
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
        self.disk.as_mut().map_or(Ok(()), |disk| disk.begin_erasing(user))
    }

    /// Erases a bounded number of marked texts; `None` if nothing is left.
    pub fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError> {
        match self.memory.erase_some()? {
            Some(erased) => Ok(Some(erased)),
            None => self.disk.as_mut().map_or(Ok(None), |disk| disk.erase_some()),
        }
    }

    /// Records that a name was given to another user.
    pub fn renew(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.memory.renew(user)?;
        self.disk.as_mut().map_or(Ok(()), |disk| disk.renew(user))
    }

    /// Removes a conversation without members from memory, and from disk if the operator has
    /// configured that.
    pub fn forget(&mut self, conversation: &Conversation) -> Result<(), LedgerError> {
        self.memory.forget(conversation);
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let forgets = self.retentions.forgets(conversation);
        while forgets && disk.expire(conversation, i64::MAX, false)?.1 {}
        if !self.retentions.names(conversation) {
            disk.drop_empty(conversation)?;
        }
        Ok(())
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
    pub fn begin_log(&mut self, log: LogId) -> Result<(), LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        disk.begin_log(log)?;
        if let Some(watch) = &mut self.watch {
            watch(log, disk.stored_ever());
        }
        Ok(())
    }

    /// Returns the id of the logs on disk.
    pub fn log_id(&self) -> LogId {
        self.disk.as_ref().map_or(self.memory.log_id(), |disk| disk.log_id())
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
        Record::Line(draft) => retentions.of(&draft.conversation) != Retention::Off,
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

fn line(record: &Record) -> Option<&Draft> {
    match record {
        Record::Line(line) => Some(line),
        _ => None,
    }
}

fn name(line: &Draft) -> LineName {
    (line.conversation.clone(), line.from.clone(), line.id)
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
        wanted: &Wanted,
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
