//! Refusals of requests.

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Malformed,
    TooLong,
    Version,
    Host,
    Method(&'static str),
    Path,
    Origin,
    Token,
    NoUpgrade,
    Length,
    TooLarge,
    Busy,
    Disk,
}

impl Wrong {
    /// Status line, and a text that says what to do.
    pub fn told(self) -> (&'static str, &'static str) {
        match self {
            Wrong::Malformed => ("400 Bad Request", "the request is malformed"),
            Wrong::TooLong => {
                ("431 Request Header Fields Too Large", "the head of the request is too long")
            }
            Wrong::Version => ("505 HTTP Version Not Supported", "pychat speaks HTTP/1.1"),
            Wrong::Host => {
                ("421 Misdirected Request", "open the address that the client has printed")
            }
            Wrong::Method(_) => ("405 Method Not Allowed", "this path has other methods"),
            Wrong::Path => ("404 Not Found", "there is nothing here"),
            Wrong::Origin => ("403 Forbidden", "only the page of this client may do this"),
            Wrong::Token => (
                "401 Unauthorized",
                "the token is missing or wrong: open the address that the client has printed",
            ),
            Wrong::NoUpgrade => ("426 Upgrade Required", "this path is for WebSocket, version 13"),
            Wrong::Length => ("411 Length Required", "a file needs a name and a length"),
            Wrong::TooLarge => ("413 Content Too Large", "the server takes no files of this size"),
            Wrong::Busy => ("503 Service Unavailable", "too many files are handed over: try again"),
            Wrong::Disk => ("507 Insufficient Storage", "this computer's disk takes no file"),
        }
    }

    /// Further header lines.
    pub fn headers(self) -> String {
        match self {
            Wrong::Method(allowed) => format!("Allow: {allowed}\r\n"),
            Wrong::NoUpgrade => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
            _ => String::new(),
        }
    }
}
