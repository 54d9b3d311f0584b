//! Many connections: logins, memory, silence, a line for all, and everybody's return after a kill.

use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::client::Subject;
use crate::load::Crew;
use crate::server::{Crowd, NO_LIMITS, Server};

#[derive(Parser)]
pub struct Options {
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    members: Vec<usize>,
    /// How long to watch the silence.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

pub fn measure(options: &Options) {
    println!(
        "| what | {} |",
        options.members.iter().map(usize::to_string).collect::<Vec<_>>().join(" | ")
    );
    println!("|---|{}", "---|".repeat(options.members.len()));
    let columns: Vec<_> = options.members.iter().map(|count| column(*count, options)).collect();
    for (row, (name, _)) in columns[0].iter().enumerate() {
        let cells: Vec<&str> = columns.iter().map(|column| &*column[row].1).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// The rows of a reconnect: its time, the server's whole CPU time, and the CPU time of a login.
const BY_TICKET: [&str; 3] =
    ["kill until all are back by tickets, s", "CPU meanwhile, s", "CPU of a login by ticket, ms"];
const BY_KEY: [&str; 3] =
    ["kill until all are back by keys, s", "CPU meanwhile, s", "CPU of a login by key, ms"];

fn column(count: usize, options: &Options) -> Vec<(&'static str, String)> {
    let keys = Crowd::new();
    let home = tempfile::tempdir().unwrap();
    // One connection more than all is turned away.
    let config = format!(r#"{{"limits": {{"connections_max": {count}, {NO_LIMITS}}}}}"#);
    let mut server = Server::start(home.path(), &config, &keys);
    server.takes_tickets = true;
    let (cpu, memory) = (server.process.cpu(), server.process.memory_kib());
    let began = Instant::now();
    let mut crew = Crew::enter(&server, 1, count);
    let came = began.elapsed();
    let each = |total: f64| total / count as f64;
    let login = each((server.process.cpu() - cpu).as_secs_f64() * 1e3);
    let resident = each((server.process.memory_kib() - memory) as f64);
    let mut rows = vec![
        ("logins a second", format!("{:.0}", count as f64 / came.as_secs_f64())),
        ("CPU of a login, ms", format!("{login:.2}")),
        ("resident for each, KiB", format!("{resident:.1}")),
        ("threads", server.process.threads().to_string()),
    ];
    let cpu_us = server.process.cpu_of_threads_us();
    thread::sleep(Duration::from_secs_f64(options.seconds));
    let idle = (server.process.cpu_of_threads_us() - cpu_us) / options.seconds / 1e4;
    rows.push(("CPU in silence, % of a core", format!("{idle:.2}")));
    let mut broadcasts: Vec<_> = (0..5).map(|_| crew.broadcast(&server)).collect();
    broadcasts.sort_unstable();
    let (took, _) = broadcasts[2];
    let cpu: f64 = broadcasts.iter().map(|one| one.1.as_secs_f64()).sum::<f64>() / 5.0;
    rows.push(("a line for all, ms", format!("{:.1}", took.as_secs_f64() * 1e3)));
    rows.push(("its CPU, us/delivery", format!("{:.2}", each(cpu * 1e6))));
    let after = each((server.process.memory_kib() - memory) as f64);
    rows.push(("resident for each after that, KiB", format!("{after:.1}")));
    let turned_away = server.try_member(0).is_none();
    rows.push(("one more", if turned_away { "told that it is full" } else { "let in" }.into()));
    let address = server.address.clone();
    drop(server);
    drop(crew);
    assert_eq!(keys.tickets(), count, "each member has a ticket");
    for how in [BY_TICKET, BY_KEY] {
        let began = Instant::now();
        let mut server = Server::start_at(home.path(), &config, &keys, &address);
        server.takes_tickets = true;
        let cpu = server.process().cpu();
        let crew = Crew::enter(&server, 1, count);
        let took = began.elapsed().as_secs_f64();
        let (all, logins) = (server.process().cpu(), server.process().cpu() - cpu);
        rows.push((how[0], format!("{took:.1}")));
        rows.push((how[1], format!("{:.1}", all.as_secs_f64())));
        rows.push((how[2], format!("{:.2}", each(logins.as_secs_f64() * 1e3))));
        drop((server, crew));
        keys.forget_tickets();
    }
    rows
}
