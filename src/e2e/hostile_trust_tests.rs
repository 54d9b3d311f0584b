//! Hostile servers that list a removed or replaced key again, give one user's key to another, or
//! list no keys for a while.

use super::keys::restarts;
use super::*;

/// The server sends an unsolicited key list. Returns how often bob is notified of a change.
fn lists(story: &mut Story, name: &UserName, keys: &[&DeviceKey]) -> usize {
    let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
    story.server.keys.insert(name.clone(), keys.clone());
    let event = Event::Keys { name: name.clone(), keys, more: false, reference: None };
    story.bob.receives(&mut story.server, event).changed
}

/// The reply to bob's `/fingerprint NAME`.
fn looks_up(story: &mut Story, name: &UserName, confirms: bool) -> String {
    let next = story.bob.engine.look_up(name, confirms, NOW_MS);
    let told = next.iter().filter_map(|one| match one {
        Output::Reply(text) => Some(text.clone()),
        _ => None,
    });
    let told = told.collect();
    story.bob.follows(&mut story.server, next);
    told
}

/// Whether bob's client would seal for a user by the current list.
fn seals(story: &mut Story, name: &UserName) -> bool {
    let mut next = Vec::new();
    let Engine { key_requests, trust, .. } = &mut story.bob.engine;
    key_requests.request_named(name.clone(), trust, &mut next);
    story.bob.follows(&mut story.server, next);
    story.bob.engine.trust.recipients(name, NOW_MS).is_ok()
}

/// Bob's client refuses to write to a user.
#[track_caller]
fn refuses(story: &mut Story, name: &UserName) {
    let seen = story.bob.says(&mut story.server, &format!("@{name}"), "a secret");
    assert_eq!((seen.refused, seen.texts.len()), (1, 0), "{:?}", seen.violations);
}

/// A message that mallory has sealed for bob, under alice's name.
fn forged(story: &mut Story) -> Message {
    let Story { server, mallory, .. } = story;
    mallory.says(server, "@bob", "I am alice");
    Message { from: story.alice.name.clone(), ..server.messages.last().unwrap().clone() }
}

#[test]
fn a_removed_key_needs_a_new_confirmation() {
    let mut story = Story::new("@bob");
    let (alice, mallory) = (story.alice.name.clone(), story.mallory.name.clone());
    let [hers, servers] = [&alice, &mallory].map(|name| story.server.keys[name][0].clone());
    // The server has its own key for alice and does not list mallory.
    story.server.keys.remove(&mallory);
    for round in 0..TRIES {
        story.server.keys.insert(alice.clone(), vec![hers.clone(), servers.clone()]);
        assert_eq!(restarts(&mut story, true).changed, 0);
        assert!(seals(&mut story, &alice), "the first key is the server's choice");
        let told = lists(&mut story, &alice, &[&hers]);
        assert_eq!(told, 1, "round {round}: that key is no longer listed");
        if story.chance.random_bool(0.5) {
            // The compared keys match.
            looks_up(&mut story, &alice, false);
            assert!(looks_up(&mut story, &alice, true).contains("are confirmed"));
        }
        assert!(seals(&mut story, &alice));
        if story.chance.random_bool(0.5) {
            assert_eq!(restarts(&mut story, false).changed, 0);
        }
        let both = [&hers, &servers];
        let again = if story.chance.random_bool(0.5) { &both[..] } else { &both[1..] };
        // Requested or not.
        match story.chance.random_bool(0.5) {
            true => assert!(lists(&mut story, &alice, again) > 0),
            false => {
                let again = again.iter().map(|key| (*key).clone()).collect();
                story.server.keys.insert(alice.clone(), again);
                story.bob.engine.trust.stale(&alice);
            }
        }
        refuses(&mut story, &alice);
        let message = forged(&mut story);
        assert_eq!(story.never_shown(message), Violation::Unconfirmed);
        restarts(&mut story, false);
        refuses(&mut story, &alice);
        story.heals();
    }
}

#[test]
fn a_retired_key_signs_old_messages_only() {
    let mut story = Story::new("@bob");
    let alice = story.alice.name.clone();
    let new = device_key(&spare(3), None);
    for round in 0..TRIES {
        let old = story.messages(1).remove(0);
        assert_eq!(story.tells(old.clone()).texts, ["hi"]);
        let (mut message, live) = (story.messages(1).remove(0), story.chance.random_bool(0.5));
        // The operator gives her another key.
        let hers = story.server.keys[&alice].clone();
        lists(&mut story, &alice, &[&new]);
        looks_up(&mut story, &alice, false);
        looks_up(&mut story, &alice, true);
        message.replay = !live;
        assert_eq!(story.never_shown(message), Violation::Retired, "round {round}");
        // An answer to `/history`.
        let (seq, reference) = (Seq(story.told - 1), Some("history".to_owned()));
        let told = Message { seq, reference, ..old };
        assert_eq!(story.bob.receives(&mut story.server, Event::Message(told)).texts, ["hi"]);
        // It is hers again.
        story.server.keys.insert(alice.clone(), hers.clone());
        let hers: Vec<_> = hers.iter().collect();
        lists(&mut story, &alice, &hers);
        looks_up(&mut story, &alice, false);
        looks_up(&mut story, &alice, true);
        assert!(seals(&mut story, &alice), "round {round}");
        story.heals();
    }
}

#[test]
fn a_key_belongs_to_one_user() {
    let mut story = Story::new("@bob");
    let (alice, mallory) = (story.alice.name.clone(), story.mallory.name.clone());
    let [hers, others] = [&alice, &mallory].map(|name| story.server.keys[name][0].clone());
    for _ in 0..TRIES {
        let forgets = story.chance.random_bool(0.5);
        let with_own = story.chance.random_bool(0.5);
        let both = vec![hers.clone(), others.clone()];
        let keys = both.into_iter().take(1 + usize::from(with_own)).collect();
        story.server.keys.insert(mallory.clone(), vec![others.clone()]);
        restarts(&mut story, forgets);
        assert!(seals(&mut story, &alice));
        story.server.keys.insert(mallory.clone(), keys);
        story.bob.engine.trust.stale(&mallory);
        refuses(&mut story, &mallory);
        // Alice's message to bob is delivered under mallory's name.
        let message = story.messages(1).remove(0);
        let seen = story.tells(Message { from: mallory.clone(), ..message });
        assert_eq!((seen.texts.len(), seen.violations.len()), (0, 1), "{:?}", seen.violations);
        story.server.keys.insert(mallory.clone(), vec![others.clone()]);
        story.bob.engine.trust.stale(&mallory);
        story.heals();
    }
}

#[test]
fn a_renamed_user_is_confirmed_once() {
    let mut story = Story::new("@bob");
    let (alice, alicia) = (story.alice.name.clone(), "alicia".parse::<UserName>().unwrap());
    let honest = story.server.keys[&alice].clone();
    for round in 0..TRIES {
        let (old, new) = if round % 2 == 0 { (&alice, &alicia) } else { (&alicia, &alice) };
        story.server.keys.remove(old);
        story.server.keys.insert(new.clone(), honest.clone());
        restarts(&mut story, false);
        refuses(&mut story, new);
        let shown = looks_up(&mut story, new, false);
        assert!(shown.contains(&format!("is {old}'s, as far as you know")), "{shown}");
        let told = looks_up(&mut story, new, true);
        assert!(told.contains(&format!("No key of {new} is {old}'s any more")), "{told}");
        assert!(seals(&mut story, new), "round {round}");
        restarts(&mut story, false);
        assert!(seals(&mut story, new), "round {round}, after a restart");
        refuses(&mut story, old);
        // Nor does the old name pass to another user with the key.
        story.server.keys.insert(old.clone(), honest.clone());
        story.bob.engine.trust.stale(old);
        refuses(&mut story, old);
    }
}

#[test]
fn a_comparison_in_one_client_binds_the_others_of_its_data_folder() {
    let mut story = Story::new("@bob");
    let (alice, mallory) = (story.alice.name.clone(), story.mallory.name.clone());
    let [hers, servers] = [&alice, &mallory].map(|name| story.server.keys[name][0].clone());
    story.server.keys.remove(&mallory);
    let both = vec![hers.clone(), servers];
    for _ in 0..20 {
        story.server.keys.insert(alice.clone(), both.clone());
        restarts(&mut story, true);
        assert!(seals(&mut story, &alice), "the first key is the server's choice");
        story.bob.engine.save_trust().unwrap();
        let (account, storage) = (story.bob.account.clone(), story.bob.storage.clone());
        let engine = Engine::open(account, Box::new(storage), true).unwrap();
        let mut one = std::mem::replace(&mut story.bob.engine, engine);
        restarts(&mut story, false);
        assert!(seals(&mut story, &alice), "the second client knows both");
        std::mem::swap(&mut one, &mut story.bob.engine);
        lists(&mut story, &alice, &[&hers]);
        looks_up(&mut story, &alice, false);
        assert!(looks_up(&mut story, &alice, true).contains("are confirmed"));
        // The second client still has the list of before.
        std::mem::swap(&mut one, &mut story.bob.engine);
        story.server.keys.insert(alice.clone(), both.clone());
        let message = forged(&mut story);
        assert_eq!(story.never_shown(message), Violation::Unconfirmed);
        refuses(&mut story, &alice);
        assert!(looks_up(&mut story, &alice, false).contains("is new"));
        story.heals();
    }
}
