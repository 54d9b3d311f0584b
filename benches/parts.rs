//! The parts that a line and a login pass through, each on its own: `cargo bench --bench parts`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pychat::chat::rate::Stamp;
use pychat::chat::registry::{Epochs, Participant, Purpose, Registry, Rules};
use pychat::chat::{
    Command, Conversation, Epoch, Event, Message, MsgId, NewMessage, Request, Retention, Seq,
    SessionId, Target,
};
use pychat::crypto::handshake::{ClientSent, ClientStart, R3_BYTES, ServerHello, Transport};
use pychat::crypto::hello::{Greeting, R0_BYTES};
use pychat::crypto::{Identity, RecordType};
use pychat::limits::Limits;
use pychat::suite::{Suite, Suites};
use pychat::wire::codec;

/// A lone line, and a hundred of them in one record.
const BODIES: [usize; 2] = [150, 15_000];

/// The server's answer to R0.
fn greeted(r0: &[u8; R0_BYTES], server: &Arc<Identity>, suites: Suites) -> (ServerHello, Vec<u8>) {
    let Some(Greeting::Hello(hello)) = Greeting::read(r0, [server]) else { panic!("not an R0") };
    ServerHello::start(hello, suites)
}

/// Both ends of a session, the server's first.
fn session(server: &Arc<Identity>, client: &Identity, suites: Suites) -> (Transport, Transport) {
    let (start, r0) = ClientStart::new(client, server.public(), suites);
    let (hello, r1) = greeted(&r0, server, suites);
    let (sent, r2) = start.answer(&r1).unwrap();
    let (_, r3, at_server) = hello.gate(&r2).unwrap().finish().unwrap();
    (at_server, sent.finish(&r3).unwrap())
}

fn records(criterion: &mut Criterion) {
    let (server, client) = (Arc::new(Identity::generate()), Identity::generate());
    let (mut here, _) = session(&server, &client, Suites::default());
    let mut group = criterion.benchmark_group("record");
    for bytes in BODIES {
        let body = vec![b'x'; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut sealed = Vec::with_capacity(2 * bytes);
        group.bench_function(format!("seal {bytes}"), |bench| {
            bench.iter(|| {
                sealed.clear();
                here.sealer.seal(RecordType::Json, black_box(&body), &mut sealed).unwrap();
            })
        });
        // A record opens once and in its order, so each is sealed first, outside the clock.
        group.bench_function(format!("open {bytes}"), |bench| {
            let (mut here, mut there) = session(&server, &client, Suites::default());
            let seal = || {
                let mut sealed = Vec::new();
                here.sealer.seal(RecordType::Json, &body, &mut sealed).unwrap();
                sealed
            };
            let open = |record: &mut Vec<u8>| there.opener.open(record).unwrap().1.len();
            bench.iter_batched_ref(seal, open, BatchSize::SmallInput)
        });
    }
    group.finish();
}

/// Each step of both suites, and whole logins of both in turn, so that their ratio is of the same
/// minute.
fn handshake(criterion: &mut Criterion) {
    for suite in Suite::ALL {
        steps(criterion, suite);
    }
    let (server, client) = (Arc::new(Identity::generate()), Identity::generate());
    let mut group = criterion.benchmark_group("login");
    for suite in Suite::ALL {
        group.bench_function(format!("both ends, suite {}", suite.number()), |bench| {
            bench.iter(|| session(&server, &client, Suites::only(suite)).0.session_id)
        });
    }
    group.finish();
    ratio(&server, &client);
}

/// The medians of many logins of both suites, one after the other, and what suite 2 costs more.
fn ratio(server: &Arc<Identity>, client: &Identity) {
    const ROUNDS: usize = 400;
    let mut took = Suite::ALL.map(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (suite, took) in Suite::ALL.into_iter().zip(&mut took) {
            let began = Instant::now();
            black_box(session(server, client, Suites::only(suite)));
            took.push(began.elapsed());
        }
    }
    let [hybrid, classic] = took.map(|mut took| {
        took.sort_unstable();
        took[ROUNDS / 2].as_secs_f64() * 1e6
    });
    let percent = 100.0 * (hybrid / classic - 1.0);
    println!("login, both ends: suite 2 {hybrid:.0} us, suite 1 {classic:.0} us: {percent:+.1} %");
}

fn steps(criterion: &mut Criterion, suite: Suite) {
    let (server, client) = (Arc::new(Identity::generate()), Identity::generate());
    let suites = Suites::only(suite);
    let ask = || ClientStart::new(&client, server.public(), suites);
    let start = || {
        let (asks, r0) = ask();
        let (hello, r1) = greeted(&r0, &server, suites);
        (asks, hello, r1)
    };
    let mut group = criterion.benchmark_group(format!("handshake, suite {}", suite.number()));
    group.bench_function("server, R0 to R1", |bench| {
        let (_, r0) = ask();
        bench.iter(|| greeted(black_box(&r0), &server, suites))
    });
    group.bench_function("server, an R0 with a wrong MAC", |bench| {
        let (_, mut r0) = ask();
        r0[R0_BYTES - 1] ^= 1;
        bench.iter(|| Greeting::read(black_box(&r0), [&server]).is_none())
    });
    group.bench_function("server, R2 to R3", |bench| {
        let asked = || {
            let (asks, hello, r1) = start();
            (hello, asks.answer(&r1).unwrap().1)
        };
        let answer = |(hello, r2): (ServerHello, Vec<u8>)| hello.gate(&r2).unwrap().finish();
        bench.iter_batched(asked, |asked| answer(asked).unwrap().1, BatchSize::SmallInput)
    });
    group.bench_function("server, a garbled R2", |bench| {
        let garbled = || {
            let (asks, hello, r1) = start();
            let mut r2 = asks.answer(&r1).unwrap().1;
            r2.iter_mut().for_each(|byte| *byte = 7);
            (hello, r2)
        };
        bench.iter_batched(garbled, |(hello, r2)| hello.gate(&r2).is_err(), BatchSize::SmallInput)
    });
    group.bench_function("client, R1 to R2", |bench| {
        let answer =
            |(asks, _, r1): (ClientStart, ServerHello, Vec<u8>)| asks.answer(&r1).unwrap().1;
        bench.iter_batched(start, answer, BatchSize::SmallInput)
    });
    group.bench_function("client, R3 to the end", |bench| {
        let answered = || {
            let (asks, hello, r1) = start();
            let (sent, r2) = asks.answer(&r1).unwrap();
            (sent, hello.gate(&r2).unwrap().finish().unwrap().1)
        };
        let finish =
            |(sent, r3): (ClientSent, [u8; R3_BYTES])| sent.finish(&r3).unwrap().session_id;
        bench.iter_batched(answered, finish, BatchSize::SmallInput)
    });
    group.finish();
}

fn say() -> NewMessage {
    let text = "a line of the length that most lines have, or a little over it";
    let to = Target::Channel("#lobby".parse().unwrap());
    NewMessage::text(to, MsgId([7; 16]), text)
}

fn codecs(criterion: &mut Criterion) {
    let NewMessage { to, id, kind, body } = say();
    let (from, device) = ("ana".parse().unwrap(), "laptop".parse().unwrap());
    let time_ms = 1_764_079_391_123;
    let message = Event::Message(Message {
        seq: Seq(70_000),
        to,
        from,
        device,
        id,
        time_ms,
        kind,
        body,
        confidentiality: pychat::chat::Confidentiality::Open,
        edited: false,
        deleted: false,
        replay: false,
        reference: None,
    });
    let mut encoded = Vec::new();
    let mut group = criterion.benchmark_group("codec");
    group.bench_function("encode a message", |bench| {
        bench.iter(|| {
            encoded.clear();
            codec::encode(black_box(&message), &mut encoded);
        })
    });
    group.bench_function("decode a message", |bench| {
        bench.iter(|| codec::decode::<Event>(black_box(&encoded)).next().unwrap().unwrap())
    });
    let mut asked = Vec::new();
    codec::encode(&Request::from(Command::Say(say())), &mut asked);
    group.bench_function("decode a say", |bench| {
        bench.iter(|| codec::decode::<Request>(black_box(&asked)).next().unwrap().unwrap())
    });
    group.finish();
}

/// What happens under the hub's lock for a line, before it is appended.
fn registry(criterion: &mut Criterion) {
    let limits = Limits {
        messages_burst: u32::MAX,
        messages_per_s: 1e12,
        bytes_per_s: 1e12,
        ..Limits::default()
    };
    let retention = Box::new(|_: &Conversation| Retention::Forever);
    let configured = Box::new(|_: &_| false);
    let forgets = Box::new(|_: &Conversation| false);
    let ids = Epochs { persistent: Epoch(1), ephemeral: Epoch(2), next: Epoch(3) };
    let rules = Rules { limits, retention, configured, forgets };
    let mut registry = Registry::new(rules, ids, Seq(0));
    for number in 0..1_000 {
        let (user, device) = (format!("person{number}").parse(), "main".parse());
        let (user, device) = (user.unwrap(), device.unwrap());
        let participant = Participant { user, device, purpose: Purpose::Visit };
        registry.enter(SessionId(number), participant, Stamp(0)).unwrap();
    }
    let (say, mut now) = (Request::from(Command::Say(say())), 0);
    criterion.bench_function("registry, a say among 1000 people", |bench| {
        bench.iter(|| {
            now += 1;
            black_box(registry.decide(SessionId(500), black_box(&say), &|_| None, Stamp(now)))
                .is_ok()
        })
    });
}

criterion_group!(parts, records, handshake, codecs, registry);
criterion_main!(parts);
