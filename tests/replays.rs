//! A hostile server that replays sealed messages, and sends answers that nobody has asked for, to
//! the real binary.

mod world;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pychat::chat::{Command, Event, Request};
use pychat::crypto::handshake::ServerHello;
use pychat::crypto::hello::Greeting;
use pychat::crypto::{Identity, RecordType, Sealer};
use pychat::net::link::RecordSource;
use pychat::net::tcp;
use pychat::net::tunnel::{Incoming, TunnelReader};
use pychat::suite::Suites;
use pychat::wire::codec;
use serde_json::{Value, json};
use world::program::memory_kib;
use world::pty::Terminal;
use world::way::write_record;
use world::{DEADLINE, Program, World};

const TEXT: &str = "yes, pay them";

/// One connection of a client.
#[derive(Clone)]
struct Double {
    stream: Arc<TcpStream>,
    sealer: Arc<Mutex<Sealer>>,
    heard: Arc<Mutex<Vec<Request>>>,
    /// In base64.
    key: String,
    name: String,
    keys: Keys,
}

type Keys = Arc<Mutex<std::collections::BTreeMap<String, Vec<Value>>>>;

impl Double {
    /// Lets somebody in, and answers what their client asks.
    fn accepts(listener: &TcpListener, own: &Arc<Identity>, name: &str, keys: &Keys) -> Double {
        let double = Double::meets(listener, own, name, keys);
        double.welcomes();
        double
    }

    fn welcomes(&self) {
        self.tells(json!({"type": "welcome", "name": self.name, "device": "main", "version": "1",
            "text_bytes_max": 8192, "time_ms": now_ms()}));
        self.tells(entered("#lobby", None));
    }

    /// The client has logged in, and waits for the welcome.
    fn meets(listener: &TcpListener, own: &Arc<Identity>, name: &str, keys: &Keys) -> Double {
        let stream = Arc::new(listener.accept().unwrap().0);
        let mut records = tcp::source(&stream, Instant::now() + DEADLINE);
        let r0 = records.read().unwrap().unwrap().to_vec();
        let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [own]) else { panic!("not an R0") };
        let (hello, r1) = ServerHello::start(hello, Suites::default());
        write_record(&stream, &r1).unwrap();
        let (key, r3, transport) =
            hello.gate(records.read().unwrap().unwrap()).unwrap().finish().unwrap();
        write_record(&stream, &r3).unwrap();
        let mut reader = TunnelReader::new(Box::new(records), transport.opener);
        assert!(matches!(reader.receive(), Ok(Incoming::Record(RecordType::Login, _))));
        reader.set_deadline(Instant::now() + 9 * DEADLINE).unwrap();
        let sealer = Arc::new(Mutex::new(transport.sealer));
        let key = STANDARD_NO_PAD.encode(key.to_der());
        keys.lock()
            .unwrap()
            .entry(name.into())
            .or_insert_with(|| vec![json!({"device": "main", "key": key})]);
        let (name, keys) = (name.to_owned(), Arc::clone(keys));
        let double = Double { stream, sealer, heard: Arc::default(), key, name, keys };
        let listens = double.clone();
        thread::spawn(move || listens.listens(reader));
        double
    }

    fn listens(&self, mut reader: TunnelReader) {
        loop {
            let requests: Vec<Request> = match reader.receive() {
                Ok(Incoming::Record(RecordType::Json, body)) => {
                    codec::decode(body).filter_map(Result::ok).collect()
                }
                Ok(Incoming::Record(RecordType::Ping, body)) => {
                    self.sends(RecordType::Pong, body);
                    continue;
                }
                Ok(Incoming::Record(..)) => continue,
                _ => return,
            };
            for request in requests {
                let reference = request.reference.as_deref();
                match &request.command {
                    Command::Join { channel, .. } => {
                        self.tells(entered(channel.as_str(), reference));
                    }
                    Command::Keys { names } => {
                        for name in names {
                            let keys = self.keys.lock().unwrap().get(name.as_str()).cloned();
                            let Some(keys) = keys else { continue };
                            self.tells(json!({"type": "keys", "name": name, "keys": keys, "ref": reference}));
                        }
                    }
                    Command::Certify { certificate } => {
                        let own = json!({"device": "main", "key": self.key, "certificate": certificate});
                        let mut keys = self.keys.lock().unwrap();
                        let list = keys.get_mut(&self.name).unwrap();
                        list.iter_mut().filter(|one| one["key"] == own["key"]).for_each(|one| *one = own.clone());
                    }
                    Command::Resume { .. } => {
                        self.tells(json!({"type": "conversations", "conversations": []}))
                    }
                    Command::History { to, .. } if reference == Some("tail") => self.tells(
                        json!({"type": "history", "to": to, "lines": 0, "more": false, "ref": "tail"}),
                    ),
                    _ => {}
                }
                self.heard.lock().unwrap().push(request);
            }
        }
    }

    fn sends(&self, kind: RecordType, body: &[u8]) {
        let mut record = Vec::new();
        let mut sealer = self.sealer.lock().unwrap();
        sealer.seal(kind, body, &mut record).unwrap();
        // A client that is gone has ended its part of the story.
        let _ = write_record(&self.stream, &record);
    }

    fn tells(&self, event: Value) {
        let event: Event = serde_json::from_value(event).unwrap();
        let mut body = Vec::new();
        codec::encode(&event, &mut body);
        self.sends(RecordType::Json, &body);
    }

    /// The last message that the client has sent sealed.
    fn sealed(&self) -> Option<Value> {
        let heard = self.heard.lock().unwrap();
        let say = heard.iter().rev().find(
            |one| matches!(&one.command, Command::Say(message) if message.body.sealed().is_some()),
        );
        say.map(|say| serde_json::to_value(say).unwrap())
    }

    /// The channel with a PIN that the client has asked to be in.
    fn channel(&self) -> Option<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().find_map(|request| match &request.command {
            Command::Join { channel, .. } if channel.has_pin() => Some(channel.as_str().to_owned()),
            _ => None,
        })
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn entered(channel: &str, reference: Option<&str>) -> Value {
    json!({"type": "entered", "channel": channel, "log": "00000000000000ab", "last": "0",
        "read": "0", "retention": "forever", "people": ["carol"], "ref": reference})
}

/// A server that carol and bob know, whose key the double has.
struct Story {
    world: World,
    own: Arc<Identity>,
    listener: TcpListener,
    keys: Keys,
}

impl Story {
    fn new() -> Story {
        let world = World::new();
        drop(world.enters("carol"));
        drop(world.enters("bob"));
        let pem = fs::read_to_string(world.home().join("keys/server.pem")).unwrap();
        let own = Arc::new(Identity::from_pem(&pem, None).unwrap());
        Story {
            world,
            own,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            keys: Keys::default(),
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    fn client(&self, args: &[&str]) -> (Program, Double) {
        self.client_of("carol", args)
    }

    fn client_of(&self, name: &str, args: &[&str]) -> (Program, Double) {
        let client = self.world.client_by(name, &self.address(), args);
        (client, Double::accepts(&self.listener, &self.own, name, &self.keys))
    }

    fn is_certified(&self, name: &str) {
        let key = || self.keys.lock().unwrap()[name][0]["certificate"].is_string();
        self.world.until("the device is certified", key);
    }

    /// bob has sealed a message for carol.
    fn bobs_message(&self, text: &str) -> Value {
        self.is_certified("carol");
        let (mut bob, double) = self.client_of("bob", &["--plain"]);
        bob.sees("you are in #lobby");
        self.is_certified("bob");
        bob.types(&format!("/pm carol {text}"));
        self.world.until("bob has sealed", || double.sealed().is_some());
        double.sealed().unwrap()
    }

    fn sequences_file(&self) -> PathBuf {
        let files = fs::read_dir(self.world.data_folder("carol").join("servers")).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|it| it == "sequences")).unwrap()
    }

    fn terminal(&self) -> (Terminal, Double) {
        let mut command = self.world.program("carol");
        let invite = self.world.invite.replace(&self.world.address, &self.address());
        command.args(["client", &invite, "--name", "carol"]);
        let terminal = Terminal::run(&command);
        (terminal, Double::accepts(&self.listener, &self.own, "carol", &self.keys))
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}

/// A message of bob to carol under a seq, with further fields.
fn told(said: &Value, seq: u64, more: Value) -> Value {
    let mut message = json!({"type": "message", "seq": seq.to_string(), "to": "@carol",
        "from": "bob", "device": "main", "id": said["id"], "sealed": said["sealed"],
        "time_ms": now_ms()});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

/// bob's conversation with carol, up to this seq.
fn conversations(last: u64) -> Value {
    let last = last.to_string();
    json!({"type": "conversations", "conversations": [{"to": "@bob", "log": "00000000000000ac",
        "last": last, "read": last, "retention": "forever"}]})
}

fn end(to: Option<&str>, reference: Option<&str>) -> Value {
    json!({"type": "history", "to": to, "lines": 1, "more": false, "ref": reference})
}

/// Tells the message again in every way that looks like a part of an answer.
fn tells_again(double: &Double, said: &Value) {
    let elsewhere = json!({"type": "message", "seq": "7", "to": "#elsewhere", "from": "alice",
        "device": "main", "id": "7".repeat(32), "time_ms": now_ms(), "text": TEXT, "ref": ""});
    double.tells(elsewhere);
    let references = ["", "history", "search", "older @bob", "tail", "pychat-1", "q1"];
    for (seq, reference) in (10..).zip(references) {
        double.tells(told(said, seq, json!({"ref": reference})));
        double.tells(told(said, seq, json!({"ref": reference, "replay": true})));
        double.tells(end(Some("@bob"), Some(reference)));
        double.tells(end(Some("@bob"), None));
    }
    double.tells(json!({"type": "notice", "text": "that was all"}));
}

#[test]
fn an_old_message_is_no_answer_that_nobody_has_asked_for() {
    for face in ["--plain", "--json"] {
        let story = Story::new();
        let (mut carol, double) = story.client(&[face]);
        carol.sees("#lobby");
        let said = story.bobs_message(TEXT);
        double.tells(conversations(0));
        double.tells(told(&said, 1, json!({})));
        carol.sees(TEXT);
        tells_again(&double, &said);
        carol.sees("that was all");
        assert_eq!(carol.seen(TEXT), 1, "{:#?}", carol.shown());
        // The control: the answer to a request is shown, and closes it.
        let reference = match face {
            "--plain" => {
                carol.types("/query bob");
                carol.types("/history");
                Some("history")
            }
            _ => {
                carol.types(r#"{"type":"history","to":"@bob"}"#);
                None
            }
        };
        let asked = || double.heard.lock().unwrap().iter().any(is_history);
        story.world.until("carol asks", asked);
        double.tells(told(&said, 1, json!({"ref": reference.unwrap_or_default()})));
        double.tells(end(Some("@bob"), reference));
        carol.shows("the answer", |lines| lines.iter().filter(|it| it.contains(TEXT)).count() == 2);
        tells_again(&double, &said);
        double.tells(json!({"type": "notice", "text": "the end"}));
        carol.sees("the end");
        assert_eq!(carol.seen(TEXT), 2, "{:#?}", carol.shown());
    }
}

fn is_history(request: &Request) -> bool {
    matches!(request.command, Command::History { .. })
}

#[test]
fn the_full_screen_shows_no_such_answer_and_keeps_its_messages_at_a_gap() {
    let story = Story::new();
    let (mut screen, double) = story.terminal();
    screen.shows("* connected");
    let said = story.bobs_message(TEXT);
    double.tells(conversations(0));
    double.tells(told(&said, 1, json!({})));
    screen.shows("2:@bob");
    screen.types("\x1b2");
    screen.shows(TEXT);
    tells_again(&double, &said);
    screen.shows("that was all");
    let times = |screen: &Terminal| screen.screen().matches(TEXT).count();
    assert_eq!(times(&screen), 1, "{}", screen.screen());
    double.tells(json!({"type": "gap", "to": "@bob", "from_seq": "1", "to_seq": "1",
        "stored": true}));
    screen.shows("server| 1 message of @bob was omitted");
    assert_eq!(times(&screen), 1, "{}", screen.screen());
}

#[test]
fn an_answer_without_an_end_takes_no_memory() {
    let story = Story::new();
    let (mut screen, double) = story.terminal();
    screen.shows("* connected");
    let before = memory_kib(screen.program());
    let after = floods(&double, &screen, "");
    assert!(after < before + (8 << 10), "{before} KiB, then {after}");
    // An answer that was asked for takes a hundred messages of 8 KB.
    screen.types("/history\r");
    story.world.until("carol asks", || double.heard.lock().unwrap().iter().any(is_history));
    let after = floods(&double, &screen, "history");
    assert!(after < before + (16 << 10), "{before} KiB, then {after}");
}

/// Sends 40 MB of messages as an answer without an end. Returns the memory of the client, in KiB.
fn floods(double: &Double, screen: &Terminal, reference: &str) -> u64 {
    let text = "x ".repeat(4_000);
    for seq in 1..5_000 {
        double.tells(json!({"type": "message", "seq": seq.to_string(), "to": "#lobby",
            "from": "bob", "device": "main", "id": format!("{seq:032x}"), "time_ms": 1,
            "text": text, "ref": reference}));
    }
    let mark = format!("after {reference:?}");
    double.tells(json!({"type": "notice", "text": mark}));
    screen.shows_row(|row| row.contains(&mark));
    memory_kib(screen.program())
}

#[test]
fn tombstones_of_invented_users_take_no_memory_and_no_disk() {
    let story = Story::new();
    let (mut plain, double) = story.client(&["--plain"]);
    plain.types("/join tea blue kettle 47");
    plain.sees("you are in #tea~");
    // The double answers a request before it notes it.
    story.world.until("the join is noted", || double.channel().is_some());
    let channel = double.channel().unwrap();
    plain.types(TEXT);
    story.world.until("it is sealed", || double.sealed().is_some());
    let said = double.sealed().unwrap();
    let tells = |double: &Double, seq: u64| {
        double.tells(json!({"type": "message", "seq": seq.to_string(), "to": said["to"],
            "from": "carol", "device": "main", "id": said["id"], "sealed": said["sealed"],
            "time_ms": now_ms()}));
    };
    tells(&double, 1);
    plain.sees(&format!("You: {TEXT}"));
    let before = plain.memory_kib();
    let mut body = String::new();
    for seq in 2..=40_000 {
        let tombstone = json!({"type": "message", "seq": seq.to_string(), "to": channel,
            "from": format!("made-{seq:026}"), "device": "m", "id": format!("{seq:032x}"),
            "time_ms": 1, "kind": "edit", "of": "1", "text": "", "replay": true});
        body.push_str(&format!("{tombstone}\n"));
        if body.len() > 15_000 {
            double.sends(RecordType::Json, body.as_bytes());
            body.clear();
        }
    }
    double.sends(RecordType::Json, body.as_bytes());
    double.tells(json!({"type": "notice", "text": "that was all"}));
    plain.shows("that was all", |lines| lines.iter().any(|line| line.contains("that was all")));
    let after = plain.memory_kib();
    assert!(after < before + (16 << 10), "{before} KiB, then {after}");
    plain.types("/exit");
    plain.ends();
    drop(double);
    let bytes = fs::metadata(story.sequences_file()).unwrap().len();
    assert!(bytes < 200_000, "{bytes} bytes");
    // And the old message is still known.
    let (plain, double) = story.client(&["--plain"]);
    plain.sees("you are in #tea~");
    tells(&double, 50_000);
    plain.sees("was told before");
    assert_eq!(plain.seen(TEXT), 0, "{:#?}", plain.shown());
}

#[test]
fn a_further_client_and_a_tail_know_what_was_received() {
    let story = Story::new();
    let (mut first, double) = story.client(&["--plain"]);
    first.sees("#lobby");
    let said = story.bobs_message(TEXT);
    double.tells(conversations(1));
    double.tells(told(&said, 1, json!({})));
    first.sees(TEXT);
    first.types("/exit");
    first.ends();
    drop(double);
    let (first, _double) = story.client(&["--plain"]);
    first.sees("#lobby");
    let tail = ["--tail", "1", "-f", "--to", "bob"];
    for args in [&["--plain"][..], &["--json"], &tail, &["--plain"]] {
        let (second, double) = story.client(args);
        if args != tail {
            second.sees("#lobby");
            double.tells(conversations(2));
        }
        let asked = || double.heard.lock().unwrap().iter().any(is_history);
        story.world.until("the tail has begun", || args != tail || asked());
        double.tells(told(&said, 2, json!({})));
        double.tells(told(&said, 3, json!({"replay": true})));
        // The control: a message in the clear is the server's word.
        double.tells(json!({"type": "message", "seq": "4", "to": "@carol", "from": "bob",
            "device": "main", "id": "4".repeat(32), "time_ms": now_ms(), "text": "in the clear",
            "replay": true}));
        second.sees("in the clear");
        assert_eq!(second.seen(TEXT), 0, "{args:?}: {:#?}", second.shown());
    }
    // Under its own seq it is an older message, and has its own time.
    let (second, double) = story.client(&["--json"]);
    second.sees("#lobby");
    double.tells(conversations(1));
    let time_ms = now_ms() + 5 * 3_600_000;
    double.tells(told(&said, 1, json!({"replay": true, "time_ms": time_ms})));
    let shown: Value = serde_json::from_str(&second.sees(TEXT)).unwrap();
    let shown: jiff::Timestamp = shown["time"].as_str().unwrap().parse().unwrap();
    assert!(shown.as_millisecond() < time_ms as i64 - 3_600_000, "{shown}");
}

#[test]
fn a_client_stops_at_a_file_that_it_cannot_read_as_a_whole() {
    let story = Story::new();
    let (mut first, double) = story.client(&["--plain"]);
    first.sees("#lobby");
    first.types("/exit");
    first.ends();
    drop(double);
    let path = story.sequences_file();
    let bytes = (64 << 20) + 1;
    fs::File::options().write(true).open(&path).unwrap().set_len(bytes).unwrap();
    for args in [&["--plain"][..], &["--json"], &["--send", "hi"]] {
        let mut client = story.world.client_by("carol", &story.address(), args);
        client.is_told(path.to_str().unwrap());
        client.ends();
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
}
