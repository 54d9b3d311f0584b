//! The engine of transfers, on a thread of its own: it reads, encrypts and sends files, and
//! verifies and writes those that arrive. The model decides which; the listener hands over the
//! server's transfer records.

mod arrival;
mod desktop;
mod engine;
mod job;
mod meter;
mod pictures;
mod ports;
mod reading;
pub mod steps;
mod upload;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::inbox::{Budget, Sender};
use super::writer::Writer;
use crate::client::model::Input;
use crate::client::storage::transfer_folder::TransferFolder;
use crate::client::transfer::{Left, Work};
use engine::Engine;
use job::Job;
use pictures::Desktop;
pub use ports::Desk;
use ports::Outlet;

/// Bytes of records queued for the disk. When the queue is full, the client stops reading from the
/// server. The model's jobs are a few for each transfer, and do not wait.
const RECORDS_BYTES_MAX: usize = 8 << 20;

/// Time for the last jobs before the program ends.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// The handle of the engine.
#[derive(Clone)]
pub struct Transfers {
    jobs: mpsc::Sender<Job>,
    records: Budget,
    writer: Writer,
}

impl Transfers {
    /// Starts the engine. `stem` is the path of the server's files, without extension. Returns what
    /// an earlier run has left for this one; a script has its own.
    pub fn start(
        (stem, key): (&Path, Zeroizing<[u8; 32]>),
        is_script: bool,
        writer: Writer,
        inbox: Sender,
    ) -> (Transfers, Left) {
        let (transfers, queue) = Transfers::open(writer.clone());
        let (jobs, panics) = (transfers.jobs.clone(), Panics(inbox.clone()));
        // The thread ends with the program.
        writer.wakes(move || drop(jobs.send(Job::Room)));
        let folder = Arc::new(TransferFolder::new(stem, key));
        let (ports, finished) =
            ((writer, Arc::new(Desktop) as Arc<dyn Desk>), transfers.jobs.clone());
        let mut engine = Engine::new((folder, is_script), ports, finished, inbox);
        let left = if is_script { Left::default() } else { engine.restore() };
        let run = move || {
            let _panics = panics;
            engine.run(&queue);
        };
        let spawned = thread::Builder::new().name("transfers".into()).spawn(run);
        spawned.expect("a client can start a thread");
        (transfers, left)
    }

    fn open(writer: Writer) -> (Transfers, mpsc::Receiver<Job>) {
        let (jobs, queue) = mpsc::channel();
        (Transfers { jobs, records: Budget::new(RECORDS_BYTES_MAX), writer }, queue)
    }

    pub fn work(&self, work: Work) {
        self.job(Job::Work(work));
    }

    /// Hands over the body of a transfer record. Waits while the disk is behind, and calls `idle`
    /// after each `patience` of that.
    pub fn record(&self, body: &[u8], patience: Duration, mut idle: impl FnMut()) {
        let permit = loop {
            match self.records.take(body.len(), patience) {
                Some(permit) => break permit,
                None => idle(),
            }
        };
        self.job(Job::Record(body.to_vec(), permit));
    }

    /// Handles a lost connection: the server's transfer numbers are invalid from now on.
    pub fn lost(&self) {
        self.job(Job::Lost(self.writer.number()));
    }

    /// Waits for the earlier jobs before the program ends, at most `END_PATIENCE`.
    pub fn finish(&self) {
        let (done, is_done) = mpsc::channel();
        self.job(Job::Finish(done));
        let _ = is_done.recv_timeout(END_PATIENCE);
    }

    fn job(&self, job: Job) {
        // The thread ends with the program.
        let _ = self.jobs.send(job);
    }
}

impl Outlet for Writer {
    fn has_room(&self) -> bool {
        self.has_room()
    }

    fn send_transfers(&self, number: u64, bodies: Vec<Vec<u8>>) {
        self.send_transfers(number, bodies);
    }
}

/// Reports that the thread has panicked: the chat continues without it.
struct Panics(Sender);

impl Drop for Panics {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = "files cannot be sent or fetched any more, because of a bug in pychat: \
                        restart it";
            // The runtime may already have ended.
            let _ = self.0.send(Input::Trouble(text.to_owned()));
        }
    }
}
