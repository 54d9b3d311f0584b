//! A hostile server that holds the key of a server which its clients know. It answers as an honest
//! one, and sends whatever else a test makes it send.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pychat::chat::{Command, Event, Request};
use pychat::crypto::{Identity, RecordType, Sealer};
use pychat::net::tunnel::{Incoming, TunnelReader};
use pychat::wire::codec;
use serde_json::{Value, json};

use super::pty::Terminal;
use super::way::{self, write_record};
use super::{DEADLINE, Program, World};

/// The keys that the server lists for each user.
pub type Keys = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

/// A world with a server, and a hostile one that has its key.
pub struct HostileServer {
    pub world: World,
    pub own: Arc<Identity>,
    pub keys: Keys,
    listener: TcpListener,
}

/// One connection of a client.
#[derive(Clone)]
pub struct Session {
    pub stream: Arc<TcpStream>,
    pub heard: Arc<Mutex<Vec<Request>>>,
    sealer: Arc<Mutex<Sealer>>,
    /// The client's, in base64.
    key: String,
    name: String,
    keys: Keys,
}

impl HostileServer {
    /// These people know the server.
    pub fn known_to(people: &[&str]) -> HostileServer {
        HostileServer::of(World::new(), people)
    }

    /// A server with this key, whose users have the same keys as those of other servers.
    pub fn with_key(own: &Identity, people: &[&str]) -> HostileServer {
        let world = World::new().stopped();
        let file = world.home().join("keys/server.pem");
        fs::write(file, own.to_pem(None).as_bytes()).unwrap();
        HostileServer::of(world.started(), people)
    }

    fn of(world: World, people: &[&str]) -> HostileServer {
        people.iter().for_each(|name| drop(world.enters(name)));
        let pem = fs::read_to_string(world.home().join("keys/server.pem")).unwrap();
        let own = Arc::new(Identity::from_pem(&pem, None).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        HostileServer { world, own, keys: Keys::default(), listener }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Carol's client, welcomed.
    pub fn client(&self, args: &[&str]) -> (Program, Session) {
        self.client_of("carol", args)
    }

    pub fn client_of(&self, name: &str, args: &[&str]) -> (Program, Session) {
        let client = self.world.client_by(name, &self.address(), args);
        (client, self.accepts(name))
    }

    /// Carol's full screen, welcomed.
    pub fn terminal(&self, args: &[&str]) -> (Terminal, Session) {
        let mut command = self.world.program("carol");
        let invite = self.world.invite.replace(&self.world.address, &self.address());
        command.args(["client", &invite, "--name", "carol"]).args(args);
        (Terminal::run(&command), self.accepts("carol"))
    }

    /// Welcomes the next client, which is this user's.
    pub fn accepts(&self, name: &str) -> Session {
        let session = self.meets(name, &self.keys);
        session.welcomes();
        session
    }

    /// The next client, which has logged in and waits for the welcome. It is told these keys.
    pub fn meets(&self, name: &str, keys: &Keys) -> Session {
        let accepted = way::accepts(self.listener.accept().unwrap().0, &self.own);
        let mut reader = accepted.reader;
        assert!(matches!(reader.receive(), Ok(Incoming::Record(RecordType::Login, _))));
        reader.set_deadline(Instant::now() + 9 * DEADLINE).unwrap();
        let key = STANDARD_NO_PAD.encode(accepted.key.to_der());
        let own = || vec![json!({"device": "main", "key": key})];
        keys.lock().unwrap().entry(name.into()).or_insert_with(own);
        let session = Session {
            stream: accepted.stream,
            heard: Arc::default(),
            sealer: Arc::new(Mutex::new(accepted.sealer)),
            key,
            name: name.to_owned(),
            keys: Arc::clone(keys),
        };
        let listens = session.clone();
        thread::spawn(move || listens.listens(reader));
        session
    }

    /// Waits until the user's device has published its certificate.
    pub fn is_certified(&self, name: &str) {
        self.world.until("the device is certified", || {
            let keys = self.keys.lock().unwrap();
            keys.get(name).is_some_and(|keys| keys[0]["certificate"].is_string())
        });
    }

    /// A message that bob has sealed for carol.
    pub fn bobs_message(&self, text: &str) -> Value {
        self.is_certified("carol");
        let (mut bob, session) = self.client_of("bob", &["--plain"]);
        bob.sees("you are in #lobby");
        self.is_certified("bob");
        bob.types(&format!("/pm carol {text}"));
        self.world.until("bob has sealed", || session.sealed().is_some());
        session.sealed().unwrap()
    }
}

impl Session {
    pub fn welcomes(&self) {
        self.tells(json!({"type": "welcome", "name": self.name, "device": "main", "version": "1",
            "text_bytes_max": 8192, "time_ms": now_ms()}));
        self.tells(entered("#lobby", None));
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
                // First noted: the client may show the answer at once.
                self.heard.lock().unwrap().push(request.clone());
                self.answers(&request);
            }
        }
    }

    /// Answers as an honest server would, as far as the stories need it.
    fn answers(&self, request: &Request) {
        let reference = request.reference.as_deref();
        match &request.command {
            Command::Join { channel, .. } => self.tells(entered(channel.as_str(), reference)),
            Command::Keys { names } => {
                for name in names {
                    let keys = self.keys.lock().unwrap().get(name.folded()).cloned();
                    let Some(keys) = keys else { continue };
                    self.tells(
                        json!({"type": "keys", "name": name, "keys": keys, "ref": reference}),
                    );
                }
            }
            Command::Certify { certificate } => {
                let mut keys = self.keys.lock().unwrap();
                let own = keys.get_mut(&self.name).unwrap().iter_mut();
                own.filter(|one| one["key"] == self.key.as_str())
                    .for_each(|one| one["certificate"] = json!(certificate));
            }
            Command::Resume { .. } => {
                self.tells(json!({"type": "conversations", "conversations": []}));
            }
            Command::History { to, .. } if reference == Some("tail") => self.tells(
                json!({"type": "history", "to": to, "messages": 0, "more": false, "ref": "tail"}),
            ),
            _ => {}
        }
    }

    pub fn sends(&self, kind: RecordType, body: &[u8]) {
        let mut record = Vec::new();
        let mut sealer = self.sealer.lock().unwrap();
        sealer.seal(kind, body, &mut record).unwrap();
        // A client that is gone has ended its part of the story.
        let _ = write_record(&self.stream, &record);
    }

    pub fn tells(&self, event: Value) {
        let event: Event = serde_json::from_value(event).unwrap();
        let mut body = Vec::new();
        codec::encode(&event, &mut body);
        self.sends(RecordType::Json, &body);
    }

    /// Every request, in order.
    pub fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|request| serde_json::to_string(request).unwrap() + "\n").collect()
    }

    /// The requests of a client that has ended, up to its end.
    pub fn heard_at_last(&self, world: &World) -> String {
        world.until("nobody listens to it any more", || Arc::strong_count(&self.heard) == 1);
        self.heard()
    }

    /// The last sealed message that the client has sent.
    pub fn sealed(&self) -> Option<Value> {
        let heard = self.heard.lock().unwrap();
        let say = heard.iter().rev().find(
            |one| matches!(&one.command, Command::Say(message) if message.body.sealed().is_some()),
        );
        say.map(|say| serde_json::to_value(say).unwrap())
    }

    /// The channel with a PIN that the client has asked to enter.
    pub fn channel(&self) -> Option<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().find_map(|request| match &request.command {
            Command::Join { channel, .. } if channel.has_pin() => Some(channel.as_str().to_owned()),
            _ => None,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

pub fn entered(channel: &str, reference: Option<&str>) -> Value {
    json!({"type": "entered", "channel": channel, "epoch": "00000000000000ab", "last": "0",
        "read": "0", "retention": "forever", "people": ["carol"], "ref": reference})
}

pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A message of bob to carol under a seq, with further fields.
pub fn told(said: &Value, seq: u64, more: Value) -> Value {
    let mut message = json!({"type": "message", "seq": seq.to_string(), "to": "@carol",
        "from": "bob", "device": "main", "id": said["id"], "sealed": said["sealed"],
        "time_ms": now_ms()});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}
