//! The full screen: what a person types and sees, on the real binary.

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
    // Nobody is put out without a word about it.
    let _carol = world.enters("carol");
    world.operator(&["ctl", "kick", "carol", "noise"]);
    alice.shows("carol left: kicked by the operator: noise");
    alice.types("ought\r");
    bob.sees("alice: half of a thought");
}

/// This terminal draws the two halves of a flag in cells of their own, as many do.
#[test]
fn what_was_said_before_leaves_nothing_among_later_lines() {
    let world = World::with(r#"{"lines_burst": 1000}"#);
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

/// The links on a terminal: the id, the address, and the text that they surround.
fn links(bytes: &str) -> Vec<(String, String, String)> {
    let mut links = Vec::new();
    for part in bytes.split("\x1b]8;id=").skip(1) {
        let (id, rest) = part.split_once(';').unwrap();
        let (address, rest) = rest.split_once("\x1b\\").unwrap();
        let (text, _) = rest.split_once("\x1b]8;;\x1b\\").expect("each link ends");
        let mut shown = String::new();
        for (number, part) in text.split("\x1b[").enumerate() {
            let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(0, |end| end + 1);
            shown.push_str(if number == 0 { part } else { &part[end..] });
        }
        links.push((id.to_owned(), address.to_owned(), shown));
    }
    links
}

#[test]
fn addresses_are_links_where_the_terminal_has_them() {
    let world = World::new();
    let mut bob = world.enters("bob");
    world.admit("alice");
    let long = format!("https://long.example/{}", "0123456789".repeat(12));
    let hostile = "https://evil.example/\u{1b}]8;;https://other.example\u{7}\u{9c}x\u{1b}\\";
    let begin = |name: &str, value: &str| {
        let mut command = world.screen_of("alice");
        command.env(name, value);
        let alice = Terminal::run(&command);
        alice.shows("* connected");
        alice
    };
    let mut alice = begin("TERM_PROGRAM", "WezTerm");
    bob.types(&format!("see {long} and (https://b.example/c)."));
    bob.types(hostile);
    bob.types("that was all");
    alice.shows("bob: that was all");
    let bytes = alice.bytes();
    let found = links(&bytes);
    assert!(found.iter().any(|(.., text)| text == "https://b.example/c"), "{found:?}");
    let parts: Vec<_> = found.iter().filter(|(_, address, _)| *address == long).collect();
    let ids: BTreeSet<_> = parts.iter().map(|(id, ..)| id).collect();
    assert_eq!(ids.len(), 1, "one link: {found:?}");
    let texts: BTreeSet<_> = parts.iter().map(|(.., text)| text.as_str()).collect();
    assert!(texts.len() > 1 && texts.iter().map(|text| text.len()).sum::<usize>() == long.len());
    for (id, address, text) in &found {
        let ascii = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(ascii(id) && ascii(address) && address.contains(text.as_str()), "{found:?}");
    }
    // Every sequence of this kind is the client's own.
    assert_eq!(bytes.matches("\x1b]8;").count(), 2 * found.len());
    assert!(!bytes.contains("\x1b]8;;http") && !bytes.contains('\u{9c}'));
    // What lies over them is no link.
    let before = alice.bytes().len();
    alice.types("\x1bOP");
    alice.shows("Esc closes");
    assert_eq!(links(&alice.bytes()[before..]).len(), 0);
    alice.types("\x1b/exit\r");
    alice.ends_with(0);
    alice.is_usable();
    // The control: the same on terminals that may show the sequence as text.
    for (name, value) in [("VTE_VERSION", "4205"), ("TMUX", "/tmp/tmux"), ("TERM", "linux")] {
        let mut other = begin(name, value);
        other.shows("bob: that was all");
        assert!(!other.bytes().contains("\x1b]8;"), "{name}={value}");
        other.types("/exit\r");
        other.ends_with(0);
    }
    assert!(!bob.shown().concat().contains('\u{1b}'));
}

#[test]
fn every_way_out_leaves_a_usable_terminal() {
    let world = World::new();
    let mut exit = world.sits_down("alice");
    exit.types("half typed");
    exit.shows("alice> half typed");
    exit.types("\x03\x03");
    exit.shows("Ctrl-C again leaves");
    exit.types("\x03");
    exit.ends_with(130);
    exit.is_usable();

    let mut end = Terminal::run(&world.screen_of("alice"));
    end.shows("* connected");
    end.types("\x04");
    end.ends_with(0);
    end.is_usable();

    let mut kicked = Terminal::run(&world.screen_of("alice"));
    kicked.shows("* connected");
    world.operator(&["ctl", "kick", "alice", "noise"]);
    kicked.ends_with(5);
    kicked.shows("error: the operator ended your session: noise");
    kicked.is_usable();

    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut told = Terminal::run(&world.screen_of("alice"));
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
        let mut alice = Terminal::run_with_fg(&world.screen_of("alice"));
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
    alice.shows_row(|row| row.starts_with("#tea~"));
    alice.types("\x1b[A");
    alice.shows_row(|row| row.trim_end() == "alice> the first words");
    // Ctrl-R finds no more.
    alice.types("\x15\x12half");
    alice.shows("half");
    assert!(!alice.screen().contains("half past"), "{}", alice.screen());
}

#[test]
fn who_is_first_in_a_room_with_a_pin_is_told_there() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    alice.types("/join tea half past four\r");
    alice.shows_row(|row| row.starts_with("#tea~"));
    alice.shows("you are the first here: if you expected others");
    alice.types("\x1b1");
    alice.shows_row(|row| row.starts_with("#lobby"));
    assert!(!alice.screen().contains("you are the first here"), "{}", alice.screen());
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
    let bob = world.enters("bob");
    let lines =
        ["   /join #tea 4711", "//join #tea 4711", "\u{ff0f}pm bob 4711", ".join #tea 4711"];
    for (number, line) in lines.iter().enumerate() {
        alice.types(&format!("{line}\r"));
        alice.shows("Enter sends it here as a text");
        alice.types(&format!("\x15that was number {number}\r"));
        bob.sees(&format!("alice: that was number {number}"));
    }
    assert_eq!(bob.seen("4711"), 0);
    alice.types("  /join #tea 4712\r\r");
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
fn what_is_meant_for_somebody_rings_while_they_look_elsewhere() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
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
    assert!(alice.bytes().contains("\u{1b}]9;pychat: mention in @bob\u{7}"));
    alice.types("/notify off\r");
    alice.shows("nothing rings the bell in #lobby");
    bob.types("alice, quietly");
    alice.shows("alice, quietly");
    assert_eq!(bells(&alice), 2);
    assert!(!alice.bytes().contains("\u{7}look"));
    alice.types("/notify all\r/set notifications osc777\r");
    alice.shows("notifications osc777");
    bob.types("to nobody again");
    alice.shows("bob: to nobody again");
    assert!(alice.bytes().contains("\u{1b}]777;notify;pychat;unread messages in #lobby\u{7}"));
    // The names of conversations are not stored in the clear for that.
    alice.types("/join quietnest\r");
    alice.shows("#quietnest");
    alice.types("/notify off\r");
    alice.shows("nothing rings the bell in #quietnest");
    // What is told again rings no more.
    alice.types("/exit\r");
    alice.ends_with(0);
    assert_eq!(world.found_in("alice", "quietnest"), 0);
    let mut again = Terminal::run(&world.screen_of("alice"));
    again.shows("alice, quietly");
    assert_eq!(bells(&again), 0, "{:?}", again.acts());
    again.types("/query #quietnest\r/notify\r");
    again.shows("#quietnest: off");
}

#[test]
fn what_came_too_fast_is_said_later_and_in_order() {
    // Slower than the server's own patience.
    let world = World::with(r#"{"lines_burst": 1, "lines_per_s": 0.31}"#);
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

#[test]
fn an_old_terminal_is_told_colours_that_it_knows() {
    let world = World::new();
    let bob = world.enters("bob");
    world.admit("alice");
    let mut command = world.screen_of("alice");
    command.env_remove("NO_COLOR").env("TERM", "xterm");
    let terminal = Terminal::run(&command);
    terminal.shows("* connected");
    terminal.shows("bob");
    let bytes = terminal.bytes();
    let looks = bytes.split("\x1b[").filter_map(|rest| rest.split_once('m')).map(|(look, _)| look);
    let looks: BTreeSet<_> = looks.flat_map(|look| look.split(';')).collect();
    assert!(looks.contains("90") && !looks.contains("38") && !looks.contains("48"), "{looks:?}");
    drop(bob);
}

#[test]
fn the_window_changes_its_size_while_lines_come() {
    let world = World::with(r#"{"lines_burst": 1000}"#);
    let mut alice = world.sits_down("alice");
    let mut bob = world.enters("bob");
    alice.types("half typed");
    alice.shows("alice> half typed");
    for (turn, size) in [(40, 24), (200, 50), (61, 9), (9, 3), (1, 1), (130, 20)].iter().enumerate()
    {
        for line in 0..20 {
            bob.types(&format!("turn {turn} line {line}"));
        }
        alice.resize(size.0, size.1);
    }
    bob.types("the end");
    alice.shows("bob: the end");
    alice.resize(100, 40);
    alice.shows_all(|rows| {
        rows[0].starts_with("#lobby")
            && rows[0].trim_end().ends_with("2 online")
            && rows[37].contains("] bob: the end")
            && rows[36].contains("] bob: turn 5 line 19")
            && rows[39].trim_end() == "alice> half typed"
    });
    alice.types("\x03/exit\r");
    alice.ends_with(0);
    alice.is_usable();
}

#[test]
fn the_mouse_is_asked_for_only_by_who_wants_it() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    alice.types("/join tea\r");
    alice.shows_row(|row| row.starts_with("#tea"));
    assert_eq!(alice.mouse_mode(), vt100::MouseProtocolMode::None);
    alice.types("/set mouse on\r");
    alice.shows("mouse on");
    assert_eq!(alice.mouse_mode(), vt100::MouseProtocolMode::PressRelease);
    alice.types("\x1b[<0;4;3M\x1b[<0;4;3m");
    alice.shows_row(|row| row.starts_with("#lobby"));
    alice.types("/exit\r");
    alice.ends_with(0);
    alice.is_usable();
    let mut again = Terminal::run(&world.screen_of("alice"));
    again.shows("* connected");
    assert_eq!(again.mouse_mode(), vt100::MouseProtocolMode::PressRelease, "it is kept");
    again.types("/set mouse off\r");
    again.shows("mouse off");
    assert_eq!(again.mouse_mode(), vt100::MouseProtocolMode::None);
}

#[test]
fn a_dead_server_leaves_a_usable_terminal() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let mut world = world;
    world.server.kill();
    alice.shows("o offline, retry in");
    alice.types("kept for later\r");
    alice.shows("You: kept for later ...");
    alice.types("\x04");
    alice.ends_with(0);
    alice.shows("one of your messages was not sent yet: it will be sent the next time");
    alice.is_usable();
}

#[test]
fn keys_and_looks_are_those_of_ones_own_settings() {
    let world = World::new();
    world.admit("alice");
    let mut command = world.screen_of("alice");
    command.env_remove("NO_COLOR");
    let home = command.get_envs().find(|(name, _)| *name == "XDG_CONFIG_HOME").unwrap().1.unwrap();
    let file = std::path::Path::new(home).join("pychat/screen.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let settings = r#"{"theme": "light", "keys": {"help": ["ctrl-g"], "send": ["f2"]}}"#;
    std::fs::write(&file, settings).unwrap();
    let mut alice = Terminal::run(&command);
    alice.shows("* connected");
    alice.types("\x07");
    alice.shows_row(|row| row.contains("ctrl-g") && row.contains("this help"));
    alice.types("\x1bOP");
    alice.shows_all(|rows| !rows.concat().contains("this help"));
    alice.types("by another key\r\x1bOQ");
    alice.shows("You: by another key");
    alice.types("/exit\x1bOQ");
    alice.ends_with(0);
    assert!(alice.bytes().contains("48;5;254"), "it was light");
    std::fs::write(&file, r#"{"keys": {"fly": ["f9"]}}"#).unwrap();
    let wrong = Terminal::run(&command);
    wrong.shows("screen.json");
    wrong.shows("there is no \"fly\"");
    wrong.ends_with(3);
    wrong.is_given_back();
}

/// `cargo test --release --test screen -- --ignored --nocapture` prints the figures of
/// docs/performance.md.
#[test]
#[ignore = "it measures: in release, with nothing else under way"]
fn a_busy_room_leaves_keys_and_the_processor_alone() {
    let world = World::with(r#"{"lines_burst": 1000000, "lines_per_s": 1e6, "bytes_per_s": 1e9}"#);
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
