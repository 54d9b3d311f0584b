//! An unauthenticated connection: reads and answers its first records without blocking.

use std::io;
use std::time::Instant;

use super::control::{Admission, Waiting};
use super::penalties::Offence;
use super::table::Stage;
use crate::crypto::handshake::{Gated, ServerHello};
use crate::crypto::hello::Greeting;
use crate::net::link::{Link, send_record};
use crate::net::tunnel::{BUSY, VERSIONS};
use crate::server::observe::log as server_log;
use crate::suite::Suites;

/// A connection without a thread. Its buffer grows with the received bytes.
pub struct Connection {
    pub link: Link,
    pub waiting: Waiting,
    /// The deadline of the whole login.
    pub deadline: Instant,
    expected: Expected,
}

/// The record that is expected next.
enum Expected {
    /// R0, or a key request.
    Greeting,
    /// R0, after a key request was answered.
    Hello,
    /// R2 or T2 of this handshake.
    R2(Box<ServerHello>),
}

/// How far the login has come.
pub enum Progress {
    /// More bytes are needed. Contains the ids of connections that were closed to make room for
    /// this one.
    Waits(Vec<u64>),
    /// R2 or T2 passed the gate: RSA or the session ticket is next.
    Gated(Gated),
}

impl Connection {
    pub fn new(link: Link, waiting: Waiting, deadline: Instant) -> Self {
        Connection { link, waiting, deadline, expected: Expected::Greeting }
    }

    /// Handles the received records.
    ///
    /// # Errors
    ///
    /// Returns why the connection has to be closed.
    pub fn advance(&mut self, admission: &Admission) -> Result<Progress, Offence> {
        let mut evicted = Vec::new();
        loop {
            let record = match self.link.source.read() {
                Ok(Some(record)) => record,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Waits(evicted));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Offence::Garbage);
                }
                Ok(None) | Err(_) => return Err(self.expected.end()),
            };
            let greeting = match std::mem::replace(&mut self.expected, Expected::Greeting) {
                Expected::R2(hello) => {
                    let gated = hello.read(record).map_err(|_| Offence::Garbage)?;
                    return Ok(Progress::Gated(gated));
                }
                Expected::Greeting => admission.greeting(record).ok_or(Offence::Garbage)?,
                Expected::Hello => match admission.greeting(record) {
                    None | Some(Greeting::Ask(_)) => return Err(Offence::Garbage),
                    Some(greeting) => greeting,
                },
            };
            if admission.is_full() {
                return Err(self.turned_away(Offence::Full));
            }
            // The peer has shown that it knows the server's fingerprint.
            match self.waiting.moves_on(Stage::Greeted) {
                Ok(gone) => evicted.extend(gone),
                Err(_) => return Err(self.turned_away(Offence::Unserved)),
            }
            self.expected = self.answer(greeting, admission.suites())?;
        }
    }

    fn answer(&self, greeting: Greeting, suites: Suites) -> Result<Expected, Offence> {
        let gone = |_| Offence::EarlyEnd(Stage::Greeted);
        match greeting {
            Greeting::Ask(answer) => {
                send_record(&*self.link.sink, &answer[..]).map_err(gone)?;
                Ok(Expected::Hello)
            }
            Greeting::Hello(hello) => {
                let (hello, r1) = ServerHello::start(hello, suites);
                send_record(&*self.link.sink, &r1).map_err(gone)?;
                Ok(Expected::R2(Box::new(hello)))
            }
            Greeting::OtherMajor => {
                send_record(&*self.link.sink, VERSIONS).map_err(gone)?;
                Err(Offence::EarlyEnd(Stage::Silent))
            }
        }
    }

    /// Counts the end of the connection, without a thread.
    pub fn end(&self, admission: &Admission, offence: Offence) {
        if offence == Offence::Full {
            admission.report_full();
        }
        self.waiting.fails(offence);
        log::debug!("{} did not log in", server_log::address(self.link.peer));
    }

    /// Tells a peer that knows the server's fingerprint that there is no room.
    pub fn turned_away(&self, why: Offence) -> Offence {
        // A peer that does not wait for the answer needs none.
        let _ = send_record(&*self.link.sink, BUSY);
        why
    }
}

impl Expected {
    /// Returns the offence if the peer closes the connection here.
    fn end(&self) -> Offence {
        match self {
            Expected::Greeting => Offence::EarlyEnd(Stage::Silent),
            Expected::Hello => Offence::Asked,
            Expected::R2(_) => Offence::EarlyEnd(Stage::Greeted),
        }
    }
}
