//! The operators' decisions in force. A sanction is in force at once. What a decision takes back or
//! replaces (a lifted ban, a shorter mute, the message of the day) is in force once it is on disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::sanctions::{Decisions, Sanction};
use crate::file::FileError;
use crate::sync::{Mutex, Rank, Snapshot};

/// The decisions in force, shared by threads.
pub struct Decided {
    path: PathBuf,
    now: Snapshot<Decisions>,
    /// Held for one change of `now`, and for no disk.
    turn: Mutex<()>,
}

/// The part of a decision that is in force once it is on disk.
#[derive(Debug, Default, PartialEq)]
#[must_use = "a decision has to be written"]
pub struct Rest {
    gone: Vec<Sanction>,
    motd: Option<Option<String>>,
}

impl Decided {
    /// Reads the decisions of a home.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: PathBuf) -> Result<Decided, FileError> {
        let now = Snapshot::new(Decisions::load(&path)?);
        Ok(Decided { path, now, turn: Mutex::new(Rank::Decision, ()) })
    }

    pub fn now(&self) -> Arc<Decisions> {
        self.now.get()
    }

    /// Returns the version of `now` ([`Snapshot::version`]).
    pub fn version(&self) -> usize {
        self.now.version()
    }

    /// Makes a decision without waiting for the disk: sanctions that it adds are in force when this
    /// returns. [`Decided::write`] does the rest.
    pub fn decide<T>(&self, change: impl FnOnce(&mut Decisions) -> T) -> (T, Rest) {
        let _turn = self.turn.lock();
        let old = self.now.get();
        let mut new = Decisions::clone(&old);
        let result = change(&mut new);
        let rest = Rest {
            gone: only_in(&old.sanctions, &new.sanctions),
            motd: (new.motd != old.motd).then_some(new.motd),
        };
        let added = only_in(&new.sanctions, &old.sanctions);
        if !added.is_empty() {
            let mut stricter = Decisions::clone(&old);
            stricter.sanctions.extend(added);
            stricter.numbered = new.numbered;
            self.now.set(stricter);
        }
        (result, rest)
    }

    /// Writes all decisions, and puts the rest of one in force. One thread at a time calls it.
    ///
    /// # Errors
    /// It cannot be written: the rest is not in force, and sanctions since the last write are until
    /// the process ends or a later write succeeds.
    pub fn write(&self, rest: &Rest) -> Result<(), FileError> {
        rest.put(&self.now.get()).save(&self.path)?;
        // Others have decided meanwhile.
        let _turn = self.turn.lock();
        self.now.set(rest.put(&self.now.get()));
        Ok(())
    }
}

impl Rest {
    fn put(&self, old: &Decisions) -> Decisions {
        let mut new = old.clone();
        new.sanctions.retain(|one| !self.gone.contains(one));
        if let Some(motd) = &self.motd {
            new.motd.clone_from(motd);
        }
        new
    }
}

fn only_in(these: &[Sanction], those: &[Sanction]) -> Vec<Sanction> {
    these.iter().filter(|one| !those.contains(one)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::rights::Role;
    use crate::home::sanctions::Kind;

    fn ban(who: &str, until_ms: Option<i64>) -> Sanction {
        let (by, rank, since_ms) = ("console".into(), Role::Owner, 0);
        let (kind, subject, reason) = (Kind::Ban, who.parse().unwrap(), None);
        Sanction { number: 0, kind, subject, reason, by, rank, since_ms, until_ms }
    }

    fn add(decided: &Decided, sanction: Sanction) -> Rest {
        let (added, rest) = decided.decide(|now| now.add(sanction, Role::Owner, 0));
        added.unwrap();
        rest
    }

    fn lift(decided: &Decided, who: &str) -> Rest {
        let who = who.parse().unwrap();
        let (lifted, rest) = decided.decide(|now| now.lift(Kind::Ban, &who, Role::Owner, 0));
        assert!(lifted.unwrap());
        rest
    }

    /// Who is banned, in force and on disk, and until when.
    fn banned(decided: &Decided) -> [Vec<(String, Option<i64>)>; 2] {
        let on_disk = Decisions::load(&decided.path).unwrap();
        [&*decided.now(), &on_disk].map(|decisions| {
            let all = decisions.sanctions.iter();
            all.map(|one| (one.subject.to_string(), one.until_ms)).collect()
        })
    }

    #[test]
    fn a_ban_is_in_force_before_it_is_on_disk_and_ends_once_its_end_is() {
        let folder = tempfile::tempdir().unwrap();
        let decided = Decided::open(folder.path().join("sanctions.json")).unwrap();
        let rest = add(&decided, ban("bob", None));
        let bob = || vec![("bob".to_owned(), None)];
        assert_eq!(banned(&decided), [bob(), vec![]]);
        decided.write(&rest).unwrap();
        assert_eq!(banned(&decided), [bob(), bob()]);
        let rest = lift(&decided, "bob");
        assert_eq!(banned(&decided), [bob(), bob()]);
        decided.write(&rest).unwrap();
        assert_eq!(banned(&decided), [vec![], vec![]]);
    }

    #[test]
    fn a_milder_ban_replaces_a_stricter_one_once_it_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let decided = Decided::open(folder.path().join("sanctions.json")).unwrap();
        decided.write(&add(&decided, ban("bob", None))).unwrap();
        let rest = add(&decided, ban("bob", Some(7)));
        let [now, _] = banned(&decided);
        assert!(now.contains(&("bob".to_owned(), None)), "the longer one decides: {now:?}");
        decided.write(&rest).unwrap();
        let milder = vec![("bob".to_owned(), Some(7))];
        assert_eq!(banned(&decided), [milder.clone(), milder]);
    }

    #[test]
    fn a_later_ban_is_not_lifted_by_an_earlier_word_that_was_slow() {
        let folder = tempfile::tempdir().unwrap();
        let decided = Decided::open(folder.path().join("sanctions.json")).unwrap();
        decided.write(&add(&decided, ban("bob", None))).unwrap();
        let slow = lift(&decided, "bob");
        let again = add(&decided, ban("bob", Some(9)));
        decided.write(&slow).unwrap();
        let ban = vec![("bob".to_owned(), Some(9))];
        assert_eq!(banned(&decided), [ban.clone(), ban.clone()]);
        decided.write(&again).unwrap();
        assert_eq!(banned(&decided), [ban.clone(), ban]);
    }

    #[test]
    fn without_a_disk_a_ban_is_in_force_and_its_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/sanctions.json");
        let decided = Decided::open(path.clone()).unwrap();
        let rest = add(&decided, ban("bob", None));
        assert!(decided.write(&rest).is_err());
        let rest = lift(&decided, "bob");
        assert!(decided.write(&rest).is_err());
        let (_, rest) = decided.decide(|now| now.motd = Some("tea".into()));
        assert!(decided.write(&rest).is_err());
        assert_eq!((decided.now().sanctions.len(), &decided.now().motd), (1, &None));
        // A later decision takes the earlier one along.
        std::fs::create_dir(folder.path().join("none")).unwrap();
        decided.write(&add(&decided, ban("carol", None))).unwrap();
        assert_eq!(banned(&decided)[1].len(), 2);
    }
}
