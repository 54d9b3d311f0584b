//! What the program writes: its manual page, its package, and outputs that nobody reads.

use super::*;

/// Where nobody reads any more.
fn closed() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn a_reader_that_has_seen_enough_is_told_by_the_code_alone() {
    let world = World::new();
    world.admit("alice");
    let home = world.home();
    let jobs = [
        "ctl stats",
        "ctl users --json",
        "users list",
        "users list --json",
        "users show alice",
        "users role alice moderator --json",
        "invite",
        "check",
        "verify",
        "audit verify",
        "install-service",
        "key show --name alice",
        "key show --pem",
        "completions bash",
        "man",
        "--help",
    ];
    for job in jobs {
        let run = |out: Stdio, err: Stdio| {
            let mut command = world.program("alice");
            command.env("PYCHAT_HOME", &home).args(job.split(' ')).stdin(Stdio::null());
            command.stdout(out).stderr(err).output().unwrap()
        };
        let ended = run(closed().into(), Stdio::piped());
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{job}: {ended:?} {told}");
        assert!(!told.contains("error") && !told.contains("panicked"), "{job}: {told}");
        let ended = run(closed().into(), closed().into());
        assert_eq!(ended.status.code(), Some(1), "{job} on nothing");
        // A full disk is an error with a text.
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = run(full.into(), Stdio::piped());
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{job} on a full disk: {told}");
        assert!(told.contains("error: stdout: No space left"), "{job}: {told}");
        assert!(told.contains("hint:  what the command does is done"), "{job}: {told}");
    }
    // What fails says so by its code, where its words are not read.
    let mut command = world.program("alice");
    let home = home.join("nowhere");
    command.args(["ctl", "stats", "--home"]).arg(home).stdout(closed()).stderr(closed());
    assert_eq!(command.status().unwrap().code(), Some(4));
}

/// The commands below these words, as `--help` lists them; each that does something by itself.
fn commands(world: &World, words: &[String], found: &mut Vec<String>) {
    let help = world.program("alice").args(words).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let listed = listed.lines().take_while(|line| line.starts_with("  "));
    // What is further in goes on with the line before it.
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<_> = names.filter(|name| !["", "help"].contains(name)).collect();
    if names.is_empty() {
        return found.push(words.join(" "));
    }
    names.iter().for_each(|name| commands(world, &[words, &[(*name).to_owned()]].concat(), found));
}

#[test]
fn the_manual_page_has_every_command() {
    let world = World::new();
    let page = world.program("alice").arg("man").output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap().replace('\\', "");
    let section = |command: &str| {
        let heading = format!(".SH \"PYCHAT {}\"\n", command.to_uppercase());
        let after = page.split(&heading).nth(1).unwrap_or_else(|| panic!("{heading} in {page}"));
        after.split("\n.SH ").next().unwrap()
    };
    let mut found = Vec::new();
    commands(&world, &[], &mut found);
    assert!(found.len() > 20 && found.contains(&"users passwd".to_owned()), "{found:?}");
    for command in &found {
        assert!(section(command).contains("\n.SS SYNOPSIS\n"), "{command}");
    }
    for (command, option) in [
        ("client", "--join-file"),
        ("server", "--listen"),
        ("users add", "--replace"),
        ("ctl", "--now"),
        ("ctl", "--dry-run"),
        ("ctl", "mute WHOM [TIME] [REASON]  refuse messages of a person, a key or an address"),
        ("key show", "--pem"),
        ("audit verify", "--json"),
        ("install-service", "--write"),
        ("man", "--help"),
    ] {
        assert!(section(command).contains(option), "{command}");
    }
    assert_eq!(page.matches(".TH ").count(), 1);
}

#[test]
fn the_package_has_the_manual_page_and_the_version_of_this_program() {
    let page = Command::new(env!("CARGO_BIN_EXE_pychat")).arg("man").env_clear().output().unwrap();
    let packed = fs::read("packaging/pychat.1").unwrap();
    assert!(page.stdout == packed, "pychat man >packaging/pychat.1 generates it");
    let changes = fs::read_to_string("packaging/changelog").unwrap();
    let version = format!("pychat ({}) ", env!("CARGO_PKG_VERSION"));
    assert!(changes.starts_with(&version), "{version} comes first in packaging/changelog");
}
