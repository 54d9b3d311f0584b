use std::fs;
use std::time::{Duration, Instant};

use super::*;
use crate::crypto::test_keys::spare;

#[test]
fn bad_files_are_refused_each_with_its_reason_and_the_others_load() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (spare(0), spare(1));
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("alice.pem", &alice.public().to_pem());
    put("bob.phone.pem", &bob.public().to_pem());
    put("zoe.pem", &alice.public().to_pem());
    put("Alice.laptop.pem", "not a key");
    put("carol.pem", &bob.to_pem(None));
    put("half.pem", &alice.public().to_pem()[..200]);
    put("a b.pem", &alice.public().to_pem());
    put("README.md", "no key at all");
    put("bytes.pem", "\0\0");
    fs::create_dir(folder.path().join("folder.pem")).unwrap();
    let (users, rejected) = Users::load(folder.path()).unwrap();
    assert_eq!(users.names().map(UserName::as_str).collect::<Vec<_>>(), ["alice", "bob"]);
    let (name, device) = users.by_key(bob.public()).unwrap();
    assert_eq!((name.as_str(), device.as_str()), ("bob", "phone"));
    assert_eq!(users.find(&"ALICE".parse().unwrap()).unwrap().as_str(), "alice");
    let reasons: BTreeMap<_, _> = rejected
        .iter()
        .map(|one| (one.file.file_name().unwrap().to_str().unwrap(), one.reason.to_string()))
        .collect();
    assert_eq!(reasons.len(), 7, "{reasons:?}");
    assert!(reasons["zoe.pem"].contains("registered for alice"));
    assert!(reasons["carol.pem"].contains("private key"));
    assert!(reasons["a b.pem"].contains("letters"));
    assert!(reasons["half.pem"].contains("not an RSA key"));
}

#[test]
fn a_file_that_is_changed_in_place_is_noticed_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alice.pem");
    fs::write(&file, "one").unwrap();
    let mut watch = UsersWatch::new(folder.path().to_owned());
    // A watch that looks slowly, on a busy machine, looks less often.
    let mut slowest = Duration::ZERO;
    let mut changed = || {
        let asked = Instant::now();
        let changed = watch.changed();
        slowest = slowest.max(asked.elapsed());
        (changed, asked, Duration::from_secs(1) + 100 * slowest)
    };
    assert!(!changed().0);
    let began = Instant::now();
    fs::write(&file, "another").unwrap();
    loop {
        let (noticed, asked, within) = changed();
        if noticed {
            break;
        }
        assert!(asked.duration_since(began) < within, "nobody has noticed");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(!changed().0);
}

#[test]
fn a_link_changes_with_the_file_that_it_leads_to() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("key.pem");
    fs::write(&file, "one").unwrap();
    std::os::unix::fs::symlink(&file, folder.path().join("alice.pem")).unwrap();
    let mut watch = UsersWatch::new(folder.path().to_owned());
    let mut is_noticed = || {
        let until = Instant::now() + Duration::from_secs(60);
        std::iter::repeat_with(|| watch.changed()).any(|changed| {
            std::thread::park_timeout(Duration::from_millis(20));
            assert!(changed || Instant::now() < until, "nobody has noticed");
            changed
        })
    };
    fs::write(&file, "another").unwrap();
    assert!(is_noticed());
    fs::remove_file(&file).unwrap();
    assert!(is_noticed());
}

#[test]
fn adding_checks_and_removing_removes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (spare(0), spare(1));
    let name = |text: &str| text.parse::<UserName>().unwrap();
    let mut watch = UsersWatch::new(folder.path().to_owned());
    add(folder.path(), one.public(), &name("alice"), None, false).unwrap();
    assert!(watch.changed() && !watch.changed());
    let again = add(folder.path(), one.public(), &name("bob"), None, false);
    assert!(matches!(again, Err(AddError::Refused(Reason::DuplicateKey(_)))));
    let alike = add(folder.path(), two.public(), &name("ALICE"), None, false);
    assert!(matches!(alike, Err(AddError::Refused(Reason::Confusable(_)))));
    add(folder.path(), spare(2).public(), &name("tom"), None, false).unwrap();
    add(folder.path(), spare(3).public(), &name("walter_maria"), None, false).unwrap();
    for other in ["ТОМ", "torn", "TOM", "vvalter_maria", "walter__maria", "walter_mar1a"] {
        let alike = add(folder.path(), two.public(), &name(other), None, false);
        assert!(matches!(alike, Err(AddError::Refused(Reason::Confusable(_)))), "{other}");
    }
    let word = add(folder.path(), two.public(), &name("Server"), None, false);
    assert!(matches!(word, Err(AddError::Refused(Reason::Word("server")))));
    let taken = add(folder.path(), two.public(), &name("alice"), None, false);
    assert!(matches!(taken, Err(AddError::Taken(_))));
    let phone = "phone".parse().unwrap();
    let absent = remove(folder.path(), &name("alice"), Some(&phone));
    assert!(matches!(absent, Err(AddError::NoDevice(..))), "{absent:?}");
    add(folder.path(), two.public(), &name("alice"), Some(&phone), false).unwrap();
    assert_eq!(remove(folder.path(), &name("alice"), None).unwrap().len(), 2);
    let gone = remove(folder.path(), &name("alice"), None);
    assert!(matches!(gone, Err(AddError::Nobody(_))));
}

#[test]
fn whoever_was_registered_first_keeps_name_and_key() {
    let home = tempfile::tempdir().unwrap();
    let users = home.path().join("users");
    fs::create_dir_all(home.path().join("data")).unwrap();
    fs::create_dir(&users).unwrap();
    let name = |text: &str| text.parse::<UserName>().unwrap();
    let put = |file: &str, key: usize, age_s: u64| {
        let path = users.join(file);
        fs::write(&path, spare(key).public().to_pem()).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(age_s);
        fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    };
    let names = |users: &Users| users.names().map(ToString::to_string).collect::<Vec<_>>();
    // Only the age of the files is known: the order of names does not count.
    put("alice.pem", 0, 1_000);
    put("a1ice.pem", 1, 10);
    put("aaron.pem", 0, 10);
    let (first, rejected) = Users::load(&users).unwrap();
    assert_eq!((names(&first), rejected.len()), (vec!["alice".to_owned()], 2), "{rejected:?}");
    assert!(rejected.iter().any(|one| one.to_string().contains("looks like alice")));
    assert!(rejected.iter().any(|one| one.to_string().contains("registered for alice already")));
    // A server runs, or has run: files that claim to be older change nothing.
    put("a1ice.pem", 1, 9_000);
    put("aaron.pem", 0, 9_000);
    let (now, _) = Users::load_over(&users, Some(&first)).unwrap();
    assert_eq!(names(&now), ["alice"]);
    let mut known = crate::home::known::Known::default();
    known.compare(&now, 1_000);
    known.save(&home.path().join("data/keys.json")).unwrap();
    assert_eq!(names(&Users::load(&users).unwrap().0), ["alice"]);
    // Her key is replaced, and the server starts again.
    put("alice.pem", 2, 0);
    let (now, _) = Users::load(&users).unwrap();
    assert!(now.find(&name("alice")).is_some() && now.find(&name("a1ice")).is_none());
    assert_eq!(now.by_key(spare(2).public()).unwrap().0.as_str(), "alice");
    // Similar names are both registered, and reported.
    put("marla.pem", 3, 10);
    put("maria.pem", 4, 20);
    let (now, _) = Users::load(&users).unwrap();
    assert!(now.find(&name("marla")).is_some() && now.find(&name("maria")).is_some());
    let warnings: Vec<_> = now.warnings().collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("marla is similar to maria"),
        "{warnings:?}"
    );
}

#[test]
fn files_belong_to_people_in_any_form_and_case_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let name = |text: &str| text.parse::<UserName>().unwrap();
    // The decomposed form that macOS writes.
    put("zoe\u{301}.pem", &spare(0).public().to_pem());
    put("zo\u{e9}.json", r#"{"deny": ["192.0.2.0/24"]}"#);
    put("bob.pem", &spare(1).public().to_pem());
    put("Bob.json", r#"{"role": "moderator"}"#);
    let (users, rejected) = Users::load(folder.path()).unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    assert_eq!(users.settings(&name("zo\u{e9}")).deny.len(), 1);
    assert_eq!(users.role(&name("bob")), Role::Moderator);
    // A user has one settings file.
    Settings::change(folder.path(), &name("bob"), |one| one.role = Role::Owner).unwrap();
    assert!(!folder.path().join("bob.json").exists());
    put("BOB.json", "{}");
    let (users, rejected) = Users::load(folder.path()).unwrap();
    assert!(users.find(&name("bob")).is_none(), "two files contradict each other");
    assert!(rejected[0].to_string().contains("Bob.json is of the same person"), "{rejected:?}");
    let taken = add(folder.path(), spare(2).public(), &name("zo\u{e9}"), None, false);
    assert!(matches!(taken, Err(AddError::Taken(_))));
    assert_eq!(remove(folder.path(), &name("ZO\u{c9}"), None).unwrap().len(), 2);
    assert_eq!(remove(folder.path(), &name("bob"), None).unwrap().len(), 3);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_link_that_leads_to_no_file_removes_neither_key_nor_settings() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (key, settings) = (elsewhere.path().join("key"), elsewhere.path().join("settings"));
    fs::write(&key, spare(0).public().to_pem()).unwrap();
    fs::write(&settings, r#"{"deny": ["10.0.0.0/8"]}"#).unwrap();
    for (to, link) in [(&key, "bob.pem"), (&settings, "bob.json")] {
        std::os::unix::fs::symlink(to, folder.path().join(link)).unwrap();
    }
    let (users, rejected) = Users::load(folder.path()).unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    let denied = |users: &Users| users.settings(&"bob".parse().unwrap()).deny.len();
    assert_eq!(denied(&users), 1, "the control");
    fs::remove_file(&key).unwrap();
    fs::remove_file(&settings).unwrap();
    let (now, rejected) = Users::load_over(folder.path(), Some(&users)).unwrap();
    assert!(now.by_key(spare(0).public()).is_some());
    assert_eq!(denied(&now), 1, "{rejected:?}");
    let reasons: Vec<_> = rejected.iter().map(|one| &one.reason).collect();
    assert!(matches!(reasons[..], [Reason::KeptKey(_), Reason::Kept(..)]), "{reasons:?}");
    fs::remove_file(folder.path().join("bob.pem")).unwrap();
    let (now, _) = Users::load_over(folder.path(), Some(&now)).unwrap();
    assert!(now.is_empty(), "the link itself is the file");
}

#[test]
fn a_key_stays_registered_while_its_file_is_wrong_for_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bob.pem");
    let (one, two) = (spare(0), spare(1));
    let pem = one.public().to_pem();
    fs::write(&file, &pem).unwrap();
    let (mut users, _) = Users::load(folder.path()).unwrap();
    let huge = "x".repeat(1 << 20);
    for wrong in ["", &pem[..pem.len() / 2], "no key", &huge] {
        fs::write(&file, wrong).unwrap();
        let (now, rejected) = Users::load_over(folder.path(), Some(&users)).unwrap();
        assert!(now.by_key(one.public()).is_some(), "{:.20}", wrong);
        assert!(matches!(rejected[0].reason, Reason::KeptKey(_)), "{rejected:?}");
        users = now;
    }
    fs::write(&file, two.public().to_pem()).unwrap();
    let (now, rejected) = Users::load_over(folder.path(), Some(&users)).unwrap();
    assert!(now.by_key(one.public()).is_none() && now.by_key(two.public()).is_some());
    assert!(rejected.is_empty(), "{rejected:?}");
    fs::remove_file(&file).unwrap();
    let (now, _) = Users::load_over(folder.path(), Some(&now)).unwrap();
    assert!(now.is_empty());
    // At a start there is no former key.
    fs::write(&file, "").unwrap();
    assert!(Users::load(folder.path()).unwrap().0.is_empty());
}
