//! Unread messages: they are counted, marked and reached, however many there are, on the real
//! binary.

mod world;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;
use world::pty::Terminal;
use world::way::{Flow, Link};
use world::{Program, World};

const FAST: &str = r#"{"messages_burst": 100000, "messages_per_s": 1e6, "bytes_per_s": 1e9,
    "mailbox_messages_max": 4000}"#;

/// A `--plain` client says numbered lines, and waits until they are stored.
#[track_caller]
fn says(who: &mut Program, before: &str, numbers: RangeInclusive<u32>) {
    let last = *numbers.end();
    numbers.for_each(|number| who.types(&format!("{before}{number}.")));
    let said = before.rsplit(' ').nth(1).unwrap_or(before);
    who.shows("the last own line", |lines| {
        let end = format!("{said} {last}.");
        lines.iter().rev().take(50).any(|line| line.contains("You") && line.contains(&end))
    });
}

#[track_caller]
fn leaves(alice: &mut Terminal) {
    alice.types("/exit\r");
    alice.ends_with(0);
}

/// A program loads all messages of a conversation before a seq: an answer is bounded.
#[track_caller]
fn loads_all_before(client: &mut Program, to: &str, upto: usize) {
    let mut loaded = BTreeSet::new();
    for page in 1.. {
        let (reference, before) = (format!("{to} {page}"), loaded.first().unwrap_or(&upto));
        client.types(&format!(
            r#"{{"type":"history","to":"{to}","before":"{before}","messages":200,"ref":"{reference}"}}"#
        ));
        client.shows("the older messages", |lines| {
            let ends = |line: &String| line.contains(&reference) && line.contains(r#""history""#);
            lines.iter().any(ends)
        });
        let messages = client.objects("message");
        let messages = messages.iter().filter(|message| message["ref"] == *reference);
        let seqs = messages.map(|message| message["seq"].as_str().unwrap().parse().unwrap());
        let seqs: BTreeSet<usize> = seqs.collect();
        assert!(!seqs.is_empty(), "{to}: {loaded:?}");
        loaded.extend(seqs);
        if loaded.first() == Some(&1) {
            break;
        }
    }
    assert_eq!(loaded, (1..upto).collect(), "{to}");
}

/// The divider, and this line below it.
#[track_caller]
fn shows_divided(alice: &Terminal, line: &str) {
    alice.shows_all(|rows| {
        let divided = |two: &[String]| two[0].contains("-- new --") && two[1].contains(line);
        rows.windows(2).any(divided)
    });
}

/// The row of a room in the list of rooms, without the columns beside it.
fn room(row: &str) -> &str {
    row.split('│').next().unwrap_or_default().trim_end()
}

#[test]
fn more_unread_messages_than_are_loaded_are_counted_and_reached() {
    let world = World::with(FAST);
    let mut bob = world.enters("bob");
    let mut alice = world.sits_down("alice");
    bob.types("read before");
    alice.shows("bob: read before");
    alice.types("/join tea\r");
    alice.shows_row(|row| row.starts_with("#tea"));
    bob.types("/join tea");
    bob.sees("you are in #tea");
    bob.types("tea before");
    alice.shows("bob: tea before");
    alice.types("\x1b1");
    alice.shows_row(|row| row.starts_with("#lobby"));
    leaves(&mut alice);
    says(&mut bob, "tea ", 1..=700);
    bob.types("/query #lobby");
    says(&mut bob, "line ", 1..=1500);

    let mut alice = Terminal::run(&world.screen_of("alice"));
    alice.shows("bob: line 1500.");
    alice.shows("1500 new, the first above: Alt-U");
    alice.shows_row(|row| room(row) == "2 #tea 700");
    alice.types("\x1bu");
    shows_divided(&alice, "bob: line 1.");
    alice.types("\x1b[1;3F");
    alice.shows("bob: line 1500.");
    alice.types("\x1b2");
    alice.shows("700 new, the first above: Alt-U");
    alice.types("\x1bu");
    shows_divided(&alice, "bob: tea 1.");
    leaves(&mut alice);

    // All of it is read now.
    let mut again = Terminal::run(&world.screen_of("alice"));
    again.shows("* connected");
    again.shows("bob: line 1500.");
    again.types("\x1bu");
    again.shows("nothing is new here");
    assert!(!again.screen().contains("#tea 7"), "{}", again.screen());
}

#[test]
fn more_messages_than_are_loaded_after_a_cut_are_counted_and_reached() {
    let world = World::with(FAST);
    let mut bob = world.enters("bob");
    world.admit("alice");
    let link = Link::to(&world.address);
    let mut command = world.program("alice");
    command.args(["client", &world.invite.replace(&world.address, &link.address)]);
    command.args(["--name", "alice"]);
    let mut alice = Terminal::run(&command);
    alice.shows("* connected");
    bob.types("before");
    alice.shows("bob: before");
    link.set(Flow::Ends);
    alice.shows("o offline, retry in");
    says(&mut bob, "line ", 1..=700);
    link.set(Flow::Passes);
    alice.types("/reconnect\r");
    alice.shows("* back, 700 missed messages, 500 loaded");
    alice.shows("700 new, the first above: Alt-U");
    alice.types("\x1bu");
    shows_divided(&alice, "bob: line 1.");
}

#[test]
fn at_the_first_visit_what_is_not_loaded_is_counted_and_can_be_loaded() {
    let world = World::with(FAST);
    let mut bob = world.enters("bob");
    let carol = world.enters("carol");
    world.admit("alice");
    bob.types("/join tea");
    bob.sees("you are in #tea");
    says(&mut bob, "tea ", 1..=300);
    bob.types("/query alice");
    says(&mut bob, "psst ", 1..=300);

    let mut alice = world.client("alice", &["--json", "--join", "#tea"]);
    let unread = alice.sees(r#""type":"unread""#);
    let unread: Value = serde_json::from_str(&unread).unwrap();
    assert_eq!((&unread["to"], &unread["messages"]), (&"@bob".into(), &300.into()));
    alice.sees("tea 300.");
    alice.sees("psst 300.");
    let gaps = alice.objects("gap");
    let gap = |to: &str| gaps.iter().find(|gap| gap["to"] == to).unwrap().clone();
    for to in ["#tea", "@bob"] {
        let gap = gap(to);
        assert_eq!((&gap["from_seq"], &gap["to_seq"]), (&"1".into(), &"200".into()), "{gap}");
        assert_eq!(gap["stored"], true);
        loads_all_before(&mut alice, to, 201);
    }
    // A channel that nobody of this account has visited is not unread.
    assert_eq!(alice.objects("unread").len(), 1);
    alice.types(r#"{"type":"quit"}"#);
    alice.ends();

    // The same for somebody at the full screen, who has read nothing yet.
    bob.types("/query carol");
    drop(carol);
    world.admit("dave");
    bob.types("/query dave");
    says(&mut bob, "hist ", 1..=300);
    let mut dave = Terminal::run(&world.screen_of("dave"));
    dave.shows_row(|row| room(row) == "2 @bob 300!");
    dave.types("\x1b2");
    dave.shows("300 new, the first above: Alt-U");
    dave.types("\x1bu");
    shows_divided(&dave, "bob: hist 1.");
    dave.types("/join tea\r");
    dave.shows("200 older messages of #tea: PageUp");
    dave.shows("bob: tea 300.");
    world.until("the first message is loaded and shown", || {
        dave.types("\x1b[1;3H");
        dave.screen().contains("bob: tea 1.")
    });
}

#[test]
fn a_channel_that_was_empty_at_the_last_visit_is_unread() {
    let world = World::with(FAST);
    let mut bob = world.enters("bob");
    let mut alice = world.sits_down("alice");
    alice.types("/join tea\r");
    bob.types("/join tea");
    bob.sees("you are in #tea");
    // The title changes before the answer; the people are part of it.
    alice.shows_row(|row| row.starts_with("#tea") && row.ends_with("2 online"));
    alice.types("\x1b1");
    alice.shows_row(|row| row.starts_with("#lobby"));
    leaves(&mut alice);
    says(&mut bob, "tea ", 1..=600);
    let mut alice = Terminal::run(&world.screen_of("alice"));
    alice.shows_row(|row| room(row) == "2 #tea 600");
    alice.types("\x1b2\x1bu");
    shows_divided(&alice, "bob: tea 1.");
}

#[test]
fn own_messages_of_jobs_and_other_devices_are_not_unread() {
    let world = World::with(FAST);
    let mut bob = world.enters("bob");
    let mut alice = world.sits_down("alice");
    for (room, title) in [("tea", "#tea"), ("work", "#work")] {
        bob.types(&format!("/join {room}"));
        bob.sees(&format!("you are in {title}"));
        bob.types(&format!("{room} before"));
        alice.types(&format!("/join {room}\r"));
        alice.shows(&format!("bob: {room} before"));
    }
    alice.types("\x1b1");
    alice.shows_row(|row| row.starts_with("#lobby"));
    leaves(&mut alice);
    for to in ["#tea", "#work", "#lobby", "bob"] {
        for number in 1..=3 {
            let args = ["--send", &format!("mine {number}"), "--to", to];
            assert_eq!(world.client("alice", &args).ends().code(), Some(0), "{to}");
        }
    }
    world.admit("alice.phone");
    let mut phone = world.client("alice.phone", &["--json", "--join", "#tea"]);
    phone.sees(r##""channel":"#tea""##);
    phone.types(r##"{"type":"say","to":"#tea","text":"from the phone"}"##);
    phone.sees(r#""type":"ack""#);
    phone.types(r#"{"type":"quit"}"#);
    phone.ends();
    says(&mut bob, "after ", 1..=2);

    let alice = Terminal::run(&world.screen_of("alice"));
    alice.shows_row(|row| room(row) == "3 #work 2");
    alice.shows_row(|row| room(row) == "2 #tea");
    alice.shows("You: mine 3");
    assert!(!alice.screen().contains("-- new --"), "{}", alice.screen());
    let rooms: Vec<_> = alice.rows().iter().map(|row| room(row).to_owned()).collect();
    assert!(rooms.iter().any(|row| row == "4 @bob"), "{rooms:#?}");
    drop(alice);
    // Programs get the same number.
    let program = world.client("alice", &["--json", "--join", "#tea", "--join", "#work"]);
    program.sees(r#""type":"unread""#);
    let unread = program.objects("unread");
    let counts: Vec<_> = unread.iter().map(|one| (&one["to"], &one["messages"])).collect();
    assert_eq!(counts, [(&"#work".into(), &2.into())]);
}

#[test]
fn ignored_users_are_hidden_in_history_and_counts() {
    let world = World::with(FAST);
    let mut bob = world.enters("bob");
    let mut carol = world.enters("carol");
    let mut alice = world.sits_down("alice");
    for who in [&mut bob, &mut carol] {
        who.types("/join tea");
        who.sees("you are in #tea");
    }
    alice.types("/join tea\r");
    alice.shows_row(|row| row.starts_with("#tea"));
    says(&mut bob, "noise ", 1..=3);
    carol.types("the start");
    alice.shows("carol: the start");
    alice.types("/ignore bob\r");
    alice.shows("bob is ignored");
    alice.types("\x1b1");
    alice.shows_row(|row| row.starts_with("#lobby"));
    leaves(&mut alice);
    says(&mut bob, "noise ", 4..=9);
    says(&mut carol, "word ", 1..=2);
    says(&mut bob, "noise ", 10..=12);

    let mut alice = Terminal::run(&world.screen_of("alice"));
    alice.shows_row(|row| room(row) == "2 #tea 2");
    alice.types("\x1b2");
    // What was there before is loaded from the history.
    alice.shows("carol: the start");
    shows_divided(&alice, "carol: word 1.");
    assert!(!alice.screen().contains("noise"), "{}", alice.screen());
    alice.types("/search noise\r");
    alice.shows("search: ");
    assert!(!alice.screen().contains("bob: noise"), "{}", alice.screen());
    // The control: they are there.
    alice.types("\x1b/ignore bob\r");
    alice.shows("is shown again");
    alice.types("/history\r");
    alice.shows("bob: noise 12.");
}

#[test]
fn mentions_keep_their_sign_over_a_restart() {
    let world = World::with(FAST);
    let mut bob = world.enters("bob");
    let mut alice = world.sits_down("alice");
    for (room, title) in [("tea", "#tea"), ("work 4711", "#work")] {
        bob.types(&format!("/join {room}"));
        bob.sees(&format!("you are in {title}"));
        alice.types(&format!("/join {room}\r"));
        alice.shows_row(|row| row.starts_with(title));
    }
    alice.types("\x1b1");
    alice.shows_row(|row| row.starts_with("#lobby"));
    bob.types("work, alice!");
    bob.types("/query #tea");
    bob.types("alice: a question");
    bob.types("and more");
    bob.types("/pm alice psst");
    let rooms = |alice: &Terminal| {
        alice.shows_row(|row| room(row) == "2 #tea 1!");
        alice.shows_row(|row| room(row).starts_with("3 #work") && room(row).ends_with(" 1!"));
        alice.shows_row(|row| room(row) == "4 @bob 1!");
    };
    rooms(&alice);
    leaves(&mut alice);
    // One of them is behind all that is loaded at the start.
    says(&mut bob, "line ", 1..=1_300);
    let mut alice = Terminal::run(&world.screen_of("alice"));
    rooms(&alice);
    alice.types("\x1b2");
    alice.shows("bob: line 1300.");
    alice.types("\x1b1");
    alice.shows_row(|row| room(row) == "2 #tea");
}
