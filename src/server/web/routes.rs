//! Selects the web port's answer to a request. Pure.

use super::pages::{self, Page, Site};
use super::rules::{admits_origin, is_own_host};
use crate::wire::http::{Request, RequestError};
use crate::wire::websocket::accept_key;

/// The path of the hop.
const HOP: &str = "/hop";
/// The path of the health check for proxies and monitors.
const HEALTH: &str = "/health";

/// Headers that forbid browsers to render, frame, sniff or cache an answer that is no page.
const HEADERS: &str = "Content-Type: text/plain; charset=utf-8\r\n\
    Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Cache-Control: no-store\r\n\
    Connection: close\r\n";

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection ends after these bytes.
    Text(Vec<u8>),
    /// The connection is a hop after these bytes.
    Hop(Vec<u8>),
    Page(Page),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Malformed,
    TooLong,
    Version,
    Host,
    Method,
    Path,
    Origin,
    NoUpgrade,
    /// A proxy does not name the source.
    Source,
    /// The peer speaks no TLS that the server has. It gets an alert in place of an answer.
    Tls,
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

impl Wrong {
    /// Status, further headers and text.
    fn told(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Wrong::Malformed => ("400 Bad Request", "", "the request is malformed"),
            Wrong::TooLong => {
                ("431 Request Header Fields Too Large", "", "the head of the request is too long")
            }
            Wrong::Version => ("505 HTTP Version Not Supported", "", "pychat speaks HTTP/1.1"),
            Wrong::Host => (
                "421 Misdirected Request",
                "",
                "unknown Host: the operator lists names in web_origins of config.json",
            ),
            Wrong::Method => {
                ("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "pychat answers GET and HEAD")
            }
            Wrong::Path => ("404 Not Found", "", "there is no page here"),
            Wrong::Origin => (
                "403 Forbidden",
                "",
                "unknown Origin: the operator lists origins in web_origins of config.json",
            ),
            Wrong::Tls => ("400 Bad Request", "", "pychat speaks TLS 1.3"),
            Wrong::NoUpgrade => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "this path is for clients of pychat: WebSocket, version 13",
            ),
            Wrong::Source => (
                "400 Bad Request",
                "",
                "the proxy is in web_proxies of config.json, but does not name the source: it must \
                send X-Forwarded-For or the PROXY protocol, version 2",
            ),
        }
    }

    pub fn answer(self, has_body: bool) -> Vec<u8> {
        let (status, headers, text) = self.told();
        response(status, headers, text, has_body)
    }
}

/// Answers a request.
///
/// # Errors
/// The request is not for this server, its path does not exist, or its form is wrong.
pub fn answer(request: &Request<'_>, site: &Site<'_>) -> Result<Answer, Wrong> {
    if !is_own_host(request.host, site.origins, site.names) {
        return Err(Wrong::Host);
    }
    let has_body = match request.method {
        "GET" => true,
        "HEAD" => false,
        _ => return Err(Wrong::Method),
    };
    match request.target {
        HOP => hop(request, site),
        HEALTH if site.is_open => Ok(Answer::Text(response("200 OK", "", "ok", has_body))),
        HEALTH => {
            let status = "503 Service Unavailable";
            Ok(Answer::Text(response(status, "", "no connections are admitted", has_body)))
        }
        _ => {
            let page = pages::find(request, site);
            Ok(Answer::Page(page.ok_or(Wrong::Path)?))
        }
    }
}

fn hop(request: &Request<'_>, site: &Site<'_>) -> Result<Answer, Wrong> {
    let at = (request.host, site.is_encrypted);
    if !admits_origin(request.only("origin")?, at, site.origins) {
        return Err(Wrong::Origin);
    }
    let is_upgrade = request.method == "GET"
        && request.has_token("upgrade", "websocket")
        && request.has_token("connection", "upgrade")
        && request.only("sec-websocket-version")? == Some("13");
    if !is_upgrade {
        return Err(Wrong::NoUpgrade);
    }
    let key = request.only("sec-websocket-key")?.and_then(accept_key).ok_or(Wrong::Malformed)?;
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: {key}\r\n\r\n"
    );
    Ok(Answer::Hop(head.into_bytes()))
}

fn response(status: &str, headers: &str, text: &str, has_body: bool) -> Vec<u8> {
    let body = if has_body { format!("{text}\n") } else { String::new() };
    let bytes = text.len() + 1;
    format!("HTTP/1.1 {status}\r\n{HEADERS}{headers}Content-Length: {bytes}\r\n\r\n{body}")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::parse;

    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn answers(line: &str, headers: &str) -> Result<String, Wrong> {
        let head = format!("{line} HTTP/1.1\r\n{headers}\r\n");
        let origins = ["https://chat.example.org".parse().unwrap()];
        let about = || "{}".to_owned();
        let site = Site {
            origins: &origins,
            names: &[],
            authority: &|| None,
            is_open: true,
            is_secure: true,
            is_encrypted: false,
            has_tls: false,
            about: &about,
        };
        let bytes = match answer(&parse(head.as_bytes())?, &site)? {
            Answer::Text(bytes) | Answer::Hop(bytes) => bytes,
            Answer::Page(page) => [&page.head[..], &page.body].concat(),
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn the_hop_is_opened_as_the_rfc_says() {
        let told = answers("GET /hop", &format!("Host: localhost\r\n{UPGRADE}")).unwrap();
        assert!(told.starts_with("HTTP/1.1 101 "), "{told}");
        assert!(
            told.ends_with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
            "{told}"
        );
        let firefox = UPGRADE.replace("n: Upgrade", "n: keep-alive, Upgrade");
        assert!(answers("GET /hop", &format!("Host: localhost\r\n{firefox}")).is_ok());
    }

    #[test]
    fn every_other_request_is_refused_with_a_reason() {
        let own = format!("Host: localhost\r\n{UPGRADE}");
        let without = |line: &str| own.replace(line, "");
        let cases = [
            ("GET /hop", own.replace("localhost", "evil.example"), Wrong::Host),
            ("GET /", "Host: evil.example\r\n".into(), Wrong::Host),
            ("GET /hop", format!("{own}Origin: https://evil.example\r\n"), Wrong::Origin),
            ("GET /hop", format!("{own}Origin: null\r\n"), Wrong::Origin),
            (
                "GET /hop",
                format!("{own}Origin: https://chat.example.org\r\n").repeat(2),
                Wrong::Malformed,
            ),
            ("GET /hop", without("Upgrade: websocket\r\n"), Wrong::NoUpgrade),
            ("GET /hop", without("Connection: Upgrade\r\n"), Wrong::NoUpgrade),
            ("GET /hop", own.replace("13", "8"), Wrong::NoUpgrade),
            ("GET /hop", own.replace("13", "13, 8"), Wrong::NoUpgrade),
            ("GET /hop", without("Sec-WebSocket-Version: 13\r\n"), Wrong::NoUpgrade),
            ("HEAD /hop", own.clone(), Wrong::NoUpgrade),
            (
                "GET /hop",
                without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
                Wrong::Malformed,
            ),
            ("GET /hop", own.replace("dGhl", ""), Wrong::Malformed),
            (
                "GET /hop",
                format!("{own}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
                Wrong::Malformed,
            ),
            ("POST /hop", own.clone(), Wrong::Method),
            ("GET /hop/", own.clone(), Wrong::Path),
            ("GET /hop?a", own.clone(), Wrong::Path),
            ("GET /../hop", own.clone(), Wrong::Path),
            ("GET /page", own.clone(), Wrong::Path),
            ("GET /index.html?a", own.clone(), Wrong::Path),
            ("GET /page/../index.html", own.clone(), Wrong::Path),
            ("POST /", own.clone(), Wrong::Method),
        ];
        for (line, headers, wanted) in cases {
            assert_eq!(answers(line, &headers), Err(wanted), "{line}\n{headers}");
        }
    }

    #[test]
    fn answers_are_nothing_that_a_browser_shows_or_keeps() {
        let get = answers("GET /health", "Host: localhost\r\n").unwrap();
        let head = answers("HEAD /health", "Host: localhost\r\n").unwrap();
        assert_eq!(get, format!("{head}ok\n"));
        let all = [get, String::from_utf8(Wrong::Path.answer(true)).unwrap()];
        for told in all {
            for header in [
                "\r\nContent-Security-Policy: default-src 'none';",
                "frame-ancestors 'none'\r\n",
                "\r\nX-Content-Type-Options: nosniff\r\n",
                "\r\nReferrer-Policy: no-referrer\r\n",
                "\r\nCross-Origin-Opener-Policy: same-origin\r\n",
                "\r\nCross-Origin-Resource-Policy: same-origin\r\n",
                "\r\nConnection: close\r\n",
            ] {
                assert!(told.contains(header), "{header} {told}");
            }
        }
    }
}
