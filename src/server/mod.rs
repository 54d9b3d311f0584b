//! The server: start and stop, told top to bottom.

mod console;
pub mod ctl;
pub mod door;
mod flusher;
mod house;
mod hub;
pub mod log;
mod operator;
mod outlet;
mod session;
mod stop;
mod tail;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::chat::{Code, Event, SessionId};
use crate::config::Config;
use crate::crypto::Identity;
use crate::keyring::{Home, Users, UsersWatch};
use crate::net::listener::Listener;
use crate::terminal;
use door::{Door, Stranger};
use flusher::Flusher;
use house::House;
use hub::Hub;
use stop::Stop;

/// What a server is started with.
pub struct Options {
    pub home: Home,
    pub config: Config,
    pub identity: Identity,
    /// Called once with the address that is really listened on.
    pub on_ready: Box<dyn FnOnce(SocketAddr)>,
}

/// A look at users/ this often: whom the operator admits is in, whom he removes is out.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Empty channels are looked for this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Runs a server until it is told to stop; every session has been told when this returns.
pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { home, config, identity, on_ready } = options;
    // Before its port is found taken, which would say less.
    ctl::only_one(&home)?;
    let address = SocketAddr::new(config.server_ip, config.server_port);
    let listener = Listener::bind(address, config.limits.listen_backlog)?;
    let users = Users::load(&home.users_dir())
        .with_context(|| format!("cannot read {}", home.users_dir().display()))?;

    let (flusher, ear) = Flusher::new().context("cannot make the flusher's bell")?;
    let hub = Arc::new(Hub::new(config.limits.clone(), flusher));
    let weak = Arc::downgrade(&hub);
    spawn("flusher", move || flusher::run(weak, ear))?;
    let stop = Arc::new(Stop::default());
    stop::on_signals(Arc::clone(&stop))?;
    let door = Door::new(identity, &config);
    let house =
        Arc::new(House::new(config, hub, home, users, Arc::clone(&door), Arc::clone(&stop)));

    let keeper = Arc::clone(&house);
    spawn("keeper", move || keep(&keeper))?;
    let operator: ctl::Handler = {
        let house = Arc::clone(&house);
        Arc::new(move |words: &[String]| operator::obey(&house, words))
    };
    let socket = ctl::serve(house.home(), Arc::clone(&operator))?;
    let bound = listener.address();
    let doorkeeper = {
        let (house, door, stop) = (Arc::clone(&house), Arc::clone(&door), Arc::clone(&stop));
        let next = AtomicU64::new(1);
        let serve = move |stranger: Stranger| {
            let id = SessionId(next.fetch_add(1, Ordering::Relaxed));
            session::serve(&house, stranger, id);
        };
        let serve: door::Serve = Arc::new(serve);
        spawn("door", move || door.run(&listener, &stop, &serve))?
    };
    on_ready(bound);
    console::attend(operator, Arc::clone(&stop));

    stop.wait();
    let deadline = Instant::now() + Duration::from_millis(house.config.limits.drain_ms_max);
    drop(socket);
    // The door is woken by the stop and closes behind itself.
    let _ = doorkeeper.join();
    drain(&house, deadline);
    log::print_plainly();
    terminal::restore();
    ::log::info!("stopped");
    Ok(())
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

/// The server's chores: users/ is watched and empty channels are forgotten.
fn keep(house: &House) {
    let mut watch = UsersWatch::new(house.home().users_dir());
    let mut swept = Instant::now();
    while !house.stop().wait_for(WATCH_EVERY) {
        if watch.changed()
            && let Err(error) = house.reload_users()
        {
            ::log::error!("users/ cannot be read, so it stays as it was: {error}");
        }
        if swept.elapsed() >= SWEEP_EVERY {
            house.hub.sweep();
            swept = Instant::now();
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
