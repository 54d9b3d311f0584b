//! The head of an HTTP/1.1 request (RFC 9112). Parsing is strict: a request that a proxy could
//! parse differently is an error. A request with a body is an error too, where none is expected.

use std::str;

use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The path as it was sent.
    pub target: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    headers: Vec<(&'a str, &'a [u8])>,
}

/// Why a request cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    Malformed,
    TooLong,
    /// Another version than HTTP/1.1.
    Version,
}

const END: &[u8] = b"\r\n\r\n";

/// Returns the length of the head, once it is whole. The first `searched` bytes were searched
/// before.
///
/// # Errors
/// The bytes cannot begin a valid head.
pub fn head_bytes(received: &[u8], searched: usize) -> Result<Option<usize>, RequestError> {
    let from = searched.saturating_sub(END.len() - 1).min(received.len());
    let ends = received[from..].windows(END.len()).position(|bytes| bytes == END);
    let end = ends.map(|at| from + at + END.len());
    if end.unwrap_or(received.len()) > HTTP_HEAD_BYTES_MAX {
        return Err(RequestError::TooLong);
    }
    let fresh = &received[from..end.unwrap_or(received.len())];
    if fresh.iter().any(|byte| byte.is_ascii_control() && !b"\t\r\n".contains(byte)) {
        return Err(RequestError::Malformed);
    }
    Ok(end)
}

/// Parses a whole head, with the empty line at its end.
///
/// # Errors
/// It is no request of HTTP/1.1, or announces a body.
pub fn parse(head: &[u8]) -> Result<Request<'_>, RequestError> {
    let request = parse_any(head)?;
    match request.only("content-length")? {
        None | Some("0") => Ok(request),
        Some(_) => Err(RequestError::Malformed),
    }
}

/// The same for a request that may have a body. Returns the length of the body too.
///
/// # Errors
/// It is no request of HTTP/1.1, or does not announce the length of its body as a number.
pub fn parse_with_body(head: &[u8]) -> Result<(Request<'_>, u64), RequestError> {
    let request = parse_any(head)?;
    let length = request.only("content-length")?.unwrap_or("0");
    let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = length.parse().ok().filter(|_| is_number);
    Ok((request, bytes.ok_or(RequestError::Malformed)?))
}

fn parse_any(head: &[u8]) -> Result<Request<'_>, RequestError> {
    use RequestError::{Malformed, TooLong};
    let lines = head.strip_suffix(END).ok_or(Malformed)?;
    let mut lines = split(lines, b"\r\n");
    let (method, target) = request_line(lines.next().ok_or(Malformed)?)?;
    let headers: Vec<_> = lines.map(header).collect::<Result<_, _>>()?;
    if headers.len() > HTTP_HEADERS_MAX {
        return Err(TooLong);
    }
    let mut request = Request { method, target, host: "", headers };
    request.host = request.only("host")?.ok_or(Malformed)?;
    if request.values("transfer-encoding").next().is_some() {
        return Err(Malformed);
    }
    Ok(request)
}

impl<'a> Request<'a> {
    /// The values of a header, in the order of its lines.
    pub fn values<'b>(&'b self, name: &'b str) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'b {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value)
    }

    /// The value of a header that occurs once at most.
    ///
    /// # Errors
    /// It occurs more often, or is not ASCII.
    pub fn only(&self, name: &str) -> Result<Option<&'a str>, RequestError> {
        let mut values = self.values(name);
        let value = values.next().map(ascii).transpose()?;
        if values.next().is_some() { Err(RequestError::Malformed) } else { Ok(value) }
    }

    /// Whether a header, which is a list, has this token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let mut tokens = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        tokens.any(|own| own.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }
}

fn ascii(bytes: &[u8]) -> Result<&str, RequestError> {
    let text = str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
    text.ok_or(RequestError::Malformed)
}

/// Method and target.
fn request_line(line: &[u8]) -> Result<(&str, &str), RequestError> {
    let line = ascii(line)?;
    let mut words = line.split(' ');
    let words = (words.next(), words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = words else {
        return Err(RequestError::Malformed);
    };
    let is_path = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token(method.as_bytes()) || !is_path {
        return Err(RequestError::Malformed);
    }
    match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some(b"1.1") => Ok((method, target)),
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) => Err(RequestError::Version),
        _ => Err(RequestError::Malformed),
    }
}

/// The name and the value of a line. A line that continues another one has no name.
fn header(line: &[u8]) -> Result<(&str, &[u8]), RequestError> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(RequestError::Malformed)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value = value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if !is_token(name) || !is_value {
        return Err(RequestError::Malformed);
    }
    Ok((ascii(name)?, value.trim_ascii()))
}

/// Whether this is a token (RFC 9110, section 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_part)
}

/// The parts between separators.
fn split<'a>(bytes: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let at = bytes.windows(separator.len()).position(|window| window == separator);
        rest = at.map(|at| &bytes[at + separator.len()..]);
        Some(at.map_or(bytes, |at| &bytes[..at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "GET /hop HTTP/1.1\r\nHost: chat.example:8443\r\nConnection: keep-alive, Upgrade\r\n\
                        upgrade:websocket\r\nX-City: M\u{fc}nchen\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn a_request_is_read() {
        let bytes = head_bytes(GOOD.as_bytes(), 0).unwrap().unwrap();
        assert_eq!(bytes, GOOD.len());
        let request = parse(GOOD.as_bytes()).unwrap();
        let parts = (request.method, request.target, request.host);
        assert_eq!(parts, ("GET", "/hop", "chat.example:8443"));
        assert!(request.has_token("Connection", "upgrade"));
        assert!(request.has_token("Upgrade", "WebSocket"));
        assert!(!request.has_token("Connection", "keep"));
        assert_eq!(request.only("origin"), Ok(None));
        assert_eq!(request.only("x-city"), Err(RequestError::Malformed));
    }

    #[test]
    fn what_could_be_understood_differently_is_no_request() {
        let bad = [
            // Bodies, and lengths that two programs read differently.
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: identity\r\n\r\n",
            // Names with a blank, lines that continue, bare line ends.
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\n\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            // No host, two hosts.
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n",
            // Other forms of a target and of the first line.
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
            "G\u{1}T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "\r\n\r\n",
        ];
        for head in bad {
            assert_eq!(parse(head.as_bytes()), Err(RequestError::Malformed), "{head:?}");
            if !head.contains("Length: 5") {
                let read = parse_with_body(head.as_bytes());
                assert_eq!(read, Err(RequestError::Malformed), "{head:?}");
            }
        }
        let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(parse_with_body(length.as_bytes()).unwrap().1, 5);
        let endless = length.replace('5', "18446744073709551616");
        assert_eq!(parse_with_body(endless.as_bytes()), Err(RequestError::Malformed));
        for version in ["1.0", "2.0", "0.9"] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
            assert_eq!(parse(head.as_bytes()), Err(RequestError::Version));
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(parse(many.as_bytes()), Err(RequestError::TooLong));
    }

    #[test]
    fn a_head_is_bounded_and_garbage_is_noticed_before_its_end() {
        assert_eq!(head_bytes(&[b'a'; HTTP_HEAD_BYTES_MAX], 0), Ok(None));
        let long = [b'a'; HTTP_HEAD_BYTES_MAX + 1];
        assert_eq!(head_bytes(&long, HTTP_HEAD_BYTES_MAX), Err(RequestError::TooLong));
        // The beginning of TLS, and of a record of pychat.
        for garbage in [&b"\x16\x03\x01"[..], b"\x00\x4dPYCHAT/1"] {
            assert_eq!(head_bytes(garbage, 0), Err(RequestError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn the_end_is_found_however_the_bytes_arrive(cuts in prop::collection::vec(1usize..20, 1..60)) {
            let bytes = [GOOD.as_bytes(), b"more\r\n\r\n"].concat();
            let (mut end, mut searched) = (0, 0);
            for cut in cuts {
                end = (end + cut).min(bytes.len());
                let found = head_bytes(&bytes[..end], searched).unwrap();
                prop_assert_eq!(found, (end >= GOOD.len()).then_some(GOOD.len()));
                if found.is_some() {
                    break;
                }
                searched = end;
            }
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (head_bytes(&bytes, 0), parse(&bytes));
            let _ = parse(&[&bytes[..], END].concat());
        }
    }
}
