//! The space that messages leave on the disk of the home: below it, the server refuses new ones
//! while everything else still has room to be written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// New messages are accepted again once this part of the reserve more is free, so that the server
/// does not change its mind with each message.
const MARGIN: u64 = 8;

/// What is known of the disk.
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

    /// Takes in the free space, and the space that has to be free. Returns whether `is_low` has
    /// changed.
    pub fn take(&self, free_bytes: u64, reserve_bytes: u64) -> bool {
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
        assert!(!guard.take(800, 800) && !guard.is_low());
        assert!(guard.take(799, 800) && guard.is_low());
        assert!(!guard.take(899, 800) && guard.is_low(), "not with each message");
        assert!(guard.take(900, 800) && !guard.is_low());
        assert_eq!(guard.free_bytes(), 900);
        assert!(!guard.take(0, 0) && !guard.is_low(), "without a reserve nothing is refused");
    }
}
