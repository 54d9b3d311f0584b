//! What a client makes of a server that says nothing: "another key" is said on evidence alone.

mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pychat::crypto::hello::R0_BYTES;
use pychat::crypto::{Identity, RecordType};
use pychat::net::tunnel::{Dial, DialError, dial};
use pychat::suite::Suites;
use pychat::wire::transfer::TransferRecord;
use serde_json::json;
use world::double::{Double, line};
use world::peer::login;
use world::pty::Terminal;
use world::way::{Accepted, Flow, Link, accepts, joins, peer, sends, write_record};
use world::{DEADLINE, World};

/// A way to the server on which the first connections with a handshake end before R3.
fn cutting(server: &str, cuts: usize) -> String {
    let (server, left) = (server.to_owned(), AtomicUsize::new(cuts));
    peer(move |mut client| {
        let mut upstream = TcpStream::connect(&server).unwrap();
        let mut start = [0; 2 + R0_BYTES];
        client.read_exact(&mut start).unwrap();
        upstream.write_all(&start).unwrap();
        let one_less = |left: usize| left.checked_sub(1);
        let (all, any) = (Ordering::SeqCst, &left);
        if start[2..].starts_with(b"PYCHAT/1") && any.fetch_update(all, all, one_less).is_ok() {
            let (mut r1, mut r2) = ([0; 1226], [0; 1938]);
            upstream.read_exact(&mut r1).unwrap();
            client.write_all(&r1).unwrap();
            client.read_exact(&mut r2).unwrap();
            return;
        }
        joins(client, upstream);
    })
}

#[test]
fn a_handshake_that_is_cut_is_a_cut_and_no_other_server() {
    let world = World::new();
    world.admit("bob");
    let (code, told) = sends(&world, "bob", &cutting(&world.address, 1));
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("error: the connection was cut"), "{told}");
    let bob = world.client_by("bob", &cutting(&world.address, 3), &["--plain"]);
    bob.sees("you are in #lobby");
    assert_eq!(bob.seen("pinned key"), 0);
}

#[test]
fn an_address_that_is_not_let_in_is_told_of_the_silence_and_no_more() {
    let world = World::configured(r#"{"deny": ["127.0.0.0/8"]}"#);
    world.admit("bob");
    let (code, told) = sends(&world, "bob", &world.address);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("error: the server closed the connection without an answer"), "{told}");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("=!= the server closed the connection without an answer");
}

#[test]
fn what_speaks_something_else_is_no_other_server() {
    let world = World::new();
    world.admit("bob");
    let address = peer(|mut stream| {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let (code, told) = sends(&world, "bob", &address);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("error: what answers there does not speak pychat"), "{told}");
}

#[test]
fn a_server_without_time_for_another_login_says_so() {
    let config = r#"{"exempt": [], "limits": {"rsa_permits": 1, "rsa_waiting_max": 0,
        "unauthenticated_per_source_max": 100, "penalty_refuse_s": 1000000}}"#;
    let world = World::configured(config);
    let me = Identity::generate();
    world.registers("bob", me.public());
    let (invite, server, login) = (world.parsed_invite(), world.server_key(), login("bob"));
    let (began, told) = (Instant::now(), AtomicBool::new(false));
    let (host, port, suites) = (&*invite.host, invite.port, Suites::default());
    let to = Dial { host, port, server: &server, suites, patience: DEADLINE };
    // Enough at once that some of them meet somebody else's RSA operation.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !told.load(Ordering::Relaxed) && began.elapsed() < DEADLINE {
                    match dial(&to, &me, &login) {
                        Ok(_) => {}
                        Err(DialError::Busy) => told.store(true, Ordering::Relaxed),
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
    });
    assert!(told.load(Ordering::Relaxed), "nobody was told busy");
    assert!(world.counter("busy") > 0);
}

#[test]
fn bytes_that_come_now_and_then_do_not_hold_a_client_that_connects() {
    let world = World::new();
    drop(world.enters("bob"));
    let own = Arc::new(world.own_key());
    // Half an R1 a byte at a time, and the real key with pings and notices instead of a welcome.
    let drips = peer(|mut stream| {
        let mut bytes = [7, 0xff].into_iter().chain([1; 2000]);
        while bytes.next().is_some_and(|byte| stream.write_all(&[byte]).is_ok()) {
            thread::park_timeout(Duration::from_millis(50));
        }
    });
    let chats = peer(move |stream| {
        let Accepted { reader: _reader, mut sealer, stream, .. } = accepts(stream, &own);
        let notice = b"{\"type\":\"topic\",\"to\":\"#lobby\",\"retention\":\"forever\"}\n";
        for (kind, body) in [(RecordType::Ping, &b""[..]), (RecordType::Json, notice)].repeat(20) {
            let mut record = Vec::new();
            sealer.seal(kind, body, &mut record).unwrap();
            if write_record(&stream, &record).is_err() {
                return;
            }
            thread::park_timeout(Duration::from_millis(500));
        }
    });
    thread::scope(|scope| {
        for address in [&drips, &chats] {
            let world = &world;
            scope.spawn(move || {
                let began = Instant::now();
                let (code, told) = sends(world, "bob", address);
                assert_eq!(code, 4, "{told}");
                assert!(told.contains("error: the server did not answer in time"), "{told}");
                assert!(began.elapsed() >= Duration::from_secs(10), "it was heard out");
            });
        }
    });
}

#[test]
fn what_is_said_in_the_clear_ends_nobody_who_was_in_and_is_not_shown() {
    let world = World::new();
    drop(world.enters("bob"));
    let server = world.address.clone();
    let (turns, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (turn, cut) = (Arc::clone(&turns), Arc::clone(&over));
    // The first connection reaches the real server, and ends. The next ones reach other programs,
    // and the last one reaches the server again.
    let address = peer(move |mut client| {
        let said: &[&[u8]] = &[b"", b"2-9", b"call +1 555 for help", b"2-9 call me", b""];
        let turn = turn.fetch_add(1, Ordering::SeqCst).min(said.len() - 1);
        if said[turn].is_empty() {
            let upstream = TcpStream::connect(&server).unwrap();
            if turn == 0 {
                let (ends, cut) = (upstream.try_clone().unwrap(), Arc::clone(&cut));
                thread::spawn(move || {
                    while !cut.load(Ordering::SeqCst) {
                        thread::park_timeout(Duration::from_millis(50));
                    }
                    let _ = ends.shutdown(std::net::Shutdown::Both);
                });
            }
            joins(client, upstream);
        } else {
            let _ = client.read(&mut [0; 64]);
            let said = [b"PYCHAT!", said[turn]].concat();
            let _ = write_record(&client, &said);
        }
    });
    let mut bob = world.client_by("bob", &address, &["--plain"]);
    bob.sees("you are in #lobby");
    over.store(true, Ordering::SeqCst);
    world.until("it comes back behind them", || {
        bob.shown().iter().filter(|line| line.contains("you are in #lobby")).count() == 2
    });
    assert_eq!(turns.load(Ordering::SeqCst), 5, "each was met once");
    assert_eq!(bob.seen("call") + bob.seen("555"), 0, "{:?}", bob.shown());
    bob.types("still here");
    bob.sees("You: still here");
}

#[test]
fn a_dead_link_is_shown_within_seconds_and_once() {
    let world = World::new();
    for name in ["alice", "bob", "carol"] {
        world.admit(name);
    }
    let link = Link::to(&world.address);
    let bob = world.client_by("bob", &link.address, &["--plain"]);
    bob.sees("you are in #lobby");
    let carol = world.client_by("carol", &link.address, &["--json"]);
    carol.sees("\"connected\"");
    let invite = world.invite.replace(&world.address, &link.address);
    let mut command = world.program("alice");
    command.args(["client", &invite, "--name", "alice"]);
    let alice = Terminal::run(&command);
    alice.shows("* connected");
    let began = Instant::now();
    link.set(Flow::Stalls);
    // 5 s to the ping, 4 s without an answer, and three times as much on a busy machine. The
    // connection is given up after 75 s.
    bob.sees("no response from the server since ");
    let silent = carol.sees(r#""state":"silent""#);
    assert!(silent.contains(r#""since":"20"#), "{silent}");
    alice.shows("the server is silent for ");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    link.set(Flow::Passes);
    bob.sees("the server answers again");
    assert_eq!(bob.seen("no response from the server"), 1, "{:?}", bob.shown());
    let told = |lines: &[String]| {
        lines.iter().filter(|line| line.contains(r#""state":"connected""#)).count() == 2
    };
    carol.shows("it is connected again", told);
    alice.shows("* connected");
}

#[test]
fn a_message_without_an_answer_is_followed_by_a_ping() {
    let double = Double::new();
    let mut client = double.client("alice", &["--json"]);
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    assert!(guest.is_pinged(DEADLINE), "the first one of the connection");
    guest.says(&line(1, "the server is heard"));
    client.sees("the server is heard");
    let began = Instant::now();
    assert!(guest.is_pinged(DEADLINE), "the control: an idle connection is pinged");
    let idle = began.elapsed();
    guest.says(&line(2, "it is heard again"));
    client.sees("it is heard again");
    let began = Instant::now();
    client.types(r##"{"type":"say","to":"#lobby","text":"hello?"}"##);
    guest.is_asked("say");
    assert!(guest.is_pinged(DEADLINE));
    assert!(began.elapsed() < idle, "{:?}, and {idle:?} without the message", began.elapsed());
    client.sees(r#""state":"silent""#);
}

#[test]
fn bytes_that_are_swallowed_cost_no_message() {
    let world = World::new();
    world.admit("bob");
    let carol = world.enters("carol");
    let link = Link::to(&world.address);
    let mut bob = world.client_by("bob", &link.address, &["--plain"]);
    bob.sees("you are in #lobby");
    link.set(Flow::Swallows);
    bob.types("into the void");
    bob.sees("no response from the server since ");
    bob.types("/reconnect");
    link.set(Flow::Passes);
    carol.sees("bob: into the void");
}

/// Whether a thread of the process waits for a socket that accepts nothing.
fn waits_to_send(pid: rustix::process::Pid) -> bool {
    let sendto = if cfg!(target_arch = "x86_64") { "44 " } else { "206 " };
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    let calls = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("syscall")).ok());
    calls.into_iter().any(|call| call.starts_with(sendto))
}

#[test]
fn a_stalled_upload_keeps_no_line_no_ping_and_no_exit() {
    let double = Double::new();
    let film = double.data_folder("alice").join("film.bin");
    fs::write(&film, vec![7; 40_000_000]).unwrap();
    let (mut alice, mut guest) = double.enters("alice");
    alice.types(&json!({"type": "send_file", "path": film, "to": "#lobby"}).to_string());
    let put = guest.is_asked("put");
    guest.says(
        &json!({"type": "upload", "transfer": 1, "blob": put["blob"], "have": 0,
            "limit": put["bytes"], "ref": put["ref"]})
        .to_string(),
    );
    // The server reads nothing and acknowledges everything, until no socket accepts any more.
    let mut have = Vec::new();
    TransferRecord::Have { transfer: 1, written: u64::MAX, limit: u64::MAX }.encode(&mut have);
    let until = Instant::now() + DEADLINE;
    let mut looks = 0;
    while looks < 20 {
        assert!(Instant::now() < until, "never a full socket");
        assert!(guest.sends(RecordType::Binary, &have, DEADLINE));
        looks = if waits_to_send(alice.pid()) { looks + 1 } else { 0 };
        thread::park_timeout(Duration::from_millis(10));
    }
    alice.types(r##"{"type":"say","to":"#lobby","text":"hello"}"##);
    alice.types(r#"{"type":"cancel_file","transfer":"f9"}"#);
    alice.sees("there is no transfer f9");
    alice.sees(r#""state":"silent""#);
    let left = Instant::now();
    alice.types(r#"{"type":"slash","line":"/exit"}"#);
    alice.ends();
    assert!(left.elapsed() < Duration::from_secs(20), "{:?}", left.elapsed());
    assert_eq!(alice.seen(r#""state":"offline""#), 0, "the connection was there all the time");
}
