//! A server at its limits, on the real binary: crowds, floods, and peers that misbehave. Whatever
//! one does, the others chat on.

mod world;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use pychat::chat::Event;
use pychat::crypto::handshake::ClientStart;
use pychat::crypto::record_cipher::RECORD_BYTES_MAX;
use pychat::crypto::{Identity, Opener, PublicKey, RecordType, Sealer};
use pychat::suite::Suites;
use pychat::wire::codec;
use pychat::wire::record::RecordReader;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use socket2::{Domain, Socket, Type};
use world::way::{framed, write_record};
use world::{DEADLINE, Program, World};

/// One key for all users without a named client in the test.
static KEY: LazyLock<Identity> = LazyLock::new(Identity::generate);

/// A client of the test's own, which may say and leave out what a real one would not.
struct Peer {
    stream: TcpStream,
    records: RecordReader<TcpStream>,
    sealer: Sealer,
    opener: Opener,
}

impl Peer {
    /// Logs in with `KEY`.
    fn enters(world: &World, server: &PublicKey) -> Peer {
        Peer::on(TcpStream::connect(&world.address).unwrap(), server)
    }

    fn on(stream: TcpStream, server: &PublicKey) -> Peer {
        let (mut records, start, r1) = greeted(&stream, server);
        let (sent, r2) = start.answer(&r1).unwrap();
        write_record(&stream, &r2).unwrap();
        let transport = sent.finish(records.read().unwrap().unwrap()).unwrap();
        records.set_bytes_max(RECORD_BYTES_MAX);
        let (sealer, opener) = (transport.sealer, transport.opener);
        let mut peer = Peer { stream, records, sealer, opener };
        let login = br#"{"name":"crowd","version":"0","major":1}"#;
        peer.sends(RecordType::Login, login);
        peer.sees("\"entered\"");
        peer
    }

    fn sealed(&mut self, kind: RecordType, body: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        self.sealer.seal(kind, body, &mut record).unwrap();
        framed(&record)
    }

    fn sends(&mut self, kind: RecordType, body: &[u8]) {
        let framed = self.sealed(kind, body);
        self.stream.write_all(&framed).unwrap();
    }

    fn asks(&mut self, json: &str) {
        self.sends(RecordType::Json, json.as_bytes());
    }

    fn says(&mut self, number: u32, text: &str) {
        self.asks(&format!(
            r##"{{"type":"say","to":"#lobby","id":"{number:032x}","text":"{text}"}}"##
        ));
    }

    /// The next record; none where the connection was cut.
    #[track_caller]
    fn hears(&mut self) -> Option<(RecordType, String)> {
        let record = match self.records.read() {
            Ok(record) => record?,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("nothing came: {error}"),
        };
        let (kind, body) = self.opener.open(record).unwrap();
        Some((kind, String::from_utf8(body.to_vec()).unwrap()))
    }

    /// Waits for a record that holds `text`.
    #[track_caller]
    fn sees(&mut self, text: &str) -> String {
        loop {
            match self.hears() {
                Some((RecordType::Json, body)) if body.contains(text) => return body,
                Some((RecordType::Close, reason)) => panic!("closed with {reason} before {text}"),
                Some(_) => {}
                None => panic!("cut before {text}"),
            }
        }
    }

    /// Waits for the end, and gives the last word.
    #[track_caller]
    fn ends(&mut self) -> String {
        loop {
            match self.hears() {
                Some((RecordType::Close, reason)) => return reason,
                Some(_) => {}
                None => return "cut".to_owned(),
            }
        }
    }
}

/// A connection whose greeting was answered with this R1.
fn greeted<'a>(
    stream: &TcpStream,
    server: &'a PublicKey,
) -> (RecordReader<TcpStream>, ClientStart<'a>, Vec<u8>) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (start, r0) = ClientStart::new(&KEY, server, Suites::default());
    write_record(stream, &r0).unwrap();
    let mut records = RecordReader::new(stream.try_clone().unwrap(), 2_048);
    let r1 = records.read().unwrap().unwrap().to_vec();
    (records, start, r1)
}

/// The server's key, and `KEY` registered as crowd.
fn crowd(world: &World) -> PublicKey {
    world.registers("crowd", KEY.public());
    world.server_key()
}

/// Two people talk, both ways.
#[track_caller]
fn chat(alice: &mut Program, bob: &mut Program, topic: &str) {
    alice.types(&format!("what of {topic}?"));
    bob.sees(&format!("alice: what of {topic}?"));
    bob.types(&format!("{topic} is well"));
    alice.sees(&format!("bob: {topic} is well"));
}

/// Waits until a figure of `pychat ctl stats` is what it should be.
#[track_caller]
fn settles(world: &World, name: &str, wanted: u64) {
    let until = Instant::now() + DEADLINE;
    let mut figure = world.counter(name);
    while figure != wanted {
        assert!(Instant::now() < until, "{name} is {figure}, not {wanted}");
        thread::park_timeout(Duration::from_millis(20));
        figure = world.counter(name);
    }
}

#[test]
fn two_thousand_idle_clients_are_no_burden() {
    let all = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: all, maximum: all }).unwrap();
    let world =
        World::with(r#"{"sessions_per_user_max": 2000, "logins_per_s": 1e6, "idle_s_max": 3600}"#);
    let server = crowd(&world);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    let enter = || (0..500).map(|_| Peer::enters(&world, &server)).collect::<Vec<_>>();
    let mut crowd: Vec<Peer> = thread::scope(|scope| {
        let entering: Vec<_> = (0..4).map(|_| scope.spawn(enter)).collect();
        entering.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(crowd.len(), 2_000);
    assert_eq!(world.counter("sessions"), 2_002);
    assert_eq!(world.counter("people"), 3);
    chat(&mut alice, &mut bob, "the crowd");
    let carol = world.enters("carol");
    bob.types("welcome");
    carol.sees("bob: welcome");
    for peer in &mut crowd {
        peer.sees("welcome");
    }
    drop(crowd);
    settles(&world, "sessions", 3);
    chat(&mut alice, &mut bob, "the quiet");
}

#[test]
fn a_client_of_a_full_server_logs_in_once_another_has_left() {
    let world = World::with(r#"{"connections_max": 2}"#);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    world.admit("carol");
    let carol = world.client("carol", &["--plain"]);
    carol.sees("the server is full");
    world.server.is_told("warn the server is full: 2 connections");
    let mut sends = world.program("carol");
    let sent = sends.args(["client", &world.invite, "--name", "carol", "--send", "hi"]).output();
    let told = String::from_utf8(sent.unwrap().stderr).unwrap();
    assert_eq!(told, "error: the server is full\nhint:  nothing was sent: try again later\n");
    chat(&mut alice, &mut bob, "carol");
    bob.types("/exit");
    carol.sees("you are in #lobby");
    alice.sees("--> carol joined");
}

#[test]
fn a_flood_under_few_descriptors_keeps_nobody_out_and_leaves_no_trace() {
    let world = World::under("ulimit -n 64", "{}");
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    let room = world.counter("connections_max");
    assert!((10..64).contains(&room), "{room} connections of 64 descriptors");
    let cpu = world.server.cpu();
    let began = Instant::now();
    let flood: Vec<_> = (0..300).map(|_| TcpStream::connect(&world.address).unwrap()).collect();
    world.until("the flood has arrived", || world.counter("evicted") >= 250);
    while began.elapsed() < Duration::from_secs(2) {
        chat(&mut alice, &mut bob, &format!("{:?}", began.elapsed()));
        thread::park_timeout(Duration::from_millis(500));
    }
    idles(&world, cpu, began);
    world.enters("carol");
    drop(flood);
    chat(&mut alice, &mut bob, "the flood");
}

#[test]
fn as_many_as_the_address_space_has_room_for_come_in_and_one_more_is_told_busy() {
    let world = World::under(
        "ulimit -v 300000",
        r#"{"sessions_per_user_max": 2000, "logins_per_s": 1e6, "idle_s_max": 3600}"#,
    );
    let server = crowd(&world);
    let room = world.counter("connections_max") as usize;
    assert!((50..1_000).contains(&room), "{room} connections in 300 MB of addresses");
    let enter =
        |count: usize| (0..count).map(|_| Peer::enters(&world, &server)).collect::<Vec<_>>();
    let mut inside: Vec<Peer> = thread::scope(|scope| {
        let parts = (0..4).map(|part| scope.spawn(move || enter((room + part) / 4)));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(inside.len(), room);
    let mut late = TcpStream::connect(&world.address).unwrap();
    late.set_read_timeout(Some(DEADLINE)).unwrap();
    late.write_all(&world.hello()).unwrap();
    let busy = RecordReader::new(&late, 2_048).read().unwrap().unwrap().to_vec();
    assert_eq!(busy, b"PYCHAT!busy");
    let (first, rest) = inside.split_at_mut(1);
    first[0].says(1, "all of us are here");
    rest.iter_mut().for_each(|peer| drop(peer.sees("all of us are here")));
}

#[test]
fn a_server_without_a_free_descriptor_waits_and_does_not_spin() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    let maximum = getrlimit(Resource::Nofile).maximum;
    let none_left = Rlimit { current: Some(0), maximum };
    let before = prlimit(Some(world.server.pid()), Resource::Nofile, none_left).unwrap();
    let cpu = world.server.cpu();
    let began = Instant::now();
    let flood: Vec<_> = (0..50).map(|_| TcpStream::connect(&world.address).unwrap()).collect();
    world.server.is_told("cannot accept connections for now");
    // One descriptor waits for the operator already; the next word gets none in its five seconds.
    assert!(world.operator(&["ctl", "health"]).0);
    assert!(!world.operator(&["ctl", "health"]).0);
    chat(&mut alice, &mut bob, "the door");
    idles(&world, cpu, began);
    prlimit(Some(world.server.pid()), Resource::Nofile, before).unwrap();
    drop(flood);
    world.enters("carol");
    assert!(world.operator(&["ctl", "health"]).0);
}

/// Since `began` the server has used little of one core.
#[track_caller]
fn idles(world: &World, cpu: Duration, began: Instant) {
    let (used, elapsed) = (world.server.cpu() - cpu, began.elapsed());
    assert!(elapsed >= Duration::from_secs(2), "{elapsed:?} is too short to tell");
    assert!(used < elapsed / 4, "{used:?} of CPU in {elapsed:?}");
}

#[test]
fn a_replayed_or_garbled_r2_costs_no_rsa_operation() {
    let world = World::new();
    let server = crowd(&world);
    let before = world.counter("rsa_operations");
    let recorded = {
        let stream = TcpStream::connect(&world.address).unwrap();
        let (mut records, start, r1) = greeted(&stream, &server);
        let (_, r2) = start.answer(&r1).unwrap();
        write_record(&stream, &r2).unwrap();
        assert!(records.read().unwrap().is_some(), "R3");
        r2
    };
    assert_eq!(world.counter("rsa_operations"), before + 1);
    let short = &recorded[..recorded.len() - 1];
    for r2 in [&recorded[..], &[0; 1936], &[0xff; 1936], short, &[0; 848], &[0; 2_000], b""] {
        let stream = TcpStream::connect(&world.address).unwrap();
        let (mut records, ..) = greeted(&stream, &server);
        write_record(&stream, r2).unwrap();
        assert!(!matches!(records.read(), Ok(Some(_))), "silence for {} bytes", r2.len());
    }
    assert_eq!(world.counter("rsa_operations"), before + 1);
    let _peer = Peer::enters(&world, &server);
    assert_eq!(world.counter("rsa_operations"), before + 2);
}

#[test]
fn a_slow_reader_harms_only_itself() {
    const LINES: u32 = 2_000;
    let world = World::with(
        r#"{"tail_bytes_max": 65536, "messages_burst": 100000, "bytes_per_s": 1e9, "messages_per_s": 1e9,
            "announce_people_max": 2, "idle_s_max": 600}"#,
    );
    let server = crowd(&world);
    let (mut sender, mut reader) = (Peer::enters(&world, &server), Peer::enters(&world, &server));
    let alice = world.enters("alice");
    let reading = thread::spawn(move || {
        let mut seen = String::new();
        for number in 0..2 * LINES {
            let line = format!("\"{number}.x");
            while !seen.contains(&line) {
                seen = reader.sees(".x");
            }
            // In order: nothing of what follows may stand before it.
            let rest = seen.find(&line).unwrap();
            assert!(!seen[..rest].contains(".x"), "{number} in {seen:.80}");
            seen = seen[rest + line.len()..].to_owned();
        }
        reader
    });
    let padding = "x".repeat(8_000);
    let mut says = |number| {
        sender.says(number, &format!("{number}.{padding}"));
        sender.sees(&format!("\"{number}.x"));
    };
    // Until SQLite's caches are full, so that what grows afterwards is the reader's.
    (0..LINES).for_each(&mut says);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address: std::net::SocketAddr = world.address.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stuck = Peer::on(socket.into(), &server);
    let memory = world.server.memory_kib();
    (LINES..2 * LINES).for_each(&mut says);
    let mut reader = reading.join().unwrap();
    alice.sees(&format!("crowd: {}.", 2 * LINES - 1));
    let grown = world.server.memory_kib().saturating_sub(memory);
    assert!(grown < 4 * 1024, "{grown} KiB for {} KiB of lines", LINES * 8);
    assert_eq!(world.counter("sessions"), 4, "the session that reads nothing has not ended yet");
    sender.says(2 * LINES, "goodbye");
    reader.sees("goodbye");
    alice.sees("crowd: goodbye");
    // It reads on from the ledger, and has missed nothing.
    let mut next = LINES + 1;
    while next <= 2 * LINES + 1 {
        let seen = stuck.sees("#lobby");
        for event in codec::decode::<Event>(seen.as_bytes()) {
            if let Event::Message(line) = event.unwrap() {
                assert_eq!(line.seq.0, u64::from(next));
                next += 1;
            }
        }
    }
    assert_eq!(world.counter("sessions"), 4);
}

#[test]
fn a_peer_that_answers_no_ping_is_ended_and_one_that_does_stays() {
    // An answer may take eight seconds where this machine is busy.
    let world = World::with(r#"{"ping_s": 2, "idle_s_max": 10}"#);
    let server = crowd(&world);
    let alice = world.enters("alice");
    let (mut silent, mut alive) = (Peer::enters(&world, &server), Peer::enters(&world, &server));
    let staying = thread::spawn(move || {
        let (mut pings, began) = (0, Instant::now());
        // The silent one is gone before that.
        while pings < 7 {
            if let (RecordType::Ping, body) = alive.hears().expect("a connection") {
                alive.sends(RecordType::Pong, body.as_bytes());
                pings += 1;
            }
            assert!(began.elapsed() < DEADLINE);
        }
        alive.says(1, "I am alive");
    });
    assert_eq!(silent.ends(), "\"idle_timeout\"");
    alice.sees("crowd: I am alive");
    staying.join().unwrap();
}

#[test]
fn silence_ends_at_its_limit_and_not_at_the_ping_after_it() {
    // The second ping comes ten seconds after the limit.
    let world = World::with(r#"{"ping_s": 11, "idle_s_max": 12}"#);
    let server = crowd(&world);
    let began = Instant::now();
    let mut silent = Peer::enters(&world, &server);
    assert_eq!(silent.ends(), "\"idle_timeout\"");
    let silent_for = began.elapsed().as_secs_f64();
    assert!((12.0..22.0).contains(&silent_for), "{silent_for} s");
}

#[test]
fn a_record_that_comes_byte_by_byte_is_silence() {
    let world = World::with(r#"{"ping_s": 1, "idle_s_max": 3}"#);
    let mut dripping = Peer::enters(&world, &crowd(&world));
    let mut stream = dripping.stream.try_clone().unwrap();
    thread::spawn(move || {
        // Each byte comes well before a ping is due, and the record never ends.
        stream.write_all(&[0x10, 0]).unwrap();
        while stream.write_all(&[7]).is_ok() {
            thread::park_timeout(Duration::from_millis(200));
        }
    });
    assert_eq!(dripping.ends(), "\"idle_timeout\"");
}

#[test]
fn one_sessions_faults_are_its_own() {
    let world = World::new();
    let server = crowd(&world);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    let enters = || Peer::enters(&world, &server);

    let mut clumsy = enters();
    for bad in [r#"{"type":"say""#, "[]", r#"{"type":"dance"}"#, r#"{"type":"say","to":7}"#] {
        clumsy.asks(bad);
        clumsy.sees("\"code\":\"bad_request\"");
    }
    clumsy.asks(&format!(r##"{{"type":"say","to":"#","id":"{:032x}","text":"?"}}"##, 7));
    clumsy.sees(&format!("\"id\":\"{:032x}\"", 7));
    clumsy.asks(r##"{"type":"join","channel":"#","ref":"q1"}"##);
    clumsy.sees("\"ref\":\"q1\"");
    clumsy.sends(RecordType::Json, b"\xff\xfe");
    clumsy.sees("\"code\":\"bad_request\"");
    clumsy.sends(RecordType::Other(200), b"from a later version");
    clumsy.asks("nonsense\n{\"type\":\"people\",\"channel\":\"#lobby\"}\n{}");
    clumsy.sees("\"people\":[\"alice\",\"bob\",\"crowd\"]");
    clumsy.says(1, "and still here");
    bob.sees("crowd: and still here");

    for kind in [RecordType::Binary, RecordType::Other(99), RecordType::Login] {
        let mut strange = enters();
        strange.sends(kind, b"{}");
        assert_eq!(strange.ends(), "\"protocol\"", "{kind:?}");
    }

    let mut flipped = enters();
    let mut record = flipped.sealed(RecordType::Json, br#"{"type":"channels"}"#);
    record[20] ^= 1;
    flipped.stream.write_all(&record).unwrap();
    assert_eq!(flipped.ends(), "\"protocol\"");

    let mut replayed = enters();
    let record = replayed.sealed(RecordType::Json, br#"{"type":"channels"}"#);
    replayed.stream.write_all(&record.repeat(2)).unwrap();
    assert_eq!(replayed.ends(), "\"protocol\"");

    let mut long = enters();
    let bytes = RECORD_BYTES_MAX as u16 + 1;
    long.stream.write_all(&bytes.to_be_bytes()).unwrap();
    assert_eq!(long.ends(), "\"protocol\"");

    let mut half = enters();
    half.stream.write_all(&[1, 0, 7]).unwrap();
    drop(half);

    settles(&world, "sessions", 3);
    chat(&mut alice, &mut bob, "them");
}

#[test]
fn an_old_session_is_asked_to_log_in_again_and_its_client_does_so_by_itself() {
    let world = World::with(r#"{"session_age_s_max": 2, "ping_s": 1, "idle_s_max": 60}"#);
    let server = crowd(&world);
    let began = Instant::now();
    let mut peer = Peer::enters(&world, &server);
    let mut alice = world.enters("alice");
    assert_eq!(peer.ends(), "\"rekey\"");
    assert!(began.elapsed() >= Duration::from_secs(1));
    alice.sees("the session keys have to be renewed");
    // The peer, alice, and alice again, as often as it takes.
    world.until("her client logs in by itself", || world.counter("logins") >= 3);
    alice.types("the same as before");
    alice.sees("You: the same as before");
}

#[test]
fn what_a_kicked_session_had_sent_before_is_not_obeyed_after() {
    const LINES: u32 = 100;
    let world = World::with(r#"{"messages_burst": 1, "messages_per_s": 0.5}"#);
    let server = crowd(&world);
    let mut alice = world.enters("alice");
    let mut peer = Peer::enters(&world, &server);
    // Each line waits for its turn, and the kick comes long before the last one's.
    (1..=LINES).for_each(|number| peer.says(number, "a line"));
    alice.sees("crowd: a line");
    assert!(world.operator(&["ctl", "kick", "crowd"]).0);
    assert_eq!(peer.ends(), "\"kicked\"");
    alice.sees("<-- crowd left");
    settles(&world, "sessions", 1);
    let said = || alice.shown().iter().filter(|line| line.contains("crowd: a line")).count();
    let before = said();
    assert!((1..LINES as usize).contains(&before), "{before}");
    alice.types("/history");
    let messages = if before == 1 { "message" } else { "messages" };
    alice.sees(&format!("server| {before} {messages}"));
    assert_eq!(alice.seen("crowd: a line"), 2 * before, "live, and in the history");
}

#[test]
fn what_is_malformed_has_a_price() {
    let world = World::with(r#"{"requests_per_s": 5}"#);
    let mut clumsy = Peer::enters(&world, &crowd(&world));
    // Fifty are free; each of the others takes a fifth of a second of its sender's own time.
    let began = Instant::now();
    for _ in 0..60 {
        clumsy.asks("nonsense");
    }
    for _ in 0..60 {
        clumsy.sees("bad_request");
    }
    let took = began.elapsed();
    // The server counts in milliseconds.
    assert!(took >= Duration::from_millis(1_990), "{took:?}");
}
