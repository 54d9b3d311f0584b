//! The word to stop: from a signal, the console or ctl.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;

/// A flag that can be waited for.
#[derive(Default)]
pub struct Stop {
    told: Mutex<bool>,
    changed: Condvar,
    fault: OnceLock<String>,
}

impl Stop {
    pub fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Tells because the server cannot go on; the first reason stays.
    pub fn fail(&self, fault: String) {
        // There is one already: that was first.
        let _ = self.fault.set(fault);
        self.tell();
    }

    /// Why the server cannot go on, where that is so.
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Tells in a while, from a thread of its own.
    pub fn tell_after(self: &Arc<Self>, delay: Duration) {
        let stop = Arc::clone(self);
        let later = move || {
            if !stop.wait_for(delay) {
                stop.tell();
            }
        };
        if thread::Builder::new().name("shutdown".into()).spawn(later).is_err() {
            self.tell();
        }
    }

    pub fn is_told(&self) -> bool {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wait(&self) {
        while !self.wait_for(Duration::from_secs(3600)) {}
    }

    /// True as soon as it is told, false after `time` without.
    pub fn wait_for(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        while !*told {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            told = self.changed.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// SIGINT, SIGTERM and SIGHUP: the first asks for a drain, the second ends the process at once.
pub fn on_signals(stop: Arc<Stop>) -> anyhow::Result<()> {
    let again = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if again.swap(true, Ordering::SeqCst) {
            crate::terminal::restore();
            std::process::exit(130);
        }
        stop.tell();
    })
    .context("cannot listen to signals")
}

/// A thread without which there is no server: a panic in it stops the others in order.
pub fn essential<F>(name: &'static str, stop: &Arc<Stop>, job: F) -> anyhow::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    let alarm = Alarm { name, stop: Arc::clone(stop) };
    super::spawn(name, move || {
        let _alarm = alarm;
        job();
    })
}

/// Rings where its thread ends in a panic.
struct Alarm {
    name: &'static str,
    stop: Arc<Stop>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.stop.fail(format!("the {} thread ended in a panic", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_an_essential_thread_stops_the_server_and_is_named() {
        let stop = Arc::new(Stop::default());
        essential("writer", &stop, || {}).unwrap().join().unwrap();
        assert!(!stop.is_told());
        assert!(essential("writer", &stop, || panic!("planted")).unwrap().join().is_err());
        assert!(stop.is_told());
        assert_eq!(stop.fault(), Some("the writer thread ended in a panic"));
    }
}
