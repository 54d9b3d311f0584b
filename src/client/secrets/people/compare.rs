//! Keys that two people compare: which are shown, what their word changes, and the number that both have. Pure.

use super::{People, fold};
use crate::chat::UserName;
use crate::crypto::{Fingerprint, sha256};

/// A person's keys, as they are shown.
#[derive(Debug, Default, PartialEq)]
pub struct Prints {
    /// Those that are theirs, and that the server says are in use.
    pub theirs: Vec<Fingerprint>,
    /// Those that the server says are theirs, and nobody has confirmed.
    pub news: Vec<Fingerprint>,
    /// Those that are theirs, and that the server does not tell of any more.
    pub gone: Vec<Fingerprint>,
}

/// What a person's word for another's keys has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// New keys are theirs.
    News,
    /// Those without a certificate that holds are good enough.
    Bare,
    /// Some were not shown yet: nothing.
    Unseen,
    /// They are said to be one's own, and known as another person's: nothing.
    Anothers,
}

impl People {
    /// A person's keys, for somebody who compares them: what was shown can be confirmed.
    pub fn shows(&mut self, name: &UserName) -> Prints {
        let prints = self.prints(name);
        self.person(name).shown = prints.news.iter().map(|print| print.0).collect();
        prints
    }

    /// The person has compared the keys that were shown. Where none was new, it is about those without
    /// a certificate.
    pub fn confirm(&mut self, name: &UserName) -> Confirmed {
        let person = self.person(name);
        if person.anothers {
            return Confirmed::Anothers;
        }
        let listed = person.listed.clone().unwrap_or_default();
        let mut news = listed.iter().filter(|one| !person.has(&one.print)).peekable();
        let any = news.peek().is_some();
        // The server may have added one while they were on the phone.
        if news.any(|one| !person.shown.contains(&one.print.0)) {
            return Confirmed::Unseen;
        }
        person.pin(&listed);
        if !any {
            let bare = listed.iter().filter(|one| one.certificate.is_none());
            person.bare.extend(bare.map(|one| one.print.0));
        }
        person.notes_certificates();
        if any { Confirmed::News } else { Confirmed::Bare }
    }

    /// Which keys a person has, and has had.
    pub fn prints(&self, name: &UserName) -> Prints {
        let Some(person) = self.all.get(&fold(name)) else { return Prints::default() };
        let listed = person.listed.iter().flatten().map(|one| one.print);
        let news = listed.clone().filter(|print| !person.has(print)).collect();
        let pinned = person.pinned.iter().map(|(print, _)| *print);
        let in_use = |print: &Fingerprint| listed.clone().any(|one| one == *print);
        let (theirs, gone) = pinned.partition(|print| person.listed.is_none() || in_use(print));
        Prints { theirs, news, gone }
    }
}

/// 60 digits that are the same for two people only if each has the other's keys (docs/protocol.md).
pub fn safety_number(one: &[Fingerprint], other: &[Fingerprint]) -> String {
    let half = |prints: &[Fingerprint]| {
        let mut prints: Vec<&[u8]> = prints.iter().map(|print| &print.0[..]).collect();
        prints.sort_unstable();
        prints.insert(0, b"pychat/1 safety");
        let hash = sha256(&prints);
        let group = |five: &[u8]| {
            let number = five.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
            format!("{:05}", number % 100_000)
        };
        hash.chunks_exact(5).map(group).collect::<Vec<_>>().join(" ")
    };
    let mut halves = [half(one), half(other)];
    halves.sort_unstable();
    halves.join(" ")
}
