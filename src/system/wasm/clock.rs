//! The clocks, which stand still within a call of the Worker.

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The time of day, in milliseconds since 1970.
static NOW_MS: AtomicI64 = AtomicI64::new(0);
/// Microseconds of a clock that nobody sets. It begins far above 0, so that earlier times can be
/// represented.
static SINCE_US: AtomicU64 = AtomicU64::new(BEGAN_US);
const BEGAN_US: u64 = 1 << 50;

/// Sets the clocks: the time of day in milliseconds, and the time since the Worker began in
/// microseconds.
pub fn set(now_ms: i64, since_us: u64) {
    NOW_MS.store(now_ms, Ordering::Relaxed);
    SINCE_US.fetch_max(BEGAN_US.saturating_add(since_us), Ordering::Relaxed);
}

/// Returns the time of day, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// A time of the clock that nobody sets, as in the standard library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        Instant(Duration::from_micros(SINCE_US.load(Ordering::Relaxed)))
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, time: Duration) -> Instant {
        Instant(self.0.saturating_add(time))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, time: Duration) -> Instant {
        Instant(self.0.saturating_sub(time))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, time: Duration) {
        *self = *self - time;
    }
}
