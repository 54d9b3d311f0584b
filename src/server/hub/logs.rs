//! The conversations' tails and their readers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::chat::{Conversation, CountedMap, Seq, SessionId};
use crate::server::delivery::send_queue::{ConversationId, SendQueue};
use crate::server::delivery::tail::{FellBehind, Span, Tail};

/// The sessions that read a conversation.
pub(super) type Members = Arc<Vec<Arc<SendQueue>>>;

/// A conversation's log and its readers.
struct Log {
    conversation: Conversation,
    tail: Tail,
    members: Members,
    /// The position up to which entries were offered to members.
    offered: u64,
    /// Whether a thread delivers; others only append.
    delivering: bool,
    /// Whether a member did not get all that was offered.
    lagging: bool,
}

/// What a thread that delivers a conversation has to do next.
pub(super) enum Next {
    /// Offer a span to the members. Much more waits if the conversation `is_congested`.
    Offer { span: Span, members: Members, is_congested: bool },
    /// Entries were dropped before they were offered: each member's cursor detects it.
    CatchUp(Members),
    /// All is offered, or another thread delivers.
    Nothing,
}

pub(super) struct Logs {
    ids: HashMap<Conversation, ConversationId>,
    logs: CountedMap<ConversationId, Log>,
    ids_made: u64,
    /// Messages since the start.
    messages: u64,
    tail_bytes_max: usize,
}

impl Logs {
    pub fn new(tail_bytes_max: usize) -> Logs {
        let (ids, logs) = (HashMap::new(), CountedMap::default());
        Logs { ids, logs, ids_made: 0, messages: 0, tail_bytes_max }
    }

    /// Returns a conversation's id. A log that begins with this call continues after the seq that
    /// `last` returns.
    pub fn id(
        &mut self,
        conversation: &Conversation,
        last: impl FnOnce() -> Seq,
    ) -> ConversationId {
        if let Some(id) = self.ids.get(conversation) {
            return *id;
        }
        self.ids_made += 1;
        let id = ConversationId(self.ids_made);
        let log = Log {
            conversation: conversation.clone(),
            tail: Tail::new(self.tail_bytes_max, last()),
            members: Arc::default(),
            offered: 0,
            delivering: false,
            lagging: false,
        };
        self.ids.insert(conversation.clone(), id);
        self.logs.insert(id, log);
        id
    }

    /// Returns the id of a conversation that has a log.
    pub fn known(&self, conversation: &Conversation) -> Option<ConversationId> {
        self.ids.get(conversation).copied()
    }

    pub fn conversation(&self, id: ConversationId) -> Option<&Conversation> {
        self.logs.get(&id).map(|log| &log.conversation)
    }

    /// Returns the number of messages since the start.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    fn log(&mut self, id: ConversationId) -> &mut Log {
        self.logs.get_mut(&id).expect("a conversation that has an id has a log")
    }

    /// Appends a notice.
    pub fn append(&mut self, id: ConversationId, entry: &[u8]) {
        self.log(id).tail.append(entry);
    }

    /// Appends a message. Returns whether it is new.
    pub fn append_message(&mut self, id: ConversationId, seq: Seq, fields: &[u8]) -> bool {
        let is_new = self.log(id).tail.append_message(seq, fields);
        self.messages += u64::from(is_new);
        is_new
    }

    /// Adds a member. Returns where it starts to read; `None` if it is a member already, which is
    /// possible in private conversations only.
    pub fn add_member(&mut self, id: ConversationId, queue: &Arc<SendQueue>) -> Option<u64> {
        let log = self.log(id);
        let is_private = matches!(log.conversation, Conversation::Private(..));
        if is_private && log.members.iter().any(|member| member.id == queue.id) {
            return None;
        }
        Arc::make_mut(&mut log.members).push(Arc::clone(queue));
        Some(log.tail.end())
    }

    pub fn remove_member(&mut self, id: ConversationId, session: SessionId) {
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

    pub fn forget(&mut self, conversation: &Conversation) {
        if let Some(id) = self.ids.remove(conversation) {
            self.logs.remove(&id);
        }
    }

    /// Empties all tails: readers that are behind get the rest from the ledger.
    pub fn release_all(&mut self) {
        self.logs.values_mut().for_each(|log| log.tail.release(log.tail.end()));
    }

    /// Returns what follows a position; the newest seq and the end if that is no longer in the
    /// tail.
    pub fn read(&self, id: ConversationId, position: u64) -> Option<Result<Span, (Seq, u64)>> {
        let tail = &self.logs.get(&id)?.tail;
        let read = tail.read(position).transpose()?;
        Some(read.map_err(|FellBehind| (tail.seq(), tail.end())))
    }

    /// Whether much of the tail has not been offered yet.
    fn is_congested(&self, log: &Log) -> bool {
        log.tail.end() - log.offered > self.tail_bytes_max as u64 / 2
    }

    /// Whether delivery cannot keep up, so that senders have to wait.
    pub fn is_crowded(&self, id: ConversationId) -> bool {
        self.logs.get(&id).is_some_and(|log| log.delivering && self.is_congested(log))
    }

    /// A member did not get all that was offered.
    pub fn note_lag(&mut self, id: ConversationId) {
        if let Some(log) = self.logs.get_mut(&id) {
            log.lagging = true;
        }
    }

    /// Reserves the delivery of a conversation for the caller. Returns false if another thread
    /// delivers it: that one also delivers what was appended before this call.
    pub fn claim(&mut self, id: ConversationId) -> bool {
        let log = self.logs.get_mut(&id);
        log.is_some_and(|log| !std::mem::replace(&mut log.delivering, true))
    }

    /// Returns what to do next for a conversation. One thread at a time delivers it: the one whose
    /// `mine` is set.
    pub fn next(&mut self, id: ConversationId, mine: &mut bool) -> Next {
        let Some(log) = self.logs.get(&id).filter(|log| *mine || !log.delivering) else {
            return Next::Nothing;
        };
        let is_congested = self.is_congested(log);
        let log = self.log(id);
        match log.tail.read(log.offered) {
            Ok(Some(span)) => {
                (log.delivering, *mine) = (true, true);
                log.offered = span.end();
                Next::Offer { span, members: Arc::clone(&log.members), is_congested }
            }
            Ok(None) => {
                log.delivering = false;
                if !std::mem::take(&mut log.lagging) {
                    log.tail.release(log.offered);
                }
                Next::Nothing
            }
            Err(FellBehind) => {
                log.delivering = false;
                log.offered = log.tail.end();
                Next::CatchUp(Arc::clone(&log.members))
            }
        }
    }
}
