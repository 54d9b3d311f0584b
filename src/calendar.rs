//! Times of the Gregorian calendar in UTC, as texts. A browser gives WebAssembly no time zone, and
//! a library for dates would be a large part of what a page loads.

use std::fmt;

const DAY_MS: i64 = 86_400_000;
/// Days from 1 March of the year 0 to 1970, and in 400 years.
const DAYS_TO_1970: i64 = 719_468;
const DAYS_OF_400_YEARS: i64 = 146_097;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time in UTC. `Display` writes it as RFC 3339 does, with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// Milliseconds of the day.
    ms: i64,
}

impl Utc {
    /// Returns the time so many milliseconds after the start of 1970; `None` if its year does not
    /// have four digits.
    pub fn of(ms: i64) -> Option<Utc> {
        // Years begin with March, so that a leap day is the last one of its year.
        let days = ms.div_euclid(DAY_MS) + DAYS_TO_1970;
        let (era, day_of_era) =
            (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
        let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let first = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
        let day_of_year = day_of_era - first;
        // The months have 31, 30, 31, 30 and 31 days, twice; then the rest of the year.
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        (0..=9_999).contains(&year).then(|| Utc { year, month, day, ms: ms.rem_euclid(DAY_MS) })
    }

    /// The same, and the start of 1970 instead of `None`.
    pub fn or_first(ms: i64) -> Utc {
        Utc::of(ms).unwrap_or(Utc { year: 1_970, month: 1, day: 1, ms: 0 })
    }

    /// `2026-12-03 14:05 UTC`.
    pub fn minute(&self) -> String {
        let Utc { year, month, day, .. } = self;
        format!("{year:04}-{month:02}-{day:02} {} UTC", self.hours())
    }

    /// `3 Dec 2026 14:05`.
    pub fn spoken(&self) -> String {
        let month = MONTHS[self.month as usize - 1];
        format!("{} {month} {} {}", self.day, self.year, self.hours())
    }

    /// `14:05:09`.
    pub fn second(&self) -> String {
        format!("{}:{:02}", self.hours(), self.ms / 1_000 % 60)
    }

    fn hours(&self) -> String {
        format!("{:02}:{:02}", self.ms / 3_600_000, self.ms / 60_000 % 60)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, ms } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{}.{:03}Z", self.second(), ms % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first millisecond of the year 0, and of the year 10,000.
    const FOUR_DIGITS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

    fn is_that_of_jiff(ms: i64) {
        let (own, jiff) = (Utc::or_first(ms), jiff::Timestamp::from_millisecond(ms).unwrap());
        assert_eq!(own.to_string(), format!("{jiff:.3}"));
        let text = |format: &str| jiff.strftime(format).to_string();
        assert_eq!(own.minute(), text("%Y-%m-%d %H:%M UTC"));
        assert_eq!(own.spoken(), text("%-d %b %Y %H:%M"));
        assert_eq!(own.second(), text("%H:%M:%S"));
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
            assert_eq!(Utc::or_first(ms).to_string(), "1970-01-01T00:00:00.000Z");
        }
        (0..150_000).step_by(7).for_each(|day| is_that_of_jiff(day * DAY_MS));
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_jiff_writes_it(ms in 0..FOUR_DIGITS.end) {
            is_that_of_jiff(ms);
        }
    }
}
