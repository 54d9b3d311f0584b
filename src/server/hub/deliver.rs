//! Delivery from logs to cursors: outside the hub's lock, by one thread at a time for each
//! conversation.

use std::sync::Arc;

use super::lock::Lock;
use super::logs::Next;
use super::state::After;
use crate::chat::{Conversation, Event, SessionId, UserName};
use crate::crypto::RecordType;
use crate::server::delivery::backfill::{Backfill, Replays};
use crate::server::delivery::flusher::{Deliver, Flusher};
use crate::server::delivery::send_queue::{ConversationId, Cursor, Offered, SendQueue};
use crate::server::observe::counters::Counters;

/// Passes that a thread delivers for others before the flusher takes over.
const PASSES_MAX: usize = 8;

/// Delivery to the sessions of a server.
pub struct Delivery {
    lock: Arc<Lock>,
    counters: Arc<Counters>,
    flusher: Flusher,
    /// Sessions that wait for older messages.
    pub backfill: Backfill,
}

impl Deliver for Delivery {
    fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    fn catch_up(&self, queue: &Arc<SendQueue>) {
        Delivery::catch_up(self, queue);
    }

    fn go_on(&self, conversation: ConversationId) {
        self.deliver(conversation, true);
    }
}

impl Replays for Delivery {
    fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    fn catch_up(&self, queue: &Arc<SendQueue>) {
        Delivery::catch_up(self, queue);
    }

    fn watch(&self, queue: Arc<SendQueue>) {
        self.flusher.watch(queue);
    }

    fn user_of(&self, id: SessionId) -> Option<UserName> {
        self.lock.lock().registry.membership.who(id).map(|(user, _)| user.clone())
    }

    fn conversation_of(&self, id: ConversationId) -> Option<Conversation> {
        self.lock.lock().logs.conversation(id).cloned()
    }

    fn send_people(&self, queue: &Arc<SendQueue>, conversation: &Conversation) {
        let Conversation::Channel(channel) = conversation else { return };
        let event = self.lock.lock().registry.membership.people_event(channel, None);
        self.answer(queue, &event);
    }
}

impl Delivery {
    pub(super) fn new(lock: Arc<Lock>, counters: Arc<Counters>, flusher: Flusher) -> Delivery {
        Delivery { lock, counters, flusher, backfill: Backfill::default() }
    }

    /// Sends an event to one session.
    pub fn answer(&self, queue: &Arc<SendQueue>, event: &Event) {
        if queue.answer(event) {
            self.flusher.watch(Arc::clone(queue));
        }
    }

    /// Sends a record to one session.
    pub fn send(&self, queue: &Arc<SendQueue>, kind: RecordType, body: &[u8]) {
        if queue.send(kind, body) {
            self.flusher.watch(Arc::clone(queue));
        }
    }

    /// Sends a session its first events.
    pub(super) fn welcome(&self, queue: &Arc<SendQueue>, first: &[Event]) {
        if queue.welcome(first) {
            self.flusher.watch(Arc::clone(queue));
        }
    }

    /// Leaves the delivery of a conversation to the flusher, unless another thread delivers it.
    pub(super) fn hand_over(&self, conversation: ConversationId) {
        let is_claimed = self.lock.lock().logs.claim(conversation);
        if is_claimed {
            self.flusher.take_over(conversation);
        }
    }

    /// Sends answers, then moves cursors, then delivers: outside the lock.
    pub(super) fn finish(&self, queue: &Arc<SendQueue>, mut after: After) {
        for (queue, conversation) in std::mem::take(&mut after.unfollows) {
            queue.unfollow(conversation);
        }
        for event in std::mem::take(&mut after.answers) {
            self.answer(queue, &event);
        }
        self.finish_for_all(after);
    }

    pub(super) fn finish_for_all(&self, after: After) {
        for (queue, conversation) in after.unfollows {
            queue.unfollow(conversation);
        }
        for (queue, event) in after.tells {
            self.answer(&queue, &event);
        }
        // Once per session, however many conversations it starts to read.
        let mut readers: Vec<Arc<SendQueue>> = Vec::new();
        for (queue, conversation, start, position) in after.follows {
            queue.follow(conversation, start, position);
            if readers.last().is_none_or(|last| !Arc::ptr_eq(last, &queue)) {
                readers.push(queue);
            }
        }
        readers.iter().for_each(|queue| self.catch_up(queue));
        after.deliver.into_iter().for_each(|conversation| self.deliver(conversation, false));
        if let Some(conversation) = after.crowded {
            self.hold_back(conversation);
        }
    }

    /// Moves a session's cursors towards the ends of their tails.
    pub(super) fn catch_up(&self, queue: &Arc<SendQueue>) {
        loop {
            let cursors = queue.cursors();
            if cursors.iter().any(|(_, cursor)| matches!(cursor, Cursor::Replay(_))) {
                self.backfill.add(queue);
            }
            let state = self.lock.lock();
            let next = cursors.iter().find_map(|(conversation, cursor)| {
                let Cursor::Live { position, .. } = cursor else { return None };
                Some((*conversation, state.logs.read(*conversation, *position)?))
            });
            drop(state);
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
        let mut state = self.lock.lock();
        while state.logs.is_crowded(conversation) {
            state = self.lock.wait(state);
        }
    }

    /// Offers new entries of a conversation to its members until none is left. One thread at a time
    /// delivers a conversation, including what others append meanwhile; after some passes the
    /// flusher takes over.
    pub(super) fn deliver(&self, conversation: ConversationId, mut mine: bool) {
        for _ in 0..PASSES_MAX {
            let next = self.lock.lock().logs.next(conversation, &mut mine);
            let (span, members) = match next {
                Next::Offer { span, members, is_congested } => {
                    if is_congested {
                        self.lock.progressed();
                    }
                    (span, members)
                }
                Next::CatchUp(members) => {
                    return members.iter().for_each(|queue| self.catch_up(queue));
                }
                Next::Nothing => return,
            };
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
            if lagging {
                self.lock.lock().logs.note_lag(conversation);
            }
        }
        self.flusher.take_over(conversation);
    }
}
