//! The second factor: whose password is set proves that they know it, inside the tunnel and on their
//! own thread, before they are anybody here.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts::PASSWORD_CHANGED;
use super::context::Context;
use super::delivery::send_queue::SendQueue;
use super::door::Offence;
use super::guesses::Guess;
use super::prompts::{Place, Prompt};
use crate::chat::{Code, Command, Event, Hidden, UserName};
use crate::crypto::RecordType;
use crate::crypto::password::PasswordHash;
use crate::limits::{PROMPT_BYTES_MAX, PROMPT_RECORDS_MAX};
use crate::net::tunnel::{Incoming, TunnelReader};
use crate::wire::codec;

/// Wrong guesses of one connection.
const GUESSES_MAX: u32 = 3;

/// A client whose prompt was closed for another one comes back after this.
const CLOSED_RETRY_MS: u64 = 2_000;

/// Who asks for a way in.
pub struct Asker<'a> {
    pub user: &'a UserName,
    pub address: IpAddr,
    pub queue: &'a Arc<SendQueue>,
}

impl Asker<'_> {
    fn guess(&self, house: &Context) -> Guess<'_> {
        let known = house.door.knows(self.user, self.address);
        Guess { user: self.user, source: self.address.into(), known }
    }
}

/// What somebody has come in by.
pub struct Proof(Option<PasswordHash>);

impl Proof {
    /// Whether it is enough still: a password may have been set meanwhile, or another one.
    pub fn holds(&self, house: &Context, user: &UserName) -> bool {
        let now = house.accounts.get().settings(user).password;
        now.is_none() || now == self.0
    }
}

/// What came of asking.
enum Answer {
    Right,
    Wrong,
    /// More came than guesses and signs of life need.
    TooMuch,
    /// The password is another one now, or none.
    Changed,
}

/// What this person may come in by: no password is set, or they know it.
///
/// # Errors
/// The connection has ended, and its source is penalised for this.
pub fn knows(house: &Context, asker: &Asker, reader: &mut TunnelReader) -> Result<Proof, Offence> {
    let password = house.accounts.get().settings(asker.user).password;
    let Some(hash) = password else {
        if house.config.get().passwords == crate::config::Passwords::All {
            let reason = "everybody needs a password here: the operator sets yours".to_owned();
            end(house, asker, reason, None);
            return Err(Offence::NotAdmitted);
        }
        return Ok(Proof(None));
    };
    let _place = match place(house, asker) {
        Ok(place) => place,
        Err(ms) => {
            house.hub.counters().refused(Code::Password);
            refuse_prompt(asker.queue, ms.max(1_000));
            return Err(Offence::Unserved);
        }
    };
    match ask(house, asker, &hash, reader) {
        Ok(Answer::Right) => return Ok(Proof(Some(hash))),
        Ok(Answer::Wrong) => {
            let wait_ms = house.passwords.guess_wait_ms(&asker.guess(house)).max(1_000);
            end(house, asker, "this is not your password".into(), Some(wait_ms));
        }
        Ok(Answer::TooMuch) => end(house, asker, "too much came before your password".into(), None),
        Ok(Answer::Changed) => end(house, asker, PASSWORD_CHANGED.into(), Some(1_000)),
        // The peer is gone, or speaks something else.
        Err(_) => end(house, asker, "no password came".into(), Some(5_000)),
    }
    Err(Offence::NoPassword)
}

fn ask(
    house: &Context,
    asker: &Asker,
    hash: &PasswordHash,
    reader: &mut TunnelReader,
) -> io::Result<Answer> {
    let seconds = house.config.get().limits.password_s_max;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let (mut wrong, mut left) = (0, Allowance::default());
    tell(house, asker, false);
    while wrong < GUESSES_MAX {
        let guess = match next(asker, reader, deadline, &mut left)? {
            Next::Guess(guess) => guess,
            Next::Other => continue,
            Next::TooMuch => return Ok(Answer::TooMuch),
        };
        if house.accounts.get().settings(asker.user).password.as_ref() != Some(hash) {
            return Ok(Answer::Changed);
        }
        // Looked at once it is its turn, so that those that come together wait for each other too.
        let looked = house.passwords.hash(deadline, || {
            house.passwords.guess(&asker.guess(house), || hash.fits(guess.reveal()))
        });
        match looked {
            None => return Err(io::ErrorKind::TimedOut.into()),
            Some(Some(true)) => return Ok(Answer::Right),
            Some(Some(false)) => {
                wrong += 1;
                house.hub.counters().refused(Code::Password);
                log::info!("a wrong password for {}", asker.user);
                if wrong < GUESSES_MAX {
                    tell(house, asker, true);
                }
            }
            Some(None) => {
                house.hub.counters().refused(Code::Rate);
                tell(house, asker, false);
            }
        }
    }
    Ok(Answer::Wrong)
}

/// What a connection may still send before its password is accepted.
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
    /// Counts a record, of whatever type; false where it is one too many.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = (self.records.checked_sub(1), self.bytes.checked_sub(bytes));
        let (Some(records), Some(bytes)) = left else { return false };
        *self = Allowance { records, bytes };
        true
    }
}

/// What came next.
enum Next {
    Guess(Hidden),
    Other,
    TooMuch,
}

fn next(
    asker: &Asker,
    reader: &mut TunnelReader,
    deadline: Instant,
    left: &mut Allowance,
) -> io::Result<Next> {
    reader.set_deadline(deadline);
    match reader.receive()? {
        Incoming::Record(_, body) if !left.takes(body.len()) => Ok(Next::TooMuch),
        Incoming::Record(RecordType::Json, body) => {
            let command = codec::decode::<Command>(body).find_map(Result::ok);
            match command {
                Some(Command::Password { password }) => Ok(Next::Guess(password)),
                Some(Command::Quit) => Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Ok(Next::Other),
            }
        }
        Incoming::Record(RecordType::Ping, body) => {
            // What a socket does not take is kept, and this one is watched by nobody yet.
            let _ = asker.queue.send(RecordType::Pong, body);
            Ok(Next::Other)
        }
        Incoming::Record(..) => Ok(Next::Other),
        Incoming::Closed(_) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

fn tell(house: &Context, asker: &Asker, wrong: bool) {
    let wait_ms = house.passwords.guess_wait_ms(&asker.guess(house));
    let retry_ms = (wait_ms > 0).then_some(wait_ms);
    // A peer that does not read this gets nothing else either.
    let _ = asker.queue.answer(&Event::Password { wrong, retry_ms });
}

/// A place among the connections that are asked for a password.
///
/// # Errors
/// Too many are, for so many milliseconds.
fn place<'a>(house: &'a Context, asker: &Asker) -> Result<Place<'a, Arc<SendQueue>>, u64> {
    let prompt = Prompt {
        user: asker.user.clone(),
        key: asker.queue.key,
        source: asker.address.into(),
        known: house.door.knows(asker.user, asker.address),
        since: house.hub.now(),
        handle: Arc::clone(asker.queue),
    };
    let max = house.config.get().limits.sessions_per_user_max;
    let (place, closed) = house.passwords.open(prompt, max)?;
    closed.iter().for_each(|queue| refuse_prompt(queue, CLOSED_RETRY_MS));
    Ok(place)
}

/// Ends a connection that may not be asked, or not any more: there are too many of them.
fn refuse_prompt(queue: &SendQueue, retry_ms: u64) {
    let reason = "too many of your connections wait for a password".to_owned();
    let event = Event::Goodbye { code: Code::Password, reason, retry_ms: Some(retry_ms) };
    queue.end(Some(&event), "password");
}

fn end(house: &Context, asker: &Asker, reason: String, retry_ms: Option<u64>) {
    house.hub.counters().refused(Code::Password);
    let event = Event::Goodbye { code: Code::Password, reason, retry_ms };
    asker.queue.end(Some(&event), "password");
}
