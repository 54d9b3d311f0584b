//! Messages that a server or a member has altered, repeated, left out or invented.

use super::*;

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
        let mut message = story.messages(1).remove(0);
        let mut bytes = message.body.sealed().unwrap().bytes().to_vec();
        let index = story.chance.random_range(0..bytes.len());
        bytes[index] ^= 1 << story.chance.random_range(0..8);
        message.body = Body::Sealed(Opaque::new(&bytes).unwrap());
        story.never_shown(message);
        story.heals();
    });
}

#[test]
fn neither_a_member_nor_a_server_writes_under_another_name() {
    in_both(|story| {
        let conversation = story.conversation.clone();
        let mut message = {
            let Story { server, mallory, .. } = story;
            mallory.says(server, &conversation, "I am alice");
            server.messages.last().unwrap().clone()
        };
        // The server helps.
        message.from = "alice".parse().unwrap();
        assert_eq!(story.never_shown(message), Violation::Forged);
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
        let link = ChainLink { session: [3; 16], n, prev: [0; 32] };
        let id = MsgId([n as u8; 16]);
        let content = ContentType::TEXT;
        let header = Header { id, time_ms: NOW_MS as u64, kind: Kind::Say, content, link };
        let context = &Context::new(&SERVER, &story.alice.name, &to);
        let plaintext = Plaintext { context, header: &header, text: "I am alice" };
        let body = key.seal(&plaintext, (&certificate, &SigningKey::generate())).unwrap();
        let mut message = story.server.messages[0].clone();
        (message.id, message.to) = (id, to.clone());
        message.body = Body::Sealed(Opaque::new(&body).unwrap());
        assert_eq!(story.never_shown(message), Violation::Forged);
    }
}

#[test]
fn a_message_of_another_conversation_is_never_shown() {
    in_both(|story| {
        let mut message = story.messages(1).remove(0);
        // The same name with another PIN, and a conversation with another user.
        match &mut message.to {
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
                message.body = server.messages.last().unwrap().body.clone();
            }
        }
        story.never_shown(message);
        story.heals();
    });
}

#[test]
fn a_message_with_another_messages_header_is_never_shown() {
    in_both(|story| {
        let (one, two) = (story.messages(1).remove(0), story.messages(1).remove(0));
        let mut message = one.clone();
        match story.chance.random_range(0..4) {
            0 => message.id = two.id,
            1 => message.kind = Kind::Me,
            2 => message.kind = Kind::Edit { of: Seq(1) },
            _ => message.body = two.body,
        }
        assert_eq!(story.never_shown(message), Violation::Spliced);
        story.heals();
    });
}

#[test]
fn a_repeated_message_is_shown_once() {
    in_both(|story| {
        let message = story.messages(1).remove(0);
        assert_eq!(story.tells(message.clone()).texts, ["hi"]);
        assert_eq!(story.never_shown(message), Violation::Again);
    });
}

#[test]
fn missing_and_swapped_messages_are_detected() {
    in_both(|story| {
        assert!(story.honest().violations.is_empty());
        let mut messages = story.messages(5);
        let index = story.chance.random_range(0..4);
        let dropped = story.chance.random_bool(0.5);
        match dropped {
            true => drop(messages.remove(index)),
            false => messages.swap(index, index + 1),
        }
        let seen: Vec<_> = messages.into_iter().map(|message| story.tells(message)).collect();
        let violations: Vec<_> = seen.iter().flat_map(|seen| &seen.violations).collect();
        assert!(violations.contains(&&Violation::Missing(1)), "{dropped} {violations:?}");
        story.heals();
    });
}

#[test]
fn the_missing_end_of_a_session_is_detected() {
    in_both(|story| {
        let message = story.messages(2).remove(0);
        story.tells(message);
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
        let message = story.messages(1).remove(0);
        let of = message.seq;
        story.tells(message.clone());
        for (kind, deleted) in
            [(Kind::Delete { of }, true), (Kind::Edit { of }, false), (Kind::Say, true)]
        {
            let mut change = story.messages(1).remove(0);
            (change.kind, change.deleted, change.body) = (kind, deleted, Body::default());
            assert_eq!(story.never_shown(change), Violation::Downgraded, "{kind:?}");
        }
    });
}

#[test]
fn unencrypted_text_of_an_encrypting_user_is_never_shown() {
    in_both(|story| {
        let mut message = story.messages(1).remove(0);
        message.body = "unencrypted".into();
        assert_eq!(story.never_shown(message), Violation::Downgraded);
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
        let messages = story.messages(2);
        let mut invented = messages[0].clone();
        invented.id = MsgId([story.chance.random_range(1..=255); 16]);
        (invented.kind, invented.replay) = (Kind::Edit { of: Seq(1) }, true);
        invented.body = Body::default();
        assert!(story.tells(invented).violations.is_empty());
        let seen = story.tells(messages[1].clone());
        assert_eq!((seen.texts.len(), seen.violations), (1, vec![Violation::Missing(1)]));
        story.heals();
    });
}

#[test]
fn a_missing_edit_needs_a_signed_deletion() {
    in_both(|story| {
        let conversation = story.conversation.clone();
        let mut told = || {
            let message = story.messages(1).remove(0);
            assert_eq!(story.tells(message.clone()).texts, ["hi"]);
            (message.seq, Seq(story.told))
        };
        let (one, other) = (told(), told());
        let mut changes = |of: (Seq, Seq), text: &str| {
            let kind = |of| if text.is_empty() { Kind::Delete { of } } else { Kind::Edit { of } };
            let Story { server, alice, .. } = &mut *story;
            alice.asks(server, &conversation, text, kind(of.0));
            Message { kind: kind(of.1), ..server.messages.last().unwrap().clone() }
        };
        let (first, second) = (changes(one, "one"), changes(one, "two"));
        let honest = changes(one, "");
        let hostile = changes(other, "three");
        assert_eq!(story.tells(first).texts, ["one"]);
        // An honest server has lost the body of the second edit with the deletion.
        let tombstone = Message { body: Body::default(), replay: true, ..second };
        assert_eq!(story.tells(tombstone.clone()).violations, []);
        if story.chance.random_bool(0.5) {
            assert_eq!(story.tells(honest).violations, []);
            assert_eq!(story.tells(hostile).violations, []);
        } else {
            // A hostile one withholds an edit and the deletion.
            let again = Message { id: MsgId([7; 16]), ..tombstone };
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
            let seen = story.bob.receives(&mut story.server, event);
            assert_eq!(seen.changed, 1, "it is shown");
            let seen = story.bob.says(&mut story.server, "@alice", "a secret");
            assert_eq!((seen.refused, seen.texts.len()), (1, 0), "nothing is sealed for it");
            let conversation = story.conversation.clone();
            let Story { server, mallory, .. } = &mut story;
            mallory.says(server, &conversation, "I am alice");
            let mut message = server.messages.pop().unwrap();
            // Her own message is not one of this server's.
            let to = conversation.parse().unwrap();
            mallory.engine.ids.forget(&to);
            mallory.engine.sequences.forget(&to);
            message.from = name.clone();
            assert_eq!(story.never_shown(message), Violation::Unconfirmed);
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
        let message = story.messages(1).remove(0);
        let seq = message.seq;
        story.tells(message.clone());
        let of = Seq(story.told);
        let Story { server, alice, .. } = &mut story;
        alice.asks(server, &conversation, "better", Kind::Edit { of: seq });
        let mut edit = server.messages.last().unwrap().clone();
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
    let mut delete = server.messages.last().unwrap().clone();
    delete.kind = Kind::Delete { of };
    let seen = story.tells(delete.clone());
    assert_eq!((seen.texts.len(), seen.violations.len()), (1, 0), "{:?}", seen.violations);
    // An unsigned deletion.
    delete.body = Body::default();
    assert_eq!(story.never_shown(delete), Violation::Downgraded);
}
