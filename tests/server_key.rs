//! The server's own key is changed: clients that come in time go on, with what they had.

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use world::pty::Terminal;
use world::{Program, World};

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
    fs::read_to_string(world.vault(person).join("servers.json")).unwrap()
}

fn invited(world: &World, name: &str, invite: &str) -> Program {
    let mut command = world.program(name);
    command.args(["client", invite, "--name", name, "--plain"]);
    Program::start(command)
}

fn url(print: &str) -> String {
    print.trim_start_matches("SHA256:").replace('+', "-").replace('/', "_")
}

#[test]
fn the_server_has_another_key_and_everybody_goes_on() {
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

    // Who was away, and comes with the invite of before.
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

    // A start knows all that, and who is here comes back.
    let world = world.restarted();
    assert!(world.invite.contains(&url(&print)));
    alice.types("after");
    bob.sees("alice: after");
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains("rotate server key"), "{trail}");
}

#[test]
fn the_former_key_is_put_away_in_time_and_who_comes_later_is_told_what_to_do() {
    let world = World::with("{\"key_overlap_s\": 4}");
    let mut bob = world.enters("bob");
    bob.types("/join tea blue kettle 47");
    bob.sees("you are in #tea~");
    drop(bob);
    let alice = world.enters("alice");
    let first = world.home().join("keys/server.old.pem");
    let print = rotates(&world);
    alice.sees(TOLD);
    world.server.is_told("the server's former key was put away");
    assert!(!first.exists() && world.home().join("keys/server.retired.pem").exists());

    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("does not hold the pinned key: nothing was sent to it");
    bob.sees("ask for a new invite");
    assert_eq!(bob.ends().code(), Some(6));
    let line = invite(&world);
    let mut bob = invited(&world, "bob", &line);
    bob.is_told("is known by another key");
    bob.is_told("if it did: pychat trust and this invite");
    assert_eq!(bob.ends().code(), Some(6));
    let trust = |args: &[&str]| {
        let mut command = world.program("bob");
        let ended = command.arg("trust").arg(&line).args(args).output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    let pinned = servers(&world, "bob");
    let (code, told) = trust(&[]);
    assert!(code == Some(2) && told.contains("the key was not compared"), "{told}");
    assert_eq!(servers(&world, "bob"), pinned);
    // On a terminal it is asked for.
    let mut command = world.program("bob");
    command.arg("trust").arg(&line);
    let mut asked = Terminal::run(&command);
    asked.shows(&print);
    asked.shows("channels with a PIN stay the same");
    asked.shows("read you exactly this new key? [y/N]");
    asked.types("n\r");
    asked.shows("nothing was changed");
    assert_eq!(servers(&world, "bob"), pinned);
    let (code, told) = trust(&["--yes"]);
    assert!(code == Some(0) && told.contains("the new key is pinned"), "{told}");
    assert_eq!(trust(&["--yes"]).0, Some(0), "it is known");
    // The channel with its PIN is still there, and the invite of before leads to the same server.
    let bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #tea~");
    drop(bob);

    // And once more, after a start.
    let world = world.restarted();
    drop(alice);
    let again = rotates(&world);
    let alice = world.client("alice", &["--plain"]);
    alice.sees(&format!("signed by the one before: {again}"));
    assert_ne!(again, print);
}
