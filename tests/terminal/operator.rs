//! An operator's terminal: the first start, the console and its end.

use super::*;

/// A server on a terminal, in a home of its own.
fn serves(folder: &tempfile::TempDir, args: &[&str]) -> Terminal {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pychat"));
    command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path().join("data"));
    command.env("NO_COLOR", "1").env_remove("PYCHAT_HOME").env_remove("PYCHAT_LISTEN");
    command.args(["server", "--listen", "127.0.0.1:0", "--no-owner", "--home"]);
    command.arg(folder.path().join("home")).args(args);
    Terminal::run(&command)
}

fn config(folder: &tempfile::TempDir) -> String {
    fs::read_to_string(folder.path().join("home/config.json")).unwrap()
}

#[test]
fn a_first_server_asks_who_should_reach_it() {
    let ask = |answer: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut server = serves(&folder, &[]);
        server.shows("3) the internet");
        server.types("7\r");
        server.shows("1, 2 or 3");
        server.types(answer);
        server.shows("ready addr=127.0.0.1:");
        config(&folder)
    };
    assert!(ask("\r").contains("127.0.0.1"));
    assert!(ask("2\r").contains("0.0.0.0"));
    assert!(ask("internet\r").contains("0.0.0.0"));
}

#[test]
fn a_mode_answers_and_a_pipe_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = serves(&folder, &["--mode", "lan"]);
    server.shows("ready addr=");
    assert!(!server.screen().contains("Who can reach"));
    assert!(config(&folder).contains("0.0.0.0"));
    drop(server);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_pychat"));
    server.args(["server", "--no-owner", "--listen", "127.0.0.1:0", "--home"]);
    server.arg(folder.path()).env("HOME", folder.path());
    server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut ready = String::new();
    let mut out = std::io::BufReader::new(server.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut ready).unwrap();
    assert!(ready.starts_with("ready addr=127.0.0.1:"), "{ready}");
    server.kill().unwrap();
    let told = String::from_utf8(server.wait_with_output().unwrap().stderr).unwrap();
    assert!(!told.contains("Who can reach"), "{told}");
}

#[test]
fn the_log_does_not_tear_what_the_operator_types() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = serves(&folder, &["--mode", "localhost"]);
    server.shows("ready addr=");
    server.types("/chan");
    server.shows_row(|row| row == "> /chan");
    for number in 0..3 {
        let name = format!("home/users/half{number}.pem");
        fs::write(folder.path().join(&name), "half a key").unwrap();
        server.shows_row(|row| row.contains(" warn ") && row.contains(&name));
    }
    assert_eq!(server.screen().matches("half0.pem is ignored").count(), 1, "it is told once");
    server.rests(7, "> /chan");
    server.shows_row(|row| row == "> /chan");
    server.types("nels\r");
    server.shows_row(|row| row == "#lobby  0 members");
    server.types("\x1b[A\r");
    // One after the other: all of them together are longer than the screen.
    for (command, answer) in [
        ("/stats", "uptime_ms"),
        ("/users", "nobody is registered"),
        ("/kick", "whom? kick"),
        ("/say hello", "said"),
        ("/help", "stop the server"),
        ("/exot", "/exit?"),
    ] {
        server.types(&format!("{command}\r"));
        server.shows(answer);
    }
    server.types("half typed");
    server.shows_row(|row| row == "> half typed");
    server.types("\x15/shutdown\r");
    server.ends_with(0);
    server.is_usable();
}

#[test]
fn a_server_that_is_stopped_leaves_the_operators_terminal_usable() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = serves(&folder, &["--mode", "localhost"]);
    server.shows("ready addr=");
    server.types("half typed");
    server.shows("> half typed");
    let mut ctl = Command::new(env!("CARGO_BIN_EXE_pychat"));
    ctl.args(["ctl", "shutdown", "--home"]).arg(folder.path().join("home"));
    assert!(ctl.output().unwrap().status.success());
    server.ends_with(0);
    server.shows(" info stopped");
    server.is_usable();

    let mut server = serves(&folder, &[]);
    server.shows("ready addr=");
    server.types("\x03");
    server.ends_with(0);
    server.is_usable();
}

#[test]
fn a_console_that_is_left_lets_the_server_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = serves(&folder, &["--mode", "localhost"]);
    server.shows("ready addr=");
    server.types("/exit\r");
    server.shows("the server goes on");
    fs::write(folder.path().join("home/users/half.pem"), "half a key").unwrap();
    server.shows("half.pem is ignored");
    server.types("\x03");
    server.ends_with(0);
    server.is_usable();
}

#[test]
fn a_terminal_that_goes_away_stops_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let mut server = serves(&folder, &["--mode", "localhost", "--log", "info"]);
    server.shows("ready addr=");
    // A hangup alone reloads.
    server.signal(Signal::HUP);
    server.shows("were read again");
    server.types("/status\r");
    server.shows("> ");
    drop(server);
    let stopped = || {
        let audit = fs::read_to_string(home.join("data/audit.jsonl")).unwrap();
        audit.lines().last().is_some_and(|line| line.contains(r#""stop""#))
    };
    let deadline = Instant::now() + world::DEADLINE;
    while !stopped() {
        assert!(Instant::now() < deadline, "the server goes on without a terminal");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn users_add_asks_for_the_key_line_and_understands_a_broken_paste() {
    let world = World::new();
    assert!(world.program("bob").arg("keygen").output().unwrap().status.success());
    let key = world.program("bob").args(["key", "show", "--name", "bob"]).output().unwrap().stdout;
    let key = String::from_utf8(key).unwrap();
    let key = key.trim();
    let mut command = world.program("operator");
    command.args(["users", "add", "--home"]).arg(world.home());
    let mut operator = Terminal::run(&command);
    operator.shows("Paste the key line, then an empty line:");
    let (half, rest) = key.split_at(300);
    operator.types(&format!("> {half}\r> {rest}\r\r"));
    operator.shows("Did bob read you exactly this? [y/N]");
    operator.types("y\r");
    operator.shows("bob is registered");
    operator.ends_with(0);
    // The shell has broken the paste.
    let (ok, told) = world.operator(&["users", "add", half, "--yes"]);
    assert!(!ok && told.contains("the line is incomplete: 300 of"), "{told}");
    assert!(told.contains("run pychat users add alone, and paste when it asks"), "{told}");
    let mut command = world.program("operator");
    command.args(["users", "add", "--home"]).arg(world.home());
    let mut operator = Terminal::run(&command);
    operator.shows("Paste the key line");
    operator.types("nothing\r\r");
    operator.shows("a key line begins with pychat-key1.");
    operator.ends_with(3);
}

/// Rows that are pasted with the key line are no answer to the question about it.
#[test]
fn a_paste_does_not_answer_for_the_operator() {
    let world = World::new();
    assert!(world.program("bob").arg("keygen").output().unwrap().status.success());
    let key = world.program("bob").args(["key", "show", "--name", "bob"]).output().unwrap().stdout;
    let key = String::from_utf8(key).unwrap();
    let key = key.trim();
    for pasted in [format!("{key}\ry\r\r"), format!("{key}\r\ry\r")] {
        let mut command = world.program("operator");
        command.args(["users", "add", "--home"]).arg(world.home());
        let mut operator = Terminal::run(&command);
        operator.shows("Paste the key line, then an empty line:");
        operator.types(&pasted);
        operator.shows("Did bob read you exactly this? [y/N]");
        operator.types("n\r");
        operator.shows("bob was not registered");
        operator.ends_with(1);
        assert!(!world.home().join("users/bob.pem").exists());
    }
}
