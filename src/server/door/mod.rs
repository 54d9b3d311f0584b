//! The door: every newcomer is counted before it costs a thread, has one deadline for the whole
//! login, and meets the same silence whatever it did wrong.

mod capacity;
mod doorman;
mod penalties;
pub mod permits;
pub mod source;
mod strangers;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::log as server_log;
use super::stop::Stop;
use crate::chat::rate::Stamp;
use crate::config::{Config, IpRange, admits};
use crate::crypto::handshake::ServerHello;
use crate::crypto::hello::Greeting;
use crate::crypto::{PublicKey, RecordType, Sealer};
use crate::keyring::ServerKeys;
use crate::net::listener::Listener;
use crate::net::tunnel::{BUSY, Incoming, TunnelReader, VERSIONS, login_reader, write_record};
use crate::suite::Suites;
use crate::wire::codec::{self, Login};
use doorman::Doorman;
use penalties::{Offence, Penalties};
use permits::Permits;
use source::Source;
use strangers::Strangers;

/// Stack of a client's thread, in bytes: enough for parsing, small enough for ten thousand.
const STACK_BYTES: usize = 128 * 1024;
/// The door looks this often whether the server stops.
const ACCEPT_PATIENCE: Duration = Duration::from_millis(200);
/// A door that has not looked for this long is stuck.
const SLEEP_MS_MAX: u64 = 5_000;
/// That the house is full is logged once in this time.
const FULL_MS: u64 = 60_000;
/// After a failed accept (no descriptors left, say) the door pauses instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server's door.
pub struct Door {
    keys: RwLock<Arc<ServerKeys>>,
    rules: RwLock<Rules>,
    /// Where newcomers come in.
    address: SocketAddr,
    connections_max: usize,
    permits: Permits,
    strangers: Mutex<Strangers>,
    penalties: Mutex<Penalties>,
    doorman: Doorman,
    began: Instant,
    connections: AtomicUsize,
    /// When it last looked for newcomers.
    looked: AtomicU64,
    /// When the log was last told that the house is full; 0 for never.
    told_full: AtomicU64,
    counts: Counts,
}

/// What `reload` may change.
struct Rules {
    allow: Vec<IpRange>,
    deny: Vec<IpRange>,
    exempt: Vec<IpRange>,
    suites: Suites,
    login_time: Duration,
}

impl Rules {
    fn of(config: &Config) -> Rules {
        Rules {
            allow: config.allow.clone(),
            deny: config.deny.clone(),
            exempt: config.exempt.clone(),
            suites: config.suites,
            login_time: Duration::from_millis(config.limits.login_ms_max),
        }
    }
}

#[derive(Default)]
struct Counts {
    logins: AtomicU64,
    failures: AtomicU64,
    asked: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
    rsa: AtomicU64,
}

/// Figures of the door since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorStats {
    pub address: SocketAddr,
    pub connections: usize,
    pub connections_max: usize,
    pub logins: u64,
    pub failures: u64,
    /// Newcomers who asked for the server's key only.
    pub asked: u64,
    pub refused: u64,
    pub busy: u64,
    /// RSA private operations.
    pub rsa: u64,
}

/// A peer that owns `key`: registered or not, it has proven that.
pub struct Stranger {
    pub login: Login,
    pub key: PublicKey,
    pub reader: TunnelReader,
    pub sealer: Sealer,
    pub stream: Arc<TcpStream>,
    pub peer: SocketAddr,
    pub waiting: Waiting,
}

/// A newcomer's place among the strangers, given back when dropped.
pub struct Waiting {
    door: Arc<Door>,
    source: Source,
    spared: bool,
}

/// A connection's place in the house, given back when dropped.
struct Slot(Arc<Door>);

impl Waiting {
    /// The newcomer is registered: its source starts with a clean slate.
    pub fn admitted(self) {
        lock(&self.door.penalties).clear(self.source);
    }

    /// The newcomer's key is not registered.
    pub fn not_registered(self) {
        self.offends(Offence::NotRegistered);
    }

    fn offends(&self, offence: Offence) {
        if !self.spared {
            lock(&self.door.penalties).add(self.source, offence, self.door.now());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.spared {
            lock(&self.door.strangers).leave(self.source);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A peer's time here, on its own thread until it ends.
pub type Stay = Box<dyn FnOnce() + Send>;

/// Lets a peer in, or tells it why not.
pub type Serve = Arc<dyn Fn(Stranger) -> Option<Stay> + Send + Sync>;

impl Door {
    pub fn new(keys: ServerKeys, config: &Config, address: SocketAddr) -> Arc<Door> {
        let limits = &config.limits;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let permits = if limits.rsa_permits == 0 { (cores / 2).max(1) } else { limits.rsa_permits };
        let room = capacity::room(limits.connections_max);
        Arc::new(Door {
            keys: RwLock::new(Arc::new(keys)),
            rules: RwLock::new(Rules::of(config)),
            address,
            connections_max: room.connections,
            permits: Permits::new(permits, limits.rsa_waiting_max),
            strangers: Mutex::new(Strangers::new(limits)),
            penalties: Mutex::new(Penalties::new(limits)),
            doorman: Doorman::new(room.turned_away),
            began: Instant::now(),
            connections: AtomicUsize::new(0),
            looked: AtomicU64::new(0),
            told_full: AtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// Takes newcomers in until the server stops; each is served on a thread of its own.
    pub fn run(self: &Arc<Self>, listener: &Listener, stop: &Arc<Stop>, serve: &Serve) {
        let doorman = {
            let (door, stop) = (Arc::clone(self), Arc::clone(stop));
            let knows = move |record: &[u8]| door.greeting(record).is_ok();
            let door = Arc::clone(self);
            let attend = move || door.doorman.attend(&stop, &knows);
            thread::Builder::new().name("doorman".into()).spawn(attend)
        };
        if let Err(error) = doorman {
            log::error!("cannot start the doorman's thread: {error}");
        }
        let mut failing = false;
        while !stop.is_told() {
            self.looked.store(self.now().0, Ordering::Relaxed);
            match listener.accept(ACCEPT_PATIENCE) {
                Ok(Some((stream, peer))) => {
                    failing = false;
                    self.take_in(stream, peer, serve);
                }
                Ok(None) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::warn!("cannot accept connections for now: {error}");
                    }
                    stop.wait_for(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// The keys by which the server is known.
    pub fn keys(&self) -> Arc<ServerKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other keys from now on.
    pub fn set_keys(&self, keys: ServerKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Another configuration from now on.
    pub fn retune(&self, config: &Config) {
        lock(&self.strangers).retune(&config.limits);
        lock(&self.penalties).retune(&config.limits);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Rules::of(config);
    }

    fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether newcomers are looked for, and not only could be.
    pub fn is_open(&self) -> bool {
        let looked = Stamp(self.looked.load(Ordering::Relaxed));
        self.now().ms_since(looked) < SLEEP_MS_MAX
    }

    pub fn stats(&self) -> DoorStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DoorStats {
            address: self.address,
            connections: self.connections.load(Ordering::Relaxed),
            connections_max: self.connections_max,
            logins: count(&self.counts.logins),
            failures: count(&self.counts.failures),
            asked: count(&self.counts.asked),
            refused: count(&self.counts.refused),
            busy: count(&self.counts.busy),
            rsa: count(&self.counts.rsa),
        }
    }

    /// Counts a newcomer and gives it a thread, or closes it before it costs one.
    fn take_in(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, serve: &Serve) {
        let Some(waiting) = self.wait(peer) else {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Some(slot) = self.slot() else {
            self.counts.busy.fetch_add(1, Ordering::Relaxed);
            self.tell_full();
            return self.doorman.take(stream);
        };
        let (door, serve) = (Arc::clone(self), Arc::clone(serve));
        let shake = move |stream| door.receive(stream, peer, waiting, slot, &serve);
        if let Err((error, stream)) = on_own_thread(peer, stream, shake) {
            log::warn!("no thread for {}: {error}", server_log::address(peer));
            self.counts.busy.fetch_add(1, Ordering::Relaxed);
            stream.into_iter().for_each(|stream| self.doorman.take(stream));
        }
    }

    fn tell_full(&self) {
        let now = self.now().0.max(1);
        let told = self.told_full.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            (last == 0 || now.saturating_sub(last) >= FULL_MS).then_some(now)
        });
        if told.is_ok() {
            log::warn!(
                "the house is full: {} connections; others are told so",
                self.connections_max
            );
        }
    }

    fn wait(self: &Arc<Self>, peer: SocketAddr) -> Option<Waiting> {
        let source = Source::from(peer.ip());
        let rules = self.rules();
        if !admits(&rules.allow, &rules.deny, peer.ip()) {
            return None;
        }
        let spared = rules.exempt.iter().any(|range| range.contains(peer.ip()));
        drop(rules);
        if !spared {
            if lock(&self.penalties).refuses(source, self.now()) {
                return None;
            }
            if !lock(&self.strangers).enter(source, rand::random_range(0..100)) {
                return None;
            }
        }
        Some(Waiting { door: Arc::clone(self), source, spared })
    }

    fn slot(self: &Arc<Self>) -> Option<Slot> {
        let taken = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < self.connections_max).then_some(count + 1)
        });
        taken.is_ok().then(|| Slot(Arc::clone(self)))
    }

    /// Shakes hands, lets in, and hands over to a thread that has done neither: what that has touched
    /// of its stack and kept of its memory goes with it, before the client stays for hours.
    fn receive(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        waiting: Waiting,
        slot: Slot,
        serve: &Serve,
    ) {
        let stranger = match self.shake_hands(stream, peer, waiting) {
            Ok(stranger) => stranger,
            Err(waiting) => {
                drop(waiting);
                return log::debug!("{} did not log in", server_log::address(peer));
            }
        };
        self.counts.logins.fetch_add(1, Ordering::Relaxed);
        let Some(stay) = serve(stranger) else { return };
        let begin = |(stay, _slot): (Stay, Slot)| stay();
        if let Err((_, Some((stay, _slot)))) = on_own_thread(peer, (stay, slot), begin) {
            // Then this one will do.
            stay();
        }
    }

    /// The handshake and the LOGIN, all before one deadline. A failure gives the waiting place back
    /// with its penalty noted; the socket closes without a byte.
    fn shake_hands(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        waiting: Waiting,
    ) -> Result<Stranger, Waiting> {
        let deadline = Instant::now() + self.rules().login_time;
        let stream = Arc::new(stream);
        match self.handshake(&stream, deadline, waiting.spared) {
            Ok((login, key, reader, sealer)) => {
                Ok(Stranger { login, key, reader, sealer, stream, peer, waiting })
            }
            Err(offence) => {
                let late = Instant::now() >= deadline && offence != Offence::Unserved;
                let offence = if late { Offence::Late } else { offence };
                let counter = match offence {
                    Offence::Asked => &self.counts.asked,
                    Offence::Unserved => &self.counts.busy,
                    _ => &self.counts.failures,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                waiting.offends(offence);
                Err(waiting)
            }
        }
    }

    fn handshake(
        &self,
        stream: &Arc<TcpStream>,
        deadline: Instant,
        spared: bool,
    ) -> Result<(Login, PublicKey, TunnelReader, Sealer), Offence> {
        let gone = |_| Offence::EarlyEnd;
        stream.set_nodelay(true).map_err(gone)?;
        stream.set_write_timeout(Some(self.rules().login_time)).map_err(gone)?;
        let mut records = login_reader(stream, deadline);
        let mut next = |bytes: usize| match records.read() {
            Ok(Some(record)) if bytes == 0 || record.len() == bytes => Ok(record.to_vec()),
            Ok(Some(_)) => Err(Offence::Garbage),
            Ok(None) => Err(Offence::EarlyEnd),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Offence::Garbage),
            Err(_) => Err(Offence::EarlyEnd),
        };
        let garbage = |_| Offence::Garbage;
        let mut greeting = self.greeting(&next(0)?)?;
        if let Greeting::Ask(answer) = &greeting {
            write_record(stream, &answer[..]).map_err(gone)?;
            let r0 = next(0).map_err(|offence| match offence {
                Offence::EarlyEnd => Offence::Asked,
                other => other,
            })?;
            greeting = self.greeting(&r0)?;
        }
        let (hello, r1) = match greeting {
            Greeting::Hello(hello) => ServerHello::start(hello, self.rules().suites),
            Greeting::Ask(_) => return Err(Offence::Garbage),
            Greeting::OtherMajor => {
                write_record(stream, VERSIONS).map_err(gone)?;
                return Err(Offence::EarlyEnd);
            }
        };
        write_record(stream, &r1).map_err(gone)?;
        let gated = hello.gate(&next(0)?).map_err(garbage)?;
        let Some(permit) = self.permits.take(deadline, spared) else {
            // Only those who know the server's key get here: they may know that it has no time.
            write_record(stream, BUSY).map_err(gone)?;
            return Err(Offence::Unserved);
        };
        self.counts.rsa.fetch_add(1, Ordering::Relaxed);
        let (key, r3, transport) = gated.finish().map_err(garbage)?;
        drop(permit);
        write_record(stream, &r3).map_err(gone)?;
        let mut reader = TunnelReader::new(records, transport.opener);
        let login = match reader.receive() {
            Ok(Incoming::Record(RecordType::Login, body)) => {
                codec::decode::<Login>(body).next().and_then(Result::ok).ok_or(Offence::Garbage)?
            }
            Ok(Incoming::Record(..)) => return Err(Offence::Garbage),
            _ => return Err(Offence::EarlyEnd),
        };
        Ok((login, key, reader, transport.sealer))
    }

    /// What a first record wants, where its MAC holds.
    fn greeting(&self, record: &[u8]) -> Result<Greeting, Offence> {
        let (keys, now_ms) = (self.keys(), jiff::Timestamp::now().as_millisecond());
        Greeting::read(record, keys.accepted(now_ms)).ok_or(Offence::Garbage)
    }

    fn now(&self) -> Stamp {
        Stamp(self.began.elapsed().as_millis() as u64)
    }
}

/// Runs `job` on a thread of the client's own; gives back what it was to have where there is none.
fn on_own_thread<T: Send + 'static>(
    peer: SocketAddr,
    given: T,
    job: impl FnOnce(T) + Send + 'static,
) -> Result<(), (io::Error, Option<T>)> {
    let given = Arc::new(Mutex::new(Some(given)));
    let left = Arc::clone(&given);
    let thread = thread::Builder::new().name(server_log::address(peer)).stack_size(STACK_BYTES);
    let spawned = thread.spawn(move || {
        let Some(given) = lock(&given).take() else { return };
        // One client's bug is that client's problem.
        if catch_unwind(AssertUnwindSafe(|| job(given))).is_err() {
            let peer = server_log::address(peer);
            log::error!("the thread of {peer} failed; only its client is gone");
        }
    });
    spawned.map(drop).map_err(|error| (error, lock(&left).take()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
