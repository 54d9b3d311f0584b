//! The server begins another epoch while clients run, on the real binary: seqs of the former one
//! name other messages from then on.

mod world;

use world::World;

/// Messages are in memory only, so that each start of the server begins other logs.
const IN_MEMORY: &str = r#"{"retention": "off"}"#;

#[test]
fn a_message_of_a_former_log_is_changed_by_nobody_and_hides_nothing() {
    let world = World::configured(IN_MEMORY);
    let mut screen = world.sits_down("carol");
    screen.shows("connected");
    let mut bob = world.enters("bob");
    bob.types("meet at noon");
    screen.shows("bob: meet at noon");
    let mut mallory = world.enters_as("alice", "--json");
    mallory.sees(r#""type":"entered""#);
    let world = world.restarted();
    // All three are back, and the seqs begin again.
    bob.sees("back");
    screen.shows("log begins again here");
    mallory.sees(r##""after":"0","origin":"client","to":"#lobby","type":"renumbered""##);
    mallory.types(r##"{"type":"say","to":"#lobby","text":"a first line"}"##);
    screen.shows("alice: a first line");
    mallory.types(r##"{"type":"edit","to":"#lobby","of":"1","text":"forged"}"##);
    screen.shows("alice: forged (edited)");
    screen.shows("bob: meet at noon");
    // Their seqs are below those on the screen. They are shown nevertheless.
    for text in ["alpha", "beta", "gamma"] {
        bob.types(text);
        screen.shows(&format!("bob: {text}"));
    }
    screen.types("/exit\r");
    screen.ends_with(0);
    drop(world);
}

#[test]
fn the_last_own_message_is_none_of_a_former_log() {
    let world = World::configured(IN_MEMORY);
    let mut bob = world.enters("bob");
    let alice = world.enters("alice");
    for text in ["an old line", "another old line"] {
        bob.types(text);
        alice.sees(&format!("bob: {text}"));
    }
    let world = world.restarted();
    bob.sees("back");
    alice.sees("back");
    bob.types("/edit another text");
    bob.sees("=!=");
    // The control: a message of this log.
    bob.types("a new lien");
    alice.sees("bob: a new lien");
    bob.types("/edit a new line");
    alice.sees("a new line");
    assert_eq!(alice.seen("another text"), 0, "{:?}", alice.shown());
    drop(world);
}

#[test]
fn a_copied_id_hides_no_message_of_somebody_else() {
    let world = World::new();
    // carol has been in both rooms.
    let mut carol = world.enters_as("carol", "--json");
    carol.types(r##"{"type":"join","channel":"#tea"}"##);
    carol.sees(r##""channel":"#tea""##);
    carol.hangs_up();
    carol.ends();
    let mut bob = world.enters_as("bob", "--json");
    let mut alice = world.enters_as("alice", "--json");
    for one in [&mut bob, &mut alice] {
        one.types(r##"{"type":"join","channel":"#tea"}"##);
        one.sees(r##""channel":"#tea""##);
    }
    let id = "0123456789abcdef0123456789abcdef";
    bob.types(&format!(r##"{{"type":"say","to":"#tea","id":"{id}","text":"the kettle is on"}}"##));
    alice.sees("the kettle is on");
    alice.types(&format!(r##"{{"type":"say","to":"#lobby","id":"{id}","text":"no kettle"}}"##));
    alice.sees(r##""text":"no kettle""##);
    // #lobby comes first.
    let mut carol = world.client("carol", &["--json"]);
    carol.sees("no kettle");
    carol.types(r##"{"type":"join","channel":"#tea"}"##);
    carol.sees("the kettle is on");
    assert_eq!((carol.seen("no kettle"), carol.seen("the kettle is on")), (1, 1));
}
