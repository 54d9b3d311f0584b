//! The host that invites name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A host name and one of its labels, in bytes (RFC 1035, section 2.3.4, as text).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A host name, or an address that others can connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteHost(String);

/// Why a text cannot be the host of an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("write a host name or an address alone: chat.example, 192.0.2.7 or 2001:db8::7")]
    Form,
    #[error("omit the port: it is set by server_port")]
    Port,
    #[error("clients cannot connect to this address")]
    Nobody,
}

impl InviteHost {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether each computer takes it for itself: a loopback address or `localhost` (RFC 6761).
    pub fn is_loopback(&self) -> bool {
        let name = self.0.to_ascii_lowercase();
        self.0.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            || name == "localhost"
            || name.ends_with(".localhost")
    }
}

/// Whether others can connect to an address: it is no wildcard, no group and not reserved
/// (RFC 1112, section 4), and needs no zone, which differs from computer to computer.
pub fn is_reachable(address: IpAddr) -> bool {
    match address.to_canonical() {
        // From 224 on: multicast, then reserved addresses and broadcast.
        IpAddr::V4(v4) => (1..224).contains(&v4.octets()[0]),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    }
}

impl FromStr for InviteHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).trim_end_matches('.').parse::<IpAddr>() {
            let address = address.to_canonical();
            return match is_reachable(address) {
                true => Ok(InviteHost(address.to_string())),
                false => Err(HostError::Nobody),
            };
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && !host.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (!host.contains(':') || host.ends_with(']'))
        {
            return Err(HostError::Port);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let last = name.rsplit('.').next().unwrap_or_default();
        // A number at the end is an address in another notation, such as 127.1 or 0x7f000001.
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
        if name.len() > NAME_BYTES_MAX || is_number || !name.split('.').all(is_label) {
            return Err(HostError::Form);
        }
        Ok(InviteHost(name.to_owned()))
    }
}

fn is_label(label: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let ends = [label.chars().next(), label.chars().last()];
    label.len() <= LABEL_BYTES_MAX
        && !label.is_empty()
        && label.bytes().all(legal)
        && !ends.contains(&Some('-'))
}

impl fmt::Display for InviteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for InviteHost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InviteHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_that_others_can_connect_to() {
        let read = |text: &str| text.parse::<InviteHost>().map(|host| host.to_string());
        for (text, host) in [
            ("chat.example", "chat.example"),
            ("Chat.Example.", "Chat.Example"),
            ("pi", "pi"),
            ("my_host-1.lan", "my_host-1.lan"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:DB8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(host), "{text}");
        }
        for (texts, error) in [
            (
                &[
                    "",
                    " ",
                    ".",
                    "a..b",
                    "a b",
                    "-a",
                    "a-.b",
                    "pychat://a",
                    "http://a/",
                    "ä.example",
                ][..],
                HostError::Form,
            ),
            (
                &["127.1", "2130706433", "0x7f.0x1", "1.2.3.4.5", "fd00::1::2", "[a]"],
                HostError::Form,
            ),
            (&["fe80::1%eth0", "a/b", "user@host", "a\n"], HostError::Form),
            (&["a:5000", "192.0.2.7:5000", "[2001:db8::7]:5000"], HostError::Port),
            (&["0.0.0.0", "::", "[::]", "::ffff:0.0.0.0", "0.1.2.3"], HostError::Nobody),
            (&["224.0.0.1", "255.255.255.255", "ff02::1", "fe80::1"], HostError::Nobody),
            (&["240.0.0.1", "[::ffff:250.1.2.3]", "254.255.255.254"], HostError::Nobody),
        ] {
            for text in texts {
                assert_eq!(read(text), Err(error), "{text}");
            }
        }
        for (text, is) in [
            ("localhost", true),
            ("Pi.LocalHost.", true),
            ("127.8.9.10", true),
            ("[::1]", true),
            ("localhost.example", false),
            ("192.0.2.7", false),
        ] {
            assert_eq!(text.parse::<InviteHost>().unwrap().is_loopback(), is, "{text}");
        }
        assert_eq!(read(&"a".repeat(64)), Err(HostError::Form));
        assert_eq!(read(&["a"; 130].join(".")), Err(HostError::Form));
    }
}
