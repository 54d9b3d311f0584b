//! Delivery from logs to cursors: outside the hub's lock, by one thread at a time for each
//! conversation.

use std::sync::Arc;

use super::Hub;
use crate::chat::{Conversation, SessionId, UserName};
use crate::server::delivery::backfill::{Backfill, Replays};
use crate::server::delivery::flusher::{Deliver, Flusher};
use crate::server::delivery::send_queue::{ConversationId, Cursor, Offered, SendQueue};
use crate::server::delivery::tail::{FellBehind, Span};

/// Passes that a thread delivers for others before the flusher takes over.
const PASSES_MAX: usize = 8;

impl Deliver for Hub {
    fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    fn catch_up(&self, queue: &Arc<SendQueue>) {
        Hub::catch_up(self, queue);
    }

    fn go_on(&self, conversation: ConversationId) {
        self.deliver(conversation, true);
    }
}

impl Replays for Hub {
    fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    fn catch_up(&self, queue: &Arc<SendQueue>) {
        Hub::catch_up(self, queue);
    }

    fn watch(&self, queue: Arc<SendQueue>) {
        self.flusher.watch(queue);
    }

    fn user_of(&self, id: SessionId) -> Option<UserName> {
        self.lock().registry.who(id).map(|(user, _)| user.clone())
    }

    fn conversation_of(&self, id: ConversationId) -> Option<Conversation> {
        self.lock().logs.get(&id).map(|log| log.conversation.clone())
    }

    fn tell_people(&self, queue: &Arc<SendQueue>, conversation: &Conversation) {
        let Conversation::Channel(channel) = conversation else { return };
        let event = self.lock().registry.people_event(channel, None);
        self.answer(queue, &event);
    }
}

impl Hub {
    /// Moves a session's cursors towards the ends of their tails.
    pub(super) fn catch_up(&self, queue: &Arc<SendQueue>) {
        loop {
            let cursors = queue.cursors();
            if cursors.iter().any(|(_, cursor)| matches!(cursor, Cursor::Replay(_))) {
                self.backfill.add(queue);
            }
            let inner = self.lock();
            let next = cursors.iter().find_map(|(conversation, cursor)| {
                let Cursor::Live { position, .. } = cursor else { return None };
                let tail = &inner.logs.get(conversation)?.tail;
                let read = tail.read(*position).transpose()?;
                Some((*conversation, read.map_err(|FellBehind| (tail.seq(), tail.end()))))
            });
            drop(inner);
            match next {
                None => return,
                Some((conversation, Ok(span))) => match queue.offer(conversation, &span) {
                    Offered::Taken => {}
                    Offered::Blocked => return self.flusher.watch(Arc::clone(queue)),
                    Offered::StillBlocked | Offered::Over => return,
                    // The cursor moved, or the session no longer reads the conversation.
                    Offered::Behind | Offered::Elsewhere => {}
                },
                Some((conversation, Err((upto, position)))) => {
                    queue.fall_behind(conversation, upto, position)
                }
            }
        }
    }

    /// Blocks a sender whose conversation grows faster than it is delivered.
    pub(super) fn hold_back(&self, conversation: ConversationId) {
        let mut inner = self.lock();
        while inner.logs.get(&conversation).is_some_and(|log| log.is_crowded(&self.limits)) {
            inner = self.wait(inner);
        }
    }

    /// Offers new entries of a conversation to its members until none is left. One thread at a time
    /// delivers a conversation, including what others append meanwhile; after some passes the
    /// flusher takes over.
    pub(super) fn deliver(&self, conversation: ConversationId, mut mine: bool) {
        for _ in 0..PASSES_MAX {
            let Some((span, members)) = self.next_span(conversation, &mut mine) else { return };
            let mut lagging = false;
            let mut taken = 0;
            for queue in members.iter() {
                match queue.offer(conversation, &span) {
                    Offered::Taken => taken += 1,
                    Offered::Over => {}
                    Offered::Blocked => {
                        lagging = true;
                        self.flusher.watch(Arc::clone(queue));
                    }
                    Offered::Behind => self.catch_up(queue),
                    Offered::StillBlocked | Offered::Elsewhere => lagging = true,
                }
            }
            self.counters.delivered(taken);
            if lagging && let Some(log) = self.lock().logs.get_mut(&conversation) {
                log.lagging = true;
            }
        }
        self.flusher.take_over(conversation);
    }

    /// Returns the next span and its readers; `None` when all is offered or another thread
    /// delivers.
    pub(super) fn next_span(
        &self,
        conversation: ConversationId,
        mine: &mut bool,
    ) -> Option<(Span, Arc<Vec<Arc<SendQueue>>>)> {
        let mut inner = self.lock();
        let log = inner.logs.get_mut(&conversation)?;
        if log.delivering && !*mine {
            return None;
        }
        match log.tail.read(log.offered) {
            Ok(Some(span)) => {
                if log.is_congested(&self.limits) {
                    self.progress.notify_all();
                }
                (log.delivering, *mine) = (true, true);
                log.offered = span.end();
                Some((span, Arc::clone(&log.members)))
            }
            nothing => {
                log.delivering = false;
                if nothing.is_err() {
                    // Entries were dropped before they were offered: each member's cursor detects
                    // it.
                    log.offered = log.tail.end();
                    let members = Arc::clone(&log.members);
                    drop(inner);
                    members.iter().for_each(|queue| self.catch_up(queue));
                    return None;
                }
                if !std::mem::take(&mut log.lagging) {
                    let offered = log.offered;
                    log.tail.release(offered);
                }
                None
            }
        }
    }
}
