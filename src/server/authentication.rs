//! Session tickets, which replace the proof of a key, and passwords, the second factor: users with
//! a password prove it inside the tunnel, on their connection's thread, before they get a session.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts::PASSWORD_CHANGED;
use super::admission::{Offence, today};
use super::context::Context;
use super::delivery::send_queue::SendQueue;
use super::passwords::prompts::{Prompt, Slot};
use super::passwords::throttle::Guess;
use super::passwords::throttle_key::ThrottleKey;
use super::passwords::tickets::Owner;
use super::session_tickets::Resumed;
use crate::chat::rights::State;
use crate::chat::{Code, Command, Event, Request, SecretText, Ticket, UserName};
use crate::crypto::password::PasswordHash;
use crate::crypto::session_ticket::{Claims, password_digest};
use crate::crypto::ticket::Digest;
use crate::crypto::{Fingerprint, RecordType};
use crate::home::sanctions::Whom;
use crate::limits::{PROMPT_BYTES_MAX, PROMPT_RECORDS_MAX};
use crate::net::tunnel::{Incoming, TunnelReader};
use crate::wire::codec;

/// Wrong passwords allowed per connection.
const GUESSES_MAX: u32 = 3;

/// The retry delay sent to a client whose prompt was closed for another one.
const CLOSED_RETRY_MS: u64 = 2_000;

/// A connection that has to authenticate.
pub struct Candidate<'a> {
    pub user: &'a UserName,
    pub address: IpAddr,
    pub queue: &'a Arc<SendQueue>,
    /// What the device has sent as its ticket.
    pub ticket: Option<&'a Ticket>,
}

/// A candidate whose password is set.
struct Attempt<'a> {
    candidate: &'a Candidate<'a>,
    password: PasswordHash,
    /// The candidate's own ticket, where it has a valid one.
    ticket: Option<Digest>,
}

impl<'a> Candidate<'a> {
    fn attempt(&'a self, context: &Context, password: PasswordHash) -> Attempt<'a> {
        let owner = Owner { user: self.user, key: self.queue.key, password: &password };
        let tickets = context.passwords.tickets.lock();
        let ticket = self.ticket.and_then(|ticket| tickets.find(&owner, ticket, today()));
        drop(tickets);
        Attempt { candidate: self, password, ticket }
    }
}

impl Attempt<'_> {
    fn counted_by(&self) -> ThrottleKey {
        let source = || ThrottleKey::Source(self.candidate.address.into());
        self.ticket.map_or_else(source, ThrottleKey::Ticket)
    }

    fn is_known(&self, context: &Context) -> bool {
        let Candidate { user, address, .. } = self.candidate;
        self.ticket.is_some() || context.admission.knows(user, *address)
    }

    fn guess(&self, context: &Context) -> Guess<'_> {
        let (counted_by, known) = (self.counted_by(), self.is_known(context));
        let password = Digest::of_password(&self.password);
        Guess { user: self.candidate.user, counted_by, password, known }
    }
}

/// What somebody has come in by: the password, and the ticket beside it.
pub struct Proof(Option<(PasswordHash, Option<Digest>)>);

impl Proof {
    /// Whether the proof is still sufficient: the password may have been set or changed meanwhile.
    pub fn holds(&self, context: &Context, user: &UserName) -> bool {
        let now = context.accounts.get().settings(user).password;
        now.is_none() || now.as_ref() == self.0.as_ref().map(|(password, _)| password)
    }

    /// The password of the login, if there is one.
    pub fn password(&self) -> Option<&PasswordHash> {
        self.0.as_ref().map(|(password, _)| password)
    }

    /// The ticket for a device that has come in by its password. One that has a valid ticket keeps
    /// it.
    pub fn ticket(&self, context: &Context, user: &UserName, key: Fingerprint) -> Option<Event> {
        let (password, ticket) = self.0.as_ref()?;
        let mut tickets = context.passwords.tickets.lock();
        if let Some(ticket) = ticket {
            tickets.renew(user, *ticket, today());
            return None;
        }
        Some(Event::Ticket { ticket: tickets.give(&Owner { user, key, password }, today()) })
    }
}

/// Checks a presented ticket. It is invalid if the user or the key was removed or is banned, or if
/// the password has changed.
pub fn resume(context: &Context, ticket: &[u8], server: &Fingerprint) -> Option<Resumed> {
    let claims = context.session_tickets.read(ticket, server)?;
    let users = context.accounts.get();
    let user = &claims.user;
    let key = users.keys_of(user).find(|key| key.fingerprint() == claims.key)?.clone();
    let password = users.settings(user).password;
    let same = password.as_ref().map(password_digest) == claims.password;
    let whom = Whom { user, key: claims.key, address: None };
    let banned = context.access.standing(whom).1 == State::Banned;
    let Claims { secret, proven_s, .. } = claims;
    (same && !banned).then_some(Resumed { key, secret, proven_s })
}

/// The result of a prompt.
enum Answer {
    Right,
    Wrong,
    /// More came than guesses and signs of life need.
    TooMuch,
    /// The password is another one now, or none.
    Changed,
}

/// Authenticates a user: succeeds without a password, or with the right one.
///
/// # Errors
///
/// The connection was ended; the offence penalises its source.
pub fn authenticate(
    context: &Context,
    candidate: &Candidate,
    reader: &mut TunnelReader,
) -> Result<Proof, Offence> {
    let password = context.accounts.get().settings(candidate.user).password;
    let Some(hash) = password else {
        if context.config.get().passwords == crate::config::Passwords::All {
            let reason =
                "this server requires a password: ask the operator to set yours".to_owned();
            end(context, candidate, reason, None);
            return Err(Offence::NotAdmitted);
        }
        return Ok(Proof(None));
    };
    let attempt = candidate.attempt(context, hash);
    let _slot = match slot(context, &attempt) {
        Ok(slot) => slot,
        Err(ms) => {
            context.hub.counters().refused(Code::Password);
            refuse_prompt(candidate.queue, ms.max(1_000));
            return Err(Offence::Unserved);
        }
    };
    match ask(context, &attempt, reader) {
        Ok(Answer::Right) => return Ok(Proof(Some((attempt.password, attempt.ticket)))),
        Ok(Answer::Wrong) => {
            let wait_ms = context.passwords.guess_wait_ms(&attempt.guess(context)).max(1_000);
            end(context, candidate, "wrong password".into(), Some(wait_ms));
        }
        Ok(Answer::TooMuch) => {
            end(context, candidate, "too much data before the password".into(), None)
        }
        Ok(Answer::Changed) => end(context, candidate, PASSWORD_CHANGED.into(), Some(1_000)),
        // The peer is gone, or violates the protocol.
        Err(_) => end(context, candidate, "no password was sent".into(), Some(5_000)),
    }
    Err(Offence::NoPassword)
}

fn ask(context: &Context, attempt: &Attempt, reader: &mut TunnelReader) -> io::Result<Answer> {
    let Attempt { candidate, password: hash, .. } = attempt;
    let seconds = context.config.get().limits.password_s_max;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let (mut wrong, mut left) = (0, Allowance::default());
    prompt_password(context, attempt, false);
    while wrong < GUESSES_MAX {
        let guess = match next(candidate, reader, deadline, &mut left)? {
            Next::Guess(guess) => guess,
            Next::Other => continue,
            Next::TooMuch => return Ok(Answer::TooMuch),
        };
        if context.accounts.get().settings(candidate.user).password.as_ref() != Some(hash) {
            return Ok(Answer::Changed);
        }
        // Checked when its turn comes, so that simultaneous attempts also wait for each other.
        let looked = context.passwords.hash(deadline, || {
            context.passwords.guess(&attempt.guess(context), || hash.fits(guess.reveal()))
        });
        match looked {
            None => return Err(io::ErrorKind::TimedOut.into()),
            Some(Some(true)) => return Ok(Answer::Right),
            Some(Some(false)) => {
                wrong += 1;
                context.hub.counters().refused(Code::Password);
                log::info!("a wrong password for {}", candidate.user);
                if wrong < GUESSES_MAX {
                    prompt_password(context, attempt, true);
                }
            }
            Some(None) => {
                context.hub.counters().refused(Code::Rate);
                prompt_password(context, attempt, false);
            }
        }
    }
    Ok(Answer::Wrong)
}

/// What a connection may still send before it is authenticated.
struct Allowance {
    records: usize,
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { records: PROMPT_RECORDS_MAX, bytes: PROMPT_BYTES_MAX }
    }
}

impl Allowance {
    /// Counts a record of any type. Returns false if it exceeds the allowance.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = (self.records.checked_sub(1), self.bytes.checked_sub(bytes));
        let (Some(records), Some(bytes)) = left else { return false };
        *self = Allowance { records, bytes };
        true
    }
}

/// The next input.
enum Next {
    Guess(SecretText),
    Other,
    TooMuch,
}

fn next(
    candidate: &Candidate,
    reader: &mut TunnelReader,
    deadline: Instant,
    left: &mut Allowance,
) -> io::Result<Next> {
    reader.set_deadline(deadline)?;
    match reader.receive()? {
        Incoming::Record(_, body) if !left.takes(body.len()) => Ok(Next::TooMuch),
        Incoming::Record(RecordType::Json, body) => {
            let command = codec::decode::<Request>(body).find_map(Result::ok);
            match command.map(|request| request.command) {
                Some(Command::Password { password }) => Ok(Next::Guess(password)),
                Some(Command::Quit) => Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Ok(Next::Other),
            }
        }
        Incoming::Record(RecordType::Ping, body) => {
            // What the socket does not accept stays queued; the flusher does not watch this queue
            // yet.
            let _ = candidate.queue.send(RecordType::Pong, body);
            Ok(Next::Other)
        }
        Incoming::Record(..) => Ok(Next::Other),
        Incoming::Closed(_) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

fn prompt_password(context: &Context, attempt: &Attempt, wrong: bool) {
    let wait_ms = context.passwords.guess_wait_ms(&attempt.guess(context));
    let retry_ms = (wait_ms > 0).then_some(wait_ms);
    // A peer that does not read this gets nothing else either.
    let _ = attempt.candidate.queue.answer(&Event::Password { wrong, retry_ms });
}

/// Opens a slot among the password prompts.
///
/// # Errors
/// Too many are, for so many milliseconds.
fn slot<'a>(context: &'a Context, attempt: &Attempt) -> Result<Slot<'a, Arc<SendQueue>>, u64> {
    let candidate = attempt.candidate;
    let prompt = Prompt {
        user: candidate.user.clone(),
        key: candidate.queue.key,
        counted_by: attempt.counted_by(),
        known: attempt.is_known(context),
        since: context.hub.now(),
        handle: Arc::clone(candidate.queue),
    };
    let max = context.config.get().limits.sessions_per_user_max;
    let (slot, closed) = context.passwords.open(prompt, max)?;
    closed.iter().for_each(|queue| refuse_prompt(queue, CLOSED_RETRY_MS));
    Ok(slot)
}

/// Ends a connection because too many prompts are open.
fn refuse_prompt(queue: &SendQueue, retry_ms: u64) {
    let reason = "too many of your connections are waiting for a password".to_owned();
    let event = Event::Goodbye { code: Code::Password, reason, retry_ms: Some(retry_ms) };
    queue.end(Some(&event), "password");
}

fn end(context: &Context, candidate: &Candidate, reason: String, retry_ms: Option<u64>) {
    context.hub.counters().refused(Code::Password);
    let event = Event::Goodbye { code: Code::Password, reason, retry_ms };
    candidate.queue.end(Some(&event), "password");
}
