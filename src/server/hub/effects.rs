//! Effects that are applied under the lock: appends to logs, records for the ledger, and work that
//! is left for outside.

use std::sync::Arc;

use super::waiting::Waiting;
use super::{After, Inner};
use crate::chat::rate::Stamp;
use crate::chat::registry::{Effect, Fact, Lost};
use crate::chat::{Conversation, SessionId, UserName};
use crate::ledger::Record;
use crate::limits::Limits;
use crate::server::delivery::send_queue::{ConversationId, SendQueue};
use crate::server::delivery::tail::Tail;
use crate::wire::codec;

/// A conversation's log and its readers.
pub(super) struct Log {
    pub(super) conversation: Conversation,
    pub(super) tail: Tail,
    pub(super) members: Arc<Vec<Arc<SendQueue>>>,
    /// The position up to which entries were offered to members.
    pub(super) offered: u64,
    /// Whether a thread delivers; others only append.
    pub(super) delivering: bool,
    /// Whether a member did not get all that was offered.
    pub(super) lagging: bool,
}

impl Log {
    /// Whether much of the tail has not been offered yet.
    pub(super) fn is_congested(&self, limits: &Limits) -> bool {
        self.tail.end() - self.offered > limits.tail_bytes_max as u64 / 2
    }

    /// Whether delivery cannot keep up, so that senders have to wait.
    pub(super) fn is_crowded(&self, limits: &Limits) -> bool {
        self.delivering && self.is_congested(limits)
    }
}

impl Inner {
    /// Applies effects in order.
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>, limits: &Limits) -> After {
        let mut after = After::default();
        for effect in effects {
            match effect {
                Effect::Notice(channel, event) => {
                    let id = self.conversation(&Conversation::Channel(channel), limits);
                    let mut entry = Vec::with_capacity(96);
                    codec::encode(&event, &mut entry);
                    self.log(id).tail.append(&entry);
                    after.deliver.push(id);
                }
                Effect::Follow(conversation, sessions, start) => {
                    let private = matches!(conversation, Conversation::Private(..));
                    let id = self.conversation(&conversation, limits);
                    for session in sessions {
                        let Some(queue) = self.queues.get(&session).cloned() else { continue };
                        if let Some(position) = self.add_member(id, &queue, private) {
                            after.follows.push((queue, id, start, position));
                        }
                    }
                }
                Effect::Unfollow(conversation, session) => {
                    let id = self.conversation(&conversation, limits);
                    self.remove_member(id, session);
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
                        Fact::Away(user, conversations) => Record::Away(user, conversations),
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
    pub(super) fn charge_answers(&mut self, user: &UserName, now: Stamp) {
        let sessions = self.registry.sessions_of(user).iter();
        let queues = sessions.filter_map(|id| self.queues.get(id));
        let bytes = queues.map(|queue| queue.take_answered()).sum();
        self.registry.answered(user, bytes, now);
    }

    pub(super) fn conversation(
        &mut self,
        conversation: &Conversation,
        limits: &Limits,
    ) -> ConversationId {
        if let Some(id) = self.conversations.get(conversation) {
            return *id;
        }
        self.conversations_made += 1;
        let id = ConversationId(self.conversations_made);
        let log = Log {
            tail: Tail::new(limits.tail_bytes_max, self.registry.last(conversation)),
            conversation: conversation.clone(),
            members: Arc::default(),
            offered: 0,
            delivering: false,
            lagging: false,
        };
        self.conversations.insert(conversation.clone(), id);
        self.logs.insert(id, log);
        id
    }

    pub(super) fn log(&mut self, id: ConversationId) -> &mut Log {
        self.logs.get_mut(&id).expect("a conversation that has an id has a log")
    }

    /// Adds a member. Returns where it starts to read; `None` if it is a member already, which is
    /// possible in private conversations only.
    pub(super) fn add_member(
        &mut self,
        id: ConversationId,
        queue: &Arc<SendQueue>,
        private: bool,
    ) -> Option<u64> {
        let log = self.log(id);
        if private && log.members.iter().any(|member| member.id == queue.id) {
            return None;
        }
        Arc::make_mut(&mut log.members).push(Arc::clone(queue));
        Some(log.tail.end())
    }

    pub(super) fn remove_member(&mut self, id: ConversationId, session: SessionId) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if let Some(index) = log.members.iter().position(|member| member.id == session) {
            Arc::make_mut(&mut log.members).swap_remove(index);
        }
        if log.members.is_empty() {
            // Nobody is left to read it.
            let end = log.tail.end();
            log.tail.release(end);
        }
    }

    /// Reports a loss to the operator, and starts new logs if two users have claimed it.
    fn report_loss(&mut self, lost: Lost) {
        let Lost { conversation, by, missing, log } = lost;
        let place = conversation.in_log();
        let Some(id) = log else {
            return log::warn!(
                "a client of {by} claims {missing} messages of {place} that the ledger does not \
                 have. Was an older copy of data/ put back? If so, clients of other users report it \
                 too"
            );
        };
        log::error!(
            "the ledger has lost messages: clients of two users have messages that it lacks, {by} \
             {missing} of {place}. Was an older copy of data/ put back? Clients are told that the \
             logs begin again"
        );
        self.lost = self.lost.max(missing);
        self.waiting.push(Waiting::Job(Box::new(move |ledger| {
            if let Err(error) = ledger.begin_log(id) {
                log::error!("cannot store the id of the new logs: {error}");
            }
        })));
    }

    pub(super) fn forget(&mut self, conversation: Conversation) {
        if let Some(id) = self.conversations.remove(&conversation) {
            self.logs.remove(&id);
        }
        self.waiting.push(Waiting::Job(Box::new(move |ledger| {
            if let Err(error) = ledger.forget(&conversation) {
                let place = conversation.in_log();
                log::error!("cannot erase the messages of {place}, which is empty: {error}");
            }
        })));
    }
}
