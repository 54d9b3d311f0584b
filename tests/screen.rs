//! The full screen: what a person types and sees, on the real binary.

mod world;

use std::process::Command;

use rustix::process::Signal;
use world::World;
use world::pty::Terminal;

fn client(world: &World, name: &str) -> Command {
    let mut command = world.program(name);
    command.args(["client", &world.invite, "--name", name]);
    command
}

/// An admitted person's full screen, connected.
fn sits_down(world: &World, name: &str) -> Terminal {
    world.admit(name);
    let terminal = Terminal::run(&client(world, name));
    terminal.shows("* connected");
    terminal
}

#[test]
fn two_people_chat() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let mut bob = sits_down(&world, "bob");
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
    alice.shows_row(|row| row.starts_with("#tea - at five"));
    alice.types("/exit\r");
    alice.ends_with(0);
    alice.is_usable();
    bob.shows("alice left");
}

#[test]
fn what_is_half_typed_stays_while_lines_come_in() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let mut bob = world.enters("bob");
    alice.types("half of a th");
    alice.shows_row(|row| row.starts_with("alice> half of a th"));
    for number in 0..60 {
        bob.types(&format!("line {number}"));
    }
    alice.shows("bob: line 4");
    alice.rests(19, "alice> half of a th");
    alice.types("ought\r");
    bob.sees("alice: half of a thought");
}

#[test]
fn every_way_out_leaves_a_usable_terminal() {
    let world = World::new();
    let mut exit = sits_down(&world, "alice");
    exit.types("half typed");
    exit.shows("alice> half typed");
    exit.types("\x03\x03");
    exit.shows("Ctrl-C again leaves");
    exit.types("\x03");
    exit.ends_with(130);
    exit.is_usable();

    let mut end = Terminal::run(&client(&world, "alice"));
    end.shows("* connected");
    end.types("\x04");
    end.ends_with(0);
    end.is_usable();

    let mut kicked = Terminal::run(&client(&world, "alice"));
    kicked.shows("* connected");
    world.operator(&["ctl", "kick", "alice", "noise"]);
    kicked.ends_with(5);
    kicked.shows("error: the operator ended your session: noise");
    kicked.is_usable();

    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut told = Terminal::run(&client(&world, "alice"));
        told.shows("* connected");
        told.signal(signal);
        told.ends_with(130);
        told.is_usable();
    }
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
    bob.shows("Your name there?");
    bob.types("\x15no name\r");
    bob.shows("=!= a name has letters");
    bob.types("\x15bob\r");
    bob.shows("A passphrase for your new key?");
    bob.types("tall tree\r");
    bob.shows("once more?");
    bob.types("tall bee\r");
    bob.shows("=!= these were two different ones");
    bob.types("tall tree\r");
    bob.shows("once more?");
    bob.types("tall tree\r");
    bob.shows("pychat-key1.bob.");
    bob.shows("read them this over the phone");
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
fn in_the_background_the_shell_has_its_terminal_and_the_screen_comes_back() {
    let world = World::new();
    world.admit("alice");
    for by_key in [true, false] {
        let mut alice = Terminal::run_with_fg(&client(&world, "alice"));
        alice.shows("* connected");
        alice.types("half typed");
        alice.shows("alice> half typed");
        match by_key {
            true => alice.types("\x1a"),
            false => alice.signal(Signal::TSTP),
        }
        alice.shows("[stopped ");
        alice.is_given_back();
        alice.types("a shell's line\r");
        alice.shows("alice> half typed");
        alice.types(" on\x7f\x7f\x7f\x03/exit\r");
        alice.ends_with(0);
        alice.is_usable();
    }
}

#[test]
fn the_link_drops_and_comes_back() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
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
    let mut alice = sits_down(&world, "alice");
    let bob = world.enters("bob");
    alice.types("/join tea\r");
    alice.shows_row(|row| row.starts_with("#tea"));
    alice.types("/query bob\r");
    alice.shows_row(|row| row.starts_with("@bob"));
    alice.types("/exit\r");
    alice.ends_with(0);
    let mut again = Terminal::run(&client(&world, "alice"));
    again.shows_row(|row| row.starts_with("2 #tea "));
    again.shows_row(|row| row.starts_with("3 @bob "));
    again.types("\x1b2still here\r");
    again.shows("You: still here");
    again.types("/part\r");
    again.shows_row(|row| row.starts_with("2 @bob "));
    drop(bob);
}

#[test]
fn a_paste_of_several_lines_asks_and_runs_no_command() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let bob = world.enters("bob");
    alice.types("\x1b[200~/exit\r\nsecond\x1b[201~");
    alice.shows("2 lines were pasted.");
    alice.types("x\x1b[200~lost\x1b[201~");
    alice.shows("there is a question to answer first");
    alice.types("\r");
    bob.sees("alice: /exit");
    bob.sees("    second");
    alice.types("\x1b[200~third\nfourth\n\x1b[201~");
    alice.shows("2 lines were pasted.");
    alice.types("\t");
    alice.shows_row(|row| row.starts_with("alice> third"));
    alice.types(" and more\r");
    bob.sees("    fourth and more");
    alice.types("\x1b[200~gone\nfor good\x1b[201~");
    alice.shows("2 lines were pasted.");
    alice.types("\x1b");
    alice.shows_all(|rows| !rows.concat().contains("pasted"));
    alice.types("one line\r");
    bob.sees("alice: one line");
    assert_eq!(bob.seen("for good"), 0);
}

#[test]
fn a_text_can_be_written_in_an_editor() {
    let world = World::new();
    world.admit("alice");
    let mut command = client(&world, "alice");
    command.env("EDITOR", "sed -i s/tea/coffee/").env_remove("VISUAL");
    let mut alice = Terminal::run(&command);
    alice.shows("* connected");
    alice.types("tea at five\x18");
    alice.rests(21, "alice> coffee at five");
    alice.types("?\r");
    alice.shows("You: coffee at five?");
}

#[test]
fn what_is_meant_for_somebody_rings_while_they_look_elsewhere() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let mut bob = world.enters("bob");
    let bells = |alice: &Terminal| alice.acts().iter().filter(|act| *act == "bell").count();
    alice.types("\x1b[I/set notifications osc9\r");
    alice.shows("notifications osc9");
    bob.types("alice: seen");
    alice.shows("bob: alice: seen");
    alice.types("\x1b[O");
    bob.types("to nobody");
    alice.shows("bob: to nobody");
    assert_eq!(bells(&alice), 0, "{:?}", alice.acts());
    bob.types("look, Alice!");
    alice.shows("look, Alice!");
    assert_eq!(bells(&alice), 1);
    bob.types("/pm alice psst");
    alice.shows("2:@bob 1!");
    assert_eq!(bells(&alice), 2);
    assert!(alice.bytes().contains("\u{1b}]9;pychat: you are meant in @bob\u{7}"));
    alice.types("/notify off\r");
    alice.shows("nothing rings in #lobby");
    bob.types("alice, quietly");
    alice.shows("alice, quietly");
    assert_eq!(bells(&alice), 2);
    assert!(!alice.bytes().contains("\u{7}look"));
    // What is told again rings no more.
    alice.types("/exit\r");
    alice.ends_with(0);
    let again = Terminal::run(&client(&world, "alice"));
    again.shows("alice, quietly");
    assert_eq!(bells(&again), 0, "{:?}", again.acts());
}

#[test]
fn what_came_too_fast_is_said_later_and_in_order() {
    // Slower than the server's own patience.
    let world = World::with(r#"{"lines_burst": 1, "lines_per_s": 0.31}"#);
    let bob = world.enters("bob");
    let mut carol = world.enters("carol");
    let mut alice = sits_down(&world, "alice");
    for line in ["one", "two", "three"] {
        carol.types(line);
        alice.types(&format!("{line}\r"));
    }
    alice.shows("it is sent then");
    carol.sees("it is sent then");
    for name in ["alice", "carol"] {
        bob.sees(&format!("{name}: three"));
        let said =
            |line: &String| line.split_once(&format!("{name}: ")).map(|said| said.1.to_owned());
        let said: Vec<String> = bob.shown().iter().filter_map(said).collect();
        assert_eq!(said, ["one", "two", "three"], "{name}");
    }
}
