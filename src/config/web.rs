//! Origins and hosts of the web (RFC 6454).

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An origin as browsers send it: in lower case, and without the default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: &'static str,
    authority: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin has the form https://chat.example.org or http://192.168.1.7:5080")]
pub struct OriginError;

/// The certificate of the web port, and its key: files in PEM form. A relative path is below the
/// home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebTls {
    /// The certificate, and those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The host of `HOST` or `HOST:PORT`; `None` if it is neither. An IPv6 address has its brackets.
pub fn host_of(authority: &str) -> Option<&str> {
    let bracket = authority.starts_with('[').then(|| authority.find(']')).flatten();
    let (host, port) = match bracket {
        Some(end) => (&authority[..=end], &authority[end + 1..]),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_part),
    };
    (is_host && is_port).then_some(host)
}

impl WebOrigin {
    pub fn host(&self) -> &str {
        host_of(&self.authority).expect("it was parsed")
    }

    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether a request with this `Host` is for the origin's server.
    pub fn is_at(&self, host: &str) -> bool {
        let port = if self.scheme == "https" { ":443" } else { ":80" };
        host.strip_suffix(port).unwrap_or(host).eq_ignore_ascii_case(&self.authority)
    }
}

impl FromStr for WebOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        let (scheme, port) = match scheme.to_ascii_lowercase().as_str() {
            "https" => ("https", ":443"),
            "http" => ("http", ":80"),
            _ => return Err(OriginError),
        };
        host_of(authority).ok_or(OriginError)?;
        let authority = authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(port).unwrap_or(&authority).to_owned();
        Ok(WebOrigin { scheme, authority })
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl Serialize for WebOrigin {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WebOrigin {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let parsed = |text: &str| text.parse::<WebOrigin>().map(|origin| origin.to_string());
        for (text, wanted) in [
            ("https://chat.example.org", "https://chat.example.org"),
            ("HTTPS://Chat.Example.org:443", "https://chat.example.org"),
            ("http://chat.example.org:443", "http://chat.example.org:443"),
            ("http://192.168.1.7:5080", "http://192.168.1.7:5080"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(wanted));
        }
        let bad = [
            "",
            "null",
            "chat.example.org",
            "ws://chat.example.org",
            "https://",
            "https://chat.example.org/",
            "https://alice@chat.example.org",
            "https://chat.example.org:",
            "https://chat.example.org:65536",
            "https://chat.example.org:+1",
            "https://[::1",
            "https://::1",
            "https://*.example.org",
            "https://ch\u{e4}t.example.org",
        ];
        for text in bad {
            assert_eq!(parsed(text), Err(OriginError), "{text}");
        }
    }

    #[test]
    fn the_host_of_a_request_is_that_of_an_origin() {
        let origin: WebOrigin = "https://chat.example.org".parse().unwrap();
        assert_eq!(origin.host(), "chat.example.org");
        assert!(origin.is_at("Chat.example.org") && origin.is_at("chat.example.org:443"));
        assert!(
            !origin.is_at("chat.example.org:80") && !origin.is_at("chat.example.org.evil.example")
        );
        let six: WebOrigin = "http://[::1]:5080".parse().unwrap();
        assert!(six.host() == "[::1]" && six.is_at("[::1]:5080") && !six.is_at("[::1]"));
    }
}
