//! Many connections: logins, memory, silence, a line for all, and everybody's return after a kill.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::load::{Crew, middle_of};
use crate::server::{BUILD, Crowd, NO_LIMITS, Server};
use crate::wire::Wire;

#[derive(Parser)]
pub struct Options {
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    members: Vec<usize>,
    /// How many people the members are, in turn. Each needs a key, which takes up to some seconds.
    #[arg(long, default_value_t = 1)]
    people: usize,
    /// How long to watch the silence.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Runs of each column, of which the middle is shown.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Other builds of pychat in turn with this one, by their paths: a column for each, with the
    /// middle of the ratios to this build in brackets.
    #[arg(long, value_delimiter = ',')]
    build: Vec<PathBuf>,
}

/// A figure and its decimal places.
type Row = (&'static str, f64, usize);

pub fn measure(options: &Options) {
    let builds: Vec<&Path> =
        [Path::new(BUILD)].into_iter().chain(options.build.iter().map(|one| &**one)).collect();
    let columns =
        options.members.iter().flat_map(|count| builds.iter().map(move |build| (*count, *build)));
    let columns: Vec<(usize, &Path)> = columns.collect();
    let name = |(count, build): &(usize, &Path)| match *build == Path::new(BUILD) {
        true => count.to_string(),
        false => format!("{count}, {}", build.display()),
    };
    println!("| what | {} |", columns.iter().map(name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(columns.len()));
    let keys = Crowd::of(options.people);
    // In turns: what else happens on the machine meets all alike.
    let mut runs = vec![Vec::new(); columns.len()];
    for _ in 0..options.rounds.max(1) {
        for ((count, build), runs) in columns.iter().zip(&mut runs) {
            runs.push(run((*count, build), options.seconds, &keys));
        }
    }
    for (row, (name, _, places)) in runs[0][0].iter().enumerate() {
        let of = |column: usize| runs[column].iter().map(move |rows| rows[row].1);
        let cell = |column: usize| {
            let middle = middle_of(of(column));
            let first = column - column % builds.len();
            let times = middle_of(of(column).zip(of(first)).map(|(one, first)| one / first));
            let times = if column == first { String::new() } else { format!(" ({times:.2})") };
            format!("{middle:.places$}{times}")
        };
        let cells: Vec<String> = (0..columns.len()).map(cell).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// The rows of a reconnect: its time, the server's whole CPU time, and the CPU time of a login.
const BY_TICKET: [&str; 3] =
    ["kill until all are back by tickets, s", "CPU meanwhile, s", "CPU of a login by ticket, ms"];
const BY_KEY: [&str; 3] =
    ["kill until all are back by keys, s", "CPU meanwhile, s", "CPU of a login by key, ms"];

/// Returns the rows of one server, the first build's or another's.
fn run((count, build): (usize, &Path), seconds: f64, keys: &Arc<Crowd>) -> Vec<Row> {
    let home = tempfile::tempdir().unwrap();
    // One connection more than all is turned away.
    let config = format!(r#"{{"limits": {{"connections_max": {count}, {NO_LIMITS}}}}}"#);
    let start = |address: &str| {
        let mut server =
            Server::start_build((build, Wire::Tcp), home.path(), &config, keys, address);
        server.takes_tickets = true;
        server
    };
    let server = start("127.0.0.1:0");
    let (cpu, memory) = (server.process.cpu(), server.process.memory_kib());
    let began = Instant::now();
    let mut crew = Crew::enter(&server, 1, count);
    let came = began.elapsed();
    let each = |total: f64| total / count as f64;
    let login = each((server.process.cpu() - cpu).as_secs_f64() * 1e3);
    let resident = each((server.process.memory_kib() - memory) as f64);
    let mut rows = vec![
        ("logins a second", count as f64 / came.as_secs_f64(), 0),
        ("CPU of a login, ms", login, 2),
        ("resident for each, KiB", resident, 1),
        ("threads", server.process.threads() as f64, 0),
    ];
    // The threads of logins end after a second without one.
    thread::sleep(Duration::from_secs(2));
    let cpu_us = server.process.cpu_of_threads_us();
    thread::sleep(Duration::from_secs_f64(seconds));
    let idle = (server.process.cpu_of_threads_us() - cpu_us) / seconds / 1e4;
    rows.push(("CPU in silence, % of a core", idle, 2));
    let mut broadcasts: Vec<_> = (0..5).map(|_| crew.broadcast(&server)).collect();
    broadcasts.sort_unstable();
    let (took, _) = broadcasts[2];
    let cpu: f64 = broadcasts.iter().map(|one| one.1.as_secs_f64()).sum::<f64>() / 5.0;
    rows.push(("a line for all, ms", took.as_secs_f64() * 1e3, 1));
    rows.push(("its CPU, us/delivery", each(cpu * 1e6), 2));
    let after = each((server.process.memory_kib() - memory) as f64);
    rows.push(("resident for each after that, KiB", after, 1));
    assert!(server.try_member(0).is_none(), "one more is told that the server is full");
    let address = server.address.clone();
    drop((server, crew));
    assert_eq!(keys.tickets(), count, "each member has a ticket");
    for how in [BY_TICKET, BY_KEY] {
        let began = Instant::now();
        let server = start(&address);
        let (cpu, memory) = (server.process.cpu(), server.process.memory_kib());
        let crew = Crew::enter(&server, 1, count);
        let took = began.elapsed().as_secs_f64();
        let (all, logins) = (server.process.cpu(), server.process.cpu() - cpu);
        rows.push((how[0], took, 1));
        rows.push((how[1], all.as_secs_f64(), 1));
        rows.push((how[2], each(logins.as_secs_f64() * 1e3), 3));
        let resident = each((server.process.memory_kib() - memory) as f64);
        rows.push(("resident for each then, KiB", resident, 1));
        drop((server, crew));
        keys.forget_tickets();
    }
    rows
}
