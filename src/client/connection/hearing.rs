//! What a connection hears from its server, whatever carries the records: events pass the edge
//! (`edge.rs`), rotations of the server's key and tickets are stored.

use std::time::Duration;

use super::edge::{Asked, Edge};
use super::profile::Profile;
use crate::chat::{Code, Event, Opaque, Ticket};
use crate::client::model::Input;
use crate::crypto::Fingerprint;
use crate::system::clock::Instant;

/// Time between pings while the user interface is behind.
pub const PING_AFTER: Duration = Duration::from_secs(30);
/// Pings answered within `PING_AFTER`; a server sends one in that time.
const PONGS_MAX: u32 = 30;
/// A connection that ends sooner counts as a failure, and the next attempt is delayed.
pub const LASTS: Duration = Duration::from_secs(5);

/// Host key rotations that are processed in one connection.
const SUCCESSORS_MAX: u32 = 4;

const OVERFLOW: &str = "the server lists more than 10,000 conversations: the others are not shown";

/// Body of a ping that asks for an echo.
pub const ECHO: &[u8] = b"echo";

/// An input for the model, and its bytes in memory.
pub struct Heard {
    pub input: Input,
    pub bytes: usize,
}

impl From<Input> for Heard {
    fn from(input: Input) -> Heard {
        Heard { input, bytes: 0 }
    }
}

/// The state of one connection.
pub struct Hearing {
    /// Fingerprints of the keys that this session has proven: the server's and the own one.
    server: Fingerprint,
    key: Fingerprint,
    edge: Edge,
    /// Count of answered pings, since the given time.
    pongs: (u32, Instant),
    /// Count of host key rotations.
    successors: u32,
    /// The server has sent a ticket; it may send one per connection.
    has_ticket: bool,
}

impl Hearing {
    pub fn new((server, key): (Fingerprint, Fingerprint), asked: Asked) -> Hearing {
        let (edge, pongs) = (Edge::new(asked), (0, Instant::now()));
        Hearing { server, key, edge, pongs, successors: 0, has_ticket: false }
    }

    /// Handles a server event that the edge admits.
    pub fn event(&mut self, profile: &Profile, event: Event) -> Vec<Heard> {
        if let Some(goodbye) = self.rotated(profile, &event) {
            return vec![Input::Answer(goodbye).into()];
        }
        let overflowed = self.edge.overflows;
        let admitted = self.edge.admit(event);
        let mut heard = Vec::new();
        if self.edge.overflows && !overflowed {
            heard.push(Heard { input: Input::Trouble(OVERFLOW.to_owned()), bytes: OVERFLOW.len() });
        }
        match admitted {
            Some(Event::Successor { key, signatures }) => {
                heard.extend(self.rotate_host_key(profile, &key, &signatures).map(Heard::from));
            }
            Some(Event::Ticket { ticket }) => {
                heard.extend(self.store_ticket(profile, &ticket).map(Heard::from));
            }
            Some(Event::SessionTicket { ticket, secret }) => {
                profile.keep_session_ticket(&ticket, &secret, (self.server, self.key));
            }
            Some(event) => {
                let bytes = event.bytes_in_memory();
                heard.push(Heard { input: Input::Event(event), bytes });
            }
            None => {}
        }
        heard
    }

    /// Returns whether a ping is answered: pings are, up to a rate.
    pub fn answers_ping(&mut self) -> bool {
        if self.pongs.1.elapsed() >= PING_AFTER {
            self.pongs = (0, Instant::now());
        }
        self.pongs.0 = self.pongs.0.saturating_add(1);
        self.pongs.0 <= PONGS_MAX
    }

    /// If the key was removed while a next key exists, it was most likely replaced by it.
    fn rotated(&self, profile: &Profile, event: &Event) -> Option<Event> {
        let removed = matches!(event, Event::Goodbye { code: Code::Removed, .. });
        let replaced = removed && profile.keys().another(&self.key, &profile.data_folder);
        replaced.then(|| {
            let reason = "your key was replaced: logging in with the new one".to_owned();
            Event::Goodbye { code: Code::Shutdown, reason, retry_ms: None }
        })
    }

    /// Stores the device's ticket for the password.
    fn store_ticket(&mut self, profile: &Profile, ticket: &Ticket) -> Option<Input> {
        if std::mem::replace(&mut self.has_ticket, true) {
            return None;
        }
        let error = profile.keep_ticket(ticket).err()?;
        Some(Input::Trouble(format!("the device's ticket cannot be stored: {error}")))
    }

    /// Handles the announcement of the host key that follows the current one.
    fn rotate_host_key(
        &mut self,
        profile: &Profile,
        key: &Opaque,
        signatures: &Opaque,
    ) -> Option<Input> {
        self.successors = self.successors.saturating_add(1);
        if self.successors > SUCCESSORS_MAX {
            return None;
        }
        match profile.succeed(key.bytes(), signatures.bytes()) {
            Ok(told) => told.map(Input::Reply),
            Err(error) => Some(Input::Trouble(format!("the server's key stays pinned: {error:#}"))),
        }
    }
}

/// The input for the end of a session whose keys are used up: a new login follows.
pub fn rekeys() -> Input {
    let reason = "the session keys have to be renewed: logging in again".to_owned();
    Input::Answer(Event::Goodbye { code: Code::Shutdown, reason, retry_ms: None })
}
