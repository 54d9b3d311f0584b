//! How long others wait for the parts of jobs that remove many messages.

use std::path::Path;
use std::time::{Duration, Instant};

use pychat::chat::{Body, Kind, MsgId};
use pychat::ledger::{Ledger, LedgerError, Record, SentMessage, Sqlite, Tidied};

/// Runs one part of a job. Returns whether there is more to do.
type Part = fn(&mut Sqlite) -> Result<bool, LedgerError>;

pub fn table(lines: usize) {
    println!("\n{lines} messages in one channel; another message is committed after each part\n");
    println!("| job | parts | seconds | a commit waits p50 ms | p99 ms | longest ms |");
    println!("|---|---|---|---|---|---|");
    let jobs: [(&str, &[Part]); 3] = [
        ("an emptied channel is forgotten", &[detach, Sqlite::remove_detached]),
        ("a user of half of them is erased", &[begin_erasing, erase]),
        ("retention removes all", &[expire]),
    ];
    for (name, parts) in jobs {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = full(&folder.path().join("ledger.db"), lines);
        let began = Instant::now();
        let mut waits = Vec::new();
        for part in parts.iter().chain(&[tidy as Part]) {
            while waited(&mut ledger, *part, &mut waits) {}
        }
        let seconds = began.elapsed().as_secs_f64();
        waits.sort_unstable();
        let ms = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1e3;
        let (p50, p99, longest) = (ms(50), ms(99), ms(100));
        let parts = waits.len();
        println!("| {name} | {parts} | {seconds:.1} | {p50:.1} | {p99:.1} | {longest:.1} |");
    }
}

/// Runs a part, then commits a message that arrived when the part began.
fn waited(ledger: &mut Sqlite, part: Part, waits: &mut Vec<Duration>) -> bool {
    let began = Instant::now();
    let more = part(ledger).unwrap();
    ledger.commit(&[line("#lobby", "carol")]).unwrap();
    waits.push(began.elapsed());
    more
}

fn detach(ledger: &mut Sqlite) -> Result<bool, LedgerError> {
    ledger.detach(&crate::conversation("#tea"), false).map(|()| false)
}

fn begin_erasing(ledger: &mut Sqlite) -> Result<bool, LedgerError> {
    ledger.begin_erasing(&"alice".parse().unwrap()).map(|()| false)
}

fn erase(ledger: &mut Sqlite) -> Result<bool, LedgerError> {
    ledger.erase_some().map(|erased| erased.is_some())
}

fn expire(ledger: &mut Sqlite) -> Result<bool, LedgerError> {
    ledger.expire(&crate::conversation("#tea"), i64::MAX).map(|(_, more)| more)
}

fn tidy(ledger: &mut Sqlite) -> Result<bool, LedgerError> {
    ledger.tidy(crate::NOW_MS).map(|tidied| tidied == Tidied::More)
}

fn full(path: &Path, lines: usize) -> Sqlite {
    let mut ledger = Sqlite::open(path, 60).unwrap();
    for begin in (0..lines).step_by(5_000) {
        let from = |number: usize| ["alice", "bob"][number % 2];
        let batch = (begin..lines.min(begin + 5_000)).map(|number| line("#tea", from(number)));
        ledger.commit(&batch.collect::<Vec<_>>()).unwrap();
    }
    while ledger.index_some().unwrap() {}
    ledger
}

fn line(conversation: &str, from: &str) -> Record {
    Record::message(SentMessage {
        conversation: crate::conversation(conversation),
        from: from.parse().unwrap(),
        device: "main".parse().unwrap(),
        id: MsgId(rand::random()),
        time_ms: crate::NOW_MS,
        kind: Kind::Say,
        body: Body::Text(format!("word{} and some more words of a message", rand::random::<u16>())),
    })
}
