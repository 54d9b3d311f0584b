//! CPU and latency of a delivery, by rooms, members and lines in flight.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Parser;
use tempfile::TempDir;

use crate::client::Subject;
use crate::limit;
use crate::load::{Crew, Measurement, Plan, middle, middle_of};
use crate::peer::Peer;
use crate::plot::{self, Bar};
use crate::server::{BUILD, Crowd, LONG_TAIL, NO_LIMITS, Server};
use crate::wire::Wire;

#[derive(Parser)]
pub struct Options {
    /// Rooms x members of each x senders of each x lines in flight of each sender.
    #[arg(long, value_delimiter = ',', default_value = PLANS)]
    plan: Vec<Shape>,
    /// Lines a second of each sender, instead of as many as can be.
    #[arg(long)]
    pace: Option<f64>,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Runs of each plan, of which the middle is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Whether lines are kept on disk.
    #[arg(long, value_delimiter = ',', default_value = "off,on")]
    history: Vec<String>,
    /// Transports of the members: tcp, ws, wss.
    #[arg(long, value_delimiter = ',', default_value = "tcp")]
    wire: Vec<Wire>,
    /// Other servers, measured in turn with pychat: ngircd, inspircd, redis (benches/peers/peer
    /// installs them), and `limit`, the least that any server could do.
    #[arg(long, value_delimiter = ',')]
    against: Vec<String>,
    /// Other builds of pychat in the same minutes, by their paths.
    #[arg(long, value_delimiter = ',')]
    build: Vec<PathBuf>,
    /// Draws the CPU of each row into this file.
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// The name of the limit in `--against`.
const LIMIT: &str = "limit";

/// What the documents show.
const PLANS: &str = "1x10x1x1,1x10x4x512,1x100x1x1,1x100x4x64,1x100x4x512,\
    1x1000x1x1,1x1000x4x512,100x10x1x1,100x10x1x4";

/// Rooms, members, senders, window.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rooms: usize,
    pub members: usize,
    pub senders: usize,
    pub window: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let numbers: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[rooms, members, senders, window]) if members > 1 && senders > 0 => {
                Ok(Shape { rooms, members, senders, window })
            }
            _ => Err("ROOMSxMEMBERSxSENDERSxWINDOW, such as 1x100x4x64".into()),
        }
    }
}

impl Options {
    fn plan(&self, shape: Shape) -> Plan {
        let Shape { rooms, members, senders, window } = shape;
        let (pace, seconds) = (self.pace, self.seconds);
        Plan { rooms, members, senders, window, pace, seconds, stop_every: None }
    }
}

/// The kind of an opponent, which determines the comparisons of its rows.
#[derive(Clone, PartialEq)]
enum Rank {
    /// A build of pychat, or the limit, with this history.
    Pychat(String),
    Limit(String),
    Peer,
}

/// A server and the folder it works in.
struct Opponent {
    name: String,
    rank: Rank,
    subject: Box<dyn Subject>,
    _home: Option<TempDir>,
}

fn pychat((build, wire): (&Path, Wire), name: &str, history: &str, keys: &Arc<Crowd>) -> Opponent {
    let home = tempfile::tempdir().unwrap();
    let limits = format!("{NO_LIMITS}, {LONG_TAIL}");
    let config = format!(r#"{{"history": "{history}", "limits": {{{limits}}}}}"#);
    let subject =
        Box::new(Server::start_build((build, wire), home.path(), &config, keys, "127.0.0.1:0"));
    let (name, rank) =
        (format!("{name}, {wire}, history {history}"), Rank::Pychat(history.to_owned()));
    Opponent { name, rank, subject, _home: Some(home) }
}

fn limit(history: &str) -> Opponent {
    let home = (history != "off").then(|| tempfile::tempdir().unwrap());
    let subject = Box::new(limit::Server::start(home.as_ref().map(TempDir::path)));
    let (name, rank) = (format!("limit, history {history}"), Rank::Limit(history.to_owned()));
    Opponent { name, rank, subject, _home: home }
}

fn opponents(options: &Options, keys: &Arc<Crowd>) -> Vec<Opponent> {
    let has_limit = options.against.iter().any(|name| name == LIMIT);
    let mut all = Vec::new();
    for history in &options.history {
        for wire in &options.wire {
            all.push(pychat((Path::new(BUILD), *wire), "pychat", history, keys));
            for build in &options.build {
                all.push(pychat((build, *wire), &build.to_string_lossy(), history, keys));
            }
        }
        all.extend(has_limit.then(|| limit(history)));
    }
    for name in options.against.iter().filter(|name| *name != LIMIT) {
        let subject = Box::new(Peer::start(name));
        all.push(Opponent { name: name.clone(), rank: Rank::Peer, subject, _home: None });
    }
    all
}

pub fn measure(options: &Options) {
    println!(
        "| rooms x members | senders x window | server | deliveries/s | CPU us/delivery | p50 ms | \
         p99 ms | CPU, times the first | CPU, times the limit | the best peer's CPU, times this |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let keys = Crowd::new();
    // Shapes of one server share its members.
    let same =
        |one: &Shape, other: &Shape| (one.rooms, one.members) == (other.rooms, other.members);
    let mut bars = Vec::new();
    for shapes in options.plan.chunk_by(same) {
        let all = opponents(options, &keys);
        let enter = |one: &Opponent| Crew::enter(&*one.subject, shapes[0].rooms, shapes[0].members);
        let mut crews: Vec<Crew> = all.iter().map(enter).collect();
        for shape in shapes {
            let mut runs = vec![Vec::new(); all.len()];
            // In turns: what else happens on the machine meets all alike.
            for _ in 0..options.rounds {
                for (index, one) in all.iter().enumerate() {
                    let plan = options.plan(*shape);
                    runs[index].push(crews[index].run(&*one.subject, plan));
                }
            }
            print_rows(*shape, &all, &runs);
            bars.extend(all.iter().zip(&runs).map(|(one, own)| Bar {
                row: shape.to_string(),
                server: one.name.clone(),
                us: middle(own).cpu_us,
            }));
        }
        if let Some(file) = &options.plot {
            std::fs::write(file, plot::draw(&bars)).unwrap();
        }
    }
}

/// Prints a row for each opponent. A ratio is the median of the rounds' ratios, or a dash if there
/// is nothing to compare with.
fn print_rows(shape: Shape, all: &[Opponent], runs: &[Vec<Measurement>]) {
    let of_rank = |rank: &Rank| all.iter().position(|one| one.rank == *rank);
    let peers: Vec<usize> = (0..all.len()).filter(|one| all[*one].rank == Rank::Peer).collect();
    for (one, own) in all.iter().zip(runs) {
        let against = |other: &dyn Fn(usize) -> f64, flipped: bool| {
            let times = own.iter().enumerate().map(|(round, own)| own.cpu_us / other(round));
            let times = times.map(|times| if flipped { times.recip() } else { times });
            format!("{:.2}", middle_of(times))
        };
        let first = against(&|round| runs[0][round].cpu_us, false);
        let history = match &one.rank {
            Rank::Pychat(history) | Rank::Limit(history) => Some(history.clone()),
            Rank::Peer => None,
        };
        let limit = history.and_then(|history| of_rank(&Rank::Limit(history)));
        let limit = limit.or_else(|| of_rank(&Rank::Limit("off".to_owned())));
        let limit = limit.map(|limit| against(&|round| runs[limit][round].cpu_us, false));
        let best = |round: usize| {
            peers.iter().map(|peer| runs[*peer][round].cpu_us).fold(f64::INFINITY, f64::min)
        };
        let best = (!peers.is_empty()).then(|| against(&best, true));
        let [limit, best] = [limit, best].map(|times| times.unwrap_or("-".into()));
        println!("| {shape} | {} | {} | {first} | {limit} | {best} |", one.name, middle(own));
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { rooms, members, senders, window } = self;
        write!(f, "{rooms} x {members} | {senders} x {window}")
    }
}
