//! Detects that the clock was set while the client runs.

use crate::system::clock::{self, Instant};

/// Difference from the monotonic clock above which the clock was set, in milliseconds.
const SET_MS: i64 = 60_000;

pub struct ClockWatch {
    began: Instant,
    /// What the clock would have shown at `began`.
    base_ms: i64,
}

impl ClockWatch {
    pub fn new() -> ClockWatch {
        ClockWatch { began: Instant::now(), base_ms: clock::now_ms() }
    }

    /// Returns by how much the clock was set since the last call. Suspension counts as well,
    /// because the monotonic clock stops meanwhile.
    pub fn set_by(&mut self, now_ms: i64) -> Option<i64> {
        let base_ms = now_ms - self.began.elapsed().as_millis() as i64;
        let by_ms = base_ms - self.base_ms;
        self.base_ms = base_ms;
        (by_ms.abs() > SET_MS).then_some(by_ms)
    }
}
