//! The source of a connection, as limits count it.

use std::fmt;
use std::net::{AddrParseError, IpAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::IpRange;

/// An IPv4 address or an IPv6 /64: the smallest range that one household or one attacker controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

/// A network that contains a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    network: IpAddr,
    bits: u8,
}

/// The prefixes in which a source is counted, and the factor by which each multiplies the bound of
/// one source. A hosting customer gets an IPv6 /48 or /56 as easily as a /64, and a few neighbours
/// in an IPv4 /24.
const V4: [(u8, usize); 2] = [(32, 1), (24, 4)];
const V6: [(u8, usize); 3] = [(64, 1), (56, 2), (48, 4)];

impl Source {
    /// Returns the addresses of this source.
    pub fn range(self) -> IpRange {
        IpRange { network: self.0, prefix_bits: if self.0.is_ipv4() { V4[0].0 } else { V6[0].0 } }
    }

    /// Returns the networks in which this source is counted, the smallest first, each with its
    /// factor.
    pub fn prefixes(self) -> impl Iterator<Item = (Prefix, usize)> {
        let levels: &[(u8, usize)] = if self.0.is_ipv4() { &V4 } else { &V6 };
        levels.iter().map(move |(bits, factor)| (Prefix::of(self.0, *bits), *factor))
    }

    /// The largest network in which this source is counted: an IPv4 /24 or IPv6 /48.
    pub fn network(self) -> Prefix {
        let bits = if self.0.is_ipv4() { V4[V4.len() - 1].0 } else { V6[V6.len() - 1].0 };
        Prefix::of(self.0, bits)
    }
}

impl Prefix {
    fn of(address: IpAddr, bits: u8) -> Prefix {
        Prefix { network: IpRange::around(address, bits).network, bits }
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Source(match address.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            v6 @ IpAddr::V6(_) => Prefix::of(v6, V6[0].0).network,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Source {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse::<IpAddr>().map(Source::from)
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn one_network_is_one_source() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn a_source_is_counted_in_its_larger_networks_too() {
        let shared = |one: &str, other: &str| {
            let other: Vec<_> = source(other).prefixes().collect();
            let shared: Vec<u8> = source(one)
                .prefixes()
                .filter(|prefix| other.contains(prefix))
                .map(|(prefix, _)| prefix.bits)
                .collect();
            shared
        };
        assert_eq!(shared("2001:db8:1:101::1", "2001:db8:1:101::2"), [64, 56, 48]);
        assert_eq!(shared("2001:db8:1:101::1", "2001:db8:1:1ff::1"), [56, 48]);
        assert_eq!(shared("2001:db8:1:101::1", "2001:db8:1:201::1"), [48]);
        assert!(shared("2001:db8:1:101::1", "2001:db8:2:101::1").is_empty());
        assert_eq!(shared("192.0.2.1", "192.0.2.9"), [24]);
        assert_eq!(shared("192.0.2.1", "::ffff:192.0.2.9"), [24]);
        assert!(shared("192.0.2.1", "192.0.3.1").is_empty());
    }
}
