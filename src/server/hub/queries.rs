//! Queries about sessions, and events for all of them.

use std::sync::Arc;

use super::{Hub, word};
use crate::chat::registry::Presence;
use crate::chat::{ChannelName, Code, Conversation, DeviceName, Event, SessionId, UserName};
use crate::crypto::Fingerprint;
use crate::server::delivery::send_queue::SendQueue;

/// Counters for display and metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HubStats {
    pub sessions: usize,
    pub people: usize,
    pub channels: usize,
    pub messages: u64,
    /// Messages that the ledger was found to lack since the start, at least.
    pub lost: u64,
    pub uptime_ms: u64,
}

impl Hub {
    /// Returns the bytes queued for sockets that are not writable.
    pub fn queued_bytes(&self) -> usize {
        self.queues().iter().map(|queue| queue.queued_bytes()).sum()
    }

    /// Whether a session may read a conversation now.
    pub fn reads(&self, session: SessionId, conversation: &Conversation) -> bool {
        self.lock().registry.reads(session, conversation)
    }

    /// Returns every session with its user.
    pub fn sessions(&self) -> Vec<(UserName, Arc<SendQueue>)> {
        let state = self.lock();
        let who = |queue: &Arc<SendQueue>| {
            let (user, _) = state.registry.membership.who(queue.id)?;
            Some((user.clone(), Arc::clone(queue)))
        };
        state.queues().filter_map(who).collect()
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

    pub fn presence(&self, name: &UserName, requester: SessionId) -> Option<Presence> {
        let now = self.now();
        self.lock().registry.membership.presence(name, requester, now)
    }

    /// Returns the channels that have people or messages, and the people in them, ordered by name.
    pub fn channels(&self) -> Vec<(ChannelName, Vec<UserName>)> {
        let state = self.lock();
        let own = |people: Vec<&UserName>| people.into_iter().cloned().collect();
        state
            .registry
            .channels()
            .into_iter()
            .map(|(name, people)| (name.clone(), own(people)))
            .collect()
    }

    /// Returns each session's user, device and queue.
    pub fn people(&self) -> Vec<(UserName, DeviceName, Arc<SendQueue>)> {
        let state = self.lock();
        let who = |queue: &Arc<SendQueue>| {
            let (user, device) = state.registry.membership.who(queue.id)?;
            Some((user.clone(), device.clone(), Arc::clone(queue)))
        };
        state.queues().filter_map(who).collect()
    }

    pub fn stats(&self) -> HubStats {
        let uptime_ms = self.now().0;
        let state = self.lock();
        HubStats {
            sessions: state.queues().count(),
            people: state.registry.membership.people(),
            channels: state.registry.membership.channels().count(),
            messages: state.logs.messages(),
            lost: state.lost(),
            uptime_ms,
        }
    }

    pub(super) fn queues(&self) -> Vec<Arc<SendQueue>> {
        self.lock().queues().cloned().collect()
    }
}
