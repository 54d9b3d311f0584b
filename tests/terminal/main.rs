//! At a terminal: what a person types and sees, on the real binary.

mod operator;
#[path = "../world/mod.rs"]
mod world;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use world::World;
use world::pty::Terminal;

/// An admitted person's client on a terminal, connected.
fn sits_down(world: &World, name: &str) -> Terminal {
    world.admit(name);
    let terminal = Terminal::run(&client(world, name));
    terminal.shows("you are in #lobby");
    terminal
}

fn client(world: &World, name: &str) -> Command {
    let mut command = world.program(name);
    command.args(["client", &world.invite, "--name", name, "--plain"]);
    command
}

#[test]
fn what_is_half_typed_survives_incoming_lines_and_is_sent_whole() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let mut bob = world.enters("bob");
    alice.types("half of a th");
    alice.shows_row(|row| row == "> half of a th");
    for number in 0..5 {
        bob.types(&format!("line {number}"));
        alice.shows_row(|row| row.ends_with(&format!("bob: line {number}")));
    }
    alice.rests(14, "> half of a th");
    alice.shows_row(|row| row == "> half of a th");
    alice.types("ought\r");
    bob.sees("alice: half of a thought");
    bob.types("a whole one");
    alice.shows_row(|row| row.ends_with("bob: a whole one"));
    // The typed text is on the screen already: it is not shown again.
    alice.shows_row(|row| row == "> half of a thought");
    assert_eq!(alice.screen().matches("half of a thought").count(), 1, "{}", alice.screen());
    alice.types("/exit\r");
    alice.ends_with(0);
    alice.is_usable();
}

#[test]
fn a_paste_of_several_lines_is_one_text_and_runs_no_command() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let bob = world.enters("bob");
    alice.types("\x1b[200~/exit\nsecond\x1b[201~");
    alice.shows_row(|row| row == "second");
    alice.types("\r");
    bob.sees("alice: /exit");
    bob.sees("    second");
    // And lines typed ahead, in one go, are lines of their own.
    alice.types("one\rtwo\rthree");
    bob.sees("alice: one");
    bob.sees("alice: two");
    alice.shows_row(|row| row == "> three");
}

#[test]
fn a_paste_without_an_end_takes_neither_ctrl_c_nor_what_is_typed_later() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let bob = world.enters("bob");
    alice.types("\x1b[200~half a paste");
    alice.shows_row(|row| row == "> half a paste");
    // A terminal pastes without a pause.
    thread::sleep(Duration::from_millis(2_500));
    alice.types(" and a word\r");
    bob.sees("alice: half a paste and a word");
    alice.types("\x1b[200~another");
    alice.shows_row(|row| row == "> another");
    thread::sleep(Duration::from_millis(500));
    alice.types("\x03");
    alice.ends_with(130);
    alice.is_usable();
}

#[test]
fn what_came_together_with_esc_is_not_said() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let bob = world.enters("bob");
    let eve = world.enters("eve");
    alice.types("\x1b/pm eve secret\r");
    eve.sees("[Private]");
    eve.sees("alice: secret");
    alice.types("that was it\r");
    bob.sees("alice: that was it");
    assert_eq!(bob.seen("secret"), 0);
}

/// Waits until the client has asked about a text and the text can be edited again. Between two
/// lines the terminal itself edits the typed text.
#[track_caller]
fn is_asked_about(world: &World, alice: &Terminal) {
    alice.shows("Enter sends it here as a text");
    world.until("the text can be edited", || {
        let (_, column, row) = alice.cursor();
        column > 0 && !row.contains("=!=")
    });
}

#[test]
fn a_command_with_a_secret_behind_blanks_or_a_slip_is_asked_about() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let mut bob = world.enters("bob");
    let lines = [
        "   /join #tea 4711",
        "//join #tea 4711",
        "\u{ff0f}pm bob 4711",
        ".join #tea 4711",
        " /join#tea 4711",
        "\\jion #tea 4711",
    ];
    for line in lines {
        alice.types(&format!("{line}\r"));
        is_asked_about(&world, &alice);
        alice.shows_row(|row| row.trim_end() == format!("> {line}").trim_end());
        alice.types("\x15/clear\r");
        alice.shows_all(|rows| rows.concat().trim() == ">");
    }
    alice.types("that was it\r");
    bob.sees("alice: that was it");
    assert_eq!(bob.seen("4711"), 0);
    // Asked and confirmed.
    alice.types("  /join #tea 4712\r");
    alice.shows("Enter sends it here as a text");
    alice.types("\r");
    bob.sees("alice:   /join #tea 4712");
    // Nobody can be asked through a pipe.
    bob.types(" /join #tea 4713");
    bob.types(" /join #tea 4713");
    bob.sees("looks like /join");
    bob.types("that was all");
    alice.shows("bob: that was all");
    assert!(!alice.screen().contains("4713"));
}

#[test]
fn a_pin_in_the_row_after_its_command_is_asked_about() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    let mut bob = world.enters("bob");
    bob.types("/join #tea");
    bob.sees("#tea");
    alice.types("4709\r");
    bob.sees("alice: 4709");
    // The rows of a paste, marked as one or not.
    for (paste, joins) in
        [("/join #tea\r4711\r", true), ("\x1b[200~/join #tea\r4711\x1b[201~\r", false)]
    {
        alice.types(paste);
        is_asked_about(&world, &alice);
        // Ctrl-U empties one row of the line.
        alice.types("\x15\x7f\x15");
        if joins {
            alice.shows("you are in #tea");
            alice.types("/query #lobby\r");
            alice.shows("typed text now goes to #lobby");
        }
        alice.types("/clear\r");
        alice.shows_all(|rows| rows.concat().trim() == ">");
    }
    alice.types("/query #tea\r4712\r");
    bob.sees("alice: 4712");
    assert_eq!(bob.seen("4711"), 0, "{:?}", bob.shown());
    bob.types("/join #tea");
    bob.types("4713");
    bob.sees("looks like /join");
    bob.types("that was all");
    alice.shows("bob: that was all");
    assert!(!alice.screen().contains("4713"));
}

#[test]
fn whoever_waits_is_told_once() {
    let world = World::new();
    let mut client = client(&world, "bob");
    let mut bob = Terminal::run(client.env("USER", "bob"));
    bob.shows("A passphrase (Enter for none):");
    bob.types("\r");
    bob.shows("waiting to be admitted");
    for _ in 0..3 {
        world.server.forgets("not admitted: bob");
    }
    assert_eq!(bob.screen().matches("waiting to be admitted").count(), 1, "{}", bob.screen());
    assert_eq!(bob.screen().matches("connecting").count(), 1, "{}", bob.screen());
    assert!(bob.screen().contains("pychat-key1.bob."));
}

#[test]
fn a_dumb_terminal_gets_lines_and_nothing_else() {
    let world = World::new();
    world.admit("alice");
    for (args, text) in [(&["--plain"][..], "good morning"), (&[], "good evening")] {
        let mut command = world.program("alice");
        command.args(["client", &world.invite, "--name", "alice"]).args(args);
        let mut alice = Terminal::run(command.env("TERM", "dumb"));
        alice.shows("you are in #lobby");
        alice.types(&format!("{text}\r/clear\r/exit\r"));
        alice.ends_with(0);
        assert_eq!(alice.screen().matches(text).count(), 1, "{}", alice.screen());
        assert!(!alice.bytes().contains('\u{1b}'), "{:?}", alice.bytes());
    }
}

#[test]
fn ctrl_c_ends_with_130_and_a_usable_terminal() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    alice.types("half typed");
    alice.shows_row(|row| row == "> half typed");
    alice.types("\x03");
    alice.ends_with(130);
    alice.is_usable();
}

#[test]
fn whoever_is_kicked_in_the_middle_of_a_line_has_a_usable_terminal() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    alice.types("half typed");
    alice.shows("> half typed");
    world.operator(&["ctl", "kick", "alice", "noise"]);
    alice.ends_with(5);
    assert!(alice.screen().contains("the operator ended your session: noise"));
    alice.is_usable();
}

#[test]
fn the_first_contact_asks_on_a_terminal() {
    let world = World::new();
    let mut command = world.program("bob");
    command.args(["client", "--plain"]).env("USER", "bob");
    let mut bob = Terminal::run(&command);
    bob.shows("Which server? The operator's invite, for example pychat://192.168.1.20:5000/");
    bob.types(&format!("{}\r", world.invite));
    bob.shows("Your name [bob]: ");
    bob.types("no name\r");
    bob.shows("names contain only letters");
    bob.types("\r");
    bob.shows("A passphrase (Enter for none):");
    bob.types("\r");
    bob.shows("pychat-key1.bob.");
    bob.shows("waiting to be admitted");
    let key = world.program("bob").args(["key", "show"]).output().unwrap().stdout;
    let key = String::from_utf8(key).unwrap();
    let (ok, told) = world.operator(&["users", "add", &key, "--yes"]);
    assert!(ok, "{told}");
    bob.shows("you are in #lobby");
}

#[test]
fn nothing_is_asked_on_a_pipe() {
    let world = World::new();
    let run = |args: &[&str]| {
        let mut command = world.program("bob");
        command.args(args).env("USER", "bob").env_remove("PYCHAT_NAME").stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = run(&["client"]);
    assert_eq!(code, Some(2));
    assert!(told.starts_with("error: no server is known yet\nhint:  "), "{told}");
    let (code, told) = run(&["client", &world.invite]);
    assert_eq!(code, Some(2));
    assert!(told.contains("error: the name is missing") && told.contains("--name"), "{told}");
    let (code, told) = run(&["key", "passphrase"]);
    assert_eq!(code, Some(3));
    assert!(told.contains("there is no key yet"), "{told}");
}

#[test]
fn a_passphrase_locks_the_key_that_waits_too_and_the_next_one() {
    let world = World::new();
    world.admit("alice");
    let run = |args: &[&str], words: &[(&str, &str)]| {
        let mut command = world.program("alice");
        command.args(args);
        let mut terminal = Terminal::run(&command);
        for (prompt, word) in words {
            terminal.shows(prompt);
            terminal.hides();
            terminal.types(word);
        }
        terminal.ends_with(0);
    };
    let locked = |file: &str| world.found_in("alice", file);
    let new = [("new passphrase", "tall tree\r"), ("once more", "tall tree\r")];
    run(&["key", "rotate", "--name", "alice"], &[]);
    assert_eq!(locked("BEGIN ENCRYPTED PRIVATE KEY"), 0);
    run(&["key", "passphrase"], &new);
    assert_eq!((locked("BEGIN ENCRYPTED PRIVATE KEY"), locked("BEGIN PRIVATE KEY")), (2, 0));
    for file in ["id.next.pem", "id.next.pub.pem"] {
        std::fs::remove_file(world.data_folder("alice").join(file)).unwrap();
    }
    run(&["key", "rotate", "--name", "alice"], &[("passphrase: ", "tall tree\r")]);
    assert_eq!((locked("BEGIN ENCRYPTED PRIVATE KEY"), locked("BEGIN PRIVATE KEY")), (2, 0));
    // One passphrase opens both.
    let mut alice = Terminal::run(&client(&world, "alice"));
    alice.shows("passphrase of your key");
    alice.hides();
    alice.types("tall tree\r");
    alice.shows("you are in #lobby");
}

#[test]
fn a_passphrase_is_asked_without_an_echo() {
    let world = World::new();
    world.admit("alice");
    let mut command = world.program("alice");
    command.args(["key", "passphrase"]);
    let mut lock = Terminal::run(&command);
    lock.shows("new passphrase");
    lock.hides();
    lock.types("tall tree\r");
    lock.shows("once more");
    lock.hides();
    lock.types("tall tree\r");
    lock.ends_with(0);
    lock.is_usable();
    assert!(!lock.bytes().contains("tall"));

    let mut alice = Terminal::run(&client(&world, "alice"));
    alice.shows("passphrase of your key");
    alice.hides();
    alice.types("tall tree\r");
    alice.shows("you are in #lobby");
    assert!(!alice.bytes().contains("tall"));

    let mut wrong = Terminal::run(&client(&world, "alice"));
    wrong.shows("passphrase of your key");
    wrong.hides();
    wrong.types("small tree\r");
    wrong.ends_with(3);
    wrong.shows("the passphrase does not open the key");
    wrong.is_usable();

    let mut nobody = client(&world, "alice");
    let output = nobody.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(told.contains("locked with a passphrase\nhint:  "), "{told}");
}

#[test]
fn text_from_others_never_acts_on_the_terminal() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    world.admit("mallory");
    let mut mallory = world.client("mallory", &["--json"]);
    mallory.sees("hello");
    alice.types("untouched");
    alice.shows_row(|row| row == "> untouched");
    let hostile = r"\u001b[2J\u001b[H\u001b]0;owned\u0007\u001b]8;;http://x\u0007link\u001b]8;;\u0007\u001b]52;c;b3duZWQ=\u0007\u009b2J\u009d0;owned\u009c\rover\u0008\u202egnp\u200f";
    mallory.types(&format!(r##"{{"type":"say","to":"#lobby","text":"{hostile} said"}}"##));
    alice.shows_row(|row| row.contains("mallory: [2J[H]0;owned]8;;http://x"));
    mallory.types(&format!(r##"{{"type":"topic","channel":"#lobby","text":"{hostile} set"}}"##));
    // No row begins with text of another user.
    alice.shows("server| mallory set the topic of #lobby: ");
    alice.shows("server| [2J");
    mallory.types(&format!(r##"{{"type":"away","text":"{hostile} gone"}}"##));
    mallory.types(r##"{"type":"say","to":"#lobby","text":"all of it"}"##);
    alice.shows("mallory: all of it");
    alice.types("\x15/whois mallory\r");
    alice.shows("away ([2J");
    alice.types("untouched");
    alice.shows_row(|row| row == "> untouched");
    alice.shows("you are in #lobby");
    alice.rests(11, "> untouched");
    assert_eq!(alice.acts(), Vec::<String>::new());
    let bytes = alice.bytes();
    for act in ["\u{1b}]", "\u{7}", "\u{9b}", "\u{9d}", "\u{202e}", "\u{200f}", "\u{8}"] {
        assert!(!bytes.contains(act), "{act:?} reached the terminal");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let world = World::new();
    let mut bob = world.enters("bob");
    world.admit("alice");
    let sees = |env: &[(&str, &str)], args: &[&str]| {
        let mut command = client(&world, "alice");
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("CLICOLOR");
        command.envs(env.iter().copied()).args(args);
        Terminal::run(&command)
    };
    let plain = sees(&[("NO_COLOR", "1")], &[]);
    let forced = sees(&[("NO_COLOR", "1")], &["--color", "always"]);
    let colour = sees(&[], &[]);
    for terminal in [&plain, &forced, &colour] {
        terminal.shows("you are in #lobby");
    }
    bob.types("which colour am I");
    for (terminal, coloured) in [(&plain, false), (&forced, true), (&colour, true)] {
        terminal.shows("bob: which colour am I");
        assert_eq!(terminal.bytes().contains("\u{1b}[38;5;"), coloured, "{}", terminal.screen());
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_client() {
    let world = World::new();
    let alice = sits_down(&world, "alice");
    let bob = world.enters("bob");
    drop(alice);
    bob.sees("<-- alice left");
    world.server.signal(Signal::TERM);
}

#[test]
fn a_pin_that_was_typed_is_not_among_the_lines_of_before() {
    let world = World::new();
    let mut alice = sits_down(&world, "alice");
    alice.types("the first words\r");
    alice.shows_row(|row| row == "> the first words");
    alice.types("/join tea 4711\r");
    alice.shows("only those who know the PIN");
    alice.types("\x1b[A");
    alice.rests(17, "> the first words");
    // Nor is it behind a slip, which is there to be mended instead.
    alice.types("\x15/jion work 4712\r");
    alice.shows("did you mean /join?");
    alice.rests(17, "> /jion work 4712");
    alice.types("\x15\x1b[A");
    alice.rests(17, "> the first words");
    alice.types("\x15/exit\r");
    alice.ends_with(0);
}

#[test]
fn plain_lines_mark_mentions_ring_the_bell_and_suspend() {
    let world = World::new();
    world.admit("alice");
    let alice_runs = client(&world, "alice");
    let mut alice = Terminal::run_with_fg(&alice_runs);
    alice.shows("you are in #lobby");
    alice.shows("you are in, alice: this is #lobby, where everybody is. nobody else is here yet");
    let mut bob = world.enters("bob");
    bob.types("don't tell Alicia");
    alice.shows_row(|row| row.ends_with("] bob: don't tell Alicia"));
    assert_eq!(alice.bytes().matches('\u{7}').count(), 0);
    bob.types("tea, Alice?");
    alice.shows_row(|row| row.ends_with("] ! bob: tea, Alice?"));
    world.until("it rings", || alice.bytes().matches('\u{7}').count() == 1);
    // It rings at most once a second.
    thread::sleep(Duration::from_millis(1_100));
    bob.types("/pm alice psst");
    alice.shows_row(|row| row.starts_with("[Private]") && row.ends_with("bob: psst"));
    world.until("it rings again", || alice.bytes().matches('\u{7}').count() == 2);
    alice.types("half");
    alice.shows_row(|row| row == "> half");
    alice.types("\x1a");
    alice.shows("[stopped ");
    alice.is_given_back();
    alice.types("a shell's line\r");
    alice.shows_row(|row| row == "> half");
    alice.types(" a thought\r");
    bob.sees("alice: half a thought");
    alice.types("/exit\r");
    alice.ends_with(0);
    alice.is_usable();
}

#[test]
fn the_first_contact_in_plain_lines_offers_a_passphrase() {
    let world = World::new();
    let mut command = world.program("bob");
    command.args(["client", "--plain"]).env("USER", "bob");
    let mut bob = Terminal::run(&command);
    bob.shows("for example pychat://192.168.1.20:5000/");
    bob.types(&format!("\"{}\"\r", world.invite));
    bob.shows("Your name [bob]:");
    bob.types("\r");
    for prompt in ["A passphrase (Enter for none):", "once more:"] {
        bob.shows(prompt);
        bob.hides();
        bob.types("tall tree\r");
    }
    bob.shows("(the line is also in ");
    let file = world.data_folder("bob").join("key-line.txt");
    let (ok, told) = world.operator(&["users", "add", file.to_str().unwrap(), "--yes"]);
    assert!(ok, "{told}");
    bob.shows("you are in, bob: this is #lobby");
    assert!(!bob.bytes().contains("tree"), "the passphrase was shown");
    bob.types("/exit\r");
    bob.ends_with(0);
    let mut again = Terminal::run(&command);
    again.shows("passphrase of your key:");
    again.hides();
    again.types("tall tree\r");
    again.shows("you are in #lobby");
}
