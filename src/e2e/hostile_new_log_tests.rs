//! Servers that begin a new log, in which every number is free again, and attack with what they had
//! in the former epochs: numbers, earlier versions, and messages under old keys.

use super::*;
use crate::chat::{ConversationInfo, Epoch};

const DAY_MS: i64 = 86_400_000;

/// What a client does with an event: texts that it shows, and violations.
type Judged = (Vec<Message>, Vec<Violation>);

fn judged(next: Vec<Output>) -> Judged {
    let (mut shown, mut violations) = (Vec::new(), Vec::new());
    for one in next {
        match one {
            Output::Event(Event::Message(message)) => shown.push(message),
            Output::Violation { violation, .. } => violations.push(violation),
            _ => {}
        }
    }
    (shown, violations)
}

impl Story {
    /// A log begins for the clients of alice and of bob, with numbers from one.
    fn new_log(&mut self) {
        let epoch = Epoch(self.chance.random());
        for (person, to) in [
            (&mut self.alice, self.conversation.parse().unwrap()),
            (
                &mut self.bob,
                match self.conversation.as_str() {
                    "@bob" => "@alice".parse().unwrap(),
                    conversation => conversation.parse().unwrap(),
                },
            ),
        ] {
            let retention = Retention::Forever;
            let info = ConversationInfo { to, epoch, last: Seq(0), read: Seq(0), retention };
            person.engine.received(Event::Conversations { conversations: vec![info] }, NOW_MS);
        }
        self.told = 0;
    }

    /// Bob's client receives a message under the next number of the log.
    fn bob_hears(&mut self, message: Message, now_ms: i64) -> Judged {
        self.told += 1;
        let mut message = Message { seq: Seq(self.told), ..message };
        self.respell(&mut message);
        judged(self.bob.engine.received(Event::Message(message), now_ms))
    }

    /// Alice's client says something or changes the message that she has chosen. Returns what it
    /// sends, or the hint with which it refuses.
    fn alice_asks(&mut self, kind: Kind, chosen: Option<MsgId>) -> Result<NewMessage, String> {
        self.server.ids += 1;
        let id = MsgId(u128::from(self.server.ids).to_be_bytes());
        let to: Target = self.conversation.parse().unwrap();
        if let Some(of) = kind.of() {
            self.alice.engine.choose(Choice { change: id, to: to.clone(), of, chosen });
        }
        let say = Command::Say(NewMessage { to, id, kind, body: "at noon".into() });
        let next = self.alice.engine.send(say.into(), NOW_MS + self.server.ids as i64);
        let mut refusals = Vec::new();
        for one in next {
            match one {
                Output::Send(Request { command: Command::Say(message), .. }) => return Ok(message),
                Output::Answer(Event::Refused { hint, .. }) => refusals.push(hint),
                _ => {}
            }
        }
        Err(refusals.concat())
    }

    /// The server acknowledges a message of alice under a number.
    fn is_stored_as(&mut self, message: &NewMessage, seq: u64) {
        let (id, to) = (message.id, message.to.clone());
        self.alice.engine.received(Event::Stored { id, to, seq: Seq(seq) }, NOW_MS);
    }
}

#[test]
fn a_number_of_a_former_log_names_no_message_of_the_new_one() {
    in_both(|story| {
        story.new_log();
        let seq = story.chance.random_range(1..9);
        let contract = story.alice_asks(Kind::Say, None).unwrap();
        story.is_stored_as(&contract, seq);
        // The control: in this log the number is the contract's.
        let edit = story.alice_asks(Kind::Edit { of: Seq(seq) }, Some(contract.id)).unwrap();
        story.is_stored_as(&edit, seq + 10);
        story.new_log();
        let lunch = story.alice_asks(Kind::Say, None).unwrap();
        story.is_stored_as(&lunch, seq);
        for kind in [Kind::Edit { of: Seq(seq) }, Kind::Delete { of: Seq(seq) }] {
            let refused = story.alice_asks(kind, Some(contract.id)).unwrap_err();
            assert!(refused.contains("another one"), "{refused}");
        }
        // The control: the message that has the number now.
        let edit = story.alice_asks(Kind::Edit { of: Seq(seq) }, Some(lunch.id)).unwrap();
        story.is_stored_as(&edit, seq + 11);
    });
}

#[test]
fn a_change_of_a_former_log_changes_nothing_under_another_number() {
    in_both(|story| {
        story.new_log();
        let conversation = story.conversation.clone();
        let contract = story.messages(1).remove(0);
        assert_eq!(story.bob_hears(contract.clone(), NOW_MS).0.len(), 1);
        let kind = match story.chance.random() {
            true => Kind::Edit { of: contract.seq },
            false => Kind::Delete { of: contract.seq },
        };
        let text = if kind.is_edit() { "no" } else { "" };
        let Story { server, alice, .. } = &mut *story;
        alice.asks(server, &conversation, text, kind);
        let change = server.messages.last().unwrap().clone();
        // In the new log another message of hers has the number that the change names.
        story.new_log();
        let lunch = story.messages(1).remove(0);
        let of = Seq(story.told + 1);
        assert_eq!(story.bob_hears(lunch, NOW_MS).0.len(), 1);
        let named = if kind.is_edit() { Kind::Edit { of } } else { Kind::Delete { of } };
        for replay in [false, true] {
            let change = Message { kind: named, replay, ..change.clone() };
            let (shown, violations) = story.bob_hears(change, NOW_MS);
            assert_eq!((shown.len(), violations), (0, vec![Violation::Spliced]));
        }
    });
}

#[test]
fn a_changed_message_does_not_come_back_in_a_new_log() {
    in_both(|story| {
        story.new_log();
        let deletes = story.chance.random();
        let conversation = story.conversation.clone();
        let first = story.messages(1).remove(0);
        assert_eq!(story.bob_hears(first.clone(), NOW_MS).1, []);
        let his = Seq(story.told);
        let hers = first.seq;
        let mut versions = vec![first.clone()];
        for number in 0..2 {
            let (text, kind) = match deletes && number == 1 {
                true => ("", Kind::Delete { of: hers }),
                false => ("tea", Kind::Edit { of: hers }),
            };
            let Story { server, alice, .. } = &mut *story;
            alice.asks(server, &conversation, text, kind);
            let change = server.messages.last().unwrap().clone();
            let kind = match kind {
                Kind::Edit { .. } => Kind::Edit { of: his },
                _ => Kind::Delete { of: his },
            };
            let change = Message { kind, ..change };
            assert_eq!(story.bob_hears(change.clone(), NOW_MS).1, []);
            versions.push(change);
        }
        if story.chance.random_ratio(1, 10) {
            story.bob.engine.store_progress(NOW_MS);
        }
        story.new_log();
        // The original, and the original with the body of the first edit.
        let edited = Message { edited: true, body: versions[1].body.clone(), ..first.clone() };
        for old in [first.clone(), edited, versions[1].clone()] {
            for replay in [false, true] {
                let (shown, violations) =
                    story.bob_hears(Message { replay, ..old.clone() }, NOW_MS);
                assert_eq!(shown.len(), 0, "{replay} {old:?} {violations:?}");
                assert!(violations.iter().any(|violation| !violation.is_shown()), "{violations:?}");
            }
        }
        // The control: as it is now, it is replayed once.
        if !deletes {
            let now = Message { body: versions[2].body.clone(), edited: true, ..first };
            let now = Message { replay: true, ..now };
            assert_eq!(story.bob_hears(now, NOW_MS).0.len(), 1);
        }
    });
}

/// A message, an edit and a deletion that a thief of alice's signing key has signed. Bob's client
/// has never seen them.
fn stolen(story: &mut Story) -> Vec<Message> {
    let conversation = story.conversation.clone();
    let target = story.messages(1).remove(0);
    assert_eq!(story.bob_hears(target.clone(), NOW_MS).0.len(), 1);
    let his = Seq(story.told);
    let of = target.seq;
    let kinds = [Kind::Say, Kind::Edit { of }, Kind::Delete { of }];
    let stolen = kinds.map(|kind| {
        let text = if matches!(kind, Kind::Delete { .. }) { "" } else { "forged tea" };
        let Story { server, alice, .. } = &mut *story;
        alice.asks(server, &conversation, text, kind);
        let message = server.messages.last().unwrap().clone();
        let kind = match kind {
            Kind::Edit { .. } => Kind::Edit { of: his },
            Kind::Delete { .. } => Kind::Delete { of: his },
            other => other,
        };
        Message { kind, ..message }
    });
    stolen.to_vec()
}

#[test]
fn an_expired_key_signs_nothing_new_in_a_new_log() {
    in_both(|story| {
        story.new_log();
        let stolen = stolen(story);
        let late_ms = NOW_MS + story.chance.random_range(31..300) * DAY_MS;
        story.new_log();
        let invented = Message { time_ms: late_ms, ..stolen[0].clone() };
        let (shown, violations) = story.bob_hears(invented.clone(), late_ms);
        assert_eq!((shown.len(), violations), (0, vec![Violation::Expired]));
        for change in &stolen[1..] {
            let (shown, violations) = story.bob_hears(change.clone(), late_ms);
            assert_eq!(shown.len(), 0, "{violations:?}");
            assert!(violations.iter().any(|violation| !violation.is_shown()), "{violations:?}");
        }
        // A restored server replays it: it is shown as an old message, under its signed time.
        let (shown, _) = story.bob_hears(Message { replay: true, ..invented }, late_ms);
        assert!(shown.iter().all(|shown| shown.replay && shown.time_ms < NOW_MS + DAY_MS));
        // When all messages of the log were here, an older one is not accepted at all.
        story.new_log();
        let (shown, violations) = story.bob_hears(stolen[0].clone(), NOW_MS);
        assert_eq!((shown.len(), violations), (1, vec![]), "the control: the key is valid");
    });
}

#[test]
fn a_retired_key_signs_nothing_new_in_a_new_log() {
    let mut story = Story::new("@bob");
    story.bob.engine.resume(NOW_MS);
    story.new_log();
    let stolen = stolen(&mut story);
    story.retires_alices_key();
    for _ in 0..TRIES {
        story.new_log();
        for message in &stolen {
            let now_ms = NOW_MS + story.chance.random_range(0..20) * DAY_MS;
            let (shown, violations) = story.bob_hears(message.clone(), now_ms);
            assert_eq!(shown.len(), 0, "{violations:?}");
            assert!(violations.iter().any(|violation| !violation.is_shown()), "{violations:?}");
        }
        // Replayed, it is no new message.
        let old = Message { replay: true, ..stolen[0].clone() };
        let (shown, _) = story.bob_hears(old, NOW_MS);
        assert!(shown.iter().all(|shown| shown.replay && shown.time_ms < NOW_MS + DAY_MS));
    }
}
