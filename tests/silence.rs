//! What a client makes of a server that says nothing: "another key" is said on evidence alone.

mod world;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use pychat::crypto::Identity;
use pychat::invite::Invite;
use pychat::net::tunnel::{DialError, dial, fetch_key};
use pychat::wire::codec::Login;
use world::{DEADLINE, World};

/// How `pychat client --send` ends, and what it says.
fn sends(world: &World, name: &str, address: &str) -> (i32, String) {
    let invite = world.invite.replace(&world.address, address);
    let mut client = world.program(name);
    client.args(["client", &invite, "--name", name, "--send", "hi"]).stdin(Stdio::null());
    let output = client.output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), told)
}

/// A way to the server on which the first connections with a handshake end before R3.
fn cutting(server: &str, cuts: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, left) = (server.to_owned(), AtomicUsize::new(cuts));
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut upstream = TcpStream::connect(&server).unwrap();
            let mut start = [0; 10];
            client.read_exact(&mut start).unwrap();
            upstream.write_all(&start).unwrap();
            let one_less = |left: usize| left.checked_sub(1);
            let (all, any) = (Ordering::SeqCst, &left);
            if start.ends_with(b"PYCHAT/1") && any.fetch_update(all, all, one_less).is_ok() {
                let (mut r1, mut r2) = ([0; 42], [0; 850]);
                upstream.read_exact(&mut r1).unwrap();
                client.write_all(&r1).unwrap();
                client.read_exact(&mut r2).unwrap();
                continue;
            }
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            thread::spawn(move || {
                let _ = std::io::copy(&mut upstream, &mut client);
                let _ = client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
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
    assert!(told.contains("error: the server closed the connection without a word"), "{told}");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("=!= the server closed the connection without a word");
}

#[test]
fn what_speaks_something_else_is_no_other_server() {
    let world = World::new();
    world.admit("bob");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let (code, told) = sends(&world, "bob", &address);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("error: what answers there does not speak pychat"), "{told}");
}

#[test]
fn a_server_without_time_for_another_login_says_so() {
    let config = r#"{"exempt": [], "limits": {"rsa_permits": 1, "rsa_waiting_max": 0,
        "strangers_per_source_max": 100, "strangers_drop_from": 128, "penalty_refuse_s": 1000000}}"#;
    let world = World::configured(config);
    let me = Identity::generate();
    world.registers("bob", me.public());
    let invite: Invite = world.invite.parse().unwrap();
    let server = fetch_key(&invite.host, invite.port, &invite.fingerprint.unwrap(), DEADLINE);
    let (server, began, told) = (server.unwrap(), Instant::now(), Arc::new(AtomicBool::new(false)));
    let login = Login {
        name: "bob".parse().unwrap(),
        device: None,
        version: "0".into(),
        major: 1,
        features: vec![],
    };
    // Enough at once that some of them meet somebody else's RSA operation.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !told.load(Ordering::Relaxed) && began.elapsed() < DEADLINE {
                    match dial(&invite.host, invite.port, &me, &server, &login, DEADLINE) {
                        Ok(_) => {}
                        Err(DialError::Busy) => told.store(true, Ordering::Relaxed),
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
    });
    assert!(told.load(Ordering::Relaxed), "nobody was told busy");
    assert!(world.figure("busy") > 0);
}
