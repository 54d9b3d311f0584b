//! A command line that is wrong is answered in two lines, what and what to do, and with 2; nothing
//! that might be a password is repeated.

mod world;

use std::process::{Command, Stdio};

use world::World;

/// Exit code and stderr.
fn ended(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn run(line: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pychat"));
    ended(command.args(line.split(' ')).env("PYCHAT_HOME", "/nowhere").env("HOME", "/nowhere"))
}

#[track_caller]
fn are_two_lines(told: &str) {
    let lines: Vec<_> = told.lines().collect();
    let [what, next] = lines[..] else { panic!("{told}") };
    assert!(what.starts_with("error: ") && next.starts_with("hint:  "), "{told}");
}

#[test]
fn what_is_wrong_is_said_in_two_lines() {
    let time = "a time span is written 45s, 10m, 2h, 7d, 3w, 6mo, 1y or 1d12h: nothing was done\nhint:  \
        pychat ctl --help";
    for (line, wanted) in [
        ("ctl ban bob -1d", format!("error: -1d: {time}").as_str()),
        ("ctl mute bob -.5h loud", &format!("error: -.5h: {time}")),
        ("ctl ban bob --1d --json", &format!("error: --1d: {time}")),
        ("ctl say -x", "error: there is no option -x\nhint:  pychat ctl --help"),
        ("ctl", "error: <WORDS>... is missing\nhint:  pychat ctl --help"),
        ("ctl stats --now --dry-run", "error: --now cannot be combined with --dry-run\n"),
        ("ctl stats --json --json", "error: --json is given twice\n"),
        ("users role bob admin", "error: <ROLE>: a role is owner, moderator or member\n"),
        ("users remove a/b", "error: <NAME>: names contain only letters"),
        (
            "users show",
            "error: <NAME> is missing\nhint:  pychat users show [OPTIONS] <NAME>  (--help",
        ),
        ("users lst", "error: there is no command lst\nhint:  did you mean list?"),
        (
            "server --mode wan",
            "error: --mode <MODE> is one of localhost, lan, internet\nhint:  did",
        ),
        ("server --listen", "error: --listen <IP:PORT>: a value is missing\n"),
        ("server --log loud", "error: --log <LEVEL>: a level is error, warn, info or debug\n"),
        ("server --log off", "error: --log <LEVEL>: a level is error, warn, info or debug\n"),
        (
            "backup one two",
            "error: there is an argument too many\nhint:  pychat backup [OPTIONS] <FILE>",
        ),
        ("backup -1", "error: there is no option -1\n"),
        (
            "client --get abc --from bob",
            "error: --get <N>: the number of a message has digits only\nhint:  pychat client",
        ),
        (
            "client --tail abc",
            "error: --tail <N>: the count of messages is a whole number, such as 20\nhint:",
        ),
        (
            "client --tail 99999999999999999999",
            "error: --tail <N>: the count of messages is a whole",
        ),
        ("bogus\u{1b}[31m", "error: there is no command bogus[31m\n"),
    ] {
        let (code, told) = run(line);
        assert_eq!(code, 2, "{line}: {told}");
        are_two_lines(&told);
        assert!(told.contains(wanted), "{line}: {told}");
    }
}

#[test]
fn a_home_or_a_file_that_is_not_there_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let home = format!("error: there is no server in {at} yet\nhint:  ");
    let file = format!("error: there is no file {at}/none\nhint:  name a file that pychat backup");
    for (line, wanted) in [
        ("audit verify", home.as_str()),
        ("server-key rotate", &home),
        ("invite", &home),
        ("backup /nowhere/copy", "yet\nhint:  this may be no server home"),
        (&format!("restore {at}/none"), &file),
        (&format!("verify {at}/none"), &file),
    ] {
        let (code, told) = run(&format!("{line} --home {at}"));
        assert_eq!(code, 3, "{line}: {told}");
        are_two_lines(&told);
        assert!(told.contains(wanted), "{line}: {told}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{line} has made something");
    }
}

#[test]
fn a_password_in_a_wrong_conversation_is_not_repeated() {
    for line in [
        "users passwd bob hunter2",
        "users passwd bob --remove=hunter2",
        "users passwd bob --password=hunter2",
        "users passwd bob --remove hunter2",
        "key passphrase hunter2",
        "keygen hunter2",
    ] {
        let (code, told) = run(line);
        assert_eq!(code, 2, "{line}: {told}");
        are_two_lines(&told);
        assert!(!told.contains("hunter2"), "{line}: {told}");
    }
}

#[test]
fn what_the_running_server_does_not_understand_is_said_alike() {
    let world = World::new();
    let says = |words: &str| {
        let mut ctl = world.program("operator");
        ended(ctl.arg("ctl").args(words.split(' ')).arg("--home").arg(world.home()))
    };
    for (words, wanted) in [
        ("kick", "whom? kick WHOM [REASON]"),
        ("kick 192.0.2.7/24", "192.0.2.7/24 "),
        ("ban bob", "nobody is registered as bob"),
        ("ban bob 0d", "0d: a time span is written 45s"),
        ("ban bob +1d", "+1d: a time span is written 45s"),
        ("mute bob 1.5h", "1.5h: a time span is written 45s"),
        ("mute bob 101y", "101y: a time span is written 45s"),
        ("shutdown 10x", "a delay is written 10s, 5m or 1h"),
        (
            "retention tomorrow",
            "retention, retention dry-run, retention now or retention trust-clock",
        ),
        ("erase a/b", "names contain only letters"),
        ("say", "say what? say TEXT"),
        ("op SHA256:x", "SHA256:x "),
        ("chanels", "there is no /chanels: did you mean /channels?"),
    ] {
        let (code, told) = says(words);
        assert!(told.starts_with(&format!("error: {wanted}")), "{words}: {told}");
        are_two_lines(&told);
        // Who is not registered was asked for in the right way.
        let wanted = if words == "ban bob" { 1 } else { 2 };
        assert_eq!(code, wanted, "{words}: {told}");
        assert_eq!(told.contains("hint:  pychat ctl users shows who"), wanted == 1, "{told}");
    }
    let mut ctl = world.program("operator");
    let output = ctl.args(["ctl", "kick", "--json", "--home"]).arg(world.home()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let reply: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&reply["ok"], &reply["misused"]), (&false.into(), &true.into()));
    // What begins with a - and is meant is said behind --.
    let mut ctl = world.program("operator");
    let said = ctl.arg("ctl").arg("--home").arg(world.home()).args(["--", "say", "-5 today"]);
    assert!(said.output().unwrap().status.success());
}
