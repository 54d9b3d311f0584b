//! A server's home on a full disk, on a medium that cannot be written, in another account's hands,
//! without a network. On the real binary.

mod world;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use world::World;
use world::apart::{apart, fill, is_root, make_read_only, mount, skip};

/// An account that owns a home and nothing else.
const ACCOUNT: u32 = 54_321;

/// Everything below a folder, with its owner.
fn owners(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(folder.to_owned(), fs::metadata(folder).unwrap().uid())];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let about = entry.metadata().unwrap();
            found.push((entry.path(), about.uid()));
            if about.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn root_leaves_nothing_in_the_home_of_another_account() {
    if !is_root() {
        return skip("root_leaves_nothing_in_the_home_of_another_account", "this is not root");
    }
    let world = World::new();
    world.admit("bob");
    let world = world.stopped();
    let home = world.home();
    let above = home.parent().unwrap();
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    // As after the first start of an account that has had no server yet.
    for file in ["data/lock", "data/reserve", "data/keys.json"] {
        let _ = fs::remove_file(home.join(file));
    }
    owners(&home).iter().for_each(|(path, _)| lchown(path, Some(ACCOUNT), Some(ACCOUNT)).unwrap());
    let before = owners(&home);
    let (ok, told) = world.operator(&["check"]);
    assert!(ok, "{told}");
    for words in [&["verify"][..], &["audit", "verify"], &["users", "list"], &["invite"]] {
        let (ok, told) = world.operator(words);
        assert!(ok, "{words:?}: {told}");
    }
    let copy = above.join("copy.db").display().to_string();
    for words in [
        &["server", "--listen", "127.0.0.1:0"][..],
        &["backup", &copy],
        &["restore", &copy],
        &["server-key", "rotate"],
        &["users", "role", "bob", "owner"],
    ] {
        let (ok, told) = world.operator(words);
        assert!(!ok && told.contains("belongs to another account"), "{words:?}: {told}");
        assert!(told.contains(&format!("sudo -u '#{ACCOUNT}'")), "{words:?}: {told}");
    }
    // What a server that has ended left beside its ledger may be gone.
    let after = owners(&home);
    assert!(after.iter().all(|file| before.contains(file)), "{after:?}");
    // Nor in one that does not exist yet, in that account's folder.
    lchown(above, Some(ACCOUNT), Some(ACCOUNT)).unwrap();
    let mut command = world.program("operator");
    command.args(["server", "--listen", "127.0.0.1:0", "--home"]).arg(above.join("next"));
    let told = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(told.contains("belongs to another account"), "{told}");
    assert!(!above.join("next").exists());
    // The control: the account itself can do all of that.
    let mut command = world.program("operator");
    command.uid(ACCOUNT).gid(ACCOUNT).args(["server", "--listen", "127.0.0.1:0", "--no-owner"]);
    command.arg("--home").arg(&home);
    let server = world::Program::start(command);
    server.sees("ready addr=");
}

/// The disk of a home is full: what it says is what to do, and old messages make room.
#[test]
fn on_a_full_disk_a_server_starts_and_removes_what_is_old() {
    apart("-m", "on_a_full_disk_a_server_starts_and_removes_what_is_old", || {
        let limits = r#""limits": {"messages_burst": 100000, "messages_per_s": 1e6, "bytes_per_s": 1e9, "disk_reserve_bytes": 0}"#;
        let world = World::configured(&format!("{{{limits}}}"));
        for name in ["alice", "bob"] {
            world.admit(name);
        }
        let world = world.stopped();
        mount(&world.home(), 64 << 10);
        let world = world.started();
        let says = |world: &World, text: &str, count: usize| {
            let mut client = world.client("alice", &["--send"]);
            client.types(&vec![text; count].join("\n"));
            client.hangs_up();
            client.ends().success()
        };
        let long = "x".repeat(8_000);
        world.until("a lot is stored", || says(&world, &long, 500));
        let world = world.stopped();
        let filler = fill(&world.home());
        // With nothing free at all it starts, and everything but storing goes on.
        let world = world.started();
        let carol = world.client("bob", &["--plain"]);
        carol.sees("you are in #lobby");
        fill(&world.home());
        world.until("nothing is stored", || !says(&world, &long, 20));
        let (ok, told) = world.operator(&["ctl", "ban", "bob"]);
        assert!(!ok && told.contains("hint:  free space on the disk"), "{told}");
        assert!(
            told.contains("bob is banned for good (1 session), until the server's next start only")
        );
        carol.sees("you are banned");
        let (ok, told) = world.operator(&["ctl", "users"]);
        assert!(ok && told.contains("bob"), "{told}");
        // What was written before is old now.
        let config = format!("{{{limits}, \"retention\": \"1s\"}}");
        assert!(fs::write(world.home().join("config.json"), config).is_ok());
        let (ok, told) = world.operator(&["ctl", "reload"]);
        assert!(ok, "{told}");
        world.until("it is a second old, and removed", || {
            let (ok, told) = world.operator(&["ctl", "retention", "--now"]);
            assert!(ok, "{told}");
            // The server's own sweep may have been first.
            !told.starts_with("0 messages") || says(&world, "there is room", 1)
        });
        world.until("there is room", || says(&world, "there is room again", 1));
        assert!(world.home().join("data/reserve").exists(), "for the next time");
        let world = world.restarted();
        // The control: space that others free counts as well.
        fs::remove_file(filler).unwrap();
        let (ok, told) = world.operator(&["ctl", "ban", "bob"]);
        assert!(ok, "{told}");
    });
}

/// Sends a text as bob, from a job. Returns whether this succeeded, and the job's output.
fn sends(world: &World, text: &str) -> (bool, String) {
    let output = world
        .program("bob")
        .args(["client", &world.invite, "--name", "bob", "--send", text])
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), told)
}

#[test]
fn new_messages_are_refused_before_a_disk_is_full() {
    let test = "new_messages_are_refused_before_a_disk_is_full";
    apart("-m", test, || {
        let config = format!(
            r##"{{"metrics": "127.0.0.1:0", "limits": {{"disk_reserve_bytes": {}}},
                 "channels": {{"#aside": {{"retention": "off"}}}}}}"##,
            16 << 20
        );
        let world = World::configured(&config);
        for name in ["alice", "bob"] {
            world.admit(name);
        }
        let world = world.stopped();
        mount(&world.home(), 64 << 10);
        let world = world.started();
        let mut alice = world.client("alice", &["--plain"]);
        alice.sees("you are in #lobby");
        alice.types("one");
        alice.sees("You: one");
        let health = || {
            let (ok, told) = world.operator(&["ctl", "health", "--json"]);
            let reply: Value = serde_json::from_str(&told).unwrap();
            (ok, reply["data"]["space"] == true, reply["data"]["storage"] == true)
        };
        assert_eq!(health(), (true, true, true));
        let filler = world.home().join("filler");
        fs::write(&filler, vec![0; 32 << 20]).unwrap();
        world.until("the disk is low", || health() == (false, false, true));
        world.server.is_told("error new messages are refused: the disk has ");
        alice.types("two");
        alice.sees("the disk of the server is almost full");
        let (ok, told) = sends(&world, "three");
        assert!(!ok && told.contains("almost full"), "{told}");
        // All other operations continue.
        let mut bob = world.client("bob", &["--plain"]);
        bob.sees("alice: one");
        bob.types("/join #aside");
        bob.sees("you are in #aside");
        bob.types("in memory");
        bob.sees("You: in memory");
        alice.types("/topic tea");
        bob.sees("tea");
        alice.types("/delete");
        alice.sees("deleted");
        for words in
            [&["ctl", "mute", "bob"][..], &["ctl", "unmute", "bob"], &["ctl", "erase", "bob"]]
        {
            let (ok, told) = world.operator(words);
            assert!(ok, "{words:?}: {told}");
        }
        let (_, told) = world.operator(&["ctl", "status"]);
        assert!(told.contains("new messages are refused: the disk has"), "{told}");
        assert!(world.metrics().contains("pychat_disk_low 1\n"), "{}", world.metrics());
        let (ok, told) = world.operator(&["check"]);
        assert!(!ok && told.contains("below 16 MiB (disk_reserve_bytes)"), "{told}");
        assert_eq!(health(), (false, false, true), "nothing has failed");
        // The control: messages are stored again with free space, and also without a reserve.
        fs::remove_file(&filler).unwrap();
        world.until("there is room again", || health() == (true, true, true));
        world.server.is_told("info new messages are stored again");
        alice.types("four");
        alice.sees("You: four");
        fs::write(&filler, vec![0; 32 << 20]).unwrap();
        world.until("the disk is low again", || !health().1);
        world.reloads(&config.replace(&(16 << 20).to_string(), "0"));
        world.until("there is no reserve", || health().1);
        alice.types("five");
        alice.sees("You: five");
        let (ok, _) = sends(&world, "six");
        assert!(ok);
        // If data/ is on another disk than the rest of the home, the space of that disk counts.
        let world = World::configured(&config).stopped();
        let below = || world.operator(&["check"]).1.contains("below 16 MiB (disk_reserve_bytes)");
        assert!(!below(), "the control");
        let _ = fs::remove_file(world.home().join("data/reserve"));
        mount(&world.home().join("data"), 12 << 10);
        assert!(below());
    });
}

/// Says as alice, and waits until all is stored.
fn says(world: &World, texts: &[&str]) {
    let mut client = world.client("alice", &["--plain"]);
    client.sees("you are in #lobby");
    let before = client.seen("You: ");
    texts.iter().for_each(|text| client.types(text));
    client.shows("all of it", |lines| {
        let own = lines.iter().filter(|line| line.contains("You: ")).count();
        own >= before + texts.len()
    });
    client.types("/exit");
    client.ends();
}

/// What `verify` of a file counts.
fn messages_of(world: &World, file: &Path) -> u64 {
    let (ok, told) = world.operator(&["verify", &file.display().to_string(), "--json"]);
    assert!(ok, "{told}");
    serde_json::from_str::<Value>(&told).unwrap()["messages"].as_u64().unwrap()
}

#[test]
fn a_backup_is_verified_and_restored_from_a_medium_that_cannot_be_written() {
    let test = "a_backup_is_verified_and_restored_from_a_medium_that_cannot_be_written";
    apart("-m", test, || {
        let world = World::new();
        world.admit("alice");
        says(&world, &["one", "two", "three"]);
        let medium = world.home().parent().unwrap().join("medium #1?100%");
        fs::create_dir(&medium).unwrap();
        mount(&medium, 8 << 10);
        let backup = medium.join("backup.db");
        let (ok, told) = world.operator(&["backup", &backup.display().to_string()]);
        assert!(ok, "{told}");
        let world = world.stopped();
        // A server that ends under load may leave its last messages in the write-ahead log.
        let ledger = rusqlite::Connection::open(world.home().join("data/ledger.db")).unwrap();
        ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(ledger);
        // A plain copy of a stopped server's ledger, and one that is damaged.
        fs::copy(world.home().join("data/ledger.db"), medium.join("copy.db")).unwrap();
        let mut bytes = fs::read(&backup).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..].fill(0x55);
        fs::write(medium.join("damaged.db"), bytes).unwrap();
        make_read_only(&medium);
        // Nothing is written there, and nothing removed.
        let before = fs::read_dir(&medium).unwrap().count();
        let new = medium.join("new.db").display().to_string();
        let folder = medium.display().to_string();
        for args in [&["backup", &new][..], &["backup", &folder, "--keep", "1"]] {
            let (ok, told) = world.operator(args);
            assert!(!ok && told.contains("Read-only file system"), "{args:?}: {told}");
            assert!(told.contains("hint:"), "{args:?}: {told}");
        }
        assert_eq!(fs::read_dir(&medium).unwrap().count(), before);
        for name in ["backup.db", "copy.db"] {
            assert_eq!(messages_of(&world, &medium.join(name)), 3, "{name}");
            let file = medium.join(name).display().to_string();
            let (ok, told) = world.operator(&["restore", &file]);
            assert!(ok && told.contains("restored: 3 messages"), "{name}: {told}");
        }
        let damaged = medium.join("damaged.db").display().to_string();
        let (ok, told) = world.operator(&["verify", &damaged]);
        assert!(!ok, "the control: {told}");
        let (ok, _) = world.operator(&["restore", &damaged]);
        assert!(!ok && messages_of(&world, &world.home().join("data/ledger.db")) == 3);
        let world = world.started();
        world.client("alice", &["--tail", "3"]).sees("three");
    });
}

#[test]
fn what_an_interrupted_copy_or_restore_has_left_is_removed_and_never_taken_in() {
    let world = World::new();
    world.admit("alice");
    says(&world, &["one", "two"]);
    let folder = world.home().parent().unwrap().to_owned();
    let backup = folder.join("backup.db");
    let (ok, told) = world.operator(&["backup", &backup.display().to_string()]);
    assert!(ok, "{told}");
    says(&world, &["three", "four", "five"]);
    // The log of later messages, as it would be beside a ledger that was being restored.
    let data = world.home().join("data");
    let log = fs::read(data.join("ledger.db-wal")).unwrap();
    assert!(log.len() > 4_096, "the control: there is something to take in");
    let world = world.stopped();
    let left = |folder: &Path| {
        for name in [".pychat-copy-left.partial", ".pychat-copy-left.partial-journal"] {
            fs::write(folder.join(name), "half a copy").unwrap();
        }
        // Another program's file, and a copy that is under way.
        fs::write(folder.join(".backup-of-mine"), "mine").unwrap();
    };
    let is_clean = |folder: &Path| {
        assert!(!folder.join(".pychat-copy-left.partial").exists(), "{folder:?}");
        assert!(!folder.join(".pychat-copy-left.partial-journal").exists(), "{folder:?}");
        assert!(folder.join(".backup-of-mine").exists(), "{folder:?}");
    };
    left(&folder);
    left(&data);
    for name in ["ledger.restored", "ledger.restored-shm"] {
        fs::write(data.join(name), "half a ledger").unwrap();
    }
    fs::write(data.join("ledger.restored-wal"), &log).unwrap();
    let (ok, told) = world.operator(&["restore", &backup.display().to_string()]);
    assert!(ok && told.contains("restored: 2 messages"), "{told}");
    let under_way = folder.join(".pychat-copy-now.partial");
    let holder = fs::File::create(&under_way).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (ok, told) = world.operator(&["backup", &folder.join("second.db").display().to_string()]);
    assert!(ok && under_way.exists(), "{told}");
    is_clean(&folder);
    is_clean(&data);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&data).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    assert!(!names().iter().any(|name| name.starts_with("ledger.restored")), "{:?}", names());
    // A start removes them, too: they hold what people have said.
    left(&data);
    fs::write(data.join("ledger.restored"), "half a ledger").unwrap();
    let world = world.started();
    world.server.is_told("ledger.restored, which an interrupted");
    is_clean(&data);
    assert!(!data.join("ledger.restored").exists());
    world.client("alice", &["--tail", "2"]).sees("two");
}

#[test]
fn backups_are_rotated_and_the_last_good_one_stays() {
    let world = World::new();
    world.admit("alice");
    says(&world, &["one", "two"]);
    let folder = world.home().parent().unwrap().join("backups");
    let backs_up = |world: &World, keep: &str| {
        let folder = folder.display().to_string();
        world.operator(&["backup", &folder, "--keep", keep, "--json"])
    };
    let names = || {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| name.into_string().unwrap());
        names.filter(|name| name.ends_with(".db")).collect::<BTreeSet<_>>()
    };
    let mut last = PathBuf::new();
    for number in 1..=4 {
        let (ok, told) = backs_up(&world, "2");
        assert!(ok, "{told}");
        assert_eq!(names().len(), number.min(2), "{told}");
        let report: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        assert_eq!(report["removed"].as_array().unwrap().len(), number.saturating_sub(2).min(1));
        last = report["file"].as_str().unwrap().into();
        says(&world, &["more"]);
    }
    assert_eq!(messages_of(&world, &last), 5);
    // --keep removes only its own backups: a copy that the operator has made stays.
    fs::copy(world.home().join("config.json"), folder.join("pychat-20200101T000000Z.db")).unwrap();
    let before = names();
    let (ok, told) = world.operator(&["backup", &folder.display().to_string(), "--keep", "0"]);
    assert!(!ok && told.contains("--keep"), "{told}");
    // A backup of a damaged ledger replaces no good backup.
    let world = world.stopped();
    let path = world.home().join("data/ledger.db");
    // The copy is made, and found to be damaged.
    let damage = |by: i64| {
        let ledger = rusqlite::Connection::open(&path).unwrap();
        ledger.execute("UPDATE lines SET checksum = checksum + ?1", [by]).unwrap();
    };
    damage(1);
    for _ in 0..3 {
        let (ok, told) = backs_up(&world, "1");
        assert!(!ok, "{told}");
    }
    assert_eq!(names(), before, "nothing was removed, and nothing is left");
    damage(-1);
    let (ok, told) = backs_up(&world, "1");
    assert!(ok, "the control: {told}");
    assert_eq!(names().len(), 2, "the newest, and the operator's own: {:?}", names());
}

#[test]
fn backups_are_rotated_where_the_copy_of_files_fails_and_each_home_has_its_own() {
    let worlds = [World::new(), World::new()];
    let folder = worlds[0].home().parent().unwrap().join("backups");
    let unusable = folder.with_extension("file");
    fs::write(&unusable, "no folder").unwrap();
    let [folder_text, unusable] = [&folder, &unusable].map(|path| path.display().to_string());
    let count = || {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().ends_with(".db")).count()
    };
    for world in &worlds {
        world.admit("alice");
        says(world, &["one"]);
    }
    for number in 1..=4 {
        let job = ["backup", &folder_text, "--keep", "2", "--files", &unusable];
        let (ok, told) = worlds[0].operator(&job);
        assert!(!ok && told.contains("backups.file"), "{told}");
        assert_eq!(count(), number.min(2), "{told}");
    }
    for number in 1..=3 {
        let (ok, told) = worlds[1].operator(&["backup", &folder_text, "--keep", "1"]);
        assert!(ok, "{told}");
        assert_eq!(count(), 3, "two of one home and one of the other, after {number}: {told}");
    }
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_after_the_next_one() {
    let limits = r#"{"messages_burst": 100000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#;
    let world = World::with(limits);
    world.admit("alice");
    let long = "x".repeat(8_000);
    says(&world, &vec![&long[..]; 1_000]);
    let folder = world.home().parent().unwrap().join("copies");
    fs::create_dir(&folder).unwrap();
    let names = || -> HashSet<_> {
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    for number in 0..20 {
        let mut command = world.program("operator");
        command.arg("backup").arg(folder.join(format!("{number}.db"))).arg("--home");
        command.arg(world.home());
        let before = names();
        let mut backup = world::Program::start(command);
        world.until("the copy has begun", || !names().is_subset(&before));
        backup.kill();
    }
    let (ok, told) = world.operator(&["backup", &folder.join("last.db").display().to_string()]);
    assert!(ok, "{told}");
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        assert!(name.ends_with(".db"), "{name}");
        assert_eq!(messages_of(&world, &entry.path()), 1_000, "{name} is whole");
    }
}

#[test]
fn a_failed_reload_changes_nothing() {
    let world = World::new();
    let key = |name: &str| {
        assert!(world.program(name).arg("keygen").output().unwrap().status.success());
    };
    ["eve", "mallory"].iter().for_each(|name| key(name));
    let config = world.home().join("config.json");
    fs::write(&config, r#"{"log_ip": false, "log": {"file": "/nowhere/log"}}"#).unwrap();
    let (ok, told) = world.operator(&["ctl", "reload"]);
    assert!(!ok && told.contains("everything stays as it was"), "{told}");
    world.client("eve", &["--send", "hi"]).ends();
    world.server.is_told("not admitted: eve from 127.0.0.1");
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(!trail.contains("reload"), "{trail}");
    // The control: the same without the fault.
    fs::write(&config, r#"{"log_ip": false}"#).unwrap();
    assert!(world.operator(&["ctl", "reload"]).0);
    world.client("mallory", &["--send", "hi"]).ends();
    world.server.is_told("not admitted: mallory from somewhere");
}

#[test]
fn nobody_reloads_what_would_keep_them_out() {
    let world = World::new();
    let mut olga = world.enters("olga");
    assert!(world.operator(&["users", "role", "olga", "owner"]).0);
    world.server.is_told("olga is owner now");
    let config = world.home().join("config.json");
    for (text, told) in [
        (
            r#"{"deny": ["127.0.0.0/8"]}"#,
            "config.json would exclude you: it does not admit 127.0.0.1",
        ),
        (r#"{"passwords": "all"}"#, "would exclude you: you have no password"),
        (r#"{"suites": [1]}"#, "\"suites\" would exclude you: your client offers none of them"),
    ] {
        fs::write(&config, text).unwrap();
        olga.types("/reload");
        olga.sees(told);
    }
    fs::write(&config, "{}").unwrap();
    // The folder is watched: whichever comes first, the word or the watch.
    let settings = r#"{"role": "owner", "deny": ["127.0.0.0/8"]}"#;
    let told = (0..20).any(|_| {
        fs::write(world.home().join("users/olga.json"), settings).unwrap();
        olga.types("/reload");
        olga.shows("an answer", |lines| {
            let answers = ["users/olga.json would exclude you", "may not connect from"];
            lines.iter().any(|line| answers.iter().any(|answer| line.contains(answer)))
        });
        if olga.seen("users/olga.json would exclude you") > 0 {
            return true;
        }
        olga.ends();
        fs::write(world.home().join("users/olga.json"), r#"{"role": "owner"}"#).unwrap();
        assert!(world.operator(&["ctl", "reload"]).0);
        olga = world.client("olga", &["--plain"]);
        olga.sees("you are in #lobby");
        false
    });
    assert!(told, "the watch was faster each time");
}

#[test]
fn an_invite_names_an_address_that_others_can_connect_to() {
    apart("-n", "an_invite_names_an_address_that_others_can_connect_to", || {
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success());
        let world = World::new().stopped();
        let config = world.home().join("config.json");
        let says = |text: &str, wanted: &str| {
            fs::write(&config, text).unwrap();
            for words in [&["invite"][..], &["invite", "--json"], &["invite", "--qr"]] {
                let (ok, told) = world.operator(words);
                assert!(!ok && told.contains(wanted), "{text}: {told}");
                assert!(!told.contains("pychat://"), "{text}: {told}");
            }
        };
        // There is no network here.
        for listen in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            let wanted = "hint:  set invite_host in config.json";
            says(&format!(r#"{{"server_ip": "{listen}"}}"#), wanted);
        }
        says(r#"{"server_port": 0}"#, "the server chooses its port when it starts");
        for host in ["", "0.0.0.0", "::", "[::]", "a b", "http://a", "a:5000", "127.1", "fe80::1"] {
            says(&format!(r#"{{"invite_host": "{host}"}}"#), "invite_host: ");
        }
        fs::write(&config, r#"{"server_ip": "0.0.0.0"}"#).unwrap();
        let mut command = world.program("operator");
        command.args(["server", "--listen", "[::]:0", "--no-owner", "--home"]).arg(world.home());
        let server = world::Program::start(command);
        server.is_told("no invite: ");
        // The control: a host that can be reached.
        let (ok, told) = world.operator(&["invite"]);
        assert!(!ok, "{told}");
        fs::write(&config, r#"{"invite_host": "[2001:db8::7]"}"#).unwrap();
        let (ok, told) = world.operator(&["invite"]);
        assert!(ok && told.contains("pychat://[2001:db8::7]:"), "{told}");
    });
}

/// Every limit as large as it may be, or absurd.
#[test]
fn absurd_limits_are_refused_and_the_largest_work() {
    let names = pychat::limits::Limits::NAMES;
    let world = World::new().stopped();
    let config = world.home().join("config.json");
    for value in ["10000000000000000", "18446744073709551615", "1e300"] {
        for name in names {
            fs::write(&config, format!(r#"{{"limits": {{"{name}": {value}}}}}"#)).unwrap();
            let mut command = world.program("operator");
            command.args(["invite", "--home"]).arg(world.home());
            let ended = command.output().unwrap();
            let told = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(3), "{name}: {told}");
            assert!(told.contains(&format!("limits.{name}: ")), "{name}: {told}");
        }
    }
    // With a reserve larger than the disk, the server would refuse every message.
    let own = |name: &str| {
        matches!(name, "text_bytes_max" | "search_ms_max" | "ping_s" | "disk_reserve_bytes")
    };
    let most = |name: &&&str| match pychat::limits::Limits::highest(name) {
        most if name.ends_with("_per_s") || **name == "conversations_per_h" => format!("{most:e}"),
        most => most.to_string(),
    };
    let limits: Vec<_> = names.iter().filter(|name| !own(name)).collect();
    let limits: Vec<_> = limits.iter().map(|name| format!("\"{name}\": {}", most(name))).collect();
    fs::write(&config, format!("{{\"limits\": {{{}}}}}", limits.join(", "))).unwrap();
    let world = world.started();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    for line in ["/join #tea", "hello all", "/history 1000000", "/search hello", "/list"] {
        alice.types(line);
    }
    alice.sees("hello all");
    alice.types("/pm bob still here");
    bob.sees("still here");
    let (ok, told) = world.operator(&["ctl", "health"]);
    assert!(ok, "{told}");
    let world = world.stopped();
    let told = world.server.told().join("\n");
    assert!(!told.contains("panicked") && !told.contains("overflow"), "{told}");
}

#[test]
fn a_missing_audit_trail_is_restored_and_not_named_otherwise() {
    let world = World::new().stopped();
    let trail = world.home().join("data/audit.jsonl");
    fs::remove_file(&trail).unwrap();
    for words in [&["audit", "verify"][..], &["check"]] {
        let (ok, told) = world.operator(words);
        assert!(!ok && told.contains("audit.jsonl: the audit trail is missing"), "{told}");
        assert!(told.contains("restore it from a copy"), "{told}");
        assert!(!told.contains("name another"), "{told}");
    }
    // A pipe without a writer, or one that nobody reads, holds nothing up.
    let pipe = |path: &Path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    pipe(&trail);
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok && told.contains("audit.jsonl: it is not a file"), "{told}");
    fs::remove_file(&trail).unwrap();
    let log = world.home().join("data/pipe");
    pipe(&log);
    let config = world.home().join("config.json");
    fs::write(&config, r#"{"log": {"file": "data/pipe"}}"#).unwrap();
    for words in [&["check"][..], &["server"]] {
        let (ok, told) = world.operator(words);
        assert!(!ok && told.contains("data/pipe"), "{told}");
    }
    fs::remove_file(log).unwrap();
    fs::write(&config, "{}").unwrap();
    // What the hint says works.
    fs::remove_file(world.home().join("keys/audit.head")).unwrap();
    let world = world.started();
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
}

/// The commands of operators, with the words that each needs.
#[test]
fn every_operator_command_takes_yes_and_json() {
    let world = World::new();
    world.admit("bob");
    let copy = world.home().join("copy.db").display().to_string();
    for words in [
        &["invite"][..],
        &["users", "list"],
        &["users", "show", "bob"],
        &["users", "role", "bob", "moderator"],
        &["users", "passwd", "bob", "--remove"],
        &["ctl", "status"],
        &["backup", &copy],
        &["verify"],
        &["verify", &copy],
        &["check"],
        &["audit", "verify"],
        &["install-service"],
        &["users", "remove", "bob", "--erase"],
        &["server-key", "rotate"],
    ] {
        let mut command = world.program("operator");
        command.args(words).args(["--yes", "--json", "--home"]).arg(world.home());
        let ended = command.output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{words:?}: {told}");
        let shown = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(shown.lines().count(), 1, "{words:?}: {shown}");
        assert!(serde_json::from_str::<Value>(&shown).unwrap().is_object(), "{words:?}: {shown}");
    }
    let world = world.stopped();
    let mut command = world.program("operator");
    command.args(["restore", &copy, "--yes", "--json", "--home"]).arg(world.home());
    let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(serde_json::from_str::<Value>(&shown).unwrap()["messages"].is_number(), "{shown}");
    let mut command = world.program("operator");
    command.args(["server", "--yes", "--json", "--no-owner", "--listen", "127.0.0.1:0", "--home"]);
    command.arg(world.home().join("next"));
    let server = world::Program::start(command);
    let ready: Value = serde_json::from_str(&server.sees("fingerprint")).unwrap();
    assert!(ready["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{ready}");
}
