//! Queries about sessions, and events for all of them.

use std::sync::Arc;

use super::{Hub, word};
use crate::chat::registry::{Directory, Presence};
use crate::chat::{
    ChannelName, Code, Conversation, DeviceName, Event, Refusal, SessionId, Target, UserName,
};
use crate::crypto::Fingerprint;
use crate::server::delivery::send_queue::SendQueue;

/// Counters for display and metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HubStats {
    pub sessions: usize,
    pub people: usize,
    pub channels: usize,
    pub lines: u64,
    /// Messages that the ledger was found to lack since the start, at least.
    pub lost: u64,
    pub uptime_ms: u64,
}

impl Hub {
    /// Returns the bytes queued for sockets that are not writable.
    pub fn queued_bytes(&self) -> usize {
        self.queues().iter().map(|queue| queue.queued_bytes()).sum()
    }

    /// Returns every session with its user.
    pub fn sessions(&self) -> Vec<(UserName, Arc<SendQueue>)> {
        let inner = self.lock();
        let who = |queue: &Arc<SendQueue>| {
            let (user, _) = inner.registry.who(queue.id)?;
            Some((user.clone(), Arc::clone(queue)))
        };
        inner.queues.values().filter_map(who).collect()
    }

    /// Ends all sessions of a key. Returns how many there were.
    pub fn end_key(&self, key: &Fingerprint, code: Code, reason: &str) -> usize {
        self.end_some(code, reason, |queue| queue.key == *key)
    }

    pub(super) fn end_some(
        &self,
        code: Code,
        reason: &str,
        which: impl Fn(&SendQueue) -> bool,
    ) -> usize {
        let event = Event::Goodbye { code, reason: reason.to_owned(), retry_ms: None };
        let mut queues = self.queues();
        queues.retain(|queue| which(queue));
        queues.iter().for_each(|queue| queue.end(Some(&event), &word(code)));
        queues.len()
    }

    /// Ends every session; `last` contains the reason and the retry delay.
    pub fn end_all(&self, last: &Event, reason: &str) {
        self.queues().iter().for_each(|queue| queue.end(Some(last), reason));
    }

    /// Sends a notice to everybody.
    pub fn notice_all(&self, text: &str) {
        self.tell_all(&Event::Notice { text: text.to_owned(), reference: None });
    }

    /// Sends an event to everybody.
    pub fn tell_all(&self, event: &Event) {
        self.queues().iter().for_each(|queue| self.answer(queue, event));
    }

    /// Returns the conversation that a session names, if it may read it.
    pub fn may_read(
        &self,
        id: SessionId,
        to: &Target,
        directory: Directory,
    ) -> Result<Conversation, Refusal> {
        self.lock().registry.may_read(id, to, directory)
    }

    /// Returns all conversations that a session may read.
    pub fn readable(&self, id: SessionId) -> Vec<Conversation> {
        self.lock().registry.readable(id)
    }

    pub fn presence(&self, name: &UserName, asker: SessionId) -> Option<Presence> {
        let now = self.now();
        self.lock().registry.presence(name, asker, now)
    }

    /// Returns the channels and the people in them, ordered by name.
    pub fn channels(&self) -> Vec<(ChannelName, Vec<UserName>)> {
        let inner = self.lock();
        let own = |people: Vec<&UserName>| people.into_iter().cloned().collect();
        inner.registry.channels().map(|(name, people)| (name.clone(), own(people))).collect()
    }

    /// Returns who is connected: name, device, session.
    pub fn people(&self) -> Vec<(UserName, DeviceName, SessionId)> {
        let inner = self.lock();
        let who = |id: &SessionId| {
            let (user, device) = inner.registry.who(*id)?;
            Some((user.clone(), device.clone(), *id))
        };
        inner.queues.keys().filter_map(who).collect()
    }

    pub fn stats(&self) -> HubStats {
        let uptime_ms = self.now().0;
        let inner = self.lock();
        HubStats {
            sessions: inner.queues.len(),
            people: inner.registry.people(),
            channels: inner.registry.channels().count(),
            lines: inner.lines,
            lost: inner.lost,
            uptime_ms,
        }
    }

    pub(super) fn queues(&self) -> Vec<Arc<SendQueue>> {
        self.lock().queues.values().cloned().collect()
    }
}
