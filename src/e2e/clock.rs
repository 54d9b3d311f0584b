//! The client's clock. It is compared with the server's at each login, and with the certain time,
//! so that a run with a wrong clock deletes no key. Pure.

use serde::{Deserialize, Serialize};

use crate::limits::DAY_MS;

/// Difference between two clocks, in milliseconds, above which one of them counts as wrong.
pub const CLOCKS_MS: i64 = DAY_MS;

/// The certain time of this device, stored between runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTime {
    /// The certain time: the last reading of the clock that was right, in milliseconds since 1970.
    right_ms: Option<i64>,
    /// A reading that is not certain yet: the clocks agreed, but it differs from the certain time
    /// by more than a day, as after an absence or where both clocks are wrong.
    moved_ms: Option<i64>,
}

#[derive(Default)]
pub struct Clock {
    /// The client's clock minus the server's, while logged in.
    ahead_ms: Option<i64>,
    /// The client's clock minus the effective time (`time_ms`).
    drift_ms: i64,
    /// The difference of the clocks has been reported to the user.
    reported: bool,
}

impl Clock {
    /// Computes the effective time when the client starts.
    pub fn begin(&mut self, known: &KnownTime, clock_ms: i64) {
        self.drift_ms = self.drift(known, clock_ms);
    }

    /// Compares the client's clock with the server's. Returns a report if they differ by more than
    /// a day and this was not reported before.
    pub fn login(&mut self, server_ms: i64, known: &KnownTime, clock_ms: i64) -> Option<String> {
        self.ahead_ms = Some(clock_ms.saturating_sub(server_ms));
        self.drift_ms = self.drift(known, clock_ms);
        let differs = self.difference();
        let news = differs.is_some() && !self.reported;
        self.reported = differs.is_some();
        differs.filter(|_| news).map(|differs| {
            format!(
                "{differs}: one of the two is wrong. Until they agree within a day, this client \
                 makes no new device keys and deletes no old ones. Correct the clock of this \
                 device and connect again, or ask the operator to correct the server's"
            )
        })
    }

    /// Forgets the server's clock after the connection is lost. The effective time continues as
    /// before until the next login.
    pub fn lost(&mut self) {
        self.ahead_ms = None;
    }

    /// Compensates for a change of the client's clock by `by_ms`: the effective time does not jump.
    pub fn is_set(&mut self, by_ms: i64) {
        self.drift_ms = self.drift_ms.saturating_add(by_ms);
        self.ahead_ms = self.ahead_ms.map(|ahead_ms| ahead_ms.saturating_add(by_ms));
    }

    /// Returns the effective time: the client's clock if it agrees with the server's, otherwise the
    /// earlier of the two clocks, but no time before the certain time. Before the first login of a
    /// run it is the client's clock if that is within a day of the certain time, otherwise the
    /// certain time.
    pub fn time_ms(&self, clock_ms: i64) -> i64 {
        clock_ms.saturating_sub(self.drift_ms)
    }

    /// Returns the reading of the client's clock at the effective time `time_ms`.
    pub fn clock_ms(&self, time_ms: i64) -> i64 {
        time_ms.saturating_add(self.drift_ms)
    }

    /// Describes the difference between the clocks if it is more than a day.
    pub fn difference(&self) -> Option<String> {
        let ahead_ms = self.ahead_ms.filter(|_| !self.agrees())?;
        let days = ahead_ms.unsigned_abs() / CLOCKS_MS as u64;
        let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
        let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
        Some(format!("the clock of this device is {days} {side} the server's"))
    }

    /// Updates the certain time from the client's clock. A reading that differs from the certain
    /// time by more than a day becomes certain when the clocks agree again more than a day later.
    pub fn takes_time(&self, known: &mut KnownTime, clock_ms: i64) {
        let (is_in, agrees) = (self.ahead_ms.is_some(), self.agrees());
        if is_in && !agrees {
            return;
        }
        if known.right_ms.map_or(agrees, |right_ms| is_near(right_ms, clock_ms)) {
            *known = KnownTime { right_ms: Some(clock_ms), moved_ms: None };
            return;
        }
        let moved_ms = known.moved_ms.filter(|moved_ms| *moved_ms <= clock_ms);
        match moved_ms.map(|moved_ms| (moved_ms, clock_ms.saturating_sub(moved_ms))) {
            _ if !agrees => {}
            None => known.moved_ms = Some(clock_ms),
            Some((_, ..=CLOCKS_MS)) => {}
            // The clocks agreed at both readings, which are at most two days apart.
            Some((_, passed_ms)) if passed_ms <= 2 * CLOCKS_MS => {
                *known = KnownTime { right_ms: Some(clock_ms), moved_ms: None };
            }
            Some((moved_ms, _)) => {
                *known = KnownTime { right_ms: Some(moved_ms), moved_ms: Some(clock_ms) };
            }
        }
    }

    /// Returns whether the clocks of client and server differ by at most a day.
    pub fn agrees(&self) -> bool {
        self.ahead_ms.is_some_and(|ahead_ms| is_near(ahead_ms, 0))
    }

    fn drift(&self, known: &KnownTime, clock_ms: i64) -> i64 {
        let in_step = known.right_ms.is_none_or(|right_ms| is_near(right_ms, clock_ms));
        let time_ms = match (self.ahead_ms, known.right_ms) {
            (Some(_), _) if self.agrees() => clock_ms,
            (None, _) if in_step => clock_ms,
            (None, right_ms) => right_ms.unwrap_or(clock_ms),
            (Some(ahead_ms), right_ms) => {
                let earlier_ms = clock_ms.min(clock_ms.saturating_sub(ahead_ms));
                earlier_ms.max(right_ms.unwrap_or(i64::MIN))
            }
        };
        clock_ms.saturating_sub(time_ms)
    }
}

impl KnownTime {
    /// Returns the certain time, or `now_ms` if that is earlier.
    pub fn certain_ms(&self, now_ms: i64) -> Option<i64> {
        self.right_ms.map(|right_ms| right_ms.min(now_ms))
    }

    /// Returns whether this differs from `stored` by enough to be written to disk.
    pub fn is_news(&self, stored: &KnownTime) -> bool {
        const WRITTEN_EVERY_MS: u64 = 3_600_000;
        let right_ms = |time: &KnownTime| time.right_ms.unwrap_or(i64::MIN);
        self.moved_ms != stored.moved_ms
            || right_ms(self).abs_diff(right_ms(stored)) >= WRITTEN_EVERY_MS
    }
}

fn is_near(one_ms: i64, other_ms: i64) -> bool {
    one_ms.abs_diff(other_ms) <= CLOCKS_MS as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = CLOCKS_MS;
    const NOW: i64 = 20_000 * DAY;

    /// Simulates a run of a client: offline, or with a server whose clock shows `server_ms`.
    /// Returns whether the clocks agree, the effective time, and the certain time.
    fn visit(
        known: &mut KnownTime,
        clock_ms: i64,
        server_ms: Option<i64>,
    ) -> (bool, i64, Option<i64>) {
        let mut clock = Clock::default();
        clock.begin(known, clock_ms);
        if let Some(server_ms) = server_ms {
            clock.login(server_ms, known, clock_ms);
        }
        clock.takes_time(known, clock_ms);
        let time_ms = clock.time_ms(clock_ms);
        (clock.agrees(), time_ms, known.certain_ms(time_ms))
    }

    fn known() -> KnownTime {
        let mut known = KnownTime::default();
        assert_eq!(visit(&mut known, NOW, Some(NOW + 5_000)), (true, NOW, Some(NOW)));
        known
    }

    #[test]
    fn a_clock_that_disagrees_with_the_servers_is_not_believed_and_the_earlier_time_counts() {
        let first = known();
        for (clock_ms, server_ms, time_ms) in [
            (NOW + 60 * DAY, NOW + 9, NOW + 9),
            (NOW - 60 * DAY, NOW + 9, NOW),
            // The server is wrong.
            (NOW + 9, NOW + 60 * DAY, NOW + 9),
            (NOW + 9, NOW - 60 * DAY, NOW),
            (NOW + 9, i64::MIN, NOW),
            (NOW + 9, i64::MAX, NOW + 9),
        ] {
            let mut known = first;
            let seen = visit(&mut known, clock_ms, Some(server_ms));
            assert_eq!((seen, known), ((false, time_ms, Some(NOW)), first), "{clock_ms}");
        }
        let mut none = KnownTime::default();
        assert_eq!(visit(&mut none, NOW + 60 * DAY, Some(NOW)), (false, NOW, None));
        assert_eq!(none, KnownTime::default());
    }

    #[test]
    fn without_a_server_the_clock_is_compared_with_the_last_known_time() {
        let mut known = known();
        for day in 1..=2 {
            let now_ms = NOW + day * DAY;
            assert_eq!(visit(&mut known, now_ms, None), (false, now_ms, Some(now_ms)));
        }
        for clock_ms in [NOW + 9 * DAY, NOW - 9 * DAY] {
            let last = NOW + 2 * DAY;
            assert_eq!(visit(&mut known, clock_ms, None), (false, last, Some(last)));
        }
        let mut none = KnownTime::default();
        assert_eq!(visit(&mut none, NOW, None), (false, NOW, None));
    }

    #[test]
    fn a_time_far_from_the_last_one_is_certain_once_the_clocks_agree_a_day_later() {
        let mut known = known();
        let mut at = |days: i64| {
            let clock_ms = NOW + days * DAY;
            let (agrees, time_ms, certain_ms) = visit(&mut known, clock_ms, Some(clock_ms));
            assert_eq!((agrees, time_ms), (true, clock_ms));
            (certain_ms.unwrap() - NOW) / DAY
        };
        assert_eq!((at(60), at(61)), (0, 0), "both clocks may be wrong");
        assert_eq!(at(1), 1, "and were");
        assert_eq!((at(8), at(60)), (1, 8), "and are again");
        assert_eq!((at(15), at(22), at(29)), (8, 15, 22), "a visit each week");
        assert_eq!((at(90), at(91), at(92)), (29, 29, 92), "an absence, and one every day");
        assert_eq!((at(0), at(2)), (0, 2), "set back: nothing is certain that comes later");
    }

    #[test]
    fn a_clock_that_is_set_while_the_client_runs_moves_no_time() {
        let mut known = known();
        let mut clock = Clock::default();
        let wrong = NOW + 60 * DAY;
        clock.begin(&known, wrong);
        let report = clock.login(NOW + 5, &known, wrong).unwrap();
        assert!(report.starts_with("the clock of this device is 59 days ahead"), "{report}");
        assert_eq!(clock.login(NOW + 5, &known, wrong), None, "once");
        clock.is_set(-60 * DAY);
        assert_eq!((clock.time_ms(NOW + 70), clock.agrees()), (NOW + 75, true));
        clock.takes_time(&mut known, NOW + 70);
        assert_eq!(known.certain_ms(i64::MAX), Some(NOW + 70), "without another login");
        clock.is_set(60 * DAY);
        clock.takes_time(&mut known, wrong + 80);
        assert_eq!((clock.time_ms(wrong + 80), clock.agrees()), (NOW + 85, false));
        clock.lost();
        clock.takes_time(&mut known, wrong + 90);
        assert_eq!(known.certain_ms(i64::MAX), Some(NOW + 70));
        assert_eq!(clock.difference(), None);
    }
}
