//! Whose key is whose: pinned when a person is first met, and never changed without their friends'
//! word. Pure.

mod compare;
mod crowd;
mod known;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::chat::{DeviceKey, Opaque, UserName};
use crate::crypto::certificate::{CERTIFICATE_BYTES, Certificate};
use crate::crypto::private::Device;
use crate::crypto::{Fingerprint, PublicKey};
pub use compare::{Confirmed, Prints, safety_number};
pub use known::Known;

/// A person, as far as this client knows.
#[derive(Default)]
struct Person {
    known: Known,
    /// The keys of `known`.
    pinned: Vec<(Fingerprint, PublicKey)>,
    /// What the server says now.
    listed: Option<Vec<Listed>>,
    /// The newest certificate of each key that was ever seen here: the server may tell of an older one, or
    /// of none.
    newest: BTreeMap<[u8; 32], Certificate>,
    /// Keys that were confirmed as ones without a certificate that holds, until there is one.
    bare: BTreeSet<[u8; 32]>,
    /// Keys of which it was told that nothing is sealed for them.
    left_out: BTreeSet<[u8; 32]>,
    /// Keys that are not confirmed, and were shown to be compared.
    shown: BTreeSet<[u8; 32]>,
    /// It is this client's own person, who has these keys here: no other is theirs because a server says so.
    mine: Option<Vec<Fingerprint>>,
    /// That is the server's word alone: it was known as somebody else's name, with other keys.
    anothers: bool,
    /// Answers that are not whole yet.
    coming: Vec<DeviceKey>,
    asked: bool,
    /// That was the wish of this client's person.
    wanted: bool,
    learned_ms: i64,
}

#[derive(Clone)]
struct Listed {
    print: Fingerprint,
    key: PublicKey,
    certificate: Option<Certificate>,
    /// It had one, and none that holds is told.
    over: bool,
}

/// What a key is to a person.
#[derive(Debug, PartialEq)]
pub enum Standing<'a> {
    Theirs(&'a PublicKey),
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
    /// Keys that a known person did not have before.
    pub changed: Vec<Fingerprint>,
}

/// Keys of a person that are listened to.
const KEYS_MAX: usize = 1_000;

/// A key and a certificate, in bytes: what is longer is neither.
const KEY_BYTES_MAX: usize = 1_024;

/// An answer of the server holds for so long.
const FRESH_MS: i64 = 5 * 60 * 1000;

pub struct People {
    /// The fingerprint of the server's first key: certificates are for this server.
    server: Fingerprint,
    all: BTreeMap<String, Person>,
    /// Of those who were met, or their number if that is more.
    keys: usize,
    /// Keys that the server has told of since its answers were last forgotten.
    heard: usize,
}

/// Names are the same in any case, as the server takes them.
fn fold(name: &UserName) -> String {
    name.as_str().to_lowercase()
}

impl People {
    pub fn of<'a>(server: Fingerprint, known: impl Iterator<Item = &'a Known>) -> People {
        let mut people = People { server, all: BTreeMap::new(), keys: 0, heard: 0 };
        for known in known {
            let Some(name) = &known.name else { continue };
            let keys = known.keys.iter().filter_map(|key| PublicKey::from_der(key.bytes()).ok());
            let pinned: Vec<_> = keys.map(|key| (key.fingerprint(), key)).collect();
            let bytes = known.certificates.iter().map(Opaque::bytes);
            let verified = |bytes| {
                let print = Certificate::issuer(<&[u8; CERTIFICATE_BYTES]>::try_from(bytes).ok()?);
                let key = &pinned.iter().find(|(pinned, _)| *pinned == print)?.1;
                Some((print.0, Certificate::verify(bytes, key, &server)?))
            };
            let newest: BTreeMap<_, _> = bytes.filter_map(verified).collect();
            let mut person = Person { known: known.clone(), pinned, newest, ..Person::default() };
            person.known.certified |= !person.newest.is_empty();
            people.keys += person.pinned.len().max(1);
            people.all.insert(fold(name), person);
        }
        people
    }

    fn person(&mut self, name: &UserName) -> &mut Person {
        self.all.entry(fold(name)).or_default()
    }

    /// The registered spelling, where it is known.
    pub fn spelled(&self, name: &UserName) -> UserName {
        let known = self.all.get(&fold(name)).and_then(|person| person.known.name.clone());
        known.unwrap_or_else(|| name.clone())
    }

    /// What is to be kept of a person.
    pub fn known(&self, name: &UserName) -> Option<&Known> {
        self.all.get(&fold(name)).map(|person| &person.known).filter(|known| known.name.is_some())
    }

    /// The server calls the person whose client this is so, and these keys are theirs for certain.
    pub fn is_own(&mut self, name: &UserName, mine: Vec<Fingerprint>) -> Called {
        self.all.values_mut().for_each(|person| (person.mine, person.anothers) = (None, false));
        let own = |person: &Person| mine.iter().any(|print| person.has(print));
        let named = self.all.values().any(own);
        let person = self.person(name);
        let is = match person.pinned.is_empty() {
            _ if own(person) => Called::Known,
            true if named => Called::Renamed,
            true => Called::Known,
            false => Called::Anothers,
        };
        person.anothers = is == Called::Anothers;
        // Under a second name not even these are theirs before the person has said so.
        person.mine = Some(if is == Called::Renamed { Vec::new() } else { mine });
        is
    }

    /// Whether the server has said something of a person on this connection.
    pub fn is_listed(&self, name: &UserName) -> bool {
        self.all.get(&fold(name)).is_some_and(|person| person.listed.is_some())
    }

    /// The connection is gone: what the server said may no longer hold.
    pub fn disconnected(&mut self) {
        self.all.retain(|_, person| person.known.name.is_some());
        self.all.values_mut().for_each(Person::unheard);
        self.heard = 0;
    }

    /// The server has said which keys a person has; none while more of them come.
    pub fn learn(
        &mut self,
        name: &UserName,
        keys: Vec<DeviceKey>,
        more: bool,
        now_ms: i64,
    ) -> Option<Learned> {
        if !self.may_meet(name) {
            return None;
        }
        self.makes_room(name, keys.len().min(KEYS_MAX));
        // Whom nobody here has asked about is not met by the server's word alone.
        let person = self.all.get_mut(&fold(name))?;
        if !person.asked && person.known.name.is_none() {
            return None;
        }
        let had = if person.known.name.is_some() { person.pinned.len().max(1) } else { 0 };
        let room = KEYS_MAX.saturating_sub(person.coming.len());
        let fits = |one: &DeviceKey| {
            let certificate = one.certificate.as_ref().map_or(0, |one| one.bytes().len());
            one.key.bytes().len().max(certificate) <= KEY_BYTES_MAX
        };
        person.coming.extend(keys.into_iter().filter(fits).take(room));
        if more {
            return None;
        }
        let server = self.server;
        let listed = |one: DeviceKey| {
            let key = PublicKey::from_der(one.key.bytes()).ok()?;
            let certificate = one.certificate.and_then(|bytes| {
                let certificate = Certificate::verify(bytes.bytes(), &key, &server)?;
                certificate.is_valid_at((now_ms / 1000) as u64).then_some(certificate)
            });
            Some(Listed { print: key.fingerprint(), key, certificate, over: false })
        };
        let mut listed: Vec<_> =
            std::mem::take(&mut person.coming).into_iter().filter_map(listed).collect();
        for one in &mut listed {
            one.certificate.iter().for_each(|certificate| person.sees(certificate, now_ms));
            let newest = person.newest.get(&one.print.0);
            let valid = |it: &&Certificate| it.is_valid_at((now_ms / 1000) as u64);
            one.certificate = newest.filter(valid).cloned();
            one.over = newest.is_some() && one.certificate.is_none();
        }
        let before: Vec<_> = person.listed.iter().flatten().map(|one| one.print).collect();
        let mut learned = Learned::default();
        if person.known.name.is_none() && !listed.is_empty() {
            person.known.name = Some(name.clone());
            learned.pinned = true;
            if person.mine.is_none() {
                person.pin(&listed);
            }
        }
        if let Some(mine) = person.mine.clone().filter(|_| !person.anothers) {
            let mine = listed.iter().filter(|one| mine.contains(&one.print)).cloned();
            learned.pinned |= person.pin(&mine.collect::<Vec<_>>());
        }
        let certified = listed.iter().any(|one| one.certificate.is_some());
        if certified && !person.known.certified {
            (person.known.certified, learned.pinned) = (true, true);
        }
        learned.pinned |= person.notes_certificates();
        let other = listed.iter().map(|one| one.print);
        let other = other.filter(|print| !person.has(print) && !before.contains(print));
        learned.changed = other.collect();
        (person.listed, person.learned_ms) = (Some(listed), now_ms);
        person.forgets_strangers();
        if person.known.name.is_some() {
            self.keys += person.pinned.len().max(1) - had;
        }
        Some(learned)
    }

    /// A line of a person came with a certificate that one of their keys has signed. Whether there is
    /// something to be kept.
    pub fn saw(&mut self, name: &UserName, certificate: &Certificate, now_ms: i64) -> bool {
        let person = self.person(name);
        let first = !std::mem::replace(&mut person.known.certified, true);
        person.sees(certificate, now_ms);
        let print = certificate.fingerprint();
        let newest = person.newest.get(&print.0) == Some(certificate);
        let holds = newest && certificate.is_valid_at((now_ms / 1000) as u64);
        if let Some(listed) = person.listed.iter_mut().flatten().find(|one| one.print == print) {
            match holds {
                true => (listed.certificate, listed.over) = (Some(certificate.clone()), false),
                false => listed.over |= listed.certificate.is_none(),
            }
        }
        person.notes_certificates() || first
    }

    /// What a key is to a person.
    pub fn standing(&self, name: &UserName, print: &Fingerprint) -> Standing<'_> {
        let Some(person) = self.all.get(&fold(name)) else { return Standing::Unknown };
        if let Some((_, key)) = person.pinned.iter().find(|(pinned, _)| pinned == print) {
            return Standing::Theirs(key);
        }
        let listed = person.listed.iter().flatten().any(|one| one.print == *print);
        if listed { Standing::Unconfirmed } else { Standing::Unknown }
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
        if person.known.certified && !listed.iter().any(good) {
            // They may have published one since.
            let just_now = now_ms == person.learned_ms;
            return Err(if just_now { NoWay::Over } else { NoWay::Ask });
        }
        Ok(person.sealable().map(Listed::recipient).collect())
    }

    /// The same of one's own other devices, without keys that are not confirmed. The server may have been
    /// silent about them for long.
    pub fn own_devices(&self, name: &UserName, now_ms: i64) -> Vec<Recipient> {
        let person = self.all.get(&fold(name)).filter(|person| !person.anothers);
        let Some(person) = person else { return Vec::new() };
        let holds = |it: &Certificate| it.is_valid_at((now_ms / 1000) as u64);
        let holds = |one: &&Listed| one.certificate.as_ref().is_none_or(holds);
        person.sealable().filter(holds).map(Listed::recipient).collect()
    }

    /// Keys for which nothing is sealed because their certificates are over, as far as it was not told.
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
    fn sees(&mut self, certificate: &Certificate, now_ms: i64) {
        // One of a clock that is far ahead would stand before all others.
        if !certificate.has_begun_at((now_ms / 1000) as u64) {
            return;
        }
        let print = certificate.fingerprint().0;
        let newest = self.newest.entry(print).or_insert_with(|| certificate.clone());
        if newest.made_at() < certificate.made_at() {
            *newest = certificate.clone();
        }
        if newest.is_valid_at((now_ms / 1000) as u64) {
            self.bare.remove(&print);
        }
    }

    /// The newest certificates of the pinned keys are to be kept; whether any is another one.
    fn notes_certificates(&mut self) -> bool {
        let newest = self.newest.iter().filter(|(print, _)| self.has(&Fingerprint(**print)));
        let bytes = |one: &Certificate| Opaque::new(one.bytes()).expect("a certificate has bytes");
        let newest: Vec<_> = newest.map(|(_, one)| bytes(one)).collect();
        let changed = self.known.certificates != newest;
        self.known.certificates = newest;
        changed
    }

    /// The pinned keys that lines are sealed for.
    fn sealable(&self) -> impl Iterator<Item = &Listed> {
        let listed = self.listed.iter().flatten().filter(|one| self.has(&one.print));
        listed.filter(|one| !one.over || self.bare.contains(&one.print.0))
    }

    fn has(&self, print: &Fingerprint) -> bool {
        self.pinned.iter().any(|(pinned, _)| pinned == print)
    }

    /// What the server has said is forgotten.
    fn unheard(&mut self) {
        (self.listed, self.asked) = (None, false);
        self.coming.clear();
        self.forgets_strangers();
    }

    /// Nothing is kept of keys that are neither theirs nor told of now.
    fn forgets_strangers(&mut self) {
        let prints = self.listed.iter().flatten().map(|one| one.print);
        let prints = prints.chain(self.pinned.iter().map(|(print, _)| *print));
        let prints: BTreeSet<_> = prints.map(|print| print.0).collect();
        self.newest.retain(|print, _| prints.contains(print));
        self.left_out.retain(|print| prints.contains(print));
    }

    /// Whether any is new.
    fn pin(&mut self, listed: &[Listed]) -> bool {
        let before = self.pinned.len();
        for one in listed {
            if !self.has(&one.print) {
                self.pinned.push((one.print, one.key.clone()));
                let spki = Opaque::new(&one.key.to_der()).expect("a key has bytes");
                self.known.keys.push(spki);
            }
        }
        self.pinned.len() > before
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

impl Listed {
    fn recipient(&self) -> Recipient {
        Recipient { key: self.key.clone(), certificate: self.certificate.clone() }
    }
}
