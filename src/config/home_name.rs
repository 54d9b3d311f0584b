//! Names of a server in its home network, for which no public authority issues certificates.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Private IPv4 networks (RFC 1918), link-local addresses (RFC 3927), and the shared address space
/// of carriers (RFC 6598), which tailnets use.
pub const PRIVATE_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];
/// Private IPv6 networks (RFC 4193). Browsers do not open link-local addresses, which need a zone.
pub const PRIVATE_V6: &[(Ipv6Addr, u8)] = &[(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)];
/// Domains of home networks, which nobody can register publicly.
pub const HOME_DOMAINS: &[&str] = &["home.arpa", "internal", "lan", "local"];

/// A name of this server in its home network: a private address, or a name in a domain of home
/// networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only private addresses such as 192.168.1.7, and names that end with home.arpa, internal, lan \
     or local"
)]
pub struct HomeNameError;

impl FromStr for HomeName {
    type Err = HomeNameError;

    fn from_str(text: &str) -> Result<Self, HomeNameError> {
        let is_private = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => PRIVATE_V4.iter().any(|(at, bits)| {
                (ip.to_bits() ^ at.to_bits()).leading_zeros() >= u32::from(*bits)
            }),
            Ok(IpAddr::V6(ip)) => PRIVATE_V6.iter().any(|(at, bits)| {
                (ip.to_bits() ^ at.to_bits()).leading_zeros() >= u32::from(*bits)
            }),
            Err(_) => is_home_domain(text),
        };
        is_private.then(|| HomeName(text.to_ascii_lowercase())).ok_or(HomeNameError)
    }
}

fn is_home_domain(text: &str) -> bool {
    let name = text.to_ascii_lowercase();
    let is_below = |domain: &str| {
        name.strip_suffix(domain).is_some_and(|host| host.len() > 1 && host.ends_with('.'))
    };
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_part)
    };
    name.len() <= 253
        && name.split('.').all(is_label)
        && HOME_DOMAINS.iter().any(|domain| is_below(domain))
}

impl HomeName {
    /// Returns whether the names are equal, in any case of letters.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl fmt::Display for HomeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HomeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HomeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_private_or_of_a_home_network() {
        for name in [
            "192.168.1.7",
            "10.0.0.1",
            "172.31.255.255",
            "100.127.0.1",
            "fd00::1",
            "chat.home.arpa",
            "Chat.Lan",
            "a.b.local",
        ] {
            assert!(name.parse::<HomeName>().is_ok(), "{name}");
        }
        for name in [
            "",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "127.0.0.1",
            "2001:db8::1",
            "fe80::1",
            "::ffff:8.8.8.8",
            "local",
            ".local",
            "home.arpa",
            "chat.example.org",
            "chatlan",
            "*.lan",
            "chat..lan",
            "chat.lan.example",
            "chat lan.lan",
            "192.168.1.7:5080",
        ] {
            assert_eq!(name.parse::<HomeName>(), Err(HomeNameError), "{name}");
        }
    }
}
