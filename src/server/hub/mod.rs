//! The one lock: the registry, the conversations' logs and the sessions' queues. Decide and append
//! under it; seal, send and wait outside. A thread never holds it together with a send queue's
//! lock.

mod deliver;
mod effects;
mod queries;
mod queue;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::delivery::backfill::Backfill;
use super::delivery::flusher::Flusher;
use super::delivery::send_queue::{ConversationId, SendQueue};
use super::observe::counters::Counters;
use crate::chat::Seq;
use crate::chat::rate::Stamp;
use crate::chat::registry::{Decision, Directory, Effect, Purpose, Query, Registry, Rules, Start};
use crate::chat::{
    Code, Command, Conversation, DeviceName, Event, LogId, Refusal, Request, SessionId, UserName,
};
use crate::config::Config;
use crate::ledger::Draft;
use crate::limits::{ANSWER_MS, Limits};
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};
use effects::Log;
pub use waiting::{Line, Waiting};

/// How long a sender waits for delivery progress before it checks again.
const PROGRESS_WAIT: Duration = Duration::from_millis(50);

/// The state that all sessions share.
pub struct Hub {
    inner: Mutex<Inner>,
    /// Signals that a span of a congested conversation was offered, or that records were committed.
    progress: Condvar,
    /// Signals that something waits for the ledger.
    written: Condvar,
    flusher: Flusher,
    backfill: Backfill,
    counters: Counters,
    limits: Limits,
    began: Instant,
}

struct Inner {
    registry: Registry,
    conversations: HashMap<Conversation, ConversationId>,
    logs: HashMap<ConversationId, Log>,
    queues: HashMap<SessionId, Arc<SendQueue>>,
    /// Records and jobs for the ledger, in order.
    waiting: Vec<Waiting>,
    /// Nothing more is accepted for the ledger.
    closed: bool,
    /// The commit thread has ended: nobody does what waits for the ledger.
    abandoned: bool,
    /// Whether the commit thread sleeps and has to be woken.
    commit_thread_sleeps: bool,
    /// The number of threads that wait for progress.
    waiters: usize,
    conversations_made: u64,
    lines: u64,
    /// Messages that the ledger has lost, at least.
    lost: u64,
}

/// Work that is left to do outside the lock.
#[derive(Default)]
struct After {
    answers: Vec<Event>,
    tells: Vec<(Arc<SendQueue>, Event)>,
    follows: Vec<(Arc<SendQueue>, ConversationId, Start, u64)>,
    unfollows: Vec<(Arc<SendQueue>, ConversationId)>,
    deliver: Vec<ConversationId>,
    /// The conversation of a message, if it is crowded: the sender is held back.
    crowded: Option<ConversationId>,
}

/// What a session passes with a message: its time, and the result of `stored_fields`.
#[derive(Default)]
pub struct Said {
    pub time_ms: i64,
    pub fields: Vec<u8>,
}

impl Hub {
    pub fn new(registry: Registry, limits: Limits, flusher: Flusher) -> Self {
        let inner = Inner {
            registry,
            conversations: HashMap::new(),
            logs: HashMap::new(),
            queues: HashMap::new(),
            waiting: Vec::new(),
            closed: false,
            abandoned: false,
            commit_thread_sleeps: false,
            waiters: 0,
            conversations_made: 0,
            lines: 0,
            lost: 0,
        };
        Hub {
            inner: Mutex::new(Rank::Hub, inner),
            progress: Condvar::new(),
            written: Condvar::new(),
            flusher,
            backfill: Backfill::default(),
            counters: Counters::default(),
            limits,
            began: Instant::now(),
        }
    }

    pub fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    /// Returns the time of the server's monotonic clock.
    pub fn now(&self) -> Stamp {
        Stamp(self.began.elapsed().as_millis() as u64)
    }

    /// Starts a session: sends it `welcome` and the lobby, and announces it unless it is a job. A
    /// session that `resumes` sends its positions before it reads anything.
    pub fn enter(
        &self,
        queue: &Arc<SendQueue>,
        user: UserName,
        device: DeviceName,
        purpose: Purpose,
        welcome: Event,
    ) -> Result<(), Refusal> {
        let now = self.now();
        queue.hold();
        let mut inner = self.lock();
        inner.registry.set_muted(&user, queue.is_muted(), now);
        inner.charge_answers(&user, now);
        let effects = inner.registry.enter(queue.id, user, device, purpose, now)?;
        inner.queues.insert(queue.id, Arc::clone(queue));
        let after = inner.carry_out(effects, &self.limits);
        drop(inner);
        if queue.welcome(&welcome) {
            self.flusher.watch(Arc::clone(queue));
        }
        self.finish(queue, after);
        // Others may have added it to a conversation meanwhile.
        self.catch_up(queue);
        Ok(())
    }

    /// Runs a session's request. A message is queued for the ledger; every other request first
    /// waits for the session's earlier messages. Returns the query that the session has to answer,
    /// if any.
    pub fn run<'a>(
        &self,
        queue: &Arc<SendQueue>,
        request: &'a Request,
        said: Said,
        directory: Directory,
    ) -> Result<Option<Query<'a>>, Refusal> {
        let now = self.now();
        let is_message = matches!(request.command, Command::Say(_));
        let inner = if is_message { self.lock() } else { self.when_decided(queue) };
        let mut inner = if may_store(&request.command) { self.when_roomy(inner) } else { inner };
        // The session may have ended since the request was read.
        let Some((user, device)) = inner.registry.who(queue.id) else { return Ok(None) };
        let (user, device) = (user.clone(), device.clone());
        inner.registry.set_muted(&user, queue.is_muted(), now);
        if !is_message {
            inner.charge_answers(&user, now);
        }
        let (after, query) = match inner.registry.decide(queue.id, request, directory, now)? {
            Decision::Effects(effects) => (inner.carry_out(effects, &self.limits), None),
            Decision::Query(query) => (After::default(), Some(query)),
            Decision::Say { message, conversation, effects } => {
                let mut after = inner.carry_out(effects, &self.limits);
                if inner.closed {
                    return Err(Refusal::Storage);
                }
                let said_in = inner.conversation(&conversation, &self.limits);
                after.crowded = inner.log(said_in).is_crowded(&self.limits).then_some(said_in);
                let draft = Draft {
                    conversation,
                    from: user,
                    device,
                    id: message.id,
                    time_ms: said.time_ms,
                    kind: message.kind,
                    body: message.body.clone(),
                };
                queue.undecided.fetch_add(1, Ordering::Relaxed);
                inner.waiting.push(Waiting::Line(Line {
                    draft: Arc::new(draft),
                    fields: said.fields,
                    queue: Arc::clone(queue),
                }));
                (after, None)
            }
        };
        self.wake_commit_thread(inner);
        self.finish(queue, after);
        Ok(query)
    }

    /// Charges for a request that was not a command.
    ///
    /// # Errors
    ///
    /// Returns how long to wait.
    pub fn pay(&self, queue: &SendQueue) -> Result<(), Refusal> {
        let now = self.now();
        let mut inner = self.lock();
        let Some((user, _)) = inner.registry.who(queue.id) else { return Ok(()) };
        let user = user.clone();
        inner.charge_answers(&user, now);
        inner.registry.pay_request(&user, now)
    }

    /// Charges for an answer from the ledger that cost more than usual.
    pub fn charge(&self, queue: &SendQueue, spent: Duration) {
        let answers = spent.as_millis() as f64 / ANSWER_MS as f64;
        let now = self.now();
        self.lock().registry.charge_histories(queue.id, answers - 1.0, now);
    }

    /// Refunds a query that no reader had time for.
    pub fn give_back(&self, queue: &SendQueue) {
        self.lock().registry.give_back_history(queue.id);
    }

    /// Ends a session and announces it with `reason`. A lost connection (`cut`) is announced only
    /// if the user does not return within the resume window.
    pub fn leave(&self, queue: &Arc<SendQueue>, reason: Option<&str>, cut: bool) {
        queue.retire();
        let mut inner = self.when_roomy(self.when_decided(queue));
        let read = inner.registry.readable(queue.id);
        if let Some((user, _)) = inner.registry.who(queue.id) {
            let user = user.clone();
            inner.registry.set_muted(&user, queue.is_muted(), self.now());
            // The user owes what the session has loaded, and may be back at once.
            inner.charge_answers(&user, self.now());
        }
        let effects = inner.registry.leave(queue.id, reason, cut, self.now());
        let after = inner.carry_out(effects, &self.limits);
        inner.queues.remove(&queue.id);
        for conversation in read {
            if let Some(id) = inner.conversations.get(&conversation).copied() {
                inner.remove_member(id, queue.id);
            }
        }
        self.wake_commit_thread(inner);
        self.finish(queue, after);
    }

    /// Locks once all messages of the session are committed, so that everybody sees its next action
    /// after them.
    fn when_decided(&self, queue: &SendQueue) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        while queue.undecided.load(Ordering::Relaxed) > 0 {
            inner = self.wait(inner);
        }
        inner
    }

    /// Locks once the ledger's queue has room, so that the request may add to it.
    fn when_roomy<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        while self.is_full(&inner) {
            inner = self.wait(inner);
        }
        inner
    }

    fn is_full(&self, inner: &Inner) -> bool {
        let is_over = inner.closed || inner.abandoned;
        inner.waiting.len() >= self.limits.ledger_waiting_max && !is_over
    }

    fn wait<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        inner.waiters += 1;
        let mut inner = self.progress.wait_timeout(inner, PROGRESS_WAIT);
        inner.waiters -= 1;
        inner
    }

    /// Unlocks, and wakes the commit thread if it sleeps and has work: a wakeup costs a system call
    /// even if nobody sleeps.
    fn wake_commit_thread(&self, mut inner: MutexGuard<'_, Inner>) {
        let something = !inner.waiting.is_empty() || inner.closed;
        let wakes = something && std::mem::take(&mut inner.commit_thread_sleeps);
        drop(inner);
        if wakes {
            self.written.notify_one();
        }
    }

    /// Sends an event to one session.
    pub fn answer(&self, queue: &Arc<SendQueue>, event: &Event) {
        if queue.answer(event) {
            self.flusher.watch(Arc::clone(queue));
        }
    }

    /// Changes limits and retentions. No conversation may move between disk and memory by it.
    pub fn retune(&self, config: &Config) {
        let retentions = config.retentions();
        self.lock().registry.retune(rules(config, LogId(0), LogId(0)));
        self.add_job(Box::new(move |ledger| ledger.set_retentions(retentions)));
    }

    /// Drops expired state.
    pub fn sweep(&self) {
        self.tidies(|registry, now| registry.sweep(now));
    }

    /// The ledger was found to lack messages.
    pub fn note_lost(&self, messages: u64) {
        let mut inner = self.lock();
        inner.lost = inner.lost.max(messages);
    }

    /// Drops a user's topics before their texts are erased; readers that are behind get the rest
    /// from the ledger.
    pub fn forget_texts(&self, user: &UserName) {
        let mut inner = self.when_roomy(self.lock());
        let effects = inner.registry.erase_topics(user);
        inner.logs.values_mut().for_each(|log| log.tail.release(log.tail.end()));
        let after = inner.carry_out(effects, &self.limits);
        self.wake_commit_thread(inner);
        self.finish_for_all(after);
    }

    /// Handles conversations without messages up to the given seqs, as the ledger found them.
    pub fn emptied(&self, conversations: Vec<(Conversation, Seq)>) {
        self.tidies(|registry, now| registry.emptied(conversations, now));
    }

    /// Drops state without waiting: if the ledger's queue is full, it is done the next time.
    fn tidies(&self, tidy: impl FnOnce(&mut Registry, Stamp) -> Vec<Effect>) {
        let now = self.now();
        let mut inner = self.lock();
        if self.is_full(&inner) {
            return;
        }
        let effects = tidy(&mut inner.registry, now);
        let after = inner.carry_out(effects, &self.limits);
        self.wake_commit_thread(inner);
        self.finish_for_all(after);
    }

    /// Sends answers, then moves cursors, then delivers: outside the lock.
    fn finish(&self, queue: &Arc<SendQueue>, mut after: After) {
        for (queue, conversation) in std::mem::take(&mut after.unfollows) {
            queue.unfollow(conversation);
        }
        for event in std::mem::take(&mut after.answers) {
            self.answer(queue, &event);
        }
        self.finish_for_all(after);
    }

    fn finish_for_all(&self, after: After) {
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under this lock is complete before the next one can panic, so the maps stay
        // consistent.
        self.inner.lock()
    }
}

/// Whether a command may store something.
fn may_store(command: &Command) -> bool {
    match command {
        Command::Say(_) | Command::Join { .. } | Command::Part { .. } | Command::Read { .. } => {
            true
        }
        Command::Topic { text, .. } => text.is_some(),
        _ => false,
    }
}

/// Returns the registry's rules for a configuration.
pub fn rules(config: &Config, persistent: LogId, ephemeral: LogId) -> Rules {
    let (retentions, named) = (config.retentions(), config.channels.clone());
    let forgets = retentions.clone();
    Rules {
        limits: config.limits.clone(),
        retention: Box::new(move |conversation| retentions.of(conversation)),
        configured: Box::new(move |channel| named.contains_key(channel)),
        forgets: Box::new(move |conversation| forgets.forgets(conversation)),
        persistent,
        ephemeral,
        next: LogId(rand::random::<u64>() >> 1),
    }
}

/// Returns a code as it is on the wire.
pub fn word(code: Code) -> String {
    let text = serde_json::to_string(&code).expect("a code serialises");
    text.trim_matches('"').to_owned()
}
