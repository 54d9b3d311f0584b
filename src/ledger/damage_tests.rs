//! Damaged files. A damaged message is not shown as anybody's, and the messages around it stay
//! readable.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::contract_tests::{
    PAGE, delete, edit, found_on_disk, free, on_disk, sent, since, wanted,
};
use super::doubles::{Fails, Faulty};
use super::*;
use crate::config::Config;

const ALL: Page = Page { bytes_max: 1 << 30, messages_max: 10_000 };
const CHANGE_S_MAX: u64 = 3_600;

fn said(ledger: &mut Sqlite, id: u8, text: &str) {
    let outcomes = ledger.commit(&[Record::message(sent("#tea", "alice", id, text))]).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Stored(_)]));
}

fn commit(ledger: &mut Sqlite, sent: SentMessage) -> Outcome {
    ledger.commit(&[Record::message(sent)]).unwrap()[0]
}

fn seqs(reader: &impl Reader) -> Vec<u64> {
    let messages = reader.read(&"#tea".parse().unwrap(), Seq(0), Seq(99), PAGE).unwrap();
    messages.iter().map(|message| message.seq.0).collect()
}

fn numbered(seq: u64) -> String {
    format!("message number {seq} {}", "x".repeat(300))
}

/// Creates a ledger of 300 messages, runs a statement on it, and damages the page of message 150.
fn with_a_damaged_page(statement: &str) -> (tempfile::TempDir, PathBuf) {
    let (mut ledger, folder, path) = on_disk();
    let messages: Vec<_> = (1..=300u64)
        .map(|seq| {
            let id = MsgId(u128::from(seq).to_be_bytes());
            Record::message(SentMessage { id, ..sent("#tea", "alice", 0, &numbered(seq)) })
        })
        .collect();
    ledger.commit(&messages).unwrap();
    ledger.break_with(statement);
    drop(ledger);
    let mut bytes = std::fs::read(&path).unwrap();
    let marker = numbered(150).into_bytes();
    let at = bytes.windows(marker.len()).position(|part| part == marker).unwrap();
    let page = at - at % 4_096;
    bytes[page..page + 8].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_damaged_message_and_its_edit_are_left_out_and_its_conversation_goes_on() {
    let (mut ledger, folder, path) = on_disk();
    said(&mut ledger, 1, "one");
    said(&mut ledger, 2, "zebramarker two");
    let change = edit("alice", 3, 1, "zebramarker one, mended");
    assert_eq!(commit(&mut ledger, change), Outcome::Stored(Seq(3)));
    let reader = ledger.reader();
    assert_eq!(seqs(&reader), [1, 2, 3]);
    // Changes one letter of the edited text, which is stored in the row of the first message.
    ledger.break_with("UPDATE messages SET text = replace(text, 'mended', 'mendet')");
    assert_eq!(seqs(&reader), [2], "neither the message nor the edit that repeats its text");
    let (told, more) =
        reader.history(&"#tea".parse().unwrap(), since(None), PAGE, &free()).unwrap();
    assert_eq!((told.len(), more), (1, false));

    let again = sent("#tea", "alice", 1, "one");
    assert_eq!(commit(&mut ledger, again), Outcome::Known(Seq(1)), "it was stored once");
    let change = edit("alice", 4, 1, "again");
    assert_eq!(commit(&mut ledger, change), Outcome::NoSuchMessage);
    said(&mut ledger, 5, "four");
    assert_eq!(seqs(&reader), [2, 4]);

    assert!(found_on_disk(folder.path(), "zebramarker") > 0, "the control");
    ledger.erase(&"alice".parse().unwrap()).unwrap();
    assert_eq!(found_on_disk(folder.path(), "zebramarker"), 0, "damaged texts are erased too");
    drop((ledger, reader));
    let error = jobs(&path).verify().unwrap_err().to_string();
    assert!(error.contains("ledger.db") && error.contains("message 1"), "{error}");
}

#[test]
fn around_a_damaged_page_everything_is_read_and_written() {
    let (_folder, path) = with_a_damaged_page("");
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let reader = ledger.reader();
    let tea: Conversation = "#tea".parse().unwrap();
    let told = reader.read(&tea, Seq(0), Seq(300), ALL).unwrap();
    let lost: Vec<u64> = (1..=300).filter(|seq| told.iter().all(|l| l.seq.0 != *seq)).collect();
    assert!(lost.contains(&150) && lost.len() < 20, "{lost:?}");
    assert!(told.iter().all(|message| message.body.text() == numbered(message.seq.0)));
    assert!(told.is_sorted_by_key(|message| message.seq));
    // Reading in pages gives the same result.
    let (mut paged, mut after) = (Vec::new(), Seq(0));
    loop {
        let page = reader.read(&tea, after, Seq(300), Page { messages_max: 7, ..ALL }).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        after = last.seq;
        paged.extend(page);
    }
    assert!(paged == told);
    let (history, more) = reader.history(&tea, since(None), ALL, &free()).unwrap();
    assert!(!more && history == told, "{} of {}", history.len(), told.len());
    let (newest, more) = reader
        .history(
            &tea,
            Older { before: Some(Seq(160)), ..Older::default() },
            Page { messages_max: 30, ..ALL },
            &free(),
        )
        .unwrap();
    assert!(more);
    let before = told.partition_point(|message| message.seq < Seq(160));
    assert!(newest.len() == 30 && newest == told[before - 30..before]);
    assert_eq!(commit(&mut ledger, sent("#tea", "bob", 1, "next")), Outcome::Stored(Seq(301)));
    assert!(jobs(&path).verify().unwrap_err().to_string().contains("ledger.db"));
}

#[test]
fn all_readable_messages_around_a_damaged_page_are_indexed() {
    // The next start fills the index again.
    let (_folder, path) = with_a_damaged_page("UPDATE meta SET unicode = '1.0.0 1.0.0'");
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    while ledger.index_some().unwrap() {}
    let reader = ledger.reader();
    let tea: Conversation = "#tea".parse().unwrap();
    let told = reader.read(&tea, Seq(0), Seq(300), ALL).unwrap();
    assert!((280..300).contains(&told.len()), "{} messages", told.len());
    let (found, more) = reader.search(&[tea], &wanted("message"), ALL, &free()).unwrap();
    let seqs = |messages: &[Message]| messages.iter().map(|one| one.seq.0).collect::<Vec<_>>();
    assert_eq!((seqs(&found), more), (seqs(&told), false));
}

#[test]
fn where_the_newest_page_or_all_are_damaged_an_answer_still_comes() {
    for page_of in [300, 0] {
        let (mut ledger, _folder, path) = on_disk();
        let text = |seq: u64| format!("message number {seq} {}", "x".repeat(300));
        for seq in 1..=300u64 {
            let id = MsgId(u128::from(seq).to_be_bytes());
            let message = SentMessage { id, ..sent("#tea", "alice", 0, &text(seq)) };
            assert_eq!(commit(&mut ledger, message), Outcome::Stored(Seq(seq)));
        }
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'";
        let root: usize = ledger.ask(root);
        drop(ledger);
        let mut bytes = std::fs::read(&path).unwrap();
        let marker = text(page_of).into_bytes();
        let at = bytes.windows(marker.len()).position(|part| part == marker);
        let page = at.map_or((root - 1) * 4_096, |at| at - at % 4_096);
        bytes[page..page + 8].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let reader = Sqlite::open(&path, CHANGE_S_MAX).unwrap().reader();
        let tea: Conversation = "#tea".parse().unwrap();
        let (history, _) = reader.history(&tea, since(None), ALL, &free()).unwrap();
        let read = reader.read(&tea, Seq(0), Seq(u64::MAX), ALL).unwrap();
        assert!(history == read, "{} {}", history.len(), read.len());
        let whole = if page_of == 0 { 0..1 } else { 280..300 };
        assert!(whole.contains(&read.len()), "{}", read.len());
    }
}

#[test]
fn of_200_flipped_bits_none_changes_what_anybody_said() {
    let (mut ledger, folder, path) = on_disk();
    for id in 1..=120 {
        said(&mut ledger, id, &format!("message {id} of words that are looked for"));
    }
    assert_eq!(commit(&mut ledger, edit("alice", 121, 7, "mended")), Outcome::Stored(Seq(121)));
    let tea: Conversation = "#tea".parse().unwrap();
    let sound = ledger.reader().read(&tea, Seq(0), Seq(999), ALL).unwrap();
    assert_eq!(sound.len(), 121);
    drop(ledger);
    let bytes = std::fs::read(&path).unwrap();
    let mut chance = StdRng::seed_from_u64(7);
    let (mut refused, mut left_out) = (0, 0);
    for number in 0..200 {
        let flipped = folder.path().join(format!("flipped-{number}.db"));
        let mut copy = bytes.clone();
        let (byte, bit) = (chance.random_range(0..copy.len()), chance.random_range(0..8));
        copy[byte] ^= 1 << bit;
        std::fs::write(&flipped, copy).unwrap();
        let told = Sqlite::open(&flipped, CHANGE_S_MAX)
            .and_then(|ledger| ledger.reader().read(&tea, Seq(0), Seq(999), ALL));
        match told {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("flipped-"), "{byte}: {error}");
                refused += 1;
            }
            Ok(told) => {
                for message in &told {
                    let true_message = sound.iter().find(|sound| sound.seq == message.seq);
                    assert_eq!(Some(message), true_message, "byte {byte}, bit {bit}");
                }
                if told.len() < sound.len() {
                    left_out += 1;
                    assert!(jobs(&flipped).verify().is_err(), "byte {byte}, bit {bit}");
                }
            }
        }
    }
    assert!(refused > 0 && left_out > 10, "{refused} refused, {left_out} left something out");
}

/// All messages are in the search index.
const INDEXED: &str = "INSERT INTO words (rowid, text) SELECT message, pychat_words(text) FROM messages; \
     UPDATE conversations SET indexed = last";

/// Returns the seqs of the messages that a reader of the file finds.
fn told(ledger: &Sqlite) -> Vec<u64> {
    let messages = ledger.reader().read(&"#tea".parse().unwrap(), Seq(0), Seq(999), ALL).unwrap();
    messages.iter().map(|message| message.seq.0).collect()
}

#[test]
fn a_search_finds_the_messages_around_a_damaged_page() {
    let (_folder, path) = with_a_damaged_page(INDEXED);
    let ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let (told, tea) = (told(&ledger), "#tea".parse().unwrap());
    let found = |text: &str| {
        let found = ledger.reader().search(std::slice::from_ref(&tea), &wanted(text), ALL, &free());
        let (messages, more) = found.unwrap();
        assert!(!more);
        messages.iter().map(|message| message.seq.0).collect::<Vec<_>>()
    };
    assert!((280..300).contains(&told.len()), "{} messages", told.len());
    assert_eq!(found("message"), told);
    assert_eq!((found("150"), found("50")), (vec![], vec![50]));
}

#[test]
fn messages_around_a_damaged_page_expire_and_those_on_it_do_not_stop_others() {
    for parts_of in [7, 2_000] {
        let (_folder, path) = with_a_damaged_page(INDEXED);
        let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
        ledger.work_in_parts_of(parts_of, 1_024);
        let (readable, tea) = (told(&ledger).len(), "#tea".parse().unwrap());
        let sweep = |ledger: &mut Sqlite| {
            let mut removed = 0;
            loop {
                let (messages, more) = ledger.expire(&tea, i64::MAX).unwrap();
                removed += messages;
                if !more {
                    return removed;
                }
            }
        };
        // Some next to the damaged page may stay.
        let removed = sweep(&mut ledger);
        assert!((readable - 20..=readable).contains(&removed), "{removed} of {readable}");
        assert_eq!(sweep(&mut ledger), 0, "the next sweep ends too");
        assert_eq!(told(&ledger).len(), readable - removed);
        assert_eq!(ledger.emptied(&tea).unwrap(), None);
        assert_eq!(ledger.ask::<usize>("SELECT count(*) FROM used_ids"), removed);
        let left = "SELECT count(*) FROM messages INDEXED BY messages_by_time WHERE time_ms > 0";
        assert_eq!(ledger.ask::<usize>(left), 300 - removed);
    }
}

#[test]
fn a_forgotten_conversation_with_a_damaged_page_does_not_keep_the_others() {
    let (_folder, path) = with_a_damaged_page("");
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    commit(&mut ledger, sent("#other", "bob", 1, "one"));
    // The one that was forgotten last is removed first.
    ledger.detach(&"#other".parse().unwrap(), false).unwrap();
    ledger.detach(&"#tea".parse().unwrap(), false).unwrap();
    while ledger.remove_detached().unwrap() {}
    let rows = |ledger: &Sqlite| ledger.ask::<i64>("SELECT count(*) FROM conversations");
    assert_eq!(rows(&ledger), 1, "the damaged one is tried again");
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    while ledger.remove_detached().unwrap() {}
    assert_eq!((rows(&ledger), told(&ledger)), (1, vec![]));
}

#[test]
fn an_erasure_goes_on_behind_a_damaged_page_and_counts_what_it_leaves() {
    let (_folder, path) = with_a_damaged_page(INDEXED);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let readable = told(&ledger).len();
    ledger.work_in_parts_of(50, 1_024);
    let alice = "alice".parse().unwrap();
    ledger.begin_erasing(&alice).unwrap();
    let (mut erased, mut left) = (0, 0);
    while let Some(part) = ledger.erase_some().unwrap() {
        (erased, left) = (erased + part.part, left + part.unreadable);
    }
    assert_eq!(erased + left, 300);
    assert!((readable - 20..=readable).contains(&erased), "{erased} of {readable}");
    let messages = ledger.reader().read(&"#tea".parse().unwrap(), Seq(0), Seq(999), ALL).unwrap();
    assert_eq!(messages.iter().filter(|message| message.deleted).count(), erased);
    assert!(messages.iter().all(|message| message.deleted == message.body.text().is_empty()));
    drop(ledger);
    let error = jobs(&path).erase(&alice).unwrap_err().to_string();
    assert!(error.contains("could not be"), "{error}");
}

#[test]
fn a_change_of_a_message_on_a_damaged_page_does_not_fail_its_batch() {
    let (_folder, path) = with_a_damaged_page("");
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let again = SentMessage {
        id: MsgId(150_u128.to_be_bytes()),
        ..sent("#tea", "alice", 0, &numbered(150))
    };
    let batch = [
        delete("alice", 1, 150),
        edit("alice", 2, 150, "instead"),
        delete("alice", 3, 20),
        again,
        sent("#tea", "bob", 4, "next"),
    ];
    let outcomes = ledger.commit(&batch.map(Record::message)).unwrap();
    let expected = [
        Outcome::NoSuchMessage,
        Outcome::NoSuchMessage,
        Outcome::Stored(Seq(301)),
        Outcome::Known(Seq(150)),
        Outcome::Stored(Seq(302)),
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn a_sweep_goes_on_behind_a_conversation_that_is_damaged() {
    let conversations = ["#one", "#two", "#three"];
    let mut memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), CHANGE_S_MAX);
    let said = conversations.map(|name| Record::message(sent(name, "alice", 1, "x")));
    memory.commit(&said).unwrap();
    let fails = Fails { damaged: Some("#two".parse().unwrap()), ..Fails::default() };
    let fails = Arc::new(Mutex::new(fails));
    let (chance, own) = (StdRng::seed_from_u64(1), Arc::clone(&fails));
    let faulty = Faulty { memory: memory.clone(), chance, fails: own };
    let retentions = serde_json::from_str::<Config>(r#"{"retention": "1h"}"#).unwrap().retentions();
    let halves = (Box::new(faulty) as _, Box::new(memory.clone()) as _);
    let (mut ledger, _) = SplitLedger::new(Some(halves), memory, retentions);
    while ledger.sweep(1 << 40).unwrap().more {}
    let mut expired = std::mem::take(&mut fails.lock().unwrap().expired);
    expired.sort_by_key(ToString::to_string);
    let [one, _, three] = conversations.map(|name| name.parse().unwrap());
    assert_eq!(expired, [one, three]);
}

/// Damages the first page of a table.
fn damage_root(path: &Path, table: &str) {
    let ledger = rusqlite::Connection::open(path).unwrap();
    let find = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let root: usize = ledger.query_row(find, [table], |row| row.get(0)).unwrap();
    ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(ledger);
    let mut bytes = std::fs::read(path).unwrap();
    let at = (root - 1) * 4_096;
    bytes[at..at + 8].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_search_index_is_filled_again_and_blocks_no_write() {
    let alice: UserName = "alice".parse().unwrap();
    let writes: [&dyn Fn(&mut Sqlite); 5] = [
        &|ledger| assert_eq!(commit(ledger, delete("alice", 201, 7)), Outcome::Stored(Seq(101))),
        &|ledger| {
            let change = edit("alice", 201, 7, "instead");
            assert_eq!(commit(ledger, change), Outcome::Stored(Seq(101)));
        },
        &|ledger| assert_eq!(ledger.erase(&alice).unwrap(), 100),
        &|ledger| assert!(ledger.expire(&"#tea".parse().unwrap(), i64::MAX).unwrap().0 > 0),
        &|ledger| {
            said(ledger, 201, "line 101");
            while ledger.index_some().unwrap() {}
        },
    ];
    for table in ["words_data", "words_idx", "words_config"] {
        for write in writes {
            let (mut ledger, _folder, path) = on_disk();
            (1..=100).for_each(|id| said(&mut ledger, id, &format!("line {id}")));
            while ledger.index_some().unwrap() {}
            drop(ledger);
            damage_root(&path, table);
            let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
            let search = |ledger: &Sqlite| {
                let (tea, work) = ("#tea".parse().unwrap(), free());
                let found = ledger.reader().search(&[tea], &wanted("line"), ALL, &work).unwrap();
                (found.0.len(), work.is_partial())
            };
            assert_eq!(search(&ledger), (0, true), "{table}");
            write(&mut ledger);
            let said = |message: &Message| message.body.text().contains("line");
            let tea = "#tea".parse().unwrap();
            let told = ledger.reader().read(&tea, Seq(0), Seq(999), ALL).unwrap();
            let lines = told.iter().filter(|message| said(message)).count();
            assert_eq!(search(&ledger), (lines, false), "{table}: compared");
            while ledger.index_some().unwrap() {}
            assert_eq!(search(&ledger), (lines, false), "{table}: indexed");
            while ledger.tidy(0).unwrap() != Tidied::Done {}
            assert_eq!(jobs(&path).verify().unwrap().messages, told.len(), "{table}");
        }
    }
}
