//! Another name for a user, on the real binary: what belongs to the user follows, nobody else's
//! name is taken, and the history of channels stays as it was.

mod world;

use std::io::Write;
use std::process::Stdio;

use pychat::chat::Ticket;
use pychat::wire::codec::Login;
use serde_json::Value;
use world::peer::{Peer, login};
use world::{Program, World};

fn says(peer: &mut Peer, number: u32, to: &str, text: &str) {
    let id = format!("{number:032x}");
    peer.sends(&format!(r#"{{"type":"say","to":"{to}","id":"{id}","text":"{text}"}}"#));
    peer.sees(&id);
}

/// Logs in with the key of a data folder, and receives what came since the start.
fn returns(world: &World, folder: &str) -> (Peer, String) {
    let login = Login { features: vec!["resume".into()], ..login(folder) };
    let mut peer = Peer::says(world, folder, &login);
    let welcome = peer.sees("\"entered\"");
    assert!(welcome.contains("\"welcome\""), "one record: {welcome}");
    peer.sends(r#"{"type":"resume","conversations":[]}"#);
    (peer, welcome)
}

fn renames(world: &World, old: &str, new: &str) {
    let (ok, told) = world.operator(&["users", "rename", old, new]);
    assert!(ok, "{told}");
}

/// What the operator's command prints.
fn operator(world: &World, args: &[&str]) -> String {
    let (ok, told) = world.operator(args);
    assert!(ok, "{told}");
    told
}

fn history(peer: &mut Peer, to: &str) -> String {
    peer.asks(&format!(r#"{{"type":"history","to":"{to}","ref":"h"}}"#))
}

#[test]
fn what_belongs_to_a_user_follows_to_another_name() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    operator(&world, &["users", "role", "bob", "moderator", "--yes"]);
    let mut alice = Peer::enters(&world, "alice", "main");
    let mut bob = Peer::enters(&world, "bob", "main");
    says(&mut bob, 1, "@alice", "by bob");
    says(&mut alice, 2, "@bob", "for bob");
    says(&mut bob, 3, "#lobby", "in the lobby");
    bob.sends(r##"{"type":"join","channel":"#tea"}"##);
    bob.sees("#tea");
    bob.sends(r##"{"type":"topic","channel":"#tea","text":"green","ref":"t"}"##);
    bob.sees("green");
    operator(&world, &["ctl", "mute", "bob", "1d", "noise"]);
    drop(bob);
    says(&mut alice, 4, "@bob", "while away");
    renames(&world, "bob", "robert");
    alice.sees("the operator has renamed bob to robert");
    // The conversation has its new name at once.
    let told = history(&mut alice, "@robert");
    assert!(told.contains("while away") && told.contains(r#""to":"@robert""#), "{told}");
    assert!(told.contains("by bob") && told.contains(r#""from":"robert""#), "{told}");
    assert!(!told.contains(r#""from":"bob""#), "{told}");
    let told = history(&mut alice, "#lobby");
    assert!(told.contains(r#""from":"bob""#), "channels keep the name: {told}");
    alice.sends(r#"{"type":"say","to":"@bob","id":"000000000000000000000000000000aa","text":"x"}"#);
    alice.sees("refused");
    let (mut robert, welcome) = returns(&world, "bob");
    assert!(welcome.contains(r#""name":"robert""#), "{welcome}");
    let told = robert.sees("while away");
    assert!(told.contains(r#""from":"alice""#) && told.contains("@robert"), "{told}");
    // His own message in the private conversation is his, the one in the channel is nobody's.
    robert.sends(r#"{"type":"say","to":"@alice","kind":"delete","of":"1","id":"000000000000000000000000000000d1"}"#);
    robert.sees("000000000000000000000000000000d1");
    robert.sends(r##"{"type":"say","to":"#lobby","kind":"delete","of":"1","id":"000000000000000000000000000000d2"}"##);
    robert.sees("forbidden");
    let told = operator(&world, &["ctl", "banlist"]);
    assert!(told.contains("robert") && !told.contains("bob "), "{told}");
    let told = operator(&world, &["users", "list"]);
    assert!(
        told.contains("robert") && told.contains("moderator") && !told.contains("bob"),
        "{told}"
    );
    assert!(world.home().join("users/robert.json").exists());
    operator(&world, &["ctl", "unmute", "robert"]);
    says(&mut robert, 5, "@alice", "by robert");
    alice.sees("by robert");
    drop((alice, robert));
    let world = world.restarted();
    operator(&world, &["verify"]);
    let (mut robert, _) = returns(&world, "bob");
    let told = history(&mut robert, "@alice");
    assert!(told.contains("while away") && told.contains("by robert"), "{told}");
    assert!(!told.contains("by bob"), "robert has deleted it: {told}");
}

#[test]
fn messages_of_a_former_name_cannot_be_changed_by_its_next_holder() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let mut bob = Peer::enters(&world, "bob", "main");
    says(&mut bob, 1, "@alice", "private");
    says(&mut bob, 2, "#lobby", "public");
    drop(bob);
    renames(&world, "bob", "robert");
    // Another user gets the name.
    world.admit("carol");
    renames(&world, "carol", "bob");
    let delete = |to: &str, of: u64, id: &str| {
        format!(r#"{{"type":"say","to":"{to}","kind":"delete","of":"{of}","id":"{id:0>32}"}}"#)
    };
    let mut other = Peer::enters(&world, "carol", "main");
    other.sends(&delete("#lobby", 1, "c"));
    let told = other.sees("refused");
    assert!(told.contains("forbidden"), "{told}");
    assert!(!history(&mut other, "@alice").contains("private"));
}

#[test]
fn a_name_that_is_taken_or_looks_like_another_is_refused() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let refused = |old: &str, new: &str, why: &str| {
        let (ok, told) = world.operator(&["users", "rename", old, new]);
        assert!(!ok && told.contains(why), "{old} to {new}: {told}");
    };
    refused("bob", "alice", "alice is registered already");
    refused("bob", "ALICE", "alice is registered already");
    refused("bob", "a1ice", "looks like alice");
    refused("bob", "server", "a word that names no person");
    refused("bob", "bob", "has this name already");
    refused("carol", "robert", "nobody is registered as carol");
    let (ok, told) = world.operator(&["ctl", "rename", "bob", "alice"]);
    assert!(!ok && told.contains("alice is registered already"), "{told}");
    let mut bob = Peer::enters(&world, "bob", "main");
    says(&mut bob, 1, "#lobby", "still here");
    // A name in another case, and one in another Unicode form, are the same user's.
    drop(bob);
    renames(&world, "BOB", "Bob");
    assert!(operator(&world, &["users", "list"]).contains("Bob "));
    renames(&world, "bob", "Zoe\u{301}");
    renames(&world, "ZO\u{c9}", "bob");
    let (_, welcome) = returns(&world, "bob");
    assert!(welcome.contains(r#""name":"bob""#), "{welcome}");
}

#[test]
fn a_renamed_user_gets_the_former_name_again() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let mut alice = Peer::enters(&world, "alice", "main");
    let mut bob = Peer::enters(&world, "bob", "main");
    says(&mut bob, 1, "@alice", "one");
    renames(&world, "bob", "robert");
    // The session ends, and its client may come back at once.
    let told = bob.sees("goodbye");
    assert!(
        told.contains("renamed you to robert") && told.contains(r#""code":"renamed""#),
        "{told}"
    );
    let (mut robert, _) = returns(&world, "bob");
    says(&mut robert, 2, "@alice", "two");
    alice.sees("two");
    renames(&world, "robert", "bob");
    let (mut bob, _) = returns(&world, "bob");
    says(&mut bob, 3, "@alice", "three");
    alice.sees("three");
    let told = history(&mut alice, "@bob");
    assert!(["one", "two", "three"].iter().all(|text| told.contains(text)), "{told}");
    assert!(!told.contains("robert"), "{told}");
    drop((alice, bob, robert));
    operator(&world.restarted(), &["verify"]);
}

#[test]
fn a_rename_without_a_server_is_done_at_its_next_start() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let mut alice = Peer::enters(&world, "alice", "main");
    says(&mut alice, 1, "@bob", "for bob");
    drop(alice);
    let world = world.stopped();
    let told = operator(&world, &["users", "rename", "bob", "robert"]);
    assert!(told.contains("from the next start"), "{told}");
    let world = world.started();
    let (mut robert, _) = returns(&world, "bob");
    let told = robert.sees("for bob");
    assert!(told.contains(r#""to":"@robert""#), "{told}");
    let mut alice = Peer::knocks(&world, "alice", "main");
    alice.sees("the operator has renamed bob to robert");
}

#[test]
fn a_file_that_was_sent_before_is_there_afterwards() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    bob.sees("alice");
    let file = world.home().join("tea.txt");
    std::fs::write(&file, "green tea").unwrap();
    bob.types(&format!("/send {} @alice", file.display()));
    let line = alice.sees("tea.txt");
    assert!(line.contains("bob"), "{line}");
    renames(&world, "bob", "robert");
    confirmed(&mut alice, "robert");
    alice.types("/query robert");
    alice.types("/files robert");
    let to = world.home().join("got.txt");
    alice.shows("the file under the new name", |shown| {
        shown.iter().any(|line| line.contains("tea.txt") && line.contains("robert"))
    });
    alice.types(&format!("/get 1 {}", to.display()));
    world.until("the file arrives", || std::fs::read(&to).is_ok_and(|got| got == b"green tea"));
    drop(bob);
}

/// A user confirms another one's keys under a name.
fn confirmed(person: &mut Program, name: &str) {
    person.types(&format!("/fingerprint {name}"));
    person.sees(&format!("/fingerprint {name} confirm"));
    person.types(&format!("/fingerprint {name} confirm"));
    person.sees(&format!("the keys of {name} are confirmed"));
}

#[test]
fn sealed_messages_from_before_are_read_under_the_new_name() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    alice.types("/pm bob the first");
    bob.sees("the first");
    bob.types("/pm alice an answer");
    alice.sees("an answer");
    bob.types("/quit");
    assert!(bob.ends().success());
    alice.types("/pm bob while away");
    alice.sees("You -> bob: while away");
    renames(&world, "bob", "robert");
    alice.sees("the operator has renamed bob to robert");
    let mut robert = world.client("bob", &["--plain"]);
    robert.sees("the server calls you robert");
    // What was sealed for bob is read by the same user.
    robert.sees("alice: while away");
    robert.types("/fingerprint robert");
    robert.sees("/fingerprint robert confirm");
    robert.types("/fingerprint robert confirm");
    robert.sees("the keys of robert are confirmed");
    robert.types("/pm alice by robert");
    robert.sees("You -> alice: by robert");
    confirmed(&mut alice, "robert");
    robert.types("/pm alice again");
    alice.sees("robert: again");
    alice.types("/pm robert for robert");
    robert.sees("alice: for robert");
    alice.types("/query robert");
    alice.types("/history 10");
    alice.shows("the messages from before", |shown| {
        let says = |words: &str| shown.iter().any(|line| line.contains(words));
        says("robert: an answer") && says("You -> robert: the first")
    });
}

/// Sets a user's password.
fn sets_password(world: &World, name: &str) {
    let mut command = world.program(name);
    command.args(["users", "passwd", name, "--home"]).arg(world.home());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"tea for two\n").unwrap();
    assert!(child.wait().unwrap().success());
    world.server.forgets(&format!("{name} has a new password now"));
}

/// Answers the server's question for the password, if it asks. Returns the first event after it.
fn enters_by_password(peer: &mut Peer) -> String {
    peer.sees("\"password\"");
    peer.sends(r#"{"type":"password","password":"tea for two"}"#);
    peer.sees("\"type\"")
}

#[test]
fn a_login_during_a_rename_does_not_enter_under_the_former_name() {
    let world = World::new();
    world.admit("bob");
    sets_password(&world, "bob");
    let mut bob = Peer::knocks(&world, "bob", "main");
    bob.sees("\"password\"");
    renames(&world, "bob", "robert");
    bob.sends(r#"{"type":"password","password":"tea for two"}"#);
    let told = bob.sees("\"type\"");
    assert!(told.contains("goodbye"), "{told}");
    let mut robert = Peer::knocks(&world, "bob", "main");
    let told = enters_by_password(&mut robert);
    assert!(told.contains(r#""name":"robert""#), "the control: {told}");
}

#[test]
fn device_tickets_follow_to_another_name_and_nobody_loses_any() {
    let world = World::new();
    for name in ["alice", "bob"] {
        world.admit(name);
        sets_password(&world, name);
    }
    // A device that has a valid ticket gets no other one.
    let given = |name: &str, ticket: Option<Ticket>| {
        let login = Login { features: vec!["ticket".into()], ticket, ..login(name) };
        let mut peer = Peer::says(&world, name, &login);
        enters_by_password(&mut peer);
        let told = peer.asks(r##"{"type":"who","to":"#lobby"}"##);
        let events = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut given = events.filter(|event| event["type"] == "ticket");
        given.next().map(|event| serde_json::from_value(event["ticket"].clone()).unwrap())
    };
    let [of_alice, of_bob] = ["alice", "bob"].map(|name| given(name, None));
    assert!(of_alice.is_some() && of_bob.is_some());
    let (ok, _) = world.operator(&["ctl", "rename", "BOB", "ALICE"]);
    assert!(!ok);
    assert!(given("alice", of_alice).is_none());
    assert!(given("bob", of_bob.clone()).is_none());
    let file = |name: &str| world.home().join("users").join(name);
    std::fs::rename(file("bob.json"), file("robert.json")).unwrap();
    std::fs::rename(file("bob.pem"), file("robert.pem")).unwrap();
    world.until("the server has seen it", || {
        operator(&world, &["ctl", "reload"]);
        std::fs::read_to_string(world.home().join("data/keys.json"))
            .is_ok_and(|keys| keys.contains("\"robert\""))
    });
    assert!(given("bob", of_bob).is_none());
}
