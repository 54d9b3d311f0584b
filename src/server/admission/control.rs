//! Admission control: which connections may exist, what they may cost, and what a failure costs
//! their source.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::capacity;
use super::penalties::{Offence, Penalties};
use super::recent_logins::{RecentLogins, Sources, today};
use super::semaphore::{Permit, Semaphore};
use super::source::Source;
use super::table::{Bounds, Full, Held, Origin, Stage, Standing, Table};
use super::unregistered::{Applicant, Unregistered, UnregisteredKeys};
use crate::chat::UserName;
use crate::chat::rate::Stamp;
use crate::config::{Config, IpRange, admits};
use crate::crypto::hello::Greeting;
use crate::home::ServerKeys;
use crate::net::link::{Link, RecordSink};
use crate::suite::Suites;
use crate::sync::{Mutex, Rank, Snapshot};

/// An admission thread that has not polled for this long is stuck, in milliseconds.
const SLEEP_MS_MAX: u64 = 5_000;
/// Minimum time between two log lines about a full server.
const FULL_MS: u64 = 60_000;

/// The server's admission control.
pub struct Admission {
    keys: Arc<Snapshot<ServerKeys>>,
    rules: Snapshot<Rules>,
    /// The addresses that the server listens on.
    addresses: Vec<SocketAddr>,
    /// The address of the web port, if there is one.
    web: OnceLock<SocketAddr>,
    room: capacity::Room,
    permits: Semaphore,
    table: Mutex<Table<Arc<dyn RecordSink>>>,
    penalties: Mutex<Penalties>,
    recent: Mutex<RecentLogins>,
    unregistered: Mutex<UnregisteredKeys>,
    began: Instant,
    /// Connections that have a thread.
    connections: AtomicUsize,
    /// When the loop last checked for new connections.
    looked: AtomicU64,
    /// When the log last reported a full server; 0 for never.
    full_reported_ms: AtomicU64,
    counts: Counts,
}

/// The settings that `reload` may change.
struct Rules {
    allow: Vec<IpRange>,
    deny: Vec<IpRange>,
    exempt: Vec<IpRange>,
    /// Addresses of proxies, shared by many peers: not counted, penalised or preferred.
    shared: Vec<IpRange>,
    /// Proxies in front of the web port, which name the source of each request.
    web_proxies: Vec<IpRange>,
    /// Whether there is a web port: a proxy on this computer may connect others to it.
    has_web: bool,
    suites: Suites,
    login_time: Duration,
}

impl Rules {
    fn of(config: &Config, listen: &[SocketAddr]) -> Rules {
        let (exempt, shared) = config.exempt_and_shared(listen);
        Rules {
            allow: config.allow.clone(),
            deny: config.deny.clone(),
            exempt,
            shared,
            web_proxies: config.web_proxies.clone(),
            has_web: config.web.is_some(),
            suites: config.suites,
            login_time: Duration::from_millis(config.limits.login_ms_max),
        }
    }
}

/// The port through which a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Chat,
    Web,
}

#[derive(Default)]
struct Counts {
    logins: AtomicU64,
    failures: AtomicU64,
    asked: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    busy: AtomicU64,
    rsa: AtomicU64,
    resumed: AtomicU64,
}

/// Counters of the admission since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionStats {
    pub addresses: Vec<SocketAddr>,
    /// The address of the web port, if there is one.
    pub web: Option<SocketAddr>,
    /// All connections, including those without a thread.
    pub connections: usize,
    pub connections_max: usize,
    /// Connections without a thread.
    pub unauthenticated: usize,
    pub logins: u64,
    pub failures: u64,
    /// Peers that only requested the server's key.
    pub asked: u64,
    pub refused: u64,
    /// Connections closed to make room for others.
    pub evicted: u64,
    pub busy: u64,
    /// RSA private operations.
    pub rsa: u64,
    /// Logins by a session ticket.
    pub resumed: u64,
}

/// A connection's entry in the table of unauthenticated connections, removed on drop.
pub struct Waiting {
    admission: Arc<Admission>,
    id: u64,
    origin: Origin,
}

/// A peer with a registered key that has no session yet. Dropping it penalises the source unless
/// the peer has entered: a ban or a wrong password costs as much as any failed login.
pub struct Registered {
    admission: Arc<Admission>,
    origin: Origin,
    offence: Option<Offence>,
}

/// A slot among the connections with a thread, released on drop.
pub struct Slot(Arc<Admission>);

impl Waiting {
    /// The key of the connection in the table.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How the limits treat the peer.
    pub fn standing(&self) -> Standing {
        self.origin.standing
    }

    /// The peer's key is registered: frees its table entry. The outcome of the login is still open.
    pub fn registered(self) -> Registered {
        let (admission, origin) = (Arc::clone(&self.admission), self.origin);
        Registered { admission, origin, offence: Some(Offence::NotAdmitted) }
    }

    /// The peer's key is not registered. Notes an applicant whom the operator may register.
    pub fn not_registered(self, applicant: Option<Applicant>) {
        if let Some(applicant) = applicant {
            let (source, now) = (self.origin.source, self.admission.now());
            self.admission.unregistered.lock().note(applicant, source, now);
        }
        self.fails(Offence::NotAdmitted);
    }

    /// Moves the connection to a later stage. Returns the ids of connections that were closed for
    /// it.
    pub fn moves_on(&self, stage: Stage) -> Result<Vec<u64>, Full> {
        let evicted = self.admission.table.lock().move_to(self.id, stage, self.admission.now())?;
        Ok(self.admission.evict(evicted))
    }

    /// Counts and penalises a failed login, unless the connection was evicted and counted before.
    pub fn fails(&self, offence: Offence) {
        let Some(held) = self.admission.table.lock().leave(self.id) else { return };
        let counts = &self.admission.counts;
        let counter = match offence {
            Offence::Asked => &counts.asked,
            Offence::Unserved | Offence::Full => &counts.busy,
            _ => &counts.failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.admission.penalise(held.origin, offence, self.admission.now().ms_since(held.came));
    }
}

impl Registered {
    /// The peer has a session. Other penalties of its source stay.
    pub fn entered(mut self) {
        self.offence = None;
    }

    /// The peer was refused for `offence`.
    pub fn refused(mut self, offence: Offence) {
        self.offence = Some(offence);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(offence) = self.offence {
            self.admission.penalise(self.origin, offence, 0);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.admission.table.lock().leave(self.id);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub fn new(
        keys: Arc<Snapshot<ServerKeys>>,
        config: &Config,
        addresses: Vec<SocketAddr>,
        recent: RecentLogins,
    ) -> Arc<Admission> {
        let limits = &config.limits;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let permits = if limits.rsa_permits == 0 { (cores / 2).max(1) } else { limits.rsa_permits };
        let room = capacity::room(limits.connections_max, without_thread(config));
        Arc::new(Admission {
            keys,
            rules: Snapshot::new(Rules::of(config, &addresses)),
            addresses,
            web: OnceLock::new(),
            room,
            permits: Semaphore::new(permits, limits.rsa_waiting_max),
            table: Mutex::new(Rank::Unauthenticated, Table::new(bounds(config, room))),
            penalties: Mutex::new(Rank::Penalties, Penalties::new(limits)),
            recent: Mutex::new(Rank::RecentLogins, recent),
            unregistered: Mutex::new(Rank::UnregisteredKeys, UnregisteredKeys::default()),
            began: Instant::now(),
            connections: AtomicUsize::new(0),
            looked: AtomicU64::new(0),
            full_reported_ms: AtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// Returns the server's keys.
    pub fn keys(&self) -> Arc<ServerKeys> {
        self.keys.get()
    }

    /// Records the address of the web port, which is opened once.
    pub fn set_web_address(&self, address: SocketAddr) {
        let _ = self.web.set(address);
    }

    /// Applies a new configuration.
    pub fn retune(&self, config: &Config) {
        self.table.lock().set_bounds(bounds(config, self.room));
        self.penalties.lock().retune(&config.limits);
        let rules = Rules::of(config, &self.addresses);
        self.rules.set(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.get()
    }

    pub fn login_time(&self) -> Duration {
        self.rules().login_time
    }

    pub fn suites(&self) -> Suites {
        self.rules().suites
    }

    /// Records that the loop checks for new connections.
    pub fn looks(&self) {
        self.looked.store(self.now().0, Ordering::Relaxed);
    }

    /// Whether the loop is checking for new connections.
    pub fn is_open(&self) -> bool {
        let looked = Stamp(self.looked.load(Ordering::Relaxed));
        self.now().ms_since(looked) < SLEEP_MS_MAX
    }

    pub fn stats(&self) -> AdmissionStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let unauthenticated = {
            let table = self.table.lock();
            table.count(Stage::Silent) + table.count(Stage::Greeted)
        };
        AdmissionStats {
            addresses: self.addresses.clone(),
            web: self.web.get().copied(),
            connections: self.connections.load(Ordering::Relaxed) + unauthenticated,
            connections_max: self.room.connections,
            unauthenticated,
            logins: count(&self.counts.logins),
            failures: count(&self.counts.failures),
            asked: count(&self.counts.asked),
            refused: count(&self.counts.refused),
            evicted: count(&self.counts.evicted),
            busy: count(&self.counts.busy),
            rsa: count(&self.counts.rsa),
            resumed: count(&self.counts.resumed),
        }
    }

    /// Parses a first record whose MAC verifies under a key of the server.
    pub fn greeting(&self, record: &[u8]) -> Option<Greeting> {
        let (keys, now_ms) = (self.keys(), jiff::Timestamp::now().as_millisecond());
        let lineage = || keys.answer_lineage(record, now_ms).map(Greeting::Ask);
        Greeting::read(record, keys.accepted(now_ms)).or_else(lineage)
    }

    /// A place for a connection among the unauthenticated, where it may have one; and the ids of
    /// those that were closed for it.
    pub fn enter(self: &Arc<Self>, link: &Link, via: Via) -> (Option<Waiting>, Vec<u64>) {
        let mut evicted = Vec::new();
        let entered = self.origin(link.peer.ip(), via).and_then(|origin| {
            let (id, gone) = self.table.lock().enter(origin, Arc::clone(&link.sink), self.now());
            evicted = gone;
            if let (Err(Full), Some(source)) = (id, origin.source) {
                self.penalties.lock().turned_away(source, self.now());
            }
            Some(Waiting { admission: Arc::clone(self), id: id.ok()?, origin })
        });
        if entered.is_none() {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        }
        (entered, self.evict(evicted))
    }

    /// Returns how the limits treat an address; `None` if it may not connect.
    fn origin(&self, address: IpAddr, via: Via) -> Option<Origin> {
        const SHARED: Origin =
            Origin { source: None, standing: Standing::Unknown, penalised: false };
        let rules = self.rules();
        let within = |ranges: &[IpRange]| ranges.iter().any(|range| range.contains(address));
        if !admits(&rules.allow, &rules.deny, address) {
            return None;
        }
        // A proxy on this computer that names no source connects every client from loopback.
        if via == Via::Web && address.to_canonical().is_loopback() {
            return Some(SHARED);
        }
        if within(&rules.exempt) {
            return Some(Origin { source: None, standing: Standing::Known, penalised: false });
        }
        if within(&rules.shared) {
            return Some(SHARED);
        }
        drop(rules);
        let source = Source::from(address);
        let known = self.recent.lock().prefers(source, today());
        let (penalties, now) = (self.penalties.lock(), self.now());
        let standing = penalties.standing(source, known, now)?;
        let penalised = penalties.penalises(source, now);
        Some(Origin { source: Some(source), standing, penalised })
    }

    /// How the limits treat a connection to the web port before its request; `None` if it may not
    /// connect. A request through a proxy is judged by the source that the proxy names.
    pub fn web_origin(&self, address: IpAddr) -> Option<Origin> {
        match self.is_web_proxy(address) {
            true => Some(Origin { source: None, standing: Standing::Unknown, penalised: false }),
            false => self.origin(address, Via::Web),
        }
    }

    /// The bounds of connections to the web port, which are all silent until their request.
    pub fn web_bounds(&self, config: &Config) -> Bounds {
        let silent = share(config, self.room, config.limits.web_connections_max);
        let per_source = config.limits.web_connections_per_source_max;
        Bounds { silent, greeted: 1, logging_in: 1, per_source }
    }

    /// Whether the address is that of a proxy which names the source of each request.
    pub fn is_web_proxy(&self, address: IpAddr) -> bool {
        self.rules().web_proxies.iter().any(|range| range.contains(address))
    }

    /// Records a successful login from an address.
    pub fn note_login(&self, user: &UserName, address: IpAddr) {
        if self.identifies_source(address) {
            let displaced = self.recent.lock().note(user, address.into(), today());
            displaced.iter().for_each(|source| self.table.lock().demote(*source));
        }
    }

    /// Whether this user logged in from there recently.
    pub fn knows(&self, user: &UserName, address: IpAddr) -> bool {
        self.identifies_source(address) && self.recent.lock().has(user, address.into(), today())
    }

    /// Returns the source of a user's last login within 30 days.
    pub fn last_source(&self, user: &UserName) -> Option<Source> {
        self.recent.lock().last_of(user, today())
    }

    /// Returns the users who logged in from a range within 30 days.
    pub fn recent_users_in(&self, range: &IpRange) -> Vec<UserName> {
        self.recent.lock().users_in(range, today())
    }

    /// Returns an address of the range from which many people connect, as through a proxy: the
    /// first one of the smaller of two ranges that overlap.
    pub fn shared_in(&self, range: &IpRange) -> Option<IpAddr> {
        let rules = self.rules();
        let mut shared = rules.shared.iter().chain(&rules.web_proxies);
        let shared = shared.find(|one| range.overlaps(one))?;
        Some(if range.prefix_bits > shared.prefix_bits { range.network } else { shared.network })
    }

    /// Returns the new content of the file of recent logins, if it changed.
    pub fn changed_sources(
        &self,
        today: i64,
        is_user: impl Fn(&UserName) -> bool,
    ) -> Option<Sources> {
        self.recent.lock().take_changed(today, is_user)
    }

    /// Whether an address identifies a source: it is not that of a proxy.
    fn identifies_source(&self, address: IpAddr) -> bool {
        let rules = self.rules();
        let by_web = rules.has_web && address.to_canonical().is_loopback();
        !by_web && !rules.shared.iter().any(|range| range.contains(address))
    }

    /// Returns the unregistered keys, and the present time.
    pub fn unregistered(&self) -> (Vec<Unregistered>, Stamp) {
        (self.unregistered.lock().all().to_vec(), self.now())
    }

    /// Closes connections to make room for others; gives their ids.
    fn evict(&self, evicted: Vec<Held<Arc<dyn RecordSink>>>) -> Vec<u64> {
        let close = |held: Held<Arc<dyn RecordSink>>| {
            // A thread that reads from it ends.
            held.handle.cut();
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
            // A connection that was evicted before its grace time is penalised less.
            let ripe = held.is_ripe(self.now());
            let offence = if ripe { Offence::Evicted } else { Offence::Unserved };
            self.penalise(held.origin, offence, self.now().ms_since(held.came));
            held.id
        };
        evicted.into_iter().map(close).collect()
    }

    /// Penalises the source of a connection that held its entry for `held_ms`.
    fn penalise(&self, origin: Origin, offence: Offence, held_ms: u64) {
        let Some(source) = origin.source else { return };
        let ms = offence.penalty_ms(held_ms, self.login_time().as_millis() as u64);
        if ms > 0 {
            self.penalties.lock().add(source, ms, self.now());
        }
    }

    /// Reports a full server, at most once in a while.
    pub fn report_full(&self) {
        let now = self.now().0.max(1);
        let told =
            self.full_reported_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                (last == 0 || now.saturating_sub(last) >= FULL_MS).then_some(now)
            });
        if told.is_ok() {
            let max = self.room.connections;
            log::warn!("the server is full: {max} connections; further ones are refused");
        }
    }

    /// Counts a peer that has proven its key.
    pub fn logged_in(&self) {
        self.counts.logins.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a login by a session ticket.
    pub fn resumed(&self) {
        self.counts.resumed.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until `deadline` for the permission for an RSA operation, and counts the operation.
    pub fn rsa_permit(&self, deadline: Instant, standing: Standing) -> Option<Permit<'_>> {
        let permit = self.permits.take(deadline, self.ahead_max(standing))?;
        self.counts.rsa.fetch_add(1, Ordering::Relaxed);
        Some(permit)
    }

    /// How many logins may wait for an RSA operation ahead of this peer: a quarter for suspects, so
    /// that they do not crowd out others. Known peers always queue, and are not counted.
    fn ahead_max(&self, standing: Standing) -> Option<usize> {
        match standing {
            Standing::Suspect => Some(self.permits.waiting_max() / 4),
            Standing::Unknown => Some(self.permits.waiting_max()),
            Standing::Known => None,
        }
    }

    /// Whether all connections with a thread are taken.
    pub fn is_full(&self) -> bool {
        self.connections.load(Ordering::Relaxed) >= self.room.connections
    }

    /// A place among the connections with a thread, where one is free.
    pub fn slot(self: &Arc<Self>) -> Option<Slot> {
        if capacity::is_short_of_space() {
            return None;
        }
        let taken = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < self.room.connections).then_some(count + 1)
        });
        taken.is_ok().then(|| Slot(Arc::clone(self)))
    }

    fn now(&self) -> Stamp {
        Stamp(self.began.elapsed().as_millis() as u64)
    }
}

/// The most connections without a thread that the configuration allows.
fn without_thread(config: &Config) -> usize {
    let limits = &config.limits;
    let web = if config.web.is_some() { limits.web_connections_max } else { 0 };
    limits.unauthenticated_max.saturating_add(limits.handshakes_max).saturating_add(web).max(1)
}

/// The share that the system allows of so many connections: each needs a descriptor.
fn share(config: &Config, room: capacity::Room, wanted: usize) -> usize {
    let able = room.unauthenticated.saturating_mul(wanted) / without_thread(config);
    able.clamp(1, wanted.max(1))
}

/// Returns the table's bounds.
fn bounds(config: &Config, room: capacity::Room) -> Bounds {
    let limits = &config.limits;
    Bounds {
        silent: share(config, room, limits.unauthenticated_max),
        greeted: share(config, room, limits.handshakes_max),
        logging_in: limits.logins_max,
        per_source: limits.unauthenticated_per_source_max,
    }
}
