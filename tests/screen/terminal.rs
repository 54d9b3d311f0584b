//! What the terminal is asked for, and how it is left.

use super::*;

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
    // Messages that are delivered again do not ring the bell.
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
    let world = World::with(r#"{"messages_burst": 1000}"#);
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
fn mouse_reports_are_requested_only_if_the_setting_is_on() {
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
    // The second page of the keys.
    alice.types("\x07\x07\x07");
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
