//! Backfill: one thread that reads the ledger for sessions that resume, and for readers that fell
//! behind a tail. It serves one page per session in turn, so that nobody waits for another's long
//! absence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::send_queue::{ConversationId, Cursor, Offered, Replay, SendQueue};
use crate::chat::{Conversation, Event, Seq, SessionId, UserName};
use crate::ledger::{LedgerError, Page, Reader};
use crate::server::liveness::{self, Asked, Question};
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};
use crate::wire::codec;

/// A page: large enough for several records, small enough for a short turn.
const PAGE: Page = Page { messages_max: 200, bytes_max: 48 * 1024 };

/// A page with the first of some messages.
const FIRST: Page = Page { messages_max: 1, bytes_max: 0 };

/// When a failed read is retried.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long the thread sleeps without work.
const IDLE: Duration = Duration::from_secs(3_600);

/// The sessions that wait for a page.
pub struct Backfill {
    waiting: Mutex<Waiting>,
    added: Condvar,
}

#[derive(Default)]
struct Waiting {
    now: VecDeque<Arc<SendQueue>>,
    /// Sessions whose read failed, in the order of their retries.
    later: VecDeque<(Instant, Arc<SendQueue>)>,
    /// The last read failed and was logged.
    failing: bool,
    asked: Asked,
    closed: bool,
}

impl Default for Backfill {
    fn default() -> Backfill {
        let waiting = Mutex::new(Rank::Backfill, Waiting::default());
        Backfill { waiting, added: Condvar::new() }
    }
}

impl Backfill {
    /// Queues a session with cursors that read from the ledger.
    pub fn add(&self, queue: &Arc<SendQueue>) {
        if !queue.queued.swap(true, Ordering::SeqCst) {
            self.lock().now.push_back(Arc::clone(queue));
            self.added.notify_one();
        }
    }

    /// Retries a session later after a failed read (for example without free descriptors). A
    /// failure is not reported as a gap, and other sessions do not wait.
    fn put_off(&self, queue: &Arc<SendQueue>, error: &LedgerError) {
        let mut waiting = self.lock();
        if !std::mem::replace(&mut waiting.failing, true) {
            log::error!("cannot read messages, retrying: {error}");
        }
        if !queue.queued.swap(true, Ordering::SeqCst) {
            waiting.later.push_back((Instant::now() + RETRY_AFTER, Arc::clone(queue)));
        }
    }

    /// Starts a liveness check, which the thread answers before its next page.
    pub fn ask(&self) -> Question {
        let (question, _) = self.lock().asked.ask();
        self.added.notify_one();
        question
    }

    /// Lets the thread end.
    pub fn close(&self) {
        self.lock().closed = true;
        self.added.notify_all();
    }

    /// Waits for liveness checks or a session. `None` once it is closed.
    fn next(&self) -> Option<(Option<Question>, Option<Arc<SendQueue>>)> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let asked = waiting.asked.take();
            let now = Instant::now();
            while let Some((_, queue)) = waiting.later.pop_front_if(|(due, _)| *due <= now) {
                waiting.now.push_back(queue);
            }
            let queue = pop(&mut waiting.now);
            if asked.is_some() || queue.is_some() {
                return Some((asked, queue));
            }
            let due = waiting.later.front().map_or(IDLE, |(due, _)| due.duration_since(now));
            let waited = self.added.wait_timeout(waiting, due);
            waiting = waited;
        }
    }

    /// Returns the next session, whenever it is due.
    #[cfg(test)]
    pub fn try_next(&self) -> Option<Arc<SendQueue>> {
        let mut waiting = self.lock();
        let later = std::mem::take(&mut waiting.later);
        waiting.now.extend(later.into_iter().map(|(_, queue)| queue));
        pop(&mut waiting.now)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

fn pop(waiting: &mut VecDeque<Arc<SendQueue>>) -> Option<Arc<SendQueue>> {
    let queue = waiting.pop_front()?;
    queue.queued.store(false, Ordering::SeqCst);
    Some(queue)
}

/// The hub, as seen by the backfill thread.
pub trait Replays: Send + Sync {
    fn backfill(&self) -> &Backfill;

    /// Moves a session's cursors towards the ends of their tails.
    fn catch_up(&self, queue: &Arc<SendQueue>);

    /// Watches a session whose socket has become full.
    fn watch(&self, queue: Arc<SendQueue>);

    fn user_of(&self, id: SessionId) -> Option<UserName>;

    fn conversation_of(&self, id: ConversationId) -> Option<Conversation>;

    /// Sends one reader the members of a conversation again.
    fn send_people(&self, queue: &Arc<SendQueue>, conversation: &Conversation);
}

/// Runs until the backfill is closed.
pub fn run(hub: &dyn Replays, reader: &dyn Reader) {
    while let Some((asked, queue)) = hub.backfill().next() {
        liveness::answer(asked, reader);
        queue.iter().for_each(|queue| turn(hub, queue, reader));
    }
}

/// Sends one page of the first conversation that needs one.
pub fn turn(hub: &dyn Replays, queue: &Arc<SendQueue>, reader: &dyn Reader) {
    let wants = |(conversation, cursor): &(ConversationId, Cursor)| match cursor {
        Cursor::Replay(replay) => Some((*conversation, *replay)),
        Cursor::Live { .. } => None,
    };
    let Some((id, replay)) = queue.cursors().iter().find_map(wants) else { return };
    let Some(conversation) = hub.conversation_of(id) else { return queue.unfollow(id) };
    let (bytes, after) = match page(hub, queue, &conversation, replay, reader) {
        Ok(page) => page,
        Err(error) => return hub.backfill().put_off(queue, &error),
    };
    hub.backfill().lock().failing = false;
    match queue.send_page(id, replay, &bytes, after) {
        Offered::Taken => {
            if replay.fell_behind && after >= replay.upto {
                hub.send_people(queue, &conversation);
            }
            hub.catch_up(queue);
        }
        Offered::Blocked => hub.watch(Arc::clone(queue)),
        // The flusher queues it again once its socket is writable.
        Offered::StillBlocked | Offered::Over => {}
        Offered::Elsewhere | Offered::Behind => hub.catch_up(queue),
    }
}

/// Encodes the next messages for their reader, with the gaps between them. Returns the last seq
/// too.
fn page(
    hub: &dyn Replays,
    queue: &SendQueue,
    conversation: &Conversation,
    replay: Replay,
    reader: &dyn Reader,
) -> Result<(Vec<u8>, Seq), LedgerError> {
    let Some(user) = hub.user_of(queue.id) else { return Ok((Vec::new(), replay.upto)) };
    let to = conversation.as_seen_by(&user);
    let messages = reader.read(conversation, replay.after, replay.upto, PAGE)?;
    let mut bytes = Vec::new();
    let gap = |bytes: &mut Vec<u8>, from: Seq, upto: Seq, stored| {
        if from < upto {
            let (from_seq, to_seq) = (Seq(from.0 + 1), upto);
            codec::encode(&Event::Gap { to: to.clone(), from_seq, to_seq, stored }, bytes);
        }
    };
    if replay.announced < replay.after {
        // Only what is still stored can be asked for.
        let first = reader.read(conversation, replay.announced, replay.after, FIRST)?;
        let gone = first.first().map_or(replay.after, |message| Seq(message.seq.0 - 1));
        if !replay.fresh {
            gap(&mut bytes, replay.announced, gone, false);
        }
        gap(&mut bytes, gone, replay.after, true);
    }
    let mut last = replay.after;
    for message in &messages {
        if message.seq.0 > last.0 + 1 && !replay.fresh {
            gap(&mut bytes, last, Seq(message.seq.0 - 1), false);
        }
        codec::encode(&Event::Message(message.clone()), &mut bytes);
        last = message.seq;
    }
    if messages.is_empty() {
        if !replay.fresh {
            gap(&mut bytes, last, replay.upto, false);
        }
        last = replay.upto;
    }
    Ok((bytes, last))
}
