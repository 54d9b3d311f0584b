//! Backups, restores and files of older versions lose no stored message.

use super::contract_tests::{delete, edit, found_on_disk, free, on_disk, restore, sent, wanted};
use super::*;

const CHANGE_S_MAX: u64 = 60;

fn says(ledger: &mut Sqlite, number: u64, text: &str) {
    let id = MsgId(u128::from(number).to_be_bytes());
    let message = Record::message(SentMessage { id, ..sent("#tea", "alice", 0, text) });
    assert_eq!(ledger.commit(&[message]).unwrap(), [Outcome::Stored(Seq(number))]);
}

#[test]
fn a_backup_ends_however_much_is_said_meanwhile() {
    let (mut ledger, folder, path) = on_disk();
    let text = "x".repeat(7_000);
    (1..=1_200).for_each(|number| says(&mut ledger, number, &text));
    let copy = folder.path().join("copy.db");
    let mut steps = 0;
    jobs(&path)
        .backup(&copy, &mut |_| {
            steps += 1;
            assert!(steps < 100, "it restarts after each message");
            says(&mut ledger, 1_200 + steps, "meanwhile");
        })
        .unwrap();
    assert!(steps > 1, "the control: more than one step");
    assert_eq!(jobs(&copy).verify().unwrap().messages, 1_200, "as it was when it began");
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with('.')));
}

/// Reverts the last step of the schema.
const TO_SCHEMA_12: &str = include_str!("../../tests/data/to_schema_12.sql");

/// Reverts the steps of the schema down to the one that renamed tables.
pub(super) const TO_SCHEMA_11: &str = concat!(
    include_str!("../../tests/data/to_schema_12.sql"),
    include_str!("../../tests/data/to_schema_11.sql")
);

/// Reverts the steps of the schema down to the one after which new messages are indexed later.
pub(super) const TO_SCHEMA_10: &str = concat!(
    include_str!("../../tests/data/to_schema_12.sql"),
    include_str!("../../tests/data/to_schema_11.sql"),
    include_str!("../../tests/data/to_schema_10.sql")
);

/// Reverts the steps of the schema down to those that changed the index of words.
pub(crate) const TO_SCHEMA_9: &str = concat!(
    include_str!("../../tests/data/to_schema_12.sql"),
    include_str!("../../tests/data/to_schema_11.sql"),
    include_str!("../../tests/data/to_schema_9.sql")
);

/// Reverts the earlier steps of the schema, down to version 1.
pub(super) const TO_SCHEMA_1: &str = include_str!("../../tests/data/to_schema_1.sql");

/// Creates a file of the first schema.
fn of_schema_1() -> (tempfile::TempDir, PathBuf) {
    let (mut ledger, folder, path) = on_disk();
    says(&mut ledger, 1, "zebramarker one");
    says(&mut ledger, 2, "two");
    let change = edit("alice", 99, 2, "two, mended");
    assert_eq!(ledger.commit(&[Record::message(change)]).unwrap(), [Outcome::Stored(Seq(3))]);
    ledger.break_with("UPDATE conversations SET topic = 'zebramarker'");
    ledger.break_with(TO_SCHEMA_9);
    ledger.break_with(TO_SCHEMA_1);
    (folder, path)
}

#[test]
fn a_file_of_an_older_schema_is_verified_restored_and_erased_from() {
    let (_folder, old) = of_schema_1();
    assert_eq!(jobs(&old).verify().unwrap(), Verified { conversations: 1, messages: 3 });
    let channel = Exported::Channel("#tea".parse().unwrap());
    let error = jobs(&old).export(&channel, &mut |_| true).unwrap_err();
    assert!(matches!(error, LedgerError::Older { found: 1, .. }), "{error}");
    let (other, _home, path) = on_disk();
    drop(other);
    restore(&old, &path).unwrap();
    let ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let page = Page { messages_max: 9, bytes_max: 1 << 20 };
    let told = ledger.reader().read(&"#tea".parse().unwrap(), Seq(0), Seq(9), page).unwrap();
    let texts: Vec<_> = told.iter().map(|message| message.body.text()).collect();
    assert_eq!(texts, ["zebramarker one", "two, mended", "two, mended"]);

    let (folder, old) = of_schema_1();
    assert_eq!(jobs(&old).erase(&"alice".parse().unwrap()).unwrap(), 2);
    // The copy that was made before the schema changed still contains the text.
    std::fs::remove_file(folder.path().join("ledger.schema-1.backup")).unwrap();
    assert_eq!(found_on_disk(folder.path(), "zebramarker"), 0);
}

/// Returns the seqs that a search finds, and whether it reports that its result is incomplete.
fn searched(ledger: &Sqlite, text: &str) -> (Vec<u64>, bool) {
    let (tea, work) = ("#tea".parse().unwrap(), free());
    let page = Page { messages_max: 99, bytes_max: 1 << 20 };
    let found = ledger
        .reader()
        .search_conversation(&tea, (&wanted(text), Matching::Beginnings), page, &work)
        .unwrap();
    (found.0.iter().map(|message| message.seq.0).collect(), work.is_partial())
}

/// Returns the number of messages that are not in the search index.
fn fresh(ledger: &Sqlite) -> u64 {
    ledger.ask("SELECT sum(last - indexed) FROM conversations")
}

#[test]
fn messages_of_an_older_file_are_indexed_in_parts_while_others_are_stored() {
    let (mut ledger, _folder, path) = on_disk();
    (1..=20).for_each(|number| says(&mut ledger, number, &format!("kettle{number} 绿茶")));
    ledger.break_with(TO_SCHEMA_9);
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    ledger.index_in_parts_of(3);
    assert_eq!(fresh(&ledger), 20, "nothing is indexed yet");
    assert_eq!(searched(&ledger, "kettle"), ((1..=20).collect(), false));
    assert_eq!(jobs(&path).verify().unwrap().messages, 20);
    // Commits, changes and deletions continue between the parts.
    says(&mut ledger, 21, "kettle21");
    assert!(ledger.index_some().unwrap());
    assert_eq!(fresh(&ledger), 18);
    assert_eq!(searched(&ledger, "kettle"), ((1..=21).collect(), false));
    let change = |id, of, text: &str| Record::message(edit("alice", id, of, text));
    let indexed = change(98, 2, "teapot instead");
    let waiting = change(99, 19, "teapot too");
    ledger.commit(&[indexed, waiting]).unwrap();
    assert_eq!(searched(&ledger, "teapot"), (vec![2, 19], false));
    assert_eq!(jobs(&path).verify().unwrap().messages, 23);
    let mut parts = 0;
    while ledger.index_some().unwrap() {
        parts += 1;
        assert!(parts < 1_000);
    }
    assert!(parts > 5, "{parts}");
    assert_eq!(searched(&ledger, "teapot"), (vec![2, 19], false));
    assert_eq!(searched(&ledger, "绿茶").0.len(), 18);
    assert_eq!(searched(&ledger, "kettle").0.len(), 19);
    assert_eq!(jobs(&path).verify().unwrap().messages, 23);
    // A start in the middle of the work continues it.
    ledger.break_with(TO_SCHEMA_9);
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    ledger.index_in_parts_of(3);
    ledger.index_some().unwrap();
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(fresh(&ledger), 20);
    while ledger.index_some().unwrap() {}
    assert_eq!(searched(&ledger, "kettle").0.len(), 19);
    assert_eq!(jobs(&path).verify().unwrap().messages, 23);
}

#[test]
fn an_index_that_the_version_before_has_not_filled_begins_again() {
    let (mut ledger, _folder, path) = on_disk();
    (1..=20).for_each(|number| says(&mut ledger, number, &format!("kettle{number}")));
    // The messages after 12 are in the index.
    ledger.break_with(TO_SCHEMA_12);
    ledger.break_with(
        "INSERT INTO unindexed VALUES (1, 1 << 40 | 12); UPDATE conversations SET indexed = last;
         INSERT INTO words (rowid, text) SELECT message, text FROM texts",
    );
    assert_eq!(jobs(&path).verify().unwrap().messages, 20);
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(fresh(&ledger), 20);
    assert_eq!(searched(&ledger, "kettle"), ((1..=20).collect(), false));
    while ledger.index_some().unwrap() {}
    assert_eq!((fresh(&ledger), searched(&ledger, "kettle").0.len()), (0, 20));
    assert_eq!(jobs(&path).verify().unwrap().messages, 20);
}

#[test]
fn an_index_begins_with_the_first_message_that_is_stored() {
    let (mut ledger, _folder, path) = on_disk();
    (1..=20).for_each(|number| says(&mut ledger, number, "kettle"));
    let old = "UPDATE messages SET time_ms = 1 WHERE message <= 1 << 40 | 15";
    ledger.break_with(old);
    assert_eq!(ledger.expire(&"#tea".parse().unwrap(), 2).unwrap().0, 15);
    ledger.break_with("UPDATE meta SET unicode = '1.0.0 1.0.0'");
    drop(ledger);
    let ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(fresh(&ledger), 5);
    assert_eq!(searched(&ledger, "kettle"), ((16..=20).collect(), false));
    assert_eq!(jobs(&path).verify().unwrap().messages, 5);
}

#[test]
fn an_index_of_other_versions_of_unicode_is_filled_again() {
    let (mut ledger, _folder, path) = on_disk();
    says(&mut ledger, 1, "kettle one");
    while ledger.index_some().unwrap() {}
    // A program with other versions may have divided the text like this.
    ledger.break_with(
        "INSERT INTO words (words, rowid, text) VALUES ('delete', 1 << 40 | 1, 'kettle one');
         INSERT INTO words (rowid, text) VALUES (1 << 40 | 1, 'ket tle one')",
    );
    assert!(jobs(&path).verify().is_err(), "the control");
    ledger.break_with("UPDATE meta SET unicode = '1.0.0 1.0.0'");
    assert_eq!(jobs(&path).verify().unwrap().messages, 1, "such words are not compared");
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(searched(&ledger, "tle"), (vec![], false));
    assert_eq!(jobs(&path).verify().unwrap().messages, 1);
    while ledger.index_some().unwrap() {}
    assert_eq!(searched(&ledger, "kettle"), (vec![1], false));
    assert_eq!(searched(&ledger, "tle"), (vec![], false));
    drop(ledger);
    let ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(searched(&ledger, "kettle"), (vec![1], false), "once");
    assert_eq!(jobs(&path).verify().unwrap().messages, 1);
}

#[test]
fn a_change_of_the_schema_that_broke_off_is_made_again_and_no_copy_is_lost() {
    let (folder, path) = of_schema_1();
    let copy = |name: &str| folder.path().join(name);
    std::fs::write(copy("ledger.schema-1.backup"), "an earlier try").unwrap();
    std::fs::write(copy("ledger.schema-1.unfinished"), "a start that was interrupted").unwrap();
    Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(std::fs::read(copy("ledger.schema-1.backup")).unwrap(), b"an earlier try");
    assert_eq!(jobs(&copy("ledger.schema-1-2.backup")).verify().unwrap().messages, 3);
    assert!(!copy("ledger.schema-1.unfinished").exists());
    // A start that ends between the migration and the name of the copy.
    std::fs::rename(copy("ledger.schema-1-2.backup"), copy("ledger.schema-1.unfinished")).unwrap();
    Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(jobs(&copy("ledger.schema-1-2.backup")).verify().unwrap().messages, 3);
    assert!(!copy("ledger.schema-1.unfinished").exists());
}

#[test]
fn a_second_restore_keeps_what_the_first_one_kept() {
    let (mut ledger, folder, path) = on_disk();
    says(&mut ledger, 1, "one");
    let copy = folder.path().join("copy.db");
    jobs(&path).backup(&copy, &mut |_| {}).unwrap();
    says(&mut ledger, 2, "two");
    drop(ledger);
    let first = restore(&copy, &path).unwrap();
    let second = restore(&copy, &path).unwrap();
    assert_ne!(first, second);
    assert_eq!(jobs(&first).verify().unwrap().messages, 2, "the original");
    assert_eq!(jobs(&second).verify().unwrap().messages, 1);
    assert_eq!(jobs(&path).verify().unwrap().messages, 1);
}

#[test]
fn a_restore_keeps_the_write_ahead_log_that_a_reader_keeps_from_the_ledger() {
    let (mut ledger, folder, path) = on_disk();
    says(&mut ledger, 1, "one");
    let copy = folder.path().join("copy.db");
    jobs(&path).backup(&copy, &mut |_| {}).unwrap();
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM messages").unwrap();
    says(&mut ledger, 2, "two");
    drop(ledger);
    let aside = restore(&copy, &path).unwrap();
    drop(reader);
    assert_eq!(jobs(&aside).verify().unwrap().messages, 2);
    assert_eq!(jobs(&path).verify().unwrap().messages, 1);
}

#[test]
fn a_verification_holds_up_nobody_and_is_held_up_by_nobody() {
    let (mut ledger, _folder, path) = on_disk();
    says(&mut ledger, 1, "one");
    ledger.break_with("BEGIN IMMEDIATE; UPDATE conversations SET topic = 'tea'");
    let began = std::time::Instant::now();
    assert_eq!(jobs(&path).verify().unwrap().messages, 1);
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "it waited for the writer");
    ledger.break_with("COMMIT");
    while ledger.index_some().unwrap() {}
    assert_eq!(jobs(&path).verify().unwrap().messages, 1);
    ledger
        .break_with("INSERT INTO words (words, rowid, text) VALUES ('delete', 1 << 40 | 1, 'one')");
    assert!(jobs(&path).verify().is_err(), "an index that lacks a word");
}

#[test]
fn an_erasure_is_blocked_by_a_reader_of_the_former_state_and_goes_on_after_it() {
    let (mut ledger, folder, path) = on_disk();
    says(&mut ledger, 1, "zebramarker");
    let look = rusqlite::Connection::open(&path).unwrap();
    look.execute_batch("BEGIN; SELECT count(*) FROM messages").unwrap();
    ledger.begin_erasing(&"alice".parse().unwrap()).unwrap();
    while ledger.erase_some().unwrap().is_some() {}
    assert!(!ledger.scrub(0).unwrap(), "it is read");
    assert!(found_on_disk(folder.path(), "zebramarker") > 0, "the control");
    drop(look);
    assert!(ledger.scrub(0).unwrap());
    assert_eq!(found_on_disk(folder.path(), "zebramarker"), 0);
}

#[test]
fn the_words_of_messages_that_are_changed_in_the_commit_that_stores_them_are_the_new_ones() {
    let (mut ledger, _folder, path) = on_disk();
    let records = [
        sent("#tea", "alice", 1, "green"),
        sent("#tea", "alice", 2, "white"),
        edit("alice", 3, 1, "black"),
        sent("#lobby", "alice", 4, "green"),
        delete("alice", 5, 2),
    ];
    let records: Vec<Record> = records.into_iter().map(Record::message).collect();
    ledger.commit(&records).unwrap();
    assert_eq!(jobs(&path).verify().unwrap().messages, 5);
    let conversations = ["#tea".parse().unwrap(), "#lobby".parse().unwrap()];
    let page = Page { messages_max: 9, bytes_max: 1 << 20 };
    let found = |word: &str| {
        let (messages, _) =
            ledger.reader().search(&conversations, &wanted(word), page, &free()).unwrap();
        messages.iter().map(|message| (message.to.to_string(), message.seq.0)).collect::<Vec<_>>()
    };
    assert_eq!(found("green"), [("#lobby".into(), 1)]);
    assert_eq!(found("black"), [("#tea".into(), 1)]);
    assert_eq!(found("white"), []);
}

#[test]
fn only_copies_that_are_old_enough_are_removed() {
    let (ledger, folder, path) = on_disk();
    drop(ledger);
    let copies = ["ledger.before-restore", "ledger.before-restore-2", "ledger.schema-1-2.backup"];
    let others = ["ledger.before", "mine.before-restore", "ledger.backup", "ledger.db-old"];
    for name in copies.iter().chain(&others) {
        std::fs::copy(&path, folder.path().join(name)).unwrap();
    }
    let job = jobs(&path);
    assert_eq!(job.remove_copies(std::time::Duration::from_secs(3_600)).unwrap().len(), 0);
    let mut removed = job.remove_copies(std::time::Duration::ZERO).unwrap();
    removed.sort();
    assert_eq!(removed, copies.map(|name| folder.path().join(name)));
    assert!(others.iter().all(|name| folder.path().join(name).exists()));
    assert!(path.exists());
}
