//! What a client says to be on disk is there: after a kill, beside a second client, on a full disk
//! and with a damaged file.

mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use world::{Program, World};

const SAYS: &str = r##"{"type":"say","to":"#lobby","text":"TEXT"}"##;

/// A world whose server is down, and alice, who has been there.
fn offline() -> World {
    let world = World::with(r#"{"messages_burst": 1000}"#);
    world.admit("bob");
    let mut alice = world.enters("alice");
    alice.types("/exit");
    assert!(alice.ends().success());
    world.stopped()
}

fn says(client: &mut Program, text: &str) {
    client.types(&SAYS.replace("TEXT", text));
}

/// The `pending` objects that a client has printed: id and `stored`.
fn pending(client: &Program) -> Vec<(String, bool)> {
    let pending = client.objects("pending").into_iter();
    pending.map(|object| (object["id"].to_string(), object["stored"].as_bool().unwrap())).collect()
}

#[track_caller]
fn pends(world: &World, client: &Program, count: usize) {
    world.until("it is pending", || pending(client).len() >= count);
}

/// Files of alice's outbox.
fn files(world: &World) -> Vec<PathBuf> {
    let folder = world.data_folder("alice").join("servers");
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().contains(".outbox")).collect()
}

/// What bob gets of these texts once alice's client is there again.
fn arrive(world: &World, texts: &[&str]) -> BTreeSet<String> {
    let bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    let alice = world.client("alice", &["--json"]);
    world.until("her outbox is empty", || {
        files(world).iter().all(|path| {
            path.to_string_lossy().ends_with("damaged") || fs::metadata(path).unwrap().len() == 0
        })
    });
    alice.sees("\"connected\"");
    let last = "the last one";
    let mut carol = world.enters("carol");
    carol.types(last);
    bob.sees(last);
    texts.iter().filter(|text| bob.seen(text) > 0).map(|text| (*text).to_owned()).collect()
}

#[test]
fn each_client_of_a_profile_keeps_what_it_calls_stored() {
    let world = offline();
    let mut clients: Vec<_> = (0..3).map(|_| world.client("alice", &["--json"])).collect();
    clients.iter().for_each(|client| drop(client.sees("offline")));
    for (number, client) in clients.iter_mut().enumerate() {
        says(client, &format!("from client {number}"));
        pends(&world, client, 1);
        assert!(pending(client)[0].1, "{:?}", client.shown());
    }
    clients.iter_mut().for_each(Program::kill);
    let world = world.started();
    let texts = ["from client 0", "from client 1", "from client 2"];
    assert_eq!(arrive(&world, &texts), texts.map(str::to_owned).into());
}

/// alice's client, whose files cannot grow beyond so many bytes.
fn with_small_files(world: &World, bytes: u64) -> Program {
    let client = without_file_signal(world);
    client.sees("offline");
    limits(&client, Some(bytes));
    client
}

/// alice's client, which gets an error instead of SIGXFSZ if a file cannot grow.
fn without_file_signal(world: &World) -> Program {
    let mut command = Command::new("sh");
    let client = world.program("alice");
    command.args(["-c", "trap '' XFSZ && exec \"$0\" \"$@\""]).arg(client.get_program());
    command.args(["client", &world.invite, "--name", "alice", "--json"]);
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Program::start(command)
}

fn limits(client: &Program, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(client.pid()), Resource::Fsize, limit).unwrap();
}

#[test]
fn a_full_disk_is_told_and_what_waits_is_stored_once_there_is_room() {
    let world = offline();
    let mut alice = with_small_files(&world, 600);
    says(&mut alice, "before");
    pends(&world, &alice, 1);
    assert!(pending(&alice)[0].1);
    let text = "x".repeat(600);
    says(&mut alice, &format!("{text} one"));
    says(&mut alice, &format!("{text} two"));
    pends(&world, &alice, 3);
    assert!(pending(&alice)[1..].iter().all(|(_, stored)| !stored), "{:?}", alice.shown());
    let error = alice.sees("unsent messages are only in memory");
    assert!(error.contains(".outbox: ") && error.contains("too large"), "{error}");
    // There is room again: nobody has to type anything.
    limits(&alice, None);
    pends(&world, &alice, 5);
    assert!(pending(&alice)[3..].iter().all(|(_, stored)| *stored), "{:?}", alice.shown());
    alice.kill();
    let world = world.started();
    let texts = ["before", "xx one", "xx two"];
    assert_eq!(arrive(&world, &texts), texts.map(str::to_owned).into());
}

#[test]
fn what_is_only_in_memory_is_not_promised_at_the_end() {
    let world = offline();
    let mut alice = with_small_files(&world, 0);
    says(&mut alice, "nowhere");
    pends(&world, &alice, 1);
    alice.types(r#"{"type":"quit"}"#);
    alice.sees("unsent messages: 1; those that are only in memory are lost");
    alice.ends();
}

/// The home of a client that was killed offline, and the file in which it had stored these texts.
fn left_in_a_file(texts: &[&str]) -> (World, PathBuf) {
    let world = offline();
    let mut alice = world.client("alice", &["--json"]);
    texts.iter().for_each(|text| says(&mut alice, text));
    pends(&world, &alice, texts.len());
    alice.kill();
    let file = files(&world).remove(0);
    (world, file)
}

#[test]
fn one_flipped_bit_is_told_and_costs_one_message_at_most() {
    let texts = ["green tea", "black tea", "white tea", "yellow tea"];
    for bit in [3, 500, 1_603] {
        let (world, file) = left_in_a_file(&texts);
        let mut bytes = fs::read(&file).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bytes).unwrap();
        let mut plain = world.client("alice", &["--plain"]);
        let told = plain.sees("damaged");
        assert!(told.contains(&file.display().to_string()), "{told}");
        plain.kill();
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
        let aside =
            files(&world).into_iter().find(|path| path.to_string_lossy().ends_with("damaged"));
        let aside = fs::read(aside.unwrap()).unwrap();
        assert!(aside.windows(line.len()).any(|part| part == line), "bit {bit} is set aside");
        let world = world.started();
        let arrived = arrive(&world, &texts);
        assert!(arrived.len() >= 3, "bit {bit}: {arrived:?}");
    }
}

#[test]
fn a_truncated_emptied_or_removed_outbox_is_reported() {
    let texts = ["green tea", "black tea", "white tea"];
    for (part, lost) in
        [(Some(2.5), "a message"), (Some(0.0), "up to 3 messages"), (None, "up to 3")]
    {
        let (world, file) = left_in_a_file(&texts);
        let whole = fs::read(&file).unwrap();
        match part {
            Some(part) => {
                let bytes = (whole.len() as f64 / 3.0 * part) as usize;
                fs::write(&file, &whole[..bytes]).unwrap();
            }
            None => fs::remove_file(&file).unwrap(),
        }
        let mut plain = world.client("alice", &["--plain"]);
        let told = plain.sees("not sent yet may be missing");
        assert!(told.contains(&file.display().to_string()) && told.contains(lost), "{told}");
        plain.kill();
        // The remaining messages are sent. Messages that the server has stored are not reported as
        // missing.
        let world = world.started();
        let left = if part == Some(2.5) { 2 } else { 0 };
        assert_eq!(arrive(&world, &texts).len(), left);
        let plain = world.client("alice", &["--plain"]);
        plain.sees("you are in #lobby");
        assert_eq!(plain.seen("may be missing"), 0, "{:?}", plain.shown());
    }
}

/// The writes and syncs of alice's client up to its first `pending`.
fn calls_before_pending(world: &World) -> Vec<String> {
    let (folder, trace) = (world.home(), world.home().join("calls"));
    let mut command = world.program("alice");
    command.args(["client", &world.invite, "--name", "alice", "--json"]);
    command.env("LD_PRELOAD", world::disk::shim("calls", &folder)).env("CALLS", &trace);
    let mut alice = Program::start(command);
    alice.sees("offline");
    says(&mut alice, "on disk");
    pends(world, &alice, 1);
    let bytes = fs::read(trace).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let before = text.lines().take_while(|call| !call.contains(r#""type":"pending""#));
    before.map(str::to_owned).collect()
}

#[test]
fn a_message_is_synced_before_it_is_called_pending() {
    let calls = calls_before_pending(&offline());
    let written = |call: &String| call.starts_with("write ") && call.contains(r#"{"locked":"#);
    let rest = &calls[calls.iter().position(written).expect("it is written")..];
    let synced = |call: &String| call.starts_with("fdatasync ") && call.ends_with(".outbox ");
    assert!(rest.iter().any(synced), "{rest:#?}");
    let folder = |call: &String| call.starts_with("fsync ") && call.ends_with("/servers ");
    assert!(calls.iter().any(folder), "the folder of a new file is synced: {calls:#?}");
}

/// The messages that a search of the sealed conversation finds.
fn finds(alice: &mut Program, number: usize) -> Vec<Value> {
    let reference = format!("search {number}");
    alice.types(
        &json!({"type": "search", "to": "#tea", "text": "room", "ref": reference}).to_string(),
    );
    alice.shows("the answer", |lines| {
        lines.iter().any(|line| line.contains(r#""type":"history""#) && line.contains(&reference))
    });
    let found = alice.objects("message").into_iter();
    found.filter(|message| message["ref"] == *reference).collect()
}

#[test]
fn a_disk_that_was_full_once_takes_read_messages_again() {
    let world = World::with(r#"{"messages_burst": 1000}"#);
    world.admit("alice");
    let mut bob = world.enters("bob");
    let mut alice = without_file_signal(&world);
    alice.sees("\"connected\"");
    let join = r##"{"type":"join","channel":"#tea","pin":"half past four"}"##;
    alice.types(join);
    alice.sees(r##""channel":"#tea~"##);
    bob.types("/join #tea half past four");
    bob.sees("you are in #tea~");
    limits(&alice, Some(0));
    bob.types("while it is full");
    alice.sees("while it is full");
    let error = alice.sees("are not stored for /search");
    assert!(error.contains(".search: ") && error.contains("too large"), "{error}");
    limits(&alice, None);
    // It tries again by itself. Earlier messages are then stored too.
    let mut tries = 0;
    world.until("it stores messages again", || {
        tries += 1;
        let text = format!("there is room again {tries}");
        bob.types(&text);
        alice.sees(&format!("{text}\""));
        !finds(&mut alice, tries).is_empty()
    });
    alice.kill();
    let mut alice = world.client("alice", &["--json"]);
    alice.sees("\"connected\"");
    assert!(!finds(&mut alice, 0).is_empty());
    assert_eq!(alice.seen("damaged"), 0, "{:?}", alice.shown());
}
