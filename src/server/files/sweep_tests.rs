//! Files without a row, and unfinished files without a transfer.

use std::cell::Cell;
use std::sync::Arc;

use super::doubles::MemoryStore;
use super::downloads::Download;
use super::progress::{Wanted, begun};
use super::store::{BlobStore, FolderStore, Place};
use super::uploads::Begun;
use super::world_tests::{HOUR_MS, LIMITS, Server, serve};
use crate::chat::{BlobId, Conversation, Epoch, Refusal, SessionId};
use crate::crypto::Fingerprint;
use crate::crypto::record_cipher::pair;
use crate::ledger::{BlobState, Memory, NewBlob, stored_name};
use crate::net::memory::{self, Pipe};
use crate::net::tunnel::{Incoming, TunnelReader};
use crate::server::delivery::flusher;
use crate::server::delivery::send_queue::{Outgoing, SendQueue};
use crate::server::hub::Job;
use crate::wire::transfer::TransferRecord;

const NOW_MS: i64 = 1_000_000 * HOUR_MS;

/// Runs a test with each kind of store.
fn each(test: impl Fn(Arc<dyn BlobStore>)) {
    let folder = tempfile::tempdir().unwrap();
    test(Arc::new(FolderStore::open(folder.path().join("files")).unwrap()));
    test(Arc::new(MemoryStore::new(1 << 30)));
}

fn tea() -> Conversation {
    "#tea".parse().unwrap()
}

fn stored(number: u8) -> BlobId {
    stored_name(&tea(), BlobId([number; 16]))
}

fn there(store: &dyn BlobStore) -> usize {
    store.list(0..=u8::MAX).unwrap().len()
}

fn runs(server: &Server) {
    while server.works() | server.writes() {}
}

fn makes(store: &dyn BlobStore, number: u8, is_whole: bool) {
    store.create(stored(number), 5, 0).unwrap().append_at(0, b"bytes").unwrap();
    if is_whole {
        store.keep(stored(number)).unwrap();
    }
}

fn wanted(number: u8, bytes: u64) -> Wanted {
    let new = NewBlob {
        blob: BlobId([number; 16]),
        owner: "alice".parse().unwrap(),
        conversation: tea(),
        bytes,
        now_ms: NOW_MS,
        until_ms: NOW_MS + 24 * HOUR_MS,
        last_ms: NOW_MS + 720 * HOUR_MS,
    };
    Wanted { new, limits: LIMITS, reserve: 0, unfinished_ms: 24 * HOUR_MS }
}

fn session(room: usize) -> (Arc<SendQueue>, TunnelReader, Arc<Pipe>) {
    let (sealer, opener) = pair([7; 32]);
    let ([own, other], [pipe, _]) = memory::pair(room);
    let outgoing = Outgoing { sink: own.sink, sealer, address: own.peer.ip(), offered: 2 };
    let queue = SendQueue::new(SessionId(1), Fingerprint([7; 32]), outgoing, 1 << 20);
    (Arc::new(queue), TunnelReader::new(other.source, opener), pipe)
}

/// Begins an upload; also returns what the client has to send.
fn begins(
    server: &Server,
    queue: &Arc<SendQueue>,
    (transfer, wanted): (u32, &Wanted),
) -> (Result<Begun, Refusal>, u64) {
    let run = |job: Job| job(&mut server.ledger.borrow_mut());
    let mut have = 0;
    let begun = server.files.uploads().begin(&run, wanted, (queue, transfer), &mut |reached| {
        have = reached.0;
        let event = begun((transfer, wanted.new.blob), reached, None);
        server.hub.delivery.answer(queue, &event);
    });
    (begun, have)
}

#[test]
fn a_file_without_a_row_stays_for_a_day_whenever_the_server_starts() {
    each(|store| {
        let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
        makes(&*store, 1, false);
        makes(&*store, 2, true);
        let sweeps = |hours: i64, is_trusted: bool| {
            // Another process each time.
            let server = serve(&memory, Arc::clone(&store));
            server.sweeps(is_trusted.then_some(NOW_MS + hours * HOUR_MS));
            runs(&server);
            there(&*store)
        };
        assert_eq!(sweeps(0, true), 2, "the first look");
        assert_eq!(sweeps(-100, true), 2, "the clock was wrong, and is put right");
        assert_eq!(sweeps(-100, true), 2);
        assert_eq!(sweeps(-77, true), 2, "23 hours");
        assert_eq!(sweeps(1_000, false), 2, "the clock may be wrong");
        assert_eq!(sweeps(-76, true), 0, "a day");
    });
}

#[test]
fn a_file_whose_row_is_back_is_known_again() {
    each(|store| {
        let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
        makes(&*store, 1, true);
        let server = serve(&memory, Arc::clone(&store));
        server.sweeps(Some(NOW_MS));
        assert!(store.look_up(stored(1)).unwrap().unwrap().unknown_ms.is_some());
        // The operator restores the newer ledger, or its client repeats the upload.
        let (queue, _reader, _pipe) = session(usize::MAX);
        let (begun, have) = begins(&server, &queue, (1, &wanted(1, 5)));
        assert!(matches!(begun, Ok(Begun::Upload(_))) && have == 5, "nothing is sent again");
        runs(&server);
        let row = server.ledger.borrow_mut().blobs().blob(stored(1)).unwrap().unwrap();
        assert_eq!(row.state, BlobState::Kept);
        // An unfinished file beside a whole one is of no use.
        if there(&*store) == 1 {
            server.sweeps(Some(NOW_MS + HOUR_MS));
            server.sweeps(Some(NOW_MS + 23 * HOUR_MS));
            runs(&server);
        }
        let found = store.look_up(stored(1)).unwrap().unwrap();
        assert_eq!((found.unknown_ms, found.is_kept(5)), (None, true));
    });
}

#[test]
fn an_upload_and_the_removal_of_an_unknown_file_of_its_name_exclude_each_other() {
    each(|store| {
        let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
        let (queue, _reader, _pipe) = session(usize::MAX);
        let server = serve(&memory, Arc::clone(&store));
        makes(&*store, 1, true);
        let remove = || server.files.uploads().remove_unknown(stored(1), &[Place::Kept]);
        // The removal has asked for the row before the upload has one.
        remove();
        assert!(server.works() && server.writes());
        let (begun, _) = begins(&server, &queue, (1, &wanted(1, 5)));
        assert!(matches!(begun, Err(Refusal::FileRemoving)), "for now");
        runs(&server);
        assert_eq!(there(&*store), 0);
        let (begun, have) = begins(&server, &queue, (2, &wanted(1, 5)));
        let Ok(Begun::Upload(mut upload)) = begun else { panic!("it begins") };
        assert_eq!(have, 0);
        // The upload is first.
        remove();
        upload.take(0, b"bytes");
        runs(&server);
        assert!(store.look_up(stored(1)).unwrap().unwrap().is_kept(5));
        // The row is first: the file is open, or it is not.
        remove();
        assert!(server.works());
        runs(&server);
        assert!(store.look_up(stored(1)).unwrap().unwrap().is_kept(5));
    });
}

#[test]
fn a_file_that_is_removed_while_an_upload_opens_it_is_begun_again_with_a_row() {
    each(|store| {
        let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
        let server = serve(&memory, Arc::clone(&store));
        let (queue, _reader, _pipe) = session(usize::MAX);
        let wanted = wanted(1, 5);
        let asked = Cell::new(0);
        let run = |job: Job| {
            job(&mut server.ledger.borrow_mut());
            asked.set(asked.get() + 1);
            if asked.get() == 1 {
                // Another device of the user has dropped it, and it is removed at once.
                let mut ledger = server.ledger.borrow_mut();
                let blob = wanted.new.blob;
                ledger.blobs().drop_blob(&wanted.new.owner, blob).unwrap();
                ledger.tell_doomed();
                drop(ledger);
                runs(&server);
            }
        };
        let begun = server.files.uploads().begin(&run, &wanted, (&queue, 1), &mut |_| {});
        let Ok(Begun::Upload(mut upload)) = begun else { panic!("it begins again") };
        let state = || server.ledger.borrow_mut().blobs().blob(stored(1)).unwrap().unwrap().state;
        assert_eq!(state(), BlobState::Coming);
        runs(&server);
        upload.take(0, b"bytes");
        runs(&server);
        assert_eq!((state(), there(&*store)), (BlobState::Kept, 1));
    });
}

#[test]
fn have_never_goes_back_and_none_follows_the_end() {
    let store = Arc::new(MemoryStore::new(1 << 30));
    let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
    let server = serve(&memory, store);
    let (queue, mut reader, pipe) = session(usize::MAX);
    let (begun, _) = begins(&server, &queue, (1, &wanted(1, 3_000)));
    let Ok(Begun::Upload(mut upload)) = begun else { panic!("it begins") };
    pipe.set_room(0);
    // Nothing but the first bytes of one record fits.
    upload.take(0, &[1; 10]);
    upload.report();
    upload.take(10, &[1; 10]);
    upload.report();
    pipe.set_room(usize::MAX);
    assert!(queue.resume());
    // The thread for downloads has not sent the waiting report yet.
    upload.take(20, &[1; 10]);
    upload.report();
    let downloads = server.files.downloads();
    let have = |reader: &mut TunnelReader| {
        pipe.carry(usize::MAX);
        let mut have = Vec::new();
        while let Ok(Incoming::Record(_, body)) = reader.receive() {
            if let Ok(TransferRecord::Have { written, .. }) = TransferRecord::parse(body) {
                have.push(written);
            }
        }
        have
    };
    assert_eq!(have(&mut reader), [10], "the second one waits");
    downloads.send_reports();
    assert_eq!(have(&mut reader), [30], "and was replaced");
    pipe.set_room(0);
    for at in 3..5 {
        upload.take(at * 10, &[1; 10]);
        upload.report();
    }
    drop(upload);
    pipe.set_room(usize::MAX);
    assert!(queue.resume());
    downloads.send_reports();
    assert_eq!(have(&mut reader), [40], "none after the end");
}

#[test]
fn a_session_whose_socket_the_last_record_fills_goes_on() {
    let store = Arc::new(MemoryStore::new(1 << 30));
    let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
    let server = serve(&memory, store);
    let blocked = || flusher::turn(&*server.hub.delivery, Vec::new(), &[]).len();
    for (bytes, fits) in [(1_000, false), (2_000, false), (1_000, true)] {
        let (queue, _reader, pipe) = session(100);
        if fits {
            pipe.set_room(usize::MAX);
        }
        let download = Download {
            queue: Arc::clone(&queue),
            transfer: 1,
            conversation: tea(),
            stored: stored(1),
            next: 0,
            bytes,
        };
        server.files.downloads().add(download);
        let data = TransferRecord::Data { transfer: 1, offset: 0, bytes: &[7; 1_000] };
        assert!(server.files.downloads().send((SessionId(1), 1), 1_000, &[data]));
        assert_eq!(queue.is_behind(), !fits);
        assert_eq!(blocked(), usize::from(!fits), "it is resumed once there is room");
    }
}
