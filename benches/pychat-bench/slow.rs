//! Some members of a room do not read: what the others notice of it.

use clap::Parser;

use crate::load::{Crew, Plan, middle, middle_of};
use crate::server::{Crowd, NO_LIMITS, Server};

#[derive(Parser)]
pub struct Options {
    #[arg(long, default_value_t = 200)]
    members: usize,
    /// One member of so many stops.
    #[arg(long, default_value_t = 4)]
    stop_every: usize,
    /// Of the whole room.
    #[arg(long, default_value_t = 500.0)]
    messages_per_s: f64,
    /// The sockets of who stopped are full after about 25 seconds.
    #[arg(long, default_value_t = 50.0)]
    seconds: f64,
    /// Pairs of a run in which everybody reads and one in which some stop.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const SENDERS: usize = 10;
/// As small as it may be: who is behind full sockets goes on from the ledger.
const TAIL_BYTES: usize = 65_536;

pub fn measure(options: &Options) {
    println!(
        "| history | p50 / p99 ms, all read | p50 / p99 ms, 1 of {} stopped | p99, times | CPU us/delivery, times | lines that the stopped got later |",
        options.stop_every
    );
    println!("|---|---|---|---|---|---|");
    let keys = Crowd::new();
    for history in ["off", "on"] {
        let home = tempfile::tempdir().unwrap();
        let limits = format!(r#"{NO_LIMITS}, "tail_bytes_max": {TAIL_BYTES}"#);
        let config = format!(r#"{{"history": "{history}", "limits": {{{limits}}}}}"#);
        let server = Server::start(home.path(), &config, &keys);
        let mut crew = Crew::enter(&server, 1, options.members);
        let mut run = |stop_every: Option<usize>| {
            let plan = Plan {
                rooms: 1,
                members: options.members,
                senders: SENDERS,
                window: usize::MAX,
                pace: Some(options.messages_per_s / SENDERS as f64),
                seconds: options.seconds,
                stop_every,
            };
            crew.run(&server, plan)
        };
        let pairs: Vec<_> =
            (0..options.rounds).map(|_| (run(None), run(Some(options.stop_every)))).collect();
        let (all, some): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
        let (all, some) = (middle(&all), middle(&some));
        println!(
            "| {history} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} | {:.2} | {:.1} % |",
            all.p50_ms,
            all.p99_ms,
            some.p50_ms,
            some.p99_ms,
            middle_of(pairs.iter().map(|(all, some)| some.p99_ms / all.p99_ms)),
            middle_of(pairs.iter().map(|(all, some)| some.cpu_us / all.cpu_us)),
            some.caught_up * 100.0,
        );
    }
}
