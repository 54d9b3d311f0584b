//! Rotation of the server's key: clients that connect during the overlap keep their data.

mod hostile;
#[path = "../world/mod.rs"]
mod world;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pychat::chat::{Event, Opaque};
use pychat::crypto::lineage::{self, FormerKey};
use pychat::crypto::succession::{Succession, Whose};
use pychat::crypto::{Identity, RecordType};
use pychat::net::link::RecordSource;
use pychat::net::tcp;
use pychat::net::tunnel::Incoming;
use pychat::wire::codec;
use serde_json::Value;
use world::pty::Terminal;
use world::reserved::ReservedPort;
use world::way::{Accepted, accepts, write_record};
use world::{DEADLINE, Program, World};

const TOLD: &str = "the server has a new key, signed by the one before: SHA256:";

fn rotates(world: &World) -> String {
    let (ok, told) = world.operator(&["server-key", "rotate"]);
    assert!(ok, "{told}");
    let print = told.lines().find(|line| line.starts_with("SHA256:")).unwrap().to_owned();
    world.server.is_told(&format!("the server's key is {print} now"));
    print
}

fn invite(world: &World) -> String {
    let (ok, told) = world.operator(&["invite"]);
    assert!(ok, "{told}");
    let line = told.lines().find(|line| line.starts_with("pychat://")).unwrap();
    let (_, prints) = line.strip_prefix("pychat://").unwrap().split_once('/').unwrap();
    format!("pychat://{}/{prints}", world.address)
}

fn servers(world: &World, person: &str) -> String {
    fs::read_to_string(world.data_folder(person).join("servers.json")).unwrap_or_default()
}

fn invited(world: &World, name: &str, invite: &str) -> Program {
    let mut command = world.program(name);
    command.args(["client", invite, "--name", name, "--plain"]);
    Program::start(command)
}

fn url(print: &str) -> String {
    print.trim_start_matches("SHA256:").replace('+', "-").replace('/', "_")
}

/// The server's key.
fn key(world: &World) -> Arc<Identity> {
    let pem = fs::read_to_string(world.home().join("keys/server.pem")).unwrap();
    Arc::new(Identity::from_pem(&pem, None).unwrap())
}

/// Another server, with a key of its own: those of all worlds are the same.
fn another() -> World {
    let world = World::new().stopped();
    let pem = Identity::generate().to_pem(None);
    fs::write(world.home().join("keys/server.pem"), &*pem).unwrap();
    world.started()
}

/// Runs `pychat trust`. Returns its exit code and its output.
fn trust(world: &World, person: &str, invite: &str, args: &[&str]) -> (Option<i32>, String) {
    let ended = world.program(person).arg("trust").arg(invite).args(args).output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn many_missed_rotations_are_followed_by_the_lineage() {
    let world = World::with("{\"key_overlap_s\": 0}");
    let mut bob = world.enters("bob");
    bob.types("/join tea blue kettle 47");
    bob.sees("you are in #tea~");
    bob.types("before");
    bob.sees("You: before");
    drop(bob);
    let alice = world.enters("alice");
    let first = url(&key(&world).public().fingerprint().to_string());
    let mut prints = vec![first];
    for _ in 0..3 {
        let print = rotates(&world);
        alice.sees(&format!("signed by the one before: {print}"));
        world.server.forgets("the server's former key was retired");
        prints.push(url(&print));
    }
    let line = invite(&world);
    assert!(line.ends_with(&format!("{}/{}", prints[3], prints[0])), "{line}");
    let (code, told) = trust(&world, "bob", &line, &["--yes"]);
    assert!(code == Some(0) && told.contains("channels with a PIN stay the same"), "{told}");
    for person in ["alice", "bob"] {
        let known = servers(&world, person);
        let at = |print: &String| known.find(print.as_str()).unwrap();
        assert!(prints[..3].iter().map(at).is_sorted() && at(&prints[3]) > 0, "{known}");
    }
    let bob = world.client("bob", &["--plain"]);
    bob.sees("You: before");
    // A link whose signatures are another rotation's proves nothing, also in the file of the server
    // itself.
    drop((alice, bob));
    let world = world.stopped();
    let path = world.home().join("keys/server.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let links = record["lineage"].as_array_mut().unwrap();
    let [one, two] = [0, 1].map(|at| links[at]["signatures"].as_str().unwrap().to_owned());
    let half = one.len() / 2;
    links[1]["signatures"] = format!("{}{}", &two[..half], &one[half..]).into();
    fs::write(&path, record.to_string()).unwrap();
    let world = world.started();
    let line = invite(&world);
    assert!(line.ends_with(&prints[3]) && !line.contains(&prints[0]), "{line}");
}

#[test]
fn clients_follow_a_rotation_of_the_servers_key() {
    let world = World::new();
    world.admit("bob");
    drop(world.enters("carol"));
    let mut alice = world.enters("alice");
    alice.types("/join tea blue kettle 47");
    alice.sees("you are in #tea~");
    alice.types("before");
    alice.sees("You: before");
    let print = rotates(&world);
    alice.sees(&format!("the server has a new key, signed by the one before: {print}"));
    world.until("the new key is pinned", || servers(&world, "alice").contains(&url(&print)));
    for file in ["server.pem", "server.old.pem", "server.json"] {
        let about = fs::metadata(world.home().join("keys").join(file)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{file}");
    }
    let (ok, told) = world.operator(&["server-key", "rotate"]);
    assert!(!ok && told.contains("the one before is accepted until"), "{told}");

    // Carol was offline during the rotation and uses the old invite.
    let carol = world.client("carol", &["--plain"]);
    carol.sees(&format!("the server has a new key, signed by the one before: {print}"));
    assert!(servers(&world, "carol").contains(&url(&print)));
    drop(carol);
    let carol = world.client("carol", &["--plain"]);
    carol.sees("you are in #lobby");
    assert_eq!(carol.seen(TOLD), 0, "told once");

    // The new invite is enough for everything, also for channels with a PIN that were there before.
    let line = invite(&world);
    assert!(line.contains(&url(&print)) && line.matches('/').count() == 4, "{line}");
    let mut bob = invited(&world, "bob", &line);
    bob.sees("you are in #lobby");
    bob.types("/join tea blue kettle 47");
    bob.sees("alice: before");
    bob.types("the same tea");
    alice.sees("bob: the same tea");

    // A restarted server loads the new key, and connected clients reconnect.
    let world = world.restarted();
    assert!(world.invite.contains(&url(&print)));
    alice.types("after");
    bob.sees("alice: after");
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains("rotate server key"), "{trail}");
}

#[test]
fn an_invite_without_its_first_key_leads_to_the_whole_server() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("/join tea blue kettle 47");
    alice.sees("you are in #tea~");
    alice.types("before");
    let first = key(&world).public().fingerprint().to_url();
    rotates(&world);
    let line = invite(&world);
    let short = line.strip_suffix(&format!("/{first}")).unwrap();
    for name in ["bob", "carol"] {
        world.admit(name);
    }
    let mut bob = invited(&world, "bob", short);
    bob.sees("you are in #lobby");
    assert!(servers(&world, "bob").contains(&first));
    assert_eq!(servers(&world, "bob").matches("\"host\"").count(), 1);
    bob.types("/join tea blue kettle 47");
    bob.sees("alice: before");
    // The first key was not known when this entry was made: what carol has compared since is not
    // set aside by an invite.
    let (host, port) = world.address.rsplit_once(':').unwrap();
    let (_, key) = short.rsplit_once('/').unwrap();
    let port = port.parse::<u16>().unwrap();
    let entry = serde_json::json!([{"host": host, "port": port, "fingerprint": key}]).to_string();
    fs::write(world.data_folder("carol").join("servers.json"), &entry).unwrap();
    let mut carol = invited(&world, "carol", &line);
    carol.is_told("had a key before the first one that is known here");
    assert_eq!(carol.ends().code(), Some(6));
    assert_eq!(servers(&world, "carol"), entry);
}

#[test]
fn a_first_key_that_cannot_be_proven_now_is_not_guessed() {
    let world = World::new();
    // Nobody listens there.
    let port = ReservedPort::new();
    let address = port.address();
    let [own, first] = [1, 2].map(|byte| pychat::crypto::Fingerprint([byte; 32]).to_url());
    let mut bob = invited(&world, "bob", &format!("pychat://{address}/{own}/{first}"));
    bob.is_told("cannot be fetched");
    assert_eq!(bob.ends().code(), Some(4));
    assert!(!world.data_folder("bob").join("servers.json").exists());
}

#[test]
fn the_former_key_is_retired_in_time_and_late_clients_get_instructions() {
    let world = World::with("{\"key_overlap_s\": 4}");
    let mut bob = world.enters("bob");
    bob.types("/join tea blue kettle 47");
    bob.sees("you are in #tea~");
    drop(bob);
    let alice = world.enters("alice");
    let first = world.home().join("keys/server.old.pem");
    let print = rotates(&world);
    alice.sees(TOLD);
    world.server.is_told("the server's former key was retired");
    assert!(!first.exists() && world.home().join("keys/server.retired.pem").exists());

    let bob = world.client("bob", &["--plain"]);
    bob.sees("without an answer: it has another key than the pinned one");
    bob.sees("ask the operator for the current invite and give it to pychat trust");
    drop(bob);
    let line = invite(&world);
    let mut bob = invited(&world, "bob", &line);
    bob.is_told("is known by another key");
    bob.is_told("if it did: pychat trust and this invite");
    assert_eq!(bob.ends().code(), Some(6));
    let trust = |args: &[&str]| trust(&world, "bob", &line, args);
    let pinned = servers(&world, "bob");
    let (code, told) = trust(&[]);
    assert!(code == Some(2) && told.contains("the key was not compared"), "{told}");
    assert_eq!(servers(&world, "bob"), pinned);
    // On a terminal it is asked for.
    let mut command = world.program("bob");
    command.arg("trust").arg(&line);
    let mut asked = Terminal::run(&command);
    // Text that is typed before the question does not answer it.
    asked.types("y\r");
    asked.shows(&print);
    asked.shows("channels with a PIN stay the same");
    asked.shows("read you exactly this new key? [y/N]");
    asked.types("n\r");
    asked.shows("nothing was changed");
    assert_eq!(servers(&world, "bob"), pinned);
    let (code, told) = trust(&["--yes"]);
    assert!(code == Some(0) && told.contains("the new key is pinned"), "{told}");
    assert_eq!(trust(&["--yes"]).0, Some(0), "it is known");
    // The PIN channel still exists, and the old invite leads to the same server.
    let bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #tea~");
    drop(bob);

    // A second rotation, after a restart, with an overlap long enough for absent clients.
    let limits = "{\"limits\": {\"key_overlap_s\": 600}}";
    fs::write(world.home().join("config.json"), limits).unwrap();
    let world = world.restarted();
    drop(alice);
    let again = rotates(&world);
    let alice = world.client("alice", &["--plain"]);
    alice.sees(&format!("signed by the one before: {again}"));
    assert_ne!(again, print);
}
