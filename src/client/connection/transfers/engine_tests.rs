//! The engine against a hostile server, without a socket.

use std::fs;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::super::Transfers;
use super::super::pictures::Desktop;
use super::*;
use crate::chat::{BlobId, FileBytes, FileSecret, Seq};
use crate::client::connection::inbox::{self, Entry};
use crate::client::connection::writer::Writer;
use crate::crypto::file::{CHUNK_BYTES, FileKey, Layout, chunk_digest, file_hash, new_secret};

const ID: TransferId = TransferId(1);

struct Bench {
    engine: Engine<Writer>,
    jobs: Receiver<Job>,
    inputs: Receiver<Entry>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let key = zeroize::Zeroizing::new([7; 32]);
        let store = Arc::new(TransferFolder::new(&folder.path().join("server"), key));
        let (inbox, inputs) = inbox::open();
        let (transfers, queue) = Transfers::open(Writer::default());
        let ports = (Writer::default(), Arc::new(Desktop) as Arc<dyn Desk>);
        let engine = Engine::new((store, false), ports, transfers.jobs.clone(), inbox);
        Bench { engine, jobs: queue, inputs, folder }
    }

    /// What the engine has reported last.
    fn report(&self) -> Option<Report> {
        let reports = self.inputs.try_iter().filter_map(|entry| match entry.input {
            Input::Transfer(ID, report) => Some(report),
            _ => None,
        });
        reports.last()
    }

    fn failure(&self) -> Option<String> {
        match self.report() {
            Some(Report::Failed(failure)) => Some(failure.code),
            _ => None,
        }
    }

    fn receives(&mut self, record: TransferRecord) {
        let mut body = Vec::new();
        record.encode(&mut body);
        self.engine.receives(&body);
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) {
        self.receives(TransferRecord::Data { transfer: 5, offset, bytes });
    }

    /// A download of a file of 100,000 bytes, of which the server may send the first 4 KiB. Returns
    /// what it stores.
    fn downloads(&mut self) -> Vec<u8> {
        let stored = self.downloads_to(Place::Folder(self.folder.path().to_owned()));
        assert_eq!(self.report(), Some(Report::Opened { from: 0 }));
        stored
    }

    fn downloads_to(&mut self, place: Place) -> Vec<u8> {
        let (file, secret, layout) =
            (vec![9; 100_000], new_secret(&[1; 32]), Layout::open(100_000));
        let (blob, layout) = (BlobId(rand::random()), layout.unwrap());
        let key = FileKey::new(&secret, &blob.0, layout);
        let (mut stored, mut out) = (Vec::new(), Vec::new());
        for (index, chunk) in (0..).zip(file.chunks(CHUNK_BYTES)) {
            key.seal_chunk(index, chunk, &mut out).unwrap();
            stored.extend_from_slice(&out);
        }
        let digests: Vec<_> = file.chunks(CHUNK_BYTES).map(chunk_digest).collect();
        let hash = FileSecret(zeroize::Zeroizing::new(file_hash(100_000, &digests)));
        let (name, media) = ("a".to_owned(), String::new());
        let (bytes, key) = (FileBytes(100_000), FileSecret(secret));
        let (size, thumb, text) = (None, None, None);
        let file = Descriptor { v: 1, blob, name, bytes, media, key, hash, size, thumb, text };
        let (from, then) = ("#lobby".parse().unwrap(), Then::Keep);
        let get = ToGet { from, seq: Seq(1), place, then };
        self.engine.work(Work::Open { id: ID, file: Box::new(file), get });
        stored
    }

    fn begins(&mut self, bytes: u64) {
        self.engine.work(Work::Download { id: ID, number: 5, bytes });
        self.engine.grants();
    }
}

#[test]
fn only_wanted_bytes_are_taken() {
    type Breaks = fn(&mut Bench, &[u8]);
    let wrong: [(&str, Breaks); 4] = [
        ("not the next byte", |bench, stored| bench.data(1, &stored[1..100])),
        ("more than was wanted", |bench, stored| bench.data(0, &stored[..5_000])),
        ("twice", |bench, stored| {
            bench.data(0, &stored[..100]);
            bench.data(0, &stored[..100]);
        }),
        ("an offset that overflows", |bench, stored| bench.data(u64::MAX - 200, &stored[..100])),
    ];
    for (what, breaks) in wrong {
        let mut bench = Bench::new();
        let stored = bench.downloads();
        bench.begins(stored.len() as u64);
        breaks(&mut bench, &stored);
        assert_eq!(bench.failure().as_deref(), Some("not_as_sent"), "{what}");
        // Nothing more of it is taken.
        bench.data(0, &stored[..100]);
        assert_eq!(bench.report(), None, "{what}");
    }
    let mut bench = Bench::new();
    let bytes = bench.downloads().len() as u64;
    bench.begins(bytes + 1);
    assert_eq!(bench.failure().as_deref(), Some("not_as_sent"), "another size");
}

#[test]
fn a_whole_file_arrives_and_a_changed_one_does_not() {
    for changes in [false, true] {
        let mut bench = Bench::new();
        let mut stored = bench.downloads();
        bench.begins(stored.len() as u64);
        if changes {
            stored[70_000] ^= 1;
        }
        let mut next = 0;
        while let Some((arrival, _)) = bench.engine.arrivals.get(&ID) {
            let end = (next + 1_000).min(arrival.upto() as usize);
            assert!(end > next, "nothing is wanted at {next}");
            bench.data(next as u64, &stored[next..end]);
            bench.engine.grants();
            next = end;
            if changes && next > 70_000 && bench.failure().is_some() {
                return;
            }
        }
        assert!(!changes, "the changed chunk was taken");
        let saved = loop {
            let entry = bench.inputs.recv_timeout(Duration::from_secs(60)).expect("it is saved");
            if let Input::Transfer(ID, Report::Saved(path)) = entry.input {
                break path;
            }
        };
        assert_eq!(fs::read(saved).unwrap(), [9; 100_000]);
    }
}

#[test]
fn a_download_that_cannot_be_opened_is_not_left_to_the_next_run() {
    let mut bench = Bench::new();
    bench.downloads_to(Place::Named("/none/x".into()));
    let Some(Report::Failed(failure)) = bench.report() else { panic!("there is no such folder") };
    assert_eq!((&*failure.code, &*failure.hint), ("disk", "there is no folder /none"));
    assert!(bench.engine.folder.left(|_| true).is_empty());
    // The control.
    let mut bench = Bench::new();
    bench.downloads();
    drop(std::mem::take(&mut bench.engine.arrivals));
    assert_eq!(bench.engine.folder.left(|_| true).len(), 1);
}

#[test]
fn no_claim_of_a_server_makes_an_upload_panic_or_seal_other_bytes() {
    let mut bench = Bench::new();
    let path = bench.folder.path().join("a.bin");
    fs::write(&path, vec![1; 150_000]).unwrap();
    let to = "#lobby".parse().unwrap();
    let file = ToSend { path: path.clone(), to, caption: None, keeps_metadata: false };
    bench.engine.work(Work::Read { id: ID, file, message: MsgId([1; 16]) });
    let Ok(Job::Read(id, read)) = bench.jobs.recv() else { panic!("it is read") };
    bench.engine.has_read(id, *read);
    let Some(Report::Recorded(recorded)) = bench.report() else { panic!("it is recorded") };
    let total = recorded.stored;
    for (have, limit) in [(u64::MAX, u64::MAX), (total + 1, total), (total - 1, 0), (5, 3)] {
        bench.engine.work(Work::Upload { id: ID, number: 5, have, limit });
        while bench.engine.sends() {}
        for (written, limit) in [(u64::MAX, u64::MAX), (0, 0), (total, 1)] {
            bench.receives(TransferRecord::Have { transfer: 5, written, limit });
            bench.receives(TransferRecord::Have { transfer: 6, written, limit });
            while bench.engine.sends() {}
        }
        bench.receives(TransferRecord::Want { transfer: 5, upto: 9 });
        bench.receives(TransferRecord::Stop { transfer: 5, code: 9 });
        bench.data(0, b"x");
        bench.engine.lost(0);
    }
    let _ = bench.report();
    // The file is changed, and the server says that it has nothing.
    fs::write(&path, vec![2; 150_000]).unwrap();
    bench.engine.work(Work::Upload { id: ID, number: 7, have: 0, limit: total });
    while bench.engine.sends() {}
    assert_eq!(bench.failure().as_deref(), Some("changed"));
}
