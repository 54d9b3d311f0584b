//! What a hostile server claims about keys, departures and deleted messages, at the real binary. A
//! double holds the key of a server that the client knows, and says what a test makes it say.

mod world;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pychat::chat::{Command, Event, Request};
use pychat::crypto::handshake::ServerHello;
use pychat::crypto::hello::Greeting;
use pychat::crypto::private::Parsed;
use pychat::crypto::{Identity, RecordType, Sealer};
use pychat::net::link::RecordSource;
use pychat::net::tcp;
use pychat::net::tunnel::{Incoming, TunnelReader};
use pychat::suite::Suites;
use pychat::wire::codec;
use serde_json::{Value, json};
use world::way::write_record;
use world::{DEADLINE, Program, World};

const SECRET: &str = "the key is under the mat";

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

type Keys = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

impl Double {
    /// Lets carol in, and answers what she asks, but for keys of others.
    fn accepts(listener: &TcpListener, own: &Arc<Identity>, name: &str, keys: &Keys) -> Double {
        let double = Double::meets(listener, own, name, keys);
        double.welcomes();
        double
    }

    fn welcomes(&self) {
        self.tells(json!({"type": "welcome", "name": self.name, "device": "main", "version": "1", "time_ms": now_ms(),
            "text_bytes_max": 8192}));
        self.tells(entered("#lobby", None));
    }

    /// Carol's client has logged in, and waits for the welcome.
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
                        let own =
                            json!({"device": "main", "key": self.key, "certificate": certificate});
                        let mut keys = self.keys.lock().unwrap();
                        let list = keys.get_mut(&self.name).unwrap();
                        list.iter_mut()
                            .filter(|one| one["key"] == own["key"])
                            .for_each(|one| *one = own.clone());
                    }
                    Command::Resume { .. } => {
                        self.tells(json!({"type": "conversations", "conversations": []}))
                    }
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

    /// Everything that is said and asked, as it came.
    fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|request| serde_json::to_string(request).unwrap() + "\n").collect()
    }

    /// The last message that carol has sent sealed.
    fn sealed(&self) -> Option<Value> {
        let heard = self.heard.lock().unwrap();
        let say = heard.iter().rev().find(
            |one| matches!(&one.command, Command::Say(message) if message.body.sealed().is_some()),
        );
        say.map(|say| serde_json::to_value(say).unwrap())
    }

    /// The channel with a PIN that carol has asked to be in.
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
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn entered(channel: &str, reference: Option<&str>) -> Value {
    json!({"type": "entered", "channel": channel, "log": "00000000000000ab", "last": "0",
        "read": "0", "retention": "forever", "people": ["carol"], "ref": reference})
}

/// A server that carol knows, and whoever has taken its conversation.
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

    fn client(&self, face: &str) -> (Program, Double) {
        self.client_of("carol", face)
    }

    /// Lets a client in that connects again.
    fn accepts(&self, name: &str) -> Double {
        Double::accepts(&self.listener, &self.own, name, &self.keys)
    }

    fn client_of(&self, name: &str, face: &str) -> (Program, Double) {
        let client = self.world.client_by(name, &self.address(), &[face]);
        (client, self.accepts(name))
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}

/// bob's sealed line to carol, told with these further fields.
fn told(said: &Value, seq: &str, more: Value) -> Value {
    let mut line = json!({"type": "message", "seq": seq, "to": "@carol", "from": "bob", "device": "main",
        "id": said["id"], "sealed": said["sealed"], "time_ms": now_ms()});
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line
}

/// bob has sealed a line for carol.
fn bobs_line(story: &Story, text: &str) -> Value {
    let (mut bob, double) = story.client_of("bob", "--plain");
    bob.sees("you are in #lobby");
    story.world.until("bob is certified", || {
        story.keys.lock().unwrap()["bob"][0]["certificate"].is_string()
    });
    bob.types(&format!("/pm carol {text}"));
    story.world.until("bob has sealed", || double.sealed().is_some());
    double.sealed().unwrap()
}

/// Waits until a person's key has a certificate in the server's list.
fn is_certified(story: &Story, name: &str) {
    story.world.until("the certificate", || {
        let keys = story.keys.lock().unwrap();
        keys.get(name).is_some_and(|keys| keys[0]["certificate"].is_string())
    });
}

/// The keys that the server lists for bob.
fn bobs_keys(story: &Story) -> Vec<Value> {
    story.keys.lock().unwrap()["bob"].clone()
}

/// A key of the server under bob's name, without a certificate.
fn false_key(story: &Story) -> Value {
    let key = STANDARD_NO_PAD.encode(story.own.public().to_der());
    json!({"device": "second", "key": key})
}

/// Whether a body is sealed for the server's key.
fn is_for_the_server(story: &Story, said: &Value) -> bool {
    let body = STANDARD_NO_PAD.decode(said["sealed"].as_str().unwrap()).unwrap();
    Parsed::parse(&body).unwrap().is_for(&story.own.public().fingerprint().0)
}

/// A second client of carol's folder types a secret for bob, and is refused.
fn refuses(story: &Story, two: &mut Program, double: &Double) {
    let before = two.shown().len();
    two.types(&json!({"type": "say", "to": "@bob", "text": SECRET}).to_string());
    let decided = || two.shown()[before..].iter().any(|line| line.contains("refused"));
    story.world.until("it is decided", || decided() || double.sealed().is_some());
    let shown = two.shown();
    assert_eq!(double.sealed(), None, "{shown:#?}");
    assert!(shown[before..].iter().any(|line| line.contains("not confirmed")), "{shown:#?}");
}

#[test]
fn what_one_client_has_retired_another_does_not_seal_for() {
    let story = Story::new();
    let (carol, double) = story.client("--plain");
    is_certified(&story, "carol");
    drop(bobs_line(&story, "hello"));
    drop((carol, double));
    let (real, both) = (bobs_keys(&story), [&bobs_keys(&story)[..], &[false_key(&story)]].concat());
    story.keys.lock().unwrap().insert("bob".into(), both.clone());
    let (mut one, double_one) = story.client("--plain");
    one.sees("you are in #lobby");
    one.types("/fingerprint bob");
    one.sees("-- compare this with bob");
    let (mut two, double_two) = story.client("--json");
    two.sees(r#""type":"hello""#);
    two.types(r#"{"type":"slash","line":"/fingerprint bob"}"#);
    two.sees("compare this with bob");
    // While they compare, the first client is told bob's key alone.
    double_one.tells(json!({"type": "keys", "name": "bob", "keys": real}));
    one.sees("no longer lists");
    one.types("/fingerprint bob");
    one.types("/fingerprint bob confirm");
    one.sees("are confirmed");
    // The second client still has the list of before.
    refuses(&story, &mut two, &double_two);
    double_two.stream.shutdown(Shutdown::Both).unwrap();
    let double_two = story.accepts("carol");
    refuses(&story, &mut two, &double_two);
    // The control: bob's key alone.
    story.keys.lock().unwrap().insert("bob".into(), real.clone());
    double_two.tells(json!({"type": "keys", "name": "bob", "keys": real}));
    // The list and what is typed come by different ways: what is too early is refused.
    story.world.until("it is sealed", || {
        two.types(&json!({"type": "say", "to": "@bob", "text": "hello"}).to_string());
        std::thread::sleep(std::time::Duration::from_millis(100));
        double_two.sealed().is_some()
    });
    assert!(!is_for_the_server(&story, &double_two.sealed().unwrap()));
}

#[test]
fn a_first_meeting_adds_no_key_to_a_person_whom_another_client_has_met() {
    let story = Story::new();
    let (carol, double) = story.client("--plain");
    is_certified(&story, "carol");
    // Bob publishes a certificate, and carol does not meet him yet.
    let bob = story.client_of("bob", "--plain");
    is_certified(&story, "bob");
    drop(bob);
    drop((carol, double));
    let (real, evil) = (bobs_keys(&story), false_key(&story));
    let (mut one, double_one) = story.client("--plain");
    one.sees("you are in #lobby");
    let mut two = story.world.client_by("carol", &story.address(), &["--json"]);
    let others: Keys = Arc::default();
    others.lock().unwrap().insert("bob".into(), vec![evil.clone()]);
    let double_two = Double::accepts(&story.listener, &story.own, "carol", &others);
    two.sees(r#""type":"hello""#);
    one.types("/fingerprint bob");
    one.sees("-- compare this with bob");
    one.types("/fingerprint bob confirm");
    one.sees("are confirmed");
    two.types(r#"{"type":"slash","line":"/fingerprint bob"}"#);
    two.sees("compare this with bob");
    // At the latest when it stores what it has learned.
    two.sees("was not there before");
    two.types(r#"{"type":"slash","line":"/exit"}"#);
    two.ends();
    one.types("/exit");
    one.ends();
    drop((double_one, double_two));
    story.keys.lock().unwrap().insert("bob".into(), [&real[..], &[evil]].concat());
    let (mut one, double) = story.client("--plain");
    one.sees("you are in #lobby");
    one.types(&format!("/pm bob {SECRET}"));
    one.sees("has a key that you have not confirmed");
    assert_eq!(double.sealed(), None);
}

#[test]
fn a_key_without_a_certificate_of_a_person_with_one_gets_nothing() {
    let story = Story::new();
    let (mut carol, double) = story.client("--plain");
    carol.sees("you are in #lobby");
    is_certified(&story, "carol");
    drop(bobs_line(&story, "hello"));
    let both = [&bobs_keys(&story)[..], &[false_key(&story)]].concat();
    story.keys.lock().unwrap().insert("bob".into(), both);
    carol.types(&format!("/pm bob {SECRET}"));
    story.world.until("it is sealed", || double.sealed().is_some());
    assert!(!is_for_the_server(&story, &double.sealed().unwrap()));
    carol.sees("a device of bob has no valid certificate");
    // The control: her own word permits it.
    carol.types("/fingerprint bob");
    carol.sees("-- compare this with bob");
    carol.types("/fingerprint bob confirm");
    carol.sees("are confirmed");
    let first = double.sealed().unwrap();
    double.tells(json!({"type": "stored", "id": first["id"], "seq": "1", "to": "@bob"}));
    carol.types(&format!("/pm bob {SECRET}"));
    story.world.until("another is sealed", || double.sealed().unwrap() != first);
    assert!(is_for_the_server(&story, &double.sealed().unwrap()));
}

/// The last request of this type.
fn asked(double: &Double, kind: &str) -> Option<Value> {
    let heard = double.heard();
    let mut all = heard.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.rfind(|request| request["type"] == kind)
}

#[test]
fn a_departure_that_was_refused_or_taken_back_erases_nothing() {
    for refused in [true, false] {
        let story = Story::new();
        let (mut plain, double) = story.client("--plain");
        plain.types("/join tea blue kettle 47");
        plain.sees("you are in #tea~");
        let channel = double.channel().unwrap();
        plain.types("/part #tea");
        story.world.until("it asks", || asked(&double, "part").is_some());
        let part = asked(&double, "part").unwrap();
        if refused {
            let refused = json!({"type": "refused", "code": "storage", "hint": "not now", "ref": part["ref"]});
            double.tells(refused);
            plain.sees("not now");
        } else {
            plain.types("/join tea blue kettle 47");
            plain.shows("a second entry", |lines| {
                lines.iter().filter(|line| line.contains("you are in #tea~")).count() == 2
            });
        }
        // Now nobody asks for anything.
        double.tells(json!({"type": "parted", "channel": channel, "ref": part["ref"]}));
        plain.sees("its key and its messages stay here");
        plain.types("/exit");
        plain.ends();
        drop(double);
        let (plain, double) = story.client("--plain");
        plain.sees("you are in #lobby");
        story.world.until("it enters again", || double.channel().as_ref() == Some(&channel));
    }
}

#[test]
fn the_control_a_departure_that_the_server_confirms_erases_the_key() {
    let story = Story::new();
    let (mut plain, double) = story.client("--plain");
    plain.types("/join tea blue kettle 47");
    plain.sees("you are in #tea~");
    let channel = double.channel().unwrap();
    plain.types("/part #tea");
    story.world.until("it asks", || asked(&double, "part").is_some());
    let reference = asked(&double, "part").unwrap()["ref"].clone();
    double.tells(json!({"type": "parted", "channel": channel, "ref": reference}));
    plain.sees("you left #tea~");
    plain.types("/exit");
    plain.ends();
    drop(double);
    let (mut plain, double) = story.client("--plain");
    plain.sees("you are in #lobby");
    plain.types("/join tea");
    story.world.until("it asks", || asked(&double, "join").is_some());
    assert_eq!(double.channel(), None, "the PIN is forgotten");
}

#[test]
fn an_invented_tombstone_pays_for_no_message_that_is_withheld() {
    let story = Story::new();
    let (carol, double) = story.client("--plain");
    carol.sees("#lobby");
    is_certified(&story, "carol");
    let mut said = Vec::new();
    {
        let (mut bob, of_bob) = story.client_of("bob", "--plain");
        bob.sees("you are in #lobby");
        is_certified(&story, "bob");
        for (number, text) in ["I owe carol 100", "no, do NOT pay", "bye"].iter().enumerate() {
            let before = of_bob.sealed();
            bob.types(&format!("/pm carol {text}"));
            story.world.until("bob has sealed", || of_bob.sealed() != before);
            let one = of_bob.sealed().unwrap();
            of_bob.tells(told(&one, &(number + 1).to_string(), json!({})));
            said.push(one);
        }
    }
    double.tells(
        json!({"type": "conversations", "conversations": [{"to": "@bob", "log": "00000000000000ac",
        "last": "0", "read": "0", "retention": "forever"}]}),
    );
    double.tells(told(&said[0], "1", json!({})));
    double.tells(json!({"type": "message", "seq": "2", "to": "@carol", "from": "bob", "device": "main",
        "id": "00000000000000000000000000000099", "time_ms": now_ms(), "kind": "edit", "of": "1", "text": "", "replay": true}));
    double.tells(told(&said[2], "3", json!({})));
    carol.sees("bob: bye");
    assert_eq!(carol.seen("a line of bob is missing"), 1, "{:#?}", carol.shown());
}
