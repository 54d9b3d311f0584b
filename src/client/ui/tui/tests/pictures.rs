//! Snapshots of a room in each state.

use insta::assert_snapshot;
use serde_json::json;

use super::*;

/// A family's room.
fn family(width: u16, height: u16) -> Desk {
    let mut desk = Desk::new(width, height);
    desk.enters("#work", 0, 0, &["alice", "bob"]);
    desk.enters("#family", 1, 1, &["alice", "bob", "carol"]);
    desk.app.show(Output::Target("#family".parse().unwrap()));
    desk.hears(json!({"type": "topic", "to": "#family", "who": "bob", "text": "tea at five",
        "retention": "forever"}));
    desk.says("bob", "#family", "morning");
    desk.says("alice", "#family", "coffee?");
    desk.app.input(Told::FocusLost);
    desk.says("carol", "#family", "@alice look");
    for text in ["one", "two", "three"] {
        desk.says("bob", "#work", text);
    }
    desk.says("bob", "@alice", "psst");
    for (kind, who) in [("joined", "dave"), ("joined", "erin"), ("left", "carol")] {
        desk.hears(json!({"type": kind, "to": "#family", "who": who, "here": 4,
            "after_ms": 1}));
    }
    desk.types("half-typed text");
    desk
}

#[test]
fn three_panes_from_100_columns_on() {
    assert_snapshot!(family(100, 14).picture(), @"
    #family server| tea at five                            open: members and the operator read  4 online
    rooms            │                                                                      │people
    1 #lobby         │                                                                      │* alice
    2 #work 3        │                                                                      │* bob
    3 #family 1!     │                                                                      │* dave
    4 @bob 1!        │                                                                      │* erin
                     │server| bob set the topic of #family: tea at five                     │o carol
                     │[14:03:00] bob: morning                                               │
                     │[14:03:01] You: coffee?                                               │
                     │-------------------------------- new -------------------------------- │
                     │[14:03:02] carol: @alice look                                         │
                     │<> dave, erin joined, carol left                                      │
     * connected 12 ms | 2:#work 3  4:@bob 1!                                                   F1 help
    alice> half-typed text
    cursor 22,13
    ");
}

#[test]
fn two_panes_from_60_columns_on() {
    assert_snapshot!(family(80, 14).picture(), @"
    #family server| tea at five        open: members and the operator read  4 online
                                                                        │people
                                                                        │* alice
                                                                        │* bob
                                                                        │* dave
                                                                        │* erin
    server| bob set the topic of #family: tea at five                   │o carol
    [14:03:00] bob: morning                                             │
    [14:03:01] You: coffee?                                             │
    ------------------------------- new ------------------------------- │
    [14:03:02] carol: @alice look                                       │
    <> dave, erin joined, carol left                                    │
     * connected 12 ms | 1:#lobby  2:#work 3  3:#family 1!  4:@bob 1!       F1 help
    alice> half-typed text
    cursor 22,13
    ");
}

#[test]
fn no_panes_on_a_phone() {
    assert_snapshot!(family(40, 14).picture(), @"
    #family server| tea at f~ open  4 online




    server| bob set the topic of #family:
    server| tea at five
    14:03 bob: morning
    14:03 You: coffee?
    ----------------- new -----------------
    14:03 carol: @alice look
    <> dave, erin joined, carol left
     * 12 ms | 2:#work 3  4:@bob 1!      F1
    alice> half-typed text
    cursor 22,13
    ");
}

#[test]
fn lines_at_200_columns() {
    let mut desk = family(200, 8);
    desk.says("bob", "#family", &"so much to tell ".repeat(16));
    assert_snapshot!(desk.picture(), @"
    #family server| tea at five                                                                                                                                open: members and the operator read  4 online
    rooms            │---------------------------------------------------------------------------------- new ---------------------------------------------------------------------------------- │people
    1 #lobby         │[14:03:02] carol: @alice look                                                                                                                                             │* alice
    2 #work 3        │<> dave, erin joined, carol left                                                                                                                                          │* bob
    3 #family 1!     │[14:03:07] bob: so much to tell so much to tell so much to tell so much to tell so much to tell so much to tell so much to tell so much to tell so much to tell so much   │* dave
    4 @bob 1!        │           to tell so much to tell so much to tell so much to tell so much to tell so much to tell so much to tell                                                        │and 2 more
     * connected 12 ms | 2:#work 3  4:@bob 1!                                                                                                                                                       F1 help
    alice> half-typed text
    cursor 22,7
    ");
}

#[test]
fn every_kind_of_message_and_mark() {
    let mut desk = Desk::new(60, 18);
    desk.hears(json!({"type": "notice", "text": "welcome home"}));
    desk.says_as("bob", "#lobby", "waves", json!({"kind": "me"}));
    desk.says("bob", "#lobby", "tea");
    desk.says_as("bob", "#lobby", "coffee", json!({"kind": "edit", "of": "2"}));
    desk.says("bob", "#lobby", "a slip");
    desk.says_as("bob", "#lobby", "", json!({"kind": "delete", "of": "4"}));
    desk.says("alice", "#lobby", "of one's own");
    desk.says("bob", "#lobby", "several\n  lines\n\tof a poem");
    desk.sends(1, "#lobby", "on its way");
    desk.sends(2, "#lobby", "too fast");
    desk.hears(json!({"type": "refused", "code": "rate", "hint": "wait 2 s",
        "id": "02020202020202020202020202020202"}));
    desk.app.show(Output::Error("there is no /jion: did you mean /join?".into()));
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
                                                    │people
                                                    │* alice
                                                    │* bob
    server| welcome home                            │* carol
    [14:03:00] * bob waves                          │
    [14:03:01] bob: coffee (edited)                 │
    [14:03:03] bob: (deleted)                       │
    [14:03:05] You: of one's own                    │
    [14:03:06] bob: several                         │
                 lines                              │
                   of a poem                        │
    [14:03:07] You: on its way ...                  │
    [14:03:07] You: too fast  x not sent, /retry    │
    server| not sent: wait 2 s                      │
    =!= there is no /jion: did you mean /join?      │
     * connected 12 ms                                  F1 help
    alice>
    cursor 7,17
    ");
    // The stored message comes from the server, in its place.
    desk.says("alice", "#lobby", "on its way");
    desk.app.show(Output::Ack {
        id: MsgId([1; 16]),
        to: "#lobby".parse().unwrap(),
        seq: crate::chat::Seq(8),
    });
    let lines = desk.lines();
    assert!(lines.contains("You: on its way  ") && !lines.contains("on its way ..."), "{lines}");
    assert!(lines.contains("You: too fast  x not sent"), "{lines}");
}

#[test]
fn a_date_and_folded_joins_and_parts() {
    let mut desk = Desk::new(60, 9);
    desk.says("bob", "#lobby", "good night");
    desk.waits(11 * 3_600_000);
    desk.says("carol", "#lobby", "good morning");
    let moves = |desk: &mut Desk, kind: &str, who: &str| {
        desk.hears(json!({"type": kind, "to": "#lobby", "who": who, "here": 4, "after_ms": 1}));
    };
    moves(&mut desk, "joined", "dave");
    moves(&mut desk, "joined", "erin");
    moves(&mut desk, "left", "carol");
    // A user who joins and leaves again in between is not mentioned.
    moves(&mut desk, "joined", "frank");
    moves(&mut desk, "left", "frank");
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  4 online
                                                    │people
    -- Wed 25 Nov 2026 --                           │* alice
    [14:03:00] bob: good night                      │* bob
    -- Thu 26 Nov 2026 --                           │* dave
    [01:03:01] carol: good morning                  │* erin
    <> dave, erin joined, carol left                │and 2 more
     * connected 12 ms                                  F1 help
    alice>
    cursor 7,8
    ");
    // A user who was silent for five minutes leaves without a notice.
    desk.waits(5 * 60_000);
    moves(&mut desk, "left", "dave");
    let picture = desk.picture();
    assert!(picture.contains("<> dave, erin joined, carol left"), "{picture}");
    assert!(!desk.app.reader.windows[0].people[&"dave".parse().unwrap()].here);
}

#[test]
fn states_of_the_connection() {
    let mut desk = Desk::new(80, 5);
    let status = |desk: &mut Desk, state: State| {
        desk.app.show(Output::State(state));
        desk.rows()[3].clone()
    };
    let mut seen = vec![status(&mut desk, State::Connecting)];
    seen.push(status(&mut desk, State::Offline { retry_ms: 4_000 }));
    desk.waits(1_500);
    seen.push(desk.rows()[3].clone());
    seen.push(status(&mut desk, State::Connecting));
    seen.push(status(&mut desk, State::Connected { name: "alice".parse().unwrap() }));
    desk.app.show(Output::Back);
    for text in ["one", "two", "three"] {
        desk.says_as("bob", "#lobby", text, json!({"replay": true}));
    }
    seen.push(desk.rows()[3].clone());
    desk.waits(10_000);
    desk.app.show(Output::Latency(7));
    seen.push(desk.rows()[3].clone());
    seen.push(status(&mut desk, State::Refused { code: crate::chat::Code::Forbidden }));
    assert_snapshot!(seen.join("\n"), @"
    o connecting                                                           F1 help
    o offline, retry in 4s (/reconnect: now)                               F1 help
    o offline, retry in 3s (/reconnect: now)                               F1 help
    o connecting                                                           F1 help
    * connected                                                            F1 help
    * back, 3 missed messages loaded                                       F1 help
    * connected 7 ms                                                       F1 help
    o refused                                                              F1 help
    ");
}

#[test]
fn a_scrolled_view_stays_and_counts_newer_messages() {
    let mut desk = Desk::new(60, 8);
    for number in 1..=30 {
        desk.says("bob", "#lobby", &format!("line {number}"));
    }
    desk.presses("pageup pageup");
    let before = desk.rows();
    desk.says("bob", "#lobby", "line 31");
    desk.says("carol", "#lobby", "line 32, alice");
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
    [14:03:19] bob: line 20                         │people
    [14:03:20] bob: line 21                         │* alice
    [14:03:21] bob: line 22                         │* bob
    [14:03:22] bob: line 23                         │* carol
    [14:03:23] bob: line 24                         │
     * connected 12 ms | 2 new below: Alt-End           F1 help
    alice>
    cursor 7,7
    ");
    assert_eq!(desk.rows()[1..6], before[1..6]);
}

#[test]
fn a_private_conversation() {
    let mut desk = Desk::new(100, 7);
    desk.says("bob", "@alice", "bring the good one");
    desk.presses("alt-a");
    desk.says("alice", "@bob", "I will");
    assert_snapshot!(desk.picture(), @"
    @bob                                                                 🔒 sealed: you two read  online
    rooms            │                                                                      │people
    1 #lobby         │                                                                      │* alice
    2 @bob           │[14:03:00] bob: bring the good one                                    │* bob
                     │[14:03:01] You: I will                                                │
     * connected 12 ms                                                                          F1 help
    alice>
    cursor 7,6
    ");
}

#[test]
fn wide_joined_and_right_to_left_characters_stay_in_their_cells() {
    let mut desk = Desk::new(60, 12);
    desk.says("bob", "#lobby", "漢字かな交じり文と한국어が並ぶ長い行はここで折り返される");
    desk.says(
        "bob",
        "#lobby",
        "e\u{301}cole n\u{303}u 👍 🇩🇪 ☎ ❤\u{fe0f} 👨\u{200d}👩\u{200d}👧 done",
    );
    desk.says("carol", "#lobby", "שלום עולם, مرحبا بالعالم");
    desk.types("漢字 👍 ع");
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
                                                    │people
                                                    │* alice
                                                    │* bob
                                                    │* carol
                                                    │
    [14:03:00] bob: 漢字かな交じり文と한국어が並ぶ  │
               長い行はここで折り返される           │
    [14:03:01] bob: école ñu 👍 🇩🇪 ☎ ❤️ 👨‍👩‍👧 done     │
    [14:03:02] carol: שלום עולם, مرحبا بالعالم      │
     * connected 12 ms                                  F1 help
    alice> 漢字 👍 ع
    cursor 16,11
    ");
}

#[test]
fn the_input_grows_to_six_rows() {
    let mut desk = Desk::new(60, 12);
    desk.says("bob", "#lobby", "tell me");
    for line in 1..=8 {
        desk.types(&format!("line {line}"));
        desk.presses(if line % 2 == 0 { "alt-enter" } else { "ctrl-j" });
    }
    desk.types("and the last");
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
                                                    │people
                                                    │* alice
                                                    │* bob
    [14:03:00] bob: tell me                         │* carol
     * connected 12 ms                                  F1 help
    alice> line 4
           line 5
           line 6
           line 7
           line 8
           and the last
    cursor 19,11
    ");
    desk.presses("up up up up up up up up");
    assert!(desk.rows()[6].ends_with("line 1"), "{}", desk.picture());
    desk.presses("ctrl-c");
    assert_eq!(desk.rows()[11], "alice>");
}

#[test]
fn a_long_typed_line_wraps() {
    let mut desk = Desk::new(40, 10);
    desk.types("a long thought that wants more than one row of a phone");
    assert_snapshot!(desk.picture(), @"
    #lobby                    open  3 online






     * 12 ms                             F1
    alice> a long thought that wants more
           than one row of a phone
    cursor 30,9
    ");
}

#[test]
fn a_password_is_never_shown() {
    let mut desk = Desk::new(60, 6);
    desk.app.show(Output::Secret(SecretPrompt::Open));
    let asks = crate::chat::Event::Password { wrong: false, retry_ms: None };
    desk.app.show(Output::Event(crate::client::model::Origin::Client, asks));
    desk.types("tall tree");
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
                                                    │people
                                                    │* alice
    -- type your password and Enter                 │and 2 more
     * connected 12 ms                                  F1 help
    password> *********
    cursor 19,5
    ");
    desk.presses("enter");
    assert_eq!(desk.effects().last().unwrap(), "secret: tall tree");
    desk.app.show(Output::Secret(SecretPrompt::Closed));
    desk.presses("up");
    assert!(!desk.picture().contains("tree"), "it is not remembered");
}
