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

/// A sender that waits for deliveries to make progress looks again after this time.
const PROGRESS_WAIT: Duration = Duration::from_millis(50);

/// Everything that sessions share.
pub struct Hub {
    inner: Mutex<Inner>,
    /// A span of some congested conversation was offered, or the ledger has decided.
    progress: Condvar,
    /// Something waits for the ledger.
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
    /// For the ledger, in the order of the decisions.
    waiting: Vec<Waiting>,
    /// Nothing more will wait.
    closed: bool,
    /// Nothing waited when the commit thread looked last: it is to be woken.
    commit_thread_sleeps: bool,
    /// Threads that wait for progress.
    waiters: usize,
    conversations_made: u64,
    lines: u64,
    /// Messages that the ledger has lost, at least.
    lost: u64,
}

/// What is left to do once the lock is free.
#[derive(Default)]
struct After {
    answers: Vec<Event>,
    tells: Vec<(Arc<SendQueue>, Event)>,
    follows: Vec<(Arc<SendQueue>, ConversationId, Start, u64)>,
    unfollows: Vec<(Arc<SendQueue>, ConversationId)>,
    deliver: Vec<ConversationId>,
    /// A line's conversation where that is crowded: who fills it is held back.
    crowded: Option<ConversationId>,
}

/// What a session hands in with a message: when it came, and what `stored_fields` made of it.
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

    /// The monotonic clock of this server's run.
    pub fn now(&self) -> Stamp {
        Stamp(self.began.elapsed().as_millis() as u64)
    }

    /// A session begins: `welcome` and the lobby are told to it, and the lobby is told of it unless
    /// it is a job.
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
        // Others may have made it a reader of something meanwhile.
        self.catch_up(queue);
        Ok(())
    }

    /// Runs a request of a session. A message goes to the ledger and comes back when it is stored;
    /// for everything else the session's messages of before are decided first. Gives the query that
    /// the session has to answer, if it was one.
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
        // Its end may have come between the read and this.
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

    /// Takes the price of a request that was no command. A refusal says how long to wait.
    pub fn pay(&self, queue: &SendQueue) -> Result<(), Refusal> {
        let now = self.now();
        let mut inner = self.lock();
        let Some((user, _)) = inner.registry.who(queue.id) else { return Ok(()) };
        let user = user.clone();
        inner.charge_answers(&user, now);
        inner.registry.pay_request(&user, now)
    }

    /// An answer from the ledger has cost so much: what is more than an answer's usual cost is paid
    /// afterwards, from the same budget.
    pub fn charge(&self, queue: &SendQueue, spent: Duration) {
        let answers = spent.as_millis() as f64 / ANSWER_MS as f64;
        let now = self.now();
        self.lock().registry.charge_histories(queue.id, answers - 1.0, now);
    }

    /// A query was paid for, and no reader had time for it.
    pub fn give_back(&self, queue: &SendQueue) {
        self.lock().registry.give_back_history(queue.id);
    }

    /// A session is over. Told to the channels it was in, with `reason` where one was given; where
    /// it was `cut`, only if it does not come back soon.
    pub fn leave(&self, queue: &Arc<SendQueue>, reason: Option<&str>, cut: bool) {
        queue.retire();
        let mut inner = self.when_roomy(self.when_decided(queue));
        let read = inner.registry.readable(queue.id);
        if let Some((user, _)) = inner.registry.who(queue.id) {
            let user = user.clone();
            inner.registry.set_muted(&user, queue.is_muted(), self.now());
            // What it has drawn is owed by the person, who may be back at once.
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

    /// The lock, once the ledger has decided about all lines of a session: what it does next comes
    /// after them for everybody.
    fn when_decided(&self, queue: &SendQueue) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        while queue.undecided.load(Ordering::Relaxed) > 0 {
            inner = self.wait(inner);
        }
        inner
    }

    /// The lock, once less waits for the ledger than may: one request more is allowed to queue
    /// something.
    fn when_roomy<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        while self.is_full(&inner) {
            inner = self.wait(inner);
        }
        inner
    }

    fn is_full(&self, inner: &Inner) -> bool {
        inner.waiting.len() >= self.limits.ledger_waiting_max && !inner.closed
    }

    fn wait<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        inner.waiters += 1;
        let mut inner = self.progress.wait_timeout(inner, PROGRESS_WAIT);
        inner.waiters -= 1;
        inner
    }

    /// Lets the lock go, and wakes the commit thread where it sleeps and has something to do: to
    /// wake nobody is a system call all the same.
    fn wake_commit_thread(&self, mut inner: MutexGuard<'_, Inner>) {
        let something = !inner.waiting.is_empty() || inner.closed;
        let wakes = something && std::mem::take(&mut inner.commit_thread_sleeps);
        drop(inner);
        if wakes {
            self.written.notify_one();
        }
    }

    /// An event for one session.
    pub fn answer(&self, queue: &Arc<SendQueue>, event: &Event) {
        if queue.answer(event) {
            self.flusher.watch(Arc::clone(queue));
        }
    }

    /// Other limits and retentions from now on, under which no conversation moves between disk and
    /// memory.
    pub fn retune(&self, config: &Config) {
        let retentions = config.retentions();
        self.lock().registry.retune(rules(config, LogId(0), LogId(0)));
        self.add_job(Box::new(move |ledger| ledger.set_retentions(retentions)));
    }

    /// Forgets what has been over for long enough.
    pub fn sweep(&self) {
        self.tidies(|registry, now| registry.sweep(now));
    }

    /// The ledger was found to lack messages.
    pub fn note_lost(&self, messages: u64) {
        let mut inner = self.lock();
        inner.lost = inner.lost.max(messages);
    }

    /// The texts of a person are being erased: their topics go, and whoever is behind reads the
    /// rest from the ledger.
    pub fn forget_texts(&self, user: &UserName) {
        let mut inner = self.when_roomy(self.lock());
        let effects = inner.registry.erase_topics(user);
        inner.logs.values_mut().for_each(|log| log.tail.release(log.tail.end()));
        let after = inner.carry_out(effects, &self.limits);
        self.wake_commit_thread(inner);
        self.finish_for_all(after);
    }

    /// These conversations have no line any more: their last seqs, as the ledger found them.
    pub fn emptied(&self, conversations: Vec<(Conversation, Seq)>) {
        self.tidies(|registry, now| registry.emptied(conversations, now));
    }

    /// Forgets something. Where the ledger does not keep up it stays until the next time: nobody
    /// waits.
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

    /// Answers, then cursors, then the logs: outside the lock.
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
        // Once for each session, however many conversations it begins to read.
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
        // Every change under this lock is whole before the next can panic: the maps stay usable.
        self.inner.lock()
    }
}

/// Whether something may be stored of a command.
fn may_store(command: &Command) -> bool {
    match command {
        Command::Say(_) | Command::Join { .. } | Command::Part { .. } | Command::Read { .. } => {
            true
        }
        Command::Topic { text, .. } => text.is_some(),
        _ => false,
    }
}

/// What a configuration says to the registry.
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

/// The word of a code, as it is on the wire.
pub fn word(code: Code) -> String {
    let text = serde_json::to_string(&code).expect("a code is a word");
    text.trim_matches('"').to_owned()
}
