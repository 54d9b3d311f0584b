//! Key comparison between two users: the displayed keys, confirmation, and the safety number. Pure.

use std::collections::BTreeSet;

use super::pins::Pin;
use super::{TrustStore, fold};
use crate::chat::UserName;
use crate::crypto::{Fingerprint, sha256};

/// A user's keys for display.
#[derive(Debug, Default, PartialEq)]
pub struct Prints {
    /// Confirmed or pinned keys that the server lists.
    pub theirs: Vec<Fingerprint>,
    /// Listed keys that nobody has confirmed.
    pub news: Vec<Fingerprint>,
    /// Former keys that the server no longer lists.
    pub gone: Vec<Fingerprint>,
}

/// The result of a confirmation.
#[derive(Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The listed keys are now the user's only keys. The named users owned one of them before.
    News(Vec<UserName>),
    /// All keys were already pinned. These have no valid certificate; private messages may now be
    /// sealed for them under RSA alone.
    Bare(Vec<Fingerprint>),
    /// The listed keys differ from the displayed ones; nothing was changed.
    Unseen,
    /// The local user's name belongs to other keys; nothing was changed.
    Anothers,
    /// One of the keys is the local user's; nothing was changed.
    Own,
}

impl TrustStore {
    /// Returns a user's keys for display and remembers them, so that they can be confirmed.
    pub fn shows(&mut self, name: &UserName) -> Prints {
        let prints = self.prints(name);
        let shown = prints.theirs.iter().chain(&prints.news).map(|print| print.0);
        self.person(name).shown = Some(shown.collect());
        prints
    }

    /// Confirms the displayed keys: they become the user's only keys. If all were pinned already,
    /// the confirmation is about those without a certificate.
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
        // The server may change its list while the two users are talking.
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
        // A look-alike name is pinned now.
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

    /// Moves a key to this user. Returns the previous owner.
    fn moves(&mut self, name: &UserName, print: &Fingerprint, now_ms: i64) -> Option<UserName> {
        let before =
            self.owners.insert(print.0, fold(name)).filter(|owner| *owner != fold(name))?;
        let other = self.all.get_mut(&before)?;
        other.retires(now_ms, |one| one == print);
        // The server's earlier list of that user is outdated.
        other.drop_listing();
        other.name.clone()
    }

    /// A user's current, unconfirmed and former keys.
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

/// Returns the safety number: 60 digits, equal on both sides only if each user has the other's keys
/// (docs/protocol.md).
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
