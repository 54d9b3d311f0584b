//! Erased, deleted and expired texts are removed from every byte of the files, in parts between
//! which others' messages are stored.

use std::path::Path;
use std::time::{Duration, Instant};

use super::contract_tests::{
    delete, edit, found_on_disk, free, memory, on_disk, sent, sqlite, wanted,
};
use super::*;

const CHANGE_S_MAX: u64 = 60;
const SENDERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Returns distinct numbers in a mixed order.
fn mixed(number: u64) -> u64 {
    let number = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ number >> 32
}

/// Stores messages of four users in four conversations, each with a unique word and with common
/// ones.
fn fill(ledger: &mut Sqlite, messages: u64) {
    fill_without_index(ledger, messages);
    while ledger.index_some().unwrap() {}
}

fn fill_without_index(ledger: &mut Sqlite, messages: u64) {
    for batch in 0..messages / 100 {
        let message = |number: u64| {
            let chance = mixed(number);
            let from = SENDERS[(chance % 4) as usize];
            let conversation = ["#tea", "#lobby", "#work", "@alice@bob"][(chance / 4 % 4) as usize];
            let is_here = !conversation.starts_with('@') || from == "alice" || from == "bob";
            let conversation = if is_here { conversation } else { "#tea" };
            let words =
                (0..chance / 16 % 20).map(|n| format!("w{}", mixed(number * 20 + n) % 9_000));
            let words = words.collect::<Vec<_>>().join(" ");
            let text = format!("the {from}marker{number}x {words}");
            let id = MsgId((u128::from(chance) << 64 | u128::from(number)).to_be_bytes());
            let time_ms = 1_000 + number as i64;
            Record::message(SentMessage { id, time_ms, ..sent(conversation, from, 0, &text) })
        };
        let records: Vec<_> = (batch * 100..batch * 100 + 100).map(message).collect();
        ledger.commit(&records).unwrap();
    }
}

/// Erases a user and everything that is left to remove, in parts; calls `between` after each part.
/// Returns the number of erased messages and the duration of the longest part.
fn erase_in_parts(
    ledger: &mut Sqlite,
    user: &str,
    mut between: impl FnMut(&mut Sqlite),
) -> (usize, Duration) {
    ledger.begin_erasing(&user.parse().unwrap()).unwrap();
    let (mut messages, mut longest) = (0, Duration::ZERO);
    loop {
        let began = Instant::now();
        let erased = ledger.erase_some().unwrap();
        longest = longest.max(began.elapsed());
        between(ledger);
        match erased {
            Some(erased) => messages = erased.messages,
            None => break,
        }
    }
    loop {
        let began = Instant::now();
        let tidied = ledger.tidy(0).unwrap();
        longest = longest.max(began.elapsed());
        between(ledger);
        if tidied == Tidied::Done {
            return (messages, longest);
        }
    }
}

fn bytes_of(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn nothing_of_a_person_is_left_in_any_byte_and_others_write_meanwhile() {
    let (mut ledger, folder, path) = on_disk();
    fill(&mut ledger, 8_000);
    assert!(found_on_disk(folder.path(), "alicemarker") > 2_000, "the control: they are there");
    let others = jobs(&path).verify().unwrap().messages;
    let mut said = 0u64;
    let (messages, _) = erase_in_parts(&mut ledger, "alice", |ledger| {
        said += 1;
        let id = MsgId(u128::from(said).to_be_bytes());
        let message = SentMessage { id, ..sent("#tea", "bob", 0, &format!("meanwhile {said}")) };
        assert!(matches!(
            ledger.commit(&[Record::message(message)]).unwrap()[0],
            Outcome::Stored(_)
        ));
    });
    assert!(messages > 1_500 && said > 10, "{messages} in {said} parts");
    assert_eq!(found_on_disk(folder.path(), "alicemarker"), 0);
    assert_eq!(found_on_disk(folder.path(), "licemarker"), 0, "nor as the index's prefix");
    let verified = jobs(&path).verify().unwrap();
    assert_eq!(verified.messages as u64, others as u64 + said, "tombstones stay");
    let page = Page { messages_max: 9, bytes_max: 1 << 20 };
    let search = |word: &str| {
        let tea = "#tea".parse().unwrap();
        let wanted = wanted(word);
        let wanted = (&wanted, Matching::Whole);
        ledger.reader().search_conversation(&tea, wanted, page, &free()).unwrap().0.len()
    };
    assert_eq!((search("meanwhile"), search("the")), (9, 9), "the index finds the others");
}

#[test]
fn what_is_deleted_or_edited_one_by_one_is_gone_too() {
    let (mut ledger, folder, path) = on_disk();
    fill(&mut ledger, 3_000);
    let tea: Conversation = "#tea".parse().unwrap();
    let all = Page { messages_max: 10_000, bytes_max: 1 << 30 };
    let own = ledger.reader().read(&tea, Seq(0), Seq(u64::MAX), all).unwrap();
    let own = own.iter().filter(|message| message.from.as_str() == "carol");
    let mut gone = Vec::new();
    for (number, message) in own.enumerate() {
        let word = message.body.text().split(' ').nth(1).unwrap().to_owned();
        let change = match number % 2 {
            0 => delete("carol", 0, message.seq.0),
            _ => edit("carol", 0, message.seq.0, "something else"),
        };
        let id = MsgId((1 << 100 | number as u128).to_be_bytes());
        let change = SentMessage { id, time_ms: message.time_ms, ..change };
        assert!(matches!(
            ledger.commit(&[Record::message(change)]).unwrap()[0],
            Outcome::Stored(_)
        ));
        gone.push(word);
    }
    assert!(gone.len() > 200);
    assert!(ledger.scrub(0).unwrap());
    let left: Vec<_> = gone.iter().filter(|word| found_on_disk(folder.path(), word) > 0).collect();
    assert!(left.is_empty(), "{left:?}");
    jobs(&path).verify().unwrap();
}

#[test]
fn another_process_goes_on_where_an_erasure_was_ended() {
    let (mut ledger, folder, path) = on_disk();
    fill(&mut ledger, 3_000);
    ledger.begin_erasing(&"alice".parse().unwrap()).unwrap();
    let mut before = 0;
    for _ in 0..3 {
        let erased = ledger.erase_some().unwrap().unwrap();
        assert!(erased.more);
        before = erased.messages;
    }
    // The state that a killed process leaves.
    std::mem::forget(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let mut messages = 0;
    while let Some(erased) = ledger.erase_some().unwrap() {
        assert!(erased.messages >= before);
        messages = erased.messages;
        std::mem::forget(std::mem::replace(
            &mut ledger,
            Sqlite::open(&path, CHANGE_S_MAX).unwrap(),
        ));
    }
    assert!(messages > before && messages > 600, "{before}, {messages}");
    // The progress of a pass is not stored: the pass is repeated.
    for _ in 0..5 {
        ledger.tidy(0).unwrap();
    }
    std::mem::forget(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert!(ledger.scrub(0).unwrap());
    assert_eq!(found_on_disk(folder.path(), "alicemarker"), 0);
    jobs(&path).verify().unwrap();
}

/// A killed process may leave frames of the write-ahead log that it had not synced.
#[test]
fn what_a_killed_process_has_committed_is_in_the_file_after_the_next_start() {
    let (mut ledger, folder, path) = on_disk();
    ledger.commit(&[Record::message(sent("#tea", "bob", 1, "before the kill"))]).unwrap();
    let of_file_alone = |name: &str| {
        let copy = folder.path().join(name);
        std::fs::copy(&path, &copy).unwrap();
        jobs(&copy).verify().map_or(0, |verified| verified.messages)
    };
    assert_eq!(of_file_alone("before"), 0, "the control: it is in the log");
    // The state that a killed process leaves.
    std::mem::forget(ledger);
    let _ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(of_file_alone("after"), 1);
}

#[test]
fn the_file_shrinks_after_a_large_removal() {
    let (mut ledger, folder, path) = on_disk();
    fill(&mut ledger, 10_000);
    ledger.scrub(0).unwrap();
    ledger.break_with("PRAGMA wal_checkpoint(TRUNCATE)");
    let before = bytes_of(&path);
    for conversation in ["#tea", "#lobby", "#work"] {
        while ledger.expire(&conversation.parse().unwrap(), 10_000).unwrap().1 {}
    }
    assert!(ledger.scrub(30 * 86_400_000).unwrap());
    let after = bytes_of(&path);
    assert!(after < before / 2, "{before} bytes, then {after}");
    assert_eq!(found_on_disk(folder.path(), "carolmarker5x"), 0);
    let verified = jobs(&path).verify().unwrap();
    assert!(verified.messages > 100, "{verified:?}");
}

#[test]
fn a_reader_in_the_way_is_told_of_and_nothing_waits_for_it() {
    let (mut ledger, _folder, path) = on_disk();
    fill(&mut ledger, 1_000);
    ledger.begin_erasing(&"alice".parse().unwrap()).unwrap();
    while ledger.erase_some().unwrap().is_some() {}
    let look = rusqlite::Connection::open(&path).unwrap();
    look.execute_batch("BEGIN; SELECT count(*) FROM messages").unwrap();
    let began = Instant::now();
    assert!(!ledger.scrub(0).unwrap());
    assert!(began.elapsed() < Duration::from_secs(4));
    drop(look);
    assert!(ledger.scrub(0).unwrap());
}

/// The same in memory and on disk.
#[test]
fn a_name_that_is_given_to_somebody_else_changes_nothing_that_was_said_under_it() {
    for mut made in [memory(), sqlite()] {
        assert_eq!(made.says(sent("#tea", "bob", 1, "of the first bob")), Outcome::Stored(Seq(1)));
        made.ledger.renew(&"bob".parse().unwrap()).unwrap();
        assert_eq!(made.says(edit("bob", 2, 1, "of another")), Outcome::NotOwn);
        assert_eq!(made.says(delete("bob", 3, 1)), Outcome::NotOwn);
        assert_eq!(made.says(sent("#tea", "bob", 4, "of the second")), Outcome::Stored(Seq(2)));
        assert_eq!(made.says(edit("bob", 5, 2, "of the second bob")), Outcome::Stored(Seq(3)));
        made.ledger.renew(&"bob".parse().unwrap()).unwrap();
        assert_eq!(made.says(delete("bob", 6, 2)), Outcome::NotOwn);
        assert_eq!(made.says(sent("#tea", "alice", 7, "x")), Outcome::Stored(Seq(4)));
        assert_eq!(made.says(delete("alice", 8, 4)), Outcome::Stored(Seq(5)), "others go on");
    }
}

#[test]
fn holders_of_a_name_are_known_after_a_restart() {
    let (mut ledger, _folder, path) = on_disk();
    ledger.commit(&[Record::message(sent("#tea", "bob", 1, "of the first bob"))]).unwrap();
    ledger.renew(&"bob".parse().unwrap()).unwrap();
    ledger.commit(&[Record::message(sent("#tea", "bob", 2, "of the second"))]).unwrap();
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let changes = [delete("bob", 3, 1), delete("bob", 4, 2)].map(Record::message);
    let outcomes = ledger.commit(&changes).unwrap();
    assert_eq!(outcomes, [Outcome::NotOwn, Outcome::Stored(Seq(3))]);
    assert_eq!(jobs(&path).verify().unwrap().messages, 3);
}

#[test]
fn topics_of_an_erased_person_go_and_others_stay() {
    for mut made in [memory(), sqlite()] {
        let topic = |channel: &str, by: &str| {
            let topic = Topic { text: "zebramarker".into(), by: by.parse().unwrap() };
            Record::Topic(channel.parse().unwrap(), Some(topic))
        };
        made.ledger.commit(&[topic("#tea", "alice"), topic("#lobby", "bob")]).unwrap();
        made.ledger.erase(&"alice".parse().unwrap()).unwrap();
        let mut topics: Vec<_> = made.ledger.remembered(9).unwrap();
        topics.sort_by_key(|one| one.conversation.clone());
        let topics: Vec<_> = topics.iter().map(|one| one.topic.is_some()).collect();
        assert_eq!(topics, [true, false]);
    }
}

/// Prints what parts cost. `MESSAGES=100000 cargo test --release --lib measured -- --ignored
/// --nocapture`
#[test]
#[ignore = "measures"]
fn an_erasure_is_measured() {
    let messages = std::env::var("MESSAGES").map_or(100_000, |number| number.parse().unwrap());
    let (mut ledger, folder, path) = on_disk();
    fill(&mut ledger, messages);
    let before = bytes_of(&path);
    let mut waits = Vec::new();
    let (began, mut said) = (Instant::now(), 0u64);
    let (erased, longest) = erase_in_parts(&mut ledger, "alice", |ledger| {
        said += 1;
        let id = MsgId(u128::from(said).to_be_bytes());
        let message = Record::message(SentMessage { id, ..sent("#tea", "bob", 0, "meanwhile") });
        let began = Instant::now();
        ledger.commit(&[message]).unwrap();
        waits.push(began.elapsed());
    });
    let took = began.elapsed();
    waits.sort_unstable();
    let wait = waits.last().unwrap();
    let left = found_on_disk(folder.path(), "alicemarker");
    println!(
        "{erased} of {messages}: {took:?} in {said} parts, the longest {longest:?}; a commit between \
         two at most {wait:?}; {before} bytes, then {}; {left} left",
        bytes_of(&path)
    );
}

/// An unfinished merge leaves words of pages that it has removed.
#[test]
fn nothing_is_left_of_pages_that_a_merge_of_the_index_has_removed() {
    let gone = "SELECT count(*) FROM words_idx i WHERE NOT EXISTS \
         (SELECT 1 FROM words_data d WHERE d.id = (i.segid << 37) | (i.pgno >> 1))";
    let mut removed = 0;
    for first in [32, 64, 100, 150, 200] {
        let (mut ledger, folder, path) = on_disk();
        fill_without_index(&mut ledger, 3_000);
        let mut messages = first;
        while {
            ledger.index_in_parts_of(messages);
            messages *= 2;
            ledger.index_some().unwrap()
        } {}
        removed += ledger.ask::<i64>(gone);
        erase_in_parts(&mut ledger, "alice", |_| ());
        assert_eq!(found_on_disk(folder.path(), "alicemarker"), 0, "{first}");
        assert_eq!(ledger.ask::<i64>(gone), 0, "{first}");
        jobs(&path).verify().unwrap();
        // The index goes on.
        let others = sent("#tea", "bob", 200, "the zebramarker");
        ledger.commit(&[Record::message(others)]).unwrap();
        while ledger.index_some().unwrap() {}
        jobs(&path).verify().unwrap();
    }
    assert!(removed > 0, "the control: a merge was not at its end");
}

/// A merge of few segments of the index is not at its end while other messages make more of them.
#[test]
fn what_others_say_during_a_merge_of_the_index_does_not_end_it() {
    let (mut ledger, folder, _path) = on_disk();
    let message = |number: u64| {
        let from = ["alice", "bob"][(number % 2) as usize];
        // The words of alice are the last ones of the index.
        let word = ["zebramarker", "marker"][(number % 2) as usize];
        let text = format!("the {word}{number}x w{}", mixed(number));
        let id = MsgId(u128::from(number).to_be_bytes());
        Record::message(SentMessage { id, ..sent("#tea", from, 0, &text) })
    };
    ledger.commit(&(0..6_000).map(message).collect::<Vec<_>>()).unwrap();
    while ledger.index_some().unwrap() {}
    // One segment, beside which the removals become another one.
    ledger.break_with("INSERT INTO words (words) VALUES ('optimize')");
    ledger.work_in_parts_of(1_500, 2);
    ledger.begin_erasing(&"alice".parse().unwrap()).unwrap();
    while ledger.erase_some().unwrap().is_some() {}
    for (setting, value) in [("usermerge", 2), ("merge", 20), ("usermerge", 4)] {
        let set = format!("INSERT INTO words (words, rank) VALUES ('{setting}', {value})");
        ledger.break_with(&set);
    }
    let mut parts = 0;
    while ledger.tidy(0).unwrap() != Tidied::Done {
        parts += 1;
        if parts < 4 {
            let message = sent("#tea", "bob", parts, "meanwhile");
            ledger.commit(&[Record::message(message)]).unwrap();
        }
    }
    assert_eq!(found_on_disk(folder.path(), "zebramarker"), 0);
    assert_eq!(found_on_disk(folder.path(), "ebramarker"), 0, "nor as the index's prefix");
}
