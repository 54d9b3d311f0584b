//! The writing half of a session: its sealer, its cursors, and what its sink is not given yet.
//! Nothing here waits: where a sink is full, the rest waits until it takes more.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::records::split;
use super::tail::Span;
use crate::chat::registry::Start;
use crate::chat::{Event, Seq, SessionId};
use crate::crypto::record_cipher::sealed_bytes;
use crate::crypto::{Fingerprint, RecordType, Sealer};
use crate::net::link::RecordSink;
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};
use crate::wire::codec;

/// A conversation's number in this server's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(pub u64);

/// How an offer of a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The socket has all of it.
    Taken,
    /// The socket is full as of now: watch it.
    Blocked,
    /// The socket was full already: it is being watched.
    StillBlocked,
    /// The cursor lies before the span: what is between must come first.
    Behind,
    /// This session does not read the conversation, or not yet.
    Elsewhere,
    /// The session is over.
    Over,
}

/// One session's way out.
pub struct SendQueue {
    pub id: SessionId,
    /// The key that this session has proven.
    pub key: Fingerprint,
    sink: Arc<dyn RecordSink>,
    /// Where the peer is.
    address: IpAddr,
    answers_bytes_max: usize,
    /// Lines of this session that the ledger has not decided about. Changed under the hub's lock.
    pub undecided: AtomicUsize,
    /// It waits for the backfill thread.
    pub queued: AtomicBool,
    /// Bytes of answers that its person has not been charged for yet.
    answered: AtomicUsize,
    /// Its person may say nothing that others would notice, as of its last request.
    muted: AtomicBool,
    /// Changed under the state's lock.
    over: AtomicBool,
    ended: Condvar,
    state: Mutex<State>,
}

/// What a session writes to.
pub struct Outgoing {
    pub sink: Arc<dyn RecordSink>,
    pub sealer: Sealer,
    /// Where the peer is.
    pub address: IpAddr,
}

/// How far a session has read a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In its tail: up to a position, which lies behind the line of `seq`.
    Live { position: u64, seq: Seq },
    /// It reads on from the ledger.
    Replay(Replay),
}

/// What a session is told from the ledger before it goes on in the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// It has been told, or told of the gap, up to here.
    pub told: Seq,
    /// The next line to read lies behind this one ...
    pub after: Seq,
    /// ... and the last one is this.
    pub upto: Seq,
    /// What is missing before the first line is no gap.
    pub fresh: bool,
    /// It was in the tail before, and missed notices.
    pub fell_behind: bool,
    /// Where it goes on in the tail.
    position: u64,
}

struct State {
    sealer: Sealer,
    cursors: Vec<(ConversationId, Cursor)>,
    /// Encoded events for this session alone, not yet sealed.
    answers: Vec<u8>,
    /// The sink has not taken all that it was given.
    blocked: bool,
    /// Its welcome comes first: until then all else waits.
    held: bool,
    /// This side ended it.
    ended: bool,
    /// Who did that, and why, as others are told.
    farewell: Option<String>,
}

thread_local! {
    /// Where records are sealed before they are sent; one for each thread that delivers.
    static SEALED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl SendQueue {
    /// `answers_bytes_max` bounds what waits for a peer that does not read.
    pub fn new(
        id: SessionId,
        key: Fingerprint,
        outgoing: Outgoing,
        answers_bytes_max: usize,
    ) -> Self {
        let Outgoing { sink, sealer, address } = outgoing;
        let state = State {
            sealer,
            cursors: Vec::new(),
            answers: Vec::new(),
            blocked: false,
            held: false,
            ended: false,
            farewell: None,
        };
        SendQueue {
            id,
            key,
            sink,
            address,
            answers_bytes_max,
            undecided: AtomicUsize::new(0),
            queued: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
            muted: AtomicBool::new(false),
            over: AtomicBool::new(false),
            ended: Condvar::new(),
            state: Mutex::new(Rank::SendQueue, state),
        }
    }

    pub fn sink(&self) -> &dyn RecordSink {
        &*self.sink
    }

    /// Where the peer is.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// From now on this session reads `conversation`: what `start` says from the ledger, then the
    /// tail from `position` on.
    pub fn follow(&self, conversation: ConversationId, start: Start, position: u64) {
        let Start { after: told, upto, lines_max, fresh } = start;
        let after = told.max(Seq(upto.0.saturating_sub(lines_max as u64)));
        let cursor = if told == upto {
            Cursor::Live { position, seq: upto }
        } else {
            Cursor::Replay(Replay { told, after, upto, fresh, fell_behind: false, position })
        };
        let mut state = self.lock();
        if let Err(index) = state.cursors.binary_search_by_key(&conversation, |cursor| cursor.0) {
            state.cursors.insert(index, (conversation, cursor));
        }
    }

    pub fn unfollow(&self, conversation: ConversationId) {
        self.lock().cursors.retain(|cursor| cursor.0 != conversation);
    }

    /// The conversations this session reads, and up to where.
    pub fn cursors(&self) -> Vec<(ConversationId, Cursor)> {
        self.lock().cursors.clone()
    }

    /// The tail no longer holds what comes next: read on from the ledger, up to the line `upto`,
    /// behind which lies `position`.
    pub fn fall_behind(&self, conversation: ConversationId, upto: Seq, position: u64) {
        let mut state = self.lock();
        let Some(cursor) = state.cursor(conversation) else { return };
        if let Cursor::Live { position: before, seq: after } = *cursor
            && before < position
        {
            let replay =
                Replay { told: after, after, upto, fresh: false, fell_behind: true, position };
            *cursor = Cursor::Replay(replay);
        }
    }

    /// Tells a page from the ledger, which brings the cursor of `conversation` from `replay` to the
    /// line `after`; the tail is next once that is the last one.
    pub fn tell_again(
        &self,
        conversation: ConversationId,
        replay: Replay,
        page: &[u8],
        after: Seq,
    ) -> Offered {
        let mut state = self.lock();
        if self.is_over() {
            return Offered::Over;
        }
        if state.is_waiting() {
            return Offered::StillBlocked;
        }
        let Some(cursor) =
            state.cursor(conversation).filter(|cursor| **cursor == Cursor::Replay(replay))
        else {
            return Offered::Elsewhere;
        };
        *cursor = if after >= replay.upto {
            Cursor::Live { position: replay.position, seq: replay.upto }
        } else {
            Cursor::Replay(Replay { told: after, after, fresh: false, ..replay })
        };
        self.answered.fetch_add(page.len(), Ordering::Relaxed);
        let taken = page.is_empty() || self.write(&mut state, RecordType::Json, page);
        if taken { Offered::Taken } else { Offered::Blocked }
    }

    /// Brings the cursor of `conversation` to the end of `span`, if it lies in it.
    pub fn offer(&self, conversation: ConversationId, span: &Span) -> Offered {
        let mut state = self.lock();
        if self.is_over() {
            return Offered::Over;
        }
        let still = state.is_waiting();
        let Some(Cursor::Live { position, seq }) = state.cursor(conversation) else {
            return Offered::Elsewhere;
        };
        if *position >= span.end() {
            return Offered::Taken;
        }
        if still {
            return Offered::StillBlocked;
        }
        if *position < span.start {
            return Offered::Behind;
        }
        let rest = &span.bytes[(*position - span.start) as usize..];
        (*position, *seq) = (span.end(), span.end_seq);
        if self.write(&mut state, RecordType::Json, rest) {
            Offered::Taken
        } else {
            Offered::Blocked
        }
    }

    /// Bytes that wait here for the peer's socket.
    pub fn queued_bytes(&self) -> usize {
        let state = self.lock();
        self.sink.unsent_bytes() + state.answers.len()
    }

    /// Bytes of answers since this was asked last.
    pub fn take_answered(&self) -> usize {
        self.answered.swap(0, Ordering::Relaxed)
    }

    pub fn set_muted(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    pub fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Whether the peer has not taken all that was sent to it.
    pub fn is_behind(&self) -> bool {
        self.lock().blocked
    }

    /// An event for this session alone. True where the socket is full as of now.
    #[must_use = "a blocked queue must be watched"]
    pub fn answer(&self, event: &Event) -> bool {
        let mut body = Vec::with_capacity(256);
        codec::encode(event, &mut body);
        self.send(RecordType::Json, &body)
    }

    /// Nothing but its welcome is sent from now on.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// The first event, and what has come since `hold`. True where the socket is full as of now.
    #[must_use = "a blocked queue must be watched"]
    pub fn welcome(&self, event: &Event) -> bool {
        let mut body = Vec::with_capacity(256);
        codec::encode(event, &mut body);
        let mut state = self.lock();
        state.held = false;
        body.append(&mut state.answers);
        !self.is_over() && !self.write(&mut state, RecordType::Json, &body)
    }

    /// Encoded events, a ping or a pong. True where the socket is full as of now.
    #[must_use = "a blocked queue must be watched"]
    pub fn send(&self, kind: RecordType, body: &[u8]) -> bool {
        let mut state = self.lock();
        if self.is_over() {
            return false;
        }
        self.answered.fetch_add(body.len(), Ordering::Relaxed);
        if !state.is_waiting() {
            return !self.write(&mut state, kind, body);
        }
        if kind == RecordType::Json {
            state.answers.extend_from_slice(body);
            if state.answers.len() > self.answers_bytes_max {
                self.cut(&mut state);
            }
        }
        false
    }

    /// The socket is writable again: true when it has taken all that waited here.
    pub fn resume(&self) -> bool {
        let mut state = self.lock();
        if self.is_over() {
            return true;
        }
        if !self.alone(&mut state, |state| self.settle(state, self.sink.flush())) {
            return false;
        }
        let answers = std::mem::take(&mut state.answers);
        answers.is_empty() || self.write(&mut state, RecordType::Json, &answers)
    }

    /// Ends the session from this side: a last event, an authenticated close, and the socket's end,
    /// which wakes the session's thread.
    pub fn end(&self, last: Option<&Event>, reason: &str) {
        let mut state = self.lock();
        if self.is_over() {
            return;
        }
        state.ended = true;
        if !state.blocked {
            let mut body = Vec::new();
            if let Some(event) = last {
                codec::encode(event, &mut body);
                self.write(&mut state, RecordType::Json, &body);
            }
            let reason = format!("\"{reason}\"");
            self.write(&mut state, RecordType::Close, reason.as_bytes());
        }
        self.cut(&mut state);
    }

    /// Whether the session has ended, from either side: nothing that its peer sent before is
    /// obeyed.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether nobody reads an answer any more: the session is over, or its peer has gone.
    pub fn is_deserted(&self) -> bool {
        self.is_over() || self.sink.is_deserted()
    }

    /// Waits for `time`, or until the session is over.
    pub fn pause(&self, time: Duration) {
        let lasts = |_: &mut State| !self.is_over();
        // Either way its caller looks again.
        let _ = self.ended.wait_timeout_while(self.lock(), time, lasts);
    }

    /// What others are told when it ends.
    pub fn say_farewell(&self, text: &str) {
        self.lock().farewell = Some(text.to_owned());
    }

    pub fn farewell(&self) -> Option<String> {
        self.lock().farewell.clone()
    }

    /// Whether this side ended the session.
    pub fn was_ended(&self) -> bool {
        self.lock().ended
    }

    /// The session is over and reads nothing more.
    pub fn retire(&self) {
        let mut state = self.lock();
        self.cut(&mut state);
        state.cursors = Vec::new();
    }

    fn cut(&self, state: &mut State) {
        self.over.store(true, Ordering::SeqCst);
        self.ended.notify_all();
        state.blocked = false;
        state.answers = Vec::new();
        self.sink.cut();
    }

    /// Seals `body` as one or more records, cut between messages, and sends them in as few calls as
    /// the sink allows. False when the connection has not taken all; the sink keeps the rest.
    fn write(&self, state: &mut State, kind: RecordType, body: &[u8]) -> bool {
        self.alone(state, |state| self.seal_and_push(state, kind, body))
    }

    /// A panic over one session's bytes ends that session, and no other notices.
    fn alone(&self, state: &mut State, job: impl FnOnce(&mut State) -> bool) -> bool {
        let done = catch_unwind(AssertUnwindSafe(|| job(state)));
        done.unwrap_or_else(|_| {
            self.cut(state);
            true
        })
    }

    fn seal_and_push(&self, state: &mut State, kind: RecordType, body: &[u8]) -> bool {
        SEALED.with_borrow_mut(|sealed| {
            sealed.clear();
            let mut rest = body;
            loop {
                let (head, tail) = split(rest);
                self.sink.frame(sealed_bytes(head.len()), sealed);
                if state.sealer.seal(kind, head, sealed).is_err() {
                    self.cut(state);
                    return true;
                }
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            self.settle(state, self.sink.send(sealed))
        })
    }

    /// What a sink has said: false where it keeps something for later.
    fn settle(&self, state: &mut State, sent: io::Result<bool>) -> bool {
        match sent {
            Ok(all) => state.blocked = !all,
            Err(_) => self.cut(state),
        }
        !state.blocked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while sealing leaves a cursor or a counter behind at worst: the peer would
        // notice.
        self.state.lock()
    }
}

impl State {
    /// Something has to be sent before anything else is.
    fn is_waiting(&self) -> bool {
        self.held || self.blocked
    }

    fn cursor(&mut self, conversation: ConversationId) -> Option<&mut Cursor> {
        let index = self.cursors.binary_search_by_key(&conversation, |cursor| cursor.0).ok()?;
        Some(&mut self.cursors[index].1)
    }
}
