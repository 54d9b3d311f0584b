//! The one thread that reads for others from the ledger: sessions that come back, and readers that
//! fell behind a tail. A page for each in turn, so that nobody waits for another's long absence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::send_queue::{ConversationId, Cursor, Offered, Replay, SendQueue};
use crate::chat::{Conversation, Event, Seq, SessionId, UserName};
use crate::ledger::{LedgerError, Page, Reader};
use crate::server::liveness::{self, Asks};
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};
use crate::wire::codec;

/// A page: enough to fill some records, little enough to be a short turn.
const PAGE: Page = Page { lines_max: 200, bytes_max: 48 * 1024 };

/// A ledger that cannot be read now is tried again after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Without anybody to wait for it looks again after this.
const IDLE: Duration = Duration::from_secs(3_600);

/// Who waits for a page.
pub struct Backfill {
    waiting: Mutex<Waiting>,
    added: Condvar,
}

#[derive(Default)]
struct Waiting {
    now: VecDeque<Arc<SendQueue>>,
    /// Nothing could be read for these: they are next again then, in this order.
    later: VecDeque<(Instant, Arc<SendQueue>)>,
    /// The last look failed, and the log says so.
    failing: bool,
    asks: Asks,
    closed: bool,
}

impl Default for Backfill {
    fn default() -> Backfill {
        let waiting = Mutex::new(Rank::Backfill, Waiting::default());
        Backfill { waiting, added: Condvar::new() }
    }
}

impl Backfill {
    /// This session has conversations that it reads from the ledger.
    pub fn add(&self, queue: &Arc<SendQueue>) {
        if !queue.queued.swap(true, Ordering::SeqCst) {
            self.lock().now.push_back(Arc::clone(queue));
            self.added.notify_one();
        }
    }

    /// Nothing can be read for this session now (no descriptor left, say): nothing is a gap because
    /// of that, and nobody else waits for it.
    fn put_off(&self, queue: &Arc<SendQueue>, error: &LedgerError) {
        let mut waiting = self.lock();
        if !std::mem::replace(&mut waiting.failing, true) {
            log::error!("lines cannot be read, which is tried again: {error}");
        }
        if !queue.queued.swap(true, Ordering::SeqCst) {
            waiting.later.push_back((Instant::now() + RETRY_AFTER, Arc::clone(queue)));
        }
    }

    /// Asks whether the thread does its work: it says so before its next page.
    pub fn ask(&self) -> Receiver<()> {
        let (answer, answered) = channel();
        self.lock().asks.push(answer);
        self.added.notify_one();
        answered
    }

    /// The thread may end.
    pub fn close(&self) {
        self.lock().closed = true;
        self.added.notify_all();
    }

    /// What comes next: questions, and whose page is to be read. None once it is closed.
    fn next(&self) -> Option<(Asks, Option<Arc<SendQueue>>)> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let asks = std::mem::take(&mut waiting.asks);
            let now = Instant::now();
            while let Some((_, queue)) = waiting.later.pop_front_if(|(due, _)| *due <= now) {
                waiting.now.push_back(queue);
            }
            let queue = pop(&mut waiting.now);
            if !asks.is_empty() || queue.is_some() {
                return Some((asks, queue));
            }
            let due = waiting.later.front().map_or(IDLE, |(due, _)| due.duration_since(now));
            let waited = self.added.wait_timeout(waiting, due);
            waiting = waited;
        }
    }

    /// Who is next, if anybody waits, and for however long.
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

/// What the thread asks of the hub.
pub trait Replays: Send + Sync {
    fn backfill(&self) -> &Backfill;

    /// Lets a session's cursors catch up with the tails of all its conversations.
    fn catch_up(&self, queue: &Arc<SendQueue>);

    /// The session's socket is full as of now.
    fn watch(&self, queue: Arc<SendQueue>);

    fn user_of(&self, id: SessionId) -> Option<UserName>;

    fn conversation_of(&self, id: ConversationId) -> Option<Conversation>;

    /// Tells one reader of a conversation again who is there.
    fn tell_people(&self, queue: &Arc<SendQueue>, conversation: &Conversation);
}

/// Runs until it is closed.
pub fn run(hub: &dyn Replays, reader: &dyn Reader) {
    while let Some((asks, queue)) = hub.backfill().next() {
        liveness::answer(asks, reader);
        queue.iter().for_each(|queue| turn(hub, queue, reader));
    }
}

/// One page of the first conversation that wants one.
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
    match queue.tell_again(id, replay, &bytes, after) {
        Offered::Taken => {
            if replay.fell_behind && after >= replay.upto {
                hub.tell_people(queue, &conversation);
            }
            hub.catch_up(queue);
        }
        Offered::Blocked => hub.watch(Arc::clone(queue)),
        // The flusher brings it back once its socket is writable.
        Offered::StillBlocked | Offered::Over => {}
        Offered::Elsewhere | Offered::Behind => hub.catch_up(queue),
    }
}

/// The next lines as their reader is told them, with the gaps between them, and the last one's seq.
fn page(
    hub: &dyn Replays,
    queue: &SendQueue,
    conversation: &Conversation,
    replay: Replay,
    reader: &dyn Reader,
) -> Result<(Vec<u8>, Seq), LedgerError> {
    let Some(user) = hub.user_of(queue.id) else { return Ok((Vec::new(), replay.upto)) };
    let to = conversation.as_seen_by(&user);
    let lines = reader.read(conversation, replay.after, replay.upto, PAGE)?;
    let mut bytes = Vec::new();
    let gap = |bytes: &mut Vec<u8>, from: Seq, upto: Seq, stored| {
        if from < upto && !replay.fresh {
            let (from_seq, to_seq) = (Seq(from.0 + 1), upto);
            codec::encode(&Event::Gap { to: to.clone(), from_seq, to_seq, stored }, bytes);
        }
    };
    gap(&mut bytes, replay.told, replay.after, true);
    let mut last = replay.after;
    for (number, line) in lines.iter().enumerate() {
        if line.seq.0 > last.0 + 1 && !(number == 0 && replay.fresh) {
            gap(&mut bytes, last, Seq(line.seq.0 - 1), false);
        }
        codec::encode(&Event::Message(line.clone()), &mut bytes);
        last = line.seq;
    }
    if lines.is_empty() {
        gap(&mut bytes, last, replay.upto, false);
        last = replay.upto;
    }
    Ok((bytes, last))
}
