//! The part of a login that costs a thread: the RSA operation and the LOGIN record. A thread of
//! `login_threads.rs` performs it; a fresh one serves the session.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::connection::Connection;
use super::control::{Admission, Slot, Waiting};
use super::login_threads::LoginThreads;
use super::penalties::Offence;
use super::table::{Stage, Standing};
use crate::crypto::handshake::{Gated, ServerTicket, Transport};
use crate::crypto::{Fingerprint, PublicKey, RecordType};
use crate::net::link::{Link, Patience, RecordSink, RecordSource, send_record};
use crate::net::tunnel::{BUSY, Incoming, TunnelReader};
use crate::server::delivery::send_queue::Outgoing;
use crate::server::observe::log as server_log;
use crate::server::session_tickets::Resumed;
use crate::sync::{Mutex, Rank};
use crate::wire::codec;

/// Stack of a login's thread, in bytes: enough for the handshake.
const LOGIN_STACK_BYTES: usize = 128 * 1024;
/// Stack of a session's thread, in bytes: enough for parsing, and small enough for ten thousand
/// threads. It is a page larger than a login's, so that glibc does not reuse the stack of an ended
/// login: such a stack has 24 KiB in memory, 16 KiB more than an idle session touches.
const SESSION_STACK_BYTES: usize = LOGIN_STACK_BYTES + 4 * 1024;

/// A connection whose R2 or T2 passed the gate.
pub struct GatedLogin {
    pub connection: Connection,
    pub gated: Gated,
}

/// A peer that has proven to own `key`, registered or not.
pub struct KeyHolder {
    pub login: codec::Login,
    pub key: PublicKey,
    pub reader: TunnelReader,
    pub outgoing: Outgoing,
    pub peer: SocketAddr,
    pub waiting: Waiting,
    /// When the key was proven, in seconds since 1970; `None` for this login.
    pub proven_s: Option<u64>,
}

/// Serves a peer's session, on its own thread until it ends.
pub type Stay = Box<dyn FnOnce() + Send>;

/// The functions of the server that the admission calls.
#[derive(Clone)]
pub struct Serve {
    /// Admits a peer, or answers why not.
    pub enter: Arc<dyn Fn(KeyHolder) -> Option<Stay> + Send + Sync>,
    /// Checks a session ticket that was presented under this key of the server.
    pub resume: Arc<Resume>,
}

type Resume = dyn Fn(&[u8], &Fingerprint) -> Option<Resumed> + Send + Sync;

/// How a login queues for the RSA operation.
struct Queue {
    deadline: Instant,
    standing: Standing,
}

/// What a finished handshake gives.
struct Proven {
    login: codec::Login,
    key: PublicKey,
    reader: TunnelReader,
    outgoing: Outgoing,
    proven_s: Option<u64>,
}

/// Both halves of a connection in its handshake.
struct Ends {
    source: Box<dyn RecordSource>,
    sink: Arc<dyn RecordSink>,
    peer: SocketAddr,
    /// The bitmap of the suites that the client offers.
    offered: u16,
}

/// Logins, each with its slot, and the threads that perform them.
pub struct Logins(LoginThreads<(GatedLogin, Slot)>);

impl Logins {
    pub fn new(admission: &Arc<Admission>, serve: &Serve) -> Logins {
        let (admission, serve) = (Arc::clone(admission), serve.clone());
        Logins(LoginThreads::new(move |(login, slot)| log_in(&admission, login, slot, &serve)))
    }

    /// Gives a connection to a thread, or answers that the server is full.
    pub fn begin(&self, admission: &Arc<Admission>, login: GatedLogin) {
        let full = |login: GatedLogin| {
            let connection = login.connection;
            connection.end(admission, connection.turned_away(Offence::Full));
        };
        let Some(slot) = admission.slot() else { return full(login) };
        let peer = login.connection.link.peer;
        if let Err((error, login)) = self.0.give((login, slot), LOGIN_STACK_BYTES) {
            log::warn!("no thread for {}: {error}", server_log::address(peer));
            login.into_iter().for_each(|(login, _)| full(login));
        }
    }
}

/// Performs the login and then serves the session on a fresh thread: the stack and heap pages
/// that the login touched are returned before the client stays for hours.
fn log_in(admission: &Admission, login: GatedLogin, slot: Slot, serve: &Serve) {
    let peer = login.connection.link.peer;
    let holder = match shake_hands(admission, login, serve) {
        Ok(holder) => holder,
        Err((waiting, offence)) => {
            waiting.fails(offence);
            return log::debug!("{} did not log in", server_log::address(peer));
        }
    };
    admission.logged_in();
    let Some(stay) = (serve.enter)(holder) else { return };
    let begin = |(stay, _slot): (Stay, Slot)| stay();
    let thread = (peer, SESSION_STACK_BYTES);
    if let Err((_, Some((stay, _slot)))) = on_own_thread(thread, (stay, slot), begin) {
        // Serves on this thread if no fresh one can be started.
        stay();
    }
}

/// Finishes the handshake and reads the LOGIN before the deadline.
fn shake_hands(
    admission: &Admission,
    login: GatedLogin,
    serve: &Serve,
) -> Result<KeyHolder, (Waiting, Offence)> {
    let GatedLogin { connection, gated } = login;
    let Connection { link, waiting, deadline, .. } = connection;
    let peer = link.peer;
    let queue = Queue { deadline, standing: waiting.standing() };
    match prove(admission, (link, gated), queue, serve) {
        Ok(Proven { login, key, reader, outgoing, proven_s }) => {
            Ok(KeyHolder { login, key, reader, outgoing, peer, waiting, proven_s })
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
    (link, gated): (Link, Gated),
    queue: Queue,
    serve: &Serve,
) -> Result<Proven, Offence> {
    let Link { mut source, sink, peer } = link;
    source.set_patience(Patience::Until(queue.deadline)).map_err(gone)?;
    let offered = gated.offered();
    let mut ends = Ends { source, sink, peer, offered };
    let gated = match gated {
        Gated::Keys(gated) => *gated,
        Gated::Ticket(ticket) => {
            if let Some((resumed, transport)) = accept(&ticket, &ends, serve)? {
                let proven = ends.read_login(transport, resumed.key, Some(resumed.proven_s))?;
                admission.resumed();
                return Ok(proven);
            }
            let (t3, at_gate) = ticket.refuse();
            send_record(&*ends.sink, &t3).map_err(gone)?;
            let t4 = ends.source.read().map_err(gone)?.ok_or_else(early_end)?;
            at_gate.gate(t4).map_err(|_| Offence::Garbage)?
        }
    };
    let Some(permit) = admission.rsa_permit(queue.deadline, queue.standing) else {
        // A peer that does not wait for the answer needs none.
        let _ = send_record(&*ends.sink, BUSY);
        return Err(Offence::Unserved);
    };
    let (key, r3, transport) = gated.finish().map_err(|_| Offence::Garbage)?;
    drop(permit);
    send_record(&*ends.sink, &r3).map_err(gone)?;
    ends.read_login(transport, key, None)
}

/// Answers a ticket that is valid; `None` for every other one, after which the peer proves its key.
fn accept(
    ticket: &ServerTicket,
    ends: &Ends,
    serve: &Serve,
) -> Result<Option<(Resumed, Transport)>, Offence> {
    let resumed = (serve.resume)(ticket.ticket(), &ticket.server());
    let accepted = resumed.and_then(|resumed| Some((ticket.accept(&resumed.secret)?, resumed)));
    let Some(((t3, transport), resumed)) = accepted else { return Ok(None) };
    send_record(&*ends.sink, &t3).map_err(gone)?;
    Ok(Some((resumed, transport)))
}

impl Ends {
    /// Reads the first encrypted record.
    fn read_login(
        self,
        transport: Transport,
        key: PublicKey,
        proven_s: Option<u64>,
    ) -> Result<Proven, Offence> {
        let Ends { source, sink, peer, offered } = self;
        let mut reader = TunnelReader::new(source, transport.opener);
        let login = match reader.receive() {
            Ok(Incoming::Record(RecordType::Login, body)) => {
                let login = codec::decode::<codec::Login>(body).next();
                login.and_then(Result::ok).ok_or(Offence::Garbage)?
            }
            Ok(Incoming::Record(..)) => return Err(Offence::Garbage),
            _ => return Err(early_end()),
        };
        let outgoing = Outgoing { sink, sealer: transport.sealer, address: peer.ip(), offered };
        Ok(Proven { login, key, reader, outgoing, proven_s })
    }
}

fn gone(_: io::Error) -> Offence {
    early_end()
}

fn early_end() -> Offence {
    Offence::EarlyEnd(Stage::LoggingIn)
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

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[cfg(test)]
mod tests {
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
