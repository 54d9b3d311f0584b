//! The suites of the handshake on the real binary: which one is taken, and that nobody on the way
//! takes the better one away.

mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pychat::crypto::Fingerprint;
use pychat::crypto::hello::{MAC_BYTES, mac};
use world::World;
use world::way::{joins, peer, sends};

/// Bytes of R1 in each suite.
const R1_BYTES: [usize; 2] = [40, 1224];

/// The client accepts these from now on.
fn accepts(world: &World, name: &str, suites: &str) {
    let settings = world.data_folder(name).join("settings.json");
    fs::write(settings, format!("{{\"suites\": {suites}}}")).unwrap();
}

fn print(world: &World) -> Fingerprint {
    world.parsed_invite().fingerprint.unwrap()
}

fn record(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut record = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut record).ok()?;
    Some(record)
}

fn write(stream: &mut TcpStream, record: &[u8]) -> Option<()> {
    let length = u16::try_from(record.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], record].concat()).ok()
}

/// Somebody on the way to the server who has its invite, too. `tamper` gets R0 and R1 by their
/// numbers; the rest goes through. Gives its address, and how long the last R1 of the server was.
fn on_the_way(
    world: &World,
    tamper: impl Fn(usize, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let (server, seen) = (world.address.clone(), Arc::new(AtomicUsize::new(0)));
    let last = Arc::clone(&seen);
    let address = peer(move |client| {
        passes(client, &server, &tamper, &last);
    });
    (address, seen)
}

fn passes(
    mut client: TcpStream,
    server: &str,
    tamper: &dyn Fn(usize, Vec<u8>) -> Vec<u8>,
    last: &AtomicUsize,
) -> Option<()> {
    let mut upstream = TcpStream::connect(server).unwrap();
    loop {
        let first = record(&mut client)?;
        let is_r0 = first.starts_with(b"PYCHAT/");
        write(&mut upstream, &if is_r0 { tamper(0, first) } else { first })?;
        let answer = record(&mut upstream)?;
        if !is_r0 {
            write(&mut client, &answer)?;
            continue;
        }
        last.store(answer.len(), Ordering::SeqCst);
        write(&mut client, &tamper(1, answer))?;
        break;
    }
    joins(client, upstream);
    Some(())
}

/// R0 with these suites on offer instead, and with a MAC that holds.
fn offering(print: &Fingerprint, suites: u8, mut r0: Vec<u8>) -> Vec<u8> {
    r0[9] = suites;
    r0.truncate(r0.len() - MAC_BYTES);
    let mac = mac(print, &r0);
    r0.extend(mac);
    r0
}

#[test]
fn suite_2_is_the_default_and_suite_1_holds_where_both_sides_have_it() {
    let world = World::new();
    drop(world.enters("bob"));
    let (address, r1) = on_the_way(&world, |_, record| record);
    assert_eq!(sends(&world, "bob", &address).0, 0);
    assert_eq!(r1.load(Ordering::SeqCst), R1_BYTES[1]);
    accepts(&world, "bob", "[1, 2]");
    assert_eq!(sends(&world, "bob", &address).0, 0);
    assert_eq!(r1.load(Ordering::SeqCst), R1_BYTES[1]);

    // A client of suite 1 alone, and a server that has that too from the next reload on.
    accepts(&world, "bob", "[1]");
    let (code, told) = sends(&world, "bob", &address);
    assert_eq!(code, 7, "{told}");
    assert!(told.contains("error: the server claims to have only suite 2"), "{told}");
    fs::write(world.home().join("config.json"), r#"{"suites": [1, 2]}"#).unwrap();
    assert!(world.operator(&["ctl", "reload"]).0);
    let (code, told) = sends(&world, "bob", &address);
    assert_eq!(code, 0, "{told}");
    assert_eq!(r1.load(Ordering::SeqCst), R1_BYTES[0]);
}

#[test]
fn a_client_refuses_a_server_of_suite_1_and_says_what_to_do() {
    let world = World::configured(r#"{"suites": [1]}"#);
    world.admit("bob");
    let (code, told) = sends(&world, "bob", &world.address);
    assert_eq!(code, 7, "{told}");
    for text in
        ["only suite 1", "a later quantum computer", "Ask the operator", "settings.json", "[1]"]
    {
        assert!(told.contains(text), "{told}");
    }
    accepts(&world, "bob", "[1]");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    // Other settings leave it as it is.
    bob.types("/set search off");
    bob.sees("search off");
    drop(bob);
    assert_eq!(sends(&world, "bob", &world.address).0, 0);
    for (suites, problem) in [("[3]", "there is no suite 3"), ("[]", "at least one suite")] {
        accepts(&world, "bob", suites);
        let (code, told) = sends(&world, "bob", &world.address);
        assert_eq!(code, 3, "{told}");
        assert!(told.contains("settings.json") && told.contains(problem), "{told}");
    }
}

#[test]
fn who_takes_suite_2_out_of_r0_on_the_way_ends_the_login() {
    let world = World::configured(r#"{"suites": [1, 2]}"#);
    drop(world.enters("bob"));
    accepts(&world, "bob", "[1, 2]");
    let print = print(&world);
    // The control: the same hands, with the same offer, are no obstacle.
    for (suites, succeeds) in [(3, true), (1, false), (2, false), (3, true)] {
        let (address, r1) = on_the_way(&world, move |number, record| match number {
            0 => offering(&print, suites, record),
            _ => record,
        });
        let logins = world.counter("logins");
        let (code, told) = sends(&world, "bob", &address);
        assert_eq!(code == 0, succeeds, "{suites}: {told}");
        assert_eq!(world.counter("logins") > logins, succeeds, "{suites}: {told}");
        assert_eq!(r1.load(Ordering::SeqCst), R1_BYTES[usize::from(suites != 1)], "{suites}");
        assert!(succeeds || told.contains("error: the connection was cut"), "{told}");
    }
}

#[test]
fn an_r1_of_another_connection_ends_the_login() {
    let world = World::configured(r#"{"suites": [1, 2]}"#);
    drop(world.enters("bob"));
    accepts(&world, "bob", "[1, 2]");
    let (print, server) = (print(&world), world.address.clone());
    // The control: the same hands, which fetch that R1 and pass on the client's own, are no
    // obstacle.
    for (suites, swaps) in
        [1, 2, 3].into_iter().flat_map(|suites| [(suites, true), (suites, false)])
    {
        let server = server.clone();
        let (address, _) = on_the_way(&world, move |number, r1| {
            if number == 0 {
                return r1;
            }
            // With the invite anybody gets one.
            let mut own = TcpStream::connect(&server).unwrap();
            let r0 = [&b"PYCHAT/1"[..], &[0; 18], &[0; MAC_BYTES]].concat();
            write(&mut own, &offering(&print, suites, r0)).unwrap();
            let other = record(&mut own).unwrap();
            if swaps { other } else { r1 }
        });
        let logins = world.counter("logins");
        let (code, told) = sends(&world, "bob", &address);
        assert_eq!(code, if swaps { 4 } else { 0 }, "{suites} {swaps}: {told}");
        assert_eq!(world.counter("logins") > logins, !swaps, "{suites} {swaps}: {told}");
    }
}
