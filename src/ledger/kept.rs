//! Which ledger a place is in: on disk, or in memory where nothing of it is to be kept.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Draft, Ledger, LedgerError, Memory, Page, Reader, Record, Remembered, Swept, Verdict};
use crate::chat::{LogId, Message, MsgId, Place, Retention, UserName};
use crate::config::Retentions;

/// The writing half of all places.
pub struct Kept {
    disk: Option<Box<dyn Ledger>>,
    memory: Memory,
    retentions: Retentions,
    /// Lines of a commit whose sync failed.
    doubtful: HashSet<LineName>,
}

/// What tells lines apart.
type LineName = (Place, UserName, MsgId);

/// The reading half of all places.
pub struct KeptReader {
    disk: Option<Box<dyn Reader>>,
    memory: Memory,
    retentions: Retentions,
}

/// Lines that are removed at once.
const SWEEP_LINES: usize = 2_000;

/// A disk ledger's two halves.
pub type Disk = (Box<dyn Ledger>, Box<dyn Reader>);

impl Kept {
    /// Without a `disk` everything is in memory, whatever the retentions say.
    pub fn new(
        disk: Option<Disk>,
        memory: Memory,
        retentions: Retentions,
    ) -> (Kept, Arc<KeptReader>) {
        let (disk, reader) = match disk {
            Some((disk, reader)) => (Some(disk), Some(reader)),
            None => (None, None),
        };
        let kept = Kept {
            disk,
            memory: memory.clone(),
            retentions: retentions.clone(),
            doubtful: HashSet::new(),
        };
        (kept, Arc::new(KeptReader { disk: reader, memory, retentions }))
    }

    /// Other rules from now on, under which no place moves between disk and memory.
    pub fn set_retentions(&mut self, retentions: Retentions) {
        self.retentions = retentions;
    }

    /// One verdict for each record. Where the disk fails, the records for it have failed; the reason
    /// is given beside.
    pub fn commit(&mut self, records: Vec<Record>) -> (Vec<Verdict>, Option<LedgerError>) {
        let Some(disk) = &mut self.disk else {
            return (commit_to_memory(&mut self.memory, &records), None);
        };
        let on_disk: Vec<bool> =
            records.iter().map(|record| is_kept(&self.retentions, record)).collect();
        let (kept, passing) = split(records, &on_disk);
        let mut passing = commit_to_memory(&mut self.memory, &passing).into_iter();
        let (kept, fault) = match disk.commit(&kept) {
            Ok(verdicts) => (verdicts, None),
            Err(error) => {
                if let LedgerError::InDoubt { .. } = error {
                    self.doubtful.extend(kept.iter().filter_map(line).map(name));
                }
                let verdict = |record: &Record| match line(record) {
                    Some(line) => match disk.stored(line) {
                        Some(seq) => Verdict::Known(seq),
                        None if self.doubtful.contains(&name(line)) => Verdict::InDoubt,
                        None => Verdict::Failed,
                    },
                    None => Verdict::Failed,
                };
                (kept.iter().map(verdict).collect(), Some(error))
            }
        };
        let mut kept = kept.into_iter();
        let next = |on_disk: bool| if on_disk { kept.next() } else { passing.next() };
        let verdicts = on_disk.into_iter().map(next);
        (verdicts.map(|verdict| verdict.expect("one for each record")).collect(), fault)
    }

    /// Removes what is older than its place's retention, a bounded part of it at once; only counts it
    /// when `dry`.
    pub fn sweep(&mut self, now_ms: i64, dry: bool) -> Result<Swept, LedgerError> {
        let Some(disk) = &mut self.disk else { return Ok(Swept::default()) };
        let mut swept = Swept::default();
        for place in disk.places() {
            let before_ms = match self.retentions.of(&place) {
                Retention::Forever => continue,
                Retention::For(span) => now_ms - span.as_ms(),
                // What was stored before the operator turned it off goes too.
                Retention::Off => i64::MAX,
            };
            let lines_max = SWEEP_LINES.saturating_sub(swept.lines);
            let lines = disk.expire(&place, before_ms, lines_max, dry)?;
            swept.lines += lines;
            swept.places += usize::from(lines > 0);
            swept.more |= !dry && lines > 0 && lines == lines_max;
            if swept.more {
                break;
            }
        }
        if !dry && !swept.more {
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

    /// Nobody is left in a place: what is in memory goes, and what is on disk where the operator
    /// wants that.
    pub fn forget(&mut self, place: &Place, now_ms: i64) -> Result<(), LedgerError> {
        self.memory.forget(place);
        let Some(disk) = self.disk.as_mut().filter(|_| self.retentions.forgets(place)) else {
            return Ok(());
        };
        while disk.expire(place, i64::MAX, SWEEP_LINES, false)? > 0 {}
        // Where somebody reads beside, the next sweep does it.
        disk.scrub(now_ms).map(|_| ())
    }

    pub fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let mut all = disk.remembered(waiting_max)?;
        all.retain(|remembered| self.retentions.of(&remembered.place) != Retention::Off);
        Ok(all)
    }

    /// The id of the logs on disk.
    pub fn log_id(&self) -> LogId {
        self.disk.as_ref().map_or(self.memory.log_id(), |disk| disk.log_id())
    }
}

fn is_kept(retentions: &Retentions, record: &Record) -> bool {
    match record {
        Record::Line(draft) => retentions.of(&draft.place) != Retention::Off,
        Record::Topic(channel, _) => {
            retentions.of(&Place::Channel(channel.clone())) != Retention::Off
        }
        Record::Read(_, place, _) => retentions.of(place) != Retention::Off,
        Record::Away(_, places) => {
            places.first().is_some_and(|place| retentions.of(place) != Retention::Off)
        }
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
    (line.place.clone(), line.from.clone(), line.id)
}

fn commit_to_memory(memory: &mut Memory, records: &[Record]) -> Vec<Verdict> {
    memory.commit(records).expect("memory does not fail")
}

impl KeptReader {
    fn of(&self, place: &Place) -> &dyn Reader {
        match &self.disk {
            Some(disk) if self.retentions.of(place) != Retention::Off => &**disk,
            _ => &self.memory,
        }
    }
}

impl Reader for KeptReader {
    fn read(
        &self,
        place: &Place,
        after: crate::chat::Seq,
        upto: crate::chat::Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError> {
        self.of(place).read(place, after, upto, page)
    }

    fn history(
        &self,
        place: &Place,
        before: Option<crate::chat::Seq>,
        since_ms: Option<i64>,
        page: Page,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        self.of(place).history(place, before, since_ms, page)
    }

    fn search(
        &self,
        places: &[Place],
        text: &str,
        page: Page,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let (mut found, mut more) = self.memory.search(places, text, page)?;
        if let Some(disk) = &self.disk {
            let (kept, more_kept) = disk.search(places, text, page)?;
            found.extend(kept);
            more |= more_kept;
        }
        let (newest, left) = page.newest(found);
        Ok((newest, more || left))
    }
}
