//! Uploads, downloads, the sweep, a ledger and a store in one thread and in memory, driven by a
//! seed: links are full or cut, the server is killed, the power goes. Whatever happens, a file that
//! was confirmed is whole, and none is left that nothing names. One seed again:
//! `WORLD_SEED=7 cargo test files::world`.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::doubles::MemoryStore;
use super::downloads::{Download, Open};
use super::ports::Ports;
use super::progress::{Ahead, Taken, Upload, Wanted, begun};
use super::store::{BlobStore, Place};
use super::uploads::Begun;
use super::worker::{self, Worker};
use super::{Files, Sweep};
use crate::chat::registry::{Epochs, Participant, Purpose, Registry, Rules};
use crate::chat::{
    BlobId, Body, Conversation, Epoch, Event, Kind, MsgId, Retention, Seq, SessionId, UserName,
};
use crate::config::Config;
use crate::crypto::record_cipher::pair;
use crate::crypto::{Fingerprint, RecordType};
use crate::ledger::{
    BlobLimits, BlobRow, BlobState, DropOutcome, Memory, NewBlob, Outcome, Record, SentMessage,
    SplitLedger, stored_name,
};
use crate::limits::Limits;
use crate::net::memory::{self, Pipe};
use crate::net::tunnel::{Incoming, TunnelReader};
use crate::server::commit;
use crate::server::delivery::flusher::{self, Flusher};
use crate::server::delivery::send_queue::{Outgoing, SendQueue};
use crate::server::hub::Hub;
use crate::wire::codec;
use crate::wire::transfer::TransferRecord;

const SEEDS: u64 = 400;
const STEPS: usize = 500;
const PEOPLE: [&str; 3] = ["alice", "alice", "bob"];
const AHEAD: Ahead = Ahead { bytes: 4_096, sync_bytes: 2_048 };
pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const LIMITS: BlobLimits =
    BlobLimits { person_bytes_max: 1 << 20, bytes_max: 1 << 21, unfinished_max: 3 };

/// The client's state of a file.
struct Share {
    blob: BlobId,
    owner: usize,
    to: Conversation,
    content: Vec<u8>,
    /// When it is removed, of a file that the server has confirmed.
    until_ms: Option<i64>,
    seq: Option<Seq>,
    /// It was dropped, deleted or expired, and may be sent again.
    is_over: bool,
}

/// The client's state of a transfer.
struct Sending {
    share: usize,
    next: u64,
    written: u64,
    limit: u64,
}

struct Session {
    id: SessionId,
    owner: usize,
    queue: Arc<SendQueue>,
    pipe: Arc<Pipe>,
    reader: TunnelReader,
    uploads: HashMap<u32, Upload>,
    client: Client,
    last: u32,
}

#[derive(Default)]
struct Client {
    sending: BTreeMap<u32, Sending>,
    /// Downloads: the share, and the next byte.
    fetching: BTreeMap<u32, (usize, u64)>,
}

/// One process of the server.
pub(super) struct Server {
    pub hub: Arc<Hub>,
    pub files: Arc<Files>,
    jobs: Receiver<worker::Job>,
    pub ledger: RefCell<SplitLedger>,
    open: Open,
    blocked: Vec<Arc<SendQueue>>,
    _ear: UnixStream,
}

struct World {
    seed: u64,
    chance: RefCell<StdRng>,
    now_ms: i64,
    memory: Memory,
    store: MemoryStore,
    server: Server,
    sessions: Vec<Session>,
    shares: Vec<Share>,
    sessions_made: u64,
    confirmed: usize,
}

fn content(share: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at * 31 + share * 7) % 251) as u8).collect()
}

pub(super) fn serve(memory: &Memory, store: Arc<dyn BlobStore>) -> Server {
    let (config, limits) = (Config::default(), Limits::default());
    let disk = (Box::new(memory.clone()) as _, Box::new(memory.clone()) as _);
    let ephemeral = Memory::new(Epoch(8), (1 << 20, 1 << 30), 60);
    let (mut ledger, _) = SplitLedger::new(Some(disk), ephemeral, config.retentions());
    let rules = Rules {
        limits: limits.clone(),
        retention: Box::new(|_| Retention::Forever),
        configured: Box::new(|_| false),
        forgets: Box::new(|_| false),
    };
    let ids = Epochs { persistent: ledger.epoch(), ephemeral: Epoch(100), next: Epoch(99) };
    let registry = Registry::new(rules, ids, ledger.floor());
    let (flusher, _ear) = Flusher::new().unwrap();
    let hub = Arc::new(Hub::new(registry, &limits, flusher));
    let (worker, jobs) = Worker::held();
    let files = Files::new(Arc::new(Ports::new(store, worker)), AHEAD);
    files.ports().connect(&hub);
    let own = Arc::clone(&files);
    ledger.on_doomed(Box::new(move |doomed| own.doomed(doomed)));
    let (open, blocked) = (Open::default(), Vec::new());
    Server { hub, files, jobs, ledger: RefCell::new(ledger), open, blocked, _ear }
}

impl Server {
    /// Runs one job of the thread for files.
    pub fn works(&self) -> bool {
        self.jobs.try_recv().map(|job| job()).is_ok()
    }

    /// Runs the queued jobs of the commit thread.
    pub fn writes(&self) -> bool {
        let mut waiting = self.hub.ledger.take_waiting();
        let some = !waiting.entries.is_empty();
        commit::work(&self.hub, &mut self.ledger.borrow_mut(), &mut waiting);
        some
    }

    /// Sweeps and compares, as after a start.
    pub fn sweeps(&self, now_ms: Option<i64>) {
        Sweep::default().run(
            &self.files,
            now_ms,
            &|job| Some(job(&mut self.ledger.borrow_mut())),
            &|job| Some(job(&mut self.ledger.borrow_mut())),
        );
    }
}

impl World {
    fn new(seed: u64) -> World {
        let memory = Memory::new(Epoch(7), (1 << 30, 1 << 30), 1 << 40);
        let store = MemoryStore::new(1 << 22);
        World {
            seed,
            chance: RefCell::new(StdRng::seed_from_u64(seed)),
            now_ms: 1_000_000 * HOUR_MS,
            server: serve(&memory, Arc::new(store.clone())),
            memory,
            store,
            sessions: Vec::new(),
            shares: Vec::new(),
            sessions_made: 0,
            confirmed: 0,
        }
    }

    fn below(&self, end: usize) -> usize {
        self.chance.borrow_mut().random_range(0..end.max(1))
    }

    fn enters(&mut self) {
        self.sessions_made += 1;
        let owner = self.below(PEOPLE.len());
        let (sealer, opener) = pair([7; 32]);
        let room = if self.below(2) == 0 { 300 } else { usize::MAX };
        let ([own, other], [pipe, _]) = memory::pair(room);
        let outgoing = Outgoing { sink: own.sink, sealer, address: own.peer.ip(), offered: 2 };
        let id = SessionId(self.sessions_made);
        let key = Fingerprint([owner as u8; 32]);
        let queue = Arc::new(SendQueue::new(id, key, outgoing, 1 << 24));
        let welcome = Event::Notice { text: "hello".into(), reference: None };
        let (user, device) = (self.user(owner), format!("d{owner}").parse().unwrap());
        let participant = Participant { user, device, purpose: Purpose::Visit };
        self.server.hub.enter(&queue, participant, vec![welcome]).unwrap();
        let reader = TunnelReader::new(other.source, opener);
        let (uploads, client) = Default::default();
        self.sessions.push(Session { id, owner, queue, pipe, reader, uploads, client, last: 0 });
    }

    fn user(&self, owner: usize) -> UserName {
        PEOPLE[owner].parse().unwrap()
    }

    fn any_session(&self) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| self.below(self.sessions.len()))
    }

    fn any_share(&self, of: impl Fn(&Share) -> bool) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.shares.len()).filter(|at| of(&self.shares[*at])).collect();
        (!fitting.is_empty()).then(|| fitting[self.below(fitting.len())])
    }

    fn row(&self, share: usize) -> Option<BlobRow> {
        let Share { to, blob, .. } = &self.shares[share];
        self.server.ledger.borrow_mut().blobs().blob(stored_name(to, *blob)).unwrap()
    }

    /// A client begins or resumes an upload. Other threads go on around each job of the ledger.
    fn puts(&mut self) {
        let Some(at) = self.any_session() else { return };
        let user = PEOPLE[self.sessions[at].owner];
        let old = self.any_share(|share| PEOPLE[share.owner] == user && share.seq.is_none());
        let share = old.filter(|_| self.below(3) > 0).unwrap_or_else(|| {
            let owner = self.sessions[at].owner;
            let to = ["#lobby", "@alice@bob"][self.below(2)].parse().unwrap();
            let bytes = [1, 500, 5_000, 20_000][self.below(4)] + self.below(100);
            let content = content(self.shares.len(), bytes);
            let blob = BlobId([self.shares.len() as u8; 16]);
            let (until_ms, seq, is_over) = (None, None, false);
            self.shares.push(Share { blob, owner, to, content, until_ms, seq, is_over });
            self.shares.len() - 1
        });
        let Share { blob, ref to, ref content, .. } = self.shares[share];
        let new = NewBlob {
            blob,
            owner: self.user(self.sessions[at].owner),
            conversation: to.clone(),
            bytes: content.len() as u64,
            now_ms: self.now_ms,
            until_ms: self.now_ms + 24 * HOUR_MS,
            last_ms: self.now_ms + 720 * HOUR_MS,
        };
        let wanted = Wanted { new, limits: LIMITS, reserve: 0, unfinished_ms: 24 * HOUR_MS };
        let others = || {
            for _ in 0..self.below(4) {
                match self.below(2) {
                    0 => self.server.works(),
                    _ => self.server.writes(),
                };
            }
        };
        let session = &self.sessions[at];
        let (transfer, queue) = (session.last + 1, Arc::clone(&session.queue));
        let run = |job: crate::server::hub::Job| {
            others();
            job(&mut self.server.ledger.borrow_mut());
            others();
        };
        let began =
            self.server.files.uploads().begin(&run, &wanted, (&queue, transfer), &mut |reached| {
                self.server.hub.delivery.answer(&queue, &begun((transfer, blob), reached, None));
            });
        let session = &mut self.sessions[at];
        session.last = transfer;
        match began {
            Ok(Begun::Upload(upload)) => {
                let (next, written, limit) = (0, 0, 0);
                session.client.sending.insert(transfer, Sending { share, next, written, limit });
                session.uploads.insert(transfer, upload);
            }
            Ok(Begun::Kept { until_ms }) => self.is_confirmed(share, until_ms),
            Ok(Begun::Refused(_)) | Err(_) => {}
        }
    }

    fn is_confirmed(&mut self, share: usize, until_ms: i64) {
        self.confirmed += 1;
        let share = &mut self.shares[share];
        if !share.is_over && share.seq.is_none() && until_ms > self.now_ms {
            share.until_ms = Some(until_ms);
        }
    }

    /// A client sends bytes that it may send.
    fn sends(&mut self) {
        let Some(at) = self.any_session() else { return };
        let pick = self.below(self.sessions[at].client.sending.len());
        let bytes_max = self.below(3_000) as u64;
        let session = &mut self.sessions[at];
        let Some((transfer, sending)) = session.client.sending.iter_mut().nth(pick) else { return };
        let (from, end) = (sending.next, sending.limit.min(sending.next + bytes_max));
        if from >= end {
            return;
        }
        sending.next = end;
        let bytes = &self.shares[sending.share].content[from as usize..end as usize];
        let Some(upload) = session.uploads.get_mut(transfer) else { return };
        let taken = upload.take(from, bytes);
        let expected = [Taken::Written, Taken::Over].contains(&taken);
        assert!(expected, "seed {}: {taken:?} at {from} of {}", self.seed, sending.share);
        upload.report();
    }

    /// Bytes reach a client.
    fn arrives(&mut self, at: usize, bytes_max: usize) {
        let session = &mut self.sessions[at];
        session.pipe.carry(bytes_max);
        let mut events = Vec::new();
        loop {
            match session.reader.receive() {
                Ok(Incoming::Record(RecordType::Binary, body)) => {
                    let record = TransferRecord::parse(body).unwrap();
                    session.client.hears(self.seed, &self.shares, &record);
                }
                Ok(Incoming::Record(_, body)) => {
                    for event in codec::decode::<Event>(body) {
                        let event = event.unwrap();
                        session.client.is_told(self.seed, &event);
                        events.push(event);
                    }
                }
                _ => break,
            }
        }
        for event in events {
            if let Event::Kept { blob, until_ms, .. } = event {
                let share = self.shares.iter().position(|share| share.blob == blob).unwrap();
                self.is_confirmed(share, until_ms);
            }
        }
    }

    fn announces(&mut self) {
        let confirmed = self.below(4) > 0;
        let fits = |share: &Share| share.seq.is_none() && share.until_ms.is_some() == confirmed;
        let Some(share) = self.any_share(fits) else { return };
        let Share { to, blob, owner, is_over, until_ms, .. } = &self.shares[share];
        let may_fail = *is_over || until_ms.is_none();
        let id = MsgId(self.chance.borrow_mut().random());
        let sent = self.sent((to.clone(), *owner), id, Kind::File { blob: *blob });
        let before = self.row(share);
        match self.commits(sent) {
            Outcome::Stored(seq) => {
                let row = before.expect("a row");
                assert_eq!(row.state, BlobState::Kept, "seed {}", self.seed);
                let until_ms = self.row(share).map(|row| row.until_ms);
                let share = &mut self.shares[share];
                (share.seq, share.until_ms, share.is_over) = (Some(seq), until_ms, false);
            }
            refused => assert!(may_fail, "seed {}: {refused:?} of {share}", self.seed),
        }
    }

    fn sent(
        &self,
        (conversation, owner): (Conversation, usize),
        id: MsgId,
        kind: Kind,
    ) -> SentMessage {
        let text = if kind.of().is_some() { "" } else { "{}" };
        let (from, device) = (self.user(owner), "main".parse().unwrap());
        let (time_ms, body) = (self.now_ms, Body::Text(text.into()));
        SentMessage { conversation, from, device, id, time_ms, kind, body }
    }

    fn commits(&mut self, sent: SentMessage) -> Outcome {
        let committed = self.server.ledger.borrow_mut().commit(vec![Record::message(sent)]);
        committed.0.into_iter().next().unwrap()
    }

    fn deletes(&mut self) {
        let Some(share) = self.any_share(|share| share.seq.is_some() && !share.is_over) else {
            return;
        };
        let Share { to, owner, seq, .. } = &self.shares[share];
        let (id, of) = (MsgId(self.chance.borrow_mut().random()), seq.unwrap());
        let sent = self.sent((to.clone(), *owner), id, Kind::Delete { of });
        assert!(matches!(self.commits(sent), Outcome::Stored(_)), "seed {}", self.seed);
        self.shares[share].is_over = true;
    }

    fn drops(&mut self) {
        let Some(share) = self.any_share(|share| share.seq.is_none()) else { return };
        let Share { blob, owner, .. } = self.shares[share];
        let user = self.user(owner);
        let mut ledger = self.server.ledger.borrow_mut();
        let dropped = ledger.blobs().drop_blob(&user, blob).unwrap();
        ledger.tell_doomed();
        drop(ledger);
        assert_ne!(dropped, DropOutcome::Announced, "seed {}", self.seed);
        (self.shares[share].is_over, self.shares[share].until_ms) = (true, None);
    }

    /// A client fetches a file that was announced.
    fn gets(&mut self) {
        let Some(at) = self.any_session() else { return };
        let Some(share) = self.any_share(|share| share.seq.is_some()) else { return };
        let Some(row) = self.row(share).filter(|row| row.state == BlobState::Kept) else { return };
        let from = self.below(row.bytes as usize) as u64;
        let session = &mut self.sessions[at];
        session.last += 1;
        let (queue, transfer) = (Arc::clone(&session.queue), session.last);
        session.client.fetching.insert(transfer, (share, from));
        let (stored, conversation, bytes) = (row.stored, row.conversation, row.bytes);
        let download = Download { queue, transfer, conversation, stored, next: from, bytes };
        self.server.files.downloads().add(download);
        self.server.files.downloads().want((session.id, transfer), from + 3_000);
    }

    fn is_killed(&mut self) {
        self.sessions.iter().for_each(|session| session.queue.retire());
        self.sessions.clear();
        self.server = serve(&self.memory, Arc::new(self.store.clone()));
    }

    fn sweeps(&mut self) {
        for share in &mut self.shares {
            let over = share.until_ms.is_some_and(|until_ms| until_ms <= self.now_ms);
            if over {
                (share.is_over, share.until_ms) = (true, share.seq.and(share.until_ms));
            }
        }
        self.server.sweeps(Some(self.now_ms));
    }

    fn step(&mut self) {
        match self.below(1_000) {
            0..90 => self.puts(),
            90..400 => self.sends(),
            400..550 => drop(self.server.works()),
            550..650 => drop(self.server.writes()),
            650..750 => {
                let bytes = self.below(8_000);
                self.any_session().into_iter().for_each(|at| self.arrives(at, bytes));
            }
            750..800 => self.flushes(),
            800..830 if self.sessions.len() < 5 => self.enters(),
            830..845 => {
                if let Some(at) = self.any_session() {
                    self.leaves(at);
                }
            }
            845..900 => self.announces(),
            900..910 => self.deletes(),
            910..920 => self.drops(),
            920..935 => self.gets(),
            935..970 => {
                let mut buffer = Vec::new();
                self.server.files.downloads().turn(&mut self.server.open, &mut buffer);
            }
            970..980 => {
                self.now_ms += [1, 30, 400][self.below(3)] * HOUR_MS;
                self.sweeps();
            }
            980..985 => self.is_killed(),
            985..990 => self.loses_power(),
            990..992 => self.erases(),
            _ => {}
        }
    }

    fn loses_power(&mut self) {
        self.is_killed();
        let chance = &self.chance;
        self.store.lose_power(&mut |max| chance.borrow_mut().random_range(0..=max));
    }

    /// An operator erases a person's texts and files.
    fn erases(&mut self) {
        let user = self.user(self.below(PEOPLE.len()));
        let mut ledger = self.server.ledger.borrow_mut();
        ledger.begin_erasing(&user).unwrap();
        while ledger.erase_some().unwrap().is_some() {}
        drop(ledger);
        for share in self.shares.iter_mut().filter(|share| PEOPLE[share.owner] == user.as_str()) {
            (share.is_over, share.until_ms) = (true, share.seq.and(share.until_ms));
        }
    }

    fn leaves(&mut self, at: usize) {
        let session = self.sessions.remove(at);
        self.server.files.downloads().forget(session.id);
        drop(session.uploads);
        self.server.hub.leave(&session.queue, None, true);
    }

    fn flushes(&mut self) {
        let blocked = std::mem::take(&mut self.server.blocked);
        let ready = vec![true; blocked.len()];
        self.server.blocked = flusher::turn(&*self.server.hub.delivery, blocked, &ready);
    }

    fn rows(&self) -> Vec<BlobRow> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.server.ledger.borrow_mut().blobs().blobs_after(after).unwrap();
            let Some(last) = page.last() else { return rows };
            after = Some(last.stored);
            rows.extend(page);
        }
    }

    /// Checks the invariants after each step.
    fn check(&self) {
        let rows = self.rows();
        let kept = rows.iter().filter(|row| row.state == BlobState::Kept);
        let kept: HashMap<BlobId, &BlobRow> = kept.map(|row| (row.stored, row)).collect();
        for (number, share) in self.shares.iter().enumerate() {
            let Share { to, blob, is_over, until_ms, content, .. } = share;
            let row = kept.get(&stored_name(to, *blob));
            assert!(
                row.is_some() || *is_over || until_ms.is_none(),
                "seed {}: {number} was confirmed, and is {:?}",
                self.seed,
                self.row(number)
            );
            let Some(row) = row else { continue };
            let file = self.store.open(row.stored);
            let file = file.unwrap_or_else(|error| panic!("seed {}: {number}: {error}", self.seed));
            let mut read = vec![0; content.len() + 1];
            let length = file.read_at(0, &mut read).unwrap();
            read.truncate(length);
            assert!(read == *content, "seed {}: {number} is damaged", self.seed);
        }
        let named = |row: &BlobRow| !matches!(row.state, BlobState::Gone(_) | BlobState::Coming);
        for one in
            self.store.list(0..=u8::MAX).unwrap().iter().filter(|one| one.place == Place::Kept)
        {
            let row = rows.iter().find(|row| row.stored == one.blob);
            // A file that is renamed and not entered yet is unfinished.
            let known = row.is_some_and(|row| named(row) || row.state == BlobState::Coming);
            assert!(known, "seed {}: {one:?} is still there; its row is {row:?}", self.seed);
        }
    }

    /// Ends all activity, lets a day pass, and compares the store with the ledger.
    fn settles(&mut self) {
        self.is_killed();
        for hours in [0, 25, 25, 0] {
            self.now_ms += hours * HOUR_MS;
            self.sweeps();
            while self.server.works() | self.server.writes() {}
        }
        self.check();
        let rows = self.rows();
        let live = rows.iter().filter(|row| !matches!(row.state, BlobState::Gone(_)));
        let mut live: Vec<_> = live.map(|row| (row.stored, Place::Kept, row.bytes)).collect();
        let listed = self.store.list(0..=u8::MAX).unwrap().into_iter();
        let mut listed: Vec<_> = listed.map(|one| (one.blob, one.place, one.length)).collect();
        live.sort_unstable();
        listed.sort_unstable();
        assert_eq!(live, listed, "seed {}: what is named is there, and nothing else", self.seed);
        let used: u64 = live.iter().map(|one| BlobRow::counts(one.2)).sum();
        let totals = self.server.ledger.borrow_mut().blobs().blob_totals().unwrap();
        assert_eq!((totals.files, totals.bytes), (live.len(), used), "seed {}", self.seed);
    }
}

impl Client {
    /// A transfer record reaches the client.
    fn hears(&mut self, seed: u64, shares: &[Share], record: &TransferRecord) {
        match *record {
            TransferRecord::Have { transfer, written, limit } => {
                let sending = self.sending.get_mut(&transfer);
                let sending = sending.unwrap_or_else(|| panic!("seed {seed}: HAVE after the end"));
                assert!(written >= sending.written && limit >= sending.limit, "seed {seed}");
                assert!(written <= sending.next, "seed {seed}: more than was sent");
                (sending.written, sending.limit) = (written, limit);
            }
            TransferRecord::Data { transfer, offset, bytes } => {
                let (share, next) = self.fetching.get_mut(&transfer).expect("a download");
                assert_eq!(*next, offset, "seed {seed}");
                let rest = &shares[*share].content[offset as usize..];
                assert!(rest.starts_with(bytes), "seed {seed}: {share} is damaged");
                *next += bytes.len() as u64;
            }
            _ => panic!("seed {seed}: {record:?}"),
        }
    }

    /// An event reaches the client.
    fn is_told(&mut self, seed: u64, event: &Event) {
        match event {
            Event::Upload { transfer, have, limit, .. } => {
                let sending = self.sending.get_mut(transfer).unwrap();
                assert_eq!(sending.next, 0, "seed {seed}: it has begun before");
                (sending.next, sending.written, sending.limit) = (have.0, have.0, limit.0);
            }
            // Another upload of the file may have been asked for, and not begun.
            Event::Kept { blob, .. } => {
                self.sending.retain(|_, one| one.share as u8 != blob.0[0] || one.limit == 0);
            }
            Event::Stopped { transfer, .. } => {
                let ended = self.sending.remove(transfer).map(drop);
                let ended = ended.or_else(|| self.fetching.remove(transfer).map(drop));
                assert!(ended.is_some(), "seed {seed}: it ended before");
            }
            _ => {}
        }
    }
}

fn lives(seed: u64) -> usize {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
        world.check();
    }
    world.settles();
    world.confirmed
}

#[test]
fn whatever_happens_confirmed_files_are_whole_and_no_others_are_left() {
    if let Ok(seed) = std::env::var("WORLD_SEED") {
        lives(seed.parse().expect("a number"));
        return;
    }
    let confirmed: usize = (0..SEEDS).map(lives).sum();
    assert!(confirmed > SEEDS as usize, "worlds in which little is sent: {confirmed} files");
}
