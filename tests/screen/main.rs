//! The full screen: what a person types and sees, on the real binary.

mod desk;
mod terminal;
mod typing;
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use world::World;
use world::program::{cpu, memory_kib};
use world::pty::Terminal;

#[test]
fn two_people_chat() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let mut bob = world.sits_down("bob");
    alice.shows_row(|row| row.contains("│* bob"));
    alice.types("morning\r");
    bob.shows("alice: morning");
    alice.shows_row(|row| row.contains("] You: morning"));
    bob.types("/me waves\r");
    alice.shows("* bob waves");
    bob.types("/pm alice bring the good one\r");
    alice.shows_row(|row| row.starts_with(" * connected") && row.contains("2:@bob 1!"));
    alice.types("\x1ba");
    alice.shows("bob: bring the good one");
    alice.types("/join tea\r");
    alice.shows_row(|row| row.starts_with("#tea"));
    alice.types("/topic at five\r");
    alice.shows_row(|row| row.starts_with("#tea server| at five"));
    alice.types("/exit\r");
    alice.ends_with(0);
    alice.is_usable();
    bob.shows("alice left");
}

#[test]
fn the_first_contact_is_inside_the_screen() {
    let world = World::new();
    let mut command = world.program("bob");
    command.arg("client").env("USER", "bob");
    let mut bob = Terminal::run(&command);
    bob.shows("Which server?");
    bob.types("nowhere\r");
    bob.shows("=!= nowhere:5000 is not known yet");
    let (half, rest) = world.invite.split_at(30);
    bob.types(&format!("\x15\x1b[200~{half}\r\n{rest}\x1b[201~\r"));
    bob.shows("Your name there? [bob]");
    bob.types("no name\r");
    bob.shows("=!= names contain only letters");
    bob.types("\r");
    bob.shows("A passphrase for your new key?");
    bob.types("tall tree\r");
    bob.shows("once more?");
    bob.types("tall bee\r");
    bob.shows("=!= the two passphrases differ");
    bob.types("tall tree\r");
    bob.shows("once more?");
    bob.types("tall tree\r");
    bob.shows("pychat-key1.bob.");
    bob.shows("Read this code to the person who runs the server");
    bob.shows("o waiting, asks in");
    let key = world.program("bob").args(["key", "show"]).output().unwrap().stdout;
    let key = String::from_utf8(key).unwrap();
    let (ok, told) = world.operator(&["users", "add", &key, "--yes"]);
    assert!(ok, "{told}");
    bob.shows("* connected");
    bob.types("/exit\r");
    bob.ends_with(0);
    bob.is_usable();

    let mut again = Terminal::run(&command);
    again.shows("The passphrase of your key?");
    again.types("small tree\r");
    again.shows("=!= the passphrase does not open the key");
    again.types("tall tree\r");
    again.shows("* connected");
    for terminal in [&bob, &again] {
        assert!(!terminal.bytes().contains("tree"), "a passphrase was shown");
    }

    let mut leaves = Terminal::run(&command);
    leaves.shows("The passphrase of your key?");
    leaves.types("\x03");
    leaves.ends_with(130);
    leaves.is_usable();
}

#[test]
fn the_link_drops_and_comes_back() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let mut bob = world.enters("bob");
    bob.types("before");
    alice.shows("bob: before");
    let world = world.stopped();
    alice.shows("o offline, retry in");
    alice.types("written offline\r");
    alice.shows_row(|row| row.contains("You: written offline ..."));
    alice.types("still typing");
    let world = world.started();
    alice.types("\x15/reconnect\r");
    alice.shows("* back, ");
    bob.sees("alice: written offline");
    alice.shows_row(|row| row.contains("] You: written offline") && !row.contains("..."));
    bob.types("after");
    alice.shows("bob: after");
    assert_eq!(alice.screen().matches("written offline").count(), 1, "{}", alice.screen());
    drop(world);
}

#[test]
fn rooms_are_open_again_the_next_time() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let bob = world.enters("bob");
    alice.types("/join tea\r");
    alice.shows_row(|row| row.starts_with("#tea"));
    alice.types("/query bob\r");
    alice.shows_row(|row| row.starts_with("@bob"));
    alice.types("/exit\r");
    alice.ends_with(0);
    // Before there is a connection, keys do what they always do.
    world.server.signal(Signal::STOP);
    let mut again = Terminal::run(&world.screen_of("alice"));
    again.shows_row(|row| row.starts_with("2 #tea "));
    again.shows_row(|row| row.starts_with("3 @bob "));
    again.types("\x1b2");
    again.shows_row(|row| row.starts_with("#tea"));
    again.types("still here\r");
    again.shows("You: still here");
    world.server.signal(Signal::CONT);
    again.shows("* connected");
    again.shows_row(|row| row.starts_with("#tea"));
    again.shows_row(|row| row.contains("You: still here") && !row.contains("pending"));
    again.types("/part\r");
    again.shows_row(|row| row.starts_with("2 @bob "));
    drop(bob);
}

#[test]
fn the_first_user_of_a_pin_channel_gets_a_notice_there() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    alice.types("/join tea half past four\r");
    alice.shows_row(|row| row.starts_with("#tea "));
    alice.shows("you are the first here: if you expected others");
    alice.types("\x1b1");
    alice.shows_row(|row| row.starts_with("#lobby"));
    assert!(!alice.screen().contains("you are the first here"), "{}", alice.screen());
}

/// `cargo test --release --test screen -- --ignored --nocapture` prints the figures of
/// docs/performance.md.
#[test]
#[ignore = "it measures: in release, with nothing else under way"]
fn a_busy_room_leaves_keys_and_the_processor_alone() {
    let world =
        World::with(r#"{"messages_burst": 1000000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#);
    let mut alice = world.sits_down("alice");
    let mut bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    let pid = alice.program();
    let mut number = 0;
    let mut say = |text: &str| {
        number += 1;
        let text = format!("{text} {number}");
        bob.types(&format!(r##"{{"type":"say","to":"#lobby","text":"{text}"}}"##));
    };
    let before = cpu(pid);
    for _ in 0..100_000 {
        say("some words as people say them, about the length of two rows on a phone");
    }
    say("all of them");
    alice.shows("all of them 100001");
    let (each, memory) = ((cpu(pid) - before) / 100_001, memory_kib(pid) / 1024);
    println!("| 100,000 lines: CPU of each; memory | {each:?}; {memory} MiB |");

    // 500 lines a second, and five keys.
    let (begun, before) = (Instant::now(), (cpu(pid), alice.bytes().len()));
    let (mut waits, mut typed) = (Vec::new(), String::from("alice> "));
    for turn in 0..500 {
        (0..10).for_each(|_| say("one of five hundred in this second"));
        if turn % 10 == 0 {
            typed.push('x');
            let pressed = Instant::now();
            alice.types("x");
            alice.rests(typed.len() as u16, &typed);
            waits.push(pressed.elapsed());
        }
        let due = begun + Duration::from_millis(20) * (turn + 1);
        thread::park_timeout(due.saturating_duration_since(Instant::now()));
    }
    let took = begun.elapsed().as_secs_f64();
    let busy = (cpu(pid) - before.0).as_secs_f64() / took;
    let written = (alice.bytes().len() - before.1) as f64 / took / 1024.0;
    waits.sort_unstable();
    let (middle, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("| a key until it is seen, 500 lines/s: middle; worst | {middle:?}; {most:?} |");
    println!("| CPU then; bytes to the terminal | {:.1} %; {written:.0} KiB/s |", busy * 100.0);
    assert!(most < Duration::from_millis(500), "{waits:?}");

    say("quiet now");
    alice.shows("quiet now");
    let before = (cpu(pid), alice.bytes().len());
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        thread::park_timeout(until - Instant::now());
    }
    let (idle, written) = (cpu(pid) - before.0, alice.bytes().len() - before.1);
    println!("| idle for 20 s: CPU; bytes to the terminal | {idle:?}; {written} |");
    assert!(idle < Duration::from_millis(100), "{idle:?}");
    // Signs of life alone: a picture of one row now and then.
    assert!(written < 4_096, "{written}");
}
