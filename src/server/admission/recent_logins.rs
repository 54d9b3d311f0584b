//! The sources that people have logged in from lately: they come first at the admission. On disk by day
//! and source, in `data/sources.json`, unless the operator wants no addresses written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::source::Source;
use crate::chat::UserName;
use crate::home::{FileError, json_file};

/// A login counts for this many days.
const DAYS: i64 = 30;
/// Sources of one person that are remembered, the newest: no member pushes out another one's.
const SOURCES_PER_USER_MAX: usize = 16;
#[derive(Default)]
pub struct RecentLogins {
    /// The day of the last login from each source of each person, days counted since 1970.
    users: BTreeMap<UserName, BTreeMap<Source, i64>>,
    /// The newest of those days, by source.
    days: HashMap<Source, i64>,
    /// Something was noted that is not on disk.
    changed: bool,
}

/// Today, as a count of days since 1970.
pub fn today() -> i64 {
    jiff::Timestamp::now().as_second().div_euclid(86_400)
}

impl RecentLogins {
    /// What a file remembers; nothing where there is none.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<RecentLogins, FileError> {
        let Some(users) = json_file::load(path, json_file::LARGE)? else {
            return Ok(RecentLogins::default());
        };
        let mut recent = RecentLogins { users, ..RecentLogins::default() };
        recent.index();
        Ok(recent)
    }

    /// The file's text, where there is something new for it. People who are not registered any
    /// more, sources beyond a person's number and what is too old are forgotten.
    pub fn text(&mut self, today: i64, is_user: impl Fn(&UserName) -> bool) -> Option<String> {
        let count =
            |users: &BTreeMap<_, BTreeMap<_, _>>| users.values().map(BTreeMap::len).sum::<usize>();
        let before = count(&self.users);
        for sources in self.users.values_mut() {
            sources.retain(|_, day| is_recent(*day, today));
        }
        self.users.retain(|user, sources| !sources.is_empty() && is_user(user));
        let changed = std::mem::take(&mut self.changed) || count(&self.users) != before;
        if !changed {
            return None;
        }
        self.index();
        Some(serde_json::to_string_pretty(&self.users).expect("names and days are plain JSON"))
    }

    /// Somebody has logged in.
    pub fn note(&mut self, user: &UserName, source: Source, today: i64) {
        let sources = self.users.entry(user.clone()).or_default();
        if sources.insert(source, today) == Some(today) {
            return;
        }
        let day = self.days.entry(source).or_insert(today);
        *day = (*day).max(today);
        while sources.len() > SOURCES_PER_USER_MAX {
            let oldest = sources.iter().filter(|(one, _)| **one != source);
            let Some(oldest) = oldest.min_by_key(|(_, day)| **day).map(|(one, _)| *one) else {
                break;
            };
            sources.remove(&oldest);
        }
        self.changed = true;
    }

    /// Whether anybody has logged in from there lately.
    pub fn knows(&self, source: Source, today: i64) -> bool {
        self.days.get(&source).is_some_and(|day| is_recent(*day, today))
    }

    /// Whether this person has.
    pub fn has(&self, user: &UserName, source: Source, today: i64) -> bool {
        let day = self.users.get(user).and_then(|sources| sources.get(&source));
        day.is_some_and(|day| is_recent(*day, today))
    }

    fn index(&mut self) {
        self.days.clear();
        for (source, day) in self.users.values().flatten() {
            let newest = self.days.entry(*source).or_insert(*day);
            *newest = (*newest).max(*day);
        }
    }
}

fn is_recent(day: i64, today: i64) -> bool {
    today.saturating_sub(day) <= DAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::file;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn a_login_counts_for_a_month_also_after_a_restart() {
        let (alice, home) = ("alice".parse().unwrap(), source("192.0.2.1"));
        let mut recent = RecentLogins::default();
        recent.note(&alice, home, 100);
        recent.note(&alice, source("2001:db8::7"), 120);
        let text = recent.text(120, |_| true).unwrap();
        assert!(text.contains("\"2001:db8::\": 120"), "a /64 and a day, no more: {text}");
        assert_eq!(recent.text(120, |_| true), None, "nothing new");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.json");
        file::replace(&path, text.as_bytes(), 0o600).unwrap();
        let mut again = RecentLogins::load(&path).unwrap();
        assert!(again.knows(home, 130) && again.has(&alice, home, 130));
        assert!(!again.knows(home, 131) && !again.has(&alice, home, 131));
        assert!(!again.knows(source("192.0.2.2"), 130));
        assert!(!again.has(&"bob".parse().unwrap(), home, 130));
        assert!(!again.text(131, |_| true).unwrap().contains("192.0.2.1"));
        assert_eq!(again.text(131, |_| false).as_deref(), Some("{}"), "nobody is registered");
        assert!(!again.knows(source("2001:db8::1"), 131));
        file::replace(&path, b"[]", 0o600).unwrap();
        assert!(matches!(RecentLogins::load(&path), Err(FileError::Damaged { .. })));
    }

    #[test]
    fn a_member_who_comes_from_everywhere_pushes_out_their_own_sources_only() {
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let (home, mut recent) = (source("192.0.2.1"), RecentLogins::default());
        recent.note(&alice, home, 1);
        for number in 0..1_000 {
            let from = source(&format!("10.0.{}.{}", number >> 8, number & 255));
            recent.note(&bob, from, 2);
            assert!(recent.knows(from, 2), "the newest is there");
        }
        assert!(recent.text(2, |_| true).is_some() && recent.knows(home, 2));
        assert_eq!(recent.days.len(), 1 + SOURCES_PER_USER_MAX);
    }
}
