//! Tests against lost or wrongly shown text.

use ratatui::crossterm::event::{MouseEvent, MouseEventKind};
use ratatui::style::Modifier;
use serde_json::json;

use super::super::controls::Overlay;
use super::*;

fn pastes(desk: &mut Desk, text: &str) {
    desk.app.input(Told::Paste(text.to_owned()));
}

#[test]
fn a_half_typed_password_is_not_shown_and_drafts_stay_in_their_rooms() {
    let mut desk = Desk::new(60, 12);
    desk.enters("#tea", 0, 0, &["alice"]);
    desk.presses("alt-2");
    desk.types("for tea");
    desk.presses("alt-1");
    desk.app.show(Output::Secret(SecretPrompt::Open));
    desk.types("secret");
    // It is in no room, no editor, no history, and cannot be pasted elsewhere.
    desk.presses("alt-2 ctrl-x up ctrl-r tab");
    assert!(!desk.effects().iter().any(|effect| effect.contains("Edit")));
    assert!(desk.rows()[11].starts_with("password> ******"), "{}", desk.picture());
    desk.presses("alt-1 alt-2 ctrl-u");
    desk.types("right");
    desk.presses("enter");
    assert_eq!(desk.effects().last().unwrap(), "secret: right");
    desk.app.show(Output::Secret(SecretPrompt::Closed));
    assert_eq!(desk.app.reader.input.text(), "for tea");
    desk.presses("ctrl-y");
    assert_eq!(desk.app.reader.input.text(), "for tea");
    desk.presses("alt-1");
    assert_eq!(desk.app.reader.input.text(), "");
}

#[test]
fn half_typed_text_keeps_its_kind_when_the_prompt_changes() {
    const MESSAGE: &str = "the key is under the mat";
    for at in 0..=MESSAGE.len() {
        let (first, rest) = MESSAGE.split_at(at);
        for (begins, ends) in
            [(SecretPrompt::Closed, SecretPrompt::Open), (SecretPrompt::Open, SecretPrompt::Closed)]
        {
            let mut desk = Desk::new(60, 12);
            desk.app.show(Output::Secret(begins));
            desk.types(first);
            desk.app.show(Output::Secret(ends));
            desk.types(rest);
            desk.presses("enter");
            let begun = if at == 0 { ends } else { begins };
            let wanted = match begun {
                SecretPrompt::Open => format!("secret: {MESSAGE}"),
                _ => format!("#lobby: {MESSAGE}"),
            };
            assert_eq!(desk.effects().last(), Some(&wanted), "{begins:?} {at}");
            assert_eq!(
                desk.app.reader.input.hidden,
                ends == SecretPrompt::Open && begins == SecretPrompt::Closed && at > 0
            );
        }
    }
    // After a login only Enter on an empty line makes the next line a secret.
    let mut desk = Desk::new(60, 12);
    desk.app.show(Output::Secret(SecretPrompt::Waits));
    desk.enter(MESSAGE);
    desk.enter(MESSAGE);
    desk.enter("");
    desk.enter("tall tree");
    let message = format!("#lobby: {MESSAGE}");
    let sent = desk.effects();
    assert_eq!(sent[sent.len() - 3..], [&message, &message, "secret: tall tree"]);
    // Neither a pending paste nor a history entry becomes a secret.
    pastes(&mut desk, "one\ntwo");
    desk.app.show(Output::Secret(SecretPrompt::Open));
    desk.presses("tab");
    assert!(!desk.app.reader.input.hidden && desk.app.reader.input.text() == "one\ntwo");
    desk.presses("enter up ctrl-y");
    assert!(desk.app.reader.input.hidden && desk.app.reader.input.is_empty());
}

#[test]
fn a_pasted_password_is_no_paste_of_lines() {
    let mut desk = Desk::new(60, 12);
    desk.app.show(Output::Secret(SecretPrompt::Open));
    pastes(&mut desk, "secret\nand more");
    assert!(desk.app.controls.overlay().is_none());
    assert!(desk.rows()[11].starts_with("password> ******"), "{}", desk.picture());
}

#[test]
fn a_password_prompt_ends_a_search_the_list_of_rooms_and_the_choice() {
    for (opens, is_chosen) in [("alt-j", false), ("alt-m", true), ("ctrl-f", false)] {
        let mut desk = Desk::new(60, 12);
        desk.says("bob", "#lobby", "tea?");
        desk.presses(opens);
        assert_eq!(desk.app.reader.scroll.chosen().is_some(), is_chosen);
        desk.app.show(Output::Secret(SecretPrompt::Open));
        // Neither begins while the password is typed, and Esc and a digit do not leave it.
        for keys in ["", opens, "esc"] {
            desk.presses(keys);
            desk.types("1d");
            assert!(desk.app.controls.overlay().is_none(), "{opens} {keys}");
            assert!(desk.app.reader.scroll.chosen().is_none(), "{opens} {keys}");
            assert!(!desk.app.reader.scroll.is_finding(), "{opens} {keys}");
        }
        desk.effects();
        desk.presses("enter");
        assert_eq!(desk.effects(), ["secret: 1d1d1d"]);
    }
}

#[test]
fn a_text_that_is_too_long_stays_in_the_input() {
    let mut desk = Desk::new(100, 12);
    desk.effects();
    pastes(&mut desk, &"x".repeat(8_193));
    desk.presses("enter");
    assert!(desk.effects().is_empty());
    assert!(
        desk.lines().contains("| too long: 8193 bytes, the limit is 8192"),
        "{}",
        desk.picture()
    );
    desk.presses("backspace enter");
    assert_eq!(desk.effects(), [format!("#lobby: {}", "x".repeat(8_192))]);
    // Several pasted lines stay as well, and an oversized paste is refused.
    let many = "line\n".repeat(14_000);
    pastes(&mut desk, &many);
    desk.presses("enter");
    assert!(desk.app.controls.overlay().is_some() && desk.effects().is_empty());
    desk.presses("tab");
    assert!(desk.lines().contains("the text was not inserted"), "{}", desk.picture());
    pastes(&mut desk, &"x".repeat(70_000));
    assert!(desk.lines().contains("the text was not inserted"), "{}", desk.picture());
}

#[test]
fn an_answer_does_not_take_a_paste_away() {
    let mut desk = Desk::new(60, 12);
    pastes(&mut desk, "one\ntwo");
    desk.hears(json!({"type": "channels", "channels": []}));
    assert!(
        matches!(desk.app.controls.overlay(), Some(Overlay::Paste(text)) if text == "one\ntwo")
    );
    assert!(desk.rows()[10].contains("ask again"), "{}", desk.picture());
}

#[test]
fn own_messages_from_other_devices_are_not_unread() {
    let mut desk = Desk::new(60, 12);
    desk.effects();
    desk.says_as("alice", "@bob", "psst", json!({}));
    assert_eq!(desk.effects(), ["seen @bob 1"]);
    // The server's count is the same after the next connection.
    desk.app.show(Output::Conversation {
        to: "@bob".parse().unwrap(),
        last: crate::chat::Seq(1),
        read: crate::chat::Seq(0),
    });
    assert_eq!(desk.app.reader.windows[1].unread, 0);
}

#[test]
fn messages_in_a_formerly_empty_room_are_unread() {
    let mut desk = Desk::new(60, 12);
    desk.enters("#tea", 0, 0, &["alice", "bob"]);
    desk.presses("alt-2 alt-1");
    for line in ["one", "two"] {
        desk.says("bob", "#tea", line);
    }
    desk.presses("alt-2");
    let lines = desk.lines();
    assert!(
        lines.find(" new ").is_some_and(|new| new < lines.find("bob: one").unwrap()),
        "{lines}"
    );
    desk.presses("alt-u");
    assert!(!desk.lines().contains("nothing is new"), "{}", desk.picture());
}

#[test]
fn a_search_ends_where_it_began_and_a_long_one_shows_its_end() {
    let mut desk = Desk::new(60, 12);
    for number in 1..=60 {
        desk.says("bob", "#lobby", &format!("line {number}."));
    }
    desk.presses("pageup pageup");
    let before = desk.rows();
    desk.presses("ctrl-f");
    desk.types("line 59.");
    assert!(desk.lines().contains("bob: line 59."));
    assert!(desk.rows()[11].starts_with("search: line 59."), "{}", desk.picture());
    desk.presses("esc");
    assert_eq!(desk.rows(), before);
    desk.presses("ctrl-f");
    desk.types(&format!("{} the end", "words ".repeat(20)));
    let row = desk.rows()[11].clone();
    assert!(row.starts_with("search: ~") && row.contains("words  the end"), "{row}");
}

#[test]
fn alt_with_a_key_that_does_nothing_is_esc_and_that_key() {
    let mut desk = Desk::new(60, 12);
    desk.presses("f1");
    assert!(desk.picture().contains("Esc closes"));
    desk.presses("alt-/");
    desk.types("pm eve secret");
    assert!(!desk.picture().contains("Esc closes"));
    assert!(desk.rows()[11].starts_with("alice> /pm eve secret"), "{}", desk.picture());
    desk.presses("alt-ctrl-c");
    assert_eq!(desk.app.reader.input.text(), "");
}

#[test]
fn a_text_that_looks_like_a_command_with_a_secret_is_asked_about() {
    let mut desk = Desk::new(100, 12);
    let said = |desk: &mut Desk| {
        let effects = std::mem::take(&mut desk.app.reader.effects);
        effects.iter().filter(|one| matches!(one, Effect::Send(Input::TypedIn { .. }))).count()
    };
    for line in ["   /join #tea 4711", "//join #tea 4711", ".pm bob psst"] {
        desk.enter(line);
        assert_eq!(said(&mut desk), 0, "{line}");
        assert_eq!(desk.app.reader.input.text(), line);
        assert!(desk.picture().contains("Enter sends it here"), "{}", desk.picture());
        // Another line is asked about again, and so is this line after a change of the
        // conversation.
        desk.types("2");
        desk.presses("enter");
        assert_eq!(said(&mut desk), 0, "{line}");
        desk.presses("enter");
        assert_eq!(said(&mut desk), 1, "{line}");
        desk.enter(line);
        assert_eq!(said(&mut desk), 0, "{line}");
        desk.presses("ctrl-u up");
        assert_eq!(desk.app.reader.input.text(), "", "it is not remembered");
    }
}

#[test]
fn a_pin_in_the_row_after_its_command_is_asked_about() {
    let mut desk = Desk::new(100, 12);
    let said = |desk: &mut Desk| {
        let effects = std::mem::take(&mut desk.app.reader.effects);
        effects.iter().filter(|one| matches!(one, Effect::Send(Input::TypedIn { .. }))).count()
    };
    desk.enter("4711");
    assert_eq!(said(&mut desk), 1, "nothing is before it");
    desk.enter("/join #tea");
    assert_eq!(said(&mut desk), 1);
    desk.enter("4711");
    assert_eq!(said(&mut desk), 0);
    assert!(desk.picture().contains("looks like /join"), "{}", desk.picture());
    desk.presses("enter");
    assert_eq!(said(&mut desk), 1);
    assert!(!desk.picture().contains("not sent"), "it is sent: {}", desk.picture());
    desk.enter("4711");
    assert_eq!(said(&mut desk), 1, "the command is no longer the row before");
    pastes(&mut desk, "/join #tea\n4711");
    desk.presses("enter");
    assert_eq!(said(&mut desk), 0, "{}", desk.picture());
    assert!(desk.picture().contains("looks like /join"), "{}", desk.picture());
    desk.presses("enter");
    assert_eq!(said(&mut desk), 1);
}

#[test]
fn a_hit_in_a_long_message_is_on_the_screen() {
    let mut desk = Desk::new(60, 12);
    let words = |count| "words ".repeat(count);
    desk.says("bob", "#lobby", &format!("{}needle {}", words(100), words(200)));
    desk.says("bob", "#lobby", "haystack");
    desk.says("bob", "#lobby", &words(200));
    for wanted in ["needle", "haystack"] {
        desk.presses("ctrl-f");
        desk.types(wanted);
        assert!(desk.rows()[1..10].iter().any(|row| row.contains(wanted)), "{}", desk.picture());
        desk.presses("esc");
    }
}

#[test]
fn a_ctrl_r_hit_can_be_edited_or_left() {
    let mut desk = Desk::new(60, 12);
    desk.enters("#tea", 0, 0, &["alice"]);
    desk.enter("tea at five");
    desk.presses("ctrl-r");
    pastes(&mut desk, "tea");
    desk.presses("home");
    desk.types("no ");
    assert_eq!(desk.app.reader.input.text(), "no tea at five");
    desk.presses("ctrl-c ctrl-r alt-2");
    assert!(desk.rows()[11].starts_with("alice>"), "{}", desk.picture());
}

#[test]
fn the_wheel_scrolls_what_is_open() {
    let mut desk = Desk::new(60, 12);
    for number in 1..=60 {
        desk.says("bob", "#lobby", &format!("line {number}."));
    }
    desk.presses("f1");
    let (kind, modifiers) = (MouseEventKind::ScrollDown, KeyModifiers::NONE);
    desk.app.input(Told::Mouse(MouseEvent { kind, column: 3, row: 3, modifiers }));
    assert!(!desk.lines().contains("Keys") && desk.lines().contains("help"), "{}", desk.picture());
    desk.presses("esc");
    assert!(desk.lines().contains("line 60."), "the room has not moved");
}

#[test]
fn many_joins_are_shortened() {
    let mut desk = Desk::new(60, 12);
    for number in 1..=300 {
        desk.hears(json!({"type": "joined", "to": "#lobby", "who": format!("p{number}"),
            "here": number}));
    }
    let lines = desk.lines();
    assert!(lines.contains("p8 and 292 ") && !lines.contains("p9,"), "{lines}");
}

#[test]
fn many_messages_ring_once_a_second() {
    let mut desk = Desk::new(60, 12);
    desk.effects();
    let mut rings = |wait: i64| {
        desk.says_as("bob", "@alice", "look", json!({}));
        desk.waits(wait - 1_000);
        desk.effects().iter().filter(|effect| *effect == "Bell").count()
    };
    assert_eq!([rings(10), rings(10), rings(1_000), rings(10)], [1, 0, 0, 1]);
}

#[test]
fn channels_that_the_server_named_are_completed() {
    let mut desk = Desk::new(60, 12);
    let row = |name: &str| json!({"channel": name, "here": 2, "member": false});
    desk.hears(json!({"type": "channels", "channels": [row("#tea"), row("#work")]}));
    desk.presses("esc");
    desk.types("/join wo");
    desk.presses("tab");
    assert_eq!(desk.app.reader.input.text(), "/join #work ");
}

#[test]
fn the_cursor_follows_text_of_any_width() {
    let mut desk = Desk::new(60, 8);
    pastes(&mut desk, "❤\u{fe0f} 👨\u{200d}👩\u{200d}👧漢");
    // "alice> ", a heart, a space, a family that its joiners make one grapheme, a character.
    assert!(desk.picture().ends_with("cursor 14,7"), "{}", desk.picture());
    desk.presses("home right");
    assert!(desk.picture().ends_with("cursor 9,7"), "{}", desk.picture());
    desk.presses("backspace");
    assert_eq!(desk.app.reader.input.text(), " 👨\u{200d}👩\u{200d}👧漢");
    assert!(desk.picture().ends_with("cursor 7,7"), "{}", desk.picture());
    // A name may be wide, too.
    desk.app.reader.own = Some("漢字".parse().unwrap());
    assert!(desk.picture().ends_with("cursor 6,7"), "{}", desk.picture());
}

#[test]
fn the_room_of_a_bar_without_colours_is_marked() {
    for theme in [Theme::Mono, Theme::Sixteen] {
        let mut desk = Desk::with(80, 8, theme);
        desk.enters("#tea", 0, 0, &["alice"]);
        desk.presses("alt-2");
        let underlined = |cell: &&Cell| cell.modifier.contains(Modifier::UNDERLINED);
        let marked: String =
            desk.draws().content.iter().filter(underlined).map(Cell::symbol).collect();
        assert_eq!(marked, "2:#tea");
    }
}

#[test]
fn the_notice_about_missed_messages_fits() {
    let mut desk = Desk::new(60, 8);
    desk.app.show(Output::Back);
    assert!(desk.lines().contains("* back, nothing was missed"), "{}", desk.picture());
    desk.presses("alt-n");
    assert!(desk.lines().contains("missed | no other mention here"), "{}", desk.picture());
    desk.presses("esc");
    assert!(desk.lines().contains("* connected 12 ms  "), "{}", desk.picture());
    desk.app.show(Output::Back);
    desk.says_as("bob", "#lobby", "one", json!({"replay": true}));
    assert!(desk.lines().contains("* back, 1 missed message loaded"), "{}", desk.picture());
}
