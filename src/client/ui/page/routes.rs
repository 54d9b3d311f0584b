//! What a request of a page wants. Pure.

use std::net::{IpAddr, SocketAddr};

use super::token::Token;
pub use super::wrong::Wrong;
use crate::client::transfer::TransferId;
use crate::page::{self, Asset};
use crate::wire::http::{Request, RequestError, parse_with_body};
use crate::wire::websocket::accept_key;

/// The path of the connection that carries objects.
const CORE: &str = "/core";
/// The path to which a page hands files; below it are those that were fetched.
const FILES: &str = "/files";
/// Bytes of a file's name, percent-encoded.
const NAME_BYTES_MAX: usize = 4_096;

/// A request that is answered.
#[derive(Debug)]
pub enum Route {
    /// A file of the page, unless the browser has it.
    Asset { asset: &'static Asset, is_there: bool, is_head: bool },
    /// The connection carries objects after this answer.
    Core { accept: String },
    /// A file of this many bytes is handed over.
    Hand { name: String, bytes: u64 },
    /// The bytes of a fetched file.
    Fetch(TransferId),
}

impl From<RequestError> for Wrong {
    fn from(error: RequestError) -> Wrong {
        match error {
            RequestError::Malformed => Wrong::Malformed,
            RequestError::TooLong => Wrong::TooLong,
            RequestError::Version => Wrong::Version,
        }
    }
}

/// The names under which the client is reached.
pub struct Names {
    hosts: Vec<String>,
}

impl Names {
    /// Those of a loopback address. A name that somebody has made point here is none of them.
    pub fn of(address: SocketAddr) -> Names {
        let own = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let names = [own.as_str(), "127.0.0.1", "localhost", "[::1]"];
        Names { hosts: names.iter().map(|name| format!("{name}:{}", address.port())).collect() }
    }

    fn has(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Whether the page of this client has sent a request: browsers name the origin of a script.
    fn is_origin(request: &Request<'_>, is_needed: bool) -> Result<bool, Wrong> {
        let origin = request.only("origin")?;
        let is_own = |origin: &str| {
            let host = origin.strip_prefix("http://");
            host.is_some_and(|host| host.eq_ignore_ascii_case(request.host))
        };
        Ok(origin.map_or(!is_needed, is_own))
    }
}

/// Reads the head of a request.
///
/// # Errors
/// It is refused.
pub fn route(head: &[u8], names: &Names, token: &Token) -> Result<Route, Wrong> {
    let (request, bytes) = parse_with_body(head)?;
    if !names.has(request.host) {
        return Err(Wrong::Host);
    }
    let needs_origin = request.target == CORE || request.method == "POST";
    if !Names::is_origin(&request, needs_origin)? {
        return Err(Wrong::Origin);
    }
    if request.method != "POST" && bytes > 0 {
        return Err(Wrong::Malformed);
    }
    match (request.method, request.target) {
        ("GET", CORE) => core(&request),
        (_, CORE) => Err(Wrong::Method("GET")),
        ("POST", FILES) => hand(&request, bytes, token),
        (_, FILES) => Err(Wrong::Method("POST")),
        (method, target) => match target.strip_prefix(FILES).and_then(|it| it.strip_prefix('/')) {
            Some(id) if method == "GET" => fetch(&request, id, token),
            Some(_) => Err(Wrong::Method("GET")),
            None => asset(&request),
        },
    }
}

fn asset(request: &Request<'_>) -> Result<Route, Wrong> {
    let path = request.target.split('?').next().unwrap_or_default();
    let asset = page::find(path).ok_or(Wrong::Path)?;
    if !matches!(request.method, "GET" | "HEAD") {
        return Err(Wrong::Method("GET, HEAD"));
    }
    let is_there = request.has_token("if-none-match", asset.tag());
    Ok(Route::Asset { asset, is_there, is_head: request.method == "HEAD" })
}

fn core(request: &Request<'_>) -> Result<Route, Wrong> {
    let is_upgrade = request.has_token("upgrade", "websocket")
        && request.has_token("connection", "upgrade")
        && request.only("sec-websocket-version")? == Some("13");
    let key = request.only("sec-websocket-key")?.filter(|_| is_upgrade);
    let accept = key.and_then(accept_key).ok_or(Wrong::NoUpgrade)?;
    Ok(Route::Core { accept })
}

fn hand(request: &Request<'_>, bytes: u64, token: &Token) -> Result<Route, Wrong> {
    require_token(request, token)?;
    let name = request.only("x-name")?.filter(|name| name.len() <= NAME_BYTES_MAX);
    let has_length = request.only("content-length")?.is_some();
    let name = name.and_then(percent_decoded).filter(|_| has_length).ok_or(Wrong::Length)?;
    Ok(Route::Hand { name, bytes })
}

fn fetch(request: &Request<'_>, id: &str, token: &Token) -> Result<Route, Wrong> {
    require_token(request, token)?;
    id.parse().map(Route::Fetch).map_err(|_| Wrong::Path)
}

fn require_token(request: &Request<'_>, token: &Token) -> Result<(), Wrong> {
    let given = request.only("authorization")?.and_then(|value| value.strip_prefix("Bearer "));
    given.filter(|given| token.is(given)).map(drop).ok_or(Wrong::Token)
}

/// Returns the text that was percent-encoded.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
                let digits = std::str::from_utf8(&digits).ok().filter(|_| is_hex)?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn ask(first: &str, headers: &str, token: &Token) -> Result<Route, Wrong> {
        let names = Names::of("127.0.0.1:5081".parse().unwrap());
        let headers = headers.replace("TOKEN", token.reveal());
        route(format!("{first} HTTP/1.1\r\n{headers}\r\n").as_bytes(), &names, token)
    }

    #[test]
    fn a_page_is_served_under_loopback_names_only() {
        let token = Token::new();
        for host in ["127.0.0.1:5081", "localhost:5081", "LOCALHOST:5081", "[::1]:5081"] {
            let served = ask("GET /", &format!("Host: {host}\r\n"), &token);
            assert!(matches!(served, Ok(Route::Asset { is_head: false, .. })), "{host}");
        }
        let wrong = [
            "evil.example:5081",
            "127.0.0.1",
            "localhost",
            "127.0.0.1:5082",
            "localhost.:5081",
            "127.0.0.1:05081",
            "127.0.0.1:5081.evil.example",
            "0.0.0.0:5081",
            "127.1:5081",
            "",
        ];
        for host in wrong {
            let told = ask("GET /", &format!("Host: {host}\r\n"), &token).unwrap_err();
            assert_eq!(told, Wrong::Host, "{host}");
        }
        let host = "Host: 127.0.0.1:5081\r\n";
        let asked = |first| ask(first, host, &token);
        assert!(matches!(asked("HEAD /"), Ok(Route::Asset { is_head: true, .. })));
        assert!(matches!(asked("GET /index.html?x=1"), Ok(Route::Asset { .. })));
        assert_eq!(asked("GET /nothing").unwrap_err(), Wrong::Path);
        assert_eq!(asked("POST /").unwrap_err(), Wrong::Origin);
        assert_eq!(asked("DELETE /").unwrap_err(), Wrong::Method("GET, HEAD"));
        let tag = format!("{host}If-None-Match: {}\r\n", page::find("/").unwrap().tag());
        assert!(matches!(ask("GET /", &tag, &token), Ok(Route::Asset { is_there: true, .. })));
    }

    #[test]
    fn objects_and_files_need_the_origin_of_the_page() {
        let token = Token::new();
        let core = |origin: &str| {
            ask("GET /core", &format!("Host: localhost:5081\r\n{origin}{UPGRADE}"), &token)
        };
        assert!(matches!(core("Origin: http://localhost:5081\r\n"), Ok(Route::Core { .. })));
        let wrong = [
            "",
            "Origin: null\r\n",
            "Origin: http://localhost:5082\r\n",
            "Origin: https://localhost:5081\r\n",
            "Origin: http://127.0.0.1:5081\r\n",
            "Origin: http://evil.example\r\n",
        ];
        for origin in wrong {
            assert_eq!(core(origin).unwrap_err(), Wrong::Origin, "{origin}");
        }
        let own = "Host: localhost:5081\r\nOrigin: http://localhost:5081\r\n";
        assert_eq!(ask("GET /core", own, &token).unwrap_err(), Wrong::NoUpgrade);
        let bearer = "Authorization: Bearer TOKEN\r\n";
        let file = format!("{own}{bearer}X-Name: t%C3%A9a%20.jpg\r\nContent-Length: 7\r\n");
        let Ok(Route::Hand { name, bytes: 7 }) = ask("POST /files", &file, &token) else {
            panic!("a file is refused")
        };
        assert_eq!(name, "t\u{e9}a .jpg");
        let refused = |headers: String| ask("POST /files", &headers, &token).unwrap_err();
        assert_eq!(refused(file.replace("TOKEN", "AAAA")), Wrong::Token);
        assert_eq!(refused(file.replace(bearer, "")), Wrong::Token);
        assert_eq!(refused(file.replace("Origin", "X-Origin")), Wrong::Origin);
        assert_eq!(refused(file.replace("%20", "%2")), Wrong::Length);
        assert_eq!(refused(file.replace("X-Name", "X-Named")), Wrong::Length);
        assert_eq!(refused(file.replace("Content-Length: 7\r\n", "")), Wrong::Length);
        let fetch = |path: &str, headers: &str| ask(&format!("GET {path}"), headers, &token);
        let known = format!("Host: localhost:5081\r\n{bearer}");
        assert!(matches!(fetch("/files/f3", &known), Ok(Route::Fetch(TransferId(3)))));
        assert_eq!(fetch("/files/f3", "Host: localhost:5081\r\n").unwrap_err(), Wrong::Token);
        assert_eq!(fetch("/files/../x", &known).unwrap_err(), Wrong::Path);
        let elsewhere = format!("{known}Origin: http://evil.example\r\n");
        assert_eq!(fetch("/files/f3", &elsewhere).unwrap_err(), Wrong::Origin);
    }
}
