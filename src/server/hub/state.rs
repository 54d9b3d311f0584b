//! What the one lock guards: the registry, the conversations' logs, the sessions' queues, and what
//! waits for the ledger. Effects are applied under it; what is left is for outside.

use std::sync::Arc;

use super::logs::Logs;
use super::waiting::{Waiting, WaitingList};
use crate::chat::rate::Stamp;
use crate::chat::registry::{Effect, Fact, Lost, Registry, Start};
use crate::chat::{Conversation, CountedMap, Event, NewMessage, Seq, SessionId, UserName};
use crate::ledger::{Feed, Record, SentMessage, StoredMessage};
use crate::limits::Limits;
use crate::server::delivery::send_queue::{ConversationId, SendQueue};
use crate::wire::{codec, stored_fields};

pub(super) struct State {
    pub registry: Registry,
    pub logs: Logs,
    pub waiting: WaitingList,
    queues: CountedMap<SessionId, Arc<SendQueue>>,
    /// Messages that the ledger has lost, at least.
    lost: u64,
}

/// Work that is left to do outside the lock.
#[derive(Default)]
pub(super) struct After {
    pub answers: Vec<Event>,
    pub tells: Vec<(Arc<SendQueue>, Event)>,
    pub follows: Vec<(Arc<SendQueue>, ConversationId, Start, u64)>,
    pub unfollows: Vec<(Arc<SendQueue>, ConversationId)>,
    pub deliver: Vec<ConversationId>,
    /// The conversation of a message, if it is crowded: the sender is held back.
    pub crowded: Option<ConversationId>,
}

impl State {
    pub fn new(registry: Registry, limits: &Limits) -> State {
        State {
            registry,
            logs: Logs::new(limits.tail_bytes_max),
            waiting: WaitingList::new(limits.ledger_waiting_max),
            queues: CountedMap::default(),
            lost: 0,
        }
    }

    /// Adds a session.
    pub fn add(&mut self, queue: &Arc<SendQueue>) {
        self.queues.insert(queue.id, Arc::clone(queue));
    }

    /// Removes a session, which reads these conversations.
    pub fn remove(&mut self, session: SessionId, read: &[Conversation]) {
        self.queues.remove(&session);
        for conversation in read {
            if let Some(id) = self.logs.known(conversation) {
                self.logs.remove_member(id, session);
            }
        }
    }

    pub fn queues(&self) -> impl Iterator<Item = &Arc<SendQueue>> {
        self.queues.values()
    }

    /// Returns the id of a conversation's log, which begins with this call if there is none.
    pub fn log_of(&mut self, conversation: &Conversation) -> ConversationId {
        self.logs.id(conversation, || self.registry.last(conversation))
    }

    /// The ledger was found to lack messages, at least so many.
    pub fn note_lost(&mut self, messages: u64) {
        self.lost = self.lost.max(messages);
    }

    /// Returns how many messages the ledger has lost, at least.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends stored messages to their tails, in the feed's order. Returns the conversations to
    /// deliver.
    pub fn arrived(&mut self, feed: &mut dyn Feed) -> Vec<ConversationId> {
        let mut arrived = Vec::new();
        // Most messages follow one of the same conversation.
        let mut last: Option<(Conversation, ConversationId, Option<Seq>)> = None;
        while let Some(StoredMessage { seq, sent, fields }) = feed.next() {
            let is_same = last.as_ref().is_some_and(|(one, ..)| *one == sent.conversation);
            if !is_same {
                self.note_committed(last.take());
            }
            let (_, id, newest) = last.get_or_insert_with(|| {
                let id =
                    self.logs.id(&sent.conversation, || self.registry.last(&sent.conversation));
                arrived.push(id);
                (sent.conversation.clone(), id, None)
            });
            let is_new = match fields {
                Some(fields) => self.logs.append_message(*id, seq, fields),
                None => self.logs.append_message(*id, seq, &encoded(&sent)),
            };
            if is_new {
                *newest = Some(seq);
            }
        }
        self.note_committed(last);
        arrived.sort_unstable();
        arrived.dedup();
        arrived
    }

    /// Reports the newest seq of a conversation, if there is one, to the registry.
    fn note_committed(&mut self, run: Option<(Conversation, ConversationId, Option<Seq>)>) {
        if let Some((conversation, _, Some(seq))) = run {
            self.registry.committed(&conversation, seq);
        }
    }

    /// Applies effects in order.
    pub fn carry_out(&mut self, effects: Vec<Effect>) -> After {
        let mut after = After::default();
        for effect in effects {
            match effect {
                Effect::Notice(channel, event) => {
                    let id = self.log_of(&Conversation::Channel(channel));
                    let mut entry = Vec::with_capacity(96);
                    codec::encode(&event, &mut entry);
                    self.logs.append(id, &entry);
                    after.deliver.push(id);
                }
                Effect::Follow(conversation, sessions, start) => {
                    let id = self.log_of(&conversation);
                    for session in sessions {
                        let Some(queue) = self.queues.get(&session).cloned() else { continue };
                        if let Some(position) = self.logs.add_member(id, &queue) {
                            after.follows.push((queue, id, start, position));
                        }
                    }
                }
                Effect::Unfollow(conversation, session) => {
                    let id = self.log_of(&conversation);
                    self.logs.remove_member(id, session);
                    if let Some(queue) = self.queues.get(&session) {
                        after.unfollows.push((Arc::clone(queue), id));
                    }
                }
                Effect::Answer(event) => after.answers.push(event),
                Effect::Send(sessions, event) => {
                    let queues = sessions.iter().filter_map(|id| self.queues.get(id));
                    after.tells.extend(queues.map(|one| (Arc::clone(one), event.clone())));
                }
                Effect::Remember(fact) => {
                    let record = match fact {
                        Fact::Topic(channel, topic) => Record::Topic(channel, topic),
                        Fact::Read(user, conversation, seq) => {
                            Record::Read(user, conversation, seq)
                        }
                        Fact::Gone(user, conversations) => Record::Away(user, conversations),
                    };
                    self.waiting.push(Waiting::Record(record));
                }
                Effect::Forget(conversation) => self.forget(conversation),
                Effect::Loss(lost) => self.report_loss(lost),
            }
        }
        after
    }

    /// Charges a user for answers to their sessions since the last call.
    pub fn charge_answers(&mut self, user: &UserName, now: Stamp) {
        let sessions = self.registry.membership.sessions_of(user).iter();
        let queues = sessions.filter_map(|id| self.queues.get(id));
        let bytes = queues.map(|queue| queue.take_answered()).sum();
        self.registry.membership.answered(user, bytes, now);
    }

    /// Reports a loss to the operator, and begins a new epoch if two users have claimed it.
    fn report_loss(&mut self, lost: Lost) {
        let Lost { conversation, by, missing, epoch } = lost;
        let place = conversation.in_log();
        let Some(epoch) = epoch else {
            return log::warn!(
                "a client of {by} claims {missing} messages of {place} that the ledger does not \
                 have. If an older copy of data/ was restored, clients of other users will report it \
                 too"
            );
        };
        log::error!(
            "the ledger has lost messages: clients of two users claim later ones (the client of {by}: \
             {missing} in {place}). Check whether an older copy of data/ was restored. The server \
             begins a new epoch, and clients report it"
        );
        self.note_lost(missing);
        self.waiting.push(Waiting::Job(Box::new(move |ledger| {
            if let Err(error) = ledger.begin_epoch(epoch) {
                log::error!("cannot store the new epoch: {error}");
            }
        })));
    }

    fn forget(&mut self, conversation: Conversation) {
        self.logs.forget(&conversation);
        self.waiting.push(Waiting::Job(Box::new(move |ledger| {
            if let Err(error) = ledger.forget(&conversation) {
                let place = conversation.in_log();
                log::error!("cannot erase the messages of {place}, which is empty: {error}");
            }
        })));
    }
}

/// Encodes a message of another server's commit.
fn encoded(sent: &SentMessage) -> Vec<u8> {
    let SentMessage { conversation, from, device, id, time_ms, kind, body } = sent;
    let to = conversation.as_seen_by(from);
    let message = NewMessage { to: to.clone(), id: *id, kind: *kind, body: body.clone() };
    stored_fields(&to, from, device, *time_ms, &message)
}
