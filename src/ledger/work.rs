//! What one read may cost, and whether anybody still waits for its answer.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A read that waits for the disk, or for the processor, ends after this time: before whoever asks
/// for the server's health gives up on its reader.
const WALL_MAX: Duration = Duration::from_secs(2);

/// The work of one read, from its making on, on the thread that made it.
pub struct Work {
    began: Instant,
    began_cpu: Duration,
    cpu_max: Duration,
    wall_max: Duration,
    /// CPU time, in nanoseconds since the beginning, up to which the part at hand may go.
    part_ns: AtomicU64,
    is_over: Box<dyn Fn() -> bool + Send + Sync>,
    /// Something was not looked at.
    partial: AtomicBool,
    looks: AtomicU64,
}

impl Work {
    /// At most `cpu_max` of this thread, and nothing once nobody waits for it (`is_over`).
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

    /// For reads that are bounded by what they read.
    pub fn unbounded() -> Work {
        Work { wall_max: Duration::MAX, ..Work::new(Duration::MAX, || false) }
    }

    /// CPU time of this thread since the beginning.
    pub fn spent(&self) -> Duration {
        own_cpu().saturating_sub(self.began_cpu)
    }

    /// The next of `parts` that are left gets its share of what is left.
    pub fn share(&self, parts: usize) {
        let spent = self.spent();
        let left = self.cpu_max.saturating_sub(spent);
        let part = left / u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        self.part_ns.store(ns(spent.saturating_add(part)), Ordering::Relaxed);
    }

    /// Whether the part at hand has to stop. Asked again and again by whoever reads.
    pub fn is_spent(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let spent = ns(self.spent()) >= self.part_ns.load(Ordering::Relaxed) || self.is_gone();
        if spent {
            self.partial.store(true, Ordering::Relaxed);
        }
        spent
    }

    /// Whether nothing more can be read, in whichever part.
    fn is_gone(&self) -> bool {
        self.began.elapsed() >= self.wall_max || (self.is_over)()
    }

    /// Whether something was not looked at.
    pub fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed)
    }

    /// How often `is_spent` was asked.
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

/// CPU time of this thread.
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
