//! Lines of sealed conversations that were opened here, so that nobody else has to be asked for
//! them. Pure; `search_log.rs` stores them. A line leaves the index by its sender's signed word, by
//! its person's, or at the time that was noted with it. Nothing that a server says later takes one
//! out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chat::{
    Body, Confidentiality, Kind, LogId, Message, MsgId, Seq, Target, UserName, Wanted,
};
use crate::clean;

/// Lines of one answer, as the server's.
const FOUND_MAX: usize = 50;

/// What is written into the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    Line(Target, Line),
    /// The sender of the line with this id gives it another text, or none.
    Change {
        conversation: Target,
        id: MsgId,
        from: UserName,
        text: Option<String>,
    },
    /// Nothing of a conversation is wanted any more.
    Forget(Target),
}

/// A line as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The log that its seq is of.
    pub log: Option<LogId>,
    /// When it goes, in milliseconds since 1970; none is never.
    pub until_ms: Option<i64>,
    pub confidentiality: Confidentiality,
    pub message: Message,
}

/// What holds for the lines of a conversation that are read now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    pub log: Option<LogId>,
    pub until_ms: Option<i64>,
}

/// Lines by who has said them and their id: another log, or another line under the same seq, takes
/// the place of none.
#[derive(Default)]
struct Page {
    lines: BTreeMap<(UserName, MsgId), Line>,
    /// The logs, and which one came first.
    logs: BTreeMap<Option<LogId>, usize>,
}

#[derive(Default)]
pub struct SearchIndex(BTreeMap<Target, Page>);

impl Entry {
    pub fn conversation(&self) -> &Target {
        match self {
            Entry::Line(conversation, _)
            | Entry::Change { conversation, .. }
            | Entry::Forget(conversation) => conversation,
        }
    }

    /// What a line does to the index; `changes` is the line that it names itself, where it changes
    /// one.
    pub fn of(
        conversation: &Target,
        message: &Message,
        changes: Option<MsgId>,
        terms: Terms,
    ) -> Option<Entry> {
        let (conversation, from) = (conversation.clone(), message.from.clone());
        let text = || clean::text(message.body.text());
        match message.kind {
            // A deletion is signed, and names its line; what is left of the line says nothing.
            _ if message.deleted => None,
            Kind::Say | Kind::Me => {
                let body = Body::Text(text());
                let message = Message { body, reference: None, ..message.clone() };
                let Terms { log, until_ms } = terms;
                Some(Entry::Line(
                    conversation,
                    Line { log, until_ms, confidentiality: message.confidentiality, message },
                ))
            }
            Kind::Edit { .. } | Kind::Delete { .. } => {
                let text = message.kind.is_edit().then(text);
                changes.map(|id| Entry::Change { conversation, id, from, text })
            }
        }
    }
}

impl SearchIndex {
    pub fn write(&mut self, entry: Entry) {
        let page = self.0.entry(entry.conversation().clone()).or_default();
        match entry {
            Entry::Line(_, line) => page.write(line),
            Entry::Change { id, from, text, .. } => {
                let key = (from, id);
                match (page.lines.get_mut(&key), text) {
                    (Some(line), Some(text)) => {
                        (line.message.body, line.message.edited) = (Body::Text(text), true);
                    }
                    (Some(_), None) => drop(page.lines.remove(&key)),
                    (None, _) => {}
                }
            }
            Entry::Forget(conversation) => drop(self.0.remove(&conversation)),
        }
    }

    /// Lines whose time is over go. Gives when the next one will.
    pub fn expire(&mut self, now_ms: i64) -> Option<i64> {
        let pages = self.0.values_mut();
        let next = pages.flat_map(|page| {
            page.lines.retain(|_, line| line.is_kept(now_ms));
            page.lines.values().filter_map(|line| line.until_ms)
        });
        next.min()
    }

    /// Everything that is in it, each conversation's lines from the oldest on.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().flat_map(|(conversation, page)| {
            let lines = page.in_order().into_iter();
            lines.map(|line| Entry::Line(conversation.clone(), line.clone()))
        })
    }

    /// Only the newest lines stay, of all conversations together: those whose sizes add up to so
    /// much. What nobody has signed goes first: a server can make as much of it as it likes.
    pub fn shorten(&mut self, bytes_max: usize, bytes: impl Fn(&Message) -> usize) {
        let rank = |line: &Line| {
            (line.confidentiality == Confidentiality::Open, std::cmp::Reverse(line.message.time_ms))
        };
        let lines = self.0.values().flat_map(|page| page.lines.values());
        let mut sizes: Vec<_> = lines.map(|line| (rank(line), bytes(&line.message))).collect();
        sizes.sort_unstable();
        let mut sum = 0;
        let over = sizes.iter().find(|(_, bytes)| {
            sum += bytes;
            sum > bytes_max
        });
        let Some((first, _)) = over.copied() else { return };
        self.0.values_mut().for_each(|page| page.lines.retain(|_, line| rank(line) < first));
    }

    /// The newest lines of a conversation that hold all words of `text`, oldest first, and whether
    /// there are more of them. A line of another log than the present one has the seq 0.
    pub fn search(
        &self,
        conversation: &Target,
        text: &str,
        now_ms: i64,
        log: Option<LogId>,
    ) -> (Vec<Message>, bool) {
        let Some(page) = self.0.get(conversation) else { return (Vec::new(), false) };
        // Its caller has refused what is too long.
        let Ok(wanted) = Wanted::new(text) else { return (Vec::new(), false) };
        let hits = page.in_order().into_iter().rev();
        let mut hits =
            hits.filter(|line| line.is_kept(now_ms) && wanted.is_in(line.message.body.text()));
        let message = |line: &Line| {
            let seq = if line.log == log { line.message.seq } else { Seq(0) };
            Message { confidentiality: line.confidentiality, seq, ..line.message.clone() }
        };
        let mut found: Vec<Message> = hits.by_ref().take(FOUND_MAX).map(message).collect();
        found.reverse();
        (found, hits.next().is_some())
    }
}

impl Page {
    fn write(&mut self, mut line: Line) {
        let next = self.logs.len();
        self.logs.entry(line.log).or_insert(next);
        let key = (line.message.from.clone(), line.message.id);
        if let Some(before) = self.lines.get(&key) {
            // What nobody has signed replaces nothing that is here.
            if line.confidentiality == Confidentiality::Open {
                return;
            }
            // The time that was noted first stays, unless a line that nobody has signed has it.
            line.until_ms = match before.confidentiality {
                Confidentiality::Open => line.until_ms,
                _ => before.until_ms,
            };
        }
        self.lines.insert(key, line);
    }

    /// From the oldest line on.
    fn in_order(&self) -> Vec<&Line> {
        let mut lines: Vec<&Line> = self.lines.values().collect();
        lines.sort_by_cached_key(|line| (self.logs.get(&line.log), line.message.seq));
        lines
    }
}

impl Line {
    fn is_kept(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| until_ms > now_ms)
    }
}
