//! Which ledger a conversation is in: on disk, or in memory where nothing of it is to be kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Draft, Ledger, LedgerError, Memory, Older, Outcome, Page, Reader, Record, Remembered, Swept,
    Work,
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
    /// Conversations that the sweep under way has still to look at, and whether each has been
    /// counted.
    unswept: Vec<(Conversation, bool)>,
}

/// What tells lines apart.
type LineName = (Conversation, UserName, MsgId);

/// The reading half of all conversations.
pub struct SplitReader {
    disk: Option<Box<dyn Reader>>,
    memory: Memory,
    retentions: Retentions,
}

/// Lines that are removed at once, while commits wait: some ten milliseconds.
const SWEEP_LINES: usize = 200;
/// A sweep looks at conversations for so long while commits wait.
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
            unswept: Vec::new(),
        };
        (kept, Arc::new(SplitReader { disk: reader, memory, retentions }))
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
            records.iter().map(|record| is_kept(&self.retentions, record)).collect();
        let (kept, passing) = split(records, &on_disk);
        let mut passing = commit_to_memory(&mut self.memory, &passing).into_iter();
        let (kept, fault) = match disk.commit(&kept) {
            Ok(outcomes) => (outcomes, None),
            Err(error) => {
                if let LedgerError::InDoubt { .. } = error {
                    self.doubtful.extend(kept.iter().filter_map(line).map(name));
                }
                let outcome = |record: &Record| match line(record) {
                    Some(line) => match disk.stored(line) {
                        Some(seq) => Outcome::Known(seq),
                        None if self.doubtful.contains(&name(line)) => Outcome::InDoubt,
                        None => Outcome::Failed,
                    },
                    None => Outcome::Failed,
                };
                (kept.iter().map(outcome).collect(), Some(error))
            }
        };
        let mut kept = kept.into_iter();
        let next = |on_disk: bool| if on_disk { kept.next() } else { passing.next() };
        let outcomes = on_disk.into_iter().map(next);
        (outcomes.map(|outcome| outcome.expect("one for each record")).collect(), fault)
    }

    /// Removes what is older than its conversation's retention, a bounded part of it at once: while
    /// there is `more`, the next call goes on where this one ended. Only counts it, of all
    /// conversations, when `dry`.
    pub fn sweep(&mut self, now_ms: i64, dry: bool) -> Result<Swept, LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(Swept::default()) };
        let all =
            || disk.conversations().into_iter().map(|conversation| (conversation, false)).collect();
        // A count beside a sweep does not go on with it.
        let mut conversations: Vec<_> = match std::mem::take(&mut self.unswept) {
            unswept if dry => {
                let conversations = all();
                self.unswept = unswept;
                conversations
            }
            unswept if unswept.is_empty() => all(),
            unswept => unswept,
        };
        let (mut swept, began) = (Swept::default(), Instant::now());
        while let Some((conversation, counted)) = conversations.pop() {
            let before_ms = match self.retentions.of(&conversation) {
                Retention::Forever => continue,
                Retention::For(span) => now_ms - span.as_ms(),
                // What was stored before the operator turned it off goes too.
                Retention::Off => i64::MAX,
            };
            let lines_max = SWEEP_LINES.saturating_sub(swept.lines);
            let lines = disk.expire(&conversation, before_ms, lines_max, dry)?;
            swept.lines += lines;
            swept.conversations += usize::from(lines > 0 && !counted);
            if !dry && lines < lines_max {
                let conversation = conversation.clone();
                note_empty(&mut **disk, &self.retentions, conversation, &mut swept.emptied)?;
            }
            if !dry && lines == lines_max {
                conversations.push((conversation, counted || lines > 0));
            }
            if !dry
                && (lines == lines_max || began.elapsed() >= SWEEP_TURN)
                && !conversations.is_empty()
            {
                swept.more = true;
                self.unswept = conversations;
                return Ok(swept);
            }
        }
        if !dry {
            swept.remains = !disk.scrub(now_ms)?;
        }
        Ok(swept)
    }

    /// When the newest line on disk was said.
    pub fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.newest_ms())
    }

    pub fn erase(&mut self, user: &UserName) -> Result<usize, LedgerError> {
        let passing = self.memory.erase(user)?;
        let kept = self.disk.as_mut().map_or(Ok(0), |disk| disk.erase(user))?;
        Ok(kept + passing)
    }

    /// Nobody is left in a conversation: what is in memory goes, and what is on disk where the
    /// operator wants that.
    pub fn forget(&mut self, conversation: &Conversation, now_ms: i64) -> Result<(), LedgerError> {
        self.memory.forget(conversation);
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let forgets = self.retentions.forgets(conversation);
        while forgets && disk.expire(conversation, i64::MAX, SWEEP_LINES, false)? > 0 {}
        if !self.retentions.names(conversation) {
            disk.drop_empty(conversation)?;
        }
        if forgets {
            // Where somebody reads beside, the next sweep does it.
            disk.scrub(now_ms)?;
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

fn is_kept(retentions: &Retentions, record: &Record) -> bool {
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
    let (mut kept, mut passing) = (Vec::new(), Vec::new());
    for (record, on_disk) in records.into_iter().zip(on_disk) {
        if *on_disk { kept.push(record) } else { passing.push(record) }
    }
    (kept, passing)
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
