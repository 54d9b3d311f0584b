//! The stop flag, set by signals, the console or ctl.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::sync::{Condvar, Mutex, MutexGuard, Rank};

/// A flag with a condition variable.
pub struct Stop {
    state: Mutex<State>,
    changed: Condvar,
    fault: OnceLock<String>,
}

#[derive(Default)]
struct State {
    requested: bool,
    /// Number of times that a stop was scheduled or cancelled: only the last one applies.
    plan: u64,
    is_scheduled: bool,
}

impl Default for Stop {
    fn default() -> Stop {
        let state = Mutex::new(Rank::Stop, State::default());
        Stop { state, changed: Condvar::new(), fault: OnceLock::new() }
    }
}

impl Stop {
    pub fn request(&self) {
        self.lock().requested = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Stops the server because of a fault. The first fault is kept.
    pub fn fail(&self, fault: String) {
        // A previous fault is kept.
        let _ = self.fault.set(fault);
        self.request();
    }

    /// Returns the fault that stopped the server, if any.
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Schedules a stop, replacing an earlier schedule.
    pub fn request_after(self: &Arc<Self>, delay: Duration) {
        let (plan, _) = self.plan(true);
        let stop = Arc::clone(self);
        let later = move || {
            if stop.lasts(delay, |state| !state.requested && state.plan == plan) {
                stop.request();
            }
        };
        if thread::Builder::new().name("shutdown".into()).spawn(later).is_err() {
            self.request();
        }
    }

    /// Cancels a scheduled stop. Returns whether there was one.
    pub fn forget_time(&self) -> bool {
        self.plan(false).1
    }

    /// Replaces the schedule. Returns the number of this change, and whether a stop was scheduled.
    fn plan(&self, is_scheduled: bool) -> (u64, bool) {
        let mut state = self.lock();
        state.plan += 1;
        let was_scheduled = std::mem::replace(&mut state.is_scheduled, is_scheduled);
        self.changed.notify_all();
        (state.plan, was_scheduled)
    }

    pub fn is_requested(&self) -> bool {
        self.lock().requested
    }

    pub fn wait(&self) {
        while !self.wait_for(Duration::from_secs(3600)) {}
    }

    /// Waits until the server stops, or for `time`. Returns whether it stops.
    pub fn wait_for(&self, time: Duration) -> bool {
        !self.lasts(time, |state| !state.requested)
    }

    /// Waits until the condition is false, or for `time`. Returns whether it was true throughout.
    fn lasts(&self, time: Duration, so: impl Fn(&State) -> bool) -> bool {
        let state = self.changed.wait_timeout_while(self.lock(), time, |state| so(state));
        so(&state)
    }
}

/// SIGINT and SIGTERM: the first asks for a drain, the second ends the process at once. Each SIGHUP
/// is received from the channel; several that wait are one.
pub fn on_signals(stop: Arc<Stop>) -> anyhow::Result<Receiver<()>> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen to signals")?;
    let (hangups, received) = sync_channel(1);
    spawn("signals", move || {
        let mut stopping = false;
        for signal in &mut signals {
            if signal == SIGHUP {
                // A queued one has the same effect.
                let _ = hangups.try_send(());
            } else if stopping {
                crate::terminal::restore();
                std::process::exit(130);
            } else {
                stopping = true;
                stop.request();
            }
        }
    })?;
    Ok(received)
}

/// Starts a thread with a name.
pub fn spawn<F>(name: &str, job: F) -> anyhow::Result<thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    let thread = thread::Builder::new().name(name.to_owned()).spawn(job);
    thread.with_context(|| format!("cannot start the {name} thread"))
}

/// Starts a thread that the server needs: a panic in it stops the server in order.
pub fn essential<F>(name: &'static str, stop: &Arc<Stop>, job: F) -> anyhow::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    let alarm = Alarm { name, stop: Arc::clone(stop) };
    spawn(name, move || {
        let _alarm = alarm;
        job();
    })
}

/// Stops the server if its thread panics.
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
    use std::time::Instant;

    use super::*;

    #[test]
    fn of_several_times_the_last_one_holds() {
        let long = Duration::from_secs(60);
        let stop = Arc::new(Stop::default());
        let soon = Duration::from_secs(1);
        stop.request_after(soon);
        stop.request_after(soon);
        assert!(stop.forget_time(), "a stop was scheduled");
        assert!(!stop.forget_time(), "it was cancelled already");
        assert!(!stop.wait_for(2 * soon), "it was taken back");
        stop.request_after(long);
        let begun = Instant::now();
        stop.request_after(Duration::from_millis(50));
        assert!(stop.wait_for(long) && begun.elapsed() < long / 2);
    }

    #[test]
    fn a_panic_in_an_essential_thread_stops_the_server_and_is_named() {
        let stop = Arc::new(Stop::default());
        essential("writer", &stop, || {}).unwrap().join().unwrap();
        assert!(!stop.is_requested());
        assert!(essential("writer", &stop, || panic!("planted")).unwrap().join().is_err());
        assert!(stop.is_requested());
        assert_eq!(stop.fault(), Some("the writer thread ended in a panic"));
    }
}
