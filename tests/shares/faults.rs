//! Transfers over cuts, restarts, cancelled requests, and disks that are slow or full.

use super::*;

#[test]
fn a_transfer_continues_over_cuts_and_restarts_without_an_error() {
    let world = World::with(LIMITS);
    let bytes = content(20_000_000);
    world.admit("alice");
    fs::write(folder(&world, "alice").join("film.bin"), &bytes).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let mut alice = starts(&world, "alice", &link.address, &["--json"]);
    alice.sees("connected");
    alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby","ref":"r1"}"##);
    world.until("some bytes are there", || coming(&world).iter().any(|it| size(it) > 1_000_000));
    // The server stops and starts in the middle, and so does the client.
    let world = world.restarted();
    alice.sees(r#""state":"offline""#);
    alice.kill();
    link.set(Flow::Passes);
    let mut alice = starts(&world, "alice", &link.address, &["--json"]);
    let sent = object(&alice.sees(r#""state":"sent""#));
    assert_eq!((&sent["type"], &sent["name"]), (&json!("transfer"), &json!("film.bin")));
    let seq = sent["seq"].as_str().unwrap().to_owned();
    alice.types(
        &json!({"type": "get_file", "to": "#lobby", "seq": seq, "path": "back.bin", "ref": "r2"})
            .to_string(),
    );
    let saved = object(&alice.sees(r#""state":"saved""#));
    assert_eq!((&saved["ref"], &saved["direction"]), (&json!("r2"), &json!("down")));
    assert!(fs::read(folder(&world, "alice").join("back.bin")).unwrap() == bytes);
    assert!(!alice.shown().iter().any(|line| line.contains(r#""type":"error""#)));
    assert_eq!(coming(&world).len(), 0);
}

#[test]
fn a_program_cancels_at_every_stage() {
    let world = World::with(LIMITS);
    world.admit("alice");
    fs::write(folder(&world, "alice").join("film.bin"), content(30_000_000)).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let mut alice = starts(&world, "alice", &link.address, &["--json"]);
    alice.sees("connected");
    alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby"}"##);
    world.until("some bytes are there", || coming(&world).iter().any(|it| size(it) > 1_000_000));
    alice.types(r#"{"type":"cancel_file","transfer":"f1"}"#);
    alice.sees(r#""state":"cancelled""#);
    link.set(Flow::Passes);
    world.until("the server has removed it", || coming(&world).is_empty());
    fs::write(folder(&world, "alice").join("note.txt"), b"hello").unwrap();
    let id = "000102030405060708090a0b0c0d0e0f";
    let (path, to) = ("note.txt", "#lobby");
    let note = json!({"type": "send_file", "path": path, "to": to, "text": "a note", "id": id});
    let note = note.to_string();
    alice.types(&note);
    alice.sees(r#""state":"sent""#);
    let message = object(&alice.sees(r#""kind":"file""#));
    assert_eq!(message["id"], id, "{message}");
    assert!(message["file"]["until"].is_string(), "{message}");
    alice.types(r#"{"type":"cancel_file","transfer":"f2"}"#);
    alice.sees("there is no transfer f2");
    // The same message is not sent twice, and its second file uses no space.
    alice.types(&note);
    let failed = object(&alice.sees(r#""state":"failed""#));
    assert_eq!((&failed["transfer"], &failed["code"]), (&json!("f3"), &json!("id_conflict")));
    world.until("one file is left", || whole(&world) == 1);
    alice.types(r##"{"type":"files","to":"#lobby","ref":"q"}"##);
    let file = object(&alice.sees(r#""ref":"q""#));
    assert_eq!(file["file"]["name"], "note.txt", "{file}");
    let stored = world.data_folder("alice").join("servers");
    let folders = fs::read_dir(stored).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.extension().is_some_and(|it| it == "transfers"));
    let left: usize = folders.map(|folder| fs::read_dir(folder).unwrap().count()).sum();
    assert_eq!(left, 0, "nothing is left of transfers that have ended");
}

#[test]
fn a_file_arrives_whole_over_a_link_that_breaks() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let bytes = content(3_000_000);
    fs::write(folder(&world, "alice").join("film.bin"), &bytes).unwrap();
    for seed in [1, 2] {
        let proxy = Proxy::start(&world.address, seed, 6);
        let mut alice = starts(&world, "alice", &proxy.address, &["--json"]);
        alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby","ref":"up"}"##);
        let sent = object(&alice.sees(r#""state":"sent""#));
        let (seq, path) = (sent["seq"].as_str().unwrap(), format!("back {seed}.bin"));
        let get = json!({"type": "get_file", "to": "#lobby", "seq": seq, "path": path});
        alice.types(&get.to_string());
        alice.sees(r#""state":"saved""#);
        assert!(fs::read(folder(&world, "alice").join(path)).unwrap() == bytes, "seed {seed}");
        assert!(!alice.shown().iter().any(|line| line.contains(r#""state":"failed""#)));
        assert!(proxy.left() < 6, "the link has broken");
    }
}

/// A disk that does not answer delays only the files that are being stored.
#[test]
fn a_disk_that_does_not_answer_delays_files_alone() {
    let (disk, world) = Disk::of_server_with(Syncs::Hang, "SYNCS_OF=/data/files/", LIMITS);
    world.admit("alice");
    let mut bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    for (name, bytes) in [("before.bin", 300_000), ("during.bin", 300_001)] {
        fs::write(folder(&world, "alice").join(name), content(bytes)).unwrap();
    }
    let (code, _, told) = runs(&world, "alice", &["--send-file", "before.bin"]);
    assert_eq!(code, 0, "{told}");
    disk.misbehaves();
    let mut alice = starts(&world, "alice", &world.address, &["--json"]);
    alice.sees("connected");
    alice.types(r##"{"type":"send_file","path":"during.bin","to":"#lobby"}"##);
    alice.sees(r#""state":"storing""#);
    bob.types(r##"{"type":"say","to":"#lobby","text":"quick"}"##);
    alice.sees(r#""text":"quick""#);
    alice.types(r##"{"type":"say","to":"#lobby","text":"as before"}"##);
    alice.sees(r#""type":"ack""#);
    let (code, _, told) = runs(&world, "bob", &["--get", "1", "--from", "#lobby"]);
    assert_eq!(code, 0, "{told}");
    let sent = alice.seen(r#""state":"sent""#);
    assert_eq!((sent, coming(&world).len()), (0, 1), "the control: it is not stored yet");
    disk.works();
    let sent = object(&alice.sees(r#""state":"sent""#));
    let get = ["--get", sent["seq"].as_str().unwrap(), "--from", "#lobby"];
    let (code, out, told) = runs(&world, "bob", &get);
    assert_eq!(code, 0, "{told}");
    assert!(fs::read(folder(&world, "bob").join(out.trim_end())).unwrap() == content(300_001));
}

/// The disk of the server is full, and later the disk of a reader.
#[test]
fn a_full_disk_is_reported_and_the_same_command_continues_later() {
    apart("-m", "faults::a_full_disk_is_reported_and_the_same_command_continues_later", || {
        let world = World::with(LIMITS);
        world.admit("alice");
        let film = content(3_000_000);
        fs::write(folder(&world, "alice").join("film.bin"), &film).unwrap();
        let world = world.stopped();
        let store = world.home().join("data/files");
        mount(&store, 1 << 10);
        let world = world.started();
        let mut alice = starts(&world, "alice", &world.address, &["--json"]);
        alice.sees("connected");
        // Returns the end of a transfer. Chat continues after it.
        let mut ends = |request: Value, state: &str| {
            alice.types(&request.to_string());
            let reference = format!("\"ref\":{}", request["ref"]);
            let is_end = |line: &&String| line.contains(&reference) && line.contains(state);
            alice.shows(state, |lines| lines.iter().any(|line| is_end(&line)));
            let end = object(alice.shown().iter().find(is_end).unwrap());
            let acks = alice.seen(r#""type":"ack""#);
            alice.types(r##"{"type":"say","to":"#lobby","text":"on"}"##);
            alice.shows("chat continues", |lines| {
                lines.iter().filter(|line| line.contains(r#""type":"ack""#)).count() > acks
            });
            end
        };
        let (path, to) = ("film.bin", "#lobby");
        let send = |of: &str| json!({"type": "send_file", "path": path, "to": to, "ref": of});
        let refused = ends(send("up1"), r#""state":"failed""#);
        assert_eq!(refused["code"], "disk", "{refused}");
        assert_eq!(coming(&world).len(), 0, "it was refused before the first byte");
        resize(&store, 16 << 10);
        let sent = ends(send("up2"), r#""state":"sent""#);
        let small = folder(&world, "alice").join("small");
        fs::create_dir(&small).unwrap();
        mount(&small, 1 << 10);
        let get = |reference: &str| {
            json!({"type": "get_file", "to": "#lobby", "seq": sent["seq"], "path": "small",
                "ref": reference})
        };
        let failed = ends(get("down1"), r#""state":"failed""#);
        assert_eq!(failed["code"], "disk", "{failed}");
        assert!(failed["hint"].as_str().unwrap().contains("No space left"), "{failed}");
        let part =
            fs::read_dir(&small).unwrap().next().expect("the part that has arrived stays").unwrap();
        let before = part.metadata().unwrap();
        resize(&small, 16 << 10);
        ends(get("down2"), r#""state":"saved""#);
        let after = fs::metadata(small.join("film.bin")).unwrap();
        assert!(before.len() > 0 && before.ino() == after.ino(), "it was continued");
        assert!(fs::read(small.join("film.bin")).unwrap() == film);
    });
}
