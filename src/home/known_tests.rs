use std::fs;

use super::*;
use crate::crypto::Identity;
use crate::crypto::succession::Succession;
use crate::crypto::test_keys::spare;
use crate::home::{add, remove, rename, succeed};

const DAY: i64 = 86_400_000;

struct Home {
    folder: tempfile::TempDir,
    known: Known,
    now_ms: i64,
}

impl Home {
    fn look(&mut self) -> Vec<String> {
        self.now_ms += 1;
        let (users, rejected) = Users::load(self.folder.path()).unwrap();
        assert!(rejected.is_empty(), "{rejected:?}");
        let changes = self.known.compare(&users, self.now_ms);
        let path = self.folder.path().join("known");
        self.known.save(&path).unwrap();
        self.known = Known::load(&path).unwrap();
        changes.iter().map(ToString::to_string).collect()
    }

    fn add(&self, name: &str, device: Option<&str>, key: &Identity, replace: bool) {
        let device: Option<DeviceName> = device.map(|device| device.parse().unwrap());
        let name = name.parse().unwrap();
        add(self.folder.path(), key.public(), &name, device.as_ref(), replace).unwrap();
    }
}

#[test]
fn whoever_gets_another_key_is_noticed_however_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home { folder, known: Known::default(), now_ms: 1_000 * DAY };
    let [one, two, three, four] = [0, 1, 2, 3].map(spare);
    let print = |key: &Identity| key.public().fingerprint();
    home.add("bob", None, &one, false);
    assert_eq!(home.look(), Vec::<String>::new(), "who comes first changes nothing");
    assert_eq!(home.look(), Vec::<String>::new());
    home.add("bob", None, &two, true);
    let told = home.look();
    assert!(told[0].starts_with("the operator gave bob another key: SHA256:"), "{told:?}");
    assert!(
        told[0].contains(&print(&two).to_string()) && told[0].contains(&print(&one).to_string())
    );
    home.add("bob", Some("phone"), &three, false);
    assert_eq!(home.look(), [format!("bob has a further device, phone: {}", print(&three))]);

    // The old key's signature counts, and no other.
    let (name, bob) = (home.folder.path().to_owned(), "bob".parse().unwrap());
    let by = |old: &Identity| Succession::sign(old, Whose::Person, &four);
    assert!(succeed(&name, four.public(), &bob, &by(&one)).is_err());
    succeed(&name, four.public(), &bob, &by(&two)).unwrap();
    assert_eq!(
        home.look(),
        [format!("bob has a new key, signed by the one before: {}", print(&four))]
    );
    let forged = fs::read_to_string(name.join("bob.pem")).unwrap();
    assert!(forged.starts_with("signatures of the key before and of this one: "));

    // The same key again is not another key.
    remove(&name, &bob, None).unwrap();
    assert_eq!(home.look(), Vec::<String>::new());
    fs::write(name.join("bob.pem"), &forged).unwrap();
    assert_eq!(home.look(), Vec::<String>::new());

    // Removing and adding again does not avoid the notice.
    remove(&name, &bob, None).unwrap();
    assert_eq!(home.look(), Vec::<String>::new());
    home.add("bob", None, &two, false);
    assert!(home.look()[0].starts_with("the operator gave bob another key"));
    // A signature for other keys does not count.
    fs::write(
        name.join("bob.pem"),
        forged.replace(&four.public().to_pem(), &one.public().to_pem()),
    )
    .unwrap();
    assert!(home.look()[0].starts_with("the operator gave bob another key"));

    // A member who was away is notified of all changes, once.
    let carol = spare(4);
    home.add("carol", None, &carol, false);
    home.look();
    assert_eq!(home.known.missed(&print(&carol)), vec![]);
    home.add("bob", None, &three, true);
    home.look();
    assert_eq!(home.known.missed(&print(&carol)).len(), 1);
    home.known.see(&[print(&carol)], home.now_ms);
    assert_eq!(home.known.missed(&print(&carol)), vec![]);
}

#[test]
fn a_device_is_old_by_the_time_that_the_server_ran() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home { folder, known: Known::default(), now_ms: 1_000 * DAY };
    let (alice, bob) = (spare(0), spare(1));
    home.known.begin(home.now_ms);
    home.add("alice", None, &alice, false);
    home.add("bob", Some("phone"), &bob, false);
    home.look();
    let start = home.now_ms;
    home.known.see(&[alice.public().fingerprint()], start + 40 * DAY);
    let old = home.known.unseen_since(start + 10 * DAY);
    assert_eq!(old.len(), 1);
    assert_eq!((old[0].0.as_str(), old[0].1.as_str()), ("bob", "phone"));
    // A year without the server is not an absence, and a clock that is set back does not make a
    // login more recent.
    home.known.begin(start + 400 * DAY);
    assert_eq!(home.known.unseen_since(start + 370 * DAY).len(), 1);
    assert_eq!(home.known.unseen_since(start + 355 * DAY), vec![]);
    home.known.begin(start);
    assert_eq!(home.known.unseen_since(start + 1).len(), 2);
}

#[test]
fn a_renamed_user_is_known_until_the_conversations_have_moved() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home { folder, known: Known::default(), now_ms: 1_000 * DAY };
    let (bob, robert): (UserName, UserName) = ("bob".parse().unwrap(), "robert".parse().unwrap());
    let renamed = |home: &Home| home.known.renamed(&Users::load(home.folder.path()).unwrap().0);
    home.add("bob", None, &spare(0), false);
    home.add("bob", Some("phone"), &spare(1), false);
    home.look();
    assert_eq!(renamed(&home), []);
    rename(home.folder.path(), &bob, &robert).unwrap();
    for _ in 0..2 {
        assert_eq!(renamed(&home), [(bob.clone(), robert.clone())]);
        assert_eq!(home.look(), [""; 0], "nothing but the name has changed");
    }
    assert!(home.known.rename(&bob, &robert, home.now_ms).is_some());
    assert_eq!(renamed(&home), []);
    assert_eq!(home.look(), [""; 0]);
}

#[test]
fn two_names_for_the_keys_of_one_user_are_no_rename() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home { folder, known: Known::default(), now_ms: 1_000 * DAY };
    home.add("bob", None, &spare(0), false);
    home.add("bob", Some("phone"), &spare(1), false);
    home.look();
    let file = |name: &str| home.folder.path().join(name);
    fs::rename(file("bob.pem"), file("robert.pem")).unwrap();
    fs::rename(file("bob.phone.pem"), file("carol.pem")).unwrap();
    let (users, _) = Users::load(home.folder.path()).unwrap();
    assert_eq!(home.known.renamed(&users), []);
    fs::rename(file("carol.pem"), file("robert.phone.pem")).unwrap();
    let (users, _) = Users::load(home.folder.path()).unwrap();
    assert_eq!(home.known.renamed(&users).len(), 1, "the control");
}
