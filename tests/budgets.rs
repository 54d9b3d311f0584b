//! Budgets are a person's, whichever of their sessions spends them, and nothing outlives its use:
//! on the real binary. docs/security.md has the bounds.

mod world;

use std::thread;
use std::time::{Duration, Instant};

use pychat::crypto::RecordType;
use pychat::wire::transfer::{DATA_BYTES_MAX, TransferRecord};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::{Value, json};
use world::World;
use world::peer::Peer;
use world::program::is_asleep;
use world::sharer::{Heard, Sharer, content};

/// A message's id.
fn id(number: u32) -> String {
    format!("{number:032x}")
}

/// Somebody who fills a channel with so many messages of this size.
fn fills(world: &World, channel: &str, messages: u32, bytes: usize) -> Peer {
    world.admit("alice");
    let mut alice = Peer::enters(world, "alice", "laptop");
    alice.asks(&json!({"type": "join", "channel": channel}).to_string());
    let text = "x".repeat(bytes);
    for number in 1..=messages {
        alice.sends(
            &json!({"type": "say", "to": channel, "id": id(number), "text": text}).to_string(),
        );
    }
    alice.sees(&id(messages));
    alice
}

const FAST: &str = r#""messages_burst": 100000, "bytes_per_s": 1e9, "requests_per_s": 1000"#;

#[test]
fn who_logs_in_again_and_again_draws_no_more_than_who_stays() {
    const RATE: f64 = 65_536.0;
    let world = World::with(&format!(
        r#"{{{FAST}, "answer_bytes_per_s": {RATE}, "logins_per_s": 1000, "resume_window_s": 0}}"#
    ));
    let _alice = fills(&world, "#tea", 100, 8_000);
    for key in ["bob", "bob.phone"] {
        world.admit(key);
    }
    let (began, mut bytes, mut logins) = (Instant::now(), 0, 0);
    while began.elapsed() < Duration::from_secs(4) {
        // Each time by another key.
        let key = ["bob", "bob.phone"][logins % 2];
        let mut bob = Peer::knocks(&world, key, "laptop");
        let (_, first) = bob.hears();
        if first.contains("\"goodbye\"") {
            let goodbye: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
            assert_eq!(goodbye["code"], "rate", "{goodbye}");
            let wait = Duration::from_millis(goodbye["retry_ms"].as_u64().unwrap());
            thread::sleep(wait.min(Duration::from_millis(500)));
            continue;
        }
        logins += 1;
        bob.sends(r##"{"type":"join","channel":"#tea"}"##);
        let mut told = String::new();
        while !told.contains(&id(100)) {
            told = bob.hears().1;
            bytes += told.len();
        }
    }
    let most = RATE * (10.0 + began.elapsed().as_secs_f64()) + 1e6;
    assert!(logins >= 1 && (bytes as f64) < most, "{bytes} bytes in {logins} logins");
}

#[test]
fn joins_that_need_not_wait_are_few_for_a_person_over_all_sessions() {
    let world = World::with(&format!(
        r#"{{{FAST}, "answer_bytes_per_s": 1000, "channels_per_user_max": 4}}"#
    ));
    let _alice = fills(&world, "#tea", 20, 8_000);
    for key in ["bob", "bob.phone"] {
        world.admit(key);
    }
    let mut laptop = Peer::enters(&world, "bob", "laptop");
    let mut phone = Peer::enters(&world, "bob.phone", "phone");
    let join = |channel: &str| json!({"type": "join", "channel": channel, "ref": "r"}).to_string();
    laptop.sends(&join("#tea"));
    laptop.sees(&id(20));
    // What it has drawn is owed now, and three joins are left, on whatever session.
    assert_eq!(laptop.answer(&join("#one"))["type"], "entered");
    for _ in 0..2 {
        assert_eq!(phone.answer(&join("#one"))["type"], "entered");
    }
    for session in [&mut laptop, &mut phone] {
        let refused = session.answer(&join("#one"));
        assert_eq!((&refused["type"], &refused["code"]), (&"refused".into(), &"rate".into()));
        assert!(refused["retry_ms"].as_u64().unwrap() > 3_000, "{refused}");
    }
}

/// A figure of the ledger's file, read beside the server.
fn count(world: &World, of: &str) -> i64 {
    let ledger = Connection::open(world.home().join("data/ledger.db")).unwrap();
    ledger.busy_timeout(Duration::from_secs(30)).unwrap();
    ledger.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap()
}

/// Joins a channel, and leaves a topic, a message and a read position there.
fn leaves_a_trace(client: &mut Peer, channel: &str, number: u32) {
    client.asks(&json!({"type": "join", "channel": channel}).to_string());
    client.asks(&json!({"type": "topic", "channel": channel, "text": "a topic"}).to_string());
    let mut say = json!({"type": "say", "to": channel, "id": id(number), "text": "tea"});
    if channel.contains('~') {
        say = json!({"type": "say", "to": channel, "id": id(number), "sealed": "AQID"});
    }
    client.sends(&say.to_string());
    client.sees(&id(number));
    let read = json!({"type": "read", "conversations": [{"to": channel, "seq": "1"}]});
    client.asks(&read.to_string());
}

#[test]
fn nothing_is_left_of_conversations_whose_messages_are_gone() {
    let world = World::configured(&format!(
        r##"{{"retention": "1s", "channels": {{"#kept": {{"retention": "1s"}}}}, "forget_empty": true,
            "limits": {{"channel_empty_s": 0, "resume_window_s": 0, {FAST}}}}}"##
    ));
    world.admit("alice");
    world.admit("bob");
    let mut alice = Peer::enters(&world, "alice", "laptop");
    let leaky = format!("#leaky~{}", "0".repeat(26));
    let channels = (0..20).map(|number| format!("#channel{number}"));
    let channels: Vec<String> = channels.chain(["#kept".into(), leaky]).collect();
    for (number, channel) in channels.iter().enumerate() {
        leaves_a_trace(&mut alice, channel, number as u32);
    }
    let say = json!({"type": "say", "to": "@bob", "id": id(999), "text": "are you there?"});
    alice.sends(&say.to_string());
    alice.sees(&id(999));
    world.until("all of it is on disk", || count(&world, "reads") >= 20);
    assert!(count(&world, "conversations WHERE topic IS NOT NULL") >= 20);
    for channel in &channels {
        alice.asks(&json!({"type": "part", "channel": channel}).to_string());
    }
    alice.sends(r#"{"type":"quit"}"#);
    drop(alice);
    // Only what the configuration names stays.
    world.until("nothing of it is there any more", || {
        assert!(world.operator(&["ctl", "retention", "--now"]).0);
        count(&world, "conversations WHERE name NOT IN ('#lobby', '#kept')") == 0
    });
    assert_eq!(count(&world, "messages"), 0);
    assert_eq!(count(&world, "conversations WHERE topic IS NOT NULL"), 1);
    assert!(count(&world, "reads") <= 2, "one for #kept, and one for #lobby");

    // They begin again, behind what clients may have of them, and nothing is unread; over a restart
    // too.
    let again = |world: &World, after: u64, message: u32| {
        let mut alice = Peer::enters(world, "alice", "laptop");
        let mut join = json!({"type": "join", "channel": "#channel7", "ref": "r"});
        let entered = alice.answer(&join.to_string());
        assert_eq!((&entered["topic"], &entered["last"]), (&Value::Null, &entered["read"]));
        join["after"] = json!({"epoch": entered["epoch"], "seq": after.to_string()});
        alice.asks(r##"{"type":"part","channel":"#channel7"}"##);
        let told = alice.asks(&join.to_string());
        let say = json!({"type": "say", "to": "#channel7", "id": id(message), "text": "again"});
        alice.sends(&say.to_string());
        let told = told + &alice.sees(&id(message));
        assert!(!told.contains("\"gap\""), "{told}");
        let line = told.lines().find(|line| line.contains(&id(message))).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let seq = line.get(0).unwrap_or(&line["seq"]).as_str().unwrap().to_owned();
        seq.parse::<u64>().unwrap()
    };
    let seq = again(&world, 1, 2_000);
    assert!(seq > 1, "{seq}");
    world.until("it is gone again", || {
        assert!(world.operator(&["ctl", "retention", "--now"]).0);
        count(&world, "conversations WHERE name = '#channel7'") == 0
    });
    let world = world.restarted();
    assert!(again(&world, seq, 3_000) > seq);
    assert!(world.operator(&["verify"]).0);
}

#[test]
fn topics_wait_as_messages_do_where_the_ledger_does_not_keep_up() {
    const TOPICS: usize = 40;
    let world = World::with(&format!(r#"{{{FAST}, "ledger_waiting_max": 4}}"#));
    world.admit("alice");
    world.admit("bob");
    let mut alice = Peer::enters(&world, "alice", "laptop");
    let mut bob = Peer::enters(&world, "bob", "laptop");
    let mut ledger = Connection::open(world.home().join("data/ledger.db")).unwrap();
    ledger.busy_timeout(Duration::from_secs(30)).unwrap();
    let held = ledger.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    for number in 0..TOPICS {
        let topic = json!({"type": "topic", "channel": "#lobby", "text": format!("tea {number}.")});
        alice.sends(&topic.to_string());
    }
    // What is being committed, what may wait behind it, and the one that waits for room.
    let mut told = bob.sees("tea 0.");
    // The server has handled everything that it admits once all its threads are idle. The commit is
    // given up after five seconds without the file.
    let (began, mut rests) = (Instant::now(), 0);
    while rests < 10 && began.elapsed() < Duration::from_secs(4) {
        thread::park_timeout(Duration::from_millis(50));
        rests = if is_asleep(world.server.pid()) { rests + 1 } else { 0 };
    }
    told += &bob.asks(r#"{"type":"nothing"}"#);
    let told = told.matches("\"tea ").count();
    assert!((1..=9).contains(&told), "{told} topics");
    drop(held);
    bob.sees(&format!("tea {}.", TOPICS - 1));
    alice.sees(&format!("tea {}.", TOPICS - 1));
}

#[test]
fn who_asks_and_never_reads_costs_little_and_harms_nobody() {
    let world = World::with(
        r#"{"messages_burst": 100000, "bytes_per_s": 1e9, "requests_per_s": 100000, "histories_per_s": 1e6,
            "answer_bytes_per_s": 1e9}"#,
    );
    drop(fills(&world, "#lobby", 100, 8_000));
    let mut alice = world.client("alice", &["--plain"]);
    alice.sees("you are in #lobby");
    let bob = world.enters("bob");
    world.admit("carol");
    let memory = world.server.memory_kib();
    let requests = [
        r##"{"type":"history","to":"#lobby","messages":100}"##,
        r##"{"type":"people","channel":"#lobby"}"##,
        r##"{"type":"search","text":"x"}"##,
        "nonsense",
    ];
    let stuck: Vec<_> = (0..4)
        .map(|_| {
            let Peer { reader, mut writer, .. } = Peer::enters(&world, "carol", "laptop");
            thread::spawn(move || {
                let mut all = requests.iter().cycle().take(1_000_000);
                let cut = all.any(|json| writer.send(RecordType::Json, json.as_bytes()).is_err());
                drop(reader);
                cut
            })
        })
        .collect();
    for number in 0..10 {
        alice.types(&format!("all is well {number}."));
        bob.sees(&format!("alice: all is well {number}."));
    }
    assert!(stuck.into_iter().all(|peer| peer.join().unwrap()), "each is cut in the end");
    let grown = world.server.memory_kib().saturating_sub(memory);
    assert!(grown < 24 * 1024, "{grown} KiB");
    world.until("they are disconnected", || world.counter("sessions") == 2);
}

/// Bytes of a file for the tests of their rate, and the rate and the burst that they exceed twice.
const FILE: usize = 1 << 20;
const FILES: &str = r#""file_bytes_per_s": 524288, "file_burst_bytes": 524288,
    "file_reserve_bytes": 0, "messages_burst": 1000, "requests_per_s": 1000"#;
const RATE: f64 = 524_288.0;

/// Sends a file in records of this size, and waits until it is kept.
fn uploads(alice: &mut Sharer, number: u8, record: usize) {
    let content = content(FILE);
    let answer = alice.put("#lobby", number, FILE);
    assert_eq!(answer["type"], "upload", "{answer}");
    let transfer = answer["transfer"].as_u64().unwrap() as u32;
    for (index, bytes) in content.chunks(record).enumerate() {
        alice.data(transfer, (index * record) as u64, bytes);
    }
    alice.event(&["kept"]);
}

#[test]
fn bytes_of_files_are_charged_to_who_sends_them_over_all_sessions() {
    let world = World::with(&format!("{{{FILES}}}"));
    let mut alice = Sharer::enters(&world, "alice");
    let mut other = Sharer::returns(&world, "alice");
    let mut bob = Sharer::enters(&world, "bob");
    let began = Instant::now();
    let uploading = thread::spawn(move || {
        uploads(&mut other, 1, DATA_BYTES_MAX);
        began.elapsed()
    });
    uploads(&mut alice, 2, DATA_BYTES_MAX);
    let both = began.elapsed().max(uploading.join().unwrap());
    let least = (2.0 * FILE as f64 - RATE) / RATE;
    assert!(both.as_secs_f64() > least - 0.2, "two files in {both:?}");
    // Another user's are not: the first half of the file passes at once.
    let began = Instant::now();
    let answer = bob.put("#lobby", 3, FILE);
    assert_eq!(bob.uploads(&answer, &content(FILE), FILE / 2), None);
    let half = began.elapsed();
    let began = Instant::now();
    let answer = bob.put("#lobby", 3, FILE);
    assert_eq!(bob.uploads(&answer, &content(FILE), FILE).unwrap()["type"], "kept");
    let rest = began.elapsed();
    assert!(rest.as_secs_f64() > 0.6 && half < rest, "{half:?} and {rest:?}");
}

#[test]
fn a_small_record_of_a_file_counts_as_a_larger_one() {
    let world = World::with(&format!("{{{FILES}}}"));
    let mut alice = Sharer::enters(&world, "alice");
    let began = Instant::now();
    uploads(&mut alice, 1, 1_024);
    let least = (4.0 * FILE as f64 - RATE) / RATE;
    assert!(began.elapsed().as_secs_f64() > least - 0.2, "{:?}", began.elapsed());
}

#[test]
fn bytes_of_files_are_charged_to_who_fetches_them_and_delay_no_message() {
    let world = World::with(&format!("{{{FILES}}}"));
    let mut alice = Sharer::enters(&world, "alice");
    uploads(&mut alice, 1, DATA_BYTES_MAX);
    alice.announces("#lobby", 1);
    let mut bob = Sharer::enters(&world, "bob");
    let mut other = Sharer::returns(&world, "bob");
    let began = Instant::now();
    let fetching = thread::spawn(move || {
        assert!(other.fetches("#lobby", 1, 0, FILE as u64) == content(FILE));
        began.elapsed()
    });
    let answer = bob.get("#lobby", 1, 0);
    let transfer = answer["transfer"].as_u64().unwrap() as u32;
    bob.record(TransferRecord::Want { transfer, upto: FILE as u64 });
    let (mut next, mut answered, mut longest) = (0, 0, Duration::ZERO);
    let mut asked = None;
    while next < FILE {
        if asked.is_none() {
            bob.sends(json!({"type": "topic", "channel": "#lobby", "ref": "t"}));
            asked = Some(Instant::now());
        }
        match bob.next() {
            Heard::Data { bytes, .. } => next += bytes.len(),
            Heard::Event(event) if event["ref"] == "t" => {
                longest = longest.max(asked.take().unwrap().elapsed());
                answered += 1;
            }
            Heard::End(reason) => panic!("{reason:?}"),
            _ => {}
        }
    }
    let both = began.elapsed().max(fetching.join().unwrap());
    let least = (2.0 * FILE as f64 - RATE) / RATE;
    assert!(both.as_secs_f64() > least - 0.4, "two downloads in {both:?}");
    assert!(answered > 20 && longest < both / 2, "{answered} answers, the slowest in {longest:?}");
}
