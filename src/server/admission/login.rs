//! The part of a login that costs a thread: the RSA operation and the LOGIN record. One thread
//! performs the login; a fresh one serves the session.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::connection::Connection;
use super::control::{Admission, Slot, Waiting};
use super::penalties::Offence;
use super::table::{Stage, Standing};
use crate::crypto::handshake::ServerGated;
use crate::crypto::{PublicKey, RecordType};
use crate::net::link::{Link, Patience, send_record};
use crate::net::tunnel::{BUSY, Incoming, TunnelReader};
use crate::server::delivery::send_queue::Outgoing;
use crate::server::observe::log as server_log;
use crate::sync::{Mutex, Rank};
use crate::wire::codec;

/// Stack of a login's thread, in bytes: enough for the handshake.
const LOGIN_STACK_BYTES: usize = 128 * 1024;
/// Stack of a session's thread, in bytes: enough for parsing, and small enough for ten thousand
/// threads. It is larger than a login's by a page, so that glibc does not take the stack of a login
/// that has ended for it: 24 KiB of that are in memory, 16 more than an idle session touches.
const SESSION_STACK_BYTES: usize = LOGIN_STACK_BYTES + 4 * 1024;

/// A connection whose R2 passed the gate.
pub struct GatedLogin {
    pub connection: Connection,
    pub gated: Box<ServerGated>,
}

/// A peer that has proven to own `key`, registered or not.
pub struct KeyHolder {
    pub login: codec::Login,
    pub key: PublicKey,
    pub reader: TunnelReader,
    pub outgoing: Outgoing,
    pub peer: SocketAddr,
    pub waiting: Waiting,
}

/// Serves a peer's session, on its own thread until it ends.
pub type Stay = Box<dyn FnOnce() + Send>;

/// Admits a peer, or answers why not.
pub type Serve = Arc<dyn Fn(KeyHolder) -> Option<Stay> + Send + Sync>;

/// How a login queues for the RSA operation.
struct Queue {
    deadline: Instant,
    standing: Standing,
}

/// What a finished handshake gives.
type Proven = (codec::Login, PublicKey, TunnelReader, Outgoing);

/// Starts a thread for a connection, or answers that the server is full.
pub fn begin(admission: &Arc<Admission>, login: GatedLogin, serve: &Serve) {
    let full = |login: GatedLogin| {
        let connection = login.connection;
        connection.end(admission, connection.turned_away(Offence::Full));
    };
    let Some(slot) = admission.slot() else { return full(login) };
    let (own, serve) = (Arc::clone(admission), Arc::clone(serve));
    let peer = login.connection.link.peer;
    let job = move |login| log_in(&own, login, slot, &serve);
    if let Err((error, login)) = on_own_thread((peer, LOGIN_STACK_BYTES), login, job) {
        log::warn!("no thread for {}: {error}", server_log::address(peer));
        login.into_iter().for_each(full);
    }
}

/// Performs the login and then serves the session on a fresh thread: the stack and heap pages
/// that the login touched are returned before the client stays for hours.
fn log_in(admission: &Admission, login: GatedLogin, slot: Slot, serve: &Serve) {
    let peer = login.connection.link.peer;
    let holder = match shake_hands(admission, login) {
        Ok(holder) => holder,
        Err((waiting, offence)) => {
            waiting.fails(offence);
            return log::debug!("{} did not log in", server_log::address(peer));
        }
    };
    admission.logged_in();
    let Some(stay) = serve(holder) else { return };
    let begin = |(stay, _slot): (Stay, Slot)| stay();
    let thread = (peer, SESSION_STACK_BYTES);
    if let Err((_, Some((stay, _slot)))) = on_own_thread(thread, (stay, slot), begin) {
        // Serves on this thread if no fresh one can be started.
        stay();
    }
}

/// Performs RSA, R3 and the LOGIN before the deadline.
fn shake_hands(admission: &Admission, login: GatedLogin) -> Result<KeyHolder, (Waiting, Offence)> {
    let GatedLogin { connection, gated } = login;
    let Connection { link, waiting, deadline, .. } = connection;
    let peer = link.peer;
    let queue = Queue { deadline, standing: waiting.standing() };
    match prove(admission, link, *gated, queue) {
        Ok((login, key, reader, outgoing)) => {
            Ok(KeyHolder { login, key, reader, outgoing, peer, waiting })
        }
        Err(offence) => {
            let late = Instant::now() >= deadline && offence != Offence::Unserved;
            Err((waiting, if late { Offence::Late } else { offence }))
        }
    }
}

/// A failure closes the socket without a byte.
fn prove(
    admission: &Admission,
    link: Link,
    gated: ServerGated,
    queue: Queue,
) -> Result<Proven, Offence> {
    let gone = |_: io::Error| Offence::EarlyEnd(Stage::LoggingIn);
    let Link { mut source, sink, peer } = link;
    source.set_patience(Patience::Until(queue.deadline)).map_err(gone)?;
    let Some(permit) = admission.rsa_permit(queue.deadline, queue.standing) else {
        // A peer that does not wait for the answer needs none.
        let _ = send_record(&*sink, BUSY);
        return Err(Offence::Unserved);
    };
    let offered = gated.offered;
    let (key, r3, transport) = gated.finish().map_err(|_| Offence::Garbage)?;
    drop(permit);
    send_record(&*sink, &r3).map_err(gone)?;
    let mut reader = TunnelReader::new(source, transport.opener);
    let login = match reader.receive() {
        Ok(Incoming::Record(RecordType::Login, body)) => {
            let login = codec::decode::<codec::Login>(body).next();
            login.and_then(Result::ok).ok_or(Offence::Garbage)?
        }
        Ok(Incoming::Record(..)) => return Err(Offence::Garbage),
        _ => return Err(Offence::EarlyEnd(Stage::LoggingIn)),
    };
    let outgoing = Outgoing { sink, sealer: transport.sealer, address: peer.ip(), offered };
    Ok((login, key, reader, outgoing))
}

/// Runs `job` on a thread of its own, with a stack of so many bytes.
///
/// # Errors
///
/// Returns `given` if no thread can be started.
fn on_own_thread<T: Send + 'static>(
    (peer, stack_bytes): (SocketAddr, usize),
    given: T,
    job: impl FnOnce(T) + Send + 'static,
) -> Result<(), (io::Error, Option<T>)> {
    let given = Arc::new(Mutex::new(Rank::Handover, Some(given)));
    let left = Arc::clone(&given);
    let thread = thread::Builder::new().name(server_log::address(peer)).stack_size(stack_bytes);
    let spawned = thread.spawn(move || {
        let Some(given) = given.lock().take() else { return };
        // A panic must not affect other clients.
        if catch_unwind(AssertUnwindSafe(|| job(given))).is_err() {
            let peer = server_log::address(peer);
            log::error!("the thread of {peer} failed; only its client is gone");
        }
    });
    spawned.map(drop).map_err(|error| (error, left.lock().take()))
}

#[cfg(test)]
mod tests {
    #![cfg(all(target_os = "linux", target_env = "gnu"))]

    use std::collections::HashSet;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Returns an address in the stack of a thread that has ended or is about to.
    fn place_on_stack(stack_bytes: usize) -> usize {
        let (sender, place) = mpsc::channel();
        let peer = "127.0.0.1:1".parse().unwrap();
        let job = move |()| {
            let local = 0u8;
            sender.send((&raw const local).addr()).unwrap();
        };
        assert!(on_own_thread((peer, stack_bytes), (), job).is_ok());
        place.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn a_session_never_gets_the_stack_of_a_login() {
        let places = |bytes: usize| (0..100).map(move |_| place_on_stack(bytes));
        let logins: HashSet<usize> = places(LOGIN_STACK_BYTES).collect();
        assert!(logins.len() < 100, "the control: stacks of logins are used again");
        let sessions: HashSet<usize> = places(SESSION_STACK_BYTES).collect();
        assert!(logins.is_disjoint(&sessions));
    }
}
