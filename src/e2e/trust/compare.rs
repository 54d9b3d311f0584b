//! Keys that two people compare: which are shown, what their word changes, and the number that both
//! have. Pure.

use std::collections::BTreeSet;

use super::pins::Pin;
use super::{TrustStore, fold};
use crate::chat::UserName;
use crate::crypto::{Fingerprint, sha256};

/// A person's keys, as they are shown.
#[derive(Debug, Default, PartialEq)]
pub struct Prints {
    /// Those that are theirs, and that the server lists.
    pub theirs: Vec<Fingerprint>,
    /// Those that the server lists and nobody has confirmed.
    pub news: Vec<Fingerprint>,
    /// Those that were theirs, and that the server does not list any more.
    pub gone: Vec<Fingerprint>,
}

/// What the confirmation of a person's keys has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The keys that are listed are theirs, and no others. These people had one of them before.
    News(Vec<UserName>),
    /// All were theirs already. Private messages may be sealed for these under RSA alone, as they
    /// have no certificate that holds.
    Bare(Vec<Fingerprint>),
    /// The listed keys are not those that were shown: nothing.
    Unseen,
    /// They are said to be one's own, and known as another person's: nothing.
    Anothers,
    /// One of them is this client's own: nothing.
    Own,
}

impl TrustStore {
    /// A person's keys, for somebody who compares them: what was shown can be confirmed.
    pub fn shows(&mut self, name: &UserName) -> Prints {
        let prints = self.prints(name);
        let shown = prints.theirs.iter().chain(&prints.news).map(|print| print.0);
        self.person(name).shown = Some(shown.collect());
        prints
    }

    /// The person has compared the keys that were shown: from now on these are theirs and no
    /// others. Where all were theirs already, it is about those without a certificate.
    pub fn confirm(&mut self, name: &UserName, now_ms: i64) -> Confirmed {
        let is_own = self.person(name).mine.is_some();
        let own = self.all.values().find_map(|person| person.mine.as_ref()?.own);
        let person = self.person(name);
        if person.anothers {
            return Confirmed::Anothers;
        }
        let listed = person.listed.clone().unwrap_or_default();
        let prints: BTreeSet<_> = listed.iter().map(|one| one.print.0).collect();
        let is_news = listed.iter().any(|one| !person.has(&one.print));
        // The server may list another one, or one less, while they are on the phone.
        let seen = person.shown.as_ref();
        if seen.map_or(is_news, |shown| *shown != prints) {
            return Confirmed::Unseen;
        }
        if !is_news {
            let bare = listed.iter().filter(|one| one.certificate.is_none());
            let bare: Vec<_> = bare.map(|one| one.print).collect();
            person.bare.extend(bare.iter().map(|print| print.0));
            return Confirmed::Bare(bare);
        }
        if own.is_some_and(|own| !is_own && prints.contains(&own.0)) {
            return Confirmed::Own;
        }
        person.retires(now_ms, |print| !prints.contains(&print.0));
        // Whoever looks like somebody else is met now.
        person.name.get_or_insert_with(|| name.clone());
        self.looks.add(name);
        let mut losers = Vec::new();
        for one in &listed {
            losers.extend(self.moves(name, &one.print, now_ms));
            self.person(name).pins(one);
        }
        if let Some(mine) = &mut self.person(name).mine {
            mine.own = mine.all.first().copied().filter(|own| prints.contains(&own.0));
        }
        Confirmed::News(losers)
    }

    /// A key is this person's from now on. Gives whose it was.
    fn moves(&mut self, name: &UserName, print: &Fingerprint, now_ms: i64) -> Option<UserName> {
        let before =
            self.owners.insert(print.0, fold(name)).filter(|owner| *owner != fold(name))?;
        let other = self.all.get_mut(&before)?;
        other.retires(now_ms, |one| one == print);
        // What the server said of them was before that.
        other.unheard();
        other.name.clone()
    }

    /// Which keys a person has, and has had.
    pub fn prints(&self, name: &UserName) -> Prints {
        let Some(person) = self.all.get(&fold(name)) else { return Prints::default() };
        let listed = person.listed.iter().flatten().map(|one| one.print);
        let news = listed.filter(|print| !person.has(print)).collect();
        let unlisted = |pin: &&Pin| !person.lists(&pin.print);
        let theirs = |pin: &&Pin| pin.is_theirs() && (person.listed.is_none() || !unlisted(pin));
        let (pins, print) = (person.pins.iter(), |pin: &Pin| pin.print);
        let gone = pins.clone().filter(|pin| unlisted(pin) && !theirs(pin)).map(print).collect();
        Prints { theirs: pins.filter(theirs).map(print).collect(), news, gone }
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
