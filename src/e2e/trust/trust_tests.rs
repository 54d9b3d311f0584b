//! Random key lists, comparisons, restarts and renames, checked against a small model of the keys
//! to seal for.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::tests::{SERVER, all, listed_bare};
use super::*;
use crate::crypto::Identity;
use crate::crypto::test_keys::spare;

const ROUNDS: u64 = 200;
const STEPS: usize = 60;
const NAMES: usize = 3;
const KEYS: usize = 5;

type Keys = BTreeSet<usize>;

/// The last event of each key of each user, and the server's current list.
#[derive(Default)]
struct Model {
    met: BTreeSet<usize>,
    /// Whether a key was gained (true) or lost, by name and key.
    last: BTreeMap<(usize, usize), bool>,
    owner: BTreeMap<usize, usize>,
    listed: BTreeMap<usize, Keys>,
    shown: BTreeMap<usize, Keys>,
}

impl Model {
    fn is_theirs(&self, name: usize, key: usize) -> bool {
        self.last.get(&(name, key)) == Some(&true)
    }

    fn gains(&mut self, name: usize, key: usize) {
        self.last.insert((name, key), true);
        self.owner.insert(key, name);
    }

    /// The keys that a user has lost.
    fn loses_all_but(&mut self, name: usize, keys: &Keys) -> Keys {
        let lost = (0..KEYS).filter(|key| self.is_theirs(name, *key) && !keys.contains(key));
        let lost: Keys = lost.collect();
        self.last.extend(lost.iter().map(|key| ((name, *key), false)));
        lost
    }

    fn lists(&mut self, name: usize, keys: &Keys) -> Keys {
        if !keys.is_empty() && self.met.insert(name) {
            let free: Vec<_> = keys.iter().filter(|key| !self.owner.contains_key(key)).collect();
            free.into_iter().for_each(|key| self.gains(name, *key));
        }
        self.listed.insert(name, keys.clone());
        self.loses_all_but(name, keys)
    }

    /// Returns whether the confirmation counts.
    fn confirms(&mut self, name: usize) -> bool {
        let keys = self.listed[&name].clone();
        let news = keys.iter().any(|key| !self.is_theirs(name, *key));
        if self.shown.get(&name).map_or(news, |shown| *shown != keys) {
            return false;
        }
        self.loses_all_but(name, &keys);
        for key in keys.into_iter().filter(|_| news) {
            if let Some(other) = self.owner.get(&key).copied().filter(|other| *other != name) {
                self.last.entry((other, key)).and_modify(|theirs| *theirs = false);
                self.listed.remove(&other);
            }
            self.gains(name, key);
        }
        true
    }

    /// The keys to seal for; `None` if sealing is refused or nothing is known.
    fn sealed_for(&self, name: usize) -> Option<Keys> {
        let listed = self.listed.get(&name).filter(|listed| !listed.is_empty())?;
        let theirs = listed.iter().all(|key| self.is_theirs(name, *key));
        theirs.then(|| listed.clone())
    }
}

fn name(index: usize) -> UserName {
    ["bob", "carol", "dave"][index].parse().unwrap()
}

fn random_keys(chance: &mut StdRng) -> Keys {
    let one = chance.random_range(0..KEYS);
    (0..KEYS).filter(|key| *key == one || chance.random_bool(0.2)).collect()
}

/// Checks that the client and the model agree on everybody.
fn agree(people: &TrustStore, model: &Model, prints: &[Fingerprint], round: u64) {
    for at in 0..NAMES {
        let sealed = people.recipients(&name(at), 0).ok().map(|to| {
            let print = |one: &Recipient| one.key.fingerprint();
            let index = |one: &Recipient| prints.iter().position(|other| *other == print(one));
            to.iter().map(|one| index(one).unwrap()).collect::<Keys>()
        });
        assert_eq!(sealed, model.sealed_for(at), "round {round}, {}", name(at));
        for (key, print) in prints.iter().enumerate() {
            let trust_state = people.trust_state(&name(at), print);
            let theirs = matches!(trust_state, TrustState::Theirs(_));
            assert_eq!(theirs, model.is_theirs(at, key), "round {round}, {trust_state:?}");
            let listed = model.listed.get(&at).is_some_and(|listed| listed.contains(&key));
            assert!(theirs || !listed || trust_state == TrustState::Unconfirmed, "{trust_state:?}");
        }
    }
}

#[test]
fn keys_are_sealed_for_only_if_pinned_first_or_confirmed_last() {
    let keys: Vec<Identity> = (0..KEYS).map(spare).collect();
    let prints: Vec<_> = keys.iter().map(|key| key.public().fingerprint()).collect();
    for round in 0..ROUNDS {
        let mut chance = StdRng::seed_from_u64(round);
        let (mut people, mut model) = (TrustStore::default(), Model::default());
        for _ in 0..STEPS {
            let at = chance.random_range(0..NAMES);
            let who = name(at);
            match chance.random_range(0..10) {
                0..5 => {
                    let mut listed = random_keys(&mut chance);
                    // Mostly the previous list, or a part of it.
                    if let Some(before) = model.listed.get(&at)
                        && chance.random_bool(0.6)
                    {
                        listed =
                            before.iter().copied().filter(|_| chance.random_bool(0.7)).collect();
                    }
                    people.wants_named(&who);
                    let told = listed.iter().map(|key| listed_bare(&keys[*key])).collect();
                    let learned = people.learn(&who, all(told), 0).unwrap();
                    let lost = model.lists(at, &listed);
                    let retired = lost.into_iter().map(|key| prints[key]).collect::<Vec<_>>();
                    assert_eq!(learned.retired.len(), retired.len(), "it is reported");
                    assert!(retired.iter().all(|print| learned.retired.contains(print)));
                }
                5..7 if model.listed.contains_key(&at) => {
                    people.shows(&who);
                    model.shown.insert(at, model.listed[&at].clone());
                }
                7..9 if model.listed.contains_key(&at) => {
                    let counts = people.confirm(&who, 0) != Confirmed::Unseen;
                    assert_eq!(counts, model.confirms(at), "round {round}");
                }
                9 => {
                    model.listed.clear();
                    if chance.random_bool(0.5) {
                        people.disconnected();
                        let met = &model.met;
                        model.shown.retain(|at, _| met.contains(at));
                    } else {
                        let kept: Vec<_> =
                            (0..NAMES).filter_map(|at| people.known(&name(at))).collect();
                        let kept = serde_json::to_vec(&kept).unwrap();
                        let kept: Vec<Known> = serde_json::from_slice(&kept).unwrap();
                        people = TrustStore::of(SERVER, kept.iter());
                        model.shown.clear();
                    }
                }
                _ => {}
            }
            agree(&people, &model, &prints, round);
        }
    }
}

/// What the file has of a user, once it is written.
fn stored(people: &TrustStore, name: &UserName) -> Known {
    let kept = serde_json::to_vec(&people.known(name).unwrap()).unwrap();
    serde_json::from_slice(&kept).unwrap()
}

#[test]
fn the_later_decision_of_two_clients_wins() {
    let (key, bob) = (spare(0), "bob".parse().unwrap());
    let print = key.public().fingerprint();
    let mut people = TrustStore::default();
    let kept = |people: &TrustStore| stored(people, &bob);
    people.wants_named(&bob);
    people.learn(&bob, all(vec![listed_bare(&key)]), 5).unwrap();
    let pinned = kept(&people);
    people.learn(&bob, all(vec![]), 7).unwrap();
    let retired = kept(&people);
    people.learn(&bob, all(vec![listed_bare(&key)]), 9).unwrap();
    people.shows(&bob);
    assert_eq!(people.confirm(&bob, 9), Confirmed::News(vec![]));
    let again = kept(&people);
    for (older, newer, theirs) in
        [(&pinned, &retired, false), (&retired, &again, true), (&pinned, &again, true)]
    {
        for (one, other) in [(older, newer), (newer, older)] {
            let mut joined = one.clone();
            joined.merge(other);
            assert_eq!(joined, *newer);
            let people = TrustStore::of(SERVER, [joined].iter());
            assert_eq!(matches!(people.trust_state(&bob, &print), TrustState::Theirs(_)), theirs);
        }
    }
    // Each has pinned it for another user.
    let carol = Known { name: Some("carol".parse().unwrap()), ..pinned.clone() };
    let people = TrustStore::of(SERVER, [carol, pinned].iter());
    let trust_state =
        ["bob", "carol"].map(|name| people.trust_state(&name.parse().unwrap(), &print));
    assert!(
        matches!(trust_state, [TrustState::Theirs(_), TrustState::Retired(_)]),
        "{trust_state:?}"
    );
}

#[test]
fn a_key_has_one_owner_and_moves_once_its_new_name_is_confirmed() {
    let [hers, his] = [0, 1].map(spare);
    let [bob, robert, carol]: [UserName; 3] =
        ["bob", "robert", "carol"].map(|name| name.parse().unwrap());
    let [hers_is, his_is] = [&hers, &his].map(|one| one.public().fingerprint());
    let mut people = TrustStore::default();
    assert!([&bob, &robert, &carol].into_iter().all(|name| people.wants_named(name)));
    people.learn(&bob, all(vec![listed_bare(&his)]), 0).unwrap();
    // At the first use, and later.
    for _ in 0..2 {
        let both = all(vec![listed_bare(&hers), listed_bare(&his)]);
        let learned = people.learn(&carol, both, 0).unwrap();
        assert_eq!(learned.anothers, [(his_is, bob.clone())]);
        assert_eq!(people.trust_state(&carol, &his_is), TrustState::Unconfirmed);
        assert_eq!(people.recipients(&carol, 0).err(), Some(NoWay::Changed));
        people.learn(&carol, all(vec![listed_bare(&hers)]), 0).unwrap();
        assert!(people.recipients(&carol, 0).is_ok());
    }
    assert!(matches!(people.trust_state(&carol, &hers_is), TrustState::Theirs(_)));
    // The operator renames bob.
    let learned = people.learn(&robert, all(vec![listed_bare(&his)]), 0).unwrap();
    assert_eq!((learned.changed, learned.anothers), (vec![], vec![(his_is, bob.clone())]));
    people.shows(&robert);
    assert_eq!(people.confirm(&robert, 8), Confirmed::News(vec![bob.clone()]));
    assert!(matches!(people.trust_state(&robert, &his_is), TrustState::Theirs(_)));
    assert!(
        matches!(people.trust_state(&bob, &his_is), TrustState::Retired(_)),
        "for old messages"
    );
    assert!(people.is_late(&bob, &his_is, 8, 7) && people.is_late(&bob, &his_is, 0, 9));
    assert!(!people.is_late(&bob, &his_is, 7, 8));
    let learned = people.learn(&bob, all(vec![listed_bare(&his)]), 0).unwrap();
    assert_eq!(learned.anothers, [(his_is, robert)], "bob has none any more");
}

#[test]
fn the_own_key_belongs_to_no_other_user() {
    let [mine, hers] = [0, 1].map(spare);
    let [alice, bob]: [UserName; 2] = ["alice", "bob"].map(|name| name.parse().unwrap());
    let [mine_is, hers_is] = [&mine, &hers].map(|one| one.public().fingerprint());
    let mut people = TrustStore::default();
    people.is_own(&bob, vec![mine_is]);
    people.wants_named(&alice);
    let both = all(vec![listed_bare(&hers), listed_bare(&mine)]);
    let learned = people.learn(&alice, both, 0).unwrap();
    assert_eq!(learned.changed, [mine_is]);
    people.shows(&alice);
    assert_eq!(people.confirm(&alice, 0), Confirmed::Own);
    people.wants_named(&bob);
    people.learn(&bob, all(vec![listed_bare(&mine)]), 0).unwrap();
    assert_eq!(people.own_devices(&bob, 0).len(), 1);
    // The own retirement is no news, and a former own key that returns waits for confirmation.
    people.is_own(&bob, vec![hers_is, mine_is]);
    assert_eq!(people.is_own(&bob, vec![mine_is]), Called::Known);
    assert_eq!(people.learn(&bob, all(vec![]), 0).unwrap().retired, []);
    assert!(matches!(people.trust_state(&bob, &mine_is), TrustState::Theirs(_)));
}

#[test]
fn a_former_own_key_that_is_listed_again_waits() {
    let [old, new] = [0, 1].map(spare);
    let bob: UserName = "bob".parse().unwrap();
    let [old_is, new_is] = [&old, &new].map(|one| one.public().fingerprint());
    let mut people = TrustStore::default();
    people.is_own(&bob, vec![old_is]);
    people.wants_named(&bob);
    people.learn(&bob, all(vec![listed_bare(&old)]), 0).unwrap();
    assert_eq!(people.is_own(&bob, vec![new_is, old_is]), Called::Known);
    let learned = people.learn(&bob, all(vec![listed_bare(&new)]), 0).unwrap();
    assert_eq!((learned.changed, learned.retired), (vec![], vec![]), "that was their own doing");
    assert!(matches!(people.trust_state(&bob, &old_is), TrustState::Retired(_)));
    let both = all(vec![listed_bare(&old), listed_bare(&new)]);
    assert_eq!(people.learn(&bob, both, 0).unwrap().changed, [old_is]);
    assert_eq!(people.own_devices(&bob, 0).len(), 1);
}

#[test]
fn an_unsolicited_list_within_an_answer_retires_nothing() {
    let keys = [0, 1].map(spare);
    let bob: UserName = "bob".parse().unwrap();
    let mut people = TrustStore::default();
    people.wants_named(&bob);
    let part = |key: &Identity, more, asked| Part { keys: vec![listed_bare(key)], more, asked };
    for _ in 0..2 {
        assert_eq!(people.learn(&bob, part(&keys[0], true, true), 0), None);
        assert_eq!(people.learn(&bob, part(&keys[0], true, false), 0), None);
        people.learn(&bob, part(&keys[1], false, false), 0).unwrap();
        let learned = people.learn(&bob, part(&keys[1], false, true), 0).unwrap();
        assert_eq!(learned.retired, []);
    }
    assert_eq!(people.recipients(&bob, 0).unwrap().len(), 2);
}

#[test]
fn a_retirement_that_is_not_stored_yet_wins() {
    let (key, bob) = (spare(0), "bob".parse().unwrap());
    let print = key.public().fingerprint();
    let has = || all(vec![listed_bare(&key)]);
    let mut one = TrustStore::default();
    one.wants_named(&bob);
    one.learn(&bob, has(), 5).unwrap();
    let file = [stored(&one, &bob)];
    let [mut one, mut two] = [(), ()].map(|()| TrustStore::of(SERVER, file.iter()));
    for people in [&mut one, &mut two] {
        people.wants_named(&bob);
        people.learn(&bob, has(), 6).unwrap();
    }
    // The first client loses the key, and its user confirms it again.
    one.learn(&bob, all(vec![]), 7).unwrap();
    one.learn(&bob, has(), 8).unwrap();
    one.shows(&bob);
    assert_eq!(one.confirm(&bob, 8), Confirmed::News(vec![]));
    let file = stored(&one, &bob);
    // The second one has not heard of that.
    two.learn(&bob, all(vec![]), 9).unwrap();
    for is_stored in [false, true] {
        if is_stored {
            // The control: the confirmation came after what is stored.
            two.are_stored([&bob].into_iter());
        }
        let mut written = two.known(&bob).unwrap();
        written.merge(&file);
        let read = TrustStore::of(SERVER, [written].iter());
        let is_theirs = matches!(read.trust_state(&bob, &print), TrustState::Theirs(_));
        assert_eq!(is_theirs, is_stored);
    }
}

#[test]
fn a_first_contact_adds_no_key_to_a_user_whom_the_file_has() {
    let [hers, evil] = [0, 1].map(spare);
    let [alice, bob]: [UserName; 2] = ["alice", "bob"].map(|name| name.parse().unwrap());
    let [hers_is, evil_is] = [&hers, &evil].map(|one| one.public().fingerprint());
    let meets = |name: &UserName, key: &Identity| {
        let mut people = TrustStore::default();
        people.wants_named(name);
        people.learn(name, all(vec![listed_bare(key)]), 5).unwrap();
        people
    };
    let file = stored(&meets(&bob, &hers), &bob);
    let mut two = meets(&bob, &evil);
    let mut written = two.known(&bob).unwrap();
    written.merge(&file);
    assert_eq!(written, file);
    two.merge([&file].into_iter());
    assert_eq!(two.take_set_back(), [(bob.clone(), vec![evil_is])]);
    assert_eq!(two.trust_state(&bob, &evil_is), TrustState::Unconfirmed);
    assert_eq!(two.recipients(&bob, 5).err(), Some(NoWay::Changed));
    assert_eq!(two.known(&bob), Some(file.clone()));
    // Nor does a key move to another user by it.
    let mut two = meets(&alice, &hers);
    two.merge([&file].into_iter());
    assert!(matches!(two.trust_state(&bob, &hers_is), TrustState::Theirs(_)));
    assert_eq!(two.trust_state(&alice, &hers_is), TrustState::Unconfirmed);
    // The control: the same key, and a user whom the file does not have.
    let mut two = meets(&bob, &hers);
    two.merge([&file].into_iter());
    assert!(two.recipients(&bob, 5).is_ok() && two.take_set_back().is_empty());
    let mut two = meets(&alice, &evil);
    two.merge([&file].into_iter());
    assert!(two.recipients(&alice, 5).is_ok() && two.take_set_back().is_empty());
}
