//! Ending sessions, stopping and health depend on no reader of the log, on no audit trail and on no
//! import of keys.

mod world;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pychat::crypto::PublicKey;
use rustix::process::Signal;
use serde_json::Value;
use world::World;
#[cfg(target_os = "linux")]
use world::disk::{Disk, Syncs};

/// Actions and targets of the audit trail.
fn decisions(world: &World) -> Vec<(String, String)> {
    let text = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    let rows = text.lines().skip(1).filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (field(&row, "action"), field(&row, "target"))).collect()
}

fn has(world: &World, action: &str, target: &str) -> bool {
    decisions(world).contains(&(action.into(), target.into()))
}

/// A pipe with a name that takes nothing more.
fn fill(pipe: &Path) -> File {
    let mut options = OpenOptions::new();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut pipe = options.read(true).write(true).custom_flags(nonblocking).open(pipe).unwrap();
    for bytes in [4096, 1] {
        while match pipe.write(&vec![b'.'; bytes]) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        } {}
    }
    pipe
}

#[test]
fn a_stderr_that_nobody_reads_stops_no_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stderr");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut world = World::under(&format!("exec 2>{}", path.display()), "{}");
    let mut people = ["alice", "bob", "carol"].map(|name| {
        world.registers_key_of(name);
        let client = world.client(name, &["--plain"]);
        client.sees("you are in #lobby");
        client
    });
    let _full = fill(&path);
    for (name, client) in ["alice", "bob"].iter().zip(&mut people) {
        fs::remove_file(world.home().join(format!("users/{name}.pem"))).unwrap();
        assert_eq!(client.ends().code(), Some(5), "{name}");
    }
    let (ok, told) = world.operator(&["ctl", "users"]);
    assert!(ok && told.contains("carol") && !told.contains("alice"), "{told}");
    world.until("health tells of the log", || {
        let (ok, told) = world.operator(&["ctl", "health"]);
        !ok && told.contains("not healthy: log")
    });
    world.server.signal(Signal::TERM);
    assert_eq!(world.server.ends().code(), Some(0));
    drop(reader);
}

#[test]
fn an_audit_trail_that_another_process_holds_stops_no_revocation() {
    let mut world = World::new();
    let [mut alice, mut bob, carol] = ["alice", "bob", "carol"].map(|name| world.enters(name));
    let key = File::open(world.home().join("keys/audit.key")).unwrap();
    key.lock().unwrap();
    fs::remove_file(world.home().join("users/alice.pem")).unwrap();
    assert_eq!(alice.ends().code(), Some(5));
    let (ok, told) = world.operator(&["ctl", "kick", "carol"]);
    assert!(ok && told.contains("not in the audit trail yet"), "{told}");
    carol.sees("the operator ended your session");
    world.until("health tells of the audit trail", || {
        let (ok, told) = world.operator(&["ctl", "health"]);
        !ok && told.contains("not healthy: audit")
    });
    assert!(!has(&world, "removed", "alice"));
    key.unlock().unwrap();
    world.until("the decisions are in the trail", || {
        has(&world, "removed", "alice") && has(&world, "kick", "carol")
    });
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
    key.lock().unwrap();
    fs::remove_file(world.home().join("users/bob.pem")).unwrap();
    assert_eq!(bob.ends().code(), Some(5));
    world.server.signal(Signal::TERM);
    assert_eq!(world.server.ends().code(), Some(0));
    world.server.is_told("the last decisions are missing in the audit trail");
}

/// The roles and sanctions of a home, as they are on disk.
#[cfg(target_os = "linux")]
fn on_disk(world: &World, file: &str) -> Value {
    serde_json::from_slice(&fs::read(world.home().join(file)).unwrap()).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_hangs_stops_no_revocation_and_grants_nothing() {
    let (disk, world) = Disk::of_server(Syncs::Hang);
    fs::write(world.home().join("users/alice.json"), r#"{"role": "moderator"}"#).unwrap();
    let mut alice = world.enters("alice");
    let [mut bob, mut carol] = ["bob", "carol"].map(|name| world.enters(name));
    disk.misbehaves();
    // No decision waits for earlier ones, whose operators still wait for the disk.
    let told = std::thread::scope(|scope| {
        let operator = |args: &'static [&str]| {
            let world = &world;
            scope.spawn(move || world.operator(args))
        };
        let ban = operator(&["ctl", "ban", "bob", "noise"]);
        assert_eq!(bob.ends().code(), Some(5));
        let mute = operator(&["ctl", "mute", "carol"]);
        carol.sees("you are muted for good");
        let demotion = operator(&["ctl", "deop", "alice"]);
        alice.sees("you are member here now");
        alice.types("/kick carol");
        alice.sees("not allowed for a member");
        fs::remove_file(world.home().join("users/carol.pem")).unwrap();
        assert_eq!(carol.ends().code(), Some(5));
        [ban, mute, demotion].map(|operator| operator.join().unwrap())
    });
    for (ok, text) in told {
        assert!(!ok && text.contains("but not on disk yet: a restart now undoes it"), "{text}");
    }
    // Sessions have ended before the wait for the disk began.
    let log = world.server.told();
    let at = |text: &str| log.iter().position(|line| line.contains(text)).expect(text);
    assert!(at("ctl: ban bob") < at("the disk has not taken a decision"), "{log:#?}");
    let (ok, text) = world.operator(&["ctl", "unban", "bob"]);
    assert!(!ok && text.contains("bob is no longer banned once the disk answers"), "{text}");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are banned for good: noise");
    assert_eq!(bob.ends().code(), Some(5));
    world.until("health reports the decisions", || {
        let (ok, text) = world.operator(&["ctl", "health"]);
        !ok && text.contains("decisions")
    });
    assert_eq!(on_disk(&world, "users/alice.json")["role"], "moderator");
    disk.works();
    world.until("all is on disk", || {
        let path = world.home().join("data/sanctions.json");
        let sanctions = path.exists().then(|| on_disk(&world, "data/sanctions.json"));
        let subjects: Vec<_> =
            sanctions.iter().flat_map(|all| all["sanctions"].as_array()).collect();
        let is_carols = |all: &&Vec<Value>| all.len() == 1 && all[0]["subject"] == "carol";
        subjects.first().is_some_and(is_carols)
            && on_disk(&world, "users/alice.json")["role"] == "member"
    });
    world.client("bob", &["--plain"]).sees("you are in #lobby");
    let (ok, text) = world.operator(&["ctl", "op", "alice"]);
    assert!(ok, "{text}");
    alice.sees("you are moderator here now");
}

/// A public key of the right form; nobody has the private one.
fn public_key(index: u32) -> PublicKey {
    let mut modulus = [0xa5; 384];
    modulus[100..104].copy_from_slice(&index.to_be_bytes());
    PublicKey::from_modulus(&modulus).unwrap()
}

#[test]
fn a_removal_comes_before_the_import_that_comes_with_it() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let (users, import) = (world.home().join("users"), world.home().join("import"));
    fs::create_dir(&import).unwrap();
    for index in 0..500 {
        fs::write(import.join(format!("guest{index}.pem")), public_key(index).to_pem()).unwrap();
    }
    fs::rename(&users, world.home().join("users.before")).unwrap();
    fs::rename(&import, &users).unwrap();
    assert_eq!(alice.ends().code(), Some(5));
    world.until("everybody is registered", || {
        decisions(&world).iter().filter(|(_, target)| target.starts_with("guest")).count() == 500
    });
    let rows = decisions(&world);
    let at = |action: &str| rows.iter().position(|row| row.0 == action && row.1 != "alice");
    let removed = rows.iter().position(|row| row.0 == "removed" && row.1 == "alice");
    assert!(removed.is_some() && removed < at("admitted"), "{removed:?} {:?}", at("admitted"));
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
}

#[test]
fn a_removal_ends_a_session_while_an_import_is_being_read() {
    const GUESTS: u32 = 2_000;
    let world = World::new();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    let (users, import) = (world.home().join("users"), world.home().join("import"));
    fs::create_dir(&import).unwrap();
    for index in 0..GUESTS {
        fs::write(import.join(format!("guest{index}.pem")), public_key(index).to_pem()).unwrap();
    }
    let keeper = || world.server.cpu_of("keeper").unwrap_or_default();
    let before = keeper();
    for index in 0..GUESTS {
        let name = format!("guest{index}.pem");
        fs::rename(import.join(&name), users.join(&name)).unwrap();
    }
    // Reading them takes seconds in a debug build.
    world.until("the reading has begun", || keeper() >= before + Duration::from_millis(50));
    let began = Instant::now();
    fs::remove_file(users.join("alice.pem")).unwrap();
    assert_eq!(alice.ends().code(), Some(5));
    let admitted =
        || decisions(&world).iter().filter(|(_, target)| target.starts_with("guest")).count();
    let at_once = admitted();
    // Logins with the key are refused, even before the reading has ended.
    let again = world.client("alice", &["--send", "still here"]).ends();
    assert_ne!(again.code(), Some(0));
    world.until("everybody is registered", || admitted() == GUESTS as usize);
    // A reading that took less than 2 s need not end the session early.
    let is_short = began.elapsed() < Duration::from_secs(2);
    let is_early = at_once < GUESTS as usize / 2;
    assert!(is_early || is_short, "{at_once} were read before the session ended");
    drop(bob);
}

#[test]
fn files_in_users_that_are_wrong_for_a_moment_or_stray_keep_nobody_out() {
    let mut world = World::new();
    let mut alice = world.enters("alice");
    let users = world.home().join("users");
    let file = users.join("alice.pem");
    let pem = fs::read_to_string(&file).unwrap();
    for stray in ["._alice.pem", "notes.txt", "photo.json", "carol.json"] {
        fs::write(users.join(stray), b"\0\xff").unwrap();
    }
    fs::create_dir(users.join("folder.pem")).unwrap();
    fs::write(users.join("huge.pem"), vec![b'x'; 1 << 20]).unwrap();
    // As an editor or `cp` leaves it for a moment.
    fs::write(&file, &pem[..100]).unwrap();
    world.server.is_told("the one of before stays registered for alice");
    alice.types("still here");
    alice.sees("still here");
    fs::write(&file, &pem).unwrap();
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok && told.contains("folder.pem") && told.contains("huge.pem"), "{told}");
    for note in ["._alice.pem is ignored", "notes.txt is ignored", "carol.json is ignored"] {
        assert!(told.contains(note), "{note}: {told}");
    }
    // A start beside a person's damaged settings lets everybody else in.
    fs::write(users.join("bob.json"), "{").unwrap();
    world.registers_key_of("bob");
    world = world.restarted();
    world.server.is_told("the settings of bob are unreadable");
    alice.types("and again");
    alice.sees("and again");
    fs::remove_file(&file).unwrap();
    assert_eq!(alice.ends().code(), Some(5));
}

#[test]
fn a_name_is_one_in_any_form_and_case_of_its_files() {
    let world = World::new();
    world.registers_key_of("zoe");
    let users = world.home().join("users");
    // macOS gives names decomposed.
    fs::rename(users.join("zoe.pem"), users.join("zoe\u{301}.pem")).unwrap();
    world.server.is_told("zo\u{e9} is registered");
    // Editors on Windows write a byte order mark, and some systems write names in capitals.
    fs::write(users.join("ZO\u{c9}.JSON"), "\u{feff}{\"deny\": [\"127.0.0.0/8\"]}").unwrap();
    world.until("the settings hold", || {
        let mut zoe = world.client("zoe", &["--send", "hi"]);
        zoe.ends();
        zoe.told().iter().any(|line| line.contains("may not connect from 127.0.0.1"))
    });
    let (ok, told) = world.operator(&["users", "role", "zo\u{e9}", "moderator"]);
    assert!(ok, "{told}");
    assert!(!users.join("zo\u{e9}.json").exists(), "the file that is there was changed");
    let (ok, told) = world.operator(&["users", "remove", "zo\u{e9}"]);
    assert!(ok, "{told}");
    assert_eq!(fs::read_dir(&users).unwrap().count(), 0);
    let pem = world.makes_key_of("bob");
    fs::write(users.join("BOB.PEM"), format!("\u{feff}{pem}")).unwrap();
    world.server.is_told("BOB is registered");
    assert_eq!(world.client("bob", &["--send", "hi"]).ends().code(), Some(0));
}
