//! Wakes the thread that serves downloads: a send queue has become empty, or a download may go on.

use std::time::Duration;

use crate::sync::{Condvar, Mutex, Rank};

pub struct Bell {
    rung: Mutex<bool>,
    rings: Condvar,
}

impl Default for Bell {
    fn default() -> Bell {
        Bell { rung: Mutex::new(Rank::Bell, false), rings: Condvar::new() }
    }
}

impl Bell {
    pub fn ring(&self) {
        *self.rung.lock() = true;
        self.rings.notify_one();
    }

    /// Waits until it was rung since the last call, at most this long.
    pub fn wait(&self, time: Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            rung = self.rings.wait_timeout(rung, time);
        }
        *rung = false;
    }
}
