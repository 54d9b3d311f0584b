//! A page of `pychat client --web`, by hand: HTTP and WebSocket as a browser speaks them.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use super::web::{FIN, answer, ask, connect, frame, read_frame};
use super::{DEADLINE, Program, World};

const TEXT: u8 = 1;

/// A client whose user interface is the page.
pub struct Host {
    pub program: Program,
    pub address: String,
    pub token: String,
}

impl World {
    /// An admitted person's client with the page.
    pub fn hosts(&self, name: &str) -> Host {
        self.admit(name);
        self.hosts_again(name)
    }

    /// The client of a person whose key is registered.
    pub fn hosts_again(&self, name: &str) -> Host {
        Host::of(self.client(name, &["--web", "127.0.0.1:0"]))
    }
}

impl Host {
    pub fn of(program: Program) -> Host {
        let line = program.sees("http://127.0.0.1:");
        let (address, token) = line.trim_start_matches("http://").split_once("/#").unwrap();
        let (address, token) = (address.to_owned(), token.to_owned());
        Host { program, address, token }
    }

    /// The answer to a request without a body, as its head and its body.
    pub fn get(&self, path: &str, headers: &str) -> (String, String) {
        let host = format!("Host: {}\r\n", self.address);
        self.ask(&format!("GET {path} HTTP/1.1\r\n{host}{headers}\r\n"))
    }

    /// The answer to some bytes.
    pub fn ask(&self, request: &str) -> (String, String) {
        let answer = answer(&self.address, request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_owned(), body.to_owned())
    }

    /// The request that opens the connection for objects.
    pub fn upgrade(&self) -> String {
        format!(
            "GET /core HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        )
    }

    /// A connection for objects, without a token yet.
    pub fn opens(&self) -> Page {
        let mut stream = connect(&self.address);
        let head = ask(&mut stream, self.upgrade().as_bytes()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Page { stream, objects: Vec::new(), closed: None }
    }

    /// A page that has attached, up to the end of its snapshot.
    pub fn attaches(&self) -> Page {
        let mut page = self.opens();
        page.sends(&json!({"type": "attach", "token": self.token}));
        page.sees("ready", |_| true);
        page
    }

    /// A page that has attached after the login.
    pub fn enters(&self) -> Page {
        let mut page = self.attaches();
        page.has("hello", |_| true);
        page.has("entered", |object| object["channel"] == "#lobby");
        page
    }
}

/// One connection for objects.
pub struct Page {
    pub stream: TcpStream,
    /// The objects that have arrived.
    pub objects: Vec<Value>,
    /// The status code of the close.
    pub closed: Option<u16>,
}

impl Page {
    pub fn sends(&mut self, object: &Value) {
        self.writes(FIN | TEXT, object.to_string().as_bytes());
    }

    /// A line as it is typed.
    pub fn types(&mut self, to: &str, line: &str) {
        self.sends(&json!({"type": "input", "to": to, "line": line}));
    }

    /// Sends a frame. The client may have closed.
    pub fn writes(&mut self, first: u8, payload: &[u8]) {
        let _ = self.stream.write_all(&frame(first, payload));
    }

    /// Reads the next object; `None` at the end, whose code is stored.
    pub fn next(&mut self) -> io::Result<Option<Value>> {
        let (first, payload) = read_frame(&mut self.stream)?;
        match first & 0x0f {
            8 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                self.closed = Some(code.unwrap_or(1005));
                Ok(None)
            }
            TEXT => {
                let object: Value = serde_json::from_slice(&payload).unwrap();
                self.objects.push(object.clone());
                Ok(Some(object))
            }
            _ => self.next(),
        }
    }

    /// Waits for a new object.
    #[track_caller]
    pub fn sees(&mut self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.next() {
                Ok(Some(object)) if object["type"] == kind && is(&object) => return object,
                Ok(Some(_)) if Instant::now() < until => {}
                end => panic!("never {kind}: {end:?} {:?}\n{:#?}", self.closed, self.objects),
            }
        }
    }

    /// Finds an object among those that have arrived, or waits for it.
    #[track_caller]
    pub fn has(&mut self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = self.objects.iter().find(|object| object["type"] == kind && is(object));
        found.cloned().unwrap_or_else(|| self.sees(kind, is))
    }

    /// Waits for a message with this text.
    #[track_caller]
    pub fn reads(&mut self, text: &str) -> Value {
        self.sees("message", |object| object["text"] == text)
    }

    /// Waits for the end of the connection, and returns its status code.
    #[track_caller]
    pub fn ends(&mut self) -> Option<u16> {
        let until = Instant::now() + DEADLINE;
        while let Ok(Some(_)) = self.next() {
            assert!(Instant::now() < until, "the connection does not end");
        }
        self.closed
    }
}
