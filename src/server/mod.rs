//! The server: start and stop, told top to bottom.

pub(crate) mod commit;
pub(crate) mod delivery;
mod devices;
pub mod directory;
mod door;
mod guesses;
mod house;
pub(crate) mod hub;
mod liveness;
pub mod metrics;
pub mod observe;
pub mod operator;
mod prompts;
mod readers;
mod records;
mod rekeying;
mod second;
mod session;
mod stop;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::log::LevelFilter;
use anyhow::Context;

use crate::chat::registry::Registry;
use crate::chat::{Code, Event, LogId, SessionId};
use crate::config::{Config, History};
use crate::home::{Decision, Home, ServerKeys, UsersWatch};
use crate::ledger::{Kept, KeptReader, Memory, Reader, Remembered, Sqlite};
use crate::net::listener::Listener;
use crate::terminal;
use delivery::{
    backfill,
    flusher::{self, Flusher},
};
pub use door::capacity::{ARENAS, has_little_address_space};
use door::{Door, RecentLogins, Stranger};
use house::House;
use hub::Hub;
use observe::{log, prometheus, systemd};
use operator::{Actor, console, ctl};
use readers::Readers;
use stop::{Stop, essential, spawn};

/// What a server is started with.
pub struct Options {
    pub home: Home,
    pub config: Config,
    pub keys: ServerKeys,
    /// Instead of the configuration's own.
    pub listen: SocketAddr,
    /// Instead of the configuration's own.
    pub log_level: Option<LevelFilter>,
    /// Called once with the address that is really listened on.
    pub on_ready: Box<dyn FnOnce(SocketAddr)>,
}

/// How much lower the priority of the thread that searches is (`nice`; it is a thread's own on Linux).
const SEARCH_NICE: i32 = 10;

/// After the drain the last lines are written, within this time.
const COMMIT_GRACE: Duration = Duration::from_millis(800);

/// A stop that is stuck in a disk, a pipe or another process after this time more ends the process.
const END_GRACE: Duration = Duration::from_secs(5);

/// Runs a server until it is told to stop; every session has been told when this returns.
pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { home, config, keys, listen, log_level, on_ready } = options;
    log::apply(&config, log_level, &home)?;
    // Before its port is found taken, which would say less.
    let _lock = home.lock()?;
    let listener = Listener::bind(listen, config.limits.listen_backlog)?;
    let (ledger, reader) = open_ledger(&home, &config)?;

    let (flusher, ear) = Flusher::new().context("cannot make the flusher's bell")?;
    let registry = registry(&ledger, &config)?;
    let hub = Arc::new(Hub::new(registry, config.limits.clone(), flusher));
    let stop = Arc::new(Stop::default());
    stop::on_signals(Arc::clone(&stop))?;
    let weak = Arc::downgrade(&hub);
    essential("flusher", &stop, move || flusher::run(weak, ear))?;
    let commit_thread = {
        let hub = Arc::clone(&hub);
        essential("commit", &stop, move || commit::run(&hub, ledger))?
    };
    let readers = read_for(&hub, &reader, &stop)?;
    let door = Door::new(keys, &config, listener.address(), recent_logins(&home));
    let (own_door, own_stop) = (Arc::clone(&door), Arc::clone(&stop));
    // Before users/ is read: what comes between is noticed later.
    let watch = UsersWatch::new(home.users_dir());
    let house = Arc::new(House::open(config, log_level, hub, readers, home, own_door, own_stop)?);
    let own = Actor::own("server");
    house.record(&Decision { target: env!("CARGO_PKG_VERSION"), ..own.did("start") });
    // The trail has it before anybody is told that the server runs, unless another process holds the trail.
    house.records.settle(operator::RECORD_PATIENCE);

    let keeper = Arc::clone(&house);
    essential("keeper", &stop, move || upkeep::keep(&keeper, watch))?;
    let sweeper = Arc::clone(&house);
    essential("sweeper", &stop, move || upkeep::sweep(&sweeper))?;
    let operator = |name: &'static str| -> ctl::Handler {
        let house = Arc::clone(&house);
        Arc::new(move |words: &[String]| operator::obey(&house, &Actor::own(name), words))
    };
    let socket = ctl::serve(house.home(), operator("ctl"))?;
    if let Some(address) = house.config().metrics {
        let own = Arc::clone(&house);
        prometheus::serve(address, &stop, move || metrics::text(&own))?;
    }
    let bound = listener.address();
    let doorkeeper = {
        let (house, door, stop) = (Arc::clone(&house), Arc::clone(&door), Arc::clone(&stop));
        let next = AtomicU64::new(1);
        let serve = move |stranger: Stranger| {
            let id = SessionId(next.fetch_add(1, Ordering::Relaxed));
            let entered = session::enter(&house, stranger, id)?;
            Some(Box::new(move || entered.serve()) as door::Stay)
        };
        let serve: door::Serve = Arc::new(serve);
        let told = Arc::clone(&stop);
        essential("door", &stop, move || door.run(&listener, &told, &serve))?
    };
    on_ready(bound);
    systemd::notify(&format!("READY=1\nSTATUS=listening on {bound}"));
    let watched = Arc::clone(&house);
    systemd::watch(&stop, move || operator::threads_answer(&watched))?;
    console::attend(operator("console"), Arc::clone(&stop));

    stop.wait();
    let drain_time = Duration::from_millis(house.config().limits.drain_ms_max);
    let deadline = Instant::now() + drain_time;
    end_for_certain(drain_time + END_GRACE);
    systemd::notify("STOPPING=1");
    house.see_keys();
    house.keep_sources();
    drop(socket);
    // The door is woken by the stop and closes behind itself.
    let _ = doorkeeper.join();
    drain(&house, deadline);
    house.record(&own.did("stop"));
    house.hub.close();
    house.readers.close();
    while !commit_thread.is_finished() && Instant::now() < deadline + COMMIT_GRACE {
        thread::sleep(Duration::from_millis(5));
    }
    if house.records.settle(deadline.saturating_duration_since(Instant::now())) > 0 {
        ::log::error!("the audit trail lacks the last decisions: it could not be written in time");
    }
    if !commit_thread.is_finished() {
        stop.fail("the disk takes too long over the last lines".to_owned());
    }
    log::print_plainly();
    terminal::restore();
    ::log::info!("stopped");
    match stop.fault() {
        None => Ok(()),
        Some(fault) => anyhow::bail!("{fault}: what was not acknowledged may not be stored"),
    }
}

/// The ledger of a home: on disk unless the operator wants nothing kept.
fn open_ledger(home: &Home, config: &Config) -> anyhow::Result<(Kept, Arc<KeptReader>)> {
    let limits = &config.limits;
    let passing = LogId(rand::random::<u64>() >> 1);
    let bytes_max = (limits.tail_bytes_max, limits.memory_bytes_max);
    let memory = Memory::new(passing, bytes_max, limits.change_s_max);
    let disk = match config.history {
        History::Off => None,
        History::On => {
            let ledger = Sqlite::open(&home.ledger_file(), limits.change_s_max)?;
            let reader = ledger.reader();
            Some((Box::new(ledger) as _, Box::new(reader) as _))
        }
    };
    Ok(Kept::new(disk, memory, config.retentions()))
}

/// The threads that read the ledger, each with a reader of its own.
fn read_for(hub: &Arc<Hub>, reader: &KeptReader, stop: &Arc<Stop>) -> anyhow::Result<Arc<Readers>> {
    let readers = Arc::new(Readers::default());
    let (own_hub, own) = (Arc::clone(hub), reader.another());
    essential("backfill", stop, move || backfill::run(&*own_hub, &*own))?;
    let (own_readers, own) = (Arc::clone(&readers), reader.another());
    essential("history", stop, move || readers::run(&own_readers.history, &*own))?;
    let (own_readers, own) = (Arc::clone(&readers), reader.another());
    essential("search", stop, move || {
        // Searches give way to everything else. Where the system has no priorities, they do not.
        let _ = rustix::process::nice(SEARCH_NICE);
        readers::run(&own_readers.search, &*own);
    })?;
    Ok(readers)
}

/// The registry with what the ledger remembers.
fn registry(ledger: &Kept, config: &Config) -> anyhow::Result<Registry> {
    let passing = LogId(rand::random::<u64>() >> 1);
    let mut registry = Registry::new(hub::rules(config, ledger.log_id(), passing));
    for Remembered { place, last, topic, reads, waiting } in
        ledger.remembered(config.limits.mailbox_lines_max)?
    {
        registry.remember(place, last, topic, reads, waiting);
    }
    Ok(registry)
}

/// Ends the process after `time` if the stop has not done so: nothing that is acknowledged is lost by it.
fn end_for_certain(time: Duration) {
    let ended = spawn("end", move || {
        thread::sleep(time);
        terminal::restore();
        std::process::exit(1);
    });
    if let Err(error) = ended {
        ::log::warn!("{error}");
    }
}

/// Where people have logged in from lately. A file that cannot be read costs them only that they come
/// first.
fn recent_logins(home: &Home) -> RecentLogins {
    RecentLogins::load(&home.sources_file()).unwrap_or_else(|error| {
        ::log::error!("where people log in from is not known: {error}");
        RecentLogins::default()
    })
}

/// Tells everybody and waits until the sessions' threads are done, or for the deadline.
fn drain(house: &House, deadline: Instant) {
    let reason = "the server stops; your client comes back by itself".to_owned();
    let event = Event::Goodbye { code: Code::Shutdown, reason, retry_ms: Some(1_000) };
    while Instant::now() < deadline {
        // Who was still on the way in is told in a later round.
        house.hub.end_all(&event, "shutdown");
        if house.hub.stats().sessions == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
