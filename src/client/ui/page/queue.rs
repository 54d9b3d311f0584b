//! What waits for one attached page. The client never waits for a page: one that is too far behind
//! is closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::PAGE_BEHIND_BYTES_MAX;
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};
use crate::system::clock::Instant;
#[cfg(not(target_family = "wasm"))]
use crate::wire::websocket::text_head;

/// Bytes that are written at once.
const BATCH_BYTES: usize = 64 << 10;

/// Why a page is closed: status codes of WebSocket.
pub mod close {
    pub const NORMAL: u16 = 1000;
    /// The client ends.
    pub const ENDS: u16 = 1001;
    pub const MALFORMED: u16 = 1002;
    pub const NOT_UTF8: u16 = 1007;
    /// Too far behind, or too many pages.
    pub const LATER: u16 = 1013;
    pub const WRONG_TOKEN: u16 = 4401;
    /// There was no token in time.
    pub const NO_TOKEN: u16 = 4408;
}

/// The queue of one page.
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// What the page gets when it attaches, which does not count as being behind.
    snapshot: VecDeque<Arc<str>>,
    texts: VecDeque<Arc<str>>,
    bytes: usize,
    /// Answers to pings.
    pongs: Vec<u8>,
    /// No more is written after this status code.
    close: Option<u16>,
    /// Nothing is read any more.
    is_over: bool,
}

impl Queue {
    /// A queue that begins with these objects.
    pub fn new(snapshot: VecDeque<Arc<str>>) -> Queue {
        let waiting = Mutex::new(Rank::PageQueue, Waiting { snapshot, ..Waiting::default() });
        Queue { waiting, changed: Condvar::new() }
    }

    /// Adds an object.
    pub fn push(&self, text: &Arc<str>) {
        let mut waiting = self.lock();
        if waiting.close.is_some() {
            return;
        }
        waiting.bytes += text.len();
        waiting.texts.push_back(Arc::clone(text));
        if waiting.bytes > PAGE_BEHIND_BYTES_MAX {
            waiting.close(close::LATER);
        }
        self.changed.notify_all();
    }

    /// Adds the answer to a ping, unless earlier ones wait.
    pub fn pong(&self, frame: &[u8]) {
        let mut waiting = self.lock();
        if waiting.pongs.is_empty() {
            waiting.pongs.extend_from_slice(frame);
            self.changed.notify_all();
        }
    }

    /// Closes the page after what waits.
    pub fn close(&self, code: u16) {
        self.lock().close.get_or_insert(code);
        self.changed.notify_all();
    }

    /// Records that nothing is read any more, for this reason.
    pub fn is_over(&self, code: u16) {
        let mut waiting = self.lock();
        waiting.close(code);
        waiting.is_over = true;
        self.changed.notify_all();
    }

    /// Returns whether the page is being closed.
    pub fn is_closing(&self) -> bool {
        self.lock().close.is_some()
    }

    /// Waits for the end of the connection. Returns false if it has not come in time.
    #[cfg(not(target_family = "wasm"))]
    pub fn ends_before(&self, until: Instant) -> bool {
        let patience = until.saturating_duration_since(Instant::now());
        let waits =
            self.changed.wait_timeout_while(self.lock(), patience, |waiting| !waiting.is_over);
        waits.is_over
    }

    /// Waits for frames to write.
    ///
    /// # Errors
    /// The status code of the end.
    #[cfg(not(target_family = "wasm"))]
    pub fn next(&self, frames: &mut Vec<u8>) -> Result<(), u16> {
        let idle = |waiting: &mut Waiting| waiting.is_idle();
        let mut waiting = self.changed.wait_while(self.lock(), idle);
        frames.clear();
        frames.append(&mut waiting.pongs);
        while frames.len() < BATCH_BYTES
            && let Some(text) = waiting.pop()
        {
            text_head(text.len(), frames);
            frames.extend_from_slice(text.as_bytes());
        }
        match waiting.close {
            Some(code) if frames.is_empty() => Err(code),
            _ => Ok(()),
        }
    }

    /// Takes the objects that wait, without frames.
    pub fn take(&self) -> Vec<Arc<str>> {
        let mut waiting = self.lock();
        std::iter::from_fn(|| waiting.pop()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

impl Waiting {
    fn is_idle(&self) -> bool {
        let is_empty = self.snapshot.is_empty() && self.texts.is_empty() && self.pongs.is_empty();
        is_empty && self.close.is_none()
    }

    fn pop(&mut self) -> Option<Arc<str>> {
        if let Some(text) = self.snapshot.pop_front() {
            return Some(text);
        }
        let text = self.texts.pop_front()?;
        self.bytes -= text.len();
        Some(text)
    }

    /// Closes at once: what waits is dropped.
    fn close(&mut self, code: u16) {
        let code = *self.close.get_or_insert(code);
        *self = Waiting { close: Some(code), is_over: self.is_over, ..Waiting::default() };
    }
}

/// The time that a page has to close its end.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_does_not_read_is_closed_and_holds_nothing() {
        let text: Arc<str> = "x".repeat(PAGE_BEHIND_BYTES_MAX / 4).into();
        let queue = Queue::new([Arc::clone(&text)].into());
        (0..4).for_each(|_| queue.push(&text));
        assert!(!queue.is_closing(), "the snapshot does not count");
        queue.push(&"y".into());
        assert!(queue.is_closing());
        assert_eq!(Arc::strong_count(&text), 1, "nothing waits any more");
        queue.push(&text);
        let mut frames = Vec::new();
        assert_eq!(queue.next(&mut frames), Err(close::LATER));
    }

    #[test]
    fn what_waits_is_written_before_an_orderly_close() {
        let queue = Queue::new(VecDeque::new());
        queue.push(&"{}".into());
        queue.pong(&[0x8a, 0]);
        queue.pong(&[0x8a, 1, 1]);
        queue.close(close::ENDS);
        queue.push(&"late".into());
        let mut frames = Vec::new();
        assert_eq!(queue.next(&mut frames), Ok(()));
        assert_eq!(frames, [0x8a, 0, 0x81, 2, b'{', b'}']);
        assert_eq!(queue.next(&mut frames), Err(close::ENDS));
        queue.is_over(close::NORMAL);
        assert_eq!(queue.next(&mut frames), Err(close::ENDS), "the first reason counts");
        assert!(queue.ends_before(Instant::now()));
    }
}
