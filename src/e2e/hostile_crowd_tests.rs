//! Cost and durability of trust: pinning causes few writes, even where a server invents users; and
//! a decision of the user is on the disk before it is reported, even where the client is killed.

use super::*;
use crate::chat::Epoch;
use crate::e2e::memory_tests::Failing;
use crate::e2e::trust_file::LEARNED_MS;
use crate::limits::MET_KEYS_MAX;

/// Count of writes to the trust file.
fn writes(person: &Person) -> usize {
    person.storage.content().writes
}

/// Pinned keys per name in the trust file.
fn kept(person: &Person) -> HashMap<UserName, usize> {
    let mut storage = person.storage.clone();
    let file = TrustFile::open(&mut storage, &*person.account).unwrap();
    let people = file.kept.people.into_iter();
    people.filter_map(|known| Some((known.name?, known.keys.len()))).collect()
}

fn names(who: &str, count: usize) -> Vec<UserName> {
    (0..count).map(|number| format!("{who}{number}").parse().unwrap()).collect()
}

fn entered(people: Vec<UserName>) -> Event {
    Event::Entered {
        channel: tag(7).0,
        epoch: Epoch(1),
        last: Seq(0),
        read: Seq(0),
        retention: Retention::Forever,
        people,
        omitted: 0,
        topic: None,
        reference: None,
    }
}

/// Another key: the same with other bytes in its modulus.
fn anothers(key: &DeviceKey, name: &UserName) -> DeviceKey {
    let mut der = key.key.bytes().to_vec();
    der[100..108].copy_from_slice(&crate::crypto::sha256(&[name.as_str().as_bytes()])[..8]);
    DeviceKey { key: Opaque::new(&der).unwrap(), ..key.clone() }
}

/// Bob enters a channel whose members are listed one by one, with a pause in milliseconds before
/// each. Returns what he is shown.
fn enters(
    story: &mut Story,
    people: Vec<UserName>,
    answer_ms: i64,
    now_ms: &mut i64,
) -> Vec<String> {
    let key = device_key(&spare(3), None);
    let before = writes(&story.bob);
    let begun_ms = *now_ms;
    let mut next = VecDeque::from(story.bob.engine.received(entered(people), *now_ms));
    let mut told = Vec::new();
    loop {
        let Some(one) = next.pop_front() else {
            // Requests are batched, with pauses.
            let Some(rest_ms) = story.bob.engine.key_requests.rests_ms(*now_ms) else { break };
            *now_ms += rest_ms as i64;
            next.extend(story.bob.engine.maintain(*now_ms));
            continue;
        };
        match one {
            Output::Send(Request { command: Command::Keys { names }, reference }) => {
                for name in names {
                    let (keys, reference) = (vec![anothers(&key, &name)], reference.clone());
                    let event = Event::Keys { name, keys, more: false, reference };
                    *now_ms += answer_ms;
                    next.extend(story.bob.engine.maintain(*now_ms));
                    next.extend(story.bob.engine.received(event, *now_ms));
                    let bound = (*now_ms - begun_ms) as u64 / LEARNED_MS + 1;
                    let count = (writes(&story.bob) - before) as u64;
                    assert!(count <= bound, "after {} ms", *now_ms - begun_ms);
                }
            }
            Output::Trouble(text) => told.push(text),
            _ => {}
        }
    }
    told
}

/// Simulates a crash: restarts from the disk.
fn crashes(story: &mut Story) {
    story.bob.restarts();
    let Story { server, bob, .. } = story;
    bob.enters(server);
}

#[test]
fn a_big_channel_costs_a_write_each_second() {
    let mut story = Story::new("#tea");
    let mut now_ms = NOW_MS;
    story.bob.engine.maintain(now_ms + LEARNED_MS as i64);
    let people = names("guest", 2_000);
    assert!(enters(&mut story, people.clone(), 2, &mut now_ms).is_empty());
    let rests_ms = story.bob.engine.rests_ms(now_ms);
    assert!(rests_ms <= LEARNED_MS, "{rests_ms}");
    let before = writes(&story.bob);
    story.bob.engine.maintain(now_ms + rests_ms as i64);
    assert_eq!(writes(&story.bob) - before, 1);
    let kept = kept(&story.bob);
    assert!(people.iter().all(|name| kept.get(name) == Some(&1)));
    story.bob.engine.maintain(now_ms + 10 * LEARNED_MS as i64);
    story.bob.engine.save_trust().unwrap();
    assert_eq!(writes(&story.bob) - before, 1, "there is nothing else to write");
}

#[test]
fn decisions_and_pins_of_recipients_survive_a_crash() {
    let mut story = Story::new("#tea");
    let (alice, bob) = (story.alice.name.clone(), story.bob.name.clone());
    let [carol, dave, erin]: [UserName; 3] =
        ["carol", "dave", "erin"].map(|it| it.parse().unwrap());
    for (name, key) in [(&carol, 3), (&dave, 4), (&erin, 5)] {
        story.server.keys.insert(name.clone(), vec![device_key(&spare(key), None)]);
    }
    story.bob.engine.save_trust().unwrap();
    // Alice has a new key.
    let new = device_key(&spare(2), None);
    story.server.keys.get_mut(&alice).unwrap().push(new);
    crashes(&mut story);
    let looks = |story: &mut Story, name: &UserName, confirms| {
        let next = story.bob.engine.look_up(name, confirms, NOW_MS);
        story.bob.follows(&mut story.server, next)
    };
    looks(&mut story, &alice, false);
    let before = kept(&story.bob);
    looks(&mut story, &alice, true);
    assert_eq!((before[&alice], kept(&story.bob)[&alice]), (1, 2));
    // A new pin is written soon, and always before something that depends on it.
    looks(&mut story, &erin, false);
    looks(&mut story, &carol, false);
    assert!(!kept(&story.bob).contains_key(&carol));
    looks(&mut story, &carol, true);
    assert_eq!(kept(&story.bob)[&carol], 1, "confirmed after she was pinned");
    let before = writes(&story.bob);
    assert_eq!(story.bob.says(&mut story.server, "@dave", "a secret").texts, ["a secret"]);
    assert_eq!((writes(&story.bob) - before, kept(&story.bob)[&dave]), (1, 1));
    story.bob.says(&mut story.server, "@dave", "another");
    assert_eq!(writes(&story.bob) - before, 1);
    crashes(&mut story);
    for name in [&alice, &carol, &dave, &erin] {
        assert!(kept(&story.bob).contains_key(name), "{name}");
    }
    assert!(kept(&story.bob).contains_key(&bob));
    // A server with another key for one of them is detected.
    story.server.keys.insert(dave, vec![device_key(&spare(3), None)]);
    let seen = story.bob.says(&mut story.server, "@dave", "a secret");
    assert_eq!((seen.refused, seen.texts.len()), (1, 0));
}

#[test]
fn nothing_is_sealed_for_a_key_that_cannot_be_stored() {
    let mut story = Story::new("#tea");
    story.bob.storage.content().failing = Failing::All;
    let seen = story.bob.says(&mut story.server, "@mallory", "a secret");
    assert_eq!((seen.refused, seen.texts.len()), (1, 0));
    story.bob.storage.content().failing = Failing::None;
    assert_eq!(story.bob.says(&mut story.server, "@mallory", "a secret").texts, ["a secret"]);
}

#[test]
fn invented_users_push_out_no_pinned_user() {
    let mut story = Story::new("@bob");
    let (alice, mallory) = (story.alice.name.clone(), story.mallory.name.clone());
    let mut now_ms = NOW_MS;
    let told: Vec<_> = ["guest", "other"]
        .iter()
        .flat_map(|who| enters(&mut story, names(who, 50_000), 0, &mut now_ms))
        .collect();
    assert_eq!((told.len(), told[0].contains("no more are pinned")), (1, true), "{told:?}");
    story.bob.engine.save_trust().unwrap();
    let count = kept(&story.bob).len();
    assert!(count <= MET_KEYS_MAX, "{count}");
    crashes(&mut story);
    // No message of a new user is shown before bob names them.
    story.conversation = tag(7).0.as_str().to_owned();
    let mut message = {
        let Story { server, mallory, conversation, .. } = &mut story;
        mallory.says(server, conversation, "hi");
        server.messages.last().unwrap().clone()
    };
    message.seq = Seq(1);
    let seen = story.bob.receives(&mut story.server, Event::Message(message.clone()));
    assert_eq!((seen.texts.len(), seen.violations), (0, vec![Violation::NoKeys]));
    let seen = story.bob.says(&mut story.server, "@mallory", "who are you?");
    assert_eq!(seen.texts, ["who are you?"]);
    assert!(kept(&story.bob).contains_key(&mallory));
    story.mallory.says(&mut story.server, &story.conversation.clone(), "I am mallory");
    let message = Message { seq: Seq(2), ..story.server.messages.last().unwrap().clone() };
    let seen = story.bob.receives(&mut story.server, Event::Message(message));
    assert_eq!(seen.texts, ["I am mallory"]);
    // Alice is not pinned a second time.
    story.server.keys.insert(alice, vec![device_key(&spare(5), None)]);
    crashes(&mut story);
    let seen = story.bob.says(&mut story.server, "@alice", "a secret");
    assert_eq!((seen.refused, seen.texts.len()), (1, 0));
}
