//! The part of a login that costs a thread: the RSA operation and the LOGIN record. One thread
//! performs the login; a fresh one serves the session.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::connection::Connection;
use super::penalties::Offence;
use super::table::Stage;
use super::{Admission, KeyHolder, Serve, Slot, Stay, Waiting};
use crate::crypto::handshake::ServerGated;
use crate::crypto::{PublicKey, RecordType};
use crate::net::link::{Link, Patience, send_record};
use crate::net::tunnel::{BUSY, Incoming, TunnelReader};
use crate::server::delivery::send_queue::Outgoing;
use crate::server::observe::log as server_log;
use crate::sync::{Mutex, Rank};
use crate::wire::codec;

/// Stack of a client's thread, in bytes: enough for parsing, and small enough for ten thousand
/// threads.
const STACK_BYTES: usize = 128 * 1024;

/// A connection whose R2 passed the gate.
pub struct Login {
    pub connection: Connection,
    pub gated: Box<ServerGated>,
}

/// How a login queues for the RSA operation.
struct Queue {
    deadline: Instant,
    /// How many logins may wait already; `None` for a peer that is exempt from the limit.
    ahead_max: Option<usize>,
}

/// What a finished handshake gives.
type Proven = (codec::Login, PublicKey, TunnelReader, Outgoing);

impl Admission {
    /// Starts a thread for a connection, or answers that the server is full.
    pub fn begin(self: &Arc<Self>, login: Login, serve: &Serve) {
        let full = |login: Login| {
            let connection = login.connection;
            self.end(&connection, connection.turned_away(Offence::Full));
        };
        let Some(slot) = self.slot() else { return full(login) };
        let (admission, serve) = (Arc::clone(self), Arc::clone(serve));
        let peer = login.connection.link.peer;
        let job = move |login| admission.log_in(login, slot, &serve);
        if let Err((error, login)) = on_own_thread(peer, login, job) {
            log::warn!("no thread for {}: {error}", server_log::address(peer));
            login.into_iter().for_each(full);
        }
    }

    /// Performs the login and then serves the session on a fresh thread: the stack and heap pages
    /// that the login touched are returned before the client stays for hours.
    fn log_in(&self, login: Login, slot: Slot, serve: &Serve) {
        let peer = login.connection.link.peer;
        let stranger = match self.shake_hands(login) {
            Ok(stranger) => stranger,
            Err((waiting, offence)) => {
                waiting.fails(offence);
                return log::debug!("{} did not log in", server_log::address(peer));
            }
        };
        self.counts.logins.fetch_add(1, Ordering::Relaxed);
        let Some(stay) = serve(stranger) else { return };
        let begin = |(stay, _slot): (Stay, Slot)| stay();
        if let Err((_, Some((stay, _slot)))) = on_own_thread(peer, (stay, slot), begin) {
            // Serves on this thread if no fresh one can be started.
            stay();
        }
    }

    /// Performs RSA, R3 and the LOGIN before the deadline.
    fn shake_hands(&self, login: Login) -> Result<KeyHolder, (Waiting, Offence)> {
        let Login { connection, gated } = login;
        let Connection { link, waiting, deadline, .. } = connection;
        let peer = link.peer;
        let queue = Queue { deadline, ahead_max: self.ahead_max(waiting.origin.standing) };
        match self.prove(link, *gated, queue) {
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
    fn prove(&self, link: Link, gated: ServerGated, queue: Queue) -> Result<Proven, Offence> {
        let gone = |_: io::Error| Offence::EarlyEnd(Stage::LoggingIn);
        let Link { mut source, sink, peer } = link;
        source.set_patience(Patience::Until(queue.deadline)).map_err(gone)?;
        let Some(permit) = self.permits.take(queue.deadline, queue.ahead_max) else {
            // A peer that does not wait for the answer needs none.
            let _ = send_record(&*sink, BUSY);
            return Err(Offence::Unserved);
        };
        self.counts.rsa.fetch_add(1, Ordering::Relaxed);
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
        let outgoing = Outgoing { sink, sealer: transport.sealer, address: peer.ip() };
        Ok((login, key, reader, outgoing))
    }
}

/// Runs `job` on a thread of its own.
///
/// # Errors
///
/// Returns `given` if no thread can be started.
fn on_own_thread<T: Send + 'static>(
    peer: SocketAddr,
    given: T,
    job: impl FnOnce(T) + Send + 'static,
) -> Result<(), (io::Error, Option<T>)> {
    let given = Arc::new(Mutex::new(Rank::Handover, Some(given)));
    let left = Arc::clone(&given);
    let thread = thread::Builder::new().name(server_log::address(peer)).stack_size(STACK_BYTES);
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
