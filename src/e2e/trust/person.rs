//! The trust in one user: keys, certificates, the server's list of them, and what was compared.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::Prints;
use super::known::{Known, Unstored};
use super::listing::{KEY_BYTES_MAX, KEYS_MAX, Listed, Part, Recipient};
use super::pins::Pin;
use crate::chat::{DeviceKey, Opaque, UserName};
use crate::crypto::certificate::{CERTIFICATE_BYTES, Certificate};
use crate::crypto::{Fingerprint, PublicKey};

/// Validity of a key list, in milliseconds.
pub const FRESH_MS: i64 = 5 * 60 * 1000;

/// The state of one user.
#[derive(Default)]
pub struct Person {
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
    /// Keys for which the notice that nothing is sealed for them was given.
    left_out: BTreeSet<[u8; 32]>,
    /// The listed keys that were last displayed for comparison.
    shown: Option<BTreeSet<[u8; 32]>>,
    /// The local user: no key becomes theirs because a server lists it.
    mine: Option<Mine>,
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
    /// The server uses this name for the local user, but it is pinned to other keys.
    anothers: bool,
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

/// What a confirmation of the displayed keys is about.
pub enum Comparison {
    /// The listed keys differ from the displayed ones.
    Unseen,
    /// All are pinned already; these have no valid certificate.
    Bare(Vec<Fingerprint>),
    /// Some are not pinned: all that are listed.
    News(Vec<Listed>),
}

impl Person {
    /// Restores the stored trust in a user; certificates are verified again.
    pub fn of(known: &Known, server: &Fingerprint) -> Person {
        let mut person = Person { name: known.name.clone(), ..Person::default() };
        person.pins = known.keys.iter().filter_map(Pin::of).collect();
        let bytes = known.certificates.iter().map(Opaque::bytes);
        let verified = |bytes| {
            let print = Certificate::issuer(<&[u8; CERTIFICATE_BYTES]>::try_from(bytes).ok()?);
            Some((print.0, Certificate::verify(bytes, &person.pin(&print)?.key, server)?))
        };
        person.newest = bytes.filter_map(verified).collect();
        person.certified = known.certified || !person.newest.is_empty();
        person
    }

    /// Returns the trust to store.
    pub fn known(&self) -> Known {
        let newest =
            self.newest.iter().filter(|(print, _)| self.pin(&Fingerprint(**print)).is_some());
        let bytes = |one: &Certificate| Opaque::new(one.bytes()).expect("a certificate has bytes");
        Known {
            name: self.name.clone(),
            keys: self.pins.iter().map(Pin::known).collect(),
            certified: self.certified,
            certificates: newest.map(|(_, one)| bytes(one)).collect(),
        }
    }

    /// Takes over what another client has stored. Returns the keys that are therefore not pinned
    /// any more.
    pub fn merge(&mut self, file: &Known, server: &Fingerprint) -> Vec<Fingerprint> {
        let mut known = self.known();
        known.merge(file);
        let merged = Person::of(&known, server);
        let lost = self.all_prints().filter(|print| merged.pin(print).is_none()).collect();
        self.pins = merged.pins;
        self.name = self.name.take().or(merged.name).or_else(|| file.name.clone());
        self.certified |= merged.certified;
        for (print, certificate) in merged.newest {
            let known = self.newest.get(&print);
            if known.is_some_and(|known| known.made_at() >= certificate.made_at()) {
                continue;
            }
            let listed = self.listed.iter_mut().flatten().find(|one| one.print.0 == print);
            if let Some(listed) = listed.filter(|one| one.certificate.is_some()) {
                listed.certificate = Some(certificate.clone());
            }
            self.newest.insert(print, certificate);
        }
        lost
    }

    /// Records that the file has the state of all keys.
    pub fn is_stored(&mut self) {
        self.pins.iter_mut().for_each(Pin::is_stored);
    }

    /// The registered spelling, once the user is pinned.
    pub fn name(&self) -> Option<&UserName> {
        self.name.as_ref()
    }

    pub fn is_pinned(&self) -> bool {
        self.name.is_some()
    }

    /// Pins a user under a name, unless they are pinned already.
    pub fn meets(&mut self, name: &UserName) {
        self.name.get_or_insert_with(|| name.clone());
    }

    /// How much this user counts towards the first-use limit.
    pub fn counts(&self) -> usize {
        if self.name.is_some() { self.pins.len().max(1) } else { 0 }
    }

    /// Records that the local user has named this user.
    pub fn is_named(&mut self) {
        self.wanted = true;
    }

    /// Returns whether the local user has named this user.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Returns whether to request the keys; they are then on their way.
    pub fn asks(&mut self) -> bool {
        self.listed.is_none() && !std::mem::replace(&mut self.asked, true)
    }

    /// Returns whether a key list is taken: the user is pinned, or their keys were requested.
    pub fn is_expected(&self) -> bool {
        self.asked || self.name.is_some()
    }

    /// Returns whether the server has listed the keys on this connection.
    pub fn is_listed(&self) -> bool {
        self.listed.is_some()
    }

    /// Returns whether the user has ever published a certificate.
    pub fn is_certified(&self) -> bool {
        self.certified
    }

    /// Records that the user has published a certificate. Returns whether it is the first one.
    pub fn certifies(&mut self) -> bool {
        !std::mem::replace(&mut self.certified, true)
    }

    fn pin(&self, print: &Fingerprint) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.print == *print)
    }

    /// The current and former keys.
    pub fn all_prints(&self) -> impl Iterator<Item = Fingerprint> {
        self.pins.iter().map(|pin| pin.print)
    }

    /// Returns when a key that is or was pinned was retired: `Some(None)` for a current key.
    pub fn pinned_until(&self, print: &Fingerprint) -> Option<Option<i64>> {
        self.pin(print).map(|pin| pin.retired_ms)
    }

    /// Returns whether a key is pinned.
    pub fn has(&self, print: &Fingerprint) -> bool {
        self.pin(print).is_some_and(Pin::is_theirs)
    }

    /// Pins a key at a first contact. Returns whether that is a change.
    pub fn pins_met(&mut self, one: &Listed) -> bool {
        self.pins_as(one, Unstored::Met)
    }

    /// Pins a key that the user has confirmed, or the local user's own one. Returns whether that is
    /// a change.
    pub fn pins(&mut self, one: &Listed) -> bool {
        self.pins_as(one, Unstored::Decided)
    }

    fn pins_as(&mut self, one: &Listed, unstored: Unstored) -> bool {
        match self.pins.iter_mut().find(|pin| pin.print == one.print) {
            Some(pin) => pin.renew(),
            None => {
                self.pins.push(Pin::new(one.print, one.key.clone(), unstored));
                true
            }
        }
    }

    /// The current keys that the file has, or that the user has confirmed.
    pub fn settled_prints(&self) -> impl Iterator<Item = Fingerprint> {
        self.pins.iter().filter(|pin| pin.is_theirs() && !pin.is_met()).map(|pin| pin.print)
    }

    /// Records that the user has confirmed all current keys.
    pub fn confirms(&mut self) {
        self.pins.iter_mut().for_each(Pin::confirm);
    }

    /// Retires the pinned keys that `goes` selects.
    pub fn retires(
        &mut self,
        now_ms: i64,
        mut goes: impl FnMut(&Fingerprint) -> bool,
    ) -> Vec<Fingerprint> {
        let pins = self.pins.iter_mut().filter(|pin| pin.is_theirs() && goes(&pin.print));
        pins.map(|pin| {
            pin.retire(now_ms);
            pin.print
        })
        .collect()
    }

    /// Returns the trust state of a key.
    pub fn trust_state(&self, print: &Fingerprint) -> TrustState<'_> {
        match self.pin(print) {
            Some(pin) if pin.is_theirs() => TrustState::Theirs(&pin.key),
            _ if self.lists(print) => TrustState::Unconfirmed,
            Some(pin) => TrustState::Retired(&pin.key),
            None => TrustState::Unknown,
        }
    }

    /// Returns when a key was retired.
    pub fn retired_ms(&self, print: &Fingerprint) -> Option<i64> {
        self.pin(print)?.retired_ms
    }

    /// Records that this is no name of the local user.
    pub fn is_not_mine(&mut self) {
        self.mine = None;
    }

    /// Returns whether this is a new user, or one of these keys is or was theirs.
    pub fn may_own(&self, keys: &[Fingerprint]) -> bool {
        self.pins.is_empty() || keys.iter().any(|print| self.pin(print).is_some())
    }

    /// Records that the server uses this name for the local user, whose profile has these keys.
    /// `own` is the key of this login, if the name is known as the local user's.
    pub fn is_mine(&mut self, own: Option<Fingerprint>, all: Vec<Fingerprint>, anothers: bool) {
        self.mine = Some(Mine { own, all, anothers });
    }

    /// Returns whether the server uses this name for the local user.
    pub fn is_local(&self) -> bool {
        self.mine.is_some()
    }

    /// The key of this login, if the name is known as the local user's.
    pub fn own(&self) -> Option<Fingerprint> {
        self.mine.as_ref()?.own
    }

    /// Returns whether the server uses this name for the local user, who has not confirmed it yet.
    pub fn is_unconfirmed(&self) -> bool {
        self.mine.as_ref().is_some_and(|mine| mine.own.is_none() && !mine.anothers)
    }

    /// Returns whether the local user's name is pinned to other keys.
    pub fn is_anothers(&self) -> bool {
        self.mine.as_ref().is_some_and(|mine| mine.anothers)
    }

    /// Returns whether a key is in the local user's profile.
    pub fn is_of_profile(&self, print: &Fingerprint) -> bool {
        self.mine.iter().any(|mine| mine.all.contains(print))
    }

    /// Collects the parts of a list. With the last one, returns the list without duplicates, and
    /// whether a certificate in it has to be stored.
    pub fn takes(
        &mut self,
        part: Part,
        server: &Fingerprint,
        now_ms: i64,
    ) -> Option<(Vec<Listed>, bool)> {
        let coming = &mut self.coming[usize::from(part.asked)];
        let room = KEYS_MAX.saturating_sub(coming.len());
        let fits = |one: &DeviceKey| {
            let certificate = one.certificate.as_ref().map_or(0, |one| one.bytes().len());
            one.key.bytes().len().max(certificate) <= KEY_BYTES_MAX
        };
        coming.extend(part.keys.into_iter().filter(fits).take(room));
        if part.more {
            return None;
        }
        let (mut listed, mut noted) = (BTreeMap::new(), false);
        for one in
            std::mem::take(coming).into_iter().filter_map(|one| Listed::read(one, server, now_ms))
        {
            let certificate = one.certificate.as_ref();
            noted |= certificate.is_some_and(|certificate| self.notes(certificate, now_ms));
            listed.entry(one.print.0).or_insert(one);
        }
        let mut listed: Vec<_> = listed.into_values().collect();
        for one in &mut listed {
            let newest = self.newest.get(&one.print.0);
            let valid = |it: &&Certificate| it.is_valid_at((now_ms / 1000) as u64);
            one.certificate = newest.filter(valid).cloned();
        }
        Some((listed, noted))
    }

    /// Takes over a complete list.
    pub fn listed(&mut self, listed: Vec<Listed>, now_ms: i64) {
        (self.listed, self.learned_ms) = (Some(listed), now_ms);
        self.drop_unknown();
    }

    /// Takes a certificate of a listed or pinned key. Returns whether to store it.
    fn notes(&mut self, certificate: &Certificate, now_ms: i64) -> bool {
        // A certificate of a clock that is far ahead would outrank all others.
        if !certificate.has_begun_at((now_ms / 1000) as u64) {
            return false;
        }
        let print = certificate.fingerprint();
        let known = self.newest.get(&print.0);
        let newer = known.is_none_or(|known| {
            known.made_at() < certificate.made_at() || !known.has_begun_at((now_ms / 1000) as u64)
        });
        if newer {
            self.newest.insert(print.0, certificate.clone());
        }
        let newest = &self.newest[&print.0];
        if newest.is_valid_at((now_ms / 1000) as u64) {
            self.bare.remove(&print.0);
        }
        newer && self.pin(&print).is_some()
    }

    /// Takes a valid certificate from a message. Returns whether something has to be stored.
    pub fn saw(&mut self, certificate: &Certificate, now_ms: i64) -> bool {
        let first = self.certifies();
        let noted = self.notes(certificate, now_ms);
        let print = certificate.fingerprint();
        let newest = self.newest.get(&print.0) == Some(certificate);
        let holds = newest && certificate.is_valid_at((now_ms / 1000) as u64);
        let listed = self.listed.iter_mut().flatten().find(|one| one.print == print);
        if let Some(listed) = listed.filter(|_| holds) {
            listed.certificate = Some(certificate.clone());
        }
        noted || first
    }

    /// Returns whether the server lists this key now.
    pub fn lists(&self, print: &Fingerprint) -> bool {
        self.listed.iter().flatten().any(|one| one.print == *print)
    }

    /// Marks the key list as outdated.
    pub fn stale(&mut self) {
        (self.listed, self.asked) = (None, false);
    }

    /// Drops the server's key list.
    pub fn drop_listing(&mut self) {
        self.stale();
        self.coming = Default::default();
        self.drop_unknown();
    }

    /// Drops the server's key list of a user other than the local one. An open request still gets
    /// its answer.
    pub fn make_room(&mut self) {
        if self.mine.is_none() {
            let asked = self.asked && self.listed.is_none();
            self.drop_listing();
            self.asked = asked;
        }
    }

    /// Drops state of keys that are neither pinned nor listed.
    fn drop_unknown(&mut self) {
        let prints = self.listed.iter().flatten().map(|one| one.print);
        let prints = prints.chain(self.pins.iter().map(|pin| pin.print));
        let prints: BTreeSet<_> = prints.map(|print| print.0).collect();
        self.newest.retain(|print, _| prints.contains(print));
        self.left_out.retain(|print| prints.contains(print));
    }

    /// Returns whether messages could be sealed for a listed key under RSA alone only, although the
    /// user has published certificates and nobody has confirmed that. The key's certificate has
    /// expired, the device has not logged in yet, or the server withholds the certificate.
    fn is_bare(&self, one: &Listed) -> bool {
        self.certified && one.certificate.is_none() && !self.bare.contains(&one.print.0)
    }

    /// The pinned keys to seal for.
    fn sealable(&self) -> impl Iterator<Item = &Listed> {
        let listed = self.listed.iter().flatten().filter(|one| self.has(&one.print));
        listed.filter(|one| !self.is_bare(one))
    }

    /// Returns the keys to seal for: pinned, and listed by the server now.
    pub fn recipients(&self, now_ms: i64) -> Result<Vec<Recipient>, NoWay> {
        let fresh = now_ms.abs_diff(self.learned_ms) < FRESH_MS as u64;
        let listed = self.listed.as_ref().filter(|_| fresh).ok_or(NoWay::Ask)?;
        if listed.is_empty() {
            return Err(NoWay::Nobody);
        }
        if listed.iter().any(|one| !self.has(&one.print)) {
            return Err(NoWay::Changed);
        }
        // A server cannot downgrade a user with certificates to RSA keys alone.
        if listed.iter().all(|one| self.is_bare(one)) {
            // The user may have published one since.
            let just_now = now_ms == self.learned_ms;
            return Err(if just_now { NoWay::Over } else { NoWay::Ask });
        }
        Ok(self.sealable().map(Listed::recipient).collect())
    }

    /// Returns the own other devices to seal for, without unconfirmed keys.
    pub fn own_devices(&self, now_ms: i64) -> Vec<Recipient> {
        if self.is_anothers() {
            return Vec::new();
        }
        let holds = |it: &Certificate| it.is_valid_at((now_ms / 1000) as u64);
        let holds = |one: &&Listed| one.certificate.as_ref().is_none_or(holds);
        self.sealable().filter(holds).map(Listed::recipient).collect()
    }

    /// Returns keys left out for want of a valid certificate, each once.
    pub fn left_out(&mut self) -> Vec<Fingerprint> {
        let bare = self.listed.iter().flatten().filter(|one| self.is_bare(one));
        let bare: Vec<_> = bare.map(|one| one.print).collect();
        bare.into_iter().filter(|print| self.left_out.insert(print.0)).collect()
    }

    /// The current, unconfirmed and former keys.
    pub fn prints(&self) -> Prints {
        let listed = self.listed.iter().flatten().map(|one| one.print);
        let news = listed.filter(|print| !self.has(print)).collect();
        let unlisted = |pin: &&Pin| !self.lists(&pin.print);
        let theirs = |pin: &&Pin| pin.is_theirs() && (self.listed.is_none() || !unlisted(pin));
        let (pins, print) = (self.pins.iter(), |pin: &Pin| pin.print);
        let gone = pins.clone().filter(|pin| unlisted(pin) && !theirs(pin)).map(print).collect();
        Prints { theirs: pins.filter(theirs).map(print).collect(), news, gone }
    }

    /// Returns the keys for display and remembers them, so that they can be confirmed.
    pub fn shows(&mut self) -> Prints {
        let prints = self.prints();
        let shown = prints.theirs.iter().chain(&prints.news).map(|print| print.0);
        self.shown = Some(shown.collect());
        prints
    }

    /// Compares the listed keys with the displayed ones. The server may change its list while the
    /// two users are talking.
    pub fn compares(&self) -> Comparison {
        let listed = self.listed.clone().unwrap_or_default();
        let prints: BTreeSet<_> = listed.iter().map(|one| one.print.0).collect();
        let is_news = listed.iter().any(|one| !self.has(&one.print));
        if self.shown.as_ref().map_or(is_news, |shown| *shown != prints) {
            return Comparison::Unseen;
        }
        if is_news {
            return Comparison::News(listed);
        }
        let bare = listed.iter().filter(|one| one.certificate.is_none());
        Comparison::Bare(bare.map(|one| one.print).collect())
    }

    /// Confirms keys without a valid certificate.
    pub fn confirms_bare(&mut self, bare: &[Fingerprint]) {
        self.bare.extend(bare.iter().map(|print| print.0));
    }

    /// Records that the keys of a list are this user's only ones: the key of this login is the
    /// local user's if it is among them.
    pub fn confirms_own(&mut self, listed: &[Listed]) {
        if let Some(mine) = &mut self.mine {
            let is_listed = |own: &Fingerprint| listed.iter().any(|one| one.print == *own);
            mine.own = mine.all.first().copied().filter(is_listed);
        }
    }

    #[cfg(test)]
    pub fn newest(&self) -> &BTreeMap<[u8; 32], Certificate> {
        &self.newest
    }

    /// Count of the keys that are held of the server's lists.
    #[cfg(test)]
    pub fn keys_held(&self) -> usize {
        self.listed.iter().flatten().count() + self.coming.iter().flatten().count()
    }

    /// The incomplete answer.
    #[cfg(test)]
    pub fn coming(&mut self) -> &mut Vec<DeviceKey> {
        &mut self.coming[1]
    }
}
