//! A message is stored and the answer to it is lost, on the real binary: nobody is told that
//! messages are missing.

mod world;

use world::proxy::OneWay;
use world::{Program, World};

const ROUNDS: usize = 8;

fn joins(who: &mut Program, round: usize) {
    who.types(&format!("/join tea{round} half past four"));
    who.sees(&format!("you are in #tea{round}~"));
}

#[test]
fn the_message_after_a_lost_answer_is_linked_to_the_one_that_was_stored() {
    let world = World::with(r#"{"pin_joins_per_h": 1000, "logins_per_s": 100}"#);
    let mut bob = world.enters("bob");
    let link = OneWay::start(&world.address);
    world.admit("alice");
    let mut alice = world.client_by("alice", &link.address, &["--plain"]);
    alice.sees("you are in #lobby");
    for round in 0..ROUNDS {
        joins(&mut alice, round);
        joins(&mut bob, round);
        alice.sees("bob joined");
        link.silences();
        // Somebody whom she has not met speaks before her first message.
        let name = format!("carol{}", round + 2);
        let mut carol = world.enters(&name);
        joins(&mut carol, round);
        carol.types(&format!("hello {round}"));
        bob.sees(&format!("{name}: hello {round}"));
        alice.types(&format!("first {round}"));
        bob.sees(&format!("alice: first {round}"));
        alice.types(&format!("second {round}"));
        link.breaks();
        bob.sees(&format!("alice: second {round}"));
        carol.sees(&format!("alice: second {round}"));
        alice.sees(&format!("You: second {round}"));
        for who in [&alice, &bob, &carol] {
            let shown = who.shown();
            let alarm: Vec<_> = shown.iter().filter(|line| line.contains("missing")).collect();
            assert!(alarm.is_empty(), "round {round}: {alarm:#?}");
        }
        carol.types("/exit");
        carol.ends();
    }
}
