//! Keys, clicks and the passing of time.

use proptest::prelude::*;
use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use serde_json::json;

use super::super::window::{At, Older};
use super::*;

/// A user whose lobby has messages from `first` to `last`.
fn long(first: u64, last: u64) -> Desk {
    let mut desk = Desk::new(60, 12);
    desk.app.reader.windows[0].last = crate::chat::Seq(first - 1);
    // The empty room has requested messages, too.
    desk.app.reader.windows[0].older = Older::Perhaps;
    for number in first..=last {
        desk.says("bob", "#lobby", &format!("line {number}"));
    }
    desk.draws();
    desk.effects();
    desk
}

fn texts(desk: &mut Desk) -> Vec<String> {
    let text = |row: &String| {
        row.split_once("bob: ").map(|(_, text)| text.split('│').next().unwrap().trim().to_owned())
    };
    desk.rows().iter().filter_map(text).collect()
}

#[test]
fn scrolling_up_loads_older_lines_and_the_view_does_not_jump() {
    let mut desk = long(301, 340);
    desk.presses("pageup pageup pageup pageup pageup pageup");
    let before = texts(&mut desk);
    assert_eq!(before[0], "line 301");
    let asked: Value = serde_json::from_str(&desk.effects()[0]).unwrap();
    assert_eq!((&asked["before"], &asked["messages"]), (&json!("301"), &json!(200)));
    desk.draws();
    assert!(desk.effects().is_empty(), "it is asked for once");
    // New messages arrive while the old ones are loading.
    desk.says("bob", "#lobby", "line 341");
    for number in 101..=300 {
        let more = json!({"ref": "older #lobby", "seq": format!("{number}")});
        desk.says_as("bob", "#lobby", &format!("line {number}"), more);
    }
    assert_eq!(texts(&mut desk), before);
    let told = json!({"type": "history", "to": "#lobby", "messages": 200, "more": true,
        "ref": "older #lobby"});
    desk.hears(told);
    assert_eq!(texts(&mut desk), before);
    desk.presses("pageup");
    assert_eq!(texts(&mut desk)[7], "line 301");
    desk.says("bob", "#lobby", "line 342");
    assert_eq!(texts(&mut desk)[7], "line 301");
    desk.presses("alt-end");
    assert_eq!(texts(&mut desk).last().unwrap(), "line 342");
    // Without older messages there is no further request.
    desk.presses("alt-home");
    desk.draws();
    assert!(desk.effects().last().unwrap().contains("older #lobby"));
    desk.hears(json!({"type": "history", "to": "#lobby", "messages": 0, "more": false,
        "ref": "older #lobby"}));
    desk.presses("pagedown alt-home");
    desk.draws();
    assert!(desk.effects().is_empty());
}

#[test]
fn alt_a_visits_unread_rooms_mentions_first_and_returns() {
    let mut desk = Desk::new(60, 12);
    desk.enters("#tea", 0, 0, &["alice", "bob"]);
    desk.enters("#work", 0, 0, &["alice", "bob"]);
    desk.says("bob", "#tea", "news");
    desk.says("bob", "#work", "alice: more news");
    let mut walk = |keys: &str| {
        desk.presses(keys);
        desk.app.reader.window().target.to_string()
    };
    assert_eq!(walk("alt-a"), "#work");
    assert_eq!(walk("alt-a"), "#tea");
    assert_eq!(walk("alt-a"), "#lobby", "back where it began");
    assert_eq!(walk("alt-a"), "#lobby");
    assert!(desk.lines().contains("nothing is new"));
}

#[test]
fn rooms_are_reached_by_number_and_keep_their_drafts() {
    let mut desk = Desk::new(60, 12);
    desk.enters("#tea", 0, 0, &["alice"]);
    desk.enters("#work", 0, 0, &["alice"]);
    desk.types("in the lobby");
    let mut walk = |keys: &str| {
        desk.presses(keys);
        (desk.app.reader.window().target.to_string(), desk.app.reader.input.text())
    };
    let at = |conversation: &str, typed: &str| (conversation.to_owned(), typed.to_owned());
    assert_eq!(walk("alt-2"), at("#tea", ""));
    assert_eq!(walk("ctrl-n"), at("#work", ""));
    assert_eq!(walk("ctrl-n"), at("#lobby", "in the lobby"));
    assert_eq!(walk("ctrl-p"), at("#work", ""));
    assert_eq!(walk("alt-9"), at("#work", ""), "there is no ninth");
    assert_eq!(walk("alt-1"), at("#lobby", "in the lobby"));
}

#[test]
fn a_message_for_another_room_is_announced() {
    let mut desk = Desk::new(60, 8);
    desk.sends(1, "@bob", "psst");
    assert!(desk.rows()[6].contains("| to @bob: Alt-2"), "{}", desk.picture());
    desk.presses("alt-2");
    assert!(desk.lines().contains("You: psst ..."));
}

#[test]
fn messages_of_another_day_have_a_date() {
    let mut desk = Desk::new(60, 8);
    desk.says("bob", "#lobby", "good night");
    assert!(!desk.picture().contains("-- Wed 25 Nov 2026 --"), "that is today");
    desk.waits(24 * 3_600_000);
    let lines = desk.lines();
    assert!(lines.contains("-- Wed 25 Nov 2026 --"), "{lines}");
}

#[test]
fn pasted_text_extends_a_search() {
    let mut desk = long(1, 30);
    desk.presses("ctrl-f");
    desk.app.input(Told::Paste("LINE 7\nand more".into()));
    assert!(desk.rows()[11].starts_with("search: LINE 7"), "{}", desk.picture());
    assert!(desk.lines().contains("line 7 "));
}

#[test]
fn a_room_can_be_left_before_it_is_entered() {
    let mut desk = Desk::new(60, 12);
    desk.app.reader.conversation(&"#tea".parse().unwrap());
    desk.presses("alt-2");
    desk.effects();
    desk.enter("/part");
    assert_eq!(desk.effects(), ["#tea: /part"]);
    assert_eq!(desk.app.reader.windows.len(), 1);
    // The entry was in progress; leaving follows it.
    desk.enters("#tea", 0, 0, &["alice"]);
    desk.hears(json!({"type": "parted", "channel": "#tea"}));
    assert_eq!(desk.app.reader.windows.len(), 1);
}

#[test]
fn alt_p_and_alt_n_go_from_mention_to_mention() {
    let mut desk = Desk::new(60, 12);
    for number in 1..=60 {
        let whom = if number % 20 == 0 { "Alice: " } else { "" };
        desk.says("bob", "#lobby", &format!("{whom}line {number}"));
    }
    let mut walk = |keys: &str| {
        desk.presses(keys);
        desk.app
            .reader
            .scroll
            .marked()
            .map(|number| desk.app.reader.window().line(number).unwrap().text().to_owned())
    };
    assert_eq!(walk("alt-p").unwrap(), "Alice: line 60");
    assert_eq!(walk("alt-p").unwrap(), "Alice: line 40");
    assert_eq!(walk("alt-p").unwrap(), "Alice: line 20");
    assert_eq!(walk("alt-p").unwrap(), "Alice: line 20");
    assert_eq!(walk("alt-n").unwrap(), "Alice: line 40");
    desk.presses("alt-p");
    assert!(desk.lines().contains("Alice: line 20"));
}

#[test]
fn alt_u_goes_to_the_first_unread_message() {
    let mut desk = long(1, 30);
    desk.app.input(Told::FocusLost);
    for number in 31..=60 {
        desk.says("bob", "#lobby", &format!("line {number}"));
    }
    desk.presses("alt-u");
    let rows = desk.rows();
    let at = rows.iter().position(|row| row.contains("- new -")).unwrap();
    assert!(rows[at + 1].contains("line 31"), "{rows:#?}");
    desk.app.input(Told::FocusGained);
    desk.presses("alt-end");
    desk.app.input(Told::FocusLost);
    desk.says("bob", "#lobby", "line 61");
    let rows = desk.rows();
    let at = rows.iter().position(|row| row.contains("- new -")).unwrap();
    assert!(rows[at + 1].contains("line 61"), "{rows:#?}");
    // Answering marks a room as read.
    desk.enter("yes");
    assert!(!desk.picture().contains("- new -"));
}

/// Bells, and notifications as text.
fn rings(desk: &mut Desk) -> Vec<String> {
    let mut effects = desk.effects();
    effects.retain(|effect| effect.starts_with("Bell") || effect.starts_with("Notify"));
    effects
}

#[test]
fn each_conversation_rings_as_configured() {
    let mut desk = Desk::new(60, 12);
    desk.enters("#tea", 0, 0, &["alice", "bob"]);
    desk.app.input(Told::FocusLost);
    let mut heard = |to: &str, text: &str, more: Value| {
        desk.says_as("bob", to, text, more);
        rings(&mut desk)
    };
    let now = json!({});
    let mention = ["Bell".to_owned(), "Notify(\"mention in #tea\")".to_owned()];
    assert_eq!(heard("#tea", "ALICE, look", now.clone()), mention);
    assert_eq!(heard("#tea", "malice", now.clone()), [""; 0]);
    assert_eq!(heard("@alice", "secret", now.clone()).len(), 2);
    assert_eq!(heard("#tea", "alice", json!({"replay": true})), [""; 0], "nothing old rings");
    assert_eq!(heard("@alice", "old", json!({"replay": true})), [""; 0]);
    assert_eq!(heard("#tea", "alice", json!({"from": "alice"})), [""; 0], "nothing own rings");
    assert_eq!(heard("#tea", "alice", json!({"ref": "search"})), [""; 0]);
    desk.presses("alt-2");
    for (wish, loud, quiet) in
        [("all", true, true), ("mentions", true, false), ("off", false, false)]
    {
        desk.enter(&format!("/notify {wish}"));
        desk.effects();
        desk.says("bob", "#tea", "alice!");
        assert_eq!(!rings(&mut desk).is_empty(), loud, "{wish}");
        desk.says("bob", "#tea", "nobody");
        assert_eq!(!rings(&mut desk).is_empty(), quiet, "{wish}");
    }
    desk.enter("/notify all");
    desk.app.input(Told::FocusGained);
    desk.effects();
    desk.says("bob", "#tea", "alice!");
    assert_eq!(rings(&mut desk), [""; 0], "who looks needs no bell");
    desk.app.input(Told::FocusLost);
    desk.enter("/set bell off");
    desk.effects();
    desk.says("bob", "#tea", "alice!");
    assert_eq!(rings(&mut desk).len(), 1);
}

#[test]
fn the_wheel_scrolls_and_a_click_goes_to_a_room() {
    let mut desk = Desk::new(100, 12);
    desk.enters("#tea", 0, 0, &["alice"]);
    for number in 1..=30 {
        desk.says("bob", "#lobby", &format!("line {number}"));
    }
    desk.draws();
    let mouse = |desk: &mut Desk, kind, column, row| {
        let modifiers = KeyModifiers::NONE;
        desk.app.input(Told::Mouse(MouseEvent { kind, column, row, modifiers }));
    };
    mouse(&mut desk, MouseEventKind::ScrollUp, 40, 5);
    assert_eq!(texts(&mut desk).last().unwrap(), "line 27");
    mouse(&mut desk, MouseEventKind::ScrollDown, 40, 5);
    assert_eq!(desk.app.reader.window().at, At::End);
    let click = MouseEventKind::Down(MouseButton::Left);
    mouse(&mut desk, click, 3, 3);
    assert_eq!(desk.app.reader.window().target.to_string(), "#tea");
    mouse(&mut desk, click, 3, 1);
    mouse(&mut desk, click, 3, 9);
    assert_eq!(desk.app.reader.window().target.to_string(), "#tea", "there is no room");
    assert!(!desk.app.settings.mouse, "it is off by default");
}

#[test]
fn panes_are_hidden_and_shown() {
    let mut desk = Desk::new(100, 8);
    assert!(desk.lines().contains("rooms") && desk.lines().contains("people"));
    desk.presses("f7");
    assert!(!desk.lines().contains("rooms") && desk.lines().contains("people"));
    desk.presses("f8 f7");
    assert!(desk.lines().contains("rooms") && !desk.lines().contains("people"));
    assert!(!desk.lines().contains("columns"));
    let mut desk = Desk::new(80, 8);
    desk.presses("f7");
    assert!(desk.lines().contains("| rooms: needs 100 columns"), "{}", desk.picture());
}

#[test]
fn leaving_and_terminal_events() {
    let mut desk = Desk::new(60, 8);
    desk.effects();
    let mut does = |keys: &str| {
        desk.presses(keys);
        desk.effects()
    };
    assert_eq!(does("ctrl-c"), [""; 0]);
    assert_eq!(does("ctrl-c"), ["Send(Interrupt)"]);
    assert_eq!(does("ctrl-z"), ["Suspend"]);
    assert_eq!(does("ctrl-l"), ["Redraw"]);
    assert_eq!(does("a b ctrl-x"), ["Edit(\"ab\")"]);
    assert_eq!(does("ctrl-d"), [""; 0], "it deletes where something is typed");
    assert_eq!(does("ctrl-c"), [""; 0]);
    assert_eq!(does("ctrl-d"), ["/exit"]);
    desk.waits(4_000);
    desk.presses("ctrl-c");
    desk.waits(4_000);
    desk.presses("ctrl-c");
    assert_eq!(desk.effects(), [""; 0], "the second one came too late");
}

#[test]
fn several_lines_run_no_command() {
    let mut desk = Desk::new(60, 8);
    desk.effects();
    desk.types("/exit");
    desk.presses("ctrl-j");
    desk.enter("or not");
    assert_eq!(desk.effects(), ["#lobby: //exit\nor not"]);
    desk.enter("/topic tea");
    assert_eq!(desk.effects(), ["#lobby: /topic tea"]);
}

#[test]
fn an_idle_screen_writes_nothing() {
    let mut desk = Desk::new(60, 8);
    assert_eq!(desk.app.reader.next_change_ms(), None);
    desk.app.reader.flash("a word");
    assert_eq!(desk.app.reader.next_change_ms(), Some(10_000));
    desk.waits(10_000);
    assert_eq!(desk.app.reader.next_change_ms(), None);
    desk.app.show(Output::State(State::Offline { retry_ms: 4_500 }));
    let due = desk.app.reader.next_change_ms().unwrap();
    assert!((1..=1_000).contains(&due), "the countdown goes on by seconds: {due}");
}

/// Texts as cleaned at the edge, with difficult widths.
fn any_text() -> impl Strategy<Value = String> {
    let odd = "[\u{0}-\u{ff}\u{300}-\u{30f}漢字👍\u{fe0f}\u{200d}\u{202e}\u{5d0}\u{627}\n\t]{0,60}";
    (odd, any::<bool>()).prop_map(
        |(text, clean)| {
            if clean { crate::clean::text(&text) } else { text }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Checks that received text reaches neither a cell outside the messages nor the terminal as
    /// control characters.
    #[test]
    fn no_text_leaves_the_area_of_lines(
        texts in proptest::collection::vec(any_text(), 1..5),
        width in 20u16..120, height in 4u16..30,
    ) {
        let mut desk = Desk::new(width, height);
        desk.says("carol", "#lobby", "hi");
        let before = desk.draws().clone();
        for text in texts {
            desk.says("carol", "#lobby", &text);
        }
        let areas = desk.app.reader.areas();
        let after = desk.draws();
        for (index, cell) in after.content.iter().enumerate() {
            let at = after.pos_of(index);
            prop_assert!(!cell.symbol().contains(char::is_control), "{:?}", cell.symbol());
            if !areas.lines.contains(at.into()) {
                prop_assert_eq!(cell, &before.content[index], "at {:?}", at);
            }
        }
    }

    #[test]
    fn every_size_and_key_works(
        sizes in proptest::collection::vec((0u16..130, 0u16..40), 1..6),
        keys in proptest::collection::vec(0usize..keys::BINDINGS.len(), 0..30),
        text in any_text(),
    ) {
        let mut desk = Desk::new(80, 24);
        desk.enters("#tea", 0, 0, &["alice", "bob"]);
        desk.app.input(Told::FocusLost);
        for number in 0..30 {
            desk.says("bob", "#tea", &format!("{number} {text}"));
        }
        desk.types(&text);
        for (nth, key) in keys.iter().enumerate() {
            for chord in keys::BINDINGS[*key].keys {
                desk.presses(chord);
            }
            let (width, height) = sizes[nth % sizes.len()];
            desk.resizes(width, height);
            desk.draws();
        }
    }
}

#[test]
fn rooms_beyond_the_ninth_are_chosen_by_number_or_name() {
    let mut desk = Desk::new(60, 12);
    for number in 2..=12 {
        desk.enters(&format!("#room{number}"), 0, 0, &["alice"]);
    }
    let here = |desk: &Desk| desk.app.reader.window().target.to_string();
    desk.presses("ctrl-k");
    desk.types("12");
    assert!(desk.lines().contains(">  12 #room12"), "{}", desk.picture());
    desk.presses("enter");
    assert_eq!(here(&desk), "#room12");
    desk.presses("alt-j");
    desk.types("OOM7");
    desk.presses("enter");
    assert_eq!(here(&desk), "#room7");
    desk.presses("ctrl-k");
    desk.types("1");
    assert!(desk.lines().contains(">   1 #lobby"), "the number itself comes first");
    desk.presses("down enter");
    assert_eq!(here(&desk), "#room10");
    desk.presses("ctrl-k esc");
    assert_eq!(here(&desk), "#room10");
    // Esc and a digit, as with Alt.
    desk.presses("esc");
    desk.types("3");
    assert_eq!(here(&desk), "#room3");
    desk.presses("esc");
    desk.waits(2_000);
    desk.types("4");
    assert_eq!((here(&desk).as_str(), desk.app.reader.input.text().as_str()), ("#room3", "4"));
    // With something behind the cursor the key cuts.
    desk.types(" cups");
    desk.presses("home ctrl-k");
    assert!(desk.app.reader.input.is_empty());
    desk.presses("ctrl-y");
    assert_eq!(desk.app.reader.input.text(), "4 cups");
    // Behind other text the digit is typed, and also where no room has it.
    desk.presses("end esc");
    desk.types("5");
    assert_eq!(here(&desk), "#room3");
    assert_eq!(desk.app.reader.input.text(), "4 cups5");
    let mut desk = Desk::new(60, 12);
    desk.presses("esc");
    desk.types("9");
    assert_eq!(desk.app.reader.input.text(), "9");
}

#[test]
fn numbers_of_rooms_stay_when_a_channel_is_joined() {
    let mut desk = Desk::new(60, 12);
    desk.says("bob", "@alice", "psst");
    desk.enters("#tea", 0, 0, &["alice"]);
    desk.presses("alt-2");
    assert_eq!(desk.app.reader.window().target.to_string(), "@bob");
    desk.presses("alt-3");
    assert_eq!(desk.app.reader.window().target.to_string(), "#tea");
}

#[test]
fn a_channel_with_a_pin_has_its_tag_where_there_is_another_of_its_name() {
    let mut desk = Desk::new(80, 8);
    let sealed = format!("#tea~{}", "0".repeat(26));
    desk.enters(&sealed, 0, 0, &["alice"]);
    desk.presses("alt-2");
    assert!(desk.rows()[0].starts_with("#tea  "), "{}", desk.picture());
    assert!(desk.rows()[0].contains("sealed: PIN holders read"));
    desk.enters("#tea", 0, 0, &["alice"]);
    assert!(desk.rows()[0].starts_with("#tea~0000  "), "{}", desk.picture());
    desk.presses("alt-3");
    assert!(desk.rows()[0].starts_with("#tea  "));
    assert!(desk.rows()[0].contains("open: members and the operator read"));
}

#[test]
fn an_older_message_is_chosen_to_answer_edit_or_delete_it() {
    let mut desk = Desk::new(80, 12);
    desk.says("alice", "#lobby", "coffee at four");
    desk.says("bob", "#lobby", "tea?\nor milk");
    desk.says("carol", "#lobby", "yes");
    desk.presses("alt-m");
    assert!(desk.picture().contains("message 3: r answer  Esc back"), "{}", desk.picture());
    desk.types("e");
    assert!(desk.picture().contains("you can change only your own messages"));
    desk.presses("up");
    desk.types("r");
    assert_eq!(desk.app.reader.input.text(), "bob: > tea? ...\n");
    desk.presses("ctrl-c alt-m up up up");
    assert!(desk.picture().contains("message 1: r answer  e edit  d delete"));
    let chosen = desk.app.reader.look.chosen.bg;
    let marked = |desk: &mut Desk| {
        let buffer = desk.draws();
        let cells = buffer.content.iter().filter(|cell| Some(cell.bg) == chosen);
        cells.map(Cell::symbol).collect::<String>()
    };
    assert!(marked(&mut desk).contains("coffee at four"));
    desk.types("e");
    assert_eq!(desk.app.reader.input.text(), "/edit 1 -- coffee at four");
    assert!(!marked(&mut desk).contains("coffee"));
    desk.types(", then");
    desk.effects();
    desk.presses("enter");
    assert_eq!(desk.effects(), ["#lobby: /edit 1 -- coffee at four, then"]);
    desk.presses("alt-m up up");
    desk.types("d");
    assert_eq!(desk.app.reader.input.text(), "/delete 1");
    desk.presses("ctrl-c alt-m esc");
    desk.types("x");
    assert_eq!(desk.app.reader.input.text(), "x", "the choice is over");
}

#[test]
fn the_chosen_message_stays_the_same_while_lines_move_and_ends_with_it() {
    let mut desk = Desk::new(80, 12);
    desk.says("bob", "#lobby", "one");
    desk.sends(7, "#lobby", "mine");
    desk.says("carol", "#lobby", "two");
    desk.says("bob", "#lobby", "three");
    desk.presses("alt-m up");
    // The line above it is removed.
    desk.app.show(Output::Ack {
        id: MsgId([7; 16]),
        to: "#lobby".parse().unwrap(),
        seq: crate::chat::Seq(9),
    });
    desk.types("r");
    assert_eq!(desk.app.reader.input.text(), "carol: > two\n");
    desk.presses("ctrl-c alt-m up");
    desk.says_as("carol", "#lobby", "", json!({"kind": "delete", "of": "2"}));
    desk.types("r");
    assert!(desk.app.reader.input.is_empty());
    assert!(desk.picture().contains("the chosen message is gone"), "{}", desk.picture());
    desk.types("r");
    assert_eq!(desk.app.reader.input.text(), "r", "the choice is over");
}

#[test]
fn an_own_file_is_deleted_and_not_edited() {
    let mut desk = Desk::new(80, 12);
    let blob = "BwcHBwcHBwcHBwcHBwcHBw";
    desk.says_as("alice", "#lobby", "a file", json!({"kind": "file", "blob": blob}));
    desk.presses("alt-m");
    assert!(desk.picture().contains("message 1: r answer  d delete"), "{}", desk.picture());
    desk.types("e");
    assert!(desk.picture().contains("a file cannot be edited"));
    desk.types("d");
    assert_eq!(desk.app.reader.input.text(), "/delete 1");
}
