//! The writing half of a session: sealer, cursors, and the bytes that its sink has not accepted.
//! Nothing here blocks: while a sink is full, the rest is queued.

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
use crate::wire::transfer::TransferRecord;

/// A conversation's number while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(pub u64);

/// The result of offering a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The socket accepted all of it.
    Taken,
    /// The socket has become full and must be watched.
    Blocked,
    /// The socket was full before and is being watched.
    StillBlocked,
    /// The cursor is before the span: the bytes in between must come first.
    Behind,
    /// This session does not read the conversation, or reads it from the ledger.
    Elsewhere,
    /// The session has ended.
    Over,
}

/// The send queue of a session.
pub struct SendQueue {
    pub id: SessionId,
    /// The key that the peer has proven.
    pub key: Fingerprint,
    sink: Arc<dyn RecordSink>,
    /// The peer's address.
    address: IpAddr,
    /// The bitmap of the handshake suites that the peer offered.
    pub offered: u16,
    answers_bytes_max: usize,
    /// Messages of this session that are not committed yet. Changed under the hub's lock.
    pub undecided: AtomicUsize,
    /// Whether it is queued for the backfill.
    pub queued: AtomicBool,
    /// Bytes of answers that the user has not been charged for yet.
    answered: AtomicUsize,
    /// Whether the user was muted at the last request.
    muted: AtomicBool,
    /// Changed under the state's lock.
    over: AtomicBool,
    ended: Condvar,
    state: Mutex<State>,
}

/// The transport that a session writes to.
pub struct Outgoing {
    pub sink: Arc<dyn RecordSink>,
    pub sealer: Sealer,
    /// The peer's address.
    pub address: IpAddr,
    /// The bitmap of the handshake suites that the peer offered.
    pub offered: u16,
}

/// How far a session has read a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Reads the tail: it is at `position`, after the message `seq`.
    Live { position: u64, seq: Seq },
    /// Reads from the ledger.
    Replay(Replay),
}

/// What a session reads from the ledger before it continues in the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The last seq that was sent or reported as a gap.
    pub announced: Seq,
    /// The next message comes after this seq.
    pub after: Seq,
    /// The last message to read.
    pub upto: Seq,
    /// Messages that no longer exist before the first one are not reported as a gap.
    pub fresh: bool,
    /// The session read the tail before and missed notices.
    pub fell_behind: bool,
    /// Where it continues in the tail.
    position: u64,
}

struct State {
    sealer: Sealer,
    cursors: Vec<(ConversationId, Cursor)>,
    /// Encoded events for this session only, not sealed yet.
    answers: Vec<u8>,
    /// The sink holds bytes that it could not send yet.
    blocked: bool,
    /// Everything waits until the welcome is sent.
    held: bool,
    /// Whether the server ended the session.
    ended: bool,
    /// Who ended the session and why, as announced to others.
    farewell: Option<String>,
}

thread_local! {
    /// A buffer for sealing records, one per delivering thread.
    static SEALED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Size of the buffer for sealing, in bytes, that a thread keeps after an answer. Answers are sent
/// by the threads of sessions, of which there are many.
const SEALED_KEPT_BYTES: usize = 512;

fn free_large_buffer() {
    SEALED.with_borrow_mut(|sealed| {
        if sealed.capacity() > SEALED_KEPT_BYTES {
            *sealed = Vec::new();
        }
    });
}

impl SendQueue {
    /// `answers_bytes_max` bounds the queue for a peer that does not read.
    pub fn new(
        id: SessionId,
        key: Fingerprint,
        outgoing: Outgoing,
        answers_bytes_max: usize,
    ) -> Self {
        let Outgoing { sink, sealer, address, offered } = outgoing;
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
            offered,
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

    /// Returns the peer's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Starts to read `conversation`: the part that `start` describes from the ledger, then the
    /// tail from `position` on.
    pub fn follow(&self, conversation: ConversationId, start: Start, position: u64) {
        let Start { after: announced, upto, messages_max, fresh } = start;
        let after = announced.max(Seq(upto.0.saturating_sub(messages_max as u64)));
        let cursor = if announced == upto {
            Cursor::Live { position, seq: upto }
        } else {
            Cursor::Replay(Replay { announced, after, upto, fresh, fell_behind: false, position })
        };
        let mut state = self.lock();
        if let Err(index) = state.cursors.binary_search_by_key(&conversation, |cursor| cursor.0) {
            state.cursors.insert(index, (conversation, cursor));
        }
    }

    pub fn unfollow(&self, conversation: ConversationId) {
        self.lock().cursors.retain(|cursor| cursor.0 != conversation);
    }

    /// Returns the cursors of all conversations that this session reads.
    pub fn cursors(&self) -> Vec<(ConversationId, Cursor)> {
        self.lock().cursors.clone()
    }

    /// Continues from the ledger, because the tail has dropped the next message: up to the message
    /// `upto`, after which `position` lies.
    pub fn fall_behind(&self, conversation: ConversationId, upto: Seq, position: u64) {
        let mut state = self.lock();
        let Some(cursor) = state.cursor(conversation) else { return };
        if let Cursor::Live { position: before, seq: after } = *cursor
            && before < position
        {
            let replay =
                Replay { announced: after, after, upto, fresh: false, fell_behind: true, position };
            *cursor = Cursor::Replay(replay);
        }
    }

    /// Sends a page from the ledger, which moves the cursor of `conversation` from `replay` to the
    /// message `after`; the tail is next after the last page.
    pub fn send_page(
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
            Cursor::Replay(Replay { announced: after, after, fresh: false, ..replay })
        };
        self.answered.fetch_add(page.len(), Ordering::Relaxed);
        let taken = page.is_empty() || self.write(&mut state, RecordType::Json, page);
        if taken { Offered::Taken } else { Offered::Blocked }
    }

    /// Sends the rest of `span`, if the cursor of `conversation` is in it.
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

    /// Returns the bytes that are queued for the peer's socket.
    pub fn queued_bytes(&self) -> usize {
        let state = self.lock();
        self.sink.unsent_bytes() + state.answers.len()
    }

    /// Returns the bytes of answers since the last call.
    pub fn take_answered(&self) -> usize {
        self.answered.swap(0, Ordering::Relaxed)
    }

    pub fn set_muted(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    pub fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Whether the peer has not accepted all that was sent.
    pub fn is_behind(&self) -> bool {
        self.lock().blocked
    }

    /// Sends an event to this session only. Returns true if the socket has become full.
    #[must_use = "a blocked queue must be watched"]
    pub fn answer(&self, event: &Event) -> bool {
        let mut body = Vec::with_capacity(256);
        codec::encode(event, &mut body);
        self.send(RecordType::Json, &body)
    }

    /// Queues everything until `welcome`.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Sends the first events and then what was queued since `hold`, in one call. Returns true if
    /// the socket has become full.
    #[must_use = "a blocked queue must be watched"]
    pub fn welcome(&self, first: &[Event]) -> bool {
        let mut body = Vec::with_capacity(1_024);
        first.iter().for_each(|event| codec::encode(event, &mut body));
        let mut state = self.lock();
        state.held = false;
        body.append(&mut state.answers);
        let is_full = !self.is_over() && !self.write(&mut state, RecordType::Json, &body);
        free_large_buffer();
        is_full
    }

    /// Sends encoded events, a ping or a pong. Returns true if the socket has become full.
    #[must_use = "a blocked queue must be watched"]
    pub fn send(&self, kind: RecordType, body: &[u8]) -> bool {
        let mut state = self.lock();
        if self.is_over() {
            return false;
        }
        self.answered.fetch_add(body.len(), Ordering::Relaxed);
        if !state.is_waiting() {
            let is_full = !self.write(&mut state, kind, body);
            free_large_buffer();
            return is_full;
        }
        if kind == RecordType::Json {
            state.answers.extend_from_slice(body);
            if state.answers.len() > self.answers_bytes_max {
                self.cut(&mut state);
            }
        }
        false
    }

    /// Sends transfer records in one call if nothing is queued: bytes of files never delay messages
    /// and answers, and are not charged as answers. No record was sent after `StillBlocked` and
    /// `Over`.
    pub fn transfer(&self, records: &[TransferRecord<'_>]) -> Offered {
        let mut state = self.lock();
        if self.is_over() {
            return Offered::Over;
        }
        if state.is_waiting() {
            return Offered::StillBlocked;
        }
        let taken = self.alone(&mut state, |state| self.seal_transfers(state, records));
        if taken { Offered::Taken } else { Offered::Blocked }
    }

    /// Sends queued bytes after the socket became writable. Returns true if nothing is left.
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

    /// Ends the session: sends a last event and an authenticated close, and shuts the socket down,
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

    /// Whether the session has ended on either side: commands received before are not executed.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether nobody reads answers any more: the session has ended, or the peer has gone.
    pub fn is_deserted(&self) -> bool {
        self.is_over() || self.sink.is_deserted()
    }

    /// Waits for `time`, or until the session ends.
    pub fn pause(&self, time: Duration) {
        let lasts = |_: &mut State| !self.is_over();
        // The caller checks again in either case.
        let _ = self.ended.wait_timeout_while(self.lock(), time, lasts);
    }

    /// Sets the reason that is announced to others when the session ends.
    pub fn set_farewell(&self, text: &str) {
        self.lock().farewell = Some(text.to_owned());
    }

    pub fn farewell(&self) -> Option<String> {
        self.lock().farewell.clone()
    }

    /// Whether the server ended the session.
    pub fn was_ended(&self) -> bool {
        self.lock().ended
    }

    /// Ends the session and drops its cursors.
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

    /// Seals `body` as one or more records, split between messages, and sends them in as few calls
    /// as possible. Returns false if the sink holds a rest.
    fn write(&self, state: &mut State, kind: RecordType, body: &[u8]) -> bool {
        self.alone(state, |state| self.seal_and_push(state, kind, body))
    }

    /// Contains panics: one session's panic ends that session only.
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

    /// Seals transfer records and sends them in one call. Returns false if the sink holds a rest.
    fn seal_transfers(&self, state: &mut State, records: &[TransferRecord<'_>]) -> bool {
        SEALED.with_borrow_mut(|sealed| {
            sealed.clear();
            let mut head = Vec::new();
            for record in records {
                let bytes = record.encode_head(&mut head);
                self.sink.frame(sealed_bytes(head.len() + bytes.len()), sealed);
                let parts = [&head[..], bytes];
                if state.sealer.seal_parts(RecordType::Binary, parts, sealed).is_err() {
                    self.cut(state);
                    return true;
                }
            }
            self.settle(state, self.sink.send(sealed))
        })
    }

    /// Handles a sink's result. Returns false if it holds a rest.
    fn settle(&self, state: &mut State, sent: io::Result<bool>) -> bool {
        match sent {
            Ok(all) => state.blocked = !all,
            Err(_) => self.cut(state),
        }
        !state.blocked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic during sealing leaves at worst a stale cursor or counter, which the peer detects.
        self.state.lock()
    }
}

impl State {
    /// Whether queued bytes must be sent first.
    fn is_waiting(&self) -> bool {
        self.held || self.blocked
    }

    fn cursor(&mut self, conversation: ConversationId) -> Option<&mut Cursor> {
        let index = self.cursors.binary_search_by_key(&conversation, |cursor| cursor.0).ok()?;
        Some(&mut self.cursors[index].1)
    }
}
