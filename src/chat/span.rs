//! Time spans as users write them: `10m`, `2d`, `1d12h`.

use std::fmt;
use std::str::FromStr;

use super::id::as_text;

/// A time span in whole seconds, from one second to a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(u64);

/// The text is not a time span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time span is written 45s, 10m, 2h, 7d, 3w, 6mo, 1y or 1d12h")]
pub struct TimeSpanError;

/// A month is 30 days and a year 365.
const UNITS: &[(&str, u64)] = &[
    ("y", 365 * 86_400),
    ("mo", 30 * 86_400),
    ("w", 7 * 86_400),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
    ("s", 1),
];

const SECONDS_MAX: u64 = 100 * 365 * 86_400;

impl TimeSpan {
    pub fn from_s(seconds: u64) -> Option<TimeSpan> {
        (1..=SECONDS_MAX).contains(&seconds).then_some(TimeSpan(seconds))
    }

    pub fn as_ms(self) -> i64 {
        self.0 as i64 * 1000
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let mut seconds = 0u64;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let letters =
                after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (word, after) = after.split_at(letters);
            let unit = UNITS.iter().find(|(unit, _)| *unit == word).ok_or(TimeSpanError)?;
            let number: u64 = number.parse().map_err(|_| TimeSpanError)?;
            let part = number.checked_mul(unit.1).ok_or(TimeSpanError)?;
            seconds = seconds.checked_add(part).ok_or(TimeSpanError)?;
            rest = after;
        }
        TimeSpan::from_s(seconds).ok_or(TimeSpanError)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (unit, seconds) in UNITS {
            if rest >= *seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

/// How long messages are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Forever,
    For(TimeSpan),
    /// In memory only, for a limited time.
    Off,
}

impl FromStr for Retention {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        match text {
            "forever" => Ok(Retention::Forever),
            "off" => Ok(Retention::Off),
            span => span.parse().map(Retention::For),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retention::Forever => f.write_str("forever"),
            Retention::Off => f.write_str("off"),
            Retention::For(span) => span.fmt(f),
        }
    }
}

as_text!(TimeSpan, Retention);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("45s", 45), ("10m", 600), ("1d12h", 129_600), ("6mo", 15_552_000)]
        {
            assert_eq!(text.parse(), Ok(TimeSpan(seconds)));
        }
        for bad in ["", "10", "0s", "m", "1x", "1d 2h", "-1d", "1.5h", "101y", "99999999999999999y"]
        {
            assert_eq!(bad.parse::<TimeSpan>(), Err(TimeSpanError), "{bad}");
        }
        assert_eq!("off".parse(), Ok(Retention::Off));
        assert_eq!("forever".parse(), Ok(Retention::Forever));
    }

    proptest! {
        #[test]
        fn displayed_spans_parse_back(seconds in 1..=SECONDS_MAX) {
            let span = TimeSpan(seconds);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
