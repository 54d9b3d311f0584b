//! Messages under expired and retired keys among messages that the reader has had, and messages
//! that it has not asked for.

use super::*;
use crate::chat::{Epoch, Position, SyncPoint};

const DAY_MS: i64 = 86_400_000;
const LOG: Epoch = Epoch(1);

impl Story {
    /// What a thief of alice's signing key says, or signs as a change of her message. Bob has all
    /// messages up to a later one, and has restarted.
    fn stolen(&mut self) -> Vec<Message> {
        let conversation = self.conversation.clone();
        let message = self.messages(1).remove(0);
        assert_eq!(self.tells(message.clone()).texts, ["hi"]);
        let (hers, his) = (message.seq, Seq(self.told));
        assert_eq!(self.honest().texts, ["hi"]);
        let first = self.server.messages.len();
        for kind in [Kind::Say, Kind::Edit { of: hers }, Kind::Delete { of: hers }] {
            let text = if matches!(kind, Kind::Delete { .. }) { "" } else { "forged tea" };
            let Story { server, alice, .. } = self;
            alice.asks(server, &conversation, text, kind);
        }
        self.bob.engine.ids = MessageIds::default();
        let stolen = self.server.messages[first..].iter().map(|message| {
            let kind = match message.kind {
                Kind::Edit { .. } => Kind::Edit { of: his },
                Kind::Delete { .. } => Kind::Delete { of: his },
                other => other,
            };
            Message { kind, replay: true, seq: his, ..message.clone() }
        });
        stolen.collect()
    }

    /// Bob receives a message under its own number. Returns the violations; it is shown without
    /// any.
    fn inserts(&mut self, message: &Message, now_ms: i64) -> Vec<Violation> {
        let mut message = message.clone();
        self.respell(&mut message);
        let next = self.bob.engine.received(Event::Message(message), now_ms);
        let shown = next.iter().any(|one| matches!(one, Output::Event(Event::Message(_))));
        let violation = |one| match one {
            Output::Violation { violation, .. } => Some(violation),
            _ => None,
        };
        let violations: Vec<_> = next.into_iter().filter_map(violation).collect();
        assert_eq!(shown, violations.iter().all(|violation| violation.is_shown()));
        violations
    }

    /// The server claims at this time that Bob's client has all messages.
    fn has_all(&mut self, now_ms: i64) {
        let (to, last) = (self.seen_as(), Seq(self.told));
        self.bob.engine.sequences.begin(&to, LOG, last, now_ms);
    }

    /// Bob's client requests the messages after this position.
    fn resumes(&mut self, after: Option<Seq>) {
        let to = self.seen_as();
        let point = after.map(|seq| SyncPoint { epoch: LOG, seq });
        let request = match to.clone() {
            Target::Channel(channel) => Command::Join { channel, after: point },
            Target::User(_) => {
                let positions = point.map(|point| Position { to, point }).into_iter();
                Command::Resume { conversations: positions.collect() }
            }
        };
        self.bob.engine.replays.lost();
        self.bob.engine.send(request.into(), NOW_MS);
    }
}

#[test]
fn an_expired_key_inserts_nothing_among_messages_that_were_here() {
    in_both(|story| {
        if !story.bob.engine.persistence.stores() {
            story.bob.engine.resume(NOW_MS);
        }
        story.has_all(NOW_MS);
        let stolen = story.stolen();
        let late_ms = NOW_MS + story.chance.random_range(31..300) * DAY_MS;
        story.has_all(late_ms);
        for message in &stolen {
            assert_eq!(story.inserts(message, late_ms), [Violation::Expired], "{message:?}");
        }
        // Without a position too: a client that stores has had them.
        story.resumes(None);
        for message in &stolen {
            assert_eq!(story.inserts(message, late_ms), [Violation::Expired], "{message:?}");
        }
        story.bob.engine.replays.lost();
        let changed = |story: &Story, message: &Message| {
            let to = story.seen_as();
            let of = story.server.messages[story.server.messages.len() - 5].id;
            story.bob.engine.changes.edited_ms(&(to, message.from.clone(), of)).is_some()
        };
        assert!(!changed(story, &stolen[0]), "and nothing is remembered of them");
        // The control: while the key was valid the edit is accepted.
        story.has_all(NOW_MS);
        assert_eq!(story.inserts(&stolen[1], NOW_MS), []);
        assert!(changed(story, &stolen[0]));
        story.heals();
    });
}

#[test]
fn what_was_not_asked_for_is_not_accepted() {
    in_both(|story| {
        story.has_all(NOW_MS);
        let stolen = story.stolen();
        story.has_all(NOW_MS);
        // The last one was received, and all before it.
        story.resumes(Some(Seq(story.told)));
        for message in &stolen {
            assert_eq!(story.inserts(message, NOW_MS), [Violation::Again], "{message:?}");
            let clear = Message { body: "in the clear".into(), ..message.clone() };
            assert_eq!(story.inserts(&clear, NOW_MS), [Violation::Again]);
        }
        // The controls: an answer, and a client that knows of no message.
        let answer = Message { reference: Some("history".into()), ..stolen[0].clone() };
        story.bob.engine.history.lost();
        assert_eq!(story.inserts(&answer, NOW_MS), []);
        story.bob.engine.ids = MessageIds::default();
        story.resumes(None);
        assert_eq!(story.inserts(&stolen[0], NOW_MS), []);
        // A further client of the profile may see old messages.
        let late_ms = NOW_MS + 40 * DAY_MS;
        story.has_all(late_ms);
        assert!(
            story.bob.engine.persistence.stores() || story.inserts(&stolen[0], late_ms).is_empty()
        );
        story.bob.engine.replays.lost();
        story.has_all(NOW_MS);
        story.heals();
    });
}

#[test]
fn a_retired_key_inserts_nothing_among_messages_that_were_here() {
    let mut story = Story::new("@bob");
    story.bob.engine.resume(NOW_MS);
    story.has_all(NOW_MS);
    let stolen = story.stolen();
    story.has_all(NOW_MS);
    story.retires_alices_key();
    story.has_all(NOW_MS);
    for message in &stolen {
        assert_eq!(story.inserts(message, NOW_MS), [Violation::Retired], "{message:?}");
    }
    // The control: in an answer an old message is shown.
    let answer = Message { reference: Some("history".into()), ..stolen[0].clone() };
    assert_eq!(story.inserts(&answer, NOW_MS), []);
}
