//! The cost of a read is bounded, and a read does not delay writers. Each test runs on each ledger.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::contract_tests::{
    Made, PAGE, contract, free, indexed, memory, memory_of, on_disk, sent, since, sqlite, wanted,
};
use super::doubles::Acting;
use super::*;
use crate::config::Retentions;

/// A time limit that no test reaches, also on a loaded machine.
const LONG: Duration = Duration::from_secs(3_600);

/// Work that ends after this many checks.
fn looks(count: u64) -> Arc<Work> {
    let looks = AtomicU64::new(0);
    Arc::new(Work::new(LONG, move || looks.fetch_add(1, Ordering::Relaxed) >= count))
}

fn fill(made: &mut Made, conversation: &str, messages: u32, text: &dyn Fn(u32) -> String) {
    let message = |number: u32| {
        let id = MsgId(u128::from(number).to_be_bytes());
        Record::message(SentMessage { id, ..sent(conversation, "ana", 0, &text(number)) })
    };
    let messages: Vec<Record> = (1..=messages).map(message).collect();
    made.ledger.commit(&messages).unwrap();
}

#[test]
fn a_read_that_is_cut_short_tells_the_newest_messages_and_the_next_one_is_whole() {
    for mut made in [memory(), sqlite(), indexed()] {
        fill(&mut made, "#tea", 2_000, &|number| format!("tea {number}"));
        let tea: Conversation = "#tea".parse().unwrap();
        let all = Page { messages_max: 2_000, bytes_max: 1 << 30 };
        let search = |work: &Arc<Work>| {
            made.reader.search(std::slice::from_ref(&tea), &wanted("tea"), all, work).unwrap()
        };
        let history = |work: &Arc<Work>| made.reader.history(&tea, since(None), all, work).unwrap();
        for read in [&search as &dyn Fn(&Arc<Work>) -> _, &history] {
            let work = looks(20);
            let (messages, more): (Vec<Message>, bool) = read(&work);
            assert!(more && work.is_partial());
            assert!(work.looks() < 30, "{} looks", work.looks());
            assert!((1..1_000).contains(&messages.len()), "{} messages", messages.len());
            let first = 2_001 - messages.len() as u64;
            assert!(
                messages.iter().map(|message| message.seq.0).eq(first..=2_000),
                "the newest, in order"
            );
            let (messages, more) = read(&Arc::new(Work::new(Duration::ZERO, || false)));
            assert!(messages.len() < 20 && more, "{} messages for nothing", messages.len());
            let whole = free();
            let (messages, more) = read(&whole);
            assert_eq!((messages.len(), more, whole.is_partial()), (2_000, false, false));
        }
    }
}

/// The last statement of a search counts the steps of all its runs, so some of the searches are
/// interrupted in it.
#[test]
fn an_interrupted_search_keeps_the_messages_that_it_has_found() {
    let mut made = indexed();
    fill(&mut made, "#tea", 2_000, &|number| format!("tea {number}"));
    let (tea, wanted): (Conversation, Wanted) = ("#tea".parse().unwrap(), wanted("tea"));
    let all = Page { messages_max: 2_000, bytes_max: 1 << 30 };
    for round in 0..200 {
        let work = looks(20);
        let wanted = (&wanted, Matching::Whole);
        let (messages, more) = made.reader.search_conversation(&tea, wanted, all, &work).unwrap();
        assert!(more && work.is_partial());
        assert!(!messages.is_empty(), "round {round}");
    }
}

/// Work that finds no message, in the index and in texts that are compared.
#[test]
fn a_search_that_finds_nothing_is_cut_short_too() {
    for mut made in [sqlite(), indexed()] {
        fill(&mut made, "#tea", 20_000, &|_| "a b a b".into());
        let tea: Conversation = "#tea".parse().unwrap();
        for text in ["a.".repeat(32), "b ".repeat(29) + "a.a.a"] {
            let search = |work: &Arc<Work>| {
                made.reader
                    .search_conversation(&tea, (&wanted(&text), Matching::Whole), PAGE, work)
                    .unwrap()
                    .0
                    .len()
            };
            let whole = free();
            assert_eq!(search(&whole), 0, "{text}");
            assert!(whole.looks() > 20 && !whole.is_partial(), "{} looks", whole.looks());
            let work = looks(5);
            assert_eq!(search(&work), 0);
            assert!(work.is_partial() && work.looks() < 10, "{} looks", work.looks());
        }
        assert_eq!(
            made.reader
                .search_conversation(&tea, (&wanted("a.b"), Matching::Whole), PAGE, &free())
                .unwrap()
                .0
                .len(),
            1_000
        );
    }
}

#[test]
fn a_commit_does_not_wait_for_a_reader() {
    for mut made in [memory(), sqlite()] {
        fill(&mut made, "#tea", 100, &|number| format!("tea {number}"));
        let Made { mut ledger, reader, .. } = made;
        let (ask, asked) = channel::<u8>();
        let (answer, answered) = channel();
        let writer = thread::spawn(move || {
            for id in asked {
                let message = sent("#tea", "bob", id, "more tea");
                answer.send(ledger.commit(&[Record::message(message)]).unwrap()[0]).unwrap();
            }
        });
        let (next, hand) = (AtomicU64::new(0), Mutex::new((ask, answered)));
        // The reader pauses in the middle of its work until a message is stored.
        let work = Arc::new(Work::new(LONG, move || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number < 4 {
                let (ask, answered) = &*hand.lock().unwrap();
                ask.send(number as u8).unwrap();
                let stored = answered.recv_timeout(Duration::from_secs(60));
                assert!(matches!(stored, Ok(Outcome::Stored(_))), "a commit waits for the reader");
            }
            false
        }));
        let tea: Conversation = "#tea".parse().unwrap();
        let (messages, _) = reader
            .search_conversation(&tea, (&wanted("tea"), Matching::Whole), PAGE, &work)
            .unwrap();
        assert!(messages.len() >= 100 && work.looks() > 4 && !work.is_partial());
        assert!(reader.history(&tea, since(None), PAGE, &work).unwrap().0.len() >= 104);
        drop(work);
        writer.join().unwrap();
    }
}

/// A reader for which reading one conversation takes unlimited work.
fn quarry() -> Acting {
    Acting::searching(|conversation, work| {
        let endless = *conversation == "#quarry".parse().unwrap();
        while endless && !work.is_spent() {}
        let sent = SentMessage {
            conversation: conversation.clone(),
            ..sent("#tea", "ana", 1, &"x".repeat(1_000))
        };
        Ok((vec![message(sent, Seq(1), false, false); 10], endless))
    })
}

#[test]
fn a_conversation_in_which_much_is_to_be_looked_at_hides_nothing_of_the_others() {
    let conversations = ["#quarry", "#tea", "#quarry", "#coffee"].map(|name| name.parse().unwrap());
    let work = Arc::new(Work::new(Duration::from_millis(40), || false));
    let (messages, more) = quarry().search(&conversations, &wanted("x"), PAGE, &work).unwrap();
    assert!(more && work.is_partial() && messages.len() == 40, "{} messages", messages.len());
    assert!(work.spent() < Duration::from_secs(10));
    let small = Page { messages_max: 7, bytes_max: 1 << 20 };
    let tea: Vec<Conversation> = vec!["#tea".parse().unwrap(); 1_000];
    let (messages, more) = quarry().search(&tea, &wanted("x"), small, &free()).unwrap();
    assert_eq!((messages.len(), more), (7, true));
}

/// The memory of the full-text index for the most expensive allowed search.
#[test]
fn the_index_divides_no_text_into_more_words_than_bytes_allow() {
    let (mut ledger, _folder, _path) = on_disk();
    ledger.commit(&[Record::message(sent("#tea", "ana", 1, "tea"))]).unwrap();
    let reader = ledger.reader();
    // Letters that are newer than the index's tables separate words there, and not here.
    for text in ["\u{1e922}a".repeat(42), "\u{10d4a}a".repeat(50), "\"*^:(){}-".repeat(25)] {
        let found = reader.search(&["#tea".parse().unwrap()], &wanted(&text), PAGE, &free());
        assert!(found.unwrap().0.is_empty(), "{text}");
    }
}

#[test]
fn all_of_memory_is_bounded_and_the_largest_conversation_pays() {
    let mut memory = Memory::new(Epoch(7), (1 << 20, 40_000), 60);
    for id in 0..100 {
        let large = [Record::message(sent("#large", "alice", id, &"x".repeat(500)))];
        memory.commit(&large).unwrap();
        if id < 3 {
            memory.commit(&[Record::message(sent("#small", "alice", id, "x"))]).unwrap();
        }
    }
    let texts = |conversation: &str| {
        let conversation = conversation.parse().unwrap();
        memory
            .read(&conversation, Seq(0), Seq(999), PAGE)
            .unwrap()
            .iter()
            .map(|message| message.seq.0)
            .collect()
    };
    let (large, small): (Vec<u64>, Vec<u64>) = (texts("#large"), texts("#small"));
    assert_eq!(small, [1, 2, 3]);
    assert!((25..60).contains(&large.len()) && large.last() == Some(&100), "{large:?}");
    memory.forget(&"#large".parse().unwrap());
    let page = memory.history(&"#small".parse().unwrap(), since(None), PAGE, &free()).unwrap();
    assert_eq!(page.0.len(), 3);
}

#[test]
fn a_sweep_goes_on_where_its_last_turn_ended_and_counts_each_conversation_once() {
    let (mut disk, _folder, _path) = on_disk();
    let reader = disk.reader();
    let message = |(conversation, number): (&str, u32)| {
        let id = MsgId(u128::from(number).to_be_bytes());
        Record::message(SentMessage { id, ..sent(conversation, "alice", 0, "tea") })
    };
    let many = (0..450).map(|number| ("#tea", number));
    let messages: Vec<Record> = many.chain([("#coffee", 1), ("#lobby", 1)]).map(message).collect();
    disk.commit(&messages).unwrap();
    let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
    let week = Retentions::all("7d".parse().unwrap());
    let (mut kept, _) = SplitLedger::new(Some((Box::new(disk), Box::new(reader))), memory, week);
    let now_ms = 30 * 86_400_000;
    let (mut turns, mut gone) = (0, Swept::default());
    loop {
        let swept = kept.sweep(now_ms).unwrap();
        assert!(swept.messages <= 256, "{} messages at once", swept.messages);
        (turns, gone.messages, gone.conversations) =
            (turns + 1, gone.messages + swept.messages, gone.conversations + swept.conversations);
        let mut left = 0;
        while {
            let counted = kept.count_old(now_ms).unwrap();
            left += counted.messages;
            counted.more
        } {}
        assert_eq!(left + gone.messages, 452, "a count beside it counts all that is left");
        if !swept.more {
            break;
        }
    }
    assert_eq!((gone.messages, gone.conversations), (452, 3));
    assert!(turns >= 3, "{turns} turns");
}

/// A conversation keeps its newest message; a large one must not keep those of others.
#[test]
fn a_large_single_message_does_not_lift_the_bound_of_memory() {
    let kept = |with_large: bool| {
        let mut made = memory_of(20_000);
        if with_large {
            made.says(sent("#large", "ana", 1, &"x".repeat(5_000)));
        }
        for number in 0..10 {
            fill(&mut made, &format!("#small{number}"), 20, &|_| "x".repeat(100));
        }
        let count = |number: u32| {
            let conversation = format!("#small{number}").parse().unwrap();
            made.reader.read(&conversation, Seq(0), Seq(u64::MAX), PAGE).unwrap().len()
        };
        (0..10).map(count).sum::<usize>()
    };
    // A message of 100 bytes counts 356.
    let (alone, beside) = (kept(false), kept(true));
    assert!((28..=56).contains(&alone), "the control: {alone} messages");
    assert!((20..=42).contains(&beside), "{beside} messages");
}

contract! {
    an_answer_of_sealed_messages_is_bounded_by_its_bytes_on_the_wire(made) {
        let tea: Conversation = "#tea".parse().unwrap();
        let sealed = || Body::Sealed(crate::chat::Opaque::new(&[7; 900]).unwrap());
        for id in 1..=10 {
            made.says(SentMessage { body: sealed(), ..sent("#tea", "ana", id, "") });
        }
        let page = Page { messages_max: 100, bytes_max: 4 * (sealed().wire_len() + 200) };
        let (messages, more) = made.reader.history(&tea, since(None), page, &free()).unwrap();
        assert_eq!((messages.len(), more), (4, true));
    }
}
