//! What is left of a file after a cut, a kill of the server, and in a backup.

use super::*;

#[test]
fn an_upload_goes_on_after_a_cut_and_a_start_of_the_server() {
    let world = World::with(LIMITS);
    let mut alice = Sharer::enters(&world, "alice");
    let content = content(20 << 20);
    let answer = alice.put("#lobby", 1, content.len());
    assert_eq!(
        answer["limit"],
        16 << 20,
        "no further than the bytes that a loss of power may cost"
    );
    assert_eq!(alice.uploads(&answer, &content, 3_000_000), None);
    drop(alice);
    let mut alice = Sharer::returns(&world, "alice");
    let answer = alice.put("#lobby", 1, content.len());
    assert_eq!(answer["have"], 3_000_000);
    // Another session continues it, and the first one gets `stopped`.
    let mut other = Sharer::returns(&world, "alice");
    let answer = other.put("#lobby", 1, content.len());
    assert_eq!(alice.event(&["stopped"])["code"], "busy");
    assert_eq!(other.uploads(&answer, &content, 19 << 20), None);
    assert_eq!(stored(&world), (1, 0));
    let world = world.restarted();
    let mut alice = Sharer::returns(&world, "alice");
    let answer = alice.put("#lobby", 1, content.len());
    assert_eq!(answer["have"], 3 << 20, "16 MiB may be lost with the power");
    assert_eq!(alice.uploads(&answer, &content, content.len()).unwrap()["type"], "kept");
    alice.announces("#lobby", 1);
    assert!(alice.fetches("#lobby", 1, 0, 1 << 20) == content);
    assert_eq!(stored(&world), (0, 1));
}

/// The server accepts 16 MiB beyond its last sync, and syncs after each 8 MiB. Bytes before a cut
/// count for both.
#[test]
fn an_upload_that_was_cut_before_a_sync_goes_on_beyond_its_first_limit() {
    let world = World::with(LIMITS);
    let content = content(40 << 20);
    let mut alice = Sharer::enters(&world, "alice");
    let mut have = 0;
    for reached in [7 << 20, 14 << 20, 21 << 20, 35 << 20] {
        let answer = alice.put("#lobby", 1, content.len());
        assert_eq!(answer["have"], have);
        assert_eq!(alice.uploads(&answer, &content, reached), None);
        drop(alice);
        alice = Sharer::returns(&world, "alice");
        have = reached;
    }
    let answer = alice.put("#lobby", 1, content.len());
    assert_eq!(alice.uploads(&answer, &content, content.len()).unwrap()["type"], "kept");
}

/// The points at which the server is killed, in the order of an upload's life.
const POINTS: [&str; 6] = ["row-coming", "file-created", "bytes", "synced", "renamed", "row-kept"];

#[test]
fn a_server_that_is_killed_anywhere_keeps_what_it_confirmed() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let mut world = world;
    for (number, point) in POINTS.into_iter().enumerate() {
        let (number, bytes) = (number as u8 + 1, content(300_000));
        world = world.stopped().started_after(&format!("export PYCHAT_KILL_AT={point}"));
        let mut alice = Sharer::returns(&world, "alice");
        alice.sends(json!({"type": "put", "to": "#lobby", "blob": blob(number), "bytes": bytes.len(), "ref": "f"}));
        let mut confirmed = false;
        loop {
            match alice.next() {
                Heard::Event(event) if event["type"] == "upload" => {
                    confirmed |= alice.uploads(&event, &bytes, bytes.len()).is_some();
                    break;
                }
                Heard::End(_) => break,
                _ => {}
            }
        }
        assert!(!confirmed, "{point}: the server was killed before it said `kept`");
        world = world.killed();
        let mut alice = Sharer::returns(&world, "alice");
        assert_eq!(alice.get("#lobby", number, 0)["code"], "no_such_file", "{point}");
        let answer = alice.put("#lobby", number, bytes.len());
        if answer["type"] == "upload" {
            assert_eq!(
                alice.uploads(&answer, &bytes, bytes.len()).unwrap()["type"],
                "kept",
                "{point}"
            );
        }
        assert_eq!(answer["type"] == "kept", point == "row-kept", "{point}: {answer}");
        if point == "renamed" {
            assert_eq!(answer["have"], bytes.len(), "the whole file is there: {answer}");
        }
        assert_eq!(alice.announces("#lobby", number)["type"], "message", "{point}");
        assert!(alice.fetches("#lobby", number, 0, 1 << 20) == bytes, "{point}");
        assert_eq!(stored(&world), (0, usize::from(number)), "{point}");
    }
    // A stored deletion stays in force, at whatever point the server is killed.
    for (number, point) in ["doomed", "unlinked"].into_iter().enumerate() {
        world = world.stopped().started_after(&format!("export PYCHAT_KILL_AT={point}"));
        let mut alice = Sharer::returns(&world, "alice");
        let of = (number + 1).to_string();
        let id = format!("{number:x}").repeat(32);
        alice.sends(json!({"type": "say", "to": "#lobby", "id": id, "kind": "delete", "of": of}));
        alice.ended();
        world = world.killed();
        let mut alice = Sharer::returns(&world, "alice");
        assert_eq!(alice.get("#lobby", number as u8 + 1, 0)["code"], "file_gone", "{point}");
        let left = POINTS.len() - number - 1;
        world.until("the sweep removes the file", || stored(&world) == (0, left));
    }
}

#[test]
fn a_backup_with_files_is_verified_and_restored() {
    let world = World::with(LIMITS);
    let mut alice = Sharer::enters(&world, "alice");
    for number in 1..=2 {
        alice.shares("#lobby", number, &content(50_000));
        alice.announces("#lobby", number);
    }
    let (is_fine, text) = world.operator(&["ctl", "files"]);
    assert!(is_fine && text.contains("alice                     2 files  100.00 kB"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let (backup, copies) = (folder.path().join("backup"), folder.path().join("files"));
    let (backup, copies) = (backup.to_str().unwrap(), copies.to_str().unwrap());
    let (is_fine, text) = world.operator(&["backup", backup, "--files", copies]);
    assert!(is_fine && text.contains("2 files, 100.00 kB"), "{text}");
    let verify = |copies| world.operator(&["verify", backup, "--files", copies]);
    assert!(verify(copies).0, "{}", verify(copies).1);
    assert!(
        world.operator(&["check"]).1.contains("nothing is wrong"),
        "{:?}",
        world.operator(&["check"])
    );
    // What is deleted afterwards comes back with the backup.
    alice.sends(
        json!({"type": "say", "to": "#lobby", "id": "d".repeat(32), "kind": "delete", "of": "1"}),
    );
    world.until("the file is removed", || stored(&world) == (0, 1));
    let world = world.stopped();
    let (is_fine, text) = world.operator(&["restore", backup, "--files", copies]);
    assert!(is_fine && text.contains("2 files, 100.00 kB"), "{text}");
    let world = world.started();
    let mut alice = Sharer::returns(&world, "alice");
    assert!(alice.fetches("#lobby", 1, 0, 1 << 20) == content(50_000));
    let mut all = Vec::new();
    for one in fs::read_dir(copies).unwrap().map(|one| one.unwrap().path()) {
        all.extend(fs::read_dir(one).unwrap().map(|one| one.unwrap().path()));
    }
    fs::remove_file(&all[0]).unwrap();
    let (is_fine, text) = world.operator(&["verify", backup, "--files", copies]);
    assert!(!is_fine && text.contains("1 files are missing"), "{text}");
    // A missing disk of files is reported, and the chat continues.
    drop(alice);
    let world = world.stopped();
    let aside = world.home().join("data/aside");
    fs::rename(world.home().join("data/files"), &aside).unwrap();
    assert!(!world.operator(&["check"]).0 || stored(&world) == (0, 0));
    let world = world.started();
    let mut alice = Sharer::returns(&world, "alice");
    let answer = alice.get("#lobby", 1, 0);
    assert_eq!((&answer["code"], stored(&world)), (&json!("file_gone"), (0, 0)), "{answer}");
    assert!(answer["hint"].as_str().unwrap().contains("lost"), "{answer}");
    world.server.is_told("are missing in data/files: 2");
    // No file is marked as lost while the disk may be mounted again.
    drop(alice);
    let world = world.stopped();
    fs::remove_dir_all(world.home().join("data/files")).unwrap();
    fs::rename(&aside, world.home().join("data/files")).unwrap();
    let world = world.started();
    let mut alice = Sharer::returns(&world, "alice");
    assert!(alice.fetches("#lobby", 1, 0, 1 << 20) == content(50_000));
}
