//! Recent logins: the sources that users logged in from are preferred by the admission. Stored by
//! day and source in `data/sources.json`, unless the operator disables logging of addresses.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::source::Source;
use crate::chat::UserName;
use crate::config::IpRange;
use crate::file::{FileError, json_file};
use crate::limits::DAY_MS;

/// How many days a login counts.
const DAYS: i64 = 30;
/// The most sources stored per user, the newest ones. A user displaces only their own.
const SOURCES_PER_USER_MAX: usize = 16;
/// The most sources per user, the newest ones, that are preferred among unauthenticated
/// connections. Each preferred source in a network of its own can hold a place for 2 s that nobody
/// else gets, so the number is small.
const PREFERRED_PER_USER_MAX: usize = 4;

/// The sources of each user, the newest login last, with its day since 1970.
pub type Sources = BTreeMap<UserName, Vec<(Source, i64)>>;

#[derive(Default)]
pub struct RecentLogins {
    users: Sources,
    /// The newest day of each preferred source.
    preferred: HashMap<Source, i64>,
    /// Something changed since the last write.
    changed: bool,
}

/// Returns today as days since 1970.
pub fn today() -> i64 {
    day_of(jiff::Timestamp::now().as_millisecond())
}

/// Returns the day of a time in milliseconds, as days since 1970.
pub fn day_of(time_ms: i64) -> i64 {
    time_ms.div_euclid(DAY_MS)
}

impl RecentLogins {
    /// Loads the file; empty if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or parsed.
    pub fn load(path: &Path) -> Result<RecentLogins, FileError> {
        let Some(users) = json_file::load(path, json_file::LARGE)? else {
            return Ok(RecentLogins::default());
        };
        let mut recent = RecentLogins { users, ..RecentLogins::default() };
        recent.index();
        Ok(recent)
    }

    /// Returns the file's new content, if it changed. Drops removed users and sources that are too
    /// old or too many.
    pub fn take_changed(
        &mut self,
        today: i64,
        is_user: impl Fn(&UserName) -> bool,
    ) -> Option<Sources> {
        let count = |users: &Sources| users.values().map(Vec::len).sum::<usize>();
        let before = count(&self.users);
        for sources in self.users.values_mut() {
            sources.retain(|(_, day)| is_recent(*day, today));
        }
        self.users.retain(|user, sources| !sources.is_empty() && is_user(user));
        let changed = std::mem::take(&mut self.changed) || count(&self.users) != before;
        if !changed {
            return None;
        }
        self.index();
        Some(self.users.clone())
    }

    /// Records a login. Returns the source that this one displaced from the preferred ones.
    pub fn note(&mut self, user: &UserName, source: Source, today: i64) -> Option<Source> {
        let sources = self.users.entry(user.clone()).or_default();
        if sources.last() == Some(&(source, today)) {
            return None;
        }
        let was_preferred = preferred(sources).iter().any(|(one, _)| *one == source);
        let displaced = preferred(sources).first().map(|(one, _)| *one);
        let displaces = !was_preferred && sources.len() >= PREFERRED_PER_USER_MAX;
        sources.retain(|(one, _)| *one != source);
        sources.push((source, today));
        let beyond = sources.len().saturating_sub(SOURCES_PER_USER_MAX);
        sources.drain(..beyond);
        self.changed = true;
        if !displaces {
            let day = self.preferred.entry(source).or_insert(today);
            *day = (*day).max(today);
            return None;
        }
        self.index();
        displaced.filter(|one| !self.preferred.contains_key(one))
    }

    /// Whether the source is preferred: one of a user's newest few, with a recent login.
    pub fn prefers(&self, source: Source, today: i64) -> bool {
        self.preferred.get(&source).is_some_and(|day| is_recent(*day, today))
    }

    /// Whether this user logged in from there recently.
    pub fn has(&self, user: &UserName, source: Source, today: i64) -> bool {
        let mut sources = self.users.get(user).into_iter().flatten();
        sources.any(|(one, day)| *one == source && is_recent(*day, today))
    }

    /// Returns the source of a user's last recent login.
    pub fn last_of(&self, user: &UserName, today: i64) -> Option<Source> {
        let (source, day) = self.users.get(user)?.last()?;
        is_recent(*day, today).then_some(*source)
    }

    /// Returns the users who logged in from a range recently.
    pub fn users_in(&self, range: &IpRange, today: i64) -> Vec<UserName> {
        let is_in = |(source, day): &(Source, i64)| {
            is_recent(*day, today) && range.overlaps(&source.range())
        };
        let users = self.users.iter().filter(|(_, sources)| sources.iter().any(is_in));
        users.map(|(user, _)| user.clone()).collect()
    }

    fn index(&mut self) {
        self.preferred.clear();
        for (source, day) in self.users.values().flat_map(|sources| preferred(sources)) {
            let newest = self.preferred.entry(*source).or_insert(*day);
            *newest = (*newest).max(*day);
        }
    }
}

/// Returns the preferred ones of a user's sources.
fn preferred(sources: &[(Source, i64)]) -> &[(Source, i64)] {
    &sources[sources.len().saturating_sub(PREFERRED_PER_USER_MAX)..]
}

fn is_recent(day: i64, today: i64) -> bool {
    today.saturating_sub(day) <= DAYS
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_has_the_users_of_its_sources() {
        let mut recent = RecentLogins::default();
        let [alice, bob] = ["alice", "bob"].map(|name| name.parse::<UserName>().unwrap());
        recent.note(&alice, source("192.0.2.1"), 100);
        recent.note(&alice, source("198.51.100.7"), 101);
        recent.note(&bob, source("2001:db8::7"), 100);
        let users = |range: &str, day| recent.users_in(&range.parse().unwrap(), day);
        assert_eq!(users("192.0.2.0/24", 101), std::slice::from_ref(&alice));
        assert_eq!(users("2001:db8::9", 101), [bob], "the server stores the /64 and no address");
        assert!(users("192.0.3.0/24", 101).is_empty() && users("192.0.2.0/24", 131).is_empty());
        assert_eq!(recent.last_of(&alice, 101), Some(source("198.51.100.7")));
        assert_eq!(recent.last_of(&alice, 140), None);
    }

    #[test]
    fn a_login_counts_for_a_month_also_after_a_restart() {
        let (alice, home) = ("alice".parse().unwrap(), source("192.0.2.1"));
        let mut recent = RecentLogins::default();
        recent.note(&alice, home, 100);
        recent.note(&alice, source("2001:db8::7"), 120);
        let sources = recent.take_changed(120, |_| true).unwrap();
        assert_eq!(recent.take_changed(120, |_| true), None, "nothing new");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.json");
        json_file::save(&path, &sources, 0o600).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"2001:db8::\",\n      120"), "a /64 and a day only: {text}");
        let mut again = RecentLogins::load(&path).unwrap();
        assert!(again.prefers(home, 130) && again.has(&alice, home, 130));
        assert!(!again.prefers(home, 131) && !again.has(&alice, home, 131));
        assert!(!again.prefers(source("192.0.2.2"), 130));
        assert!(!again.has(&"bob".parse().unwrap(), home, 130));
        let later = again.take_changed(131, |_| true).unwrap();
        assert!(!later[&alice].iter().any(|(source, _)| *source == home));
        let nobody = again.take_changed(131, |_| false);
        assert_eq!(nobody, Some(Sources::new()), "no users are registered");
        assert!(!again.prefers(source("2001:db8::1"), 131));
        fs::write(&path, "[]").unwrap();
        assert!(matches!(RecentLogins::load(&path), Err(FileError::Damaged { .. })));
    }

    #[test]
    fn a_user_with_many_sources_displaces_only_their_own() {
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let (home, mut recent) = (source("192.0.2.1"), RecentLogins::default());
        recent.note(&alice, home, 1);
        for number in 0..1_000 {
            let from = source(&format!("10.0.{}.{}", number >> 8, number & 255));
            recent.note(&bob, from, 2);
            assert!(recent.prefers(from, 2), "the newest is preferred");
        }
        assert!(recent.take_changed(2, |_| true).is_some() && recent.prefers(home, 2));
        assert_eq!(recent.preferred.len(), 1 + PREFERRED_PER_USER_MAX);
        assert_eq!(recent.users[&bob].len(), SOURCES_PER_USER_MAX);
    }

    #[test]
    fn the_newest_four_sources_of_a_user_are_preferred_also_after_a_restart() {
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let from = |last: u8| source(&format!("192.0.2.{last}"));
        let mut recent = RecentLogins::default();
        let displaced: Vec<_> = (1..=6).map(|last| recent.note(&bob, from(last), 9)).collect();
        assert_eq!(displaced, [None, None, None, None, Some(from(1)), Some(from(2))]);
        assert!(recent.has(&bob, from(1), 9), "bob is still known from there");
        // Logins of other users keep a source preferred.
        assert_eq!(recent.note(&alice, from(3), 9), None);
        assert_eq!(recent.note(&bob, from(1), 9), None, "3 is preferred for alice");
        assert_eq!(recent.note(&bob, from(4), 10), None, "it was preferred before");
        assert_eq!(recent.note(&bob, from(2), 10), Some(from(5)));
        let preferred = |recent: &RecentLogins| {
            (1..=6).filter(|last| recent.prefers(from(*last), 10)).collect::<Vec<u8>>()
        };
        assert_eq!(preferred(&recent), [1, 2, 3, 4, 6]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.json");
        let sources = recent.take_changed(10, |_| true).unwrap();
        json_file::save(&path, &sources, 0o600).unwrap();
        assert_eq!(preferred(&RecentLogins::load(&path).unwrap()), [1, 2, 3, 4, 6]);
    }
}
