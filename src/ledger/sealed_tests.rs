//! Sealed messages are stored like others, in every ledger.

use super::contract_tests::{Made, PAGE, free, memory, on_disk, sent, sqlite, wanted};
use super::*;
use crate::chat::{Kind, Opaque, Retention};
use crate::config::Config;

const TEA: &str = "#tea~kq3f0123456789abcdefghjkm0";

fn opaque(bytes: &[u8]) -> Opaque {
    Opaque::new(bytes).unwrap()
}

fn sealed(id: u8, bytes: &[u8]) -> SentMessage {
    SentMessage { body: Body::Sealed(opaque(bytes)), ..sent(TEA, "alice", id, "") }
}

fn changed(kind: Kind, id: u8, bytes: &[u8]) -> SentMessage {
    SentMessage { kind, ..sealed(id, bytes) }
}

/// Seq, sealed body, whether edited, whether deleted.
type Told = (u64, Option<Vec<u8>>, bool, bool);

fn told(made: &Made) -> Vec<Told> {
    let messages = made.reader.read(&TEA.parse().unwrap(), Seq(0), Seq(99), PAGE).unwrap();
    let told = |message: Message| {
        assert_eq!(message.body.text(), "");
        let sealed = message.body.sealed().map(|sealed| sealed.bytes().to_vec());
        (message.seq.0, sealed, message.edited, message.deleted)
    };
    messages.into_iter().map(told).collect()
}

fn some(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

#[test]
fn sealed_messages_are_kept_changed_and_taken_away_as_clear_ones_are() {
    for mut made in [memory(), sqlite()] {
        assert_eq!(made.says(sealed(1, b"tea at five")), Outcome::Stored(Seq(1)));
        assert_eq!(made.says(sealed(1, b"tea at five")), Outcome::Known(Seq(1)));
        assert_eq!(made.says(sealed(1, b"tea at six")), Outcome::Conflict);
        assert_eq!(made.says(sealed(2, &[0, 255, 3])), Outcome::Stored(Seq(2)));
        assert_eq!(
            made.says(changed(Kind::Edit { of: Seq(1) }, 3, b"at six")),
            Outcome::Stored(Seq(3))
        );
        let messages = [
            (1, some(b"at six"), true, false),
            (2, some(&[0, 255, 3]), false, false),
            (3, some(b"at six"), false, false),
        ];
        assert_eq!(told(&made), messages);
        // The body of a deletion stays: it proves that its sender wrote it.
        assert_eq!(
            made.says(changed(Kind::Delete { of: Seq(1) }, 4, b"gone")),
            Outcome::Stored(Seq(4))
        );
        let messages = [
            (1, None, false, true),
            (2, some(&[0, 255, 3]), false, false),
            (3, None, false, false),
            (4, some(b"gone"), false, false),
        ];
        assert_eq!(told(&made), messages);
        let (found, _) =
            made.reader.search(&[TEA.parse().unwrap()], &wanted("gone"), PAGE, &free()).unwrap();
        assert_eq!(found, []);
        assert!(made.ledger.erase(&"alice".parse().unwrap()).unwrap() >= 2);
        assert!(told(&made).iter().all(|message| message.1.is_none()));
    }
}

#[test]
fn a_sealed_message_whose_bytes_were_altered_on_the_disk_is_told_to_nobody() {
    let (mut ledger, _folder, path) = on_disk();
    ledger
        .commit(&[Record::message(sealed(1, b"one")), Record::message(sealed(2, b"two"))])
        .unwrap();
    assert_eq!(jobs(&path).verify().unwrap().messages, 2);
    ledger.break_with("UPDATE messages SET sealed = x'00' WHERE sealed = x'6f6e65'");
    let messages = ledger.reader().read(&TEA.parse().unwrap(), Seq(0), Seq(9), PAGE).unwrap();
    assert_eq!(messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [Seq(2)]);
    assert!(jobs(&path).verify().is_err());
}

#[test]
fn a_file_of_before_messages_were_sealed_is_copied_and_goes_on() {
    let (mut ledger, folder, path) = on_disk();
    ledger.commit(&[Record::message(sent("#tea", "alice", 1, "hi"))]).unwrap();
    ledger.break_with(super::jobs_tests::TO_SCHEMA_9);
    ledger.break_with(super::jobs_tests::TO_SCHEMA_1);
    drop(ledger);
    let mut ledger = Sqlite::open(&path, 60).unwrap();
    assert!(folder.path().join("ledger.schema-1.backup").exists());
    ledger.commit(&[Record::message(sealed(2, b"two"))]).unwrap();
    let messages = ledger.reader().read(&"#tea".parse().unwrap(), Seq(0), Seq(9), PAGE).unwrap();
    assert_eq!((messages.len(), messages[0].body.text()), (1, "hi"));
    assert_eq!(jobs(&path).verify().unwrap().messages, 2);
}

#[test]
fn what_is_left_in_an_empty_channel_with_a_pin_goes_where_the_operator_wants_that() {
    for forget_empty in [false, true] {
        let (disk, folder, _) = on_disk();
        let reader = Box::new(disk.reader());
        let config = Config { forget_empty, ..Config::default() };
        assert_eq!(config.retention, Retention::Forever);
        let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
        let disk: (Box<dyn Ledger>, Box<dyn Reader>) = (Box::new(disk), reader);
        let (mut kept, reader) = SplitLedger::new(Some(disk), memory, config.retentions());
        let open = sent("#tea", "alice", 2, "hi");
        kept.commit(vec![Record::message(sealed(1, b"zebramarker")), Record::message(open)]);
        for conversation in [TEA, "#tea"] {
            kept.forget(&conversation.parse().unwrap()).unwrap();
        }
        while kept.tidy(0).unwrap() == Tidied::More {}
        let count = |conversation: &str| {
            reader.read(&conversation.parse().unwrap(), Seq(0), Seq(9), PAGE).unwrap().len()
        };
        assert_eq!((count(TEA), count("#tea")), (usize::from(!forget_empty), 1));
        let found = super::contract_tests::found_on_disk(folder.path(), "zebramarker");
        assert_eq!(found > 0, !forget_empty);
        // Seqs continue, so that a new message is not confused with an old one.
        let (outcomes, _) = kept.commit(vec![Record::message(sealed(3, b"new"))]);
        assert_eq!(outcomes, [Outcome::Stored(Seq(2))]);
    }
}
