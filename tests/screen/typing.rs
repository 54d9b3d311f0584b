//! What a person types: the composer, pastes and questions about secrets.

use super::*;

#[test]
fn what_is_half_typed_stays_while_lines_come_in() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let mut bob = world.enters("bob");
    alice.types("half of a th");
    alice.shows_row(|row| row.starts_with("alice> half of a th"));
    for number in 0..60 {
        bob.types(&format!("line {number}"));
    }
    alice.shows("bob: line 4");
    alice.rests(19, "alice> half of a th");
    // A kick is announced with its reason.
    let _carol = world.enters("carol");
    world.operator(&["ctl", "kick", "carol", "noise"]);
    alice.shows("carol left: kicked by the operator: noise");
    alice.types("ought\r");
    bob.sees("alice: half of a thought");
}

/// This terminal draws the two halves of a flag in cells of their own, as many do.
#[test]
fn what_was_said_before_leaves_nothing_among_later_lines() {
    let world = World::with(r#"{"messages_burst": 1000}"#);
    let alice = world.sits_down("alice");
    let mut bob = world.enters("bob");
    let hostile = ["คำ", "🇩🇪🇫🇷", "क्षमा", "👨\u{200d}👩", "❤\u{fe0f}", "漢字"];
    for (number, hostile) in hostile.iter().enumerate() {
        bob.types(&format!("{hostile} is {number}"));
        alice.shows(&format!(" is {number}"));
        for _ in 0..36 {
            bob.types("x");
        }
        bob.types(&format!("end of {number}"));
        alice.shows(&format!("bob: end of {number}"));
        for row in &alice.rows()[1..37] {
            let said = row.split('│').nth(1).unwrap().trim_end();
            assert!(said.ends_with("] bob: x"), "{hostile}: {row:?}\n{}", alice.screen());
        }
    }
}

#[test]
fn a_slip_is_there_to_be_mended_and_the_pin_in_it_nowhere_afterwards() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    alice.types("the first words\r");
    alice.shows("You: the first words");
    alice.types("/jion tea half past four\r");
    alice.shows("did you mean /join?");
    alice.shows_row(|row| row == "alice> /jion tea half past four");
    // Home, and over the slash.
    alice.types("\x01\x1b[C\x1b[3~\x1b[3~\x1b[3~\x1b[3~join\r");
    alice.shows_row(|row| row.starts_with("#tea "));
    alice.types("\x1b[A");
    alice.shows_row(|row| row.trim_end() == "alice> the first words");
    // Ctrl-R finds no more.
    alice.types("\x15\x12half");
    alice.shows("half");
    assert!(!alice.screen().contains("half past"), "{}", alice.screen());
}

#[test]
fn a_paste_of_several_lines_asks_and_runs_no_command() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let bob = world.enters("bob");
    alice.types("\x1b[200~/exit\r\nsecond\x1b[201~");
    alice.shows("2 lines were pasted.");
    alice.types("x\x1b[200~lost\x1b[201~");
    alice.shows("answer the open question first");
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
fn a_paste_without_an_end_takes_neither_ctrl_c_nor_what_is_typed_later() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let bob = world.enters("bob");
    alice.types("\x1b[200~half a paste");
    alice.shows_row(|row| row.starts_with("alice> half a paste"));
    alice.types(" and a word\r");
    bob.sees("alice: half a paste and a word");
    alice.types("\x1b[200~another\x03");
    alice.shows("Ctrl-C again leaves");
    alice.types("gone\r");
    bob.sees("alice: gone");
    alice.types("\x1b[200~another");
    alice.shows_row(|row| row.starts_with("alice> another"));
    alice.types("\x03\x03\x03");
    alice.ends_with(130);
    alice.is_usable();
}

#[test]
fn what_came_together_with_esc_is_not_said() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let bob = world.enters("bob");
    let eve = world.enters("eve");
    alice.types("\x1b/pm eve secret\r");
    eve.sees("alice: secret");
    alice.types("\x1b1that was it\r");
    bob.sees("alice: that was it");
    assert_eq!(bob.seen("secret"), 0);
}

#[test]
fn a_command_with_a_secret_behind_blanks_or_a_slip_is_asked_about() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let mut bob = world.enters("bob");
    let lines = ["   /join #tea 4711", "//join #tea 4711", " /join#tea 4711", ".join #tea 4711"];
    for (number, line) in lines.iter().enumerate() {
        alice.types(&format!("{line}\r"));
        alice.shows("Enter sends it here as a text");
        alice.types(&format!("\x15that was number {number}\r"));
        bob.sees(&format!("alice: that was number {number}"));
    }
    bob.types("/join #work");
    bob.sees("#work");
    alice.types("/join #work\r4711\r");
    alice.shows("looks like /join");
    alice.types("\x15that was the PIN\r");
    bob.sees("alice: that was the PIN");
    assert_eq!(bob.seen("4711"), 0);
    alice.types("/query #lobby\r  /join #tea 4712\r\r");
    bob.sees("alice:   /join #tea 4712");
}

#[test]
fn a_text_can_be_written_in_an_editor() {
    let world = World::new();
    world.admit("alice");
    let mut command = world.screen_of("alice");
    command.env("EDITOR", "sed -i s/tea/coffee/").env_remove("VISUAL");
    let mut alice = Terminal::run(&command);
    alice.shows("* connected");
    alice.types("tea at five\x18");
    alice.rests(21, "alice> coffee at five");
    alice.types("?\r");
    alice.shows("You: coffee at five?");
    alice.types("/exit\r");
    alice.ends_with(0);
    // What cannot be taken is not lost.
    command.env("EDITOR", "printf '\\377' >>");
    let mut alice = Terminal::run(&command);
    alice.shows("* connected");
    alice.types("a long work\x18");
    let told = alice.shows("=!= it is not UTF-8, and is kept in ");
    let file = told.split("kept in ").nth(1).unwrap().split(".txt").next().unwrap();
    let file = format!("{file}.txt");
    assert_eq!(std::fs::read(&file).unwrap(), b"a long work\xff");
    std::fs::remove_file(file).unwrap();
    alice.rests(18, "alice> a long work");
}

#[test]
fn what_is_typed_ahead_of_a_switch_is_said_in_the_new_conversation() {
    let world = World::new();
    let bob = world.enters("bob");
    let mut alice = world.sits_down("alice");
    alice.shows("* connected");
    // As the terminal passes it on after a moment in which the client got no time.
    let ahead = |turn| format!("/query bob\rpsst {turn}\r/query #lobby\rall {turn}\r");
    alice.types(&(0..10).map(ahead).collect::<String>());
    for turn in 0..10 {
        let private = bob.sees(&format!("alice: psst {turn}"));
        assert!(private.contains("[Private]"), "{private}");
        let open = bob.sees(&format!("alice: all {turn}"));
        assert!(!open.contains("[Private]"), "{open}");
    }
}

#[test]
fn what_came_too_fast_is_said_later_and_in_order() {
    // Slower than the longest time that the server delays a message.
    let world = World::with(r#"{"messages_burst": 1, "messages_per_s": 0.31}"#);
    let bob = world.enters("bob");
    let mut carol = world.enters("carol");
    let mut alice = world.sits_down("alice");
    for line in ["one", "two", "three"] {
        carol.types(line);
        alice.types(&format!("{line}\r"));
    }
    alice.shows("it is then sent");
    carol.sees("it is then sent");
    for name in ["alice", "carol"] {
        bob.sees(&format!("{name}: three"));
        let said =
            |line: &String| line.split_once(&format!("{name}: ")).map(|said| said.1.to_owned());
        let said: Vec<String> = bob.shown().iter().filter_map(said).collect();
        assert_eq!(said, ["one", "two", "three"], "{name}");
    }
}
