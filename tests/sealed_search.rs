//! A search in a channel with a PIN and in a private conversation, on the real binary: what this
//! client has read is found by it, and nobody else is asked.

mod world;

use std::fs;

use world::{Program, World};

/// What a search shows, between the marks of two notices that nothing else makes.
fn finds(who: &mut Program, words: &str, mark: &str) -> Vec<String> {
    let before = who.shown().len();
    who.types(&format!("/search {words}"));
    who.types(&format!("/set {mark}"));
    who.sees(&format!("there is no setting {mark:?}"));
    let shown = who.shown();
    let end = format!("{mark:?}");
    let lines = shown[before..].iter().take_while(|line| !line.contains(&end));
    // What is told meanwhile, of a server that cannot be reached, begins otherwise.
    lines.filter(|line| line.starts_with('[')).cloned().collect()
}

/// Their lines lie there, and none of these words in clear.
fn kept(world: &World, who: &str, words: &[&str]) -> u64 {
    for word in words {
        assert_eq!(world.found_in(who, word), 0, "{word}");
    }
    let folder = fs::read_dir(world.data_folder(who).join("servers")).unwrap();
    let logs =
        folder.map(Result::unwrap).filter(|one| one.path().extension() == Some("search".as_ref()));
    logs.map(|log| log.metadata().unwrap().len()).sum()
}

/// With the search off, nothing is kept and nothing is found.
fn keeps_nothing_while_it_is_off(world: &World, mut bob: Program) {
    let words = ["kettle", "samovar", "teapot"];
    bob.types("/query alice");
    bob.types("/set search off");
    bob.sees("search off: the stored messages");
    assert_eq!(kept(world, "bob", &words), 0);
    bob.types("/pm alice another kettle");
    bob.sees("You -> alice: another kettle");
    bob.types("/search kettle");
    bob.sees("/set search on starts one");
    bob.types("/exit");
    bob.ends();
    assert_eq!(kept(world, "bob", &words), 0, "nor after the end");
    let mut bob = world.client("bob", &["--plain"]);
    bob.types("/set");
    bob.sees("-- search off");
    bob.types("/set search on");
    bob.sees("-- search on");
    bob.types("/query alice");
    bob.types("/history");
    bob.sees("You -> alice: another kettle");
    bob.sees("messages");
    assert!(finds(&mut bob, "kettle", "three").len() >= 2, "what /history loads is kept again");
}

#[test]
fn what_was_read_in_sealed_conversations_is_found_until_the_search_is_off() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    for who in [&mut alice, &mut bob] {
        who.types("/join nest half past four");
        who.sees("you are in #nest~");
    }
    alice.types("the Grüne kettle");
    bob.sees("alice: the Grüne kettle");
    alice.types("a teapot");
    bob.sees("alice: a teapot");
    bob.types("the kettle is mine");
    alice.sees("bob: the kettle is mine");
    alice.types("/pm bob a kettle for you alone");
    bob.sees("alice: a kettle for you alone");
    let found = finds(&mut bob, "KETTLE", "one");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("alice: the Grüne kettle"), "{found:#?}");
    assert!(found[1].contains("You: the kettle is mine"), "{found:#?}");
    bob.sees("-- 2 messages");
    assert_eq!(finds(&mut bob, "grune kettle", "two").len(), 1);
    assert_eq!(finds(&mut bob, "kett", "three").len(), 2, "a beginning");
    assert_eq!(finds(&mut bob, "ettle", "middle").len(), 0, "no beginning");
    // What was changed is found as it is, and what was deleted is not.
    bob.types("/edit the samovar is mine");
    alice.sees("bob (corrected): the samovar is mine");
    alice.types("/delete 2");
    bob.sees("alice (deleted a message)");
    alice.sees("You (deleted a message)");
    assert_eq!(finds(&mut bob, "teapot", "four").len(), 0);
    let found = finds(&mut bob, "mine", "five");
    assert!(found[0].contains("You: the samovar is mine (edited)"), "{found:#?}");
    assert_eq!(finds(&mut alice, "samovar", "six").len(), 1);
    // And in private, by what was said there alone.
    bob.types("/query alice");
    let found = finds(&mut bob, "kettle", "seven");
    assert!(found.len() == 1 && found[0].contains("alice: a kettle for you alone"), "{found:#?}");
    // Without the server, too, and in another run.
    bob.types("/exit");
    bob.ends();
    let words = ["kettle", "samovar", "teapot"];
    assert!(kept(&world, "bob", &words) > 0);
    let world = world.stopped();
    let mut bob = world.client("bob", &["--plain"]);
    bob.types("/query alice");
    assert_eq!(finds(&mut bob, "kettle", "one").len(), 1, "{:#?}", bob.shown());
    let world = world.started();
    bob.sees("you are in #nest~");
    bob.types("/query #nest");
    assert_eq!(finds(&mut bob, "samovar", "two").len(), 1, "{:#?}", bob.shown());
    // Who leaves a channel keeps nothing of it.
    let before = kept(&world, "bob", &words);
    bob.types("/part");
    bob.sees("you left #nest~");
    bob.types("/join nest half past four");
    bob.sees("only those who know the PIN");
    assert!(kept(&world, "bob", &words) < before);
    keeps_nothing_while_it_is_off(&world, bob);
}

#[test]
fn a_server_that_begins_anew_takes_nothing_out_of_the_search() {
    let world = World::new();
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    for who in [&mut alice, &mut bob] {
        who.types("/join nest half past four");
        who.sees("you are in #nest~");
    }
    alice.types("the kettle sings");
    bob.sees("alice: the kettle sings");
    alice.types("/pm bob a kettle for you alone");
    bob.sees("alice: a kettle for you alone");
    bob.types("/exit");
    bob.ends();
    let stored = kept(&world, "bob", &["kettle"]);
    let world = world.stopped();
    for file in fs::read_dir(world.home().join("data")).unwrap().map(Result::unwrap) {
        if file.file_name().to_string_lossy().starts_with("ledger.db") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let world = world.started_with_a_new_ledger();
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #nest~");
    bob.sees("the server has begun another numbering of #nest~");
    bob.types("/query #nest");
    assert_eq!(finds(&mut bob, "kettle", "one").len(), 1, "{:#?}", bob.shown());
    alice.sees("you are in #nest~");
    alice.types("a new kettle");
    bob.sees("alice: a new kettle");
    let found = finds(&mut bob, "kettle", "two");
    assert!(found.len() == 2 && found[1].contains("a new kettle"), "{found:#?}");
    bob.types("/query alice");
    assert_eq!(finds(&mut bob, "kettle", "three").len(), 1, "{:#?}", bob.shown());
    assert!(kept(&world, "bob", &["kettle"]) >= stored);
}

#[test]
fn a_program_searches_sealed_conversations_by_the_same_object() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters_as("bob", "--json");
    bob.sees("\"hello\"");
    // His certificate goes before his first line: what is said to him then is sealed.
    bob.types(r##"{"type":"say","to":"#lobby","text":"here"}"##);
    alice.sees("bob: here");
    alice.types("/pm bob the kettle sings");
    bob.sees("the kettle sings");
    bob.types(r#"{"type":"search","to":"@alice","text":"Kettle","ref":"q1"}"#);
    let end = bob.sees(r#""type":"history""#);
    assert!(end.contains(r#""messages":1"#) && end.contains(r#""ref":"q1""#), "{end}");
    let hit = bob.sees(r#""ref":"q1","#);
    assert!(
        hit.contains("the kettle sings") && hit.contains(r#""confidentiality":"sealed""#),
        "{hit}"
    );
    bob.types(r#"{"type":"slash","line":"/set search off"}"#);
    bob.sees("search off");
    bob.types(r#"{"type":"search","to":"@alice","text":"kettle","ref":"q2"}"#);
    let refused = bob.sees(r#""type":"refused""#);
    assert!(refused.contains(r#""ref":"q2""#) && refused.contains("unavailable"), "{refused}");
}
