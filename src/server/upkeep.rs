//! Periodic jobs. What they remove for its age stays while the clock may be wrong
//! (`clock_guard.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::accounts::host_key::HostKey;
use super::accounts::vanished::Missing;
use super::admission::day_of;
use super::context::Context;
use super::files::Sweep;
use crate::chat::rights::State;
use crate::chat::{FileBytes, Retention, UserName};
use crate::crypto::Fingerprint;
use crate::file::{self, json_file};
use crate::home::UsersWatch;
use crate::home::sanctions::Whom;
use crate::ledger::{Jobs, jobs};

/// Interval of the checks of users/.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Interval of the attempts to move the conversations of a renamed user after a failure.
const RENAME_EVERY: Duration = Duration::from_secs(60);

/// Interval of the checks of the disk. The kernel answers from memory, without reading the disk.
const DISK_EVERY: Duration = Duration::from_millis(250);

/// Interval of the removal of empty channels.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Interval of the removal of messages that are older than their conversation's retention.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Interval of the checks for new messages that are not indexed.
const INDEX_LOOK: Duration = Duration::from_millis(250);

/// New messages are indexed once there are so many. A search compares the texts of these with its
/// words, which takes up to 5 us for each.
const INDEX_AFTER: u64 = 2_000;

/// New messages are indexed after this time at the latest.
const INDEX_EVERY: Duration = Duration::from_secs(30);

/// Maximum age of copies of a former ledger. A shorter retention applies to them too.
const COPIES_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Runs the periodic checks of users/ and the server's own key, and removes empty channels.
pub fn keep(context: &Context, mut watch: UsersWatch) {
    let (mut swept, mut renamed) = (Instant::now(), Instant::now());
    let mut unread = false;
    let (home, keys) = (context.home.clone(), Arc::clone(&context.host_keys));
    let (hub, records) = (Arc::clone(&context.hub), Arc::clone(&context.records));
    let mut host_key = HostKey::new(home, keys, hub, records);
    while !context.stop.wait_for(WATCH_EVERY) {
        let changed = watch.changed();
        let is_due = renamed.elapsed() >= RENAME_EVERY;
        if is_due {
            renamed = Instant::now();
        }
        if changed || unread || is_due && context.accounts.has_unmoved() {
            let read = context.accounts.reload();
            // Possibly no free file descriptor. The next check tries again; the error is logged
            // once.
            if let (Err(error), false) = (&read, unread) {
                log::error!("users/ cannot be read, so it stays as it was: {error}");
            }
            unread = read.is_err();
            keep_tickets(context);
        }
        host_key.look(&context.clock, || {
            context.session_tickets.renew();
            let tickets = Arc::clone(&context.session_tickets);
            context.records.save(move || tickets.store());
        });
        context.session_tickets.renew();
        if swept.elapsed() >= SWEEP_EVERY {
            context.hub.sweep();
            swept = Instant::now();
        }
    }
}

/// Ends the sessions of users whose key files are gone, on a thread of its own: `keep` may be
/// reading thousands of new files.
pub fn end_vanished(context: &Context) {
    let mut missing = Missing::default();
    while !context.stop.wait_for(WATCH_EVERY) {
        context.accounts.end_vanished(&mut missing);
    }
}

/// Compares the clock with the time of the newest message in the ledger.
pub fn compare_clock(context: &Context) {
    let newest_ms = match context.ledger.ask(|ledger| ledger.newest_ms()) {
        Some(Ok(Some(newest_ms))) => newest_ms,
        Some(Ok(None)) => jiff::Timestamp::now().as_millisecond(),
        // Without a known time, the clock counts as having jumped.
        Some(Err(_)) | None => 0,
    };
    context.clock.begin(newest_ms);
}

/// Removes old messages and keys, on a thread of its own: a slow disk must not delay the removal of
/// users.
pub fn sweep(context: &Context) {
    context.ledger.resume_erasing();
    let mut files = Sweep::default();
    let mut wait = Duration::ZERO;
    while !context.stop.wait_for(wait) {
        // The start has just written the history of keys.
        if !wait.is_zero() {
            context.key_history.see();
        }
        wait = EXPIRE_EVERY;
        keep_sources(context);
        keep_tickets(context);
        context.session_tickets.store();
        if context.clock.is_trusted() {
            context.key_history.expire();
            expire(context);
        }
        // Forgotten messages are removed even if the clock is not trusted.
        if let Some(Err(error)) = context.ledger.remove_detached() {
            log::error!("the messages of forgotten channels cannot be removed yet: {error}");
        }
        sweep_files(context, &mut files);
        if let Some(Err(error)) = context.ledger.tidy(context.clock.time_ms(), Duration::ZERO) {
            log::error!("the ledger's free space still contains deleted texts: {error}");
        }
    }
}

/// When new messages are indexed.
struct Indexing {
    /// Messages stored before the last time; `None` before the start has indexed what an earlier
    /// process has left.
    indexed: Option<u64>,
    last: Instant,
    failed: bool,
}

impl Indexing {
    /// Returns whether it is time to index, after so many stored messages.
    fn is_due(&self, stored: u64) -> bool {
        let Some(indexed) = self.indexed else { return true };
        let new = stored.saturating_sub(indexed);
        new >= INDEX_AFTER || ((new > 0 || self.failed) && self.last.elapsed() >= INDEX_EVERY)
    }
}

/// Indexes the words of new messages, on a thread of its own: removals may take long.
pub fn index(context: &Context) {
    let mut indexing = Indexing { indexed: None, last: Instant::now(), failed: false };
    loop {
        let stored = context.hub.counters().stored();
        if indexing.is_due(stored) {
            let failed = match context.ledger.index() {
                Some(Ok(())) => false,
                Some(Err(error)) => {
                    if !indexing.failed {
                        log::error!(
                            "new messages are not indexed yet, so searches take longer: {error}"
                        );
                    }
                    true
                }
                None => return,
            };
            indexing = Indexing { indexed: Some(stored), last: Instant::now(), failed };
        }
        if context.stop.wait_for(INDEX_LOOK) {
            return;
        }
    }
}

/// Removes files whose time is over, and compares files and ledger.
fn sweep_files(context: &Context, sweep: &mut Sweep) {
    let Some(files) = &context.files else { return };
    let now_ms = context.clock.is_trusted().then(|| jiff::Timestamp::now().as_millisecond());
    sweep.run(files, now_ms, &|job| context.ledger.ask(job), &|job| context.ledger.ask(job));
}

fn expire(context: &Context) {
    context.records.expire(jiff::Timestamp::now().as_millisecond());
    match context.ledger.sweep(jiff::Timestamp::now().as_millisecond(), false) {
        Some(Ok(swept)) if swept.messages > 0 => {
            log::info!(
                "{} expired messages of {} conversations were removed",
                swept.messages,
                swept.conversations
            );
        }
        Some(Err(error)) => log::error!("expired messages cannot be removed yet: {error}"),
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
            log::info!("{} was removed: copies of a former ledger expire", copy.display());
        }),
        Err(error) => log::error!("a copy of a former ledger cannot be removed yet: {error}"),
    }
}

/// Checks the free space of the disk until the server stops.
pub fn watch_disk(context: &Context) {
    while !context.stop.wait_for(DISK_EVERY) {
        check_disk(context);
    }
}

/// Checks the free space of the disk. Changes nothing if the file system does not report it.
pub fn check_disk(context: &Context) {
    let Ok(about) = statvfs(context.home.dir().join("data")) else { return };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let reserve = context.config.get().disk_reserve_bytes();
    let guard = context.hub.disk();
    if !guard.update(free, reserve) {
        return;
    }
    let (free, reserve) = (FileBytes(free), FileBytes(reserve));
    if guard.is_low() {
        log::error!(
            "new messages are refused: the disk has {free} left, less than disk_reserve_bytes ({reserve})"
        );
    } else {
        log::info!("new messages are stored again: the disk has {free} left");
    }
}

/// Writes the recent login addresses if they changed, unless the configuration forbids addresses on
/// disk.
pub fn keep_sources(context: &Context) {
    let path = context.home.sources_file();
    let users = context.accounts.get();
    let day = day_of(context.clock.time_ms());
    let kept = match context.config.get().log_ip {
        true => match context.admission.changed_sources(day, |user| users.find(user) == Some(user))
        {
            Some(sources) => json_file::save(&path, &sources, 0o600),
            None => Ok(()),
        },
        false => file::remove(&path),
    };
    if let Err(error) = kept {
        log::error!("the sources of recent logins cannot be written: {error}");
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
    let day = day_of(context.clock.time_ms());
    let changed = context.passwords.tickets.lock().take_changed(day, owner);
    let path = context.home.tickets_file();
    let Some(tickets) = changed else { return };
    // The watch of users/ waits for no disk.
    context.records.save(move || {
        if let Err(error) = json_file::save_compact(&path, &tickets, 0o600) {
            log::error!("the device tickets cannot be written: {error}");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_indexed_at_the_start_once_they_are_many_and_after_a_time() {
        let long_ago = Instant::now().checked_sub(INDEX_EVERY).unwrap();
        let due = |indexed, last, failed, stored| Indexing { indexed, last, failed }.is_due(stored);
        let now = Instant::now() + INDEX_EVERY;
        assert!(due(None, now, false, 0), "at the start");
        assert!(!due(Some(5), now, false, 5 + INDEX_AFTER - 1));
        assert!(due(Some(5), now, false, 5 + INDEX_AFTER));
        assert!(due(Some(5), long_ago, false, 6) && !due(Some(5), long_ago, false, 5));
        assert!(due(Some(5), long_ago, true, 5) && !due(Some(5), now, true, 5), "again later");
    }
}
