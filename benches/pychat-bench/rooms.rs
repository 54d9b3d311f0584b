//! CPU and latency of a delivery, by rooms, members and lines in flight.

use std::str::FromStr;

use clap::Parser;

use crate::client::House;
use crate::load::{Crew, Figures, Plan};
use crate::server::{Crowd, NO_LIMITS, Server};

#[derive(Parser)]
pub struct Options {
    /// Rooms x members of each x senders of each x lines in flight of each sender.
    #[arg(long, value_delimiter = ',', default_value = PLANS)]
    plan: Vec<Shape>,
    /// Lines a second of each sender, instead of as many as can be.
    #[arg(long)]
    pace: Option<f64>,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Runs of each plan, of which the middle is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Whether lines are kept on disk.
    #[arg(long, value_delimiter = ',', default_value = "on,off")]
    history: Vec<String>,
}

/// What the documents show.
const PLANS: &str = "1x10x1x1,1x10x4x1,1x10x4x64,1x10x4x512,\
    1x100x1x1,1x100x4x1,1x100x4x64,1x100x4x512,\
    1x1000x1x1,1x1000x4x1,1x1000x4x64,1x1000x4x512,\
    100x10x1x1,100x10x1x4,1000x10x1x1,1000x10x1x4";

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
        Plan { rooms, members, senders, window, pace: self.pace, seconds: self.seconds }
    }
}

pub fn measure(options: &Options) {
    println!(
        "| server | rooms x members | senders x window | deliveries/s | CPU us/delivery | p50 ms | p99 ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    let keys = Crowd::new();
    // Shapes of the same house share its members.
    let same =
        |one: &Shape, other: &Shape| (one.rooms, one.members) == (other.rooms, other.members);
    for shapes in options.plan.chunk_by(same) {
        for history in &options.history {
            let home = tempfile::tempdir().unwrap();
            let config = format!(r#"{{"history": "{history}", "limits": {{{NO_LIMITS}}}}}"#);
            let server = Server::start(home.path(), &config, &keys);
            let name = format!("{}, history {history}", server.name());
            let mut crew = Crew::enter(&server, shapes[0].rooms, shapes[0].members);
            for shape in shapes {
                let figures = crew.median(&server, options.plan(*shape), options.rounds);
                println!("| {name} | {} |", cells(*shape, figures));
            }
        }
    }
}

fn cells(shape: Shape, figures: Figures) -> String {
    let Shape { rooms, members, senders, window } = shape;
    let Figures { per_second, cpu_us, p50_ms, p99_ms } = figures;
    format!(
        "{rooms} x {members} | {senders} x {window} | {per_second:.0} | {cpu_us:.3} | {p50_ms:.2} | {p99_ms:.2}"
    )
}
