//! A connection to the web port until its request is answered. It is non-blocking.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::pages::{Page, Site};
use super::routes::{Answer, Wrong, answer};
use super::rules::{self, Way, is_secure, source};
use crate::config::{HomeName, WebOrigin};
use crate::net::http::HttpStream;
use crate::net::link::Link;
use crate::net::ready::Wanted;
use crate::net::tls;
use crate::server::observe::log as server_log;
use crate::wire::http::Request;
use crate::wire::{http, proxy};

/// Bytes of one read.
const PART_BYTES: usize = 2_048;
/// Bytes that are read and dropped after the answer. A close with unread bytes would reset the
/// connection, and the peer would lose the answer.
const IGNORED_BYTES_MAX: usize = 64 * 1024;
/// Pages that a peer gets in one turn, so that other peers are served too. A peer that pipelines
/// more requests is disconnected.
const PAGES_AT_ONCE_MAX: usize = 16;
/// How long the peer may take to read the answer and to close.
const LINGER: Duration = Duration::from_secs(2);
/// How long the peer may take to read a page or a file of it.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The state of the server that an answer depends on.
pub struct Asked<'a> {
    pub origins: &'a [WebOrigin],
    /// Names of this server in its home network.
    pub names: &'a [HomeName],
    /// Returns the certificate of the server's own authority.
    pub authority: &'a dyn Fn() -> Option<String>,
    pub is_proxy: &'a dyn Fn(IpAddr) -> bool,
    pub is_open: bool,
    /// Time for a request, and for the login after it.
    pub login_time: Duration,
    pub about: &'a dyn Fn() -> String,
    /// The certificate; `None` if the port has none.
    pub tls: Option<&'a Arc<ServerConfig>>,
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
    /// The page that is being sent, and how many of its bytes are.
    page: Option<(Page, usize)>,
    /// Bytes received after the last answer; `None` before it.
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
            page: None,
            ignored: None,
        }
    }

    pub fn stream(&self) -> &HttpStream {
        &self.stream
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What the connection waits for.
    pub fn wanted(&self) -> Wanted {
        if self.page.is_some() || self.stream.has_unsent() { Wanted::Output } else { Wanted::Input }
    }

    /// Sends what is left of a page, and handles the received bytes.
    pub fn advance(&mut self, asked: &Asked<'_>) -> Progress {
        let (mut part, mut pages) = ([0; PART_BYTES], 0);
        loop {
            match self.send_page(asked.login_time) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Waits,
                Err(_) => return Progress::Over,
            }
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
                Ok(Some((Answer::Page(_), _))) if pages == PAGES_AT_ONCE_MAX => {
                    return Progress::Over;
                }
                Ok(Some((Answer::Page(page), _))) => {
                    pages += 1;
                    self.begin_page(page);
                }
                Err(Wrong::Tls) => return Progress::Over,
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
        if self.begins_tls()
            && let Some(config) = asked.tls
        {
            let received = std::mem::take(&mut self.received);
            let begun = self.stream.begin_tls(Arc::clone(config), &received);
            // A peer that speaks no TLS 1.3 has got an alert.
            begun.map_err(|_| Wrong::Tls)?;
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
        let path = self.path(&request, asked)?;
        let is_secure = is_secure(request.host, path, asked.origins);
        let is_encrypted = path.is_encrypted();
        let (origins, is_open, about) = (asked.origins, asked.is_open, asked.about);
        let has_tls = asked.tls.is_some();
        let site = Site {
            origins,
            names: asked.names,
            authority: asked.authority,
            is_open,
            is_secure,
            is_encrypted,
            has_tls,
            about,
        };
        let answer = answer(&request, &site)?;
        let way = Way { peer: self.stream.peer, named: self.named.flatten() };
        let peer = match answer {
            Answer::Text(_) | Answer::Page(_) => way.peer,
            Answer::Hop(_) => source(&way, request.values("x-forwarded-for"), asked.is_proxy)
                .ok_or(Wrong::Source)?,
        };
        Ok(Some((answer, peer)))
    }

    fn begins_tls(&self) -> bool {
        !self.stream.is_tls() && self.received.first() == Some(&tls::FIRST_BYTE)
    }

    fn path<'a>(&self, request: &Request<'a>, asked: &Asked<'_>) -> Result<rules::Path<'a>, Wrong> {
        let by_proxy = (asked.is_proxy)(self.stream.peer.ip());
        let scheme = if by_proxy { request.only("x-forwarded-proto")? } else { None };
        Ok(rules::Path { is_tls: self.stream.is_tls(), by_proxy, scheme })
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

    fn begin_page(&mut self, page: Page) {
        self.received = Vec::new();
        self.searched = 0;
        self.page = Some((page, 0));
        self.deadline = Instant::now() + ANSWER_TIME;
    }

    /// Sends what is left of a page. A further request has the same time as the first one.
    ///
    /// # Errors
    /// `WouldBlock` if the peer has to read before more can be sent; the connection has failed.
    fn send_page(&mut self, login_time: Duration) -> io::Result<()> {
        self.stream.flush()?;
        let Some((page, sent)) = &mut self.page else { return Ok(()) };
        let head_bytes = page.head.len();
        while *sent < head_bytes + page.body.len() {
            let rest = match sent.checked_sub(head_bytes) {
                None => &page.head[*sent..],
                Some(sent) => &page.body[sent..],
            };
            *sent += self.stream.send_some(rest)?;
        }
        self.stream.flush()?;
        let keeps = page.keeps;
        self.page = None;
        match keeps {
            true => self.deadline = Instant::now() + login_time,
            false => self.finish(),
        }
        Ok(())
    }

    fn end(&mut self, answer: &[u8]) {
        // The connection ends anyway, so a failed write is ignored.
        let _ = self.stream.send(answer);
        self.finish();
    }

    /// Sends nothing more, and reads the rest.
    fn finish(&mut self) {
        self.stream.finish();
        self.received = Vec::new();
        self.ignored = Some(0);
        self.deadline = self.deadline.min(Instant::now() + LINGER);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::net::listener::Listener;

    /// A browser, and its connection to the port.
    fn connected(deadline: Instant) -> (TcpStream, Connection) {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let browser = TcpStream::connect(listener.address()).unwrap();
        loop {
            if let Some(stream) = listener.accept_http().unwrap() {
                return (browser, Connection::new(stream, deadline));
            }
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn a_peer_that_pipelines_too_many_requests_is_disconnected() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut browser, mut connection) = connected(deadline);
        let asked = Asked {
            origins: &[],
            names: &[],
            authority: &|| None,
            is_proxy: &|_| false,
            is_open: true,
            login_time: Duration::from_secs(60),
            about: &|| "{}".to_owned(),
            tls: None,
        };
        // Each request fills one read, so that the next one is not read together with it.
        let head = "HEAD /server.json HTTP/1.1\r\nHost: localhost\r\nX: ";
        let request = format!("{head}{}\r\n\r\n", "x".repeat(PART_BYTES - head.len() - 4));
        // The control: a browser that waits for each answer.
        browser.set_nonblocking(true).unwrap();
        for _ in 0..2 * PAGES_AT_ONCE_MAX {
            browser.write_all(request.as_bytes()).unwrap();
            let (mut answer, mut part) = (Vec::new(), [0; PART_BYTES]);
            while !answer.ends_with(b"\r\n\r\n") {
                assert!(matches!(connection.advance(&asked), Progress::Waits));
                let bytes = browser.read(&mut part).unwrap_or(0);
                answer.extend_from_slice(&part[..bytes]);
                assert!(Instant::now() < deadline);
            }
        }
        browser.set_nonblocking(false).unwrap();
        let many = request.repeat(PAGES_AT_ONCE_MAX + 1);
        loop {
            browser.write_all(many.as_bytes()).unwrap();
            if matches!(connection.advance(&asked), Progress::Over) {
                break;
            }
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn a_page_larger_than_the_buffers_of_the_system_arrives_whole() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut browser, mut connection) = connected(deadline);
        let body: Vec<u8> = (0..64 << 20).map(|at| at as u8).collect();
        let page = Page { head: b"head".to_vec(), body: Cow::Owned(body.clone()), keeps: false };
        connection.begin_page(page);
        let time = Duration::from_secs(60);
        let error = connection.send_page(time).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the control: it is too large");
        assert_eq!(connection.wanted(), Wanted::Output);
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            browser.read_to_end(&mut read).unwrap();
            read
        });
        while let Err(error) = connection.send_page(time) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert_eq!(connection.wanted(), Wanted::Input);
        assert!(reading.join().unwrap() == [&b"head"[..], &body].concat());
    }
}
