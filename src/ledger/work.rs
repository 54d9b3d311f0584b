//! The budget of one read, and whether its answer is still wanted.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Maximum wall time of a read that waits for disk or processor. It is shorter than the time after
/// which the health check reports the reader as stuck.
const WALL_MAX: Duration = Duration::from_secs(2);

/// The work of one read, on the thread that created it.
pub struct Work {
    began: Instant,
    began_cpu: Duration,
    cpu_max: Duration,
    wall_max: Duration,
    /// CPU time since the start, in nanoseconds, at which the present part ends.
    part_ns: AtomicU64,
    is_over: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether something was not read.
    partial: AtomicBool,
    looks: AtomicU64,
}

impl Work {
    /// A budget of `cpu_max` CPU time of this thread, which ends early once `is_over`.
    pub fn new(cpu_max: Duration, is_over: impl Fn() -> bool + Send + Sync + 'static) -> Work {
        Work {
            began: Instant::now(),
            began_cpu: own_cpu(),
            cpu_max,
            wall_max: WALL_MAX,
            part_ns: AtomicU64::new(ns(cpu_max)),
            is_over: Box::new(is_over),
            partial: AtomicBool::new(false),
            looks: AtomicU64::new(0),
        }
    }

    /// For reads that are bounded by their input.
    pub fn unbounded() -> Work {
        Work { wall_max: Duration::MAX, ..Work::new(Duration::MAX, || false) }
    }

    /// Returns the CPU time of this thread since the start.
    pub fn spent(&self) -> Duration {
        own_cpu().saturating_sub(self.began_cpu)
    }

    /// Gives the next of `parts` remaining parts its share of the rest.
    pub fn share(&self, parts: usize) {
        let spent = self.spent();
        let left = self.cpu_max.saturating_sub(spent);
        let part = left / u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        self.part_ns.store(ns(spent.saturating_add(part)), Ordering::Relaxed);
    }

    /// Returns whether the present part has to stop. Readers call it repeatedly.
    pub fn is_spent(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let spent = ns(self.spent()) >= self.part_ns.load(Ordering::Relaxed) || self.is_gone();
        if spent {
            self.partial.store(true, Ordering::Relaxed);
        }
        spent
    }

    /// Returns whether no part may read any more.
    fn is_gone(&self) -> bool {
        self.began.elapsed() >= self.wall_max || (self.is_over)()
    }

    /// Records that something was left out for another reason than the budget.
    pub fn omits(&self) {
        self.partial.store(true, Ordering::Relaxed);
    }

    /// Returns whether something was not read.
    pub fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed)
    }

    /// Returns how often `is_spent` was called.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.debug_struct("Work").field("cpu_max", &self.cpu_max).finish_non_exhaustive()
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the CPU time of this thread.
fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_what_is_left_and_the_end_of_a_session_ends_all() {
        let work = Work::new(Duration::from_secs(3_600), || false);
        work.share(1_000_000_000);
        while !work.is_spent() {}
        assert!(work.is_partial() && work.spent() < Duration::from_secs(60));
        work.share(1);
        assert!(!work.is_spent(), "the next part has its own share");
        assert!(Work::new(Duration::from_secs(3_600), || true).is_spent());
        assert!(Work::new(Duration::ZERO, || false).is_spent());
        let free = Work::unbounded();
        free.share(7);
        assert!(!free.is_spent() && !free.is_partial());
    }
}
