//! A server, its ledger, its clients and their links in one thread and in memory, driven by a seed:
//! links fill up, break and are noticed late, commits fail, the server is killed. Whatever happens,
//! nothing is lost, shown twice or out of order. One seed again: `WORLD_SEED=7 cargo test world`.

#[path = "../../tests/world/checker.rs"]
mod checker;
mod course;
mod device;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::chat::registry::{Epochs, Registry, Rules};
use crate::chat::registry::{Participant, Purpose};
use crate::chat::{
    ChannelName, Code, Command, Confidentiality, Conversation, DeviceName, Epoch, Event, Request,
    Seq, SessionId, Target, UserName,
};
use crate::client::model::{Action, Input, Loss, Output};
use crate::config::Config;
use crate::crypto::record_cipher::pair;
use crate::crypto::{Fingerprint, RecordType};
use crate::ledger::doubles::{Acting, Fails, Faulty};
use crate::ledger::{Memory, Page, Reader, SplitLedger, SplitReader};
use crate::limits::Limits;
use crate::net::memory::{self, Pipe};
use crate::net::tunnel::{Incoming, TunnelReader, TunnelWriter};
use crate::server::commit;
use crate::server::delivery::backfill;
use crate::server::delivery::flusher::{self, Flusher};
use crate::server::delivery::send_queue::{Outgoing, SendQueue};
use crate::server::hub::{Hub, Said};
use crate::wire::codec::{self, Parts};
use crate::wire::stored_fields;
use checker::{Run, ShownMessage};
use device::{Connection, Device};

const SEEDS: u64 = 500;
/// What one world does before its faults end.
const STEPS: usize = 600;
/// Rounds in which it must settle after that.
const ROUNDS_MAX: usize = 400;
const PEOPLE: [&str; 4] = ["alice", "alice", "bob", "carol"];
const CONVERSATIONS: [&str; 3] = ["#lobby", "#tea", "@alice@bob"];
const PAGE: Page = Page { messages_max: 1 << 20, bytes_max: 1 << 30 };

/// One process of the server.
struct Server {
    hub: Hub,
    blocked: Vec<Arc<SendQueue>>,
    sessions: Vec<Session>,
    _ear: UnixStream,
}

struct Session {
    queue: Arc<SendQueue>,
    reader: TunnelReader,
    /// From its client to here.
    pipe: Arc<Pipe>,
    user: UserName,
    device: DeviceName,
}

/// Bytes that reach a server at once. Of what it has not got yet, a link that breaks loses some.
const PIECE: usize = 64;

struct World {
    seed: u64,
    chance: StdRng,
    limits: Limits,
    kept: SplitLedger,
    reader: Arc<SplitReader>,
    fails: Arc<Mutex<Fails>>,
    server: Server,
    devices: Vec<Device>,
    sessions_made: u64,
    lines_typed: usize,
    /// What each conversation's members have sent, been told and shown, by device.
    runs: BTreeMap<Conversation, Run>,
}

fn conversation(name: &str) -> Conversation {
    name.parse().unwrap()
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = StdRng::seed_from_u64(seed);
        let limits = Limits {
            messages_burst: 1_000_000,
            requests_per_s: 1e6,
            bytes_per_s: 1e12,
            answer_bytes_per_s: 1e12,
            joins_announced_per_s: 1e6,
            logins_per_s: 1e6,
            conversations_per_h: 1e6,
            sessions_per_user_max: 1_000,
            resume_messages_max: 1 << 20,
            first_messages_max: 1 << 20,
            mailbox_messages_max: 1 << 20,
            ledger_waiting_max: 1 << 20,
            tail_bytes_max: 4_096,
            answers_bytes_max: 1 << 20,
            ..Limits::default()
        };
        let memory = Memory::new(Epoch(7), (1 << 30, 1 << 30), 60);
        let fails = Arc::new(Mutex::new(Fails::default()));
        let faulty = Faulty {
            memory: memory.clone(),
            chance: StdRng::seed_from_u64(chance.random()),
            fails: Arc::clone(&fails),
        };
        let disk = (Box::new(faulty) as _, Box::new(memory) as _);
        let ephemeral = Memory::new(Epoch(8), (1 << 20, 1 << 30), 60);
        let retentions = Config::default().retentions();
        let (kept, reader) = SplitLedger::new(Some(disk), ephemeral, retentions);
        let server = serve(&kept, &limits);
        let devices = PEOPLE.iter().map(|name| Device::new(name));
        let run = |name: &&str| {
            let shown = vec![Vec::new(); PEOPLE.len()];
            (conversation(name), Run { shown, ..Run::default() })
        };
        World {
            seed,
            chance,
            limits,
            kept,
            reader,
            fails,
            server,
            devices: devices.collect(),
            sessions_made: 0,
            lines_typed: 0,
            runs: CONVERSATIONS.iter().map(run).collect(),
        }
    }

    fn happens(&mut self, device: usize, input: Input) {
        let actions = self.devices[device].model.update(input, self.chance.random());
        for action in actions {
            self.run_action(device, action);
        }
    }

    /// The client's shell.
    fn run_action(&mut self, number: usize, action: Action) {
        let device = &mut self.devices[number];
        match action {
            Action::Output(output) => self.shows(number, output),
            Action::Send(request) => {
                if let Command::Say(message) = &request.command
                    && let Some(run) =
                        self.runs.get_mut(&Conversation::of(&device.user, message.to.clone()))
                {
                    run.refused.remove(&message.id.to_string());
                }
                let Some(connection) = &mut device.connection else { return };
                let mut bytes = Vec::new();
                codec::encode(&request, &mut bytes);
                // A link that is cut takes nothing.
                let _ = connection.writer.send(RecordType::Json, &bytes);
            }
            // The devices of the world seal nothing, and their users open and log nothing.
            Action::Choose(_) | Action::OpenAddress { .. } | Action::Log(..) => {}
            Action::Keep(message) => {
                let conversation = Conversation::of(&device.user, message.to.clone());
                let (id, text) = (message.id.to_string(), message.body.text().to_owned());
                self.runs.get_mut(&conversation).unwrap().sent.insert(id, text);
                device.outbox.push(message);
            }
            Action::Drop(id) => {
                device.outbox.retain(|message| message.id != id);
                device.refused.remove(&id);
            }
            Action::Refused(id) => drop(device.refused.insert(id)),
            Action::Retry(id) => drop(device.refused.remove(&id)),
            Action::Remember(positions) => device.positions = positions,
            Action::Dial(_) => device.dials = true,
            // Nobody is too fast here.
            Action::Wait(_) => panic!("seed {}: a client was told to wait", self.seed),
            Action::Derive { .. }
            | Action::LookUp { .. }
            | Action::Sync
            | Action::Ignore(_)
            | Action::SetSearch(_)
            | Action::Again(_)
            | Action::Transfer(_)
            | Action::Forget(_) => {
                panic!("nobody asked for it")
            }
            Action::Echo | Action::Close | Action::Cut | Action::Quit(_) => {
                panic!("seed {}: a client gave up: {action:?}", self.seed)
            }
        }
    }

    fn shows(&mut self, number: usize, output: Output) {
        let user = self.devices[number].user.clone();
        match output {
            Output::Message(message) => {
                let to = message.conversation(Some(&user));
                let run =
                    self.runs.get_mut(&Conversation::of(&user, to)).expect("a known conversation");
                let (id, text) = (message.id.to_string(), message.body.text().to_owned());
                run.shown[number].push(ShownMessage { seq: message.seq.0, id, text });
            }
            Output::Ack { id, to, seq } => {
                let run =
                    self.runs.get_mut(&Conversation::of(&user, to)).expect("a known conversation");
                run.acked.insert(id.to_string(), seq.0);
            }
            Output::Event(_, Event::Refused { code: Code::InDoubt, .. }) => {}
            Output::Event(_, Event::Refused { id: Some(id), .. }) => {
                let id = id.to_string();
                let run = self.runs.values_mut().find(|run| run.sent.contains_key(&id));
                run.expect("a line that was sent").refused.insert(id);
            }
            // A room that is open is open the next time.
            Output::Event(_, Event::Entered { channel, .. })
            | Output::Target(Target::Channel(channel)) => {
                self.devices[number].joined.insert(channel);
            }
            Output::Event(_, Event::Refused { code, hint, .. }) => {
                panic!("seed {}: {code:?}: {hint}", self.seed)
            }
            Output::Event(_, Event::Gap { to, from_seq, to_seq, .. }) => {
                panic!("seed {}: a gap in {to}: {from_seq} to {to_seq}", self.seed)
            }
            _ => {}
        }
    }

    fn types(&mut self, device: usize) {
        if self.devices[device].model.name().is_none() {
            return;
        }
        self.lines_typed += 1;
        // Long ones make a tail drop its oldest, and links full.
        let filler =
            if self.chance.random_bool(0.2) { self.chance.random_range(0..6_000) } else { 0 };
        let text = format!("line {} {}", self.lines_typed, "x".repeat(filler));
        let other = if self.devices[device].user.as_str() == "alice" { "bob" } else { "alice" };
        let pm = device < 3 && self.chance.random_bool(0.3);
        let line = if pm { format!("/pm {other} {text}") } else { text.trim().to_owned() };
        self.happens(device, Input::Line(line));
    }

    /// A dialling client comes in.
    fn connects(&mut self, number: usize) {
        self.sessions_made += 1;
        let id = SessionId(self.sessions_made);
        let room = self.chance.random_range(300..20_000);
        let ([server, client], [down, up]) = memory::pair(room);
        let (sealer, opener) = pair(self.chance.random());
        let outgoing =
            Outgoing { sink: server.sink, sealer, address: server.peer.ip(), offered: 2 };
        let key = Fingerprint([number as u8; 32]);
        let answers_max = self.limits.answers_bytes_max;
        let queue = Arc::new(SendQueue::new(id, key, outgoing, answers_max));
        let reader = TunnelReader::new(client.source, opener);
        let (sealer, opener) = pair(self.chance.random());
        let writer = TunnelWriter::new(client.sink, sealer);
        let device = &mut self.devices[number];
        device.dials = false;
        device.connection =
            Some(Connection { id, reader, writer, pipe: down, parts: Parts::default() });
        let user = device.user.clone();
        let name: DeviceName = format!("d{number}").parse().unwrap();
        self.server.sessions.push(Session {
            queue: Arc::clone(&queue),
            reader: TunnelReader::new(server.source, opener),
            pipe: up,
            user: user.clone(),
            device: name.clone(),
        });
        let welcome = Event::Welcome {
            name: user.clone(),
            device: name.clone(),
            version: "0".into(),
            text_bytes_max: self.limits.text_bytes_max,
            time_ms: 1_000,
            motd: None,
            files: None,
        };
        let participant = Participant { user, device: name, purpose: Purpose::Resume };
        self.server.hub.enter(&queue, participant, vec![welcome]).expect("there is room");
    }

    /// The session's thread takes the next message.
    fn takes(&mut self, session: usize) {
        let Session { reader, pipe, .. } = &mut self.server.sessions[session];
        let request = loop {
            match reader.receive() {
                Ok(Incoming::Record(_, body)) => {
                    let mut commands = codec::decode::<Request>(body);
                    break commands.next().expect("a message").expect("it is well-formed");
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if pipe.carry(PIECE) == 0 && !pipe.is_cut() {
                        return;
                    }
                }
                Ok(Incoming::Closed(None)) => return,
                other => panic!("seed {}: {other:?}", self.seed),
            }
        };
        if !matches!(request.command, Command::Say(_)) {
            // Anything else waits until the ledger has decided.
            self.writes();
        }
        let hub = &self.server.hub;
        let Session { queue, user, device, .. } = &self.server.sessions[session];
        let directory = |name: &UserName| PEOPLE.contains(&name.as_str()).then(|| name.clone());
        let id = request.names().0;
        let done = match request.command {
            Command::Say(mut message) => {
                let fields = stored_fields(&message.to, user, device, 1_000, &message);
                let said = Said { time_ms: 1_000, fields };
                hub.say(queue, &mut message, &said, &directory)
            }
            _ => hub.run(queue, &request, &directory).map(drop),
        };
        if let Err(refusal) = done {
            hub.delivery.answer(queue, &refusal.event(id, None));
        }
    }

    /// The session's thread notices that its link is cut.
    fn leaves(&mut self, session: usize) {
        self.writes();
        let session = self.server.sessions.remove(session);
        self.server.hub.leave(&session.queue, None, true);
    }

    fn writes(&mut self) {
        let mut waiting = self.server.hub.ledger.take_waiting();
        commit::work(&self.server.hub, &mut self.kept, &mut waiting);
    }

    fn replays(&mut self) -> bool {
        let next = self.server.hub.delivery.backfill.try_next();
        let fails = self.fails.lock().unwrap().one_in > 0 && self.chance.random_bool(0.1);
        let failing = Acting::failing();
        let reader: &dyn Reader = if fails { &failing } else { &*self.reader };
        next.inspect(|queue| backfill::turn(&*self.server.hub.delivery, queue, reader)).is_some()
    }

    fn flushes(&mut self) {
        let blocked = std::mem::take(&mut self.server.blocked);
        let ready = vec![true; blocked.len()];
        self.server.blocked = flusher::turn(&*self.server.hub.delivery, blocked, &ready);
    }

    /// Up to `bytes_max` bytes reach a client, and it obeys what they say; whether there were any.
    fn arrives(&mut self, number: usize, bytes_max: usize) -> bool {
        let Some(connection) = &mut self.devices[number].connection else { return false };
        let arrived = connection.pipe.carry(bytes_max);
        let mut events = Vec::new();
        loop {
            match connection.reader.receive() {
                Ok(Incoming::Record(kind, body)) => {
                    assert_eq!(kind, RecordType::Json);
                    let messages = connection.parts.join(body).expect("short enough");
                    events.extend(codec::decode::<Event>(messages).map(|event| event.unwrap()));
                }
                Ok(Incoming::Closed(None)) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                other => panic!("seed {}: {other:?}", self.seed),
            }
        }
        for mut event in events {
            if let Event::Message(message) = &mut event
                && matches!(message.to, Target::User(_))
            {
                // The secrets, which are not in this world, have opened it.
                message.confidentiality = Confidentiality::Sealed;
            }
            self.happens(number, Input::Event(event));
        }
        arrived > 0
    }

    /// The client notices that its link is cut.
    fn notices(&mut self, number: usize) -> bool {
        let device = &mut self.devices[number];
        let cut = device.connection.take_if(|connection| connection.pipe.is_cut()).is_some();
        if cut {
            self.happens(number, Input::Lost(Loss::Cut));
        }
        cut
    }

    /// A link breaks: some of what was under way still arrives, on either side.
    fn breaks(&mut self, number: usize) {
        let Some(connection) = &self.devices[number].connection else { return };
        connection.pipe.break_off(self.chance.random());
        let of = |session: &&Session| session.queue.id == connection.id;
        if let Some(session) = self.server.sessions.iter().find(of) {
            session.pipe.break_off(self.chance.random());
        }
    }

    /// Every process of the server ends without a word, and the next one begins.
    fn is_killed(&mut self) {
        self.server.sessions.iter().for_each(|session| session.queue.retire());
        self.fails.lock().unwrap().poisoned = false;
        self.server = serve(&self.kept, &self.limits);
    }

    /// The person ends a client and starts it again.
    fn restarts(&mut self, number: usize) {
        self.happens(number, Input::Tick);
        let device = &mut self.devices[number];
        if let Some(connection) = device.connection.take() {
            connection.writer.closer().cut();
        }
        device.start();
    }
}

fn serve(kept: &SplitLedger, limits: &Limits) -> Server {
    let ids = Epochs { persistent: kept.epoch(), ephemeral: Epoch(100), next: Epoch(99) };
    let rules = Rules {
        limits: limits.clone(),
        retention: Box::new(|_| crate::chat::Retention::Forever),
        configured: Box::new(|_| false),
        forgets: Box::new(|_| false),
    };
    let mut registry = Registry::new(rules, ids, kept.floor());
    for known in kept.remembered(1_000).unwrap() {
        registry.remember(known);
    }
    let (flusher, _ear) = Flusher::new().unwrap();
    let hub = Hub::new(registry, limits, flusher);
    Server { hub, blocked: Vec::new(), sessions: Vec::new(), _ear }
}

fn lives(seed: u64) -> usize {
    let mut world = World::new(seed);
    world.fails.lock().unwrap().one_in = [0, 20, 60][world.chance.random_range(0..3)];
    (0..STEPS).for_each(|_| world.step());
    world.settles();
    let stored = world
        .runs
        .keys()
        .map(|conversation| world.reader.read(conversation, Seq(0), Seq(u64::MAX), PAGE));
    let stored = stored.map(|lines| lines.unwrap().len()).sum();
    world.check();
    stored
}

#[test]
fn whatever_happens_nothing_is_lost_or_shown_twice_or_out_of_order() {
    if let Ok(seed) = std::env::var("WORLD_SEED") {
        lives(seed.parse().expect("a number"));
        return;
    }
    let stored: usize = (0..SEEDS).map(lives).sum();
    assert!(stored > SEEDS as usize * 20, "worlds in which little is said: {stored} lines");
}
