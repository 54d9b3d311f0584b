//! The server: start and stop, from top to bottom.

mod access;
pub mod accounts;
mod admission;
mod authentication;
mod backlog;
mod clock_guard;
pub(crate) mod commit;
mod context;
mod decisions;
pub(crate) mod delivery;
mod disk_guard;
pub mod files;
pub(crate) mod hub;
mod ledger_jobs;
mod liveness;
pub mod metrics;
pub mod observe;
pub mod operator;
mod overrides;
mod passwords;
mod readers;
mod records;
mod session;
mod session_tickets;
mod stop;
mod storage;
mod upkeep;
mod web;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::chat::{Code, Event, SessionId};
use crate::config::{Config, History};
use crate::crypto::Fingerprint;
use crate::file::FileError;
use crate::home::{
    Audit, Decided, Decision, Home, Rejected, Reserve, ServerKeys, Users, UsersWatch, finish_rename,
};
use crate::net::listener::Listener;
use crate::sync::{Mutex, Rank, Snapshot};
use crate::terminal;
use access::Access;
use accounts::Accounts;
use accounts::directory::Directory;
use accounts::key_history::{self, KeyHistory};
use accounts::vanished::Vanished;
pub use admission::capacity::{ARENAS, has_little_address_space};
use admission::entrance::{Entrance, entrance};
use admission::{Admission, KeyHolder, RecentLogins, Ways};
use clock_guard::ClockGuard;
use context::Context;
use decisions::Decisions;
use files::Files;
use hub::Hub;
use ledger_jobs::LedgerJobs;
pub use observe::log::check_file as check_log_file;
use observe::{log, prometheus, systemd};
use operator::{Actor, console, ctl};
pub use overrides::Overrides;
use passwords::Passwords;
use passwords::tickets::Tickets;
use readers::Readers;
use records::Records;
use session_tickets::SessionTickets;
use stop::{Stop, essential, spawn};
use storage::Storage;
pub use storage::check_ledger;
pub use web::authority::issued as issued_certificate;
use web::certificate::Certificate;
pub use web::certificate::check as check_certificate;

/// The parameters of a server.
pub struct Options {
    pub home: Home,
    pub config: Config,
    pub keys: ServerKeys,
    /// Overrides the addresses in the configuration.
    pub listen: Vec<SocketAddr>,
    pub overrides: Overrides,
    /// A home that was used before may begin a new ledger.
    pub new_ledger: bool,
    /// Called once with the bound addresses.
    pub on_ready: OnReady,
}

/// Receives the addresses that a server listens on.
pub type OnReady = Box<dyn FnOnce(&[SocketAddr])>;

/// After the drain the last lines are written, within this time.
const COMMIT_GRACE: Duration = Duration::from_millis(800);

/// The further time after which a stop that hangs on a disk, a pipe or another process ends the
/// process.
const END_GRACE: Duration = Duration::from_secs(5);

/// Runs a server until it is stopped. Every session has received a goodbye when this returns.
pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { home, mut config, keys, listen, overrides, new_ledger, on_ready } = options;
    overrides.apply(&mut config);
    log::prepare(&config, overrides.log_level, &home)?.take_up();
    // Before binding the port, because its error message says more.
    let _lock = home.lock()?;
    let backlog = config.limits.listen_backlog;
    let listeners = Listener::bind_all(&listen, backlog)?;
    let bound: Vec<SocketAddr> = listeners.iter().map(Listener::address).collect();
    let web_port = bind_web(&home, &config)?;
    let stop = Arc::new(Stop::default());
    let hangups = stop::on_signals(Arc::clone(&stop))?;
    if config.history == History::On && !new_ledger {
        check_ledger(&home)?;
    }
    // A full disk has room for what a start writes.
    let reserve = Reserve::new(home.reserve_file());
    reserve.release_if_needed();
    // A quota shows only when something is written: then the next start has the room.
    let failed = |_: &anyhow::Error| {
        reserve.release();
    };
    // Before users/ is read: what comes between is noticed later.
    let watch = UsersWatch::new(home.users_dir());
    finish_rename(&home.users_dir())?;
    let users = Users::load(&home.users_dir())
        .with_context(|| format!("cannot read {}", home.users_dir().display()))?;
    let Storage { hub, readers, commit_thread, files, lost, epoch } =
        storage::open(&home, &config, &users.0, &stop).inspect_err(failed)?;
    let keys = Arc::new(Snapshot::new(keys));
    let admission = Admission::new(Arc::clone(&keys), &config, bound.clone(), recent_logins(&home));
    let given =
        Given { home, config, users, keys, overrides, hub, readers, files, admission, stop, epoch };
    let context = Arc::new(open_context(given).inspect_err(failed)?);
    let own = Actor::own("server");
    context.records.record(&Decision { target: env!("CARGO_PKG_VERSION"), ..own.did("start") });
    if let Some(lost) = lost {
        let (action, reason) = ("ledger lost messages", lost.to_string());
        context.records.record(&Decision { reason: Some(&reason), ..own.did(action) });
    }
    // The trail has it before anybody is told that the server runs, unless another process holds
    // the trail.
    context.records.settle(operator::RECORD_PATIENCE);

    reserve.keep();

    let sockets = start_jobs(&context, watch, hangups)?;
    let (entrance, arrivals) = entrance().context("no pipe for the admission")?;
    let admission_thread = open_admission(&context, Ways { listeners, arrivals })?;
    if let Some(port) = web_port {
        open_web(&context, port, entrance)?;
    }
    on_ready(&bound);
    let at = bound.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    systemd::notify(&format!("READY=1\nSTATUS=listening on {at}"));
    let watched = Arc::clone(&context);
    systemd::watch(&context.stop, move || operator::threads_answer(&watched))?;
    console::run(operator(&context, "console"), Arc::clone(&context.stop));

    context.stop.wait();
    shut_down(&context, sockets, admission_thread, &commit_thread);
    match context.stop.fault() {
        None => Ok(()),
        Some(fault) => {
            anyhow::bail!("{fault}: messages without an acknowledgement may not be stored")
        }
    }
}

/// Opens the socket of operators and, if config.json names one, the socket of readers.
fn open_sockets(context: &Arc<Context>) -> anyhow::Result<Vec<ctl::Socket>> {
    let mut sockets = vec![ctl::serve(&context.home, operator(context, "ctl"))?];
    if let Some(path) = &context.config.get().read_socket {
        let own = Arc::clone(context);
        let run = move |words: &[String]| operator::run_command(&own, &Actor::reader(), words);
        sockets.push(ctl::serve_readers(&context.home, path, Arc::new(run))?);
    }
    Ok(sockets)
}

/// Returns the handler for operator commands from the console or the socket.
fn operator(context: &Arc<Context>, name: &'static str) -> ctl::Handler {
    let context = Arc::clone(context);
    Arc::new(move |words: &[String]| operator::run_command(&context, &Actor::own(name), words))
}

/// Starts periodic jobs, the sockets of ctl and the metrics endpoint.
fn start_jobs(
    context: &Arc<Context>,
    watch: UsersWatch,
    hangups: Receiver<()>,
) -> anyhow::Result<Vec<ctl::Socket>> {
    let reloaded = Arc::clone(context);
    essential("hangups", &context.stop, move || operator::hangup::run(&reloaded, &hangups))?;
    upkeep::compare_clock(context);
    let keeper = Arc::clone(context);
    essential("keeper", &context.stop, move || upkeep::keep(&keeper, watch))?;
    let remover = Arc::clone(context);
    essential("remover", &context.stop, move || upkeep::end_vanished(&remover))?;
    let sweeper = Arc::clone(context);
    essential("sweeper", &context.stop, move || upkeep::sweep(&sweeper))?;
    let indexer = Arc::clone(context);
    essential("indexer", &context.stop, move || upkeep::index(&indexer))?;
    // Before clients can send messages.
    upkeep::check_disk(context);
    let guarded = Arc::clone(context);
    essential("disk", &context.stop, move || upkeep::watch_disk(&guarded))?;
    let sockets = open_sockets(context)?;
    if let Some(address) = context.config.get().metrics {
        let own = Arc::clone(context);
        prometheus::serve(address, &context.stop, move || metrics::text(&own))?;
    }
    Ok(sockets)
}

/// Starts the admission thread.
fn open_admission(context: &Arc<Context>, ways: Ways) -> anyhow::Result<JoinHandle<()>> {
    let next = AtomicU64::new(1);
    let own = Arc::clone(context);
    let serve = move |holder: KeyHolder| {
        let id = SessionId(next.fetch_add(1, Ordering::Relaxed));
        let entered = session::enter(&own, holder, id)?;
        Some(Box::new(move || entered.serve()) as admission::Stay)
    };
    let own = Arc::clone(context);
    let resume =
        move |ticket: &[u8], server: &Fingerprint| authentication::resume(&own, ticket, server);
    let serve = admission::Serve { enter: Arc::new(serve), resume: Arc::new(resume) };
    let (admission, stop) = (Arc::clone(&context.admission), Arc::clone(&context.stop));
    essential("admission", &context.stop, move || {
        admission::run(&admission, &ways, &stop, &serve);
    })
}

/// Binds the web port, and reads its certificate.
fn bind_web(home: &Home, config: &Config) -> anyhow::Result<Option<(Listener, Certificate)>> {
    let Some(address) = config.web else { return Ok(None) };
    let certificate = Certificate::open(home, config)?;
    Ok(Some((Listener::bind(address, config.limits.listen_backlog)?, certificate)))
}

/// Starts the thread of the web port.
fn open_web(
    context: &Arc<Context>,
    (listener, certificate): (Listener, Certificate),
    entrance: Entrance,
) -> anyhow::Result<JoinHandle<()>> {
    ::log::info!("web at ws://{}/hop", listener.address());
    context.admission.set_web_address(listener.address());
    let (admission, config) = (Arc::clone(&context.admission), Arc::clone(&context.config));
    let web = web::Web { admission, config, entrance, certificate };
    let stop = Arc::clone(&context.stop);
    essential("web", &context.stop, move || web::run(web, &listener, &stop))
}

/// Ends all sessions and writes what is pending, within the time limits.
fn shut_down(
    context: &Context,
    sockets: Vec<ctl::Socket>,
    admission_thread: JoinHandle<()>,
    commit_thread: &JoinHandle<()>,
) {
    let drain_time = Duration::from_millis(context.config.get().limits.drain_ms_max);
    let deadline = Instant::now() + drain_time;
    end_for_certain(drain_time + END_GRACE);
    systemd::notify("STOPPING=1");
    context.key_history.see();
    upkeep::keep_sources(context);
    upkeep::keep_tickets(context);
    drop(sockets);
    // The stop wakes the admission, which closes its listener.
    let _ = admission_thread.join();
    drain(context, deadline);
    context.records.record(&Actor::own("server").did("stop"));
    context.hub.ledger.close();
    context.readers.close();
    while !commit_thread.is_finished() && Instant::now() < deadline + COMMIT_GRACE {
        thread::sleep(Duration::from_millis(5));
    }
    if context.decisions.settle(deadline.saturating_duration_since(Instant::now())) > 0 {
        ::log::error!("the last bans, mutes and roles are not on disk: it did not answer in time");
    }
    if context.records.settle(deadline.saturating_duration_since(Instant::now())) > 0 {
        ::log::error!(
            "the last decisions are missing in the audit trail: it could not be written in time"
        );
    }
    // The next start can do the commit thread's remaining work.
    if !context.hub.ledger.is_abandoned() {
        context.stop.fail("the disk is too slow for the last messages".to_owned());
    }
    log::print_plainly();
    terminal::restore();
    ::log::info!("stopped");
}

/// What the context is built from.
struct Given {
    home: Home,
    config: Config,
    /// The registered users, and the rejected key files.
    users: (Users, Vec<Rejected>),
    keys: Arc<Snapshot<ServerKeys>>,
    overrides: Overrides,
    hub: Arc<Hub>,
    readers: Arc<Readers>,
    files: Option<Arc<Files>>,
    admission: Arc<Admission>,
    stop: Arc<Stop>,
    /// The epoch of the ledger; 0 where nothing is stored.
    epoch: u64,
}

/// Builds the context from the home.
fn open_context(given: Given) -> anyhow::Result<Context> {
    let Given { home, config, users, keys, overrides, hub, readers, files, admission, stop, epoch } =
        given;
    let config = Arc::new(Snapshot::new(config));
    let (users, rejected) = users;
    let users = Arc::new(Snapshot::new(users));
    let decided = Arc::new(Decided::open(home.decisions_file())?);
    let directory = Arc::new(Directory::open(home.certificates_file())?);
    let decisions = Arc::new(Decisions::start()?);
    let records = Arc::new(Records::start(Audit::of(&home), Arc::clone(&config))?);
    let access = Arc::new(Access {
        config: Arc::clone(&config),
        users: Arc::clone(&users),
        decided: Arc::clone(&decided),
        hub: Arc::clone(&hub),
    });
    let passwords = Arc::new(Passwords::new(Arc::clone(&hub), tickets(&home)));
    let around = key_history::Around {
        config: Arc::clone(&config),
        users: Arc::clone(&users),
        hub: Arc::clone(&hub),
        records: Arc::clone(&records),
        decided: Arc::clone(&decided),
        decisions: Arc::clone(&decisions),
        passwords: Arc::clone(&passwords),
    };
    let key_history = Arc::new(KeyHistory::open(&home, around)?);
    let mut logged = BTreeSet::new();
    accounts::log_rejected(&mut logged, &rejected, &users.get());
    let accounts = Accounts {
        dir: home.users_dir(),
        users,
        hub: Arc::clone(&hub),
        access: Arc::clone(&access),
        directory: Arc::clone(&directory),
        key_history: Arc::clone(&key_history),
        records: Arc::clone(&records),
        logged: Mutex::new(Rank::Users, logged),
        vanished: Vanished::default(),
        renaming: Mutex::new(Rank::Renaming, ()),
    };
    Ok(Context {
        ledger: LedgerJobs::new(
            Arc::clone(&config),
            Arc::clone(&hub),
            Arc::clone(&readers),
            Reserve::new(home.reserve_file()),
        ),
        passwords,
        session_tickets: Arc::new(SessionTickets::open(&home, Arc::clone(&keys), epoch)),
        config,
        home,
        overrides,
        hub,
        readers,
        files,
        accounts,
        directory,
        key_history,
        host_keys: keys,
        decided,
        decisions,
        access,
        admission,
        records,
        clock: ClockGuard::default(),
        stop,
    })
}

/// Ends the process after `time` if the stop has not done so: nothing that is acknowledged is lost
/// by it.
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

/// Checks the files of recent logins and tickets. The server starts without them if they are
/// damaged.
pub fn check_login_records(home: &Home) -> [Result<(), FileError>; 2] {
    let logins = RecentLogins::load(&home.sources_file()).map(drop);
    [logins, Tickets::load(&home.tickets_file()).map(drop)]
}

/// Loads the recent logins. Without them, users are not preferred by the admission.
fn recent_logins(home: &Home) -> RecentLogins {
    RecentLogins::load(&home.sources_file()).unwrap_or_else(|error| {
        ::log::error!("the recent logins cannot be read: {error}");
        RecentLogins::default()
    })
}

/// Which devices have tickets. A file that cannot be read costs them only their own budget of
/// guesses.
fn tickets(home: &Home) -> Tickets {
    Tickets::load(&home.tickets_file()).unwrap_or_else(|error| {
        ::log::error!("which devices have tickets is not known: {error}");
        Tickets::default()
    })
}

/// Tells everybody and waits until the sessions' threads are done, or for the deadline.
fn drain(context: &Context, deadline: Instant) {
    let reason = "the server stops; your client will reconnect".to_owned();
    let event = Event::Goodbye { code: Code::Shutdown, reason, retry_ms: Some(1_000) };
    while Instant::now() < deadline {
        // Sessions that are still logging in get the goodbye in a later round.
        context.hub.end_all(&event, "shutdown");
        if context.hub.stats().sessions == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
