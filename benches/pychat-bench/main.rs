//! What pychat's server costs on real sockets, and what others cost in the same minutes.
//! docs/performance.md has the figures and what they mean.
//!
//!     cargo bench --bench pychat-bench                      # everything
//!     cargo bench --bench pychat-bench -- rooms --plan 1x100x4x512,100x10x1x4
//!     cargo bench --bench pychat-bench -- rooms --wire tcp,ws,wss --plan 1x100x4x64
//!     cargo bench --bench pychat-bench -- rooms --against limit,ngircd
//!     cargo bench --bench pychat-bench -- crowd --members 10000
//!     cargo bench --bench pychat-bench -- slow
//!     cargo bench --bench pychat-bench -- growth users
//!     cargo bench --bench pychat-bench -- files --mib 1024
//!     unshare -n sh -c 'ip link set lo mtu 1500 up &&
//!         tc qdisc add dev lo root tbf rate 1mbit burst 5kb latency 10s &&
//!         cargo bench --offline --bench pychat-bench -- link'

mod client;
mod crowd;
mod files;
mod growth;
mod limit;
mod line;
mod load;
mod peer;
mod plot;
mod process;
mod rooms;
mod server;
mod slow;
mod wire;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    suite: Option<Suite>,
    /// Cargo says so; it changes nothing.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Suite {
    /// CPU and latency of a delivery, by rooms, members and lines in flight.
    Rooms(rooms::Options),
    /// Many connections: logins, memory, silence, a line for all, everybody's return.
    Crowd(crowd::Options),
    /// What everybody else notices of members who do not read.
    Slow(slow::Options),
    /// The same load with 1, 10 and 100 times as much of something.
    Growth(growth::Options),
    /// Files: rate, CPU and memory beside scp and nginx, and others' messages meanwhile.
    Files(files::Options),
    /// Own messages while a file goes up and comes down, on a link that the caller has made slow.
    Link(files::LinkOptions),
    /// The process that the limit's rows measure.
    #[command(hide = true)]
    ServeLimit(limit::Options),
}

fn main() {
    match Options::parse().suite {
        Some(Suite::Rooms(options)) => rooms::measure(&options),
        Some(Suite::Crowd(options)) => crowd::measure(&options),
        Some(Suite::Slow(options)) => slow::measure(&options),
        Some(Suite::Growth(options)) => growth::measure(&options),
        Some(Suite::Files(options)) => files::measure(&options),
        Some(Suite::Link(options)) => files::measure_link(&options),
        Some(Suite::ServeLimit(options)) => limit::serve(&options),
        None => {
            rooms::measure(&rooms::Options::parse_from(["rooms"]));
            crowd::measure(&crowd::Options::parse_from(["crowd"]));
            slow::measure(&slow::Options::parse_from(["slow"]));
            growth::measure(&growth::Options::parse_from(["growth"]));
            files::measure(&files::Options::parse_from(["files"]));
        }
    }
}
