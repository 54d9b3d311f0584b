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
use crate::crypto::header::{ContentType, Draft, Header, Link};
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
    lines: Vec<Message>,
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
        // Each a millisecond after the one before.
        let now_ms = NOW_MS + server.ids as i64;
        let say = Command::Say(NewMessage { to, id, kind, body });
        let next = self.engine.send(say.into(), now_ms);
        self.follows(server, next)
    }

    fn is_told(&mut self, server: &mut Server, event: Event) -> Seen {
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
                    let answers = server.obeys(&self.name, request);
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
        };
        assert!(self.is_told(server, welcome).violations.is_empty());
    }
}

impl Server {
    fn obeys(&mut self, from: &UserName, request: Request) -> Vec<Event> {
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
                let here =
                    |line: &&Message| Conversation::of(&line.from, line.to.clone()) == conversation;
                let seq = Seq(self.lines.iter().filter(here).count() as u64 + 1);
                let line = Message {
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
                self.lines.push(line.clone());
                vec![Event::Message(line)]
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
    fn lines(&mut self, count: usize) -> Vec<Message> {
        let first = self.server.lines.len();
        for _ in 0..count {
            let seen = self.alice.says(&mut self.server, &self.conversation.clone(), "hi");
            assert_eq!((seen.texts.len(), seen.violations.len()), (1, 0), "{:?}", seen.violations);
        }
        self.server.lines[first..].to_vec()
    }

    /// Delivers a message to bob, under seqs without a gap.
    fn tells(&mut self, mut line: Message) -> Seen {
        self.told += 1;
        line.seq = Seq(self.told);
        self.bob.is_told(&mut self.server, Event::Message(line))
    }

    fn honest(&mut self) -> Seen {
        let line = self.lines(1).remove(0);
        self.tells(line)
    }

    /// Delivers a message that must not be shown. Returns the violation.
    #[track_caller]
    fn never_shown(&mut self, line: Message) -> Violation {
        let seen = self.tells(line);
        assert_eq!(seen.texts, [""; 0], "{:?}", seen.violations);
        assert_eq!(seen.violations.len(), 1, "{:?}", seen.violations);
        assert!(!seen.violations[0].is_shown());
        seen.violations[0]
    }

    /// A gap resets the checks after a deliberate violation.
    fn heals(&mut self) {
        let (to, upto) = (self.seen_as(), Seq(self.told));
        let gap = Event::Gap { to, from_seq: upto, to_seq: upto, stored: false };
        assert!(self.bob.is_told(&mut self.server, gap).violations.is_empty());
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

#[test]
fn an_honest_server_is_never_suspected() {
    in_both(|story| {
        let seen = story.honest();
        assert_eq!((seen.texts, seen.violations), (vec!["hi".to_owned()], vec![]));
    });
}

#[test]
fn an_altered_message_is_never_shown() {
    in_both(|story| {
        let mut line = story.lines(1).remove(0);
        let mut bytes = line.body.sealed().unwrap().bytes().to_vec();
        let index = story.chance.random_range(0..bytes.len());
        bytes[index] ^= 1 << story.chance.random_range(0..8);
        line.body = Body::Sealed(Opaque::new(&bytes).unwrap());
        story.never_shown(line);
        story.heals();
    });
}

#[test]
fn neither_a_member_nor_a_server_writes_under_another_name() {
    in_both(|story| {
        let conversation = story.conversation.clone();
        let mut line = {
            let Story { server, mallory, .. } = story;
            mallory.says(server, &conversation, "I am alice");
            server.lines.last().unwrap().clone()
        };
        // The server helps.
        line.from = "alice".parse().unwrap();
        assert_eq!(story.never_shown(line), Violation::Forged);
    });
}

#[test]
fn a_stolen_certificate_signs_nothing() {
    let mut story = Story::new("#tea");
    let (channel, key) = tag(7);
    let certificate = story.alice.engine.devices.newest().unwrap().0.clone();
    let to = Target::Channel(channel);
    for n in 0..TRIES as u64 {
        // A member who knows the PIN can seal, but not sign.
        let link = Link { session: [3; 16], n, prev: [0; 32] };
        let id = MsgId([n as u8; 16]);
        let content = ContentType::TEXT;
        let note = Header { id, time_ms: NOW_MS as u64, kind: Kind::Say, content, link };
        let context = &Context::new(&SERVER, &story.alice.name, &to);
        let draft = Draft { context, note: &note, text: "I am alice" };
        let body = key.seal(&draft, (&certificate, &SigningKey::generate())).unwrap();
        let mut line = story.server.lines[0].clone();
        (line.id, line.to) = (id, to.clone());
        line.body = Body::Sealed(Opaque::new(&body).unwrap());
        assert_eq!(story.never_shown(line), Violation::Forged);
    }
}

#[test]
fn a_message_of_another_conversation_is_never_shown() {
    in_both(|story| {
        let mut line = story.lines(1).remove(0);
        // The same name with another PIN, and a conversation with another user.
        match &mut line.to {
            Target::Channel(channel) => {
                let (other, key) = tag(8);
                story.bob.engine.add_channel(key, &other.bare()).unwrap();
                *channel = other;
            }
            Target::User(name) => {
                *name = "bob".parse().unwrap();
                let conversation = "@mallory";
                let Story { server, alice, .. } = story;
                alice.says(server, conversation, "for mallory");
                line.body = server.lines.last().unwrap().body.clone();
            }
        }
        story.never_shown(line);
        story.heals();
    });
}

#[test]
fn a_message_with_another_messages_header_is_never_shown() {
    in_both(|story| {
        let (one, two) = (story.lines(1).remove(0), story.lines(1).remove(0));
        let mut line = one.clone();
        match story.chance.random_range(0..4) {
            0 => line.id = two.id,
            1 => line.kind = Kind::Me,
            2 => line.kind = Kind::Edit { of: Seq(1) },
            _ => line.body = two.body,
        }
        assert_eq!(story.never_shown(line), Violation::Spliced);
        story.heals();
    });
}

#[test]
fn a_repeated_message_is_shown_once() {
    in_both(|story| {
        let line = story.lines(1).remove(0);
        assert_eq!(story.tells(line.clone()).texts, ["hi"]);
        assert_eq!(story.never_shown(line), Violation::Again);
    });
}

#[test]
fn missing_and_swapped_messages_are_detected() {
    in_both(|story| {
        assert!(story.honest().violations.is_empty());
        let mut lines = story.lines(5);
        let index = story.chance.random_range(0..4);
        let dropped = story.chance.random_bool(0.5);
        match dropped {
            true => drop(lines.remove(index)),
            false => lines.swap(index, index + 1),
        }
        let seen: Vec<_> = lines.into_iter().map(|line| story.tells(line)).collect();
        let violations: Vec<_> = seen.iter().flat_map(|seen| &seen.violations).collect();
        assert!(violations.contains(&&Violation::Missing(1)), "{dropped} {violations:?}");
        story.heals();
    });
}

#[test]
fn the_missing_end_of_a_session_is_detected() {
    in_both(|story| {
        let line = story.lines(2).remove(0);
        story.tells(line);
        // A new run of alice's client.
        story.alice.engine.outgoing.forgets_counts();
        let seen = story.honest();
        assert_eq!(seen.violations, [Violation::Unlinked]);
        story.heals();
    });
}

#[test]
fn a_server_can_neither_delete_nor_blank_a_message() {
    in_both(|story| {
        let line = story.lines(1).remove(0);
        let of = line.seq;
        story.tells(line.clone());
        for (kind, deleted) in
            [(Kind::Delete { of }, true), (Kind::Edit { of }, false), (Kind::Say, true)]
        {
            let mut change = story.lines(1).remove(0);
            (change.kind, change.deleted, change.body) = (kind, deleted, Body::default());
            assert_eq!(story.never_shown(change), Violation::Downgraded, "{kind:?}");
        }
    });
}

#[test]
fn unencrypted_text_of_an_encrypting_user_is_never_shown() {
    in_both(|story| {
        let mut line = story.lines(1).remove(0);
        line.body = "unencrypted".into();
        assert_eq!(story.never_shown(line), Violation::Downgraded);
        story.heals();
    });
}

#[test]
fn a_gap_in_the_seqs_is_detected() {
    in_both(|story| {
        story.told += 3;
        let seen = story.honest();
        assert_eq!(seen.violations, [Violation::Missing(3)]);
    });
}

#[test]
fn an_invented_tombstone_excuses_no_missing_message() {
    in_both(|story| {
        assert!(story.honest().violations.is_empty());
        let lines = story.lines(2);
        let mut invented = lines[0].clone();
        invented.id = MsgId([story.chance.random_range(1..=255); 16]);
        (invented.kind, invented.replay) = (Kind::Edit { of: Seq(1) }, true);
        invented.body = Body::default();
        assert!(story.tells(invented).violations.is_empty());
        let seen = story.tells(lines[1].clone());
        assert_eq!((seen.texts.len(), seen.violations), (1, vec![Violation::Missing(1)]));
        story.heals();
    });
}

#[test]
fn a_missing_edit_needs_a_signed_deletion() {
    in_both(|story| {
        let conversation = story.conversation.clone();
        let mut told = || {
            let line = story.lines(1).remove(0);
            assert_eq!(story.tells(line.clone()).texts, ["hi"]);
            (line.seq, Seq(story.told))
        };
        let (one, other) = (told(), told());
        let mut changes = |of: (Seq, Seq), text: &str| {
            let kind = |of| if text.is_empty() { Kind::Delete { of } } else { Kind::Edit { of } };
            let Story { server, alice, .. } = &mut *story;
            alice.asks(server, &conversation, text, kind(of.0));
            Message { kind: kind(of.1), ..server.lines.last().unwrap().clone() }
        };
        let (first, second) = (changes(one, "one"), changes(one, "two"));
        let honest = changes(one, "");
        let hostile = changes(other, "three");
        assert_eq!(story.tells(first).texts, ["one"]);
        // An honest server has lost the body of the second edit with the deletion.
        let seat = Message { body: Body::default(), replay: true, ..second };
        assert_eq!(story.tells(seat.clone()).violations, []);
        if story.chance.random_bool(0.5) {
            assert_eq!(story.tells(honest).violations, []);
            assert_eq!(story.tells(hostile).violations, []);
        } else {
            // A hostile one withholds an edit and the deletion.
            let again = Message { id: MsgId([7; 16]), ..seat };
            assert_eq!(story.tells(again).violations, []);
            assert_eq!(story.tells(hostile).violations, [Violation::Unexplained(2)]);
        }
        story.heals();
    });
}

#[test]
fn a_foreign_key_under_a_name_is_reported_and_not_used() {
    for conversation in ["#tea", "@bob"] {
        let mut story = Story::new(conversation);
        for _ in 0..TRIES {
            // The server adds a key of its own, or replaces hers, and signs with it.
            let own = story.mallory.account.own();
            let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
            let now_s = (NOW_MS / 1000) as u64;
            let certificate = Certificate::issue(&own, &SERVER, &signing, &opening, now_s);
            let bytes = Opaque::new(certificate.bytes()).unwrap();
            let false_key = device_key(&own, Some(bytes));
            let name: UserName = "alice".parse().unwrap();
            let honest = story.server.keys[&name].clone();
            let keys = match story.chance.random_bool(0.5) {
                true => vec![false_key],
                false => [honest.clone(), vec![false_key]].concat(),
            };
            story.server.keys.insert(name.clone(), keys.clone());
            story.bob.engine.lost();
            let event = Event::Keys { name: name.clone(), keys, more: false, reference: None };
            let seen = story.bob.is_told(&mut story.server, event);
            assert_eq!(seen.changed, 1, "it is shown");
            let seen = story.bob.says(&mut story.server, "@alice", "a secret");
            assert_eq!((seen.refused, seen.texts.len()), (1, 0), "nothing is sealed for it");
            let conversation = story.conversation.clone();
            let Story { server, mallory, .. } = &mut story;
            mallory.says(server, &conversation, "I am alice");
            let mut line = server.lines.pop().unwrap();
            line.from = name.clone();
            assert_eq!(story.never_shown(line), Violation::Unconfirmed);
            // The server restores the honest list.
            story.server.keys.insert(name, honest);
            story.bob.engine.lost();
        }
        // Her own key was not listed for a while.
        for confirms in [false, false, true] {
            let next = story.bob.engine.look_up(&"alice".parse().unwrap(), confirms, NOW_MS);
            story.bob.follows(&mut story.server, next);
        }
        let seen = story.honest();
        assert_eq!(seen.texts, ["hi"], "{:?}", seen.violations);
    }
}

#[test]
fn only_the_sender_edits_and_deletes() {
    let mut story = Story::new("#tea");
    let conversation = story.conversation.clone();
    for _ in 0..TRIES {
        let line = story.lines(1).remove(0);
        let seq = line.seq;
        story.tells(line.clone());
        let of = Seq(story.told);
        let Story { server, alice, .. } = &mut story;
        alice.asks(server, &conversation, "better", Kind::Edit { of: seq });
        let mut edit = server.lines.last().unwrap().clone();
        edit.kind = Kind::Edit { of };
        assert_eq!(story.tells(edit.clone()).texts, ["better"]);
        alice_deletes(&mut story, &conversation, seq, of);
        // The same change with another target.
        edit.kind = Kind::Edit { of: Seq(1) };
        assert_eq!(story.never_shown(edit), Violation::Spliced);
    }
}

fn alice_deletes(story: &mut Story, conversation: &str, seq: Seq, of: Seq) {
    let Story { server, alice, .. } = story;
    alice.asks(server, conversation, "", Kind::Delete { of: seq });
    let mut delete = server.lines.last().unwrap().clone();
    delete.kind = Kind::Delete { of };
    let seen = story.tells(delete.clone());
    assert_eq!((seen.texts.len(), seen.violations.len()), (1, 0), "{:?}", seen.violations);
    // An unsigned deletion.
    delete.body = Body::default();
    assert_eq!(story.never_shown(delete), Violation::Downgraded);
}
