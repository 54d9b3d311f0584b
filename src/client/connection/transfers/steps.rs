//! The engine without a thread: the connection passes the records that arrive to it, and takes the
//! records to be sent. Files are read in steps, between which the connection does other work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

use super::engine::Engine;
use super::job::Job;
use super::ports::{Desk, Outlet};
use crate::client::connection::inbox::Sender;
use crate::client::storage::transfer_folder::TransferFolder;
use crate::client::transfer::{Left, Work};

/// Bytes of pieces that are handed over at a time, so that a message waits for few of them.
const ROOM_BYTES: usize = 128 << 10;

pub struct Steps {
    engine: Engine<Lane>,
    jobs: Receiver<Job>,
    records: Receiver<Vec<u8>>,
    /// Bytes of `records`.
    bytes: Arc<AtomicUsize>,
    /// Number of the connection.
    connection: u64,
}

/// Records for the connection.
struct Lane {
    records: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Steps {
    /// Restores the transfers of an earlier run, too.
    pub fn new(folder: TransferFolder, desk: Arc<dyn Desk>, inbox: Sender) -> (Steps, Left) {
        let (finished, jobs) = mpsc::channel();
        let (sender, records) = mpsc::channel();
        let bytes = Arc::new(AtomicUsize::new(0));
        let lane = Lane { records: sender, bytes: Arc::clone(&bytes) };
        let folder = Arc::new(folder);
        let mut engine = Engine::new((folder, false), (lane, desk), finished, inbox).in_steps();
        let left = engine.restore();
        (Steps { engine, jobs, records, bytes, connection: 0 }, left)
    }

    /// Returns whether a file is being read.
    pub fn is_reading(&self) -> bool {
        self.engine.is_reading()
    }

    /// Reads the next part of a file.
    pub fn reads_on(&mut self) {
        self.engine.reads_on();
    }

    pub fn work(&mut self, work: Work) {
        self.engine.job(Job::Work(work));
    }

    /// Handles the body of a transfer record.
    pub fn record(&mut self, body: &[u8]) {
        self.engine.receives(body);
    }

    /// The connection is lost: the server's numbers of transfers are invalid from now on.
    pub fn lost(&mut self) {
        self.connection += 1;
        drop(self.taken());
        self.engine.job(Job::Lost(self.connection));
    }

    /// Continues the transfers as far as the connection has room. Returns the records to be sent.
    pub fn resume(&mut self) -> Vec<Vec<u8>> {
        while let Ok(job) = self.jobs.try_recv() {
            self.engine.job(job);
        }
        while self.engine.sends() {}
        self.engine.grants();
        self.taken()
    }

    fn taken(&mut self) -> Vec<Vec<u8>> {
        self.bytes.store(0, Ordering::Relaxed);
        self.records.try_iter().collect()
    }
}

impl Outlet for Lane {
    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < ROOM_BYTES
    }

    fn send_transfers(&self, _number: u64, bodies: Vec<Vec<u8>>) {
        for body in bodies {
            self.bytes.fetch_add(body.len(), Ordering::Relaxed);
            // `Steps` owns both the receiver and this engine, so that sending does not fail.
            let _ = self.records.send(body);
        }
    }
}
