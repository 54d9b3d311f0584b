//! The contract of the rows of encrypted files, tested on each ledger.

use super::contract_tests::{Made, PAGE, contract, free, memory, sent, sqlite};
use super::*;
use crate::chat::BlobId;

const LIMITS: BlobLimits =
    BlobLimits { person_bytes_max: 1 << 20, bytes_max: (3 << 20) - 4_096, unfinished_max: 3 };

const BEGINS: Began = Began::Coming { is_new: true };
const RESUMES: Began = Began::Coming { is_new: false };

fn new(owner: &str, blob: u8, bytes: u64) -> NewBlob {
    NewBlob {
        blob: BlobId([blob; 16]),
        owner: owner.parse().unwrap(),
        conversation: "#tea".parse().unwrap(),
        bytes,
        now_ms: i64::from(blob),
        until_ms: 100,
        last_ms: 1_000,
    }
}

fn tea(blob: u8) -> BlobId {
    stored_name(&"#tea".parse().unwrap(), BlobId([blob; 16]))
}

fn announces(from: &str, id: u8, blob: u8) -> SentMessage {
    let kind = Kind::File { blob: BlobId([blob; 16]) };
    SentMessage { kind, time_ms: 500, ..sent("#tea", from, id, "{\"name\":\"holiday\"}") }
}

fn removes(from: &str, id: u8, of: u64) -> SentMessage {
    SentMessage { kind: Kind::Delete { of: Seq(of) }, ..sent("#tea", from, id, "") }
}

fn begins(made: &mut Made, new: &NewBlob) -> Began {
    made.ledger.begin_blob(new, &LIMITS).unwrap()
}

/// Uploads a whole file.
fn keeps(made: &mut Made, owner: &str, blob: u8, bytes: u64) {
    assert_eq!(begins(made, &new(owner, blob, bytes)), BEGINS);
    assert!(made.ledger.keep_blob(tea(blob), 200).unwrap());
}

fn drops(made: &mut Made, owner: &str, blob: u8) -> DropOutcome {
    made.ledger.drop_blob(&owner.parse().unwrap(), BlobId([blob; 16])).unwrap()
}

fn state(made: &Made, blob: u8) -> Option<(BlobState, bool)> {
    made.ledger.blob(tea(blob)).unwrap().map(|row| (row.state, row.claimed))
}

fn used(made: &Made, owner: &str) -> (usize, u64) {
    let (rows, totals) = made.ledger.blobs_of(&owner.parse().unwrap(), 100).unwrap();
    assert_eq!(rows.len(), totals.files);
    (totals.files, totals.bytes)
}

/// What the server's sweep does with doomed files. Returns those.
fn buries(made: &mut Made) -> Vec<BlobId> {
    let doomed = made.ledger.doomed_blobs().unwrap();
    made.ledger.bury_blobs(&doomed).unwrap();
    doomed
}

contract! {
    a_message_claims_its_file_once(made) {
        keeps(&mut made, "ana", 1, 10_000);
        let other = SentMessage { conversation: "#lobby".parse().unwrap(), ..announces("ana", 2, 1) };
        assert_eq!(made.says(other), Outcome::NoSuchFile, "of another conversation");
        assert_eq!(made.says(announces("bob", 2, 1)), Outcome::NoSuchFile, "of another sender");
        assert_eq!(made.says(announces("ana", 2, 7)), Outcome::NoSuchFile, "there is none");
        assert_eq!(begins(&mut made, &new("ana", 2, 10)), BEGINS);
        assert_eq!(made.says(announces("ana", 2, 2)), Outcome::NoSuchFile, "it is not complete");
        assert_eq!(state(&made, 1), Some((BlobState::Kept, false)));
        assert_eq!(made.says(announces("ana", 1, 1)), Outcome::Stored(Seq(1)));
        assert_eq!(state(&made, 1), Some((BlobState::Kept, true)));
        assert_eq!(made.says(announces("ana", 1, 1)), Outcome::Known(Seq(1)), "sent again");
        assert_eq!(made.says(announces("ana", 3, 1)), Outcome::NoSuchFile, "announced before");
        let row = made.ledger.blob(tea(1)).unwrap().unwrap();
        assert_eq!((row.until_ms, row.bytes), (1_000, 10_000));
    }

    a_put_resumes_or_conflicts(made) {
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), BEGINS);
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), RESUMES);
        assert_eq!(begins(&mut made, &new("ana", 1, 11)), Began::Conflict, "another size");
        assert_eq!(begins(&mut made, &new("bob", 1, 10)), Began::Conflict, "another person");
        let elsewhere = NewBlob { conversation: "#lobby".parse().unwrap(), ..new("bob", 1, 10) };
        assert_eq!(begins(&mut made, &elsewhere), BEGINS, "ids show nothing elsewhere");
        assert!(made.ledger.keep_blob(tea(1), 200).unwrap());
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), Began::Kept { until_ms: 200 });
        assert_eq!(drops(&mut made, "ana", 1), DropOutcome::Doomed);
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), Began::Conflict, "it is being removed");
        assert!(!made.ledger.keep_blob(tea(1), 200).unwrap());
        assert_eq!(buries(&mut made), [tea(1)]);
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), BEGINS);
    }

    quotas_are_sums_of_what_is_there(made) {
        let part = (1 << 20) - 8_192;
        keeps(&mut made, "ana", 1, part);
        assert_eq!(begins(&mut made, &new("ana", 2, 8_193)), Began::Quota { used: part });
        assert_eq!(begins(&mut made, &new("ana", 2, 8_192)), BEGINS, "the last room");
        assert_eq!(begins(&mut made, &new("ana", 3, 1)), Began::Quota { used: 1 << 20 });
        assert_eq!(used(&made, "ana"), (2, 1 << 20));
        assert_eq!(drops(&mut made, "ana", 2), DropOutcome::Doomed);
        assert_eq!(used(&made, "ana"), (1, part));
        let full = Began::Quota { used: 1 << 20 };
        assert_eq!(begins(&mut made, &new("ana", 9, 1)), full, "until it is removed");
        for (number, owner) in ["bob", "carol"].into_iter().enumerate() {
            let begun = begins(&mut made, &new(owner, 5 + number as u8, 1 << 20));
            // What is doomed takes room on the disk until it is removed.
            assert_eq!(begun, [BEGINS, Began::NoRoom][number]);
        }
        buries(&mut made);
        assert_eq!(begins(&mut made, &new("carol", 6, 1 << 20)), BEGINS);
        assert_eq!(begins(&mut made, &new("ana", 10, 1)), BEGINS);
        assert_eq!(begins(&mut made, &new("ana", 11, 1)), Began::NoRoom);
        assert_eq!(made.ledger.blob_totals().unwrap().files, 4);
        assert_eq!(used(&made, "ana"), (2, part + 4_096), "a small file counts a block");
    }

    who_is_given_a_name_has_no_files_of_its_former_holder(made) {
        keeps(&mut made, "ana", 1, 1 << 20);
        made.says(announces("ana", 1, 1));
        assert_eq!(used(&made, "ana"), (1, 1 << 20), "the control");
        made.ledger.renew(&"ana".parse().unwrap()).unwrap();
        assert_eq!(used(&made, "ana"), (0, 0));
        assert_eq!(drops(&mut made, "ana", 1), DropOutcome::Unknown);
        assert_eq!(begins(&mut made, &new("ana", 2, 1 << 20)), BEGINS, "the quota is unused");
    }

    only_an_unfinished_file_is_cancelled_and_only_a_whole_one_lost(made) {
        keeps(&mut made, "ana", 1, 10);
        assert_eq!(begins(&mut made, &new("ana", 2, 10)), BEGINS);
        made.ledger.cancel_blob(tea(1)).unwrap();
        made.ledger.lose_blob(tea(2)).unwrap();
        assert_eq!(state(&made, 1), Some((BlobState::Kept, false)));
        assert_eq!(state(&made, 2), Some((BlobState::Coming, false)));
        made.ledger.cancel_blob(tea(2)).unwrap();
        made.ledger.lose_blob(tea(1)).unwrap();
        assert_eq!(state(&made, 1), Some((BlobState::Doomed(Why::Lost), false)));
        assert_eq!(state(&made, 2), Some((BlobState::Doomed(Why::Deleted), false)));
    }

    all_spellings_of_a_name_are_one_owner(made) {
        let shouts = |blob| NewBlob { conversation: "@ANA@bob".parse().unwrap(), ..new("ANA", blob, 10) };
        let quiet = |blob| NewBlob { conversation: "@ana@Bob".parse().unwrap(), ..new("ana", blob, 10) };
        let stored = |blob| stored_name(&"@ana@bob".parse().unwrap(), BlobId([blob; 16]));
        assert_eq!(begins(&mut made, &shouts(1)), BEGINS);
        assert_eq!(begins(&mut made, &quiet(1)), RESUMES);
        assert!(made.ledger.keep_blob(stored(1), 200).unwrap());
        assert_eq!(begins(&mut made, &shouts(2)), BEGINS);
        assert_eq!(begins(&mut made, &shouts(3)), BEGINS);
        assert_eq!((used(&made, "Ana"), used(&made, "ana")), ((3, 3 * 4_096), (3, 3 * 4_096)));
        assert_eq!(made.ledger.blob_owners().unwrap().len(), 1);
        let message = SentMessage { conversation: "@ana@bob".parse().unwrap(), ..announces("aNa", 1, 1) };
        assert_eq!(made.says(message), Outcome::Stored(Seq(1)));
        assert_eq!(drops(&mut made, "ana", 1), DropOutcome::Announced);
        assert_eq!(drops(&mut made, "aNA", 2), DropOutcome::Doomed);
        made.ledger.begin_erasing(&"Ana".parse().unwrap()).unwrap();
        assert_eq!(made.ledger.take_doomed(), [stored(2), stored(3)]);
    }

    a_file_is_not_announced_after_its_time_and_a_put_does_not_extend_it(made) {
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), BEGINS);
        let late = NewBlob { until_ms: 5_000, last_ms: 9_000, ..new("ana", 1, 10) };
        assert_eq!(begins(&mut made, &late), RESUMES);
        let until = |made: &Made| made.ledger.blob(tea(1)).unwrap().unwrap().until_ms;
        assert_eq!(until(&made), 1_000, "as the first put said");
        assert!(made.ledger.keep_blob(tea(1), 5_000).unwrap());
        assert_eq!(until(&made), 1_000);
        let says = |time_ms| SentMessage { time_ms, ..announces("ana", 1, 1) };
        assert_eq!(made.says(says(1_000)), Outcome::NoSuchFile, "the next sweep removes it");
        assert_eq!(made.says(says(999)), Outcome::Stored(Seq(1)), "the control");
    }

    unfinished_uploads_are_bounded(made) {
        for blob in 1..=3 {
            assert_eq!(begins(&mut made, &new("ana", blob, 1)), BEGINS);
        }
        assert_eq!(begins(&mut made, &new("ana", 4, 1)), Began::TooManyUnfinished);
        assert_eq!(begins(&mut made, &new("ana", 3, 1)), RESUMES, "one of them goes on");
        assert!(made.ledger.keep_blob(tea(1), 200).unwrap());
        assert_eq!(begins(&mut made, &new("ana", 4, 1)), BEGINS);
    }

    a_deletion_dooms_the_file_and_is_remembered(made) {
        keeps(&mut made, "ana", 1, 10);
        made.says(announces("ana", 1, 1));
        let change = SentMessage { kind: Kind::Edit { of: Seq(1) }, ..sent("#tea", "ana", 2, "x") };
        assert_eq!(made.says(change), Outcome::FileNotEdited);
        assert_eq!(drops(&mut made, "ana", 1), DropOutcome::Announced);
        assert_eq!(drops(&mut made, "bob", 1), DropOutcome::Unknown);
        assert_eq!(made.says(removes("bob", 3, 1)), Outcome::NotOwn);
        assert_eq!(made.ledger.take_doomed(), []);
        assert_eq!(made.says(removes("ana", 3, 1)), Outcome::Stored(Seq(2)));
        assert_eq!(made.ledger.take_doomed(), [tea(1)]);
        assert_eq!(made.ledger.take_doomed(), []);
        assert_eq!(used(&made, "ana"), (0, 0));
        assert_eq!(state(&made, 1), Some((BlobState::Doomed(Why::Deleted), true)));
        assert_eq!(buries(&mut made), [tea(1)]);
        assert_eq!(state(&made, 1), Some((BlobState::Gone(Why::Deleted), true)));
        assert_eq!(buries(&mut made), []);
        let tea_room = "#tea".parse().unwrap();
        made.ledger.expire(&tea_room, i64::MAX).unwrap();
        assert_eq!(state(&made, 1), None, "nothing names it any more");
    }

    expiry_dooms_files(made) {
        keeps(&mut made, "ana", 1, 10);
        keeps(&mut made, "ana", 2, 10);
        made.says(announces("ana", 1, 1));
        assert_eq!(made.ledger.expire_blobs(199).unwrap(), 0);
        assert_eq!(made.ledger.expire_blobs(200).unwrap(), 1, "nobody announced it");
        assert_eq!(buries(&mut made), [tea(2)]);
        assert_eq!(state(&made, 2), None);
        assert_eq!(made.ledger.expire_blobs(1_000).unwrap(), 1);
        assert_eq!(buries(&mut made), [tea(1)]);
        assert_eq!(state(&made, 1), Some((BlobState::Gone(Why::Expired), true)));
    }

    retention_and_erasure_doom_files(made) {
        for (owner, blob) in [("ana", 1), ("bob", 2), ("bob", 3)] {
            keeps(&mut made, owner, blob, 10);
        }
        made.says(announces("ana", 1, 1));
        made.says(announces("bob", 2, 2));
        made.ledger.erase(&"bob".parse().unwrap()).unwrap();
        let mut doomed = made.ledger.take_doomed();
        doomed.sort_unstable();
        let mut expected = [tea(2), tea(3)];
        expected.sort_unstable();
        assert_eq!(doomed, expected);
        buries(&mut made);
        assert_eq!(state(&made, 2), Some((BlobState::Gone(Why::Deleted), true)));
        assert_eq!((state(&made, 3), used(&made, "bob")), (None, (0, 0)));
        made.ledger.expire(&"#tea".parse().unwrap(), i64::MAX).unwrap();
        assert_eq!(made.ledger.take_doomed(), [tea(1)]);
        assert_eq!(buries(&mut made), [tea(1)]);
        assert_eq!((state(&made, 1), state(&made, 2)), (None, None));
    }

    files_of_a_detached_channel_are_doomed(made) {
        for blob in 1..=20 {
            keeps(&mut made, "ana", blob, 10);
            made.says(announces("ana", blob, blob));
        }
        keeps(&mut made, "ana", 21, 10);
        assert_eq!(state(&made, 20), Some((BlobState::Kept, true)), "the control");
        made.ledger.detach(&"#tea".parse().unwrap(), false).unwrap();
        for blob in 1..=20 {
            let doomed = Some((BlobState::Doomed(Why::Expired), true));
            assert_eq!(state(&made, blob), doomed, "of a message that is not removed yet");
            assert_eq!(begins(&mut made, &new("ana", blob, 10)), Began::Conflict);
        }
        // Those who come back meanwhile.
        assert_eq!(made.says(announces("ana", 101, 1)), Outcome::NoSuchFile);
        assert!(matches!(made.says(sent("#tea", "bob", 102, "x")), Outcome::Stored(_)));
        while made.ledger.remove_detached().unwrap() {}
        let (mut doomed, mut expected) = (made.ledger.take_doomed(), Vec::from_iter((1..=20).map(tea)));
        doomed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(doomed, expected);
        assert_eq!(buries(&mut made).len(), 20);
        assert_eq!((state(&made, 1), state(&made, 20)), (None, None));
        assert_eq!(state(&made, 21), Some((BlobState::Kept, false)), "no message announced it");
        assert_eq!(used(&made, "ana"), (1, 4_096));
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), BEGINS);
    }

    another_holder_of_a_name_has_none_of_its_files(made) {
        keeps(&mut made, "ana", 1, 10);
        keeps(&mut made, "ana", 2, 10);
        made.says(announces("ana", 1, 1));
        made.ledger.renew(&"ana".parse().unwrap()).unwrap();
        assert_eq!(made.ledger.take_doomed(), [tea(2)]);
        assert_eq!(made.says(announces("ana", 2, 2)), Outcome::NoSuchFile);
        assert_eq!(begins(&mut made, &new("ana", 1, 10)), Began::Conflict);
        assert_eq!(state(&made, 1), Some((BlobState::Kept, true)));
    }

    history_selects_files(made) {
        for blob in 1..=3 {
            keeps(&mut made, "ana", blob, 10);
            made.says(announces("ana", blob, blob));
            made.says(sent("#tea", "ana", 10 + blob, "holiday"));
        }
        made.says(removes("ana", 20, 3));
        let tea_room = "#tea".parse().unwrap();
        let older = Older { files: true, ..Older::default() };
        let (messages, more) = made.reader.history(&tea_room, older, PAGE, &free()).unwrap();
        let seen: Vec<_> = messages.iter().map(|message| (message.seq.0, message.deleted)).collect();
        assert_eq!((&seen[..], more), (&[(1, false), (3, true), (5, false)][..], false));
        assert!(messages.iter().all(|message| message.kind.blob().is_some()));
        assert_eq!(messages[0].body.text(), "{\"name\":\"holiday\"}");
        let (all, _) = made.reader.history(&tea_room, Older::default(), PAGE, &free()).unwrap();
        assert_eq!(all.len(), 6);
        let wanted = Wanted::new("holiday").unwrap();
        let found = made.reader.search_conversation(&tea_room, (&wanted, Matching::Whole), PAGE, &free()).unwrap().0;
        assert_eq!(found.len(), 3, "descriptors are not searched");
        let counted = made.reader.count(&tea_room, (Seq(0), Seq(7)), &"bob".parse().unwrap(), &free());
        assert_eq!(counted.unwrap().by[0].1, 5);
    }

    rows_are_listed_in_pages(made) {
        for blob in 1..=3 {
            keeps(&mut made, "ana", blob, 10);
        }
        let mut all: Vec<_> = (1..=3).map(tea).collect();
        all.sort_unstable();
        let listed = |after| -> Vec<BlobId> {
            made.ledger.blobs_after(after).unwrap().into_iter().map(|row| row.stored).collect()
        };
        assert_eq!(listed(None), all);
        assert_eq!(listed(Some(all[0])), all[1..]);
    }
}

#[test]
fn a_file_on_disk_passes_the_check_and_survives_a_start() {
    let (mut ledger, _folder, path) = super::contract_tests::on_disk();
    ledger.begin_blob(&new("ana", 1, 10), &LIMITS).unwrap();
    ledger.keep_blob(tea(1), 200).unwrap();
    ledger.commit(&[Record::message(announces("ana", 1, 1))]).unwrap();
    drop(ledger);
    assert_eq!(jobs(&path).verify().unwrap().messages, 1);
    let mut ledger = Sqlite::open(&path, 60).unwrap();
    assert_eq!(ledger.blob(tea(1)).unwrap().unwrap().state, BlobState::Kept);
    ledger.commit(&[Record::message(removes("ana", 2, 1))]).unwrap();
    assert_eq!(ledger.doomed_blobs().unwrap(), [tea(1)]);
    drop(ledger);
    assert_eq!(jobs(&path).verify().unwrap().messages, 2);
}

#[test]
fn files_of_a_detached_channel_are_doomed_after_a_kill_too() {
    let (mut ledger, _folder, path) = super::contract_tests::on_disk();
    for blob in 1..=40 {
        ledger.begin_blob(&new("ana", blob, 10), &LIMITS).unwrap();
        ledger.keep_blob(tea(blob), 200).unwrap();
        ledger.commit(&[Record::message(announces("ana", blob, blob))]).unwrap();
    }
    ledger.detach(&"#tea".parse().unwrap(), false).unwrap();
    assert!(ledger.remove_detached().unwrap());
    drop(ledger);
    // A backup that is made meanwhile is sound.
    let messages = jobs(&path).verify().unwrap().messages;
    assert!(messages > 0 && messages < 40, "{messages}");
    let mut ledger = Sqlite::open(&path, 60).unwrap();
    assert_eq!(ledger.doomed_blobs().unwrap().len(), 40 - messages, "with their messages");
    let last = ledger.blob(tea(40)).unwrap().unwrap();
    assert_eq!((last.state, last.claimed), (BlobState::Doomed(Why::Expired), true));
    while ledger.remove_detached().unwrap() {}
    assert_eq!(ledger.take_doomed().len(), messages);
    assert_eq!(ledger.doomed_blobs().unwrap().len(), 40);
}

#[test]
fn requests_cost_the_same_however_many_files_there_are_and_wrong_sums_are_noticed() {
    let (mut ledger, _folder, path) = super::contract_tests::on_disk();
    let begin = |ledger: &mut Sqlite, blob: u8| {
        let limits = BlobLimits { person_bytes_max: 1 << 40, bytes_max: 1 << 40, ..LIMITS };
        assert_eq!(ledger.begin_blob(&new("ana", blob, 10), &limits).unwrap(), BEGINS);
        assert!(ledger.keep_blob(tea(blob), 200).unwrap());
    };
    begin(&mut ledger, 1);
    // 50,000 files of two hundred people.
    ledger.break_with(
        "INSERT INTO blobs (stored, blob, owner, holder, conversation, bytes, state, made_ms, until_ms, last_ms)
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50000)
         SELECT randomblob(16), randomblob(16), 'p' || (n % 200), 0, '#tea', n % 9000, n % 4, n, n, n FROM n",
    );
    let counted = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = std::sync::Arc::clone(&counted);
    ledger.count_steps(100, move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let steps = || counted.swap(0, std::sync::atomic::Ordering::Relaxed);
    let summed: i64 = ledger.ask("SELECT sum(max(bytes, 4096)) FROM blobs WHERE state < 3");
    let of_a_sum = steps();
    assert!(of_a_sum > 1_000, "the control: {of_a_sum}");
    assert_eq!(ledger.blob_totals().unwrap().bytes, summed as u64);
    begin(&mut ledger, 2);
    let of_a_put = steps();
    assert!(of_a_put * 10 < of_a_sum, "{of_a_put} of {of_a_sum}");
    let (rows, totals) = ledger.blobs_of(&"p1".parse().unwrap(), 100).unwrap();
    assert_eq!((rows.len(), totals.files), (100, 250));
    let of_a_usage = steps();
    assert!(of_a_usage * 10 < of_a_sum, "{of_a_usage} of {of_a_sum}");
    ledger.break_with(
        "UPDATE blobs SET owner = 'p1', state = 1 WHERE owner <> 'ana' AND bytes % 2 = 0",
    );
    assert!(steps() > 1_000, "the control");
    let owner = "p1".parse().unwrap();
    assert_eq!(ledger.drop_blob(&owner, BlobId([77; 16])).unwrap(), DropOutcome::Unknown);
    let of_a_drop = steps();
    assert!(of_a_drop * 10 < of_a_sum, "{of_a_drop} of {of_a_sum}");
    let (rows, totals) = ledger.blobs_of(&owner, 100).unwrap();
    assert!(rows.len() == 100 && totals.files > 20_000);
    let of_a_usage = steps();
    assert!(of_a_usage * 10 < of_a_sum, "{of_a_usage} of {of_a_sum}, with many files of one user");
    drop(ledger);
    jobs(&path).verify().unwrap();
    let ledger = Sqlite::open(&path, 60).unwrap();
    ledger.break_with("UPDATE blob_sums SET bytes = bytes + 1 WHERE owner = 'ana'");
    drop(ledger);
    let wrong = jobs(&path).verify().unwrap_err().to_string();
    assert!(wrong.contains("the sums of ana's files are wrong"), "{wrong}");
}
