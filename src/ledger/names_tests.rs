//! All spellings of a user's name are one user.

use super::contract_tests::{Made, PAGE, contract, edit, free, memory, on_disk, sent, sqlite};
use super::*;
use crate::chat::Target;

fn to(conversation: &str) -> Conversation {
    conversation.parse().unwrap()
}

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

contract! {
    all_spellings_of_a_name_are_one_user(made) {
        let says = |made: &mut Made, conversation, from, id| made.says(sent(conversation, from, id, "x"));
        assert_eq!(says(&mut made, "@ANA@bob", "ANA", 1), Outcome::Stored(Seq(1)));
        assert_eq!(says(&mut made, "@ana@BOB", "bob", 2), Outcome::Stored(Seq(2)));
        assert_eq!(says(&mut made, "@ana@Bob", "ana", 1), Outcome::Known(Seq(1)));
        assert_eq!(made.says(sent("@Ana@bob", "aNA", 1, "y")), Outcome::Conflict);
        assert_eq!(made.ledger.conversations().len(), 1);

        let messages = made.reader.read(&to("@Ana@BOB"), Seq(0), Seq(9), PAGE).unwrap();
        let shown: Vec<_> = messages.iter().map(|message| (message.from.as_str(), message.to.clone())).collect();
        let target = |name: &str| Target::User(user(name));
        assert_eq!(shown, [("ANA", target("bob")), ("bob", target("ana"))], "as the sender spells it");
        let count = |but| {
            let span = (Seq(0), Seq(9));
            made.reader.count(&to("@ana@BOB"), span, &user(but), &free()).unwrap().by
        };
        let told = |by: Vec<(UserName, u64)>| format!("{by:?}");
        assert_eq!(told(count("Bob")), "[(\"ANA\", 1)]");
        assert_eq!(told(count("ana")), "[(\"bob\", 1)]");

        assert_eq!(says(&mut made, "#tea", "Ana", 3), Outcome::Stored(Seq(1)));
        assert_eq!(made.says(edit("ana", 4, 1, "y")), Outcome::Stored(Seq(2)));
        assert_eq!(made.says(edit("bob", 5, 1, "y")), Outcome::NotOwn, "the control");
        assert!(made.ledger.erase(&user("aNa")).unwrap() >= 2);
    }
}

#[test]
fn what_a_user_has_is_found_under_each_spelling_after_a_restart() {
    let (mut ledger, _folder, path) = on_disk();
    let topic = Topic { text: "green".into(), by: user("Ana") };
    let records = [
        Record::message(sent("@Ana@bob", "Ana", 1, "x")),
        Record::Away(user("BOB"), vec![to("@ana@bob")]),
        Record::message(sent("@ANA@bob", "ANA", 2, "y")),
        Record::Read(user("Bob"), to("@ana@bob"), Seq(1)),
        Record::Topic("#tea".parse().unwrap(), Some(topic)),
        Record::message(sent("#tea", "Ana", 3, "z")),
    ];
    ledger.commit(&records).unwrap();
    ledger.renew(&user("ANA")).unwrap();
    drop(ledger);
    let mut ledger = Sqlite::open(&path, 60).unwrap();
    let waits = |ledger: &Sqlite| ledger.waiting(&to("@ANA@BOB"), &user("boB"), 9).unwrap();
    assert_eq!(waits(&ledger), 1);
    let known = ledger.remembered(9).unwrap();
    let known = known.into_iter().find(|known| known.conversation == to("@ana@bob")).unwrap();
    assert_eq!((known.last, known.reads), (Seq(2), vec![(user("bob"), Seq(1))]));
    let message = Record::message(sent("@ana@bob", "ana", 4, "of the next holder"));
    assert_eq!(ledger.commit(&[message]).unwrap(), [Outcome::Stored(Seq(3))]);
    let change = SentMessage { conversation: to("@ana@bob"), ..edit("Ana", 5, 2, "y") };
    assert_eq!(
        ledger.commit(&[Record::message(change)]).unwrap(),
        [Outcome::NotOwn],
        "another holder"
    );
    assert_eq!(ledger.reader().read(&to("@ana@Bob"), Seq(0), Seq(9), PAGE).unwrap().len(), 3);
    ledger.begin_erasing(&user("ANA")).unwrap();
    let topics = |ledger: &Sqlite| {
        ledger.remembered(9).unwrap().iter().filter(|known| known.topic.is_some()).count()
    };
    assert_eq!(topics(&ledger), 0);
    while ledger.erase_some().unwrap().is_some() {}
    drop(ledger);
    assert_eq!(jobs(&path).verify().unwrap().messages, 4);
}
