//! Cost as work grows: the same load with 1, 10 and 100 times as many members, rooms, stored lines
//! or registered people. The slope is the exponent: 0 is flat, 1 grows with it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use pychat::chat::{Body, Kind, MsgId};
use pychat::crypto::PublicKey;
use pychat::ledger::{Ledger, Record, SentMessage, Sqlite};
use tempfile::TempDir;

use crate::load::{Crew, Plan, middle_of};
use crate::server::{Crowd, LONG_TAIL, NO_LIMITS, Server};

#[derive(Parser)]
pub struct Options {
    /// What grows.
    #[arg(value_enum)]
    what: Vec<What>,
    #[arg(long, value_delimiter = ',', default_value = "off,on")]
    history: Vec<String>,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Runs of each size, in turns, of which the middle is shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum What {
    Members,
    Rooms,
    Lines,
    Users,
}

/// Lines that a batch of the filling stores.
const AT_ONCE: usize = 5_000;

impl What {
    fn sizes(self) -> [usize; 3] {
        match self {
            What::Members | What::Rooms => [10, 100, 1_000],
            What::Lines => [10_000, 100_000, 1_000_000],
            What::Users => [100, 1_000, 10_000],
        }
    }

    fn plan(self, size: usize, seconds: f64) -> Plan {
        let (rooms, members, senders, window) = match self {
            What::Members => (1, size, 4, 64),
            What::Rooms => (size, 10, 1, 4),
            What::Lines | What::Users => (1, 100, 4, 64),
        };
        Plan { rooms, members, senders, window, pace: None, seconds, stop_every: None }
    }
}

/// A server with so much of it, and what its start and its logins took.
struct Size {
    server: Server,
    crew: Crew,
    plan: Plan,
    start_ms: f64,
    login_ms: f64,
    _home: TempDir,
}

pub fn measure(options: &Options) {
    let all = What::value_variants();
    let wanted = if options.what.is_empty() { all } else { &options.what };
    println!("| what grows | history | server CPU | 1 x | 10 x | 100 x | slope |");
    println!("|---|---|---|---|---|---|---|");
    let keys = Crowd::new();
    for what in wanted {
        for history in &options.history {
            if *what == What::Lines && history == "off" {
                continue;
            }
            let mut sizes = what.sizes().map(|size| begin(*what, size, history, options, &keys));
            let mut costs = [const { Vec::new() }; 3];
            for _ in 0..options.rounds {
                for (size, costs) in sizes.iter_mut().zip(&mut costs) {
                    costs.push(size.crew.run(&size.server, size.plan).cpu_us);
                }
            }
            let row = |name: &str, [one, ten, hundred]: [f64; 3]| {
                let slope = (hundred / one).log10() / 2.0;
                let [first, .., last] = what.sizes();
                let grows = format!("{what:?}, {first} to {last}");
                println!(
                    "| {grows} | {history} | {name} | {one:.3} | {ten:.3} | {hundred:.3} | {slope:.2} |"
                );
            };
            row("us/delivery", costs.map(|costs| middle_of(costs.into_iter())));
            row("ms/login", sizes.each_ref().map(|size| size.login_ms));
            row("ms/start", sizes.each_ref().map(|size| size.start_ms));
        }
    }
}

fn begin(what: What, size: usize, history: &str, options: &Options, keys: &Arc<Crowd>) -> Size {
    let home = tempfile::tempdir().unwrap();
    let limits = format!("{NO_LIMITS}, {LONG_TAIL}");
    let config = format!(r#"{{"history": "{history}", "limits": {{{limits}}}}}"#);
    // Makes the folders and the key, which are not part of a start.
    drop(Server::start(home.path(), &config, keys));
    match what {
        What::Lines => store(&home.path().join("data/ledger.db"), size),
        What::Users => register(&home.path().join("users"), size, keys),
        What::Members | What::Rooms => {}
    }
    // What that left to the disk is not part of what follows.
    rustix::fs::sync();
    let server = Server::start(home.path(), &config, keys);
    let start_ms = server.process.cpu_of_threads_us() / 1e3;
    let before = server.process.cpu();
    let plan = what.plan(size, options.seconds);
    let crew = Crew::enter(&server, plan.rooms, plan.members);
    let logins = server.process.cpu() - before;
    let login_ms = logins.as_secs_f64() * 1e3 / (plan.rooms * plan.members) as f64;
    Size { server, crew, plan, start_ms, login_ms, _home: home }
}

/// Lines of before, in the room that is talked in.
fn store(file: &Path, lines: usize) {
    let mut ledger = Sqlite::open(file, 60).unwrap();
    let line = |number: usize| {
        let word = |step: usize| format!("w{}", number * step % 9_973);
        Record::message(SentMessage {
            conversation: "#lobby".parse().unwrap(),
            from: "alice".parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId(rand::random()),
            time_ms: 1_764_079_391_123 + number as i64,
            kind: Kind::Say,
            body: Body::Text([1, 7, 31, 127, 509].map(word).join(" ")),
        })
    };
    let numbers: Vec<usize> = (0..lines).collect();
    for batch in numbers.chunks(AT_ONCE) {
        let batch: Vec<Record> = batch.iter().map(|number| line(*number)).collect();
        ledger.commit(&batch).unwrap();
    }
    while ledger.index_some().unwrap() {}
}

/// People who are registered and never come. Their keys are numbers of the size of a modulus: to
/// make so many real ones would take hours.
fn register(folder: &Path, people: usize, keys: &Crowd) {
    let mut modulus = *keys.public().modulus();
    for number in 0..people {
        modulus[8..16].copy_from_slice(&number.to_be_bytes());
        let key = PublicKey::from_modulus(&modulus).unwrap();
        fs::write(folder.join(format!("person{number}.pem")), key.to_pem()).unwrap();
    }
}
