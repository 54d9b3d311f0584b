//! The worst that a member may search for, on the real binary: it is refused or cut short, and
//! others chat, come back and load history meanwhile.

mod world;

use std::time::Duration;

use pychat::chat::{Body, Kind, MsgId};
use pychat::ledger::{Ledger, Record, SentMessage, Sqlite};
use rustix::process::Signal;
use world::peer::Peer;
use world::{Program, World};

const FAST: &str = r#""messages_burst": 1000, "bytes_per_s": 1e9, "histories_per_s": 1000"#;

/// What a search of this text in the lobby is answered with, by its mark.
fn searches(who: &mut Program, text: &str, mark: &str) {
    who.types(&format!(r##"{{"type":"search","text":"{text}","to":"#lobby","ref":"{mark}"}}"##));
}

fn end(mark: &str) -> impl Fn(&[String]) -> bool {
    let mark = format!(r#""ref":"{mark}""#);
    let ends = [r#""type":"history""#, r#""type":"refused""#];
    move |lines| {
        lines.iter().any(|line| line.contains(&mark) && ends.iter().any(|end| line.contains(end)))
    }
}

/// A server whose lobby has so many lines of these words.
fn filled(lines: u32, text: &str, limits: &str) -> World {
    let world = World::with(&format!("{{{FAST}{limits}}}")).stopped();
    let mut ledger = Sqlite::open(&world.home().join("data/ledger.db"), 60).unwrap();
    let line = |number: u32| {
        Record::message(SentMessage {
            conversation: "#lobby".parse().unwrap(),
            from: "bob".parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId(u128::from(number).to_be_bytes()),
            time_ms: 1_764_079_391_123,
            kind: Kind::Say,
            body: Body::Text(text.to_owned()),
        })
    };
    let lines: Vec<Record> = (0..lines).map(line).collect();
    ledger.commit(&lines).unwrap();
    while ledger.index_some().unwrap() {}
    drop(ledger);
    world.started()
}

#[test]
fn a_search_beyond_its_bounds_is_refused_with_what_to_do() {
    for history in ["on", "off"] {
        let world =
            World::configured(&format!(r#"{{"history": "{history}", "limits": {{{FAST}}}}}"#));
        let mut alice = world.enters_as("alice", "--json");
        let mut bob = world.enters("bob");
        // As many as a search without bounds compared for seconds while nothing could be stored.
        let long = "b ".repeat(4_000);
        for _ in 0..100 {
            bob.types(&long);
        }
        bob.types("the last of them");
        alice.sees("the last of them");
        searches(&mut alice, &"a.".repeat(7_000), "rows");
        let refused = alice.sees(r#""ref":"rows""#);
        assert!(refused.contains("too_long") && refused.contains("256 bytes"), "{refused}");
        searches(&mut alice, &"b ".repeat(7_000), "words");
        assert!(alice.sees(r#""ref":"words""#).contains("search for fewer"));
        searches(&mut alice, &"b.".repeat(33), "few");
        let refused = alice.sees(r#""ref":"few""#);
        assert!(refused.contains("32 words and this one has 33"), "{refused}");
        searches(&mut alice, &"b ".repeat(32), "most");
        bob.types("and still they talk");
        alice.sees("and still they talk");
        alice.shows("the answer", end("most"));
        searches(&mut alice, "last of-them", "one");
        alice.shows("the next answer", end("one"));
        assert!(alice.sees(r#""ref":"one""#).contains("the last of them"));
    }
}

#[test]
fn others_chat_and_load_history_beside_the_worst_searches_which_end_with_their_session() {
    let world = filled(20_000, "a b a b a b", "");
    let mut alice = world.enters_as("alice", "--json");
    let mut bob = world.enters_as("bob", "--json");
    let mut carol = world.enters_as("carol", "--json");
    let worst = ["a.".repeat(32), "b ".repeat(29) + "a.a.a", "a".to_owned()];
    for round in 0..10 {
        for (number, text) in worst.iter().enumerate() {
            searches(&mut alice, text, &format!("{round}-{number}"));
            searches(&mut bob, text, &format!("{round}-{number}"));
        }
        carol.types(&format!(
            r##"{{"type":"history","to":"#lobby","messages":50,"ref":"h{round}"}}"##
        ));
        carol.shows("history", end(&format!("h{round}")));
        carol.types(&format!(r##"{{"type":"say","to":"#lobby","text":"round {round}"}}"##));
        carol.sees(&format!("round {round}"));
    }
    assert!(world.operator(&["ctl", "kick", "alice"]).0);
    let (healthy, told) = world.operator(&["ctl", "health", "--json"]);
    assert!(healthy, "{told}");
    for part in ["admission", "ledger", "history", "search", "replay", "storage"] {
        assert!(told.contains(&format!("\"{part}\":true")), "{part} in {told}");
    }
    bob.shows("the last answer", end("9-2"));
    searches(&mut carol, "round", "carol");
    carol.shows("an answer", end("carol"));
    assert!(carol.sees(r#""ref":"carol""#).contains("round"));
}

/// Each of them has the reader for two seconds at most, of which a busy machine gives it little.
const PEOPLE: [&str; 8] = ["bob0", "bob1", "bob2", "bob3", "bob4", "bob5", "bob6", "bob7"];

/// CPU time of the thread that searches, while the server has it.
fn searching(world: &World) -> Duration {
    world.server.cpu_of("search").unwrap_or_default()
}

/// These people search, all at once, for what takes all the time that it may.
fn crowd(world: &World) -> Vec<Peer> {
    let mut crowd: Vec<Peer> = PEOPLE.map(|name| Peer::enters(world, name, "main")).into();
    let text = "b ".repeat(29) + "a.a.a";
    for peer in &mut crowd {
        peer.sends(&format!(r##"{{"type":"search","text":"{text}","to":"#lobby","ref":"r"}}"##));
    }
    crowd
}

/// What the searches of such a crowd cost from now on, where this comes over it once they have
/// begun.
fn cost(world: &World, carol: &mut Peer, ends: impl FnOnce(Vec<Peer>)) -> Duration {
    let before = searching(world);
    let crowd = crowd(world);
    world.until("a search has begun", || searching(world) > before);
    ends(crowd);
    // The reader serves people in turn: what is answered now comes behind all that.
    carol.answer(r##"{"type":"search","text":"nothing","to":"#lobby","ref":"r"}"##);
    searching(world) - before
}

#[test]
fn searches_have_a_bounded_cost_and_end_with_their_sessions() {
    let world = filled(200_000, &"a b ".repeat(20), "");
    PEOPLE.iter().for_each(|name| world.admit(name));
    world.admit("alice");
    world.admit("carol");
    assert!(world.operator(&["users", "role", "alice", "owner"]).0);
    world.server.is_told("alice is owner now");
    let mut alice = Peer::enters(&world, "alice", "main");
    let mut carol = Peer::enters(&world, "carol", "main");
    let answered = |mut crowd: Vec<Peer>| {
        for peer in &mut crowd {
            peer.sees("\"history\"");
        }
    };
    // Each search has 250 ms of CPU time, and ends within another 250 ms.
    let default = cost(&world, &mut carol, answered);
    let most = Duration::from_millis(2 * 250) * PEOPLE.len() as u32;
    assert!(default < most, "{default:?} for searches of 250 ms");
    world.reloads(&format!(r#"{{"limits": {{{FAST}, "search_ms_max": 1000}}}}"#));
    // The control: nobody disconnects.
    let whole = cost(&world, &mut carol, answered);
    // Linux counts in hundredths of a second.
    assert!(whole >= Duration::from_millis(200), "{whole:?} is too short to tell");
    let cut = cost(&world, &mut carol, drop);
    assert!(cut < whole / 2, "{cut:?} of {whole:?} after a disconnect");
    let cut = cost(&world, &mut carol, |mut crowd| {
        for name in PEOPLE {
            alice.sends(&format!(r#"{{"type":"operate","words":["kick","{name}"]}}"#));
        }
        for peer in &mut crowd {
            peer.sees("kicked");
        }
    });
    assert!(cut < whole / 2, "{cut:?} of {whole:?} after a kick");

    let before = searching(&world);
    let _crowd = crowd(&world);
    world.until("a search has begun", || searching(&world) > before);
    world.server.signal(Signal::TERM);
    let mut cut = Duration::ZERO;
    while let Some(spent) = world.server.cpu_of("search") {
        cut = spent - before;
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert!(cut < whole / 2, "{cut:?} of {whole:?} after the word to stop");
}
