//! A user who is removed and registered again with another case: `bob` and `Bob` are one user.

mod world;

use std::fs;

use pychat::wire::codec::Login;
use world::World;
use world::peer::{Peer, login};

fn says(peer: &mut Peer, number: u32, to: &str, text: &str) {
    let id = format!("{number:032x}");
    peer.sends(&format!(r#"{{"type":"say","to":"{to}","id":"{id}","text":"{text}"}}"#));
    peer.sees(&id);
}

/// Logs in with `resume`, and receives the private messages since the start.
fn returns(world: &World, name: &str) -> Peer {
    let login = Login { features: vec!["resume".into()], ..login(name) };
    let mut peer = Peer::says(world, name, &login);
    peer.sees("\"entered\"");
    peer.sends(r#"{"type":"resume","conversations":[]}"#);
    peer
}

/// Alice writes to Bob, who is then removed and registered again as `name`, with another key. What
/// she writes to him while he is away is delivered, and is in the history.
fn comes_back_as(name: &str) {
    let world = World::new();
    world.admit("alice");
    world.admit("Bob");
    let mut alice = Peer::enters(&world, "alice", "main");
    let mut bob = Peer::enters(&world, "Bob", "main");
    says(&mut alice, 1, "@Bob", "the first");
    bob.sees("the first");
    drop(bob);
    let (ok, told) = world.operator(&["users", "remove", "Bob", "--yes"]);
    assert!(ok, "{told}");
    world.server.is_told("a key of Bob was removed");
    let _ = fs::remove_dir_all(world.data_folder("Bob"));
    world.admit(name);
    drop(Peer::enters(&world, name, "main"));
    drop(alice);
    let world = world.restarted();
    let mut alice = Peer::enters(&world, "alice", "main");
    says(&mut alice, 2, &format!("@{name}"), "while bob is away");
    drop(alice);
    let world = world.restarted();
    let (ok, told) = world.operator(&["verify"]);
    assert!(ok, "{told}");
    let mut bob = returns(&world, name);
    let told = bob.sees("while bob is away");
    assert!(told.contains(r#""from":"alice""#), "{told}");
    let told = bob.asks(r#"{"type":"history","to":"@alice","ref":"h"}"#);
    let told = if told.contains("the first") { told } else { bob.sees("the first") };
    assert!(told.contains(&format!(r#""to":"@{name}""#)), "spelled as registered: {told}");
    says(&mut bob, 3, "@ALICE", "an answer");
    let mut alice = returns(&world, "alice");
    let told = alice.sees("an answer");
    assert!(told.contains(&format!(r#""from":"{name}""#)), "{told}");
}

#[test]
fn messages_reach_a_user_whose_name_comes_back_in_another_case() {
    comes_back_as("bob");
}

#[test]
fn messages_reach_a_user_whose_name_comes_back() {
    comes_back_as("Bob");
}
