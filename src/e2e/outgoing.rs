//! Outgoing queues. One message of each conversation is in flight at a time, so that each can link
//! to the one before it and no count is used twice.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::output::Output;
use super::sealing::{Chain, NotSealed, Sealing, Session, WIRE_BYTES_MAX};
use crate::chat::{Body, Code, Command, Event, Kind, MsgId, NewMessage, Opaque, Refusal, Target};
use crate::crypto::header::body_hash;

/// A sealed message of this client.
#[derive(Clone, Copy)]
struct Own {
    id: MsgId,
    is_change: bool,
    hash: [u8; 32],
}

/// The queue of one conversation.
struct Queue {
    waiting: VecDeque<NewMessage>,
    in_flight: Option<Own>,
    /// The newest message, and the newest change, that the server has said to be stored and has not
    /// delivered yet: the next one is linked to it.
    undelivered: [Option<Own>; 2],
    /// A message that was refused for its rate and is sent again soon. Nothing overtakes it.
    postponed: Option<MsgId>,
    /// One session for messages and one for changes; each has its own counts.
    sessions: [Session; 2],
}

impl Default for Queue {
    fn default() -> Queue {
        let (sessions, undelivered) = Default::default();
        let (waiting, in_flight, postponed) = (VecDeque::new(), None, None);
        Queue { waiting, in_flight, undelivered, postponed, sessions }
    }
}

impl Queue {
    fn lost(&mut self) {
        self.waiting.clear();
        (self.in_flight, self.postponed) = (None, None);
    }

    /// Discards a message. Its count was used and will not be sent, so new sessions start.
    fn discard(&mut self, id: MsgId) {
        if self.postponed.take_if(|postponed| *postponed == id).is_some() {
            self.sessions = Default::default();
        }
    }

    fn session(&mut self, kind: Kind) -> &mut Session {
        &mut self.sessions[usize::from(kind.is_change())]
    }

    /// Where the next message of this kind belongs.
    fn chain(&self, kind: Kind) -> Chain {
        let sort = usize::from(kind.is_change());
        Chain { session: self.sessions[sort], prev: self.undelivered[sort].map(|own| own.hash) }
    }

    /// Records an acknowledged message until the server delivers it.
    fn is_stored(&mut self, own: Own, delivered: bool) {
        self.undelivered[usize::from(own.is_change)] = (!delivered).then_some(own);
    }
}

/// The outcome of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Stored,
    /// It is stored, and is delivered itself.
    Delivered,
    Refused,
    /// It is sent again automatically.
    Postponed,
}

/// The outgoing queue of each conversation.
pub struct Outgoing {
    queues: BTreeMap<Target, Queue>,
    /// Sealed messages that are not known to be stored by the server.
    sealed: HashMap<MsgId, Opaque>,
    /// The server's limit.
    pub text_bytes_max: usize,
    /// The messages that unsent changes of this run are about, by the id of the change.
    chosen: HashMap<MsgId, MsgId>,
}

impl Default for Outgoing {
    fn default() -> Outgoing {
        let (queues, sealed, chosen) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        Outgoing { queues, sealed, text_bytes_max: usize::MAX, chosen }
    }
}

impl Outgoing {
    /// Restores the sealed messages of an earlier run; they go out unchanged.
    pub fn resume(&mut self, sealed: HashMap<MsgId, Opaque>) {
        self.sealed = sealed;
    }

    /// Resets the queues when the connection is lost.
    pub fn lost(&mut self) {
        self.queues.values_mut().for_each(Queue::lost);
    }

    /// Records which message a change is about, as its user has chosen.
    pub fn choose(&mut self, change: MsgId, chosen: MsgId) {
        self.chosen.insert(change, chosen);
    }

    /// Returns whether a message of this conversation waits for its acknowledgement or delivery.
    pub fn is_open(&self, conversation: &Target, id: MsgId) -> bool {
        self.queues.get(conversation).is_some_and(|queue| {
            let own = queue.in_flight.iter().chain(queue.undelivered.iter().flatten());
            own.into_iter().any(|own| own.id == id)
        })
    }

    /// Discards a message.
    pub fn discard(&mut self, id: MsgId) {
        self.sealed.remove(&id);
        self.chosen.remove(&id);
        self.queues.values_mut().for_each(|queue| queue.discard(id));
    }

    /// Simulates a restart, with new sessions.
    #[cfg(test)]
    pub fn forgets_counts(&mut self) {
        self.queues.clear();
    }

    /// Simulates a restart from a snapshot taken after the last message, or before it.
    #[cfg(test)]
    pub fn is_restored(&mut self, to: &Target, before: bool) {
        self.sealed.clear();
        let queue = self.queues.get_mut(to).unwrap();
        queue.lost();
        let counts = queue.sessions.iter_mut().filter(|_| before);
        counts.for_each(|session| session.n = session.n.saturating_sub(1));
    }

    pub fn say(&mut self, message: NewMessage, with: &mut Sealing, next: &mut Vec<Output>) {
        let conversation = match &message.to {
            Target::User(name) => Target::User(with.trust.spelled(name)),
            channel => channel.clone(),
        };
        let queue = self.queues.entry(conversation.clone()).or_default();
        match queue.postponed {
            Some(postponed) if postponed == message.id => {
                queue.postponed = None;
                queue.waiting.push_front(message);
            }
            _ => queue.waiting.push_back(message),
        }
        self.pump(&conversation, with, next);
    }

    /// Continues all queues after a change that messages may have waited for.
    pub fn pump_all(&mut self, with: &mut Sealing, next: &mut Vec<Output>) {
        for conversation in self.queues.keys().cloned().collect::<Vec<_>>() {
            self.pump(&conversation, with, next);
        }
    }

    /// Sends the next message of a conversation if none is in flight.
    fn pump(&mut self, conversation: &Target, with: &mut Sealing, next: &mut Vec<Output>) {
        loop {
            let Some(queue) = self.queues.get_mut(conversation) else { return };
            if queue.in_flight.is_some() || queue.postponed.is_some() {
                return;
            }
            let Some(message) = queue.waiting.pop_front() else { return };
            let NewMessage { id, kind, .. } = message;
            match self.seal(&message, conversation, with, next) {
                Ok((to, sealed)) => {
                    let body = Body::Sealed(sealed.clone());
                    next.push(Output::Send(Command::Say(NewMessage { to, id, kind, body }).into()));
                    let queue = self.queues.get_mut(conversation).expect("it was just there");
                    let hash = body_hash(sealed.bytes());
                    return queue.in_flight = Some(Own { id, is_change: kind.is_change(), hash });
                }
                Err(NotSealed::Wait(name)) => {
                    let queue = self.queues.get_mut(conversation).expect("the queue exists");
                    queue.waiting.push_front(message);
                    return with.requests.request_named(name, with.trust, next);
                }
                Err(NotSealed::Refused(code, hint)) => next.push(refused(id, code, hint)),
            }
        }
    }

    /// Records the outcome of a message.
    pub fn settled(
        &mut self,
        (id, how): (MsgId, Settled),
        with: &mut Sealing,
        next: &mut Vec<Output>,
    ) {
        let delivered = how == Settled::Delivered;
        if delivered || how == Settled::Stored {
            self.sealed.remove(&id);
            self.chosen.remove(&id);
        }
        if delivered {
            let undelivered = self.queues.values_mut().flat_map(|queue| &mut queue.undelivered);
            for one in undelivered.filter(|one| one.is_some_and(|own| own.id == id)) {
                *one = None;
            }
        }
        let found = self.queues.iter_mut().find_map(|(conversation, queue)| {
            let own = queue.in_flight.take_if(|own| own.id == id)?;
            Some((conversation, queue, own))
        });
        let Some((conversation, queue, own)) = found else { return };
        match how {
            Settled::Stored | Settled::Delivered => queue.is_stored(own, delivered),
            Settled::Postponed => queue.postponed = Some(id),
            // A refused message keeps its count, however late it is sent again, so new sessions
            // start.
            Settled::Refused => queue.sessions = Default::default(),
        }
        let conversation = conversation.clone();
        self.pump(&conversation, with, next);
    }

    /// Seals a message, or returns the same bytes as before.
    fn seal(
        &mut self,
        message: &NewMessage,
        conversation: &Target,
        with: &mut Sealing,
        next: &mut Vec<Output>,
    ) -> Result<(Target, Opaque), NotSealed> {
        let NewMessage { id, kind, body, .. } = message;
        let to = match conversation {
            Target::User(name) => Target::User(with.trust.spelled(name)),
            channel => channel.clone(),
        };
        if let Some(sealed) = self.sealed.get(id).filter(|sealed| with.holds(&to, sealed)) {
            return Ok((to, sealed.clone()));
        }
        with.refresh()?;
        with.has_own_name()?;
        let (bytes, max_bytes) = (body.text().len(), self.text_bytes_max);
        if bytes > max_bytes {
            return Err(Refusal::TooLong { bytes, max_bytes }.into());
        }
        if body.text().trim().is_empty() && !matches!(kind, Kind::Delete { .. }) {
            return Err(Refusal::Empty.into());
        }
        let queue = self.queues.get_mut(conversation).expect("the queue of the message exists");
        let chain = queue.chain(*kind);
        let chosen = self.chosen.get(id).copied();
        let (to, body) = match conversation {
            Target::Channel(channel) => {
                (conversation.clone(), with.seal_channel(channel, (message, chosen), chain)?)
            }
            Target::User(name) => with.seal_private(name, (message, chosen), chain, next)?,
        };
        let body = body.map_err(|_| NotSealed::from(Refusal::Unknown))?;
        let sealed = Opaque::new(&body).expect("a sealed message has bytes");
        if sealed.wire_len() > WIRE_BYTES_MAX {
            let (bytes, max_bytes) = (sealed.wire_len(), WIRE_BYTES_MAX);
            return Err(Refusal::TooLong { bytes, max_bytes }.into());
        }
        let queue = self.queues.get_mut(conversation).expect("the queue of the message exists");
        queue.session(*kind).n += 1;
        self.sealed.insert(*id, sealed.clone());
        next.push(Output::Store(*id, sealed.clone()));
        Ok((to, sealed))
    }
}

fn refused(id: MsgId, code: Code, hint: String) -> Output {
    let event = Event::Refused { code, hint, id: Some(id), retry_ms: None, reference: None };
    Output::Answer(event)
}

/// Returns the outcome that an event has for a message.
pub fn settles(event: &Event, retries: bool) -> Option<(MsgId, Settled)> {
    match event {
        Event::Refused { id: Some(id), code: Code::Rate, retry_ms: Some(_), .. } if retries => {
            Some((*id, Settled::Postponed))
        }
        Event::Refused { id: Some(id), .. } => Some((*id, Settled::Refused)),
        _ => None,
    }
}
