//! A server that puts keys of its own among those that people compare, or beside one's own.

use super::*;
use crate::crypto::private::Parsed;

/// Mallory's key under another name, and the certificate's hash.
fn false_key(story: &Story) -> (DeviceKey, [u8; 32]) {
    let own = story.mallory.contact.own();
    let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
    let certificate = Certificate::issue(&own, &signing, &opening, (NOW_MS / 1000) as u64);
    let hash = certificate.hash;
    (device_key(&own, Some(Opaque::new(certificate.bytes()).unwrap())), hash)
}

/// Bob's client begins anew, with what is in its vault or with nothing.
fn restarts(story: &mut Story, forgets: bool) -> Seen {
    let contact = Arc::clone(&story.bob.contact);
    let stem = contact.vault.journal_stem(contact.founding());
    if forgets {
        std::fs::remove_file(stem.with_extension("secrets")).unwrap();
    }
    story.bob.secrets = Secrets::open(contact, true).unwrap();
    let welcome = Event::Welcome {
        name: story.bob.name.clone(),
        device: DeviceName::main(),
        version: "0".into(),
        text_bytes_max: 8_192,
        motd: None,
    };
    story.bob.is_told(&mut story.house, welcome)
}

#[test]
fn a_key_beside_ones_own_is_shown_from_the_first_sight_on_and_nothing_is_sealed_for_it() {
    let mut story = Story::new("@bob");
    let honest = story.house.keys.clone();
    let print = story.mallory.contact.own().public().fingerprint().0;
    for _ in 0..TRIES {
        let (key, hash) = false_key(&story);
        let own = story.house.keys.get_mut(&story.bob.name).unwrap();
        let at = story.chance.random_range(0..=1);
        own.insert(at, key.clone());
        // The server tells the same to both, so that they would compare the same number.
        assert_eq!(restarts(&mut story, true).changed, 1, "it is shown");
        let seen = story.bob.says(&mut story.house, "@alice", "a secret");
        assert_eq!((seen.refused, seen.texts.len()), (0, 1), "{:?}", seen.flaws);
        let sealed = story.house.lines.last().unwrap().sealed.clone().unwrap();
        let parsed = Parsed::parse(sealed.bytes()).unwrap();
        assert!(!parsed.is_for(&hash) && !parsed.is_for(&print));
        // It may also be told of alone.
        story.house.keys.insert(story.bob.name.clone(), vec![key]);
        assert_eq!(restarts(&mut story, true).changed, 1);
        story.house.keys = honest.clone();
        assert_eq!(restarts(&mut story, true).changed, 0);
    }
}

#[test]
fn a_key_that_is_slipped_in_while_people_compare_is_not_confirmed() {
    let mut story = Story::new("@bob");
    let alice: UserName = "alice".parse().unwrap();
    let honest = story.house.keys[&alice].clone();
    let new = device_key(&Identity::generate(), None);
    for _ in 0..TRIES {
        let (key, _) = false_key(&story);
        let replaces = story.chance.random_bool(0.5);
        // She has a new key, truly, and bob looks at it.
        let mut keys = [honest.clone(), vec![new.clone()]].concat();
        story.house.keys.insert(alice.clone(), keys.clone());
        restarts(&mut story, false);
        let looks = |story: &mut Story, confirms| {
            let next = story.bob.secrets.look_up(&alice, confirms, NOW_MS);
            story.bob.follows(&mut story.house, next);
        };
        looks(&mut story, false);
        if replaces {
            keys.pop();
        }
        keys.push(key);
        let event = Event::Keys { name: alice.clone(), keys, more: false, reference: None };
        assert_eq!(story.bob.is_told(&mut story.house, event).changed, 1);
        looks(&mut story, true);
        let seen = story.bob.says(&mut story.house, "@alice", "a secret");
        assert_eq!((seen.refused, seen.texts.len()), (1, 0), "nothing was confirmed");
    }
}
