//! A thousand panics in single sessions among others' deliveries, and a ledger that does not keep
//! up.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::chat::Kind;
use crate::chat::registry::{Epochs, Purpose, Rules};
use crate::chat::{DeviceName, Epoch, MsgId, NewMessage, Retention, SessionId, Target};
use crate::crypto::Fingerprint;
use crate::crypto::record_cipher::pair;
use crate::ledger::doubles::{Fails, Faulty};
use crate::ledger::{Feed, Memory, SplitLedger, StoredMessage};
use crate::net::link::RecordSink;
use crate::net::memory::{self, Pipe};
use crate::net::tunnel::{Incoming, TunnelReader};
use crate::server::commit;
use crate::server::delivery::flusher;
use crate::server::delivery::send_queue::Outgoing;
use crate::server::stop::{Stop, essential};
use crate::wire::{codec, stored_fields};

/// A sink that accepts everything until it panics.
struct Faulting {
    sink: Arc<dyn RecordSink>,
    faults: Arc<AtomicBool>,
}

impl RecordSink for Faulting {
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>) {
        self.sink.frame(record_bytes, out);
    }

    fn send(&self, framed: &[u8]) -> io::Result<bool> {
        assert!(!self.faults.load(Ordering::Relaxed), "planted");
        self.sink.send(framed)
    }

    fn finish(&self) {
        self.sink.finish();
    }

    fn cut(&self) {
        self.sink.cut();
    }
}

struct Member {
    faults: Arc<AtomicBool>,
    pipe: Arc<Pipe>,
    queue: Arc<SendQueue>,
    reader: TunnelReader,
    /// The first message after it entered.
    first: u64,
}

struct Room {
    hub: Hub,
    kept: SplitLedger,
    entered: u64,
    messages: u64,
    members: Vec<Member>,
}

impl Room {
    fn new() -> Room {
        Room::with_waiting_max(Limits::default().ledger_waiting_max)
    }

    fn with_waiting_max(ledger_waiting_max: usize) -> Room {
        let config = Config::default();
        let limits = Limits {
            ledger_waiting_max,
            messages_per_s: 1e9,
            bytes_per_s: 1e12,
            logins_per_s: 1e6,
            messages_burst: 1_000_000,
            ..config.limits.clone()
        };
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 30), 60);
        let (kept, _) = SplitLedger::new(None, memory, config.retentions());
        let registry = Registry::new(
            Rules {
                limits: Limits { sessions_per_user_max: 1_000_000, ..limits.clone() },
                retention: Box::new(|_| Retention::Off),
                configured: Box::new(|_| false),
                forgets: Box::new(|_| false),
            },
            Epochs { persistent: Epoch(1), ephemeral: Epoch(2), next: Epoch(3) },
            Seq(0),
        );
        let hub = Hub::new(registry, &limits, Flusher::new().unwrap().0);
        Room { hub, kept, entered: 0, messages: 0, members: Vec::new() }
    }

    fn enters(&mut self) {
        self.entered += 1;
        let (sealer, opener) = pair([7; 32]);
        let ([own, other], [pipe, _]) = memory::pair(usize::MAX);
        let faults = Arc::new(AtomicBool::new(false));
        let sink = Arc::new(Faulting { sink: own.sink, faults: Arc::clone(&faults) });
        let outgoing = Outgoing { sink, sealer, address: own.peer.ip(), offered: 2 };
        let id = SessionId(self.entered);
        let queue = Arc::new(SendQueue::new(id, Fingerprint([7; 32]), outgoing, 1 << 20));
        let reader = TunnelReader::new(other.source, opener);
        let (user, device): (UserName, DeviceName) =
            ("alice".parse().unwrap(), "main".parse().unwrap());
        let welcome = Event::Notice { text: "hello".into(), reference: None };
        let participant = Participant { user, device, purpose: Purpose::Visit };
        self.hub.enter(&queue, participant, vec![welcome]).unwrap();
        self.members.push(Member { faults, pipe, queue, reader, first: self.messages + 1 });
    }

    /// One member sends a message, and the commit thread delivers it.
    fn says(&mut self, member: usize) {
        self.messages += 1;
        say(&self.hub, &self.members[member].queue, self.messages);
        commit::work(&self.hub, &mut self.kept, &mut self.hub.ledger.take_waiting());
    }
}

/// A session says its message of this number.
fn say(hub: &Hub, queue: &Arc<SendQueue>, number: u64) {
    let to = Target::Channel("#lobby".parse().unwrap());
    let id = MsgId(u128::from(number).to_be_bytes());
    let mut message = NewMessage::text(to.clone(), id, "x");
    let (user, device) = ("alice".parse().unwrap(), "main".parse().unwrap());
    let fields = stored_fields(&to, &user, &device, 0, &message);
    let said = Said { time_ms: 0, fields };
    hub.say(queue, &mut message, &said, &|name| Some(name.clone())).unwrap();
}

#[test]
fn a_panic_of_the_commit_thread_stops_the_server_with_an_error_and_holds_no_session() {
    const LONG: Duration = Duration::from_secs(60);
    let fails = Fails { panics: true, ..Fails::default() };
    let memory = Memory::new(Epoch(7), (1 << 20, 1 << 30), 60);
    let faulty = Faulty {
        memory: memory.clone(),
        chance: StdRng::seed_from_u64(1),
        fails: Arc::new(Mutex::new(fails)),
    };
    let disk = (Box::new(faulty) as _, Box::new(memory) as _);
    let ephemeral = Memory::new(Epoch(8), (1 << 20, 1 << 30), 60);
    let mut room = Room::new();
    room.kept = SplitLedger::new(Some(disk), ephemeral, Config::default().retentions()).0;
    room.enters();
    room.enters();
    let Room { hub, kept, mut members, .. } = room;
    let (hub, stop) = (Arc::new(hub), Arc::new(Stop::default()));
    let own = Arc::clone(&hub);
    let thread = essential("commit", &stop, move || commit::run(&own, kept)).unwrap();
    say(&hub, &members[0].queue, 1);
    assert!(stop.wait_for(LONG), "the server is told to stop");
    assert_eq!(stop.fault(), Some("the commit thread ended in a panic"));
    assert!(thread.join().is_err());
    // What is said after that is not acknowledged, and its session ends with all others.
    say(&hub, &members[1].queue, 2);
    let reason = "the server stops".to_owned();
    hub.end_all(&Event::Goodbye { code: Code::Shutdown, reason, retry_ms: None }, "shutdown");
    for member in &mut members {
        assert!(member.queue.is_over() && seqs(member).is_empty());
    }
}

/// Returns the seqs of the messages that a peer received.
fn seqs(member: &mut Member) -> Vec<u64> {
    member.pipe.carry(usize::MAX);
    let mut found = Vec::new();
    while let Ok(Incoming::Record(_, body)) = member.reader.receive() {
        for event in codec::decode::<Event>(body) {
            if let Event::Message(message) = event.unwrap() {
                found.push(message.seq.0);
            }
        }
    }
    found
}

#[test]
fn a_thousand_panics_in_single_sessions_harm_no_other() {
    const MEMBERS: usize = 10;
    let hook = std::panic::take_hook();
    // The planted panics need no backtrace.
    std::panic::set_hook(Box::new(move |panic| {
        let planted = panic.payload().downcast_ref::<&str>() == Some(&"planted");
        if !planted {
            hook(panic);
        }
    }));
    let mut room = Room::new();
    (0..MEMBERS).for_each(|_| room.enters());
    for round in 0..1_000 {
        let faulty = round * 7 % MEMBERS;
        room.members[faulty].faults.store(true, Ordering::Relaxed);
        room.says((faulty + 3) % MEMBERS);
        let gone = room.members.remove(faulty);
        assert!(gone.pipe.is_cut(), "its session ends");
        room.hub.leave(&gone.queue, None, false);
        room.says(round % (MEMBERS - 1));
        room.enters();
    }
    room.says(0);
    let last = room.messages;
    for member in &mut room.members {
        assert_eq!(seqs(member), (member.first..=last).collect::<Vec<_>>());
    }
    assert_eq!(room.hub.stats().sessions, MEMBERS);
}

/// Messages of others, as from a ledger with several writers.
struct Shared(VecDeque<StoredMessage<'static>>);

impl Feed for Shared {
    fn next(&mut self) -> Option<StoredMessage<'_>> {
        self.0.pop_front()
    }
}

#[test]
fn messages_committed_by_others_are_delivered_in_order_and_once() {
    let mut room = Room::new();
    (0..3).for_each(|_| room.enters());
    let foreign = |seq: u64| {
        let sent = SentMessage {
            conversation: "#lobby".parse().unwrap(),
            from: "bob".parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId([seq as u8; 16]),
            time_ms: 5,
            kind: Kind::Say,
            body: "from elsewhere".into(),
        };
        StoredMessage { seq: Seq(seq), sent: Arc::new(sent), fields: None }
    };
    room.says(0);
    let mut feed = Shared([2, 2, 3, 1].map(foreign).into());
    room.hub.ledger.committed(&mut feed, Vec::new(), Vec::new());
    assert!(feed.0.is_empty());
    for member in &mut room.members {
        assert_eq!(seqs(member), [1, 2, 3]);
    }
    // One is missing: members read from the ledger, and nobody gets the next one before it.
    let mut feed = Shared([5].map(foreign).into());
    room.hub.ledger.committed(&mut feed, Vec::new(), Vec::new());
    for member in &mut room.members {
        assert_eq!(seqs(member), [0; 0]);
        assert!(member.queue.queued.load(Ordering::Relaxed), "it waits for the backfill");
    }
}

/// Requests that store something wait while the ledger's queue is full.
#[test]
fn nothing_is_queued_for_the_ledger_beyond_its_bound() {
    let mut room = Room::with_waiting_max(3);
    (0..2).for_each(|_| room.enters());
    let Room { hub, members, .. } = &room;
    let (queue, leaves) = (&members[0].queue, &members[1].queue);
    let applies =
        |command: Command| hub.run(queue, &command.into(), &|name| Some(name.clone())).map(drop);
    let lobby = || "#lobby".parse().unwrap();
    let says = |kind, text: &str| {
        let (to, id, body) = (Target::Channel(lobby()), MsgId([7; 16]), text.into());
        let mut message = NewMessage { to, id, kind, body };
        let said = Said { time_ms: 0, fields: Vec::new() };
        hub.say(queue, &mut message, &said, &|name| Some(name.clone())).unwrap();
        queue.undecided.store(0, Ordering::Relaxed);
    };
    let text = || Some("tea".to_owned());
    type Act<'a> = &'a (dyn Fn() + Sync);
    let acts: [Act; 8] = [
        &|| drop(applies(Command::Topic { channel: lobby(), text: text() })),
        &|| drop(applies(Command::Join { channel: lobby(), after: None })),
        &|| drop(applies(Command::Part { channel: lobby() })),
        &|| drop(applies(Command::Read { conversations: Vec::new() })),
        &|| says(Kind::Say, "x"),
        &|| says(Kind::Delete { of: Seq(1) }, ""),
        &|| hub.ledger.add_job(Box::new(|_| {})),
        &|| hub.leave(leaves, None, false),
    ];
    let fill = || hub.ledger.add_job(Box::new(|_| {}));
    (0..3).for_each(|_| fill());
    applies(Command::People { channel: lobby() }).unwrap();
    for (number, act) in acts.iter().enumerate() {
        hub.ledger.take_waiting();
        (0..3).for_each(|_| fill());
        std::thread::scope(|scope| {
            let acts = scope.spawn(act);
            let waits = || hub.lock.has_waiters() || acts.is_finished();
            while !waits() {
                std::thread::yield_now();
            }
            assert!(!acts.is_finished(), "{number} does not wait");
            hub.sweep();
            hub.ledger.try_job(Box::new(|_| {}));
            assert_eq!(
                hub.ledger.take_waiting().entries.len(),
                3,
                "{number}: requests that cannot wait add nothing"
            );
        });
    }
}

#[test]
fn jobs_that_were_queued_before_the_stop_are_done_and_later_ones_are_not() {
    let Room { hub, kept, .. } = Room::new();
    let (done, jobs) = std::sync::mpsc::channel();
    let job = |number: u32| {
        let done = done.clone();
        Box::new(move |_: &mut SplitLedger| done.send(number).unwrap())
    };
    hub.ledger.add_job(job(1));
    let renewed = hub.ledger.renew(&"bob".parse().unwrap());
    hub.ledger.close();
    hub.ledger.add_job(job(2));
    let refused = hub.ledger.renew(&"bob".parse().unwrap());
    commit::run(&hub, kept);
    assert!(renewed.recv().unwrap().is_ok());
    assert!(refused.recv().is_err(), "nobody waits for it");
    assert_eq!(jobs.try_iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn the_flusher_does_not_deliver_a_conversation_that_another_thread_delivers() {
    let mut room = Room::new();
    (0..2).for_each(|_| room.enters());
    let Room { hub, mut kept, mut members, .. } = room;
    let (sender, receiver) = (Arc::clone(&members[0].queue), &mut members[1]);
    let lobby = hub.lock.lock().logs.known(&"#lobby".parse().unwrap()).unwrap();
    let claims = || hub.lock.lock().logs.claim(lobby);
    let flushes = || drop(flusher::turn(&*hub.delivery, Vec::new(), &[]));
    let mut commits = |number: u64| {
        say(&hub, &sender, number);
        let mut waiting = hub.ledger.take_waiting();
        // More waits, so that the flusher is to deliver.
        hub.ledger.add_job(Box::new(|_| {}));
        commit::work(&hub, &mut kept, &mut waiting);
    };
    assert!(claims());
    commits(1);
    flushes();
    assert_eq!(seqs(receiver), [0; 0]);
    // The thread that delivers finds what was appended meanwhile.
    hub.delivery.deliver(lobby, true);
    assert_eq!(seqs(receiver), [1]);
    commits(2);
    assert!(!claims(), "the flusher is to deliver");
    flushes();
    assert_eq!(seqs(receiver), [2]);
    assert!(claims(), "all is delivered");
}
