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
