//! A home on a full disk, or on one that is almost full.

use super::*;

/// The disk of a home is full: what it says is what to do, and old messages make room.
#[test]
fn on_a_full_disk_a_server_starts_and_removes_what_is_old() {
    apart("-m", "disk::on_a_full_disk_a_server_starts_and_removes_what_is_old", || {
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
        // Without any free space it starts, and does everything but store messages.
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

/// A configuration that leaves 16 MiB of the disk free.
fn with_reserve() -> String {
    format!(
        r##"{{"metrics": "127.0.0.1:0", "limits": {{"disk_reserve_bytes": {}}},
             "channels": {{"#aside": {{"retention": "off"}}}}}}"##,
        16 << 20
    )
}

#[test]
fn the_disk_of_the_data_counts_where_the_home_is_on_another_one() {
    apart("-m", "disk::the_disk_of_the_data_counts_where_the_home_is_on_another_one", || {
        let world = World::configured(&with_reserve()).stopped();
        let below = || world.operator(&["check"]).1.contains("below 16 MiB (disk_reserve_bytes)");
        assert!(!below(), "the control");
        let _ = fs::remove_file(world.home().join("data/reserve"));
        mount(&world.home().join("data"), 12 << 10);
        assert!(below());
    });
}

#[test]
fn new_messages_are_refused_before_a_disk_is_full() {
    let test = "disk::new_messages_are_refused_before_a_disk_is_full";
    apart("-m", test, || {
        let world = World::configured(&with_reserve());
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
        world.reloads(&with_reserve().replace(&(16 << 20).to_string(), "0"));
        world.until("there is no reserve", || health().1);
        alice.types("five");
        alice.sees("You: five");
        let (ok, _) = sends(&world, "six");
        assert!(ok);
    });
}
