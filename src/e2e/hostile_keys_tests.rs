//! Hostile servers that add keys to those that users compare, or to the own ones.

use super::*;
use crate::crypto::private::Parsed;
use crate::e2e::trust::Recipient;

/// Mallory's key under another name, and the hash of its certificate.
fn false_key(story: &Story) -> (DeviceKey, [u8; 32]) {
    let own = story.mallory.account.own();
    let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
    let certificate = Certificate::issue(&own, &SERVER, &signing, &opening, (NOW_MS / 1000) as u64);
    let hash = certificate.hash;
    (device_key(&own, Some(Opaque::new(certificate.bytes()).unwrap())), hash)
}

/// Bob's client restarts, with its data folder or with an empty one.
pub fn restarts(story: &mut Story, forgets: bool) -> Seen {
    story.bob.engine.save_trust().unwrap();
    if forgets {
        story.bob.storage.content().trust = None;
    }
    story.bob.restarts();
    let welcome = Event::Welcome {
        name: story.bob.name.clone(),
        device: DeviceName::main(),
        version: "0".into(),
        text_bytes_max: 8_192,
        time_ms: NOW_MS,
        motd: None,
        files: None,
    };
    story.bob.receives(&mut story.server, welcome)
}

#[test]
fn a_key_added_to_ones_own_is_reported_and_nothing_is_sealed_for_it() {
    let mut story = Story::new("@bob");
    let honest = story.server.keys.clone();
    let print = story.mallory.account.own().public().fingerprint().0;
    for _ in 0..TRIES {
        let (key, hash) = false_key(&story);
        let own = story.server.keys.get_mut(&story.bob.name).unwrap();
        let at = story.chance.random_range(0..=1);
        own.insert(at, key.clone());
        // The server lists the same for both sides, so that their numbers would match.
        assert_eq!(restarts(&mut story, true).changed, 1, "it is shown");
        let seen = story.bob.says(&mut story.server, "@alice", "a secret");
        assert_eq!((seen.refused, seen.texts.len()), (0, 1), "{:?}", seen.violations);
        let sealed = story.server.messages.last().unwrap().body.sealed().unwrap().clone();
        let parsed = Parsed::parse(sealed.bytes()).unwrap();
        assert!(!parsed.is_for(&hash) && !parsed.is_for(&print));
        // The key may also be listed alone.
        story.server.keys.insert(story.bob.name.clone(), vec![key]);
        assert_eq!(restarts(&mut story, true).changed, 1);
        story.server.keys = honest.clone();
        assert_eq!(restarts(&mut story, true).changed, 0);
    }
}

#[test]
fn a_name_given_by_the_server_makes_no_key_ones_own() {
    let mut story = Story::new("@bob");
    let (bob, alice) = (story.bob.name.clone(), story.alice.name.clone());
    let hers = story.alice.engine.devices.newest().unwrap().0.hash;
    let honest = story.server.keys.clone();
    for round in 0..TRIES {
        // Both, as if they were two devices of one user.
        let both = [&honest[&alice][..], &honest[&bob]].concat();
        story.server.keys.insert(alice.clone(), both);
        story.bob.name = alice.clone();
        restarts(&mut story, false);
        for _ in 0..2 {
            let next = story.bob.engine.look_up(&alice, true, NOW_MS);
            story.bob.follows(&mut story.server, next);
        }
        let seen = story.bob.says(&mut story.server, "@mallory", "not for alice, nor by her");
        assert_eq!((seen.refused, seen.texts.len()), (1, 0), "round {round}");
        let sealed_for = story.bob.engine.trust.own_devices(&alice, NOW_MS);
        let is_hers = |one: &Recipient| one.certificate.iter().any(|one| one.hash == hers);
        assert!(!sealed_for.iter().any(is_hers), "round {round}");
        story.bob.name = bob.clone();
        story.server.keys = honest.clone();
        restarts(&mut story, false);
        let seen = story.bob.says(&mut story.server, "@alice", "for alice");
        assert_eq!((seen.refused, seen.texts.len()), (0, 1), "{:?}", seen.violations);
    }
}

#[test]
fn a_key_added_during_a_comparison_is_not_confirmed() {
    let mut story = Story::new("@bob");
    let alice: UserName = "alice".parse().unwrap();
    let honest = story.server.keys[&alice].clone();
    let new = device_key(&spare(3), None);
    for _ in 0..TRIES {
        let (key, _) = false_key(&story);
        let replaces = story.chance.random_bool(0.5);
        // She does have a new key, and bob looks at it.
        let mut keys = [honest.clone(), vec![new.clone()]].concat();
        story.server.keys.insert(alice.clone(), keys.clone());
        restarts(&mut story, false);
        let looks = |story: &mut Story, confirms| {
            let next = story.bob.engine.look_up(&alice, confirms, NOW_MS);
            story.bob.follows(&mut story.server, next);
        };
        looks(&mut story, false);
        if replaces {
            keys.pop();
        }
        keys.push(key);
        let event = Event::Keys { name: alice.clone(), keys, more: false, reference: None };
        assert_eq!(story.bob.receives(&mut story.server, event).changed, 1);
        looks(&mut story, true);
        let seen = story.bob.says(&mut story.server, "@alice", "a secret");
        assert_eq!((seen.refused, seen.texts.len()), (1, 0), "nothing was confirmed");
    }
}

#[test]
fn missing_keys_are_reported_after_a_while() {
    let told = |next: &[Output]| {
        let tells = |one: &&Output| matches!(one, Output::Trouble(text) if text.contains("no number can be shown"));
        next.iter().filter(tells).count()
    };
    let mut bob = Person::new("bob", 1);
    for round in 0..TRIES as i64 {
        let carol: UserName = format!("carol{round}").parse().unwrap();
        let at_ms = NOW_MS + round * 60_000;
        let next = bob.engine.look_up(&carol, round % 2 == 0, at_ms);
        assert!(matches!(&next[0], Output::Reply(text) if text.contains("asking")));
        // Other texts of the server in between are shown as the server's.
        let text = "compare this with carol: 12345".to_owned();
        let said = bob.engine.received(Event::Notice { text, reference: None }, at_ms);
        assert!(matches!(&said[..], [Output::Event(Event::Notice { .. })]));
        assert!(bob.engine.rests_ms(at_ms) <= 10_000, "the timer was set");
        assert_eq!(told(&bob.engine.maintain(at_ms + 9_999)), 0);
        assert_eq!(told(&bob.engine.maintain(at_ms + 10_000)), 1);
        assert_eq!(told(&bob.engine.maintain(at_ms + 20_000)), 0, "once");
        // Keys that arrive later are no longer an answer.
        let event = Event::Keys { name: carol, keys: Vec::new(), more: false, reference: None };
        let late = bob.engine.received(event, at_ms + 20_000);
        assert!(!late.iter().any(|one| matches!(one, Output::Reply(_))));
    }
}

const DAY_MS: i64 = 86_400_000;

/// The certificates that a client publishes.
fn published(next: &[Output]) -> Vec<Opaque> {
    let certify = |one: &Output| match one {
        Output::Send(Request { command: Command::Certify { certificate }, .. }) => {
            Some(certificate.clone())
        }
        _ => None,
    };
    next.iter().filter_map(certify).collect()
}

#[test]
fn device_keys_are_renewed_on_an_endless_connection() {
    let mut story = Story::new("@bob");
    let storage = story.bob.storage.clone();
    let files = || storage.content().device_keys.len();
    let first = story.bob.engine.devices.newest().unwrap().0.clone();
    let begun_ms = first.made_at() as i64 * 1000;
    let mut certificates = vec![Opaque::new(first.bytes()).unwrap()];
    // The server sends nothing.
    for hour in 1..=43 * 24 {
        let now_ms = begun_ms + hour * DAY_MS / 24;
        assert_eq!(story.bob.engine.rests_ms(now_ms), 0, "an hour has passed");
        let next = story.bob.engine.maintain(now_ms);
        let asks = |one: &Output| matches!(one, Output::Send(Request { command: Command::Keys { names, .. }, .. }) if names.len() == 1);
        assert!(next.iter().any(asks), "of one's own other devices");
        certificates.extend(published(&next));
        certificates.dedup();
        assert!(story.bob.engine.maintain(now_ms + 1).is_empty());
        assert!(story.bob.engine.rests_ms(now_ms + 1) > 0);
        // 28 days of validity and two weeks.
        let holds = story.bob.engine.devices.has(&first);
        assert_eq!(holds, now_ms <= begun_ms + 42 * DAY_MS, "after {hour} hours");
    }
    assert_eq!(certificates.len(), 7, "one a week");
    assert_eq!((files(), story.bob.engine.devices.opening().len()), (6, 6));
    // Nor does it need a server, as long as the clock makes no leap: expired keys are deleted, and
    // new ones are made only for publication.
    story.bob.engine.lost();
    let offline_ms = begun_ms + 43 * DAY_MS;
    let mut at = |day: i64| story.bob.engine.maintain(offline_ms + day * DAY_MS);
    assert!(at(400).is_empty() && files() == 6, "a leap of the clock deletes nothing");
    (1..=400).for_each(|day| assert!(at(day).is_empty(), "{day}"));
    assert_eq!(files(), 0);
}

#[test]
fn nothing_is_sealed_for_an_own_device_whose_certificate_has_expired() {
    let mut story = Story::new("@bob");
    let (other, name) = (Identity::generate(), story.bob.name.clone());
    let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
    let certificate =
        Certificate::issue(&other, &SERVER, &signing, &opening, (NOW_MS / 1000) as u64);
    let key = device_key(&other, Some(Opaque::new(certificate.bytes()).unwrap()));
    story.server.keys.get_mut(&name).unwrap().push(key);
    restarts(&mut story, false);
    for _ in 0..2 {
        let next = story.bob.engine.look_up(&name, true, NOW_MS);
        story.bob.follows(&mut story.server, next);
    }
    let sealed_for = |story: &Story, now_ms| story.bob.engine.trust.own_devices(&name, now_ms);
    assert_eq!(sealed_for(&story, NOW_MS + 27 * DAY_MS).len(), 2);
    assert_eq!(sealed_for(&story, NOW_MS + 29 * DAY_MS).len(), 0);
}

#[test]
fn refused_key_requests_are_retried_silently() {
    let mut story = Story::new("@bob");
    let (alice, mut now_ms) = ("alice".parse().unwrap(), NOW_MS);
    story.bob.engine.save_trust().unwrap();
    story.bob.engine.trust.stale(&alice);
    let (id, text) = (MsgId([9; 16]), "hi".to_owned());
    let to = Target::User(alice.clone());
    let say = Command::Say(NewMessage::text(to, id, &text));
    let mut next = story.bob.engine.send(say.into(), now_ms);
    for _ in 0..TRIES {
        let [Output::Send(Request { command: Command::Keys { names }, reference })] = &next[..]
        else {
            panic!("{next:?}")
        };
        assert!(names.len() == 1 && names[0] == alice, "{names:?}");
        let retry_ms = story.chance.random_range(500..2_000);
        let refused = Refusal::Rate { retry_ms }.event(None, reference.clone());
        assert!(story.bob.engine.received(refused, now_ms).is_empty(), "there is no notice");
        assert_eq!(story.bob.engine.rests_ms(now_ms), retry_ms);
        assert!(story.bob.engine.maintain(now_ms + retry_ms as i64 - 1).is_empty());
        now_ms += retry_ms as i64;
        next = story.bob.engine.maintain(now_ms);
    }
    assert_eq!(
        story.bob.follows(&mut story.server, next).texts,
        ["hi"],
        "the message is sent at \
     last"
    );
}
