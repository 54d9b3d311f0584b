//! The clock guard: decides whether the server's clock is trusted for removals by age: of messages,
//! keys and tickets.

use std::time::{Duration, Instant};

use crate::limits::DAY_MS;
use crate::sync::{Mutex, Rank};

/// Largest jump of the clock, in milliseconds, after which it is still trusted. The difference to
/// the newest message at the start counts as a jump.
const DRIFT_MS_MAX: u64 = 3_600_000;
/// Time after a larger jump until the clock is trusted again.
const HOLD: Duration = Duration::from_secs(600);
/// Jump ahead, in milliseconds, after which only the operator can restore the trust.
const JUMP_MS_MAX: i64 = 90 * DAY_MS;

/// The hint about a clock that is not trusted.
const HINT: &str = "nothing is removed for its age. If the clock is right: \
                    pychat ctl retention --trust-clock";

pub struct ClockGuard(Mutex<State>);

impl Default for ClockGuard {
    /// Not trusted before `begin`.
    fn default() -> ClockGuard {
        let state = State::new(Instant::now(), clock_ms());
        ClockGuard(Mutex::new(Rank::Clock, state))
    }
}

impl ClockGuard {
    /// The newest message is from `newest_ms`: the clock was there last.
    pub fn begin(&self, newest_ms: i64) {
        self.0.lock().begin(Instant::now(), clock_ms(), newest_ms);
    }

    /// Whether something may be removed for its age now.
    pub fn is_trusted(&self) -> bool {
        self.0.lock().trusts(Instant::now(), clock_ms())
    }

    /// Why nothing may be removed for its age now; none where it may.
    pub fn distrust(&self) -> Option<String> {
        let mut state = self.0.lock();
        let now = Instant::now();
        if state.trusts(now, clock_ms()) {
            return None;
        }
        let clock = jiff::Timestamp::now();
        Some(match state.from {
            Some(from) => {
                let rest_s = from.saturating_duration_since(now).as_secs() + 1;
                format!(
                    "the clock jumped to {clock}. The server trusts it in {rest_s} s; until then \
                     {HINT}"
                )
            }
            None => format!("the clock jumped ahead by more than 90 days, to {clock}; {HINT}"),
        })
    }

    /// The operator says that the clock is right.
    pub fn trust(&self) {
        let mut state = self.0.lock();
        state.trusts(Instant::now(), clock_ms());
        state.from = Some(state.last);
    }

    /// Returns the time for ages: the clock or, while it is not trusted, the time that it would
    /// show without the jump.
    pub fn time_ms(&self) -> i64 {
        let mut state = self.0.lock();
        let (now, clock_ms) = (Instant::now(), clock_ms());
        if state.trusts(now, clock_ms) { clock_ms } else { state.known_ms(now).min(clock_ms) }
    }
}

fn clock_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

struct State {
    last: Instant,
    last_ms: i64,
    /// The last trusted time.
    known: (Instant, i64),
    /// When it is trusted; `None` until the operator confirms it.
    from: Option<Instant>,
}

impl State {
    fn new(now: Instant, now_ms: i64) -> State {
        State { last: now, last_ms: now_ms, known: (now, i64::MIN), from: None }
    }

    fn begin(&mut self, now: Instant, now_ms: i64, newest_ms: i64) {
        (self.last, self.last_ms, self.known) = (now, now_ms, (now, newest_ms));
        self.from = Some(now);
        self.note_jump(now, now_ms.saturating_sub(newest_ms).max(0));
    }

    fn known_ms(&self, now: Instant) -> i64 {
        let (then, then_ms) = self.known;
        then_ms.saturating_add(now.duration_since(then).as_millis() as i64)
    }

    fn trusts(&mut self, now: Instant, now_ms: i64) -> bool {
        let passed = now.duration_since(self.last);
        let jump_ms = now_ms.saturating_sub(self.last_ms + passed.as_millis() as i64);
        (self.last, self.last_ms) = (now, now_ms);
        self.note_jump(now, jump_ms);
        let trusts = self.from.is_some_and(|from| now >= from);
        if trusts {
            self.known = (now, now_ms);
        }
        trusts
    }

    fn note_jump(&mut self, now: Instant, jump_ms: i64) {
        if jump_ms > JUMP_MS_MAX {
            log::error!("the clock is {} days ahead: {HINT}", jump_ms / DAY_MS);
            self.from = None;
        } else if jump_ms.unsigned_abs() > DRIFT_MS_MAX && self.from.is_some() {
            let (jump_s, hold_s) = (jump_ms / 1000, HOLD.as_secs());
            log::warn!("the clock jumped by {jump_s} s: for {hold_s} s {HINT}");
            self.from = Some(now + HOLD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(now: Instant, now_ms: i64, newest_ms: i64) -> State {
        let mut state = State::new(now, now_ms);
        state.begin(now, now_ms, newest_ms);
        state
    }

    #[test]
    fn a_clock_that_leaps_has_to_hold_before_it_removes_anything() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        assert!(!State::new(began, 0).trusts(began, 0), "nothing is known of the messages");
        let mut state = begun(began, 0, 0);
        assert!(state.trusts(after(0), 0), "the newest message is of now");
        assert!(state.trusts(after(60), 61_000));
        let ten = 10 * DAY_MS;
        assert!(!state.trusts(after(120), ten), "ten days in a minute");
        assert!(!state.trusts(after(180), ten + 60_000));
        assert_eq!(state.known_ms(after(180)), 181_000, "as if it had not jumped");
        assert!(state.trusts(after(720), ten + 600_000), "it has held");
        assert!(!state.trusts(after(780), 0), "set back");
        assert!(!state.trusts(after(840), ten + 720_000), "and right again");
        assert!(state.trusts(after(1440), ten + 1_320_000));
    }

    #[test]
    fn a_clock_that_is_wrong_at_the_start_removes_nothing() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let mut away = begun(began, 3 * DAY_MS, 0);
        assert!(!away.trusts(after(0), 3 * DAY_MS), "three days without a message, or wrong");
        assert!(away.trusts(after(600), 3 * DAY_MS + 600_000));
        let years = 3_000 * DAY_MS;
        let mut wrong = begun(began, years, 0);
        assert!(!wrong.trusts(after(0), years));
        assert!(!wrong.trusts(after(86_400), years + DAY_MS), "however long it holds");
        assert!(!wrong.trusts(after(86_460), DAY_MS), "nor once it is right");
        wrong.from = Some(after(86_460));
        assert!(wrong.trusts(after(86_520), DAY_MS + 60_000), "but by the operator's word");
        assert!(!wrong.trusts(after(86_640), years), "and again");
    }
}
