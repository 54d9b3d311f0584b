//! Backups: verified, restored, rotated, and interrupted.

use super::*;

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
    let test = "backups::a_backup_is_verified_and_restored_from_a_medium_that_cannot_be_written";
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
        ledger.execute("UPDATE messages SET checksum = checksum + ?1", [by]).unwrap();
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
