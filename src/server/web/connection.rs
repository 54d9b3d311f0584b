//! A connection to the web port until its request is answered. It is non-blocking.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::routes::{Answer, Wrong, answer};
use super::rules::{Way, source};
use crate::config::WebOrigin;
use crate::net::http::HttpStream;
use crate::net::link::Link;
use crate::server::observe::log as server_log;
use crate::wire::{http, proxy};

/// Bytes of one read.
const PART_BYTES: usize = 2_048;
/// Bytes that are read and dropped after the answer. A close with unread bytes would reset the
/// connection, and the peer would lose the answer.
const IGNORED_BYTES_MAX: usize = 64 * 1024;
/// How long the peer may take to read the answer and to close.
const LINGER: Duration = Duration::from_secs(2);

/// The state of the server that an answer depends on.
pub struct Asked<'a> {
    pub origins: &'a [WebOrigin],
    pub is_proxy: &'a dyn Fn(IpAddr) -> bool,
    pub is_open: bool,
}

pub struct Connection {
    stream: HttpStream,
    /// The deadline of the request, and of the login after it.
    deadline: Instant,
    received: Vec<u8>,
    /// Bytes of `received` that were searched for the end of the head.
    searched: usize,
    /// The source that a PROXY header names; the outer `None` until the first bytes show whether
    /// there is a header.
    named: Option<Option<SocketAddr>>,
    is_head: bool,
    /// Bytes received after the answer; `None` before it.
    ignored: Option<usize>,
}

/// The state of a connection after `advance`.
pub enum Progress {
    Waits,
    Over,
    /// The connection carries WebSocket from now on.
    Hop(Link),
}

impl Connection {
    pub fn new(stream: HttpStream, deadline: Instant) -> Connection {
        Connection {
            stream,
            deadline,
            received: Vec::new(),
            searched: 0,
            named: None,
            is_head: false,
            ignored: None,
        }
    }

    pub fn stream(&self) -> &HttpStream {
        &self.stream
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Handles the received bytes.
    pub fn advance(&mut self, asked: &Asked<'_>) -> Progress {
        let mut part = [0; PART_BYTES];
        loop {
            let bytes = match self.stream.read(&mut part) {
                Ok(0) => return Progress::Over,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Waits,
                Err(_) => return Progress::Over,
            };
            if let Some(ignored) = &mut self.ignored {
                *ignored += bytes;
                if *ignored > IGNORED_BYTES_MAX {
                    return Progress::Over;
                }
                continue;
            }
            self.received.extend_from_slice(&part[..bytes]);
            match self.answer(asked) {
                Ok(None) => {}
                Ok(Some((Answer::Hop(head), peer))) => return self.hop(&head, peer),
                Ok(Some((Answer::Text(text), _))) => self.end(&text),
                Err(wrong) => {
                    log::debug!("{}: {wrong:?}", server_log::address(self.stream.peer));
                    self.end(&wrong.answer(!self.is_head));
                }
            }
        }
    }

    /// Returns the answer and the source of the request, once the request is complete.
    fn answer(&mut self, asked: &Asked<'_>) -> Result<Option<(Answer, SocketAddr)>, Wrong> {
        if self.named.is_none() && !self.skip_proxy_header(asked)? {
            return Ok(None);
        }
        let Some(bytes) = http::head_bytes(&self.received, self.searched)? else {
            self.searched = self.received.len();
            return Ok(None);
        };
        // A client may send nothing after the request before it has the answer.
        if bytes < self.received.len() {
            return Err(Wrong::Malformed);
        }
        let request = http::parse(&self.received)?;
        self.is_head = request.method == "HEAD";
        let answer = answer(&request, asked.origins, asked.is_open)?;
        let way = Way { peer: self.stream.peer, named: self.named.flatten() };
        let peer = match answer {
            Answer::Text(_) => way.peer,
            Answer::Hop(_) => source(&way, request.values("x-forwarded-for"), asked.is_proxy)
                .ok_or(Wrong::Source)?,
        };
        Ok(Some((answer, peer)))
    }

    /// Removes a PROXY header from `received`. Returns false if more bytes are needed.
    fn skip_proxy_header(&mut self, asked: &Asked<'_>) -> Result<bool, Wrong> {
        if !proxy::begins(&self.received) {
            self.named = Some(None);
            return Ok(true);
        }
        if !(asked.is_proxy)(self.stream.peer.ip()) {
            return Err(Wrong::Malformed);
        }
        let header = proxy::parse(&self.received).map_err(|_| Wrong::Malformed)?;
        let Some(header) = header else { return Ok(false) };
        self.received.drain(..header.bytes);
        self.named = Some(header.source);
        Ok(true)
    }

    fn hop(&self, head: &[u8], peer: SocketAddr) -> Progress {
        match self.stream.send(head) {
            Ok(()) => Progress::Hop(self.stream.clone().into_link(peer)),
            Err(_) => Progress::Over,
        }
    }

    fn end(&mut self, answer: &[u8]) {
        // The connection ends anyway, so a failed write is ignored.
        let _ = self.stream.send(answer);
        self.stream.finish();
        self.received = Vec::new();
        self.ignored = Some(0);
        self.deadline = self.deadline.min(Instant::now() + LINGER);
    }
}
