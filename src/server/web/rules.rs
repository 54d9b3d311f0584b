//! Decides whether a request to the web port is for this server, and determines its source. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

use crate::config::{HomeName, WebOrigin, host_of};

/// Whether `Host` names this server: by an address, as localhost, or by one of its own names. A
/// page whose own name resolves to this server's address sends that name (DNS rebinding).
pub fn is_own_host(host: &str, origins: &[WebOrigin], names: &[HomeName]) -> bool {
    let Some(name) = host_of(host) else { return false };
    let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
    let is_own = |origin: &WebOrigin| origin.host().eq_ignore_ascii_case(name);
    let is_at_home = names.iter().any(|own| own.is(name));
    is_address || name.eq_ignore_ascii_case("localhost") || is_at_home || origins.iter().any(is_own)
}

/// Returns whether a page of this origin may open a hop. A request without an origin is from a
/// program: browsers always send one. A page that was loaded without encryption may have been
/// changed on its way: it opens no encrypted hop, unless the operator lists its origin.
pub fn admits_origin(
    origin: Option<&str>,
    (host, is_encrypted): (&str, bool),
    origins: &[WebOrigin],
) -> bool {
    let Some(origin) = origin else { return true };
    let Ok(origin) = origin.parse::<WebOrigin>() else { return false };
    // A proxy that the operator has not listed does not report encryption.
    let is_listed = |own: &WebOrigin| own.is_https() && own.is_at(host);
    let is_encrypted = is_encrypted || origins.iter().any(is_listed);
    let is_here = origin.is_at(host) && (origin.is_https() || !is_encrypted);
    is_here || origins.contains(&origin)
}

/// The encryption of a request on its way.
#[derive(Clone, Copy, Default)]
pub struct Path<'a> {
    /// Whether the connection has TLS.
    pub is_tls: bool,
    /// Whether a proxy of `web_proxies` has sent it.
    pub by_proxy: bool,
    /// The value of `X-Forwarded-Proto`, which counts only from such a proxy.
    pub scheme: Option<&'a str>,
}

impl Path<'_> {
    /// Returns whether the request is known to be encrypted. A proxy that does not state the scheme
    /// is assumed to have a certificate.
    pub fn is_encrypted(self) -> bool {
        let is_http = self.scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
        self.is_tls || (self.by_proxy && !is_http)
    }
}

/// Returns whether the page that sends this `Host` may use encryption: browsers allow it on this
/// computer and by https only (secure contexts).
pub fn is_secure(host: &str, path: Path<'_>, origins: &[WebOrigin]) -> bool {
    let Some(name) = host_of(host) else { return false };
    let is_loopback = |ip: &str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    if path.is_encrypted()
        || name.eq_ignore_ascii_case("localhost")
        || is_loopback(inside.unwrap_or(name))
    {
        return true;
    }
    if path.by_proxy {
        return false;
    }
    // A proxy that the operator has not listed.
    let is_own = |origin: &WebOrigin| origin.is_https() && origin.host().eq_ignore_ascii_case(name);
    origins.iter().any(is_own)
}

/// The addresses of a connection to the web port.
pub struct Way {
    /// The peer of the TCP connection.
    pub peer: SocketAddr,
    /// The source in the PROXY header.
    pub named: Option<SocketAddr>,
}

/// Returns the source of a request. Only proxies in `web_proxies` may name it, and only the address
/// that such a proxy has added itself counts. Returns `None` if a proxy names no source.
pub fn source<'a>(
    way: &Way,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let peer = way.peer;
    if !is_proxy(peer.ip()) {
        return Some(peer);
    }
    if let Some(named) = way.named.filter(|named| !is_proxy(named.ip())) {
        return Some(named);
    }
    let mut first = way.named;
    for part in forwarded.rev().flat_map(|value| value.rsplit(|byte| *byte == b',')) {
        let address = address(part)?;
        first = Some(SocketAddr::new(address, peer.port()));
        if !is_proxy(address) {
            break;
        }
    }
    first
}

/// An address of `X-Forwarded-For`, with or without a port.
fn address(part: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(part).ok()?.trim();
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => text.parse().ok().or_else(with_port),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Vec<WebOrigin> {
        vec!["https://chat.example.org".parse().unwrap()]
    }

    #[test]
    fn hosts_are_addresses_and_own_names() {
        for host in [
            "127.0.0.1:5080",
            "192.168.1.7",
            "[::1]:5080",
            "localhost",
            "LOCALHOST:1",
            "chat.example.org",
            "Chat.Example.org:8443",
        ] {
            assert!(is_own_host(host, &origins(), &[]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "chat.example.org.evil.example",
            "evil.chat.example.org",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "chat.example.org@evil.example",
            "chat.example.org, evil.example",
            "2130706433",
            "::1",
            "[::1",
            "localhost:99999",
        ] {
            assert!(!is_own_host(host, &origins(), &[]), "{host}");
        }
        assert!(!is_own_host("chat.example.org", &[], &[]));
        let names = ["chat.home.arpa".parse().unwrap()];
        assert!(is_own_host("Chat.home.arpa:5080", &[], &names));
        assert!(!is_own_host("evil.home.arpa", &[], &names));
    }

    #[test]
    fn a_page_may_encrypt_on_this_computer_and_by_https() {
        let direct = Path::default();
        for host in ["localhost:5080", "127.0.0.1", "127.8.9.1:5080", "[::1]:5080"] {
            assert!(is_secure(host, direct, &[]), "{host}");
        }
        for host in ["192.168.1.7:5080", "[2001:db8::1]", "chat.example.org", "", "localhost.x"] {
            assert!(!is_secure(host, direct, &[]), "{host}");
        }
        let by_proxy = |scheme| Path { is_tls: false, by_proxy: true, scheme };
        assert!(is_secure("192.168.1.7", Path { is_tls: true, ..direct }, &[]));
        assert!(is_secure("chat.example.org", by_proxy(Some("https")), &[]));
        assert!(is_secure("chat.example.org", by_proxy(None), &[]));
        assert!(!is_secure("chat.example.org", by_proxy(Some("http")), &origins()));
        assert!(is_secure("chat.example.org", direct, &origins()));
        let plain = ["http://chat.example.org".parse().unwrap()];
        assert!(!is_secure("chat.example.org", direct, &plain));
    }

    #[test]
    fn pages_of_other_origins_open_no_hop() {
        let admits = |origin, host| admits_origin(origin, (host, false), &origins());
        for (origin, host) in [
            (None, "127.0.0.1:5080"),
            (Some("http://127.0.0.1:5080"), "127.0.0.1:5080"),
            (Some("http://localhost"), "localhost:80"),
            (Some("https://chat.example.org"), "chat.example.org"),
            // Behind a proxy that sends its own Host.
            (Some("https://chat.example.org"), "127.0.0.1:5080"),
        ] {
            assert!(admits(origin, host), "{origin:?} {host}");
        }
        for (origin, host) in [
            ("null", "127.0.0.1:5080"),
            ("", "127.0.0.1:5080"),
            ("http://evil.example", "127.0.0.1:5080"),
            ("http://127.0.0.1:8000", "127.0.0.1:5080"),
            ("http://127.0.0.1", "127.0.0.1:5080"),
            ("http://chat.example.org", "127.0.0.1:5080"),
            // The page was loaded over https from a proxy that is not listed.
            ("http://chat.example.org", "chat.example.org"),
            ("https://chat.example.org.evil.example", "chat.example.org"),
            ("https://chat.example.org/", "127.0.0.1:5080"),
            ("file://", "127.0.0.1:5080"),
        ] {
            assert!(!admits(Some(origin), host), "{origin} {host}");
        }
        let encrypted = |origin, host| admits_origin(Some(origin), (host, true), &origins());
        assert!(encrypted("https://192.0.2.7:5080", "192.0.2.7:5080"));
        assert!(!encrypted("http://192.0.2.7:5080", "192.0.2.7:5080"));
        assert!(!encrypted("http://chat.example.org", "chat.example.org"));
        assert!(encrypted("https://chat.example.org", "chat.example.org"));
        let direct = Path::default();
        assert!(!direct.is_encrypted() && Path { is_tls: true, ..direct }.is_encrypted());
        let by_proxy = |scheme| Path { by_proxy: true, scheme, ..direct }.is_encrypted();
        assert!(by_proxy(Some("HTTPS")) && by_proxy(None) && !by_proxy(Some("http")));
        // Not a proxy of the operator.
        assert!(!Path { scheme: Some("https"), ..direct }.is_encrypted());
    }

    fn is_proxy(address: IpAddr) -> bool {
        address == IpAddr::from([127, 0, 0, 1]) || address == IpAddr::from([10, 0, 0, 2])
    }

    fn from(peer: &str, named: Option<&str>, forwarded: &[&str]) -> Option<String> {
        let socket = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 7);
        let way = Way { peer: socket(peer), named: named.map(socket) };
        let found = source(&way, forwarded.iter().map(|value| value.as_bytes()), is_proxy);
        found.map(|address| address.ip().to_string())
    }

    #[test]
    fn only_proxies_may_name_the_source_of_a_request() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(from("192.0.2.9", None, &["203.0.113.1"]), some("192.0.2.9"));
        assert_eq!(from("127.0.0.1", None, &["203.0.113.1"]), some("203.0.113.1"));
        // Addresses further left are claims of the client.
        assert_eq!(
            from("127.0.0.1", None, &["127.0.0.1, 198.51.100.5,203.0.113.1"]),
            some("203.0.113.1")
        );
        assert_eq!(from("127.0.0.1", None, &["198.51.100.5", "203.0.113.1"]), some("203.0.113.1"));
        assert_eq!(from("127.0.0.1", None, &["nonsense, 203.0.113.1"]), some("203.0.113.1"));
        // Two proxies in a row.
        assert_eq!(from("127.0.0.1", None, &["203.0.113.1, 10.0.0.2"]), some("203.0.113.1"));
        assert_eq!(from("127.0.0.1", None, &["10.0.0.2"]), some("10.0.0.2"));
        for (text, ip) in [
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:99", "2001:db8::1"),
            ("203.0.113.1:99", "203.0.113.1"),
            ("::ffff:203.0.113.1", "203.0.113.1"),
        ] {
            assert_eq!(from("127.0.0.1", None, &[text]), some(ip));
        }
        // A proxy that names no source, or an invalid one.
        for forwarded in
            [&[][..], &[""], &["203.0.113.1,"], &["unknown"], &["203.0.113.1, _hidden"]]
        {
            assert_eq!(from("127.0.0.1", None, forwarded), None, "{forwarded:?}");
        }
    }

    #[test]
    fn a_proxy_header_takes_precedence_over_forwarded_addresses() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(from("127.0.0.1", Some("203.0.113.1"), &["198.51.100.5"]), some("203.0.113.1"));
        assert_eq!(from("127.0.0.1", Some("10.0.0.2"), &["198.51.100.5"]), some("198.51.100.5"));
        assert_eq!(from("127.0.0.1", Some("10.0.0.2"), &[]), some("10.0.0.2"));
        assert_eq!(from("192.0.2.9", Some("203.0.113.1"), &[]), some("192.0.2.9"));
    }
}
