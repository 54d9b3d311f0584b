//! data/sanctions.json: bans, mutes and the message of the day. A small file, rewritten at each
//! change.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::chat::UserName;
use crate::chat::rights::{Role, may_undo};
use crate::config::{Config, IpRange};
use crate::crypto::Fingerprint;
use crate::file::FileError;
use crate::file::json_file;

/// The subject of a sanction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    User(UserName),
    Key(Fingerprint),
    Range(IpRange),
}

/// The text is no user, key or address range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no name, no SHA256:... fingerprint and no address or range: {1}")]
pub struct SubjectError(String, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Ban,
    Mute,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sanction {
    /// The number in the list. It can be used to lift the sanction, and is never reused. 0 until
    /// the sanction is added.
    #[serde(default)]
    pub number: u64,
    pub kind: Kind,
    #[serde(with = "as_text")]
    pub subject: Subject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub by: String,
    /// The role of the operator who decided, at most owner; an unknown role counts as owner.
    #[serde(default = "unknown_rank")]
    pub rank: Role,
    pub since_ms: i64,
    /// `None` for a permanent sanction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// The operator's role is too low to lift or replace the sanction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is {} by {}: owners may lift or change that: ask one of them", .0.subject, .0.kind.done(), .0.by)]
pub struct Stands(Box<Sanction>);

/// The attributes of a user that sanctions match.
#[derive(Clone, Copy)]
pub struct Whom<'a> {
    pub user: &'a UserName,
    pub key: Fingerprint,
    pub address: Option<IpAddr>,
}

/// The operators' decisions while the server runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    /// Replaces that of config.json; an empty one removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motd: Option<String>,
    pub sanctions: Vec<Sanction>,
    /// The last number that was given to a sanction.
    pub numbered: u64,
}

impl Subject {
    pub fn holds(&self, whom: Whom) -> bool {
        match self {
            Subject::User(name) => name == whom.user,
            Subject::Key(key) => *key == whom.key,
            Subject::Range(range) => whom.address.is_some_and(|address| range.contains(address)),
        }
    }
}

impl Decisions {
    /// Reads the decisions of a home; empty if the file does not exist.
    pub fn load(path: &Path) -> Result<Decisions, FileError> {
        let mut decisions: Decisions = json_file::load(path, json_file::LARGE)?.unwrap_or_default();
        let highest = decisions.sanctions.iter().map(|one| one.number).max().unwrap_or(0);
        decisions.numbered = decisions.numbered.max(highest);
        // Older versions gave no numbers.
        for one in decisions.sanctions.iter_mut().filter(|one| one.number == 0) {
            decisions.numbered = decisions.numbered.saturating_add(1);
            one.number = decisions.numbered;
        }
        Ok(decisions)
    }

    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        json_file::save(path, self, 0o600)
    }

    /// Returns the operator's message of the day, or the configuration's.
    pub fn motd_over(&self, config: &Config) -> Option<String> {
        let motd = self.motd.clone().or_else(|| config.motd.clone());
        motd.filter(|motd| !motd.is_empty())
    }

    /// Returns the sanction of a kind that matches and lasts longest.
    pub fn find(&self, kind: Kind, whom: Whom, now_ms: i64) -> Option<&Sanction> {
        let holding = self.valid(now_ms).filter(|one| one.kind == kind && one.subject.holds(whom));
        holding.max_by_key(|one| one.until_ms.unwrap_or(i64::MAX))
    }

    /// Returns the sanctions that have not ended.
    pub fn valid(&self, now_ms: i64) -> impl Iterator<Item = &Sanction> {
        self.sanctions.iter().filter(move |one| one.until_ms.is_none_or(|until| until > now_ms))
    }

    /// Adds a sanction, replacing one of the same kind and subject if `role` may. Removes sanctions
    /// that have ended.
    pub fn add(&mut self, sanction: Sanction, role: Role, now_ms: i64) -> Result<(), Stands> {
        self.lift(sanction.kind, &sanction.subject, role, now_ms)?;
        self.numbered = self.numbered.saturating_add(1);
        self.sanctions.push(Sanction { number: self.numbered, ..sanction });
        Ok(())
    }

    /// Moves the sanctions of a user to another name.
    pub fn rename(&mut self, old: &UserName, new: &UserName) {
        for one in &mut self.sanctions {
            if one.subject == Subject::User(old.clone()) {
                one.subject = Subject::User(new.clone());
            }
        }
    }

    /// Returns the sanction with a number.
    pub fn numbered(&self, number: u64, now_ms: i64) -> Option<&Sanction> {
        self.valid(now_ms).find(|one| one.number == number)
    }

    /// Lifts the sanctions of a subject if `role` may. Returns false if there are none.
    pub fn lift(
        &mut self,
        kind: Kind,
        subject: &Subject,
        role: Role,
        now_ms: i64,
    ) -> Result<bool, Stands> {
        let is_it = |one: &Sanction| one.kind == kind && one.subject == *subject;
        let stands = self.valid(now_ms).find(|one| is_it(one) && !may_undo(role, one.rank));
        if let Some(one) = stands {
            return Err(Stands(Box::new(one.clone())));
        }
        self.sanctions = self.valid(now_ms).cloned().collect();
        let before = self.sanctions.len();
        self.sanctions.retain(|one| !is_it(one));
        Ok(self.sanctions.len() < before)
    }
}

/// The default for files without the field.
fn unknown_rank() -> Role {
    Role::Owner
}

impl Kind {
    /// Returns the noun for the sanction.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Ban => "ban",
            Kind::Mute => "mute",
        }
    }

    /// The state of a sanctioned user.
    pub fn done(self) -> &'static str {
        match self {
            Kind::Ban => "banned",
            Kind::Mute => "muted",
        }
    }
}

impl Sanction {
    /// The notice to the sanctioned user.
    pub fn notice(&self) -> String {
        format!("you are {} {}", self.kind.done(), self.explain())
    }

    /// The end and the reason for the sanctioned user: `until 2026-11-25 14:03 UTC: noise`.
    pub fn explain(&self) -> String {
        let end = match self.until_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(end) => format!("until {}", end.strftime("%Y-%m-%d %H:%M:%S UTC")),
            None => "for good".to_owned(),
        };
        match &self.reason {
            Some(reason) => format!("{end}: {reason}"),
            None => end,
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    /// Parses `bob`, `@bob`, `SHA256:...`, `192.0.2.7` or `192.0.2.0/24`.
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let fault = |why: &dyn fmt::Display| {
            SubjectError(crate::clean::line(text), crate::clean::line(&why.to_string()))
        };
        if let Some(print) = text.strip_prefix("SHA256:") {
            let key = Fingerprint::from_url(&print.replace('+', "-").replace('/', "_"));
            return key.map(Subject::Key).ok_or_else(|| fault(&"a fingerprint has 43 letters"));
        }
        if text.contains(['.', ':', '/']) {
            return text.parse().map(Subject::Range).map_err(|error| fault(&error));
        }
        text.trim_start_matches('@').parse().map(Subject::User).map_err(|error| fault(&error))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::User(name) => name.fmt(f),
            Subject::Key(key) => key.fmt(f),
            Subject::Range(range) => range.fmt(f),
        }
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Subject;

    pub fn serialize<S: Serializer>(subject: &Subject, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(subject)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Subject, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sanction(kind: Kind, subject: &str, until_ms: Option<i64>) -> Sanction {
        let subject = subject.parse().unwrap();
        Sanction {
            number: 0,
            kind,
            subject,
            reason: None,
            by: "console".into(),
            rank: Role::Owner,
            since_ms: 0,
            until_ms,
        }
    }

    #[test]
    fn people_keys_and_addresses_are_told_apart() {
        let print = Fingerprint([7; 32]);
        let subject = |text: &str| text.parse::<Subject>();
        assert_eq!(subject("@bob"), subject("bob"));
        assert_eq!(subject(&print.to_string()), Ok(Subject::Key(print)));
        for text in ["192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "::1"] {
            assert!(matches!(subject(text), Ok(Subject::Range(_))), "{text}");
        }
        let whom = |user| Whom { user, key: print, address: None };
        let (bob, others) = ("Bob".parse().unwrap(), "bobby".parse().unwrap());
        assert!(subject("bOB").unwrap().holds(whom(&bob)), "in any case, as files are named");
        assert!(!subject("bOB").unwrap().holds(whom(&others)));
        let mut decisions = Decisions::default();
        decisions.add(sanction(Kind::Ban, "bob", None), Role::Owner, 0).unwrap();
        decisions.add(sanction(Kind::Ban, "BOB", None), Role::Owner, 0).unwrap();
        assert_eq!(decisions.sanctions.len(), 1);
        assert!(decisions.lift(Kind::Ban, &Subject::User(bob), Role::Owner, 0).unwrap());
        for bad in ["", "SHA256:short", "192.0.2.1/24", "a b", "10.0.0"] {
            assert!(subject(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sanction_holds_for_whom_it_is_about_until_it_ends() {
        let bob: UserName = "bob".parse().unwrap();
        let address: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        let whom = Whom { user: &bob, key: Fingerprint([1; 32]), address: Some(address) };
        let mut all = Decisions::default();
        let add = |all: &mut Decisions, one, now_ms| all.add(one, Role::Owner, now_ms).unwrap();
        add(&mut all, sanction(Kind::Ban, "192.0.2.0/24", Some(100)), 0);
        assert!(all.find(Kind::Ban, whom, 99).is_some(), "a v4-mapped address is an IPv4 one");
        assert!(all.find(Kind::Ban, whom, 100).is_none());
        assert!(all.find(Kind::Mute, whom, 0).is_none());
        add(&mut all, sanction(Kind::Ban, "bob", None), 0);
        add(&mut all, sanction(Kind::Ban, "bob", Some(50)), 0);
        assert_eq!(all.sanctions.len(), 2, "the later word about somebody holds");
        let about_bob: Subject = "bob".parse().unwrap();
        assert_eq!(all.lift(Kind::Ban, &about_bob, Role::Owner, 10), Ok(true));
        assert_eq!(all.lift(Kind::Ban, &about_bob, Role::Owner, 10), Ok(false));
        add(&mut all, sanction(Kind::Mute, "carol", None), 200);
        assert_eq!(all.sanctions.len(), 1, "what has ended is not kept");
    }

    #[test]
    fn what_an_owner_decided_a_moderator_leaves_alone_until_it_has_ended() {
        let bob: Subject = "bob".parse().unwrap();
        let mut all = Decisions::default();
        all.add(sanction(Kind::Ban, "bob", Some(100)), Role::Console, 0).unwrap();
        let before = all.clone();
        let milder = Sanction { rank: Role::Moderator, ..sanction(Kind::Ban, "bob", Some(50)) };
        let stands = all.add(milder.clone(), Role::Moderator, 0).unwrap_err().to_string();
        let words = "bob is banned by console: owners may lift or change that: ask one of them";
        assert_eq!(stands, words);
        assert!(all.lift(Kind::Ban, &bob, Role::Moderator, 0).is_err());
        assert_eq!(all, before);
        assert_eq!(all.lift(Kind::Mute, &bob, Role::Moderator, 0), Ok(false), "another kind");
        all.add(milder, Role::Moderator, 100).unwrap();
        assert_eq!(all.lift(Kind::Ban, &bob, Role::Moderator, 0), Ok(true), "a moderator's own");
    }

    #[test]
    fn a_file_that_does_not_say_who_decided_is_taken_for_an_owners() {
        let old =
            r#"{"sanctions": [{"kind": "ban", "subject": "bob", "by": "mona", "since_ms": 0}]}"#;
        let old: Decisions = serde_json::from_str(old).unwrap();
        assert_eq!(old.sanctions[0].rank, Role::Owner);
    }

    #[test]
    fn a_number_names_one_sanction_and_never_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sanctions.json");
        let old = r#"{"sanctions": [
            {"kind": "ban", "subject": "bob", "by": "mona", "since_ms": 0},
            {"kind": "mute", "subject": "carol", "by": "mona", "since_ms": 0}]}"#;
        std::fs::write(&path, old).unwrap();
        let mut all = Decisions::load(&path).unwrap();
        let numbers = |all: &Decisions| all.valid(0).map(|one| one.number).collect::<Vec<_>>();
        assert_eq!(numbers(&all), [1, 2], "a file without numbers gets them");
        let carol: Subject = "carol".parse().unwrap();
        assert_eq!(all.lift(Kind::Mute, &carol, Role::Owner, 0), Ok(true));
        all.save(&path).unwrap();
        let mut all = Decisions::load(&path).unwrap();
        all.add(sanction(Kind::Ban, "dave", None), Role::Owner, 0).unwrap();
        assert_eq!(numbers(&all), [1, 3], "the number of a lifted sanction is not reused");
        assert!(all.numbered(2, 0).is_none());
        assert_eq!(all.numbered(3, 0).unwrap().subject, "dave".parse().unwrap());
    }

    #[test]
    fn decisions_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sanctions.json");
        assert_eq!(Decisions::load(&path).unwrap(), Decisions::default());
        let mut all = Decisions { motd: Some("tea".into()), ..Decisions::default() };
        all.add(sanction(Kind::Ban, "2001:db8::/32", Some(i64::MAX)), Role::Owner, 0).unwrap();
        all.save(&path).unwrap();
        assert_eq!(Decisions::load(&path).unwrap(), all);
        std::fs::write(&path, "{").unwrap();
        assert!(Decisions::load(&path).unwrap_err().to_string().contains("sanctions.json"));
    }
}
