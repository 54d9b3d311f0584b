//! Trust store: which key belongs to which user. The first keys of a user are pinned; later ones
//! need the local user's confirmation. A key that the server stops listing is retired, and each key
//! belongs to one user. Pure.

mod compare;
mod known;
mod listing;
mod person;
mod pins;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;

use std::collections::{BTreeMap, HashMap};

use crate::chat::UserName;
use crate::chat::look::{Alike, Looks};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::Certificate;
use crate::limits::MET_KEYS_MAX;
pub use compare::{Confirmed, Prints, safety_number};
#[cfg(test)]
pub use known::Unstored;
pub use known::{Known, KnownKey};
use listing::KEYS_MAX;
pub use listing::{Part, Recipient};
use person::{Comparison, Person};
pub use person::{NoWay, TrustState};

/// The state of the name that the server uses for the local user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// It belongs to the local user, or nothing is known yet.
    Known,
    /// The local user had another name.
    Renamed,
    /// It belongs to a user with other keys.
    Anothers,
}

/// What a key list has changed.
#[derive(Debug, Default, PartialEq)]
pub struct Learned {
    /// Something has to be stored.
    pub pinned: bool,
    /// Listed keys that wait for confirmation.
    pub changed: Vec<Fingerprint>,
    /// Listed keys that belong to another user.
    pub anothers: Vec<(Fingerprint, UserName)>,
    /// Keys that are no longer listed.
    pub retired: Vec<Fingerprint>,
    /// The look-alike because of which the user was not pinned; the keys wait.
    pub alike: Option<Alike>,
    /// Somebody who is known under a similar name, where they were met.
    pub similar: Option<UserName>,
}

/// Former names of a user that are tried to open a message.
const NAMES_MAX: usize = 8;

/// A name of a user.
pub struct FormerName {
    pub name: UserName,
    /// When the user's key was retired under it, in milliseconds since 1970; `None` for a name that
    /// the user has.
    pub until_ms: Option<i64>,
}

pub struct TrustStore {
    /// Fingerprint of the server's first host key: certificates name it.
    server: Fingerprint,
    all: BTreeMap<UserName, Person>,
    /// Names of pinned users and of the local user, by appearance.
    looks: Looks,
    /// The last owner of each key.
    owners: HashMap<[u8; 32], UserName>,
    /// Count of pinned keys, or of pinned users if that is higher.
    keys: usize,
    /// Keys listed since the key lists were last dropped.
    listed_keys: usize,
    /// Keys unpinned after first use, because another client had pinned the user earlier.
    set_back: Vec<(UserName, Vec<Fingerprint>)>,
}

impl TrustStore {
    pub fn of<'a>(server: Fingerprint, known: impl Iterator<Item = &'a Known>) -> TrustStore {
        let (all, owners) = (BTreeMap::new(), HashMap::new());
        let (looks, keys, listed_keys) = (Looks::default(), 0, 0);
        let set_back = Vec::new();
        let mut people = TrustStore { server, all, looks, owners, keys, listed_keys, set_back };
        for known in known {
            let Some(name) = &known.name else { continue };
            let person = Person::of(known, &server);
            people.keys += person.counts();
            people.looks.add(name);
            people.all.insert(name.clone(), person);
        }
        people.assign_owners();
        people
    }

    /// Takes over what another client of this data folder has stored.
    pub fn merge<'a>(&mut self, file: impl Iterator<Item = &'a Known>) {
        for known in file {
            let Some(name) = &known.name else { continue };
            if self.known(name).as_ref() == Some(known) {
                continue;
            }
            let person = self.all.entry(name.clone()).or_default();
            let lost = person.merge(known, &self.server);
            self.looks.add(name);
            if !lost.is_empty() {
                self.set_back.push((name.clone(), lost));
            }
        }
        self.keys = self.all.values().map(Person::counts).sum();
        self.owners.clear();
        self.assign_owners();
        for (name, person) in &self.all {
            if let Some(own) = person.own() {
                self.owners.entry(own.0).or_insert_with(|| name.clone());
            }
        }
    }

    /// Records that the file has what is known of these users.
    pub fn are_stored<'a>(&mut self, names: impl Iterator<Item = &'a UserName>) {
        for name in names {
            self.person(name).is_stored();
        }
    }

    /// Returns, once, the keys that the user has to confirm because another client had met their
    /// owner before.
    pub fn take_set_back(&mut self) -> Vec<(UserName, Vec<Fingerprint>)> {
        std::mem::take(&mut self.set_back)
    }

    /// Two clients of a folder may have pinned one key for two users; the first owner keeps it.
    /// Stored pins precede first-use pins that are not stored yet.
    fn assign_owners(&mut self) {
        for (name, person) in &self.all {
            for print in person.settled_prints() {
                self.owners.entry(print.0).or_insert_with(|| name.clone());
            }
        }
        for (name, person) in &mut self.all {
            let owners = &mut self.owners;
            person
                .retires(0, |print| owners.entry(print.0).or_insert_with(|| name.clone()) != name);
        }
        for (name, person) in &self.all {
            for print in person.all_prints() {
                self.owners.entry(print.0).or_insert_with(|| name.clone());
            }
        }
    }

    /// Returns the owner of a key if that is another user.
    pub fn other_owner(&self, name: &UserName, print: &Fingerprint) -> Option<&UserName> {
        let owner = self.owners.get(&print.0).filter(|owner| *owner != name)?;
        self.all.get(owner)?.name()
    }

    /// Returns the former names of a user with these keys. A name is a former one of a key that was
    /// retired there, and that the user's present name has, or had for longer. If the present name
    /// is the local user's and not confirmed yet, each name of a key is a former one.
    pub fn former_names(&self, name: &UserName, prints: &[Fingerprint]) -> Vec<FormerName> {
        let present = self.all.get(name);
        let is_unconfirmed = present.is_some_and(Person::is_unconfirmed);
        let mut former = Vec::new();
        for (_, other) in self.all.iter().filter(|(other, _)| *other != name) {
            let until = |print: &Fingerprint| {
                let until_ms = other.pinned_until(print)?;
                let here = present.and_then(|person| person.pinned_until(print));
                let is_former = match (until_ms, here) {
                    (_, None) => is_unconfirmed,
                    (None, Some(_)) => false,
                    (Some(_), Some(None)) => true,
                    (Some(there), Some(Some(here))) => there < here,
                };
                is_former.then_some(until_ms)
            };
            // Of several keys, the one that was retired last.
            let until = prints.iter().filter_map(until);
            let last = until.reduce(|one, other| one.zip(other).map(|(one, two)| one.max(two)));
            if let Some((until_ms, name)) = last.zip(other.name()) {
                former.push(FormerName { name: name.clone(), until_ms });
            }
        }
        former.truncate(NAMES_MAX);
        former
    }

    /// Returns the current and former keys of a user.
    pub fn keys_of(&self, name: &UserName) -> Vec<Fingerprint> {
        self.all.get(name).map_or(Vec::new(), |person| person.all_prints().collect())
    }

    fn person(&mut self, name: &UserName) -> &mut Person {
        self.all.entry(name.clone()).or_default()
    }

    /// Returns the registered spelling if it is known.
    pub fn spelled(&self, name: &UserName) -> UserName {
        let known = self.all.get(name).and_then(Person::name).cloned();
        known.unwrap_or_else(|| name.clone())
    }

    /// Returns the trust to store for a user.
    pub fn known(&self, name: &UserName) -> Option<Known> {
        self.all.get(name).filter(|person| person.is_pinned()).map(Person::known)
    }

    /// Returns whether a user has ever published a certificate; their private messages must then be
    /// sealed.
    pub fn seals(&self, name: &UserName) -> bool {
        self.all.get(name).is_some_and(Person::is_certified)
    }

    /// Records the name that the server uses for the local user, and the keys of the profile, that
    /// of this login first.
    pub fn is_own(&mut self, name: &UserName, all: Vec<Fingerprint>) -> Called {
        self.all.values_mut().for_each(Person::is_not_mine);
        self.looks.add(name);
        let owner = all.iter().find_map(|print| self.owners.get(&print.0));
        let (is_theirs, elsewhere) = (owner == Some(name), owner.is_some());
        let person = self.all.entry(name.clone()).or_default();
        let is = match person.may_own(&all) {
            _ if is_theirs => Called::Known,
            true if elsewhere => Called::Renamed,
            true => Called::Known,
            false => Called::Anothers,
        };
        // Under another name not even this key counts as the local user's before a confirmation.
        let own = all.first().copied().filter(|_| is == Called::Known);
        if let Some(own) = own {
            self.owners.entry(own.0).or_insert_with(|| name.clone());
        }
        person.is_mine(own, all, is == Called::Anothers);
        is
    }

    /// Returns whether the server has listed this user's keys on this connection.
    pub fn is_listed(&self, name: &UserName) -> bool {
        self.all.get(name).is_some_and(Person::is_listed)
    }

    /// Drops the server's key lists when the connection is lost.
    pub fn disconnected(&mut self) {
        self.all.retain(|_, person| person.is_pinned());
        self.all.values_mut().for_each(Person::drop_listing);
        self.listed_keys = 0;
    }

    /// Takes a part of a user's key list; returns `None` while more parts follow.
    pub fn learn(&mut self, name: &UserName, part: Part, now_ms: i64) -> Option<Learned> {
        if !self.may_pin(name) {
            return None;
        }
        self.make_room(name, part.keys.len().min(KEYS_MAX));
        let alike = self.alike(name);
        // A user whose keys were not requested is not pinned.
        let person = self.all.get_mut(name)?;
        if !person.is_expected() {
            return None;
        }
        let had = person.counts();
        let (listed, noted) = person.takes(part, &self.server, now_ms)?;
        // A look-alike is not pinned on first use.
        let meets = !person.is_pinned() && !listed.is_empty() && alike.is_none();
        let mut learned = Learned { pinned: meets || noted, ..Learned::default() };
        if meets {
            learned.similar = self.looks.similar(name).cloned();
            person.meets(name);
            self.looks.add(name);
        }
        learned.alike = alike.filter(|_| !listed.is_empty());
        let own = person.own();
        let meets = meets && !person.is_local();
        for one in listed.iter().filter(|one| meets || own == Some(one.print)) {
            let owner = self.owners.entry(one.print.0).or_insert_with(|| name.clone());
            if owner == name {
                let is_own = own == Some(one.print);
                learned.pinned |= if is_own { person.pins(one) } else { person.pins_met(one) };
            }
        }
        let is_listed = |print: &Fingerprint| listed.iter().any(|one| one.print == *print);
        let gone = person.retires(now_ms, |print| !is_listed(print) && own != Some(*print));
        learned.pinned |= !gone.is_empty();
        // The retirement of an own former key is no news.
        learned.retired = gone.into_iter().filter(|print| !person.is_of_profile(print)).collect();
        let certified = listed.iter().any(|one| one.certificate.is_some());
        learned.pinned |= certified && person.certifies();
        let waits = |print: &Fingerprint| !person.has(print) && !person.lists(print);
        let waiting: Vec<_> = listed.iter().map(|one| one.print).filter(waits).collect();
        person.listed(listed, now_ms);
        self.keys += person.counts() - had;
        for print in waiting {
            match self.other_owner(name, &print) {
                Some(owner) => learned.anothers.push((print, owner.clone())),
                None => learned.changed.push(print),
            }
        }
        Some(learned)
    }

    /// Takes a valid certificate from a message. Returns whether something has to be stored.
    pub fn saw(&mut self, name: &UserName, certificate: &Certificate, now_ms: i64) -> bool {
        self.person(name).saw(certificate, now_ms)
    }

    /// Returns the trust state of a key for a user.
    pub fn trust_state(&self, name: &UserName, print: &Fingerprint) -> TrustState<'_> {
        let person = self.all.get(name);
        person.map_or(TrustState::Unknown, |person| person.trust_state(print))
    }

    /// Returns whether a key was retired before it signed a message with this signed time, which
    /// cannot be older than `since_ms`.
    pub fn is_late(
        &self,
        name: &UserName,
        print: &Fingerprint,
        since_ms: i64,
        time_ms: i64,
    ) -> bool {
        let person = self.all.get(name);
        let retired_ms = person.and_then(|person| person.retired_ms(print));
        retired_ms.is_some_and(|retired_ms| since_ms >= retired_ms || time_ms > retired_ms)
    }

    /// Returns the keys to seal for: pinned, and listed by the server now.
    pub fn recipients(&self, name: &UserName, now_ms: i64) -> Result<Vec<Recipient>, NoWay> {
        self.all.get(name).ok_or(NoWay::Ask)?.recipients(now_ms)
    }

    /// Returns the own other devices to seal for, without unconfirmed keys. The server's list may
    /// be old.
    pub fn own_devices(&self, name: &UserName, now_ms: i64) -> Vec<Recipient> {
        self.all.get(name).map_or(Vec::new(), |person| person.own_devices(now_ms))
    }

    /// Returns keys left out for want of a valid certificate, each once.
    pub fn left_out(&mut self, name: &UserName) -> Vec<Fingerprint> {
        self.person(name).left_out()
    }

    /// Marks a key list as outdated.
    pub fn stale(&mut self, name: &UserName) {
        self.person(name).stale();
    }

    /// Returns a user's keys for display and remembers them, so that they can be confirmed.
    pub fn shows(&mut self, name: &UserName) -> Prints {
        self.person(name).shows()
    }

    /// A user's current, unconfirmed and former keys.
    pub fn prints(&self, name: &UserName) -> Prints {
        self.all.get(name).map_or_else(Prints::default, Person::prints)
    }

    /// Confirms the displayed keys: they become the user's only keys. If all were pinned already,
    /// the confirmation is about those without a certificate.
    pub fn confirm(&mut self, name: &UserName, now_ms: i64) -> Confirmed {
        let own = self.all.values().find_map(Person::own);
        let person = self.person(name);
        if person.is_anothers() {
            return Confirmed::Anothers;
        }
        let listed = match person.compares() {
            Comparison::Unseen => return Confirmed::Unseen,
            Comparison::Bare(bare) => {
                person.confirms();
                person.confirms_bare(&bare);
                return Confirmed::Bare(bare);
            }
            Comparison::News(listed) => listed,
        };
        let is_listed = |print: &Fingerprint| listed.iter().any(|one| one.print == *print);
        if !person.is_local() && own.is_some_and(|own| is_listed(&own)) {
            return Confirmed::Own;
        }
        person.retires(now_ms, |print| !is_listed(print));
        // A look-alike name is pinned now.
        person.meets(name);
        self.looks.add(name);
        let mut losers = Vec::new();
        for one in &listed {
            losers.extend(self.moves(name, &one.print, now_ms));
            self.person(name).pins(one);
        }
        self.person(name).confirms();
        self.person(name).confirms_own(&listed);
        Confirmed::News(losers)
    }

    /// Moves a key to this user. Returns the previous owner.
    fn moves(&mut self, name: &UserName, print: &Fingerprint, now_ms: i64) -> Option<UserName> {
        let before = self.owners.insert(print.0, name.clone()).filter(|owner| owner != name)?;
        let other = self.all.get_mut(&before)?;
        other.retires(now_ms, |one| one == print);
        // The server's earlier list of that user is outdated.
        other.drop_listing();
        other.name().cloned()
    }

    /// Returns whether a user mentioned by the server is pinned, or may be. A server can invent
    /// users without end: beyond the limit new ones are not pinned. Pinned users are never dropped,
    /// because the next key that the server lists would then be accepted for them.
    pub fn may_pin(&self, name: &UserName) -> bool {
        let room = self.keys < MET_KEYS_MAX;
        match self.all.get(name) {
            Some(person) => person.is_pinned() || person.is_wanted() || room,
            None => !self.is_full(),
        }
    }

    /// Returns whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.keys.max(self.all.len()) >= MET_KEYS_MAX
    }

    /// Returns what an unpinned name looks like: a pinned user, the local user, or a word that this
    /// program uses for a person.
    pub fn alike(&self, name: &UserName) -> Option<Alike> {
        let person = self.all.get(name);
        let is_known = |person: &Person| person.is_pinned() || person.is_local();
        self.looks.alike(name).filter(|_| !person.is_some_and(is_known))
    }

    /// Returns whether to request the keys of a user whom the server has mentioned.
    pub fn wants_mentioned(&mut self, name: &UserName) -> bool {
        self.may_pin(name) && self.person(name).asks()
    }

    /// Returns whether to request the keys of a user whom the local user has named.
    pub fn wants_named(&mut self, name: &UserName) -> bool {
        let person = self.person(name);
        person.is_named();
        person.asks()
    }

    /// Drops the server's key lists when there are too many; they are requested again on demand.
    fn make_room(&mut self, name: &UserName, keys: usize) {
        self.listed_keys += keys;
        if self.listed_keys > MET_KEYS_MAX {
            let others = self.all.iter_mut().filter(|(other, _)| *other != name);
            others.for_each(|(_, person)| person.make_room());
            self.listed_keys = keys;
        }
    }
}
