//! `shutdown`: stops the server, now or later.

use std::time::Duration;

use super::call::Call;
use super::reply::{Reply, failed, misused, yes};
use crate::home::Decision;

pub fn shutdown(call: &Call) -> Reply {
    let context = call.context;
    if call.operands.first().is_some_and(|text| text == "-") {
        if !context.stop.forget_time() {
            return failed("no shutdown is scheduled", "shutdown 10m schedules one");
        }
        context.records.record(&Decision { target: "taken back", ..call.done() });
        context.hub.notice_all("the server does not stop now");
        return yes("scheduled shutdown cancelled");
    }
    let delay = match call.operands.first().map(|text| delay(text)) {
        None => Duration::ZERO,
        Some(Some(delay)) => delay,
        Some(None) => return misused("a delay is written 10s, 5m or 1h"),
    };
    let target = format!("in {} s", delay.as_secs());
    context.records.record(&Decision { target: &target, ..call.done() });
    if delay.is_zero() {
        context.stop.request();
        return yes("stopping");
    }
    context.hub.notice_all(&format!("the server stops in {} s", delay.as_secs()));
    context.stop.request_after(delay);
    yes(&format!("stopping in {} s", delay.as_secs()))
}

/// Parses `10s`, `5m`, `1h`; a number without a unit is seconds. At most a day.
fn delay(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let count: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    let seconds = count.checked_mul(unit).filter(|seconds| *seconds <= 24 * 3600)?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_have_units() {
        for (text, seconds) in [("10", 10), ("10s", 10), ("5m", 300), ("1h", 3600), ("24h", 86_400)]
        {
            assert_eq!(delay(text), Some(Duration::from_secs(seconds)));
        }
        for bad in ["", "s", "10x", "1d", "-1", "+1", "1ss", "25h", "99999999999999999999"] {
            assert_eq!(delay(bad), None, "{bad}");
        }
    }
}
