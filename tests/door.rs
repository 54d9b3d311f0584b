//! Strangers at the door of the real binary.

mod world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use pychat::crypto::{Fingerprint, key_request};
use world::World;

/// What the server answers to a stranger's bytes before it closes.
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
    let world = World::with(r#"{"login_ms_max": 1500}"#);
    let alice = world.enters("alice");
    let mut bob = world.enters("bob");
    let tls = [0x16, 3, 1, 0, 0xf8, 1, 0, 0, 0xf4, 3, 3];
    let garbage = [0xff; 3_000];
    let zeros = [0; 64];
    // Hellos of those who have the invite of another server, or none.
    let (no_mac, mut bent) = ([&[0, 42][..], b"PYCHAT/1", &[0; 34]].concat(), world.hello());
    *bent.last_mut().unwrap() ^= 1;
    let strangers: [&[u8]; 9] = [
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
    for bytes in strangers {
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
    let began = Instant::now();
    // One byte a tenth of a second: the record would take longer than the deadline.
    for byte in b"\x01\x00".iter().chain(&[b'x'; 200]) {
        if stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut [0]), Ok(0)) {
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(10));
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

/// A stranger that has said hello and got its answer; none where the door stayed shut.
fn greeted(world: &World) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(&world.address).unwrap();
    stream.set_read_timeout(Some(world::DEADLINE)).unwrap();
    stream.write_all(&world.hello()).ok()?;
    stream.read_exact(&mut [0; 1226]).ok()?;
    Some(stream)
}

#[test]
fn strangers_of_one_source_are_few_and_who_offends_is_shut_out_for_a_while() {
    let world = World::configured(
        r#"{"exempt": [], "limits": {"strangers_per_source_max": 3, "login_ms_max": 60000,
            "penalty_refuse_s": 8, "penalty_s_max": 20}}"#,
    );
    let held: Vec<_> = (0..3).map(|_| greeted(&world).expect("there is room")).collect();
    assert!(greeted(&world).is_none(), "the fourth");
    drop(held);
    world.until("there is room again", || greeted(&world).is_some());
    world.until("it is shut out", || {
        let Some(mut stream) = greeted(&world) else { return true };
        // A key exchange that stops at the gate.
        let _ = stream.write_all(&[&[7, 0x90][..], &[7; 1936]].concat());
        let _ = stream.read_to_end(&mut Vec::new());
        false
    });
    let told = world.operator(&["ctl", "stats", "--json"]).1;
    assert!(told.contains("\"logins\":0"), "{told}");
    world.until("its time is over", || greeted(&world).is_some());
}
