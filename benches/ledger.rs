//! The cost of stored messages: writers at the real server, and every way to read and write the
//! ledger as it grows. docs/performance.md has the figures.
//!
//!     cargo bench --bench ledger               # all tables
//!     cargo bench --bench ledger -- growth --lines 10000,100000,1000000
//!     cargo bench --bench ledger -- searches   # the most expensive searches, of 150,000 messages
//!     cargo bench --bench ledger -- removals   # how long others wait for a removal
//!     cargo bench --bench ledger -- searches --unbounded   # the same without bounds: minutes

#[path = "pychat-bench/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "pychat-bench/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "ledger/removals.rs"]
mod removals;
#[path = "ledger/searches.rs"]
mod searches;
#[path = "pychat-bench/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "pychat-bench/wire.rs"]
#[allow(dead_code)]
mod wire;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use client::Client;
use pychat::chat::{Body, Conversation, Kind, MsgId, Seq, Wanted};
use pychat::crypto::RecordType;
use pychat::ledger::{Ledger, Older, Outcome, Page, Reader, Record, SentMessage, Sqlite, Work};
use rustix::event::{PollFd, PollFlags, poll};
use server::{Crowd, Member, NO_LIMITS, Server};

/// Words of a line, drawn from the vocabulary with the usual few in most lines.
const WORDS: usize = 9;
const VOCABULARY: f64 = 20_000.0;
/// People who have talked.
const PEOPLE: usize = 50;
/// What the server's replayer and an answer to `/history` read at once.
const PAGE: Page = Page { messages_max: 100, bytes_max: 64 * 1024 };
/// The moment of the newest line.
const NOW_MS: i64 = 1_764_079_391_123;
/// Between two lines.
const PAUSE_MS: i64 = 10_000;
/// How often each call is made.
const CALLS: usize = 100;

#[derive(Parser)]
struct Options {
    #[arg(value_enum)]
    part: Option<Part>,
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    lines: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    writers: Vec<usize>,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Lines in which is searched.
    #[arg(long, default_value_t = 150_000)]
    searched: usize,
    /// Lines that are removed.
    #[arg(long, default_value_t = 250_000)]
    removed: usize,
    /// Also what a search without bounds costs, in this process.
    #[arg(long)]
    unbounded: bool,
    /// Cargo says so; it changes nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    Writers,
    Growth,
    Searches,
    Removals,
}

fn main() {
    let options = Options::parse();
    let keys = Crowd::new();
    let wants = |part| options.part.is_none_or(|wanted| wanted == part);
    if wants(Part::Writers) {
        writers(&options, &keys);
    }
    if wants(Part::Growth) {
        growth(&options, &keys);
    }
    if wants(Part::Searches) {
        searches::table(options.searched, options.unbounded, &keys);
    }
    if wants(Part::Removals) {
        removals::table(options.removed);
    }
}

/// Each writer has a channel of its own and sends its next line when the last one is stored.
fn writers(options: &Options, keys: &Arc<Crowd>) {
    println!("a write and its sync alone: {:.2} ms\n", sync_ms());
    println!("| writers | history | lines/s | server CPU us/line | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|");
    for history in ["on", "off"] {
        let home = tempfile::tempdir().unwrap();
        let config = format!(r#"{{"history": "{history}", "limits": {{{NO_LIMITS}}}}}"#);
        let server = Server::start(home.path(), &config, keys);
        for count in &options.writers {
            let mut members: Vec<Member> = (0..*count).map(|_| server.member(0)).collect();
            for (number, member) in members.iter_mut().enumerate() {
                let join = format!(r##"{{"type":"join","channel":"#w{count}-{number}"}}"##);
                member.send(RecordType::Json, join.as_bytes());
            }
            let (began, cpu) = (Instant::now(), server.process.cpu());
            let mut latencies = write_for(options.seconds, *count, &mut members);
            let (seconds, cpu) = (began.elapsed().as_secs_f64(), server.process.cpu() - cpu);
            latencies.sort_unstable();
            let lines = latencies.len() as f64;
            let ms = |part: usize| latencies[latencies.len() * part / 100].as_secs_f64() * 1e3;
            println!(
                "| {count} | {history} | {:.0} | {:.1} | {:.2} | {:.2} |",
                lines / seconds,
                cpu.as_secs_f64() * 1e6 / lines,
                ms(50),
                ms(99)
            );
        }
    }
}

/// Every line's time from its sender back to its sender.
fn write_for(seconds: f64, count: usize, members: &mut [Member]) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut sent = vec![Instant::now(); members.len()];
    let text = "x".repeat(64);
    let mut number = 0u128;
    let mut say = |index: usize, member: &mut Member| {
        number += 1;
        let line = format!(
            r##"{{"type":"say","to":"#w{count}-{index}","id":"{number:032x}","text":"{text}"}}"##
        );
        member.send(RecordType::Json, line.as_bytes());
        Instant::now()
    };
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    members.iter_mut().enumerate().for_each(|(index, member)| sent[index] = say(index, member));
    while Instant::now() < until {
        let mut fds: Vec<_> =
            members.iter().map(|member| PollFd::new(member.stream(), PollFlags::IN)).collect();
        poll(&mut fds, None).unwrap();
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (index, member) in members.iter_mut().enumerate().filter(|one| ready[one.0]) {
            let mut back = false;
            member.receive(&mut |body| {
                back |= body.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"["));
            });
            if back {
                latencies.push(sent[index].elapsed());
                sent[index] = say(index, member);
            }
        }
    }
    latencies
}

/// What the disk takes for a small write and its sync, the middle of some.
fn sync_ms() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::File::create(folder.path().join("file")).unwrap();
    let page = [0; 4096];
    middle(CALLS, || {
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
    }) / 1e3
}

/// The same calls on ledgers of some sizes.
fn growth(options: &Options, keys: &Arc<Crowd>) {
    let mut columns = Vec::new();
    for lines in &options.lines {
        let home = tempfile::tempdir().unwrap();
        // Makes the folders and the key, which are not part of a start.
        drop(Server::start(home.path(), "{}", keys));
        let file = home.path().join("data/ledger.db");
        let mut ledger = Sqlite::open(&file, 60).unwrap();
        fill(&mut ledger, *lines);
        // What the filling left to the disk is not part of what follows.
        drop(ledger);
        rustix::fs::sync();
        let mut ledger = Sqlite::open(&file, 60).unwrap();
        let mut rows = calls(&mut ledger, *lines);
        drop(ledger);
        rows.extend(start(home.path(), keys));
        let bytes = fs::metadata(&file).unwrap().len() as f64;
        rows.push(("the file, bytes a line", bytes / *lines as f64));
        columns.push(rows);
    }
    let sizes: Vec<String> = options.lines.iter().map(|lines| format!("{lines} lines")).collect();
    println!("\n| us, the middle of {CALLS} calls | {} | slope |", sizes.join(" | "));
    println!("|---|{}---|", "---|".repeat(sizes.len()));
    for (row, (name, first)) in columns[0].iter().enumerate() {
        let cells: Vec<String> =
            columns.iter().map(|column| format!("{:.1}", column[row].1)).collect();
        let (last, work) = (columns[columns.len() - 1][row].1, options.lines[columns.len() - 1]);
        let slope = (last / first).ln() / (work as f64 / options.lines[0] as f64).ln();
        println!("| {name} | {} | {slope:.2} |", cells.join(" | "));
    }
}

fn conversation(name: &str) -> Conversation {
    name.parse().unwrap()
}

fn line(conversation: &Conversation, age: usize) -> Record {
    let word = || format!("w{}", (rand::random::<f64>().powi(4) * VOCABULARY) as usize);
    let text: Vec<String> = (0..WORDS).map(|_| word()).collect();
    Record::message(SentMessage {
        conversation: conversation.clone(),
        from: format!("person{}", rand::random_range(0..PEOPLE)).parse().unwrap(),
        device: "main".parse().unwrap(),
        id: MsgId(rand::random()),
        time_ms: NOW_MS - age as i64 * PAUSE_MS,
        kind: Kind::Say,
        body: Body::Text(text.join(" ")),
    })
}

/// All but a few hundred lines in one conversation, some in the private conversation of two people.
fn fill(ledger: &mut Sqlite, lines: usize) {
    let (busy, private) = (conversation("#lobby"), conversation("@ana@bob"));
    let of = |age: usize| if age % 4 == 3 { &private } else { &busy };
    let ages: Vec<usize> = (0..lines).rev().collect();
    for ages in ages.chunks(5_000) {
        let batch: Vec<Record> = ages.iter().map(|age| line(of(*age), *age)).collect();
        ledger.commit(&batch).unwrap();
    }
    let quiet: Vec<Record> = (0..300).map(|_| line(&conversation("#tea"), 0)).collect();
    ledger.commit(&quiet).unwrap();
    while ledger.index_some().unwrap() {}
}

fn calls(ledger: &mut Sqlite, lines: usize) -> Vec<(&'static str, f64)> {
    let reader = ledger.reader();
    let (lobby, tea) = (conversation("#lobby"), conversation("#tea"));
    let last = match ledger.commit(&[line(&lobby, 0)]).unwrap()[0] {
        Outcome::Stored(seq) => seq,
        other => panic!("{other:?}"),
    };
    let page = |after: u64| reader.read(&lobby, Seq(after), last, PAGE).unwrap();
    let history = |before: Option<u64>, since_ms: Option<i64>| {
        let older = Older { before: before.map(Seq), since_ms, files: false };
        reader.history(&lobby, older, PAGE, &Arc::new(Work::unbounded())).unwrap()
    };
    let search = |conversation: &Conversation, text: &str| {
        let (wanted, work) = (Wanted::new(text).unwrap(), Arc::new(Work::unbounded()));
        reader.search(std::slice::from_ref(conversation), &wanted, PAGE, &work).unwrap()
    };
    let mut rows = vec![
        ("resume, the last 100 lines", middle(CALLS, || page(last.0 - 100))),
        ("a page from the middle", middle(CALLS, || page(last.0 / 2))),
        ("`/history`", middle(CALLS, || history(None, None))),
        ("`/history` from the middle", middle(CALLS, || history(Some(last.0 / 2), None))),
        ("`/history 1d`", middle(CALLS, || history(None, Some(NOW_MS - 86_400_000)))),
        (
            "`/history 1m` of a silent conversation",
            middle(CALLS, || history(None, Some(NOW_MS + 1))),
        ),
        ("`/search`, in most lines", middle(CALLS, || search(&lobby, "w0"))),
        ("`/search`, in few lines", middle(CALLS, || search(&lobby, "w19321"))),
        ("`/search`, in no line", middle(CALLS, || search(&lobby, "nowhere"))),
        ("`/search` of a quiet conversation", middle(CALLS, || search(&tea, "w0 w1 w2"))),
        ("`/search`, one letter", middle(CALLS / 10, || search(&lobby, "w"))),
    ];
    let mut commit = |count: usize, calls: usize| {
        let batches: Vec<Vec<Record>> =
            (0..calls).map(|_| (0..count).map(|_| line(&lobby, 0)).collect()).collect();
        let mut batches = batches.iter();
        let cpu = own_cpu_us();
        let wall = middle(calls, || ledger.commit(batches.next().unwrap()).unwrap());
        (wall, (own_cpu_us() - cpu) / (calls * count) as f64)
    };
    let (wall, cpu) = commit(1, CALLS);
    rows.push(("a lone line, until it is synced", wall));
    rows.push(("a lone line, CPU", cpu));
    rows.push(("64 lines at once, CPU of each", commit(64, CALLS).1));
    let (calls, left) = (CALLS.min(lines / 2_000), CALLS * (1 + 64));
    rows.push(("2,000 lines at once, CPU of each", commit(2_000, calls).1));
    let not_indexed = || search(&lobby, "nowhere");
    rows.push(("`/search`, no match, before the lines are indexed", middle(5, not_indexed)));
    let cpu = own_cpu_us();
    while ledger.index_some().unwrap() {}
    let cpu = own_cpu_us() - cpu;
    rows.push(("indexing, CPU of each line", cpu / (left + calls * 2_000) as f64));
    rows
}

/// From the command to the moment at which the server listens: CPU, and memory then.
fn start(home: &Path, keys: &Arc<Crowd>) -> [(&'static str, f64); 2] {
    let mut memory = 0.0;
    let mut cpus = [0.0; 5].map(|_| {
        let server = Server::start(home, "{}", keys);
        memory = server.process.memory_kib() as f64;
        server.process.cpu_of_threads_us()
    });
    cpus.sort_by(f64::total_cmp);
    [("start of the server, CPU", cpus[cpus.len() / 2]), ("its memory then, KiB", memory)]
}

/// The middle of the times of some calls, in microseconds.
fn middle<T>(calls: usize, mut call: impl FnMut() -> T) -> f64 {
    let mut times: Vec<f64> = (0..calls)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(call());
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// CPU of this thread so far.
fn own_cpu_us() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e3
}
