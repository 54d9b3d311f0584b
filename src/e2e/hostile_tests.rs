//! Hostile servers that forge, replay, drop, swap and downgrade messages, and a member who writes
//! under another name. Each is detected two hundred times out of two hundred, and none of its
//! messages is shown as a user's; an honest server is never suspected.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use zeroize::Zeroizing;

use super::memory_tests::{Me, Memory};
use super::*;
use crate::chat::{Body, Conversation, DeviceKey, DeviceName, Kind, NewMessage, Retention, Seq};
use crate::crypto::certificate::{Certificate, OpeningKey, SigningKey};
use crate::crypto::context::Context;
use crate::crypto::header::{ChainLink, ContentType, Header, Plaintext};
use crate::crypto::test_keys::spare;
use crate::crypto::{Fingerprint, Identity};

#[path = "hostile_changes_tests.rs"]
mod changes;
#[path = "hostile_context_tests.rs"]
mod context;
#[path = "hostile_crowd_tests.rs"]
mod crowd;
#[path = "hostile_history_tests.rs"]
mod history;
#[path = "hostile_keys_tests.rs"]
mod keys;
#[path = "hostile_log_tests.rs"]
mod log;
#[path = "lost_answer_tests.rs"]
mod lost_answer;
#[path = "hostile_messages_tests.rs"]
mod messages;
#[path = "hostile_new_log_tests.rs"]
mod new_log;
#[path = "hostile_numbers_tests.rs"]
mod numbers;
#[path = "hostile_old_keys_tests.rs"]
mod old_keys;
#[path = "hostile_rename_tests.rs"]
mod rename;
#[path = "hostile_trust_tests.rs"]
mod trust;

const TRIES: usize = 200;
const SERVER: Fingerprint = Fingerprint([9; 32]);
const NOW_MS: i64 = 1_800_000_000_000;

struct Person {
    name: UserName,
    engine: Engine,
    account: Arc<Me>,
    storage: Memory,
}

/// What a client has shown.
#[derive(Default)]
struct Seen {
    texts: Vec<String>,
    violations: Vec<Violation>,
    changed: usize,
    refused: usize,
}

/// An honest server's memory.
#[derive(Default)]
struct Server {
    keys: HashMap<UserName, Vec<DeviceKey>>,
    messages: Vec<Message>,
    ids: u64,
}

fn tag(byte: u8) -> (ChannelName, PinChannel) {
    let key = PinChannel::from_root(Zeroizing::new([byte; 32]));
    let name: ChannelName = "#tea".parse().unwrap();
    (name.with_tag(&key.tag()).unwrap(), key)
}

fn device_key(identity: &Identity, certificate: Option<Opaque>) -> DeviceKey {
    let device = DeviceName::main();
    DeviceKey { device, key: Opaque::new(&identity.public().to_der()).unwrap(), certificate }
}

impl Person {
    fn new(name: &str, key: usize) -> Person {
        let account = Arc::new(Me::new(name, SERVER, spare(key)));
        let (name, storage) = (account.name().clone(), Memory::default());
        let engine = Engine::open(account.clone(), Box::new(storage.clone()), true).unwrap();
        let mut person = Person { name, engine, account, storage };
        let (channel, key) = tag(7);
        assert_eq!(person.engine.add_channel(key, &channel.bare()).unwrap(), channel);
        person
    }

    /// Restarts the client with its stored state.
    fn restarts(&mut self) {
        let storage = Box::new(self.storage.clone());
        self.engine = Engine::open(self.account.clone(), storage, true).unwrap();
    }

    fn says(&mut self, server: &mut Server, to: &str, text: &str) -> Seen {
        self.asks(server, to, text, Kind::Say)
    }

    fn asks(&mut self, server: &mut Server, to: &str, text: &str, kind: Kind) -> Seen {
        server.ids += 1;
        let id = MsgId(u128::from(server.ids).to_be_bytes());
        let (to, body) = (to.parse().unwrap(), text.into());
        if let Some(of) = kind.of() {
            self.engine.choose(Choice { change: id, to: Target::clone(&to), of, chosen: None });
        }
        // Each a millisecond after the one before.
        let now_ms = NOW_MS + server.ids as i64;
        let say = Command::Say(NewMessage { to, id, kind, body });
        let next = self.engine.send(say.into(), now_ms);
        self.follows(server, next)
    }

    fn receives(&mut self, server: &mut Server, event: Event) -> Seen {
        let next = self.engine.received(event, NOW_MS);
        self.follows(server, next)
    }

    fn follows(&mut self, server: &mut Server, next: Vec<Output>) -> Seen {
        let mut seen = Seen::default();
        let mut next = VecDeque::from(next);
        while let Some(one) = next.pop_front() {
            match one {
                Output::Event(Event::Message(message)) => {
                    seen.texts.push(message.body.text().to_owned());
                }
                Output::Violation { violation, .. } => seen.violations.push(violation),
                Output::KeyChanged { .. } => seen.changed += 1,
                Output::Answer(Event::Refused { .. }) => seen.refused += 1,
                Output::Send(request) => {
                    let answers = server.runs(&self.name, request);
                    let told = |event| self.engine.received(event, NOW_MS);
                    next.extend(answers.into_iter().flat_map(told));
                }
                _ => {}
            }
        }
        seen
    }

    /// Logs the client in.
    fn enters(&mut self, server: &mut Server) {
        let key = device_key(&self.account.own(), None);
        server.keys.insert(self.name.clone(), vec![key]);
        self.engine.lost();
        let welcome = Event::Welcome {
            name: self.name.clone(),
            device: DeviceName::main(),
            version: "0".into(),
            text_bytes_max: 8_192,
            time_ms: NOW_MS,
            motd: None,
            files: None,
        };
        assert!(self.receives(server, welcome).violations.is_empty());
    }
}

impl Server {
    fn runs(&mut self, from: &UserName, request: Request) -> Vec<Event> {
        let Request { command, reference } = request;
        match command {
            Command::Certify { certificate } => {
                let own = self.keys.get_mut(from).unwrap();
                own[0].certificate = Some(certificate);
                Vec::new()
            }
            Command::Keys { names } => {
                let keys = |name: &UserName| self.keys.get(name).cloned().unwrap_or_default();
                let event = |name: UserName| Event::Keys {
                    keys: keys(&name),
                    name,
                    more: false,
                    reference: reference.clone(),
                };
                names.into_iter().map(event).collect()
            }
            Command::Say(NewMessage { to, id, kind, body }) => {
                let conversation = Conversation::of(from, to.clone());
                let here = |message: &&Message| {
                    Conversation::of(&message.from, message.to.clone()) == conversation
                };
                let seq = Seq(self.messages.iter().filter(here).count() as u64 + 1);
                let message = Message {
                    seq,
                    to,
                    from: from.clone(),
                    device: DeviceName::main(),
                    id,
                    time_ms: NOW_MS,
                    kind,
                    body,
                    confidentiality: Default::default(),
                    edited: false,
                    deleted: false,
                    replay: false,
                    reference: None,
                };
                self.messages.push(message.clone());
                vec![Event::Message(message)]
            }
            other => panic!("no request expected: {other:?}"),
        }
    }
}

/// A conversation with messages of alice that a server may deliver to bob in any way.
struct Story {
    server: Server,
    alice: Person,
    bob: Person,
    mallory: Person,
    conversation: String,
    chance: StdRng,
    told: u64,
}

impl Story {
    fn new(conversation: &str) -> Story {
        let mut story = Story {
            server: Server::default(),
            alice: Person::new("alice", 0),
            bob: Person::new("bob", 1),
            mallory: Person::new("mallory", 2),
            conversation: match conversation {
                "#tea" => tag(7).0.as_str().to_owned(),
                other => other.to_owned(),
            },
            chance: StdRng::seed_from_u64(7),
            told: 0,
        };
        let Story { server, alice, bob, mallory, .. } = &mut story;
        [alice, bob, mallory].into_iter().for_each(|person| person.enters(server));
        for _ in 0..2 {
            // So that bob has pinned her key.
            assert_eq!(story.honest().texts, ["hi"]);
        }
        story
    }

    /// Some messages of alice, as the server stores them.
    fn messages(&mut self, count: usize) -> Vec<Message> {
        let first = self.server.messages.len();
        for _ in 0..count {
            let seen = self.alice.says(&mut self.server, &self.conversation.clone(), "hi");
            assert_eq!((seen.texts.len(), seen.violations.len()), (1, 0), "{:?}", seen.violations);
        }
        self.server.messages[first..].to_vec()
    }

    /// Writes a name in capitals or not. A server may do so with each name of each event.
    fn respelled(&mut self, name: &UserName) -> UserName {
        let name = name.as_str();
        let spelled = if self.chance.random() { name.to_uppercase() } else { name.to_lowercase() };
        spelled.parse().unwrap()
    }

    /// Writes the names in a message in one of their spellings.
    fn respell(&mut self, message: &mut Message) {
        message.from = self.respelled(&message.from);
        if let Target::User(name) = &message.to {
            message.to = Target::User(self.respelled(name));
        }
    }

    /// Delivers a message to bob, under seqs without a gap.
    fn tells(&mut self, mut message: Message) -> Seen {
        self.told += 1;
        message.seq = Seq(self.told);
        self.respell(&mut message);
        self.bob.receives(&mut self.server, Event::Message(message))
    }

    fn honest(&mut self) -> Seen {
        let message = self.messages(1).remove(0);
        self.tells(message)
    }

    /// Delivers a message that must not be shown. Returns the violation.
    #[track_caller]
    fn never_shown(&mut self, message: Message) -> Violation {
        let seen = self.tells(message);
        assert_eq!(seen.texts, [""; 0], "{:?}", seen.violations);
        assert_eq!(seen.violations.len(), 1, "{:?}", seen.violations);
        assert!(!seen.violations[0].is_shown());
        seen.violations[0]
    }

    /// A gap resets the checks after a deliberate violation.
    fn heals(&mut self) {
        let (to, upto) = (self.seen_as(), Seq(self.told));
        let to = match to {
            Target::User(name) => Target::User(self.respelled(&name)),
            channel => channel,
        };
        let gap = Event::Gap { to, from_seq: upto, to_seq: upto, stored: false };
        assert!(self.bob.receives(&mut self.server, gap).violations.is_empty());
    }

    /// The operator gives alice another key, and bob confirms it.
    fn retires_alices_key(&mut self) {
        let alice = self.alice.name.clone();
        let keys = vec![device_key(&spare(3), None)];
        self.server.keys.insert(alice.clone(), keys.clone());
        let event = Event::Keys { name: alice.clone(), keys, more: false, reference: None };
        self.bob.receives(&mut self.server, event);
        for confirms in [false, true] {
            let next = self.bob.engine.look_up(&alice, confirms, NOW_MS);
            self.bob.follows(&mut self.server, next);
        }
    }

    fn seen_as(&self) -> Target {
        match self.conversation.as_str() {
            "@bob" => "@alice".parse().unwrap(),
            conversation => conversation.parse().unwrap(),
        }
    }
}

fn in_both(tries: impl Fn(&mut Story)) {
    for conversation in ["#tea", "@bob"] {
        let mut story = Story::new(conversation);
        (0..TRIES).for_each(|_| tries(&mut story));
    }
}
