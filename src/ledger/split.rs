//! Which ledger a conversation is in: on disk, or in memory where nothing of it is to be kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Draft, Erased, Ledger, LedgerError, Memory, Older, Outcome, Page, Reader, Record, Remembered,
    Swept, Tidied, Work,
};
use crate::chat::{Conversation, LogId, Message, MsgId, Retention, Seq, UserName, Wanted};
use crate::config::Retentions;

/// The writing half of all conversations.
pub struct SplitLedger {
    disk: Option<Box<dyn Ledger>>,
    memory: Memory,
    retentions: Retentions,
    /// Lines of a commit whose sync failed.
    doubtful: HashSet<LineName>,
    /// What the sweep under way, and the count under way, have still to look at.
    unswept: Option<Unswept>,
    uncounted: Option<Unswept>,
    watch: Option<Watch>,
}

/// What is told, after each commit to the disk, the id of its logs and how many messages were ever
/// stored.
type Watch = Box<dyn FnMut(LogId, u64) + Send>;

/// Conversations, and whether a line of the conversation was found.
type Unswept = Vec<(Conversation, bool)>;

/// What tells lines apart.
type LineName = (Conversation, UserName, MsgId);

/// The reading half of all conversations.
pub struct SplitReader {
    disk: Option<Box<dyn Reader>>,
    memory: Memory,
    retentions: Retentions,
}

/// A sweep looks at conversations for so long while commits wait, or until it has removed
/// something.
const SWEEP_TURN: Duration = Duration::from_millis(5);

/// A disk ledger's two halves.
pub type Disk = (Box<dyn Ledger>, Box<dyn Reader>);

impl SplitLedger {
    /// Without a `disk` everything is in memory, whatever the retentions say.
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

    /// From now on `watch` is told how far the disk is, before anybody else is.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Other rules from now on, under which no conversation moves between disk and memory.
    pub fn set_retentions(&mut self, retentions: Retentions) {
        self.retentions = retentions;
    }

    /// One outcome for each record. Where the disk fails, the records for it have failed; the
    /// reason is given beside.
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

    /// Removes what is older than its conversation's retention, or only counts it when `dry`, a
    /// bounded part of it at once: while there is `more`, the next call goes on where this one
    /// ended.
    pub fn sweep(&mut self, now_ms: i64, dry: bool) -> Result<Swept, LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(Swept::default()) };
        let all =
            || disk.conversations().into_iter().map(|conversation| (conversation, false)).collect();
        // A count beside a sweep does not go on with it.
        let left = if dry { &mut self.uncounted } else { &mut self.unswept };
        let mut conversations = left.take().unwrap_or_else(all);
        let (mut swept, began) = (Swept::default(), Instant::now());
        while let Some((conversation, counted)) = conversations.pop() {
            let before_ms = match self.retentions.of(&conversation) {
                Retention::Forever => continue,
                Retention::For(span) => now_ms - span.as_ms(),
                // What was stored before the operator turned it off goes too.
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

    /// Does a part of what is left to do until nothing of what was removed can be read.
    pub fn tidy(&mut self, now_ms: i64) -> Result<Tidied, LedgerError> {
        self.disk.as_mut().map_or(Ok(Tidied::Done), |disk| disk.tidy(now_ms))
    }

    /// When the newest line on disk was said.
    pub fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.newest_ms())
    }

    /// The texts of all messages of a person are to be erased: `erase_some` does it.
    pub fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.memory.begin_erasing(user)?;
        self.disk.as_mut().map_or(Ok(()), |disk| disk.begin_erasing(user))
    }

    /// Erases a bounded part of what is to be erased; none where nothing is.
    pub fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError> {
        match self.memory.erase_some()? {
            Some(erased) => Ok(Some(erased)),
            None => self.disk.as_mut().map_or(Ok(None), |disk| disk.erase_some()),
        }
    }

    /// A name was given to somebody else.
    pub fn renew(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.memory.renew(user)?;
        self.disk.as_mut().map_or(Ok(()), |disk| disk.renew(user))
    }

    /// Nobody is left in a conversation: what is in memory goes, and what is on disk where the
    /// operator wants that.
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

    /// Lines of a conversation that begins now on disk come behind this seq.
    pub fn floor(&self) -> Seq {
        self.disk.as_ref().map_or(Seq(0), |disk| disk.floor())
    }

    pub fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let mut all = disk.remembered(waiting_max)?;
        all.retain(|remembered| self.retentions.of(&remembered.conversation) != Retention::Off);
        Ok(all)
    }

    /// Messages that were ever stored on disk.
    pub fn stored_ever(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.stored_ever())
    }

    /// The logs on disk have another id from now on.
    pub fn begin_log(&mut self, log: LogId) -> Result<(), LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        disk.begin_log(log)?;
        if let Some(watch) = &mut self.watch {
            watch(log, disk.stored_ever());
        }
        Ok(())
    }

    /// The id of the logs on disk.
    pub fn log_id(&self) -> LogId {
        self.disk.as_ref().map_or(self.memory.log_id(), |disk| disk.log_id())
    }
}

/// Notes a conversation without a line for those who know whether somebody is in it. One that is in
/// memory only is dropped here: what is left of it on disk is from before that.
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

    fn another(&self) -> Box<dyn Reader> {
        let disk = self.disk.as_ref().map(|disk| disk.another());
        let (memory, retentions) = (self.memory.clone(), self.retentions.clone());
        Box::new(SplitReader { disk, memory, retentions })
    }
}
