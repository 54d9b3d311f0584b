//! Decisions about transfers, without files and sockets.

use super::transfers::Transfers;
use super::{Action, Output};
use crate::chat::{
    BlobId, Code, Command, Descriptor, FileBytes, FileRules, FileSecret, Message, MsgId, Request,
    Seq,
};
use crate::client::transfer::{
    Failure, Left, LeftUpload, Place, Recorded, Report, Then, ToGet, ToSend, TransferId,
    TransferState, Wish, Work,
};
use crate::crypto::file::new_secret;

const ID: TransferId = TransferId(1);
const BLOB: BlobId = BlobId([7; 16]);
const MESSAGE: MsgId = MsgId([9; 16]);
const REFERENCE: Option<&str> = Some("pychat-file-f1");

fn send() -> Wish {
    let (path, to) = ("/tmp/a.txt".into(), "#tea".parse().unwrap());
    Wish::Send(ToSend { path, to, caption: None, keeps_metadata: false })
}

fn get(seq: u64) -> Wish {
    let (from, place) = ("@bob".parse().unwrap(), Place::Downloads);
    Wish::Get(ToGet { from, seq: Seq(seq), place, then: Then::Keep })
}

fn descriptor() -> Descriptor {
    Descriptor {
        v: 1,
        blob: BLOB,
        name: "a.txt".into(),
        bytes: FileBytes(100),
        media: String::new(),
        key: FileSecret(new_secret(&[1; 32])),
        hash: FileSecret(new_secret(&[2; 32])),
        size: None,
        thumb: None,
        text: None,
    }
}

fn recorded() -> Recorded {
    Recorded { file: descriptor(), stored: 116, message: MESSAGE, is_continued: false }
}

fn picked<T>(actions: &[Action], pick: impl Fn(&Action) -> Option<&T>) -> Vec<&T> {
    actions.iter().filter_map(pick).collect()
}

fn requests(actions: &[Action]) -> Vec<&Request> {
    picked(actions, |action| if let Action::Send(request) = action { Some(request) } else { None })
}

fn works(actions: &[Action]) -> Vec<&Work> {
    picked(actions, |action| if let Action::Transfer(work) = action { Some(work) } else { None })
}

/// The states that are shown.
fn states(actions: &[Action]) -> Vec<&TransferState> {
    picked(actions, |action| match action {
        Action::Output(Output::Transfer(progress)) => Some(&progress.state),
        _ => None,
    })
}

fn is_put(actions: &[Action]) -> bool {
    matches!(requests(actions)[..], [Request { command: Command::Put { blob: BLOB, .. }, .. }])
}

/// A file that is recorded, with or without a connection.
fn ready(is_up: bool) -> (Transfers, Vec<Action>) {
    let mut transfers = Transfers::default();
    if is_up {
        transfers.connected();
    }
    let actions = transfers.begin(send(), MESSAGE, None).unwrap();
    assert!(matches!(works(&actions)[..], [Work::Read { message: MESSAGE, .. }]));
    let actions = transfers.report(ID, Report::Recorded(Box::new(recorded())));
    (transfers, actions)
}

#[test]
fn a_file_is_announced_once_the_server_has_it_over_any_number_of_connections() {
    let (mut transfers, actions) = ready(false);
    assert!(requests(&actions).is_empty(), "there is no connection");
    for number in 1..4 {
        assert!(is_put(&transfers.connected()));
        let actions = transfers.uploads(REFERENCE, BLOB, (number, 0, 116));
        let begins = Work::Upload { id: ID, number, have: 0, limit: 116 };
        assert_eq!(works(&actions), [&begins]);
        assert_eq!(states(&transfers.lost()), [&TransferState::Waiting]);
    }
    assert!(is_put(&transfers.connected()));
    transfers.uploads(REFERENCE, BLOB, (9, 50, 116));
    assert_eq!(states(&transfers.report(ID, Report::Written)), [&TransferState::Storing]);
    let (actions, message) = transfers.kept(BLOB).unwrap();
    assert!(states(&actions).is_empty(), "it is shown already");
    assert_eq!((message.id, message.kind.blob()), (MESSAGE, Some(BLOB)));
    assert!(transfers.kept(BLOB).is_none(), "once");
    assert!(!transfers.is_settled());
    let actions = transfers.announced(MESSAGE, Seq(4));
    assert_eq!(works(&actions), [&Work::Forget { id: ID, keeps: false }]);
    assert_eq!(states(&actions), [&TransferState::Sent]);
    assert!(transfers.is_settled() && transfers.exit().is_none());
}

#[test]
fn what_a_server_says_unasked_changes_nothing() {
    let (mut transfers, _) = ready(false);
    assert!(transfers.uploads(REFERENCE, BLOB, (1, 0, 9)).is_empty(), "nothing was asked");
    assert!(transfers.kept(BLOB).is_none(), "nothing was asked");
    transfers.connected();
    for (reference, blob) in
        [(None, BLOB), (Some("pychat-file-f2"), BLOB), (REFERENCE, BlobId([8; 16]))]
    {
        assert!(transfers.uploads(reference, blob, (1, 0, 9)).is_empty());
        assert!(transfers.downloads(reference, blob, (1, 9)).is_empty());
    }
    assert!(transfers.kept(BlobId([8; 16])).is_none());
    assert!(transfers.stopped(1, Code::Quota, String::new()).is_empty());
    assert!(transfers.refused(Some("q1"), (Code::Quota, ""), None).is_none());
    assert!(transfers.found(Some("q1")).is_none());
    assert!(transfers.announced(MsgId([1; 16]), Seq(1)).is_empty());
    assert!(!transfers.uploads(REFERENCE, BLOB, (1, 0, 9)).is_empty(), "the control");
}

#[test]
fn a_refusal_is_final_unless_the_server_has_no_room_now() {
    let (mut transfers, _) = ready(true);
    for code in [Code::Busy, Code::Rate] {
        let actions = transfers.refused(REFERENCE, (code, "later"), Some(700)).unwrap();
        assert!(matches!(actions[0], Action::Wait(700)));
        assert_eq!(actions.len(), if code == Code::Busy { 2 } else { 1 }, "the reason once");
        assert!(is_put(&transfers.go()));
        let again = transfers.refused(REFERENCE, (code, "later"), Some(700)).unwrap();
        assert!(matches!(again[..], [Action::Wait(700)]));
        assert!(is_put(&transfers.go()));
    }
    transfers.uploads(REFERENCE, BLOB, (3, 0, 116));
    let actions = transfers.stopped(3, Code::Storage, String::new());
    assert_eq!(states(&actions), [&TransferState::Waiting]);
    assert!(is_put(&transfers.go()));
    let actions = transfers.refused(REFERENCE, (Code::Quota, "too much"), None).unwrap();
    assert!(matches!(states(&actions)[..], [TransferState::Failed(why)]
        if why.code == "quota" && why.is_theirs && why.hint == "too much"));
    assert_eq!(transfers.exit(), Some(8));
    // The upload took too long. Only a download ends with 9.
    let (mut transfers, _) = ready(true);
    transfers.uploads(REFERENCE, BLOB, (3, 0, 116));
    transfers.stopped(3, Code::FileGone, "removed meanwhile".into());
    assert_eq!(transfers.exit(), Some(8));
}

#[test]
fn a_transfer_is_cancelled_until_its_message_is_on_its_way() {
    let is_drop = |actions: &[Action]| {
        matches!(requests(actions)[..], [Request { command: Command::Drop { blob: BLOB }, .. }])
    };
    // While it is read; waiting without a connection; going.
    let mut transfers = Transfers::default();
    transfers.begin(send(), MESSAGE, None).unwrap();
    let actions = transfers.cancel(ID).unwrap();
    assert_eq!(states(&actions), [&TransferState::Cancelled]);
    assert!(transfers.connected().is_empty());
    let (mut transfers, _) = ready(false);
    assert!(requests(&transfers.cancel(ID).unwrap()).is_empty());
    assert!(is_drop(&transfers.connected()), "the server removes what it may have");
    let (mut transfers, _) = ready(true);
    transfers.uploads(REFERENCE, BLOB, (3, 0, 116));
    assert!(is_drop(&transfers.cancel(ID).unwrap()));
    assert!(transfers.report(ID, Report::Written).is_empty(), "it is over");
    let (mut transfers, _) = ready(true);
    let (actions, _) = transfers.kept(BLOB).unwrap();
    assert_eq!(states(&actions), [&TransferState::Storing]);
    assert!(transfers.cancel(ID).unwrap_err().contains("too late"));
    assert!(transfers.cancel(TransferId(5)).unwrap_err().contains("no transfer f5"));
    let actions = transfers.dropped(MESSAGE);
    assert!(is_drop(&actions), "the message was dropped before it was sent");
    // Its refusal is no news: the server may never have had the file.
    let refused = transfers.refused(REFERENCE, (Code::NoSuchFile, "no such file"), None);
    assert_eq!(refused.map(|actions| actions.len()), Some(0));
    let (mut transfers, _) = ready(true);
    transfers.kept(BLOB).unwrap();
    let actions = transfers.not_announced(MESSAGE, Code::Muted, "muted").unwrap();
    assert!(is_drop(&actions), "a file that no message announces takes no room");
}

#[test]
fn few_transfers_run_at_a_time() {
    let mut transfers = Transfers::default();
    transfers.connected();
    let asked = (1..8).map(|seq| transfers.begin(get(seq), MESSAGE, None).unwrap());
    let asked: usize = asked.map(|actions| requests(&actions).len()).sum();
    assert_eq!(asked, 3);
    let actions = transfers.cancel(TransferId(2)).unwrap();
    assert_eq!(requests(&actions).len(), 1, "the next one");
    assert!(transfers.begin(get(1), MESSAGE, None).unwrap_err().contains("already: f1"));
    assert_eq!(transfers.lost().len(), 3);
    assert_eq!(requests(&transfers.connected()).len(), 3);
}

/// A message of bob's that announces the file.
fn message(seq: u64, deleted: bool, confidentiality: &str) -> Message {
    let text = descriptor().text();
    let mut message: Message = serde_json::from_value(serde_json::json!({
        "seq": seq.to_string(), "to": "@alice", "from": "bob", "device": "main",
        "id": "0".repeat(32), "time_ms": 1, "kind": "file", "blob": BLOB, "text": text,
        "ref": "pychat-file-f1", "deleted": deleted,
    }))
    .unwrap();
    if confidentiality == "sealed" {
        message.confidentiality = crate::chat::Confidentiality::Sealed;
    }
    message
}

#[test]
fn only_the_file_that_a_sealed_message_announces_is_fetched() {
    let finds = |found: Option<Message>| {
        let mut transfers = Transfers::default();
        transfers.connected();
        transfers.begin(get(12), MESSAGE, None).unwrap();
        found.iter().for_each(|message| assert!(transfers.takes(message)));
        let actions = transfers.found(REFERENCE).unwrap();
        let failed = states(&actions).into_iter().find_map(|state| match state {
            TransferState::Failed(Failure { code, exit, .. }) => Some((code.clone(), *exit)),
            _ => None,
        });
        assert_eq!(failed.is_none(), matches!(works(&actions)[..], [Work::Open { .. }]));
        failed
    };
    let no_file = Some(("no_such_file".to_owned(), 9));
    assert_eq!(finds(None), no_file);
    assert_eq!(finds(Some(message(11, false, "sealed"))), no_file, "another message");
    assert_eq!(finds(Some(message(12, false, "open"))), no_file, "nobody has signed it");
    assert_eq!(finds(Some(message(12, true, "sealed"))), Some(("file_gone".to_owned(), 9)));
    assert_eq!(finds(Some(message(12, false, "sealed"))), None, "the control");
}

#[test]
fn a_download_asks_from_where_it_is_and_once() {
    let mut transfers = Transfers::default();
    transfers.connected();
    transfers.begin(get(12), MESSAGE, None).unwrap();
    transfers.takes(&message(12, false, "sealed"));
    transfers.found(REFERENCE).unwrap();
    // The connection is lost before the engine has answered, so it is asked twice.
    transfers.lost();
    let actions = transfers.connected();
    assert!(matches!(works(&actions)[..], [Work::Open { .. }]));
    let actions = transfers.report(ID, Report::Opened { from: 70 });
    assert!(matches!(
        &requests(&actions)[..],
        [Request { command: Command::Get { blob: BLOB, from: FileBytes(70), .. }, .. }]
    ));
    assert!(transfers.report(ID, Report::Opened { from: 70 }).is_empty());
    let actions = transfers.downloads(REFERENCE, BLOB, (5, 116));
    assert_eq!(works(&actions), [&Work::Download { id: ID, number: 5, bytes: 116 }]);
    let actions = transfers.report(ID, Report::Failed(Failure::disk("full")));
    assert_eq!(works(&actions), [&Work::Forget { id: ID, keeps: true }], "for another attempt");
    assert_eq!(transfers.exit(), Some(1));
}

#[test]
fn a_refusal_that_answers_no_request_of_a_transfer_changes_nothing() {
    let mut transfers = Transfers::default();
    transfers.connected();
    // A program can use this reference for a request of its own.
    transfers.begin(send(), MESSAGE, None).unwrap();
    for code in [Code::Busy, Code::Quota] {
        assert_eq!(transfers.refused(REFERENCE, (code, "no"), None).map(|it| it.len()), Some(0));
        assert!(transfers.go().is_empty(), "it is still read");
    }
    let (mut transfers, _) = ready(true);
    transfers.kept(BLOB).unwrap();
    transfers.refused(REFERENCE, (Code::Busy, "no"), None);
    assert!(transfers.go().is_empty(), "its message is on its way");
}

#[test]
fn few_files_are_read_at_a_time() {
    let mut transfers = Transfers::default();
    let reads = |actions: &[Action]| {
        works(actions).iter().filter(|work| matches!(work, Work::Read { .. })).count()
    };
    let begun = (0..5).map(|id| reads(&transfers.begin(send(), MsgId([id; 16]), None).unwrap()));
    assert_eq!(begun.collect::<Vec<_>>(), [1, 1, 1, 0, 0]);
    let again = transfers.begin(send(), MsgId([4; 16]), None);
    assert!(again.unwrap_err().contains("is being sent with this id: f5"));
    let failed = Report::Failed(Failure::disk("full"));
    assert_eq!(reads(&transfers.report(ID, failed)), 1, "the next one");
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let mut transfers = Transfers::default();
    transfers.accepts(Some(FileRules { bytes_max: FileBytes(1_000_000), age_s_max: 60 }));
    transfers.begin(send(), MESSAGE, None).unwrap();
    let read = |of| Report::Read { bytes: 65_536, of };
    let actions = transfers.report(ID, read(999_700));
    assert_eq!(states(&actions), [&TransferState::Reading], "the control");
    let actions = transfers.report(ID, read(999_800));
    assert!(matches!(states(&actions)[..], [TransferState::Failed(why)]
        if why.code == "file_too_large" && !why.is_theirs && why.hint.contains("999.80 kB")));
    assert_eq!(works(&actions), [&Work::Forget { id: ID, keeps: false }]);
    assert_eq!(transfers.exit(), Some(8));
}

#[test]
fn a_download_that_was_cancelled_before_its_answer_ends_at_the_server() {
    let mut transfers = Transfers::default();
    transfers.connected();
    transfers.begin(get(12), MESSAGE, None).unwrap();
    transfers.takes(&message(12, false, "sealed"));
    transfers.found(REFERENCE).unwrap();
    transfers.report(ID, Report::Opened { from: 0 });
    transfers.cancel(ID).unwrap();
    let stop = |transfers: &mut Transfers| transfers.downloads(REFERENCE, BLOB, (5, 116));
    assert_eq!(works(&stop(&mut transfers)), [&Work::Stop { number: 5 }]);
    assert!(stop(&mut transfers).is_empty(), "once");
}

#[test]
fn a_file_that_is_being_stored_needs_no_connection() {
    let mut transfers = Transfers::default();
    transfers.connected();
    transfers.begin(get(12), MESSAGE, None).unwrap();
    transfers.takes(&message(12, false, "sealed"));
    transfers.found(REFERENCE).unwrap();
    transfers.report(ID, Report::Opened { from: 0 });
    transfers.downloads(REFERENCE, BLOB, (5, 116));
    transfers.report(ID, Report::Written);
    assert!(states(&transfers.lost()).is_empty(), "it does not wait");
    assert!(works(&transfers.connected()).is_empty(), "nor is it opened again");
    assert!(transfers.stopped(5, Code::FileGone, String::new()).is_empty(), "another number 5");
    let saved = Report::Saved("a".into());
    assert!(!states(&transfers.report(ID, saved)).is_empty());
    assert_eq!(transfers.exit(), None);
}

#[test]
fn what_an_earlier_run_has_left_continues() {
    let left = || {
        let (to, path) = ("#tea".parse().unwrap(), "tea.jpg".into());
        let upload = LeftUpload { id: ID, to, path, recorded: recorded() };
        Left { uploads: vec![upload], downloads: Vec::new() }
    };
    let mut transfers = Transfers::of(left(), &[]);
    assert!(is_put(&transfers.connected()));
    // Its message is in the outbox already.
    let mut transfers = Transfers::of(left(), &[MESSAGE]);
    assert!(requests(&transfers.connected()).is_empty());
    assert_eq!(states(&transfers.announced(MESSAGE, Seq(1))), [&TransferState::Sent]);
    let begun = transfers.begin(send(), MESSAGE, None).unwrap();
    assert!(matches!(works(&begun)[..], [Work::Read { id: TransferId(2), .. }]));
}

/// A message of a list of files.
fn listed(reference: &str, seq: u64) -> Message {
    Message { reference: Some(reference.to_owned()), ..message(seq, false, "open") }
}

#[test]
fn of_two_lists_of_files_each_message_is_in_its_own() {
    let mut transfers = Transfers::default();
    let (one, two) =
        (transfers.lists("#tea".parse().unwrap()), transfers.lists("#work".parse().unwrap()));
    assert!(transfers.takes(&listed(&one, 1)), "it is not shown as a message");
    assert_eq!(transfers.found(Some(&one)), Some(Vec::new()));
    assert!(transfers.takes(&listed(&two, 2)));
    let actions = transfers.found(Some(&two)).unwrap();
    let [Action::Output(Output::Files { to, files })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((to.to_string(), files.len(), files[0].seq), ("#work".into(), 1, Seq(2)));
    assert_eq!(files[0].reference, None, "a program has not chosen it");
}

/// A run with an upload that an earlier one has left.
fn continued() -> Transfers {
    let recorded = Recorded { is_continued: true, ..recorded() };
    let (to, path) = ("#tea".parse().unwrap(), "tea.jpg".into());
    let upload = LeftUpload { id: ID, to, path, recorded };
    Transfers::of(Left { uploads: vec![upload], downloads: Vec::new() }, &[])
}

#[test]
fn the_end_of_a_pipe_does_not_wait_for_transfers_of_an_earlier_run() {
    let mut transfers = continued();
    transfers.connected();
    assert!(transfers.is_settled());
    transfers.refused(REFERENCE, (Code::Quota, "full"), None);
    assert_eq!(transfers.exit(), None, "nor has it its exit code");
    let (mut transfers, _) = ready(true);
    assert!(!transfers.is_settled(), "the control");
    transfers.refused(REFERENCE, (Code::Quota, "full"), None);
    assert!(transfers.exit().is_some(), "the control");
}

#[test]
fn a_message_that_an_earlier_run_has_sent_is_not_sent_again() {
    let announced = |mut transfers: Transfers| {
        transfers.connected();
        transfers.uploads(REFERENCE, BLOB, (9, 116, 116));
        transfers.kept(BLOB).unwrap();
        transfers.not_announced(MESSAGE, Code::IdConflict, "another message has this id").unwrap()
    };
    assert_eq!(states(&announced(continued())), [&TransferState::Sent]);
    let actions = announced(ready(true).0);
    assert!(matches!(states(&actions)[..], [TransferState::Failed(_)]), "the control");
}
