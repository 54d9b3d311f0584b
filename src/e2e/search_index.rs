//! Index of opened messages of sealed conversations. Pure; `search_log.rs` stores it. A message
//! leaves the index by a deletion that its sender has signed, by a command of the user, or at the
//! time noted with it. Later statements of the server remove none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::shares::{Item, fitting};
use crate::chat::{
    Body, Confidentiality, Epoch, Kind, Matching, Message, MsgId, Seq, Target, UserName, Wanted,
};
use crate::clean;

/// Messages per answer, as many as the server sends.
const FOUND_MAX: usize = 50;

/// A change of the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    Message(Target, IndexedMessage),
    /// The sender of the message with this id replaces or deletes its text.
    Change {
        conversation: Target,
        id: MsgId,
        from: UserName,
        text: Option<String>,
    },
    /// Removes a conversation.
    Forget(Target),
}

/// An indexed message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexedMessage {
    /// The log that its seq belongs to.
    pub epoch: Option<Epoch>,
    /// Expiry in milliseconds since 1970; `None` is never.
    pub until_ms: Option<i64>,
    /// When this client read it first, in milliseconds since 1970 ...
    pub read_ms: i64,
    /// ... and when it first read something of its sender here.
    pub since_ms: i64,
    pub confidentiality: Confidentiality,
    pub message: Message,
}

/// The log and expiry of messages that are read now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    pub epoch: Option<Epoch>,
    pub until_ms: Option<i64>,
    /// The time, in milliseconds since 1970.
    pub read_ms: i64,
}

/// Messages by sender and id, so that neither another epoch nor another message with the same seq
/// replaces one.
#[derive(Default)]
struct Page {
    messages: BTreeMap<(UserName, MsgId), IndexedMessage>,
    /// The logs, numbered by first appearance.
    logs: BTreeMap<Option<Epoch>, usize>,
}

#[derive(Default)]
pub struct SearchIndex(BTreeMap<Target, Page>);

impl Entry {
    pub fn conversation(&self) -> &Target {
        match self {
            Entry::Message(conversation, _)
            | Entry::Change { conversation, .. }
            | Entry::Forget(conversation) => conversation,
        }
    }

    /// Returns what a message changes in the index; `changes` is the id of the message that it
    /// changes.
    pub fn of(
        conversation: &Target,
        message: &Message,
        changes: Option<MsgId>,
        terms: Terms,
    ) -> Option<Entry> {
        let (conversation, from) = (conversation.clone(), message.from.clone());
        let text = || clean::text(message.body.text());
        match message.kind {
            // A deletion arrives as a signed change of its own; the tombstone itself carries
            // nothing.
            _ if message.deleted => None,
            Kind::Say | Kind::Me => {
                let body = Body::Text(text());
                let message = Message { body, reference: None, ..message.clone() };
                let Terms { epoch, until_ms, read_ms } = terms;
                let confidentiality = message.confidentiality;
                let indexed = IndexedMessage {
                    epoch,
                    until_ms,
                    read_ms,
                    since_ms: read_ms,
                    confidentiality,
                    message,
                };
                Some(Entry::Message(conversation, indexed))
            }
            // A descriptor is no text of a person.
            Kind::File { .. } => None,
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
            Entry::Message(_, indexed) => page.write(indexed),
            Entry::Change { id, from, text, .. } => {
                let key = (from, id);
                match (page.messages.get_mut(&key), text) {
                    (Some(indexed), Some(text)) => {
                        (indexed.message.body, indexed.message.edited) = (Body::Text(text), true);
                    }
                    (Some(_), None) => drop(page.messages.remove(&key)),
                    (None, _) => {}
                }
            }
            Entry::Forget(conversation) => drop(self.0.remove(&conversation)),
        }
    }

    /// Removes expired messages. Returns the next expiry.
    pub fn expire(&mut self, now_ms: i64) -> Option<i64> {
        self.0.values_mut().for_each(Page::date_senders);
        let pages = self.0.values_mut();
        let next = pages.flat_map(|page| {
            page.messages.retain(|_, indexed| indexed.is_kept(now_ms));
            page.messages.values().filter_map(|indexed| indexed.until_ms)
        });
        next.min()
    }

    /// All entries, oldest first in each conversation.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().flat_map(|(conversation, page)| {
            let messages = page.in_order().into_iter();
            messages.map(|indexed| Entry::Message(conversation.clone(), indexed.clone()))
        })
    }

    /// Only so many bytes stay, of all conversations together (`shares.rs`). The newest messages
    /// are those that were read last: a server can say any time.
    pub fn shorten(&mut self, bytes_max: usize, bytes: impl Fn(&Message) -> usize) {
        let messages = self.0.iter().flat_map(|(conversation, page)| {
            let messages = page.in_order().into_iter();
            messages.map(move |indexed| (conversation, indexed))
        });
        let messages: Vec<_> = messages.collect();
        let items = messages.iter().map(|(conversation, indexed)| Item {
            conversation,
            from: &indexed.message.from,
            signed: indexed.confidentiality != Confidentiality::Open,
            read_ms: indexed.read_ms,
            since_ms: indexed.since_ms,
            bytes: bytes(&indexed.message),
        });
        let stays = fitting(&items.collect::<Vec<_>>(), bytes_max);
        let gone = messages.iter().zip(stays).filter(|(_, stays)| !stays);
        let gone =
            gone.map(|((conversation, indexed), _)| ((*conversation).clone(), indexed.key()));
        for (conversation, key) in gone.collect::<Vec<_>>() {
            self.0.get_mut(&conversation).map(|page| page.messages.remove(&key));
        }
        self.0.retain(|_, page| !page.messages.is_empty());
    }

    /// Returns the newest messages of a conversation that contain all words of `text`, oldest
    /// first, and whether there are more. Whole words come before beginnings. A message of a former
    /// epoch has seq 0.
    pub fn search(
        &self,
        conversation: &Target,
        text: &str,
        now_ms: i64,
        epoch: Option<Epoch>,
    ) -> (Vec<Message>, bool) {
        let Some(page) = self.0.get(conversation) else { return (Vec::new(), false) };
        // The caller has already refused a text that is too long.
        let Ok(wanted) = Wanted::new(text) else { return (Vec::new(), false) };
        let in_order = page.in_order();
        let kept = in_order.into_iter().rev().filter(|indexed| indexed.is_kept(now_ms));
        let kept: Vec<&IndexedMessage> = kept.collect();
        // Indices in `kept`, the newest first.
        let hits = |matching: Matching| -> Vec<usize> {
            let is_hit = |place: &usize| wanted.is_in(kept[*place].message.body.text(), matching);
            (0..kept.len()).filter(is_hit).take(FOUND_MAX + 1).collect()
        };
        let mut found = hits(Matching::Whole);
        if found.len() <= FOUND_MAX && wanted.has_beginnings() {
            let mut others = hits(Matching::Beginnings);
            others.retain(|place| !found.contains(place));
            found.extend(others);
        }
        let more = found.len() > FOUND_MAX;
        found.truncate(FOUND_MAX);
        found.sort_unstable();
        let message = |indexed: &IndexedMessage| {
            let seq = if indexed.epoch == epoch { indexed.message.seq } else { Seq(0) };
            Message { confidentiality: indexed.confidentiality, seq, ..indexed.message.clone() }
        };
        (found.into_iter().map(|place| message(kept[place])).rev().collect(), more)
    }
}

impl Page {
    fn write(&mut self, mut indexed: IndexedMessage) {
        let next = self.logs.len();
        self.logs.entry(indexed.epoch).or_insert(next);
        let key = indexed.key();
        if let Some(before) = self.messages.get(&key) {
            // What nobody has signed replaces nothing that is here, and an original no edit.
            if indexed.confidentiality == Confidentiality::Open
                || before.message.edited && !indexed.message.edited
            {
                return;
            }
            // What was noted first stays, unless a message that nobody has signed has it.
            if before.confidentiality != Confidentiality::Open {
                indexed.until_ms = before.until_ms;
                (indexed.read_ms, indexed.since_ms) = (before.read_ms, before.since_ms);
            }
        }
        self.messages.insert(key, indexed);
    }

    /// Each message says when something of its sender was read first, also once that is gone.
    fn date_senders(&mut self) {
        let mut since: BTreeMap<UserName, i64> = BTreeMap::new();
        for ((from, _), indexed) in &self.messages {
            let first_ms = since.entry(from.clone()).or_insert(indexed.since_ms);
            *first_ms = (*first_ms).min(indexed.since_ms);
        }
        for ((from, _), indexed) in &mut self.messages {
            indexed.since_ms = since[from];
        }
    }

    /// Oldest first.
    fn in_order(&self) -> Vec<&IndexedMessage> {
        let mut messages: Vec<&IndexedMessage> = self.messages.values().collect();
        messages.sort_by_cached_key(|indexed| (self.logs.get(&indexed.epoch), indexed.message.seq));
        messages
    }
}

impl IndexedMessage {
    fn key(&self) -> (UserName, MsgId) {
        (self.message.from.clone(), self.message.id)
    }

    fn is_kept(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| until_ms > now_ms)
    }
}
