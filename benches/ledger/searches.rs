//! The worst searches that a member may ask, and what other members notice of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pychat::chat::{Body, Conversation, Kind, MsgId};
use pychat::crypto::RecordType;
use pychat::ledger::{Ledger, Record, SentMessage, Sqlite};
use rustix::event::{PollFd, PollFlags, poll};

use crate::client::Client;
use crate::server::{Crowd, Member, NO_LIMITS, Server};

/// How often another member does each thing.
const ROUNDS: usize = 300;
/// Sessions that search again and again, each of another person.
const SEARCHERS: usize = 3;

pub fn table(lines: usize, unbounded: bool, keys: &Arc<Crowd>) {
    let home = tempfile::tempdir().unwrap();
    drop(Server::start(home.path(), "{}", keys));
    let file = home.path().join("data/ledger.db");
    fill(&file, lines);
    let people: Vec<Arc<Crowd>> = (0..SEARCHERS).map(|_| Crowd::new()).collect();
    for (number, crowd) in people.iter().enumerate() {
        let key = home.path().join(format!("users/searcher{number}.pem"));
        fs::write(key, crowd.public().to_pem()).unwrap();
    }
    let server = Server::start(home.path(), &format!(r#"{{"limits": {{{NO_LIMITS}}}}}"#), keys);
    let mut member = server.member(0);
    println!(
        "\n{lines} lines of eight words; memory before: {} KiB\n",
        server.process.memory_kib()
    );
    println!("| search | answer | ms | server CPU ms | memory then, KiB |");
    println!("|---|---|---|---|---|");
    for (name, text) in worst() {
        let (began, cpu) = (Instant::now(), server.process.cpu_of_threads_us());
        let told = answer(&mut member, &search(&text));
        let cpu = (server.process.cpu_of_threads_us() - cpu) / 1e3;
        let (ms, memory) = (began.elapsed().as_secs_f64() * 1e3, server.process.memory_kib());
        println!("| {name} | {} | {ms:.0} | {cpu:.0} | {memory} |", kind(&told));
    }
    beside(&server, &people);
    println!("\nmemory after all: {} KiB", server.process.memory_kib());
    drop(server);
    if unbounded {
        without_bounds(&file);
    }
}

fn fill(file: &Path, lines: usize) {
    let mut ledger = Sqlite::open(file, 60).unwrap();
    let line = |conversation: &Conversation| {
        Record::message(SentMessage {
            conversation: conversation.clone(),
            from: "load".parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId(rand::random()),
            time_ms: crate::NOW_MS,
            kind: Kind::Say,
            body: Body::Text("a b c d e f g h".to_owned()),
        })
    };
    let (lobby, tea) = (crate::conversation("#lobby"), crate::conversation("#tea"));
    for begin in (0..lines).step_by(5_000) {
        let batch: Vec<Record> = (begin..lines.min(begin + 5_000)).map(|_| line(&lobby)).collect();
        ledger.commit(&batch).unwrap();
    }
    let quiet: Vec<Record> = (0..100).map(|_| line(&tea)).collect();
    ledger.commit(&quiet).unwrap();
    while ledger.index_some().unwrap() {}
}

fn worst() -> [(&'static str, String); 6] {
    [
        ("`a.` 7,000 times (14 KB)", "a.".repeat(7_000)),
        ("`b ` 8,000 times", "b ".repeat(8_000)),
        ("`a.` 32 times: a row that no line has", "a.".repeat(32)),
        ("31 words of all lines and a row that none has", "b ".repeat(31) + "a"),
        ("eight words of all lines in a wrong row", "h.g.f.e.d.c.b.a".to_owned()),
        ("a word of all lines", "a".to_owned()),
    ]
}

fn search(text: &str) -> String {
    format!(r##"{{"type":"search","text":"{text}","to":"#lobby","ref":"1"}}"##)
}

fn kind(told: &str) -> &'static str {
    match told {
        told if told.contains("too_long") => "refused: too long",
        told if told.contains("\"partial\":true") => "as far as it was found",
        told if told.contains("refused") => "refused",
        _ => "whole",
    }
}

/// Asks, and gives the message that ends the answer.
fn answer(member: &mut Member, request: &str) -> String {
    let ends = |line: &str| {
        [r#""type":"history""#, r#""type":"refused""#].iter().any(|end| line.contains(end))
    };
    until(member, request, ends)
}

fn until(member: &mut Member, request: &str, ends: impl Fn(&str) -> bool) -> String {
    member.send(RecordType::Json, request.as_bytes());
    let mut found = None;
    while found.is_none() {
        poll(&mut [PollFd::new(member.stream(), PollFlags::IN)], None).unwrap();
        member.receive(&mut |body| {
            let body = String::from_utf8_lossy(body);
            found =
                found.take().or_else(|| body.lines().find(|line| ends(line)).map(str::to_owned));
        });
    }
    found.expect("it ended")
}

/// What another member waits for history, for a channel's lines and for a line of their own.
fn beside(server: &Server, people: &[Arc<Crowd>]) {
    let mut other = server.member(1);
    let alone = latencies(&mut other, 0);
    let stop = AtomicBool::new(false);
    let mut searched = 0;
    let together = thread::scope(|scope| {
        let searchers: Vec<_> = people
            .iter()
            .enumerate()
            .map(|(number, crowd)| {
                let stop = &stop;
                let mut member = server.try_member_by(crowd, 2 + number).expect("it is let in");
                scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        answer(&mut member, &search(&"a.".repeat(32)));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        let together = latencies(&mut other, 1);
        stop.store(true, Ordering::Relaxed);
        searched = searchers.into_iter().map(|one| one.join().unwrap()).sum::<u32>();
        together
    });
    println!(
        "\n| {SEARCHERS} people search beside ({searched} searches) | alone p50 / p99 ms | beside p50 / p99 ms | p99, times |"
    );
    println!("|---|---|---|---|");
    for ((name, alone), (_, together)) in alone.iter().zip(&together) {
        let [a50, a99] = [50, 99].map(|part| alone[ROUNDS * part / 100]);
        let [t50, t99] = [50, 99].map(|part| together[ROUNDS * part / 100]);
        println!("| {name} | {a50:.2} / {a99:.2} | {t50:.2} / {t99:.2} | {:.1} |", t99 / a99);
    }
}

fn latencies(member: &mut Member, run: u128) -> [(&'static str, Vec<f64>); 3] {
    let mut all = [
        ("history, 100 lines", Vec::new()),
        ("100 lines of a channel, coming back", Vec::new()),
        ("a line, until it is stored", Vec::new()),
    ];
    for round in 0..ROUNDS {
        let mut timed = |row: usize, act: &mut dyn FnMut()| {
            let began = Instant::now();
            act();
            all[row].1.push(began.elapsed().as_secs_f64() * 1e3);
        };
        timed(0, &mut || {
            answer(member, r##"{"type":"history","to":"#lobby","messages":100}"##);
        });
        let join = r##"{"type":"join","channel":"#tea"}"##;
        timed(1, &mut || drop(until(member, join, |line| line.contains(r#""seq":"100""#))));
        until(member, r##"{"type":"part","channel":"#tea"}"##, |line| line.contains("parted"));
        let id = run << 64 | round as u128;
        let say = format!(r##"["#lobby","{id:032x}","hello"]"##);
        timed(2, &mut || drop(until(member, &say, |line| line.contains(&format!("{id:032x}")))));
    }
    all.iter_mut().for_each(|(_, times)| times.sort_by(f64::total_cmp));
    all
}

/// The same query as the server makes, by SQLite alone: 7,000 words, and nothing that ends it.
fn without_bounds(file: &Path) {
    let connection = rusqlite::Connection::open(file).unwrap();
    let (began, cpu) = (Instant::now(), crate::own_cpu_us());
    let words = format!("\"{}\"", "a.".repeat(7_000));
    let query = "SELECT count(*) FROM words WHERE words MATCH ?1";
    let found: i64 = connection.query_row(query, [words], |row| row.get(0)).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!(
        "\nwithout bounds `a.` 7,000 times finds {found} in {:.0} s ({:.0} s of CPU); {peak}",
        began.elapsed().as_secs_f64(),
        (crate::own_cpu_us() - cpu) / 1e6
    );
}
