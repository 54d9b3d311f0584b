//! What each way to the server has in common: the interface for the runtime, the login, and the
//! texts about failures.

use std::time::Duration;

use super::profile::Profile;
use crate::chat::{ChannelName, Command, Event, Refusal, Request, SecretText};
use crate::client::model::{Input, Loss};
use crate::client::transfer::Work;
use crate::crypto::Fingerprint;
use crate::crypto::pin_channel::{Pin, PinChannel};
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::limits::Limits;
use crate::net::dial_error::DialError;
use crate::wire::codec::Login;

/// Deadline for connecting and the whole login, until the server admits, refuses or asks for a
/// password.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Events that the server may send before that.
pub const EVENTS_FIRST_MAX: usize = 64;

/// The connection to the server, as the runtime sees it.
pub trait Connects: Send {
    /// Connects after a delay. The outcome is sent to the model.
    fn dial(&mut self, after_ms: u64);

    /// Sends a request if connected.
    fn send(&mut self, request: &Request);

    /// Sends a ping whose answer shows that all earlier requests were answered.
    fn echo(&mut self);

    /// Cuts the connection; the server keeps the user's sessions for a while.
    fn cut(&mut self);

    /// Says goodbye and closes the connection, so that the server ends the session at once.
    fn close(&mut self);

    /// Hands work to the engine of transfers.
    fn work(&mut self, work: Work);

    /// Tells the engine of transfers that the connection is lost.
    fn lost(&mut self);

    /// Waits for the engine of transfers before the program ends.
    fn finish(&mut self);

    /// Accepts the derivation of a key; `Input::Derived` follows. Returns the derivation if the
    /// caller has to run it on a thread.
    fn derive(&mut self, wanted: Derivation) -> Option<Derivation> {
        Some(wanted)
    }
}

/// A channel's key that is to be derived from its PIN.
#[derive(Debug)]
pub struct Derivation {
    pub name: ChannelName,
    pub pin: SecretText,
    /// The server's founding key.
    pub server: Fingerprint,
    /// The client has made the PIN.
    pub is_made: bool,
}

impl Derivation {
    /// Derives the key, which takes a tenth of a second or more, and 64 MiB.
    pub fn key(&self) -> PinChannel {
        PinChannel::derive(&Pin::new(self.pin.reveal()), &self.server, self.name.letters())
    }

    /// The input for the model once the key is derived.
    pub fn done(self, key: PinChannel) -> Input {
        let made = self.is_made.then_some(self.pin);
        Input::Derived { name: self.name, key, made }
    }
}

/// The first object of a session.
pub fn login(profile: &Profile, resumes: bool) -> Login {
    // A client with one job has no next login in this process.
    let of_kind: &[&str] = if resumes { &["resume", "session_ticket"] } else { &["job"] };
    let features = ["ticket", "files"].iter().chain(of_kind);
    Login {
        name: profile.name.clone(),
        device: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        major: 1,
        features: features.map(|feature| (*feature).to_owned()).collect(),
        ticket: profile.ticket(),
    }
}

/// A local refusal of a command that exceeds a record, in the form of the server's.
pub fn too_long(command: &Command, bytes: usize) -> Event {
    match command {
        Command::Say(message) => {
            let max_bytes = Limits::default().text_bytes_max;
            let bytes = message.body.len();
            Refusal::TooLong { bytes, max_bytes }.event(Some(message.id), None)
        }
        _ => Refusal::TooLong { bytes, max_bytes: RECORD_BODY_BYTES_MAX }.event(None, None),
    }
}

/// Returns whether an event shows if the key is admitted.
pub fn decides(event: &Event) -> bool {
    matches!(event, Event::Welcome { .. } | Event::Password { .. } | Event::Goodbye { .. })
}

/// The reason of a failure, for the model.
pub fn why(error: DialError) -> Loss {
    match error {
        DialError::WrongKey => Loss::WrongServer,
        DialError::Version { lowest, highest } => Loss::Version(format!("{lowest}-{highest}")),
        DialError::Suite(_) => Loss::Suite(error.to_string()),
        DialError::Busy => Loss::Busy,
        DialError::Cut => Loss::Cut,
        other => Loss::Unreachable(other.to_string()),
    }
}
