//! Files on the real binary: uploads, downloads, who may do what, and what is left afterwards.

mod interruptions;
#[path = "../world/mod.rs"]
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pychat::wire::transfer::{DATA_BYTES_MAX, TransferRecord};
use serde_json::{Value, json};
use world::World;
use world::sharer::{Heard, Sharer, blob, content};

/// Without the bound on messages, and with little room on the disk asked for.
const LIMITS: &str = r#"{"messages_per_s": 1000, "messages_burst": 1000, "requests_per_s": 1000,
    "file_reserve_bytes": 0, "file_bytes_max": 50000000, "uploads_unfinished_max": 50}"#;

/// The files in the store: unfinished ones and whole ones.
fn stored(world: &World) -> (usize, usize) {
    fn count(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
        entries.map(|one| if one.path().is_dir() { count(&one.path()) } else { 1 }).sum()
    }
    let folder: PathBuf = world.home().join("data/files");
    let coming = folder.join("coming");
    // Counted apart: the server may remove one meanwhile.
    let folders = fs::read_dir(&folder).into_iter().flatten().map(|one| one.unwrap().path());
    let whole = folders.filter(|one| *one != coming).map(|one| count(&one)).sum();
    (count(&coming), whole)
}

#[test]
fn a_file_arrives_as_it_was_sent() {
    let world = World::with(LIMITS);
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    for (number, bytes) in [1, 16, 4_112, 16_368, 16_369, 700_000].into_iter().enumerate() {
        let (number, content) = (number as u8 + 1, content(bytes));
        for to in ["#lobby", "@bob"] {
            let from_bobs_side = if to == "@bob" { "@alice" } else { to };
            let number = number + if to == "@bob" { 100 } else { 0 };
            alice.shares(to, number, &content);
            assert_eq!(bob.get(from_bobs_side, number, 0)["code"], "no_such_file", "not announced");
            let message = alice.announces(to, number);
            assert_eq!(
                (&message["kind"], &message["blob"]),
                (&json!("file"), &json!(blob(number)))
            );
            for window in [1_000, 20_000, 1 << 20] {
                if bytes < 100_000 || window > 10_000 {
                    assert!(bob.fetches(from_bobs_side, number, 0, window) == content);
                }
            }
            assert!(
                bob.fetches(from_bobs_side, number, bytes / 2, 1 << 20) == content[bytes / 2..]
            );
            assert_eq!(alice.put(to, number, bytes)["type"], "kept", "it is there already");
        }
    }
    let history = bob.asks(json!({"type": "history", "to": "#lobby", "kind": "file"}));
    assert_eq!(history["type"], "message", "{history}");
    let usage = alice.asks(json!({"type": "usage"}));
    let used: usize =
        [1, 16, 4_112, 16_368, 16_369, 700_000].iter().map(|it| 2 * 4_096.max(*it)).sum();
    assert_eq!((usage["bytes"].as_u64(), stored(&world)), (Some(used as u64), (0, 12)));
    assert!(usage["files"].as_array().unwrap().iter().all(|file| file["sent"] == true));
}

#[test]
fn a_record_of_a_download_ends_where_the_client_wants() {
    let world = World::with(LIMITS);
    let mut alice = Sharer::enters(&world, "alice");
    let content = content(40_000);
    alice.shares("#lobby", 1, &content);
    alice.announces("#lobby", 1);
    let answer = alice.get("#lobby", 1, 0);
    let transfer = answer["transfer"].as_u64().unwrap() as u32;
    let ends: Vec<u64> = (1..=8).map(|number| number * 2_000).collect();
    for upto in &ends {
        alice.record(TransferRecord::Want { transfer, upto: *upto });
    }
    let mut next = 0;
    while next < 16_000 {
        if let Heard::Data { offset, bytes, .. } = alice.next() {
            let end = offset + bytes.len() as u64;
            assert!(
                offset == next && ends.contains(&end) && bytes.len() <= 2_000,
                "{offset} {end}"
            );
            next = end;
        }
    }
    // Without small steps, records are full.
    alice.record(TransferRecord::Want { transfer, upto: 40_000 });
    let full = loop {
        if let Heard::Data { bytes, .. } = alice.next() {
            break bytes.len();
        }
    };
    assert_eq!(full, DATA_BYTES_MAX);
}

/// What a client does with its transfer.
type Breaks = Box<dyn Fn(u32, &mut Sharer)>;

#[test]
fn a_client_that_breaks_a_rule_is_cut_off() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let data = |offset: u64, bytes: usize| {
        move |transfer: u32, alice: &mut Sharer| alice.data(transfer, offset, &content(bytes))
    };
    let have = |transfer: u32, alice: &mut Sharer| {
        alice.record(TransferRecord::Have { transfer, written: 1, limit: 2 });
    };
    let other = |_: u32, alice: &mut Sharer| alice.data(77, 0, &content(100));
    let wrong: [(&str, Breaks); 5] = [
        ("not the next byte", Box::new(data(1, 100))),
        ("the end is beyond the size", Box::new(data(0, 2_000))),
        ("an offset that overflows", Box::new(data(u64::MAX - 200, 100))),
        ("a record of servers", Box::new(have)),
        ("a transfer that does not exist", Box::new(other)),
    ];
    for (number, (what, breaks)) in wrong.into_iter().enumerate() {
        let mut alice = Sharer::returns(&world, "alice");
        let answer = alice.put("#lobby", number as u8 + 1, 1_000);
        breaks(answer["transfer"].as_u64().unwrap() as u32, &mut alice);
        assert_eq!(alice.ended().0.as_deref(), Some("protocol"), "{what}");
    }
    let mut alice = Sharer::returns(&world, "alice");
    alice.shares("#lobby", 1, &content(1_000));
}

#[test]
fn nobody_learns_of_files_of_others() {
    let world = World::with(LIMITS);
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    let mut carol = Sharer::enters(&world, "carol");
    alice.shares("@bob", 1, &content(5_000));
    alice.announces("@bob", 1);
    assert!(bob.fetches("@alice", 1, 0, 9_000) == content(5_000));
    // Carol has the id, and is not in the conversation.
    for to in ["#lobby", "@alice", "@bob"] {
        assert_eq!(carol.get(to, 1, 0), carol.get(to, 99, 0), "one answer for both");
        assert_eq!(carol.get(to, 1, 0)["code"], "no_such_file");
        assert_eq!(carol.put(to, 1, 5_000)["type"], "upload", "her own file of that name");
    }
    assert_eq!(carol.asks(json!({"type": "drop", "blob": blob(99)}))["code"], "no_such_file");
    assert_eq!(carol.get("#other", 1, 0)["code"], "not_member");
    assert_eq!(carol.announces("@bob", 1)["code"], "no_such_file");
    assert_eq!(bob.announces("@alice", 1)["code"], "no_such_file", "it is not his");
    assert!(bob.fetches("@alice", 1, 0, 9_000) == content(5_000));
}

#[test]
fn no_block_comes_after_leaving_or_after_the_deletion() {
    let world = World::with(LIMITS);
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    let bytes = content(2_000_000);
    for person in [&mut alice, &mut bob] {
        person.asks(json!({"type": "join", "channel": "#tea"}));
    }
    alice.shares("#tea", 1, &bytes);
    alice.shares("#tea", 2, &bytes);
    let seqs = [1, 2].map(|number| alice.announces("#tea", number)["seq"].clone());
    let begins = |bob: &mut Sharer, number| {
        let answer = bob.get("#tea", number, 0);
        let transfer = answer["transfer"].as_u64().unwrap() as u32;
        bob.record(TransferRecord::Want { transfer, upto: 100_000 });
        let mut came = 0;
        while came < 100_000 {
            if let Heard::Data { bytes, .. } = bob.next() {
                came += bytes.len();
            }
        }
        transfer
    };
    let transfer = begins(&mut bob, 1);
    alice.sends(
        json!({"type": "say", "to": "#tea", "id": "d".repeat(32), "kind": "delete", "of": seqs[0]}),
    );
    let stopped = bob.event(&["stopped"]);
    assert_eq!((&stopped["transfer"], &stopped["code"]), (&json!(transfer), &json!("file_gone")));
    bob.record(TransferRecord::Want { transfer, upto: 2_000_000 });
    let gone = bob.get("#tea", 1, 0);
    assert_eq!(
        (&gone["code"], &gone["hint"]),
        (&json!("file_gone"), &json!("the file was deleted"))
    );
    world.until("the file is removed", || stored(&world) == (0, 1));
    assert_eq!(alice.asks(json!({"type": "usage"}))["bytes"], 2_000_000);
    let transfer = begins(&mut bob, 2);
    assert_eq!(bob.asks(json!({"type": "part", "channel": "#tea"}))["type"], "parted");
    bob.record(TransferRecord::Want { transfer, upto: 2_000_000 });
    loop {
        match bob.next() {
            Heard::Event(event) if event["type"] == "stopped" => break,
            Heard::Data { .. } => panic!("a block after leaving"),
            _ => {}
        }
    }
    assert_eq!(bob.get("#tea", 2, 0)["code"], "not_member");
}

#[test]
fn history_is_answered_during_a_download() {
    let world = World::with(LIMITS);
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    // More than the sockets of both sides hold.
    let bytes = content(40_000_000);
    alice.shares("#lobby", 1, &bytes);
    alice.announces("#lobby", 1);
    let transfer = bob.get("#lobby", 1, 0)["transfer"].as_u64().unwrap() as u32;
    let half = bytes.len() / 2;
    bob.record(TransferRecord::Want { transfer, upto: half as u64 });
    bob.sends(json!({"type": "history", "to": "#lobby", "ref": "during"}));
    let (mut came, mut answered_at) = (0, None);
    while came < bytes.len() {
        match bob.next() {
            Heard::Data { bytes, .. } => came += bytes.len(),
            // The other half is wanted after the answer only.
            Heard::Event(event) if event["type"] == "history" => {
                answered_at = Some(came);
                bob.record(TransferRecord::Want { transfer, upto: bytes.len() as u64 });
            }
            Heard::End(reason) => panic!("ended: {reason:?}"),
            _ => {}
        }
    }
    assert!(answered_at.is_some_and(|came| came <= half), "{answered_at:?}");
}

#[test]
fn quotas_hold_and_equal_what_is_there() {
    let limits = r#"{"messages_per_s": 1000, "messages_burst": 1000, "file_reserve_bytes": 0,
        "file_bytes_max": 1000000, "files_per_user_bytes_max": 1000000, "files_bytes_max": 1500000}"#;
    let world = World::with(limits);
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    let mut phone = Sharer::returns(&world, "alice");
    assert_eq!(alice.put("#lobby", 1, 2_000_000)["code"], "file_too_large");
    assert_eq!(alice.put("#lobby", 1, 0)["code"], "bad_request");
    // Two devices ask for the last room.
    let answers = [alice.put("#lobby", 1, 600_000), phone.put("#lobby", 2, 600_000)];
    assert_eq!((&answers[0]["type"], &answers[1]["code"]), (&json!("upload"), &json!("quota")));
    assert!(
        answers[1]["hint"].as_str().unwrap().contains("600.00 kB of 1.00 MB"),
        "{}",
        answers[1]
    );
    // The unfinished upload of the other device expires in a day.
    let hint = answers[1]["hint"].as_str().unwrap();
    assert!(hint.contains("or wait until 20") && hint.ends_with("when 600.00 kB expire"), "{hint}");
    let alone = bob.put("#lobby", 3, 1_003_000);
    assert_eq!(alone["code"], "quota", "{alone}");
    assert!(alone["hint"].as_str().unwrap().contains("all your files here may take"), "{alone}");
    assert_eq!(bob.put("#lobby", 3, 950_000)["code"], "disk", "the server's own bound");
    assert_eq!(stored(&world), (1, 0), "a refused upload leaves nothing");
    let dropped = phone.asks(json!({"type": "drop", "blob": blob(1)}));
    assert_eq!(dropped["type"], "dropped");
    assert_eq!(alice.event(&["stopped"])["code"], "file_gone");
    world.until("it is removed", || stored(&world) == (0, 0));
    assert_eq!(phone.asks(json!({"type": "usage"}))["bytes"], 0);
    for number in 10..13 {
        assert_eq!(alice.put("#lobby", number, 10)["type"], "upload");
    }
    assert_eq!(alice.put("#lobby", 13, 10)["code"], "busy", "three are unfinished");
    bob.shares("#lobby", 3, &content(950_000));
    bob.announces("#lobby", 3);
    assert_eq!(bob.asks(json!({"type": "drop", "blob": blob(3)}))["code"], "forbidden");
}

/// Real clients: the file expires before its message, which stays.
#[test]
fn an_expired_file_is_removed_and_its_message_stays() {
    let limits = LIMITS.replacen('{', r#"{"file_age_s_max": 5, "#, 1);
    let world = World::with(&limits);
    ["alice", "bob"].iter().for_each(|name| world.admit(name));
    let mut alice = world.client("alice", &["--json"]);
    let mut bob = world.client("bob", &["--json"]);
    [&alice, &bob].iter().for_each(|client| drop(client.sees(r#""type":"entered""#)));
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("tea.bin"), folder.path().join("got.bin"));
    fs::write(&path, content(100_000)).unwrap();
    alice.types(&json!({"type": "send_file", "to": "#lobby", "path": path}).to_string());
    let message: Value = serde_json::from_str(&bob.sees(r#""name":"tea.bin""#)).unwrap();
    let until: jiff::Timestamp = message["file"]["until"].as_str().unwrap().parse().unwrap();
    assert_eq!(stored(&world), (0, 1));
    let is_over = || jiff::Timestamp::now().as_millisecond() > until.as_millisecond() + 500;
    world.until("its time is over", is_over);
    // The sweep runs at the start, and each minute.
    let world = world.restarted();
    world.until("the server removes it", || stored(&world) == (0, 0));
    let get = json!({"type": "get_file", "to": "#lobby", "seq": message["seq"], "path": to});
    bob.types(&get.to_string());
    let end = bob.sees(r#""state":"failed""#);
    assert!(end.contains(r#""code":"file_gone""#), "{end}");
    assert!(!to.exists());
    // It no longer counts, and its message is there.
    let mut other = Sharer::returns(&world, "alice");
    assert_eq!(other.asks(json!({"type": "usage"}))["bytes"], 0);
    bob.types(r##"{"type":"history","to":"#lobby","messages":5,"ref":"h"}"##);
    let known = bob.sees(r#""ref":"h""#);
    assert!(known.contains("tea.bin"), "{known}");
}

#[test]
fn a_muted_user_sends_no_file_and_can_fetch_files() {
    let world = World::with(LIMITS);
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    let bytes = content(5_000);
    alice.shares("#lobby", 1, &bytes);
    alice.announces("#lobby", 1);
    assert!(world.operator(&["ctl", "mute", "bob"]).0);
    assert_eq!(bob.put("#lobby", 2, 5_000)["code"], "muted");
    assert_eq!(bob.fetches("#lobby", 1, 0, 100_000), bytes);
    // The control: the same once more without the mute.
    assert!(world.operator(&["ctl", "unmute", "bob"]).0);
    assert_eq!(bob.put("#lobby", 2, 5_000)["type"], "upload");
}

#[test]
fn a_server_without_a_place_for_files_says_so() {
    for config in [
        r#"{"history": "off"}"#,
        r#"{"limits": {"file_bytes_max": 0}}"#,
        r##"{"channels": {"#lobby": {"retention": "off"}}}"##,
    ] {
        let world = World::configured(config);
        let mut alice = Sharer::enters(&world, "alice");
        assert_eq!(alice.put("#lobby", 1, 1_000)["code"], "no_files", "{config}");
        assert_eq!(alice.get("#lobby", 1, 0)["code"], "no_files", "{config}");
        assert_eq!(alice.announces("#lobby", 1)["code"], "no_files", "{config}");
    }
}

#[test]
fn files_of_a_forgotten_channel_are_not_served() {
    let limits = LIMITS.replacen('{', r#"{"channel_empty_s": 0, "#, 1);
    let world = World::configured(&format!(r#"{{"forget_empty": true, "limits": {limits}}}"#));
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    let tea = format!("#tea~{}", "0".repeat(26));
    for person in [&mut alice, &mut bob] {
        assert_eq!(person.asks(json!({"type": "join", "channel": tea}))["type"], "entered");
    }
    // The first file is removed with the first part of the messages, the second one with the last.
    for number in 0..50_u8 {
        let file = match number {
            0 => Some(1),
            49 => Some(2),
            _ => None,
        };
        let id = format!("{number:02x}").repeat(16);
        let mut say = json!({"type": "say", "to": tea, "id": id, "sealed": "AQID"});
        if let Some(file) = file {
            alice.shares(&tea, file, &content(5_000));
            (say["kind"], say["blob"]) = ("file".into(), json!(blob(file)));
        }
        alice.sends(say);
        while alice.event(&["message"])["id"] != id.as_str() {}
    }
    assert!(bob.fetches(&tea, 1, 0, 9_000) == content(5_000), "the control");
    assert!(bob.fetches(&tea, 2, 0, 9_000) == content(5_000), "the control");
    // Has begun, and waits for bob.
    let waiting = bob.get(&tea, 2, 0)["transfer"].as_u64().unwrap() as u32;
    for person in [&mut bob, &mut alice] {
        person.asks(json!({"type": "part", "channel": tea}));
    }
    let stopped = bob.event(&["stopped"]);
    assert_eq!((&stopped["transfer"], &stopped["code"]), (&json!(waiting), &json!("file_gone")));
    bob.sends(json!({"type": "join", "channel": tea}));
    bob.record(TransferRecord::Want { transfer: waiting, upto: 5_000 });
    bob.sends(json!({"type": "people", "channel": tea, "ref": "later"}));
    loop {
        match bob.next() {
            Heard::Event(event) if event["ref"] == "later" => break,
            Heard::Data { .. } => panic!("a block of a forgotten channel"),
            Heard::End(reason) => panic!("ended: {reason:?}"),
            _ => {}
        }
    }
    for number in [1, 2] {
        let answer = bob.get(&tea, number, 0);
        let gone = ["file_gone", "no_such_file"].iter().any(|code| answer["code"] == *code);
        assert!(gone, "{number}: {answer}");
    }
    world.until("the first file is removed", || stored(&world).1 < 2);
    let world = world.restarted();
    world.until("all files are removed", || stored(&world) == (0, 0));
    let mut bob = Sharer::returns(&world, "bob");
    bob.asks(json!({"type": "join", "channel": tea}));
    for number in [1, 2] {
        assert_eq!(bob.get(&tea, number, 0)["code"], "no_such_file");
    }
}

#[test]
fn data_in_flight_when_an_upload_ends_delays_nothing() {
    let world = World::with(r#"{"file_reserve_bytes": 0}"#);
    let mut alice = Sharer::enters(&world, "alice");
    let mut phone = Sharer::returns(&world, "alice");
    let piece = content(DATA_BYTES_MAX);
    let transfer = alice.put("#lobby", 1, 8 << 20)["transfer"].as_u64().unwrap() as u32;
    alice.data(transfer, 0, &piece);
    assert_eq!(phone.asks(json!({"type": "drop", "blob": blob(1)}))["type"], "dropped");
    assert_eq!(alice.event(&["stopped"])["code"], "file_gone");
    // A window of 4 MiB that its client had sent before.
    let began = Instant::now();
    let next = 1 + (4 << 20) / piece.len();
    (1..next).for_each(|at| alice.data(transfer, (at * piece.len()) as u64, &piece));
    assert_eq!(alice.asks(json!({"type": "usage"}))["files"], json!([]));
    let quick = began.elapsed();
    // The control: records that move nothing on are requests.
    let began = Instant::now();
    for _ in 0..180 {
        alice.data(transfer, 0, &piece);
    }
    assert_eq!(alice.asks(json!({"type": "usage"}))["files"], json!([]));
    let slow = began.elapsed();
    assert!(slow > Duration::from_secs(5), "{slow:?}");
    assert!(quick < slow, "{quick:?} for more records than those that took {slow:?}");
}

#[test]
fn many_downloads_cost_no_memory_and_no_open_files() {
    let world = World::with(&LIMITS.replace("s_per_s\": 1000", "s_per_s\": 1000000"));
    let (mut alice, mut bob) = (Sharer::enters(&world, "alice"), Sharer::enters(&world, "bob"));
    let bytes = content(500_000);
    alice.shares("#lobby", 1, &bytes);
    alice.announces("#lobby", 1);
    let open_files = || {
        let folder = format!("/proc/{}/fd", world.server.pid().as_raw_nonzero());
        let links =
            fs::read_dir(folder).unwrap().filter_map(|one| fs::read_link(one.ok()?.path()).ok());
        links.filter(|path| path.to_string_lossy().contains("data/files")).count()
    };
    assert!(bob.fetches("#lobby", 1, 0, 1 << 20) == bytes);
    world.until("the file is closed", || open_files() == 0);
    let gets = |bob: &mut Sharer, many: usize| {
        for _ in 0..many {
            let answer = bob.get("#lobby", 1, 1_000);
            assert_eq!(answer["type"], "download", "{answer}");
            bob.record(TransferRecord::Stop {
                transfer: answer["transfer"].as_u64().unwrap() as u32,
                code: 0,
            });
        }
    };
    gets(&mut bob, 500);
    let before = world.server.memory_kib();
    gets(&mut bob, 10_000);
    let grown = world.server.memory_kib().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB");
    // Downloads that begin and never continue open no file, and their number is bounded.
    let mut transfers = Vec::new();
    let refused = loop {
        let answer = bob.get("#lobby", 1, 0);
        match answer["transfer"].as_u64() {
            Some(transfer) => transfers.push(transfer as u32),
            None => break answer,
        }
    };
    assert_eq!((&refused["code"], transfers.len(), open_files()), (&json!("busy"), 8, 0));
    // One of them goes on to its end: the control.
    bob.record(TransferRecord::Want { transfer: transfers[3], upto: 100_000 });
    let mut came = 0;
    while came < 100_000 {
        if let Heard::Data { bytes, .. } = bob.next() {
            came += bytes.len();
        }
    }
    assert_eq!(open_files(), 1, "it may go on");
    bob.record(TransferRecord::Stop { transfer: transfers[3], code: 0 });
    world.until("the file is closed", || open_files() == 0);
    let answer = alice.put("#lobby", 2, bytes.len());
    assert_eq!(alice.uploads(&answer, &bytes, 100_000), None);
    assert_eq!(open_files(), 1, "an upload has its file");
    drop(alice);
    world.until("the file is closed", || open_files() == 0);
    let mut alice = Sharer::returns(&world, "alice");
    assert_eq!(alice.put("#lobby", 2, bytes.len())["have"], 100_000);
}
