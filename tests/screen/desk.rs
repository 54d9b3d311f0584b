//! Addresses, files of conversations, and small terminals.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A program in place of a browser, and the file to which it writes its arguments, one a line.
fn browser(world: &World, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (program, noted) = (world.home().join(name), world.home().join(format!("{name}.args")));
    let script =
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {0}.new && mv {0}.new {0}\n", noted.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    (program, noted)
}

#[test]
fn an_address_is_opened_by_the_browser_after_a_question() {
    let world = World::new();
    let (program, noted) = browser(&world, "browser");
    world.admit("alice");
    let mut command = world.screen_of("alice");
    command.env("BROWSER", &program);
    let mut alice = Terminal::run(&command);
    alice.shows("* connected");
    let mut bob = world.enters("bob");
    alice.types("/open\r");
    alice.shows("no message shown in #lobby has such an address");
    bob.types("first https://a.example/$(touch${IFS}x);y and javascript:alert(1)");
    bob.types("then mailto:carol@c.example");
    alice.shows("then mailto:carol@c.example");
    alice.types("/open -2\r");
    alice.shows("repeat this /open to run: /");
    assert!(!noted.exists(), "it asks first");
    alice.types("/open -2\r");
    alice.shows("started: /");
    let args = || fs::read_to_string(&noted).ok();
    world.until("the browser has run", || args().is_some());
    assert_eq!(args().unwrap(), "https://a.example/$(touch$\n");
    fs::remove_file(&noted).unwrap();
    // A newer address needs another confirmation.
    alice.types("/open\r");
    alice.shows("repeat this /open to run");
    bob.types("https://b.example/");
    alice.shows("bob: https://b.example/");
    alice.types("/open\r/open\r");
    world.until("the browser has run", || args().is_some());
    assert_eq!(args().unwrap(), "https://b.example/\n");
    // Programs open nothing.
    let mut json = world.client("bob", &["--json"]);
    json.sees("\"state\":\"connected\"");
    json.types(r#"{"type":"slash","line":"/open"}"#);
    json.sees("a program cannot use /open for addresses: it has to open them itself");
    json.types(r#"{"type":"slash","line":"/log /tmp/x"}"#);
    json.sees("a program cannot use /log: it has to write files itself");
}

#[test]
fn a_message_at_the_exit_is_sent_to_the_conversation() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let mut bob = world.enters("bob");
    bob.types("/quit good night");
    alice.shows("* bob leaves: good night");
    assert_eq!(bob.ends().code(), Some(0));
    alice.types("/create tea\r");
    alice.shows_row(|row| row.starts_with("#tea "));
    alice.types("/exit sealed too\r");
    alice.ends_with(0);
    let mut alice = Terminal::run(&world.screen_of("alice"));
    alice.shows_row(|row| row.starts_with("2 #tea"));
    alice.types("\x1b2");
    alice.shows("leaves: sealed too");
    assert_eq!(world.found_in("home", "sealed too"), 0);
}

#[test]
fn a_conversation_is_written_to_a_private_file() {
    let world = World::new();
    let mut alice = world.sits_down("alice");
    let mut bob = world.enters("bob");
    bob.types("before the log");
    alice.shows("bob: before the log");
    let file = world.home().join("lobby.log");
    let text = || fs::read_to_string(&file).unwrap_or_default();
    alice.types("/log\r");
    alice.shows("#lobby is not written to a file");
    alice.types(&format!("/log {}\r", file.display()));
    let heads = || text().matches("-- #lobby, from ").count();
    world.until("the log is opened", || heads() == 1);
    bob.types("tea\u{1b}[31m at five");
    bob.types("/pm alice not for the log");
    alice.types("fine\r");
    world.until("the log has it", || text().contains("alice: fine"));
    world.until("the log has the first message", || text().contains("at five"));
    let logged = text();
    assert!(logged.starts_with("-- #lobby, from "), "{logged}");
    assert!(!logged.contains('\u{1b}') && logged.contains("bob: tea"), "{logged}");
    assert!(!logged.contains("before the log") && !logged.contains("not for the log"), "{logged}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Older messages that are loaded are not new.
    alice.types("/history 5\r");
    alice.shows("bob: before the log");
    alice.types("/log off\r");
    alice.shows("#lobby is no longer written to");
    bob.types("after the log");
    alice.shows("bob: after the log");
    // A second log is appended to the file.
    alice.types(&format!("/log {}\r", file.display()));
    world.until("the log is opened again", || heads() == 2);
    bob.types("the second part");
    world.until("the log continues", || text().contains("the second part"));
    let logged = text();
    assert!(logged.starts_with("-- #lobby, from ") && logged.matches("at five").count() == 1);
    assert!(!logged.contains("after the log"), "{logged}");
    // For a sealed conversation the client warns that the file is not encrypted. A file that others
    // can access is refused.
    alice.types("/query bob\r/log ~/open.log\r");
    alice.shows("encrypted");
    let public = world.home().join("public.log");
    fs::write(&public, "").unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o644)).unwrap();
    alice.types(&format!("/log {}\r", public.display()));
    alice.shows("chmod");
    assert_eq!(fs::read_to_string(&public).unwrap(), "");
}

#[test]
fn pasted_rows_are_recognized_by_their_speed_where_the_terminal_marks_none() {
    let world = World::new();
    world.admit("alice");
    let mut command = world.screen_of("alice");
    command.env("TERM", "linux");
    let mut alice = Terminal::run(&command);
    alice.shows("* connected");
    let bob = world.enters("bob");
    alice.types("the first row\rthe second row\rthe third");
    alice.shows("3 lines were pasted.");
    alice.types("\r");
    bob.sees("the second row");
    bob.sees("alice: the first row");
    // A row that is typed fast, and Enter.
    alice.types("typed as fast as a script does it\r");
    bob.sees("alice: typed as fast as a script does it");
}

/// The code that a new user reads to the operator is on every screen.
#[test]
fn the_smallest_terminals_show_the_code_of_a_new_key() {
    let world = World::new();
    for (columns, rows, name) in [(42, 18, "bob"), (12, 4, "carol")] {
        let mut command = world.program(name);
        command.args(["client", &world.invite]).env("USER", name);
        let mut terminal = Terminal::run(&command);
        terminal.resize(columns, rows);
        terminal.shows(name);
        terminal.types("\r");
        terminal.shows("assphrase");
        terminal.types("\r");
        let waits = || world.operator(&["users", "waiting"]).1;
        world.until("the key waits", || waits().contains(name));
        let waiting = waits();
        let row = waiting.lines().find(|row| row.starts_with(name)).unwrap();
        let code = row.split_whitespace().nth(1).unwrap().to_owned();
        terminal.shows_all(|rows| rows.concat().replace(' ', "").contains(&code));
    }
}
