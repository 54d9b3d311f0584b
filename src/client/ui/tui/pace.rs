//! The pace of requests for older messages, which a server's claims can cause without an end.

/// Minimum time between two requests in milliseconds: 3 a second at most.
pub const FETCH_EVERY_MS: i64 = 334;

/// The last request, and whether another one waits.
#[derive(Default)]
pub struct Pace {
    asked_ms: Option<i64>,
    waits: bool,
}

impl Pace {
    /// Returns the next request if it may be sent now. Otherwise it waits for a later call.
    pub fn release<T>(&mut self, next: Option<T>, now_ms: i64) -> Option<T> {
        // A clock that was set back delays nothing.
        let holds = |asked_ms: i64| (0..FETCH_EVERY_MS).contains(&(now_ms - asked_ms));
        self.waits = next.is_some() && self.asked_ms.is_some_and(holds);
        let released = next.filter(|_| !self.waits);
        if released.is_some() {
            self.asked_ms = Some(now_ms);
        }
        released
    }

    /// Time until the request that waits may be sent, in milliseconds.
    pub fn next_ms(&self, now_ms: i64) -> Option<u64> {
        let asked_ms = self.asked_ms.filter(|_| self.waits)?;
        Some((FETCH_EVERY_MS - (now_ms - asked_ms)).clamp(0, FETCH_EVERY_MS) as u64)
    }
}
