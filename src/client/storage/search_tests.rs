//! Tests of the search log as a file, against a naive model.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::chat::{Confidentiality, Epoch, Kind, Message, MsgId, Seq, Target, Wanted};
use crate::crypto::header::{ChainLink, ContentType, Header};
use crate::e2e::changes::{Changes, Version};
use crate::e2e::search_index::{Entry, SearchIndex, Terms};
use crate::e2e::search_log::{self, SearchLog};

const KEY: [u8; 32] = [7; 32];
const DAY_MS: i64 = 86_400_000;

/// A profile with a search log.
struct SearchFolder {
    folder: Folder,
    profile: tempfile::TempDir,
    log: SearchLog,
    changes: Changes,
    bytes_max: u64,
}

impl SearchFolder {
    fn new(now_ms: i64, bytes_max: u64) -> SearchFolder {
        let profile = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(profile.path()).unwrap();
        let mut folder = Folder::open(&data_folder, &Fingerprint([9; 32])).unwrap();
        let log = SearchLog::open(&mut folder, KEY.into(), now_ms, bytes_max).unwrap();
        let changes = Changes::of(folder.open_changes(KEY.into()).unwrap());
        SearchFolder { folder, profile, log, changes, bytes_max }
    }

    fn restarts(&mut self, now_ms: i64) {
        let unstored = self.changes.take_unstored();
        self.folder.store_changes(&unstored, &|| self.changes.all()).unwrap();
        let data_folder = DataFolder::at(self.profile.path()).unwrap();
        self.folder = Folder::open(&data_folder, &Fingerprint([9; 32])).unwrap();
        let folder = &mut self.folder;
        self.log = SearchLog::open(folder, KEY.into(), now_ms, self.bytes_max).unwrap();
        self.changes = Changes::of(self.folder.open_changes(KEY.into()).unwrap());
    }

    /// As the engine does: what its sender has changed since is not stored.
    fn takes(
        &mut self,
        (number, seq): (u8, u64),
        version: Option<Version>,
        entry: Entry,
        now_ms: i64,
    ) {
        let changed = (conversation(number), "alice".parse().unwrap(), MsgId([seq as u8; 16]));
        if self.changes.takes(changed, version, now_ms) {
            self.add(entry, now_ms);
        }
    }

    fn add(&mut self, entry: Entry, now_ms: i64) {
        self.log.add(&mut self.folder, &[entry], now_ms).unwrap();
    }

    fn tidy(&mut self, now_ms: i64) {
        self.log.tidy(&mut self.folder, now_ms).unwrap();
    }

    fn index(&self) -> SearchIndex {
        search_log::read(&self.folder, &KEY.into()).unwrap().0
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.folder.search_log_file()).unwrap()
    }

    /// How many records contain a text, for a reader who has the key.
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

/// A change of a message by its sender.
fn change(number: u8, seq: u64, text: Option<&str>) -> Entry {
    let of = Seq(seq);
    let kind = if text.is_some() { Kind::Edit { of } } else { Kind::Delete { of } };
    let text = text.unwrap_or_default();
    let message = Message { kind, ..line(99, 0, text) };
    Entry::of(&conversation(number), &message, Some(MsgId([seq as u8; 16])), Terms::default())
        .unwrap()
}

/// What an edit says is decided by when it was signed.
const EDITS: [&str; 4] = ["tea at six", "cake", "Grün, half past tea", "half cake"];

/// The edit that was signed at this time, or a deletion.
fn version(edit: Option<usize>) -> Option<Version> {
    let (time, of) = (edit.unwrap_or_default(), MsgId([1; 16]));
    let kind = if edit.is_some() { Kind::Edit { of } } else { Kind::Delete { of } };
    let link = ChainLink { session: [0; 16], n: 0, prev: [0; 32] };
    let (id, time_ms) = (MsgId([100 + time as u8; 16]), time as u64);
    Version::of(&Header { id, time_ms, kind, content: ContentType::TEXT, link })
}

#[derive(Clone, Debug)]
enum Step {
    Say(u8, u64, String),
    /// An edit is told, by itself or in its message.
    Edit(u8, u64, usize),
    Edited(u8, u64, usize),
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
        3 => (conversation.clone(), seq.clone(), 0..EDITS.len()).prop_map(|(p, s, e)| Step::Edit(p, s, e)),
        3 => (conversation.clone(), seq.clone(), 0..EDITS.len()).prop_map(|(p, s, e)| Step::Edited(p, s, e)),
        2 => (conversation.clone(), seq).prop_map(|(p, s)| Step::Delete(p, s)),
        1 => conversation.clone().prop_map(Step::Forget),
        1 => (conversation.clone(), 0..2u64).prop_map(|(p, log)| Step::Log(p, log)),
        1 => (conversation, prop::option::of(1..3u8)).prop_map(|(p, days)| Step::Kept(p, days)),
        2 => (0..DAY_MS).prop_map(Step::Later),
        1 => Just(Step::Tidy),
        1 => Just(Step::Restart),
    ]
}

/// The naive model: messages with their log and expiry.
#[derive(Default)]
struct Naive {
    lines: Vec<(u8, Message, Terms)>,
    terms: [(Option<Epoch>, Option<u8>); 3],
    /// Of each message the newest edit that was told, or that it was deleted.
    newest: HashMap<(u8, u64), Option<usize>>,
}

impl Naive {
    /// The current terms of a conversation.
    fn terms(&self, p: u8, now_ms: i64) -> Terms {
        let (epoch, days) = self.terms[usize::from(p)];
        Terms {
            epoch,
            until_ms: days.map(|days| now_ms + i64::from(days) * DAY_MS),
            read_ms: now_ms,
        }
    }

    fn does(&mut self, step: &Step, now_ms: i64) {
        let is = |p: &u8, s: &u64| {
            let (p, id) = (*p, MsgId([*s as u8; 16]));
            move |one: &(u8, Message, Terms)| one.0 == p && one.1.id == id
        };
        // Expired messages are gone for good with the first access.
        self.lines.retain(|one| one.2.until_ms.is_none_or(|until_ms| until_ms > now_ms));
        match step {
            Step::Say(p, s, text) if !self.newest.contains_key(&(*p, *s)) => {
                self.says(*p, line(*s, now_ms, text), now_ms);
            }
            Step::Edit(p, s, edit) if self.edits(*p, *s, *edit) => {
                let hit = is(p, s);
                let hits = self.lines.iter_mut().filter(|one| hit(one));
                hits.for_each(|one| (one.1.body, one.1.edited) = (EDITS[*edit].into(), true));
            }
            Step::Edited(p, s, edit) if self.edits(*p, *s, *edit) => {
                let edited = Message { edited: true, ..line(*s, now_ms, EDITS[*edit]) };
                self.says(*p, edited, now_ms);
            }
            Step::Say(..) | Step::Edit(..) | Step::Edited(..) => {}
            Step::Delete(p, s) => {
                self.newest.insert((*p, *s), None);
                self.lines.retain(|one| !is(p, s)(one));
            }
            Step::Forget(p) => {
                self.newest.retain(|one, _| one.0 != *p);
                self.lines.retain(|one| one.0 != *p);
            }
            Step::Log(p, epoch) => self.terms[usize::from(*p)].0 = Some(Epoch(*epoch)),
            Step::Kept(p, days) => self.terms[usize::from(*p)].1 = *days,
            Step::Later(_) | Step::Tidy | Step::Restart => {}
        }
    }

    fn says(&mut self, p: u8, message: Message, now_ms: i64) {
        let mut terms = self.terms(p, now_ms);
        let is = |one: &(u8, Message, Terms)| one.0 == p && one.1.id == message.id;
        if let Some(before) = self.lines.iter().position(is) {
            terms.until_ms = self.lines.remove(before).2.until_ms;
        }
        self.lines.push((p, message, terms));
    }

    /// Returns whether an edit is the newest one.
    fn edits(&mut self, p: u8, s: u64, edit: usize) -> bool {
        match self.newest.get(&(p, s)) {
            Some(None) => false,
            Some(Some(newest)) if edit < *newest => false,
            _ => {
                self.newest.insert((p, s), Some(edit));
                true
            }
        }
    }

    /// The found texts, sorted, because only the index knows the order of logs.
    fn finds(&self, p: u8, text: &str, now_ms: i64) -> Vec<String> {
        let wanted = Wanted::new(text).unwrap();
        let epoch = self.terms[usize::from(p)].0;
        let lines = self.lines.iter().filter(|(conversation, line, terms)| {
            let kept = terms.until_ms.is_none_or(|until_ms| until_ms > now_ms);
            *conversation == p
                && kept
                && wanted.is_in(line.body.text(), crate::chat::Matching::Beginnings)
        });
        let found = lines.map(|(_, line, terms)| {
            let seq = if terms.epoch == epoch { line.seq } else { Seq(0) };
            format!("{:?}", Message { seq, ..line.clone() })
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    }
}

#[test]
fn whole_words_are_found_before_newer_beginnings() {
    let mut index = SearchIndex::default();
    for seq in 1..=63 {
        let text = if seq <= 3 { "tea old" } else { "team new" };
        index.write(said(0, line(seq, 0, text)));
    }
    let finds = |text: &str| {
        let (messages, more) = index.search(&conversation(0), text, 0, None);
        (messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), more)
    };
    assert_eq!(finds("tea"), ((1..=3).chain(17..=63).collect(), true));
    assert_eq!(finds("old"), (vec![1, 2, 3], false));
    assert_eq!(finds("team"), ((14..=63).collect(), true));
}

#[test]
fn unsigned_messages_change_nothing_in_the_index() {
    let mut disk = SearchFolder::new(0, 1 << 20);
    let unsigned =
        |seq, text| Message { confidentiality: Confidentiality::Open, ..line(seq, 7, text) };
    let deleted = Message { deleted: true, ..unsigned(1, "") };
    assert_eq!(Entry::of(&conversation(0), &deleted, None, Terms::default()), None);
    let edit = Message { kind: Kind::Edit { of: Seq(1) }, ..unsigned(9, "tea at nine") };
    assert_eq!(Entry::of(&conversation(0), &edit, None, Terms::default()), None);
    let found = |disk: &SearchFolder| {
        let found = disk.index().search(&conversation(0), "tea", 8, None).0;
        found
            .into_iter()
            .map(|line| (line.body.text().to_owned(), line.confidentiality))
            .collect::<Vec<_>>()
    };
    disk.add(said(0, unsigned(1, "tea at one")), 7);
    assert_eq!(found(&disk), [("tea at one".to_owned(), Confidentiality::Open)]);
    // The signed text replaces it, and stays.
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
    fn the_index_finds_the_same_as_a_naive_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut now_ms = 1_800_000_000_000;
        let (mut disk, mut naive) = (SearchFolder::new(now_ms, 1 << 20), Naive::default());
        for step in &steps {
            match step.clone() {
                Step::Say(p, s, text) => {
                    let entry = said_in(p, line(s, now_ms, &text), naive.terms(p, now_ms));
                    disk.takes((p, s), None, entry, now_ms);
                }
                Step::Edit(p, s, edit) => {
                    disk.takes((p, s), version(Some(edit)), change(p, s, Some(EDITS[edit])), now_ms);
                }
                Step::Edited(p, s, edit) => {
                    let message = Message { edited: true, ..line(s, now_ms, EDITS[edit]) };
                    let entry = said_in(p, message, naive.terms(p, now_ms));
                    disk.takes((p, s), version(Some(edit)), entry, now_ms);
                }
                Step::Delete(p, s) => disk.takes((p, s), version(None), change(p, s, None), now_ms),
                Step::Forget(p) => {
                    disk.changes.forget(&conversation(p));
                    disk.add(Entry::Forget(conversation(p)), now_ms);
                }
                Step::Log(..) | Step::Kept(..) => {}
                Step::Later(ms) => now_ms += ms,
                Step::Tidy => disk.tidy(now_ms),
                Step::Restart => disk.restarts(now_ms),
            }
            naive.does(step, now_ms);
            let index = disk.index();
            for (p, text) in (0..3).flat_map(|p| ["tea", "grun CAKE", "half-past"].map(|t| (p, t))) {
                let epoch = naive.terms(p, now_ms).epoch;
                let (found, more) = index.search(&conversation(p), text, now_ms, epoch);
                let mut found: Vec<_> = found.iter().map(|line| format!("{line:?}")).collect();
                found.sort();
                prop_assert_eq!(found, naive.finds(p, text, now_ms), "{} in {}", text, p);
                prop_assert!(!more);
            }
        }
    }
}

#[test]
fn expired_and_deleted_messages_leave_the_disk() {
    let now_ms = 1_800_000_000_000;
    let mut disk = SearchFolder::new(now_ms, 1 << 20);
    let until = |until_ms| Terms { until_ms: Some(until_ms), ..Terms::default() };
    for (seq, word) in [(1, "edited"), (2, "deleted"), (3, "old"), (4, "stays")] {
        let terms = until(if word == "old" { now_ms + 1 } else { now_ms + 2 * DAY_MS });
        disk.add(said_in(0, line(seq, now_ms, word), terms), now_ms);
        // A replay changes neither the message nor its expiry.
        disk.add(said_in(0, line(seq, now_ms, word), until(i64::MAX)), now_ms);
        assert_eq!(disk.entries_with(word), 1, "a replay is not written again");
    }
    let raw = disk.bytes();
    assert!(!raw.windows(5).any(|part| part == b"stays"), "it is sealed");
    disk.add(change(0, 1, Some("another")), now_ms);
    disk.add(change(0, 2, None), now_ms);
    disk.tidy(now_ms + 1);
    let left =
        ["edited\"", "deleted", "old", "stays", "another"].map(|word| disk.entries_with(word));
    assert_eq!(left, [1, 0, 0, 1, 1], "the first is the mark of an edited line");
    // A change by another user, or of another id, has no effect.
    let other = Message { from: "bob".parse().unwrap(), ..line(9, 0, "false") };
    let other = Message { kind: Kind::Edit { of: Seq(4) }, ..other };
    for id in [4, 5] {
        let of = Some(MsgId([id; 16]));
        let entry = Entry::of(&conversation(0), &other, of, Terms::default()).unwrap();
        disk.add(entry, now_ms);
    }
    let found = disk.index().search(&conversation(0), "stays", now_ms, None);
    assert_eq!((found.0.len(), found.0[0].edited), (1, false));
    // Two days later, without any event.
    disk.tidy(now_ms + 2 * DAY_MS);
    assert_eq!(disk.entries_with("stays") + disk.entries_with("another"), 0);
    disk.add(said(1, line(1, now_ms, "parted")), now_ms);
    disk.add(Entry::Forget(conversation(1)), now_ms);
    assert_eq!(disk.entries_with("parted"), 0);
    disk.folder.erase_search_logs().unwrap();
    assert!(!disk.folder.search_log_file().exists());
}

#[test]
fn the_file_is_bounded_and_keeps_the_newest_messages() {
    let mut disk = SearchFolder::new(0, 100_000);
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
    // Half a record at the end, and foreign bytes.
    fs::write(disk.folder.search_log_file(), b"AAAA\n\xff\n\n").unwrap();
    assert!(disk.index().entries().next().is_none());
    disk.restarts(0);
    disk.add(said(0, line(1, 0, "tea")), 0);
    assert_eq!(disk.index().search(&conversation(0), "tea", 0, None).0.len(), 1);
}

/// A private message of this person to bob, in the conversation with him.
fn own(number: u64, text: &str) -> Message {
    Message { id: MsgId(u128::from(number).to_be_bytes()), ..line(number, 7, text) }
}

/// A signed message in somebody's conversation with this person, or in a channel.
fn of(conversation: &str, from: &str, number: u64, read_ms: i64) -> Entry {
    let message = Message { from: from.parse().unwrap(), ..own(number, "made up") };
    let terms = Terms { read_ms, ..Terms::default() };
    Entry::of(&conversation.parse().unwrap(), &message, None, terms).unwrap()
}

fn found(disk: &SearchFolder, conversation: &str, text: &str) -> usize {
    disk.index().search(&conversation.parse().unwrap(), text, 0, None).0.len()
}

#[test]
fn a_flood_costs_only_itself_also_over_many_rewrites() {
    let tea = format!("#tea~{}", "0".repeat(26));
    let mut disk = SearchFolder::new(0, 400_000);
    let real = |number| Terms { read_ms: number as i64, ..Terms::default() };
    for number in 0..20 {
        let message = own(number, "my own words");
        let conversation = "@bob".parse().unwrap();
        disk.add(Entry::of(&conversation, &message, None, real(number)).unwrap(), 0);
        disk.add(of("@bob", "bob", 100 + number, number as i64), 0);
        disk.add(of(&tea, "carol", 200 + number, number as i64), 0);
        // Carol has written, and got no answer.
        disk.add(of("@carol", "carol", 300 + number % 2, number as i64), 0);
    }
    let before = ["@bob", &tea, "@carol"].map(|conversation| {
        found(&disk, conversation, "made up") + found(&disk, conversation, "words")
    });
    assert_eq!(before, [40, 20, 2]);
    let mut rewrites = 0;
    for number in 1_000..4_000u64 {
        let (invented, now_ms) = (format!("made{number}"), number as i64 / 500);
        let flood = [
            of(&format!("@{invented}"), &invented, number, now_ms),
            of(&tea, &invented, number, now_ms),
            of(&tea, "mallory", number, now_ms),
            of("@mallory", "mallory", number, now_ms),
        ];
        let bytes = disk.bytes().len();
        disk.log.add(&mut disk.folder, &flood, now_ms).unwrap();
        rewrites += usize::from(disk.bytes().len() < bytes);
        assert!(disk.bytes().len() <= 400_000);
        if number % 1_000 == 0 {
            disk.restarts(now_ms);
        }
    }
    assert!(rewrites > 10, "{rewrites}");
    let after = ["@bob", &tea, "@carol"].map(|conversation| {
        let is_real = |line: &Message| !line.from.as_str().starts_with("ma");
        let index = disk.index();
        let lines = index.entries().filter_map(|entry| match entry {
            Entry::Message(at, line) if at == conversation.parse().unwrap() => Some(line.message),
            _ => None,
        });
        lines.filter(is_real).count()
    });
    assert_eq!(after, before);
    // Half of the room is used: nothing that was read at one time is gone as a whole.
    assert!(disk.index().entries().count() > 80 + 40, "{}", disk.index().entries().count());
}

#[test]
fn unsigned_messages_push_out_no_signed_one() {
    let mut disk = SearchFolder::new(0, 100_000);
    let terms = |epoch| Terms { epoch: Some(Epoch(epoch)), ..Terms::default() };
    disk.add(said_in(0, line(1, 7, "the signed tea"), terms(1)), 0);
    // Other messages with its seq, in this and in other logs, and with its id.
    for (epoch, id) in [(1, 2), (9, 3), (9, 1)] {
        let from = if id == 1 { "bob" } else { "alice" }.parse().unwrap();
        let other = Message { id: MsgId([id; 16]), from, ..line(1, 8, "another tea") };
        disk.add(said_in(0, other, terms(epoch)), 0);
    }
    // More unsigned messages than the file holds, newer by the server's claim.
    for number in 0..1_000u64 {
        let id = MsgId(u128::from(number + 1_000).to_be_bytes());
        let made = Message {
            confidentiality: Confidentiality::Open,
            id,
            ..line(number, i64::MAX, "made up")
        };
        disk.add(said(1, made), 0);
    }
    let (found, _) = disk.index().search(&conversation(0), "tea", 0, Some(Epoch(1)));
    let told: Vec<_> = found.iter().map(|line| (line.seq.0, line.body.text())).collect();
    let another = "another tea";
    assert_eq!(told, [(1, "the signed tea"), (1, another), (0, another), (0, another)]);
}
