//! When progress is reported, and the rate of a transfer.

use std::time::Duration;

use crate::system::clock::Instant;

/// Progress is reported at most this often.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Progress of one transfer since it began or continued.
#[derive(Default)]
pub struct Meter {
    /// Bytes at the last report.
    reported: Option<(Instant, u64)>,
    rate: u64,
}

impl Meter {
    /// Begins again, after a pause.
    pub fn restart(&mut self, now: Instant, bytes: u64) {
        (self.reported, self.rate) = (Some((now, bytes)), 0);
    }

    /// Returns the rate in bytes per second if a report is due.
    pub fn report(&mut self, now: Instant, bytes: u64) -> Option<u64> {
        let (at, before) = *self.reported.get_or_insert((now, bytes));
        let time = now.saturating_duration_since(at);
        if time < REPORT_EVERY {
            return None;
        }
        let rate = u128::from(bytes.saturating_sub(before)) * 1_000_000 / time.as_micros().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        // The mean of the last seconds, so that it can be read.
        self.rate = if self.rate == 0 { rate } else { (3 * self.rate + rate) / 4 };
        self.reported = Some((now, bytes));
        Some(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_reported_twice_a_second_at_most() {
        let (began, mut meter) = (Instant::now(), Meter::default());
        let at = |ms: u64| began + Duration::from_millis(ms);
        meter.restart(began, 1_000);
        assert_eq!(meter.report(at(499), 9_000), None);
        assert_eq!(meter.report(at(500), 51_000), Some(100_000));
        assert_eq!(meter.report(at(999), 99_000), None);
        assert_eq!(meter.report(at(1_500), 51_000), Some(75_000));
        meter.restart(at(9_000), 51_000);
        assert_eq!(meter.report(at(10_000), 61_000), Some(10_000));
    }
}
