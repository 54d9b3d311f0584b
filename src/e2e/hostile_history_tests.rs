//! Hostile servers that answer `/history` with missing or other messages.

use super::*;
use crate::chat::Confidentiality;

/// The answer of an honest server: without changes, each message in its current state.
fn answer(messages: &[Message], reference: &str) -> Vec<Message> {
    let says = |message: &&Message| !message.kind.is_change();
    let now = |message: &Message| {
        let mut told = Message { reference: Some(reference.into()), ..message.clone() };
        let mut changes = messages.iter().filter(|change| change.kind.of() == Some(message.seq));
        if let Some(change) = changes.next_back() {
            told.edited = change.kind.is_edit();
            told.deleted = !told.edited;
            told.body = if told.edited { change.body.clone() } else { Body::default() };
        }
        told
    };
    messages.iter().filter(says).map(now).collect()
}

impl Story {
    /// Some messages of alice, two of which she changes.
    fn talk(&mut self) -> Vec<Message> {
        let (first, conversation) = (self.server.messages.len(), self.conversation.clone());
        for number in 0..6 {
            self.messages(1);
            let seq = self.server.messages.last().unwrap().seq;
            let change = match number {
                1 => ("better", Kind::Edit { of: seq }),
                3 => ("", Kind::Delete { of: seq }),
                _ => continue,
            };
            if self.chance.random_bool(0.5) {
                let Story { server, alice, .. } = self;
                alice.asks(server, &conversation, change.0, change.1);
            }
        }
        self.server.messages[first..].to_vec()
    }

    fn is_answered(&mut self, messages: Vec<Message>) -> Seen {
        let count = messages.len();
        let mut all = Seen::default();
        for mut message in messages {
            self.respell(&mut message);
            let seen = self.bob.receives(&mut self.server, Event::Message(message));
            all.texts.extend(seen.texts);
            all.violations.extend(seen.violations);
        }
        let (to, reference) = (Some(self.seen_as()), Some("history".into()));
        let end = Event::History { to, messages: count, more: true, partial: false, reference };
        all.violations.extend(self.bob.receives(&mut self.server, end).violations);
        all
    }
}

#[test]
fn a_message_missing_from_an_answer_is_detected() {
    in_both(|story| {
        let talk = story.talk();
        let mut messages = answer(&talk, "history");
        let honest = story.is_answered(messages.clone());
        assert_eq!((honest.texts.len(), honest.violations), (6, vec![]));
        // Neither the first, nor the last, nor a changed one: those cannot be detected.
        let index = [2, 4][story.chance.random_range(0..2)];
        messages.remove(index);
        let seen = story.is_answered(messages);
        assert_eq!((seen.texts.len(), seen.violations), (5, vec![Violation::Missing(1)]));
    });
}

#[test]
fn swapped_and_repeated_messages_of_an_answer_are_detected() {
    in_both(|story| {
        let messages = answer(&story.talk(), "history");
        let [one, two] = [2, 4].map(|index| messages[index].clone());
        let mut swapped = messages.clone();
        (swapped[2], swapped[4]) = (two.clone(), one.clone());
        // Under their own seqs, or each other's.
        if story.chance.random_bool(0.5) {
            (swapped[2].seq, swapped[4].seq) = (one.seq, two.seq);
        }
        let seen = story.is_answered(swapped);
        assert!(seen.violations.contains(&Violation::Again), "{:?}", seen.violations);
        let mut twice = answer(&story.talk(), "history");
        let one = twice[2].clone();
        twice.insert(4, Message { seq: Seq(twice[3].seq.0), ..one });
        let seen = story.is_answered(twice);
        assert_eq!((seen.texts.len(), seen.violations), (6, vec![Violation::Again]));
    });
}

#[test]
fn nobody_changes_another_users_message() {
    let mut story = Story::new("#tea");
    let conversation = story.conversation.clone();
    for _ in 0..TRIES {
        let message = story.messages(1).remove(0);
        assert_eq!(story.tells(message.clone()).texts, ["hi"]);
        let told = Seq(story.told);
        // Mallory's client signs a change of alice's message, and the server helps.
        let of = message.seq;
        let kind = [Kind::Edit { of }, Kind::Delete { of }][story.chance.random_range(0..2)];
        let text = if kind.is_edit() { "forged" } else { "" };
        let Story { server, mallory, .. } = &mut story;
        mallory.engine.ids.remember(&message.to, message.seq, (message.id, &mallory.name));
        mallory.asks(server, &conversation, text, kind);
        let kind = if kind.is_edit() { Kind::Edit { of: told } } else { Kind::Delete { of: told } };
        let change = Message { kind, ..server.messages.pop().unwrap() };
        assert_eq!(story.never_shown(change), Violation::Spliced);
        story.heals();
    }
}

#[test]
fn a_rejected_message_is_no_target_of_a_change() {
    in_both(|story| {
        let conversation = story.conversation.clone();
        let (one, two) = (story.messages(1).remove(0), story.messages(1).remove(0));
        // The server sends rubbish with the seq of the first and the id of the second.
        let mut rubbish = Message { id: two.id, ..one.clone() };
        rubbish.body = Body::Sealed(Opaque::new(&[1; 700]).unwrap());
        story.never_shown(rubbish);
        let tombstone = Seq(story.told);
        let told = Message { seq: tombstone, reference: Some("history".into()), ..one };
        assert_eq!(story.is_answered(vec![told]).texts, ["hi"]);
        let Story { server, alice, .. } = story;
        alice.asks(server, &conversation, "of the second", Kind::Edit { of: two.seq });
        let mut edit = server.messages.last().unwrap().clone();
        edit.kind = Kind::Edit { of: tombstone };
        assert_eq!(story.never_shown(edit), Violation::Spliced);
        story.heals();
    });
}

#[test]
fn a_missing_last_message_of_an_answer_is_detected() {
    in_both(|story| {
        let messages = story.messages(4);
        // The local messages begin after these, perhaps with another session of alice's client.
        if story.chance.random_bool(0.5) {
            story.alice.engine.outgoing.forgets_counts();
        }
        let message = story.messages(1).remove(0);
        let before = Some(message.seq);
        story.told = message.seq.0 - 1;
        story.heals();
        assert_eq!(story.tells(message).violations, []);
        let mut messages = answer(&messages, "history");
        let dropped = story.chance.random_range(0..=1);
        messages.truncate(4 - dropped);
        let (to, reference) = (story.seen_as(), Some("history".into()));
        let ask = Command::History { to, before, messages: None, span: None, kind: None };
        let asked = story.bob.engine.send(Request::new(ask, reference), NOW_MS);
        assert!(matches!(
            asked[..],
            [Output::Send(Request { command: Command::History { .. }, .. })]
        ));
        let seen = story.is_answered(messages);
        assert_eq!(
            (seen.texts.len(), seen.violations),
            (4 - dropped, vec![Violation::Unlinked; dropped])
        );
    });
}

#[test]
fn a_replayed_unsigned_change_has_no_effect() {
    in_both(|story| {
        let message = story.messages(1).remove(0);
        story.tells(message.clone());
        let seq = Seq(story.told);
        // The server claims a deletion of a signed message; the signature counts.
        let told = Message { seq, replay: true, deleted: true, ..message.clone() };
        let happened = story.bob.engine.received(Event::Message(told), NOW_MS);
        let shown = happened.iter().find_map(|one| match one {
            Output::Event(Event::Message(message)) => Some(message),
            _ => None,
        });
        let Message { body, deleted, .. } = shown.expect("it is shown");
        assert_eq!((body.text(), *deleted), ("hi", false));
        let (edit, delete) = (Kind::Edit { of: seq }, Kind::Delete { of: seq });
        for (kind, deleted) in [(Kind::Say, true), (delete, true), (edit, false)] {
            let body = crate::chat::Body::default();
            let told = Message { seq, kind, body, deleted, replay: true, ..message.clone() };
            let happened = story.bob.engine.received(Event::Message(told), NOW_MS);
            for one in &happened {
                match one {
                    Output::Event(Event::Message(message)) => {
                        let unsealed = message.to.is_sealed()
                            && message.confidentiality == Confidentiality::Open;
                        assert!(unsealed, "{kind:?}");
                    }
                    Output::Violation { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        story.heals();
    });
}

#[test]
fn edits_of_one_sender_take_no_share_of_another() {
    let mut story = Story::new("#tea");
    let said = story.messages(1).remove(0);
    assert_eq!(story.tells(said.clone()).texts, ["hi"]);
    let (hers, his) = (said.seq, Seq(story.told));
    let channel = story.conversation.clone();
    let mut changes = |text: &str| {
        let kind = |of| if text.is_empty() { Kind::Delete { of } } else { Kind::Edit { of } };
        let Story { server, alice, .. } = &mut story;
        alice.asks(server, &channel, text, kind(hers));
        Message { kind: kind(his), ..server.messages.last().unwrap().clone() }
    };
    let (first, second, deletion) = (changes("one"), changes("two"), changes(""));
    assert_eq!(story.tells(first).texts, ["one"]);
    // Mallory has edited messages of hers and deleted them. Her deletions come later.
    let Story { server, mallory, .. } = &mut story;
    mallory.says(server, &channel, "I am mallory");
    let message = server.messages.last().unwrap().clone();
    for number in 0..110 {
        let message = match number {
            0 => message.clone(),
            _ => Message {
                kind: Kind::Edit { of: Seq(story.told) },
                body: Body::default(),
                replay: true,
                id: MsgId([100 + number; 16]),
                ..message.clone()
            },
        };
        assert_eq!(story.tells(message).violations, []);
    }
    let tombstone = Message { body: Body::default(), replay: true, ..second };
    assert_eq!(story.tells(tombstone).violations, []);
    assert_eq!(story.tells(deletion).violations, []);
}
