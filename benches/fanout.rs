//! What a delivery costs: the real server as a process of its own, members on real sockets, and
//! senders with a window of lines that have not come back yet. docs/performance.md has the figures.
//!
//!     cargo bench --bench fanout -- --members 100 --senders 4 --window 64 --seconds 3
//!     cargo bench --bench fanout -- --table

#[path = "pychat-bench/server.rs"]
#[allow(dead_code)]
mod server;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use pychat::crypto::RecordType;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use server::{Crowd, Member, NO_LIMITS, Server};

/// Of a line's text, the least size of the peers' figures.
const TEXT_BYTES: usize = 64;
/// Lines that a sender puts into one record at most.
const RECORD_LINES: usize = 64;
/// Members whose every line is timed; all others only count.
const TIMED: usize = 10;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 100)]
    members: usize,
    #[arg(long, default_value_t = 4)]
    senders: usize,
    /// Lines of a sender that have not come back to it yet.
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Lines a second of each sender, instead of as many as can be.
    #[arg(long)]
    pace: Option<f64>,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Threads of the load.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// 10, 100 and 1000 members at windows of 1, 64 and 512.
    #[arg(long)]
    table: bool,
    /// Keep nothing on disk.
    #[arg(long)]
    history_off: bool,
    /// Cargo says so; it changes nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let (sizes, windows) = match options.table {
        true => (vec![10, 100, 1000], vec![1, 64, 512]),
        false => (vec![options.members], vec![options.window]),
    };
    println!("| members | window | deliveries/s | server CPU us/delivery | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|");
    for members in sizes {
        let home = tempfile::tempdir().unwrap();
        let history = if options.history_off { "off" } else { "on" };
        let config = format!(r#"{{"history": "{history}", "limits": {{{NO_LIMITS}}}}}"#);
        let keys = Crowd::new();
        let server = Server::start(home.path(), &config, &keys);
        let (cpu, memory) = (server.cpu(), server.memory_kib());
        let mut crowd: Vec<Member> = (0..members).map(|_| server.member(&keys)).collect();
        let login_ms = (server.cpu() - cpu).as_secs_f64() * 1000.0 / members as f64;
        let resident_kib = (server.memory_kib() - memory) as f64 / members as f64;
        eprintln!("{members} members: {login_ms:.2} ms of CPU and {resident_kib:.1} KiB for each");
        for window in &windows {
            let figures = measure(&server, &mut crowd, *window, &options);
            println!("| {members} | {window} | {figures} |");
        }
    }
}

/// What a member does in a run.
#[derive(Default)]
struct Part {
    /// Counts from 1.
    sender: Option<u64>,
    timed: bool,
    sent: u64,
    back: u64,
}

/// What the threads of a run share.
struct Run {
    began: Instant,
    window: u64,
    pace: Option<f64>,
    deliveries: AtomicU64,
    measuring: AtomicBool,
    over: AtomicBool,
}

struct Figures {
    per_second: f64,
    cpu_us: f64,
    /// In ascending order.
    latencies_us: Vec<u32>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |part: usize| {
            let index = self.latencies_us.len() * part / 100;
            self.latencies_us.get(index).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
        };
        let Figures { per_second, cpu_us, .. } = self;
        write!(f, "{per_second:.0} | {cpu_us:.3} | {:.2} | {:.2}", ms(50), ms(99))
    }
}

/// One run: a second to get going, then the time that counts.
fn measure(server: &Server, crowd: &mut [Member], window: usize, options: &Options) -> Figures {
    let run = Run {
        began: Instant::now(),
        window: window as u64,
        pace: options.pace,
        deliveries: AtomicU64::new(0),
        measuring: AtomicBool::new(false),
        over: AtomicBool::new(false),
    };
    let members = crowd.len();
    let every = |many: usize| members.div_ceil(many.min(members));
    let part = |index: usize| Part {
        sender: index.is_multiple_of(every(options.senders)).then_some(index as u64 + 1),
        timed: index.is_multiple_of(every(TIMED)),
        ..Part::default()
    };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let share = members.div_ceil(options.threads);
        for (number, members) in crowd.chunks_mut(share).enumerate() {
            let parts: Vec<Part> =
                (0..members.len()).map(|index| part(number * share + index)).collect();
            let run = &run;
            threads.push(scope.spawn(move || play(members, parts, run)));
        }
        thread::sleep(Duration::from_secs(1));
        run.measuring.store(true, Ordering::Relaxed);
        let look = || (Instant::now(), run.deliveries.load(Ordering::Relaxed), server.cpu());
        let (began, deliveries, cpu) = look();
        thread::sleep(Duration::from_secs_f64(options.seconds));
        let (ended, deliveries_after, cpu_after) = look();
        run.over.store(true, Ordering::Relaxed);
        let latencies = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        let mut latencies_us: Vec<u32> = latencies.collect();
        latencies_us.sort_unstable();
        let deliveries = (deliveries_after - deliveries) as f64;
        Figures {
            per_second: deliveries / (ended - began).as_secs_f64(),
            cpu_us: (cpu_after - cpu).as_secs_f64() * 1e6 / deliveries,
            latencies_us,
        }
    })
}

/// Reads for some members and sends for those who do, until the run is over and every line is back.
/// Gives the timed lines' latencies.
fn play(members: &mut [Member], mut parts: Vec<Part>, run: &Run) -> Vec<u32> {
    let mut latencies_us = Vec::new();
    loop {
        let over = run.over.load(Ordering::Relaxed);
        for (member, part) in members.iter_mut().zip(&mut parts) {
            if !over {
                say(member, part, run);
            }
        }
        if over && parts.iter().all(|part| part.sent == part.back) {
            return latencies_us;
        }
        let ready = ready(members);
        let measuring = run.measuring.load(Ordering::Relaxed);
        let mut deliveries = 0;
        for ((member, part), _) in members.iter_mut().zip(&mut parts).zip(ready).filter(|x| x.1) {
            member.receive(|body| {
                deliveries += body.iter().filter(|byte| **byte == b'\n').count() as u64;
                if part.timed || part.sender.is_some() {
                    let now_us = run.began.elapsed().as_micros() as u64;
                    for (sender, sent_us) in ids(body) {
                        part.back += u64::from(part.sender == Some(sender));
                        if part.timed && measuring {
                            latencies_us.push(now_us.saturating_sub(sent_us) as u32);
                        }
                    }
                }
            });
        }
        run.deliveries.fetch_add(deliveries, Ordering::Relaxed);
    }
}

/// Sends what the window or the pace allows. A line's id is its sender and the moment.
fn say(member: &mut Member, part: &mut Part, run: &Run) {
    let Some(sender) = part.sender else { return };
    let elapsed = run.began.elapsed();
    let mut lines = run.window - (part.sent - part.back);
    if let Some(pace) = run.pace {
        lines = lines.min((elapsed.as_secs_f64() * pace) as u64 - part.sent);
    }
    part.sent += lines;
    let moment = elapsed.as_micros() as u64;
    let line = format!(
        "{{\"type\":\"say\",\"to\":\"#lobby\",\"id\":\"{sender:016x}{moment:016x}\",\"text\":\"{}\"}}\n",
        "x".repeat(TEXT_BYTES)
    );
    while lines > 0 {
        let now = lines.min(RECORD_LINES as u64);
        member.send(RecordType::Json, line.repeat(now as usize).as_bytes());
        lines -= now;
    }
}

/// The senders and the moments in a record's lines.
fn ids(body: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let text = std::str::from_utf8(body).unwrap();
    text.split("\"id\":\"").skip(1).filter_map(|rest| {
        let hex = |from: usize| u64::from_str_radix(rest.get(from..from + 16)?, 16).ok();
        Some((hex(0)?, hex(16)?))
    })
}

/// Which members have something to read; waits a moment for the first.
fn ready(members: &[Member]) -> Vec<bool> {
    let mut fds: Vec<_> =
        members.iter().map(|member| PollFd::new(&member.stream, PollFlags::IN)).collect();
    let moment = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    poll(&mut fds, Some(&moment)).unwrap();
    fds.iter().map(|fd| !fd.revents().is_empty()).collect()
}
