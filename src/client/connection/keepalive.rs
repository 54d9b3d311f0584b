//! Keepalive: when to ping an idle server, and when to report that it does not respond. Pure.

use std::time::Duration;

use crate::system::clock::Instant;

/// Idle time before a ping, which shows that the connection still works.
const IDLE: Duration = Duration::from_secs(5);
/// Time without an answer to a request, after which a ping is sent.
const ANSWER: Duration = Duration::from_secs(1);
/// Time without a record after something was sent that makes a server silent. Servers delay clients
/// that exceed the rate by up to 3 s.
const SILENT: Duration = Duration::from_secs(4);
/// Time between pings to a silent server.
const PING_AGAIN: Duration = Duration::from_secs(30);
/// Idle timeout of the connection.
const DEAD: Duration = Duration::from_secs(75);

/// What is due.
#[derive(Debug, PartialEq)]
pub enum Due {
    Ping,
    /// The server has been silent for this time.
    Silent(Duration),
    /// The connection is given up.
    End,
}

pub struct Keepalive {
    heard: Instant,
    /// The first ping since then, and the newest.
    pinged: Option<(Instant, Instant)>,
    is_reported: bool,
}

impl Keepalive {
    /// A connection whose server was heard and pinged just now.
    pub fn new(now: Instant) -> Keepalive {
        Keepalive { heard: now, pinged: Some((now, now)), is_reported: false }
    }

    /// Records a record of the server. Returns whether a silence that was reported is over.
    pub fn ends(&mut self, now: Instant) -> bool {
        (self.heard, self.pinged) = (now, None);
        std::mem::take(&mut self.is_reported)
    }

    /// Returns what is due and counts it as done. `sent` is the time of the first request since the
    /// server was heard.
    pub fn due(&mut self, now: Instant, sent: Option<Instant>) -> Option<Due> {
        let quiet = now.saturating_duration_since(self.heard);
        let passed = |since: Instant| now.saturating_duration_since(since);
        let pings = match self.pinged {
            Some((_, newest)) => passed(newest) >= PING_AGAIN,
            None => quiet >= IDLE || sent.is_some_and(|sent| passed(sent) >= ANSWER),
        };
        let asked = self.pinged.map(|(first, _)| first).into_iter().chain(sent).min();
        if quiet >= DEAD {
            Some(Due::End)
        } else if pings {
            self.pinged = Some((self.pinged.map_or(now, |(first, _)| first), now));
            Some(Due::Ping)
        } else if !self.is_reported && asked.is_some_and(|asked| passed(asked) >= SILENT) {
            self.is_reported = true;
            Some(Due::Silent(quiet))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is due in each of so many seconds after the server was heard last. A request goes out
    /// at `sent_s`.
    fn dues(seconds: u64, sent_s: Option<u64>) -> Vec<(u64, Due)> {
        let began = Instant::now();
        let at = |second: u64| began + Duration::from_secs(second);
        let mut keepalive = Keepalive::new(began);
        assert!(!keepalive.ends(began));
        let due = |second: u64| {
            let sent = sent_s.filter(|sent| *sent <= second).map(at);
            keepalive.due(at(second), sent).map(|due| (second, due))
        };
        (0..seconds).filter_map(due).collect()
    }

    #[test]
    fn an_idle_connection_is_pinged_and_its_silence_told_within_seconds() {
        let silent = Due::Silent(Duration::from_secs(9));
        let dues = dues(80, None);
        assert_eq!(dues[..2], [(5, Due::Ping), (9, silent)]);
        let rest = [(35, Due::Ping), (65, Due::Ping), (75, Due::End)];
        assert_eq!(dues[2..5], rest, "{dues:?}");
    }

    #[test]
    fn a_request_without_an_answer_is_followed_by_a_ping() {
        let silent = Due::Silent(Duration::from_secs(6));
        assert_eq!(dues(8, Some(2)), [(3, Due::Ping), (6, silent)]);
    }

    #[test]
    fn a_server_that_answers_is_not_silent() {
        let began = Instant::now();
        let mut keepalive = Keepalive::new(began);
        for second in 1..100 {
            let now = began + Duration::from_secs(second);
            assert_eq!(keepalive.due(now, None), None);
            assert!(!keepalive.ends(now));
        }
        let later = |seconds: u64| began + Duration::from_secs(100 + seconds);
        assert_eq!(keepalive.due(later(5), None), Some(Due::Ping));
        assert!(matches!(keepalive.due(later(9), None), Some(Due::Silent(_))));
        assert!(keepalive.ends(later(10)), "the end of a reported silence is reported");
        assert!(!keepalive.ends(later(11)));
    }
}
