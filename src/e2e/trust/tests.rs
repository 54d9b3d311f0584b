//! Pins, certificates, and the server's statements about them.

use super::listing::KEY_BYTES_MAX;
use super::person::FRESH_MS;
use super::*;
use crate::chat::{DeviceKey, Opaque};
use crate::crypto::Identity;
use crate::crypto::certificate::{OpeningKey, SigningKey};
use crate::crypto::test_keys::spare;
use crate::limits::MET_KEYS_MAX;

pub const SERVER: Fingerprint = Fingerprint([9; 32]);

impl Default for TrustStore {
    fn default() -> TrustStore {
        TrustStore::of(SERVER, [].iter())
    }
}

/// A complete answer.
pub fn all(keys: Vec<DeviceKey>) -> Part {
    Part { keys, more: false, asked: true }
}

fn more(keys: Vec<DeviceKey>) -> Part {
    Part { more: true, ..all(keys) }
}

fn listed(key: &Identity, certified: bool) -> DeviceKey {
    let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
    let certificate = Certificate::issue(key, &SERVER, &signing, &opening, 1_000);
    DeviceKey {
        device: "main".parse().unwrap(),
        key: Opaque::new(&key.public().to_der()).unwrap(),
        certificate: certified.then(|| Opaque::new(certificate.bytes()).unwrap()),
    }
}

pub fn listed_bare(key: &Identity) -> DeviceKey {
    let spki = Opaque::new(&key.public().to_der()).unwrap();
    DeviceKey { device: "main".parse().unwrap(), key: spki, certificate: None }
}

#[test]
fn the_first_key_is_pinned_and_another_waits_for_confirmation() {
    let (one, two) = (spare(0), spare(1));
    let (bob, print) = ("bob".parse().unwrap(), two.public().fingerprint());
    let mut people = TrustStore::default();
    assert_eq!(people.recipients(&bob, 0).err(), Some(NoWay::Ask));
    assert!(people.wants_named(&bob) && !people.wants_named(&bob));
    assert_eq!(people.learn(&bob, more(vec![listed(&one, true)]), 1_000_000), None);
    let learned = people.learn(&bob, all(vec![]), 1_000_000).unwrap();
    assert_eq!((learned.pinned, learned.changed.len()), (true, 0));
    let to = people.recipients(&"Bob".parse().unwrap(), 1_000_000).unwrap();
    assert!(to.len() == 1 && to[0].certificate.is_some());
    let both = vec![listed(&one, true), listed(&two, false)];
    let learned = people.learn(&bob, all(both.clone()), 1_000_000).unwrap();
    assert_eq!((learned.pinned, learned.changed), (false, vec![print]));
    let again = people.learn(&bob, all(both), 1_000_000).unwrap();
    assert_eq!(again.changed, [], "it was reported once");
    assert_eq!(people.trust_state(&bob, &print), TrustState::Unconfirmed);
    assert_eq!(people.recipients(&bob, 1_000_000).err(), Some(NoWay::Changed));
    let kept = people.known(&bob).unwrap();
    assert_eq!(people.confirm(&bob, 1_000_000), Confirmed::Unseen);
    assert_eq!(people.shows(&bob).news, [print]);
    // The list changes during the comparison.
    let third = listed(&spare(2), false);
    let three = vec![listed(&one, true), listed(&two, false), third];
    people.learn(&bob, all(three), 1_000_000).unwrap();
    assert_eq!(people.confirm(&bob, 1_000_000), Confirmed::Unseen);
    people.learn(&bob, all(vec![listed(&one, true), listed(&two, false)]), 1_000_000).unwrap();
    let confirmed = [people.confirm(&bob, 1_000_000), people.confirm(&bob, 1_000_000)];
    assert_eq!(confirmed, [Confirmed::News(vec![]), Confirmed::Bare(vec![print])]);
    assert!(matches!(people.trust_state(&bob, &print), TrustState::Theirs(_)));
    assert_eq!(people.recipients(&bob, 1_000_000).unwrap().len(), 2);
    assert_eq!(people.recipients(&bob, 1_000_000 + FRESH_MS).err(), Some(NoWay::Ask));
    // Over a restart.
    let mut people = TrustStore::of(SERVER, [kept].iter());
    assert_eq!(people.trust_state(&bob, &print), TrustState::Unknown);
    let learned = people.learn(&bob, all(vec![listed(&two, false)]), 0).unwrap();
    assert_eq!(learned.changed, [print]);
    let carol = "carol".parse().unwrap();
    assert_eq!(people.learn(&carol, all(vec![listed(&two, false)]), 0), None, "not pinned");
    people.disconnected();
    assert!(people.wants_named(&bob));
    people.learn(&bob, all(vec![]), 0).unwrap();
    assert_eq!(people.recipients(&bob, 0).err(), Some(NoWay::Nobody));
}

#[test]
fn a_certificate_signed_by_another_key_is_ignored() {
    let (one, two) = (spare(0), spare(1));
    let bob = "bob".parse().unwrap();
    let mut forged = listed(&one, true);
    forged.certificate = listed(&two, true).certificate;
    let mut people = TrustStore::default();
    people.wants_named(&bob);
    people.learn(&bob, all(vec![forged]), 1_000_000).unwrap();
    assert!(people.recipients(&bob, 1_000_000).unwrap()[0].certificate.is_none());
    let old = 1_000_000 + 30 * 86_400_000;
    people.learn(&bob, all(vec![listed(&one, true)]), old).unwrap();
    assert!(people.recipients(&bob, old).unwrap()[0].certificate.is_none(), "it has expired");
}

/// bob's key with two certificates, the older one first, and the time of the newer one.
struct TwoCertificates {
    key: Identity,
    old: Certificate,
    new: Certificate,
    now_ms: i64,
}

impl TwoCertificates {
    fn new() -> TwoCertificates {
        let key = spare(0);
        let [old, new] = [1_000_000, 1_100_000].map(|made_s| certificate(&key, made_s));
        TwoCertificates { key, old, new, now_ms: 1_100_000_000 }
    }

    /// What a server lists.
    fn told(&self, certificate: Option<&Certificate>) -> DeviceKey {
        DeviceKey {
            certificate: certificate.map(|one| Opaque::new(one.bytes()).unwrap()),
            ..listed(&self.key, false)
        }
    }

    /// A client that has seen both certificates, and then neither.
    fn seen(&self) -> TrustStore {
        let mut people = TrustStore::default();
        for told in [Some(&self.old), Some(&self.new), Some(&self.old), None] {
            people.disconnected();
            people.wants_named(&bob());
            people.learn(&bob(), all(vec![self.told(told)]), self.now_ms).unwrap();
        }
        people
    }

    /// The same client after a restart.
    fn restarted(&self) -> TrustStore {
        let kept = serde_json::to_vec(&self.seen().known(&bob()).unwrap()).unwrap();
        let kept: Known = serde_json::from_slice(&kept).unwrap();
        let mut people = TrustStore::of(SERVER, [kept].iter());
        people.wants_named(&bob());
        people
    }

    /// A restarted client that was told this at that time.
    fn told_after(&self, told: Option<&Certificate>, now_ms: i64) -> TrustStore {
        let mut people = self.restarted();
        people.learn(&bob(), all(vec![self.told(told)]), now_ms).unwrap();
        people
    }
}

fn bob() -> UserName {
    "bob".parse().unwrap()
}

fn certificate(key: &Identity, made_s: u64) -> Certificate {
    let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
    Certificate::issue(key, &SERVER, &signing, &opening, made_s)
}

#[test]
fn withheld_and_older_certificates_are_not_used() {
    let bobs = TwoCertificates::new();
    let newest =
        |people: &TrustStore| people.recipients(&bob(), bobs.now_ms).unwrap().remove(0).certificate;
    assert_eq!(newest(&bobs.seen()), Some(bobs.new.clone()));
    for told in [Some(&bobs.old), None] {
        let people = bobs.told_after(told, bobs.now_ms);
        assert_eq!(newest(&people), Some(bobs.new.clone()), "after a restart");
    }
}

#[test]
fn after_the_expiry_nothing_is_sealed_without_a_confirmation() {
    let bobs = TwoCertificates::new();
    let later_ms = bobs.now_ms + 30 * 86_400_000;
    let mut later = bobs.told_after(None, later_ms);
    assert_eq!(later.recipients(&bob(), later_ms).err(), Some(NoWay::Over));
    let after = later.recipients(&bob(), later_ms + 1).err();
    assert_eq!(after, Some(NoWay::Ask), "there may be one now");
    assert_eq!(later.own_devices(&bob(), 1_000_000).len(), 0);
    assert_eq!((later.left_out(&bob()).len(), later.left_out(&bob()).len()), (1, 0));
    later.confirm(&bob(), 1_000_000);
    let to = later.recipients(&bob(), later_ms).unwrap();
    assert!(to.len() == 1 && to[0].certificate.is_none());
    // A certificate ends that, however it arrives.
    let next = certificate(&bobs.key, later_ms as u64 / 1000);
    assert!(later.saw(&bob(), &next, later_ms) && !later.saw(&bob(), &next, later_ms));
    assert_eq!(later.recipients(&bob(), later_ms).unwrap()[0].certificate, Some(next.clone()));
    // A certificate of a clock that is ahead does not block others.
    let mut ahead = bobs.told_after(Some(&next), bobs.now_ms);
    assert!(!ahead.person(&bob()).newest().values().any(|one| *one == next));
    // One that was seen while both clocks were ahead makes room for the next valid one.
    later.disconnected();
    later.wants_named(&bob());
    later.learn(&bob(), all(vec![bobs.told(Some(&bobs.new))]), bobs.now_ms).unwrap();
    let to = later.recipients(&bob(), bobs.now_ms).unwrap();
    assert_eq!(to[0].certificate, Some(bobs.new.clone()));
}

#[test]
fn another_key_does_not_replace_the_one_that_had_certificates() {
    let bobs = TwoCertificates::new();
    let mut fewer = bobs.restarted();
    let other = listed(&spare(2), false);
    fewer.learn(&bob(), all(vec![other]), bobs.now_ms).unwrap();
    fewer.shows(&bob());
    assert_eq!(fewer.confirm(&bob(), 1_000_000), Confirmed::News(vec![]));
    assert_eq!(fewer.recipients(&bob(), bobs.now_ms).err(), Some(NoWay::Over));
    fewer.confirm(&bob(), 1_000_000);
    assert!(fewer.recipients(&bob(), bobs.now_ms).is_ok());
}

#[test]
fn the_count_and_the_size_of_listed_keys_are_bounded() {
    let bobs = TwoCertificates::new();
    let mut people = bobs.seen();
    people.wants_named(&bob());
    for _ in 0..10 {
        people.learn(&bob(), more(vec![bobs.told(None); 500]), bobs.now_ms);
    }
    assert_eq!(people.person(&bob()).coming().len(), KEYS_MAX);
    people.person(&bob()).coming().clear();
    let long = Opaque::new(&[7; KEY_BYTES_MAX + 1]).unwrap();
    let long = DeviceKey { key: long, ..bobs.told(None) };
    people.learn(&bob(), more(vec![long]), bobs.now_ms);
    assert_eq!(people.person(&bob()).coming().len(), 0);
}

#[test]
fn only_the_profiles_keys_are_ones_own() {
    let [mine, other] = [0, 1].map(spare);
    let alice = "alice".parse().unwrap();
    let [mine_is, other_is] = [&mine, &other].map(|one| one.public().fingerprint());
    let mut people = TrustStore::default();
    people.is_own(&alice, vec![mine_is]);
    people.wants_named(&alice);
    let both = vec![listed(&mine, true), listed(&other, true)];
    let learned = people.learn(&alice, all(both), 1_000_000).unwrap();
    assert_eq!((learned.pinned, learned.changed), (true, vec![other_is]));
    assert_eq!(people.own_devices(&alice, 1_000_000).len(), 1);
    people.shows(&alice);
    assert_eq!(people.confirm(&alice, 1_000_000), Confirmed::News(vec![]));
    assert_eq!(people.own_devices(&alice, 1_000_000).len(), 2);
}

#[test]
fn ones_own_keys_have_one_name() {
    let [mine, hers] = [0, 1].map(spare);
    let [alice, bob] = ["alice", "bob"].map(|name| name.parse().unwrap());
    let [mine_is, hers_is] = [&mine, &hers].map(|one| one.public().fingerprint());
    let mut people = TrustStore::default();
    let is_called = |people: &mut TrustStore, name: &UserName, key: &Identity| {
        people.disconnected();
        let own = people.is_own(name, vec![mine_is]);
        people.wants_named(name);
        people.learn(name, all(vec![listed(key, true)]), 1_000_000).unwrap();
        own
    };
    assert_eq!(is_called(&mut people, &bob, &mine), Called::Known);
    // Before any alice was pinned.
    assert_eq!(is_called(&mut people, &alice, &mine), Called::Renamed);
    assert_eq!(is_called(&mut people, &bob, &mine), Called::Known);
    people.wants_named(&alice);
    let learned = people.learn(&alice, all(vec![listed(&hers, true)]), 1_000_000).unwrap();
    assert_eq!(learned.changed, [hers_is], "her first use is blocked, and nothing else");
    people.shows(&alice);
    assert_eq!(people.confirm(&alice, 1_000_000), Confirmed::News(vec![]));
    assert_eq!(people.prints(&alice).theirs, [hers_is]);
    assert_eq!(is_called(&mut people, &alice, &hers), Called::Anothers, "she remains another user");
    assert_eq!(people.own_devices(&alice, 1_000_000).len(), 0);
    // A renamed user confirms once.
    let robert = "robert".parse().unwrap();
    for own in [Called::Renamed, Called::Renamed] {
        assert_eq!(is_called(&mut people, &robert, &mine), own);
        assert_eq!(people.own_devices(&robert, 1_000_000).len(), 0);
    }
    people.shows(&robert);
    assert_eq!(people.confirm(&robert, 1_000_000), Confirmed::News(vec![bob.clone()]));
    assert_eq!(people.own_devices(&robert, 1_000_000).len(), 1);
    assert_eq!(is_called(&mut people, &robert, &mine), Called::Known);
}

#[test]
fn invented_users_fill_no_memory_and_push_nobody_out() {
    let [known, other] = [0, 1].map(spare);
    let alice = "alice".parse().unwrap();
    let print = known.public().fingerprint();
    let mut people = TrustStore::default();
    people.wants_named(&alice);
    people.learn(&alice, all(vec![listed(&known, false)]), 0).unwrap();
    let invented = |number: usize| format!("guest{number}").parse::<UserName>().unwrap();
    let mut met = 0;
    for number in 0..100_000 {
        // Without a request, too.
        people.learn(&invented(number + 100_000), all(vec![listed_bare(&other)]), 0);
        if people.wants_mentioned(&invented(number)) {
            met += 1;
            people.learn(&invented(number), all(vec![listed_bare(&other)]), 0).unwrap();
        }
    }
    assert_eq!((met, people.all.len()), (MET_KEYS_MAX - 1, MET_KEYS_MAX));
    // A user with an open request is pinned; the lists of others are bounded.
    let dave: UserName = "dave".parse().unwrap();
    assert!(people.is_full() && !people.wants_mentioned(&dave) && people.wants_named(&dave));
    assert!(people.learn(&dave, all(vec![listed_bare(&known)]), 0).unwrap().pinned);
    for number in 0..20 {
        people.learn(&invented(number), more(vec![listed_bare(&known); KEYS_MAX]), 0);
        people.learn(&invented(number), all(vec![]), 0).unwrap();
    }
    let held: usize = people.all.values().map(Person::keys_held).sum();
    assert!(held <= MET_KEYS_MAX + KEYS_MAX, "{held}");
    people.disconnected();
    people.wants_named(&alice);
    let learned = people.learn(&alice, all(vec![listed_bare(&other)]), 0).unwrap();
    assert_eq!((learned.anothers.len(), learned.retired.len()), (1, 1), "her keys are pinned");
    assert!(matches!(people.trust_state(&alice, &print), TrustState::Retired(_)));
    // Users without keys are forgotten with the connection.
    let mut people = TrustStore::default();
    for number in 0..100_000 {
        people.wants_mentioned(&invented(number));
    }
    assert!(people.is_full());
    people.disconnected();
    assert!(people.all.is_empty() && people.wants_mentioned(&alice));
}

/// Many keys of one user count as many users.
#[test]
fn many_keys_of_one_user_count_as_many_users() {
    let key = listed_bare(&spare(0));
    let mut people = TrustStore::default();
    let invented = |number: u8| format!("guest{number}").parse::<UserName>().unwrap();
    assert!((0..80).all(|number| people.wants_mentioned(&invented(number))));
    let mut learns = |number: &u8| {
        let mut der = key.key.bytes().to_vec();
        let keys = (0..=u8::MAX).map(|last| {
            // Somewhere in the modulus.
            (der[100], der[101]) = (*number, last);
            DeviceKey { key: Opaque::new(&der).unwrap(), ..key.clone() }
        });
        people.learn(&invented(*number), all(keys.collect()), 0).is_some()
    };
    assert_eq!((0..80).filter(&mut learns).count(), MET_KEYS_MAX.div_ceil(256));
    let pinned: usize = people.all.values().map(|person| person.all_prints().count()).sum();
    assert!(pinned == people.keys && pinned < MET_KEYS_MAX + 256, "{pinned}");
}

#[test]
fn a_retired_key_is_shown_as_retired() {
    let [old, new] = [0, 1].map(spare);
    let bob = "bob".parse().unwrap();
    let [old_is, new_is] = [&old, &new].map(|one| one.public().fingerprint());
    let mut people = TrustStore::default();
    people.wants_named(&bob);
    people.learn(&bob, all(vec![listed(&old, true)]), 1_000_000).unwrap();
    people.learn(&bob, all(vec![listed(&new, true)]), 1_000_000).unwrap();
    let prints = |theirs, news| Prints { theirs, news, gone: vec![old_is] };
    assert_eq!(people.shows(&bob), prints(vec![], vec![new_is]));
    people.confirm(&bob, 1_000_000);
    assert_eq!(people.prints(&bob), prints(vec![new_is], vec![]));
    assert!(
        matches!(people.trust_state(&bob, &old_is), TrustState::Retired(_)),
        "for old messages"
    );
    // State of unconfirmed keys is dropped once they are no longer listed.
    for index in 2..5 {
        let stranger = listed(&spare(index), true);
        people.learn(&bob, all(vec![listed(&new, true), stranger]), 1_000_000).unwrap();
        assert_eq!(people.person(&bob).newest().len(), 3);
    }
}

#[test]
fn the_trust_of_two_clients_is_merged() {
    let [one, two] = [1, 2].map(|byte| {
        let key = Opaque::new(&[byte; 9]).unwrap();
        KnownKey { key, changes: 0, retired_ms: None, unstored: Unstored::Nothing }
    });
    let known = |key: &KnownKey, certified| Known {
        keys: vec![key.clone()],
        certified,
        ..Known::default()
    };
    let mut first = known(&one, false);
    first.merge(&known(&two, true));
    first.merge(&known(&one, false));
    assert_eq!((first.keys, first.certified), (vec![one, two], true));
}

#[test]
fn the_safety_number_is_symmetric_and_depends_on_the_keys() {
    let prints: Vec<_> = (1..=3).map(|byte| Fingerprint([byte; 32])).collect();
    let number = safety_number(&prints[..1], &prints[1..]);
    assert_eq!(number.bytes().filter(u8::is_ascii_digit).count(), 60);
    let swapped = [prints[2], prints[1]];
    assert_eq!(number, safety_number(&swapped, &prints[..1]));
    assert_ne!(number, safety_number(&prints[..1], &prints[1..2]));
}

#[test]
fn a_look_alike_is_not_pinned_on_first_use() {
    let (one, two) = (spare(0), spare(1));
    let print = two.public().fingerprint();
    let name = |text: &str| text.parse::<UserName>().unwrap();
    let alike_to = |known: &str| Some(Alike::Person(name(known)));
    // In other letters, in digits, like the own name, and like a reserved word.
    for (known, other, wanted) in [
        ("pax", "рах", alike_to("pax")),
        ("alice", "a1ice", alike_to("alice")),
        ("bob", "me0w", alike_to("meow")),
        ("bob", "y0u", Some(Alike::Word("you"))),
        ("bob", "Server", Some(Alike::Word("server"))),
    ] {
        let mut people = TrustStore::default();
        people.is_own(&name("meow"), vec![spare(2).public().fingerprint()]);
        assert!(people.wants_mentioned(&name(known)));
        assert!(people.learn(&name(known), all(vec![listed(&one, true)]), 1_000_000).is_some());
        for restarts in [false, true] {
            if restarts {
                let kept = [people.known(&name(known)).unwrap()];
                people = TrustStore::of(SERVER, kept.iter());
                people.is_own(&name("meow"), vec![spare(2).public().fingerprint()]);
            }
            let other = name(other);
            // Also if the local user writes to it.
            assert!(if restarts {
                people.wants_named(&other)
            } else {
                people.wants_mentioned(&other)
            });
            let learned = people.learn(&other, all(vec![listed(&two, true)]), 1_000_000).unwrap();
            assert_eq!((learned.alike, &learned.changed[..]), (wanted.clone(), &[print][..]));
            assert_eq!(people.trust_state(&other, &print), TrustState::Unconfirmed);
            assert_eq!(people.recipients(&other, 1_000_000).err(), Some(NoWay::Changed));
            assert_eq!(people.known(&other), None, "nothing is stored");
        }
        // One confirmation overrides it.
        let other = name(other);
        people.shows(&other);
        assert_eq!(people.confirm(&other, 1_000_000), Confirmed::News(vec![]));
        assert!(people.recipients(&other, 1_000_000).is_ok() && people.alike(&other).is_none());
        let kept = [people.known(&name(known)).unwrap(), people.known(&other).unwrap()];
        let mut people = TrustStore::of(SERVER, kept.iter());
        assert!(people.wants_mentioned(&other));
        let learned = people.learn(&other, all(vec![listed(&two, true)]), 1_000_000).unwrap();
        assert_eq!((learned.alike, learned.changed.len()), (None, 0));
    }
    // The control: another name is pinned.
    let mut people = TrustStore::default();
    assert!(people.wants_mentioned(&name("pax")) && people.wants_mentioned(&name("paxa")));
    people.learn(&name("pax"), all(vec![listed(&one, true)]), 1_000_000).unwrap();
    let learned = people.learn(&name("paxa"), all(vec![listed(&two, true)]), 1_000_000).unwrap();
    assert!(learned.pinned && learned.alike.is_none() && learned.similar.is_none());
}

#[test]
fn a_similar_name_is_pinned_and_reported_once() {
    let (one, two) = (spare(0), spare(1));
    let name = |text: &str| text.parse::<UserName>().unwrap();
    for (other, wanted) in [("vvalter", None), ("marla", Some("maria"))] {
        let mut people = TrustStore::default();
        for known in ["walter", "maria"].map(name) {
            assert!(people.wants_mentioned(&known));
            people.learn(&known, all(vec![listed(&one, true)]), 1_000_000).unwrap();
        }
        let other = name(other);
        assert!(people.wants_mentioned(&other));
        let learned = people.learn(&other, all(vec![listed(&two, true)]), 1_000_000).unwrap();
        assert_eq!(
            (learned.similar, learned.alike.is_none()),
            (wanted.map(name), wanted.is_some())
        );
        assert_eq!(people.recipients(&other, 1_000_000).is_ok(), wanted.is_some());
        let again = people.learn(&other, all(vec![listed(&two, true)]), 1_000_000).unwrap();
        assert_eq!(again.similar, None);
    }
}
