//! New messages, which are indexed after their commit: a search finds them before, meanwhile and
//! afterwards, and nothing that was removed before gets into the index.

use super::contract_tests::{delete, edit, found_on_disk, free, on_disk, restore, sent, wanted};
use super::*;

const CHANGE_S_MAX: u64 = 60;
const PAGE: Page = Page { messages_max: 1_000, bytes_max: 1 << 20 };

fn says(ledger: &mut Sqlite, conversation: &str, numbers: std::ops::RangeInclusive<u64>) {
    let message = |number: u64| {
        let id = MsgId(u128::from(number).to_be_bytes());
        let text = format!("kettle{number} the zebramarker");
        Record::message(SentMessage { id, ..sent(conversation, "alice", 0, &text) })
    };
    let records: Vec<Record> = numbers.map(message).collect();
    ledger.commit(&records).unwrap();
}

/// Returns the seqs that a search in a conversation finds, and whether there are more. The result
/// is complete.
fn found_in(ledger: &Sqlite, conversation: &str, word: &str, page: Page) -> (Vec<u64>, bool) {
    let (conversation, work) = (conversation.parse().unwrap(), free());
    let (messages, more) =
        ledger.reader().search(&[conversation], &wanted(word), page, &work).unwrap();
    assert!(!work.is_partial());
    (messages.iter().map(|message| message.seq.0).collect(), more)
}

fn found(ledger: &Sqlite, word: &str) -> Vec<u64> {
    found_in(ledger, "#tea", word, PAGE).0
}

/// Returns the number of messages in the index with a word.
fn indexed(ledger: &Sqlite, word: &str) -> i64 {
    ledger.ask(&format!("SELECT count(*) FROM words WHERE words MATCH '{word}'"))
}

fn index(ledger: &mut Sqlite) -> usize {
    let mut parts = 1;
    while ledger.index_some().unwrap() {
        parts += 1;
    }
    parts
}

#[test]
fn a_search_finds_messages_before_they_are_indexed_meanwhile_and_afterwards() {
    let (mut ledger, _folder, path) = on_disk();
    says(&mut ledger, "#tea", 1..=50);
    says(&mut ledger, "#lobby", 1..=30);
    ledger.index_in_parts_of(16);
    let mut states = Vec::new();
    loop {
        assert_eq!(found(&ledger, "zebramarker"), (1..=50).collect::<Vec<_>>());
        assert_eq!(found_in(&ledger, "#lobby", "kettle7", PAGE).0, [7]);
        assert_eq!(found(&ledger, "kett"), (1..=50).collect::<Vec<_>>(), "beginnings of words");
        let small = Page { messages_max: 20, ..PAGE };
        let newest = (31..=50).collect::<Vec<_>>();
        assert_eq!(found_in(&ledger, "#tea", "zebramarker", small), (newest, true));
        assert_eq!(jobs(&path).verify().unwrap().messages, 80);
        states.push(indexed(&ledger, "zebramarker"));
        if !ledger.index_some().unwrap() {
            break;
        }
    }
    assert_eq!(states, [0, 16, 32, 48, 64, 80], "parts of 16");
    assert_eq!(indexed(&ledger, "zebramarker"), 80);
    assert_eq!(found(&ledger, "zebramarker"), (1..=50).collect::<Vec<_>>());
    assert_eq!(jobs(&path).verify().unwrap().messages, 80);
    let small = Page { messages_max: 20, ..PAGE };
    says(&mut ledger, "#tea", 51..=55);
    let newest = (36..=55).collect::<Vec<_>>();
    assert_eq!(found_in(&ledger, "#tea", "zebramarker", small), (newest, true), "from both");
    let all = Page { messages_max: 55, ..PAGE };
    assert_eq!(found_in(&ledger, "#tea", "zebramarker", all), ((1..=55).collect(), false));
    assert_eq!(index(&mut ledger), 1);
    assert!(!ledger.index_some().unwrap(), "nothing is left");
}

#[test]
fn what_is_removed_before_it_is_indexed_never_gets_into_the_index() {
    let (mut ledger, folder, path) = on_disk();
    let of = |id: u8, text: &str| Record::message(sent("#tea", "alice", id, text));
    let texts = ["deletedmarker", "editedmarker", "erasedmarker"];
    let messages: Vec<Record> = (1..).zip(texts).map(|(id, text)| of(id, text)).collect();
    ledger.commit(&messages).unwrap();
    let other = sent("#tea", "bob", 9, "erasedmarker of bob");
    let old = SentMessage { time_ms: 1, ..sent("#old", "carol", 1, "expiredmarker") };
    let gone = sent("#gone", "carol", 1, "forgottenmarker");
    ledger.commit(&[other, old, gone].map(Record::message)).unwrap();
    let changes = [delete("alice", 11, 1), edit("alice", 12, 2, "instead")].map(Record::message);
    ledger.commit(&changes).unwrap();
    ledger.erase(&"bob".parse().unwrap()).unwrap();
    assert_eq!(ledger.expire(&"#old".parse().unwrap(), 2).unwrap().0, 1);
    ledger.detach(&"#gone".parse().unwrap(), false).unwrap();
    index(&mut ledger);
    // A start does not take up what is to be removed.
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    index(&mut ledger);
    assert_eq!(indexed(&ledger, "instead") + indexed(&ledger, "erasedmarker"), 2, "the control");
    for word in ["deletedmarker", "editedmarker", "expiredmarker", "forgottenmarker"] {
        assert_eq!(indexed(&ledger, word), 0, "{word}");
    }
    assert_eq!((found(&ledger, "instead"), found(&ledger, "erasedmarker")), (vec![2], vec![3]));
    assert!(found(&ledger, "editedmarker").is_empty());
    while ledger.remove_detached().unwrap() {}
    assert!(ledger.scrub(0).unwrap());
    for word in ["deletedmarker", "editedmarker", "expiredmarker", "forgottenmarker", "of bob"] {
        assert_eq!(found_on_disk(folder.path(), word), 0, "{word}");
        // The index stores a word without the letters that it shares with the one before.
        assert_eq!(found_on_disk(folder.path(), &word[1..]), 0, "{word}");
    }
    jobs(&path).verify().unwrap();
}

#[test]
fn a_killed_process_a_backup_and_a_restore_leave_the_rest_to_the_next_start() {
    let (mut ledger, folder, path) = on_disk();
    says(&mut ledger, "#tea", 1..=40);
    ledger.index_in_parts_of(16);
    assert!(ledger.index_some().unwrap());
    let copy = folder.path().join("copy.db");
    jobs(&path).backup(&copy, &mut |_| {}).unwrap();
    // The state that a killed process leaves.
    std::mem::forget(ledger);
    let goes_on = |path: &Path| {
        let mut ledger = Sqlite::open(path, CHANGE_S_MAX).unwrap();
        assert_eq!(indexed(&ledger, "zebramarker"), 16);
        assert_eq!(found(&ledger, "zebramarker").len(), 40);
        index(&mut ledger);
        assert_eq!(indexed(&ledger, "zebramarker"), 40);
        assert_eq!(found(&ledger, "zebramarker").len(), 40);
        assert_eq!(jobs(path).verify().unwrap().messages, 40);
    };
    goes_on(&path);
    let (other, _other_folder, to) = on_disk();
    drop(other);
    restore(&copy, &to).unwrap();
    goes_on(&to);
}

#[test]
fn a_file_of_a_former_version_is_not_indexed_again() {
    for to_former in [super::jobs_tests::TO_SCHEMA_10, super::jobs_tests::TO_SCHEMA_11] {
        continues_without_a_new_index(to_former);
    }
}

/// Reverts the schema of a ledger whose messages are indexed, and opens it again.
fn continues_without_a_new_index(to_former: &str) {
    let (mut ledger, _folder, path) = on_disk();
    says(&mut ledger, "#tea", 1..=20);
    index(&mut ledger);
    ledger.break_with(to_former);
    drop(ledger);
    assert_eq!(jobs(&path).verify().unwrap().messages, 20, "before the step");
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(index(&mut ledger), 1);
    assert_eq!((found(&ledger, "zebramarker").len(), indexed(&ledger, "zebramarker")), (20, 20));
    says(&mut ledger, "#tea", 21..=22);
    assert_eq!(found(&ledger, "zebramarker").len(), 22);
    assert_eq!(index(&mut ledger), 1);
    assert_eq!(jobs(&path).verify().unwrap().messages, 22);
}

#[test]
fn a_verification_finds_an_index_beyond_the_last_message() {
    let (mut ledger, _folder, path) = on_disk();
    says(&mut ledger, "#tea", 1..=3);
    index(&mut ledger);
    jobs(&path).verify().unwrap();
    ledger.break_with("UPDATE conversations SET indexed = 4");
    assert!(jobs(&path).verify().unwrap_err().to_string().contains("index"));
    // A message that counts as indexed and is not.
    says(&mut ledger, "#tea", 4..=4);
    assert!(jobs(&path).verify().is_err());
}

#[test]
fn messages_of_many_conversations_are_one_batch() {
    let (mut ledger, _folder, path) = on_disk();
    for number in 0..300 {
        says(&mut ledger, &format!("#c{number}"), 1..=2);
    }
    let segments =
        |ledger: &Sqlite| -> i64 { ledger.ask("SELECT count(DISTINCT segid) FROM words_idx") };
    ledger.index_in_parts_of(1_024);
    assert_eq!((index(&mut ledger), segments(&ledger)), (1, 1));
    assert_eq!(indexed(&ledger, "zebramarker"), 600);
    jobs(&path).verify().unwrap();
}

#[test]
fn a_message_on_a_damaged_page_is_left_out_and_the_others_are_indexed() {
    let (mut ledger, _folder, path) = on_disk();
    let text = |seq: u64| format!("message number {seq} {}", "x".repeat(300));
    let message = |seq: u64| {
        let id = MsgId(u128::from(seq).to_be_bytes());
        Record::message(SentMessage { id, ..sent("#tea", "alice", 0, &text(seq)) })
    };
    ledger.commit(&(1..=300).map(message).collect::<Vec<_>>()).unwrap();
    drop(ledger);
    let mut bytes = std::fs::read(&path).unwrap();
    let marker = text(150).into_bytes();
    let at = bytes.windows(marker.len()).position(|part| part == marker).unwrap();
    let page = at - at % 4_096;
    bytes[page..page + 8].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let tea: Conversation = "#tea".parse().unwrap();
    let told = ledger.reader().read(&tea, Seq(0), Seq(300), PAGE).unwrap();
    let told: Vec<u64> = told.iter().map(|message| message.seq.0).collect();
    assert!((280..300).contains(&told.len()), "{} messages", told.len());
    assert_eq!(found(&ledger, "message"), told, "compared");
    index(&mut ledger);
    assert_eq!(found(&ledger, "message"), told, "indexed");
    assert_eq!(ledger.ask::<i64>("SELECT last - indexed FROM conversations"), 0);
}
