//! Hostile servers, with readers that help them, that present a message under another name, in
//! another conversation or on another server; and clients restored from a snapshot.

use super::keys::restarts;
use super::*;
use crate::crypto::private::{Device, Parsed, seal_to};

const ELSEWHERE: Fingerprint = Fingerprint([8; 32]);

impl Story {
    /// Delivers a message that must not be shown. Returns the violations.
    #[track_caller]
    fn hides(&mut self, message: Message) -> Vec<Violation> {
        let seen = self.tells(message);
        assert_eq!(seen.texts, [""; 0], "{:?}", seen.violations);
        let violations: Vec<_> =
            seen.violations.into_iter().filter(|violation| !violation.is_shown()).collect();
        assert_eq!(violations.len(), 1);
        violations
    }

    /// Bob's client restarts, with or without its trust store; the PIN is entered again.
    fn restarts_client(&mut self, forgets: bool) {
        restarts(self, forgets);
        let (tea, key) = tag(7);
        self.bob.engine.channels.add(tea, key);
    }

    /// The conversation from alice's side.
    fn conversation(&self) -> Target {
        self.conversation.parse().unwrap()
    }

    fn context(&self) -> Context {
        Context::new(&SERVER, &self.alice.name, &self.conversation())
    }

    fn header(&mut self, content: ContentType) -> Header {
        let link = ChainLink { session: self.chance.random(), n: 0, prev: [0; 32] };
        let id = MsgId(self.chance.random());
        Header { id, time_ms: NOW_MS as u64 + self.told, kind: Kind::Say, content, link }
    }

    /// Seals for bob on a double of alice's client, under her certificate or another of hers.
    fn sealed(
        &self,
        context: &Context,
        header: &Header,
        by: (&Certificate, &SigningKey),
    ) -> Vec<u8> {
        let plaintext = Plaintext { context, header, text: "a word" };
        match self.conversation() {
            Target::Channel(_) => tag(7).1.seal(&plaintext, by).unwrap(),
            Target::User(_) => {
                let own = self.bob.account.own();
                let (certificate, _) = self.bob.engine.devices.newest().unwrap();
                seal_to(&plaintext, by, &[Device::Certified(certificate, own.public())]).unwrap()
            }
        }
    }

    /// Seals again for bob, in another context, what a reader got from alice.
    fn sealed_again(&self, body: &[u8], contexts: [&Context; 2]) -> Vec<u8> {
        let (certificate, _) = self.alice.engine.devices.newest().unwrap();
        match self.conversation() {
            Target::Channel(_) => tag(7).1.sealed_again(body, certificate, contexts),
            Target::User(_) => {
                let (own, devices) = (self.bob.account.own(), &self.bob.engine.devices);
                let device = Device::Certified(devices.newest().unwrap().0, own.public());
                let parsed = Parsed::parse(body).unwrap();
                parsed.sealed_again(&own, devices.opening(), contexts, device)
            }
        }
    }

    /// The message under alice's name, as the server delivers it.
    fn message(&self, id: MsgId, body: &[u8]) -> Message {
        let (to, body) = (self.conversation(), Body::Sealed(Opaque::new(body).unwrap()));
        Message { to, id, body, ..self.server.messages[0].clone() }
    }
}

#[test]
fn a_message_is_never_shown_under_a_name_that_was_given_the_senders_key() {
    let (alice, carol): (UserName, UserName) = ("alice".parse().unwrap(), "carol".parse().unwrap());
    in_both(|story| {
        // Bob either knows alice, or meets carol first.
        let first = story.chance.random_bool(0.5);
        story.restarts_client(true);
        if !first {
            assert_eq!(story.honest().texts, ["hi"]);
        }
        let message = story.messages(1).remove(0);
        let keys = story.server.keys[&alice].clone();
        story.server.keys.insert(carol.clone(), keys);
        let violations = story.hides(Message { from: carol.clone(), ..message });
        // Either the key is known as alice's, or the name in the signed context is hers.
        assert_eq!(violations, [if first { Violation::Closed } else { Violation::Unconfirmed }]);
        story.server.keys.remove(&carol);
    });
}

#[test]
fn a_message_of_another_context_is_never_shown() {
    in_both(|story| {
        let (alice, here) = (story.alice.name.clone(), story.conversation());
        let carol: UserName = "carol".parse().unwrap();
        let there = match &here {
            // A channel of the same PIN and key, or a private conversation.
            Target::Channel(_) if story.chance.random_bool(0.5) => {
                let coffee: ChannelName = "#coffee".parse().unwrap();
                Target::Channel(coffee.with_tag(&tag(7).1.tag()).unwrap())
            }
            Target::User(_) if story.chance.random_bool(0.5) => Target::Channel(tag(7).0),
            _ => Target::User(carol.clone()),
        };
        let other = match story.chance.random_range(0..3) {
            0 => Context::new(&ELSEWHERE, &alice, &here),
            1 => Context::new(&SERVER, &carol, &here),
            _ => Context::new(&SERVER, &alice, &there),
        };
        let header = story.header(ContentType::TEXT);
        let body = story.sealed(&other, &header, story.alice.engine.devices.newest().unwrap());
        assert_eq!(story.never_shown(story.message(header.id, &body)), Violation::Closed);
        let body = story.sealed_again(&body, [&other, &story.context()]);
        assert_eq!(story.never_shown(story.message(header.id, &body)), Violation::Forged);
        let body =
            story.sealed(&story.context(), &header, story.alice.engine.devices.newest().unwrap());
        assert_eq!(story.tells(story.message(header.id, &body)).texts, ["a word"], "in its own");
    });
}

#[test]
fn a_message_is_never_shown_in_another_conversation() {
    in_both(|story| {
        let message = story.messages(1).remove(0);
        let mut moved = message.clone();
        moved.to = match &message.to {
            Target::Channel(_) if story.chance.random_bool(0.5) => {
                let (tea, key) = tag(7);
                let coffee: ChannelName = "#coffee".parse().unwrap();
                let coffee = coffee.with_tag(tea.tag().unwrap()).unwrap();
                story.bob.engine.channels.add(coffee.clone(), key);
                Target::Channel(coffee)
            }
            Target::Channel(_) => Target::User(story.bob.name.clone()),
            Target::User(_) => Target::Channel(tag(7).0),
        };
        story.hides(moved);
        story.bob.receives(&mut story.server, Event::Message(message));
    });
}

#[test]
fn a_private_message_to_another_user_is_never_shown_as_ones_own() {
    let mut story = Story::new("@bob");
    let mallory: UserName = "mallory".parse().unwrap();
    for _ in 0..TRIES {
        // The server has listed bob's key as mallory's to alice.
        let context = Context::new(&SERVER, &story.alice.name, &Target::User(mallory.clone()));
        let header = story.header(ContentType::TEXT);
        let body = story.sealed(&context, &header, story.alice.engine.devices.newest().unwrap());
        let mut message = story.message(header.id, &body);
        if story.chance.random_bool(0.5) {
            message.to = Target::User(mallory.clone());
        }
        assert_eq!(story.never_shown(message), Violation::Closed);
    }
}

#[test]
fn a_certificate_of_another_server_is_of_no_use() {
    in_both(|story| {
        let own = story.alice.account.own();
        let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
        let now_s = (NOW_MS / 1000) as u64;
        let other = Certificate::issue(&own, &ELSEWHERE, &signing, &opening, now_s);
        let header = story.header(ContentType::TEXT);
        let body = story.sealed(&story.context(), &header, (&other, &signing));
        assert_eq!(story.never_shown(story.message(header.id, &body)), Violation::Forged);
        // Bob seals nothing for it, known or not.
        let honest = story.server.keys[&story.alice.name].clone();
        let told = device_key(&own, Some(Opaque::new(other.bytes()).unwrap()));
        story.server.keys.insert(story.alice.name.clone(), vec![told]);
        let forgets = story.chance.random_bool(0.5);
        story.restarts_client(forgets);
        let before = story.server.messages.len();
        story.bob.says(&mut story.server, "@alice", "a secret");
        let sealed = story.server.messages.last().unwrap().body.sealed().unwrap().clone();
        story.server.messages.truncate(before);
        assert!(!Parsed::parse(sealed.bytes()).is_ok_and(|parsed| parsed.is_for(&other.hash)));
        story.server.keys.insert(story.alice.name.clone(), honest);
        story.restarts_client(true);
        assert_eq!(story.honest().texts, ["hi"]);
    });
}

#[test]
fn a_message_of_an_unknown_type_is_counted_and_not_shown() {
    in_both(|story| {
        let content = ContentType(story.chance.random_range(1..=u8::MAX));
        let header = story.header(content);
        let body =
            story.sealed(&story.context(), &header, story.alice.engine.devices.newest().unwrap());
        assert_eq!(story.never_shown(story.message(header.id, &body)), Violation::Newer);
        let seen = story.honest();
        assert_eq!((seen.texts, seen.violations), (vec!["hi".to_owned()], vec![]));
    });
}

#[test]
fn a_client_restored_from_a_snapshot_uses_no_key_twice() {
    // Certificate, head and 58 bytes; or header and two devices.
    for (conversation, head, text) in
        [("#tea", 542..582, 598 + 58), ("@bob", 542..641, 641 + 2 * 496)]
    {
        let mut story = Story::new(conversation);
        let to = story.conversation();
        let mut says = |text: &str, restored: bool| {
            let secrets = &mut story.alice.engine;
            secrets.outgoing.is_restored(&to, restored);
            let (to, text, id) = (to.clone(), text.to_owned(), MsgId([7; 16]));
            let say = Command::Say(NewMessage::text(to, id, &text));
            let sent = secrets.send(say.into(), NOW_MS).into_iter().find_map(|next| match next {
                Output::Send(Request { command: Command::Say(message), .. }) => {
                    message.body.sealed().cloned()
                }
                _ => None,
            });
            sent.expect("it is sent").bytes().to_vec()
        };
        let mut seen = Vec::new();
        says("the same words, then five", false);
        for words in ["five", "nine", "five"].into_iter().cycle().take(TRIES) {
            // The same count, id and time, and the same beginning of the text.
            let body = says(&format!("the same words, then {words}"), true);
            assert_eq!(body[head.clone()].len(), head.len());
            seen.push((body[head.clone()].to_vec(), body[text..text + 16].to_vec()));
        }
        assert!(seen.iter().all(|(head, _)| *head == seen[0].0), "the count is used again");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), TRIES, "no key is used for two messages");
    }
}

/// The sealed body that a client sends for a message that is not stored.
fn sends(person: &mut Person, server: &mut Server, to: &Target) -> Option<Vec<u8>> {
    let (to, id, text) = (to.clone(), MsgId([7; 16]), "hi".to_owned());
    let say = Command::Say(NewMessage::text(to, id, &text));
    let mut next = VecDeque::from(person.engine.send(say.into(), NOW_MS));
    while let Some(one) = next.pop_front() {
        match one {
            Output::Send(Request { command: Command::Say(message), .. }) => {
                return Some(message.body.sealed()?.bytes().to_vec());
            }
            Output::Send(request) => {
                let answers = server.runs(&person.name, request);
                let told = |event| person.engine.received(event, NOW_MS);
                next.extend(answers.into_iter().flat_map(told));
            }
            _ => {}
        }
    }
    None
}

#[test]
fn under_another_name_a_message_is_sealed_again_after_a_confirmation() {
    for conversation in ["#tea", "@bob"] {
        let mut story = Story::new(conversation);
        let to = story.conversation();
        let Story { server, alice, bob, .. } = &mut story;
        let before = sends(alice, server, &to).unwrap();
        alice.enters(server);
        assert_eq!(sends(alice, server, &to).unwrap(), before, "the same bytes each time");
        // The operator has renamed her, or the server claims so.
        alice.name = "alicia".parse().unwrap();
        alice.enters(server);
        assert_eq!(sends(alice, server, &to), None);
        for confirms in [false, true] {
            let next = alice.engine.look_up(&alice.name, confirms, NOW_MS);
            assert!(alice.follows(server, next).texts.is_empty());
        }
        let after = sends(alice, server, &to).unwrap();
        assert_ne!(after, before);
        let context = Context::new(&SERVER, &alice.name, &to);
        let (certificate, _) = alice.engine.devices.newest().unwrap();
        let opened = match &to {
            Target::Channel(_) => tag(7).1.open(&context, &after, certificate),
            Target::User(_) => {
                let (own, devices) = (bob.account.own(), bob.engine.devices.opening());
                let parsed = Parsed::parse(&after).unwrap();
                parsed.open(&context, &own, devices, certificate).map(|(opened, _)| opened)
            }
        };
        assert_eq!(opened.unwrap().text.as_deref(), Some("hi"));
    }
}
