//! Disk space that is reserved for everything except new messages: while less is free, the server
//! refuses new messages, and can still write everything else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// New messages are accepted again when the free space exceeds the reserve by this part of it (an
/// eighth), so that the state does not change with each message.
const MARGIN: u64 = 8;

/// The state of the disk at the last check.
#[derive(Default)]
pub struct DiskGuard {
    free_bytes: AtomicU64,
    is_low: AtomicBool,
}

impl DiskGuard {
    /// Whether new messages are refused.
    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Free space at the last check, in bytes.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Records the free space and compares it with the reserve. Returns whether `is_low` has
    /// changed.
    pub fn update(&self, free_bytes: u64, reserve_bytes: u64) -> bool {
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        let was_low = self.is_low();
        let margin = if was_low { reserve_bytes / MARGIN } else { 0 };
        let is_low = free_bytes < reserve_bytes.saturating_add(margin);
        self.is_low.store(is_low, Ordering::Relaxed);
        is_low != was_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_the_reserve_until_there_is_a_margin() {
        let guard = DiskGuard::default();
        assert!(!guard.update(800, 800) && !guard.is_low());
        assert!(guard.update(799, 800) && guard.is_low());
        assert!(!guard.update(899, 800) && guard.is_low(), "not with each message");
        assert!(guard.update(900, 800) && !guard.is_low());
        assert_eq!(guard.free_bytes(), 900);
        assert!(!guard.update(0, 0) && !guard.is_low(), "without a reserve nothing is refused");
    }
}
