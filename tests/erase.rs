//! Erasing a person, and what a name that is given to somebody else may change.

mod world;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pychat::chat::{Body, Kind, MsgId};
use pychat::ledger::{Ledger, Record, SentMessage, Sqlite};
use rustix::process::Signal;
use world::World;
use world::peer::Peer;

fn id(number: u32) -> String {
    format!("{number:032x}")
}

/// Says something in the lobby and gives its seq.
fn says(peer: &mut Peer, number: u32, text: &str) -> String {
    let line = format!(r##"{{"type":"say","to":"#lobby","id":"{}","text":"{text}"}}"##, id(number));
    peer.sends(&line);
    let told = peer.sees(text);
    let line = told.lines().find(|line| line.contains(text)).unwrap();
    // The short form is an array that begins with it.
    let seq = line.strip_prefix("[\"").or_else(|| line.split(r#""seq":""#).nth(1));
    seq.expect(line).split('"').next().unwrap().to_owned()
}

/// Deletes a message of the lobby; gives what is told of it.
fn deletes(peer: &mut Peer, number: u32, seq: &str) -> String {
    let id = id(number);
    peer.sends(&format!(
        r##"{{"type":"say","to":"#lobby","id":"{id}","kind":"delete","of":"{seq}"}}"##
    ));
    peer.sees(&id)
}

#[test]
fn whoever_is_given_a_name_changes_nothing_of_its_former_holder() {
    let world = World::new();
    for name in ["alice", "bob", "carol"] {
        world.admit(name);
    }
    let mut bob = Peer::enters(&world, "bob", "main");
    let first = says(&mut bob, 1, "of the first bob");
    // The same person with a further device, and back with the same key.
    drop(bob);
    let users = world.home().join("users");
    let key = fs::read(users.join("bob.pem")).unwrap();
    let (ok, told) = world.operator(&["users", "remove", "bob"]);
    assert!(ok, "{told}");
    fs::write(users.join("bob.pem"), key).unwrap();
    let (ok, told) = world.operator(&["ctl", "users"]);
    assert!(ok && told.contains("bob"), "{told}");
    let mut bob = Peer::enters(&world, "bob", "main");
    let second = says(&mut bob, 2, "of the same bob");
    let told = deletes(&mut bob, 3, &second);
    assert!(!told.contains("forbidden"), "the control: {told}");
    drop(bob);
    // Somebody else's key, while the server runs.
    let gives_to = |other: &str| {
        for name in ["bob", other] {
            let (ok, told) = world.operator(&["users", "remove", name]);
            assert!(ok, "{told}");
        }
        fs::copy(world.data_folder(other).join("id.pub.pem"), users.join("bob.pem")).unwrap();
    };
    gives_to("carol");
    let (ok, told) = world.operator(&["ctl", "users"]);
    assert!(ok && told.contains("bob"), "{told}");
    let mut peer = enters_with_key_of(&world, "carol");
    let told = deletes(&mut peer, 4, &first);
    assert!(told.contains("forbidden"), "{told}");
    let own = says(&mut peer, 5, "of the second bob");
    let told = deletes(&mut peer, 6, &own);
    assert!(!told.contains("forbidden"), "one's own: {told}");
    drop(peer);
    // And while it does not.
    let world = world.stopped();
    for name in ["bob", "alice"] {
        fs::remove_file(users.join(format!("{name}.pem"))).unwrap();
    }
    fs::copy(world.data_folder("alice").join("id.pub.pem"), users.join("bob.pem")).unwrap();
    let world = world.started();
    let mut peer = enters_with_key_of(&world, "alice");
    let told = deletes(&mut peer, 7, &first);
    assert!(told.contains("forbidden"), "after a restart: {told}");
}

/// Logs in as bob with somebody's key.
fn enters_with_key_of(world: &World, person: &str) -> Peer {
    let pem = fs::read(world.data_folder(person).join("id.pem")).unwrap();
    let folder = world.data_folder("bob");
    fs::write(folder.join("id.pem"), pem).unwrap();
    Peer::enters(world, "bob", "main")
}

/// A server that was killed while it erased so many messages of bob; `None` if it was done.
fn killed_while_it_erases_bob(messages: u32) -> Option<World> {
    let limits = r#"{"messages_burst": 100000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#;
    let mut world = World::with(limits);
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    bob.types("/topic walrusmarker is the topic");
    alice.sees("walrusmarker is the topic");
    (0..messages).for_each(|number| bob.types(&format!("walrusmarker{number} and more")));
    alice.sees(&format!("walrusmarker{} ", messages - 1));
    assert!(world.found_in("home", "walrusmarker") > messages as usize, "the control");
    bob.hangs_up();
    bob.ends();
    fs::remove_file(world.home().join("users/bob.pem")).unwrap();
    let mut command = world.program("operator");
    command.args(["ctl", "erase", "bob", "--home"]).arg(world.home());
    let mut asked = world::Program::start(command);
    // The trail has it from the beginning on: the end of the removal may never come.
    let trail = world.home().join("data/audit.jsonl");
    world.until("the trail has it", || {
        let text = fs::read_to_string(&trail).unwrap();
        text.contains("\"action\":\"erase\",\"target\":\"bob\"")
    });
    // Deleted text may stay in the files for a minute: the server reports whether it is removed.
    let (_, told) = world.operator(&["ctl", "stats", "--json"]);
    let is_under_way = told.contains(r#""erasing":{"messages""#);
    world.server.signal(Signal::KILL);
    world.server.ends();
    asked.ends();
    alice.kill();
    is_under_way.then_some(world)
}

#[test]
fn an_erasure_goes_on_after_a_kill_and_takes_topics_along() {
    let killed = [3_000, 12_000, 48_000].into_iter().find_map(killed_while_it_erases_bob);
    let world = killed.expect("the control: the kill came before the end").started();
    world.until("the next start goes on", || {
        let (ok, told) = world.operator(&["ctl", "retention", "--now"]);
        let (_, stats) = world.operator(&["ctl", "stats", "--json"]);
        assert!(ok, "{told}");
        stats.contains(r#""erasing":null"#) && world.found_in("home", "walrusmarker") == 0
    });
    let mut alice = world.client("alice", &["--plain"]);
    alice.sees("you are in #lobby");
    alice.types("/topic");
    alice.sees("topic of #lobby: (none)");
    let (ok, told) = world.operator(&["verify"]);
    assert!(ok, "{told}");
}

/// Times from sending a message until it comes back stored, of messages in a row, until `enough`.
fn waits(peer: &mut Peer, first: u32, mut enough: impl FnMut(usize) -> bool) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !enough(waits.len()) {
        let began = Instant::now();
        let number = first + waits.len() as u32;
        says(peer, number, &format!("message {number} of alice"));
        waits.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    waits.sort();
    waits
}

/// Alice and bob send without a limit.
fn fast_world() -> World {
    let limits = r#"{"messages_burst": 100000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#;
    let world = World::with(limits);
    for name in ["alice", "bob"] {
        world.admit(name);
    }
    world
}

#[test]
fn an_erasure_delays_messages_of_others_by_one_part_at_most() {
    let world = fast_world();
    let mut alice = Peer::enters(&world, "alice", "main");
    let mut bob = Peer::enters(&world, "bob", "main");
    for number in 0..12_000 {
        let text = format!("walrusmarker{number} and more of the same text again and again");
        bob.sends(&format!(
            r##"{{"type":"say","to":"#lobby","id":"{}","text":"{text}"}}"##,
            id(1 << 20 | number)
        ));
    }
    alice.sees("walrusmarker11999 ");
    drop(bob);
    fs::remove_file(world.home().join("users/bob.pem")).unwrap();
    says(&mut alice, 0, "all of bob is read");
    // The units: the time of a message without an erasure, and the time of a commit of another
    // program on this disk meanwhile. A stall of the machine delays both.
    let witness = Witness::starts(&world.home().join("data/witness"));
    let before = waits(&mut alice, 1, |count| count == 100);
    let mut command = world.program("operator");
    command.args(["ctl", "erase", "bob", "--home"]).arg(world.home());
    let asked = world::Program::start(command);
    let during = waits(&mut alice, 1_000, |count| count > 1_000 || !asked.shown().is_empty());
    let after = waits(&mut alice, 10_000, |count| count == 100);
    let stall = witness.ends();
    assert!(during.len() > 20, "it was over after {} messages", during.len());
    let unit = |at: fn(&[Duration]) -> Duration| at(&before).max(at(&after));
    let median = |waits: &[Duration]| waits[waits.len() / 2];
    let longest = |waits: &[Duration]| *waits.last().unwrap();
    let figures = [&before, &during, &after].map(|waits| (median(waits), longest(waits)));
    println!("medians and longest waits before, during and after: {figures:?}, commits: {stall:?}");
    println!("the longest of {}: {:?}", during.len(), &during[during.len() - 5..]);
    // A part, its commit and the message's own.
    let bound = 3 * unit(median) + Duration::from_millis(50);
    assert!(median(&during) <= bound, "{figures:?}");
    let bound = 3 * unit(longest).max(stall) + Duration::from_millis(250);
    assert!(longest(&during) <= bound, "{figures:?}, {stall:?}");
}

/// Messages of the figures, unless `PYCHAT_MESSAGES` has another number.
const FIGURES: u32 = 100_000;

/// Stores so many messages of bob and carol, in turn, in #old of a stopped server: 40 days old. One
/// in the lobby is new, so that the server trusts the clock.
fn fill_old(world: &World, messages: u32) {
    const AGE_MS: i64 = 40 * 86_400_000;
    let mut ledger = Sqlite::open(&world.home().join("data/ledger.db"), 60).unwrap();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let message = |number: u32| {
        let (place, age_ms) = if number == messages { ("#lobby", 0) } else { ("#old", AGE_MS) };
        Record::message(SentMessage {
            conversation: place.parse().unwrap(),
            from: ["bob", "carol"][number as usize % 2].parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId(u128::from(number).to_be_bytes()),
            time_ms: now_ms - age_ms,
            kind: Kind::Say,
            body: Body::Text(format!("word{number} and some more words of a message")),
        })
    };
    for begin in (0..messages).step_by(5_000) {
        let batch: Vec<Record> = (begin..messages.min(begin + 5_000)).map(message).collect();
        ledger.commit(&batch).unwrap();
    }
    ledger.commit(&[message(messages)]).unwrap();
}

/// Runs an operator's command, and prints how long messages of alice wait until it ends.
fn figures(world: &World, alice: &mut Peer, first: u32, command: &[&str]) {
    let witness = Witness::starts(&world.home().join("data/witness"));
    let began = Instant::now();
    let mut program = world.program("operator");
    program.args(command).arg("--home").arg(world.home());
    let asked = world::Program::start(program);
    let mut waited: Vec<Duration> = Vec::new();
    let (mut looks, mut ill) = (0, 0);
    while asked.shown().is_empty() {
        alice.reader.set_deadline(Instant::now() + world::DEADLINE).unwrap();
        let first = first + waited.len() as u32;
        waited.extend(waits(alice, first, |count| count == 100 || !asked.shown().is_empty()));
        looks += 1;
        ill += u32::from(!world.operator(&["ctl", "health"]).0);
    }
    let (seconds, stall) = (began.elapsed().as_secs_f64(), witness.ends());
    waited.sort();
    let at = |part: usize| waited[(waited.len() - 1) * part / 1_000].as_secs_f64() * 1e3;
    let late = waited.iter().filter(|wait| **wait > Duration::from_millis(50)).count();
    println!(
        "| {} | {seconds:.0} | {} | {:.1} | {:.1} | {:.1} | {late} | {:.1} | {ill} of {looks} |",
        command.join(" "),
        waited.len(),
        at(500),
        at(990),
        at(1_000),
        stall.as_secs_f64() * 1e3
    );
}

/// The figures of docs/performance.md, on the real binary: `cargo test --test erase -- --ignored
/// --nocapture figures`. `PYCHAT_MESSAGES` is the number of messages.
#[test]
#[ignore = "it takes minutes and checks nothing"]
fn figures_of_large_removals() {
    let messages = std::env::var("PYCHAT_MESSAGES").ok().and_then(|text| text.parse().ok());
    let messages = messages.unwrap_or(FIGURES);
    let limits = r#"{"messages_burst": 1000000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#;
    println!("{messages} messages of bob and carol in #old; alice sends all the time");
    println!(
        "| command | s | messages of alice | p50 ms | p99 ms | longest ms | over 50 ms | longest \
         sync of another file ms | unhealthy |"
    );
    let jobs: [(&str, &[&str]); 2] =
        [("forever", &["ctl", "erase", "bob"]), ("30d", &["ctl", "retention", "--now"])];
    for (retention, command) in jobs {
        let channels = format!(r##"{{"#old": {{"retention": "{retention}"}}}}"##);
        let config = format!(r#"{{"limits": {limits}, "channels": {channels}}}"#);
        let world = World::configured(&config);
        world.admit("alice");
        let world = world.stopped();
        fill_old(&world, messages);
        let world = world.started();
        let mut alice = Peer::enters(&world, "alice", "main");
        figures(&world, &mut alice, 1, command);
    }
}

/// A thread that commits a block to a file, again and again.
struct Witness {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Witness {
    fn starts(path: &Path) -> Witness {
        let is_over = Arc::new(AtomicBool::new(false));
        let (mut file, over) = (fs::File::create(path).unwrap(), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                file.write_all(&[0; 4_096]).unwrap();
                file.sync_data().unwrap();
                std::thread::sleep(Duration::from_millis(1));
                longest = longest.max(began.elapsed());
            }
            longest
        });
        Witness { is_over, thread }
    }

    /// Returns the longest time of a commit.
    fn ends(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn the_ledger_shrinks_after_an_erasure_and_others_chat_meanwhile() {
    let world = fast_world();
    let mut bob = Peer::enters(&world, "bob", "main");
    for number in 0..800 {
        let text = format!("walrusmarker{number} {}", "and more of it ".repeat(300));
        bob.sends(&format!(
            r##"{{"type":"say","to":"#lobby","id":"{}","text":"{text}"}}"##,
            id(1 << 20 | number)
        ));
        if number % 20 == 19 {
            bob.sees(&format!("walrusmarker{number} "));
        }
    }
    drop(bob);
    let mut alice = Peer::enters(&world, "alice", "main");
    fs::remove_file(world.home().join("users/bob.pem")).unwrap();
    let ledger = world.home().join("data/ledger.db");
    let log = world.home().join("data/ledger.db-wal");
    let size = |path: &Path| fs::metadata(path).map_or(0, |about| about.len());
    let before = size(&ledger) + size(&log);
    assert!(before > 3 << 20, "the control: {before}");
    let mut command = world.program("operator");
    command.args(["ctl", "erase", "bob", "--home"]).arg(world.home());
    let asked = world::Program::start(command);
    let mut number = 0;
    // On a slow machine, more of them would fill the space that becomes free.
    while asked.shown().is_empty() && number < 300 {
        number += 1;
        says(&mut alice, number, &format!("message {number} of alice"));
    }
    world.until("bob is erased", || !asked.shown().is_empty());
    world.until("the file has shrunk", || size(&ledger) + size(&log) < before / 4);
    number += 1;
    says(&mut alice, number, "it goes on");
    let (ok, told) = world.operator(&["verify"]);
    assert!(ok, "{told}");
}

#[test]
fn an_erasure_removes_former_ledgers_too() {
    for running in [true, false] {
        let world = World::new();
        let mut bob = world.enters("bob");
        bob.types("walrusmarker for all");
        bob.sees("You: walrusmarker for all");
        bob.hangs_up();
        bob.ends();
        let world = world.stopped();
        let copy = world.home().with_extension("copy");
        for job in [["backup", copy.to_str().unwrap()], ["restore", copy.to_str().unwrap()]] {
            let (ok, told) = world.operator(&job);
            assert!(ok, "{told}");
        }
        let former = world.home().join("data/ledger.before-restore");
        assert!(fs::read(&former).unwrap().windows(6).any(|bytes| bytes == b"walrus"), "control");
        let world = if running { world.started() } else { world };
        let (ok, told) = world.operator(&["users", "remove", "bob", "--erase"]);
        assert!(ok && told.contains("ledger.before-restore was removed"), "{told}");
        assert!(!former.exists());
        let remaining = || world.found_in("home", "walrusmarker");
        world.until("nothing is left", || remaining() == 0);
    }
}

#[test]
fn a_channel_is_erased_in_every_byte_and_remains_usable() {
    let world = fast_world();
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| world.client(name, &["--plain"]));
    for client in [&mut alice, &mut bob] {
        client.sees("you are in #lobby");
        client.types("/join #tea");
        client.sees("you are in #tea");
    }
    alice.types("/topic teatopicmarker");
    bob.sees("teatopicmarker");
    for number in 0..300 {
        alice.types(&format!("teamarker{number} and some words"));
    }
    bob.sees("alice: teamarker299 ");
    bob.types("/join #lobby");
    bob.types("lobbymarker");
    alice.sees("lobbymarker");
    assert!(world.found_in("home", "teamarker") > 0, "the control: it is there");
    let ctl = |words: &[&str]| world.operator(&[&["ctl"], words].concat());
    let (ok, told) = ctl(&["erase", "#coffee", "--yes"]);
    assert!(!ok && told.contains("there is no channel #coffee"), "{told}");
    let (ok, told) = ctl(&["erase", "#tea"]);
    assert!(!ok && told.contains("#tea would be erased for everybody"), "{told}");
    assert!(world.found_in("home", "teamarker") > 0, "nothing was done");
    // The topic alone.
    let (ok, told) = ctl(&["erase", "#tea", "topic"]);
    assert!(ok, "{told}");
    assert_eq!(world.found_in("home", "teatopicmarker"), 0);
    assert!(world.found_in("home", "teamarker") > 0, "the messages stay");
    let (ok, told) = ctl(&["erase", "#tea", "topic"]);
    assert!(!ok && told.contains("#tea has no topic"), "{told}");
    let (ok, told) = ctl(&["erase", "#tea", "--yes"]);
    assert!(ok && told.contains("the messages of #tea were erased"), "{told}");
    assert_eq!(world.found_in("home/data", "teamarker"), 0, "in no byte, and in no index");
    assert!(world.found_in("home/data", "lobbymarker") > 0, "the control");
    alice.sees("the operator has erased the messages before this one");
    // The members can still use the channel. A user who joins later finds the later messages.
    alice.types("/join #tea");
    alice.types("after it");
    bob.sees("alice: after it");
    let mut carol = world.enters("carol");
    carol.types("/join #tea");
    carol.sees("alice: after it");
    carol.types("/history");
    carol.types("/search teamarker");
    carol.types("seen by carol");
    alice.sees("carol: seen by carol");
    assert_eq!(carol.seen("teamarker2"), 0);
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains("\"action\":\"erase\",\"target\":\"#tea\""), "{trail}");
    // A restart restores none of the messages.
    let world = world.restarted();
    let (ok, told) = world.operator(&["verify"]);
    assert!(ok, "{told}");
    let mut dave = world.enters("dave");
    dave.types("/join #tea");
    dave.sees("alice: after it");
    assert_eq!(dave.seen("teamarker"), 0);
}

#[test]
fn a_channel_with_a_pin_is_erased_by_its_tag_alone() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("/create tea");
    alice.sees("you are in #tea~");
    alice.types("a first line");
    alice.sees("You: a first line");
    let (ok, told) = world.operator(&["ctl", "channels"]);
    let name = told.split_whitespace().find(|word| word.starts_with("#tea~")).expect(&told);
    assert!(ok, "{told}");
    for wanted in ["#tea", "#TEA", "#tea~", "#tea~open"] {
        let (ok, answer) = world.operator(&["ctl", "erase", wanted, "--yes"]);
        assert!(!ok && answer.contains("there is no channel #"), "{wanted}: {answer}");
        let names_it = answer.contains(&format!("only with one: {name}"));
        assert_eq!(names_it, wanted != "#tea~open", "{wanted}: {answer}");
    }
    alice.types("a second line");
    alice.sees("You: a second line");
    assert_eq!(alice.seen("has erased the messages"), 0);
    let (ok, answer) = world.operator(&["ctl", "erase", name, "--yes"]);
    assert!(ok && answer.contains(&format!("the messages of {name} were erased")), "{answer}");
    alice.sees("the operator has erased the messages before this one");
    let line = world.server.is_told("erase #tea");
    assert!(!line.contains('~'), "the log has no tag: {line}");
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains(&format!("\"action\":\"erase\",\"target\":\"{name}\"")), "{trail}");
}

/// A server that was killed while it erased #tea with this many messages; `None` if it had
/// finished.
fn killed_while_it_erases(messages: u32) -> Option<World> {
    let mut world = fast_world();
    let mut alice = world.client("alice", &["--plain"]);
    alice.sees("you are in #lobby");
    alice.types("/join #tea");
    alice.sees("you are in #tea");
    for number in 0..messages {
        alice.types(&format!("killmarker{number} and some words"));
    }
    alice.sees(&format!("You: killmarker{} ", messages - 1));
    let mut command = world.program("operator");
    command.args(["ctl", "erase", "#tea", "--yes", "--home"]).arg(world.home());
    let _erasure = world::Program::start(command);
    alice.sees("has erased the messages before this one");
    // The audit trail records the erasure at its beginning, because the removal may never finish.
    let trail = world.home().join("data/audit.jsonl");
    world.until("the trail has it", || {
        let text = fs::read_to_string(&trail).unwrap();
        text.contains("\"action\":\"erase\",\"target\":\"#tea\"")
    });
    world.server.kill();
    (world.found_in("home/data", "killmarker") > 0).then_some(world)
}

#[test]
fn an_erasure_of_a_channel_continues_after_a_kill() {
    let killed = [3_000, 12_000, 48_000].into_iter().find_map(killed_while_it_erases);
    let world = killed.expect("the control: the kill came before the end").started();
    // Nobody can read the messages once the erasure has begun.
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    bob.types("/join #tea");
    bob.sees("you are in #tea");
    bob.types("/history 100");
    bob.types("here");
    bob.sees("You: here");
    assert_eq!(bob.seen("killmarker"), 0);
    world.until("nothing is in any byte", || world.found_in("home/data", "killmarker") == 0);
    assert!(world.operator(&["verify"]).0);
}

#[test]
fn a_channel_in_memory_is_erased_too() {
    let config = r##"{"channels": {"#aside": {"retention": "off"}}}"##;
    let world = World::configured(config);
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| world.enters(name));
    alice.types("/join #aside");
    alice.sees("you are in #aside");
    alice.types("asidemarker");
    alice.sees("You: asidemarker");
    let (ok, told) = world.operator(&["ctl", "erase", "#aside", "--yes"]);
    assert!(ok, "{told}");
    alice.types("later");
    alice.sees("You: later");
    bob.types("/join #aside");
    bob.sees("alice: later");
    assert_eq!(bob.seen("asidemarker"), 0);
}
