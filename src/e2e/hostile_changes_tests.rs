//! A server that delivers a message as it was before its sender edited or deleted it.

use super::*;
use crate::chat::{ConversationInfo, Epoch};

impl Story {
    /// Alice sends a message or changes one; bob receives it.
    fn sent_by_alice(&mut self, text: &str, of: Option<(Seq, Seq)>, deletes: bool) -> Message {
        let kind = |of: Seq| if deletes { Kind::Delete { of } } else { Kind::Edit { of } };
        let (conversation, Story { server, alice, .. }) = (self.conversation.clone(), &mut *self);
        alice.asks(server, &conversation, text, of.map_or(Kind::Say, |(hers, _)| kind(hers)));
        let mut message = server.messages.last().unwrap().clone();
        message.kind = of.map_or(Kind::Say, |(_, his)| kind(his));
        let seen = self.tells(message.clone());
        assert_eq!((seen.texts, seen.violations), (vec![text.to_owned()], vec![]));
        message
    }

    /// Alice's message, its two edits, and her deletion of it where she deletes it.
    fn changes(&mut self, deletes: bool) -> (Seq, Vec<Message>) {
        let first = self.sent_by_alice("tea one", None, false);
        let (seq, of) = (Seq(self.told), (first.seq, Seq(self.told)));
        let mut all = vec![first];
        all.push(self.sent_by_alice("tea two", Some(of), false));
        all.push(self.sent_by_alice("tea three", Some(of), false));
        if deletes {
            all.push(self.sent_by_alice("", Some(of), true));
        }
        (seq, all)
    }

    /// Nothing of what was changed is shown, however the server delivers it.
    #[track_caller]
    fn is_outdated(&mut self, seq: Seq, old: &[Message]) {
        let [first, edits @ ..] = old else { panic!("a message") };
        let edited =
            |edit: &Message| Message { edited: true, body: edit.body.clone(), ..first.clone() };
        let forms = edits.iter().map(edited).chain(old.iter().cloned());
        for form in forms.collect::<Vec<_>>() {
            let own = if form.kind.is_change() { Seq(seq.0 + 1) } else { seq };
            let answer = |seq| Message { seq, reference: Some("history".into()), ..form.clone() };
            let replay = |seq| Message { seq, replay: true, ..form.clone() };
            self.told += 1;
            let ways =
                [answer(own), answer(Seq(self.told + 9_000)), replay(own), replay(Seq(self.told))];
            for mut way in ways {
                self.respell(&mut way);
                let seen = self.bob.receives(&mut self.server, Event::Message(way));
                assert_eq!(seen.texts, [""; 0], "{:?}", seen.violations);
                let end = Event::History {
                    to: Some(self.seen_as()),
                    messages: 1,
                    more: false,
                    partial: false,
                    reference: Some("history".into()),
                };
                self.bob.receives(&mut self.server, end);
            }
            self.heals();
        }
    }

    fn finds(&mut self) -> Vec<(String, bool)> {
        self.finds_at(NOW_MS)
    }

    fn finds_at(&mut self, now_ms: i64) -> Vec<(String, bool)> {
        let (text, to) = ("tea".into(), Some(self.seen_as()));
        let next = self.bob.engine.send(Command::Search { text, to }.into(), now_ms);
        let found = next.into_iter().filter_map(|next| match next {
            Output::Answer(Event::Message(message)) => {
                Some((message.body.text().to_owned(), message.edited))
            }
            _ => None,
        });
        found.collect()
    }

    /// Bob's client ends, and begins again with what is stored.
    fn bob_returns(&mut self) {
        self.bob.engine.store_progress(NOW_MS);
        self.bob.restarts();
        self.bob.engine.resume(NOW_MS);
        let Story { server, bob, .. } = self;
        bob.enters(server);
        // He knows alice.
        assert_eq!(self.honest().texts, ["hi"]);
    }
}

#[test]
fn an_edited_message_is_never_again_what_it_was() {
    for conversation in ["#tea", "@bob"] {
        let mut story = Story::new(conversation);
        story.bob.engine.resume(NOW_MS);
        for round in 0..5 {
            let (seq, all) = story.changes(false);
            story.is_outdated(seq, &all[..2]);
            let newest = (0..=round).map(|_| ("tea three".to_owned(), true)).collect::<Vec<_>>();
            assert_eq!(story.finds(), newest);
            if round % 2 == 0 {
                story.bob_returns();
                story.is_outdated(seq, &all[..2]);
                assert_eq!(story.finds(), newest);
            }
            // The control: as it is now it is shown, in an answer and as a replay.
            let now = Message { seq, edited: true, body: all[2].body.clone(), ..all[0].clone() };
            for (replay, reference) in [(true, None), (false, Some("history".to_owned()))] {
                let mut now = Message { replay, reference, ..now.clone() };
                story.respell(&mut now);
                let seen = story.bob.receives(&mut story.server, Event::Message(now));
                assert_eq!((seen.texts, seen.violations), (vec!["tea three".to_owned()], vec![]));
            }
        }
    }
}

#[test]
fn a_deleted_message_never_comes_back() {
    for conversation in ["#tea", "@bob"] {
        let mut story = Story::new(conversation);
        story.bob.engine.resume(NOW_MS);
        for round in 0..5 {
            let (seq, all) = story.changes(true);
            story.is_outdated(seq, &all[..3]);
            assert_eq!(story.finds(), []);
            if round % 2 == 0 {
                story.bob_returns();
            }
            // Also from another epoch, and where nothing is stored for a search.
            story.bob.engine.set_search(Some(round % 2 == 0));
            let (to, epoch) = (story.seen_as(), Epoch(round + 2));
            let (last, read, retention) = (Seq(0), Seq(0), Retention::Forever);
            let conversation = ConversationInfo { to, epoch, last, read, retention };
            story
                .bob
                .engine
                .received(Event::Conversations { conversations: vec![conversation] }, NOW_MS);
            story.told = seq.0 + 1;
            story.is_outdated(seq, &all[..3]);
            assert_eq!(story.finds(), []);
        }
    }
}

#[test]
fn an_older_edit_that_was_held_back_is_not_shown_later() {
    in_both(|story| {
        let first = story.sent_by_alice("tea one", None, false);
        let (hers, his) = (first.seq, Seq(story.told));
        let conversation = story.conversation.clone();
        let Story { server, alice, .. } = &mut *story;
        alice.asks(server, &conversation, "tea two", Kind::Edit { of: hers });
        let mut held = server.messages.last().unwrap().clone();
        held.kind = Kind::Edit { of: his };
        // Another run of her client, so that the order of her own messages says nothing.
        alice.engine.outgoing.forgets_counts();
        alice.asks(server, &conversation, "tea three", Kind::Edit { of: hers });
        let mut edit = server.messages.last().unwrap().clone();
        edit.kind = Kind::Edit { of: his };
        assert_eq!(story.tells(edit).texts, ["tea three"]);
        assert_eq!(story.never_shown(held), Violation::Outdated);
        story.heals();
    });
}

#[test]
fn the_next_edit_is_later_whatever_the_clock_says() {
    in_both(|story| {
        let (seq, all) = story.changes(false);
        let (hers, conversation) = (all[0].seq, story.conversation.clone());
        // Her clock is set back an hour.
        story.server.ids += 1;
        let id = MsgId(u128::from(story.server.ids).to_be_bytes());
        let edit = NewMessage {
            to: conversation.parse().unwrap(),
            id,
            kind: Kind::Edit { of: hers },
            body: "tea four".into(),
        };
        let Story { server, alice, .. } = &mut *story;
        let (to, change) = (edit.to.clone(), edit.id);
        alice.engine.choose(Choice { change, to, of: hers, chosen: None });
        let next = alice.engine.send(Command::Say(edit).into(), NOW_MS - 3_600_000);
        assert_eq!(alice.follows(server, next).violations, []);
        let mut edit = server.messages.last().unwrap().clone();
        edit.kind = Kind::Edit { of: seq };
        assert_eq!(story.tells(edit).texts, ["tea four"]);
    });
}

#[test]
fn only_so_many_changes_are_remembered_and_a_flood_costs_its_sender() {
    use crate::e2e::changes::{Changes, Version};
    use crate::limits::CHANGES_MAX;
    let link = ChainLink { session: [0; 16], n: 0, prev: [0; 32] };
    let version = |number: u64, deletes: bool| {
        let (id, of) = (MsgId([9; 16]), MsgId([1; 16]));
        let kind = if deletes { Kind::Delete { of } } else { Kind::Edit { of } };
        Version::of(&Header { id, time_ms: number, kind, content: ContentType::TEXT, link })
    };
    let (channel, _) = tag(7);
    let key = |conversation: &Target, from: &str, number: u64| {
        (conversation.clone(), from.parse().unwrap(), MsgId(u128::from(number).to_be_bytes()))
    };
    let tea = Target::Channel(channel);
    let (with_alice, mut changes): (Target, _) = ("@alice".parse().unwrap(), Changes::default());
    for number in 0..200 {
        for conversation in [&tea, &with_alice] {
            assert!(changes.takes(
                key(conversation, "alice", number),
                version(5, number % 2 == 0),
                7
            ));
        }
    }
    let mut most = 0;
    for number in 0..3 * CHANGES_MAX as u64 {
        let invented = format!("made{}", number % 4_000);
        let invented_conversation = format!("@{invented}").parse().unwrap();
        for (conversation, from) in
            [(&tea, "mallory"), (&tea, &invented), (&invented_conversation, &invented)]
        {
            changes.takes(key(conversation, from, 1_000 + number), version(5, true), 8);
            most = most.max(changes.count());
        }
    }
    assert!(most <= CHANGES_MAX + 1, "{most}");
    for number in 0..200 {
        for conversation in [&tea, &with_alice] {
            assert!(
                !changes.takes(key(conversation, "alice", number), None, 9),
                "{conversation} {number}"
            );
            assert!(!changes.takes(key(conversation, "alice", number), version(4, false), 9));
        }
    }
}

#[test]
fn a_retention_counts_from_when_a_message_was_signed() {
    const HOUR_MS: i64 = 3_600_000;
    for conversation in ["#tea", "@bob"] {
        let mut story = Story::new(conversation);
        story.bob.engine.resume(NOW_MS);
        let two_days = Retention::For("2d".parse().unwrap());
        let (to, epoch, last) = (story.seen_as(), Epoch(1), Seq(story.told));
        let info = ConversationInfo { to, epoch, last, read: Seq(0), retention: two_days };
        story.bob.engine.received(Event::Conversations { conversations: vec![info] }, NOW_MS);
        // The message, when bob reads it, and until when it is found: the server stores it for 48
        // hours from when it was said, and bob's clock may be an hour behind.
        let cases = [(0, 48), (30, 48), (47, 48), (-1, 47), (49, 0)];
        for (number, (read_hours, until_hours)) in (1..).zip(cases) {
            let read_ms = NOW_MS + read_hours * HOUR_MS;
            story.server.ids += 1;
            let (id, conversation) =
                (MsgId(u128::from(story.server.ids).to_be_bytes()), story.conversation.clone());
            let say = NewMessage::text(conversation.parse().unwrap(), id, "tea");
            let Story { server, alice, .. } = &mut story;
            let next = alice.engine.send(Command::Say(say).into(), NOW_MS);
            assert_eq!(alice.follows(server, next).violations, []);
            let message = server.messages.last().unwrap().clone();
            story.told += 1;
            // What the server says of its time counts for nothing.
            let time_ms = read_ms + HOUR_MS;
            let message = Message { seq: Seq(story.told), time_ms, replay: true, ..message };
            let next = story.bob.engine.received(Event::Message(message), read_ms);
            assert_eq!(story.bob.follows(&mut story.server, next).texts, ["tea"]);
            let until_ms = NOW_MS + until_hours * HOUR_MS;
            let found = |story: &mut Story, now_ms| story.finds_at(now_ms).len();
            let expected = usize::from(until_hours > 0);
            assert_eq!(found(&mut story, read_ms), expected, "{read_hours}");
            assert_eq!(found(&mut story, until_ms - 1), expected, "{read_hours}");
            assert_eq!(found(&mut story, until_ms), 0, "{read_hours}");
            // It leaves the disk, too.
            let before = story.bob.storage.content().search_log.len();
            let later_ms = until_ms.max(read_ms) + number * 60_000;
            story.bob.engine.maintain(later_ms);
            story.bob.engine.store_progress(later_ms);
            let after = story.bob.storage.content().search_log.len();
            assert!(after < before || expected == 0, "{read_hours}: {before} {after}");
        }
    }
}
