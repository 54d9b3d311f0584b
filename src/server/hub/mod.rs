//! The one lock: the registry, the conversations' logs and the sessions' queues. Decide and append
//! under it; seal, send and wait outside. A thread never holds it together with a send queue's
//! lock.

mod deliver;
mod lock;
mod logs;
mod queries;
mod queue;
mod state;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::delivery::flusher::Flusher;
use super::delivery::send_queue::SendQueue;
use super::disk_guard::DiskGuard;
use super::observe::counters::Counters;
use crate::chat::Seq;
use crate::chat::rate::Stamp;
use crate::chat::registry::{
    Decision, Directory, Effect, Participant, Query, Registry, Rules, Saying,
};
use crate::chat::{
    ChannelName, Code, Command, Conversation, Event, NewMessage, Refusal, Request, UserName,
};
use crate::config::Config;
use crate::ledger::SentMessage;
use crate::limits::{ANSWER_MS, Limits};
use crate::sync::MutexGuard;
use deliver::Delivery;
use lock::Lock;
use queue::LedgerQueue;
use state::{After, State};
pub use waiting::{GivenMessage, Job, Queued, QueuedMessage, Waiting};

/// What all sessions share.
pub struct Hub {
    lock: Arc<Lock>,
    /// To the sessions.
    pub delivery: Arc<Delivery>,
    /// To the ledger, and back from it.
    pub ledger: LedgerQueue,
    counters: Arc<Counters>,
    disk: DiskGuard,
    began: Instant,
}

/// What a session passes with a message: its time, and the result of `stored_fields`.
pub struct Said {
    pub time_ms: i64,
    pub fields: Vec<u8>,
}

impl Hub {
    pub fn new(registry: Registry, limits: &Limits, flusher: Flusher) -> Self {
        let lock = Arc::new(Lock::new(State::new(registry, limits)));
        let counters = Arc::new(Counters::default());
        let delivery = Delivery::new(Arc::clone(&lock), Arc::clone(&counters), flusher);
        let delivery = Arc::new(delivery);
        let ledger =
            LedgerQueue::new(Arc::clone(&lock), Arc::clone(&delivery), limits.change_s_max);
        Hub { lock, delivery, ledger, counters, disk: DiskGuard::default(), began: Instant::now() }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the state of the disk.
    pub fn disk(&self) -> &DiskGuard {
        &self.disk
    }

    /// Returns the time of the server's monotonic clock.
    pub fn now(&self) -> Stamp {
        Stamp(self.began.elapsed().as_millis() as u64)
    }

    /// Starts a session: sends it the `first` events and the lobby, and announces it unless it is a
    /// job. A session that `resumes` sends its positions before it reads anything.
    pub fn enter(
        &self,
        queue: &Arc<SendQueue>,
        participant: Participant,
        mut first: Vec<Event>,
    ) -> Result<(), Refusal> {
        let now = self.now();
        queue.hold();
        let mut state = self.lock();
        state.registry.membership.set_muted(&participant.user, queue.is_muted(), now);
        state.charge_answers(&participant.user, now);
        let effects = state.registry.enter(queue.id, participant, now)?;
        state.add(queue);
        let mut after = state.carry_out(effects);
        drop(state);
        // One record for all: each costs a system call and a wakeup of the client.
        first.append(&mut after.answers);
        self.delivery.welcome(queue, &first);
        self.delivery.finish(queue, after);
        // Others may have added it to a conversation meanwhile.
        self.delivery.catch_up(queue);
        Ok(())
    }

    /// Queues a session's message for the ledger, and takes its body.
    ///
    /// # Errors
    ///
    /// Refuses what rights, limits or the state do not allow. The message keeps its body.
    pub fn say(
        &self,
        queue: &Arc<SendQueue>,
        message: &mut NewMessage,
        said: &Said,
        directory: Directory,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let mut state = self.lock.when_roomy(self.lock());
        // The session may have ended since the message was read.
        let Some((user, device)) = state.registry.membership.who(queue.id) else { return Ok(()) };
        let (from, device) = (user.clone(), device.clone());
        state.registry.membership.set_muted(&from, queue.is_muted(), now);
        let Saying { conversation, effects } =
            state.registry.say(queue.id, message, directory, now)?;
        let mut after = state.carry_out(effects);
        if state.waiting.is_closed() {
            return Err(Refusal::Storage);
        }
        let said_in = state.log_of(&conversation);
        after.crowded = state.logs.is_crowded(said_in).then_some(said_in);
        // The log's name of a channel: the message's own one is freed by the thread that made it.
        let known = state.logs.conversation(said_in).filter(|one| one.people().is_none()).cloned();
        let conversation = known.unwrap_or(conversation);
        let &mut NewMessage { id, kind, .. } = message;
        let (time_ms, body) = (said.time_ms, std::mem::take(&mut message.body));
        let sent = SentMessage { conversation, from, device, id, time_ms, kind, body };
        queue.undecided.fetch_add(1, Ordering::Relaxed);
        state.waiting.push_message(sent, &said.fields, Arc::clone(queue));
        self.lock.wake_commit_thread(state);
        self.delivery.finish(queue, after);
        Ok(())
    }

    /// Runs a session's request other than a message, after the session's earlier messages. Returns
    /// the query that the session has to answer, if any.
    ///
    /// # Errors
    ///
    /// Refuses what rights, limits or the state do not allow.
    pub fn run<'a>(
        &self,
        queue: &Arc<SendQueue>,
        request: &'a Request,
        directory: Directory,
    ) -> Result<Option<Query<'a>>, Refusal> {
        let now = self.now();
        let state = self.lock.when_decided(queue);
        let mut state =
            if may_store(&request.command) { self.lock.when_roomy(state) } else { state };
        // The session may have ended since the request was read.
        let Some((user, _)) = state.registry.membership.who(queue.id) else { return Ok(None) };
        let user = user.clone();
        state.registry.membership.set_muted(&user, queue.is_muted(), now);
        state.charge_answers(&user, now);
        let (after, query) = match state.registry.decide(queue.id, request, directory, now)? {
            Decision::Effects(effects) => (state.carry_out(effects), None),
            Decision::Query(query) => (After::default(), Some(query)),
        };
        self.lock.wake_commit_thread(state);
        self.delivery.finish(queue, after);
        Ok(query)
    }

    /// Charges for a request that was not a command.
    ///
    /// # Errors
    ///
    /// Returns how long to wait.
    pub fn pay(&self, queue: &SendQueue) -> Result<(), Refusal> {
        let now = self.now();
        let mut state = self.lock();
        let Some((user, _)) = state.registry.membership.who(queue.id) else { return Ok(()) };
        let user = user.clone();
        state.charge_answers(&user, now);
        state.registry.membership.pay_request(&user, now)
    }

    /// Charges for bytes of a file that a session has sent or fetched. Returns the time that the
    /// transfer has to wait.
    pub fn pay_file_bytes(&self, queue: &SendQueue, bytes: u64) -> Option<Duration> {
        let now = self.now();
        let mut state = self.lock();
        let (user, _) = state.registry.membership.who(queue.id)?;
        let user = user.clone();
        let wait_ms = state.registry.membership.pay_file_bytes(&user, bytes, now)?;
        Some(Duration::from_millis(wait_ms))
    }

    /// Charges for an answer from the ledger that cost more than usual.
    pub fn charge(&self, queue: &SendQueue, spent: Duration) {
        let answers = spent.as_millis() as f64 / ANSWER_MS as f64;
        let now = self.now();
        self.lock().registry.membership.charge_histories(queue.id, answers - 1.0, now);
    }

    /// Refunds a query that no reader had time for.
    pub fn give_back(&self, queue: &SendQueue) {
        self.lock().registry.membership.give_back_history(queue.id);
    }

    /// Ends a session and announces it with `reason`. A lost connection (`cut`) is announced only
    /// if the user does not return within the resume window.
    pub fn leave(&self, queue: &Arc<SendQueue>, reason: Option<&str>, cut: bool) {
        queue.retire();
        let mut state = self.lock.when_roomy(self.lock.when_decided(queue));
        let read = state.registry.readable(queue.id);
        if let Some((user, _)) = state.registry.membership.who(queue.id) {
            let user = user.clone();
            state.registry.membership.set_muted(&user, queue.is_muted(), self.now());
            // The user owes what the session has loaded, and may be back at once.
            state.charge_answers(&user, self.now());
        }
        let effects = state.registry.leave(queue.id, reason, cut, self.now());
        let after = state.carry_out(effects);
        state.remove(queue.id, &read);
        self.lock.wake_commit_thread(state);
        self.delivery.finish(queue, after);
    }

    /// Sends a notice to everybody.
    pub fn notice_all(&self, text: &str) {
        self.broadcast(&Event::Notice { text: text.to_owned(), reference: None });
    }

    /// Sends an event to everybody.
    pub fn broadcast(&self, event: &Event) {
        self.queues().iter().for_each(|queue| self.delivery.answer(queue, event));
    }

    /// Changes limits and retentions. No conversation may move between disk and memory by it.
    pub fn retune(&self, config: &Config) {
        let retentions = config.retentions();
        self.lock().registry.retune(rules(config));
        self.ledger.add_job(Box::new(move |ledger| ledger.set_retentions(retentions)));
    }

    /// Drops expired state.
    pub fn sweep(&self) {
        self.tidies(|registry, now| registry.sweep(now));
    }

    /// The ledger was found to lack messages.
    pub fn note_lost(&self, messages: u64) {
        self.lock().note_lost(messages);
    }

    /// Drops a user's topics before their texts are erased; readers that are behind get the rest
    /// from the ledger.
    pub fn forget_texts(&self, user: &UserName) {
        let mut state = self.lock.when_roomy(self.lock());
        let effects = state.registry.erase_topics(user);
        state.logs.release_all();
        let after = state.carry_out(effects);
        self.lock.wake_commit_thread(state);
        self.delivery.finish_for_all(after);
    }

    /// Moves what belongs to a user, whose sessions have ended, to another name: first in the
    /// ledger, after the messages of before. Returns the private conversations that did not move;
    /// `None` if the server stops first, or the disk fails: then nothing has moved.
    pub fn rename(&self, old: &UserName, new: &UserName) -> Option<Vec<Conversation>> {
        let names = (old.clone(), new.clone());
        let renamed = self.ledger.ask(move |ledger| ledger.rename(&names.0, &names.1))?;
        let kept = match renamed {
            Ok(kept) => kept,
            Err(error) => {
                log::error!("the conversations of {old} are not moved to {new} yet: {error}");
                return None;
            }
        };
        let mut state = self.lock();
        let (partners, mut effects) = state.registry.rename((old, new), &kept, self.now());
        for partner in &partners {
            state.logs.forget(&Conversation::private(old.clone(), partner.clone()));
        }
        effects.extend(state.registry.follow_renamed(new, &partners));
        let after = state.carry_out(effects);
        self.lock.wake_commit_thread(state);
        self.delivery.finish_for_all(after);
        Some(kept)
    }

    /// Drops the topic of a channel. Returns whether it had one.
    pub fn forget_topic(&self, channel: &ChannelName) -> bool {
        let mut state = self.lock.when_roomy(self.lock());
        let effects = state.registry.erase_topic(channel);
        let had_topic = !effects.is_empty();
        let after = state.carry_out(effects);
        self.lock.wake_commit_thread(state);
        self.delivery.finish_for_all(after);
        had_topic
    }

    /// Empties the memory of all conversations, so that readers get messages from the ledger. Sends
    /// `notice` to the members of a channel.
    pub fn forget_messages(&self, channel: &ChannelName, notice: &str) {
        let mut state = self.lock.when_roomy(self.lock());
        state.logs.release_all();
        let event = Event::Notice { text: notice.to_owned(), reference: None };
        let is_here = state.registry.membership.channels().any(|(name, _)| name == channel);
        let effects =
            if is_here { vec![Effect::Notice(channel.clone(), event)] } else { Vec::new() };
        let after = state.carry_out(effects);
        self.lock.wake_commit_thread(state);
        self.delivery.finish_for_all(after);
    }

    /// Handles conversations without messages up to the given seqs, as the ledger found them.
    pub fn emptied(&self, conversations: Vec<(Conversation, Seq)>) {
        self.tidies(|registry, now| registry.emptied(conversations, now));
    }

    /// Drops state without waiting: if the ledger's queue is full, it is done the next time.
    fn tidies(&self, tidy: impl FnOnce(&mut Registry, Stamp) -> Vec<Effect>) {
        let now = self.now();
        let mut state = self.lock();
        if state.waiting.is_full() {
            return;
        }
        let effects = tidy(&mut state.registry, now);
        let after = state.carry_out(effects);
        self.lock.wake_commit_thread(state);
        self.delivery.finish_for_all(after);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.lock.lock()
    }
}

/// Whether a command may store something.
fn may_store(command: &Command) -> bool {
    match command {
        Command::Join { .. } | Command::Part { .. } | Command::Read { .. } => true,
        Command::Topic { text, .. } => text.is_some(),
        _ => false,
    }
}

/// Returns the registry's rules for a configuration.
pub fn rules(config: &Config) -> Rules {
    let (retentions, named) = (config.retentions(), config.channels.clone());
    let forgets = retentions.clone();
    Rules {
        limits: config.limits.clone(),
        retention: Box::new(move |conversation| retentions.of(conversation)),
        configured: Box::new(move |channel| named.contains_key(channel)),
        forgets: Box::new(move |conversation| forgets.forgets(conversation)),
    }
}

/// Returns a code as it is on the wire.
pub fn word(code: Code) -> String {
    let text = serde_json::to_string(&code).expect("a code serialises");
    text.trim_matches('"').to_owned()
}
