//! Another name for a user, in each ledger.

use super::contract_tests::{Made, PAGE, contract, delete, memory, on_disk, sent, sqlite};
use super::*;
use crate::chat::{BlobId, Target};

fn to(conversation: &str) -> Conversation {
    conversation.parse().unwrap()
}

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

/// The senders and the recipients in a conversation.
fn shown(made: &Made, conversation: &str) -> Vec<(String, Target)> {
    let messages = made.reader.read(&to(conversation), Seq(0), Seq(99), PAGE).unwrap();
    messages.into_iter().map(|one| (one.from.to_string(), one.to)).collect()
}

contract! {
    private_conversations_move_and_channels_stay(made) {
        for (id, conversation, from) in [
            (1, "@ana@bob", "bob"),
            (2, "@ana@bob", "ana"),
            (3, "@bob@carol", "carol"),
            (4, "@bob@bob", "bob"),
            (5, "@ana@carol", "ana"),
            (6, "#tea", "bob"),
        ] {
            made.says(sent(conversation, from, id, "x"));
        }
        assert_eq!(made.ledger.rename(&user("BOB"), &user("Robert")).unwrap(), []);
        let target = |name: &str| Target::User(user(name));
        let moved = [("Robert".to_owned(), target("ana")), ("ana".to_owned(), target("robert"))];
        assert_eq!(shown(&made, "@ana@robert"), moved);
        assert_eq!(shown(&made, "@carol@robert").len(), 1);
        assert_eq!(shown(&made, "@robert@robert").len(), 1);
        assert_eq!(shown(&made, "@ana@carol").len(), 1);
        assert_eq!(shown(&made, "@ana@bob"), []);
        assert_eq!(shown(&made, "#tea")[0].0, "bob", "as everybody has read it");
        // What was sent is not stored again, and the seqs go on.
        assert_eq!(made.says(sent("@ana@robert", "robert", 1, "x")), Outcome::Known(Seq(1)));
        assert_eq!(made.says(sent("@ana@robert", "robert", 7, "y")), Outcome::Stored(Seq(3)));
        // Clients have positions in conversations with the old name.
        assert_eq!(made.says(sent("@ana@bob", "ana", 8, "z")), Outcome::Stored(Seq(3)));
    }

    a_conversation_stays_where_the_new_name_has_one(made) {
        made.says(sent("@ana@robert", "robert", 1, "of another Robert"));
        made.says(sent("@ana@bob", "bob", 2, "x"));
        made.says(sent("@bob@carol", "bob", 3, "x"));
        assert_eq!(made.ledger.rename(&user("bob"), &user("robert")).unwrap(), [to("@ana@bob")]);
        assert_eq!(shown(&made, "@ana@bob").len(), 1);
        assert_eq!(shown(&made, "@ana@robert").len(), 1);
        assert_eq!(shown(&made, "@carol@robert").len(), 1);
    }

    only_the_own_messages_can_be_changed_afterwards(made) {
        let private = |from, id, of| SentMessage { conversation: to("@ana@robert"), ..delete(from, id, of) };
        made.says(sent("@ana@bob", "bob", 1, "of an earlier Bob"));
        made.ledger.renew(&user("bob")).unwrap();
        made.says(sent("@ana@bob", "bob", 2, "of the present one"));
        made.ledger.rename(&user("bob"), &user("robert")).unwrap();
        assert_eq!(made.says(private("robert", 3, 1)), Outcome::NotOwn);
        assert_eq!(made.says(private("robert", 3, 2)), Outcome::Stored(Seq(3)), "the control");
    }

    an_erasure_that_waits_is_completed_first(made) {
        made.says(sent("@ana@bob", "bob", 1, "to erase"));
        made.says(sent("#tea", "bob", 2, "to erase"));
        made.says(sent("@ana@bob", "ana", 3, "stays"));
        made.ledger.begin_erasing(&user("bob")).unwrap();
        made.ledger.rename(&user("bob"), &user("robert")).unwrap();
        let texts = |conversation: &str| -> Vec<String> {
            let messages = made.reader.read(&to(conversation), Seq(0), Seq(99), PAGE).unwrap();
            messages.into_iter().map(|one| one.body.text().to_owned()).collect()
        };
        assert_eq!(texts("@ana@robert"), ["", "stays"]);
        assert_eq!(texts("#tea"), [""]);
        assert_eq!(made.ledger.erase_some().unwrap(), None);
    }

    a_file_is_found_in_its_conversation_alone(made) {
        let (blob, conversation) = (BlobId([7; 16]), to("@ana@bob"));
        let new = NewBlob {
            blob,
            owner: user("bob"),
            conversation: conversation.clone(),
            bytes: 10,
            now_ms: 1,
            until_ms: 100,
            last_ms: 1_000,
        };
        let limits = BlobLimits { person_bytes_max: 1 << 20, bytes_max: 1 << 20, unfinished_max: 3 };
        made.ledger.begin_blob(&new, &limits).unwrap();
        assert!(made.ledger.keep_blob(stored_name(&conversation, blob), 200).unwrap());
        let kind = Kind::File { blob };
        let told = SentMessage { kind, time_ms: 500, ..sent("@ana@bob", "bob", 1, "{\"name\":\"x\"}") };
        assert_eq!(made.says(told), Outcome::Stored(Seq(1)));
        let has = |made: &Made, name: &str| made.ledger.find_blob(&to(name), blob).unwrap().is_some();
        assert!(has(&made, "@ana@bob"));
        made.ledger.rename(&user("bob"), &user("robert")).unwrap();
        assert!(has(&made, "@ana@robert"));
        assert!(!has(&made, "@ana@bob"), "the next user with the name");
        assert!(!has(&made, "@carol@robert"));
    }
}

#[test]
fn a_renamed_ledger_is_sound_and_stays_so() {
    let (mut ledger, _folder, path) = on_disk();
    let read = |name, seq| Record::Read(user(name), to("@ana@bob"), Seq(seq));
    let topic = Topic { text: "green".into(), by: user("bob") };
    let records = [
        Record::message(sent("@ana@bob", "bob", 1, "x")),
        Record::message(sent("@ana@bob", "ana", 2, "y")),
        Record::Away(user("bob"), vec![to("@ana@bob")]),
        Record::message(sent("@ana@bob", "ana", 3, "z")),
        read("bob", 2),
        read("ana", 1),
        Record::Topic("#tea".parse().unwrap(), Some(topic)),
        Record::message(sent("#tea", "bob", 4, "x")),
    ];
    ledger.commit(&records).unwrap();
    ledger.rename(&user("bob"), &user("robert")).unwrap();
    assert_eq!(ledger.waiting(&to("@ana@robert"), &user("robert"), 9).unwrap(), 1);
    drop(ledger);
    assert_eq!(jobs(&path).verify().unwrap().messages, 4);
    let mut ledger = Sqlite::open(&path, 60).unwrap();
    let all = ledger.remembered(9).unwrap();
    let one = all.iter().find(|one| one.conversation == to("@ana@robert")).unwrap();
    let mut reads = one.reads.clone();
    reads.sort();
    assert_eq!(reads, [(user("ana"), Seq(1)), (user("robert"), Seq(2))]);
    let tea = all.iter().find(|one| one.conversation == to("#tea")).unwrap();
    assert_eq!(tea.topic.as_ref().unwrap().by, user("robert"));
    assert!(all.iter().all(|one| one.conversation != to("@ana@bob")));
    // A second time, as after a crash, changes nothing.
    assert_eq!(ledger.rename(&user("bob"), &user("robert")).unwrap(), []);
    ledger.rename(&user("robert"), &user("bob")).unwrap();
    drop(ledger);
    assert_eq!(jobs(&path).verify().unwrap().messages, 4);
}

#[test]
fn a_damaged_conversation_stays_and_the_others_move() {
    let (mut ledger, _folder, path) = on_disk();
    let text = |seq: u64| format!("message number {seq} {}", "x".repeat(300));
    let message = |seq: u64| {
        let id = MsgId(u128::from(seq).to_be_bytes());
        Record::message(SentMessage { id, ..sent("@ana@bob", "ana", 0, &text(seq)) })
    };
    ledger.commit(&(1..=3_000).map(message).collect::<Vec<_>>()).unwrap();
    ledger.commit(&[Record::message(sent("@bob@carol", "bob", 1, "y"))]).unwrap();
    drop(ledger);
    let mut bytes = std::fs::read(&path).unwrap();
    let marker = text(2_500).into_bytes();
    let at = bytes.windows(marker.len()).position(|part| part == marker).unwrap();
    bytes[at - at % 4_096..][..8].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let mut ledger = Sqlite::open(&path, 60).unwrap();
    assert_eq!(ledger.rename(&user("bob"), &user("robert")).unwrap(), [to("@ana@bob")]);
    let reader = ledger.reader();
    let senders =
        |name: &str, upto: u64| reader.read(&to(name), Seq(0), Seq(upto), PAGE).unwrap().len();
    assert_eq!((senders("@ana@bob", 9), senders("@ana@robert", 9)), (9, 0));
    assert_eq!((senders("@bob@carol", 9), senders("@carol@robert", 9)), (0, 1));
}
