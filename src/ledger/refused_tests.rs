//! New messages that are refused because the disk is almost full.

use super::contract_tests::sent;
use super::*;
use crate::chat::Kind;
use crate::config::Config;

#[test]
fn new_messages_are_refused_and_known_ones_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Sqlite::open(&folder.path().join("ledger.db"), 60).unwrap();
    let reader = disk.reader();
    let memory = Memory::new(Epoch(9), (1 << 20, 1 << 20), 60);
    let config = r##"{"channels": {"#aside": {"retention": "off"}}}"##;
    let retentions = serde_json::from_str::<Config>(config).unwrap().retentions();
    let halves = (Box::new(disk) as _, Box::new(reader) as _);
    let (mut ledger, _) = SplitLedger::new(Some(halves), memory, retentions);
    let commit = |ledger: &mut SplitLedger, drafts: &[&SentMessage]| {
        let records = drafts.iter().map(|sent| Record::message((*sent).clone())).collect();
        let (outcomes, fault) = ledger.commit(records);
        assert!(fault.is_none());
        outcomes
    };
    let one = sent("#tea", "alice", 1, "one");
    assert_eq!(commit(&mut ledger, &[&one]), [Outcome::Stored(Seq(1))]);
    ledger.refuse_new(true);
    let two = sent("#tea", "alice", 2, "two");
    let aside = sent("#aside", "alice", 3, "aside");
    let edit = SentMessage { kind: Kind::Edit { of: Seq(1) }, ..sent("#tea", "alice", 4, "other") };
    let delete = SentMessage { kind: Kind::Delete { of: Seq(1) }, ..sent("#tea", "alice", 5, "") };
    let outcomes = commit(&mut ledger, &[&two, &one, &aside, &edit, &delete, &two]);
    let wanted = [
        Outcome::NoRoom,
        Outcome::Known(Seq(1)),
        Outcome::Stored(Seq(1)),
        Outcome::NoRoom,
        Outcome::Stored(Seq(2)),
        Outcome::NoRoom,
    ];
    assert_eq!(outcomes, wanted);
    // A deletion that is sent again was stored before, too.
    assert_eq!(commit(&mut ledger, &[&delete]), [Outcome::Known(Seq(2))]);
    ledger.refuse_new(false);
    assert_eq!(commit(&mut ledger, &[&two]), [Outcome::Stored(Seq(3))], "its id is not used up");
    // The id stays known after the message was detached, and after it was removed.
    ledger.refuse_new(true);
    ledger.detach(&two.conversation).unwrap();
    assert_eq!(commit(&mut ledger, &[&two]), [Outcome::Known(Seq(3))]);
    while ledger.remove_detached().unwrap() {}
    assert_eq!(commit(&mut ledger, &[&two]), [Outcome::Known(Seq(3))]);
}
