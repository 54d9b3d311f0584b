//! A file over a link that is cut repeatedly, and between a client and a server that are killed
//! repeatedly: the file arrives complete and is announced once.
//!
//! At another size: `PYCHAT_CUT_BYTES=1073741824 cargo test --release --test cuts`.

mod world;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use world::job::{coming, content, folder, object, size, starts};
use world::proxy::Proxy;
use world::way::{Flow, Link};
use world::{Program, World};

/// In each direction.
const CUTS: usize = 100;
const KILLS: usize = 25;

/// The window at the start of a connection, in bytes.
const WINDOW_BYTES: usize = 4_096;
/// More than a client sends for a login and for its requests afterwards, in bytes.
const LOGIN_BYTES: usize = 16_000;

/// Bytes of the file whose link is cut, and time for it.
fn bytes() -> (usize, Duration) {
    let wanted = std::env::var("PYCHAT_CUT_BYTES").ok();
    let bytes = wanted.map_or(CUTS * 60_000, |bytes| bytes.parse().unwrap());
    (bytes, Duration::from_secs(240 + bytes as u64 / 500_000))
}

fn world() -> World {
    World::with(
        r#"{"messages_per_s": 1000, "messages_burst": 1000, "requests_per_s": 1000, "bytes_per_s": 1e9,
        "file_bytes_per_s": 1e12, "file_bytes_max": 2000000000, "files_per_user_bytes_max": 4000000000, "logins_per_s": 100,
        "file_reserve_bytes": 0}"#,
    )
}

/// Lets a client dial at once after each cut, until it shows `end`.
fn survives(client: &mut Program, end: &str, deadline: Duration) -> String {
    let until = Instant::now() + deadline;
    let mut cuts = 0;
    loop {
        let shown = client.shown();
        if let Some(line) = shown.iter().find(|line| line.contains(end)) {
            return line.clone();
        }
        assert!(Instant::now() < until, "never {end}: {:#?}", shown.iter().rev().take(9));
        let seen = shown.iter().filter(|line| line.contains(r#""state":"offline""#)).count();
        if seen > cuts {
            cuts = seen;
            client.types(r#"{"type":"slash","line":"/reconnect"}"#);
        }
        thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_file_arrives_over_two_hundred_cuts() {
    let ((bytes, deadline), world) = (bytes(), world());
    world.admit("alice");
    world.admit("bob");
    let film = content(bytes);
    fs::write(folder(&world, "alice").join("film.bin"), &film).unwrap();
    let to = |seed| Proxy::cutting(&world.address, seed, CUTS as i64, bytes / CUTS / 3);
    let up = to(1);
    let mut alice = starts(&world, "alice", &up.address, &["--json"]);
    alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby"}"##);
    let sent = object(&survives(&mut alice, r#""state":"sent""#, deadline));
    assert_eq!((up.left(), coming(&world).len()), (0, 0), "all cuts came before the end");
    // A window is lost with each cut. It begins with 4 KiB and grows by what arrives, so that all
    // of them together are smaller than the file and these.
    let most = 2 * bytes + CUTS * (WINDOW_BYTES + LOGIN_BYTES);
    let all = up.sent();
    assert!(all < most, "{all} bytes were sent for {bytes}, and {most} are the bound");
    // The control: each byte of the file was counted.
    assert!(all > bytes, "{all} bytes were counted for {bytes}");
    let down = to(2);
    let mut bob = starts(&world, "bob", &down.address, &["--json"]);
    bob.types(&json!({"type": "get_file", "to": "#lobby", "seq": sent["seq"]}).to_string());
    survives(&mut bob, r#""state":"saved""#, deadline);
    assert_eq!(down.left(), 0, "all cuts came before the end");
    assert!(fs::read(folder(&world, "bob").join("film.bin")).unwrap() == film);
    for one in [&alice, &bob] {
        assert_eq!((one.seen(r#""state":"failed""#), one.seen(r#""type":"error""#)), (0, 0));
    }
    assert_eq!(bob.seen(r#""kind":"file""#), 1, "it was announced once");
}

#[test]
fn a_file_arrives_between_fifty_kills() {
    let ((bytes, deadline), mut world) = (bytes(), world());
    world.admit("alice");
    world.admit("bob");
    let film = content(bytes);
    fs::write(folder(&world, "alice").join("film.bin"), &film).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let begins = |world: &World, name: &str| starts(world, name, &link.address, &["--json"]);
    let mut alice = begins(&world, "alice");
    alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby"}"##);
    for kill in 0..KILLS {
        let arrived = || coming(&world).iter().map(|path| size(path)).sum::<u64>();
        world.until("some bytes are there", || arrived() > 0);
        let had = arrived();
        world.until("some more bytes are there", || arrived() > had + 50_000);
        if kill % 2 == 0 {
            alice.kill();
            alice = begins(&world, "alice");
        } else {
            world = world.killed();
        }
    }
    link.set(Flow::Passes);
    let sent = object(&survives(&mut alice, r#""state":"sent""#, deadline));
    assert_eq!(coming(&world).len(), 0);
    link.set(Flow::Slows);
    let mut bob = begins(&world, "bob");
    let get = json!({"type": "get_file", "to": "#lobby", "seq": sent["seq"]});
    bob.types(&get.to_string());
    let arrived = |world: &World| {
        let entries = fs::read_dir(folder(world, "bob")).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| size(&entry.path())).sum::<u64>()
    };
    for kill in 0..KILLS {
        let had = arrived(&world);
        world.until("some more bytes are there", || arrived(&world) > had);
        if kill % 2 == 0 {
            bob.kill();
            assert!(arrived(&world) < film.len() as u64, "the kills end before the file");
            bob = begins(&world, "bob");
        } else {
            world = world.killed();
        }
    }
    link.set(Flow::Passes);
    survives(&mut bob, r#""state":"saved""#, deadline);
    assert!(fs::read(folder(&world, "bob").join("film.bin")).unwrap() == film);
    let names = fs::read_dir(folder(&world, "bob")).unwrap().count();
    assert_eq!((names, bob.seen(r#""state":"failed""#)), (1, 0));
    bob.types(r##"{"type":"files","to":"#lobby","ref":"q"}"##);
    bob.sees(r#""type":"history""#);
    assert_eq!(bob.seen(r#""ref":"q""#), 2, "one message, and the end of the answer");
}
