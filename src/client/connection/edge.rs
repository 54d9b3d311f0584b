//! Edge of the client: every server event passes here first. The server is not trusted: its texts
//! are cleaned and bounded, its delays have bounds, and it can answer only requests that were made.

mod reads;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::chat::{Body, Command, Event, Message, Request, Target, UserName};
use crate::clean;
use crate::crypto::Fingerprint;
use crate::limits::{
    ANSWER_BYTES_MAX, ANSWER_ROWS_MAX, ASKED_REFS_MAX, CONVERSATIONS_MAX, COUNTED_MAX,
    COUNTED_SENDERS_MAX, REF_BYTES_MAX, RETRY_MS, SHORT_TEXT_BYTES_MAX, TEXT_BYTES_MAX,
};
use crate::sync::{Mutex, MutexGuard, Rank};
use crate::system::clock::Instant;
use reads::Reads;

/// Filter for the events of one connection.
pub struct Edge {
    asked: Asked,
    /// The name in the welcome, which the server sends once.
    welcomed: Option<UserName>,
    /// The server lists more conversations than allowed.
    pub overflows: bool,
}

/// Open requests and known conversations.
#[derive(Clone)]
pub struct Asked(Arc<Mutex<Requests>>);

impl Default for Asked {
    fn default() -> Asked {
        Asked(Arc::new(Mutex::new(Rank::Requests, Requests::default())))
    }
}

#[derive(Default)]
struct Requests {
    /// References of requests made over this connection; a server cannot add any.
    references: HashSet<String>,
    /// The same, oldest first.
    newest: VecDeque<String>,
    reads: Reads,
    /// Known conversations. Each takes memory and disk space, so their count is bounded in one run.
    conversations: HashSet<Target>,
}

impl Asked {
    /// Records an outgoing command.
    pub fn note(&self, request: &Request) {
        let mut asked = self.lock();
        match &request.command {
            Command::Say(message) => drop(asked.conversations.insert(message.to.clone())),
            Command::Join { channel, .. } => {
                asked.conversations.insert(Target::Channel(channel.clone()));
            }
            _ => {}
        }
        asked.reads.note(request, Instant::now());
        // The server does not return a longer one in its answer.
        let reference = request.names().1.filter(|it| it.len() <= REF_BYTES_MAX);
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

    /// Forgets the requests of the previous connection.
    pub fn forget(&self) {
        let mut asked = self.lock();
        asked.references.clear();
        asked.newest.clear();
        asked.reads.clear();
    }

    fn has(&self, reference: &str) -> bool {
        self.lock().references.contains(reference)
    }

    /// Returns whether a message with a reference belongs to the answer to an open request.
    fn answers(&self, message: &Message, conversation: &Target) -> bool {
        let mut asked = self.lock();
        let known = asked.conversations.contains(conversation);
        asked.reads.admits(message, conversation, known, Instant::now())
    }

    /// Returns whether a conversation is known, or can be added.
    fn knows(&self, to: &Target) -> bool {
        let mut asked = self.lock();
        let room = asked.conversations.len() < CONVERSATIONS_MAX;
        asked.conversations.contains(to) || room && asked.conversations.insert(to.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock()
    }
}

impl Edge {
    pub fn new(asked: Asked) -> Edge {
        Edge { asked, welcomed: None, overflows: false }
    }

    /// Returns the event in its safe form, or `None` if the server may not send it.
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

    /// Removes a reference that belongs to no request. A message with a reference, and the
    /// `history` that ends an answer, are dropped unless an open request matches: without its
    /// reference the message would count as new.
    fn refers(&self, event: &mut Event) -> bool {
        match event {
            Event::Message(message) if message.reference.is_some() => {
                let conversation = message.conversation(self.welcomed.as_ref());
                return self.asked.answers(message, &conversation);
            }
            Event::History { to, reference, .. } => {
                return self.asked.lock().reads.end(to.as_ref(), reference.as_deref());
            }
            Event::Refused { id: None, reference, .. } => {
                self.asked.lock().reads.refused(reference.as_deref());
            }
            _ => {}
        }
        if let Some(slot) = reference(event) {
            slot.take_if(|reference| !self.asked.has(reference));
        }
        true
    }
}

impl Edge {
    /// Returns whether the event belongs to a conversation that is known, or can be added.
    fn is_of_a_conversation(&mut self, event: &mut Event) -> bool {
        let known = match event {
            Event::Conversations { conversations } => {
                let told = conversations.len();
                conversations.retain(|conversation| self.asked.knows(&conversation.to));
                self.overflows |= conversations.len() < told;
                return true;
            }
            Event::Count { conversations, .. } => {
                conversations.retain(|conversation| self.asked.knows(&conversation.to));
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
        | Event::Count { reference, .. }
        | Event::Entered { reference, .. }
        | Event::Parted { reference, .. }
        | Event::People { reference, .. }
        | Event::Channels { reference, .. }
        | Event::Whois { reference, .. }
        | Event::Keys { reference, .. }
        | Event::Upload { reference, .. }
        | Event::Download { reference, .. }
        | Event::Kept { reference, .. }
        | Event::Dropped { reference, .. }
        | Event::Usage { reference, .. }
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
        | Event::Stopped { .. }
        | Event::Ticket { .. }
        | Event::SessionTicket { .. }
        | Event::Goodbye { .. }
        | Event::Unknown => None,
    }
}

/// Cleans and bounds the contents of an event.
fn bound(event: &mut Event) {
    match event {
        // The text is cleaned after it is opened (`Model::message`).
        Event::Message(message) => {
            if let Body::Text(text) = &mut message.body {
                clip(text, TEXT_BYTES_MAX);
            }
        }
        Event::Welcome { version, text_bytes_max, time_ms, motd, .. } => {
            line(version);
            text(motd);
            *time_ms = (*time_ms).max(0);
            *text_bytes_max = (*text_bytes_max).clamp(1, TEXT_BYTES_MAX);
        }
        Event::Password { retry_ms, .. } => delay(retry_ms),
        Event::Conversations { conversations } => conversations.truncate(ANSWER_ROWS_MAX),
        Event::Count { conversations, .. } => {
            conversations.truncate(COUNTED_MAX);
            conversations.iter_mut().for_each(|one| one.by.truncate(COUNTED_SENDERS_MAX));
        }
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
        Event::Usage { files, omitted, .. } => cut(files, omitted),
        Event::Stopped { hint, .. } => line(hint),
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
        | Event::Upload { .. }
        | Event::Download { .. }
        | Event::Kept { .. }
        | Event::Dropped { .. }
        | Event::Ticket { .. }
        | Event::SessionTicket { .. }
        | Event::Unknown => {}
    }
}

/// Rows beyond the bound are added to those that the server has omitted.
fn cut<T>(rows: &mut Vec<T>, omitted: &mut usize) {
    *omitted = omitted.saturating_add(rows.len().saturating_sub(ANSWER_ROWS_MAX));
    rows.truncate(ANSWER_ROWS_MAX);
}

fn text(text: &mut Option<String>) {
    text.iter_mut().for_each(line);
}

/// Makes a text a single short line.
fn line(text: &mut String) {
    clip(text, SHORT_TEXT_BYTES_MAX);
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
