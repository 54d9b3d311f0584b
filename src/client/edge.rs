//! The wire's edge: every event of a server passes here before anything else of the client has it.
//! A server is not trusted: its texts are cleaned and bounded, its delays have a floor and a
//! ceiling, and it answers only what was asked.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chat::{Body, Command, Event, Message, Target, UserName};
use crate::clean;
use crate::crypto::Fingerprint;
use crate::limits::{
    ANSWER_BYTES_MAX, ANSWER_ROWS_MAX, ASKED_REFS_MAX, CONVERSATIONS_MAX, REF_BYTES_MAX, RETRY_MS,
    TEXT_BYTES_MAX, WORD_BYTES_MAX,
};

/// What one connection's server may say.
pub struct Edge {
    asked: Asked,
    /// By which name the server has said welcome, which it says once.
    welcomed: Option<UserName>,
    /// It tells of more conversations than there can be.
    pub overflows: bool,
}

/// What this client has asked, and which conversations there are.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<Requests>>);

#[derive(Default)]
struct Requests {
    /// Of what was asked over this connection: a server makes none.
    references: HashSet<String>,
    /// The same in their order.
    newest: VecDeque<String>,
    /// Whatever a server tells of one is kept in memory and on disk: in this run so many are told
    /// of.
    conversations: HashSet<Target>,
}

impl Asked {
    /// A command goes out.
    pub fn note(&self, command: &Command) {
        let mut asked = self.lock();
        match command {
            Command::Say(message) => drop(asked.conversations.insert(message.to.clone())),
            Command::Join { channel, .. } => {
                asked.conversations.insert(Target::Channel(channel.clone()));
            }
            _ => {}
        }
        // A longer one comes back in no answer.
        let reference = command.names().1.filter(|it| it.len() <= REF_BYTES_MAX);
        let Some(reference) = reference else { return };
        if asked.references.insert(reference.clone()) {
            asked.newest.push_back(reference.clone());
        }
        if asked.newest.len() > ASKED_REFS_MAX
            && let Some(oldest) = asked.newest.pop_front()
        {
            asked.references.remove(&oldest);
        }
    }

    /// Another connection: what was asked over the one before is not answered any more.
    pub fn forget(&self) {
        let mut asked = self.lock();
        asked.references.clear();
        asked.newest.clear();
    }

    /// An answer to a question without a reference has an empty one.
    fn has(&self, reference: &str) -> bool {
        reference.is_empty() || self.lock().references.contains(reference)
    }

    /// Whether a conversation is known, or there is room for it.
    fn knows(&self, to: &Target) -> bool {
        let mut asked = self.lock();
        let room = asked.conversations.len() < CONVERSATIONS_MAX;
        asked.conversations.contains(to) || room && asked.conversations.insert(to.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edge {
    pub fn new(asked: Asked) -> Edge {
        Edge { asked, welcomed: None, overflows: false }
    }

    /// The event as the client may have it; none where it is not for a server to say.
    pub fn admit(&mut self, mut event: Event) -> Option<Event> {
        let now = match &event {
            Event::Welcome { name, .. } => {
                let first = self.welcomed.is_none();
                self.welcomed.get_or_insert_with(|| name.clone());
                first
            }
            Event::Password { .. } => self.welcomed.is_none(),
            Event::Goodbye { .. }
            | Event::Refused { .. }
            | Event::Notice { .. }
            | Event::Successor { .. } => true,
            _ => self.welcomed.is_some(),
        };
        if !now || !self.refers(&mut event) || !self.is_of_a_conversation(&mut event) {
            return None;
        }
        bound(&mut event);
        Some(event)
    }

    /// Without a reference that nobody has made; a line that has one is dropped, because without it
    /// it would be a new one.
    fn refers(&self, event: &mut Event) -> bool {
        if let Event::Message(Message { reference, .. }) = event {
            return reference.as_ref().is_none_or(|reference| self.asked.has(reference));
        }
        if let Some(slot) = reference(event) {
            slot.take_if(|reference| !self.asked.has(reference));
        }
        true
    }
}

impl Edge {
    /// Whether what is told is of a conversation that is known, or may be.
    fn is_of_a_conversation(&mut self, event: &mut Event) -> bool {
        let known = match event {
            Event::Conversations { conversations } => {
                let told = conversations.len();
                conversations.retain(|conversation| self.asked.knows(&conversation.to));
                self.overflows |= conversations.len() < told;
                return true;
            }
            Event::Message(message) => {
                self.asked.knows(&message.conversation(self.welcomed.as_ref()))
            }
            Event::Gap { to, .. } | Event::Read { to, .. } => self.asked.knows(to),
            Event::Entered { channel, .. } | Event::Topic { to: channel, .. } => {
                self.asked.knows(&Target::Channel(channel.clone()))
            }
            _ => true,
        };
        self.overflows |= !known;
        known
    }
}

fn reference(event: &mut Event) -> Option<&mut Option<String>> {
    match event {
        Event::Message(Message { reference, .. })
        | Event::History { reference, .. }
        | Event::Entered { reference, .. }
        | Event::Parted { reference, .. }
        | Event::People { reference, .. }
        | Event::Channels { reference, .. }
        | Event::Whois { reference, .. }
        | Event::Keys { reference, .. }
        | Event::Topic { reference, .. }
        | Event::Refused { reference, .. }
        | Event::Notice { reference, .. } => Some(reference),
        Event::Welcome { .. }
        | Event::Password { .. }
        | Event::Stored { .. }
        | Event::Gap { .. }
        | Event::Conversations { .. }
        | Event::Read { .. }
        | Event::Joined { .. }
        | Event::Left { .. }
        | Event::Successor { .. }
        | Event::Ticket { .. }
        | Event::Goodbye { .. }
        | Event::Unknown => None,
    }
}

/// Cleans and bounds what an event says.
fn bound(event: &mut Event) {
    match event {
        // It is cleaned where it is opened (`Model::message`).
        Event::Message(message) => {
            if let Body::Text(text) = &mut message.body {
                clip(text, TEXT_BYTES_MAX);
            }
        }
        Event::Welcome { version, text_bytes_max, motd, .. } => {
            line(version);
            text(motd);
            *text_bytes_max = (*text_bytes_max).clamp(1, TEXT_BYTES_MAX);
        }
        Event::Password { retry_ms, .. } => delay(retry_ms),
        Event::Conversations { conversations } => conversations.truncate(ANSWER_ROWS_MAX),
        Event::Entered { people, omitted, topic, .. } => {
            cut(people, omitted);
            text(topic);
        }
        Event::People { people, omitted, .. } => cut(people, omitted),
        Event::Left { reason, .. } => text(reason),
        Event::Channels { channels, omitted, .. } => {
            cut(channels, omitted);
            channels.iter_mut().for_each(|row| text(&mut row.topic));
        }
        Event::Whois { fingerprints, devices, away, channels, .. } => {
            fingerprints.retain(|print| is_fingerprint(print));
            fingerprints.truncate(ANSWER_ROWS_MAX);
            devices.truncate(ANSWER_ROWS_MAX);
            channels.truncate(ANSWER_ROWS_MAX);
            text(away);
        }
        Event::Keys { keys, .. } => keys.truncate(ANSWER_ROWS_MAX),
        Event::Topic { text: topic, .. } => text(topic),
        Event::Refused { hint, retry_ms, .. } => {
            line(hint);
            delay(retry_ms);
        }
        Event::Notice { text, .. } => {
            clip(text, ANSWER_BYTES_MAX);
            clean::wash(text);
        }
        Event::Goodbye { reason, retry_ms, .. } => {
            line(reason);
            delay(retry_ms);
        }
        Event::Stored { .. }
        | Event::Gap { .. }
        | Event::Read { .. }
        | Event::History { .. }
        | Event::Parted { .. }
        | Event::Joined { .. }
        | Event::Successor { .. }
        | Event::Ticket { .. }
        | Event::Unknown => {}
    }
}

/// Rows beyond the bound are counted with those that the server has left out.
fn cut<T>(rows: &mut Vec<T>, omitted: &mut usize) {
    *omitted = omitted.saturating_add(rows.len().saturating_sub(ANSWER_ROWS_MAX));
    rows.truncate(ANSWER_ROWS_MAX);
}

fn text(text: &mut Option<String>) {
    text.iter_mut().for_each(line);
}

/// One line of a few words.
fn line(text: &mut String) {
    clip(text, WORD_BYTES_MAX);
    *text = clean::line(text);
}

fn clip(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

fn delay(retry_ms: &mut Option<u64>) {
    *retry_ms = retry_ms.map(|ms| ms.clamp(RETRY_MS.0, RETRY_MS.1));
}

fn is_fingerprint(text: &str) -> bool {
    let url = text.strip_prefix("SHA256:").map(|print| print.replace('+', "-").replace('/', "_"));
    url.is_some_and(|url| Fingerprint::from_url(&url).is_some())
}

#[cfg(test)]
#[path = "edge_tests.rs"]
mod tests;
