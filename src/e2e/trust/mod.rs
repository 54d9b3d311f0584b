//! Trust store: which key belongs to which user. The first keys of a user are pinned; later ones
//! need the local user's confirmation. A key that the server stops listing is retired, and each key
//! belongs to one user. Pure.

mod compare;
mod first_use_limit;
mod known;
mod listing;
mod pins;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::chat::look::{Alike, Looks};
use crate::chat::{DeviceKey, Opaque, UserName};
use crate::crypto::certificate::{CERTIFICATE_BYTES, Certificate};
use crate::crypto::private::Device;
use crate::crypto::{Fingerprint, PublicKey};
pub use compare::{Confirmed, Prints, safety_number};
pub use known::{Known, KnownKey};
use listing::Listed;
pub use listing::Part;
use pins::Pin;

/// The state of one user.
#[derive(Default)]
struct Person {
    /// The registered spelling, once the user is pinned.
    name: Option<UserName>,
    /// Current and former keys.
    pins: Vec<Pin>,
    /// The user has published a certificate.
    certified: bool,
    /// The server's current key list.
    listed: Option<Vec<Listed>>,
    /// The newest certificate seen for each key. The server may list an older one, or none.
    newest: BTreeMap<[u8; 32], Certificate>,
    /// Keys that were confirmed without a valid certificate; an entry ends with the next
    /// certificate.
    bare: BTreeSet<[u8; 32]>,
    /// Keys for which the notice that nothing is sealed was given.
    left_out: BTreeSet<[u8; 32]>,
    /// The listed keys that were last displayed for comparison.
    shown: Option<BTreeSet<[u8; 32]>>,
    /// The local user: no key becomes theirs because a server lists it.
    mine: Option<Mine>,
    /// The server uses this name for the local user, but it is pinned to other keys.
    anothers: bool,
    /// Incomplete lists: an unsolicited one, and an answer.
    coming: [Vec<DeviceKey>; 2],
    asked: bool,
    /// The local user has named this user.
    wanted: bool,
    learned_ms: i64,
}

/// The keys in the local user's profile.
struct Mine {
    /// The key of this login; `None` while the name is not confirmed as the local user's.
    own: Option<Fingerprint>,
    all: Vec<Fingerprint>,
}

/// The trust state of a key for a user.
#[derive(Debug, PartialEq)]
pub enum TrustState<'a> {
    Theirs(&'a PublicKey),
    /// A former key: it verifies old messages and no new ones.
    Retired(&'a PublicKey),
    /// Listed by the server and not confirmed.
    Unconfirmed,
    Unknown,
}

/// A key to seal for.
#[derive(Clone)]
pub struct Recipient {
    pub key: PublicKey,
    pub certificate: Option<Certificate>,
}

/// Why messages cannot be sealed for a user.
#[derive(Debug, PartialEq, Eq)]
pub enum NoWay {
    /// The server has to be asked first.
    Ask,
    Nobody,
    /// The user has an unconfirmed key.
    Changed,
    /// The user had certificates, and the server lists no valid one.
    Over,
}

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

/// Keys per user that are taken from a list.
const KEYS_MAX: usize = 1_000;

/// Bound for a key and for a certificate, in bytes; longer ones are invalid.
const KEY_BYTES_MAX: usize = 1_024;

/// Validity of a key list, in milliseconds.
const FRESH_MS: i64 = 5 * 60 * 1000;

pub struct TrustStore {
    /// Fingerprint of the server's first host key: certificates name it.
    server: Fingerprint,
    all: BTreeMap<String, Person>,
    /// Names of pinned users and of the local user, by appearance.
    looks: Looks,
    /// The last owner of each key, as a folded name.
    owners: HashMap<[u8; 32], String>,
    /// Count of pinned keys, or of pinned users if that is higher.
    keys: usize,
    /// Keys listed since the key lists were last dropped.
    listed_keys: usize,
}

/// Returns the folded name: the server compares names without case.
fn fold(name: &UserName) -> String {
    name.as_str().to_lowercase()
}

impl TrustStore {
    pub fn of<'a>(server: Fingerprint, known: impl Iterator<Item = &'a Known>) -> TrustStore {
        let (all, owners) = (BTreeMap::new(), HashMap::new());
        let looks = Looks::default();
        let mut people = TrustStore { server, all, looks, owners, keys: 0, listed_keys: 0 };
        for known in known {
            let Some(name) = &known.name else { continue };
            let mut person = Person { name: Some(name.clone()), ..Person::default() };
            person.pins = known.keys.iter().filter_map(Pin::of).collect();
            let bytes = known.certificates.iter().map(Opaque::bytes);
            let verified = |bytes| {
                let print = Certificate::issuer(<&[u8; CERTIFICATE_BYTES]>::try_from(bytes).ok()?);
                Some((print.0, Certificate::verify(bytes, &person.pin(&print)?.key, &server)?))
            };
            person.newest = bytes.filter_map(verified).collect();
            person.certified = known.certified || !person.newest.is_empty();
            people.keys += person.counts();
            people.looks.add(name);
            people.all.insert(fold(name), person);
        }
        people.assign_owners();
        people
    }

    /// Two clients of a folder may have pinned one key for two users; the first owner keeps it.
    fn assign_owners(&mut self) {
        for (name, person) in &mut self.all {
            for pin in person.pins.iter_mut().filter(|pin| pin.is_theirs()) {
                let owner = self.owners.entry(pin.print.0).or_insert_with(|| name.clone());
                if owner != name {
                    pin.retire(0);
                }
            }
        }
        for (name, person) in &self.all {
            for pin in &person.pins {
                self.owners.entry(pin.print.0).or_insert_with(|| name.clone());
            }
        }
    }

    /// Returns the owner of a key if that is another user.
    pub fn other_owner(&self, name: &UserName, print: &Fingerprint) -> Option<&UserName> {
        let owner = self.owners.get(&print.0).filter(|owner| **owner != fold(name))?;
        self.all.get(owner)?.name.as_ref()
    }

    fn person(&mut self, name: &UserName) -> &mut Person {
        self.all.entry(fold(name)).or_default()
    }

    /// Returns the registered spelling if it is known.
    pub fn spelled(&self, name: &UserName) -> UserName {
        let known = self.all.get(&fold(name)).and_then(|person| person.name.clone());
        known.unwrap_or_else(|| name.clone())
    }

    /// Returns the trust to store for a user.
    pub fn known(&self, name: &UserName) -> Option<Known> {
        self.all.get(&fold(name)).filter(|person| person.name.is_some()).map(Person::known)
    }

    /// Returns whether a user has ever published a certificate; their private messages must then be
    /// sealed.
    pub fn seals(&self, name: &UserName) -> bool {
        self.all.get(&fold(name)).is_some_and(|person| person.certified)
    }

    /// Records the name that the server uses for the local user, and the keys of the profile, that
    /// of this login first.
    pub fn is_own(&mut self, name: &UserName, all: Vec<Fingerprint>) -> Called {
        self.all.values_mut().for_each(|person| (person.mine, person.anothers) = (None, false));
        self.looks.add(name);
        let folded = fold(name);
        let owner = all.iter().find_map(|print| self.owners.get(&print.0));
        let (is_theirs, elsewhere) = (owner == Some(&folded), owner.is_some());
        let person = self.all.entry(folded.clone()).or_default();
        let was_theirs = all.iter().any(|print| person.pin(print).is_some());
        let is = match person.pins.is_empty() || was_theirs {
            _ if is_theirs => Called::Known,
            true if elsewhere => Called::Renamed,
            true => Called::Known,
            false => Called::Anothers,
        };
        person.anothers = is == Called::Anothers;
        // Under another name not even this key counts as the local user's before a confirmation.
        let own = all.first().copied().filter(|_| is == Called::Known);
        if let Some(own) = own {
            self.owners.entry(own.0).or_insert(folded);
        }
        person.mine = Some(Mine { own, all });
        is
    }

    /// Returns whether the server has listed this user's keys on this connection.
    pub fn is_listed(&self, name: &UserName) -> bool {
        self.all.get(&fold(name)).is_some_and(|person| person.listed.is_some())
    }

    /// Drops the server's key lists when the connection is lost.
    pub fn disconnected(&mut self) {
        self.all.retain(|_, person| person.name.is_some());
        self.all.values_mut().for_each(Person::drop_listing);
        self.listed_keys = 0;
    }

    /// Takes a part of a user's key list; returns `None` while more parts follow.
    pub fn learn(&mut self, name: &UserName, part: Part, now_ms: i64) -> Option<Learned> {
        if !self.may_pin(name) {
            return None;
        }
        self.make_room(name, part.keys.len().min(KEYS_MAX));
        let (folded, alike) = (fold(name), self.alike(name));
        // A user whose keys were not requested is not pinned.
        let person = self.all.get_mut(&folded)?;
        if !person.asked && person.name.is_none() {
            return None;
        }
        let had = person.counts();
        let (listed, noted) = person.takes(part, &self.server, now_ms)?;
        // A look-alike is not pinned on first use.
        let meets = person.name.is_none() && !listed.is_empty() && alike.is_none();
        let mut learned = Learned { pinned: meets || noted, ..Learned::default() };
        if meets {
            learned.similar =
                self.looks.similar(name).filter(|other| fold(other) != folded).cloned();
            person.name = Some(name.clone());
            self.looks.add(name);
        }
        learned.alike = alike.filter(|_| !listed.is_empty());
        let own = person.mine.as_ref().and_then(|mine| mine.own);
        let meets = meets && person.mine.is_none();
        for one in listed.iter().filter(|one| meets || own == Some(one.print)) {
            let owner = self.owners.entry(one.print.0).or_insert_with(|| folded.clone());
            learned.pinned |= *owner == folded && person.pins(one);
        }
        let is_listed = |print: &Fingerprint| listed.iter().any(|one| one.print == *print);
        let gone = person.retires(now_ms, |print| !is_listed(print) && own != Some(*print));
        learned.pinned |= !gone.is_empty();
        let mine = |print: &Fingerprint| person.mine.iter().any(|mine| mine.all.contains(print));
        // The retirement of an own former key is no news.
        learned.retired = gone.into_iter().filter(|print| !mine(print)).collect();
        let certified = listed.iter().any(|one| one.certificate.is_some());
        learned.pinned |= certified && !std::mem::replace(&mut person.certified, true);
        let waits = |print: &Fingerprint| !person.has(print) && !person.lists(print);
        let waiting: Vec<_> = listed.iter().map(|one| one.print).filter(waits).collect();
        (person.listed, person.learned_ms) = (Some(listed), now_ms);
        person.drop_unknown();
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
        let person = self.person(name);
        let first = !std::mem::replace(&mut person.certified, true);
        let noted = person.sees(certificate, now_ms);
        let print = certificate.fingerprint();
        let newest = person.newest.get(&print.0) == Some(certificate);
        let holds = newest && certificate.is_valid_at((now_ms / 1000) as u64);
        if let Some(listed) = person.listed.iter_mut().flatten().find(|one| one.print == print) {
            match holds {
                true => (listed.certificate, listed.over) = (Some(certificate.clone()), false),
                false => listed.over |= listed.certificate.is_none(),
            }
        }
        noted || first
    }

    /// Returns the trust state of a key for a user.
    pub fn trust_state(&self, name: &UserName, print: &Fingerprint) -> TrustState<'_> {
        let Some(person) = self.all.get(&fold(name)) else { return TrustState::Unknown };
        match person.pin(print) {
            Some(pin) if pin.is_theirs() => TrustState::Theirs(&pin.key),
            _ if person.lists(print) => TrustState::Unconfirmed,
            Some(pin) => TrustState::Retired(&pin.key),
            None => TrustState::Unknown,
        }
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
        let person = self.all.get(&fold(name));
        let retired_ms = person.and_then(|person| person.pin(print)?.retired_ms);
        retired_ms.is_some_and(|retired_ms| since_ms >= retired_ms || time_ms > retired_ms)
    }

    /// Returns the keys to seal for: pinned, and listed by the server now.
    pub fn recipients(&self, name: &UserName, now_ms: i64) -> Result<Vec<Recipient>, NoWay> {
        let person = self.all.get(&fold(name)).ok_or(NoWay::Ask)?;
        let fresh = now_ms.abs_diff(person.learned_ms) < FRESH_MS as u64;
        let listed = person.listed.as_ref().filter(|_| fresh).ok_or(NoWay::Ask)?;
        if listed.is_empty() {
            return Err(NoWay::Nobody);
        }
        if listed.iter().any(|one| !person.has(&one.print)) {
            return Err(NoWay::Changed);
        }
        // A server cannot downgrade a user with certificates to RSA keys alone.
        let good = |one: &Listed| one.certificate.is_some() || person.bare.contains(&one.print.0);
        if person.certified && !listed.iter().any(good) {
            // The user may have published one since.
            let just_now = now_ms == person.learned_ms;
            return Err(if just_now { NoWay::Over } else { NoWay::Ask });
        }
        Ok(person.sealable().map(Listed::recipient).collect())
    }

    /// Returns the own other devices to seal for, without unconfirmed keys. The server's list may
    /// be old.
    pub fn own_devices(&self, name: &UserName, now_ms: i64) -> Vec<Recipient> {
        let person = self.all.get(&fold(name)).filter(|person| !person.anothers);
        let Some(person) = person else { return Vec::new() };
        let holds = |it: &Certificate| it.is_valid_at((now_ms / 1000) as u64);
        let holds = |one: &&Listed| one.certificate.as_ref().is_none_or(holds);
        person.sealable().filter(holds).map(Listed::recipient).collect()
    }

    /// Returns keys left out for an expired certificate, each once.
    pub fn left_out(&mut self, name: &UserName) -> Vec<Fingerprint> {
        let person = self.person(name);
        let over = person.listed.iter().flatten();
        let over = over.filter(|one| one.over && !person.bare.contains(&one.print.0));
        let over: Vec<_> = over.map(|one| one.print).collect();
        over.into_iter().filter(|print| person.left_out.insert(print.0)).collect()
    }

    /// Marks a key list as outdated.
    pub fn stale(&mut self, name: &UserName) {
        let person = self.person(name);
        (person.listed, person.asked) = (None, false);
    }
}

impl Person {
    /// The pinned keys to seal for.
    fn sealable(&self) -> impl Iterator<Item = &Listed> {
        let listed = self.listed.iter().flatten().filter(|one| self.has(&one.print));
        listed.filter(|one| !one.over || self.bare.contains(&one.print.0))
    }

    /// Drops the server's key list.
    fn drop_listing(&mut self) {
        (self.listed, self.asked) = (None, false);
        self.coming = Default::default();
        self.drop_unknown();
    }

    /// Drops state of keys that are neither pinned nor listed.
    fn drop_unknown(&mut self) {
        let prints = self.listed.iter().flatten().map(|one| one.print);
        let prints = prints.chain(self.pins.iter().map(|pin| pin.print));
        let prints: BTreeSet<_> = prints.map(|print| print.0).collect();
        self.newest.retain(|print, _| prints.contains(print));
        self.left_out.retain(|print| prints.contains(print));
    }
}

impl Recipient {
    pub fn device(&self) -> Device<'_> {
        match &self.certificate {
            Some(certificate) => Device::Certified(certificate, &self.key),
            None => Device::Bare(&self.key),
        }
    }
}
