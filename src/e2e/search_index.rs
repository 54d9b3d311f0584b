//! Lines of sealed places that were opened here, so that nobody else has to be asked for them.
//! Pure; `shelf.rs` keeps them on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chat::{
    Body, Kind, Lock, LogId, Message, MsgId, Retention, Seq, Target, UserName, Wanted,
};
use crate::clean;

/// Lines of one answer, as the server's.
const FOUND_MAX: usize = 50;

/// What is written into the book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// Which log the server has of a place: lines of another one are other lines.
    Log(Target, LogId),
    /// How long lines are kept there.
    Kept(Target, Retention),
    Line(Target, Lock, Message),
    /// The sender of the line with this id and seq gives it another text, or none.
    Change {
        place: Target,
        seq: Seq,
        id: MsgId,
        from: UserName,
        text: Option<String>,
    },
    /// Nothing of a place is wanted any more.
    Forget(Target),
}

#[derive(Default)]
struct Page {
    log: Option<LogId>,
    kept: Option<Retention>,
    lines: BTreeMap<Seq, (Lock, Message)>,
}

#[derive(Default)]
pub struct SearchIndex(BTreeMap<Target, Page>);

impl Entry {
    pub fn place(&self) -> &Target {
        match self {
            Entry::Log(place, _)
            | Entry::Kept(place, _)
            | Entry::Line(place, ..)
            | Entry::Change { place, .. }
            | Entry::Forget(place) => place,
        }
    }

    /// What a line does to the book; `changes` is the line that it names itself, where it changes
    /// one.
    pub fn of(place: &Target, message: &Message, changes: Option<MsgId>) -> Option<Entry> {
        let (place, from) = (place.clone(), message.from.clone());
        let text = || clean::text(message.body.text());
        match message.kind {
            // A deletion is signed, and names its line; what is left of the line says nothing.
            _ if message.deleted => None,
            Kind::Say | Kind::Me => {
                let body = Body::Text(text());
                let message = Message { body, reference: None, ..message.clone() };
                Some(Entry::Line(place, message.lock, message))
            }
            Kind::Edit { of: seq } | Kind::Delete { of: seq } => {
                let text = message.kind.is_edit().then(text);
                changes.map(|id| Entry::Change { place, seq, id, from, text })
            }
        }
    }
}

impl SearchIndex {
    pub fn write(&mut self, entry: Entry) {
        let page = self.0.entry(entry.place().clone()).or_default();
        match entry {
            Entry::Log(_, log) if page.log == Some(log) => {}
            Entry::Log(_, log) => {
                page.lines.clear();
                page.log = Some(log);
            }
            Entry::Kept(_, kept) => page.kept = Some(kept),
            // What nobody has signed takes the place of nothing that somebody has.
            Entry::Line(_, Lock::Open, message) => {
                page.lines.entry(message.seq).or_insert((Lock::Open, message));
            }
            Entry::Line(_, lock, message) => {
                page.lines.insert(message.seq, (lock, message));
            }
            Entry::Change { seq, id, from, text, .. } => {
                let own = |line: &&mut (Lock, Message)| line.1.id == id && line.1.from == from;
                match (page.lines.get_mut(&seq).filter(own), text) {
                    (Some((_, line)), Some(text)) => {
                        (line.body, line.edited) = (Body::Text(text), true);
                    }
                    (Some(_), None) => drop(page.lines.remove(&seq)),
                    (None, _) => {}
                }
            }
            Entry::Forget(place) => drop(self.0.remove(&place)),
        }
    }

    /// Lines that are older than their place keeps them go. Gives when the next one will.
    pub fn expire(&mut self, now_ms: i64) -> Option<i64> {
        let mut next: Option<i64> = None;
        for page in self.0.values_mut() {
            let Some(keeps) = page.keeps_ms() else { continue };
            page.lines.retain(|_, (_, line)| line.time_ms.saturating_add(keeps) > now_ms);
            let due = page.lines.values().map(|(_, line)| line.time_ms.saturating_add(keeps)).min();
            next = next.into_iter().chain(due).min();
        }
        next
    }

    /// Everything that is in it, each place's lines from the oldest on.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().flat_map(|(place, page)| {
            let log = page.log.map(|log| Entry::Log(place.clone(), log));
            let kept = page.kept.map(|kept| Entry::Kept(place.clone(), kept));
            let lines = page.lines.values();
            let line =
                |(lock, line): &(Lock, Message)| Entry::Line(place.clone(), *lock, line.clone());
            log.into_iter().chain(kept).chain(lines.map(line))
        })
    }

    /// Only the newest lines stay, of all places together: those whose sizes add up to so much.
    pub fn shorten(&mut self, bytes_max: usize, bytes: impl Fn(&Message) -> usize) {
        let lines = self.0.values().flat_map(|page| page.lines.values());
        let mut sizes: Vec<(i64, usize)> =
            lines.map(|(_, line)| (line.time_ms, bytes(line))).collect();
        sizes.sort_unstable_by_key(|(time_ms, _)| std::cmp::Reverse(*time_ms));
        let mut sum = 0;
        let over = sizes.iter().find(|(_, bytes)| {
            sum += bytes;
            sum > bytes_max
        });
        let Some((since_ms, _)) = over else { return };
        let since_ms = *since_ms;
        self.0
            .values_mut()
            .for_each(|page| page.lines.retain(|_, (_, line)| line.time_ms > since_ms));
    }

    /// The newest lines of a place that hold all words of `text`, oldest first, and whether there
    /// are more of them.
    pub fn search(&self, place: &Target, text: &str, now_ms: i64) -> (Vec<Message>, bool) {
        let Some(page) = self.0.get(place) else { return (Vec::new(), false) };
        // Its caller has refused what is too long.
        let Ok(wanted) = Wanted::new(text) else { return (Vec::new(), false) };
        let keeps = page.keeps_ms().unwrap_or(i64::MAX);
        let is_kept = |line: &Message| line.time_ms.saturating_add(keeps) > now_ms;
        let hits = page.lines.values().rev();
        let mut hits = hits.filter(|(_, line)| is_kept(line) && wanted.is_in(line.body.text()));
        let found = hits.by_ref().take(FOUND_MAX);
        let line = |(lock, line): &(Lock, Message)| Message { lock: *lock, ..line.clone() };
        let mut found: Vec<Message> = found.map(line).collect();
        found.reverse();
        (found, hits.next().is_some())
    }
}

impl Page {
    /// For how long lines are kept here; none is for ever.
    fn keeps_ms(&self) -> Option<i64> {
        self.kept.and_then(keeps_ms)
    }
}

/// For how long lines are kept; none is for ever.
pub fn keeps_ms(kept: Retention) -> Option<i64> {
    match kept {
        Retention::Forever => None,
        Retention::For(span) => Some(span.as_ms()),
        Retention::Off => Some(i64::MIN),
    }
}
