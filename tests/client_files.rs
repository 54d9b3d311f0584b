//! The client's folder: what lies there is for nobody else to read, and costs few writes.

mod world;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use world::double::Double;
use world::program::is_asleep;
use world::pty::Terminal;
use world::{DEADLINE, World};

#[test]
fn no_file_names_people_channels_or_what_was_said() {
    let world = World::new();
    let mut carol = world.enters("carol");
    let mut alice = world.enters("alice");
    alice.types("/join #gardening 4711-2009");
    alice.sees("you are in #gardening~");
    alice.types("/join #underwater");
    alice.sees("you are in #underwater");
    alice.types("/msg carol a confidential word");
    carol.sees("a confidential word");
    carol.types("/msg alice a discreet answer");
    alice.sees("a discreet answer");
    alice.types("/fingerprint carol confirm");
    alice.sees("are confirmed");
    alice.types("/quiet");
    alice.types("/ignore carol");
    alice.types("/exit");
    assert!(alice.ends().success());
    let mut screen = Terminal::run(&world.screen_of("alice"));
    screen.shows("* connected");
    screen.types("/join #mountains\r");
    screen.shows("#mountains");
    screen.types("/exit\r");
    screen.shows("[ended 0]");
    // And what waits for a connection.
    let world = world.stopped();
    let mut alice = world.client("alice", &["--plain"]);
    alice.types("/msg carol a patient word");
    alice.sees("this message is sent when the connection is back");
    alice.kill();
    let files =
        ["positions", "ignored", "rooms", "outbox", "trust", "sequences", "changes", "search"];
    let data_folder = world.data_folder("alice").join("servers");
    let names: Vec<_> =
        fs::read_dir(data_folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for file in files {
        let is = |name: &&std::ffi::OsString| name.to_string_lossy().ends_with(&format!(".{file}"));
        assert!(names.iter().any(|name| is(&name)), "no {file} in {names:?}");
    }
    for word in [
        "carol",
        "gardening",
        "underwater",
        "mountains",
        "4711-2009",
        "confidential",
        "discreet",
        "patient",
    ] {
        assert_eq!(world.found_in("alice/pychat", word), 0, "{word}");
    }
}

/// What a process has written, in bytes and calls.
fn written(pid: Pid) -> (u64, u64) {
    let io = fs::read_to_string(format!("/proc/{}/io", pid.as_raw_nonzero())).unwrap();
    let field = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    (field("wchar:"), field("syscw:"))
}

/// Returns the same once the client is idle: all threads sleep for longer than the client's timers.
fn written_at_last(pid: Pid) -> (u64, u64) {
    let until = Instant::now() + DEADLINE;
    let (mut before, mut since) = (written(pid), Instant::now());
    while since.elapsed() < Duration::from_secs(2) && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(50));
        let now = written(pid);
        if now != before || !is_asleep(pid) {
            (before, since) = (now, Instant::now());
        }
    }
    before
}

/// The bytes that a client writes for so many private conversations.
fn first_login(count: usize) -> (u64, u64) {
    let double = Double::new();
    let client = double.client("alice", &["--json"]);
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    let before = written_at_last(client.pid());
    let conversation = |n: usize| {
        format!(
            r#"{{"to":"@p{n}","epoch":"{n:016x}","last":"3","read":"0","retention":"forever"}}"#
        )
    };
    let conversations: Vec<_> = (0..count).map(conversation).collect();
    let began = (Instant::now(), client.cpu());
    guest.says(&format!(
        r#"{{"type":"conversations","conversations":[{}]}}"#,
        conversations.join(",")
    ));
    // And something new in each of them.
    for n in 0..count {
        let said = format!(
            "{{\"type\":\"gap\",\"to\":\"@p{n}\",\"from_seq\":\"1\",\"to_seq\":\"3\",\"stored\":true}}"
        );
        guest.says(&said);
    }
    client.shows("all", |lines| {
        lines.iter().filter(|line| line.contains("\"gap\"")).count() == count
    });
    let (took, cpu) = (began.0.elapsed(), client.cpu() - began.1);
    let after = written_at_last(client.pid());
    let (bytes, calls) = (after.0 - before.0, after.1 - before.1);
    println!("{count} conversations: {bytes} bytes in {calls} writes, {took:?}, CPU {cpu:?}");
    (bytes, calls)
}

#[test]
fn what_a_first_login_writes_grows_with_the_conversations_and_no_faster() {
    let (small, large) = (first_login(200), first_login(1_600));
    let each = large.0 / 1_600;
    assert!(each < 2_000, "{each} bytes for each conversation");
    assert!(large.0 < 10 * small.0, "{large:?} for eight times as many as {small:?}");
    assert!(large.1 < 8 * 1_600, "{large:?}");
}

#[test]
fn files_that_a_disk_has_damaged_are_named() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    for who in [&mut alice, &mut bob] {
        who.types("/join #tea half past four");
        who.sees("you are in #tea~");
    }
    bob.types("sealed words");
    alice.sees("bob: sealed words");
    alice.types("sealed answer");
    bob.sees("alice: sealed answer");
    alice.types("/exit");
    assert!(alice.ends().success());
    let folder = world.data_folder("alice");
    let within = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let devices = within(&folder.join("device")).iter().flat_map(|one| within(one)).collect();
    let files = [within(&folder.join("servers")), devices].concat();
    let ends = ["positions", "sequences", "search", "key"];
    let damaged: Vec<_> = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| ends.iter().any(|one| end == *one)))
        .collect();
    assert_eq!(damaged.len(), ends.len(), "{damaged:?}");
    // A loss of power leaves zeros where a file had grown.
    for path in &damaged {
        let bytes = fs::metadata(path).unwrap().len() as usize;
        assert!(bytes > 0, "{}", path.display());
        fs::write(path, vec![0; bytes]).unwrap();
    }
    let alice = world.client("alice", &["--plain"]);
    for path in &damaged {
        alice.sees(&format!("{} is damaged", path.display()));
    }
}
