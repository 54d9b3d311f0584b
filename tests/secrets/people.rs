//! People's keys: the recipients of sealed private messages, and the comparison of keys.

use super::*;

/// Confirms that the other registered key belongs to this user.
fn confirms_own(bob: &mut Program) {
    bob.sees("is registered for your name");
    bob.types("/fingerprint bob confirm");
    bob.sees("was not shown yet");
    bob.sees("is new: /fingerprint bob confirm, if it is yours");
    bob.types("/fingerprint bob confirm");
    bob.sees("the keys of bob are confirmed");
}

/// Into the channel where the client was before, and then once more because its user wants to talk
/// there.
fn comes_back(client: &Program) {
    let entered = |line: &&String| line.contains("you are in #tea~");
    client.shows("the channel twice", |shown| shown.iter().filter(entered).count() == 2);
}

#[test]
fn after_a_rename_old_messages_are_read_under_the_old_name_and_new_ones_once_people_agree() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    certified(&world, 2);
    let line = makes(&mut alice, "tea");
    bob.types(&line);
    bob.sees("you are in #tea~");
    alice.types("by alice");
    bob.sees("alice: by alice");
    alice.types("/quit");
    assert!(alice.ends().success());
    // The operator renames her.
    let users = world.home().join("users");
    fs::rename(users.join("alice.pem"), users.join("alicia.pem")).unwrap();
    world.server.is_told("alicia");
    let mut alicia = world.client("alice", &["--plain"]);
    alicia.sees("the server calls you alicia");
    alicia.types(&line);
    comes_back(&alicia);
    alicia.types("/history 10");
    alicia.sees("alice: by alice");
    alicia.types("not yet");
    alicia.sees("nothing is sealed under this name");
    alicia.types("/fingerprint alicia");
    alicia.sees("is alice's, as far as you know: /fingerprint alicia confirm");
    alicia.types("/fingerprint alicia confirm");
    alicia.sees("the keys of alicia are confirmed");
    alicia.types("/retry");
    alicia.sees("You: not yet");
    bob.types("/fingerprint alicia");
    bob.sees("/fingerprint alicia confirm, if it is theirs");
    bob.types("/fingerprint alicia confirm");
    bob.sees("the keys of alicia are confirmed");
    alicia.types("by alicia");
    bob.sees("alicia: by alicia");
    bob.types("/quit");
    assert!(bob.ends().success());
    // The history is delivered again to a client that has confirmed the new name.
    let mut again = world.client("bob", &["--plain"]);
    again.types(&line);
    comes_back(&again);
    again.types("/history 10");
    again.shows("what was said under both names", |shown| {
        let says = |words: &str| shown.iter().any(|line| line.contains(words));
        says("alice: by alice") && says("alicia: not yet") && says("alicia: by alicia")
    });
    let shown = again.shown();
    assert!(!shown.iter().any(|line| line.contains("not shown")), "{shown:#?}");
}

#[test]
fn a_private_message_is_sealed_for_every_device_also_of_who_is_away() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut laptop = world.enters("bob");
    certified(&world, 2);
    laptop.types("/exit");
    laptop.ends();
    let phone = world.enters("bob.phone");
    certified(&world, 3);
    alice.types("/pm bob the first");
    phone.sees("[Private]");
    phone.sees("alice: the first");
    let mut laptop = world.client("bob", &["--plain"]);
    laptop.sees("alice: the first");
    // Bob has to confirm his own new key, too.
    confirms_own(&mut laptop);
    alice.sees("You -> bob: the first");
    let mut again = world.client("bob.phone", &["--plain"]);
    again.sees("you are in #lobby");
    confirms_own(&mut again);
    again.types("/pm alice and back");
    alice.sees("bob: and back");
    laptop.sees("You -> alice: and back");
    for shown in [alice.shown(), laptop.shown(), phone.shown()] {
        let odd = |line: &&String| line.contains("[Private]") && line.contains("sealed");
        let odd: Vec<_> = shown.iter().filter(odd).collect();
        assert!(odd.is_empty(), "{odd:#?}");
    }
}

#[test]
fn messages_to_a_user_who_never_logged_in_use_the_rsa_key_and_are_marked() {
    let world = World::new();
    let mut alice = world.enters("alice");
    world.admit("bob");
    alice.types("/pm bob welcome");
    alice.sees("You -> bob: welcome (sealed under the RSA key alone");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("alice: welcome (sealed under the RSA key alone");
    certified(&world, 2);
    bob.types("/pm alice thanks");
    alice.sees("bob: thanks");
    alice.types("/pm bob now it is sealed");
    let line = bob.sees("alice: now it is sealed");
    assert!(line.ends_with("now it is sealed"), "{line}");
}

/// The 60 digits that this person was shown last.
fn number(one: &Program) -> String {
    let digits = |word: &str| word.len() == 5 && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |line: &&String| line.split(' ').filter(|it| digits(it)).count() == 12;
    let count =
        |lines: &[String], text: &str| lines.iter().filter(|line| line.contains(text)).count();
    // Each time it is a line of its own.
    one.shows("the number", |lines| {
        let asked = count(lines, "compare this with");
        asked > 0 && lines.iter().filter(is_number).count() == asked
    });
    one.shown().iter().rfind(is_number).expect("60 digits").to_owned()
}

#[test]
fn after_a_lost_key_a_user_compares_one_number_with_each_contact() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("/pm bob the first");
    bob.sees("alice: the first");
    bob.types("/exit");
    bob.ends();
    // His computer is gone, with all that was on it.
    fs::remove_dir_all(world.data_folder("bob")).unwrap();
    let made = world.program("bob").arg("keygen").output().unwrap();
    assert!(made.status.success());
    let shown = world.program("bob").args(["key", "show", "--name", "bob"]).output().unwrap();
    let line = String::from_utf8(shown.stdout).unwrap();
    let (ok, told) = world.operator(&["users", "replace", "bob", line.trim(), "--yes"]);
    assert!(ok, "{told}");
    alice.sees("a key that was not there before is registered for bob");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    certified(&world, 2);
    bob.types("/fingerprint alice");
    alice.types("/fingerprint bob");
    alice.sees("is not in use any more");
    assert_eq!(number(&alice), number(&bob));
    alice.types("/fingerprint bob confirm");
    alice.sees("the keys of bob are confirmed");
    alice.types("/pm bob welcome back");
    bob.sees("alice: welcome back");
    alice.types("/fingerprint bob");
    alice.shows("the number again", |lines| {
        lines.iter().filter(|line| line.contains("compare this with")).count() == 2
    });
    assert_eq!(number(&alice), number(&bob));
}

#[test]
fn another_key_of_a_known_person_is_shown_and_nothing_is_sealed_for_it() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    alice.types("/pm bob the first");
    bob.sees("alice: the first");
    bob.types("/fingerprint alice");
    alice.types("/fingerprint bob");
    let before = number(&alice);
    assert_eq!(before, number(&bob));
    world.admit("bob.other");
    alice.sees("a key that was not there before is registered for bob");
    bob.sees("is registered for your name");
    alice.types("/pm bob not for the other");
    alice.sees("not sent: bob has a key that you have not confirmed");
    alice.types("/fingerprint bob");
    alice.sees("is new: /fingerprint bob confirm");
    alice.types("/fingerprint bob confirm");
    alice.sees("the keys of bob are confirmed");
    alice.types("/retry");
    bob.sees("alice: not for the other");
    // The second command is about the other device, which has no certificate. The answer states
    // what the command permits.
    alice.types("/fingerprint bob confirm");
    let told = alice
        .sees("private messages for bob may be sealed to the RSA key alone, without device keys");
    assert!(
        told.contains("Until this client ends") && told.matches("SHA256:").count() == 1,
        "{told}"
    );
}

#[test]
fn keys_for_which_the_server_has_no_time_are_asked_for_again() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    certified(&world, 2);
    // One request each 4 s, from now on: that is longer than a server lets one wait.
    let slow = r#"{"limits": {"requests_per_s": 0.25}}"#;
    fs::write(world.home().join("config.json"), slow).unwrap();
    assert!(world.operator(&["ctl", "reload"]).0);
    (0..4).for_each(|_| alice.types("/list"));
    alice.sees("too fast");
    alice.types("/pm bob here you are");
    bob.sees("alice: here you are");
    alice.sees("You -> bob: here you are");
    let answers = alice.seen("too fast") + alice.seen("#lobby (2 here): alice, bob");
    assert_eq!(answers, 4, "she has asked for that herself alone: {:#?}", alice.shown());
}
