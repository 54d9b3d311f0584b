//! Unauthenticated connections to the real binary.

mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pychat::crypto::{Fingerprint, key_request};
use socket2::{Domain, Socket, Type};
use world::World;

/// What the server answers to the bytes of an unauthenticated peer before it closes.
fn answer(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(&world.address).unwrap();
    stream.set_read_timeout(Some(world::DEADLINE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset is as silent as a close.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn other_protocols_and_garbage_meet_the_same_silence() {
    let world = World::new();
    let alice = world.enters("alice");
    let mut bob = world.enters("bob");
    // For unauthenticated peers alone: people log in without haste.
    world.reloads(r#"{"limits": {"login_ms_max": 1500}}"#);
    let tls = [0x16, 3, 1, 0, 0xf8, 1, 0, 0, 0xf4, 3, 3];
    let garbage = [0xff; 3_000];
    let zeros = [0; 64];
    // Hellos of those who have the invite of another server, or none.
    let (no_mac, mut bent) = ([&[0, 42][..], b"PYCHAT/1", &[0; 34]].concat(), world.hello());
    *bent.last_mut().unwrap() ^= 1;
    let unauthenticated: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\0\x08PYCHAT/1",
        &no_mac,
        &bent,
        &tls,
        &garbage,
        &zeros,
        b"",
    ];
    for bytes in unauthenticated {
        assert_eq!(answer(&world, bytes), b"", "{bytes:?}");
    }
    bob.types("nobody noticed");
    alice.sees("bob: nobody noticed");
}

#[test]
fn a_newer_major_is_told_which_ones_there_are() {
    let world = World::new();
    assert_eq!(answer(&world, &world.hello_of('9')), b"\0\x0aPYCHAT!1-1");
    assert_eq!(answer(&world, b"\0\x08PYCHAT/9"), b"", "without a MAC");
}

#[test]
fn a_byte_now_and_then_does_not_stretch_the_deadline() {
    let world = World::with(r#"{"login_ms_max": 1000}"#);
    let mut stream = TcpStream::connect(&world.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    // One byte a tenth of a second at most: the record would take longer than the deadline.
    let mut sent = 0;
    for byte in b"\x01\x00".iter().chain(&[b'x'; 200]) {
        if stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut [0]), Ok(0)) {
            break;
        }
        sent += 1;
    }
    assert!(sent < 100, "{sent} bytes in more than {} s", sent / 10);
}

#[test]
fn beyond_the_cap_newcomers_are_told_busy_and_nobody_inside_notices() {
    let world = World::with(r#"{"connections_max": 2}"#);
    let alice = world.enters("alice");
    let mut bob = world.enters("bob");
    assert_eq!(answer(&world, &world.hello()), b"\0\x0bPYCHAT!busy");
    assert_eq!(answer(&world, &world.hello_of('2')), b"\0\x0bPYCHAT!busy");
    let ask = key_request::ask(&Fingerprint([7; 32]), [7; 16]);
    for without_an_invite in [&b"\0\x08PYCHAT/1"[..], b"\0\x38PYCHAT?1", &ask] {
        assert_eq!(answer(&world, without_an_invite), b"");
    }
    assert_eq!(answer(&world, b"GET / HTTP/1.1\r\n\r\n"), b"");
    bob.types("all well");
    alice.sees("bob: all well");
}

/// A connection from an address of this computer.
fn connects_from(world: &World, from: [u8; 4]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&world.address.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.set_read_timeout(Some(world::DEADLINE)).unwrap();
    socket.into()
}

const HOME: [u8; 4] = [127, 0, 0, 1];

/// A connection whose first record was answered; `None` if the server has closed it.
fn greeted_from(world: &World, from: [u8; 4]) -> Option<TcpStream> {
    let mut stream = connects_from(world, from);
    stream.write_all(&world.hello()).ok()?;
    stream.read_exact(&mut [0; 1226]).ok()?;
    Some(stream)
}

fn greeted(world: &World) -> Option<TcpStream> {
    greeted_from(world, HOME)
}

/// A silent connection, once the server has accepted it.
fn silent_from(world: &World, from: [u8; 4]) -> TcpStream {
    let before = world.counter("unauthenticated") + world.counter("evicted");
    let stream = connects_from(world, from);
    world.until("it is accepted", || {
        world.counter("unauthenticated") + world.counter("evicted") > before
    });
    stream
}

/// Whether the server keeps a connection open for now.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = (&*stream).read(&mut [0]);
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Waits until the server has closed a connection, without a byte.
#[track_caller]
fn is_closed(mut stream: &TcpStream) {
    stream.set_nonblocking(false).unwrap();
    match stream.read(&mut [0]) {
        Ok(0) => {}
        // A reset is as silent as a close.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not closed: {other:?}"),
    }
}

fn offends(world: &World, from: [u8; 4]) {
    if let Some(mut stream) = greeted_from(world, from) {
        // A key exchange that stops at the gate.
        let _ = stream.write_all(&[&[7, 0x90][..], &[7; 1936]].concat());
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn who_offends_is_shut_out_for_a_while() {
    let world = World::configured(
        r#"{"exempt": [], "limits": {"login_ms_max": 60000, "penalty_refuse_s": 8,
            "penalty_s_max": 20}}"#,
    );
    world.until("it is shut out", || {
        offends(&world, HOME);
        greeted(&world).is_none()
    });
    let told = world.operator(&["ctl", "stats", "--json"]).1;
    assert!(told.contains("\"logins\":0"), "{told}");
    world.until("its time is over", || greeted(&world).is_some());
}

#[test]
fn closing_just_before_the_time_is_over_is_an_offence_as_being_late_is() {
    let world = World::configured(r#"{"exempt": [], "limits": {"login_ms_max": 4000}}"#);
    let holds = || {
        let mut stream = connects_from(&world, HOME);
        stream.set_read_timeout(Some(Duration::from_millis(3_400))).unwrap();
        let _ = stream.read(&mut [0]);
    };
    world.until("it is refused", || {
        holds();
        world.counter("refused") > 0
    });
    assert_eq!(world.counter("evicted"), 0);
    let (failures, refused) = (world.counter("login_failures"), world.counter("refused"));
    assert!(failures <= 4, "{failures} connections of 3.4 s each before the first was refused");
    assert_eq!(refused, 1);
}

#[test]
fn silent_addresses_shut_nobody_of_their_network_out() {
    let world = World::configured(r#"{"exempt": [], "limits": {"login_ms_max": 1000}}"#);
    // Each costs its source and the network ten seconds; a network has sixty.
    let silent: Vec<_> =
        (0..8).map(|number| connects_from(&world, [127, 9, 9, 1 + number / 2])).collect();
    world.until("all were late", || world.counter("login_failures") >= 8);
    assert!(greeted_from(&world, [127, 9, 9, 1]).is_none(), "for what it has done itself");
    for last in 50..60 {
        assert!(greeted_from(&world, [127, 9, 9, last]).is_some(), "a neighbour");
    }
    drop(silent);
}

#[test]
fn the_oldest_silent_connection_makes_room_and_one_with_a_hello_stays() {
    let world = World::configured(
        r#"{"exempt": [], "limits": {"login_ms_max": 600000, "unauthenticated_max": 3}}"#,
    );
    let greeted = greeted(&world).unwrap();
    let [one, two, three] = [1, 2, 3].map(|net| silent_from(&world, [127, 1, net, 1]));
    let four = silent_from(&world, [127, 1, 4, 1]);
    is_closed(&one);
    assert!(is_open(&two) && is_open(&three) && is_open(&four) && is_open(&greeted));
    let five = silent_from(&world, [127, 1, 5, 1]);
    is_closed(&two);
    assert!(is_open(&three) && is_open(&four) && is_open(&five) && is_open(&greeted));
    assert_eq!((world.counter("evicted"), world.counter("unauthenticated")), (2, 4));
    world.enters("alice");
}

#[test]
fn within_a_source_the_oldest_silent_connection_makes_room() {
    let world = World::configured(
        r#"{"exempt": [], "limits": {"login_ms_max": 600000, "unauthenticated_per_source_max": 2}}"#,
    );
    let other = silent_from(&world, [127, 7, 7, 1]);
    let [one, two, three] = [(); 3].map(|()| silent_from(&world, HOME));
    is_closed(&one);
    assert!(is_open(&two) && is_open(&three) && is_open(&other));
    // Neighbours share four times as much.
    let near: Vec<_> = (1..=9).map(|last| silent_from(&world, [127, 8, 8, last])).collect();
    is_closed(&near[0]);
    assert!(near[1..].iter().all(is_open) && is_open(&other));
}

#[test]
fn connections_that_have_not_logged_in_cost_no_thread() {
    let world = World::with(r#"{"login_ms_max": 600000}"#);
    let threads = || {
        let tasks = format!("/proc/{}/task", world.server.pid().as_raw_nonzero());
        let names = std::fs::read_dir(tasks).unwrap().filter_map(|task| {
            // One may end meanwhile.
            std::fs::read_to_string(task.unwrap().path().join("comm")).ok()
        });
        // The thread that has answered `ctl stats` may still be ending.
        let names = names.map(|name| name.trim().to_owned()).filter(|name| name != "ctl");
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let _alice = world.enters("alice");
    world.until("the login's own thread has ended", || world.counter("connections") == 1);
    let before = threads();
    let silent: Vec<_> = (0..100).map(|_| connects_from(&world, HOME)).collect();
    let greeted: Vec<_> = (0..100).map(|_| greeted(&world).unwrap()).collect();
    world.until("all are accepted", || world.counter("unauthenticated") == 200);
    let now = threads();
    assert!(now.len() <= before.len(), "{now:?}, and {before:?} before");
    drop((silent, greeted));
    world.until("all are disconnected", || world.counter("connections") == 1);
}

#[test]
fn who_logged_in_lately_is_not_refused_for_what_others_do_there() {
    let config = r#"{"exempt": [], "limits": {"login_ms_max": 60000}}"#;
    let world = World::configured(config);
    world.enters("alice");
    let neighbour = [127, 0, 0, 9];
    let shut_out = |world: &World, who| {
        world.until("it is shut out", || {
            offends(world, who);
            greeted_from(world, who).is_none()
        });
    };
    let check = |world: &World| {
        shut_out(world, neighbour);
        // Their whole network is refused by now or soon; the source of a member is not.
        for _ in 0..10 {
            offends(world, HOME);
            assert!(greeted(world).is_some(), "a member came from here");
        }
    };
    check(&world);
    let world = world.restarted();
    let kept = std::fs::read_to_string(world.home().join("data/sources.json")).unwrap();
    assert!(kept.contains("\"alice\"") && kept.contains("\"127.0.0.1\""), "{kept}");
    check(&world);
}

#[test]
fn where_no_addresses_are_logged_none_is_kept() {
    let world = World::configured(r#"{"exempt": [], "log_ip": false}"#);
    world.enters("alice");
    let world = world.restarted();
    assert!(!world.home().join("data/sources.json").exists());
    assert_eq!(world.found_in("home/data", "127.0.0.1"), 0);
}

#[test]
fn loopback_is_not_spared_where_an_onion_service_connects_from_there() {
    let oldest_goes = |config: &str, places: usize| {
        let world = World::configured_at(config, "0.0.0.0:0");
        let held: Vec<_> = (0..=places).map(|_| silent_from(&world, HOME)).collect();
        is_closed(&held[0]);
        assert!(held[1..].iter().all(is_open), "{places} places");
        // Everybody is there: nobody is shut out for what somebody does.
        (0..10).for_each(|_| offends(&world, HOME));
        assert!(greeted(&world).is_some());
        world.operator(&["check"]).1
    };
    let lan =
        r#"{"server_ip": "0.0.0.0", "limits": {"login_ms_max": 600000, "unauthenticated_max": 8}}"#;
    let told = oldest_goes(lan, 6);
    assert!(told.contains("127.0.0.1, ::1) are exempt") && !told.contains("onion"), "{told}");
    // A quarter of the places is for the others there, and here for those who are spared.
    let onion = r#"{"server_ip": "0.0.0.0", "invite_host": "pychat7abc.onion",
        "limits": {"login_ms_max": 600000, "unauthenticated_max": 8}}"#;
    let told = oldest_goes(onion, 6);
    let wanted = "invites name an onion service, so that it connects everybody from 127.0.0.1";
    assert!(told.contains(wanted), "{told}");
}
