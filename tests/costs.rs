//! What a member's requests may cost the server and everybody else, and what they may tell of
//! channels with a PIN, on the real binary. docs/security.md has the bounds.

mod world;

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pychat::chat::{
    BlobId, Command, Epoch, FileBytes, MsgId, NewMessage, Opaque, Position, ReadMark, Request,
    SecretText, Seq, SyncPoint,
};
use pychat::crypto::certificate::{Certificate, OpeningKey, SigningKey};
use pychat::crypto::{Identity, RecordType};
use pychat::net::tunnel::Incoming;
use pychat::wire::codec::{self, Login};
use serde_json::Value;
use world::peer::{Peer, login};
use world::{DEADLINE, World};

/// A channel with a PIN: each number is another PIN.
fn tag(number: usize) -> String {
    format!("#tea~{}{number:03}0", "0".repeat(22))
}

/// The command's word, and the bytes that its answer may have. A command that is new has to be
/// added here and to the table of docs/security.md.
fn bound(command: &Command) -> (&'static str, usize) {
    const LIST: usize = 66 * 1024;
    match command {
        Command::Say(_) => ("say", 24 * 1024),
        Command::Resume { .. } => ("resume", 4 * 1024),
        Command::Join { .. } => ("join", 200 * 1024),
        Command::Part { .. } => ("part", 1_000),
        Command::People { .. } => ("people", LIST),
        Command::Channels => ("channels", LIST),
        Command::Whois { .. } => ("whois", 20 * 1024),
        Command::Topic { .. } => ("topic", 2_000),
        Command::Certify { .. } => ("certify", 1_000),
        Command::Keys { .. } => ("keys", 3_000),
        Command::History { .. } => ("history", LIST + 16 * 1024),
        Command::Search { .. } => ("search", LIST + 16 * 1024),
        Command::Count { .. } => ("count", LIST),
        Command::Read { .. } => ("read", 1_000),
        Command::Put { .. } => ("put", 1_000),
        Command::Get { .. } => ("get", 1_000),
        Command::Drop { .. } => ("drop", 1_000),
        Command::Usage => ("usage", 20 * 1024),
        Command::Away { .. } => ("away", 1_000),
        Command::Operate { .. } => ("operate", 1_000),
        Command::Password { .. } => ("password", 1_000),
        Command::Quit => ("quit", 0),
        Command::Unknown => ("unknown", 1_000),
    }
}

/// Requests of the command that name a channel with a PIN, TAG. Their answers must reveal nothing
/// of it to non-members. A new command that names a conversation has to be added here.
fn probes(command: &Command) -> &'static [&'static str] {
    match command {
        Command::Say(_) => &[
            r#"{"type":"say","to":"TAG","id":"00000000000000000000000000000000","text":"x"}"#,
            r#"{"type":"say","to":"TAG","id":"00000000000000000000000000000000","sealed":"AQID"}"#,
            r#"{"type":"say","to":"TAG","id":"00000000000000000000000000000000","kind":"edit","of":"1","sealed":"AQID"}"#,
            r#"{"type":"say","to":"TAG","id":"00000000000000000000000000000000","kind":"delete","of":"1","sealed":"AQID"}"#,
            r#"{"type":"say","to":"TAG","id":"00000000000000000000000000000000","kind":"file","blob":"BwcHBwcHBwcHBwcHBwcHBw","sealed":"AQID"}"#,
        ],
        Command::Resume { .. } => &[
            r#"{"type":"resume","conversations":[{"to":"TAG","epoch":"0000000000000001","seq":"1"}]}"#,
        ],
        Command::Part { .. } => &[r#"{"type":"part","channel":"TAG","ref":"r"}"#],
        Command::People { .. } => &[r#"{"type":"people","channel":"TAG","ref":"r"}"#],
        Command::Topic { .. } => &[
            r#"{"type":"topic","channel":"TAG","ref":"r"}"#,
            r#"{"type":"topic","channel":"TAG","text":"x","ref":"r"}"#,
        ],
        Command::History { .. } => &[
            r#"{"type":"history","to":"TAG","ref":"r"}"#,
            r#"{"type":"history","to":"TAG","kind":"file","ref":"r"}"#,
        ],
        Command::Search { .. } => &[r#"{"type":"search","to":"TAG","text":"x","ref":"r"}"#],
        Command::Count { .. } => {
            &[r#"{"type":"count","conversations":[{"to":"TAG","seq":"0"}],"ref":"r"}"#]
        }
        Command::Read { .. } => &[r#"{"type":"read","conversations":[{"to":"TAG","seq":"1"}]}"#],
        Command::Put { .. } => &[
            // The id of alice's file, and another one.
            r#"{"type":"put","to":"TAG","blob":"BwcHBwcHBwcHBwcHBwcHBw","bytes":4112,"ref":"r"}"#,
            r#"{"type":"put","to":"TAG","blob":"CAgICAgICAgICAgICAgICA","bytes":4112,"ref":"r"}"#,
        ],
        Command::Get { .. } => {
            &[r#"{"type":"get","to":"TAG","blob":"BwcHBwcHBwcHBwcHBwcHBw","ref":"r"}"#]
        }
        // The one that may show it, ten times in an hour.
        Command::Join { .. } => &[],
        Command::Channels
        | Command::Whois { .. }
        | Command::Certify { .. }
        | Command::Keys { .. }
        | Command::Drop { .. }
        | Command::Usage
        | Command::Away { .. }
        | Command::Operate { .. }
        | Command::Password { .. }
        | Command::Quit
        | Command::Unknown => &[],
    }
}

/// Every command, each as costly as a member can make it. The first one is answered once in a
/// session, and messages follow the answer.
fn worst() -> Vec<Command> {
    let lobby = || "#lobby".parse().unwrap();
    let channel = || "#0".parse().unwrap();
    let point = |seq| ReadMark { to: lobby(), seq: Seq(seq) };
    let name = |number: u32| {
        // In every case that letters can have.
        let letter = |(bit, c): (usize, char)| match number >> bit & 1 {
            1 => c.to_ascii_uppercase(),
            _ => c,
        };
        "carol0".chars().enumerate().map(letter).collect::<String>().parse().unwrap()
    };
    let text = || "\"".repeat(400);
    let position = |number: usize| Position {
        to: format!("#{number}").parse().unwrap(),
        point: SyncPoint { epoch: Epoch(1), seq: Seq(1) },
    };
    vec![
        Command::Resume { conversations: (0..280).map(position).collect() },
        Command::Say(NewMessage::text(lobby(), MsgId([7; 16]), &"a. ".repeat(2_500))),
        Command::Join { channel: channel(), after: None },
        Command::People { channel: "#lobby".parse().unwrap() },
        Command::Channels,
        Command::Whois { name: "carol0".parse().unwrap() },
        Command::Topic { channel: channel(), text: Some(text()) },
        Command::Topic { channel: channel(), text: None },
        Command::Certify { certificate: Opaque::new(&[7; 541]).unwrap() },
        Command::Keys { names: (0..50).map(name).collect() },
        Command::History {
            to: lobby(),
            before: None,
            messages: Some(usize::MAX),
            span: None,
            kind: None,
        },
        Command::Search { text: "a".into(), to: None },
        Command::Read { conversations: (1..300).map(point).collect() },
        Command::Count { conversations: (0..20).map(|_| point(0)).collect() },
        Command::Put { to: lobby(), blob: BlobId([7; 16]), bytes: FileBytes(4_112) },
        Command::Get { to: lobby(), blob: BlobId([7; 16]), from: FileBytes(0) },
        Command::Drop { blob: BlobId([7; 16]) },
        Command::Usage,
        Command::Away { text: Some(text()) },
        Command::Operate { words: vec!["x".repeat(12_000)] },
        Command::Password { password: SecretText::new("x".repeat(1_000)) },
        Command::Unknown,
        Command::Part { channel: channel() },
    ]
}

/// Rows of the table of docs/security.md.
fn rows() -> BTreeSet<String> {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md"));
    let document = document.unwrap();
    let section = document.split("\n## What a request may cost\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

fn json(command: &Command) -> String {
    let mut json = Vec::new();
    codec::encode(&Request::new(command.clone(), Some("r".repeat(64))), &mut json);
    String::from_utf8(json).unwrap()
}

/// Bytes of the files of a folder.
fn disk_bytes(folder: &std::path::Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// A person who floods the server with every request, without a pause, for as long as it takes.
fn floods(peer: Peer, rounds: usize) -> (Duration, usize, Vec<Value>) {
    let Peer { mut reader, mut writer, .. } = peer;
    reader.set_deadline(Instant::now() + 9 * DEADLINE).unwrap();
    let began = Instant::now();
    let writing = thread::spawn(move || {
        for round in 0..rounds {
            for (number, command) in worst().iter().enumerate() {
                let mut text = json(command);
                if let Command::Say(_) = command {
                    text = text.replace("07", &format!("{:02x}", round + 16));
                }
                assert!(text.len() < 16_000, "{number}");
                writer.send(RecordType::Json, text.as_bytes()).unwrap();
            }
        }
        writer.send(RecordType::Ping, b"the end").unwrap();
        writer
    });
    let (mut bytes, mut refused) = (0, Vec::new());
    loop {
        match reader.receive().unwrap() {
            Incoming::Record(RecordType::Pong, b"the end") => break,
            Incoming::Record(_, body) => {
                bytes += body.len();
                let lines = body.split(|byte| *byte == b'\n');
                let values = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
                refused.extend(values.filter(|value| value["type"] == "refused"));
            }
            Incoming::Closed(reason) => panic!("closed: {reason:?}"),
        }
    }
    writing.join().unwrap();
    (began.elapsed(), bytes, refused)
}

/// Channels that the member is in, each with a topic: more than one answer can list.
const CHANNELS: usize = 90;

/// A member who is in many channels with long topics, and has not resumed.
fn carol_in_channels(world: &World) -> Peer {
    world.admit("carol0");
    let resumes = Login {
        device: Some("laptop".parse().unwrap()),
        features: vec!["resume".into()],
        ..login("carol0")
    };
    let mut carol = Peer::says(world, "carol0", &resumes);
    carol.sees("\"entered\"");
    for number in 1..=CHANNELS {
        let channel = format!("#{number}");
        let topic =
            serde_json::json!({"type": "topic", "channel": channel, "text": "\"".repeat(400)});
        let join = serde_json::json!({"type": "join", "channel": channel});
        let told = carol.asks(&join.to_string()) + &carol.asks(&topic.to_string());
        assert!(!told.contains("\"refused\""), "{told}");
    }
    carol
}

/// Measures the cost of each request alone, and of all of them in this many rounds without a pause.
fn costs(rounds: usize) {
    // The requests themselves are many, so that their number hides no other bound.
    let world = World::with(
        r#"{"requests_per_s": 100, "histories_per_s": 100, "messages_per_s": 20, "messages_burst": 120}"#,
    );
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    let mut carol = carol_in_channels(&world);
    for command in &worst() {
        let (word, bytes_max) = bound(command);
        let before = world.server.cpu();
        let mut told = carol.asks(&json(command));
        let id = "07".repeat(16);
        if word == "say" && !told.contains(&id) {
            // The message comes back once it is stored, which may be behind the pong.
            told += &carol.sees(&id);
        }
        let spent = world.server.cpu() - before;
        assert!(spent < Duration::from_secs(1), "{word} took {spent:?} of CPU time");
        assert!(told.len() <= bytes_max, "{word} was answered with {} bytes", told.len());
        assert_eq!(told.contains("\"omitted\":"), word == "channels", "{word}");
    }
    let (memory, disk) = (world.server.memory_kib(), disk_bytes(&world.home().join("data")));
    let flood = thread::spawn(move || floods(carol, rounds));
    for number in 0..10 {
        alice.types(&format!("all is well {number}."));
        bob.sees(&format!("alice: all is well {number}."));
    }
    let (elapsed, bytes, refused) = flood.join().unwrap();
    let rate = 262_144.0;
    // The joins that a client makes when it comes back are answered at once, and owed.
    let bytes_max = 10.0 * rate + rate * elapsed.as_secs_f64() + rounds.min(100) as f64 * 200_000.0;
    assert!((bytes as f64) < bytes_max, "{bytes} bytes in {elapsed:?}");
    for refusal in refused.iter().filter(|refusal| refusal["code"] == "rate") {
        assert!(refusal["retry_ms"].as_u64().unwrap() > 0, "{refusal}");
    }
    let memory = world.server.memory_kib().saturating_sub(memory);
    assert!(memory < 24 * 1024, "{memory} KiB of memory");
    // Messages of 7,500 bytes, once in the ledger, once in its log and once in the index of words.
    let disk = disk_bytes(&world.home().join("data")).saturating_sub(disk);
    assert!(disk < (6 << 20) + rounds as u64 * 3 * 7_500, "{disk} bytes on the disk");
    println!(
        "{rounds} rounds in {elapsed:?}: {bytes} bytes, {memory} KiB, {disk} bytes on the disk"
    );
}

#[test]
fn every_request_of_a_member_has_a_bound() {
    let mut words: BTreeSet<_> =
        worst().iter().map(|command| bound(command).0.to_owned()).collect();
    words.insert(bound(&Command::Quit).0.to_owned());
    assert_eq!(words, rows(), "docs/security.md has a row for each command, and no other");
    assert_eq!(words.len(), 23);
    costs(12);
}

/// The same at full size: `cargo test --test costs -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes: 200 rounds of every request"]
fn two_hundred_rounds_of_every_request_have_bounds() {
    costs(200);
}

#[test]
fn keys_of_one_person_are_told_once_however_often_they_are_asked_for() {
    let world = World::new();
    world.admit("carol0");
    let mut carol = Peer::enters(&world, "carol0", "laptop");
    let commands = worst();
    let keys = commands.iter().find(|command| bound(command).0 == "keys").unwrap();
    let told = carol.asks(&json(keys));
    assert_eq!(told.matches("\"type\":\"keys\"").count(), 1, "{told}");
}

#[test]
fn keys_of_few_people_are_told_at_once_and_what_they_take_is_owed() {
    let world = World::with(r#"{"answer_bytes_per_s": 100}"#);
    let people: Vec<String> = (0..5).map(|number| format!("carol{number}")).collect();
    people.iter().for_each(|name| world.admit(name));
    let mut carol = Peer::enters(&world, "carol0", "laptop");
    let keys = |names: &[String]| {
        serde_json::json!({"type": "keys", "names": names, "ref": "r"}).to_string()
    };
    let many: Vec<String> = (0..51).map(|number| format!("carol{number}")).collect();
    let refused = carol.answer(&keys(&many));
    assert_eq!((&refused["type"], &refused["code"]), (&"refused".into(), &"bad_request".into()));
    let told = carol.asks(&keys(&people));
    assert_eq!(told.matches("\"type\":\"keys\"").count(), people.len());
    assert!(told.len() < 1_400 * people.len(), "{} bytes", told.len());
    let refused = carol.answer(&keys(&people));
    assert_eq!((&refused["type"], &refused["code"]), (&"refused".into(), &"rate".into()));
}

#[test]
fn certificates_are_few_for_a_person_whichever_key_they_are_for() {
    let world = World::with(r#"{"requests_per_s": 1000}"#);
    let server = world.server_key().fingerprint();
    let now_s = jiff::Timestamp::now().as_second() as u64;
    let mut refused = Vec::new();
    for (key, device) in [("carol0", "laptop"), ("carol0.phone", "phone")] {
        world.admit(key);
        let pem = fs::read_to_string(world.data_folder(key).join("id.pem")).unwrap();
        let own = Identity::from_pem(&pem, None).unwrap();
        let mut carol = Peer::enters(&world, key, device);
        let publish = |carol: &mut Peer, at_s| {
            let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
            let made = Certificate::issue(&own, &server, &signing, &opening, at_s);
            let certificate = Opaque::new(made.bytes()).unwrap();
            carol.asks(&json(&Command::Certify { certificate }))
        };
        for newer in 1..=6 {
            let told = publish(&mut carol, now_s + newer);
            refused.extend(told.lines().filter(|line| line.contains("refused")).map(str::to_owned));
        }
        assert!(!publish(&mut carol, now_s).contains("refused"), "an older one costs nothing");
    }
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused.iter().all(|told| told.contains("\"code\":\"rate\"")), "{refused:?}");
}

#[test]
fn whoever_is_not_in_a_channel_with_a_pin_learns_nothing_of_it() {
    let world = World::with(r#"{"messages_burst": 100, "histories_per_s": 100}"#);
    world.admit("alice");
    world.admit("bob");
    let mut alice = Peer::enters(&world, "alice", "laptop");
    let mut bob = Peer::enters(&world, "bob", "laptop");
    let before = bob.asks(r#"{"type":"channels","ref":"r"}"#);
    alice.asks(&format!(r#"{{"type":"join","channel":"{}"}}"#, tag(1)));
    let sealed =
        format!(r#"{{"type":"say","to":"{}","id":"{}","sealed":"AQID"}}"#, tag(1), "0".repeat(32));
    alice.asks(&sealed);
    let put = r#"{"type":"put","to":"TAG","blob":"BwcHBwcHBwcHBwcHBwcHBw","bytes":4112,"ref":"r"}"#;
    assert_eq!(alice.answer(&put.replace("TAG", &tag(1)))["type"], "upload", "the control");
    let commands = worst();
    let requests: BTreeSet<_> = commands.iter().flat_map(probes).collect();
    assert_eq!(requests.len(), 18);
    for request in requests {
        let answers = [tag(1), tag(2)].map(|tag| {
            let told = bob.answer(&request.replace("TAG", &tag)).to_string();
            told.replace(&tag, "TAG")
        });
        assert_eq!(answers[0], answers[1], "{request}");
        assert!(!answers[0].contains("alice"), "{request}");
        assert!(!answers[0].contains(r#""code":"rate""#), "{request}: {}", answers[0]);
    }
    let whois = bob.answer(r#"{"type":"whois","name":"alice","ref":"r"}"#);
    assert_eq!(whois["channels"].to_string(), r##"["#lobby"]"##);
    assert_eq!(bob.asks(r#"{"type":"channels","ref":"r"}"#), before);
    let own = alice.asks(r#"{"type":"channels","ref":"r"}"#);
    assert!(own.contains(&tag(1)), "the control: {own}");
    alice.asks(r##"{"type":"join","channel":"#open"}"##);
    let whois = bob.answer(r#"{"type":"whois","name":"alice","ref":"r"}"#);
    assert_eq!(whois["channels"].to_string(), r##"["#lobby","#open"]"##);
    let people = bob.answer(r##"{"type":"people","channel":"#open","ref":"r"}"##);
    assert_eq!(people["people"].to_string(), r#"["alice"]"#);
}

#[test]
fn pins_are_tried_ten_times_in_an_hour_and_the_operators_are_told() {
    let world = World::new();
    for name in ["alice", "bob", "bob.phone"] {
        world.admit(name);
    }
    assert!(world.operator(&["users", "role", "alice", "moderator"]).0);
    world.server.is_told("alice is moderator now");
    let mut alice = Peer::enters(&world, "alice", "laptop");
    alice.asks(&format!(r#"{{"type":"join","channel":"{}"}}"#, tag(500)));
    let join = |peer: &mut Peer, number| {
        let request = format!(r#"{{"type":"join","channel":"{}","ref":"r"}}"#, tag(number));
        peer.answer(&request)
    };
    let mut tried = 0;
    for session in ["bob", "bob.phone", "bob"] {
        let mut bob = Peer::enters(&world, session, "laptop");
        for _ in 0..8 {
            tried += 1;
            let answer = join(&mut bob, tried);
            assert_eq!(answer["type"] == "entered", tried <= 10, "{tried}: {answer}");
        }
    }
    let mut bob = Peer::enters(&world, "bob", "laptop");
    let [there, nowhere] = [500, 501].map(|number| {
        let mut answer = join(&mut bob, number);
        assert!(answer["retry_ms"].as_u64().unwrap() > 3_000_000, "{answer}");
        answer["retry_ms"] = Value::Null;
        answer
    });
    assert_eq!(there, nowhere);
    assert_eq!(there["code"], "rate");
    assert!(
        there["hint"].as_str().unwrap().contains("you joined 10 channels with a PIN"),
        "{there}"
    );
    assert_eq!(join(&mut bob, 1)["type"], "entered", "what they know they may join");
    let told = alice.sees("bob may be trying PINs");
    assert!(told.contains("10 channels with a PIN") && !told.contains('~'), "{told}");
    let log = world.server.is_told("warn bob may be trying PINs");
    assert!(!log.contains('~'), "{log}");
    world.until("the audit trail has it", || world.found_in("home/data", "pin joins") > 0);
}

#[test]
fn topics_and_channels_that_are_over_leave_nothing() {
    let world =
        World::with(r#"{"channel_empty_s": 0, "requests_per_s": 1000, "messages_burst": 1000}"#);
    world.admit("alice");
    let mut alice = Peer::enters(&world, "alice", "laptop");
    let conversations = || -> u64 {
        let ledger = rusqlite::Connection::open(world.home().join("data/ledger.db")).unwrap();
        ledger.query_row("SELECT count(*) FROM conversations", [], |row| row.get(0)).unwrap()
    };
    let before = conversations();
    for number in 0..90 {
        let channel = format!("#channel{number}");
        alice.asks(&format!(r#"{{"type":"join","channel":"{channel}"}}"#));
        let topic = format!(r#"{{"type":"topic","channel":"{channel}","text":"a topic"}}"#);
        let told = alice.asks(&topic);
        assert!(!told.contains(r#""refused""#), "{told}");
    }
    world.until("they are on disk", || conversations() == before + 90);
    for number in 0..90 {
        alice.asks(&format!(r##"{{"type":"part","channel":"#channel{number}"}}"##));
    }
    world.until("and are not any more", || conversations() == before);
    let channel = alice.asks(r##"{"type":"join","channel":"#channel7"}"##);
    assert!(!channel.contains("a topic"), "{channel}");
}

#[test]
fn a_muted_person_makes_no_noise() {
    let world = World::new();
    let mut alice = world.enters("alice");
    world.admit("bob");
    let mut bob = Peer::enters(&world, "bob", "laptop");
    alice.sees("--> bob joined");
    alice.types("/join #open");
    alice.sees("you are in #open");
    assert!(world.operator(&["ctl", "mute", "bob"]).0);
    let noise = |alice: &world::Program| alice.seen("--> bob") + alice.seen("<-- bob");
    let before = noise(&alice);
    for _ in 0..3 {
        bob.asks(r##"{"type":"join","channel":"#open"}"##);
        bob.asks(r##"{"type":"part","channel":"#open"}"##);
    }
    for channel in ["#obscene", &tag(1)] {
        let refused = bob.answer(&format!(r#"{{"type":"join","channel":"{channel}","ref":"r"}}"#));
        assert_eq!(refused["code"], "muted", "{refused}");
    }
    bob.sends(r#"{"type":"quit"}"#);
    drop(bob);
    let _bob = Peer::enters(&world, "bob", "obscene");
    alice.types("/whois bob");
    alice.sees("server| bob on");
    alice.types("that was all");
    alice.sees("You: that was all");
    assert_eq!((noise(&alice), alice.seen("obscene")), (before, 0), "{:#?}", alice.shown());
}

#[test]
fn nobody_is_told_without_end_who_comes_and_goes() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let mut alice = Peer::enters(&world, "alice", "laptop");
    alice.asks(r##"{"type":"join","channel":"#open"}"##);
    let mut bob = Peer::enters(&world, "bob", "laptop");
    let began = Instant::now();
    for _ in 0..100 {
        bob.asks(r##"{"type":"join","channel":"#open"}"##);
        bob.asks(r##"{"type":"part","channel":"#open"}"##);
    }
    let elapsed = began.elapsed().as_secs() as usize + 1;
    let told = alice.asks(r##"{"type":"people","channel":"#open"}"##);
    let count = |kind: &str| told.matches(&format!(r##""type":"{kind}","to":"#open""##)).count();
    let (joins, parts) = (count("joined"), count("left"));
    // Ten at once, then one each second; the last `left` may be under way.
    assert!((9..=11 + elapsed).contains(&joins) && joins < 90, "{joins} in {elapsed} s");
    assert!(parts <= joins && joins <= parts + 1, "{joins} and {parts}");
}

#[test]
fn messages_to_somebody_who_was_removed_are_refused() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let mut alice = Peer::enters(&world, "alice", "laptop");
    let say = |id: u32| {
        format!(r#"{{"type":"say","to":"@bob","id":"{id:032x}","text":"are you there?"}}"#)
    };
    alice.sends(&say(1));
    alice.sees("are you there?");
    fs::remove_file(world.home().join("users/bob.pem")).unwrap();
    world.server.is_told("a key of bob was removed");
    let refused = alice.answer(&say(0));
    assert_eq!(refused["code"], "no_such_user", "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("no longer registered"), "{refused}");
}
