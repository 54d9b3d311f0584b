//! Whose key is whose. Keys are pinned when a person is first met; later ones wait until the user
//! confirms them. A key that the server stops listing is retired, and one key belongs to one
//! person. Pure.

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

/// A person, as far as this client knows.
#[derive(Default)]
struct Person {
    /// The registered spelling, once they were met.
    name: Option<UserName>,
    /// Keys that are or were theirs.
    pins: Vec<Pin>,
    /// They have published a certificate.
    certified: bool,
    /// What the server says now.
    listed: Option<Vec<Listed>>,
    /// The newest certificate of each key that was ever seen here: the server may tell of an older
    /// one, or of none.
    newest: BTreeMap<[u8; 32], Certificate>,
    /// Keys that were confirmed as ones without a certificate that holds, until there is one.
    bare: BTreeSet<[u8; 32]>,
    /// Keys of which it was told that nothing is sealed for them.
    left_out: BTreeSet<[u8; 32]>,
    /// The listed keys that were shown last, to be compared.
    shown: Option<BTreeSet<[u8; 32]>>,
    /// It is this client's own person: no key is theirs because a server says so.
    mine: Option<Mine>,
    /// That is the server's word alone: it was known as somebody else's name, with other keys.
    anothers: bool,
    /// Lists that are not whole yet: one that comes unasked, and an answer.
    coming: [Vec<DeviceKey>; 2],
    asked: bool,
    /// That was the wish of this client's person.
    wanted: bool,
    learned_ms: i64,
}

/// The keys in the folder of the person whose client this is.
struct Mine {
    /// The one of this login; none under a name that is not confirmed as theirs.
    own: Option<Fingerprint>,
    all: Vec<Fingerprint>,
}

/// What a key is to a person.
#[derive(Debug, PartialEq)]
pub enum TrustState<'a> {
    Theirs(&'a PublicKey),
    /// It was theirs: it proves old messages and no new ones.
    Retired(&'a PublicKey),
    /// The server says so, and nobody has confirmed it.
    Unconfirmed,
    Unknown,
}

/// A key to seal for.
#[derive(Clone)]
pub struct Recipient {
    pub key: PublicKey,
    pub certificate: Option<Certificate>,
}

/// Why nothing is sealed for a person.
#[derive(Debug, PartialEq, Eq)]
pub enum NoWay {
    /// The server has to be asked first.
    Ask,
    Nobody,
    /// They have a key that is not confirmed.
    Changed,
    /// They had certificates, and the server tells of none that holds.
    Over,
}

/// What is known of the name by which the server calls the person whose client this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// It is theirs, or new with everything else.
    Known,
    /// They had another one.
    Renamed,
    /// Somebody else's, who has other keys.
    Anothers,
}

/// What was new in an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Learned {
    /// To be kept.
    pub pinned: bool,
    /// Keys that are listed and wait for a confirmation.
    pub changed: Vec<Fingerprint>,
    /// The same of keys that are another person's, who is named.
    pub anothers: Vec<(Fingerprint, UserName)>,
    /// Keys that are not listed any more.
    pub retired: Vec<Fingerprint>,
    /// Whom they look like, who were therefore not met: their keys wait.
    pub alike: Option<Alike>,
    /// Somebody who is known under a similar name, where they were met.
    pub similar: Option<UserName>,
}

/// Keys of a person that are listened to.
const KEYS_MAX: usize = 1_000;

/// A key and a certificate, in bytes: what is longer is neither.
const KEY_BYTES_MAX: usize = 1_024;

/// An answer of the server holds for so long.
const FRESH_MS: i64 = 5 * 60 * 1000;

pub struct TrustStore {
    /// The fingerprint of the server's first key: certificates are for this server.
    server: Fingerprint,
    all: BTreeMap<String, Person>,
    /// The names of those who were met, and one's own, by how they look.
    looks: Looks,
    /// Whose each key is, or was last: a person's folded name.
    owners: HashMap<[u8; 32], String>,
    /// Of those who were met, or their number if that is more.
    keys: usize,
    /// Keys that the server has told of since its answers were last forgotten.
    heard: usize,
}

/// Names are the same in any case, as the server takes them.
fn fold(name: &UserName) -> String {
    name.as_str().to_lowercase()
}

impl TrustStore {
    pub fn of<'a>(server: Fingerprint, known: impl Iterator<Item = &'a Known>) -> TrustStore {
        let (all, owners) = (BTreeMap::new(), HashMap::new());
        let looks = Looks::default();
        let mut people = TrustStore { server, all, looks, owners, keys: 0, heard: 0 };
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
        people.finds_owners();
        people
    }

    /// Two clients of a folder may have pinned a key for two people: it is the first one's.
    fn finds_owners(&mut self) {
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

    /// Whose a key is, or was last, where that is somebody else.
    pub fn other_owner(&self, name: &UserName, print: &Fingerprint) -> Option<&UserName> {
        let owner = self.owners.get(&print.0).filter(|owner| **owner != fold(name))?;
        self.all.get(owner)?.name.as_ref()
    }

    fn person(&mut self, name: &UserName) -> &mut Person {
        self.all.entry(fold(name)).or_default()
    }

    /// The registered spelling, where it is known.
    pub fn spelled(&self, name: &UserName) -> UserName {
        let known = self.all.get(&fold(name)).and_then(|person| person.name.clone());
        known.unwrap_or_else(|| name.clone())
    }

    /// What is to be kept of a person.
    pub fn known(&self, name: &UserName) -> Option<Known> {
        self.all.get(&fold(name)).filter(|person| person.name.is_some()).map(Person::known)
    }

    /// Whether a person has ever published a certificate: what they say in private is sealed.
    pub fn seals(&self, name: &UserName) -> bool {
        self.all.get(&fold(name)).is_some_and(|person| person.certified)
    }

    /// The server calls the person whose client this is so; these keys are in their folder, the one
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
        // Under a second name not even this key is theirs before the person has said so.
        let own = all.first().copied().filter(|_| is == Called::Known);
        if let Some(own) = own {
            self.owners.entry(own.0).or_insert(folded);
        }
        person.mine = Some(Mine { own, all });
        is
    }

    /// Whether the server has said something of a person on this connection.
    pub fn is_listed(&self, name: &UserName) -> bool {
        self.all.get(&fold(name)).is_some_and(|person| person.listed.is_some())
    }

    /// The connection is gone: what the server said may no longer hold.
    pub fn disconnected(&mut self) {
        self.all.retain(|_, person| person.name.is_some());
        self.all.values_mut().for_each(Person::unheard);
        self.heard = 0;
    }

    /// The server lists the keys of a person; none while more of them come.
    pub fn learn(&mut self, name: &UserName, part: Part, now_ms: i64) -> Option<Learned> {
        if !self.may_meet(name) {
            return None;
        }
        self.makes_room(name, part.keys.len().min(KEYS_MAX));
        let (folded, alike) = (fold(name), self.alike(name));
        // Whom nobody here has asked about is not met by the server's word alone.
        let person = self.all.get_mut(&folded)?;
        if !person.asked && person.name.is_none() {
            return None;
        }
        let had = person.counts();
        let (listed, noted) = person.takes(part, &self.server, now_ms)?;
        // Somebody who looks like another one is met by no word of the server's.
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
        // Of one's own former key one has heard.
        learned.retired = gone.into_iter().filter(|print| !mine(print)).collect();
        let certified = listed.iter().any(|one| one.certificate.is_some());
        learned.pinned |= certified && !std::mem::replace(&mut person.certified, true);
        let waits = |print: &Fingerprint| !person.has(print) && !person.lists(print);
        let waiting: Vec<_> = listed.iter().map(|one| one.print).filter(waits).collect();
        (person.listed, person.learned_ms) = (Some(listed), now_ms);
        person.forgets_strangers();
        self.keys += person.counts() - had;
        for print in waiting {
            match self.other_owner(name, &print) {
                Some(owner) => learned.anothers.push((print, owner.clone())),
                None => learned.changed.push(print),
            }
        }
        Some(learned)
    }

    /// A line of a person came with a certificate that one of their keys has signed. Whether there
    /// is something to be kept.
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

    /// What a key is to a person.
    pub fn standing(&self, name: &UserName, print: &Fingerprint) -> TrustState<'_> {
        let Some(person) = self.all.get(&fold(name)) else { return TrustState::Unknown };
        match person.pin(print) {
            Some(pin) if pin.is_theirs() => TrustState::Theirs(&pin.key),
            _ if person.lists(print) => TrustState::Unconfirmed,
            Some(pin) => TrustState::Retired(&pin.key),
            None => TrustState::Unknown,
        }
    }

    /// Whether a key was retired before a message that it has signed: one that cannot be older than
    /// `since_ms`, and has this time.
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

    /// The keys of a person that the server says are still theirs.
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
        // Who had certificates is not reached under RSA keys alone because a server says so.
        let good = |one: &Listed| one.certificate.is_some() || person.bare.contains(&one.print.0);
        if person.certified && !listed.iter().any(good) {
            // They may have published one since.
            let just_now = now_ms == person.learned_ms;
            return Err(if just_now { NoWay::Over } else { NoWay::Ask });
        }
        Ok(person.sealable().map(Listed::recipient).collect())
    }

    /// The same of one's own other devices, without keys that are not confirmed. The server may
    /// have been silent about them for long.
    pub fn own_devices(&self, name: &UserName, now_ms: i64) -> Vec<Recipient> {
        let person = self.all.get(&fold(name)).filter(|person| !person.anothers);
        let Some(person) = person else { return Vec::new() };
        let holds = |it: &Certificate| it.is_valid_at((now_ms / 1000) as u64);
        let holds = |one: &&Listed| one.certificate.as_ref().is_none_or(holds);
        person.sealable().filter(holds).map(Listed::recipient).collect()
    }

    /// Keys for which nothing is sealed because their certificates are over, as far as it was not
    /// told.
    pub fn left_out(&mut self, name: &UserName) -> Vec<Fingerprint> {
        let person = self.person(name);
        let over = person.listed.iter().flatten();
        let over = over.filter(|one| one.over && !person.bare.contains(&one.print.0));
        let over: Vec<_> = over.map(|one| one.print).collect();
        over.into_iter().filter(|print| person.left_out.insert(print.0)).collect()
    }

    /// What the server said of a person is asked for anew.
    pub fn stale(&mut self, name: &UserName) {
        let person = self.person(name);
        (person.listed, person.asked) = (None, false);
    }
}

impl Person {
    /// The pinned keys that lines are sealed for.
    fn sealable(&self) -> impl Iterator<Item = &Listed> {
        let listed = self.listed.iter().flatten().filter(|one| self.has(&one.print));
        listed.filter(|one| !one.over || self.bare.contains(&one.print.0))
    }

    /// What the server has said is forgotten.
    fn unheard(&mut self) {
        (self.listed, self.asked) = (None, false);
        self.coming = Default::default();
        self.forgets_strangers();
    }

    /// Nothing is kept of keys that are neither theirs nor told of now.
    fn forgets_strangers(&mut self) {
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
