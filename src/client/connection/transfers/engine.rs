//! The thread for transfers: handles the model's jobs and the server's transfer records, with one
//! window per direction.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};

use super::arrival::Arrival;
use super::job::Job;
use super::meter::Meter;
use super::ports::{Desk, Outlet};
use super::reading::{self, Begun, Reader, Reading, Ready, not_stored, reopened};
use super::upload::Upload;
use crate::chat::{BlobId, Descriptor, MsgId};
use crate::client::connection::inbox::Sender;
use crate::client::model::Input;
use crate::client::storage::transfer_folder::{Held, StoreError, Stored, TransferFolder};
use crate::client::transfer::{
    Failure, Left, LeftDownload, LeftUpload, Place, Report, Then, ToGet, ToSend, TransferId, Work,
};
use crate::system::clock::Instant;
use crate::system::{fs, threads};
use crate::transfer::turns::Turns;
use crate::transfer::window::{PIECE_BYTES_MAX, Window};
use crate::wire::transfer::{TransferRecord, data_head};

/// One direction of the connection.
#[derive(Default)]
struct Way {
    window: Window,
    /// By the server's numbers.
    turns: Turns,
}

/// Number of pieces that are queued together: each call wakes the thread that writes, unless it is
/// busy. This many pieces of the largest size are one encrypted chunk.
const TOGETHER_MAX: usize = 4;
/// Chunks of a file that are read in a step: 1 MiB, which takes a browser some milliseconds.
const STEP_CHUNKS: usize = 16;
/// Transfers whose limits are kept before their answers.
const EARLY_MAX: usize = 16;

pub struct Engine<O> {
    folder: Arc<TransferFolder>,
    is_script: bool,
    /// For first passes, which report here.
    jobs: mpsc::Sender<Job>,
    outlet: O,
    desk: Arc<dyn Desk>,
    /// Number of the connection that the server's numbers are valid for.
    connection: u64,
    inbox: Sender,
    began: Instant,
    /// First passes, each with its cancel flag.
    readings: BTreeMap<TransferId, Arc<AtomicBool>>,
    /// Files that are read in steps; `None` if each file has a thread.
    steps: Option<VecDeque<(TransferId, Box<Reading>, Meter)>>,
    uploads: BTreeMap<TransferId, (Upload, Meter)>,
    /// Downloads of an earlier run whose message is not there yet.
    awaited: BTreeMap<TransferId, Held>,
    arrivals: BTreeMap<TransferId, (Arrival, Meter)>,
    /// The transfers of the server's numbers in this connection.
    numbers: HashMap<u32, TransferId>,
    /// Limits of uploads whose answer has not arrived.
    early: BTreeMap<u32, u64>,
    up: Way,
    down: Way,
}

impl<O: Outlet> Engine<O> {
    pub fn new(
        (folder, is_script): (Arc<TransferFolder>, bool),
        (outlet, desk): (O, Arc<dyn Desk>),
        jobs: mpsc::Sender<Job>,
        inbox: Sender,
    ) -> Engine<O> {
        Engine {
            folder,
            is_script,
            jobs,
            outlet,
            desk,
            connection: 0,
            inbox,
            began: Instant::now(),
            readings: BTreeMap::new(),
            steps: None,
            uploads: BTreeMap::new(),
            awaited: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            numbers: HashMap::new(),
            early: BTreeMap::new(),
            up: Way::default(),
            down: Way::default(),
        }
    }

    /// Reads files in steps, without threads.
    pub fn in_steps(self) -> Engine<O> {
        Engine { steps: Some(VecDeque::new()), ..self }
    }

    /// Restores the transfers of an earlier run. Numbers them from 1.
    pub fn restore(&mut self) -> Left {
        let mut left = Left::default();
        let of_scripts =
            |stored: &Stored| matches!(stored, Stored::Upload(upload) if upload.is_script);
        let all = self.folder.left(|stored| !of_scripts(stored));
        for (number, (held, stored)) in (1..).zip(all) {
            let id = TransferId(number);
            match stored {
                Stored::Upload(upload) => {
                    let to = upload.send.to.clone();
                    let (name, path) = (upload.file.name.clone(), upload.send.path.clone());
                    match reopened(held, *upload) {
                        Ok(ready) => {
                            let recorded = ready.recorded.clone();
                            self.uploads.insert(id, (Upload::new(ready), Meter::default()));
                            left.uploads.push(LeftUpload { id, to, path, recorded });
                        }
                        Err(failure) => {
                            let text = format!(
                                "the upload of {name} from the last run cannot continue: {}",
                                failure.hint
                            );
                            self.send_input(Input::Trouble(text));
                        }
                    }
                }
                Stored::Download { from, seq, place } => {
                    self.awaited.insert(id, held);
                    // A file opens on the desktop in the run in which the user asks for it.
                    let get = ToGet { from, seq, place, then: Then::Keep };
                    left.downloads.push(LeftDownload { id, get });
                }
            }
        }
        left
    }

    pub fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match jobs.try_recv() {
                Ok(job) => Ok(job),
                Err(TryRecvError::Empty) if self.sends() => continue,
                Err(TryRecvError::Empty) => jobs.recv().map_err(drop),
                Err(TryRecvError::Disconnected) => Err(()),
            };
            match job {
                Ok(job) => self.job(job),
                Err(()) => return,
            }
            self.grants();
        }
    }

    pub fn job(&mut self, job: Job) {
        match job {
            Job::Work(work) => self.work(work),
            Job::Record(body, _permit) => self.receives(&body),
            Job::Room => {}
            Job::Read(id, read) => self.has_read(id, *read),
            Job::Lost(connection) => self.lost(connection),
            // The runtime may have stopped waiting.
            Job::Finish(done) => drop(done.send(())),
        }
    }

    fn work(&mut self, work: Work) {
        match work {
            Work::Read { id, file, message } => self.reads(id, file, message),
            Work::Upload { id, number, have, limit } => {
                let Some((upload, meter)) = self.uploads.get_mut(&id) else { return };
                let limit = self.early.remove(&number).unwrap_or(0).max(limit);
                upload.begin(number, have, limit);
                meter.restart(Instant::now(), upload.file_bytes());
                self.numbers.insert(number, id);
                self.up.turns.add(number);
                if have == upload.total() {
                    self.report(id, Report::Written);
                }
            }
            Work::Open { id, file, get } => self.opens(id, &file, &get),
            Work::Download { id, number, bytes } => {
                let Some((arrival, meter)) = self.arrivals.get_mut(&id) else { return };
                match arrival.begin(number, bytes) {
                    Ok(()) => {
                        meter.restart(Instant::now(), arrival.file_bytes());
                        self.numbers.insert(number, id);
                        self.down.turns.add(number);
                        self.is_whole(id);
                    }
                    Err(failure) => {
                        self.stop(id, number);
                        self.report(id, Report::Failed(failure));
                    }
                }
            }
            Work::Stop { number } => self.stop_there(number),
            Work::Pause { id } => self.pause(id),
            Work::Forget { id, keeps } => self.forget(id, keeps),
        }
    }

    /// Reads a file on a thread of its own, or in steps.
    fn reads(&mut self, id: TransferId, file: ToSend, message: MsgId) {
        let is_cancelled = Arc::new(AtomicBool::new(false));
        self.readings.insert(id, Arc::clone(&is_cancelled));
        let (folder, is_script) = (Arc::clone(&self.folder), self.is_script);
        let reader = Reader { folder, is_script, is_cancelled, desk: Arc::clone(&self.desk) };
        if let Some(steps) = &mut self.steps {
            match reader.begin(file, message) {
                Ok(Begun::Reads(reading)) => steps.push_back((id, reading, Meter::default())),
                Ok(Begun::Ready(ready)) => self.has_read(id, Ok(*ready)),
                Err(failure) => self.has_read(id, Err(failure)),
            }
            return;
        }
        let (inbox, jobs) = (self.inbox.clone(), self.jobs.clone());
        let job = move || {
            let mut meter = Meter::default();
            let mut progress = |bytes, of| {
                if meter.report(Instant::now(), bytes).is_some() {
                    // The runtime may already have ended.
                    let _ = inbox.send(Input::Transfer(id, Report::Read { bytes, of }));
                }
            };
            let read = reader.read(file, message, &mut progress);
            // The thread ends with the program.
            let _ = jobs.send(Job::Read(id, Box::new(read)));
        };
        if let Err(error) = threads::try_start("reading", job) {
            self.readings.remove(&id);
            self.report(id, Report::Failed(Failure::disk(error)));
        }
    }

    /// Returns whether files are read in steps now.
    pub fn is_reading(&self) -> bool {
        self.steps.as_ref().is_some_and(|steps| !steps.is_empty())
    }

    /// Reads the next chunks of a file, in turn with others.
    pub fn reads_on(&mut self) {
        let next = self.steps.as_mut().and_then(VecDeque::pop_front);
        let Some((id, mut reading, mut meter)) = next else { return };
        for _ in 0..STEP_CHUNKS {
            match reading.step() {
                Ok(true) => {}
                Ok(false) => return self.has_read(id, reading.finish()),
                Err(failure) => return self.has_read(id, Err(failure)),
            }
        }
        let (bytes, of) = (reading.bytes(), reading.of());
        if meter.report(Instant::now(), bytes).is_some() {
            self.report(id, Report::Read { bytes, of });
        }
        if let Some(steps) = &mut self.steps {
            steps.push_back((id, reading, meter));
        }
    }

    fn has_read(&mut self, id: TransferId, read: Result<Ready, Failure>) {
        match (read, self.readings.remove(&id)) {
            (Ok(ready), Some(_)) => {
                let recorded = ready.recorded.clone();
                self.uploads.insert(id, (Upload::new(ready), Meter::default()));
                self.report(id, Report::Recorded(Box::new(recorded)));
            }
            // It was cancelled meanwhile.
            (Ok(ready), None) => ready.held.remove(),
            (Err(_), None) => {}
            (Err(failure), Some(_)) => self.report(id, Report::Failed(failure)),
        }
    }

    fn opens(&mut self, id: TransferId, file: &Descriptor, get: &ToGet) {
        if let Some((arrival, _)) = self.arrivals.get(&id) {
            let from = arrival.offset();
            return self.report(id, Report::Opened { from });
        }
        let mut awaited = self.awaited.remove(&id);
        if let Some(other) = awaited.take_if(|held| held.blob() != file.blob) {
            other.remove();
        }
        let opened = match self.stored(awaited, file.blob, get) {
            Ok(mut held) => {
                let opened = Arrival::open(file, get, &self.folder, &mut held);
                // The next run must not retry a download that cannot be opened.
                held.into_iter().for_each(Held::remove);
                opened
            }
            Err(error) => Err(not_stored(error)),
        };
        match opened {
            Ok(arrival) => {
                let from = arrival.offset();
                self.arrivals.insert(id, (arrival, Meter::default()));
                self.report(id, Report::Opened { from });
            }
            Err(failure) => self.report(id, Report::Failed(failure)),
        }
    }

    /// Stores a download, unless an earlier run has, so that the next run continues it. What a
    /// script fetches, its same command continues.
    fn stored(
        &self,
        held: Option<Held>,
        blob: BlobId,
        get: &ToGet,
    ) -> Result<Option<Held>, StoreError> {
        let ToGet { from, seq, place, then } = get.clone();
        let is_for_now = place == Place::Stdout || matches!(then, Then::View | Then::Lend);
        if held.is_some() || self.is_script || is_for_now {
            return Ok(held);
        }
        let place = place.absolute();
        if let Place::Folder(path) | Place::Named(path) = &place
            && path.to_str().is_none()
        {
            // Its record could not have the path: a later run does not continue it.
            return Ok(held);
        }
        self.folder.store(blob, &Stored::Download { from, seq, place }).map(Some)
    }

    /// Sends a few pieces together. Returns whether there was one. If the connection has no room
    /// for them, `Job::Room` follows later.
    pub fn sends(&mut self) -> bool {
        if self.up.window.piece().is_none() || !self.outlet.has_room() {
            return false;
        }
        let mut records = Vec::new();
        let pieces = (0..TOGETHER_MAX).take_while(|_| self.seals(&mut records)).count();
        self.outlet.send_transfers(self.connection, records);
        pieces > 0
    }

    /// Adds the next piece to records. Returns whether there was one, or a failure was reported.
    fn seals(&mut self, records: &mut Vec<Vec<u8>>) -> bool {
        let Some(wanted) = self.up.window.piece() else { return false };
        let piece_of = |number: u32| {
            let upload = self.numbers.get(&number).and_then(|id| self.uploads.get(id));
            upload.and_then(|(upload, _)| upload.piece(wanted))
        };
        let Some(number) = self.up.turns.next(|number| piece_of(number).is_some()) else {
            return false;
        };
        let Some(bytes) = piece_of(number) else { return false };
        let id = self.numbers[&number];
        let Some((upload, _)) = self.uploads.get_mut(&id) else { return false };
        let offset = upload.next();
        let mut record = Vec::new();
        data_head(number, offset, bytes as usize, &mut record);
        match upload.take(bytes, &mut record) {
            Ok(()) => {
                let now_us = self.began.elapsed().as_micros() as u64;
                self.up.window.sent(now_us, number, offset + bytes, bytes);
                records.push(record);
            }
            Err(error) => {
                self.pause(id);
                self.report(id, Report::Failed(reading::failure(error)));
            }
        }
        true
    }

    /// Lets the server send more, as far as the window goes, in steps that are worth a record.
    pub fn grants(&mut self) {
        if !self.down.window.has_step() {
            return;
        }
        let mut granted = Vec::<(u32, u64)>::new();
        while let Some(wanted) = self.down.window.piece() {
            let wants = |number: u32| {
                let arrival = self.numbers.get(&number).and_then(|id| self.arrivals.get(id));
                arrival.is_some_and(|(arrival, _)| arrival.wants_more())
            };
            let Some(number) = self.down.turns.next(wants) else { break };
            let id = self.numbers[&number];
            let arrival = self.arrivals.get_mut(&id);
            let Some((piece, upto)) = arrival.and_then(|(one, _)| one.grant(wanted)) else { break };
            let now_us = self.began.elapsed().as_micros() as u64;
            self.down.window.sent(now_us, number, upto, piece);
            // A server ends a record at each bound. On a slow link a record of several pieces would
            // be acknowledged late and at once, and the window would take the link for a faster
            // one.
            let earlier = granted.iter_mut().find(|(one, _)| *one == number);
            match earlier.filter(|_| wanted == PIECE_BYTES_MAX) {
                Some(earlier) => earlier.1 = upto,
                None => granted.push((number, upto)),
            }
        }
        for (transfer, upto) in granted {
            self.sends_record(TransferRecord::Want { transfer, upto });
        }
    }

    /// Handles a transfer record. Ignores unexpected records. Unexpected bytes end the download.
    pub fn receives(&mut self, body: &[u8]) {
        let now_us = self.began.elapsed().as_micros() as u64;
        match TransferRecord::parse(body) {
            Ok(TransferRecord::Have { transfer, written, limit }) => {
                let Some(id) = self.numbers.get(&transfer).copied() else {
                    return self.keep_early(transfer, limit);
                };
                let Some((upload, meter)) = self.uploads.get_mut(&id) else { return };
                let is_written = upload.has(written, limit);
                self.up.window.acknowledged(now_us, transfer, written);
                let bytes = upload.file_bytes();
                match meter.report(Instant::now(), bytes) {
                    _ if is_written => self.report(id, Report::Written),
                    Some(rate) => self.report(id, Report::Moved { bytes, rate }),
                    None => {}
                }
            }
            Ok(TransferRecord::Data { transfer, offset, bytes }) => {
                let Some(id) = self.numbers.get(&transfer).copied() else { return };
                let Some((arrival, meter)) = self.arrivals.get_mut(&id) else { return };
                let taken = arrival.take(offset, bytes);
                let upto = offset.saturating_add(bytes.len() as u64);
                self.down.window.acknowledged(now_us, transfer, upto);
                if let Err(failure) = taken {
                    self.stop(id, transfer);
                    return self.report(id, Report::Failed(failure));
                }
                let bytes = arrival.file_bytes();
                if !arrival.is_whole()
                    && let Some(rate) = meter.report(Instant::now(), bytes)
                {
                    self.report(id, Report::Moved { bytes, rate });
                }
                self.is_whole(id);
            }
            // The event `stopped` says why.
            Ok(TransferRecord::Stop { .. } | TransferRecord::Want { .. }) | Err(_) => {}
        }
    }

    /// Stores the limit of a transfer whose `upload` event is still queued behind messages.
    fn keep_early(&mut self, transfer: u32, limit: u64) {
        self.early.insert(transfer, limit);
        // Transfer numbers of a connection increase: the first entry is the oldest.
        if self.early.len() > EARLY_MAX {
            self.early.pop_first();
        }
    }

    /// Ends a download here and at the server.
    fn stop(&mut self, id: TransferId, transfer: u32) {
        self.stop_there(transfer);
        self.pause(id);
    }

    /// Ends a download at the server.
    fn stop_there(&mut self, transfer: u32) {
        self.sends_record(TransferRecord::Stop { transfer, code: 0 });
    }

    fn sends_record(&self, record: TransferRecord) {
        let mut body = Vec::new();
        record.encode(&mut body);
        self.outlet.send_transfers(self.connection, vec![body]);
    }

    /// Ends a download that has all bytes.
    fn is_whole(&mut self, id: TransferId) {
        let is_whole = |(arrival, _): &(Arrival, Meter)| arrival.is_whole();
        if !self.arrivals.get(&id).is_some_and(is_whole) {
            return;
        }
        self.pause(id);
        let Some((arrival, _)) = self.arrivals.remove(&id) else { return };
        self.report(id, Report::Written);
        let (inbox, desk) = (self.inbox.clone(), Arc::clone(&self.desk));
        // A sync of the disk may take long.
        let job = move || {
            // The runtime may already have ended.
            let _ = inbox.send(Input::Transfer(id, finished(arrival, &*desk, &inbox)));
        };
        if let Err(error) = threads::try_start("storing", job) {
            // The bytes stay for another attempt.
            self.report(id, Report::Failed(Failure::disk(error)));
        }
    }

    /// Ends a transfer on this connection.
    fn pause(&mut self, id: TransferId) {
        let upload = self.uploads.get_mut(&id);
        let up = upload.and_then(|(upload, _)| {
            let number = upload.number;
            upload.pause();
            number
        });
        let arrival = self.arrivals.get_mut(&id);
        let down = arrival.and_then(|(arrival, _)| {
            let number = arrival.number;
            arrival.pause();
            number
        });
        for number in up.into_iter().chain(down) {
            self.numbers.remove(&number);
            for way in [&mut self.up, &mut self.down] {
                way.turns.remove(number);
                way.window.forget(number);
            }
        }
    }

    fn forget(&mut self, id: TransferId, keeps: bool) {
        if let Some(is_cancelled) = self.readings.remove(&id) {
            is_cancelled.store(true, Ordering::Relaxed);
        }
        if let Some(steps) = &mut self.steps {
            steps.retain(|(of, ..)| *of != id);
        }
        let number = |(number, of): (&u32, &TransferId)| (*of == id).then_some(*number);
        if let Some(transfer) = self.numbers.iter().find_map(number)
            && self.arrivals.contains_key(&id)
        {
            self.stop(id, transfer);
        }
        self.pause(id);
        if let Some(held) = self.awaited.remove(&id) {
            held.remove();
        }
        if let Some((upload, _)) = self.uploads.remove(&id) {
            upload.remove();
        }
        if let Some((arrival, _)) = self.arrivals.remove(&id) {
            arrival.end(keeps);
        }
    }

    fn lost(&mut self, connection: u64) {
        self.connection = connection;
        self.numbers.clear();
        self.early.clear();
        (self.up, self.down) = (Way::default(), Way::default());
        self.uploads.values_mut().for_each(|(upload, _)| upload.pause());
        self.arrivals.values_mut().for_each(|(arrival, _)| arrival.pause());
    }

    fn report(&self, id: TransferId, report: Report) {
        self.send_input(Input::Transfer(id, report));
    }

    fn send_input(&self, input: Input) {
        // The runtime may already have ended.
        let _ = self.inbox.send(input);
    }
}

/// Gives a whole file its name, and opens or shows it.
fn finished(arrival: Arrival, desk: &dyn Desk, inbox: &Sender) -> Report {
    let then = arrival.then();
    let path = match arrival.finish() {
        Ok(path) => path,
        Err(failure) => return Report::Failed(failure),
    };
    match then {
        Then::Keep | Then::Lend => Report::Saved(path),
        Then::Open => {
            if let Err(problem) = desk.open(&path) {
                let _ = inbox.send(Input::Trouble(problem));
            }
            Report::Saved(path)
        }
        Then::View => {
            let decoded = desk.view(&path);
            // The sweep of a later start removes what cannot be removed.
            let _ = fs::remove_file(&path);
            decoded.map_or_else(Report::Failed, Report::Viewed)
        }
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
