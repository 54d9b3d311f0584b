//! Renamed users: what was sealed under a former name is read under the present one, and a hostile
//! server gains nothing by it.

use super::*;

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

/// A client's user compares the keys of a name, and confirms them.
fn confirms(person: &mut Person, server: &mut Server, name: &UserName) {
    for confirms in [false, true] {
        let next = person.engine.look_up(name, confirms, NOW_MS);
        person.follows(server, next);
    }
}

impl Story {
    /// Bob's client learns the keys of a name, and bob confirms them.
    fn bob_confirms(&mut self, name: &UserName, keys: Vec<DeviceKey>) {
        self.server.keys.insert(name.clone(), keys.clone());
        let event = Event::Keys { name: name.clone(), keys, more: false, reference: None };
        self.bob.receives(&mut self.server, event);
        let mut next = Vec::new();
        let Engine { key_requests, trust, .. } = &mut self.bob.engine;
        key_requests.request_named(name.clone(), trust, &mut next);
        self.bob.follows(&mut self.server, next);
        confirms(&mut self.bob, &mut self.server, name);
    }

    /// Alice gets another name, which she and bob confirm. Another user gets hers.
    fn renames_alice(&mut self, new: &UserName) {
        let old = std::mem::replace(&mut self.alice.name, new.clone());
        self.server.keys.remove(&old);
        self.alice.enters(&mut self.server);
        confirms(&mut self.alice, &mut self.server, new);
        let keys = self.server.keys[new].clone();
        self.bob_confirms(new, keys);
        self.bob_confirms(&old, vec![device_key(&spare(3), None)]);
    }

    /// A message of alice to bob, which bob reads, or a change of one.
    fn bob_reads(&mut self, text: &str, kind: Kind) -> Message {
        let (conversation, Story { server, alice, .. }) = (self.conversation.clone(), &mut *self);
        alice.asks(server, &conversation, text, kind);
        let message = server.messages.last().unwrap().clone();
        assert_eq!(self.tells(message.clone()).texts, [text]);
        message
    }
}

#[test]
fn private_messages_from_before_are_read_under_the_new_name_in_their_newest_version() {
    let mut story = Story::new("@bob");
    let first = story.bob_reads("first", Kind::Say);
    let of = first.seq;
    let edit = story.bob_reads("edited", Kind::Edit { of });
    let other = story.bob_reads("other", Kind::Say);
    let alicia = user("alicia");
    story.renames_alice(&alicia);
    story.told = 0;
    let renamed = |message: &Message| Message { from: alicia.clone(), ..message.clone() };
    let seen = story.tells(renamed(&first));
    assert_eq!(seen.texts, [""; 0]);
    assert!(seen.violations.contains(&Violation::Outdated), "{:?}", seen.violations);
    let shown = Message { edited: true, body: edit.body.clone(), ..renamed(&first) };
    assert_eq!(story.tells(shown).texts, ["edited"]);
    assert_eq!(story.tells(renamed(&other)).texts, ["other"]);
}

#[test]
fn messages_of_a_renamed_user_are_never_those_of_the_next_one_with_the_name() {
    let mut story = Story::new("@bob");
    let (alice, alicia) = (user("alice"), user("alicia"));
    story.renames_alice(&alicia);
    let Story { server, alice: renamed, .. } = &mut story;
    renamed.says(server, "@bob", "by alicia");
    let hers = server.messages.last().unwrap().clone();
    let there = std::mem::replace(&mut story.told, 0);
    assert_eq!(story.tells(hers.clone()).texts, ["by alicia"], "the control");
    story.told = there;
    let Story { server, bob, .. } = &mut story;
    bob.says(server, "@alicia", "for alicia");
    let his = server.messages.last().unwrap().clone();
    assert_eq!((&hers.from, his.body.sealed().is_some()), (&alicia, true));
    let there = Message { from: alice.clone(), ..hers };
    assert_eq!(story.never_shown(there), Violation::Closed);
    let there = Message { to: Target::User(alice), replay: true, ..his };
    assert_eq!(story.never_shown(there), Violation::Closed);
}

#[test]
fn messages_of_channels_keep_the_name_under_which_they_were_sealed() {
    let mut story = Story::new("#tea");
    let message = story.messages(1).remove(0);
    assert_eq!(story.tells(message.clone()).texts, ["hi"], "the control");
    let alicia = user("alicia");
    story.renames_alice(&alicia);
    let there = Message { from: alicia, replay: true, ..message };
    assert_eq!(story.never_shown(there), Violation::Closed);
}

#[test]
fn a_client_that_is_renamed_while_it_runs_reads_its_own_history() {
    let mut story = Story::new("@bob");
    let Story { server, bob, .. } = &mut story;
    bob.says(server, "@alice", "mine");
    let message = server.messages.last().unwrap().clone();
    let robert = user("robert");
    bob.name = robert.clone();
    bob.enters(server);
    confirms(bob, server, &robert);
    let history = Message { from: robert, reference: Some("history".into()), ..message };
    let seen = bob.receives(server, Event::Message(history));
    assert_eq!((seen.texts, seen.violations), (vec!["mine".to_owned()], vec![]));
}
