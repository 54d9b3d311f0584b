//! Times of the Gregorian calendar in UTC, as texts. A browser gives WebAssembly no time zone, and
//! jiff, which knows them, would be a larger part of what a page loads than this.

use std::fmt;

use time::OffsetDateTime;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time in UTC. `Display` writes it as RFC 3339 does, with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(OffsetDateTime);

impl Utc {
    /// Returns the time so many milliseconds after the start of 1970; `None` if its year does not
    /// have four digits.
    pub fn of(ms: i64) -> Option<Utc> {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
        (0..=9_999).contains(&time.year()).then_some(Utc(time))
    }

    /// The same, and the start of 1970 instead of `None`.
    pub fn of_or_1970(ms: i64) -> Utc {
        Utc::of(ms).unwrap_or(Utc(OffsetDateTime::UNIX_EPOCH))
    }

    /// `2026-12-03 14:05 UTC`.
    pub fn to_minute(&self) -> String {
        format!("{} {} UTC", self.date(), self.hours())
    }

    /// `3 Dec 2026 14:05`.
    pub fn date_and_time(&self) -> String {
        let month = MONTHS[usize::from(u8::from(self.0.month())) - 1];
        format!("{} {month} {:04} {}", self.0.day(), self.0.year(), self.hours())
    }

    /// `14:05:09`.
    pub fn time_of_day(&self) -> String {
        format!("{}:{:02}", self.hours(), self.0.second())
    }

    fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }

    fn hours(&self) -> String {
        format!("{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{}.{:03}Z", self.date(), self.time_of_day(), self.0.millisecond())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first millisecond of the year 0, and of the year 10,000.
    const FOUR_DIGITS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

    fn is_that_of_jiff(ms: i64) {
        let (own, jiff) = (Utc::of_or_1970(ms), jiff::Timestamp::from_millisecond(ms).unwrap());
        assert_eq!(own.to_string(), format!("{jiff:.3}"));
        let text = |format: &str| jiff.strftime(format).to_string();
        assert_eq!(own.to_minute(), text("%Y-%m-%d %H:%M UTC"));
        assert_eq!(own.date_and_time(), text("%-d %b %Y %H:%M"));
        assert_eq!(own.time_of_day(), text("%H:%M:%S"));
    }

    #[test]
    fn leap_days_and_bounds_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_764_079_391_123, "2025-11-25T14:03:11.123Z"),
            (FOUR_DIGITS.start, "0000-01-01T00:00:00.000Z"),
            (FOUR_DIGITS.end - 1, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Utc::of(ms).unwrap().to_string(), text);
        }
        for ms in [i64::MIN, FOUR_DIGITS.start - 1, FOUR_DIGITS.end, i64::MAX] {
            assert_eq!(Utc::of(ms), None);
            assert_eq!(Utc::of_or_1970(ms).to_string(), "1970-01-01T00:00:00.000Z");
        }
    }

    proptest! {
        // The last times of the year 9999 are later than those of jiff.
        #[test]
        fn a_time_is_written_as_jiff_writes_it(
            ms in FOUR_DIGITS.start..=jiff::Timestamp::MAX.as_millisecond(),
        ) {
            is_that_of_jiff(ms);
        }
    }
}
