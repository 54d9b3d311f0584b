//! Keys that peers have proven, and that are not registered: the operator can register them
//! without their key lines. In memory only.

use std::net::IpAddr;

use super::source::{Prefix, Source};
use crate::chat::rate::Stamp;
use crate::chat::{DeviceName, UserName};
use crate::crypto::PublicKey;
use crate::home::sanctions::Whom;
use crate::limits::UNREGISTERED_KEYS_MAX;

/// A peer that has proven its key.
#[derive(Clone, Debug)]
pub struct Applicant {
    pub key: PublicKey,
    /// The name that the client was started with. Anybody can claim any name.
    pub name: UserName,
    pub device: Option<DeviceName>,
    pub address: IpAddr,
}

impl Applicant {
    /// Returns what a ban may concern.
    pub fn whom(&self) -> Whom<'_> {
        Whom { user: &self.name, key: self.key.fingerprint(), address: Some(self.address) }
    }
}

/// An unregistered key.
#[derive(Clone, Debug)]
pub struct Unregistered {
    pub applicant: Applicant,
    /// When the key came first.
    pub first: Stamp,
    /// When it came last.
    pub last: Stamp,
    /// `None` for an address that many people share.
    source: Option<Source>,
}

/// The newest unregistered keys.
#[derive(Default)]
pub struct UnregisteredKeys(Vec<Unregistered>);

impl UnregisteredKeys {
    /// Notes a key. Of too many keys, one is removed: from the network with the most keys, there
    /// from the source with the most, and of that source the one that has not come for longest. A
    /// peer with many keys so displaces its own, and those of its neighbours.
    pub fn note(&mut self, applicant: Applicant, source: Option<Source>, now: Stamp) {
        let first = match self.0.iter().position(|one| one.applicant.key == applicant.key) {
            Some(at) => self.0.remove(at).first,
            None => now,
        };
        self.0.push(Unregistered { applicant, first, last: now, source });
        if self.0.len() > UNREGISTERED_KEYS_MAX {
            self.remove_one();
        }
    }

    /// Returns the keys in the order in which they came last.
    pub fn all(&self) -> &[Unregistered] {
        &self.0
    }

    fn remove_one(&mut self) {
        let of_network = |one: &Unregistered| self.count(|other| other.network() == one.network());
        let of_source = |one: &Unregistered| self.count(|other| other.source == one.source);
        let weight = |one: &Unregistered| (of_network(one), of_source(one));
        let heaviest = self.0.iter().map(weight).max();
        // The first of the heaviest has not come for longest.
        let at = self.0.iter().position(|one| Some(weight(one)) == heaviest);
        at.map(|at| self.0.remove(at));
    }

    fn count(&self, is_counted: impl Fn(&Unregistered) -> bool) -> usize {
        self.0.iter().filter(|one| is_counted(one)).count()
    }
}

impl Unregistered {
    fn network(&self) -> Option<Prefix> {
        self.source.map(Source::network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of its own for each number.
    fn key(number: u32) -> PublicKey {
        let mut modulus = [0xff; 384];
        modulus[1..5].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_modulus(&modulus).unwrap()
    }

    /// Notes a key of bob from an address; `None` for a shared one.
    fn note(keys: &mut UnregisteredKeys, number: u32, from: Option<&str>, now: u64) {
        let source: Option<Source> = from.map(|address| address.parse().unwrap());
        let address = from.unwrap_or("127.0.0.1").parse().unwrap();
        let (name, key) = ("bob".parse().unwrap(), key(number));
        keys.note(Applicant { key, name, device: None, address }, source, Stamp(now));
    }

    fn has(keys: &UnregisteredKeys, number: u32) -> bool {
        keys.all().iter().any(|one| one.applicant.key == key(number))
    }

    #[test]
    fn a_key_that_comes_again_keeps_its_first_time() {
        let mut keys = UnregisteredKeys::default();
        note(&mut keys, 1, Some("192.0.2.1"), 10);
        note(&mut keys, 2, Some("192.0.2.1"), 20);
        note(&mut keys, 1, Some("198.51.100.1"), 30);
        let all: Vec<_> = keys.all().iter().map(|one| (one.first.0, one.last.0)).collect();
        assert_eq!(all, [(20, 20), (10, 30)]);
        assert_eq!(keys.all()[1].applicant.address.to_string(), "198.51.100.1");
    }

    #[test]
    fn ten_thousand_keys_of_one_network_displace_no_other() {
        let mut keys = UnregisteredKeys::default();
        note(&mut keys, 1, Some("198.51.100.7"), 0);
        note(&mut keys, 2, Some("2001:db8:1::1"), 0);
        note(&mut keys, 3, None, 0);
        for number in 10..10_010 {
            // All addresses of an IPv4 /24.
            let from = format!("192.0.2.{}", number % 256);
            note(&mut keys, number, Some(&from), u64::from(number));
        }
        assert_eq!(keys.all().len(), UNREGISTERED_KEYS_MAX);
        assert!(has(&keys, 1) && has(&keys, 2) && has(&keys, 3));
        assert!(has(&keys, 10_009) && !has(&keys, 10));
    }

    #[test]
    fn a_source_displaces_its_own_keys_before_those_of_its_neighbours() {
        let mut keys = UnregisteredKeys::default();
        note(&mut keys, 1, Some("192.0.2.7"), 0);
        (10..1_000).for_each(|number| note(&mut keys, number, Some("192.0.2.8"), 1));
        assert!(has(&keys, 1));
        // A shared address is one source, whose newest keys are kept.
        let mut keys = UnregisteredKeys::default();
        (1..1_000).for_each(|number| note(&mut keys, number, None, 1));
        assert!(has(&keys, 999) && has(&keys, 968) && !has(&keys, 967));
    }
}
