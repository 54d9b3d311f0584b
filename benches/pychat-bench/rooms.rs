//! CPU and latency of a delivery, by rooms, members and lines in flight.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Parser;
use tempfile::TempDir;

use crate::client::Subject;
use crate::load::{Crew, Plan, middle, middle_of};
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
    /// The ways of the members to the server: tcp, ws, wss.
    #[arg(long, value_delimiter = ',', default_value = "tcp")]
    wire: Vec<Wire>,
    /// Other servers in the same minutes: ngircd, inspircd, redis (benches/peers/peer installs
    /// them).
    #[arg(long, value_delimiter = ',')]
    against: Vec<String>,
    /// Other builds of pychat in the same minutes, by their paths.
    #[arg(long, value_delimiter = ',')]
    build: Vec<PathBuf>,
    /// Draws the CPU of each row into this file.
    #[arg(long)]
    plot: Option<PathBuf>,
}

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

/// A server and the folder it works in.
struct Opponent {
    name: String,
    subject: Box<dyn Subject>,
    _home: Option<TempDir>,
}

fn opponents(options: &Options, keys: &Arc<Crowd>) -> Vec<Opponent> {
    let pychat = |build: &Path, name: &str, (history, wire): (&str, Wire)| {
        let home = tempfile::tempdir().unwrap();
        let limits = format!("{NO_LIMITS}, {LONG_TAIL}");
        let config = format!(r#"{{"history": "{history}", "limits": {{{limits}}}}}"#);
        let subject =
            Box::new(Server::start_build((build, wire), home.path(), &config, keys, "127.0.0.1:0"));
        Opponent { name: format!("{name}, {wire}, history {history}"), subject, _home: Some(home) }
    };
    let ways = options.history.iter();
    let ways = ways.flat_map(|history| options.wire.iter().map(move |wire| (&**history, *wire)));
    let builds: Vec<Opponent> = ways
        .flat_map(|way| {
            let others = options.build.iter();
            let others = others.map(move |path| pychat(path, &path.to_string_lossy(), way));
            [pychat(Path::new(BUILD), "pychat", way)].into_iter().chain(others)
        })
        .collect();
    let peers = options.against.iter().map(|name| {
        let subject = Box::new(Peer::start(name));
        Opponent { name: name.clone(), subject, _home: None }
    });
    builds.into_iter().chain(peers).collect()
}

pub fn measure(options: &Options) {
    println!(
        "| rooms x members | senders x window | server | deliveries/s | CPU us/delivery | p50 ms | p99 ms | CPU, times the first |"
    );
    println!("|---|---|---|---|---|---|---|---|");
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
            for (one, own) in all.iter().zip(&runs) {
                let measured = middle(own);
                let pairs = own.iter().zip(&runs[0]);
                let times = middle_of(pairs.map(|(own, first)| own.cpu_us / first.cpu_us));
                println!("| {shape} | {} | {measured} | {times:.2} |", one.name);
                bars.push(Bar {
                    row: shape.to_string(),
                    server: one.name.clone(),
                    us: measured.cpu_us,
                });
            }
        }
        if let Some(file) = &options.plot {
            std::fs::write(file, plot::draw(&bars)).unwrap();
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { rooms, members, senders, window } = self;
        write!(f, "{rooms} x {members} | {senders} x {window}")
    }
}
