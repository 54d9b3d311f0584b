//! The server: start and stop, told top to bottom.

mod devices;
pub mod directory;
mod door;
mod figures;
pub(crate) mod flusher;
mod guesses;
mod house;
pub(crate) mod hub;
pub mod log;
pub mod metrics;
mod notify;
pub mod operator;
pub(crate) mod outlet;
pub(crate) mod pipe;
mod prompts;
mod readers;
mod records;
mod rekeying;
pub(crate) mod replayer;
mod second;
mod session;
mod stop;
mod tail;
pub(crate) mod writer;

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
use crate::keyring::{Decision, Home, ServerKeys, UsersWatch};
use crate::ledger::{Kept, KeptReader, Memory, Reader, Remembered, Sqlite};
use crate::net::listener::Listener;
use crate::terminal;
pub use door::capacity::{ARENAS, has_little_address_space};
use door::{Door, RecentLogins, Stranger};
use flusher::Flusher;
use house::House;
use hub::Hub;
use operator::{Actor, console, ctl};
use readers::Readers;
use rekeying::Rekeying;
use stop::{Stop, essential};

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

/// A look at users/ this often: whom the operator admits is in, whom he removes is out.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Empty channels are looked for this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A look for lines that are older than their place's retention this often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// A clock that leaps by more than this, or begins as far ahead of the newest line, has to hold for a
/// while before it is trusted with removing lines ...
const CLOCK_DRIFT_MS_MAX: u64 = 3_600_000;
const CLOCK_HOLD: Duration = Duration::from_secs(600);
/// ... and one that leaps ahead by more than this until the operator says that it is right.
const CLOCK_LEAP_MS_MAX: i64 = 90 * 86_400_000;

/// How much lower the priority of the thread that searches is (`nice`; it is a thread's own on Linux).
const SEARCH_NICE: i32 = 10;

/// After the drain the last lines are written, within this time.
const WRITER_GRACE: Duration = Duration::from_millis(800);

/// A stop that is stuck in a disk, a pipe or another process after this time more ends the process.
const END_GRACE: Duration = Duration::from_secs(5);

/// Runs a server until it is told to stop; every session has been told when this returns.
pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { home, config, keys, listen, log_level, on_ready } = options;
    configure_log(&config, log_level, &home)?;
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
    let writer = {
        let hub = Arc::clone(&hub);
        essential("writer", &stop, move || writer::run(&hub, ledger))?
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
    essential("keeper", &stop, move || keep(&keeper, watch))?;
    let sweeper = Arc::clone(&house);
    essential("sweeper", &stop, move || sweep(&sweeper))?;
    let operator = |name: &'static str| -> ctl::Handler {
        let house = Arc::clone(&house);
        Arc::new(move |words: &[String]| operator::obey(&house, &Actor::own(name), words))
    };
    let socket = ctl::serve(house.home(), operator("ctl"))?;
    if let Some(address) = house.config().metrics {
        metrics::serve(&house, address)?;
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
    notify::tell(&format!("READY=1\nSTATUS=listening on {bound}"));
    let watched = Arc::clone(&house);
    notify::watch(&stop, move || operator::threads_answer(&watched))?;
    console::attend(operator("console"), Arc::clone(&stop));

    stop.wait();
    let drain_time = Duration::from_millis(house.config().limits.drain_ms_max);
    let deadline = Instant::now() + drain_time;
    end_for_certain(drain_time + END_GRACE);
    notify::tell("STOPPING=1");
    house.see_keys();
    house.keep_sources();
    drop(socket);
    // The door is woken by the stop and closes behind itself.
    let _ = doorkeeper.join();
    drain(&house, deadline);
    house.record(&own.did("stop"));
    house.hub.close();
    house.readers.close();
    while !writer.is_finished() && Instant::now() < deadline + WRITER_GRACE {
        thread::sleep(Duration::from_millis(5));
    }
    if house.records.settle(deadline.saturating_duration_since(Instant::now())) > 0 {
        ::log::error!("the audit trail lacks the last decisions: it could not be written in time");
    }
    if !writer.is_finished() {
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

/// The log as the configuration wants it; the command line's level wins.
fn configure_log(config: &Config, level: Option<LevelFilter>, home: &Home) -> anyhow::Result<()> {
    log::show_addresses(config.log_ip);
    log::configure(&config.log, level, home.dir()).context("cannot write the log")
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
    essential("replayer", stop, move || replayer::run(&own_hub, &*own))?;
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

/// The server's chores: users/ and the server's own key are watched, and empty channels are forgotten.
fn keep(house: &House, mut watch: UsersWatch) {
    let mut swept = Instant::now();
    let mut unread = false;
    let mut rekeying = Rekeying::new();
    while !house.stop().wait_for(WATCH_EVERY) {
        let changed = watch.changed();
        if changed || unread {
            let read = house.reload_users();
            // No descriptor may have been left: the next look tries again, and says nothing new.
            if let (Err(error), false) = (&read, unread) {
                ::log::error!("users/ cannot be read, so it stays as it was: {error}");
            }
            unread = read.is_err();
        }
        rekeying.look(house);
        if swept.elapsed() >= SWEEP_EVERY {
            house.hub.sweep();
            swept = Instant::now();
        }
    }
}

/// Lines and keys that are too old go. A thread of its own: a disk that takes its time with it keeps nobody in
/// who was removed.
fn sweep(house: &House) {
    let now_ms = || jiff::Timestamp::now().as_millisecond();
    let newest_ms = match house.ask_ledger(|ledger| ledger.newest_ms()) {
        Some(Ok(newest_ms)) => newest_ms.unwrap_or_else(now_ms),
        // Nothing is known of before: as if nothing could be believed.
        Some(Err(_)) | None => 0,
    };
    let mut expiry = Expiry::new(Instant::now(), now_ms(), newest_ms);
    let mut wait = Duration::ZERO;
    while !house.stop().wait_for(wait) {
        wait = EXPIRE_EVERY;
        house.see_keys();
        house.keep_sources();
        house.expire_keys();
        if expiry.believes(Instant::now(), now_ms(), house.was_swept_by_hand()) {
            expire(house);
        }
    }
}

fn expire(house: &House) {
    house.expire_audit(jiff::Timestamp::now().as_millisecond());
    match house.sweep_ledger(jiff::Timestamp::now().as_millisecond(), false) {
        Some(Ok(swept)) if swept.lines > 0 => {
            ::log::info!("{} lines of {} places were too old", swept.lines, swept.places);
        }
        Some(Err(error)) => ::log::error!("old lines stay for now: {error}"),
        _ => {}
    }
}

/// Whether the wall clock is believed when it says that lines are old.
struct Expiry {
    last: Instant,
    last_ms: i64,
    /// It is believed from then on; none where the operator has to say so first.
    from: Option<Instant>,
}

impl Expiry {
    fn new(now: Instant, now_ms: i64, newest_ms: i64) -> Expiry {
        let mut expiry = Expiry { last: now, last_ms: now_ms, from: Some(now) };
        // Where the newest line is from is where the clock was last.
        expiry.leaps(now, now_ms.saturating_sub(newest_ms).max(0));
        expiry
    }

    fn believes(&mut self, now: Instant, now_ms: i64, by_hand: bool) -> bool {
        let passed = now.duration_since(self.last);
        let leap_ms = now_ms.saturating_sub(self.last_ms + passed.as_millis() as i64);
        (self.last, self.last_ms) = (now, now_ms);
        self.leaps(now, leap_ms);
        if by_hand {
            self.from = Some(now);
        }
        self.from.is_some_and(|from| now >= from)
    }

    fn leaps(&mut self, now: Instant, leap_ms: i64) {
        if leap_ms > CLOCK_LEAP_MS_MAX {
            let days = leap_ms / 86_400_000;
            ::log::error!(
                "the clock is {days} days ahead: old lines stay until it is right and \
                 pychat ctl retention --now was said"
            );
            self.from = None;
        } else if leap_ms.unsigned_abs() > CLOCK_DRIFT_MS_MAX && self.from.is_some() {
            let (leap_s, hold_s) = (leap_ms / 1000, CLOCK_HOLD.as_secs());
            ::log::warn!(
                "the clock leapt by {leap_s} s: old lines stay until it has held for {hold_s} s"
            );
            self.from = Some(now + CLOCK_HOLD);
        }
    }
}

fn spawn<F>(name: &str, job: F) -> anyhow::Result<thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    let thread = thread::Builder::new().name(name.to_owned()).spawn(job);
    thread.with_context(|| format!("cannot start the {name} thread"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_clock_that_leaps_has_to_hold_before_it_removes_anything() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let mut expiry = Expiry::new(began, 0, 0);
        assert!(expiry.believes(after(0), 0, false), "the newest line is of now");
        assert!(expiry.believes(after(60), 61_000, false));
        let ten = 10 * DAY_MS;
        assert!(!expiry.believes(after(120), ten, false), "ten days in a minute");
        assert!(!expiry.believes(after(180), ten + 60_000, false));
        assert!(expiry.believes(after(720), ten + 600_000, false), "it has held");
        assert!(!expiry.believes(after(780), 0, false), "set back");
        assert!(!expiry.believes(after(840), ten + 720_000, false), "and right again");
        assert!(expiry.believes(after(1440), ten + 1_320_000, false));
    }

    #[test]
    fn a_clock_that_is_wrong_at_the_start_removes_nothing() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let mut away = Expiry::new(began, 3 * DAY_MS, 0);
        assert!(!away.believes(after(0), 3 * DAY_MS, false), "three days without a line, or wrong");
        assert!(away.believes(after(600), 3 * DAY_MS + 600_000, false));
        let years = 3_000 * DAY_MS;
        let mut wrong = Expiry::new(began, years, 0);
        assert!(!wrong.believes(after(0), years, false));
        assert!(!wrong.believes(after(86_400), years + DAY_MS, false), "however long it holds");
        assert!(!wrong.believes(after(86_460), DAY_MS, false), "nor once it is mended");
        assert!(wrong.believes(after(86_520), DAY_MS + 60_000, true), "but by the operator's word");
        assert!(wrong.believes(after(86_580), DAY_MS + 120_000, false));
        assert!(!wrong.believes(after(86_640), years, false), "and again");
    }
}
