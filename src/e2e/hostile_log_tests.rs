//! Servers whose log was replaced, in truth or by claim, and messages under expired keys.

use super::*;
use crate::chat::{ConversationInfo, Epoch, Retention};

const DAY_MS: i64 = 86_400_000;

impl Story {
    /// The server states its log and newest seq to bob. Returns the notices.
    fn begins(&mut self, epoch: u64, last: u64, retention: Retention) -> Vec<String> {
        let (to, epoch, last) = (self.seen_as(), Epoch(epoch), Seq(last));
        let conversation = ConversationInfo { to, epoch, last, read: Seq(0), retention };
        let next = self
            .bob
            .engine
            .received(Event::Conversations { conversations: vec![conversation] }, NOW_MS);
        let trouble = |next| match next {
            Output::Trouble(text) | Output::Reply(text) => Some(text),
            _ => None,
        };
        next.into_iter().filter_map(trouble).collect()
    }

    /// Another log begins, with seqs from one.
    fn restores(&mut self, epoch: u64) {
        let told = self.begins(epoch, 0, Retention::Forever);
        assert!(told.len() == 1 && told[0].contains("as after a restore"), "{told:?}");
        self.told = 0;
    }

    /// Returns the messages that bob is shown, each with whether it is an old one, and the
    /// violations.
    fn shown(&mut self, mut message: Message, now_ms: i64) -> (Vec<Message>, Vec<Violation>) {
        self.told += 1;
        message.seq = Seq(self.told);
        self.respell(&mut message);
        let next = self.bob.engine.received(Event::Message(message), now_ms);
        let (mut messages, mut violations) = (Vec::new(), Vec::new());
        for next in next {
            match next {
                Output::Event(Event::Message(message)) => messages.push(message),
                Output::Violation { violation, .. } => violations.push(violation),
                _ => {}
            }
        }
        (messages, violations)
    }
}

#[test]
fn old_messages_are_never_new_in_any_log() {
    in_both(|story| {
        story.begins(1, story.told, Retention::Forever);
        let messages = story.messages(3);
        for message in &messages {
            assert_eq!(story.tells(message.clone()).texts, ["hi"]);
        }
        let epoch = story.chance.random_range(2..u64::MAX);
        story.restores(epoch);
        let mut old = messages[story.chance.random_range(0..3)].clone();
        // As new messages they are not shown, whatever time the server states.
        old.time_ms += 60_000;
        assert_eq!(story.never_shown(old.clone()), Violation::Again);
        // A replay shows them once, under their own time.
        old.replay = true;
        let (shown, violations) = story.shown(old.clone(), NOW_MS);
        assert_eq!((shown.len(), violations), (1, vec![]));
        assert!(shown[0].replay && shown[0].time_ms < old.time_ms);
        assert_eq!(story.never_shown(old), Violation::Again);
        let kept = serde_json::to_string(&story.bob.engine.sequences).unwrap();
        story.bob.engine.sequences = serde_json::from_str(&kept).unwrap();
        assert_eq!(story.honest().violations, [], "and the conversation continues");
        story.begins(1, 0, Retention::Forever);
        story.told = 0;
    });
}

#[test]
fn after_a_restore_read_messages_are_replayed_and_lost_ones_are_missed() {
    for conversation in ["#tea", "@bob"] {
        let mut story = Story::new(conversation);
        story.begins(1, story.told, Retention::Forever);
        let messages = story.messages(4);
        messages.iter().for_each(|message| assert_eq!(story.tells(message.clone()).texts, ["hi"]));
        // The old log is lost with a message that bob never received and the last two that he did.
        story.messages(1);
        story.restores(2);
        for message in &messages[..2] {
            let (shown, violations) =
                story.shown(Message { replay: true, ..message.clone() }, NOW_MS);
            assert_eq!((shown.len(), violations), (1, vec![]));
        }
        let seen = story.honest();
        assert_eq!((seen.texts.len(), seen.violations), (1, vec![Violation::Missing(1)]));
        assert_eq!(story.honest().violations, []);
    }
}

#[test]
fn another_log_is_reported_whatever_the_retention() {
    in_both(|story| {
        let (off, day) = (Retention::Off, Retention::For("1d".parse().unwrap()));
        assert!(story.begins(1, story.told, Retention::Forever).is_empty());
        // A shorter retention is reported, once.
        let told = story.begins(1, story.told, day);
        assert!(told.len() == 1 && told[0].contains("messages for 1d only"), "{told:?}");
        assert!(story.begins(1, story.told, day).is_empty());
        let told = story.begins(2, 0, off);
        assert!(told.len() == 2 && told[0].contains("stores no messages"), "{told:?}");
        assert!(told[1].contains("as after a restore"), "{told:?}");
        let told = story.begins(3, 0, off);
        assert!(told.len() == 1 && told[0].contains("in memory only"), "{told:?}");
        assert!(story.begins(3, 0, Retention::Forever).is_empty());
        assert_eq!(story.begins(4, 0, Retention::Forever).len(), 1);
        story.begins(1, 0, Retention::Forever);
        story.told = 0;
    });
}

#[test]
fn a_received_seq_is_never_new() {
    in_both(|story| {
        let message = story.messages(1).remove(0);
        assert_eq!(story.tells(message.clone()).texts, ["hi"]);
        story.told -= 1;
        assert_eq!(story.never_shown(message), Violation::Again);
    });
}

#[test]
fn a_removed_member_keeps_the_key_and_accepts_no_repetition() {
    let mut story = Story::new("#tea");
    let (channel, _) = tag(7);
    for round in 0..TRIES {
        let message = story.messages(1).remove(0);
        assert_eq!(story.tells(message.clone()).texts, ["hi"]);
        let reference = story.chance.random_bool(0.5).then(|| format!("pychat-{round}"));
        let event = match story.chance.random_bool(0.5) {
            true => Event::Parted { channel: channel.clone(), reference },
            false => Refusal::NotMember(channel.clone()).event(None, reference),
        };
        story.bob.receives(&mut story.server, event);
        assert!(story.bob.engine.channels.key(&channel).is_some());
        assert_eq!(story.never_shown(message), Violation::Again);
    }
}

#[test]
fn only_the_user_deletes_a_channel_key() {
    let (channel, _) = tag(7);
    for answer in 0..4 {
        let mut story = Story::new("#tea");
        let part = |reference: &str| {
            let command = Command::Part { channel: channel.clone() };
            Request::new(command, Some(reference.into()))
        };
        story.bob.engine.send(part("pychat-1"), NOW_MS);
        let told = |reference: &str| Some(reference.to_owned());
        let event = match answer {
            0 => Event::Parted { channel: channel.clone(), reference: told("pychat-1") },
            1 => Refusal::NotMember(channel.clone()).event(None, told("pychat-1")),
            2 => Event::Parted { channel: channel.clone(), reference: told("pychat-2") },
            _ => Event::Parted { channel: channel.clone(), reference: None },
        };
        story.bob.engine.received(event, NOW_MS);
        let kept = story.bob.engine.channels.key(&channel).is_some();
        assert_eq!(kept, answer > 1, "{answer}");
    }
}

#[test]
fn an_expired_key_signs_no_new_message() {
    in_both(|story| {
        story.begins(1, story.told, Retention::Forever);
        let message = story.messages(1).remove(0);
        // A thief of her signing key backdates a message into the certificate's validity.
        let late_ms = NOW_MS + story.chance.random_range(31..300) * DAY_MS;
        let forged = Message { time_ms: late_ms, ..message.clone() };
        let (shown, violations) = story.shown(forged.clone(), late_ms);
        assert_eq!((shown.len(), violations), (0, vec![Violation::Expired]));
        // Sent as one that bob missed, though all messages were here the day before.
        let to = story.seen_as();
        let chains = &mut story.bob.engine.sequences;
        chains.begin(&to, Epoch(1), Seq(story.told), late_ms - DAY_MS);
        let replayed = Message { replay: true, ..forged.clone() };
        let (shown, violations) = story.shown(replayed.clone(), late_ms);
        assert_eq!((shown.len(), violations), (0, vec![Violation::Expired]));
        // A reader who was away that long is shown it, with its signed time.
        let chains = &mut story.bob.engine.sequences;
        chains.begin(&to, Epoch(1), Seq(story.told), NOW_MS);
        let (shown, violations) = story.shown(replayed, late_ms);
        let time_ms = NOW_MS + story.server.ids as i64;
        assert_eq!((shown.len(), violations), (1, vec![Violation::Dated(time_ms)]));
    });
}

#[test]
fn a_server_without_keys_fills_no_memory() {
    let mut story = Story::new("@bob");
    let message = story.messages(1).remove(0);
    let stranger = Message { from: "carol".parse().unwrap(), ..message };
    let asks = story.bob.engine.received(Event::Message(stranger), NOW_MS);
    assert!(
        matches!(asks[..], [Output::Send(Request { command: Command::Keys { .. }, .. })]),
        "{asks:?}"
    );
    let text = "x".repeat(1 << 18);
    let mut told = 0;
    let longest = crate::limits::HELD_EVENTS_BYTES_MAX / text.len() + 1;
    while told == 0 {
        let event = Event::Notice { text: text.clone(), reference: None };
        let next = story.bob.engine.received(event, NOW_MS);
        told += next.len();
        let violated =
            |next: &Output| matches!(next, Output::Violation { violation: Violation::NoKeys, .. });
        assert!(next.is_empty() || violated(&next[0]), "and no forgery is reported");
    }
    assert!((longest - 2..=longest + 2).contains(&told), "{told} of {longest}");
    assert!(story.bob.engine.pending.is_empty());
}

/// Bob's client restarts and writes to alice, while the server lists this certificate. Returns what
/// it sends, and the count of refusals.
fn writes_after_a_restart(
    story: &mut Story,
    told: Option<Opaque>,
    now_ms: i64,
) -> (Option<Opaque>, usize) {
    let alice: UserName = "alice".parse().unwrap();
    story.server.keys.get_mut(&alice).unwrap()[0].certificate = told;
    story.bob.engine.save_trust().unwrap();
    story.bob.restarts();
    let Story { server, bob, .. } = story;
    bob.enters(server);
    server.ids += 1;
    let id = MsgId(u128::from(server.ids).to_be_bytes());
    let (to, text) = (Target::User(alice), "a secret".to_owned());
    let say = Command::Say(NewMessage::text(to, id, &text));
    let mut next = VecDeque::from(bob.engine.send(say.into(), now_ms));
    let mut refused = 0;
    while let Some(one) = next.pop_front() {
        match one {
            Output::Send(Request { command: Command::Say(message), .. }) => {
                return (message.body.sealed().cloned(), refused);
            }
            Output::Send(request) => {
                let answers = server.runs(&bob.name, request);
                let told = |event| bob.engine.received(event, now_ms);
                next.extend(answers.into_iter().flat_map(told));
            }
            Output::Answer(Event::Refused { .. }) => refused += 1,
            _ => {}
        }
    }
    (None, refused)
}

#[test]
fn a_withheld_certificate_causes_no_downgrade() {
    let mut story = Story::new("@bob");
    let own = story.alice.account.own();
    let newest = story.alice.engine.devices.newest().unwrap().0.hash;
    for _ in 0..TRIES {
        let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
        let old_s = (NOW_MS / 1000) as u64 - story.chance.random_range(1..27) * 86_400;
        let old = Certificate::issue(&own, &SERVER, &signing, &opening, old_s);
        let older = Opaque::new(old.bytes()).unwrap();
        let told = story.chance.random_bool(0.5).then_some(older);
        let (sealed, refused) = writes_after_a_restart(&mut story, told.clone(), NOW_MS);
        let sealed = sealed.expect("it is sent");
        let parsed = crate::crypto::private::Parsed::parse(sealed.bytes()).unwrap();
        assert!(parsed.is_for(&newest) && !parsed.is_for(&old.hash));
        assert!(refused == 0 && !parsed.is_for(&own.public().fingerprint().0));
        // Nothing is sent once it has expired.
        let late_ms = NOW_MS + story.chance.random_range(29..300) * DAY_MS;
        assert_eq!(writes_after_a_restart(&mut story, told, late_ms), (None, 1));
    }
}
