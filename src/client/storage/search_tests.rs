//! The search log as a file, against lines that are simply remembered.

use proptest::prelude::*;

use super::*;
use crate::chat::{Confidentiality, Kind, LogId, Message, MsgId, Seq, Target, Wanted};
use crate::e2e::search_index::{Entry, SearchIndex, Terms};
use crate::e2e::search_log::{self, SearchLog};

const KEY: [u8; 32] = [7; 32];
const DAY_MS: i64 = 86_400_000;

/// A profile, and a search log in it.
struct Disk {
    folder: Folder,
    profile: tempfile::TempDir,
    log: SearchLog,
    bytes_max: u64,
}

impl Disk {
    fn new(now_ms: i64, bytes_max: u64) -> Disk {
        let profile = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(profile.path()).unwrap();
        let mut folder = Folder::open(&data_folder, &Fingerprint([9; 32])).unwrap();
        let log = SearchLog::open(&mut folder, KEY.into(), now_ms, bytes_max).unwrap();
        Disk { folder, profile, log, bytes_max }
    }

    fn restarts(&mut self, now_ms: i64) {
        let data_folder = DataFolder::at(self.profile.path()).unwrap();
        self.folder = Folder::open(&data_folder, &Fingerprint([9; 32])).unwrap();
        let folder = &mut self.folder;
        self.log = SearchLog::open(folder, KEY.into(), now_ms, self.bytes_max).unwrap();
    }

    fn add(&mut self, entry: Entry, now_ms: i64) {
        self.log.add(&mut self.folder, &[entry], now_ms).unwrap();
    }

    fn tidy(&mut self, now_ms: i64) {
        self.log.tidy(&mut self.folder, now_ms).unwrap();
    }

    fn index(&self) -> SearchIndex {
        search_log::read(&self.folder, &KEY.into()).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.folder.search_log_file()).unwrap()
    }

    /// How often a text could be read by who has the key.
    fn entries_with(&self, text: &str) -> usize {
        use base64::Engine;
        let lines = self.bytes();
        let opened = lines.split(|byte| *byte == b'\n').filter_map(|line| {
            let locked = base64::engine::general_purpose::STANDARD_NO_PAD.decode(line).ok()?;
            crate::crypto::at_rest::unlock(&KEY, &locked)
        });
        opened.filter(|entry| entry.windows(text.len()).any(|part| part == text.as_bytes())).count()
    }
}

fn conversation(number: u8) -> Target {
    ["@alice", "@bob", "@carol"][usize::from(number) % 3].parse().unwrap()
}

fn line(seq: u64, time_ms: i64, text: &str) -> Message {
    Message {
        seq: Seq(seq),
        to: "@bob".parse().unwrap(),
        from: "alice".parse().unwrap(),
        device: "main".parse().unwrap(),
        id: MsgId([seq as u8; 16]),
        time_ms,
        kind: Kind::Say,
        body: text.into(),
        confidentiality: Confidentiality::Sealed,
        edited: false,
        deleted: false,
        replay: false,
        reference: None,
    }
}

fn said(number: u8, message: Message) -> Entry {
    said_in(number, message, Terms::default())
}

fn said_in(number: u8, message: Message, terms: Terms) -> Entry {
    Entry::of(&conversation(number), &message, None, terms).unwrap()
}

/// A change of a line, by its sender's word.
fn change(number: u8, seq: u64, text: Option<&str>) -> Entry {
    let of = Seq(seq);
    let kind = if text.is_some() { Kind::Edit { of } } else { Kind::Delete { of } };
    let text = text.unwrap_or_default();
    let message = Message { kind, ..line(99, 0, text) };
    Entry::of(&conversation(number), &message, Some(MsgId([seq as u8; 16])), Terms::default())
        .unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Say(u8, u64, String),
    Edit(u8, u64, String),
    Delete(u8, u64),
    Forget(u8),
    Log(u8, u64),
    Kept(u8, Option<u8>),
    Later(i64),
    Tidy,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (conversation, seq) = (0..3u8, 1..9u64);
    let text = "(tea|cake|Grün|half|past|,| ){1,6}";
    prop_oneof![
        6 => (conversation.clone(), seq.clone(), text).prop_map(|(p, s, t)| Step::Say(p, s, t)),
        3 => (conversation.clone(), seq.clone(), text).prop_map(|(p, s, t)| Step::Edit(p, s, t)),
        2 => (conversation.clone(), seq).prop_map(|(p, s)| Step::Delete(p, s)),
        1 => conversation.clone().prop_map(Step::Forget),
        1 => (conversation.clone(), 0..2u64).prop_map(|(p, log)| Step::Log(p, log)),
        1 => (conversation, prop::option::of(1..3u8)).prop_map(|(p, days)| Step::Kept(p, days)),
        2 => (0..DAY_MS).prop_map(Step::Later),
        1 => Just(Step::Tidy),
        1 => Just(Step::Restart),
    ]
}

/// Lines as anybody would remember them: each with its log, and when it goes.
#[derive(Default)]
struct Naive {
    lines: Vec<(u8, Message, Terms)>,
    terms: [(Option<LogId>, Option<u8>); 3],
}

impl Naive {
    /// What the server says now of a conversation.
    fn terms(&self, p: u8, now_ms: i64) -> Terms {
        let (log, days) = self.terms[usize::from(p)];
        Terms { log, until_ms: days.map(|days| now_ms + i64::from(days) * DAY_MS) }
    }

    fn does(&mut self, step: &Step, now_ms: i64) {
        let is = |p: &u8, s: &u64| {
            let (p, id) = (*p, MsgId([*s as u8; 16]));
            move |one: &(u8, Message, Terms)| one.0 == p && one.1.id == id
        };
        // What is too old is gone for good as soon as anything looks.
        self.lines.retain(|one| one.2.until_ms.is_none_or(|until_ms| until_ms > now_ms));
        match step {
            Step::Say(p, s, text) => {
                let mut terms = self.terms(*p, now_ms);
                if let Some(before) = self.lines.iter().position(|one| is(p, s)(one)) {
                    terms.until_ms = self.lines.remove(before).2.until_ms;
                }
                self.lines.push((*p, line(*s, now_ms, text), terms));
            }
            Step::Edit(p, s, text) => {
                let hit = is(p, s);
                let hits = self.lines.iter_mut().filter(|one| hit(one));
                hits.for_each(|one| (one.1.body, one.1.edited) = (text.as_str().into(), true));
            }
            Step::Delete(p, s) => self.lines.retain(|one| !is(p, s)(one)),
            Step::Forget(p) => self.lines.retain(|one| one.0 != *p),
            Step::Log(p, log) => self.terms[usize::from(*p)].0 = Some(LogId(*log)),
            Step::Kept(p, days) => self.terms[usize::from(*p)].1 = *days,
            Step::Later(_) | Step::Tidy | Step::Restart => {}
        }
    }

    /// What is found, sorted: which log came first is the index's to know.
    fn finds(&self, p: u8, text: &str, now_ms: i64) -> Vec<String> {
        let wanted = Wanted::new(text).unwrap();
        let log = self.terms[usize::from(p)].0;
        let lines = self.lines.iter().filter(|(conversation, line, terms)| {
            let kept = terms.until_ms.is_none_or(|until_ms| until_ms > now_ms);
            *conversation == p && kept && wanted.is_in(line.body.text())
        });
        let found = lines.map(|(_, line, terms)| {
            let seq = if terms.log == log { line.seq } else { Seq(0) };
            format!("{:?}", Message { seq, ..line.clone() })
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    }
}

#[test]
fn what_nobody_has_signed_changes_nothing_in_the_book() {
    let mut disk = Disk::new(0, 1 << 20);
    let unsigned =
        |seq, text| Message { confidentiality: Confidentiality::Open, ..line(seq, 7, text) };
    let deleted = Message { deleted: true, ..unsigned(1, "") };
    assert_eq!(Entry::of(&conversation(0), &deleted, None, Terms::default()), None);
    let edit = Message { kind: Kind::Edit { of: Seq(1) }, ..unsigned(9, "tea at nine") };
    assert_eq!(Entry::of(&conversation(0), &edit, None, Terms::default()), None);
    let found = |disk: &Disk| {
        let found = disk.index().search(&conversation(0), "tea", 8, None).0;
        found
            .into_iter()
            .map(|line| (line.body.text().to_owned(), line.confidentiality))
            .collect::<Vec<_>>()
    };
    disk.add(said(0, unsigned(1, "tea at one")), 7);
    assert_eq!(found(&disk), [("tea at one".to_owned(), Confidentiality::Open)]);
    // Its sender's own text takes its place, and keeps it.
    for text in ["tea at five", "tea at five"] {
        disk.add(said(0, line(1, 7, text)), 7);
        disk.add(said(0, unsigned(1, "tea at six")), 7);
        assert_eq!(found(&disk), [(text.to_owned(), Confidentiality::Sealed)]);
        disk.restarts(7);
        assert_eq!(found(&disk), [(text.to_owned(), Confidentiality::Sealed)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_book_finds_what_anybody_would(steps in prop::collection::vec(step(), 1..60)) {
        let mut now_ms = 1_800_000_000_000;
        let (mut disk, mut naive) = (Disk::new(now_ms, 1 << 20), Naive::default());
        for step in &steps {
            let entry = match step.clone() {
                Step::Say(p, s, text) => {
                    Some(said_in(p, line(s, now_ms, &text), naive.terms(p, now_ms)))
                }
                Step::Edit(p, s, text) => Some(change(p, s, Some(&text))),
                Step::Delete(p, s) => Some(change(p, s, None)),
                Step::Forget(p) => Some(Entry::Forget(conversation(p))),
                Step::Log(..) | Step::Kept(..) => None,
                Step::Later(ms) => {
                    now_ms += ms;
                    None
                }
                Step::Tidy => {
                    disk.tidy(now_ms);
                    None
                }
                Step::Restart => {
                    disk.restarts(now_ms);
                    None
                }
            };
            entry.into_iter().for_each(|entry| disk.add(entry, now_ms));
            naive.does(step, now_ms);
            let index = disk.index();
            for (p, text) in (0..3).flat_map(|p| ["tea", "grun CAKE", "half-past"].map(|t| (p, t))) {
                let log = naive.terms(p, now_ms).log;
                let (found, more) = index.search(&conversation(p), text, now_ms, log);
                let mut found: Vec<_> = found.iter().map(|line| format!("{line:?}")).collect();
                found.sort();
                prop_assert_eq!(found, naive.finds(p, text, now_ms), "{} in {}", text, p);
                prop_assert!(!more);
            }
        }
    }
}

#[test]
fn what_is_not_to_be_there_leaves_the_disk() {
    let now_ms = 1_800_000_000_000;
    let mut disk = Disk::new(now_ms, 1 << 20);
    let until = |until_ms| Terms { log: None, until_ms: Some(until_ms) };
    for (seq, word) in [(1, "edited"), (2, "deleted"), (3, "old"), (4, "stays")] {
        let terms = until(if word == "old" { now_ms + 1 } else { now_ms + 2 * DAY_MS });
        disk.add(said_in(0, line(seq, now_ms, word), terms), now_ms);
        // Told again it stays what it was, and as long.
        disk.add(said_in(0, line(seq, now_ms, word), until(i64::MAX)), now_ms);
        assert_eq!(disk.entries_with(word), 1, "told again is not written again");
    }
    let raw = disk.bytes();
    assert!(!raw.windows(5).any(|part| part == b"stays"), "it is sealed");
    disk.add(change(0, 1, Some("another")), now_ms);
    disk.add(change(0, 2, None), now_ms);
    disk.tidy(now_ms + 1);
    let left =
        ["edited\"", "deleted", "old", "stays", "another"].map(|word| disk.entries_with(word));
    assert_eq!(left, [1, 0, 0, 1, 1], "the first is the mark of an edited line");
    // Of whoever is not the sender, and of a line with another id, nothing is taken.
    let other = Message { from: "bob".parse().unwrap(), ..line(9, 0, "false") };
    let other = Message { kind: Kind::Edit { of: Seq(4) }, ..other };
    for id in [4, 5] {
        let of = Some(MsgId([id; 16]));
        let entry = Entry::of(&conversation(0), &other, of, Terms::default()).unwrap();
        disk.add(entry, now_ms);
    }
    let found = disk.index().search(&conversation(0), "stays", now_ms, None);
    assert_eq!((found.0.len(), found.0[0].edited), (1, false));
    // Two days later, without a word from anybody.
    disk.tidy(now_ms + 2 * DAY_MS);
    assert_eq!(disk.entries_with("stays") + disk.entries_with("another"), 0);
    disk.add(said(1, line(1, now_ms, "parted")), now_ms);
    disk.add(Entry::Forget(conversation(1)), now_ms);
    assert_eq!(disk.entries_with("parted"), 0);
    disk.folder.erase_search_logs().unwrap();
    assert!(!disk.folder.search_log_file().exists());
}

#[test]
fn the_file_has_its_bound_and_the_newest_lines_stay() {
    let mut disk = Disk::new(0, 100_000);
    for number in 0..1_000u64 {
        let id = MsgId(u128::from(number).to_be_bytes());
        let message = Message { id, ..line(number, number as i64, "marker") };
        let entry = said(number as u8, message);
        disk.add(entry, 0);
        let bytes = disk.bytes().len();
        assert!(bytes <= 100_000, "{bytes}");
    }
    let index = disk.index();
    let (found, more) = index.search(&conversation((999 % 256) as u8), "MARKER", 0, None);
    assert!(more || found.len() > 10);
    assert_eq!(found.last().unwrap().seq, Seq(999));
    // Half a line at the end, and a stranger's bytes.
    fs::write(disk.folder.search_log_file(), b"AAAA\n\xff\n\n").unwrap();
    assert!(disk.index().entries().next().is_none());
    disk.restarts(0);
    disk.add(said(0, line(1, 0, "tea")), 0);
    assert_eq!(disk.index().search(&conversation(0), "tea", 0, None).0.len(), 1);
}

#[test]
fn nothing_that_a_server_tells_pushes_out_what_somebody_has_signed() {
    let mut disk = Disk::new(0, 100_000);
    let terms = |log| Terms { log: Some(LogId(log)), until_ms: None };
    disk.add(said_in(0, line(1, 7, "the signed tea"), terms(1)), 0);
    // Other lines under its seq, in this log and in another one, and under its id.
    for (log, id) in [(1, 2), (9, 3), (9, 1)] {
        let from = if id == 1 { "bob" } else { "alice" }.parse().unwrap();
        let other = Message { id: MsgId([id; 16]), from, ..line(1, 8, "another tea") };
        disk.add(said_in(0, other, terms(log)), 0);
    }
    // More than the file takes, of what nobody has signed, and newer by the server's word.
    for number in 0..1_000u64 {
        let id = MsgId(u128::from(number + 1_000).to_be_bytes());
        let made = Message {
            confidentiality: Confidentiality::Open,
            id,
            ..line(number, i64::MAX, "made up")
        };
        disk.add(said(1, made), 0);
    }
    let (found, _) = disk.index().search(&conversation(0), "tea", 0, Some(LogId(1)));
    let told: Vec<_> = found.iter().map(|line| (line.seq.0, line.body.text())).collect();
    let another = "another tea";
    assert_eq!(told, [(1, "the signed tea"), (1, another), (0, another), (0, another)]);
}
