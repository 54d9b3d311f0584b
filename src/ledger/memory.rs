//! A ledger in memory: the newest lines of each place, gone with the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Draft, Ledger, LedgerError, Page, Reader, Record, Remembered, Verdict, message};
use crate::chat::{Kind, LogId, Message, Place, Seq, UserName};

/// Shared by its writer and its readers.
#[derive(Clone)]
pub struct Memory {
    places: Arc<Mutex<HashMap<Place, Lines>>>,
    log: LogId,
    bytes_max: usize,
    change_s_max: u64,
}

#[derive(Default)]
struct Lines {
    last: Seq,
    lines: VecDeque<Line>,
    bytes: usize,
    topic: Option<String>,
}

struct Line {
    seq: Seq,
    draft: Draft,
    edited: bool,
    deleted: bool,
}

impl Memory {
    /// Keeps `bytes_max` of each place, its newest line at least. A line can be changed for
    /// `change_s_max` seconds.
    pub fn new(log: LogId, bytes_max: usize, change_s_max: u64) -> Memory {
        Memory { places: Arc::default(), log, bytes_max, change_s_max }
    }

    /// Forgets a place altogether: whoever makes it again begins anew.
    pub fn forget(&self, place: &Place) {
        self.lock().remove(place);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Lines>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn append(&mut self, draft: &Draft, limits: (usize, u64)) -> Verdict {
        let same = |line: &&Line| line.draft.from == draft.from && line.draft.id == draft.id;
        if let Some(known) = self.lines.iter().rev().find(same) {
            return known_as(&known.draft, known.edited || known.deleted, known.seq, draft);
        }
        if let Some(target) = draft.target
            && let Err(verdict) = self.change(target, draft, limits.1)
        {
            return verdict;
        }
        self.last.0 += 1;
        let (seq, mut draft) = (self.last, draft.clone());
        if draft.kind == Kind::Edit {
            // It stands in its target.
            draft.text.clear();
        }
        self.bytes += draft.text.len();
        self.lines.push_back(Line { seq, draft, edited: false, deleted: false });
        while self.bytes > limits.0 && self.lines.len() > 1 {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.draft.text.len());
        }
        Verdict::Stored(seq)
    }

    fn change(&mut self, target: Seq, draft: &Draft, change_s_max: u64) -> Result<(), Verdict> {
        let target = self.line(target).ok_or(Verdict::NoSuchLine)?;
        may_change(&target.draft, target.deleted, draft, change_s_max)?;
        let before = target.draft.text.len();
        target.draft.text = match draft.kind {
            Kind::Edit => draft.text.clone(),
            _ => String::new(),
        };
        target.edited = draft.kind == Kind::Edit;
        target.deleted = draft.kind == Kind::Delete;
        let after = target.draft.text.len();
        self.bytes = self.bytes - before + after;
        Ok(())
    }

    fn line(&mut self, seq: Seq) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.seq == seq)
    }

    /// A line as it is told again: an edit with the text that its target has now.
    fn told(&self, line: &Line) -> Message {
        let mut draft = line.draft.clone();
        if let Some(target) = draft.target {
            let target = self.lines.iter().find(|line| line.seq == target);
            draft.text = target.map(|line| line.draft.text.clone()).unwrap_or_default();
        }
        message(draft, line.seq, line.edited, line.deleted)
    }
}

/// The verdict on a line whose id is known: the same line again, or another under its id. What was
/// `changed` since cannot be compared and passes.
pub(super) fn known_as(known: &Draft, changed: bool, seq: Seq, again: &Draft) -> Verdict {
    let text = known.text == again.text || changed || again.kind == Kind::Edit;
    let alike = known.kind == again.kind && known.target == again.target && text;
    if alike { Verdict::Known(seq) } else { Verdict::Conflict }
}

/// Whether `change` may change `target`: one's own line, still there, not too old.
pub(super) fn may_change(
    target: &Draft,
    deleted: bool,
    change: &Draft,
    change_s_max: u64,
) -> Result<(), Verdict> {
    if deleted || !matches!(target.kind, Kind::Say | Kind::Me) {
        return Err(Verdict::NoSuchLine);
    }
    if target.from != change.from {
        return Err(Verdict::NotOwn);
    }
    let age_ms = change.time_ms.saturating_sub(target.time_ms);
    if age_ms > change_s_max as i64 * 1000 {
        return Err(Verdict::TooLate);
    }
    Ok(())
}

impl Ledger for Memory {
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Verdict>, LedgerError> {
        let limits = (self.bytes_max, self.change_s_max);
        let mut places = self.lock();
        let mut write = |record: &Record| match record {
            Record::Line(draft) => {
                places.entry(draft.place.clone()).or_default().append(draft, limits)
            }
            Record::Topic(channel, topic) => {
                places.entry(Place::Channel(channel.clone())).or_default().topic = topic.clone();
                Verdict::Stored(Seq(0))
            }
            // The registry remembers them as long as this process does.
            Record::Read(..) | Record::Away(..) => Verdict::Stored(Seq(0)),
        };
        Ok(records.iter().map(&mut write).collect())
    }

    fn expire(
        &mut self,
        place: &Place,
        before_ms: i64,
        _lines_max: usize,
        dry: bool,
    ) -> Result<usize, LedgerError> {
        let mut places = self.lock();
        let Some(lines) = places.get_mut(place) else { return Ok(0) };
        let old = lines.lines.iter().filter(|line| line.draft.time_ms < before_ms).count();
        if !dry {
            lines.lines.retain(|line| line.draft.time_ms >= before_ms);
            lines.bytes = lines.lines.iter().map(|line| line.draft.text.len()).sum();
        }
        Ok(old)
    }

    fn places(&self) -> Vec<Place> {
        self.lock().keys().cloned().collect()
    }

    fn scrub(&mut self, _now_ms: i64) -> Result<(), LedgerError> {
        Ok(())
    }

    fn erase(&mut self, user: &UserName) -> Result<usize, LedgerError> {
        let mut places = self.lock();
        let lines = places.values_mut().flat_map(|lines| &mut lines.lines);
        let own = lines.filter(|line| line.draft.from == *user && !line.deleted);
        let mut erased = 0;
        for line in own {
            line.draft.text.clear();
            line.deleted = true;
            erased += 1;
        }
        Ok(erased)
    }

    fn remembered(&self) -> Result<Vec<Remembered>, LedgerError> {
        let places = self.lock();
        let remember = |(place, lines): (&Place, &Lines)| Remembered {
            place: place.clone(),
            last: lines.last,
            topic: lines.topic.clone(),
            reads: Vec::new(),
            waiting: Vec::new(),
        };
        Ok(places.iter().map(remember).collect())
    }

    fn log_id(&self) -> LogId {
        self.log
    }
}

impl Reader for Memory {
    fn read(
        &self,
        place: &Place,
        after: Seq,
        upto: Seq,
        page: Page,
    ) -> Result<Vec<Message>, LedgerError> {
        let places = self.lock();
        let Some(lines) = places.get(place) else { return Ok(Vec::new()) };
        let wanted = lines.lines.iter().filter(|line| line.seq > after && line.seq <= upto);
        Ok(page.take(wanted.map(|line| lines.told(line))))
    }

    fn history(
        &self,
        place: &Place,
        before: Option<Seq>,
        since_ms: Option<i64>,
        page: Page,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let places = self.lock();
        let Some(lines) = places.get(place) else { return Ok((Vec::new(), false)) };
        let mut wanted = lines.lines.iter().rev().filter(|line| {
            before.is_none_or(|before| line.seq < before)
                && since_ms.is_none_or(|since| line.draft.time_ms >= since)
                && matches!(line.draft.kind, Kind::Say | Kind::Me)
        });
        let mut newest = page.take(wanted.by_ref().map(|line| lines.told(line)));
        newest.reverse();
        let first = newest.first().map_or(Seq(u64::MAX), |message| message.seq);
        let older =
            |line: &&Line| line.seq < first && matches!(line.draft.kind, Kind::Say | Kind::Me);
        let more = since_ms.is_none() && lines.lines.iter().any(|line| older(&line));
        Ok((newest, more))
    }

    fn search(
        &self,
        places: &[Place],
        text: &str,
        page: Page,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let all = self.lock();
        let mut found = Vec::new();
        for place in places {
            let Some(lines) = all.get(place) else { continue };
            let holds = |line: &&Line| {
                let text = line.draft.text.to_lowercase();
                line.draft.target.is_none() && words.iter().all(|word| text.contains(word.as_str()))
            };
            found.extend(lines.lines.iter().filter(holds).map(|line| lines.told(line)));
        }
        found.sort_by_key(|message| (message.time_ms, message.seq));
        let all = found.len();
        let mut newest = page.take(found.into_iter().rev());
        newest.reverse();
        let more = newest.len() < all;
        Ok((newest, more))
    }
}

impl Page {
    /// As many lines as the page holds, one at least.
    pub(super) fn take(self, lines: impl Iterator<Item = Message>) -> Vec<Message> {
        let mut bytes = 0;
        let mut taken = Vec::new();
        for line in lines.take(self.lines_max) {
            bytes += line.text.len() + 200;
            if bytes > self.bytes_max && !taken.is_empty() {
                break;
            }
            taken.push(line);
        }
        taken
    }
}
