//! Periodic jobs, and the guard that decides whether the clock is trusted with removing messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts::host_key::HostKey;
use super::admission::today;
use super::context::Context;
use crate::chat::rights::State;
use crate::chat::{Retention, UserName};
use crate::crypto::Fingerprint;
use crate::home::sanctions::Whom;
use crate::home::{UsersWatch, file, json_file};
use crate::ledger::{Jobs, jobs};

/// Interval of the checks of users/.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Interval of the removal of empty channels.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Interval of the removal of messages that are older than their conversation's retention.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Maximum age of copies of a former ledger. A shorter retention applies to them too.
const COPIES_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A clock that jumps by more than this, or starts as far ahead of the newest message, must be
/// stable for `CLOCK_HOLD` before messages are removed.
const CLOCK_DRIFT_MS_MAX: u64 = 3_600_000;
const CLOCK_HOLD: Duration = Duration::from_secs(600);
/// After a jump ahead by more than this, the operator has to confirm the clock.
const CLOCK_LEAP_MS_MAX: i64 = 90 * 86_400_000;

/// Runs the periodic checks of users/ and the server's own key, and removes empty channels.
pub fn keep(context: &Context, mut watch: UsersWatch) {
    let mut swept = Instant::now();
    let mut unread = false;
    let (home, keys) = (context.home.clone(), Arc::clone(&context.host_keys));
    let (hub, records) = (Arc::clone(&context.hub), Arc::clone(&context.records));
    let mut host_key = HostKey::new(home, keys, hub, records);
    while !context.stop.wait_for(WATCH_EVERY) {
        let changed = watch.changed();
        if changed || unread {
            let read = context.accounts.reload();
            // Possibly no free file descriptor. The next check tries again; the error is logged
            // once.
            if let (Err(error), false) = (&read, unread) {
                log::error!("users/ cannot be read, so it stays as it was: {error}");
            }
            unread = read.is_err();
            keep_tickets(context);
        }
        host_key.look();
        if swept.elapsed() >= SWEEP_EVERY {
            context.hub.sweep();
            swept = Instant::now();
        }
    }
}

/// Removes old messages and keys, on a thread of its own: a slow disk must not delay the removal of
/// users.
pub fn sweep(context: &Context) {
    let now_ms = || jiff::Timestamp::now().as_millisecond();
    let newest_ms = match context.ledger.ask(|ledger| ledger.newest_ms()) {
        Some(Ok(newest_ms)) => newest_ms.unwrap_or_else(now_ms),
        // Without a known time, the clock counts as having jumped.
        Some(Err(_)) | None => 0,
    };
    let mut expiry = Expiry::new(Instant::now(), now_ms(), newest_ms);
    context.ledger.resume_erasing();
    let mut wait = Duration::ZERO;
    while !context.stop.wait_for(wait) {
        wait = EXPIRE_EVERY;
        context.key_history.see();
        keep_sources(context);
        keep_tickets(context);
        context.key_history.expire();
        if expiry.believes(Instant::now(), now_ms(), context.ledger.was_swept_by_hand()) {
            expire(context);
        }
        // Deleted messages are removed whatever the clock is.
        if let Some(Err(error)) = context.ledger.tidy(Duration::ZERO) {
            log::error!("what was deleted stays in the free space of the ledger for now: {error}");
        }
    }
}

fn expire(context: &Context) {
    context.records.expire(jiff::Timestamp::now().as_millisecond());
    match context.ledger.sweep(jiff::Timestamp::now().as_millisecond(), false) {
        Some(Ok(swept)) if swept.lines > 0 => {
            log::info!(
                "{} lines of {} conversations were too old",
                swept.lines,
                swept.conversations
            );
        }
        Some(Err(error)) => log::error!("old lines stay for now: {error}"),
        _ => {}
    }
    let age = match context.config.get().retention {
        Retention::For(span) => {
            COPIES_AGE_MAX.min(Duration::from_millis(span.as_ms().unsigned_abs()))
        }
        Retention::Forever => COPIES_AGE_MAX,
        Retention::Off => Duration::ZERO,
    };
    match jobs(&context.home.ledger_file()).remove_copies(age) {
        Ok(removed) => removed.iter().for_each(|copy| {
            log::info!("{} was removed: it was as old as such copies get", copy.display());
        }),
        Err(error) => log::error!("a copy of a former ledger stays for now: {error}"),
    }
}

/// Writes the recent login addresses if they changed, unless the configuration forbids addresses on
/// disk.
pub fn keep_sources(context: &Context) {
    let path = context.home.sources_file();
    let users = context.accounts.get();
    let kept = match context.config.get().log_ip {
        true => match context.admission.changed_sources(|user| users.find(user) == Some(user)) {
            Some(sources) => json_file::save(&path, &sources, 0o600),
            None => Ok(()),
        },
        false => file::remove(&path),
    };
    if let Err(error) = kept {
        log::error!("where people log in from is not kept: {error}");
    }
}

/// Writes the tickets of devices if they changed. Drops tickets of banned users, removed keys and
/// former passwords.
pub fn keep_tickets(context: &Context) {
    let users = context.accounts.get();
    let owner = |user: &UserName, key: &Fingerprint| {
        let registered = users.keys_of(user).any(|own| own.fingerprint() == *key);
        let whom = Whom { user, key: *key, address: None };
        let banned = context.access.standing(whom).1 == State::Banned;
        users.settings(user).password.filter(|_| registered && !banned)
    };
    let changed = context.passwords.tickets.lock().take_changed(today(), owner);
    let path = context.home.tickets_file();
    let saved = changed.map(|tickets| json_file::save_compact(&path, &tickets, 0o600));
    if let Some(Err(error)) = saved {
        log::error!("which devices have tickets is not kept: {error}");
    }
}

/// Decides whether the clock is trusted for the removal of messages.
struct Expiry {
    last: Instant,
    last_ms: i64,
    /// When it will be trusted; `None` until the operator confirms it.
    from: Option<Instant>,
}

impl Expiry {
    fn new(now: Instant, now_ms: i64, newest_ms: i64) -> Expiry {
        let mut expiry = Expiry { last: now, last_ms: now_ms, from: Some(now) };
        // The time of the newest message is the last known time of the clock.
        expiry.leaps(now, now_ms.saturating_sub(newest_ms).max(0));
        expiry
    }

    fn believes(&mut self, now: Instant, now_ms: i64, by_hand: bool) -> bool {
        let passed = now.duration_since(self.last);
        let leap_ms = now_ms.saturating_sub(self.last_ms + passed.as_millis() as i64);
        (self.last, self.last_ms) = (now, now_ms);
        self.leaps(now, leap_ms);
        if by_hand {
            self.from = Some(now);
        }
        self.from.is_some_and(|from| now >= from)
    }

    fn leaps(&mut self, now: Instant, leap_ms: i64) {
        if leap_ms > CLOCK_LEAP_MS_MAX {
            let days = leap_ms / 86_400_000;
            log::error!(
                "the clock is {days} days ahead: old lines stay until it is right and \
                 pychat ctl retention --now was said"
            );
            self.from = None;
        } else if leap_ms.unsigned_abs() > CLOCK_DRIFT_MS_MAX && self.from.is_some() {
            let (leap_s, hold_s) = (leap_ms / 1000, CLOCK_HOLD.as_secs());
            log::warn!(
                "the clock leapt by {leap_s} s: old lines stay until it has held for {hold_s} s"
            );
            self.from = Some(now + CLOCK_HOLD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_clock_that_leaps_has_to_hold_before_it_removes_anything() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let mut expiry = Expiry::new(began, 0, 0);
        assert!(expiry.believes(after(0), 0, false), "the newest line is of now");
        assert!(expiry.believes(after(60), 61_000, false));
        let ten = 10 * DAY_MS;
        assert!(!expiry.believes(after(120), ten, false), "ten days in a minute");
        assert!(!expiry.believes(after(180), ten + 60_000, false));
        assert!(expiry.believes(after(720), ten + 600_000, false), "it has held");
        assert!(!expiry.believes(after(780), 0, false), "set back");
        assert!(!expiry.believes(after(840), ten + 720_000, false), "and right again");
        assert!(expiry.believes(after(1440), ten + 1_320_000, false));
    }

    #[test]
    fn a_clock_that_is_wrong_at_the_start_removes_nothing() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let mut away = Expiry::new(began, 3 * DAY_MS, 0);
        assert!(!away.believes(after(0), 3 * DAY_MS, false), "three days without a line, or wrong");
        assert!(away.believes(after(600), 3 * DAY_MS + 600_000, false));
        let years = 3_000 * DAY_MS;
        let mut wrong = Expiry::new(began, years, 0);
        assert!(!wrong.believes(after(0), years, false));
        assert!(!wrong.believes(after(86_400), years + DAY_MS, false), "however long it holds");
        assert!(!wrong.believes(after(86_460), DAY_MS, false), "nor once it is mended");
        assert!(wrong.believes(after(86_520), DAY_MS + 60_000, true), "but by the operator's word");
        assert!(wrong.believes(after(86_580), DAY_MS + 120_000, false));
        assert!(!wrong.believes(after(86_640), years, false), "and again");
    }
}
