//! Counting the messages of others after a position.

use std::time::Duration;

use super::contract_tests::{delete, edit, free, memory, sent, sqlite};
use super::*;

#[test]
fn messages_of_others_are_counted_by_sender_without_changes_and_deleted_ones() {
    for mut made in [memory(), sqlite()] {
        let tea: Conversation = "#tea".parse().unwrap();
        let ana: UserName = "ana".parse().unwrap();
        for id in 1..=40 {
            let from = if id % 4 == 0 { "ana" } else { ["bob", "eve"][usize::from(id % 4 == 1)] };
            made.says(sent("#tea", from, id, "x"));
        }
        made.says(sent("#lobby", "bob", 41, "elsewhere"));
        made.says(edit("bob", 42, 2, "y"));
        made.says(delete("bob", 43, 3));
        let count = |after: u64, upto: u64, work: &Arc<Work>| {
            made.reader.count(&tea, (Seq(after), Seq(upto)), &ana, work).unwrap()
        };
        let by = |after, upto| {
            let counted = count(after, upto, &free());
            assert!(!counted.partial);
            let by = counted.by.into_iter().map(|(name, messages)| format!("{name} {messages}"));
            by.collect::<Vec<_>>()
        };
        assert_eq!(by(0, 42), ["bob 19", "eve 10"]);
        assert_eq!(by(4, u64::MAX), ["bob 18", "eve 9"]);
        assert_eq!(by(38, 41), ["bob 1"]);
        assert_eq!((by(42, 42), by(90, 99), by(9, 3)), (vec![], vec![], vec![]));
        let none = "#none".parse().unwrap();
        let nothing = made.reader.count(&none, (Seq(0), Seq(9)), &ana, &free()).unwrap();
        assert_eq!(nothing, Counted::default());
    }
}

#[test]
fn a_count_that_costs_too_much_is_partial() {
    for mut made in [memory(), sqlite()] {
        let tea: Conversation = "#tea".parse().unwrap();
        let records = |part: u32| -> Vec<Record> {
            let message = |number: u32| {
                let mut id = [0; 16];
                id[..4].copy_from_slice(&(1_000 * part + number).to_be_bytes());
                Record::message(SentMessage { id: MsgId(id), ..sent("#tea", "bob", 1, "x") })
            };
            (0..1_000).map(message).collect()
        };
        for part in 0..3 {
            made.ledger.commit(&records(part)).unwrap();
        }
        let work = Arc::new(Work::new(Duration::ZERO, || false));
        let ana = "ana".parse().unwrap();
        let counted = made.reader.count(&tea, (Seq(0), Seq(3_000)), &ana, &work).unwrap();
        let messages: u64 = counted.by.iter().map(|(_, messages)| messages).sum();
        assert!(counted.partial && messages < 3_000, "{counted:?}");
        let counted = made.reader.count(&tea, (Seq(0), Seq(3_000)), &ana, &free()).unwrap();
        assert_eq!(counted.by, [("bob".parse().unwrap(), 3_000)]);
    }
}
