//! The remains of a conversation whose last message was removed.

use super::contract_tests::{green, memory, on_disk, sent, sqlite};
use super::*;
use crate::chat::Retention;
use crate::config::Retentions;

const CHANGE_S_MAX: u64 = 60;

#[test]
fn a_conversation_without_a_message_is_dropped_and_messages_of_later_ones_come_behind_its_own() {
    for mut made in [memory(), sqlite()] {
        let (tea, coffee): (Conversation, Conversation) =
            ("#tea".parse().unwrap(), "#coffee".parse().unwrap());
        let message = |conversation: &str, id| Record::message(sent(conversation, "ana", id, "x"));
        let topic = Record::Topic("#tea".parse().unwrap(), Some(green()));
        let read = Record::Read("ana".parse().unwrap(), tea.clone(), Seq(2));
        let records = [message("#tea", 1), message("#tea", 2), message("#coffee", 1), topic, read];
        made.ledger.commit(&records).unwrap();
        assert_eq!(made.ledger.emptied(&tea).unwrap(), None);
        made.ledger.drop_empty(&tea).unwrap();
        assert_eq!(made.ledger.conversations().len(), 2, "it has messages");
        made.ledger.expire(&tea, 2_000).unwrap();
        assert_eq!(made.ledger.emptied(&tea).unwrap(), Some(Seq(2)));
        made.ledger.drop_empty(&tea).unwrap();
        assert_eq!(made.ledger.conversations(), [coffee]);
        assert_eq!((made.ledger.emptied(&tea).unwrap(), made.ledger.floor()), (None, Seq(2)));
        let outcomes = made.ledger.commit(&[message("#tea", 3), message("#coffee", 2)]).unwrap();
        assert_eq!(outcomes, [Outcome::Stored(Seq(3)), Outcome::Stored(Seq(2))]);
        let mut remembered = made.ledger.remembered(9).unwrap();
        remembered.sort_by_key(|one| one.conversation.clone());
        let [coffee, tea] = &remembered[..] else { panic!("{remembered:?}") };
        assert_eq!((coffee.first, coffee.last, coffee.stored), (Seq(0), Seq(2), true));
        assert_eq!((tea.first, tea.last, tea.stored), (Seq(2), Seq(3), true));
        assert_eq!((&tea.topic, tea.reads.len()), (&None, 0));
    }
}

#[test]
fn what_is_known_of_dropped_conversations_outlives_a_restart() {
    let (mut ledger, _folder, path) = on_disk();
    let tea: Conversation = "#tea".parse().unwrap();
    ledger.commit(&[Record::message(sent("#tea", "ana", 1, "x"))]).unwrap();
    ledger.expire(&tea, 2_000).unwrap();
    ledger.drop_empty(&tea).unwrap();
    drop(ledger);
    let mut ledger = Sqlite::open(&path, CHANGE_S_MAX).unwrap();
    assert_eq!((ledger.floor(), ledger.conversations().len()), (Seq(1), 0));
    let again =
        ["#tea", "#coffee"].map(|conversation| Record::message(sent(conversation, "ana", 1, "x")));
    let outcomes = ledger.commit(&again).unwrap();
    assert_eq!(outcomes, [Outcome::Known(Seq(1)), Outcome::Stored(Seq(2))], "its ids are known");
}

#[test]
fn what_is_left_on_disk_of_a_conversation_that_is_in_memory_only_now_is_dropped() {
    let (mut disk, _folder, path) = on_disk();
    let reader = disk.reader();
    let topic = Record::Topic("#tea".parse().unwrap(), Some(green()));
    disk.commit(&[Record::message(sent("#tea", "ana", 1, "x")), topic]).unwrap();
    let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), CHANGE_S_MAX);
    let off = Retentions::all(Retention::Off);
    let (mut kept, _) = SplitLedger::new(Some((Box::new(disk), Box::new(reader))), memory, off);
    assert_eq!(kept.count_old(2_000).unwrap().messages, 1);
    assert_eq!(
        Sqlite::open(&path, CHANGE_S_MAX).unwrap().conversations().len(),
        1,
        "it only counts"
    );
    assert!(kept.sweep(2_000).unwrap().emptied.is_empty());
    assert!(Sqlite::open(&path, CHANGE_S_MAX).unwrap().conversations().is_empty());
}
