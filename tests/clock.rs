//! Clocks that are wrong, on the real binary: of a client, of a server, and of both.
#![cfg(target_os = "linux")]

mod world;

use std::fs;
use std::path::PathBuf;

use world::clocks::Clocks;
use world::pty::Terminal;
use world::{Program, World};

fn leaves(mut who: Program) -> Vec<String> {
    who.types("/exit");
    assert!(who.ends().success());
    who.shown()
}

/// The device keys of a client.
fn keys(world: &World, person: &str) -> Vec<PathBuf> {
    let servers = fs::read_dir(world.data_folder(person).join("device")).unwrap();
    let files = servers.flat_map(|server| fs::read_dir(server.unwrap().path()).unwrap());
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn published(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.home().join("data/certificates.json"));
    serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default()
}

/// Alice and bob have talked in private, and alice is away.
fn have_talked(clocks: &Clocks) -> (World, Program) {
    let world = clocks.world("{}");
    world.admit("alice");
    let mut alice = clocks.client(&world, "alice", "--plain");
    let mut bob = world.enters("bob");
    world.until("they have certificates", || published(&world).len() == 2);
    alice.types("/pm bob hello");
    bob.sees("alice: hello");
    bob.types("/pm alice good day");
    alice.sees("bob: good day");
    leaves(alice);
    (world, bob)
}

fn nothing_is_wrong(lines: &[String]) {
    let wrong = ["=!= ", "forged", "not for", "marked", "clock", "missing"];
    let found: Vec<_> =
        lines.iter().filter(|line| wrong.iter().any(|word| line.contains(word))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_visit_with_a_wrong_clock_destroys_nothing_and_is_reported() {
    for (days, words) in [(60.01, "60 days ahead of"), (-60.01, "60 days behind")] {
        let clocks = Clocks::new();
        let (world, mut bob) = have_talked(&clocks);
        let before = (keys(&world, "alice"), published(&world));
        bob.types("/pm alice the first that waits");
        bob.sees("You -> alice: the first that waits");
        clocks.set("client", days);
        let mut alice = clocks.client(&world, "alice", "--plain");
        alice.sees(&format!("=!= the clock of this device is {words} the server's"));
        alice.sees("bob: the first that waits");
        bob.types("/pm alice before noon");
        alice.sees("bob: before noon");
        alice.types("/pm bob so I see");
        bob.sees("alice: so I see");
        leaves(alice);
        let alice = clocks.client(&world, "alice", "--json");
        alice.sees(&format!("the clock of this device is {words}"));
        drop(alice);
        let mut screen = Terminal::run(&clocks.command(&world, "alice"));
        screen.shows(&format!("the clock of this device is {words}"));
        screen.types("/exit\r");
        screen.ends_with(0);
        assert_eq!((keys(&world, "alice"), published(&world)), before, "{days}");
        bob.types("/pm alice the second that waits");
        bob.sees("You -> alice: the second that waits");
        clocks.set("client", 0.0);
        let mut alice = clocks.client(&world, "alice", "--plain");
        alice.sees("bob: the second that waits");
        alice.types("/pm bob all is well");
        bob.sees("alice: all is well");
        bob.types("/pm alice indeed");
        alice.sees("bob: indeed");
        assert_eq!((keys(&world, "alice"), published(&world)), before, "{days}");
        nothing_is_wrong(&leaves(alice));
        nothing_is_wrong(&leaves(bob));
    }
}

#[test]
fn a_server_whose_clock_is_wrong_makes_no_client_delete_keys() {
    for (days, words) in [(60.01, "60 days behind"), (-60.01, "60 days ahead of")] {
        let clocks = Clocks::new();
        let (world, mut bob) = have_talked(&clocks);
        let before = (keys(&world, "alice"), keys(&world, "bob"), published(&world));
        clocks.set("server", days);
        let mut alice = clocks.client(&world, "alice", "--plain");
        alice.sees(&format!("=!= the clock of this device is {words} the server's"));
        alice.types("/pm bob is anybody there?");
        bob.sees("alice: is anybody there?");
        bob.types("/pm alice always");
        alice.sees("bob: always");
        assert_eq!((keys(&world, "alice"), keys(&world, "bob"), published(&world)), before);
        leaves(alice);
        clocks.set("server", 0.0);
        let mut alice = clocks.client(&world, "alice", "--plain");
        alice.types("/pm bob and now?");
        bob.sees("alice: and now?");
        bob.types("/pm alice as ever");
        alice.sees("bob: as ever");
        nothing_is_wrong(&leaves(alice));
    }
}

#[test]
fn a_first_visit_with_a_wrong_clock_makes_no_keys_and_what_was_typed_waits() {
    let clocks = Clocks::new();
    let world = clocks.world("{}");
    let bob = world.enters("bob");
    world.until("bob has a certificate", || published(&world).len() == 1);
    world.admit("alice");
    clocks.set("client", 60.01);
    let mut alice = clocks.client(&world, "alice", "--plain");
    alice.types("/pm bob hello");
    alice.sees("correct the clock that is wrong");
    assert_eq!((keys(&world, "alice").len(), published(&world).len()), (0, 1));
    // It is set while the client runs.
    clocks.set("client", 0.0);
    alice.types("/list");
    world.until("alice has a certificate", || published(&world).len() == 2);
    alice.types("/retry");
    bob.sees("alice: hello");
}

#[test]
fn keys_are_renewed_after_an_absence_and_deleted_once_both_clocks_agree_for_a_day() {
    let clocks = Clocks::new();
    let (world, bob) = have_talked(&clocks);
    leaves(bob);
    let first = keys(&world, "alice");
    let visit = |days: f64| {
        ["client", "server"].iter().for_each(|whose| clocks.set(whose, days));
        let before = published(&world);
        let mut alice = clocks.client(&world, "alice", "--plain");
        alice.types("/list");
        alice.sees("(1 here)");
        let shown = leaves(alice);
        nothing_is_wrong(&shown);
        (keys(&world, "alice"), published(&world) != before)
    };
    let (second, news) = visit(8.0);
    assert!(news && second.len() == 2, "a new certificate");
    let (third, news) = visit(60.0);
    assert!(news && third.len() == 3, "nothing is deleted at once");
    // Both clocks were wrong: what they have made is of no use, and nothing is lost.
    let (fourth, news) = visit(8.5);
    assert!(news && fourth.len() == 3, "the certificate of the eighth day again");
    // It was an absence.
    visit(60.0);
    let (last, _) = visit(61.1);
    assert!(!last.iter().any(|key| first.contains(key)), "{last:?}");
    assert_eq!(last.len(), 1);
}

#[test]
fn what_is_old_by_a_clock_that_leaps_stays_until_the_operator_accepts_the_clock() {
    let clocks = Clocks::new();
    let world = clocks.world(r#"{"retention": "30d"}"#);
    let mut alice = world.enters("alice");
    (0..10).for_each(|number| alice.types(&format!("number {number}.")));
    alice.sees("number 9.");
    let removes = |how: &str| world.operator(&["ctl", "retention", how]);
    clocks.set("server", 40.0);
    let (ok, told) = removes("--now");
    assert!(!ok && told.contains("the clock jumped") && told.contains("--trust-clock"), "{told}");
    let (ok, told) = removes("--dry-run");
    assert!(ok && told.contains("10 messages") && told.contains("the clock jumped"), "{told}");
    // Nor does the order approve of the next leap.
    clocks.set("server", 0.0);
    assert!(!removes("--now").0);
    clocks.set("server", 40.0);
    assert!(!removes("--now").0);
    assert!(removes("--dry-run").1.contains("10 messages"));
    let (ok, told) = removes("--trust-clock");
    assert!(ok, "{told}");
    let (ok, told) = removes("--now");
    assert!(ok && told.contains("10 messages"), "{told}");
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_puts_no_key_of_the_server_away() {
    let clocks = Clocks::new();
    let world = clocks.world("{}");
    let (ok, told) = world.operator(&["server-key", "rotate"]);
    assert!(ok, "{told}");
    world.server.is_told("the server's key is");
    let retired = world.home().join("keys/server.retired.pem");
    clocks.set("server", 40.0);
    world.server.is_told("the clock jumped by");
    clocks.set("server", 0.0);
    assert!(!retired.exists());
    world.admit("bob");
    world.client("bob", &["--plain"]).sees("you are in #lobby");
    // The control: a clock that the operator accepts removes it.
    clocks.set("server", 40.0);
    assert!(world.operator(&["ctl", "retention", "--trust-clock"]).0);
    world.until("the former key is put away", || retired.exists());
}
