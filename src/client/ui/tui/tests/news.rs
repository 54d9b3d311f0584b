//! Unread messages that are not loaded: the divider, the hint, and Alt-U.

use insta::assert_snapshot;
use ratatui::style::Style;

use super::super::window::Older;
use super::*;
use crate::chat::Seq;

fn line(seq: u64) -> Value {
    json!({"type": "message", "seq": seq.to_string(), "to": "#lobby", "from": "bob",
        "device": "main", "id": format!("{seq:032x}"), "time_ms": NOON_MS, "text": format!("line {seq}.")})
}

fn count(desk: &mut Desk, to: &str, span: (u64, u64), messages: u64) {
    let (after, upto) = (Seq(span.0), Seq(span.1));
    desk.app.show(Output::Unread { to: to.parse().unwrap(), after, upto, messages });
}

/// The last requests for older messages: `before`, and how many.
fn asked(desk: &mut Desk) -> Vec<(String, u64)> {
    desk.fetches();
    let asks = desk.effects().into_iter().filter(|effect| effect.contains("\"history\""));
    let ask = |effect: String| {
        let ask: Value = serde_json::from_str(&effect).unwrap();
        (ask["before"].as_str().unwrap_or_default().to_owned(), ask["messages"].as_u64().unwrap())
    };
    asks.map(ask).collect()
}

/// The answer to a request for older messages.
fn loads(desk: &mut Desk, seqs: std::ops::RangeInclusive<u64>, more: bool) {
    let lines = seqs.clone().count();
    for seq in seqs {
        let mut line = line(seq);
        line["ref"] = "older #lobby".into();
        desk.hears(line);
    }
    desk.hears(json!({"type": "history", "to": "#lobby", "messages": lines, "more": more,
        "ref": "older #lobby"}));
}

/// Back after 700 messages, of which 500 come.
fn back() -> Desk {
    let mut desk = Desk::new(100, 20);
    (1..=5).for_each(|seq| desk.hears(line(seq)));
    desk.app.show(Output::State(State::Offline { retry_ms: 1_000 }));
    desk.app.show(Output::State(State::Connected { name: "alice".parse().unwrap() }));
    desk.app.show(Output::Back);
    desk.app.show(Output::Conversation {
        to: "#lobby".parse().unwrap(),
        last: Seq(705),
        read: Seq(5),
    });
    desk.hears(
        json!({"type": "entered", "channel": "#lobby", "epoch": "00000000000000ab", "last": "705",
        "read": "5", "retention": "forever", "people": ["alice", "bob"]}),
    );
    desk.effects();
    desk
}

fn missed(desk: &mut Desk) {
    desk.hears(
        json!({"type": "gap", "to": "#lobby", "from_seq": "6", "to_seq": "205", "stored": true}),
    );
    for seq in 206..=705 {
        let mut line = line(seq);
        line["replay"] = true.into();
        desk.hears(line);
    }
}

#[test]
fn alt_u_loads_up_to_the_first_unread_message() {
    let mut desk = back();
    missed(&mut desk);
    count(&mut desk, "#lobby", (5, 705), 700);
    assert!(
        desk.lines()
            .contains("back, 700 missed messages, 500 loaded | 700 new, the first above: Alt-U"),
        "{}",
        desk.picture()
    );
    assert!(!desk.lines().contains("- new -"), "the first one is not here");
    assert_eq!(asked(&mut desk), [], "nothing is loaded that nobody asks for");
    desk.presses("alt-u");
    assert_eq!(asked(&mut desk), [("206".to_owned(), 1_000)]);
    assert!(desk.lines().contains("being loaded"), "{}", desk.picture());
    loads(&mut desk, 100..=205, true);
    assert_eq!(asked(&mut desk), [("100".to_owned(), 1_000)], "as long as it takes");
    loads(&mut desk, 3..=99, true);
    // Enough; those above the picture are asked for as always.
    assert_eq!(asked(&mut desk), [("3".to_owned(), 200)]);
    let rows = desk.rows();
    let at = rows.iter().position(|row| row.contains("- new -")).unwrap();
    assert!(rows[at - 1].contains("line 5.") && rows[at + 1].contains("line 6."), "{rows:#?}");
    desk.presses("alt-end");
    assert!(!desk.lines().contains("the first above"), "they were there: {}", desk.picture());
}

#[test]
fn scrolling_cancels_the_jump_to_the_first_unread_message() {
    for keys in ["alt-end", "pageup"] {
        let mut desk = back();
        missed(&mut desk);
        count(&mut desk, "#lobby", (5, 705), 700);
        desk.presses("alt-u");
        desk.presses(keys);
        desk.effects();
        loads(&mut desk, 100..=205, true);
        assert_eq!(asked(&mut desk), [], "{keys}");
        assert!(!desk.lines().contains("- new -"), "{}", desk.picture());
    }
}

#[test]
fn a_gap_below_a_reader_is_filled_in_and_the_reader_stays() {
    let mut desk = back();
    // Somebody reads above when the messages come.
    desk.app.reader.windows[0].at = super::super::window::At::Line { number: 2, rows_below: 0 };
    missed(&mut desk);
    count(&mut desk, "#lobby", (5, 705), 700);
    assert!(
        desk.lines().contains("line 3.") && !desk.lines().contains("line 4."),
        "{}",
        desk.picture()
    );
    assert!(!desk.lines().contains("the first above"), "it is below: {}", desk.picture());
    // The view begins with the first message, before which the screen asks by itself.
    loads(&mut desk, 1..=1, true);
    desk.effects();
    desk.presses("alt-u");
    assert_eq!(asked(&mut desk), [("206".to_owned(), 1_000)], "what is missing between");
    loads(&mut desk, 150..=205, true);
    assert_eq!(asked(&mut desk), [("150".to_owned(), 1_000)]);
    loads(&mut desk, 2..=149, true);
    assert_eq!(asked(&mut desk), [("1".to_owned(), 200)], "above the picture");
    let rows = desk.rows();
    let at = rows.iter().position(|row| row.contains("- new -")).unwrap();
    assert!(rows[at + 1].contains("line 6."), "{rows:#?}");
    let window = desk.app.reader.window();
    let seqs: Vec<u64> = window.lines.iter().filter_map(|line| line.seq).map(|seq| seq.0).collect();
    assert_eq!(seqs, (1..=705).collect::<Vec<_>>());
}

#[test]
fn only_messages_of_others_are_divided_and_counted() {
    let mut desk = Desk::new(100, 20);
    desk.enters("#tea", 9, 5, &["alice", "bob"]);
    count(&mut desk, "#tea", (5, 9), 0);
    assert_eq!(desk.app.reader.windows[1].unread, 0);
    desk.presses("alt-2");
    let own = |seq: u64, from: &str| {
        let mut line = line(seq);
        (line["to"], line["from"], line["replay"]) = ("#tea".into(), from.into(), true.into());
        line
    };
    (6..=9).for_each(|seq| desk.hears(own(seq, "alice")));
    assert!(!desk.lines().contains("- new -"), "{}", desk.picture());
    desk.presses("alt-u");
    assert!(desk.lines().contains("nothing is new here"), "{}", desk.picture());
    // The divider stands before the first one of somebody else.
    desk.presses("alt-1");
    desk.enters("#tea", 12, 9, &["alice", "bob"]);
    count(&mut desk, "#tea", (9, 12), 2);
    desk.hears(own(10, "alice"));
    desk.hears(own(11, "bob"));
    desk.hears(own(12, "bob"));
    assert!(desk.lines().contains("2 #tea 2"), "{}", desk.picture());
    desk.presses("alt-2");
    let rows = desk.rows();
    let at = rows.iter().position(|row| row.contains("- new -")).unwrap();
    assert!(rows[at + 1].contains("bob: line 11."), "{rows:#?}");
}

#[test]
fn rooms_with_unread_messages_are_searched_for_mentions_one_request_at_a_time() {
    let mut desk = Desk::new(100, 20);
    let end = json!({"type": "history", "to": "#lobby", "messages": 0, "more": false, "ref": "older #lobby"});
    desk.hears(end);
    let rooms = ["#tea", "#work"];
    for room in rooms {
        desk.enters(room, 9, 5, &["alice", "bob"]);
    }
    desk.effects();
    rooms.iter().for_each(|room| count(&mut desk, room, (5, 9), 4));
    let answer = |desk: &mut Desk, room: &str| {
        let mut line = line(7);
        (line["to"], line["text"]) = (room.into(), "Alice, look".into());
        line["ref"] = format!("older {room}").into();
        desk.hears(line);
        desk.hears(json!({"type": "history", "to": room, "messages": 1, "more": true, "ref": format!("older {room}")}));
    };
    assert_eq!(asked(&mut desk).len(), 1);
    answer(&mut desk, "#tea");
    assert!(desk.lines().contains("2 #tea 1!"), "{}", desk.picture());
    // Then older ones of the same room: the first unread one is not here yet.
    assert_eq!(asked(&mut desk), [("7".to_owned(), 1_000)]);
    desk.hears(
        json!({"type": "history", "to": "#tea", "messages": 0, "more": false, "ref": "older #tea"}),
    );
    assert_eq!(asked(&mut desk).len(), 1);
    answer(&mut desk, "#work");
    assert!(desk.lines().contains("3 #work 1!"), "{}", desk.picture());
}

/// Requests for older messages of a room within ten seconds, where a server answers each of them
/// at once, and each answer has an older message.
fn asks_in_ten_seconds(mut then: impl FnMut(&mut Desk)) -> usize {
    let mut desk = Desk::new(100, 20);
    desk.hears(json!({"type": "history", "to": "#lobby", "messages": 0, "more": false,
        "ref": "older #lobby"}));
    desk.enters("#tea", 5_000, 5, &["alice", "bob"]);
    count(&mut desk, "#tea", (5, 5_000), 4_995);
    desk.effects();
    let (mut asks, mut seq) = (0, 5_001);
    for _ in 0..1_000 {
        desk.draws();
        let until_next = desk.app.reader.next_change_ms();
        let sent = desk.effects().iter().filter(|effect| effect.contains("\"history\"")).count();
        assert!(sent > 0 || until_next.is_some_and(|ms| ms <= 334), "{until_next:?}");
        for _ in 0..sent {
            seq -= 1;
            let mut line = line(seq);
            (line["to"], line["ref"]) = ("#tea".into(), "older #tea".into());
            desk.hears(line);
            desk.hears(json!({"type": "history", "to": "#tea", "messages": 1, "more": true,
                "ref": "older #tea"}));
            then(&mut desk);
        }
        asks += sent;
        desk.waits(10);
    }
    asks
}

#[test]
fn a_server_that_always_has_more_is_asked_three_times_a_second() {
    // The time passes in steps of 10 ms.
    let paced = 28..=30;
    let asks = asks_in_ten_seconds(|_| ());
    assert!(paced.contains(&asks), "{asks}");
    let opened = asks_in_ten_seconds(|desk| desk.presses("alt-2 alt-u"));
    assert!(paced.contains(&opened), "alice goes to the first unread message: {opened}");
    let gaps = asks_in_ten_seconds(|desk| {
        desk.hears(json!({"type": "gap", "to": "#tea", "from_seq": "6", "to_seq": "4000",
            "stored": true}));
        count(desk, "#tea", (5, 5_000), 4_995);
    });
    assert!(paced.contains(&gaps), "a gap after each answer: {gaps}");
    let connections = asks_in_ten_seconds(|desk| {
        desk.app.show(Output::State(State::Offline { retry_ms: 60_000 }));
        desk.app.show(Output::State(State::Connected { name: "alice".parse().unwrap() }));
        desk.enters("#tea", 5_000, 5, &["alice", "bob"]);
        count(desk, "#tea", (5, 5_000), 4_995);
    });
    assert!(paced.contains(&connections), "another connection after each answer: {connections}");
}

#[test]
fn somebody_new_is_welcomed_once_above_the_message_of_the_day() {
    let mut desk = Desk::new(80, 14);
    desk.app.reader.windows[0].clear(Older::None);
    desk.app.reader.welcome = Default::default();
    desk.hears(json!({"type": "welcome", "name": "alice", "device": "main", "version": "1",
        "text_bytes_max": 8192, "time_ms": 0, "motd": "tea at five"}));
    desk.enters("#lobby", 0, 0, &["alice"]);
    assert_snapshot!(desk.picture(), @"
    #lobby                             open: members and the operator read  1 online
                                                                        │people
                                                                        │* alice
                                                                        │o bob
                                                                        │o carol
    -- you are in, alice: this is #lobby, where everybody is. nobody    │
       else is here yet                                                 │
    -- what you type here is read by all users and by the operator. /pm │
       NAME TEXT is for one person, /create makes a sealed channel      │
    -- /help lists commands. To bring a friend, send them the invite    │
       that you used; pychat invite prints it on the server             │
    server| tea at five                                                 │
     * connected 12 ms                                                      F1 help
    alice>
    cursor 7,13
    ");
    desk.enters("#lobby", 0, 0, &["alice", "bob"]);
    assert_eq!(desk.picture().matches("you are in").count(), 1, "it is shown once");
    // A lobby with messages needs no welcome, unless the operator has just admitted the user.
    for admitted in [false, true] {
        let mut desk = Desk::new(80, 14);
        desk.app.reader.welcome = Default::default();
        if admitted {
            desk.app.show(Output::State(State::NotAdmitted { retry_ms: 1 }));
            desk.app.show(Output::State(State::Connected { name: "alice".parse().unwrap() }));
        }
        desk.enters("#lobby", 9, 9, &["alice", "bob", "carol"]);
        let wanted = "you are in, alice: this is #lobby, where everybody is. 3";
        assert_eq!(desk.picture().contains(wanted), admitted);
    }
}

#[test]
fn a_mention_keeps_the_senders_colour_and_marks_the_word() {
    let mut desk = Desk::new(80, 14);
    desk.says("bob", "#lobby", "hey Alice, see https://alice.example");
    desk.says("carol", "#lobby", "the kettle, don't");
    let look = desk.app.reader.look;
    let bob = look.name(&"bob".parse().unwrap()).fg;
    let styled = |desk: &mut Desk, style: Style| {
        let buffer = desk.draws();
        let is = |cell: &&Cell| Some(cell.fg) == style.fg && cell.modifier == style.add_modifier;
        buffer.content.iter().filter(is).map(Cell::symbol).collect::<String>()
    };
    assert_eq!(styled(&mut desk, look.mention), "Alice");
    let name = Style { fg: bob, ..Style::new().add_modifier(look.mention.add_modifier) };
    assert_eq!(styled(&mut desk, name), "bob");
    desk.enter("/highlight Kettle here");
    assert_eq!(styled(&mut desk, look.mention), "Alice", "earlier messages stay");
    desk.says("carol", "#lobby", "KETTLE!");
    assert_eq!(styled(&mut desk, look.mention), "AliceKETTLE");
    let told = desk.effects().iter().any(|effect| effect.contains("kettle"));
    assert!(!told, "the word stays on this side");
    desk.enter("/highlight kettle here");
    desk.says("carol", "#lobby", "kettle");
    assert_eq!(styled(&mut desk, look.mention), "Alice");
}

#[test]
fn names_end_in_one_column_if_the_user_wants_that() {
    let mut desk = Desk::new(80, 9);
    desk.enter("/set align on");
    desk.says("bob", "#lobby", "see");
    desk.says("alice", "#lobby", "yes");
    desk.says("a-person-of-a-long-name", "#lobby", &"words ".repeat(12));
    desk.says_as("carol", "#lobby", "waves", json!({"kind": "me"}));
    assert_snapshot!(desk.picture(), @"
    #lobby                             open: members and the operator read  3 online
    -- align on, bell on, mouse off, title off, notifications off       │people
    [14:03:00]          bob: see                                        │* alice
    [14:03:01]          You: yes                                        │* bob
    [14:03:02] a-person-of~: words words words words words words words  │* carol
                             words words words words words              │
    [14:03:03]            *  carol waves                                │
     * connected 12 ms                                                      F1 help
    alice>
    cursor 7,8
    ");
    desk.resizes(50, 9);
    assert!(desk.picture().contains("14:03 bob: see"), "not where there is no room");
}
