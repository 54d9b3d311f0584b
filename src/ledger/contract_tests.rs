//! The contract of every ledger, tested on each of them, and the additional tests of the ledger on
//! disk.

use std::path::PathBuf;

use super::*;
use crate::chat::Retention;
use crate::config::Retentions;

/// Both halves of a ledger, and the folder of the one on disk.
pub(super) struct Made {
    pub ledger: Box<dyn Ledger>,
    pub reader: Box<dyn Reader>,
    _folder: tempfile::TempDir,
}

const CHANGE_S_MAX: u64 = 60;
pub(super) const PAGE: Page = Page { messages_max: 1_000, bytes_max: 1 << 20 };

pub(super) fn memory() -> Made {
    memory_of(1 << 30)
}

/// A ledger that keeps so many bytes in all.
pub(super) fn memory_of(bytes_max: usize) -> Made {
    let memory = Memory::new(Epoch(7), (1 << 20, bytes_max), CHANGE_S_MAX);
    let _folder = tempfile::tempdir().unwrap();
    Made { ledger: Box::new(memory.clone()), reader: Box::new(memory), _folder }
}

pub(super) fn sqlite() -> Made {
    let _folder = tempfile::tempdir().unwrap();
    let ledger = Sqlite::open(&_folder.path().join("ledger.db"), CHANGE_S_MAX).unwrap();
    let reader = ledger.reader();
    Made { ledger: Box::new(ledger), reader: Box::new(reader), _folder }
}

/// A ledger on disk whose messages are in the full-text index right after their commit. In the
/// ledger of `sqlite`, no messages are.
pub(super) fn indexed() -> Made {
    let _folder = tempfile::tempdir().unwrap();
    let mut ledger = Sqlite::open(&_folder.path().join("ledger.db"), CHANGE_S_MAX).unwrap();
    ledger.index_at_once();
    let reader = ledger.reader();
    Made { ledger: Box::new(ledger), reader: Box::new(reader), _folder }
}

pub(super) fn on_disk() -> (Sqlite, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    (Sqlite::open(&path, CHANGE_S_MAX).unwrap(), folder, path)
}

pub(super) fn restore(from: &Path, to: &Path) -> Option<PathBuf> {
    jobs(to).prepare_restore(from).unwrap();
    jobs(to).finish_restore().unwrap()
}

pub(super) fn sent(conversation: &str, from: &str, id: u8, text: &str) -> SentMessage {
    SentMessage {
        conversation: conversation.parse().unwrap(),
        from: from.parse().unwrap(),
        device: "main".parse().unwrap(),
        id: MsgId([id; 16]),
        time_ms: 1_000,
        kind: Kind::Say,
        body: text.into(),
    }
}

/// Returns a topic.
pub(super) fn green() -> Topic {
    Topic { text: "green".into(), by: "ana".parse().unwrap() }
}

pub(super) fn edit(from: &str, id: u8, of: u64, text: &str) -> SentMessage {
    SentMessage { kind: Kind::Edit { of: Seq(of) }, ..sent("#tea", from, id, text) }
}

pub(super) fn delete(from: &str, id: u8, of: u64) -> SentMessage {
    SentMessage { kind: Kind::Delete { of: Seq(of) }, ..sent("#tea", from, id, "") }
}

/// Selects the newest messages since this time.
pub(super) fn since(since_ms: Option<i64>) -> Older {
    Older { since_ms, ..Older::default() }
}

pub(super) fn wanted(text: &str) -> Wanted {
    Wanted::new(text).unwrap()
}

/// Unlimited work.
pub(super) fn free() -> Arc<Work> {
    Arc::new(Work::unbounded())
}

impl Made {
    pub fn says(&mut self, sent: SentMessage) -> Outcome {
        self.ledger.commit(&[Record::message(sent)]).unwrap()[0]
    }

    fn texts(&self, conversation: &str) -> Vec<(u64, String)> {
        let conversation = conversation.parse().unwrap();
        let messages = self.reader.read(&conversation, Seq(0), Seq(u64::MAX), PAGE).unwrap();
        messages
            .into_iter()
            .map(|message| (message.seq.0, message.body.text().to_owned()))
            .collect()
    }
}

/// Generates a test for each ledger.
macro_rules! contract {
    ($($(#[$doc:meta])* $name:ident($made:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn holds(mut $made: Made) $body

            #[test]
            fn in_memory() {
                holds(memory());
            }

            #[test]
            fn on_disk() {
                holds(sqlite());
            }

            #[test]
            fn on_disk_indexed() {
                holds($crate::ledger::contract_tests::indexed());
            }
        }
    )+};
}
pub(super) use contract;

contract! {
    seqs_are_contiguous_in_each_conversation(made) {
        let batch: Vec<Record> = (1..=9)
            .map(|id| Record::message(sent(if id % 3 == 0 { "#tea" } else { "#lobby" }, "ana", id, "x")))
            .collect();
        let outcomes = made.ledger.commit(&batch).unwrap();
        let wanted = [1, 2, 1, 3, 4, 2, 5, 6, 3].map(|seq| Outcome::Stored(Seq(seq)));
        assert_eq!(outcomes, wanted);
        assert_eq!(made.says(sent("#tea", "bob", 9, "x")), Outcome::Stored(Seq(4)));
        assert_eq!(made.texts("#tea").len(), 4);
    }

    a_repeat_has_the_same_seq_and_another_text_is_refused(made) {
        assert_eq!(made.says(sent("#tea", "ana", 1, "hi")), Outcome::Stored(Seq(1)));
        assert_eq!(made.says(sent("#tea", "ana", 1, "hi")), Outcome::Known(Seq(1)));
        assert_eq!(made.says(sent("#tea", "ana", 1, "ho")), Outcome::Conflict);
        assert_eq!(made.says(sent("#tea", "bob", 1, "ho")), Outcome::Stored(Seq(2)), "bob's own id");
        assert_eq!(made.says(sent("#lobby", "ana", 1, "ho")), Outcome::Stored(Seq(1)), "elsewhere");
        let twice = [Record::message(sent("#tea", "ana", 5, "x")), Record::message(sent("#tea", "ana", 5, "x"))];
        let outcomes = made.ledger.commit(&twice).unwrap();
        assert_eq!(outcomes, [Outcome::Stored(Seq(3)), Outcome::Known(Seq(3))], "in one batch");
        assert_eq!(made.texts("#tea").len(), 3);
    }

    an_id_that_another_sender_has_copied_is_known_for_each_of_them(made) {
        for (seq, from) in [(1, "ana"), (2, "bob"), (3, "carol")] {
            assert_eq!(made.says(sent("#tea", from, 1, from)), Outcome::Stored(Seq(seq)));
        }
        for (seq, from) in [(3, "carol"), (1, "ana"), (2, "bob")] {
            assert_eq!(made.says(sent("#tea", from, 1, from)), Outcome::Known(Seq(seq)));
            assert_eq!(made.says(sent("#tea", from, 1, "else")), Outcome::Conflict);
        }
    }

    a_sender_may_edit_and_delete_for_a_while(made) {
        made.says(sent("#tea", "ana", 1, "helo"));
        assert_eq!(made.says(edit("ana", 2, 1, "hello")), Outcome::Stored(Seq(2)));
        assert_eq!(made.texts("#tea"), [(1, "hello".into()), (2, "hello".into())]);
        assert_eq!(made.says(edit("ana", 2, 1, "hello")), Outcome::Known(Seq(2)));
        assert_eq!(made.says(edit("bob", 3, 1, "bye")), Outcome::NotOwn);
        assert_eq!(made.says(edit("ana", 4, 9, "bye")), Outcome::NoSuchMessage);
        assert_eq!(made.says(edit("ana", 4, 2, "bye")), Outcome::NoSuchMessage, "an edit");
        let late = SentMessage { time_ms: 62_000, ..edit("ana", 5, 1, "late") };
        assert_eq!(made.says(late), Outcome::TooLate);
        assert_eq!(made.says(delete("ana", 6, 1)), Outcome::Stored(Seq(3)));
        let conversation = "#tea".parse().unwrap();
        let messages = made.reader.read(&conversation, Seq(0), Seq(9), PAGE).unwrap();
        assert!(messages[0].deleted && messages[0].body.is_empty() && messages[1].body.is_empty());
        assert_eq!(made.says(edit("ana", 7, 1, "again")), Outcome::NoSuchMessage);
    }

    reading_goes_by_seq_and_by_page(made) {
        for id in 1..=20 {
            made.says(sent("#tea", "ana", id, &format!("message {id}")));
        }
        let conversation: Conversation = "#tea".parse().unwrap();
        let read = |after, upto, page| {
            let messages = made.reader.read(&conversation, Seq(after), Seq(upto), page).unwrap();
            messages.iter().map(|message| message.seq.0).collect::<Vec<_>>()
        };
        assert_eq!(read(5, 8, PAGE), [6, 7, 8]);
        assert_eq!(read(18, u64::MAX, PAGE), [19, 20]);
        assert_eq!(read(0, 20, Page { messages_max: 3, ..PAGE }), [1, 2, 3]);
        assert_eq!(read(0, 20, Page { bytes_max: 1, ..PAGE }), [1], "one at least");
        let history = |before: Option<u64>, messages_max| {
            let page = Page { messages_max, ..PAGE };
            let (messages, more) = made.reader.history(&conversation, Older { before: before.map(Seq), ..Older::default() }, page, &free()).unwrap();
            (messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), more)
        };
        assert_eq!(history(None, 2), (vec![19, 20], true));
        assert_eq!(history(Some(3), 5), (vec![1, 2], false));
        let late = made.reader.history(&conversation, since(Some(1_001)), PAGE, &free()).unwrap();
        assert_eq!(late.0.len(), 0);
        made.says(SentMessage { time_ms: 2_000, ..sent("#tea", "ana", 21, "later") });
        made.says(SentMessage { time_ms: 3_000, ..sent("#tea", "ana", 22, "later") });
        let not_older = |since_ms, messages_max| {
            let page = Page { messages_max, ..PAGE };
            let (messages, more) = made.reader.history(&conversation, since(Some(since_ms)), page, &free()).unwrap();
            (messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), more)
        };
        assert_eq!(not_older(1_001, 9), (vec![21, 22], false));
        assert_eq!(not_older(1_001, 1), (vec![22], true));
        assert_eq!(not_older(3_001, 9), (vec![], false));
        let elsewhere = "#none".parse().unwrap();
        assert!(made.reader.read(&elsewhere, Seq(0), Seq(9), PAGE).unwrap().is_empty());
    }

    search_finds_all_words_in_the_given_conversations_only(made) {
        made.says(sent("#tea", "ana", 1, "Green tea and cake"));
        made.says(sent("#tea", "ana", 2, "black tea"));
        made.says(sent("#secret", "ana", 3, "green tea too"));
        made.says(sent("#tea", "ana", 4, "\"quoted\" OR (green"));
        let search = |text: &str| {
            let conversations = ["#tea".parse().unwrap()];
            let (messages, _) = made.reader.search(&conversations, &wanted(text), PAGE, &free()).unwrap();
            messages.iter().map(|message| message.seq.0).collect::<Vec<_>>()
        };
        assert_eq!(search("tea green"), [1]);
        assert_eq!(search("tea"), [1, 2]);
        assert_eq!(search("\"quoted\""), [3]);
        assert_eq!(search("water"), [] as [u64; 0]);
        assert_eq!(search("gree"), [1, 3], "a beginning");
        assert_eq!(search("tea gre"), [1]);
        assert_eq!((search("gr"), search("reen")), (vec![], vec![]));
        assert_eq!(search("--- ("), [] as [u64; 0], "no word finds nothing");
    }

    search_knows_letters_without_their_accents(made) {
        let texts = ["K\u{e4}se", "cafe\u{301}", "\u{c5}NGSTR\u{d6}M", "na\u{ef}ve", "\u{1ec7}",
            "stra\u{df}e", "\u{141}\u{f3}d\u{17a}", "\u{41c}\u{43e}\u{439}", "\u{386}\u{3bb}\u{3c6}\u{3b1}"];
        for (id, text) in texts.iter().enumerate() {
            made.says(sent("#tea", "alice", id as u8 + 1, text));
        }
        let search = |text: &str| {
            let conversations = ["#tea".parse().unwrap()];
            let (messages, _) = made.reader.search(&conversations, &wanted(text), PAGE, &free()).unwrap();
            messages.iter().map(|message| message.seq.0).collect::<Vec<_>>()
        };
        let asked = ["kase", "KA\u{308}SE", "CAF\u{c9}", "angstrom", "naive", "e", "STRA\u{df}E",
            "\u{142}odz", "\u{43c}\u{43e}\u{439}", "\u{3ac}\u{3bb}\u{3c6}\u{3b1}"];
        let found: Vec<_> = asked.iter().map(|text| search(text)).collect();
        let wanted = [1, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|seq| vec![seq]);
        assert_eq!(found, wanted);
        assert_eq!(search("strasse"), [] as [u64; 0]);
    }

    search_finds_words_of_scripts_without_spaces(made) {
        let texts = ["我喜欢喝绿茶。", "お茶を飲みます", "ฉันดื่มกาแฟ", "학교에서"];
        for (id, text) in texts.iter().enumerate() {
            made.says(sent("#tea", "alice", id as u8 + 1, text));
        }
        made.says(edit("alice", 9, 4, "茶碗"));
        let search = |text: &str| {
            let conversations = ["#tea".parse().unwrap()];
            let (messages, _) = made.reader.search(&conversations, &wanted(text), PAGE, &free()).unwrap();
            messages.iter().map(|message| message.seq.0).collect::<Vec<_>>()
        };
        assert_eq!((search("绿茶"), search("茶"), search("茶绿")), (vec![1], vec![1, 2, 4], vec![]));
        assert_eq!((search("飲み"), search("กาแฟ"), search("학교")), (vec![2], vec![3], vec![]));
    }

    search_gives_the_newest_of_all_conversations(made) {
        let messages: Vec<Record> = (1..=9u8)
            .map(|id| {
                let conversation = ["#tea", "#cake", "@ana@bob"][usize::from(id) % 3];
                let time_ms = i64::from(id) * 1_000;
                Record::message(SentMessage { time_ms, ..sent(conversation, "ana", id, "a marker") })
            })
            .collect();
        made.ledger.commit(&messages).unwrap();
        let conversations = ["#tea", "#cake", "@ana@bob"].map(|conversation| conversation.parse().unwrap());
        let search = |messages_max| {
            let page = Page { messages_max, ..PAGE };
            let (messages, more) = made.reader.search(&conversations, &wanted("MARKER"), page, &free()).unwrap();
            (messages.iter().map(|message| message.time_ms / 1_000).collect::<Vec<_>>(), more)
        };
        assert_eq!(search(4), (vec![6, 7, 8, 9], true));
        assert_eq!(search(9), ((1..=9).collect(), false));
    }

    search_gives_whole_words_before_newer_beginnings(made) {
        let records: Vec<Record> = (1..=63u8)
            .map(|id| {
                let (conversation, text) = match id {
                    1..=3 => ("#tea", "tea old"),
                    _ => (["#tea", "#cake"][usize::from(id) % 2], "team new"),
                };
                let time_ms = i64::from(id) * 1_000;
                Record::message(SentMessage { time_ms, ..sent(conversation, "ana", id, text) })
            })
            .collect();
        made.ledger.commit(&records).unwrap();
        let conversations = ["#tea", "#cake"].map(|conversation| conversation.parse().unwrap());
        let search = |messages_max| {
            let page = Page { messages_max, ..PAGE };
            let (messages, more) = made.reader.search(&conversations, &wanted("tea"), page, &free()).unwrap();
            (messages.iter().map(|message| message.time_ms / 1_000).collect::<Vec<_>>(), more)
        };
        assert_eq!(search(2), (vec![2, 3], true));
        assert_eq!(search(3), (vec![1, 2, 3], true));
        assert_eq!(search(20), ((1..=3).chain(47..=63).collect(), true));
        assert_eq!(search(50), ((1..=3).chain(17..=63).collect(), true));
        assert_eq!(search(63), ((1..=63).collect(), false));
    }

    what_is_deleted_is_not_found(made) {
        made.says(sent("#tea", "ana", 1, "a marker"));
        made.says(sent("#tea", "bob", 2, "another marker"));
        made.says(delete("ana", 3, 1));
        made.says(edit("bob", 4, 2, "nothing"));
        let conversations = ["#tea".parse().unwrap()];
        assert!(made.reader.search(&conversations, &wanted("marker"), PAGE, &free()).unwrap().0.is_empty());
        assert_eq!(made.reader.search(&conversations, &wanted("nothing"), PAGE, &free()).unwrap().0[0].seq, Seq(2));
    }

    the_newest_message_says_its_time(made) {
        assert_eq!(made.ledger.newest_ms().unwrap(), None);
        for (id, conversation, time_ms) in [(1, "#tea", 1_000), (2, "#cake", 2_000), (3, "#tea", 3_000)] {
            made.says(SentMessage { time_ms, ..sent(conversation, "alice", id, "x") });
        }
        assert_eq!(made.ledger.newest_ms().unwrap(), Some(3_000));
    }

    old_messages_go_and_leave_their_seqs(made) {
        for id in 1..=4 {
            let message = SentMessage { time_ms: i64::from(id) * 1_000, ..sent("#tea", "ana", id, "x") };
            made.says(message);
        }
        let conversation = "#tea".parse().unwrap();
        assert_eq!(made.ledger.count_old(&conversation, 3_000, None).unwrap(), (2, None));
        assert_eq!(made.ledger.expire(&conversation, 3_000).unwrap().0, 2);
        made.ledger.scrub(3_000).unwrap();
        assert_eq!(made.texts("#tea"), [(3, "x".into()), (4, "x".into())]);
        assert_eq!(made.says(sent("#tea", "ana", 5, "x")), Outcome::Stored(Seq(5)));
        let empty = made.ledger.expire(&conversation, i64::MAX).unwrap().0;
        assert_eq!(empty, 3);
        assert_eq!(made.says(sent("#tea", "ana", 6, "x")), Outcome::Stored(Seq(6)));
    }

    a_person_is_erased_and_nobody_else(made) {
        made.says(sent("#tea", "ana", 1, "mine"));
        made.says(sent("@ana@bob", "ana", 2, "mine too"));
        made.says(sent("#tea", "bob", 3, "not mine"));
        assert_eq!(made.ledger.erase(&"ana".parse().unwrap()).unwrap(), 2);
        assert_eq!(made.texts("#tea"), [(1, String::new()), (2, "not mine".into())]);
        assert_eq!(made.texts("@ana@bob"), [(1, String::new())]);
        let conversations = ["#tea".parse().unwrap(), "@ana@bob".parse().unwrap()];
        let (found, _) = made.reader.search(&conversations, &wanted("mine"), PAGE, &free()).unwrap();
        assert_eq!(found.len(), 1);
    }
}

#[test]
fn memory_is_bounded_whatever_the_messages_are() {
    let mut memory = Memory::new(Epoch(7), (10_000, 1 << 30), CHANGE_S_MAX);
    let conversation: Conversation = "#tea".parse().unwrap();
    for number in 0..1_000u128 {
        let message = SentMessage { id: MsgId(number.to_be_bytes()), ..sent("#tea", "ana", 0, "") };
        memory.commit(&[Record::message(message)]).unwrap();
    }
    let kept = memory.read(&conversation, Seq(0), Seq(u64::MAX), PAGE).unwrap();
    assert!(kept.len() > 10 && kept.len() < 50, "{}", kept.len());
    assert_eq!(kept.last().unwrap().seq, Seq(1_000));
    memory.expire(&conversation, i64::MAX).unwrap();
    let message = sent("#tea", "ana", 0, "x".repeat(9_000).as_str());
    let outcomes =
        memory.commit(&[Record::message(message.clone()), Record::message(message)]).unwrap();
    assert_eq!(outcomes, [Outcome::Stored(Seq(1_001)), Outcome::Known(Seq(1_001))]);
}

#[test]
fn only_messages_that_came_after_somebody_left_wait_and_no_more_are_counted_than_may() {
    let (mut ledger, _folder, _path) = on_disk();
    let private: Conversation = "@ana@bob".parse().unwrap();
    let message = |id| Record::message(sent("@ana@bob", "ana", id, "x"));
    ledger.commit(&(1..=5).map(message).collect::<Vec<_>>()).unwrap();
    ledger.commit(&[Record::Away("bob".parse().unwrap(), vec![private])]).unwrap();
    ledger.commit(&(6..=9).map(message).collect::<Vec<_>>()).unwrap();
    ledger.commit(&[Record::message(sent("@ana@cleo", "ana", 1, "x"))]).unwrap();
    let waiting = |max| {
        let remembered = ledger.remembered(max).unwrap();
        remembered.iter().find(|one| one.last == Seq(9)).unwrap().waiting[1].1
    };
    assert_eq!((waiting(1_000), waiting(3)), (4, 3));
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let (mut ledger, _folder, path) = on_disk();
    let (ana, bob): (UserName, UserName) = ("ana".parse().unwrap(), "bob".parse().unwrap());
    let tea: Conversation = "#tea".parse().unwrap();
    let private = Conversation::private(ana.clone(), bob.clone());
    let records = [
        Record::message(sent("#tea", "ana", 1, "x")),
        Record::message(sent("@ana@bob", "ana", 2, "x")),
        Record::Away(bob.clone(), vec![private.clone()]),
        Record::message(sent("@ana@bob", "ana", 3, "x")),
        Record::Topic("#tea".parse().unwrap(), Some(green())),
        Record::Read(bob.clone(), tea.clone(), Seq(1)),
        Record::Read(bob.clone(), tea.clone(), Seq(0)),
    ];
    ledger.commit(&records).unwrap();
    let log = ledger.epoch();
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!(ledger.epoch(), log);
    let mut remembered = ledger.remembered(1_000).unwrap();
    remembered.sort_by_key(|one| one.conversation.clone());
    assert_eq!(remembered[0].topic, Some(green()));
    assert_eq!(remembered[0].reads, [(bob.clone(), Seq(1))]);
    assert_eq!((remembered[1].last, &remembered[1].waiting), (Seq(2), &vec![(ana, 0), (bob, 1)]));
    let again = ledger.commit(&[Record::message(sent("#tea", "ana", 1, "x"))]).unwrap();
    assert_eq!(again, [Outcome::Known(Seq(1))], "ids are known over a restart");
}

#[test]
fn ids_of_messages_that_are_gone_are_known_for_a_week() {
    let (mut ledger, _folder, path) = on_disk();
    ledger.commit(&[Record::message(sent("#tea", "ana", 1, "x"))]).unwrap();
    let week_ms = 7 * 86_400_000;
    ledger.expire(&"#tea".parse().unwrap(), 2_000).unwrap();
    ledger.scrub(1_000 + week_ms).unwrap();
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    let again = ledger.commit(&[Record::message(sent("#tea", "ana", 1, "x"))]).unwrap();
    assert_eq!(again, [Outcome::Known(Seq(1))]);
    ledger.scrub(1_001 + week_ms).unwrap();
    let again = ledger.commit(&[Record::message(sent("#tea", "ana", 1, "x"))]).unwrap();
    assert_eq!(again, [Outcome::Stored(Seq(2))]);
}

#[test]
fn a_commit_that_fails_at_any_message_stores_nothing_and_the_next_goes_on() {
    for failing in 1..=10u64 {
        let (mut ledger, _folder, _path) = on_disk();
        ledger.commit(&[Record::message(sent("#tea", "ana", 100, "before"))]).unwrap();
        ledger.break_with(&format!(
            "CREATE TEMP TRIGGER fails BEFORE INSERT ON main.messages WHEN new.message & 0xffffffffff = {} \
             BEGIN SELECT RAISE(ABORT, 'disk full'); END",
            failing + 1
        ));
        let batch: Vec<Record> =
            (1..=10).map(|id| Record::message(sent("#tea", "ana", id, "x"))).collect();
        assert!(ledger.commit(&batch).is_err());
        ledger.break_with("DROP TRIGGER fails");
        let outcomes = ledger.commit(&batch).unwrap();
        assert_eq!(outcomes[0], Outcome::Stored(Seq(2)), "no seq was lost");
        assert_eq!(outcomes[9], Outcome::Stored(Seq(11)));
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let (mut ledger, _folder, _path) = on_disk();
    ledger.limit_pages(60);
    let text = "x".repeat(4_000);
    let mut stored = 0;
    let error = loop {
        let message = Record::message(sent("#tea", "ana", stored as u8 + 1, &text));
        match ledger.commit(&[message]) {
            Ok(outcomes) => {
                stored += 1;
                assert_eq!(outcomes, [Outcome::Stored(Seq(stored))]);
                assert!(stored < 100, "the limit does not hold");
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LedgerError::Engine { .. }), "{error}");
    let reader = ledger.reader();
    let conversation = "#tea".parse().unwrap();
    let messages =
        reader.read(&conversation, Seq(0), Seq(u64::MAX), Page { bytes_max: 1 << 30, ..PAGE });
    assert_eq!(messages.unwrap().len() as u64, stored, "reading goes on");
    ledger.limit_pages(10_000);
    let next = ledger.commit(&[Record::message(sent("#tea", "ana", 200, &text))]).unwrap();
    assert_eq!(next, [Outcome::Stored(Seq(stored + 1))]);
}

/// Returns whether any file of the ledger contains the bytes.
pub(super) fn found_on_disk(folder: &std::path::Path, marker: &str) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(marker.len()).filter(|part| *part == marker.as_bytes()).count()
    };
    files.map(holds).sum()
}

#[test]
fn what_is_removed_cannot_be_read_from_the_disk() {
    for is_indexed in [true, false] {
        let (mut ledger, folder, _path) = on_disk();
        let messages = (0..200u8).map(|id| {
            let conversation = if id < 100 { "#old" } else { "#changed" };
            let text = format!("zebramarker{id} and more words");
            Record::message(sent(conversation, "ana", id, &text))
        });
        ledger.commit(&messages.collect::<Vec<_>>()).unwrap();
        if is_indexed {
            while ledger.index_some().unwrap() {}
        }
        let before = found_on_disk(folder.path(), "ebramarker");
        assert!(before >= 200, "the control: {before} are there");
        while ledger.expire(&"#old".parse().unwrap(), 2_000).unwrap().1 {}
        ledger.erase(&"ana".parse().unwrap()).unwrap();
        ledger.scrub(2_000).unwrap();
        assert_eq!(found_on_disk(folder.path(), "zebramarker"), 0);
        assert_eq!(found_on_disk(folder.path(), "ebramarker"), 0, "nor as the index's prefix");
    }
}

#[test]
fn a_backup_is_whole_and_a_restore_begins_new_logs() {
    let (mut ledger, folder, path) = on_disk();
    ledger.commit(&[Record::message(sent("#tea", "ana", 1, "kept"))]).unwrap();
    let copy = folder.path().join("copy.db");
    let mut percents = Vec::new();
    jobs(&path).backup(&copy, &mut |percent| percents.push(percent)).unwrap();
    assert_eq!(percents.last(), Some(&100));
    assert!(jobs(&path).backup(&copy, &mut |_| {}).is_err(), "no file is overwritten");
    let log = ledger.epoch();
    ledger.commit(&[Record::message(sent("#tea", "ana", 2, "after the backup"))]).unwrap();
    drop(ledger);
    let verified = jobs(&copy).verify().unwrap();
    assert_eq!(verified, Verified { conversations: 1, messages: 1 });
    let aside = restore(&copy, &path).unwrap();
    assert_eq!(jobs(&aside).verify().unwrap().messages, 2, "what was there is kept");
    let ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_ne!(ledger.epoch(), log);
    assert_eq!(ledger.remembered(1_000).unwrap()[0].last, Seq(1));
}

#[test]
fn a_newer_schema_is_refused_and_an_older_one_is_copied_first() {
    let (ledger, folder, path) = on_disk();
    ledger.break_with("PRAGMA user_version = 99");
    drop(ledger);
    let error = Sqlite::open(&path, CHANGE_S_MAX).err().unwrap();
    assert!(matches!(error, LedgerError::Newer { found: 99, .. }), "{error}");
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is no ledger at all, but it is long enough to be looked at".repeat(9),
    )
    .unwrap();
    let error = Sqlite::open(&text, CHANGE_S_MAX).err().unwrap().to_string();
    assert!(error.contains("text.db"), "{error}");
}

#[test]
fn a_conversation_that_is_not_kept_is_in_memory_only() {
    let (disk, folder, _path) = on_disk();
    let reader = disk.reader();
    let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), CHANGE_S_MAX);
    let off = Retentions::all(Retention::Off);
    let (mut kept, reader) =
        SplitLedger::new(Some((Box::new(disk), Box::new(reader))), memory, off);
    let (outcomes, fault) =
        kept.commit(vec![Record::message(sent("#tea", "ana", 1, "zebramarker"))]);
    assert_eq!((outcomes, fault.is_none()), (vec![Outcome::Stored(Seq(1))], true));
    let conversation = "#tea".parse().unwrap();
    assert_eq!(reader.read(&conversation, Seq(0), Seq(9), PAGE).unwrap().len(), 1);
    assert_eq!(found_on_disk(folder.path(), "zebramarker"), 0);
    kept.forget(&conversation).unwrap();
    assert!(reader.read(&conversation, Seq(0), Seq(9), PAGE).unwrap().is_empty());
}

#[test]
fn an_id_in_memory_is_free_again_once_its_own_message_is_dropped() {
    // Room for three messages.
    let mut memory = Memory::new(Epoch(7), (3 * 300, 1 << 30), CHANGE_S_MAX);
    let mut says = |from: &str, id: u8| {
        memory.commit(&[Record::message(sent("#tea", from, id, "x"))]).unwrap()[0]
    };
    assert_eq!(says("ana", 1), Outcome::Stored(Seq(1)));
    assert_eq!(says("bob", 1), Outcome::Stored(Seq(2)));
    assert_eq!(says("carol", 2), Outcome::Stored(Seq(3)));
    assert_eq!(says("carol", 3), Outcome::Stored(Seq(4)), "the first one is dropped");
    assert_eq!(says("bob", 1), Outcome::Known(Seq(2)), "the copy stays");
    assert_eq!(says("ana", 1), Outcome::Stored(Seq(5)), "and the second one is dropped");
    assert_eq!(says("bob", 1), Outcome::Stored(Seq(6)));
    assert_eq!(says("ana", 1), Outcome::Known(Seq(5)));
}
